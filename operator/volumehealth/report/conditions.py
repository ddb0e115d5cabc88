"""The conditions of a policy. `lastTransitionTime` changes with the status and with nothing else.

Tools that use kstatus (Flux, Helm) read them: each carries the generation that it is about, and `Stalled` is there only
while the spec cannot be used.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from volumehealth.judge.policy import PolicyJudgement
from volumehealth.judge.problem import Problem
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import date_and_time, moment_of, rfc3339
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.text import count
from volumehealth.model.vocabulary import (
    ConditionType,
    ReadyReason,
    SilenceReason,
    SourcesReason,
    StalledReason,
    VolumesReason,
)
from volumehealth.report.phrases import (
    headline,
    monitored,
    named,
    on_nodes_word,
    silent_agents,
    silent_drivers,
    unmonitored,
    where,
)
from volumehealth.report.text import fit, span

_LONGEST = 1024
_NOT_SINCE = "not checked since"
_FEW = 0.1
"""So many new claims beside healthy ones make no doubt; more of them are a driver that is slow to ask."""


class _Condition(NamedTuple):
    status: str
    reason: str
    message: str


def conditions(
    result: CheckResult,
    problems: Sequence[Problem],
    previous: Mapping[str, Mapping[str, object]],
    *,
    checked: datetime | None = None,
) -> list[dict[str, object]]:
    """Write `status.conditions`.

    Args:
        result: the check.
        problems: worst first.
        previous: the conditions that are there, by type.
        checked: when the last check was, by the status that is there; None if it does not say.
    """
    now = {
        ConditionType.VOLUMES_HEALTHY: _volumes(result, problems, previous, checked),
        ConditionType.SOURCES_AVAILABLE: _sources(result) or _kept(previous, ConditionType.SOURCES_AVAILABLE),
        ConditionType.READY: _ready(result),
    }
    if result.invalid:
        now[ConditionType.STALLED] = _Condition("True", StalledReason.INVALID_SPEC, _faults(result))
    return [
        {
            "type": str(kind),
            "status": condition.status,
            "observedGeneration": result.observed_generation,
            "reason": str(condition.reason),
            "message": fit(condition.message, _LONGEST),
            "lastTransitionTime": _since(result, condition, previous.get(kind, {})),
        }
        for kind, condition in now.items()
    ]


def _since(result: CheckResult, condition: _Condition, before: Mapping[str, object]) -> str:
    """Return since when a condition has its status; a time that has not come yet, or is none, counts as now."""
    since = moment_of(before.get("lastTransitionTime")) if before.get("status") == condition.status else None
    return rfc3339(min(since or result.now, result.now))


def _kept(previous: Mapping[str, Mapping[str, object]], kind: ConditionType) -> _Condition:
    """Return what was said before, or, for a policy that was never checked, that no check has finished yet."""
    before = previous.get(kind)
    if before is None:
        return _Condition("Unknown", SourcesReason.NO_SOURCES, "no check has finished yet")
    if before.get("reason") == SourcesReason.VIEW_STALE:  # it is not, or that would be told
        words = "no check has finished since the view of the cluster was stale"
        return _Condition("Unknown", SourcesReason.NO_SOURCES, words)
    return _Condition(*(str(before.get(name, "")) for name in ("status", "reason", "message")))


def _ready(result: CheckResult) -> _Condition:
    spec = result.policy.spec
    if result.invalid:
        kept = "; the last good spec stays in force" if result.judgement is not None else ""
        return _Condition("False", ReadyReason.INVALID_SPEC, _faults(result) + kept)
    if spec.suspend:
        why = (
            f"spec.suspendUntil is {rfc3339(spec.suspend_until)}: until then"
            if spec.suspend_until is not None
            else "spec.suspend is true:"
        )
        return _Condition("True", ReadyReason.SUSPENDED, f"{why} everything stays as it is")
    if result.judgement is None:
        return _Condition(
            "Unknown", ReadyReason.NOT_YET_CHECKED, result.view.stale or "no check has finished yet"
        )
    return _Condition("True", ReadyReason.CHECKING, f"checked every {span(spec.interval)}")


def _faults(result: CheckResult) -> str:
    return "; ".join(map(str, result.invalid))


def _sources(result: CheckResult) -> _Condition | None:
    """Say whether drivers, agents and the API server answer; None if the policy is suspended."""
    if result.view.stale:
        return _Condition("False", SourcesReason.VIEW_STALE, result.view.stale)
    if result.judgement is None and result.policy.spec.suspend:
        return None
    if result.judgement is None:
        return _Condition(
            "Unknown", SourcesReason.NO_SOURCES, "no check has finished since the operator started"
        )
    if result.silent_drivers:
        return _Condition("False", SourcesReason.DRIVER_UNREACHABLE, silent_drivers(result))
    if result.unresolved:
        said = f"no answer since the operator started from {named(result.unresolved, 'endpoint')}"
        return _Condition("False", SourcesReason.DRIVER_UNREACHABLE, said)
    if result.agents.silent:
        return _Condition("False", SourcesReason.AGENT_SILENT, silent_agents(result))
    if not (_asked(result) or result.agents.expected):
        return _Condition("Unknown", SourcesReason.NO_SOURCES, _who_answers(result))
    return _Condition("True", SourcesReason.ALL_AVAILABLE, _who_answers(result))


def _asked(result: CheckResult) -> bool:
    """Tell whether there is a driver that can be asked about a selected claim."""
    return any(driver.state is SourceState.ANSWERING for driver in result.drivers.values())


def _who_answers(result: CheckResult) -> str:
    by_state = {
        state: sorted(name for name, driver in result.drivers.items() if driver.state is state)
        for state in (SourceState.ANSWERING, SourceState.UNSUPPORTED, SourceState.NOT_CONNECTED)
    }
    connecting = [
        name for name in by_state[SourceState.ANSWERING] if result.drivers[name].health_api is HealthAPI.NONE
    ]
    said = []
    if answering := [name for name in by_state[SourceState.ANSWERING] if name not in connecting]:
        said.append(f"answering: {named(answering, 'driver')}")
    if connecting:
        said.append(f"connecting: {named(connecting, 'driver')}")
    if unable := by_state[SourceState.UNSUPPORTED]:
        said.append(f"without a health API: {named(unable, 'driver')}")
    if unheard := by_state[SourceState.NOT_CONNECTED]:
        said.append(f"not connected: {named(unheard, 'driver')}")
    return "; ".join(said) or "no driver to ask"


def _volumes(
    result: CheckResult,
    problems: Sequence[Problem],
    previous: Mapping[str, Mapping[str, object]],
    checked: datetime | None,
) -> _Condition:
    before, since = previous.get(ConditionType.VOLUMES_HEALTHY), min(checked or result.now, result.now)
    if result.policy.spec.suspend:
        return _not_checked(VolumesReason.SUSPENDED, before, since, never="never checked")
    judgement = result.judgement
    if judgement is None:
        return _not_checked(VolumesReason.NOT_YET_CHECKED, before, since, never="no check has finished yet")
    counts = judgement.counts
    storage = _storage([problem for problem in problems if problem.storage])
    rest = f"{storage}{on_nodes_word(result)}; {unmonitored(result) or '0 not monitored'}"
    if counts.unhealthy:
        wide = bool(judgement.driver_wide)
        reason = VolumesReason.DRIVER_WIDE_PROBLEM if wide else VolumesReason.VOLUMES_UNHEALTHY
        return _Condition(
            "False", reason, f"{_unhealthy(result, [one for one in problems if not one.storage])}; {rest}"
        )
    if not counts.selected:
        return _Condition("Unknown", VolumesReason.NOTHING_SELECTED, nothing_selected(result))
    new = _not_asked_yet(judgement)
    if counts.unknown > new or new > counts.healthy * _FEW:
        words = f"{counts.unknown} of {count(monitored(result), 'monitored claim')} unknown"
        why = f": {judgement.unknown[0].message or judgement.unknown[0].reason}" if judgement.unknown else ""
        return _Condition("Unknown", VolumesReason.SOME_UNKNOWN, f"{fit(words + why, 600)}; {rest}")
    if not monitored(result):
        return _Condition("Unknown", VolumesReason.NOTHING_MONITORED, f"no claim is monitored; {rest}")
    words = count(monitored(result), "monitored claim")
    if new:
        words += f", {new} of them new and not asked about yet"
    return _Condition("True", VolumesReason.ALL_HEALTHY, f"{words}; {rest}")


def _not_asked_yet(judgement: PolicyJudgement) -> int:
    """Count new claims that no source was asked about yet.

    A new claim waits for the next list of its driver. Where claims come and go all day the condition must not turn
    Unknown and back with each of them; beside claims that are known to be healthy they wait, for a while.
    """
    waiting = sum(group.claims for group in judgement.unknown if group.reason == SilenceReason.NOT_YET_ASKED)
    return waiting - judgement.overdue


def _not_checked(
    reason: VolumesReason, before: Mapping[str, object] | None, since: datetime, *, never: str
) -> _Condition:
    """Say since when nothing was checked, and how it was then; what was so may not be so any more."""
    if before is None or before.get("reason") in (VolumesReason.NOT_YET_CHECKED, VolumesReason.SUSPENDED):
        said = str(before.get("message", "")) if before is not None else ""
        return _Condition("Unknown", reason, said if said.startswith(_NOT_SINCE) else never)
    words = f"{_NOT_SINCE} {date_and_time(since)}; then {before.get('status')}: {before.get('message')}"
    return _Condition("Unknown", reason, words)


def _unhealthy(result: CheckResult, problems: Sequence[Problem]) -> str:
    counts = result.judgement.counts if result.judgement is not None else None
    number = counts.unhealthy if counts is not None else 0
    words = f"{number} of {count(monitored(result), 'monitored claim')} unhealthy"
    if not problems:
        return words
    worst = problems[0]
    whose = f"of {worst.group.driver}" if worst.group.driver else f"on {where(worst)}"
    return f"{words}, worst {headline(worst)} ({count(worst.claims, 'claim')} {whose})"


def _storage(problems: Sequence[Problem]) -> str:
    """Say what is the matter with the storage behind drivers; no claim is unhealthy for that alone."""
    said = [f"{headline(problem)} of {where(problem)}" for problem in problems]
    return f"storage: {'; '.join(said)}; " if said else ""


def nothing_selected(result: CheckResult) -> str:
    """Say why a policy holds no claim."""
    counts = result.judgement.counts if result.judgement is not None else None
    words = "no bound claim of a CSI volume matches spec.selector"
    if counts is not None and counts.overridden:
        words += f"; {count(counts.overridden, 'matching claim')} held by other policies"
    if counts is not None and counts.not_csi:
        words += f"; {count(counts.not_csi, 'matching claim')} not CSI"
    return words
