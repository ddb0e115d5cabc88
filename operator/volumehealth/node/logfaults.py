"""What the lines in force mean for one volume, given the devices it lies on; pure."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from volumehealth.model.health import DATA_LOSS, DEGRADED, INACCESSIBLE
from volumehealth.model.vocabulary import Reason
from volumehealth.node.devices import Block, Stack
from volumehealth.node.faults import Fault, Look
from volumehealth.node.lines import About, Says, Sign, sign_of
from volumehealth.node.logbook import EXPIRY, Entry, Logbook

_FIRST_SECTORS, _LAST_SECTORS = 8, 1024
"""Where blkid and its like probe a disk: a read that fails there alone is no fault of the volume."""
_SECTORS_OF_BLOCK = 8
_SERVER_PATIENCE = 60.0

_BY_FILESYSTEM: dict[Says, tuple[str, Reason, str]] = {
    Says.SHUT_DOWN: (
        INACCESSIBLE,
        Reason.FILESYSTEM_SHUTDOWN,
        "the kernel shut the filesystem down; all access fails until it is mounted anew",
    ),
    Says.READ_ONLY: (
        DEGRADED,
        Reason.FILESYSTEM_READ_ONLY,
        (
            "the kernel made the filesystem read-only after an error; stop all Pods of this volume on the node, so that "
            "it is unmounted, checked and mounted anew"
        ),
    ),
    Says.JOURNAL_ABORTED: (
        DEGRADED,
        Reason.FILESYSTEM_ERROR,
        "the kernel aborted the filesystem's journal: nothing more is written",
    ),
    Says.METADATA_DAMAGED: (
        DEGRADED,
        Reason.FILESYSTEM_ERROR,
        "the kernel read damaged metadata of the filesystem, and found no good copy",
    ),
    Says.DATA_LOST: (DATA_LOSS, Reason.FILESYSTEM_ERROR, "the kernel says that data is lost"),
    Says.PAGES_LOST: (DATA_LOSS, Reason.IO_ERROR, "the kernel says that writes were lost"),
    Says.WRITES_LOST: (INACCESSIBLE, Reason.IO_ERROR, "writes to the device failed and were lost"),
    Says.NO_SPACE: (DEGRADED, Reason.OUT_OF_CAPACITY, "the device under the volume has no space left"),
}
_FAILING = re.compile(r"path (\d+:\d+) is failing")
_WITHOUT_ERRNO = frozenset({Says.PAGES_LOST, Says.WRITES_LOST, Says.IO_ERROR})
"""Their lines may not say why; one that gives ENOSPC as the reason says `NO_SPACE`."""
_LATCHED = frozenset({Says.SHUT_DOWN, Says.READ_ONLY, Says.JOURNAL_ABORTED})


@dataclass(frozen=True, slots=True)
class Below:
    """What one volume lies on, as the log may name it.

    Attributes:
        stacks: its devices; several for btrfs.
        instance: which mounting of the filesystem it is.
        after: lines up to this number are of an earlier instance.
        counted: the filesystem's errors are counted, and the count decides, not the lines.
        block: it is used as a device: reads that fail may be a check of the filesystem on it.
        bad: its devices are known to be bad.
        since: when the volume came into use, in monotonic seconds: what a disk's name said before may be of another disk.
        wrote: when a write was completed last, in monotonic seconds; None if none was.
        boot: names the boot; with it, what a terminal line says of anything but the filesystem is marked.
        resource: name of its PersistentVolume.
        server: its file server.
        replied: when that replied last; None if not known.
        watched: since when it is looked whether it replies, in monotonic seconds: a line of before may be of the past.
        answers: whether it answered when the driver asked it last how full the volume is; None if the driver never asked.
    """

    stacks: tuple[Stack, ...] = ()
    instance: str = ""
    after: int = 0
    counted: bool = False
    block: bool = False
    bad: bool = False
    since: float = -math.inf
    wrote: float | None = None
    boot: str = ""
    resource: str = ""
    server: str = ""
    replied: float | None = None
    watched: float | None = None
    answers: bool | None = None


def log_faults(book: Logbook, below: Below, *, now: float) -> tuple[Fault, ...]:
    """Say what the log has against a volume.

    Args:
        book: the lines in force.
        below: what the volume lies on.
        now: monotonic seconds.
    """
    faults = [*_of_server(book, below, now), *_of_resource(book, below)]
    failing: list[Entry] = []
    for stack in below.stacks:
        own = _own_entries(book, stack, below)
        disks = _disk_errors(book, stack, below, named=bool(own))
        of_devices = list(_of_devices(book, stack, below, now))
        if not disks and _are_full(own, of_devices):
            own = [one for one in own if one.sign.says not in _WITHOUT_ERRNO or one.sign.op == "READ"]
        faults += [*_of_filesystem(own, below), *of_devices]
        failing += [entry for entry in own if entry.sign.says is Says.IO_ERROR] + disks
    return (*faults, *_io_error(failing, below))


def _are_full(own: Iterable[Entry], of_devices: Iterable[Fault]) -> bool:
    """Tell whether a device below has no space left: then writes that are lost for no given reason are lost for that."""
    return any(entry.sign.says is Says.NO_SPACE for entry in own) or any(
        fault.reason is Reason.OUT_OF_CAPACITY for fault in of_devices
    )


def failed_paths(book: Logbook, stack: Stack) -> frozenset[str]:
    """Return the paths that multipath does not use any more; only the log says so (old kernels without the device)."""
    names = ["", *(block.number for block in stack.blocks if block.multipath)]
    entries = [entry for name in names for entry in book.about(About.NUMBER, name)]
    return frozenset(entry.sign.path for entry in entries if entry.sign.says is Says.PATH_FAILED)


def quoted_signs(message: str) -> Iterator[Sign]:
    """Return what an earlier statement quotes of terminal lines that name no filesystem, so that it is not forgotten.

    Args:
        message: as these looks wrote it: lines stand behind a colon, a path is named by its number.
    """
    for path in _FAILING.findall(message):
        yield Sign(Says.PATH_FAILED, About.NUMBER, "", path=path)
    for part in re.split(r"; (?:also: )?", message):
        for found in re.finditer(": ", part):
            sign = sign_of(part[found.end() :])
            if sign is not None:
                if (
                    sign.about in (About.NUMBER, About.RESOURCE, About.SERVER)
                    or sign.says is Says.REPLICA_LOST
                ):
                    yield sign
                break


LATCHED = frozenset(_BY_FILESYSTEM[says][1] for says in _LATCHED)
"""Reasons of what holds until the mounting ends."""


def quoted_faults(message: str, instance: str) -> tuple[Fault, ...]:
    """Return what an earlier statement says that holds until the mounting ends, beside what does not hold so long.

    Args:
        message: as these looks wrote it.
        instance: the mounting that it was seen in.
    """
    found = []
    for says in sorted(_LATCHED):
        status, reason, text = _BY_FILESYSTEM[says]
        before, is_said, rest = message.partition(text)
        if is_said:
            quote = rest.partition("; ")[0] if before else rest.partition("; also: ")[0]
            found.append(Fault(Look.KERNEL_LOG, status, reason, f"{text}{quote}", instance))
    return tuple(found)


def _own_entries(book: Logbook, stack: Stack, below: Below) -> list[Entry]:
    """Return what is said of the mounted device itself, without reads that were only probing."""
    entries = book.about(About.FILESYSTEM, stack.top.name, after=below.after)
    return [entry for entry in entries if entry.last >= below.since and not _probing(entry, stack.top)]


def _probing(entry: Entry, block: Block, *, start: int = 0) -> bool:
    """Tell whether an entry is of a read where a disk is probed: of its first and last blocks."""
    sign = entry.sign
    if sign.says is not Says.IO_ERROR or sign.op not in ("", "READ"):
        return False
    if sign.sector is not None:
        sector = sign.sector - start
    elif sign.block is not None:
        sector = sign.block * _SECTORS_OF_BLOCK
    else:
        return False
    return sector < _FIRST_SECTORS or (block.size > 0 and sector >= block.size - _LAST_SECTORS)


def _of_filesystem(entries: Iterable[Entry], below: Below) -> Iterator[Fault]:
    for entry in entries:
        says = entry.sign.says
        if says is Says.FILESYSTEM_ERROR:
            if not below.counted:
                text = f"the kernel found an error in the filesystem: {entry.sign.text}"
                yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.FILESYSTEM_ERROR, text)
        elif says in _BY_FILESYSTEM:
            status, reason, text = _BY_FILESYSTEM[says]
            instance = below.instance if says in _LATCHED else ""
            yield Fault(Look.KERNEL_LOG, status, reason, f"{text}: {entry.sign.text}", instance)


def _disk_errors(book: Logbook, stack: Stack, below: Below, *, named: bool) -> list[Entry]:
    """Return I/O errors of the disks below that hit this volume.

    Lines name a whole disk and a sector of it. Which part of a disk a volume of LVM lies on is not in sysfs, so where
    several devices lie on anything between, an error only counts if the mounted device is named as well.
    """
    found: list[Entry] = []
    beneath_multipath: set[str] = set()
    shared = stack.shared
    for block in stack.blocks:
        if block.multipath or block.name in beneath_multipath:
            beneath_multipath.update(block.below)
            if not block.multipath:
                continue
        if block.name != block.disk or (block.name in shared and not named):
            continue
        part = _partition_of(stack, block)
        found += [
            entry
            for entry in book.about(About.DISK, block.name, after=below.after)
            if entry.last >= below.since
            and entry.sign.says in (Says.IO_ERROR, Says.PATH_ERROR)
            and _hits(entry, block, part)
        ]
    return found


def _partition_of(stack: Stack, disk: Block) -> Block | None:
    """Return the partition of a disk that the volume lies on."""
    return next((one for one in stack.blocks if one.disk == disk.name and one.name != disk.name), None)


def _hits(entry: Entry, disk: Block, part: Block | None) -> bool:
    sector = entry.sign.sector
    if part is None:
        return not _probing(entry, disk)
    if sector is not None and not part.start <= sector < part.start + part.size:
        return False
    return not _probing(entry, part, start=part.start)


def _of_devices(book: Logbook, stack: Stack, below: Below, now: float) -> Iterator[Fault]:
    for block in stack.blocks:
        for entry in book.about(About.DISK, block.name, after=below.after):
            if entry.last < below.since:
                continue
            yield from _of_disk(entry, block, below, now)
        for entry in book.about(About.NUMBER, block.number):
            yield from _of_pool(entry, below)
        for leg in stack.legs(block):
            for entry in book.about(About.DISK, leg):
                if entry.sign.says is Says.REPLICA_LOST:
                    message = (
                        f"an array below the device {stack.top.name} gave a member up: {entry.sign.text}"
                    )
                    yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.REPLICA_LOST, message, below.boot)
        for part in block.parts:
            for entry in book.about(About.CONTROLLER, part.name, after=below.after):
                if (
                    entry.last >= below.since
                    and entry.sign.says is Says.GONE
                    and not part.good
                    and len(block.parts) == 1
                ):
                    text = f"the controller {part.name} of the device {block.name} was removed: {entry.sign.text}"
                    yield Fault(Look.KERNEL_LOG, INACCESSIBLE, Reason.DEVICE_GONE, text)


def _of_disk(entry: Entry, block: Block, below: Below, now: float) -> Iterator[Fault]:
    says, text = entry.sign.says, entry.sign.text
    if says is Says.NO_SPACE:
        yield Fault(Look.KERNEL_LOG, *_BY_FILESYSTEM[says][:2], f"{block.name} has no space left: {text}")
    elif says is Says.BACKEND_ERROR:
        message = f"the storage behind {block.name} refuses requests: {text}"
        yield Fault(Look.KERNEL_LOG, INACCESSIBLE, Reason.BACKEND_ERROR, message)
    elif says is Says.RESERVED and below.wrote is not None and now - below.wrote < EXPIRY:
        message = f"another node holds {block.name}, or this node is fenced from it: {text}"
        yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.RESERVATION_CONFLICT, message)


def _of_pool(entry: Entry, below: Below) -> Iterator[Fault]:
    says, text = entry.sign.says, entry.sign.text
    if says is Says.POOL_FULL:
        message = f"the thin pool below the volume is full: {text}"
        yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.OUT_OF_CAPACITY, message, below.boot)
    elif says is Says.POOL_READ_ONLY:
        message = f"the thin pool below the volume takes no writes: {text}"
        yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.FILESYSTEM_ERROR, message, below.boot)


def _has_other_paths(block: Block) -> bool:
    """Tell whether a device is reached by several paths, of which multipath, or NVMe's own, uses one that works."""
    controllers = [part for part in block.parts if part.what == "NVMe controller"]
    return block.multipath or (len(controllers) > 1 and any(part.good for part in controllers))


