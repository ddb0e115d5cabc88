"""I/O that does not end, and how long it takes, by a device's counters at two looks and more; pure.

`inflight` counts only what a driver has begun, so it is no proof for or against (Documentation/block/stat.rst): what
counts is that something waits (field 9) at every look while nothing was completed (fields 1, 5, 12, 16).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from volumehealth.node.devices import WAITING, Block

_COMPLETED = (0, 4, 11, 15)
"""Reads, writes, discards and flushes that were completed: fields 1, 5, 12 and 16 of `stat`."""
_TICKS = (3, 7, 14, 16)
"""Milliseconds that these took: fields 4, 8, 15 and 17."""
_FAMILY = re.compile(r"dm(?=-\d)|md(?=\d|_)|drbd(?=\d)|bcache(?=\d)")
_OBEYS = {"dm": (6, 4), "md": (5, 14), "drbd": (99, 0), "bcache": (99, 0)}
"""Since which kernel a driver that takes bios looks at `queue/iostats`: before, it is 0 unless somebody sets it, and the driver
counts whatever it is."""
_LATE = 2.0
"""A look that comes after so many intervals says nothing of the time between: the node was paused, or its clock."""
_LEAST_REQUESTS = 5
"""Average latency of fewer requests says nothing."""


class Kind(StrEnum):
    """What is waited for."""

    ALL = "requests"
    READS = "reads"
    WRITES = "writes"


@dataclass(frozen=True, slots=True)
class Counted:
    """What the counters of one device say.

    Attributes:
        since: since when something waits and nothing ends, in monotonic seconds; None if it goes on.
        kind: what waits.
        begun: whether the driver has begun any of it; if not, an old kernel's counter may be wrong.
        idle_since: since when nothing was completed and nothing waits; None if it works.
        latency: average seconds that requests took since the last look; None if too few ended.
        wrote: when a write was completed last, as far as it was watched, in monotonic seconds; None if none was.
        blind: the kernel does not count for this device.
        first: there is no look before to compare with.
    """

    since: float | None = None
    kind: Kind = Kind.ALL
    begun: bool = True
    idle_since: float | None = None
    latency: float | None = None
    wrote: float | None = None
    blind: bool = False
    first: bool = False


@dataclass(slots=True)
class _Watch:
    """One device, as it was seen last, and since when each kind of request stands."""

    block: Block
    at: float
    since: dict[Kind, float]
    idle_since: float
    wrote: float | None = None


class StallWatch:
    """Compares looks at devices.

    Args:
        kernel: major and minor number of the running kernel.
    """

    def __init__(self, kernel: tuple[int, int]) -> None:
        self._kernel = kernel
        self._watches: dict[str, _Watch] = {}
        self._uncounted: dict[str, Block] = {}
        self._counting: dict[str, Block] = {}

    def look(self, block: Block, *, now: float, interval: float) -> Counted:
        """Take the counters of a device.

        Args:
            block: as it is now.
            now: monotonic seconds.
            interval: seconds between looks as they are planned.
        """
        if len(block.stat) <= WAITING or not (block.counted or self._counts_all_the_same(block)):
            self._watches.pop(block.name, None)
            return Counted(blind=True)
        known = self._watches.get(block.name)
        if known is None or not _same(known.block, block) or now - known.at > _LATE * interval:
            self._watches[block.name] = _Watch(block, now, dict.fromkeys(_standing(block), now), now)
            return Counted(first=True)
        before, standing = known.block, _standing(block)
        latency = _latency(before, block)
        known.since = {
            kind: known.since.get(kind, now) if _unmoved(before, block, kind) else now for kind in standing
        }
        moved = not _unmoved(before, block, Kind.ALL)
        if moved or Kind.ALL in standing:
            known.idle_since = now
        known.block, known.at = block, now
        if not _unmoved(before, block, Kind.WRITES):
            known.wrote = now
        idle_since = None if moved or Kind.ALL in standing else known.idle_since
        if not known.since:
            return Counted(idle_since=idle_since, latency=latency, wrote=known.wrote)
        kind = min(known.since, key=lambda one: (known.since[one], one is not Kind.ALL))
        return Counted(
            since=known.since[kind],
            kind=kind,
            begun=sum(block.started) > 0,
            latency=latency,
            wrote=known.wrote,
        )

    def _counts_all_the_same(self, block: Block) -> bool:
        """Tell whether a device is counted although `queue/iostats` is 0, as it was for drivers that do not look at it."""
        known = self._counting.get(block.name)
        if known is not None and _same(known, block):
            return True
        before = self._uncounted.get(block.name)
        self._uncounted[block.name] = block
        moved = before is not None and _same(before, block) and not _unmoved(before, block, Kind.ALL)
        family = _FAMILY.match(block.name)
        never = family is not None and self._kernel < _OBEYS.get(family[0], (0, 0))
        if moved or block.stat[WAITING] > 0 or (never and _sum(block.stat, _COMPLETED) > 0):
            self._counting[block.name] = block
            return True
        return False

    def pause(self, name: str) -> None:
        """Begin anew with a device: what it does now says nothing (it is suspended on purpose)."""
        self._watches.pop(name, None)

    def keep(self, names: frozenset[str]) -> None:
        """Forget all but these devices."""
        for table in (self._watches, self._uncounted, self._counting):
            for name in table.keys() - names:
                del table[name]


def _same(before: Block, now: Block) -> bool:
    return (before.inode, before.sequence) == (now.inode, now.sequence)


def _standing(block: Block) -> list[Kind]:
    """Return what may wait: by field 9 anything, by what the driver has begun reads or writes behind the others."""
    reads, writes = block.started
    standing = []
    if block.stat[WAITING] > 0:
        standing.append(Kind.ALL)
    if reads:
        standing.append(Kind.READS)
    if writes:
        standing.append(Kind.WRITES)
    return standing


def _unmoved(before: Block, now: Block, kind: Kind) -> bool:
    fields = {Kind.ALL: _COMPLETED, Kind.READS: _COMPLETED[:1], Kind.WRITES: _COMPLETED[1:]}[kind]
    return _sum(before.stat, fields) == _sum(now.stat, fields)


def _latency(before: Block, now: Block) -> float | None:
    ended = _sum(now.stat, _COMPLETED) - _sum(before.stat, _COMPLETED)
    if ended < _LEAST_REQUESTS:
        return None
    return max(0, _sum(now.stat, _TICKS) - _sum(before.stat, _TICKS)) / ended / 1000


def _sum(stat: tuple[int, ...], fields: tuple[int, ...]) -> int:
    return sum(stat[field] for field in fields if field < len(stat))
