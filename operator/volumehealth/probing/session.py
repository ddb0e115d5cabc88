"""How we stand with a driver: who it is, whether it answers, and when it may be called next."""

import logging
import sys

from volumehealth.csi.types import DriverInfo
from volumehealth.model.clock import Clock
from volumehealth.probing.breaker import Breaker
from volumehealth.probing.identity import Identity
from volumehealth.probing.moment import Moment, moment
from volumehealth.probing.pace import DutyCycle
from volumehealth.probing.spec import ProbeLimits

log = logging.getLogger(__name__)

UNAVAILABLE = "UNAVAILABLE"
FAULT = "INTERNAL_FAULT"
"""Stands for a gRPC status where the fault is ours."""
IDLE_INTERVAL = 60.0


class DriverSession:
    """What every call to a driver has to respect, and reports back to.

    Attributes:
        identity: who the driver is.
        breaker: whether it answers.
        duty: how long it is left in peace.
        interval: seconds between two rounds; an open circuit is open for that long at least.
    """

    def __init__(
        self, identity: Identity, breaker: Breaker, duty: DutyCycle, *, clock: Clock, limits: ProbeLimits
    ) -> None:
        self.identity = identity
        self.breaker = breaker
        self.duty = duty
        self.interval = IDLE_INTERVAL
        self._clock = clock
        self._limits = limits

    def now(self) -> Moment:
        """Read both clocks."""
        return moment(self._clock)

    def worked(self, start: float) -> None:
        """Tell that the driver was busy with us from `start`, in monotonic seconds, until now."""
        self.duty.worked(start, self._clock.monotonic())

    def ok(self) -> None:
        """Tell of a health call that was answered."""
        self.breaker.ok(self.now())

    def failed(self, code: str, *, opens_at: int, broken: bool = False) -> None:
        """Tell of a list or a get that failed.

        Args:
            code: what with.
            opens_at: so many failures in a row open the circuit.
            broken: the connection broke: whoever answers next may be another one.
        """
        now = self.now()
        self.breaker.failed(now, code, opens_at=opens_at, least=self._least_rest(now))
        log.debug("call failed", extra={"driver": self.identity.name, "code": code})
        if self.breaker.next_try is not None:
            self.identity.lost(self.breaker.next_try.mono)
        elif broken:
            self.lost()

    def identified(self, info: DriverInfo, *, endpoint: str) -> bool:
        """Take who answers; return whether it is asked in another way now than before."""
        return self.identity.found(info, endpoint=endpoint, now=self._clock.monotonic())

    def not_identified(self, code: str) -> None:
        """Tell that the driver is missing, starting, or does not answer."""
        now = self.now()
        # Where nobody is, nobody can be burdened: the circuit need not open for that.
        opens_at = sys.maxsize if code == UNAVAILABLE else self._limits.failed_passes
        self.breaker.failed(now, code, opens_at=opens_at, least=self._least_rest(now))
        rest = self.breaker.next_try.mono if self.breaker.next_try else self.duty.rest_until
        self.identity.missed(now.mono, rest=rest)
        log.debug("driver not identified", extra={"driver": self.identity.name, "code": code})

    def lost(self) -> None:
        """Tell that the connection broke: whoever answers next may be another one."""
        self.identity.lost(self._clock.monotonic() + self._limits.first_retry)

    def lacks(self, method: str) -> None:
        """Tell that the driver does not have a method that it promises (facts D15)."""
        self.identity.lacks(method)
        log.info(
            "driver does not implement a method that it advertises",
            extra={"driver": self.identity.name, "method": method},
        )

    def at_fault(self, error: Exception) -> None:
        """Tell of a fault of ours: go on after a pause, since whatever it is will likely happen again."""
        self.failed(f"{FAULT}: {type(error).__name__}", opens_at=self._limits.failed_passes)
        if not self.breaker.open:
            self.identity.lost(self._clock.monotonic() + self.interval)

    def _least_rest(self, now: Moment) -> float:
        return max(self.interval, self.duty.rest_until - now.mono)
