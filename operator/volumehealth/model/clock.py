"""Time as an argument: the one place that reads the machine's clocks."""

import time
from datetime import UTC, datetime
from typing import Protocol

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that nobody told."""


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


def rfc3339(moment: datetime) -> str:
    """Write a moment as Kubernetes writes `metav1.Time`: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> datetime:
    """Read a `metav1.Time` or `MicroTime`.

    Raises:
        ValueError: if the text is no RFC 3339 moment with a zone.
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return moment.astimezone(UTC)
