"""A point in time on both clocks: one to show, one to measure with."""

from datetime import datetime, timedelta
from typing import NamedTuple

from volumehealth.model.clock import Clock


class Moment(NamedTuple):
    """Wall clock for people, monotonic seconds for ages: a wall clock that is set must not age an answer."""

    wall: datetime
    mono: float

    def later(self, seconds: float) -> "Moment":
        """Return the moment `seconds` after this one."""
        return Moment(self.wall + timedelta(seconds=seconds), self.mono + seconds)


def moment(clock: Clock) -> Moment:
    """Read both clocks."""
    return Moment(clock.now(), clock.monotonic())
