"""A block device and what lies below it, as sysfs shows them; gathering, which may hang with the kernel.

The way down: a partition to its disk, a device mapper or md device to its slaves, a multipath NVMe namespace to its
controllers, a SCSI disk to its iSCSI session or Fibre Channel port, a loop device to its backing file.
"""

import re
from dataclasses import dataclass

from volumehealth.node.files import NodeFiles, is_number, names_or, number_or, read_or

DEPTH = 8
"""Layers that are followed at most: partition, LVM, crypt, multipath, disk are five."""
WIDTH = 64
"""Devices that are looked at below one volume at most."""

WAITING = 8
"""Place of field 9 in `stat`: requests that wait or are worked on."""

_DIGITS = re.compile(r"[0-9 ]*")
_LINE = 400
_SESSION = re.compile(r"/(session\d+)/")
_PORT = re.compile(r"/(rport-[\d:-]+)/")
_PORT_GOOD = frozenset({"Online", "Marginal"})
"""A port that is marginal (5.12+) loses frames: multipath prefers others, but I/O goes through it."""
_SCSI = re.compile(r"/(\d+:\d+:\d+:\d+)/")
_RBD = re.compile(r"rbd(\d+)")
_NVME_HEAD = re.compile(r"nvme(?P<subsystem>\d+)n(?P<namespace>\d+)")
_NVME_CONTROLLER = re.compile(r"nvme\d+")
_LEG = re.compile(r".+_[rm]image_\d+")
"""How LVM calls what it makes a mirror, or another kind of array, of (lvmraid(7))."""
_META = re.compile(r".+_(?:rmeta_\d+|mlog)")
"""How it calls what a redundant one has beside these; a striped one has none."""
_REDUNDANT = frozenset({"raid1", "raid4", "raid5", "raid6", "raid10"})


@dataclass(frozen=True, slots=True)
class Part:
    """Something a device depends on that has a state of its own.

    Attributes:
        what: `SCSI device`, `NVMe controller`, `iSCSI session`, `Fibre Channel port`.
        name: of it.
        state: as the kernel names it.
        good: whether I/O goes through it.
    """

    what: str
    name: str
    state: str
    good: bool


@dataclass(frozen=True, slots=True)
class Raid:
    """State of an md device: how many members are missing, its level and `array_state`, how many members it should have."""

    degraded: int
    level: str
    state: str
    members: int = 0

    @property
    def working(self) -> int:
        """How many members work."""
        return self.members - self.degraded

    @property
    def redundant(self) -> bool:
        """Whether it works on without a member."""
        return self.level in _REDUNDANT


@dataclass(frozen=True, slots=True)
class Block:
    """A block device at one moment.

    Attributes:
        name: the kernel's name, with `/` as it is.
        number: major and minor number.
        disk: name of the whole disk; its own for one that is no partition.
        start, size: in sectors of 512 bytes; `start` is 0 for a whole disk.
        stat: the fields of its `stat` file (Documentation/block/stat.rst).
        started: requests that its driver has begun: reads and writes; only read if anything waits.
        counted: whether the kernel counts I/O of it, as `queue/iostats` says: a driver may count all the same.
        sequence: `diskseq`, another one for each disk that had this name; empty before 5.15.
        inode: of its directory in sysfs.
        below: the devices it consists of.
        users: how many devices are made of it, and of the partitions of a whole disk; not counted for the device that
            is mounted.
        parts: what it depends on, other than devices.
        dm_uuid, dm_name: of a device mapper device.
        suspended: it is a device mapper device that was suspended.
        raid: its state if it is an md device.
        serial: that an NVMe or virtio disk shows.
        image: name of the image behind an RBD device.
    """

    name: str
    number: str
    disk: str
    start: int = 0
    size: int = 0
    stat: tuple[int, ...] = ()
    started: tuple[int, int] = (0, 0)
    counted: bool = True
    sequence: str = ""
    inode: int = 0
    below: tuple[str, ...] = ()
    users: int = 0
    parts: tuple[Part, ...] = ()
    dm_uuid: str = ""
    dm_name: str = ""
    suspended: bool = False
    raid: Raid | None = None
    serial: str = ""
    image: str = ""

    @property
    def multipath(self) -> bool:
        """Whether what lies below are ways to one disk, of which one is enough."""
        return self.dm_uuid.startswith("mpath-")


