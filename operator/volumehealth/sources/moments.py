"""The moment that counts: now, or when the view was last known to be current."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from volumehealth.model.clock import Clock
from volumehealth.model.cluster import ViewState


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
