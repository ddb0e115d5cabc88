"""Lines of the table, and how they are shown."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median

_HEAD = ("line", "goal", "floor", "result", "ratio", "")


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        name: what is measured.
        goal: in words.
        floor, result: in words, with units; the floor may be empty.
        ratio: result to floor, or to the goal's own number.
        met: whether the goal is met; None if the line only tells.
        detail: numbers for the JSON.
    """

    name: str
    goal: str
    floor: str
    result: str
    ratio: float | None
    met: bool | None
    detail: dict[str, object] = field(default_factory=dict)

    def row(self) -> tuple[str, ...]:
        """Return its cells."""
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.name, self.goal, self.floor, self.result, ratio, verdict)


def markdown(lines: Iterable[Line]) -> str:
    """Show lines as a table that people can read and documents can hold."""
    rows = [_HEAD, *(line.row() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    shown = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def as_json(lines: Iterable[Line]) -> list[dict[str, object]]:
    """Give lines as JSON can hold them."""
    return [asdict(line) for line in lines]


def ms(seconds: float) -> str:
    """Write milliseconds."""
    return f"{seconds * 1000:.1f} ms"


def spread(numbers: list[float]) -> dict[str, float]:
    """Describe a sample."""
    return {"min": min(numbers), "median": median(numbers), "max": max(numbers), "n": len(numbers)}
