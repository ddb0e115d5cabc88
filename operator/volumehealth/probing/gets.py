"""What single volumes answered when they were asked about: kept until it is too old or somebody knows better."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import TypeVar

from volumehealth.model.health import Condition
from volumehealth.probing.moment import Moment


class GetOutcome(StrEnum):
    """The kinds of outcome of a get."""

    HEALTHY = "healthy"
    ADVERSE = "adverse"
    NOTHING = "nothing"
    """An answer without a condition (facts D4)."""
    NOT_FOUND = "not found"
    """NOT_FOUND, as often in a row as it takes (facts D6)."""
    FAILED = "failed"
    OUTDATED = "outdated"
    """Its answer became too old."""


@dataclass(frozen=True, slots=True)
class Record:
    """The newest outcome of asking about one volume.

    Attributes:
        said: which kind.
        heard: when.
        conditions: of an adverse one.
        text: what the driver said, or what went wrong.
        doubted: when NOT_FOUND was first heard; another volume must have answered since then.
    """

    said: GetOutcome
    heard: Moment
    conditions: tuple[Condition, ...] = ()
    text: str = ""
    doubted: Moment | None = None


@dataclass(slots=True)
class _Doubt:
    asks: int
    since: Moment


class GetResults:
    """Newest outcome of each volume asked about by get.

    Healthy volumes are a plain set beside their ages; all else is a record, since there are few.

    Attributes:
        others: records of volumes that are not healthy.
        acquitted: when a volume with a finding was last heard to be healthy. What other volumes answer later says
            nothing of how long it has been well.
        changes: counts whatever could change what is published.
    """

    def __init__(self) -> None:
        self._healthy: set[str] = set()
        self._ages: dict[str, float] = {}  # oldest first
        self._doubts: dict[str, _Doubt] = {}
        self._trouble: dict[str, str] = {}
        self._speakers: list[tuple[str, float]] = []
        self.others: dict[str, Record] = {}
        self.acquitted: dict[str, Moment] = {}
        self.changes = 0

    @property
    def healthy(self) -> Set[str]:
        """Volumes with a fresh healthy answer."""
        return self._healthy

    @property
    def known(self) -> int:
        """How many volumes have an outcome."""
        return len(self._healthy) + len(self.others)

    def keep(self, handles: Set[str]) -> None:
        """Forget whoever is not in `handles`."""
        self.changes += 1
        self._healthy &= handles
        _keep(self._ages, handles)
        _keep(self._doubts, handles)
        _keep(self._trouble, handles)
        _keep(self.others, handles)
        _keep(self.acquitted, handles)
        self._speakers = [speaker for speaker in self._speakers if speaker[0] in handles]

    def suspect(self, handles: Set[str]) -> None:
        """Set which volumes have findings."""
        _keep(self.acquitted, handles)

    def healthy_now(self, handle: str, now: Moment, *, suspect: bool = False) -> None:
        """Take an explicitly healthy answer; `suspect` tells whether the volume has a finding."""
        self._spoke(handle, now)
        if suspect:
            self.changes += 1
            self.acquitted[handle] = now
        if handle not in self._healthy:
            self.changes += 1
            self._healthy.add(handle)
            self.others.pop(handle, None)

    def adverse_now(self, handle: str, now: Moment, conditions: tuple[Condition, ...]) -> None:
        """Take an adverse answer."""
        self._spoke(handle, now)
        self._put(handle, Record(GetOutcome.ADVERSE, now, conditions))

    def nothing_now(self, handle: str, now: Moment) -> None:
        """Take an answer without a condition."""
        self._settle(handle, now)
        self._put(handle, Record(GetOutcome.NOTHING, now))

    def failed(self, handle: str, now: Moment, text: str) -> None:
        """Take the driver's own error for this volume."""
        self._settle(handle, now)
        self._put(handle, Record(GetOutcome.FAILED, now, text=text))

    def unheard(self, handle: str, now: Moment, text: str) -> None:
        """Note that no answer came: that is no word about the volume, so an earlier one stays until it is too old."""
        self._trouble[handle] = text
        if handle not in self._healthy and handle not in self.others:
            self._ages[handle] = now.mono
            self._put(handle, Record(GetOutcome.FAILED, now, text=text))

    def not_found(self, handle: str, now: Moment, text: str, *, enough: int) -> int:
        """Take a NOT_FOUND; what was said before stays until it was heard often enough (facts D6).

        Returns:
            How often it was heard in a row.
        """
        previous = self.others.get(handle)
        if previous is not None and previous.said is GetOutcome.NOT_FOUND:
            self._age(handle, now)
            self._put(handle, Record(GetOutcome.NOT_FOUND, now, text=text, doubted=previous.doubted))
            return enough
        doubt = self._doubts.setdefault(handle, _Doubt(0, now))
        doubt.asks += 1
        if doubt.asks >= enough:
            self._settle(handle, now)
            self._put(handle, Record(GetOutcome.NOT_FOUND, now, text=text, doubted=doubt.since))
        return doubt.asks

    def answered_since(self, since: float, *, other_than: str) -> bool:
        """Tell whether another volume got an explicit answer at `since` or later."""
        return any(at >= since and handle != other_than for handle, at in self._speakers)

    def denied(self) -> list[str]:
        """Return the volumes of which the driver says that they are not there."""
        return [handle for handle, record in self.others.items() if record.said is GetOutcome.NOT_FOUND]

    def expire(self, now: Moment, age: float) -> None:
        """Make every outcome that is older than `age` seconds an outdated one."""
        for handle in self._older(now.mono - age):
            del self._ages[handle]
            self._doubts.pop(handle, None)
            self._healthy.discard(handle)
            trouble = self._trouble.pop(handle, "")
            said = GetOutcome.FAILED if trouble else GetOutcome.OUTDATED
            self._put(handle, Record(said, now, text=trouble))

    def oldest(self) -> float | None:
        """Return the monotonic time of the oldest outcome that can still become outdated."""
        return next(iter(self._ages.values()), None)

    def _older(self, than: float) -> list[str]:
        return [handle for handle, _ in takewhile(lambda item: item[1] < than, self._ages.items())]

    def _spoke(self, handle: str, now: Moment) -> None:
        self._settle(handle, now)
        if any(record.said is GetOutcome.NOT_FOUND for record in self.others.values()):
            self.changes += 1  # this answer may be what makes another volume's NOT_FOUND confirmed
        self._speakers = [(handle, now.mono), *(one for one in self._speakers if one[0] != handle)][:2]

    def _settle(self, handle: str, now: Moment) -> None:
        self._doubts.pop(handle, None)
        self._age(handle, now)

    def _age(self, handle: str, now: Moment) -> None:
        self._trouble.pop(handle, None)
        self._ages.pop(handle, None)
        self._ages[handle] = now.mono

    def _put(self, handle: str, record: Record) -> None:
        previous = self.others.get(handle)
        self.others[handle] = record
        self.acquitted.pop(handle, None)
        self._healthy.discard(handle)
        if previous is None or _told(previous) != _told(record):
            self.changes += 1


def _told(record: Record) -> tuple[object, ...]:
    dated = record.said in (GetOutcome.ADVERSE, GetOutcome.NOT_FOUND)  # when it was said last is told, too
    return record.said, record.conditions, record.text, record.heard if dated else None


_T = TypeVar("_T")


def _keep(kept: dict[str, _T], handles: Set[str]) -> None:
    for handle in [handle for handle in kept if handle not in handles]:
        del kept[handle]
