"""Every way in which a volume goes bad: fault, verdict, Events on the claim and on all of its Pods, recovery."""

import pytest

from e2e.scenes import (
    WITHIN,
    Scene,
    driver_says,
    empty,
    fill,
    mount_again,
    play,
    remount,
    unmount_one,
)
from support.realnode import SPACE, RealNode
from support.releases import HEALTH_FIELDS
from volumehealth_sandbox.driver_faults import Fault, Plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SCENES = {
    "deleted outside Kubernetes": Scene(
        "deleted", *driver_says(Fault.VOLUME_DELETED), "Inaccessible", "VolumeNotFound", "Controller"
    ),
    "disk failure": Scene("disk", *driver_says(Fault.DISK_FAILURE), "DataLoss", "DiskFailure", "Controller"),
    "degraded performance": Scene(
        "slow",
        *driver_says(Fault.DEGRADED_PERFORMANCE),
        "Degraded",
        "DegradedPerformance",
        "Controller",
    ),
    "I/O errors, seen by the node": Scene(
        "ioerror", *driver_says(Fault.IO_ERRORS, Plane.NODE), "Inaccessible", "IOError", "Node"
    ),
    "filesystem corruption, seen by the node": Scene(
        "corrupt",
        *driver_says(Fault.FILESYSTEM_CORRUPTED, Plane.NODE),
        "Inaccessible",
        "FilesystemCorrupted",
        "Node",
    ),
    "out of capacity": Scene("full", fill, empty, "Degraded", "OutOfCapacity", "Node"),
    "unmounted outside Kubernetes": Scene(
        "unmounted", unmount_one, mount_again, "Inaccessible", "VolumeUnmounted", "Node"
    ),
    "remounted read-only": Scene(
        "readonly", remount("ro"), remount("rw"), "Degraded", "FilesystemReadOnly", "Node"
    ),
    "unmounted, with a driver of the older generation": Scene(
        "old-unmounted", unmount_one, mount_again, "Inaccessible", "VolumeUnmounted", "Node"
    ),
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_a_fault_is_told_and_so_is_its_end(real_node: RealNode, scene: Scene) -> None:
    """Fault, verdict, Events on PVC and Pods, recovery."""
    play(real_node, scene)


@pytest.mark.kubernetes(HEALTH_FIELDS)
def test_what_the_kubelet_says_too_is_one_finding(real_node: RealNode) -> None:
    """With the gate CSIVolumeHealth the kubelet writes pod.status.volumeHealth: one fault, heard twice, told once."""
    claim = "heard-twice"
    spoil, heal = driver_says(Fault.IO_ERRORS, Plane.NODE)
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
