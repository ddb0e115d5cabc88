"""How `volumehealth explain` prints what is known of a claim."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from volumehealth.cli.reading import wrapped
from volumehealth.model.clock import date_and_time
from volumehealth.model.explanation import Explanation, Heard, Known, Said
from volumehealth.model.runbooks import runbook
from volumehealth.model.text import count
from volumehealth.oneshot.explainnode import NodeStory

_TOLD_BY = {
    "Operator": "",
    "Objects": "The operator was not reached: this is what stands on the API server, looked at once.",
    "Record": "The operator was not reached, and policies are out of your sight: this is the record alone.",
    "Check": "The drivers were asked once, from here; what the operator waits for is not known.",
}
_LONG = 400
_HEALTHY_WORDS = {"Driver": "the driver says so", "Node": "its node looked at everything and found nothing"}


def show_explanation(told: Explanation, *, width: int) -> str:
    """Return the page.

    Args:
        told: what is known.
        width: columns; 80 at least are used.
    """
    page = _Page(max(80, width))
    _head(page, told)
    page.section("CONFIRMED", [line for one in told.findings for line in _finding(one, told.at)])
    waiting = [(said, heard) for said in told.statements for heard in said.conditions]
    page.section(
        "PENDING",
        [
            *(line for said, one in waiting if one.belief == "Pending" for line in _pending(said, one, told)),
            *(line for one in told.waiting for line in _standing(one, told.at)),
        ],
    )
    page.section(
        "NOT TAKEN UP",
        [
            line
            for said, one in waiting
            if one.belief not in ("Pending", "Confirmed")
            for line in _left_aside(said, one)
        ],
    )
    page.section("LAST WORDS (an origin that is not silent has looked at the claim)", _words(told))
    page.section("HISTORY", [(0, f"{date_and_time(one.time)}  {one.what}") for one in told.history])
    page.section("NOT KNOWN", [(0, one) for one in told.not_known])
    reasons = dict.fromkeys(
        [one.reason for one in told.findings] + [one.reason for _, one in waiting if one.belief == "Pending"]
    )
    page.section("RUNBOOK", [(0, runbook(reason, told.runbooks)) for reason in reasons])
    return page.text()


def show_node(told: NodeStory, *, width: int) -> str:
    """Return the page of a node; `width` in columns, 80 at least."""
    page = _Page(max(80, width))
    page.field("NODE", f"{told.name}: {told.ready}")
    page.field("PLANNED", told.planned)
    page.field("AGENT", told.agent)
    page.section("DRIVERS", [(0, one) for one in told.drivers])
    page.section("LOOKS (claims that each origin has looked at)", [(0, one) for one in told.looks])
    bad = [one for one in told.claims if one.reason]
    quiet = (
        f"{len(told.claims) - len(bad)} of {count(len(told.claims), 'claim')} in use there: nothing recorded"
    )
    if not told.seen:
        quiet = "what is recorded of the claims in use there, or which they are, may not be read"
    page.section(
        "CLAIMS",
        [
            *((0, f"{one.claim}  {one.health}  {one.reason}  ({', '.join(one.pods)})") for one in bad),
            (0, quiet),
        ],
    )
    page.section("NOT KNOWN", [(0, one) for one in told.not_known])
    return page.text()


def length(seconds: float) -> str:
    """Write a length of time in two units at most: `45s`, `1m20s`, `3h`, `2d4h`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


def _ago(moment: datetime, now: datetime) -> str:
    return f"{length(max(timedelta(), now - moment).total_seconds())} ago"


