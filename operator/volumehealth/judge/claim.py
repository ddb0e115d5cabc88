"""What is confirmed of one claim: hysteresis, freezing, verdict, transitions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from volumehealth.judge.collect import MOST_CONDITIONS, Statement, Statements, first_silence, hear
from volumehealth.judge.rules import CompiledRules
from volumehealth.judge.text import same_text
from volumehealth.model.health import (
    Answer,
    Change,
    ClaimHealth,
    Finding,
    Identity,
    Outcome,
    Pending,
    Transition,
    TransitionKind,
    Verdict,
    severity,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import SilenceReason

_TURNS = 10
_EPISODES = 64
"""Identities whose past episodes are remembered; a driver that invents reasons must not fill the memory."""
_QUOTED = 200
"""Characters of a message that history quotes."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What a policy says about judging.

    Attributes:
        unhealthy_after: how long a statement must last before it is confirmed.
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
    """What is confirmed of one claim now.

    Attributes:
        health: what must be remembered; None if nothing is said against it and it has no past.
        verdict: exactly one of four.
        transitions: what people are to be told.
        unknown_reason, unknown_message: why the verdict is Unknown; else empty.
        ignored: True if a rule ignored a statement.
        due: when a statement may next be confirmed or cleared, if its source goes on saying the same.
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
    stale_reason: str = "",
    before: Verdict = Verdict.UNKNOWN,
) -> Judgement:
    """Judge one claim.

    Args:
        previous: what was remembered.
        answers: what every source says now. No answer with `can_clear` means that nothing here can say the claim
            is healthy: it is Unmonitored unless something accuses it.
        ref: the claim.
        uid: of the claim; what was remembered of another uid is dropped.
        driver: of the claim's volume.
        settings: what its policy says about judging.
        now: the moment.
        stale_reason: why the cluster view must not be trusted; then nothing recovers and nothing is Healthy.
        before: the last verdict, where `previous` does not remember one.
    """
    if previous is not None and previous.uid != uid:
        previous, before = None, Verdict.UNKNOWN
    if previous is None and not any(answer.outcome is Outcome.ADVERSE for answer in answers):
        return _unaccused(answers, stale_reason)
    past = previous or ClaimHealth(uid, verdict=before)
    hearing = hear(answers, driver=driver, rules=settings.rules, delay=settings.unhealthy_after, now=now)
    kept, cleared = _follow_findings(
        past.findings, hearing, settings.healthy_after, frozen=bool(stale_reason)
    )
    pending = _take_up(_follow_pending(past.pending, hearing), kept, hearing)
    waiting, confirmed = _confirm(pending, hearing, past.episodes, now)
    said = [wait for wait in waiting if _statement(hearing, wait) is not None]
    findings = tuple(sorted((*kept, *confirmed), key=_worst_first))
    verdict = _verdict(findings, said, hearing, past.verdict, stale_reason)
    reason, message = _why(verdict, said, hearing, stale_reason)
    health = ClaimHealth(
        uid=uid,
        findings=findings,
        pending=tuple(sorted(waiting, key=_worst_first)),
        verdict=verdict,
        episodes=_episodes(past.episodes, confirmed, findings),
        history=_history(past.history, cleared, confirmed, now),
        recovered=None if findings else now if cleared else past.recovered,
        unknown_reason=reason,
        unknown_message=message,
        ignored=hearing.ignored,
    )
    health = _forget(health, settings.record_retention, now)
    return Judgement(
        _memorable(health, previous),
        verdict,
        (
            *(Transition(TransitionKind.RECOVERED, ref, uid, finding, now) for finding in cleared),
            *(Transition(TransitionKind.FOUND, ref, uid, finding, now) for finding in confirmed),
        ),
        reason,
        message,
        hearing.ignored,
        _due(kept, said, hearing, settings.healthy_after),
    )


def _unaccused(answers: Sequence[Answer], stale_reason: str) -> Judgement:
    """Judge a claim of which nobody says anything adverse and nothing is remembered: there are many of these."""
    acquitting = [answer for answer in answers if answer.can_clear]
    if not acquitting:
        return Judgement(None, Verdict.UNMONITORED)
    if all(answer.outcome is Outcome.SILENT for answer in acquitting):
        silence = first_silence(acquitting)
        return Judgement(
            None, Verdict.UNKNOWN, unknown_reason=silence.reason, unknown_message=silence.message
        )
    if stale_reason:
        reason = str(SilenceReason.VIEW_STALE)
        return Judgement(None, Verdict.UNKNOWN, unknown_reason=reason, unknown_message=stale_reason)
    return Judgement(None, Verdict.HEALTHY)


def hand_over(health: ClaimHealth, policy_name: str, now: datetime) -> ClaimHealth:
    """Return what the next policy remembers: all of it and a line of history; nobody is told."""
    turn = Change(now, f"handed over to policy {policy_name}")
    return replace(health, history=(*health.history, turn)[-_TURNS:])


def _follow_findings(
    findings: Iterable[Finding], hearing: Statements, healthy_after: timedelta, *, frozen: bool
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that stay, as they are now, and those that are cleared."""
    kept: list[Finding] = []
    cleared: list[Finding] = []
    for finding in findings:
        statement = _statement(hearing, finding)
        gone = None if frozen else _gone_at(hearing, finding)
        if statement is not None:
            kept.append(_said_again(finding, statement))
        elif gone is None:
            kept.append(replace(finding, stale=True))
        else:
            since = finding.clear_since or gone
            following = replace(finding, stale=False, clear_since=since)
            (cleared if gone - since >= healthy_after else kept).append(following)
    return kept, cleared


