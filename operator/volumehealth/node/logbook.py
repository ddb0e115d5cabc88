"""What the kernel log said of devices and is still in force; pure, time is an argument.

Terminal lines hold until the filesystem is mounted anew, all others expire 15 minutes after the last. What was written
before a device was mounted the last time is of an earlier instance and says nothing of this one.
"""

import math
import re
from dataclasses import dataclass, field, replace

from volumehealth.node.klog import News
from volumehealth.node.lines import About, Says, Sign, signs

EXPIRY = 900.0
"""Seconds that a line which is not terminal stays in force."""
_MOST_NAMES = 512
_MOST_ENTRIES = 64
_MEBIBYTE_OF_SECTORS = 2048
_MEBIBYTE_OF_BLOCKS = 256
_TERMINAL = frozenset(
    {
        Says.SHUT_DOWN,
        Says.READ_ONLY,
        Says.JOURNAL_ABORTED,
        Says.PATH_FAILED,
        Says.POOL_FULL,
        Says.POOL_READ_ONLY,
        Says.SUSPENDED,
        Says.REPLICA_LOST,
        Says.SERVER_DOWN,
        Says.GONE,
    }
)
"""Said once and then never again, while it goes on."""
_ENDS = {
    Says.WRITABLE: frozenset({Says.READ_ONLY}),
    Says.METADATA_REPAIRED: frozenset({Says.METADATA_DAMAGED}),
    Says.PATH_BACK: frozenset({Says.PATH_FAILED}),
    Says.POOL_BACK: frozenset({Says.POOL_FULL, Says.POOL_READ_ONLY}),
    Says.RESUMED: frozenset({Says.SUSPENDED}),
    Says.REPLICA_BACK: frozenset({Says.REPLICA_LOST}),
    Says.SERVER_UP: frozenset({Says.SERVER_DOWN}),
}
_BOUNDARIES = frozenset({Says.MOUNTED, Says.UNMOUNTED, Says.ATTACHED})

_NAMES_BELOW = {About.DISK: r"{name}(?:{p}\d+)?", About.CONTROLLER: r"{name}n\d+(?:p\d+)?"}
"""How disks and partitions are called that come with what is attached."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was said of a device, in one way, once or often.

    Attributes:
        sign: the first such line.
        number: of the last such line, counting all lines ever seen.
        first, last: when, in monotonic seconds.
        count: how many lines.
        known: an earlier process reported it.
    """

    sign: Sign
    number: int
    first: float
    last: float
    count: int = 1
    known: bool = False

    @property
    def terminal(self) -> bool:
        """Whether it holds until something ends it."""
        return self.sign.says in _TERMINAL


_Key = tuple[Says, str, str, int | None]


@dataclass(slots=True)
class _Page:
    """What is in force of one device, and the line that told when it was attached, mounted or unmounted last."""

    entries: dict[_Key, Entry] = field(default_factory=dict)
    boundary: int = 0

    @property
    def weight(self) -> int:
        """How much would be lost with it: what holds until it ends, what expires, or only when it was mounted."""
        return 2 if any(entry.terminal for entry in self.entries.values()) else bool(self.entries)

    def add(self, sign: Sign, number: int, at: float) -> None:
        key = (sign.says, sign.op, sign.path, _where(sign))
        known = self.entries.pop(key, None)  # behind the others: the first one is the oldest
        if known is None:
            self.entries[key] = Entry(sign, number, at, at)
        else:
            self.entries[key] = Entry(known.sign, number, known.first, at, known.count + 1, known.known)
        if len(self.entries) > _MOST_ENTRIES:
            passing = (key for key, entry in self.entries.items() if not entry.terminal)
            self.entries.pop(next(passing, next(iter(self.entries))))

    def end(self, sign: Sign) -> None:
        """Drop what a line says is over."""
        ended = _ENDS[sign.says]
        for key, entry in list(self.entries.items()):
            if entry.sign.says in ended and entry.sign.path == sign.path:
                del self.entries[key]

    def expire(self, now: float) -> None:
        """Drop what is over; of what a device says in one way all expires together, so that a fault keeps its name."""
        newest: dict[Says, float] = {}
        for entry in self.entries.values():
            newest[entry.sign.says] = max(entry.last, newest.get(entry.sign.says, entry.last))
        for key, entry in list(self.entries.items()):
            if not entry.terminal and now - newest[entry.sign.says] >= EXPIRY:
                del self.entries[key]


def _where(sign: Sign) -> int | None:
    """Return roughly where on the device an error was: partitions begin at whole mebibytes."""
    if sign.sector is not None:
        return sign.sector // _MEBIBYTE_OF_SECTORS
    return sign.block // _MEBIBYTE_OF_BLOCKS if sign.block is not None else None


