"""Ways in x namespaces: the driver's Pod always starts, and the agent is beside it wherever the Pod is accepted with it.

In: drivers that serve their socket in an emptyDir of their own Pod, as vendors ship them: a real Pod from the product's
image, with the simulated driver's source in a ConfigMap. Out: a table, on the terminal.
"""

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.controllers import (
    ACCOUNT,
    INJECTING,
    SOURCE,
    SOURCE_MAP,
    Manifest,
    driver_pod,
    rights_of_a_provisioner,
    settings,
    workload,
    write_kustomization,
)
from support.realnode import RealNode
from support.releases import INJECTION, serves
from volumehealth.errors import SandboxError
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects
from volumehealth_sandbox.tools import Say

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
QUOTA = {
    "requests.cpu": "1",
    "requests.memory": "1Gi",
    "limits.cpu": "4",
    "limits.memory": "2Gi",
    "pods": "4",
}
ROOM = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}
CLAIM = "volume"
"""Name of the claim that makes a driver one that is in use, so that the operator has a hint for it."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace and what runs there.

    Attributes:
        labels: of the namespace.
        quota: of a ResourceQuota; none if empty.
        limits: for each container, of a LimitRange; none if empty.
        user: the driver's `runAsUser`; None if its image decides.
        resources: of the driver's container.
        hint: a part of why the agent is left out; empty if it is expected beside the driver.
        refusal: a part of why the Pod is refused with the agent in it; empty if it is not.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    quota: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    user: int | None = 0
    resources: Mapping[str, Any] = field(default_factory=lambda: ROOM)
    hint: str = ""
    refusal: str = ""

    def pod(self, driver: str) -> Manifest:
        """Write the driver's Pod as its vendor ships it."""
        return driver_pod(driver, user=self.user, resources=dict(self.resources))


PLACES = {
    "plain": Place(),
    "restricted": Place(RESTRICTED, user=1000),
    "quota": Place(quota=QUOTA),
    "restricted-quota": Place(RESTRICTED, QUOTA, user=1000),
    "quota-of-ephemeral-storage": Place(
        quota={"requests.ephemeral-storage": "1Gi", "limits.ephemeral-storage": "1Gi"}
    ),
    "limit-range": Place(
        limits={"min": {"cpu": "5m", "memory": "32Mi"}, "max": {"cpu": "2", "memory": "512Mi"}}
    ),
}
UNKNOWN_USER = Place(RESTRICTED, user=None, hint="the user that serves the socket is not known")
REFUSING = {
    "quota-without-room": Place(quota={"limits.memory": "300Mi"}, refusal="exceeded quota"),
    "limit-range-minimum": Place(
        limits={"min": {"memory": "100Mi"}}, refusal="minimum memory usage per Container is 100Mi"
    ),
    "limit-range-maximum": Place(
        limits={"max": {"memory": "140Mi"}},
        resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "140Mi"}},
        refusal="maximum memory usage per Container is 140Mi",
    ),
    "limit-range-ratio": Place(
        limits={"maxLimitRequestRatio": {"cpu": "10"}},
        refusal="cpu max limit to request ratio per Container is 10",
    ),
}


@pytest.fixture
def driver(real_node: RealNode, request: pytest.FixtureRequest) -> Iterator[str]:
    """A driver's name for each test; what was made for it is removed afterwards."""
    place = request.node.callspec.id.lower()
    driver = f"way-{next(_numbers)}-{place}"[:40] + ".csi.volumehealth.test"  # 63 bytes at most
    yield driver
    real_node.kubectl("delete", "namespace", _space(driver), "--ignore-not-found", "--wait=false")
    switch_off(real_node, driver)
    asyncio.run(_with_objects(real_node, lambda objects: objects.delete_claim(_space(driver), CLAIM)))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_by_the_component(
    real_node: RealNode, show: Say, tmp_path: Path, kind: str, place: Place, driver: str
) -> None:
    """The settings say who owns the socket."""
    make_namespace(real_node, driver, place)
    apply_component(real_node, tmp_path, driver, kind, place)
    look(real_node, show, driver, kind, place, f"component, {kind}")


