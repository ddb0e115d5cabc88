"""What happened in a run, in order: for the story of a failure, and for the invariants."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Line(NamedTuple):
    """Something that happened.

    Attributes:
        at: virtual seconds.
        who: a process, `world`, `api`, or a driver.
        what: a sentence.
    """

    at: float
    who: str
    what: str

    def __str__(self) -> str:
        minutes, seconds = divmod(self.at, 60)
        return f"{int(minutes):4d}:{seconds:06.3f} {self.who:<12} {self.what}"


class Violated(AssertionError):  # noqa: N818 - a sentence about a run
    """An invariant does not hold.

    Attributes:
        invariant: its number and name.
    """

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


@dataclass(slots=True)
class History:
    """All lines of a run.

    Attributes:
        time: the virtual time.
        lines: in order.
        reached: how often rare states were reached.
        violations: what broke, in order.
        checks: how many checks of policies were finished.
    """

    time: Callable[[], float]
    lines: list[Line] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)
    violations: list[Violated] = field(default_factory=list)
    checks: int = 0

    def note(self, who: str, what: str) -> None:
        """Write a line."""
        self.lines.append(Line(self.time(), who, what))

    def reach(self, state: str) -> None:
        """Count a state."""
        self.reached[state] += 1

    def violate(self, invariant: str, what: str) -> None:
        """Note that an invariant does not hold; the run goes on."""
        self.violations.append(Violated(invariant, what))
        self.note("VIOLATION", f"{invariant}: {what}")

    def digest(self) -> str:
        """Return a hash of all lines."""
        whole = hashlib.sha256()
        for line in self.lines:
            whole.update(f"{line.at!r} {line.who} {line.what}\n".encode())
        return whole.hexdigest()
