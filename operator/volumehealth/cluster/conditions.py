"""What objects of the API say against a volume: the health fields of Kubernetes 1.37, and errors of older kinds.

Everything here is pure, and nothing is made of an object that has nothing to say. Texts come from drivers and other
programs: they are cleaned and bounded. A status of a newer version is kept as it came (facts C3, C5).
"""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from sys import intern

import msgspec

from volumehealth.model.clock import moment_of, rfc3339
from volumehealth.model.cluster import ApiConditions, StorageStatement
from volumehealth.model.health import DEGRADED, INACCESSIBLE, Condition
from volumehealth.model.text import clean_message, clean_reason, clean_status
from volumehealth.model.vocabulary import Reason

_MOST = 16
"""Conditions of one volume; the API server takes no more (facts C3)."""


class HealthCondition(msgspec.Struct, gc=False):
    """An entry of `healthConditions`."""

    status: str = ""
    reason: str = ""
    message: str = ""


class NamedHealth(msgspec.Struct, rename={"conditions": "healthConditions"}, gc=False):
    """An entry of `pod.status.volumeHealth`, by the volume's name in the Pod."""

    name: str = ""
    conditions: list[HealthCondition] | None = None


class StorageCondition(HealthCondition, rename="camel", gc=False):
    """An entry of `healthConditions` of a CSINode: it is about one kind of volumes."""

    access_mode: str | None = None
    volume_mode: str | None = None


class StorageHealth(msgspec.Struct, rename={"conditions": "healthConditions"}, gc=False):
    """An entry of `csinode.status.storageHealth`, by the driver's name."""

    name: str = ""
    conditions: list[StorageCondition] | None = None


class ClaimHealthStatus(msgspec.Struct, rename={"conditions": "healthConditions"}, gc=False):
    """`pvc.status.healthStatus`."""

    conditions: list[HealthCondition] | None = None


class ClaimCondition(msgspec.Struct, rename="camel", gc=False):
    """An entry of a claim's `status.conditions`."""

    type: str = ""
    status: str = ""
    message: str = ""
    last_transition_time: str | None = None


class _Capacity(msgspec.Struct, gc=False):
    storage: str = ""


class _Modification(msgspec.Struct, rename="camel", gc=False):
    status: str = ""
    target_volume_attributes_class_name: str = ""


class ClaimStatus(msgspec.Struct, rename="camel", gc=False):
    """`status` of a claim, as far as it is used."""

    phase: str = ""
    capacity: _Capacity | None = None
    modify_volume_status: _Modification | None = None
    conditions: list[ClaimCondition] | None = None
    allocated_resource_statuses: dict[str, str] | None = None
    health_status: ClaimHealthStatus | None = None


class _There(msgspec.Struct, gc=False):
    """That it is there is all that matters."""


class _Waiting(msgspec.Struct, gc=False):
    reason: str = ""


class _ContainerState(msgspec.Struct, gc=False):
    running: _There | None = None
    terminated: _There | None = None
    waiting: _Waiting | None = None


_BEFORE = ("", "ContainerCreating", "PodInitializing")
"""Why a container waits while its Pod's volumes may be missing. All else comes after them: images, its making, crashes."""


class _Container(msgspec.Struct, rename="camel", gc=False):
    state: _ContainerState | None = None
    last_state: _ContainerState | None = None

    @property
    def begun(self) -> bool:
        """Whether it ran, or waits for something that comes after its Pod's volumes."""
        for state in (self.state, self.last_state):
            if state is not None and (state.running is not None or state.terminated is not None):
                return True
        return self._waits_for_something_later

    @property
    def stopped(self) -> bool:
        """Whether it does not run, and nothing but its Pod's volumes or sandbox need be missing."""
        running = self.state is not None and self.state.running is not None
        return not running and not self._waits_for_something_later

    @property
    def _waits_for_something_later(self) -> bool:
        waiting = self.state.waiting if self.state is not None else None
        return waiting is not None and waiting.reason not in _BEFORE


class _PodCondition(msgspec.Struct, rename="camel", gc=False):
    type: str = ""
    status: str = ""
    last_transition_time: str | None = None


class PodStatus(msgspec.Struct, rename="camel", gc=False):
    """`status` of a Pod, as far as it is used."""

    phase: str = ""
    start_time: str | None = None
    conditions: list[_PodCondition] | None = None
    container_statuses: list[_Container] | None = None
    init_container_statuses: list[_Container] | None = None
    volume_health: list[NamedHealth] | None = None

    @property
    def begun(self) -> bool:
        """Whether its volumes are mounted: its sandbox is there, or a container ran or waits for what comes later."""
        return self._sandbox.status == "True" or any(one.begun for one in self._containers)

    @property
    def stopped(self) -> bool:
        """Whether nothing of a Pod runs that ran before, not even its sandbox: its node was started anew, for one.

        The kubelet mounts its volumes again before it makes another sandbox.
        """
        return self._sandbox.status == "False" and all(one.stopped for one in self._containers)

    @property
    def lost_sandbox(self) -> str | None:
        """When its sandbox was found missing."""
        return self._sandbox.last_transition_time

    @property
    def scheduled(self) -> str | None:
        """When it was bound to its node."""
        return self._condition("PodScheduled").last_transition_time

    @property
    def _containers(self) -> Iterable[_Container]:
        return chain(self.init_container_statuses or (), self.container_statuses or ())

    @property
    def _sandbox(self) -> _PodCondition:
        return self._condition("PodReadyToStartContainers")

    def _condition(self, kind: str) -> _PodCondition:
        return next((one for one in self.conditions or () if one.type == kind), _PodCondition())