@pytest.mark.parametrize("place", REFUSING.values(), ids=REFUSING.keys())
def test_by_the_component_a_pod_without_room_is_refused(
    real_node: RealNode, show: Say, tmp_path: Path, place: Place, driver: str
) -> None:
    """No Pod is made, its Deployment says why, and so does a trial of the Pod; without the agent there is room."""
    make_namespace(real_node, driver, place)
    apply_component(real_node, tmp_path, driver, "Deployment", place)
    real_node.until(lambda: place.refusal in _not_made(real_node, driver), f"refused: {place.refusal}")
    show(f"{'component, Deployment':24} {_space(driver):42} refused: {_not_made(real_node, driver)}")
    assert real_node.product.pods(_space(driver)) == []
    assert _trial(real_node, driver, place) == ["csi-driver"]


@pytest.mark.kubernetes(INJECTION)
@pytest.mark.parametrize("place", [*PLACES.values(), UNKNOWN_USER], ids=[*PLACES, "restricted-unknown-user"])
def test_by_the_admission_policy(
    real_node: RealNode, show: Say, tmp_path: Path, place: Place, driver: str
) -> None:
    """The policy finds out who owns the socket."""
    make_namespace(real_node, driver, place)
    switch_on(real_node, tmp_path, driver)
    real_node.until(lambda: len(_trial(real_node, driver, place)) > 1, "the policy is in force")
    deployment = workload("Deployment", _space(driver), place.pod(driver))
    real_node.kubectl("apply", "-f", "-", text=json.dumps(deployment))
    look(real_node, show, driver, "Deployment", place, "admission policy")


@pytest.mark.kubernetes(INJECTION)
@pytest.mark.parametrize("place", REFUSING.values(), ids=REFUSING.keys())
def test_by_the_admission_policy_a_trial_tells_of_a_refusal_before(
    real_node: RealNode, show: Say, tmp_path: Path, place: Place, driver: str
) -> None:
    """The check of docs/controller-agent.md: a Pod of the driver, with `--dry-run=server`; undone by deleting the policy."""
    make_namespace(real_node, driver, place)
    assert _trial(real_node, driver, place) == ["csi-driver"]
    switch_on(real_node, tmp_path, driver)
    real_node.until(lambda: place.refusal in _refused(real_node, driver, place), f"refused: {place.refusal}")
    show(f"{'admission policy':24} {_space(driver):42} refused: {_refused(real_node, driver, place)}")
    switch_off(real_node, driver)
    real_node.until(lambda: not _refused(real_node, driver, place), "without the policy the Pod is taken")
    deployment = workload("Deployment", _space(driver), place.pod(driver))
    real_node.kubectl("apply", "-f", "-", text=json.dumps(deployment))
    real_node.product.await_rollout(f"Deployment/{ACCOUNT}", _space(driver))


def _space(driver: str) -> str:
    return driver.partition(".")[0]


async def _with_objects(node: RealNode, what: Any) -> None:
    async with ClusterObjects(node.plane.kubeconfig) as objects:
        await what(objects)


def make_namespace(node: RealNode, driver: str, place: Place) -> None:
    """Make the namespace, its quota and limits, the driver's source and its ServiceAccount, and a claim on the driver."""
    space = _space(driver)
    named = {"apiVersion": "v1", "metadata": {"name": "here", "namespace": space}}
    objects: list[Manifest] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": dict(place.labels)}},
        *rights_of_a_provisioner(space),
    ]
    if place.quota:
        objects.append({**named, "kind": "ResourceQuota", "spec": {"hard": dict(place.quota)}})
    if place.limits:
        limits = [{"type": "Container", **place.limits}]
        objects.append({**named, "kind": "LimitRange", "spec": {"limits": limits}})
    node.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    node.kubectl("create", "configmap", SOURCE_MAP, f"--namespace={space}", f"--from-file={SOURCE}")
    claim = ClaimSpec(space, CLAIM, VolumeId(driver, "vol-1"))
    asyncio.run(_with_objects(node, lambda objects: objects.make(claim)))


