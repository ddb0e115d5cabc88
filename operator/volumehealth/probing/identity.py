"""Who a driver is and how it is asked: found by asking, found anew whenever it may have become another one."""

import math
from dataclasses import replace

from volumehealth.csi.types import DriverInfo
from volumehealth.probing.plan import Plan, make_plan
from volumehealth.probing.spec import ProbeLimits


class Identity:
    """What is known of who answers at an endpoint. Times are monotonic seconds.

    Attributes:
        given: the name that was given with the endpoint; may be empty.
        name: the driver's name; empty until it is known.
        plan: how it is asked; None until it was identified once.
        known: whether it was identified since it last may have changed.
        mismatch: what is wrong with its name; empty if nothing is.
    """

    def __init__(self, given: str, limits: ProbeLimits) -> None:
        self.given = given
        self.name = given
        self.plan: Plan | None = None
        self.known = False
        self.mismatch = ""
        self._limits = limits
        self._info: DriverInfo | None = None
        self._broken: frozenset[str] = frozenset()
        self._found_at = -math.inf
        self._retry_at = -math.inf
        self._retry_delay = limits.first_retry

    def due(self) -> float:
        """Return when the driver must be identified before anything else is asked of it."""
        return self._found_at + self._limits.reidentify if self.known else self._retry_at

    def found(self, info: DriverInfo, *, endpoint: str, now: float) -> bool:
        """Take who answers; return whether it is another one, or asked in another way, than before."""
        self.known = True
        self._found_at = now
        self._retry_delay = self._limits.first_retry
        promised = replace(info, ready=True)  # one that is ready at times promises the same
        if promised != self._info:  # it promises something else now: it may have what it lacked before
            self._info, self._broken = promised, frozenset()
        before, self.name = self.name, self.given or info.name
        self.mismatch = ""
        plan = make_plan(info, self._broken)
        if self.name != info.name:
            self.mismatch = f"{endpoint} is the endpoint of {info.name}, not of {self.given}"
            plan = Plan()
        changed, self.plan = plan != self.plan or before not in ("", self.name), plan
        return changed

    def missed(self, now: float, *, rest: float) -> None:
        """Note that the driver could not be identified: try again, ever more rarely, after `rest` at the earliest."""
        self.known = False
        self._broken = frozenset()  # whoever comes back may be able to do more
        self._retry_at = max(now + self._retry_delay, rest)
        self._retry_delay = min(self._limits.max_retry, self._retry_delay * 2)

    def lost(self, at: float) -> None:
        """Identify the driver anew, at `at`: its connection broke, or its circuit is open until then."""
        self.known = False
        self._broken = frozenset()
        self._retry_at = at

    def lacks(self, method: str) -> None:
        """Do without a method that the driver promises and does not have (facts D15); identify it anew at once."""
        self._broken |= {method}
        self.known = False
        self._retry_at = -math.inf
