"""When little free space is a finding, when it is only counted, and when it means nothing (facts D8, D21)."""

import pytest

from volumehealth.agent.capacity import judge_capacity
from volumehealth.csi.types import Unit, Usage
from volumehealth.model.policy import CapacityCheck

GIB = 1024**3


def usage(free: float, unit: Unit = Unit.BYTES, total: int = 100 * GIB) -> Usage:
    """Usage with so many percent free."""
    available = round(total * free / 100)
    return Usage(unit, total, total - available, available)


ALARMS = {
    "2.9% of the bytes are free": [usage(2.9)],
    "nothing is free": [usage(0)],
    "nothing is free but what is reserved for root": [Usage(Unit.BYTES, 100 * GIB, 80 * GIB, 0)],
    "a quota was exceeded, and what is free is below nothing": [Usage(Unit.BYTES, 100, 105, -5)],
    "a quota was exceeded": [Usage(Unit.BYTES, 100, 105, 0)],
    "the inodes ran out, bytes are plenty": [usage(80), usage(1, Unit.INODES, 1000)],
}
QUIET = {
    "exactly the threshold": [usage(3)],
    "plenty": [usage(50)],
    "no usage at all, as from an abnormal volume": [],
    "a zero total, as of a block volume": [Usage(Unit.BYTES, 0, 0, 0)],
    "nothing used": [Usage(Unit.BYTES, GIB, 0, 0)],
    "what is free is not said, which CSI leaves to the driver": [Usage(Unit.BYTES, 100 * GIB, 10 * GIB, 0)],
    "inodes without a bound, as the kernel says it of CephFS": [Usage(Unit.INODES, 12345, 12346, -1)],
    "inodes without a bound, as ceph-csi says it": [usage(50), Usage(Unit.INODES, 12345, 12346, 0)],
    "a unit that is not known": [usage(0, Unit.UNKNOWN)],
    "numbers that cannot be": [Usage(Unit.BYTES, GIB, GIB, -1), Usage(Unit.BYTES, GIB, 1, 2 * GIB)],
}


@pytest.mark.parametrize("sentence", ALARMS)
def test_out_of_capacity(sentence: str) -> None:
    (found,) = judge_capacity(ALARMS[sentence], CapacityCheck()).conditions
    assert (found.status, found.reason) == ("Degraded", "OutOfCapacity")


@pytest.mark.parametrize("sentence", QUIET)
def test_no_alarm(sentence: str) -> None:
    full = judge_capacity(QUIET[sentence], CapacityCheck(warning_percent_free=None))
    assert (full.conditions, full.warning) == ((), False)


def test_the_warning_threshold_only_counts() -> None:
    check = CapacityCheck(critical_percent_free=3, warning_percent_free=15)
    assert judge_capacity([usage(14)], check).warning
    assert not judge_capacity([usage(15)], check).warning
    critical = judge_capacity([usage(1)], check)
    assert critical.conditions
    assert not critical.warning


def test_the_message_says_how_much() -> None:
    (found,) = judge_capacity([usage(2), usage(1, Unit.INODES, 1000)], CapacityCheck()).conditions
    assert found.message == (
        "2.0% of the bytes are free (2 GiB of 100 GiB); 1.0% of the inodes are free (10 of 1000)"
    )