class _Page:
    """Lines that fit, with the label of each block once."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[str] = []

    def field(self, label: str, text: str) -> None:
        """Write a label and a text beside it."""
        if text:
            self._wrap(text, f"{label:<11}", " " * 11)

    def section(self, title: str, lines: Iterable[tuple[int, str]]) -> None:
        """Write a title and lines below it, each with its depth; nothing if there are none."""
        lines = list(lines)
        if lines:
            self._lines += ["", title]
        for depth, text in lines:
            indent = "  " * (depth + 1)
            self._wrap(text, indent, f"{indent}  ")

    def text(self) -> str:
        """Return the page."""
        return "\n".join(line.rstrip() for line in self._lines) + "\n"

    def _wrap(self, text: str, first: str, rest: str) -> None:
        text = " ".join(text.split()) if "  " not in text else text
        self._lines += wrapped(text, self._width, first=first, rest=rest) or [first]


def _head(page: _Page, told: Explanation) -> None:
    volume = f", volume {told.volume}" if told.volume else ""
    page.field("CLAIM", f"{told.claim} ({told.phase or 'phase not known'}{volume})")
    page.field("VERDICT", _verdict(told))
    page.field("POLICY", f"{told.policy or 'none'}: {told.why}" if told.why else told.policy)
    if told.policy and told.told_by != "Record":
        after, clear = length(told.unhealthy_after_seconds), length(told.healthy_after_seconds)
        page.field("", f"confirms after {after} (where no rule says otherwise), clears after {clear}")
    if told.suspended:
        page.field("", "the policy is suspended: no checks are made")
    page.field("SILENCED", told.silenced)
    if told.driver is not None:
        one = told.driver
        calls = ", ".join(one.methods) or "no health call"
        state = f"{one.name}: {one.state}, {calls}"
        page.field("DRIVER", "; ".join(part for part in (state, one.message, one.hint) if part))
    page.field("USED BY", ", ".join(told.pods) or "no Pod")
    page.field("TOLD BY", _TOLD_BY.get(told.told_by, ""))


def _verdict(told: Explanation) -> str:
    why = ": ".join(part for part in (told.unknown_reason, told.unknown_message) if part)
    if told.told_by != "Record" and not told.policy:
        return "not checked"
    if told.verdict == "Healthy":
        why = _HEALTHY_WORDS.get(told.basis, "")
    if told.verdict == "Unmonitored" and not why:
        why = "nothing here can say that it is healthy; the line DRIVER says what would"
    return f"{told.verdict or 'not known'}{f' ({why})' if why else ''}"


def _whose(source: str, node: str, origins: Iterable[str]) -> str:
    place = f"{source} {node}" if node else source
    names = ", ".join(origins)
    return f"({place}: {names})" if names else f"({place})"


def _finding(one: Known, now: datetime) -> Iterator[tuple[int, str]]:
    stale = ", stale: its source is silent" if one.stale else ""
    since = f"since {date_and_time(one.since)}, {_ago(one.since, now)}"
    yield 0, f"{one.status}/{one.reason} {_whose(one.source, one.node, one.origins)} {since}{stale}"
    if one.message:
        yield 1, one.message[:_LONG]
    told = f"told {date_and_time(one.told)}" if one.told else "not told yet"
    yield 1, f"confirmed {date_and_time(one.confirmed)}; {told}" if one.confirmed else told
    if one.clearing_since is not None and one.clears_in_seconds is not None:
        left = length(one.clears_in_seconds)
        yield 1, f"not said since {date_and_time(one.clearing_since)}; cleared if it stays so for {left} more"


def _pending(said: Said, one: Heard, told: Explanation) -> Iterator[tuple[int, str]]:
    yield 0, f"{one.status}/{one.reason} {_whose(said.source, said.node, [said.origin])}"
    if one.message:
        yield 1, one.message[:_LONG]
    heard = f"said for {length((told.at - one.since).total_seconds())}" if one.since else "said now"
    if one.left_seconds is None:
        rest = f"the operator confirms what is said for {length(one.after_seconds)}"
    else:
        rest = (
            f"confirmed if it is still said in {length(one.left_seconds)} (waits {length(one.after_seconds)})"
        )
    yield 1, f"{heard}; {rest}"
    yield 1, f"rule: {one.rule or 'none matched'}"


def _standing(one: Heard, now: datetime) -> Iterator[tuple[int, str]]:
    since = f", first said {_ago(one.since, now)}" if one.since else ""
    left = length(one.left_seconds or 0)
    yield 0, f"{one.status}/{one.reason}{since}: its source is silent, so its clock stands with {left} left"


def _left_aside(said: Said, one: Heard) -> Iterator[tuple[int, str]]:
    whose = _whose(said.source, said.node, [said.origin])
    why = f"ignored by {one.rule}" if one.belief == "Ignored" else "not confirmed, and not waited for"
    yield 0, f"{one.status}/{one.reason} {whose}: {why}"
    if one.message:
        yield 1, one.message[:_LONG]


def _words(told: Explanation) -> list[tuple[int, str]]:
    rows = [
        (
            f"{said.source} {said.node}".strip(),
            said.origin,
            said.says,
            _ago(said.at, told.at),
            _summary(said),
        )
        for said in sorted(told.statements, key=lambda one: (one.source, one.node, one.origin))
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [
        (0, "  ".join(cell.ljust(size) for cell, size in zip(row, (*widths, 0), strict=True)).rstrip())
        for row in rows
    ]


def _summary(said: Said) -> str:
    if said.conditions:
        rules = {one.rule for one in said.conditions if one.rule}
        what = ", ".join(f"{one.status}/{one.reason} {one.belief}" for one in said.conditions)
        return f"{what}; rule {', '.join(sorted(rules))}" if rules else what
    return ": ".join(part for part in (said.reason, said.message) if part)[:_LONG]
