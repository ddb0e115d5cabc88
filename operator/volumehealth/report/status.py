"""A policy's status: the product's front page. Pure.

Programs read the object, so nothing is cut from it to make a page fit: ten problems, and how many were left out; a line
for each driver that needs a look (its whole story is its `VolumeHealthDriver`); all counts and conditions. With ten
problems `kubectl describe` prints 170 lines at most, and the summary comes last.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from volumehealth.judge.problem import Problem
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import moment_of, rfc3339
from volumehealth.model.runbooks import PAGE, runbook
from volumehealth.report.conditions import conditions
from volumehealth.report.phrases import drivers_to_look_at
from volumehealth.report.storagestate import STORAGE_NODES
from volumehealth.report.summary import INVALID, LINES, STALE, banners, summarize
from volumehealth.report.text import clean, fit

_MOST = 10
"""Problems, drivers and policies that are listed; what is left out is counted."""
_NAMES = 5
_TEXT = 300
_NAME = 256
_SUSPENDED = "SUSPENDED"
_UNCHECKED = "NOT CHECKED"
_OF_THE_MOMENT = (_SUSPENDED, _UNCHECKED, "NOT YET", INVALID, STALE)
"""How lines of the summary begin that are not about what a check found."""
_ALWAYS = ("selected", "healthy", "unhealthy", "unknown", "unmonitored")
_IF_ANY = {
    "healthy_by_node": "healthyByNode",
    "ignored": "ignored",
    "overridden": "overridden",
    "not_csi": "notCSI",
}


def render_status(
    result: CheckResult,
    problems: Sequence[Problem],
    previous: Mapping[str, Any] | None,
    *,
    runbooks: str = PAGE,
) -> dict[str, Any]:
    """Write what a policy's status should be.

    Args:
        result: the check; without a judgement what was said before is kept, and only conditions change.
        problems: worst first.
        previous: the status that is there.
        runbooks: the address of the page of runbooks.
    """
    before = previous or {}
    known = {str(one.get("type")): one for one in before.get("conditions") or []}
    status: dict[str, Any] = {
        "observedGeneration": result.observed_generation,
        "conditions": conditions(result, problems, known, checked=moment_of(before.get("lastCheckTime"))),
    }
    if result.judgement is None:
        return _carried_on(status, before, result)
    status |= _counts(result)
    for name, lines in (
        ("drivers", drivers_to_look_at(result, most=_MOST)),
        ("problems", [_problem(problem, runbooks) for problem in problems[:_MOST]]),
    ):
        if lines:
            status[name] = lines
    if len(problems) > _MOST:
        status["problemsOmitted"] = len(problems) - _MOST
    status["summary"] = summarize(result, problems)
    return status


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether two statuses say something different; when the check was is not news."""
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
    return {name: value for name, value in status.items() if name != "lastCheckTime"}


def _carried_on(status: dict[str, Any], before: Mapping[str, Any], result: CheckResult) -> dict[str, Any]:
    """Keep what was said while no check runs, and say so."""
    carried = {name: value for name, value in before.items() if name not in status}
    now = banners(result)
    lines = [line for line in carried.get("summary") or [] if not line.startswith(_OF_THE_MOMENT)]
    last = carried.get("lastCheckTime")
    if result.policy.spec.suspend:
        until = result.policy.spec.suspend_until
        head = f"{_SUSPENDED} until {rfc3339(until)}" if until is not None else _SUSPENDED
        carried["summary"] = [f"{head} as of {last}" if last else head, *now, *lines][:LINES]
    elif lines:
        since = f"{_UNCHECKED} since {last}" if last else _UNCHECKED
        carried["summary"] = [*now, since, *lines][:LINES]
    else:
        carried["summary"] = summarize(result, ())
    return status | carried


def _counts(result: CheckResult) -> dict[str, Any]:
    judgement = result.judgement
    if judgement is None:
        return {}
    counts = judgement.counts
    claims = {name: getattr(counts, name) for name in _ALWAYS}
    claims |= {shown: number for name, shown in _IF_ANY.items() if (number := getattr(counts, name))}
    if silenced := len(result.silenced):
        claims["silenced"] = silenced
    told: dict[str, Any] = {"claims": claims, "lastCheckTime": rfc3339(result.now)}
    if result.agents.expected:
        told["agents"] = _agents(result)
    if judgement.members.overridden:
        most = sorted(judgement.members.overridden.items(), key=lambda item: (-item[1], item[0]))
        told["overriddenBy"] = [{"policy": name, "claims": number} for name, number in most[:_MOST]]
    return told


def _agents(result: CheckResult) -> dict[str, Any]:
    agents = result.agents
    told: dict[str, Any] = {"expected": agents.expected, "reporting": agents.reporting}
    if agents.silent:
        told |= {"silent": len(agents.silent), "silentNames": sorted(agents.silent)[:_NAMES]}
    return told


def _problem(problem: Problem, runbooks: str) -> dict[str, Any]:
    told = {
        **{name: fit(clean(value), _NAME) for name, value in problem.group._asdict().items() if value},
        "claims": problem.claims,
        **({"example": str(problem.examples[0])} if problem.examples else {}),
        **({"nodes": sorted(problem.nodes)[:STORAGE_NODES]} if problem.storage else {}),
        **({"workloads": users} if (users := list(dict.fromkeys(filter(None, problem.users)))) else {}),
        "since": rfc3339(problem.since),
        "runbook": runbook(problem.group.reason, runbooks),
    }
    return told | ({"message": fit(clean(problem.message), _TEXT)} if problem.message else {})
