"""A node's /proc and /sys as a tree in memory: what recorded devices look like, and what becomes of them."""

import errno
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from volumehealth.node.eyes import Earlier, Eyes, Sight, Snapshot
from volumehealth.node.gather import gather_btrfs, gather_device, requests_of
from volumehealth.node.klog import LogTail
from volumehealth.node.mountinfo import parse_mountinfo
from volumehealth.node.nfs import parse_mountstats
from volumehealth.node.uses import PodUse, VolumeUse

KUBELET = "/var/lib/kubelet"
BOOTED = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


class FakeFiles:
    """The `NodeFiles` of a tree: files with their text, links with their targets.

    Attributes:
        reads: paths of the files that were read, in order.
    """

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._inodes: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self.reads: list[str] = []

    # -- NodeFiles ----------------------------------------------------------------------------------------------

    def read(self, path: str) -> str:
        self.reads.append(path)
        real = self._real(path)
        if real in self._errors:
            raise OSError(self._errors[real], os.strerror(self._errors[real]))
        if real not in self._files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._files[real]

    def names(self, path: str) -> tuple[str, ...]:
        prefix = self._real(path) + "/"
        found = {
            one[len(prefix) :].partition("/")[0]
            for one in (*self._files, *self._links)
            if one.startswith(prefix)
        }
        if not found:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return tuple(sorted(found))

    def target(self, path: str) -> str:
        if path not in self._links:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._links[path]

    def inode(self, path: str) -> int:
        self.names(path)
        return self._inodes.get(self._real(path), 1)

    def _real(self, path: str) -> str:
        """Follow the links in a path."""
        for _ in range(8):
            link = next((one for one in self._links if path == one or path.startswith(one + "/")), None)
            if link is None:
                return path
            path = self._links[link] + path[len(link) :]
        return path

    # -- the tree -----------------------------------------------------------------------------------------------

    @property
    def known(self) -> tuple[str, ...]:
        """The files that are there."""
        return tuple(self._files)

    def write(self, path: str, text: object) -> None:
        """Put a file there, or change it."""
        self._errors.pop(path, None)
        self._files[path] = f"{text}\n"

    def link(self, path: str, target: str) -> None:
        """Put a link there."""
        self._links[path] = target

    def fail(self, path: str, number: int) -> None:
        """Make reading a file fail."""
        self._errors[path] = number

    def renumber(self, path: str, inode: int) -> None:
        """Give a directory another inode number, as a new one has."""
        self._inodes[path] = inode

    def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all below it."""
        for table in (self._files, self._links):
            for one in [one for one in table if one == path or one.startswith(path + "/")]:
                del table[one]

    # -- devices ------------------------------------------------------------------------------------------------

    def disk(
        self,
        name: str,
        number: str,
        *,
        place: str = "/sys/devices/virtual/block",
        size: int = 2097152,
        below: Iterable[str] = (),
    ) -> str:
        """Add a disk as sysfs shows one; return its directory."""
        path = f"{place}/{name}"
        self.link(f"/sys/class/block/{name}", path)
        self.link(f"/sys/dev/block/{number}", path)
        self.write(f"{path}/dev", number)
        self.write(f"{path}/size", size)
        self.write(f"{path}/queue/iostats", 1)
        self.count(name)
        for lower in below:
            self.link(f"{path}/slaves/{lower}", f"/sys/class/block/{lower}")
            self.link(f"/sys/class/block/{lower}/holders/{name}", path)
            lower_path = self._real(f"/sys/class/block/{lower}")
            self.write(f"{lower_path}/holders/{name}/dev", number)
        return path

    def partition(self, disk: str, name: str, number: str, *, start: int, size: int) -> str:
        """Add a partition of a disk."""
        path = f"{self._links[f'/sys/class/block/{disk}']}/{name}"
        self.link(f"/sys/class/block/{name}", path)
        self.link(f"/sys/dev/block/{number}", path)
        for file, text in (("dev", number), ("partition", 1), ("start", start), ("size", size)):
            self.write(f"{path}/{file}", text)
        self.count(name)
        return path

    def scsi(self, name: str, number: str, address: str, *, session: str = "", state: str = "running") -> str:
        """Add a SCSI disk."""
        host = address.partition(":")[0]
        way = f"/{session}" if session else ""
        path = self.disk(
            name,
            number,
            place=f"/sys/devices/pci0000:00/host{host}{way}/target{address[:-2]}/{address}/block",
        )
        self.write(f"{path}/device/state", state)
        if session:
            self.write(f"/sys/class/iscsi_session/{session}/state", "LOGGED_IN")
        return path

    def count(
        self,
        name: str,
        *,
        reads: int = 10,
        writes: int = 20,
        waiting: int = 0,
        started: str = "0 0",
        ticks: int = 5,
    ) -> None:
        """Set the counters of a device."""
        path = self._links[f"/sys/class/block/{name}"]
        self.write(f"{path}/stat", f"{reads} 0 80 {ticks} {writes} 0 160 {ticks} {waiting} 9 9 0 0 0 0 0 0")
        self.write(f"{path}/inflight", started)

    def ext4(
        self, name: str, *, errors: int = 0, warnings: int = 0, at: int = 0, code: int = 2, inode: int = 7
    ) -> None:
        """Set what ext4 counts for a device."""
        path = f"/sys/fs/ext4/{name}"
        values = {
            "errors_count": errors,
            "warning_count": warnings,
            "first_error_time": at,
            "last_error_time": at,
            "first_error_errcode": code if errors else 0,
            "last_error_errcode": code if errors else 0,
            "last_error_func": "ext4_find_entry" if errors else "",
        }
        for file, value in values.items():
            self.write(f"{path}/{file}", value)
        self.renumber(path, inode)


class Node:
    """A node in memory: its tree, its mount table, its kernel log; looked at as the agent looks.

    Attributes:
        files: its tree.
        uses: the volumes in use.
        interval: seconds between looks.
        log: lines of the kernel log, as they are printed.
        readable: whether the log can be read.
    """

    def __init__(
        self, *, kernel: tuple[int, int] = (6, 18), earlier: Mapping[str, Sequence[Earlier]] | None = None
    ) -> None:
        self.files = FakeFiles()
        self.uses: list[VolumeUse] = []
        self.interval = 15.0
        self.log: list[str] = ["<5>[    0.000000] Linux version"]
        self.readable = True
        self.mounts: dict[str, str] = {}
        self.nfs: dict[str, str] = {}
        self.passed = 1000.0
        self._kernel = kernel
        self._tail = LogTail()
        self.eyes = self._eyes(earlier)

    def _eyes(self, earlier: Mapping[str, Sequence[Earlier]] | None) -> Eyes:
        return Eyes(node="n1", kubelet=KUBELET, boot="b1", kernel=self._kernel, earlier=earlier)

    def restart(self, earlier: Mapping[str, Sequence[Earlier]] | None = None) -> None:
        """Start the agent anew."""
        self.eyes, self._tail = self._eyes(earlier), LogTail()

    @property
    def now(self) -> datetime:
        """The wall clock."""
        return BOOTED + timedelta(seconds=self.passed)

    def print(self, text: str, *, level: int = 3) -> None:
        """Write a line to the kernel log."""
        self.log.append(f"<{level}>[{self.passed:12.6f}] {text}")

    def volume(
        self,
        name: str = "data",
        *,
        number: str = "8:0",
        kind: str = "ext4",
        source: str = "/dev/sda",
        root: str = "/",
        options: str = "rw,relatime",
        super_options: str = "rw",
        **wish: object,
    ) -> VolumeUse:
        """Mount a volume for a Pod that uses it."""
        block = bool(wish.get("block"))
        path = publish_path(name, block=block)
        pod = PodUse(
            f"{name}-0",
            f"uid-{name}",
            path,
            since=self.now,
            containers_since=self.now,
            read_only=bool(wish.pop("read_only", False)),
        )
        use = VolumeUse(name, f"claim-{name}", f"pvc-{name}", (pod,), **wish)  # type: ignore[arg-type]  # as named
        self.uses.append(use)
        self.mount(
            name,
            number=number,
            kind=kind,
            source=source,
            root=root,
            options=options,
            super_options=super_options,
            block=block,
        )
        return use

    def mount(
        self,
        name: str,
        *,
        number: str = "8:0",
        kind: str = "ext4",
        source: str = "/dev/sda",
        root: str = "/",
        options: str = "rw,relatime",
        super_options: str = "rw",
        block: bool = False,
    ) -> None:
        """Change what is mounted for a volume."""
        path = publish_path(name, block=block)
        self.mounts[path] = (
            f"46 30 {number} {root} {path} {options} shared:1 - {kind} {source} {super_options}"
        )

    def umount(self, name: str) -> None:
        """Unmount a volume."""
        del self.mounts[publish_path(name)]

    def pass_(self, seconds: float) -> None:
        """Let time pass without a look."""
        self.passed += seconds

    def look(self, looks: int = 1) -> dict[str, Sight]:
        """Look some times, an interval apart; return what the last look says."""
        sights: dict[str, Sight] = {}
        for _ in range(looks):
            self.pass_(self.interval)
            sights = self.look_now()
        return sights

    def look_for(self, seconds: float) -> dict[str, Sight]:
        """Look for so long."""
        return self.look(math.ceil(seconds / self.interval))

    def look_now(self) -> dict[str, Sight]:
        """Look once."""
        tokens = [
            f"90 30 0:9 / {KUBELET}/pods/{pod.uid}/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw"
            for use in self.uses
            for pod in use.pods
        ]
        table = parse_mountinfo("\n".join([*tokens, *self.mounts.values()]), KUBELET)
        requests = requests_of(table, self.uses, KUBELET)
        btrfs = gather_btrfs(self.files, requests.values())
        snapshot = Snapshot(
            table=table,
            devices={one: gather_device(self.files, one, btrfs) for one in dict.fromkeys(requests.values())},
            requests=requests,
            nfs=parse_mountstats("\n".join(self.nfs.values())),
            log=self._tail.take("\n".join(self.log) + "\n") if self.readable else None,
        )
        return self.eyes.look(
            snapshot,
            self.uses,
            now=self.now,
            monotonic=self.passed,
            uptime=self.passed,
            interval=self.interval,
        )


def publish_path(name: str, *, block: bool = False) -> str:
    """Return where the kubelet mounts a volume of these trees."""
    if block:
        return f"{KUBELET}/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-{name}/uid-{name}"
    return f"{KUBELET}/pods/uid-{name}/volumes/kubernetes.io~csi/pvc-{name}/mount"


def said(sight: Sight) -> list[str]:
    """Return what a look says, as `Status/Reason`."""
    return [f"{one.fault.status}/{one.fault.reason}" for one in sight.incidents]


def remembered(
    sights: Mapping[str, Sight], uses: Sequence[VolumeUse], since: datetime
) -> dict[str, list[Earlier]]:
    """Return what a report keeps of the looks, for an agent that is started anew."""
    return {
        use.uid: [
            Earlier(
                one.fault.look, one.fault.status, one.fault.reason.value, one.message, one.instance, since
            )
            for one in sights[use.key].incidents
        ]
        for use in uses
    }
