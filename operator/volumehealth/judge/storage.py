"""What is confirmed of the storage behind a driver as it is seen from a node: judged like a claim, told once.

It is no claim's finding: a node that lost its paths to an array is one story, with the names of the claims it touches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from volumehealth.judge.claim import JudgeSettings, judge_claim
from volumehealth.model.health import Answer, ClaimHealth, Finding, TransitionKind
from volumehealth.model.ids import ClaimRef


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


def judge_storage(
    previous: Mapping[Backend, ClaimHealth],
    answers: Mapping[Backend, tuple[Answer, ...]],
    *,
    settings: JudgeSettings,
    now: datetime,
    monotonic: float | None = None,
    stale_reason: str = "",
) -> tuple[dict[Backend, ClaimHealth], frozenset[tuple[Backend, Finding]]]:
    """Judge all backends that anything is said of, or was.

    Args:
        previous: what was remembered.
        answers: what is said now; without an answer a finding is frozen.
        settings: the policy's.
        now: the moment, by the wall clock.
        monotonic: the moment in monotonic seconds; None if no clock was set meanwhile.
        stale_reason: why the cluster view must not be trusted.

    Returns:
        What is to be remembered (only backends with a statement that waits or is confirmed), and what was confirmed
        just now.
    """
    healths: dict[Backend, ClaimHealth] = {}
    new: set[tuple[Backend, Finding]] = set()
    for backend in sorted(previous.keys() | answers.keys()):
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
        )
        if judgement.health is not None and (judgement.health.findings or judgement.health.pending):
            healths[backend] = judgement.health
        new |= {
            (backend, turn.finding) for turn in judgement.transitions if turn.kind is TransitionKind.FOUND
        }
    return healths, frozenset(new)
