"""Why a claim is judged as it is: every statement, the rule that matched, the time left before it is confirmed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from volumehealth.judge.claim import JudgeSettings, judge_claim
from volumehealth.judge.collect import patience_of
from volumehealth.judge.policy import PolicyJudgement, answers_about
from volumehealth.model.cluster import Claim
from volumehealth.model.explanation import DriverWord, Explanation, Heard, Known, Said, Turn
from volumehealth.model.health import Answer, ClaimHealth, Condition, Finding, Identity, Outcome

_CONFIRMED, _PENDING, _IGNORED, _NOT_TAKEN_UP = "Confirmed", "Pending", "Ignored", "NotTakenUp"


def explain_claim(
    about: Explanation,
    claim: Claim,
    health: ClaimHealth | None,
    last: PolicyJudgement | None,
    settings: JudgeSettings,
) -> Explanation:
    """Add what was judged of a claim to what is known `about` it already.

    Args:
        about: whose claim it is, and of which moment.
        claim: the view's row.
        health: what is remembered of it.
        last: its policy's last judgement; None before the first check.
        settings: what the policy says about judging.
    """
    answers = answers_about(claim, last.evidence) if last is not None else ()
    about = replace(
        about,
        unhealthy_after_seconds=settings.unhealthy_after.total_seconds(),
        healthy_after_seconds=settings.healthy_after.total_seconds(),
        statements=explain_answers(health, answers, driver=claim.driver, settings=settings),
        waiting=explain_waiting(health, answers),
        findings=explain_findings(health, settings),
        history=explain_history(health),
    )
    if last is None or claim.driver not in last.evidence.drivers:
        return about
    # As of the last check: with its moment no clock goes on, so nothing is confirmed here that was not there.
    evidence = last.evidence
    judged = judge_claim(
        health,
        answers,
        ref=claim.ref,
        uid=claim.uid,
        driver=claim.driver,
        settings=settings,
        now=about.at,
        monotonic=last.monotonic,
        stale_reason=evidence.stale_reason,
        by_node=claim.ref in evidence.healthy_on_nodes.complete.get(claim.driver, ()),
        origins=evidence.origins,
    )
    driver = evidence.drivers[claim.driver].driver
    return replace(
        about,
        verdict=judged.verdict,
        basis=judged.basis or "",
        unknown_reason=judged.unknown_reason,
        unknown_message=judged.unknown_message,
        driver=DriverWord(
            driver.name,
            driver.state,
            driver.since,
            driver.health_api,
            driver.methods,
            driver.message,
            driver.hint,
        ),
    )


def explain_answers(
    health: ClaimHealth | None, answers: Sequence[Answer], *, driver: str, settings: JudgeSettings
) -> tuple[Said, ...]:
    """Explain what is made of each origin's last word.

    Args:
        health: what `judge_claim` gave for these answers.
        answers: what every origin says.
        driver: of the claim's volume.
        settings: what the policy says about judging.
    """
    return tuple(
        Said(
            answer.source,
            answer.observer,
            answer.node,
            str(answer.via),
            str(answer.outcome),
            answer.at,
            str(answer.reason),
            answer.message,
            tuple(
                _heard(health, answer, said, driver=driver, settings=settings) for said in answer.conditions
            ),
        )
        for answer in answers
    )


def explain_waiting(health: ClaimHealth | None, answers: Sequence[Answer]) -> tuple[Heard, ...]:
    """Say what waits to be confirmed though nobody says it now: its origin is silent, and its clock stands."""
    now = {answer.origin for answer in answers if answer.outcome is Outcome.ADVERSE}
    return tuple(
        Heard(
            wait.status,
            wait.reason,
            wait.message,
            "",
            _PENDING,
            wait.since,
            None,
            wait.after.total_seconds(),
            max(0.0, wait.after.total_seconds() - wait.waited.seconds),
        )
        for wait in (health.pending if health is not None else ())
        if wait.origin not in now
    )


def explain_findings(health: ClaimHealth | None, settings: JudgeSettings) -> tuple[Known, ...]:
    """Say what is confirmed of a claim, and how far what is over has come to being cleared."""
    return tuple(_known(one, settings.healthy_after) for one in health.findings) if health is not None else ()


def explain_history(health: ClaimHealth | None) -> tuple[Turn, ...]:
    """Return a claim's turns, oldest first."""
    return tuple(Turn(one.time, one.what) for one in health.history) if health is not None else ()


def seconds_left(finding: Finding, healthy_after: timedelta) -> float | None:
    """Return for how long a finding must still not be said before it is cleared; None while it is said."""
    if finding.clear_since is None:
        return None
    return max(0.0, healthy_after.total_seconds() - finding.clear.seconds)


def _known(finding: Finding, healthy_after: timedelta) -> Known:
    return Known(
        finding.source,
        finding.observers,
        finding.node,
        finding.status,
        finding.reason,
        finding.message,
        finding.since,
        finding.confirmed,
        finding.stale,
        finding.clear_since,
        seconds_left(finding, healthy_after),
        finding.last_notified_at,
    )


def _heard(
    health: ClaimHealth | None, answer: Answer, said: Condition, *, driver: str, settings: JudgeSettings
) -> Heard:
    ruled = settings.rules.apply(driver, answer.source, said)
    after = patience_of(ruled, settings.unhealthy_after if answer.delay is None else answer.delay)
    condition = ruled.condition

    def believed(
        belief: str,
        since: datetime | None = None,
        confirmed: datetime | None = None,
        left: float | None = None,
    ) -> Heard:
        return Heard(
            condition.status,
            condition.reason,
            condition.message,
            ruled.rule,
            belief,
            since or answer.since,
            confirmed,
            after.total_seconds(),
            left,
        )

    if ruled.ignored:
        return believed(_IGNORED)
    if health is None:
        return believed(_NOT_TAKEN_UP)
    identity = Identity(answer.source, answer.node, condition.status, condition.reason)
    for finding in health.findings:
        if finding.identity == identity:
            return believed(_CONFIRMED, finding.since, finding.confirmed)
    for wait in health.pending:
        if wait.identity == identity:
            left = max(0.0, after.total_seconds() - wait.waited.seconds)
            return believed(_PENDING, wait.since, left=left)
    return believed(_NOT_TAKEN_UP)
