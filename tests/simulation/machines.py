"""A simulated node as its agent sees it: mount table, sysfs, kernel log, plugin sockets; and what breaks there."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simulation.processes import Host
from support.nodetree import FakeFiles
from volumehealth.agent.looks import MOUNT_TABLE
from volumehealth.agent.paths import volume_paths
from volumehealth.agent.registry import Stamp
from volumehealth.model.origin import Observer


@dataclass(frozen=True, slots=True)
class NodeFault:
    """A kind of fault that a node sees.

    Attributes:
        status, reason: what the looks call it.
        observer: which look sees it.
        delay: seconds that it must last until they do.
        latched: it lasts until the volume is mounted anew.
    """

    status: str
    reason: str
    observer: Observer
    delay: float = 0.0
    latched: bool = False


NODE_FAULTS: Mapping[str, NodeFault] = {
    "read_only": NodeFault("Degraded", "FilesystemReadOnly", Observer.MOUNT_TABLE),
    "unmounted": NodeFault("Inaccessible", "VolumeUnmounted", Observer.MOUNT_TABLE),
    "gone": NodeFault("Inaccessible", "DeviceGone", Observer.BLOCK_DEVICE),
    "offline": NodeFault("Inaccessible", "DeviceOffline", Observer.BLOCK_DEVICE, delay=60.0),
    "stalled": NodeFault("Inaccessible", "IOStalled", Observer.BLOCK_DEVICE, delay=60.0),
    "counted": NodeFault("Degraded", "FilesystemError", Observer.FILESYSTEM, latched=True),
    "shut_down": NodeFault("Inaccessible", "FilesystemShutdown", Observer.KERNEL_LOG, latched=True),
}
ONLY_ON = {"counted": "ext4", "shut_down": "xfs"}
"""The filesystem that shows a fault in this way."""
NODE_FAILED = NodeFault("Inaccessible", "NodeFailed", Observer.API, delay=300.0)
"""A node that is not Ready, or gone; the policy's `checks.nodeFailure.after` takes the place of `unhealthyAfter`."""
BY_REASON: Mapping[str, NodeFault] = {fault.reason: fault for fault in (*NODE_FAULTS.values(), NODE_FAILED)}


@dataclass(frozen=True, slots=True)
class Failure:
    """A time in which a node was not Ready, or gone.

    Attributes:
        start, end: virtual seconds.
        gone: its object did not exist.
    """

    start: float
    end: float
    gone: bool


@dataclass(eq=False, slots=True)
class Place:
    """A volume on a node, from its mounting to its unmounting.

    Attributes:
        node, claim, pod: the node's name; uids of the claim and of the Pod.
        handle, volume, driver: of the volume.
        since, until: virtual seconds; None while it is mounted.
        kind: of its filesystem.
        disk, number: the device, and its number.
        fault: what is wrong now; empty if nothing is.
        truth: the changes of `fault`, with their times.
    """

    node: str
    claim: str
    pod: str
    handle: str
    volume: str
    driver: str
    since: float
    until: float | None = None
    kind: str = "ext4"
    disk: str = ""
    number: str = ""
    fault: str = ""
    truth: list[tuple[float, str]] = field(default_factory=list)

    def fault_at(self, at: float) -> str:
        """Return what was wrong at a moment."""
        return next((fault for moment, fault in reversed(self.truth) if moment <= at), "")


