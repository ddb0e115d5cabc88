"""What objects of the API say against a volume: the health fields of Kubernetes 1.37, and errors of older kinds.

Everything here is pure, and nothing is made of an object that has nothing to say. Texts come from drivers and other
programs: they are cleaned and bounded. A status of a newer version is kept as it came (facts C3, C5).
"""

from collections.abc import Iterable
from sys import intern

import msgspec

from volumehealth.model.cluster import ApiConditions, StorageStatement
from volumehealth.model.health import DEGRADED, INACCESSIBLE, Condition
from volumehealth.model.text import clean_message, clean_reason
from volumehealth.model.vocabulary import Reason

_MOST = 16
"""Conditions of one volume; the API server takes no more (facts C3)."""
_STATUS = 64


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


class ClaimCondition(msgspec.Struct, gc=False):
    """An entry of a claim's `status.conditions`."""

    type: str = ""
    status: str = ""
    message: str = ""


class ClaimStatus(msgspec.Struct, rename="camel", gc=False):
    """`status` of a claim, as far as it is used."""

    phase: str = ""
    conditions: list[ClaimCondition] | None = None
    allocated_resource_statuses: dict[str, str] | None = None
    health_status: ClaimHealthStatus | None = None


class PodStatus(msgspec.Struct, rename="camel", gc=False):
    """`status` of a Pod, as far as it is used."""

    phase: str = ""
    volume_health: list[NamedHealth] | None = None


def claim_api_conditions(status: ClaimStatus) -> ApiConditions | None:
    """Return what a claim's status says against its volume; None if that is nothing."""
    health = health_conditions(status.health_status.conditions) if status.health_status else ()
    own = tuple(_own(status))
    return ApiConditions(health, own) if health or own else None


def health_conditions(conditions: Iterable[HealthCondition] | None) -> tuple[Condition, ...]:
    """Return the conditions of a 1.37 field; one without a status says nothing that could be told."""
    return tuple(
        Condition(
            intern(clean_message(one.status)[:_STATUS]),
            intern(clean_reason(one.reason)),
            clean_message(one.message),
        )
        for one in list(conditions or ())[:_MOST]
        if one.status
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
