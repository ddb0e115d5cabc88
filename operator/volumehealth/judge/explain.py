"""Why a claim is judged as it is: every statement, the rule that matched, the time left before it is confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.judge.claim import JudgeSettings
from volumehealth.judge.collect import patience_of
from volumehealth.judge.rules import Ruled
from volumehealth.model.health import Answer, ClaimHealth, Condition, Identity


@dataclass(frozen=True, slots=True)
class StatementTrace:
    """One statement of an answer, and what is made of it.

    Attributes:
        said: as it came.
        ruled: what the rules made of it, and which one.
        after: how long it must last.
        since: when it was first heard; None if it is ignored, or not taken up beside too many others.
        confirmed: when it became a finding; None if it is none.
        left: how long it must still be said; None if it is ignored, confirmed or not taken up.
    """

    said: Condition
    ruled: Ruled
    after: timedelta
    since: datetime | None
    confirmed: datetime | None
    left: timedelta | None


@dataclass(frozen=True, slots=True)
class Explained:
    """One answer and its statements; a healthy or silent one has none."""

    answer: Answer
    heard: tuple[StatementTrace, ...]


def explain_claim(
    health: ClaimHealth | None,
    answers: Sequence[Answer],
    *,
    driver: str,
    settings: JudgeSettings,
    now: datetime,
) -> tuple[Explained, ...]:
    """Explain a judgement.

    Args:
        health: what `judge_claim` gave for these answers.
        answers: what every source says.
        driver: of the claim's volume.
        settings: what the policy says about judging.
        now: the moment of the judgement.
    """
    return tuple(
        Explained(
            answer,
            tuple(
                _heard(health, answer, said, driver=driver, settings=settings, now=now)
                for said in answer.conditions
            ),
        )
        for answer in answers
    )


def _heard(
    health: ClaimHealth | None,
    answer: Answer,
    said: Condition,
    *,
    driver: str,
    settings: JudgeSettings,
    now: datetime,
) -> StatementTrace:
    ruled = settings.rules.apply(driver, answer.source, said)
    after = patience_of(ruled, settings.unhealthy_after if answer.delay is None else answer.delay)
    if ruled.ignored or health is None:
        return StatementTrace(said, ruled, after, None, None, None)
    identity = Identity(answer.source, answer.node, ruled.condition.status, ruled.condition.reason)
    for finding in health.findings:
        if finding.identity == identity:
            return StatementTrace(said, ruled, after, finding.since, finding.confirmed, None)
    for wait in health.pending:
        if wait.identity == identity:
            left = max(timedelta(0), after - timedelta(seconds=wait.waited.seconds))
            return StatementTrace(said, ruled, after, wait.since, None, left)
    return StatementTrace(said, ruled, after, None, None, None)
