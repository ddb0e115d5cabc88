"""A node with real filesystems on disks that break on demand, looked at by the agent's own looks."""

import asyncio
import os
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from support.agent import make_claim, make_pod
from volumehealth.agent.looks import NodeLooks, NodeSights
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import KnownClaim, find_targets, used_claims
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import ReportedVolume, VolumeHealthReport
from volumehealth.model.steps import at_once
from volumehealth.node.eyes import Sight
from volumehealth.node.klog import read_kernel_log
from volumehealth.policy.parse import parse_policy
from volumehealth.policy.select import Selection
from volumehealth_sandbox.faultydisk import FaultyDisk

_MAKE = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}
EVERY = 1.0
"""Seconds between looks here."""


def run(*command: str, timeout: float = 60) -> None:
    """Run a command that must work."""
    subprocess.run(command, check=True, capture_output=True, timeout=timeout)


def why_no_disks() -> str:
    """Say why real faults cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        return "needs /dev/fuse and loop devices"
    try:
        import mfusepy  # noqa: F401 - it loads libfuse3
    except (ImportError, OSError):
        return "needs libfuse3 (Debian: fuse3)"
    missing = [
        one
        for one in ("mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "losetup", "fusermount3")
        if not shutil.which(one)
    ]
    return f"needs {', '.join(missing)}" if missing else ""


class RealVolume:
    """A claim with a real filesystem, or a raw device, mounted where the kubelet would.

    Attributes:
        disk: that can be broken.
        point: where it is mounted.
    """

    def __init__(self, node: "RealNode", name: str, kind: str, options: str, mebibytes: int) -> None:
        self.name = name
        self.kind = kind
        self.options = options
        self.ref = ClaimRef("shop", name)
        self.claim = make_claim(name, block=kind == "block")
        self.pod = make_pod(
            f"{name}-0", name, since=SystemClock().now(), containers_since=SystemClock().now()
        )
        place = node.place / f"fuse-{name}"
        place.mkdir()
        self.disk = FaultyDisk(place, mebibytes)
        if kind == "block":
            self.point = (
                node.kubelet / f"plugins/kubernetes.io/csi/volumeDevices/publish/pv-{name}/{self.pod.uid}"
            )
            self.point.parent.mkdir(parents=True)
            self.point.touch()
        else:
            self.point = node.kubelet / f"pods/{self.pod.uid}/volumes/kubernetes.io~csi/pv-{name}/mount"
            self.point.mkdir(parents=True)
        if kind in _MAKE:
            run(*_MAKE[kind], self.disk.device)
        self.token = node.kubelet / f"pods/{self.pod.uid}/volumes/kubernetes.io~projected/token"
        self.token.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "tmpfs", str(self.token))
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        if self.kind == "block":
            run("mount", "--bind", self.disk.device, str(self.point))
        else:
            run("mount", "-o", self.options or "rw", self.disk.device, str(self.point))

    def umount(self) -> None:
        """Unmount it."""
        run("umount", str(self.point))

    def write(self, name: str = "file", *, mebibytes: float = 1.0, sync: bool = True) -> None:
        """Write a file, as an application would; its errors are the application's."""
        try:
            with (self.point / name).open("wb", buffering=0) as file:
                file.write(os.urandom(int(mebibytes * 1024 * 1024)))
                if sync:
                    os.fsync(file.fileno())
        except OSError:
            pass

    def write_in_background(self, name: str = "waits") -> threading.Thread:
        """Write a file in a thread that may hang."""
        thread = threading.Thread(target=self.write, args=(name,), daemon=True)
        thread.start()
        return thread

    def read(self, name: str = "file") -> None:
        """Read a file from the disk."""
        try:
            Path("/proc/sys/vm/drop_caches").write_text("3")
            (self.point / name).read_bytes()
        except OSError:
            pass

    def close(self) -> None:
        """Take all of it away."""
        self.disk.behave()
        subprocess.run(["umount", "-l", str(self.point)], check=False, capture_output=True)
        subprocess.run(["umount", "-l", str(self.token)], check=False, capture_output=True)
        self.disk.close()


