"""What a line of the kernel log says of a device: every format from Linux 3 to 6.18 that is known here; pure.

Patterns begin at the line's head, and the device stands at a fixed place: what comes from others (`comm`, file names)
is never read. A line that no pattern knows says nothing. Each pattern names the kernels that write it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from volumehealth.node.klog import Line

NO_SPACE = frozenset({"28", "-28"})
"""ENOSPC as lines print it: the device is full, which is no damage."""


class Says(StrEnum):
    """What a line says."""

    IO_ERROR = "I/O error"
    WRITES_LOST = "writes were lost"
    PAGES_LOST = "cached writes were lost"
    DATA_LOST = "data was lost"
    FILESYSTEM_ERROR = "filesystem error"
    METADATA_DAMAGED = "metadata is damaged"
    METADATA_REPAIRED = "metadata was repaired from a copy"
    JOURNAL_ABORTED = "the journal was aborted"
    READ_ONLY = "the filesystem went read-only"
    WRITABLE = "the filesystem takes writes again"
    SHUT_DOWN = "the filesystem was shut down"
    ATTACHED = "attached"
    MOUNTED = "mounted"
    UNMOUNTED = "unmounted"
    NO_SPACE = "no space"
    RESERVED = "reservation conflict"
    PATH_ERROR = "path error"
    PATH_FAILED = "path failed"
    PATH_BACK = "path is back"
    POOL_FULL = "the thin pool is full"
    POOL_READ_ONLY = "the thin pool went read-only"
    POOL_BACK = "the thin pool takes writes"
    GONE = "the device was removed"
    BACKEND_ERROR = "the backend refuses requests"
    SUSPENDED = "I/O is suspended"
    RESUMED = "I/O goes on"
    REPLICA_LOST = "a replica is lost"
    REPLICA_BACK = "the replica is back"
    SERVER_DOWN = "the server does not respond"
    SERVER_UP = "the server responds"
    SUPPRESSED = "lines were suppressed"


class About(StrEnum):
    """What kind of name a line gives."""

    DISK = "disk"
    """A whole disk, with an absolute sector if there is one."""
    FILESYSTEM = "filesystem"
    """The device that is mounted: a partition, a device mapper device, a disk."""
    NUMBER = "number"
    """Major and minor number of a device mapper device."""
    CONTROLLER = "controller"
    """An NVMe controller."""
    SERVER = "server"
    """A file server."""
    RESOURCE = "resource"
    """A DRBD resource."""
    LOG = "log"
    """The log itself."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What one line says of one device.

    Attributes:
        says, about, name: what, and of which device.
        text: the line.
        op: READ or WRITE, where the line says it.
        sector: where on the disk; None if the line does not say.
        block: the logical block; None if the line does not say.
        path: which path of a multipath device (`8:32`), or which block of a btrfs filesystem.
    """

    says: Says
    about: About
    name: str
    text: str = ""
    op: str = ""
    sector: int | None = None
    block: int | None = None
    path: str = ""


_Found = re.Match[str]
_Reader = Callable[[_Found], Sign | None]
_DEV = r"(?P<dev>[^\s,():]+)"

_REASONS = {
    "I/O": Says.IO_ERROR,
    "critical medium": Says.IO_ERROR,
    "critical target": Says.IO_ERROR,
    "protection": Says.IO_ERROR,
    "timeout": Says.IO_ERROR,
    "device offline": Says.IO_ERROR,  # 5.18+
    "critical space allocation": Says.NO_SPACE,
    "critical nexus": Says.RESERVED,  # up to 6.4
    "reservation conflict": Says.RESERVED,  # 6.5+
    "recoverable transport": Says.PATH_ERROR,
}
"""The words of the kernel's `blk_errors` that tell of a fault; all others are how a device says that it lacks something."""
_FAULT_OPS = frozenset({"", "READ", "WRITE", "FLUSH", "ZONE_APPEND"})
"""What users of a volume ask for; older kernels do not say. Others (discards, zeroes, a tool's SCSI commands) may be unknown to
a device that works."""
_OPS = {0: "READ", 1: "WRITE", 2: "FLUSH"}
"""How 5.0 to 5.2, and what was ported back from them, say it: in the last byte of the flags, which have no `0x` there."""
_JOURNAL = re.compile(r"(?P<dev>.+?)-\d+")
_NVME_PATH = re.compile(r"(nvme\d+)c\d+(n\d+(?:p\d+)?)")
_OTHERS = re.compile(
    r"kauditd|audit|net_|nf_|ip_|ip6|ipv|tcp_|udp_|icmp|neigh|arp_|br_|bond_|show_signal|show_unhandled|traps|perf_|mce|"
    r"warn_alloc|mlx\d|ena_|ixgbe|i40e|bnxt|virtnet|xfrm|nfnetlink|ovs_|usb|xhci|iwl|cfg80211|amdgpu|gmc_|i915|pcieport|"
    r"oom|cgroup|bpf|hid|input_|evdev|drm|acpi|thermal|kvm|selinux|avc|apparmor|fork|mmap|get_swap|x86_"
)
"""How places in the kernel are called that print too often and have nothing to do with storage."""
_WHOLE_NAME = re.compile(r"(?:dm|md|drbd)-\d+")


