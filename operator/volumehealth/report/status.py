"""A policy's status: the product's front page. Pure.

`kubectl describe` prints a line for every scalar, so what is shown in detail depends on how much room is left of 70
lines; counts and conditions are always whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from volumehealth.model.clock import rfc3339
from volumehealth.model.health import DriverState, SourceState
from volumehealth.report.conditions import conditions
from volumehealth.report.picture import Picture
from volumehealth.report.problems import Problem
from volumehealth.report.summary import LINES, summarize
from volumehealth.report.text import clean, fit

PAGE = 70
"""Lines of `kubectl describe volumehealthpolicy` at most."""
_AROUND = 13 + 3 + 5
"""Lines that kubectl adds: metadata and headings; the heading of the Events, and five Events: three problems, all
further ones together, and a source that fell silent."""
_LEAST = 39
"""Lines that the status takes whatever the spec leaves: the fixed part, one problem, six lines of summary."""
_SUMMARY_LEAST = 6
_PROBLEMS = 10
_DRIVERS = 10
_NAMES = 5
_POLICIES = 3
_TEXT = 300
_NAME = 256
_SUSPENDED = "SUSPENDED"
_IN_SHORT = ("name", "state", "claims", "healthAPI")
"""What is told of a driver when there is little room; of those in trouble conditions and summary say more."""


def render_status(
    picture: Picture, problems: Sequence[Problem], previous: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Write what a policy's status should be.

    Args:
        picture: the check; without a judgement what was said before is kept, and only conditions change.
        problems: worst first.
        previous: the status that is there.
    """
    before = previous or {}
    known = {str(one.get("type")): one for one in before.get("conditions") or []}
    status: dict[str, Any] = {
        "observedGeneration": picture.generation or picture.policy.generation,
        "conditions": conditions(picture, problems, known),
    }
    if picture.judgement is None:
        return _carried_on(status, before, picture)
    status |= _base(picture)
    return _fill(status, picture, problems)


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether two statuses say something different; when the check was, or the next try will be, is not news."""
    return _news(old) != _news(new)


def printed_lines(value: object) -> int:
    """Count the lines that `kubectl describe` prints of the inside of a value."""
    if isinstance(value, Mapping):
        return sum(1 if _scalar(inner) else 1 + printed_lines(inner) for inner in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sum(1 if _scalar(item) else printed_lines(item) for item in value)
    return 1


def _scalar(value: object) -> bool:
    return isinstance(value, str) or not isinstance(value, Mapping | Sequence)


def _news(status: Mapping[str, Any]) -> dict[str, Any]:
    news = {name: value for name, value in status.items() if name != "lastCheckTime"}
    news["drivers"] = [
        {name: value for name, value in driver.items() if name not in ("nextTry", "roundSeconds")}
        for driver in status.get("drivers") or []
    ]
    return news


def _carried_on(status: dict[str, Any], before: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    """Keep what was said while nobody checks, and say that nobody does."""
    carried = {name: value for name, value in before.items() if name not in status}
    lines = [line for line in carried.get("summary") or [] if not line.startswith((_SUSPENDED, "NOT YET"))]
    if picture.policy.spec.suspend:
        last = carried.get("lastCheckTime")
        carried["summary"] = [f"{_SUSPENDED} as of {last}" if last else _SUSPENDED, *lines][:LINES]
    else:
        carried["summary"] = lines or summarize(picture, ())
    return status | carried


def _base(picture: Picture) -> dict[str, Any]:
    judgement = picture.judgement
    if judgement is None:
        return {}
    counts = judgement.counts
    claims = {
        name: getattr(counts, name) for name in ("selected", "healthy", "unhealthy", "unknown", "unmonitored")
    }
    claims |= {
        name: number for name in ("ignored", "overridden", "unsupported") if (number := getattr(counts, name))
    }
    base: dict[str, Any] = {"claims": claims, "lastCheckTime": rfc3339(picture.now)}
    if picture.agents.expected:
        base["agents"] = _agents(picture)
    if judgement.members.overridden:
        worst = sorted(judgement.members.overridden.items(), key=lambda item: (-item[1], item[0]))
        base["overriddenBy"] = [{"policy": name, "claims": number} for name, number in worst[:_POLICIES]]
    return base


def _agents(picture: Picture) -> dict[str, Any]:
    agents = picture.agents
    told: dict[str, Any] = {"expected": agents.expected, "reporting": agents.reporting}
    if agents.silent:
        told |= {"silent": len(agents.silent), "silentNames": sorted(agents.silent)[:_NAMES]}
    return told


def _fill(status: dict[str, Any], picture: Picture, problems: Sequence[Problem]) -> dict[str, Any]:
    """Add the summary, then details in order of importance, while there is room on the page."""
    room = max(PAGE - _AROUND - printed_lines(picture.raw_spec), _LEAST) - printed_lines(status) - 1
    worst = [_problem(problem, examples=3) for problem in problems[:1]]
    if printed_lines(worst) + _SUMMARY_LEAST + 1 > room:
        worst = [_problem(problem, examples=1) for problem in problems[:1]]
    silent, others = _drivers(picture)
    needed = printed_lines(worst) + bool(worst) + printed_lines(silent[:1]) + bool(silent)
    status["summary"] = summarize(picture, problems, limit=max(_SUMMARY_LEAST, min(LINES, room - needed)))
    room -= len(status["summary"]) + printed_lines(worst) + bool(worst)
    if worst:
        status["problems"] = worst
    if printed_lines(others) + printed_lines(silent) > room:
        others = _in_short(others)
    if printed_lines(silent[:1]) + 1 > room:
        silent = _in_short(silent)
    further = [_problem(problem, examples=1) for problem in problems[1:_PROBLEMS]]
    for kind, details in (
        ("drivers", silent[:_DRIVERS]),
        ("drivers", others[:_DRIVERS]),
        ("problems", further),
    ):
        room = _add(status, kind, details, room)
    return status


def _add(status: dict[str, Any], kind: str, details: Sequence[Mapping[str, Any]], room: int) -> int:
    """Add as many details as there is room for; return what room is left."""
    for detail in details:
        needed = printed_lines(detail) + (kind not in status)
        if needed > room:
            break
        status.setdefault(kind, []).append(detail)
        room -= needed
    return room


def _drivers(picture: Picture) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the drivers that are silent, and the others: those first that cannot be asked."""
    silent = picture.silent_drivers
    others = [driver for driver in picture.drivers.values() if driver not in silent]
    others.sort(key=lambda driver: (driver.state is SourceState.ANSWERING, driver.name))
    return [_driver(picture, driver) for driver in silent], [_driver(picture, driver) for driver in others]


def _in_short(drivers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: one[name] for name in _IN_SHORT} for one in drivers]


def _problem(problem: Problem, *, examples: int) -> dict[str, Any]:
    told = {
        **{name: fit(clean(value), _NAME) for name, value in problem.group._asdict().items() if value},
        "claims": problem.claims,
        "examples": [str(claim) for claim in problem.examples[:examples]],
        "since": rfc3339(problem.since),
    }
    return told | ({"message": fit(clean(problem.message), _TEXT)} if problem.message else {})


def _driver(picture: Picture, driver: DriverState) -> dict[str, Any]:
    counts = picture.judgement.drivers.get(driver.name) if picture.judgement is not None else None
    told = {
        "name": fit(driver.name, _NAME),
        "state": str(driver.state),
        "since": rfc3339(driver.since),
        "claims": counts.claims if counts is not None else 0,
        "healthAPI": str(driver.health_api),
        "methods": list(driver.methods),
        "message": fit(clean(driver.message), _TEXT),
        "hint": fit(clean(driver.hint), _TEXT),
        "nextTry": rfc3339(driver.next_try) if driver.next_try is not None else "",
        "roundSeconds": round(driver.round_seconds) or "",
    }
    return {name: value for name, value in told.items() if value not in ("", [])}