class RealNode:
    """A context manager: a kubelet's directory on this machine, and the agent's looks at it.

    Args:
        place: an empty directory.
        kernel_log: whether the log is read.
        max_latency: as a policy says it.

    Attributes:
        kubelet: the kubelet's root directory.
    """

    def __init__(self, place: Path, *, kernel_log: bool = True, max_latency: str = "") -> None:
        self._check = {"ioStalledAfter": "3s"} | ({"maxLatency": max_latency} if max_latency else {})
        self.place = place
        self.kubelet = place / "kubelet"
        self._stack = ExitStack()
        self._kernel_log = kernel_log
        self._volumes: list[RealVolume] = []
        self.ledger = ReportState()
        self._looks = self._make_looks(None)

    def _make_looks(self, earlier: VolumeHealthReport | None) -> NodeLooks:
        self.ledger = ReportState(earlier)
        return NodeLooks(
            node="n1",
            kubelet=str(self.kubelet),
            mount_table="/proc/self/mountinfo",
            ledger=self.ledger,
            clock=SystemClock(),
            news=lambda: None,
            sights=NodeSights(kernel_log=read_kernel_log),
            kernel_log=self._kernel_log,
            earlier=earlier,
        )

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def volume(
        self, name: str = "data", kind: str = "ext4", *, options: str = "", mebibytes: int = 400
    ) -> RealVolume:
        """Add a volume that a Pod uses."""
        volume = RealVolume(self, name, kind, options, mebibytes)
        self._stack.callback(volume.close)
        self._volumes.append(volume)
        self._demand()
        return volume

    def _demand(self) -> None:
        spec = {"interval": "5s", "checks": {"node": self._check}}
        policy = parse_policy({"metadata": {"name": "all", "uid": "p"}, "spec": spec})
        known = {one.ref: KnownClaim(one.claim) for one in self._volumes}
        selection = Selection()
        at_once(selection.update({"p": policy}, {ref: found.claim for ref, found in known.items()}, {}, None))
        targets = find_targets(
            used_claims([one.pod for one in self._volumes], SystemClock().now()),
            known,
            selection=selection,
            policies={"p": policy},
            kubelet=str(self.kubelet),
        )
        self._looks.demand(targets.values())

    def restart(self) -> None:
        """Start the agent anew: it goes on from its report."""
        volumes = [
            ReportedVolume(
                one.claim.driver,
                one.claim.handle,
                one.ref.namespace,
                one.ref.name,
                one.claim.uid,
                conditions=self.ledger.accused(one.ref),
            )
            for one in self._volumes
            if self.ledger.accused(one.ref)
        ]
        self._looks = self._make_looks(VolumeHealthReport("n1", node="n1", volumes=tuple(volumes)))
        self._demand()

    def look(self, looks: int = 1) -> None:
        """Look some times."""

        async def repeat() -> None:
            for _ in range(looks):
                await self._looks.look()
                await asyncio.sleep(EVERY)

        asyncio.run(repeat())

    def said(self, name: str = "data") -> list[str]:
        """Return what is said of a claim, as `Status/Reason`."""
        return [f"{one.status}/{one.reason}" for one in self.ledger.accused(ClaimRef("shop", name))]

    def message(self, name: str = "data") -> str:
        """Return the words of the worst that is said."""
        return self.ledger.accused(ClaimRef("shop", name))[0].message

    def sight(self, name: str = "data") -> Sight:
        """Return what the last look says."""
        return self._looks.seen[ClaimRef("shop", name)]

    def until(self, *expected: str, name: str = "data", within: float = 30.0) -> float:
        """Look until just this is said; return how many seconds it took."""
        begun = time.monotonic()
        while time.monotonic() - begun < within:
            self.look()
            if self.said(name) == list(expected):
                return time.monotonic() - begun
        raise AssertionError(
            f"{self.said(name)} is said, not {list(expected)}: {self.ledger.accused(ClaimRef('shop', name))}"
        )