def _device(says: Says, about: About = About.FILESYSTEM) -> _Reader:
    def read(found: _Found) -> Sign:
        return Sign(says, about, found["dev"])

    return read


def _block_error(found: _Found) -> Sign | None:
    op = found["op"] or ""
    if found["flags"]:
        op = _OPS.get(int(found["flags"], 16) & 0xFF, "OTHER")
    if op not in _FAULT_OPS:
        return None
    return Sign(_REASONS[found["why"]], About.DISK, found["dev"], op=op, sector=int(found["sector"]))


def _buffer_error(found: _Found) -> Sign:
    what = found["what"] or ""
    if "lost" in what:
        return Sign(Says.PAGES_LOST, About.FILESYSTEM, found["dev"], op="WRITE", block=int(found["block"]))
    op = "READ" if "read" in what else ""
    return Sign(Says.IO_ERROR, About.FILESYSTEM, found["dev"], op=op, block=int(found["block"]))


def _unless_full(says: Says, *full: str, about: About = About.FILESYSTEM) -> _Reader:
    """Read a line with an error number: some of them only say that there is no space."""

    def read(found: _Found) -> Sign:
        lacks_space = found["error"] in NO_SPACE or found["error"] in full
        return Sign(Says.NO_SPACE if lacks_space else says, about, found["dev"])

    return read


def _journal(says: Says) -> _Reader:
    """Read a line of jbd2, which names the device and, behind a dash, the journal's inode."""

    def read(found: _Found) -> Sign:
        name = found["dev"]
        inner = None if _WHOLE_NAME.fullmatch(name) else _JOURNAL.fullmatch(name)
        lacks_space = found.groupdict().get("error") in NO_SPACE
        return Sign(Says.NO_SPACE if lacks_space else says, About.FILESYSTEM, inner["dev"] if inner else name)

    return read


def _suppressed(found: _Found) -> Sign | None:
    """Read that a place prints too often: what it did not print says nothing of volumes if it is no storage's."""
    place = found["dev"] or "printk"
    return None if _OTHERS.match(place) else Sign(Says.SUPPRESSED, About.LOG, place)


def _xfs_metadata(found: _Found) -> Sign:
    error = found["error"]
    if error in NO_SPACE:
        says = Says.NO_SPACE
    else:
        says = Says.FILESYSTEM_ERROR if error in ("74", "117") else Says.IO_ERROR
    return Sign(says, About.FILESYSTEM, found["dev"])


def _nvme_error(found: _Found) -> Sign | None:
    """Read an NVMe status line; only errors of the path (status code type 3) have no block line beside them."""
    return Sign(Says.PATH_ERROR, About.DISK, found["dev"]) if int(found["type"], 16) == 3 else None