def apply_component(node: RealNode, tmp_path: Path, driver: str, kind: str, place: Place) -> None:
    """Apply the driver's controller with both components, as docs/controller-agent.md says."""
    user = place.user or 0
    said = {"runAsUser": str(user), "runAsNonRoot": str(user != 0).lower()}
    resources = [settings(driver, _space(driver), **said), workload(kind, _space(driver), place.pod(driver))]
    node.kubectl("apply", "-k", str(write_kustomization(tmp_path / "overlay", resources)))


def switch_on(node: RealNode, tmp_path: Path, driver: str) -> None:
    """Apply the rights and the admission policy, by the components; the policy finds out who owns the socket."""
    resources = [settings(driver, _space(driver), runAsUser="auto")]
    node.kubectl("apply", "-k", str(write_kustomization(tmp_path / "injection", resources, INJECTING)))


def switch_off(node: RealNode, driver: str) -> None:
    """Delete the admission policy of a driver, if there is one."""
    if serves(INJECTION):
        kinds = "mutatingadmissionpolicy,mutatingadmissionpolicybinding"
        node.kubectl("delete", kinds, f"volumehealth-controller-agent.{driver}", "--ignore-not-found")


def _trial(node: RealNode, driver: str, place: Place) -> list[str]:
    """Return the containers that a Pod of the driver would have, and its annotations, without making it.

    Raises:
        SandboxError: if it would be refused.
    """
    metadata = {"name": "trial", "namespace": _space(driver)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": place.pod(driver)}
    said = node.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(pod))
    made = json.loads(said)
    return [one["name"] for one in made["spec"]["containers"]] + list(
        made["metadata"].get("annotations") or ()
    )


def _refused(node: RealNode, driver: str, place: Place) -> str:
    """Return why a Pod of the driver would be refused; empty if it would not."""
    try:
        _trial(node, driver, place)
    except SandboxError as error:
        return str(error).rpartition("forbidden: ")[2]
    return ""


def _not_made(node: RealNode, driver: str) -> str:
    """Return why the driver's Deployment has no Pod; empty while it says nothing."""
    status = node.get("deployment", ACCOUNT, namespace=_space(driver)).get("status") or {}
    said = [one["message"] for one in status.get("conditions") or () if one["type"] == "ReplicaFailure"]
    return "".join(said).rpartition("forbidden: ")[2]


def look(node: RealNode, show: Say, driver: str, kind: str, place: Place, way: str) -> None:
    """See the Pod start, with the agent or without; and what the operator says of the driver."""
    took = node.product.await_rollout(f"{kind}/{ACCOUNT}", _space(driver))
    (pod,) = node.product.pods(_space(driver))
    names = {one["name"] for one in pod["spec"]["containers"]}
    assert all(one["ready"] for one in pod["status"]["containerStatuses"])
    assert ("volumehealth" in names) is not bool(place.hint)
    if place.hint:
        assert place.hint in pod["metadata"]["annotations"]["volumehealth.dev/left-out-because"]
        node.until(lambda: _driver(node, driver), "the operator knows the driver", within=60.0)
    else:
        node.until(
            lambda: _driver(node, driver).get("state") == "Answering", "the driver answers", within=60.0
        )
    found = _driver(node, driver)
    beside = "left out" if place.hint else "beside"
    show(
        f"{way:24} {_space(driver):42} Pod Ready after {took:4.1f} s; agent {beside}; vhd says {found['state']}"
        f"{', hint: ' + found['hint'] if found.get('hint') else ''}"
    )


def _driver(node: RealNode, driver: str) -> dict[str, Any]:
    """Return the status of a driver's VolumeHealthDriver; empty while there is none."""
    items = node.get("vhd")["items"]
    return next((one.get("status") or {} for one in items if one["metadata"]["name"] == driver), {})
