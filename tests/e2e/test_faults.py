"""Every way in which a volume goes bad: fault, verdict, Events on the claim and on all of its Pods, recovery."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from volumehealth.sandbox.node_mounts import mount, unmount
from volumehealth.testing.driver_faults import Fault, Plane
from volumehealth.testing.realnode import SPACE, VOLUME_SIZE, RealNode

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Act = Callable[[RealNode, str], None]
WITHIN = 40.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A fault.

    Attributes:
        claim: whose volume goes bad; every scene has one of its own.
        spoil, heal: what is done to it.
        status, reason, source: of the finding.
    """

    claim: str
    spoil: Act
    heal: Act
    status: str
    reason: str
    source: str


def _driver_says(fault: Fault, plane: Plane | None = None) -> tuple[Act, Act]:
    """Let the claim's driver see a fault, and see it gone."""

    def spoil(node: RealNode, claim: str) -> None:
        driver = node.driver_of(claim)
        node.tell(driver.name, lambda control: control.fault(driver.handle(claim), fault, plane=plane))

    def heal(node: RealNode, claim: str) -> None:
        driver = node.driver_of(claim)
        node.tell(driver.name, lambda control: control.clear(driver.handle(claim)))

    return spoil, heal


def _unmount(node: RealNode, claim: str) -> None:
    """Unmount it for one Pod, as somebody with a root shell might."""
    unmount(node.path(claim, node.pods[0]))


def _mount_again(node: RealNode, claim: str) -> None:
    """Mount it again by hand: the kubelet believes that it is mounted."""
    mount("--bind", node.path(claim, node.pods[1]), node.path(claim, node.pods[0]))


def _remount(how: str) -> Act:
    """Let the filesystem take no writes, as a kernel does after errors, or take them again."""

    def act(node: RealNode, claim: str) -> None:
        mount("-o", f"remount,{how}", node.path(claim, node.pods[0]))

    return act


def _fill(node: RealNode, claim: str) -> None:
    """Write until less than 3% are free."""
    _ballast(node, claim).write_bytes(b"\0" * (VOLUME_SIZE * 99 // 100))


def _empty(node: RealNode, claim: str) -> None:
    _ballast(node, claim).unlink()


def _ballast(node: RealNode, claim: str) -> Path:
    return node.path(claim, node.pods[0]) / "ballast"


SCENES = {
    "deleted outside Kubernetes": Scene(
        "deleted", *_driver_says(Fault.VOLUME_DELETED), "Inaccessible", "VolumeNotFound", "Controller"
    ),
    "disk failure": Scene("disk", *_driver_says(Fault.DISK_FAILURE), "DataLoss", "DiskFailure", "Controller"),
    "degraded performance": Scene(
        "slow",
        *_driver_says(Fault.DEGRADED_PERFORMANCE),
        "Degraded",
        "DegradedPerformance",
        "Controller",
    ),
    "I/O errors, seen by the node": Scene(
        "ioerror", *_driver_says(Fault.IO_ERRORS, Plane.NODE), "Inaccessible", "IOError", "Node"
    ),
    "filesystem corruption, seen by the node": Scene(
        "corrupt",
        *_driver_says(Fault.FILESYSTEM_CORRUPTED, Plane.NODE),
        "Inaccessible",
        "FilesystemCorrupted",
        "Node",
    ),
    "out of capacity": Scene("full", _fill, _empty, "Degraded", "OutOfCapacity", "Node"),
    "unmounted outside Kubernetes": Scene(
        "unmounted", _unmount, _mount_again, "Inaccessible", "VolumeUnmounted", "Node"
    ),
    "remounted read-only": Scene(
        "readonly", _remount("ro"), _remount("rw"), "Degraded", "FilesystemReadOnly", "Node"
    ),
    "unmounted, with a driver of the older generation": Scene(
        "old-unmounted", _unmount, _mount_again, "Inaccessible", "VolumeUnmounted", "Node"
    ),
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_a_fault_is_told_and_so_is_its_end(real_node: RealNode, scene: Scene) -> None:
    """The record says what and where; the claim and both of its Pods are told once, and once that it is over."""
    claim = scene.claim
    everybody = {f"PersistentVolumeClaim/{claim}", *(f"Pod/{pod}" for pod in real_node.pods)}
    scene.spoil(real_node, claim)
    try:
        real_node.until(
            lambda: real_node.findings(claim), f"{claim} is found to be {scene.reason}", within=WITHIN
        )
        found = [(one["status"], one["reason"], one["source"]) for one in real_node.findings(claim)]
        assert found == [(scene.status, scene.reason, scene.source)]
        real_node.until(
            lambda: real_node.told("VolumeConditionAbnormal", claim) == everybody,
            "everybody is told",
        )
        assert real_node.condition("VolumesHealthy")["status"] == "False"
        if scene.source == "Node":
            assert real_node.findings(claim)[0]["node"] == real_node.node.name
    finally:
        scene.heal(real_node, claim)
    real_node.until(lambda: real_node.health(claim) in ("Recovered", ""), f"{claim} recovers", within=WITHIN)
    real_node.until(lambda: real_node.told("VolumeConditionNormal", claim) == everybody, "all is well again")
    counts = {event["count"] for event in real_node.events("VolumeConditionAbnormal")}
    assert counts == {1}


def test_what_the_kubelet_says_too_is_one_finding(real_node: RealNode) -> None:
    """With the gate CSIVolumeHealth the kubelet writes pod.status.volumeHealth: one fault, heard twice, told once."""
    claim = "heard-twice"
    spoil, heal = _driver_says(Fault.IO_ERRORS, Plane.NODE)
    spoil(real_node, claim)
    try:
        real_node.until(lambda: real_node.findings(claim), "the fault is found", within=WITHIN)
        real_node.until(
            lambda: (
                [_kubelet_says(real_node, pod, claim) for pod in real_node.pods]
                == [[("Inaccessible", "IOError")]] * 2
            ),
            "the kubelet says it, too",
        )
        real_node.until(lambda: real_node.told("VolumeConditionAbnormal", claim), "it is told")
        seen = real_node.checks()
        real_node.until(lambda: real_node.checks() >= seen + 2, "two checks later")
        assert [one["reason"] for one in real_node.findings(claim)] == ["IOError"]
        told = [
            e for e in real_node.events("VolumeConditionAbnormal") if e["involvedObject"]["name"] == claim
        ]
        assert [event["count"] for event in told] == [1]
    finally:
        heal(real_node, claim)
    real_node.until(lambda: real_node.health(claim) in ("Recovered", ""), f"{claim} recovers", within=WITHIN)
    real_node.until(lambda: real_node.told("VolumeConditionNormal", claim), "all is well again")
    assert [_kubelet_says(real_node, pod, claim) for pod in real_node.pods] == [[], []]


def _kubelet_says(node: RealNode, pod: str, claim: str) -> list[tuple[str, str]]:
    """Return status and reason of what the kubelet wrote about a volume of a Pod."""
    volumes = node.get("pod", pod, namespace=SPACE)["status"].get("volumeHealth") or ()
    return [
        (one["status"], one["reason"])
        for volume in volumes
        if volume["name"] == claim
        for one in volume.get("healthConditions") or ()
    ]
