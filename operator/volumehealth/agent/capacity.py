"""How full a volume is, compared with a policy's thresholds; pure.

Drivers send 0 for what they do not know or do not say, and some volumes are full on purpose (facts D8, D21): neither alarms.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from volumehealth.csi.types import Unit, Usage
from volumehealth.model.health import DEGRADED, Condition
from volumehealth.model.policy import CapacityCheck
from volumehealth.model.vocabulary import Reason

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Fullness:
    """What the usage of one volume means.

    Attributes:
        conditions: `Degraded/OutOfCapacity` if it is below the critical threshold.
        warning: it is below the warning threshold, but not below the critical one.
    """

    conditions: tuple[Condition, ...] = ()
    warning: bool = False


def judge_capacity(usage: Iterable[Usage], check: CapacityCheck) -> Fullness:
    """Compare free bytes and inodes with the thresholds.

    Args:
        usage: as the driver counts it; empty means nothing, since an abnormal volume often has none.
        check: the policy's thresholds, percent that must be free.
    """
    known = [one for one in usage if is_counted(one)]
    critical = [one for one in known if _percent(one) < check.critical_percent_free]
    if critical:
        text = "; ".join(_words(one) for one in critical)
        return Fullness((Condition(DEGRADED, Reason.OUT_OF_CAPACITY.value, text),))
    limit = check.warning_percent_free
    return Fullness(warning=limit is not None and any(_percent(one) < limit for one in known))


def is_counted(usage: Usage) -> bool:
    """Tell whether numbers were really counted: no zero total, something in use, a known unit, and what is free is said.

    More bytes may be in use than there is room for. `available` is optional in CSI: 0 while less than half is in use is no word.
    A filesystem without a bound of inodes (CephFS) says that there are as many as it has, and -1 free: drivers make that one
    more in use than there are, with -1 or 0 free.
    """
    if usage.unit is Unit.UNKNOWN or usage.total <= 0 or usage.used <= 0:
        return False
    if usage.unit is Unit.INODES and (usage.available < 0 or usage.used > usage.total):
        return False
    if usage.available > 0:
        return usage.available <= usage.total
    if usage.available < 0:
        return usage.used > usage.total and usage.used + usage.available == usage.total
    return 2 * usage.used >= usage.total


def is_empty(usage: Usage) -> bool:
    """Tell whether all of a volume is free: a quota that nothing is in, if the driver calls the volume well."""
    return usage.unit is not Unit.UNKNOWN and usage.used == 0 and usage.available == usage.total > 0


def _percent(usage: Usage) -> float:
    return 100.0 * max(0, usage.available) / usage.total


def _words(usage: Usage) -> str:
    if usage.unit is Unit.BYTES:
        amount = f"{_size(max(0, usage.available))} of {_size(usage.total)}"
    else:
        amount = f"{max(0, usage.available)} of {usage.total}"
    return f"{_percent(usage):.1f}% of the {usage.unit} are free ({amount})"


def _size(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.0f} {_UNITS[-1]}"