def _said_again(finding: Finding, statement: Statement) -> Finding:
    message = finding.message if same_text(finding.message, statement.message) else statement.message
    return replace(finding, message=message, stale=False, clear_since=None)


def _follow_pending(pending: Iterable[Pending], hearing: Statements) -> list[Pending]:
    """Return what is not denied; silence neither drops nor believes it."""
    return [wait for wait in pending if _gone_at(hearing, wait) is None]


def _take_up(pending: list[Pending], findings: Sequence[Finding], hearing: Statements) -> list[Pending]:
    """Add what is said for the first time, the worst first, and no more than a record can hold."""
    held = {wait.identity for wait in pending} | {finding.identity for finding in findings}
    new = [
        (identity, statement)
        for place in hearing.places.values()
        for identity, statement in place.said.items()
        if identity not in held
    ]
    for identity, statement in sorted(new, key=lambda found: _order(found[0])):
        # A worse one always finds room; so there are at most 16 of each severity.
        rank = severity(identity.status)
        if sum(severity(other.status) >= rank for other in held) < MOST_CONDITIONS:
            held.add(identity)
            source, node, status, reason = identity
            pending.append(
                Pending(source, status, reason, statement.message, statement.first, node, statement.via)
            )
    return pending


def _confirm(
    pending: Iterable[Pending], hearing: Statements, episodes: Mapping[Identity, int], now: datetime
) -> tuple[list[Pending], list[Finding]]:
    """Return what still waits, and what was said long enough."""
    waiting: list[Pending] = []
    confirmed: list[Finding] = []
    for wait in sorted(pending, key=_worst_first):
        statement = _statement(hearing, wait)
        if statement is None:
            waiting.append(wait)
        elif statement.last - wait.since < statement.after:
            same = same_text(wait.message, statement.message)
            waiting.append(wait if same else replace(wait, message=statement.message))
        else:
            confirmed.append(_finding(wait, statement, episodes.get(wait.identity, 0) + 1, now))
    return waiting, confirmed


def _finding(wait: Pending, statement: Statement, episode: int, now: datetime) -> Finding:
    return Finding(
        source=wait.source,
        status=wait.status,
        reason=wait.reason,
        message=statement.message,
        since=wait.since,
        confirmed=now,
        node=wait.node,
        via=wait.via,
        episode=episode,
    )