def _io_error(entries: Iterable[Entry], below: Below) -> Iterator[Fault]:
    """Make one fault of all I/O errors: mild while only reads or only a path is hit."""
    failing = list(entries)
    if below.block and not below.bad:
        failing = [entry for entry in failing if entry.sign.op == "WRITE"]
    paths = [entry for entry in failing if entry.sign.says is Says.PATH_ERROR]
    errors = [entry for entry in failing if entry.sign.says is Says.IO_ERROR]
    if paths and any(_has_other_paths(block) for stack in below.stacks for block in stack.blocks):
        message = f"a path to the device fails: {paths[0].sign.text}"
        yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.PATH_DOWN, message)
    else:
        errors += paths
    if not errors:
        return
    first = min(errors, key=lambda entry: entry.first)
    ops = sorted({entry.sign.op for entry in errors if entry.sign.op in ("READ", "WRITE")})
    status = INACCESSIBLE if len(ops) > 1 else DEGRADED
    what = {"READ": "reads of", "WRITE": "writes to"}.get("".join(ops), "I/O of")
    message = f"{what} the device under the volume fail: {first.sign.text}"
    yield Fault(Look.KERNEL_LOG, status, Reason.IO_ERROR, message)


def _of_server(book: Logbook, below: Below, now: float) -> Iterator[Fault]:
    for entry in book.about(About.SERVER, below.server) if below.server else ():
        replied = below.answers is True or (below.replied is not None and below.replied > entry.last)
        since = max(entry.first, -math.inf if below.watched is None else below.watched)
        lasts = entry.known or now - since >= _SERVER_PATIENCE
        if entry.sign.says is Says.SERVER_DOWN and not replied and lasts:
            text = f"the file server {below.server} does not respond: {entry.sign.text}"
            yield Fault(Look.KERNEL_LOG, INACCESSIBLE, Reason.SERVER_NOT_RESPONDING, text, below.boot)


def _of_resource(book: Logbook, below: Below) -> Iterator[Fault]:
    for entry in book.about(About.RESOURCE, below.resource) if below.resource else ():
        says, text = entry.sign.says, entry.sign.text
        if says is Says.SUSPENDED:
            message = f"DRBD suspended all I/O of the volume: {text}"
            yield Fault(Look.KERNEL_LOG, INACCESSIBLE, Reason.IO_STALLED, message, below.boot)
        elif says is Says.REPLICA_LOST:
            message = f"DRBD lost a replica of the volume: {text}"
            yield Fault(Look.KERNEL_LOG, DEGRADED, Reason.REPLICA_LOST, message, below.boot)
