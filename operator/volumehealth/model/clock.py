"""Time as an argument: the one place that reads the machine's clocks."""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that nobody told."""
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""A moment after this one is a mistake. All arithmetic with durations of a policy stays in range of `datetime`."""

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,64}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


class Clock(Protocol):
    """Where a process takes its time from."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean anything."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the place

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()


@lru_cache(maxsize=1024)  # when an array is gone ten thousand findings begin in one moment
def rfc3339(moment: datetime) -> str:
    """Write a moment as Kubernetes writes `metav1.Time`: UTC, whole seconds, `Z`."""
    return f"{moment.astimezone(UTC).isoformat(timespec='seconds')[:-6]}Z"


def micro_time(moment: datetime) -> str:
    """Write a moment as Kubernetes writes `metav1.MicroTime`: UTC with microseconds."""
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:-6]}Z"


def date(when: datetime) -> str:
    """Write a day for a person, in UTC: `23 Nov`."""
    return f"{when.astimezone(UTC).day} {when.astimezone(UTC):%b}"


def date_and_time(when: datetime) -> str:
    """Write a moment for a person, in UTC, with its date so that a stored text stays true: `23 Nov 03:02Z`."""
    return f"{date(when)} {when.astimezone(UTC):%H:%MZ}"


def parse_rfc3339(text: str) -> datetime:
    """Read a `metav1.Time` or `MicroTime`, in UTC.

    A leap second counts as the second before it; what is finer than a microsecond is cut.

    Raises:
        ValueError: if the text is no RFC 3339 moment with a zone, or not between 1970 and 2200: others write these
            times, and whatever is computed with them must not overflow.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"no RFC 3339 time with a zone: {text[:64]!r}")
    year, month, day, hour, minute, second = (int(found[number]) for number in range(1, 7))
    fraction, sign = (found[7] or "").ljust(6, "0")[:6], found[8]
    second = 59 if second == 60 else second
    moment = datetime(year, month, day, hour, minute, second, int(fraction), tzinfo=UTC)
    if not LONG_AGO.year - 1 <= moment.year <= LATEST.year:
        raise ValueError(f"not between 1970 and 2200: {text!r}")
    if sign:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 23 or minutes > 59:
            raise ValueError(f"no such time zone: {text!r}")
        offset = timedelta(hours=hours, minutes=minutes)
        moment = moment - offset if sign == "+" else moment + offset
    if not LONG_AGO <= moment <= LATEST:
        raise ValueError(f"not between 1970 and 2200: {text!r}")
    return moment


_remembered = lru_cache(maxsize=1024)(parse_rfc3339)


def moment_of(raw: object, *, again: bool = True) -> datetime | None:
    """Read a time that others wrote; None if it is none, or out of range.

    Args:
        raw: what they wrote.
        again: whether the same time is read again and again, as those of conditions and records are in every check.
    """
    if not isinstance(raw, str):
        return None
    try:
        return _remembered(raw) if again else parse_rfc3339(raw)
    except ValueError:
        return None
