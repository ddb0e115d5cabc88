"""The moment that counts: now, or when the view was last known to be current."""

from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from volumehealth.model.clock import Clock
from volumehealth.model.cluster import ViewState

Key = TypeVar("Key", bound=Hashable)
_SPREAD = 0.05
"""By which share of itself a round may be longer (`agent.driver.DriverPace.jitter`)."""
_CARRIED = 10.0
"""Seconds after which what a round has changed is surely there: the call itself, and the gaps between an agent's writes."""
_LATE = timedelta(minutes=1)
"""By so much what we see may be late, and clocks may differ, without anybody having to care."""


class Stateful(Protocol):
    """What tells how far it can be trusted (`cluster.view.ClusterView`)."""

    def state(self) -> ViewState:
        """How far the view can be trusted."""


class Moment(NamedTuple):
    """A moment by both clocks.

    Attributes:
        wall: by the wall clock.
        monotonic: in monotonic seconds.
    """

    wall: datetime
    monotonic: float

    def back_to(self, monotonic: float) -> datetime:
        """Return what our wall clock would have shown earlier, had nobody set it since; this moment if it is later."""
        return self.wall - timedelta(seconds=max(0.0, self.monotonic - monotonic))


def last_round(heard: float, every: timedelta, moment: Moment) -> datetime:
    """Return when somebody asked last who asks in every round, and tells only what changes.

    What was told once is one answer until a round later: looked at in between, it is no second one. A round is over once
    what it changed would be there: a driver with another reason in each answer has said none of them twice.

    Args:
        heard: when it was told, in monotonic seconds.
        every: one round.
        moment: now.
    """
    passed, round_ = max(0.0, moment.monotonic - heard), every.total_seconds()
    rounds = max(0.0, passed - _SPREAD * round_ - _CARRIED) // round_
    return moment.wall - timedelta(seconds=passed - rounds * round_)


class Seen:
    """Since when things are there, as far as our own clock can know: others wrote their times, by clocks of their own.

    What was not there at the look before cannot be older than that look, and what was there at a look is no younger:
    a clock that is set ahead makes nothing old, and one that is set back keeps nothing young. What is there at the first
    look is taken at its word, so that a process that is started anew forgets nothing.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[Hashable, datetime | None], tuple[float, float]] = {}
        self._looked = -inf

    def since(self, told: Mapping[Key, datetime | None], moment: Moment) -> dict[Key, datetime | None]:
        """Return since when all that is there now is there; `told` is since when it is said to be, None if that is not said."""
        looks = self._looked, moment.monotonic
        self._seen = {one: self._seen.get(one, looks) for one in told.items()}
        self._looked = moment.monotonic
        return {key: _within(when, self._seen[key, when], moment) for key, when in told.items()}


def _within(told: datetime | None, looks: tuple[float, float], moment: Moment) -> datetime | None:
    """Return the time that others told if it can be right, and else the first look with what it is about.

    It can be right if it lies between the last look without and the first one with it. If not, then their clock is
    another one, and a time that is up to an interval late is better than an alarm that is up to an interval early.
    """
    if told is None:
        return None
    before, first = looks
    latest = moment.back_to(first)
    earliest = None if before == -inf else moment.back_to(before) - _LATE
    return latest if told > latest or (earliest is not None and told < earliest) else told


class NotAhead:
    """Shows times that others tell, or that we told by a clock that was set back since, as none that has not come."""

    def __init__(self) -> None:
        self._shown: dict[tuple[Hashable, datetime], datetime] = {}

    def show(self, told: Mapping[Key, datetime], now: datetime) -> dict[Key, datetime]:
        """Return the times to show: as they are told, or when they were first seen to lie ahead."""
        shown = {key: min(when, now, self._shown.get((key, when), now)) for key, when in told.items()}
        self._shown = {(key, when): shown[key] for key, when in told.items()}
        return shown


class Moments:
    """Knows the moment that counts, and when the API server was away last.

    Args:
        view: tells since when it is stale.
        clock: time.

    Attributes:
        away: from when to when (monotonic seconds) the view was stale last; None if it never was.
    """

    def __init__(self, view: Stateful, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._stale_since: float | None = None
        self.away: tuple[float, float] | None = None

    def at(self, now: datetime) -> Moment:
        """Return the moment: while the view is stale, nothing has happened since it was last confirmed."""
        state, monotonic = self._view.state(), self._clock.monotonic()
        if state.stale:
            self._stale_since = monotonic - state.age
            return Moment(now - timedelta(seconds=state.age), self._stale_since)
        if self._stale_since is not None:
            self.away = (self._stale_since, monotonic)
            self._stale_since = None
        return Moment(now, monotonic)
