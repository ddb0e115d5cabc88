"""The conditions of a policy. `lastTransitionTime` changes with the status and with nothing else.

Tools that use kstatus (Flux, Helm) read them: each carries the generation that it is about, and `Stalled` is there only
while the spec cannot be used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from volumehealth.judge.policy import PolicyJudgement
from volumehealth.model.clock import date_and_time, rfc3339
from volumehealth.model.health import HealthAPI, SourceState
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
    silent_agents,
    silent_drivers,
    unmonitored,
    where,
)
from volumehealth.report.picture import Picture
from volumehealth.report.problems import Problem
from volumehealth.report.text import count, fit, span

_LONGEST = 1024
_FEW = 0.1
"""So many new claims beside healthy ones make no doubt; more of them are a driver that is slow to ask."""


@dataclass(frozen=True, slots=True)
class _Condition:
    status: str
    reason: str
    message: str


def conditions(
    picture: Picture, problems: Sequence[Problem], previous: Mapping[str, Mapping[str, object]]
) -> list[dict[str, object]]:
    """Write `status.conditions`.

    Args:
        picture: the check.
        problems: worst first.
        previous: the conditions that are there, by type.
    """
    now = {
        ConditionType.VOLUMES_HEALTHY: _volumes(picture, problems, previous),
        ConditionType.SOURCES_AVAILABLE: _sources(picture)
        or _kept(previous, ConditionType.SOURCES_AVAILABLE),
        ConditionType.READY: _ready(picture),
    }
    if picture.invalid:
        now[ConditionType.STALLED] = _Condition("True", StalledReason.INVALID_SPEC, _faults(picture))
    return [
        {
            "type": str(kind),
            "status": condition.status,
            "observedGeneration": picture.observed_generation,
            "reason": str(condition.reason),
            "message": fit(condition.message, _LONGEST),
            "lastTransitionTime": _since(picture, condition, previous.get(kind, {})),
        }
        for kind, condition in now.items()
    ]


def _since(picture: Picture, condition: _Condition, before: Mapping[str, object]) -> str:
    since = before.get("lastTransitionTime")
    if isinstance(since, str) and before.get("status") == condition.status:
        return since
    return rfc3339(picture.now)


def _kept(previous: Mapping[str, Mapping[str, object]], kind: ConditionType) -> _Condition:
    """Return what was said before, or, for a policy that was never checked, that no check has finished yet."""
    before = previous.get(kind)
    if before is None:
        return _Condition("Unknown", SourcesReason.NO_SOURCES, "no check has finished yet")
    return _Condition(*(str(before.get(name, "")) for name in ("status", "reason", "message")))


def _ready(picture: Picture) -> _Condition:
    spec = picture.policy.spec
    if picture.invalid:
        kept = "; the last good spec stays in force" if picture.judgement is not None else ""
        return _Condition("False", ReadyReason.INVALID_SPEC, _faults(picture) + kept)
    if spec.suspend:
        return _Condition("True", ReadyReason.SUSPENDED, "spec.suspend is true: everything stays as it is")
    if picture.judgement is None:
        return _Condition(
            "Unknown", ReadyReason.NOT_YET_CHECKED, picture.view.stale or "no check has finished yet"
        )
    return _Condition("True", ReadyReason.CHECKING, f"checked every {span(spec.interval)}")


def _faults(picture: Picture) -> str:
    return "; ".join(map(str, picture.invalid))


def _sources(picture: Picture) -> _Condition | None:
    """Say whether drivers, agents and the API server answer; None if there was no check."""
    if picture.view.stale:
        return _Condition("False", SourcesReason.VIEW_STALE, picture.view.stale)
    if picture.judgement is None:
        return None
    if picture.silent_drivers:
        return _Condition("False", SourcesReason.DRIVER_UNREACHABLE, silent_drivers(picture))
    if picture.unresolved:
        said = f"no answer since the operator started from {named(picture.unresolved, 'endpoint')}"
        return _Condition("False", SourcesReason.DRIVER_UNREACHABLE, said)
    if picture.agents.silent:
        return _Condition("False", SourcesReason.AGENT_SILENT, silent_agents(picture))
    if not (_asked(picture) or picture.agents.expected):
        return _Condition("Unknown", SourcesReason.NO_SOURCES, _who_answers(picture))
    return _Condition("True", SourcesReason.ALL_AVAILABLE, _who_answers(picture))


def _asked(picture: Picture) -> bool:
    """Tell whether there is a driver that can be asked about a selected claim."""
    return any(driver.state is SourceState.ANSWERING for driver in picture.drivers.values())


def _who_answers(picture: Picture) -> str:
    by_state = {
        state: sorted(name for name, driver in picture.drivers.items() if driver.state is state)
        for state in (SourceState.ANSWERING, SourceState.UNSUPPORTED, SourceState.NOT_CONNECTED)
    }
    connecting = [
        name for name in by_state[SourceState.ANSWERING] if picture.drivers[name].health_api is HealthAPI.NONE
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
    picture: Picture, problems: Sequence[Problem], previous: Mapping[str, Mapping[str, object]]
) -> _Condition:
    if picture.policy.spec.suspend:
        return _suspended(picture, previous.get(ConditionType.VOLUMES_HEALTHY))
    judgement = picture.judgement
    if judgement is None:
        if ConditionType.VOLUMES_HEALTHY in previous:
            return _kept(previous, ConditionType.VOLUMES_HEALTHY)
        return _Condition("Unknown", VolumesReason.NOT_YET_CHECKED, "no check has finished yet")
    counts = judgement.counts
    storage = _storage([problem for problem in problems if problem.storage])
    rest = storage + (unmonitored(picture) or "0 not monitored")
    if counts.unhealthy:
        wide = bool(judgement.driver_wide)
        reason = VolumesReason.DRIVER_WIDE_PROBLEM if wide else VolumesReason.VOLUMES_UNHEALTHY
        return _Condition(
            "False", reason, f"{_unhealthy(picture, [one for one in problems if not one.storage])}; {rest}"
        )
    if not counts.selected:
        return _Condition("Unknown", VolumesReason.NOTHING_SELECTED, nothing_selected(picture))
    new = _not_asked_yet(judgement)
    if counts.unknown > new or new > counts.healthy * _FEW:
        words = f"{counts.unknown} of {count(monitored(picture), 'monitored claim')} unknown"
        why = f": {judgement.unknown[0].message or judgement.unknown[0].reason}" if judgement.unknown else ""
        return _Condition("Unknown", VolumesReason.SOME_UNKNOWN, f"{fit(words + why, 600)}; {rest}")
    if not monitored(picture):
        return _Condition("Unknown", VolumesReason.NOTHING_MONITORED, f"no claim is monitored; {rest}")
    words = count(monitored(picture), "monitored claim")
    if new:
        words += f", {new} of them new and not asked about yet"
    return _Condition("True", VolumesReason.ALL_HEALTHY, f"{words}; {rest}")


def _not_asked_yet(judgement: PolicyJudgement) -> int:
    """Count new claims that no source was asked about yet.

    A new claim waits for the next list of its driver. Where claims come and go all day the condition must not turn
    Unknown and back with each of them; beside claims that are known to be healthy they wait.
    """
    return sum(group.claims for group in judgement.unknown if group.reason == SilenceReason.NOT_YET_ASKED)


def _suspended(picture: Picture, before: Mapping[str, object] | None) -> _Condition:
    if before is None or before.get("reason") == VolumesReason.NOT_YET_CHECKED:
        return _Condition("Unknown", VolumesReason.SUSPENDED, "never checked")
    if before.get("reason") == VolumesReason.SUSPENDED:
        return _Condition("Unknown", VolumesReason.SUSPENDED, str(before.get("message", "")))
    words = f"not checked since {date_and_time(picture.now)}; then {before.get('status')}: {before.get('message')}"
    return _Condition("Unknown", VolumesReason.SUSPENDED, words)


def _unhealthy(picture: Picture, problems: Sequence[Problem]) -> str:
    counts = picture.judgement.counts if picture.judgement is not None else None
    number = counts.unhealthy if counts is not None else 0
    words = f"{number} of {count(monitored(picture), 'monitored claim')} unhealthy"
    if not problems:
        return words
    worst = problems[0]
    whose = f"of {worst.group.driver}" if worst.group.driver else f"on {where(worst)}"
    return f"{words}, worst {headline(worst)} ({count(worst.claims, 'claim')} {whose})"


def _storage(problems: Sequence[Problem]) -> str:
    """Say what is the matter with the storage behind drivers; no claim is unhealthy for that alone."""
    said = [f"{headline(problem)} of {where(problem)}" for problem in problems]
    return f"storage: {'; '.join(said)}; " if said else ""


def nothing_selected(picture: Picture) -> str:
    """Say why a policy holds no claim."""
    counts = picture.judgement.counts if picture.judgement is not None else None
    words = "no bound claim of a CSI volume matches spec.selector"
    if counts is not None and counts.overridden:
        words += f"; {count(counts.overridden, 'matching claim')} held by other policies"
    if counts is not None and counts.not_csi:
        words += f"; {count(counts.not_csi, 'matching claim')} not CSI"
    return words