def _pool(found: _Found) -> Sign:
    mode = found["mode"]
    if mode.startswith("out-of-data-space"):
        says = Says.POOL_FULL
    else:
        says = Says.POOL_BACK if mode == "write" else Says.POOL_READ_ONLY
    return Sign(says, About.NUMBER, found["dev"])


def _btrfs_block(says: Says) -> _Reader:
    def read(found: _Found) -> Sign:
        return Sign(says, About.FILESYSTEM, found["dev"], path=found["at"])

    return read


def _path(says: Says) -> _Reader:
    def read(found: _Found) -> Sign:
        return Sign(says, About.NUMBER, found["dev"] or "", path=found["path"])

    return read


def _drbd(yes: Says, no: Says, healthy: str) -> _Reader:
    def read(found: _Found) -> Sign:
        return Sign(no if found["now"] == healthy else yes, About.RESOURCE, found["dev"])

    return read


def _server(says: Says) -> _Reader:
    def read(found: _Found) -> Sign:
        return Sign(says, About.SERVER, found["dev"])

    return read


_WHY = "|".join(sorted(map(re.escape, _REASONS), key=len, reverse=True))

_PATTERNS: tuple[tuple[re.Pattern[str], _Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        # -- the block layer: up to 3.x, 3.18-4.13, 4.14-5.2, 5.3-5.15, and bare since 5.16
        (
            (
                rf"(?:end_request: |blk_update_request: |print_req_error: )?(?P<why>{_WHY}) error, "
                rf"dev {_DEV}, sector (?P<sector>\d+)(?: op 0x[0-9a-f]+:\((?P<op>\w+)\)| flags (?P<flags>[0-9a-f]+)$)?"
            ),
            _block_error,
        ),
        # -- a disk that is new: what was said of its name before was of another one
        (
            r"sd [\d:]+: \[(?P<dev>\w+)\] Attached SCSI (?:removable )?disk$",
            _device(Says.ATTACHED, About.DISK),
        ),
        # a change of its size says "new size: "
        (
            r"virtio_blk \w+: \[(?P<dev>\w+)\] \d+ \d+-byte logical blocks ",
            _device(Says.ATTACHED, About.DISK),
        ),
        (r"rbd: (?P<dev>rbd\d+): capacity \d+ features 0x[0-9a-f]+$", _device(Says.ATTACHED, About.DISK)),
        (
            r"(?P<dev>nbd\d+): detected capacity change from 0 to [1-9]\d*$",
            _device(Says.ATTACHED, About.DISK),
        ),
        # no line names a namespace that is new; of fabrics a controller that only connects again says something else
        (
            r"nvme (?P<dev>nvme\d+): (?:pci function [\da-f:.]+$|new ctrl: )",
            _device(Says.ATTACHED, About.CONTROLLER),
        ),
        # -- the page cache: `dev` since 3.18, before that `device`; ext4 still writes `device` in 6.18
        (
            rf"Buffer I/O error on dev(?:ice)? {_DEV}, logical block (?P<block>\d+)(?:, (?P<what>[a-z ]+))?",
            _buffer_error,
        ),
        (rf"lost page write due to I/O error on {_DEV}", _device(Says.PAGES_LOST)),  # up to 4.3
        # -- iomap since 5.5, XFS alone up to 4.20
        (rf"{_DEV}: writeback error on inode \d+, offset \d+, sector \d+", _device(Says.WRITES_LOST)),
        (rf"XFS \({_DEV}\): writeback error on sector \d+", _device(Says.WRITES_LOST)),
        # XFS gives up what was written and has no place on the disk yet
        (rf"XFS \({_DEV}\): page discard on (?:page|folio) ", _device(Says.WRITES_LOST)),
        # -- ext4
        (rf"EXT4-fs error \(device {_DEV}\)(?: in |: )", _device(Says.FILESYSTEM_ERROR)),
        (rf"EXT4-fs \({_DEV}\): Remounting filesystem read-only", _device(Says.READ_ONLY)),
        # 6.x prints "re-mounted UUID r/w" or "ro", older ones "re-mounted. Opts: ..."; a mount that takes no writes since
        # is one that the mount table shows
        (rf"EXT4-fs \({_DEV}\): re-mounted\b(?! \S+ ro\b)", _device(Says.WRITABLE)),
        (
            rf"EXT4-fs warning \(device {_DEV}\): ext4_end_bio:\d+: I/O error (?P<error>-?\d+) writing to inode \d+",
            _unless_full(
                Says.WRITES_LOST, "3"
            ),  # a block status since 4.13 (3 is no space), before that an errno
        ),
        (
            (
                rf"EXT4-fs \({_DEV}\): failed to convert unwritten extents to written extents -- potential data loss!"
                r"\s+\(inode \d+, error (?P<error>-?\d+)\)"
            ),
            _unless_full(Says.DATA_LOST),
        ),
        (
            rf"EXT4-fs \({_DEV}\): [Dd]elayed block allocation failed for inode \d+ .*with error (?P<error>-?\d+)",
            _unless_full(Says.DATA_LOST),
        ),
        (rf"EXT4-fs \({_DEV}\): This should not happen!! +Data will be lost", _device(Says.DATA_LOST)),
        (rf"EXT4-fs \({_DEV}\): shut down requested \(\d+\)", _device(Says.SHUT_DOWN)),
        (rf"EXT4-fs \({_DEV}\): mounted filesystem", _device(Says.MOUNTED)),
        (rf"EXT4-fs \({_DEV}\): unmounting filesystem", _device(Says.UNMOUNTED)),  # 6.x
        (rf"Aborting journal on device {_DEV}\.$", _journal(Says.JOURNAL_ABORTED)),
        (
            rf"JBD2: I/O error when updating journal superblock for {_DEV}\.$",
            _journal(Says.FILESYSTEM_ERROR),
        ),
        (
            rf"JBD2: Error -?\d+ detected when updating journal superblock for {_DEV}\.$",  # up to 6.0
            _journal(Says.FILESYSTEM_ERROR),
        ),
        (
            # with the error number since 6.15
            rf"JBD2: Detected IO errors(?: (?P<error>-?\d+))? while flushing file data on {_DEV}$",
            _journal(Says.WRITES_LOST),
        ),
        # -- XFS: "Filesystem has been shut down due to", "Shutting down filesystem", and, up to 5.x, the function's name
        (rf"XFS \({_DEV}\): .*\b[Ss]hut(?:ting)? down", _device(Says.SHUT_DOWN)),
        (rf"XFS \({_DEV}\): xfs_do_force_shutdown\(0x[0-9a-f]+\) called from line", _device(Says.SHUT_DOWN)),
        # up to 5.x every half minute once it was shut down
        (rf"XFS \({_DEV}\): xfs_log_force: error -?5 returned", _device(Says.SHUT_DOWN)),
        (rf"XFS \({_DEV}\): log I/O error (?P<error>-?\d+)", _unless_full(Says.IO_ERROR)),
        (
            rf"XFS \({_DEV}\): metadata I/O error(?: in|:) .* error (?P<error>\d+)",
            _xfs_metadata,
        ),
        (
            (
                rf"XFS \({_DEV}\): (?:Metadata CRC error detected at|Metadata corruption detected at|"
                r"Unmount and run xfs_repair|Corruption detected\b|Corruption warning: |Internal error )"
            ),
            _device(Says.FILESYSTEM_ERROR),
        ),
        (rf"XFS \({_DEV}\): Failing async write on buffer block", _device(Says.IO_ERROR)),
        (rf"XFS \({_DEV}\): Mounting (?:V\d )?[Ff]ilesystem", _device(Says.MOUNTED)),
        (rf"XFS \({_DEV}\): Unmounting Filesystem", _device(Says.UNMOUNTED)),
        # -- btrfs; letters of its state since 5.18, with and without a colon before them
        # Its error_stats do not count metadata that cannot be read, and a wrong checksum is only a warning. Up to 5.16 the
        # device stands before "checksum"; "logical" and "mirror" since 5.17
        (
            (
                rf"BTRFS:? (?:warning|error|critical) \(device {_DEV}(?::? state \w+)?\):? (?:"
                r"(?:\S+ )?checksum verify failed on (?:logical )?|(?:parent transid|level) verify failed on (?:logical )?|"
                r"bad fsid on (?:logical |block )|bad tree block start, (?:mirror \d+ )?want |"
                r"corrupt (?:leaf|node): (?:root=\d+ )?block=|read time tree block corruption detected on logical )(?P<at>\d+)"
            ),
            _btrfs_block(Says.METADATA_DAMAGED),
        ),
        (
            rf"BTRFS info \(device {_DEV}(?::? state \w+)?\):? read error corrected: ino \d+ off (?P<at>\d+) ",
            _btrfs_block(Says.METADATA_REPAIRED),
        ),
        (rf"BTRFS:? error \(device {_DEV}(?::? state \w+)?\).*forced readonly", _device(Says.READ_ONLY)),
        (rf"BTRFS info \(device {_DEV}(?::? state \w+)?\):? forced readonly", _device(Says.READ_ONLY)),
        (
            rf"BTRFS:? (?:error|critical) \(device {_DEV}(?::? state \w+)?\)",
            _device(Says.FILESYSTEM_ERROR),
        ),
        (rf"BTRFS info \(device {_DEV}\): first mount of filesystem", _device(Says.MOUNTED)),
        (
            rf"BTRFS info \(device {_DEV}(?::? state \w+)?\):? last unmount of filesystem",
            _device(Says.UNMOUNTED),
        ),
        # -- f2fs since 6.4
        (rf"F2FS-fs \({_DEV}\): Stopped filesystem due to reason: \d+", _device(Says.SHUT_DOWN)),
        (rf"F2FS-fs \({_DEV}\): Remounting filesystem read-only", _device(Says.READ_ONLY)),
        (rf"F2FS-fs \({_DEV}\): Mounted with checkpoint version", _device(Says.MOUNTED)),
        # -- NVMe
        (
            # "I/O Error", or the error's name where the kernel knows names (CONFIG_NVME_VERBOSE_ERRORS)
            (
                rf"{_DEV}: [\w/ -]+\(0x[0-9a-f]+\) @ LBA \d+, \d+ blocks, [^()]+ "
                r"\(sct 0x(?P<type>[0-9a-f]+) / sc 0x[0-9a-f]+\)"
            ),
            _nvme_error,
        ),
        (
            # since 6.x "Disabling device after reset failure"
            rf"nvme {_DEV}: (?:Removing after probe failure status|Disabling device after reset failure): -?\d+",
            _device(Says.GONE, About.CONTROLLER),
        ),
        # its multipath head has no block line
        (rf"block {_DEV}: no available path - failing I/O", _device(Says.IO_ERROR, About.DISK)),
        # -- device mapper
        (
            r"device-mapper: multipath: (?:(?P<dev>\d+:\d+): )?Failing path (?P<path>\d+:\d+)\.",
            _path(Says.PATH_FAILED),
        ),
        (
            r"device-mapper: multipath: (?:(?P<dev>\d+:\d+): )?Reinstating path (?P<path>\d+:\d+)\.",
            _path(Says.PATH_BACK),
        ),
        # an array of LVM is called mdX and shows nothing in sysfs; which one takes a member back no line says
        (
            r"md/raid\d*:mdX: Disk failure on (?P<dev>dm-\d+), disabling device",
            _device(Says.REPLICA_LOST, About.DISK),
        ),
        (
            r"device-mapper: raid: Faulty \w+ device #\d+ has readable super block",
            lambda _found: Sign(Says.REPLICA_BACK, About.DISK, ""),
        ),
        (
            (
                r"device-mapper: thin: (?P<dev>\d+:\d+): switching pool to "
                r"(?P<mode>out-of-data-space|write|read-only|fail|out-of-metadata-space)"
            ),
            _pool,
        ),
        (
            # checksums of dm-integrity and of dm-crypt with authentication; older ones do not name the device
            rf"device-mapper: (?:integrity|crypt): {_DEV}: (?:Checksum failed at sector|INTEGRITY AEAD ERROR, sector) ",
            lambda found: Sign(Says.IO_ERROR, About.DISK, found["dev"], op="READ"),
        ),
        # -- network block devices
        (
            # up to 4.19 "  result -108 xferred 1000" in a line of its own; -95 is a discard that is not supported
            rf"rbd: {_DEV}: (?:(?:read|write) .*| {{1,4}})result (?!-95\b)(?P<error>-\d+)",
            _unless_full(Says.BACKEND_ERROR, about=About.DISK),
        ),
        (
            rf"block {_DEV}: (?:Connection timed out|shutting down sockets)",
            _device(Says.IO_ERROR, About.DISK),
        ),
        # it is set up anew on this node: what was said of it before was said of what it was then
        (r"drbd (?P<dev>[^\s/:]+): Starting worker thread ", _device(Says.ATTACHED, About.RESOURCE)),
        (
            # one line tells all that changed: "role( Secondary -> Primary ) susp-io( no -> quorum )"
            rf"drbd {_DEV}: (?:[\w-]+\( \S+ -> \S+ \) ){{0,8}}?susp-io\( \S+ -> (?P<now>\S+) \)",
            _drbd(Says.SUSPENDED, Says.RESUMED, "no"),
        ),
        (
            # who detaches a disk on purpose loses no replica
            r"drbd (?P<dev>[^\s/]+)/\d+ drbd\d+: disk\( (?!Detaching )\S+ -> (?P<now>Failed|Diskless|UpToDate) \)",
            _drbd(Says.REPLICA_LOST, Says.REPLICA_BACK, "UpToDate"),
        ),
        # -- file servers
        (r"nfs: server (?P<dev>\S+) not responding, ", _server(Says.SERVER_DOWN)),
        (r"nfs: server (?P<dev>\S+) OK", _server(Says.SERVER_UP)),
        (
            r"CIFS:? VFS: (?:\\\\(?P<dev>[^\s\\]+)\S*|Server (?P<old>\S+)) has not responded in \d+ seconds",
            lambda found: Sign(Says.SERVER_DOWN, About.SERVER, found["dev"] or found["old"]),
        ),
        # -- the log itself
        (
            # ext4's call sites have names of two words: "EXT4-fs error: 12 callbacks suppressed"
            r"(?P<dev>[\w.-]+(?: \w+)?): \d+ callbacks suppressed|\*\* \d+ printk messages dropped \*\*",
            _suppressed,
        ),
    )
)