class Machine:
    """A node.

    Args:
        host: its name and clock.
        drivers: names of the drivers whose plugins run here.
        errors: what the filesystems of volumes have counted, by handle; it is on the disk and goes with it.

    Attributes:
        files: its /proc and /sys.
        kubelet: the kubelet's root directory.
        places: the volumes that are mounted here.
        readable: whether the kernel log can be read.
        rounds: how often its agents began to look.
    """

    def __init__(self, host: Host, drivers: tuple[str, ...], errors: dict[str, tuple[int, int]]) -> None:
        self.host = host
        self.files = FakeFiles()
        self.kubelet = f"/simulated/{host.name}"
        self.places: list[Place] = []
        self.readable = True
        self.rounds = 0
        self._drivers = drivers
        self._errors = errors
        self._made = 0
        self._log = ["<5>[    0.000000] Linux version 6.18.0"]
        self.files.write("/proc/sys/kernel/random/boot_id", f"boot-of-{host.name}")
        self.files.write("/proc/sys/kernel/osrelease", "6.18.0")
        self._show_mounts()

    # ---- what its agent sees ----

    def sockets(self, directory: Path) -> Mapping[str, Stamp]:
        """Return the sockets of the plugin registry (`agent.registry.sockets_below`)."""
        return {f"{directory}/{plugin_socket(name)}": (1, 1) for name in self._drivers}

    def kernel_log(self) -> str:
        """Return the whole log."""
        self.rounds += 1
        if not self.readable:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        self.files.reads.clear()
        return "\n".join(self._log) + "\n"

    # ---- what happens to it ----

    def mount(self, place: Place) -> None:
        """A volume is attached and mounted."""
        self._made += 1
        used = {one.disk for one in self.places}
        letter = next(one for one in "abcdefghijklmnopqrstuvwxyz" if f"sd{one}" not in used)
        place.disk, place.number = f"sd{letter}", f"8:{16 * (ord(letter) - ord('a'))}"
        self.places.append(place)
        self._show_disk(place)
        if place.kind == "ext4":
            self._count_errors(place, self._made)
        else:
            self.files.write(f"/sys/fs/xfs/{place.disk}/log/log_head_lsn", 1)
            self.files.renumber(f"/sys/fs/xfs/{place.disk}", self._made)
            self._print(f"XFS ({place.disk}): Mounting V5 Filesystem")
        self._show_mounts()

    def unmount(self, place: Place) -> None:
        """A volume is unmounted and detached."""
        self.places.remove(place)
        if place.fault != "gone":
            self._hide_disk(place)
        self.files.remove(f"/sys/fs/{place.kind}/{place.disk}")
        if place.kind == "xfs":
            self._print(f"XFS ({place.disk}): Unmounting Filesystem")
        self._show_mounts()

    def break_(self, place: Place, kind: str) -> None:
        """Something breaks; what was broken before is mended."""
        self.mend(place)
        place.fault = kind
        match kind:
            case "gone":
                self._hide_disk(place)
            case "offline":
                self._set_state(place, "offline")
            case "stalled":
                self.files.count(place.disk, waiting=3, started="1 2")
            case "counted":
                errors, _ = self._errors.get(place.handle, (0, 0))
                self._errors[place.handle] = (errors + 1, int(self.host.now().timestamp()))
                self._count_errors(place, None)
            case "shut_down":
                self._print(f"XFS ({place.disk}): Filesystem has been shut down due to log error (0x2).")
            case _:
                self._show_mounts()

    def mend(self, place: Place) -> None:
        """What is broken is as it was; what is latched stays."""
        kind, place.fault = place.fault, ""
        match kind:
            case "gone":
                self._show_disk(place)
            case "offline":
                self._set_state(place, "running")
            case "stalled":
                self.files.count(place.disk, reads=20)
            case _:
                self._show_mounts()

    def _print(self, text: str) -> None:
        """Write a line to the kernel log."""
        self._log.append(f"<4>[{self.host.monotonic():12.6f}] {text}")

    def _show_disk(self, place: Place) -> None:
        address = f"{ord(place.disk[-1]) - ord('a')}:0:0:0"
        self.files.scsi(place.disk, place.number, address)

    def _hide_disk(self, place: Place) -> None:
        path = self.files.target(f"/sys/class/block/{place.disk}")
        for one in (
            path,
            f"{path}/device",
            f"/sys/class/block/{place.disk}",
            f"/sys/dev/block/{place.number}",
        ):
            self.files.remove(one)

    def _set_state(self, place: Place, state: str) -> None:
        self.files.write(f"{self.files.target(f'/sys/class/block/{place.disk}')}/device/state", state)

    def _count_errors(self, place: Place, mounting: int | None) -> None:
        """Show what the filesystem counts; another mounting has another directory."""
        errors, at = self._errors.get(place.handle, (0, 0))
        if mounting is not None:  # a Pod takes longer to be replaced than here
            at = min(at, int(self.host.now().timestamp()) - 2)
            self._errors[place.handle] = errors, at
        path = f"/sys/fs/ext4/{place.disk}"
        inode = self.files.inode(path) if mounting is None else mounting
        self.files.ext4(place.disk, errors=errors, at=at, inode=inode)

    def _show_mounts(self) -> None:
        lines = ["20 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw"]
        for place in self.places:
            token = f"{self.kubelet}/pods/{place.pod}/volumes/kubernetes.io~projected/token"
            lines.append(f"90 20 0:9 / {token} rw - tmpfs tmpfs rw")
            if place.fault != "unmounted":
                how = "ro" if place.fault == "read_only" else "rw"
                path = self._path(place)
                lines.append(
                    f"46 20 {place.number} / {path} rw,relatime shared:1 - {place.kind} /dev/{place.disk} {how}"
                )
        self.files.write(MOUNT_TABLE, "\n".join(lines))

    def _path(self, place: Place) -> str:
        return volume_paths(
            self.kubelet,
            volume=place.volume,
            driver=place.driver,
            handle=place.handle,
            pod_uid=place.pod,
            block=False,
        ).publish


def plugin_socket(driver: str) -> str:
    """Return the name of a driver's socket in the plugin registry."""
    return f"{driver}-reg.sock"


def inline(work: Callable[[], None]) -> None:
    """Do at once what a node agent does in threads (`agent.looks.NodeSights.start`)."""
    work()
