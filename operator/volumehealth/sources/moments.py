"""The moment that counts: now, or when the view was last known to be current."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Protocol, TypeVar

from volumehealth.model.clock import Clock
from volumehealth.model.cluster import ViewState

Key = TypeVar("Key", bound=Hashable)
_LATE = timedelta(minutes=1)
"""By so much what we see may be late, and clocks may differ, without anybody having to care."""


class Stateful(Protocol):
    """What tells how far it can be trusted (`cluster.view.ClusterView`)."""

    def state(self) -> ViewState:
        """How far the view can be trusted."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by both clocks.

    Attributes:
        wall: by the wall clock.
        monotonic: in monotonic seconds.
    """

    wall: datetime
    monotonic: float


class Seen:
    """Since when things are there, as far as our own clock can know: others wrote their times, by clocks of their own.

    What was not there at the look before cannot be older than that look. What is there at the first look is taken at
    its word, so that a process that is started anew forgets nothing.
    """

    def __init__(self) -> None:
        self._first: dict[Hashable, float] = {}
        self._looked = -inf

    def since(self, told: Mapping[Key, datetime | None], moment: Moment) -> dict[Key, datetime | None]:
        """Return since when all that is there now is there; `told` is since when it is said to be, None if that is not said."""
        self._first = {key: self._first.get(key, self._looked) for key in told}
        self._looked = moment.monotonic
        return {key: _no_older(when, self._first[key], moment) for key, when in told.items()}


def _no_older(told: datetime | None, first: float, moment: Moment) -> datetime | None:
    if told is None or first == -inf:
        return told
    earliest = moment.wall - timedelta(seconds=max(0.0, moment.monotonic - first))
    return told if earliest - told <= _LATE else earliest


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
