"""What is confirmed of the storage behind a driver as it is seen from a node: judged like a claim, told once.

It is no claim's finding: a node that lost its paths to an array is one story, with the names of the claims it touches.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from volumehealth.judge.claim import JudgeSettings, judge_claim, unjudged
from volumehealth.model.health import (
    Answer,
    ClaimHealth,
    Finding,
    Origins,
    Outcome,
    Source,
    Transition,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin

_OBSERVERS = (Observer.API, Observer.DRIVER)
"""Who tells of storage: the kubelet's object, and an agent that asks the driver."""


class Backend(NamedTuple):
    """The storage behind a driver, seen from a node."""

    driver: str
    node: str


@dataclass(frozen=True, slots=True)
class StorageProblem:
    """One finding about the storage behind a driver.

    Attributes:
        backend: which driver, which node.
        finding: what is confirmed.
        claims: those that it touches, in order.
        new: it was confirmed in this very check.
    """

    backend: Backend
    finding: Finding
    claims: tuple[ClaimRef, ...]
    new: bool = False


@dataclass(frozen=True, slots=True)
class StorageJudgement:
    """What is confirmed of the storage behind drivers.

    Attributes:
        problems: what is wrong.
        recovered: what was wrong and is not any more, by the word of who said so.
    """

    problems: tuple[StorageProblem, ...] = ()
    recovered: tuple[tuple[Backend, Finding], ...] = ()


@dataclass(frozen=True, slots=True)
class StorageEvidence:
    """What is said of the storage behind drivers, seen from nodes.

    Attributes:
        said: adverse answers.
        touched: the claims that each of them touches.
        origins_of: tells of a backend's origins that gave no answer why.
    """

    said: Mapping[Backend, tuple[Answer, ...]]
    touched: Mapping[Backend, tuple[ClaimRef, ...]]
    origins_of: Callable[[Backend], Origins]


def judge_storage(
    previous: Mapping[Backend, ClaimHealth],
    answers: Mapping[Backend, tuple[Answer, ...]],
    *,
    settings: JudgeSettings,
    now: datetime,
    monotonic: float | None = None,
    stale_reason: str = "",
    origins_of: Callable[[Backend], Origins | None] | None = None,
) -> tuple[dict[Backend, ClaimHealth], tuple[tuple[Backend, Transition], ...]]:
    """Judge all backends that anything is said of, or was.

    Args:
        previous: what was remembered.
        answers: what is said now.
        settings: the policy's.
        now: the moment, by the wall clock.
        monotonic: the moment in monotonic seconds; None if no clock was set meanwhile.
        stale_reason: why the cluster view must not be trusted.
        origins_of: tells of a backend's origins that gave no answer why; without it they are silent.

    Returns:
        What is to be remembered (only backends with a statement that waits or is confirmed), and what turned just now.
    """
    previous = {
        backend: _attributed(backend, health, answers.get(backend, ()), origins_of)
        for backend, health in previous.items()
    }
    healths: dict[Backend, ClaimHealth] = {}
    turns: list[tuple[Backend, Transition]] = []
    for backend in sorted(previous.keys() | answers.keys()):
        try:
            judgement = judge_claim(
                previous.get(backend),
                answers.get(backend, ()),
                ref=ClaimRef("", backend.node),
                uid=backend.node,
                driver=backend.driver,
                settings=settings,
                now=now,
                monotonic=monotonic,
                stale_reason=stale_reason,
                origins=origins_of(backend) if origins_of is not None else None,
            )
        except Exception as error:  # noqa: BLE001 - whatever is said of one backend costs that one only
            judgement = unjudged(previous.get(backend), backend.node, error)
        if judgement.health is not None and (judgement.health.findings or judgement.health.pending):
            healths[backend] = judgement.health
        turns += [(backend, turn) for turn in judgement.transitions]
    return healths, tuple(turns)


def _attributed(
    backend: Backend,
    health: ClaimHealth,
    answers: Iterable[Answer],
    origins_of: Callable[[Backend], Origins | None] | None,
) -> ClaimHealth:
    """Say whose word a finding is that was read back from a status, which does not tell.

    It is the word of whoever says it now; if nobody does, of whoever could.
    """
    if all(finding.observers for finding in health.findings):
        return health
    known = tuple(answers)
    origins = origins_of(backend) if origins_of is not None else None

    def says(observer: Observer, finding: Finding) -> bool:
        return any(
            (one.status, one.reason) == (finding.status, finding.reason)
            for answer in known
            if answer.observer is observer
            for one in answer.conditions
        )

    def could_say(observer: Observer, finding: Finding) -> bool:
        if origins is None:
            return True
        origin = Origin(Source.NODE, observer, backend.node)
        state = origins.state_of(ClaimRef("", backend.node), origin, finding.reason)
        return state.outcome is not Outcome.ENDED

    def whose(finding: Finding) -> tuple[Observer, ...]:
        for speaks in (says, could_say):
            found = tuple(one for one in _OBSERVERS if speaks(one, finding))
            if found:
                return found
        return _OBSERVERS

    findings = (
        finding if finding.observers else replace(finding, observers=whose(finding))
        for finding in health.findings
    )
    return replace(health, findings=tuple(findings))