def _verdict(
    findings: Sequence[Finding], said: Sequence[Pending], hearing: Statements, was: Verdict, stale_reason: str
) -> Verdict:
    if findings:
        return Verdict.UNHEALTHY
    if not hearing.answerable:
        return Verdict.UNMONITORED
    # What is said but not yet confirmed leaves the verdict as it was.
    healthy = hearing.positive or (bool(said) and was is Verdict.HEALTHY)
    return Verdict.HEALTHY if healthy and not stale_reason else Verdict.UNKNOWN


def _why(
    verdict: Verdict, said: Sequence[Pending], hearing: Statements, stale_reason: str
) -> tuple[str, str]:
    """Return reason and sentence of an Unknown."""
    if verdict is not Verdict.UNKNOWN:
        return "", ""
    if said:
        worst = min(said, key=_worst_first)
        return str(SilenceReason.NOT_YET_CONFIRMED), f"{worst.status}/{worst.reason}: {worst.message}"
    if hearing.silence is not None and not hearing.positive:
        return hearing.silence.reason, hearing.silence.message
    if stale_reason:
        return str(SilenceReason.VIEW_STALE), stale_reason
    return str(SilenceReason.NO_CONDITION), ""


def _episodes(
    past: Mapping[Identity, int], confirmed: Sequence[Finding], findings: Sequence[Finding]
) -> Mapping[Identity, int]:
    if not confirmed:
        return past
    counted = dict(past)
    for finding in confirmed:
        counted.pop(finding.identity, None)
        counted[finding.identity] = finding.episode
    present = {finding.identity for finding in findings}
    old = [identity for identity in counted if identity not in present]
    for identity in old[: max(0, len(counted) - _EPISODES)]:
        del counted[identity]
    return MappingProxyType(counted)


def _history(
    past: tuple[Change, ...], cleared: Sequence[Finding], confirmed: Sequence[Finding], now: datetime
) -> tuple[Change, ...]:
    gone = (Change(now, f"{finding.headline} recovered") for finding in cleared)
    come = (Change(now, f"{finding.headline}: {_quote(finding.message)}") for finding in confirmed)
    return (*past, *gone, *come)[-_TURNS:]


def _quote(message: str) -> str:
    return message if len(message) <= _QUOTED else message[: _QUOTED - 1] + "…"


def _forget(health: ClaimHealth, retention: timedelta, now: datetime) -> ClaimHealth:
    """Drop the past of a claim that recovered long ago."""
    if health.recovered is None or now < health.recovered + retention:
        return health
    return replace(health, recovered=None, episodes=MappingProxyType({}), history=())


def _memorable(health: ClaimHealth, previous: ClaimHealth | None) -> ClaimHealth | None:
    """Return what must be remembered; the very same object if nothing changed."""
    if not (health.findings or health.pending or health.recovered or health.ignored):
        return None
    return previous if health == previous else health


def _due(
    findings: Iterable[Finding], said: Iterable[Pending], hearing: Statements, healthy_after: timedelta
) -> datetime | None:
    clearing = [
        finding.clear_since + healthy_after
        for finding in findings
        if finding.clear_since is not None and not finding.stale
    ]
    confirming = [
        wait.since + statement.after for wait in said if (statement := _statement(hearing, wait)) is not None
    ]
    return min((*clearing, *confirming), default=None)


def _statement(hearing: Statements, item: Finding | Pending) -> Statement | None:
    place = hearing.places.get((item.source, item.node))
    return place.said.get(item.identity) if place else None


def _gone_at(hearing: Statements, item: Finding | Pending) -> datetime | None:
    place = hearing.places.get((item.source, item.node))
    return place.gone_at(item.identity, item.message) if place else None


def _worst_first(item: Finding | Pending) -> tuple[int, str, str, str, str]:
    return _order(item.identity)


def _order(identity: Identity) -> tuple[int, str, str, str, str]:
    return (-severity(identity.status), identity.status, identity.reason, identity.source, identity.node)