@dataclass(frozen=True, slots=True)
class Stack:
    """A device and everything below it, uppermost first.

    Attributes:
        blocks: the devices.
        gone: names of devices below that are not there any more.
    """

    blocks: tuple[Block, ...]
    gone: frozenset[str] = frozenset()

    @property
    def shared(self) -> frozenset[str]:
        """Names of the devices of which more than this one is made, and of what lies below them.

        What fails there need not be of this device: of a disk that several logical volumes lie on another one may be hit,
        and what one member of an array lacks, the array has from the others.
        """
        found = {block.name for block in self.blocks if self._used_by_others(block)}
        for _ in range(DEPTH):
            for block in self.blocks:
                if block.name in found or self.redundant(block):
                    found.update(block.below)
        return frozenset(found)

    def redundant(self, block: Block) -> bool:
        """Tell whether a device is an array that works on without one of its members: one of md, or of LVM."""
        return bool(self.legs(block)) or (block.raid is not None and block.raid.redundant)

    def legs(self, block: Block) -> tuple[str, ...]:
        """Return the members of a redundant array of LVM; none of another device."""
        names = {lower.name: lower.dm_name for name in block.below if (lower := self.block(name)) is not None}
        if not any(map(_META.fullmatch, names.values())):
            return ()
        return tuple(name for name, called in names.items() if _LEG.fullmatch(called))

    def _used_by_others(self, block: Block) -> bool:
        """Tell so of a device; of a disk that is used by partitions, sectors say which one is meant."""
        partitions = any(one.disk == block.name and one.name != block.name for one in self.blocks)
        return block.users > 1 and block is not self.top and not partitions

    @property
    def top(self) -> Block:
        """The device that is mounted."""
        return self.blocks[0]

    def block(self, name: str) -> Block | None:
        """Return one of its devices."""
        return next((one for one in self.blocks if one.name == name), None)


def device_path(files: NodeFiles, number: str) -> str:
    """Return the directory of a device in sysfs.

    Raises:
        FileNotFoundError: if there is no such device.
        OSError: if sysfs cannot be read.
    """
    return files.target(f"/sys/dev/block/{number}")


def name_of(path: str) -> str:
    """Return the kernel's name of the device whose directory in sysfs this is; `!` stands for `/` there."""
    return path.rpartition("/")[2].replace("!", "/")


def gather_stack(files: NodeFiles, name: str, *, path: str = "", number: str = "") -> Stack:
    """Read a device and what lies below it.

    Args:
        files: of the node.
        name: the kernel's name of the device.
        path: of its directory in sysfs, if it is known.
        number: its major and minor number, if it is known.

    Raises:
        FileNotFoundError: if the device itself is not there.
        OSError: if sysfs cannot be read.
    """
    found: dict[str, Block] = {}
    gone: set[str] = set()
    layer = [name]
    for _ in range(DEPTH):
        for one in layer:
            if one not in found and len(found) < WIDTH:
                try:
                    found[one] = (
                        gather_block(files, one, path=path, number=number, top=True)
                        if one == name
                        else gather_block(files, one)
                    )
                except FileNotFoundError:
                    if one == name:
                        raise
                    gone.add(one)
        layer = [below for one in layer if one in found for below in found[one].below if below not in found]
        if not layer:
            break
    return Stack(tuple(found.values()), frozenset(gone))


def gather_block(
    files: NodeFiles, name: str, *, path: str = "", number: str = "", top: bool = False
) -> Block:
    """Read one device.

    Args:
        files: of the node.
        name: the kernel's name of it.
        path: of its directory in sysfs, if it is known.
        number: its major and minor number, if it is known.
        top: it is the device that is mounted.

    Raises:
        FileNotFoundError: if it is not there.
        OSError: if sysfs cannot be read.
    """
    path = path or files.target(f"/sys/class/block/{name.replace('/', '!')}")
    number = number or files.read(f"{path}/dev").strip()
    entries = frozenset(files.names(path))
    partition = "partition" in entries
    whole = path.rpartition("/")[0] if partition else path
    disk = name_of(whole)
    own = frozenset(files.names(whole)) if partition else entries
    counted = read_or(files, f"{whole}/queue/iostats", "1") != "0"
    places = [path]
    if not counted and not partition and (paths := _nvme_paths(files, path)):
        # Before Linux 6.5 only the paths to a namespace are counted.
        places, counted = paths, any(read_or(files, f"{one}/queue/iostats", "1") != "0" for one in paths)
    stat = _added(files, places, "stat")
    waits = len(stat) > WAITING and stat[WAITING] > 0
    return Block(
        name=name,
        number=number,
        disk=disk,
        start=number_or(files, f"{path}/start") if partition else 0,
        size=number_or(files, f"{path}/size"),
        stat=stat,
        started=_pair(_added(files, places, "inflight")) if waits else (0, 0),
        counted=counted,
        sequence=read_or(files, f"{whole}/diskseq") if "diskseq" in own else "",
        inode=files.inode(path),
        below=(disk,) if partition else _below(files, path, entries),
        users=0 if top else _users(files, path, entries),
        parts=() if partition else _parts(files, path, entries),
        dm_uuid=read_or(files, f"{path}/dm/uuid") if "dm" in entries else "",
        dm_name=read_or(files, f"{path}/dm/name") if "dm" in entries else "",
        suspended="dm" in entries and read_or(files, f"{path}/dm/suspended") == "1",
        raid=_raid(files, path) if "md" in entries else None,
        serial="" if partition else _serial(files, path, entries),
        image=read_or(files, f"/sys/bus/rbd/devices/{rbd[1]}/name") if (rbd := _RBD.fullmatch(name)) else "",
    )


