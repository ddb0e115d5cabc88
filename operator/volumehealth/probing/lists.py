"""Lists of one driver: read to their end, sorted by what they mean, and remembered.

A driver may make anything of pages and tokens (facts D1, D2). What a list says of a volume is not only what stands in it:
an absence means different things in the two generations (facts C2). A legacy list names every volume: who is absent may
be missing, and must be confirmed. A CSI 1.13 list names bad volumes: who is absent and was never bad is healthy; who was
bad must be confirmed to have recovered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeVar

from volumehealth.csi.types import Listed, VolumePage
from volumehealth.errors import CsiError, TokenRejected
from volumehealth.model.health import Condition, severity
from volumehealth.model.steps import in_parts
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.probing.moment import Moment
from volumehealth.probing.spec import ProbeLimits

TOO_LARGE = "RESOURCE_EXHAUSTED"
_ROUND = 100
"""Server-side page caps are round numbers."""

AskPage = Callable[[int, str], Awaitable[VolumePage]]
"""`(max_entries, token)` to a page; raises CsiError."""
MAX_CONDITIONS = 16
"""As many as Kubernetes keeps of one volume (facts D12)."""
ENOUGH_LISTS = 2
"""Whole lists in a row that confirm an absence where no get can."""
_NONE: frozenset[str] = frozenset()
_PART = 2_000
"""Entries that are read and sorted in one step; they take a few milliseconds."""
_Said = TypeVar("_Said")


@dataclass(frozen=True, slots=True)
class ListResult:
    """One list of a driver, restricted to the volumes that are wanted.

    Attributes:
        wanted: the volumes that it is restricted to.
        healthy: explicitly healthy.
        adverse: with conditions.
        silent: named without a condition (facts D4).
        absent: not named.
        named: how many entries there were, wanted or not.
        whole: whether the list was read to its end. If not, absence means nothing.
        why: why it is not whole.
        code: the gRPC status that ended it early; empty if none did.
    """

    wanted: frozenset[str]
    healthy: frozenset[str]
    adverse: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    named: int = 0
    whole: bool = True
    why: str = ""
    code: str = ""


class ListAccumulator:
    """Sorts the entries of a list, page by page. Of entries for the same volume the worst counts (facts D2).

    A volume that is not wanted is ignored; it only shows that the list is not empty.

    Args:
        wanted: handles to look for.
        legacy: whether the pages are ListVolumes'.
        limit: `max_entries` of a page; 0 is no limit.

    Attributes:
        pages: how many were read so far.
        named: how many entries they had.
    """

    def __init__(self, wanted: frozenset[str], *, legacy: bool = True, limit: int = 0) -> None:
        self._wanted = wanted
        self._limit = limit
        self._absent = set(wanted)
        self._silent: set[str] = set()
        self._adverse: dict[str, tuple[Condition, ...]] = {}
        # Whether the list names healthy volumes too: who is missing in it may have been cut off.
        self._names_all = legacy
        self.pages = 0
        self.named = 0

    def add(self, entries: Collection[Listed]) -> None:
        """Take entries of a page."""
        self.named += len(entries)
        wanted, absent = self._wanted, self._absent
        for handle, conditions in entries:
            if not conditions:
                self._names_all = True
            if handle not in wanted:
                continue
            absent.discard(handle)
            if conditions:
                self._accuse(handle, conditions)
            elif conditions is None:
                self._silent.add(handle)

    def _accuse(self, handle: str, conditions: tuple[Condition, ...]) -> None:
        before = self._adverse.get(handle)
        alone = before is None and len(conditions) == 1
        self._adverse[handle] = conditions if alone else merged((*(before or ()), *conditions))

    def reading(self, why: str = "", *, code: str = "") -> ListResult:
        """Return what the pages say.

        Args:
            why: why the list is incomplete; empty if it is whole.
            code: the gRPC status that ended it.
        """
        silent = self._silent - self._adverse.keys()
        # Of sets that are equal to that of all volumes, which is kept anyway, none is made: they are large.
        all_absent = len(self._absent) == len(self._wanted)
        others = self._absent.union(self._adverse, silent) if self._adverse or silent else self._absent
        return ListResult(
            wanted=self._wanted,
            healthy=self._wanted - others if others else self._wanted,
            adverse=self._adverse,
            silent=frozenset(silent),
            absent=self._wanted if all_absent else frozenset(self._absent),
            named=self.named,
            whole=not why,
            why=why,
            code=code,
        )

    def doubt_about_end(self, page: VolumePage) -> str:
        """Say why the list may go on after a page without a token; empty if there is no doubt.

        Some drivers cut a list and never send a token (facts D1, D2). One that has sent a token knows how.
        """
        if self.pages > 1:
            return ""
        size = len(page.entries)
        if self._limit and size >= self._limit:
            return f"the driver stopped at the limit of {self._limit} entries without a page token"
        if size and size % _ROUND == 0 and self._names_all and self._absent:
            return (
                f"the driver stopped at {size} entries without a page token, as one with a fixed limit does"
            )
        return ""

    def broken_off(self, error: CsiError) -> ListResult:
        """Return what was read before the error; raise it if that is nothing."""
        if not self.pages:
            raise error
        return self.reading(f"the list ended at page {self.pages + 1}: {error}", code=error.code)


def merged(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return each (status, reason) once, its different messages joined, worst first, 16 at most (facts D12)."""
    messages: dict[tuple[str, str], list[str]] = {}
    for condition in conditions:
        texts = messages.setdefault((condition.status, condition.reason), [])
        if condition.message and condition.message not in texts:
            texts.append(condition.message)
    unique = [Condition(status, reason, "; ".join(texts)) for (status, reason), texts in messages.items()]
    unique.sort(key=lambda condition: (-severity(condition.status), condition.status, condition.reason))
    return tuple(unique[:MAX_CONDITIONS])