class Logbook:
    """The lines in force, by the device they name.

    Attributes:
        whole_since: number of the first line since when nothing was lost; 0 if the log was seen from the boot on.
        complete: whether the last look missed nothing.
        reaches_back: whether all that is in force was seen: the log was followed, or began, for as long before.
        errors: how many lines told of I/O errors, by disk; for metrics.
        gaps: how many times lines were lost or suppressed; for metrics.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[About, str], _Page] = {}
        self._count = 0
        self._taken_at = 0.0
        self._seen_from = -math.inf
        self.reaches_back = True
        self.whole_since = 0
        self.complete = False
        self.errors: dict[str, int] = {}
        self.gaps = 0

    @property
    def count(self) -> int:
        """How many lines were seen."""
        return self._count

    def take(self, news: News, *, now: float, uptime: float) -> None:
        """Take what a look at the log brought.

        Args:
            news: as `LogTail` gives it.
            now: monotonic seconds.
            uptime: the same moment, about, by the clock that the kernel stamps lines with: nobody sets that right, and after
                months, or once a machine was moved, it is minutes off. What is new came since the last look, whatever it
                is stamped with, and what was stamped later than now was not.
        """
        uptime = max((uptime, *(line.stamp for line in news.lines if line.stamp is not None)))
        oldest = math.inf if news.first else max(0.0, now - self._taken_at)
        self._taken_at = now
        if news.lost:
            self.whole_since = self._count + 1
        if news.first and news.lost:
            stamps = (line.stamp for line in news.lines if line.stamp is not None)
            self._seen_from = now - (uptime - next(stamps, uptime))
        suppressed = False
        for place, line, sign in signs(news.lines):
            if sign.says is Says.SUPPRESSED:
                suppressed = True
                continue
            age = min(oldest, uptime - line.stamp) if line.stamp is not None else 0.0
            if line.stamp is None and news.first:
                age = EXPIRY  # it may be old: only a terminal line counts
            self._note(sign, self._count + place + 1, now - age)
        self._count += len(news.lines)
        gap = suppressed or (news.lost and not news.first)
        self.gaps += gap
        self.complete = not (gap and not news.first)
        self.reaches_back = now - self._seen_from >= EXPIRY
        self._expire(now)

    def remember(self, sign: Sign, *, now: float) -> None:
        """Take a terminal line that was seen before this process was started; what ends it, comes later."""
        page = self._pages.setdefault((sign.about, sign.name), _Page())
        page.add(sign, self._count, now)
        for key, entry in page.entries.items():
            if entry.sign == sign:
                page.entries[key] = replace(entry, known=True)

    def missed(self) -> None:
        """The log could not be read this time."""
        self.complete = False

    def _note(self, sign: Sign, number: int, at: float) -> None:
        page = self._pages.setdefault((sign.about, sign.name), _Page())
        if sign.says in _BOUNDARIES:
            page.entries.clear()
            page.boundary = number
            if sign.says is Says.ATTACHED:
                self._replace(sign)
            return
        if sign.says in _ENDS:
            page.end(sign)
            if nameless := self._pages.get((sign.about, "")):  # old kernels do not name the multipath device
                nameless.end(sign)
            if not sign.name:  # which device it is about is not known
                for (about, _), other in self._pages.items():
                    if about is sign.about:
                        other.end(sign)
            return
        if sign.says is Says.IO_ERROR and sign.about is About.DISK:
            self.errors[sign.name] = self.errors.get(sign.name, 0) + 1
        page.add(sign, number, at)

    def _replace(self, sign: Sign) -> None:
        """Drop what was said of the disk that had a name before, and of its partitions.

        What holds until a mounting ends stays beside a controller of NVMe: its number need not be that of its disks.
        """
        mine = _NAMES_BELOW.get(sign.about)
        if mine is None:
            return
        name = re.escape(sign.name)
        below = re.compile(mine.format(name=name, p="p" if sign.name[-1].isdigit() else ""))
        for (about, other), page in self._pages.items():
            if about in (About.DISK, About.FILESYSTEM) and below.fullmatch(other):
                for key, entry in list(page.entries.items()):
                    if sign.about is About.DISK or not entry.terminal:
                        del page.entries[key]

    def _expire(self, now: float) -> None:
        for key, page in list(self._pages.items()):
            page.expire(now)
            if not page.entries and not page.boundary:
                del self._pages[key]
        surplus = max(0, len(self._pages) - _MOST_NAMES)
        for key in sorted(self._pages, key=self._weight)[:surplus] if surplus else ():
            del self._pages[key]
        for disk in list(self.errors)[: max(0, len(self.errors) - _MOST_NAMES)]:
            del self.errors[disk]

    def _weight(self, key: tuple[About, str]) -> tuple[int, bool]:
        """Say how much would be lost with a page; that a disk was attached matters less than that one was mounted."""
        return (self._pages[key].weight, key[0] is About.FILESYSTEM)

    def about(self, about: About, name: str, *, after: int = -1) -> tuple[Entry, ...]:
        """Return what is in force of one device.

        Args:
            about: what kind of name it is.
            name: as lines name it.
            after: only what was written after the line with this number.
        """
        page = self._pages.get((about, name))
        return tuple(one for one in page.entries.values() if one.number > after) if page else ()

    def boundary(self, name: str, about: About = About.FILESYSTEM) -> int:
        """Return the number of the line that told when a device was mounted or unmounted last, or a disk was attached.

        0 if none did.
        """
        page = self._pages.get((about, name))
        return page.boundary if page else 0

    def forget(self, about: About, name: str, *, until: int, path: str | None = None) -> None:
        """Forget what was said of a device that is another one by now.

        Args:
            about: what kind of name it is.
            name: as lines name it.
            until: number of the last line that was of the other one.
            path: forget only what was said of this path to it.
        """
        page = self._pages.get((about, name))
        if page is None:
            return
        for key, entry in list(page.entries.items()):
            if entry.number <= until and path in (None, entry.sign.path):
                del page.entries[key]
