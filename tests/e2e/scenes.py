"""How volumes are spoiled and healed on the real node, and what must come of it."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.realnode import VOLUME_SIZE, RealNode
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.node_mounts import mount, unmount

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


def driver_says(fault: Fault, plane: Plane | None = None) -> tuple[Act, Act]:
    """Let the claim's driver see a fault, and see it gone."""

    def spoil(node: RealNode, claim: str) -> None:
        driver = node.driver_of(claim)
        node.tell(driver.name, lambda control: control.fault(driver.handle(claim), fault, plane=plane))

    def heal(node: RealNode, claim: str) -> None:
        driver = node.driver_of(claim)
        node.tell(driver.name, lambda control: control.clear(driver.handle(claim)))

    return spoil, heal


def unmount_one(node: RealNode, claim: str) -> None:
    """Unmount it for one Pod, as somebody with a root shell might."""
    unmount(node.path(claim, node.pods[0]))


def mount_again(node: RealNode, claim: str) -> None:
    """Mount it again by hand: the kubelet believes that it is mounted."""
    mount("--bind", node.path(claim, node.pods[1]), node.path(claim, node.pods[0]))


def remount(how: str) -> Act:
    """Let the filesystem take no writes, as a kernel does after errors, or take them again."""

    def act(node: RealNode, claim: str) -> None:
        mount("-o", f"remount,{how}", node.path(claim, node.pods[0]))

    return act


def fill(node: RealNode, claim: str) -> None:
    """Write until less than 3% are free."""
    _ballast(node, claim).write_bytes(b"\0" * (VOLUME_SIZE * 99 // 100))


def empty(node: RealNode, claim: str) -> None:
    """Remove what `fill` wrote."""
    _ballast(node, claim).unlink()


def _ballast(node: RealNode, claim: str) -> Path:
    return node.path(claim, node.pods[0]) / "ballast"


@contextmanager
def dead_mount(path: Path) -> Iterator[None]:
    """Mount a filesystem that never answers on top of a path: whoever looks at it hangs until this ends.

    It is FUSE with nobody behind it; closing its device lets every call fail that waits.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"dead", os.fsencode(path), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount", str(path))
        try:
            yield
        finally:
            unmount(path)
    finally:
        os.close(device)


def play(node: RealNode, scene: Scene) -> None:
    """Spoil a volume, see what is found and who is told; heal it, and see that everybody is told that.

    The record says what and where; the claim and each of its Pods are told once, and once that it is over.
    """
    claim = scene.claim
    everybody = {f"PersistentVolumeClaim/{claim}", *(f"Pod/{pod}" for pod in node.pods)}
    scene.spoil(node, claim)
    try:
        node.until(lambda: node.findings(claim), f"{claim} is found to be {scene.reason}", within=WITHIN)
        found = [(one["status"], one["reason"], one["source"]) for one in node.findings(claim)]
        assert found == [(scene.status, scene.reason, scene.source)]
        node.until(lambda: node.told("VolumeConditionAbnormal", claim) == everybody, "everybody is told")
        assert node.condition("VolumesHealthy")["status"] == "False"
        if scene.source == "Node":
            assert node.findings(claim)[0]["node"] == node.node.name
    finally:
        scene.heal(node, claim)
    await_recovery(node, claim)
    node.until(lambda: node.told("VolumeConditionNormal", claim) == everybody, "all is well again")
    assert {event["count"] for event in node.events("VolumeConditionAbnormal")} == {1}


def await_recovery(node: RealNode, claim: str) -> None:
    """Wait until a claim is healthy again."""
    node.until(lambda: node.health(claim) in ("Recovered", ""), f"{claim} recovers", within=WITHIN)