def _serial(files: NodeFiles, path: str, entries: frozenset[str]) -> str:
    if "serial" in entries:
        return read_or(files, f"{path}/serial")
    nvme = path.rpartition("/")[2].startswith("nvme")
    return read_or(files, f"{path}/device/serial") if nvme and "device" in entries else ""


def _below(files: NodeFiles, path: str, entries: frozenset[str]) -> tuple[str, ...]:
    names = names_or(files, f"{path}/slaves") if "slaves" in entries else ()
    return tuple(name.replace("!", "/") for name in names)


def _users(files: NodeFiles, path: str, entries: frozenset[str]) -> int:
    """Count the devices that are made of a device or of its partitions."""
    name = path.rpartition("/")[2]
    places = [path, *(f"{path}/{entry}" for entry in entries if entry != name and entry.startswith(name))]
    return sum(len(names_or(files, f"{place}/holders")) for place in places)


def _parts(files: NodeFiles, path: str, entries: frozenset[str]) -> tuple[Part, ...]:
    if path.rpartition("/")[2].startswith("nvme"):
        return _nvme(files, path)
    found = []
    if (scsi := _SCSI.search(f"{path}/")) and "device" in entries:
        state = read_or(files, f"{path}/device/state")
        if state:
            found.append(Part("SCSI device", scsi[1], state, good=state in ("running", "created")))
    if session := _SESSION.search(path):
        state = read_or(files, f"/sys/class/iscsi_session/{session[1]}/state")
        if state:
            found.append(Part("iSCSI session", session[1], state, good=state == "LOGGED_IN"))
    if port := _PORT.search(path):
        state = read_or(files, f"/sys/class/fc_remote_ports/{port[1]}/port_state")
        if state:
            found.append(Part("Fibre Channel port", port[1], state, good=state in _PORT_GOOD))
    return tuple(found)


def _nvme(files: NodeFiles, path: str) -> tuple[Part, ...]:
    """Find the controllers that carry a namespace: its parent, or of a multipath head those that show a path of it."""
    parent = path.rpartition("/")[0]
    owner = parent.rpartition("/")[2]
    if _NVME_CONTROLLER.fullmatch(owner):
        return _controller(files, parent, owner)
    places = dict.fromkeys(one.rpartition("/")[0] for one in _nvme_paths(files, path))
    return tuple(part for place in places for part in _controller(files, place, place.rpartition("/")[2]))


def _nvme_paths(files: NodeFiles, path: str) -> list[str]:
    """Return the directories of the paths to a namespace; none of a device that is no multipath head of NVMe."""
    parent, _, name = path.rpartition("/")
    head = _NVME_HEAD.fullmatch(name)
    if head is None or _NVME_CONTROLLER.fullmatch(parent.rpartition("/")[2]):
        return []
    path_name = re.compile(rf"nvme{head['subsystem']}c\d+n{head['namespace']}")
    controllers = (entry for entry in names_or(files, parent) if _NVME_CONTROLLER.fullmatch(entry))
    places = (f"/sys/class/nvme/{entry}" for entry in controllers)
    return [
        f"{place}/{one}" for place in places for one in names_or(files, place) if path_name.fullmatch(one)
    ]


def _controller(files: NodeFiles, place: str, name: str) -> tuple[Part, ...]:
    state = read_or(files, f"{place}/state")
    return (Part("NVMe controller", name, state, good=state == "live"),) if state else ()


def _raid(files: NodeFiles, path: str) -> Raid:
    return Raid(
        number_or(files, f"{path}/md/degraded"),
        read_or(files, f"{path}/md/level"),
        read_or(files, f"{path}/md/array_state"),
        _first_number(read_or(files, f"{path}/md/raid_disks")),
    )


def _first_number(text: str) -> int:
    """Read `raid_disks`: `4`, or while an array is reshaped `4 (3)`."""
    first = text.partition(" ")[0]
    return int(first) if is_number(first) else 0


def _numbers(text: str) -> tuple[int, ...]:
    if len(text) < _LINE and _DIGITS.fullmatch(text):  # as the kernel prints it
        return tuple(map(int, text.split()))
    return tuple(int(field) for field in text.split() if is_number(field))


def _added(files: NodeFiles, places: list[str], name: str) -> tuple[int, ...]:
    """Read a file of numbers in one directory, or add up those of several."""
    read = [numbers for place in places if (numbers := _numbers(read_or(files, f"{place}/{name}")))]
    return read[0] if len(read) == 1 else tuple(map(sum, zip(*read, strict=False)))


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    return (numbers[0], numbers[1]) if len(numbers) > 1 else (0, 0)