class ListReader:
    """Reads whole lists of one driver, and remembers that it must be read in pages.

    Attributes:
        page_size: `max_entries`; 0, no limit, until the driver cannot send that much.
    """

    def __init__(self, limits: ProbeLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self.page_size = 0

    async def read(self, ask: AskPage, *, wanted: frozenset[str], legacy: bool) -> ListResult:
        """Read one list.

        Args:
            ask: makes the call, with its own deadline.
            wanted: handles to look for.
            legacy: whether the pages are ListVolumes'.

        Raises:
            CsiError: if not even the first page came. A later failure makes the list incomplete.
        """
        deadline = self._monotonic() + self._limits.list_seconds
        aborted = False
        while True:
            read = ListAccumulator(wanted, legacy=legacy, limit=self.page_size)
            try:
                return read.reading(await self._pages(ask, read, deadline))
            except TokenRejected as error:
                if aborted:
                    return read.broken_off(error)
                aborted = True
            except CsiError as error:
                if error.code != TOO_LARGE or self.page_size:
                    return read.broken_off(error)
                self.page_size = self._limits.page_size

    async def _pages(self, ask: AskPage, read: ListAccumulator, deadline: float) -> str:
        """Read pages; return why they are not the whole list, empty if they are."""
        token = ""
        tokens = {token}
        while read.pages < self._limits.max_pages:
            if read.pages and self._monotonic() >= deadline:
                return f"the list did not end within {self._limits.list_seconds:g} s"
            page = await ask(self.page_size, token)
            read.pages += 1
            await asyncio.sleep(0)  # decoding a message of 100,000 entries is a step of its own
            for part in in_parts(page.entries, _PART):
                read.add(part)
                await asyncio.sleep(0)
            token = page.next_token
            if not token:
                return read.doubt_about_end(page)
            if token in tokens:
                return "the driver sent the same page token twice"
            tokens.add(token)
        return f"the list did not end within {self._limits.max_pages} pages"


class ListResults:
    """The newest list of a driver, and what is remembered of earlier ones.

    Attributes:
        healthy: volumes that are healthy by it.
        adverse: volumes that are bad by it, with their conditions.
        presumed: of the healthy ones those that are so because a CSI 1.13 list does not name them.
        missing: volumes that are confirmed not to be in it any more: a legacy list, and no get to ask.
        open: volumes that it leaves open, with the reason.
        named: how many entries it had.
        whole: whether it was read to its end.
        read: when; None if there is none, or it became too old.
    """

    def __init__(self, *, legacy: bool) -> None:
        self._legacy = legacy
        self._absences: dict[str, int] = {}
        self._accused: set[str] = set()
        self._acquitted: set[str] = set()
        self._findings: frozenset[str] = _NONE
        self._volumes: frozenset[str] = _NONE
        self._clear()

    def _clear(self) -> None:
        self.healthy: frozenset[str] = _NONE
        self.presumed: frozenset[str] = _NONE
        self.adverse: Mapping[str, tuple[Condition, ...]] = {}
        self.missing: frozenset[str] = _NONE
        self.open: dict[str, SilenceReason] = {}
        self.named = 0
        self.whole = False
        self.why = ""
        self.read: Moment | None = None

    def want(self, volumes: frozenset[str], findings: frozenset[str]) -> None:
        """Set which volumes are wanted, and which of them have live findings; forget those that are not wanted any more."""
        self._findings = findings
        if volumes is self._volumes:
            return
        gone = self._volumes - volumes
        self._volumes = volumes
        if not gone:
            return
        # Sets of all volumes are copied only if one of them has gone.
        self.healthy = self.healthy if self.healthy.isdisjoint(gone) else self.healthy - gone
        self.presumed = self.presumed if self.presumed.isdisjoint(gone) else self.presumed - gone
        self.missing -= gone
        self._accused -= gone
        self._acquitted -= gone
        self.adverse = _without(self.adverse, gone)
        self.open = _without(self.open, gone)
        self._absences = _without(self._absences, gone)

    def take(self, reading: ListResult, now: Moment, *, confirmable: bool) -> None:
        """Take a new list.

        Args:
            reading: what it says.
            now: when it ended.
            confirmable: whether single volumes can be asked about what it leaves open.
        """
        self._volumes = self._volumes if reading.wanted is self._volumes else self._volumes | reading.wanted
        self._speak(reading)
        doubtful = reading.absent if self._legacy else reading.absent & self._suspects()
        # An incomplete list says nothing of who is absent, so the row of whole lists starts anew.
        counts = {handle: self._absences.get(handle, 0) + 1 for handle in doubtful} if reading.whole else {}
        self._absences = counts
        confirmed = (
            _NONE
            if confirmable
            else frozenset(handle for handle, count in counts.items() if count >= ENOUGH_LISTS)
        )
        if self._legacy:
            self.healthy, self.missing = reading.healthy, confirmed
        else:
            unconfirmed = doubtful - confirmed
            absent = reading.absent if reading.whole else _NONE
            absent = absent - unconfirmed if unconfirmed else absent
            self.healthy = reading.healthy | absent if reading.healthy else absent
            self.presumed, self.missing = absent, _NONE
            self._acquit(confirmed)
        self.adverse = reading.adverse
        self.open = dict.fromkeys(reading.silent, SilenceReason.NO_CONDITION)
        if reading.whole:
            self.open.update(dict.fromkeys(doubtful - confirmed, SilenceReason.NOT_LISTED))
        else:
            self.open.update(dict.fromkeys(reading.absent, SilenceReason.LIST_INCOMPLETE))
        self.named, self.whole, self.why, self.read = reading.named, reading.whole, reading.why, now

    def accuse(self, handle: str) -> None:
        """Remember that a volume was bad."""
        self._accused.add(handle)
        self._acquitted.discard(handle)

    def acquit(self, handle: str) -> None:
        """Take a get's word that a volume is healthy.

        It is not bad any more, although a finding about it may live on for a while; and what a CSI 1.13 list left
        open about it is settled.
        """
        self._acquit((handle,))
        if not self._legacy and self.open.pop(handle, None) is not None:
            self.healthy |= {handle}

    def expire(self) -> None:
        """Forget the list, which is too old; what was learnt of volumes that were bad stays."""
        self._clear()

    def _suspects(self) -> Set[str]:
        return (self._accused | self._findings) - self._acquitted

    def _speak(self, reading: ListResult) -> None:
        self._acquit(reading.healthy & (self._accused | self._findings))
        self._accused |= reading.adverse.keys()
        self._acquitted -= reading.adverse.keys()

    def _acquit(self, handles: "Set[str] | tuple[str, ...]") -> None:
        self._accused.difference_update(handles)
        self._acquitted.update(handles)


def _without(volumes: Mapping[str, _Said], gone: frozenset[str]) -> dict[str, _Said]:
    """Return what is said of volumes that have not gone."""
    if len(gone) < len(volumes):
        left = dict(volumes)
        for handle in gone:
            left.pop(handle, None)
        return left
    return {handle: said for handle, said in volumes.items() if handle not in gone}
