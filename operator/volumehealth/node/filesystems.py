"""What the kernel counts for a mounted filesystem, as sysfs shows it; gathering, which may hang with the kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from volumehealth.node.files import NodeFiles, is_number, names_or, number_or, read_or

_BTRFS = "/sys/fs/btrfs"
_NO_FILESYSTEM = frozenset({"features"})


@dataclass(frozen=True, slots=True)
class Ext4:
    """Counters of an ext4 filesystem; they are on the disk and outlive a mount.

    Attributes:
        errors, warnings: how many.
        first_time, last_time: of an error, in seconds since 1970; 0 if there was none.
        first_code, last_code: which error (`EXT4_ERR_*`): 2 I/O, 3 memory, 5 corruption, 6 space.
        last_function: of the kernel.
    """

    errors: int
    warnings: int
    first_time: int = 0
    last_time: int = 0
    first_code: int = 0
    last_code: int = 0
    last_function: str = ""


@dataclass(frozen=True, slots=True)
class Btrfs:
    """Counters of a btrfs filesystem.

    Attributes:
        uuid: its directory in sysfs.
        devices: the kernel's names of its devices.
        counts: errors by device and kind (`1/write_errs`, `1/read_errs`, ...); they outlive a mount. Before Linux 5.14,
            which does not show them, there are none.
        missing: how many devices are missing.
    """

    uuid: str
    devices: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A mounted filesystem at one moment.

    Attributes:
        kind: as the mount table names it.
        instance: which mounting of it this is: another one after it was unmounted and mounted; empty if unknown.
        ext4, btrfs: what it counts, if it is one and could be read.
    """

    kind: str
    instance: str = ""
    ext4: Ext4 | None = None
    btrfs: Btrfs | None = None


def gather_filesystem(files: NodeFiles, kind: str, device: str, *, uuid: str = "") -> Filesystem:
    """Read what is counted.

    Args:
        files: of the node.
        kind: of the filesystem.
        device: the kernel's name of the device that is mounted.
        uuid: of a btrfs filesystem, as `find_btrfs` found it.
    """
    name = device.replace("/", "!")
    if kind == "btrfs":
        return Filesystem(kind, _instance(files, kind, uuid), btrfs=_btrfs(files, uuid) if uuid else None)
    if kind in ("ext2", "ext3", "ext4"):  # the ext4 module serves all three, under its own name
        return Filesystem(kind, _instance(files, "ext4", name), ext4=_ext4(files, f"/sys/fs/ext4/{name}"))
    return Filesystem(kind, _instance(files, kind, name))


def find_btrfs(files: NodeFiles) -> dict[str, str]:
    """Return the uuid of every mounted btrfs filesystem by the paths below /dev of its devices."""
    found = {}
    for uuid in names_or(files, _BTRFS):
        if uuid in _NO_FILESYSTEM:
            continue
        for device in names_or(files, f"{_BTRFS}/{uuid}/devices"):
            name = device.replace("!", "/")
            found[name] = uuid
            if name.startswith("dm-"):
                found[f"mapper/{read_or(files, f'/sys/class/block/{name}/dm/name')}"] = uuid
    return found


def _instance(files: NodeFiles, kind: str, name: str) -> str:
    """Name a mounting: the inode number of a filesystem's directory in sysfs is another one after each mount."""
    if not name:
        return ""
    try:
        return f"{kind}/{name}/{files.inode(f'/sys/fs/{kind}/{name}')}"
    except OSError:
        return ""


def _ext4(files: NodeFiles, place: str) -> Ext4 | None:
    errors = number_or(files, f"{place}/errors_count", -1)
    if errors < 0:
        return None
    warnings = number_or(files, f"{place}/warning_count")
    if errors == 0:
        return Ext4(0, warnings)
    return Ext4(
        errors,
        warnings,
        first_time=number_or(files, f"{place}/first_error_time"),
        last_time=number_or(files, f"{place}/last_error_time"),
        first_code=number_or(files, f"{place}/first_error_errcode"),
        last_code=number_or(files, f"{place}/last_error_errcode"),
        last_function=read_or(files, f"{place}/last_error_func"),
    )


def _btrfs(files: NodeFiles, uuid: str) -> Btrfs | None:
    place = f"{_BTRFS}/{uuid}"
    counts: dict[str, int] = {}
    missing = 0
    infos = names_or(files, f"{place}/devinfo")
    for device in infos:
        missing += number_or(files, f"{place}/devinfo/{device}/missing")
        for line in read_or(files, f"{place}/devinfo/{device}/error_stats").splitlines():
            kind, _, count = line.partition(" ")
            if is_number(count.strip()):
                counts[f"{device}/{kind}"] = int(count)
    devices = tuple(name.replace("!", "/") for name in names_or(files, f"{place}/devices"))
    return Btrfs(uuid, devices, counts, missing) if infos else None
