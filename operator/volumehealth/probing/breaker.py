"""Whether a driver is asked at all, and since when it does not answer."""

from random import Random

from volumehealth.model.clock import date_and_time
from volumehealth.probing.moment import Moment


class Breaker:
    """A circuit breaker: closed, or open until `next_try`, when the driver is identified and tried once.

    Attributes:
        last_ok: when a health call last succeeded; None if none ever did.
        failures: calls, or passes, that failed since.
        failing_since: when the first of them failed; None if the driver is not failing.
        code: what the last one failed with: the gRPC status, and the driver's words if there are any.
        next_try: when an open circuit is tried again; None while it is closed.
    """

    def __init__(self, random: Random, *, max_backoff: float) -> None:
        self._random = random
        self._max_backoff = max_backoff
        self._opened = 0
        self.last_ok: Moment | None = None
        self.failures = 0
        self.failing_since: Moment | None = None
        self.code = ""
        self.next_try: Moment | None = None

    @property
    def open(self) -> bool:
        """Whether the driver is left alone until `next_try`."""
        return self.next_try is not None

    def ok(self, now: Moment) -> None:
        """Tell of a success: the circuit closes."""
        self.last_ok = now
        self.failures = 0
        self.failing_since = None
        self.code = ""
        self._opened = 0
        self.next_try = None

    def failed(self, now: Moment, code: str, *, opens_at: int, least: float) -> None:
        """Tell of a failure.

        Args:
            now: when.
            code: what with.
            opens_at: so many failures in a row open the circuit. An open circuit stays open, for longer.
            least: seconds that it is open at least, whatever the back-off says: the interval, or the rest that the
                duty rule asks for.
        """
        self.failures += 1
        first = self.failing_since or now
        self.failing_since = Moment(min(first.wall, now.wall), first.mono)  # the wall clock may be set back
        self.code = code
        if self.next_try is not None and now.mono < self.next_try.mono:
            return  # calls that were already under way when it opened
        if self.open or self.failures >= opens_at:
            backoff = min(max(self._max_backoff, least), least * 2.0**self._opened)
            self._opened += 1
            self.next_try = now.later(backoff * self._random.uniform(1.0, 1.1))

    def is_silent(self, now: Moment, *, delay: float, enough: int) -> bool:
        """Tell whether the driver counts as unreachable.

        One failed call is no outage: what was heard before stays good until it is too old.

        Args:
            now: the moment to judge by.
            delay: seconds after which the last success is too long ago.
            enough: failures that are needed besides.
        """
        if self.open:
            return True
        if self.failing_since is None:
            return False
        return self.last_ok is None or (now.mono - self.last_ok.mono > delay and self.failures >= enough)

    def sentence(self, now: Moment) -> str:
        """Return, for people: `has not answered since 03:02Z (DEADLINE_EXCEEDED), next try 03:20Z`."""
        if self.failing_since is None:
            return ""
        text = f"has not answered since {date_and_time(self.failing_since.wall)} ({self.code})"
        if self.next_try is None:
            return text
        return f"{text}, next try {date_and_time(self.next_try.wall)}"