def sign_of(text: str) -> Sign | None:
    """Return what a line says; None if it says nothing that is known."""
    for pattern, read in _PATTERNS:
        found = pattern.match(text)
        if found is not None:
            sign = read(found)
            return replace(sign, name=_kernel_name(sign.name), text=text) if sign is not None else None
    return None


def _kernel_name(name: str) -> str:
    """Return a device's name as it is elsewhere.

    `!` stands for `/`. Errors of a multipath NVMe namespace name one path to it (`nvme0c1n1`), not the namespace that is
    mounted.
    """
    found = _NVME_PATH.fullmatch(name)
    return f"{found[1]}{found[2]}" if found else name.replace("!", "/")


def signs(lines: Iterable[Line]) -> Iterator[tuple[int, Line, Sign]]:
    """Return what lines say, in their order, each with its place among them.

    ext4 says "Data will be lost" in a second line also where the first says that there is no space (error 28): then
    the second is part of the first.
    """
    before: Sign | None = None
    for place, line in enumerate(lines):
        sign = sign_of(line.text)
        if sign is None:
            continue
        echo = (
            before is not None
            and before.says is Says.NO_SPACE
            and sign.says is Says.DATA_LOST
            and sign.name == before.name
        )
        if not echo:
            yield place, line, sign
        before = sign
