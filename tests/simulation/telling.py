"""Invariant 2: what people were told of a volume, compared with what was true of it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

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
        confirming: until it is sure that a volume is well, after that was heard first.
        unseen: until it is seen that a state has ended.
    """

    ill: float
    well: float
    interval: float
    timeout: float
    slack: float = 15.0
    confirming: float = 0.0
    unseen: float = 0.0

    def after(self, *, ill: bool) -> float:
        """Return how long a state must last until it is believed."""
        return self.ill if ill else self.well

    def sure(self, *, ill: bool) -> float:
        """Return how long a state must last without disturbance until it was told."""
        confirming = 0.0 if ill else self.confirming
        return self.after(ill=ill) + 2.1 * self.interval + self.slack + confirming


CLOSING = 90.0
"""Seconds after which a claim that left its policy is surely forgotten: the longest interval, and 15 s from then."""


class Mode(StrEnum):
    """How a claim is watched."""

    ON = "watched"
    OFF = "not watched"
    """What was told ends without a word."""
    PAUSED = "suspended"
    """Everything stays as it is."""
    UNUSABLE = "watched, or left as it is"
    """The policy's spec cannot be used; the last good one is in force if anybody knows it. Nothing is forgotten."""
    UNSURE = "watched or not"
    """What was told may end without a word."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A time in which a volume was ill, or well, and watched in one way.

    `closing` are the seconds after which what was told has surely ended without a word, if it is not watched. `joins` says
    that it may be told at once: who says so has been saying something else adverse, or another policy may own the claim.
    """

    start: float
    end: float
    ill: bool
    patience: Patience
    mode: Mode = Mode.ON
    closing: float = CLOSING
    joins: bool = False


def lengthen(segments: list[Segment], new: Segment) -> None:
    """Add a segment to those before it; if nothing but the time is another, the last one lasts longer."""
    last = segments[-1] if segments else None
    if last is not None and _but_time(last) == _but_time(new):
        segments[-1] = replace(last, end=new.end)
        return
    segments.append(new)


def _but_time(segment: Segment) -> tuple[object, ...]:
    return segment.ill, segment.mode, segment.patience, segment.closing, segment.joins


def _pieces(segment: Segment, moments: Sequence[float]) -> list[Segment]:
    """Cut a segment at moments."""
    inside = sorted(moment for moment in moments if segment.start < moment < segment.end)
    if not inside:
        return [segment]
    return [
        replace(segment, start=start, end=end)
        for start, end in pairwise([segment.start, *inside, segment.end])
    ]


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


def undisturbed(start: float, end: float, disturbed: Spans) -> bool:
    """Tell whether nothing disturbed any part of a time; the disturbed parts are those of `united`."""
    return calm(start, end, disturbed) == [(start, end)]


def united(spans: Spans) -> Spans:
    """Return spans in order, with those that touch each other made one."""
    found: list[tuple[float, float]] = []
    for begin, until in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((begin, until))
    return found


State = tuple[bool, int]
"""Whether it is told now, and how many Events were explained."""


