"""How full the volumes of a node are, and when they will be full if they go on so; pure, time is an argument."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import median

from volumehealth.agent.capacity import is_counted
from volumehealth.csi.types import Unit, Usage
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import CapacityCheck

EVERY = 300.0
"""Seconds between two samples that are kept."""
WINDOW = 6 * 3600.0
"""Seconds that samples are kept: growth is judged over the last hours."""
WARNING_PERCENT = 10
"""Percent that should be free where the policy gives no `warningPercentFree`; it is exported, and makes no finding."""
_LEAST_SAMPLES, _LEAST_SECONDS = 6, 1800.0


@dataclass(slots=True)
class _Volume:
    """One volume: its usage, and samples of the bytes in use."""

    usage: tuple[Usage, ...] = ()
    warning: int = 0
    samples: deque[tuple[float, int]] = field(default_factory=deque)
    growth: float = 0.0


class UsageBook:
    """What drivers counted last for each claim in use."""

    def __init__(self) -> None:
        self._volumes: dict[ClaimRef, _Volume] = {}

    def note(
        self, ref: ClaimRef, usage: Iterable[Usage], *, now: float, check: CapacityCheck | None = None
    ) -> None:
        """Take what a driver counted.

        Args:
            ref: of the claim.
            usage: by unit; what was not really counted (facts D8) is left out.
            now: monotonic seconds.
            check: thresholds of the policy; None if the space of this volume is not looked at.
        """
        known = self._volumes.setdefault(ref, _Volume())
        known.usage = tuple(replace(one, available=max(0, one.available)) for one in usage if is_counted(one))
        known.warning = 0 if check is None else check.warning_percent_free or WARNING_PERCENT
        used = next((one.used for one in known.usage if one.unit is Unit.BYTES), None)
        if used is None or (known.samples and now - known.samples[-1][0] < EVERY):
            return
        known.samples.append((now, used))
        while now - known.samples[0][0] > WINDOW:
            known.samples.popleft()
        known.growth = robust_slope(known.samples)

    def keep(self, refs: Collection[ClaimRef]) -> None:
        """Forget all but these claims."""
        for ref in self._volumes.keys() - set(refs):
            del self._volumes[ref]

    def usage(self, ref: ClaimRef) -> tuple[Usage, ...]:
        """Return what was counted last."""
        known = self._volumes.get(ref)
        return known.usage if known is not None else ()

    def warning_percent_free(self, ref: ClaimRef) -> int:
        """Return how many percent should be free; 0 if the space of this volume is not looked at."""
        known = self._volumes.get(ref)
        return known.warning if known is not None else 0

    def seconds_until_full(self, ref: ClaimRef) -> float | None:
        """Return after how many seconds no byte is available if growth goes on; None if it does not grow."""
        known = self._volumes.get(ref)
        bytes_ = (
            next((one for one in known.usage if one.unit is Unit.BYTES), None) if known is not None else None
        )
        if known is None or bytes_ is None or known.growth <= 0:
            return None
        return bytes_.available / known.growth


def robust_slope(samples: Collection[tuple[float, int]]) -> float:
    """Return growth per second by Theil and Sen: the median of all slopes, which one clean-up does not turn.

    Args:
        samples: (seconds, value); 0 is returned while they are too few or too close to each other.
    """
    points = tuple(samples)
    if len(points) < _LEAST_SAMPLES or points[-1][0] - points[0][0] < _LEAST_SECONDS:
        return 0.0
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