def claim_api_conditions(
    status: ClaimStatus, *, requested: str = "", deleted_in_use: bool = False
) -> ApiConditions | None:
    """Return what a claim's status says against its volume; None if that is nothing.

    Args:
        status: of the claim.
        requested: `spec.resources.requests.storage`.
        deleted_in_use: it is being deleted, and Pods use it.
    """
    health = health_conditions(status.health_status.conditions) if status.health_status else ()
    own, slow = tuple(_own(status)), tuple(_slow(status, requested))
    if deleted_in_use:
        text = "the claim is being deleted, and goes as soon as no Pod uses it; its volume goes as the reclaim policy says"
        own = (*own, Condition(DEGRADED, Reason.VOLUME_DELETING.value, text))
    return ApiConditions(health, own, slow) if health or own or slow else None


def _slow(status: ClaimStatus, requested: str) -> Iterable[tuple[Condition, datetime]]:
    """Yield resizes that go on, and since when; where the capacity is what is requested, nothing is left to do."""
    for condition in status.conditions or ():
        since = moment_of(condition.last_transition_time)
        if condition.type not in _RESIZING or condition.status != "True" or since is None:
            continue
        capacity = status.capacity.storage if status.capacity is not None else ""
        if below(capacity, requested):
            text = f"{condition.type} since {rfc3339(since)}: {capacity} of {requested}"
            if condition.message:
                text = f"{text}: {condition.message}"
            yield Condition(DEGRADED, Reason.RESIZE_STUCK.value, clean_message(text)), since


_RESIZING = ("FileSystemResizePending", "Resizing")
_QUANTITY = re.compile(r"(\d{1,30}(?:\.\d{1,9})?)(m|k|[KMGTPE]i?|[eE][+-]?\d{1,2})?", re.ASCII)
_SIZES = {"": 1.0, "m": 1e-3, "k": 1e3} | {
    f"{letter}{i}": float(base**power)
    for power, letter in enumerate("KMGTPE", 1)
    for i, base in (("", 1000), ("i", 1024))
}


def below(capacity: str, requested: str) -> bool:
    """Tell whether a quantity is below another one; what cannot be read is not."""
    if capacity == requested:
        return False
    sizes = [_size(text) for text in (capacity, requested)]
    return None not in sizes and sizes[0] < sizes[1]  # type: ignore[operator]  # neither is None


def _size(text: str) -> float | None:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    number, unit = float(found[1]), found[2] or ""
    return number * (
        float(f"1{unit}") if unit[:1] in "eE" and len(unit) > 1 and unit != "Ei" else _SIZES[unit]
    )


def health_conditions(conditions: Iterable[HealthCondition] | None) -> tuple[Condition, ...]:
    """Return the conditions of a 1.37 field; one without a status says nothing that could be told."""
    return tuple(
        Condition(
            intern(status),
            intern(clean_reason(one.reason)),
            clean_message(one.message),
        )
        for one in list(conditions or ())[:_MOST]
        if (status := clean_status(one.status))
    )


def storage_statements(storage: Iterable[StorageHealth] | None) -> tuple[tuple[str, StorageStatement], ...]:
    """Return what drivers say of the storage behind them, by driver."""
    return tuple(
        (intern(one.name), StorageStatement(condition, said.access_mode or "", said.volume_mode or ""))
        for one in storage or ()
        for said in one.conditions or ()
        for condition in health_conditions((said,))
    )


def _own(status: ClaimStatus) -> Iterable[Condition]:
    if status.phase == "Lost":
        text = "the PersistentVolume that the claim is bound to is gone"
        yield Condition(INACCESSIBLE, Reason.CLAIM_LOST.value, text)
    resize = _resize(status)
    if resize:
        yield Condition(DEGRADED, Reason.RESIZE_FAILED.value, resize)
    modify = _modify(status)
    if modify:
        yield Condition(DEGRADED, Reason.MODIFY_FAILED.value, modify)


def _modify(status: ClaimStatus) -> str:
    """Say why a VolumeAttributesClass cannot be applied; empty if that is not so."""
    for condition in status.conditions or ():
        if condition.type == "ModifyVolumeError" and condition.status == "True":
            return clean_message(f"{condition.type}: {condition.message}".removesuffix(": "))
    change = status.modify_volume_status
    if change is not None and change.status == "Infeasible":
        return clean_message(f"the class {change.target_volume_attributes_class_name} can never be applied")
    return ""


def _resize(status: ClaimStatus) -> str:
    """Say why a resize went wrong; empty if none did.

    From 1.31 on there are conditions ControllerResizeError and NodeResizeError; `allocatedResourceStatuses` says
    that a resize can never be done (`...Infeasible`), or before 1.31 that it failed (`...Failed`).
    """
    for condition in status.conditions or ():
        if condition.type.endswith("ResizeError") and condition.status == "True":
            return clean_message(f"{condition.type}: {condition.message}".removesuffix(": "))
    for resource, state in sorted((status.allocated_resource_statuses or {}).items()):
        if state.endswith(("Infeasible", "Failed")):
            return clean_message(f"resize of {resource}: {state}")
    return ""