class TellingChecker:
    """Walks through what was true and what was told together, keeping every explanation that is possible.

    Args:
        segments: what was true, without gaps.
        told: Events on one object, in order: abnormal ones and normal ones.
        disturbed: when the product could not work as it should.
        forgotten: moments at which what was told may have been forgotten.
        clocks_set: whether a wall clock was set meanwhile: then an answer may seem newer than it is.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        told: Sequence[Told],
        disturbed: Spans,
        forgotten: Sequence[float] = (),
        *,
        clocks_set: bool = False,
    ) -> None:
        self._segments = [piece for segment in segments for piece in _pieces(segment, forgotten)]
        self._told = told
        self._disturbed = disturbed
        self._forgotten = forgotten
        self._clocks_set = clocks_set
        self._runs = self._run_starts()

    def complaint(self) -> str:
        """Say why what was told cannot be explained; empty if it can."""
        states: set[State] = {(False, 0)}
        for number, segment in enumerate(self._segments):
            if segment.start in self._forgotten:
                states = {(told, count) for _, count in states for told in (True, False)}
            after = {end for state in states for end in self._through(number, segment, state)}
            if not after:
                return self._describe(segment, states)
            states = after
        if any(self._skip_repeats(count, told=told) == len(self._told) for told, count in states):
            return ""
        extra = self._told[max(count for _, count in states)]
        return f"{extra.reason} at {minutes(extra.at)} has no cause: {extra.message}"

    def _through(self, number: int, segment: Segment, state: State) -> set[State]:
        """Return the states in which the segment may end."""
        told, count = state
        count = self._skip_repeats(count, told=told)
        if segment.mode is Mode.PAUSED:
            return {(told, count)}
        if segment.mode is Mode.OFF:
            needed = any(
                end - start > segment.closing
                for start, end in calm(segment.start, segment.end, self._disturbed)
            )
            return {(False, count)} if needed else {(False, count), (told, count)}
        found = {(False, count)} if segment.mode is Mode.UNSURE else set()
        if told == segment.ill:
            found.add((told, count))
            if not (segment.ill and segment.mode is Mode.UNSURE):
                return found  # else it may have ended without a word, and be told anew
        deadline = self._deadline(segment)
        if deadline is None:
            found.add((told, count))
        if count < len(self._told):
            event = self._told[count]
            start, after = self._runs[number]
            earliest = max(start + after - 1.0, segment.start if segment.start in self._forgotten else 0.0)
            fits = is_abnormal(event) == segment.ill and event.at >= earliest
            fits = fits and self._lasted(segment, start, after, event.at)
            if fits and (deadline is None or event.at <= deadline):
                found.add((segment.ill, self._skip_repeats(count + 1, told=segment.ill)))
        return found

    def _lasted(self, segment: Segment, start: float, after: float, at: float) -> bool:
        """Tell whether it may have been so for long enough: what was over earlier is never told, however late."""
        if self._clocks_set or not undisturbed(start, at, self._disturbed):
            return True
        return segment.end - start >= after - 1.0 - segment.patience.unseen

    def _skip_repeats(self, count: int, *, told: bool) -> int:
        """Pass over Events that were written again after they expired, or after a user deleted them.

        While it is true that is a reminder. An end is told again only by the next process, where the last one could
        not write down that people were told.
        """
        while count < len(self._told) and self._told[count].again:
            event = self._told[count]
            if is_abnormal(event) != told or not (told or self._receipt_was_lost(count)):
                break
            count += 1
        return count

    def _receipt_was_lost(self, count: int) -> bool:
        event, last = self._told[count], self._told[count - 1] if count else None
        return last is not None and last.name == event.name and calm(last.at, event.at, self._disturbed) == []

    def _deadline(self, segment: Segment) -> float | None:
        """Return by when it must have been told; None if it need not."""
        needed = segment.patience.sure(ill=segment.ill)
        if segment.mode is not Mode.ON or segment.end - segment.start < needed:
            return None
        for start, end in calm(segment.start, segment.end, self._disturbed):
            if end - start >= needed:
                return start + needed
        return None

    def _run_starts(self) -> Sequence[tuple[float, float]]:
        """Return for every segment since when it may have looked like this, and the shortest delay since then.

        A segment in between that was surely seen begins it anew.
        """
        runs: list[tuple[float, float]] = []
        latest: dict[bool, tuple[float, float]] = {}
        for segment in self._segments:
            if self._was_surely_seen(segment):
                latest.pop(not segment.ill, None)
            start, after = latest.get(segment.ill, (segment.start, float("inf")))
            least = 0.0 if segment.joins else segment.patience.after(ill=segment.ill)
            latest[segment.ill] = start, min(after, least)
            runs.append(latest[segment.ill])
        return runs

    def _was_surely_seen(self, segment: Segment) -> bool:
        needed = 2.1 * segment.patience.interval + segment.patience.timeout + 2.0
        if segment.end - segment.start <= needed:
            return False
        return any(end - start > needed for start, end in calm(segment.start, segment.end, self._disturbed))

    def _describe(self, segment: Segment, states: set[State]) -> str:
        count = max(count for _, count in states)
        ahead = self._told[count] if count < len(self._told) else None
        told = any(told for told, _ in states)
        said = f"next Event: {ahead.reason} at {minutes(ahead.at)}" if ahead else "no further Event"
        word = "ill" if segment.ill else "well"
        return (
            f"{word} from {minutes(segment.start)} to {minutes(segment.end)} (told before: {told}) must be told by"
            f" {minutes(self._deadline(segment) or 0)}; {said}"
        )


def is_abnormal(event: Told) -> bool:
    """Tell whether an Event says that something is wrong."""
    return event.reason in ("VolumeConditionAbnormal", "NodeFailed")


def minutes(at: float) -> str:
    """Write a moment."""
    whole, seconds = divmod(at, 60)
    return f"{int(whole)}:{seconds:04.1f}"
