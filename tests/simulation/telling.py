"""Invariant 2: what people were told of a volume, compared with what was true of it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.observe import Told

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something must last. Seconds.

    Attributes:
        ill, well: `unhealthyAfter` and `healthyAfter`.
        interval: of checks and lists, with jitter.
        timeout: of a call.
        slack: for the ways of answers and writes.
    """

    ill: float
    well: float
    interval: float
    timeout: float
    slack: float = 15.0

    def sure(self, after: float) -> float:
        """Return how long a state must last without disturbance until it was told."""
        return after + 2.1 * self.interval + self.slack


@dataclass(frozen=True, slots=True)
class Segment:
    """A time in which a volume was ill, or well, without a change."""

    start: float
    end: float
    ill: bool


def calm(start: float, end: float, disturbed: Spans) -> list[tuple[float, float]]:
    """Return what is left of a time without the disturbed parts, which are those of `united`."""
    left, at = [], start
    first = max(0, bisect_right(disturbed, (start, float("inf"))) - 1)
    for begin, until in disturbed[first:]:
        if begin >= end:
            break
        if begin > at:
            left.append((at, begin))
        at = max(at, until)
    if at < end:
        left.append((at, end))
    return left


def united(spans: Spans) -> Spans:
    """Return spans in order, with those that touch each other made one."""
    found: list[tuple[float, float]] = []
    for begin, until in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((begin, until))
    return found


class TellingChecker:
    """Walks through what was true and what was told together, keeping every explanation that is possible.

    Args:
        segments: what was true, without gaps.
        told: Events on one object, in order: abnormal ones and normal ones.
        disturbed: when the product could not work as it should.
        patience: how long something must last.
    """

    def __init__(
        self, segments: Sequence[Segment], told: Sequence[Told], disturbed: Spans, patience: Patience
    ) -> None:
        self._segments = segments
        self._told = told
        self._disturbed = disturbed
        self._patience = patience
        self._starts = self._run_starts()

    def complaint(self) -> str:
        """Say why what was told cannot be explained; empty if it can."""
        states = {(False, 0)}
        for number, segment in enumerate(self._segments):
            after = {
                end
                for told, count in states
                for end in self._through(number, segment, told=told, count=count)
            }
            if not after:
                return self._describe(segment, states)
            states = after
        everything = len(self._told)
        if any(count == everything for _, count in states):
            return ""
        count = max(count for _, count in states)
        extra = self._told[count]
        return f"{extra.reason} at {_minutes(extra.at)} has no cause: {extra.message}"

    def _through(self, number: int, segment: Segment, *, told: bool, count: int) -> set[tuple[bool, int]]:
        """Return the states in which the segment may end."""
        count = self._skip_repeats(count, told=told)
        if told == segment.ill:
            return {(told, count)}
        found = set()
        after = self._patience.ill if segment.ill else self._patience.well
        deadline = self._deadline(segment, after)
        if deadline is None:
            found.add((told, count))
        if count < len(self._told):
            event = self._told[count]
            earliest = self._run_start(number) + after - 1.0
            fits = _is_abnormal(event) == segment.ill and event.at >= earliest
            if fits and (deadline is None or event.at <= deadline):
                found.add((segment.ill, self._skip_repeats(count + 1, told=segment.ill)))
        return found

    def _skip_repeats(self, count: int, *, told: bool) -> int:
        """An Event that expired may be written again while it is true: that is a reminder."""
        while (
            told and count < len(self._told) and self._told[count].again and _is_abnormal(self._told[count])
        ):
            count += 1
        return count

    def _deadline(self, segment: Segment, after: float) -> float | None:
        """Return by when it must have been told; None if it need not."""
        needed = self._patience.sure(after)
        if segment.end - segment.start < needed:
            return None
        for start, end in calm(segment.start, segment.end, self._disturbed):
            if end - start >= needed:
                return start + needed
        return None

    def _run_start(self, number: int) -> float:
        """Return since when it may have looked as if it had been like this all the time."""
        return self._starts[number]

    def _run_starts(self) -> Sequence[float]:
        """Return it for every segment: one in between that was surely seen begins it anew."""
        starts: list[float] = []
        latest: dict[bool, float] = {}
        for segment in self._segments:
            if self._was_surely_seen(segment):
                latest.pop(not segment.ill, None)
            starts.append(latest.setdefault(segment.ill, segment.start))
        return starts

    def _was_surely_seen(self, segment: Segment) -> bool:
        needed = 2.1 * self._patience.interval + self._patience.timeout + 2.0
        if segment.end - segment.start <= needed:
            return False
        return any(end - start > needed for start, end in calm(segment.start, segment.end, self._disturbed))

    def _describe(self, segment: Segment, states: set[tuple[bool, int]]) -> str:
        count = max(count for _, count in states)
        ahead = self._told[count] if count < len(self._told) else None
        told = any(told for told, _ in states)
        said = f"next Event: {ahead.reason} at {_minutes(ahead.at)}" if ahead else "no further Event"
        word = "ill" if segment.ill else "well"
        return (
            f"{word} from {_minutes(segment.start)} to {_minutes(segment.end)} (told before: {told}) must be told by"
            f" {_minutes(self._deadline(segment, self._patience.ill if segment.ill else self._patience.well) or 0)};"
            f" {said}"
        )


def _is_abnormal(event: Told) -> bool:
    return event.reason == "VolumeConditionAbnormal"


def _minutes(at: float) -> str:
    minutes, seconds = divmod(at, 60)
    return f"{int(minutes)}:{seconds:04.1f}"
