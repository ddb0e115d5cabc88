"""What is believed of one claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.judge.rules import CompiledRules
from volumehealth.model.health import Answer, ClaimHealth, Transition, Verdict
from volumehealth.model.ids import ClaimRef


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What a policy says about judging.

    Attributes:
        unhealthy_after: how long a statement must last before it is believed.
        healthy_after: how long it must be gone before it is cleared.
        rules: the policy's, then the built-in ones.
        record_retention: how long a recovered claim is remembered.
    """

    unhealthy_after: timedelta
    healthy_after: timedelta
    rules: CompiledRules
    record_retention: timedelta


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is believed of one claim now.

    Attributes:
        health: what must be remembered; None if it is plainly healthy or unmonitored and has no past.
        verdict: exactly one of four.
        transitions: what people are to be told.
        unknown_reason, unknown_message: why the verdict is Unknown; else empty.
        ignored: True if a rule ignored a statement.
        due: when a statement may next be believed or cleared, if its source goes on saying the same.
    """

    health: ClaimHealth | None
    verdict: Verdict
    transitions: tuple[Transition, ...] = ()
    unknown_reason: str = ""
    unknown_message: str = ""
    ignored: bool = False
    due: datetime | None = None


def judge_claim(
    previous: ClaimHealth | None,
    answers: Sequence[Answer],
    *,
    ref: ClaimRef,
    uid: str,
    driver: str,
    settings: JudgeSettings,
    now: datetime,
    distrust: str = "",
    before: Verdict = Verdict.UNKNOWN,
) -> Judgement:
    """Judge one claim.

    Args:
        previous: what was remembered.
        answers: what every source says now. No answer with `acquits` means that nothing here can say the claim
            is healthy: it is Unmonitored unless something accuses it.
        ref: the claim.
        uid: of the claim; what was remembered of another uid is dropped.
        driver: of the claim's volume.
        settings: what its policy says about judging.
        now: the moment.
        distrust: why the cluster view must not be trusted; then nothing recovers and nothing is Healthy.
        before: the last verdict, where `previous` does not remember one.
    """
    raise NotImplementedError


def hand_over(health: ClaimHealth, policy_name: str, now: datetime) -> ClaimHealth:
    """Return what the next policy remembers: all of it and a line of history; nobody is told."""
    raise NotImplementedError
