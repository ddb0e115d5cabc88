"""What is confirmed of one claim: hysteresis, freezing, verdict, transitions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from volumehealth.judge.collect import (
    MOST_CONDITIONS,
    PlaceStatements,
    Statement,
    Statements,
    first_silence,
    hear,
    order,
)
from volumehealth.judge.rules import CompiledRules
from volumehealth.judge.text import same_text
from volumehealth.model.health import (
    NOTHING_ANSWERED,
    Answer,
    Answered,
    Change,
    ClaimHealth,
    Finding,
    Identity,
    Outcome,
    Pending,
    Place,
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
        unhealthy_after: how long a source must go on saying something adverse before it is confirmed.
        healthy_after: how long a source must go on without saying it before it is cleared.
        rules: the policy's, then the built-in ones.
        record_retention: how long a recovered claim is remembered.
        longest_gap: two answers of a source that are further apart leave open what was in between.
        longest_pause: after a longer time without a check nobody knows what the sources said meanwhile.
    """

    unhealthy_after: timedelta
    healthy_after: timedelta
    rules: CompiledRules
    record_retention: timedelta
    longest_gap: timedelta = timedelta(minutes=15)
    longest_pause: timedelta = timedelta.max


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is confirmed of one claim now.

    Attributes:
        health: what must be remembered; None if nothing is said against it and it has no past.
        verdict: exactly one of four.
        transitions: what people are to be told.
        unknown_reason, unknown_message: why the verdict is Unknown; else empty.
    """

    health: ClaimHealth | None
    verdict: Verdict
    transitions: tuple[Transition, ...] = ()
    unknown_reason: str = ""
    unknown_message: str = ""


class _Tick(NamedTuple):
    """The moment of a judgement, as clocks of answered time take it."""

    monotonic: float
    longest_gap: timedelta


def judge_claim(
    previous: ClaimHealth | None,
    answers: Sequence[Answer],
    *,
    ref: ClaimRef,
    uid: str,
    driver: str,
    settings: JudgeSettings,
    now: datetime,
    monotonic: float | None = None,
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
        now: the moment, by the wall clock: what people are shown, and the latest that anything remembered can be.
        monotonic: the moment in monotonic seconds, by which durations are counted; None if no clock was set meanwhile.
        stale_reason: why the cluster view must not be trusted; then nothing recovers and nothing is Healthy.
        before: the last verdict, where `previous` does not remember one.
    """
    if previous is not None and previous.uid != uid:
        previous, before = None, Verdict.UNKNOWN
    if previous is None and not any(answer.outcome is Outcome.ADVERSE for answer in answers):
        return _unaccused(answers, stale_reason)
    past = not_after(previous, now) if previous is not None else ClaimHealth(uid, verdict=before)
    tick = _Tick(now.timestamp() if monotonic is None else monotonic, settings.longest_gap)
    hearing = hear(answers, driver=driver, rules=settings.rules, delay=settings.unhealthy_after, now=now)
    kept, cleared = _follow_findings(
        past.findings, hearing, settings.healthy_after, tick, frozen=bool(stale_reason)
    )
    places = frozenset(place for place in past.confirmed_places if not _is_clean(hearing, place))
    pending = _take_up(_follow_pending(past.pending, hearing, places, tick), kept, hearing, tick)
    waiting, confirmed, places = _confirm(pending, kept, hearing, places, past.episodes, now)
    said = [wait for wait in waiting if _statement(hearing, wait) is not None]
    findings = tuple(sorted((*kept, *confirmed), key=_worst_first))
    verdict = _verdict(findings, said, hearing, past.verdict, stale_reason)
    reason, message = _why(verdict, said, hearing, stale_reason)
    health = ClaimHealth(
        uid=uid,
        findings=findings,
        pending=tuple(sorted(waiting, key=_worst_first)),
        confirmed_places=places,
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
    """Return what the next policy remembers: all of it and a line of history; nobody is told.

    Clocks of answered time stand until its first check: nobody looked in between.
    """
    turn = Change(now, f"handed over to policy {policy_name}")
    return replace(stopped(health), history=(*health.history, turn)[-_TURNS:])


def stopped(health: ClaimHealth) -> ClaimHealth:
    """Return what is remembered of a claim, with all clocks of answered time standing."""
    findings = tuple(_stop(finding) for finding in health.findings)
    pending = tuple(replace(wait, waited=wait.waited.stopped()) for wait in health.pending)
    if findings == health.findings and pending == health.pending:
        return health
    return replace(health, findings=findings, pending=pending)


def resumed(health: ClaimHealth) -> ClaimHealth:
    """Return what a process that was started anew goes on from: it knows of no answer yet.

    A finding that was about to be cleared is cleared after a whole `healthyAfter`; a place whose findings were all
    said still needs no new confirmation.
    """
    said = frozenset(finding.place for finding in health.findings if finding.clear_since is None)
    findings = tuple(
        replace(finding, clear_since=None, clear=NOTHING_ANSWERED) for finding in health.findings
    )
    return replace(health, findings=findings, pending=(), confirmed_places=said)


def not_after(health: ClaimHealth, now: datetime) -> ClaimHealth:
    """Return what is remembered of a claim with no time later than now; the same object if none is.

    A wall clock that was set back, and a record that somebody wrote, know times that have not come yet.
    """
    late = any(
        moment is not None and moment > now
        for moment in (
            health.recovered,
            *(change.time for change in health.history[-1:]),
            *(wait.since for wait in health.pending),
            *(moment for finding in health.findings for moment in _times(finding)),
        )
    )
    if not late:
        return health
    return replace(
        health,
        findings=tuple(_finding_not_after(finding, now) for finding in health.findings),
        pending=tuple(replace(wait, since=min(wait.since, now)) for wait in health.pending),
        history=tuple(replace(change, time=min(change.time, now)) for change in health.history),
        recovered=_not_after(health.recovered, now),
    )


def _times(finding: Finding) -> tuple[datetime | None, ...]:
    return (finding.since, finding.confirmed, finding.clear_since, finding.last_notified_at)


def _finding_not_after(finding: Finding, now: datetime) -> Finding:
    return replace(
        finding,
        since=min(finding.since, now),
        confirmed=min(finding.confirmed, now),
        clear_since=_not_after(finding.clear_since, now),
        last_notified_at=_not_after(finding.last_notified_at, now),
    )


def _not_after(moment: datetime | None, now: datetime) -> datetime | None:
    return None if moment is None else min(moment, now)


def _stop(finding: Finding) -> Finding:
    return finding if finding.clear.mark is None else replace(finding, clear=finding.clear.stopped())


def _follow_findings(
    findings: Iterable[Finding],
    hearing: Statements,
    healthy_after: timedelta,
    tick: _Tick,
    *,
    frozen: bool,
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
            kept.append(replace(_stop(finding), stale=True))
        else:
            clear = _go_on(finding.clear, hearing.places[finding.place].stamp, tick)
            following = replace(finding, stale=False, clear_since=finding.clear_since or gone, clear=clear)
            (cleared if clear.reaches(healthy_after) else kept).append(following)
    return kept, cleared


def _said_again(finding: Finding, statement: Statement) -> Finding:
    message = finding.message if same_text(finding.message, statement.message) else statement.message
    return replace(finding, message=message, stale=False, clear_since=None, clear=NOTHING_ANSWERED)


def _go_on(answered: Answered, stamp: datetime, tick: _Tick) -> Answered:
    return answered.go_on(stamp, monotonic=tick.monotonic, longest_gap=tick.longest_gap)


def _is_clean(hearing: Statements, place: Place) -> bool:
    """Tell whether a place speaks of the volume and has nothing against it."""
    heard = hearing.places.get(place)
    return heard is not None and not heard.said and heard.clear_at is not None


def _follow_pending(
    pending: Iterable[Pending], hearing: Statements, confirmed: frozenset[Place], tick: _Tick
) -> list[Pending]:
    """Return what still waits.

    A source that goes on saying something adverse lets all that it said wait on, in whatever words it says it now. A
    place that is confirmed already needs that no more: only what it says now waits. Silence, an answer without a
    condition and an ignored text stop the clock.
    """
    following: list[Pending] = []
    for wait in pending:
        place = hearing.places.get(wait.place)
        if place is not None and place.said:
            if wait.identity in place.said or wait.place not in confirmed:
                following.append(_waits_on(wait, place, tick))
        elif place is None or place.gone_at(wait.identity, wait.message) is None:
            following.append(replace(wait, waited=wait.waited.stopped()))
    return following


def _waits_on(wait: Pending, place: PlaceStatements, tick: _Tick) -> Pending:
    waited = _go_on(wait.waited, place.stamp, tick)
    statement = place.said.get(wait.identity)
    if statement is None:
        return replace(wait, waited=waited)
    message = wait.message if same_text(wait.message, statement.message) else statement.message
    return replace(wait, waited=waited, message=message, after=statement.after)


def _take_up(
    pending: list[Pending], findings: Sequence[Finding], hearing: Statements, tick: _Tick
) -> list[Pending]:
    """Add what is said for the first time, the worst first, and no more than a record can hold."""
    held = {wait.identity for wait in pending} | {finding.identity for finding in findings}
    new = [
        (identity, statement, place.stamp)
        for place in hearing.places.values()
        for identity, statement in place.said.items()
        if identity not in held
    ]
    for identity, statement, stamp in sorted(new, key=lambda found: order(found[0])):
        # A worse one always finds room; so there are at most 16 of each severity.
        rank = severity(identity.status)
        if sum(severity(other.status) >= rank for other in held) < MOST_CONDITIONS:
            held.add(identity)
            pending.append(_pending(identity, statement, stamp, tick))
    return pending


def _pending(identity: Identity, statement: Statement, stamp: datetime, tick: _Tick) -> Pending:
    return Pending(
        source=identity.source,
        status=identity.status,
        reason=identity.reason,
        message=statement.message,
        since=statement.first,
        node=identity.node,
        via=statement.via,
        after=statement.after,
        waited=_go_on(Answered(statement.credit.total_seconds()), stamp, tick),
    )


def _confirm(
    pending: Iterable[Pending],
    findings: Sequence[Finding],
    hearing: Statements,
    places: frozenset[Place],
    episodes: Mapping[Identity, int],
    now: datetime,
) -> tuple[list[Pending], list[Finding], frozenset[Place]]:
    """Return what still waits, what is confirmed now, and the places that are confirmed.

    What was said for its own delay is confirmed. A place that said anything adverse for the delay of something it
    said is confirmed as well: with the worst that it says now, unless it has a finding that is as bad.
    """
    waiting = sorted(pending, key=_worst_first)
    ripe = [wait for wait in waiting if wait.waited.reaches(wait.after)]
    began = _began(waiting)
    found = {
        wait.identity: _finding(wait, statement, wait.since, episodes, now)
        for wait in ripe
        if (statement := _statement(hearing, wait)) is not None
    }
    # What is confirmed without any wait, a loss of data, says nothing of how long the place has been in trouble.
    places |= {wait.place for wait in ripe if wait.after and hearing.says_anything(wait.place)}
    for place in sorted(places):
        if not hearing.says_anything(place):
            continue
        identity, statement = hearing.worst_of(place)
        known = [one for one in (*findings, *found.values()) if one.place == place]
        if all(severity(one.status) < severity(identity.status) for one in known):
            own = next((wait for wait in waiting if wait.identity == identity), None)
            new = own or _pending_now(identity, statement)
            found[identity] = _finding(new, statement, began.get(place, new.since), episodes, now)
    left = [
        wait
        for wait in waiting
        if wait.identity not in found and (wait.place not in places or _statement(hearing, wait) is not None)
    ]
    return left, list(found.values()), places


def _began(waiting: Iterable[Pending]) -> dict[Place, datetime]:
    """Return since when each place has been saying something adverse that is not confirmed."""
    began: dict[Place, datetime] = {}
    for wait in waiting:
        began[wait.place] = min(wait.since, began.get(wait.place, wait.since))
    return began


def _pending_now(identity: Identity, statement: Statement) -> Pending:
    """Return a statement that found no room among those that wait."""
    source, node, status, reason = identity
    return Pending(source, status, reason, statement.message, statement.first, node, statement.via)


def _finding(
    wait: Pending, statement: Statement, since: datetime, episodes: Mapping[Identity, int], now: datetime
) -> Finding:
    return Finding(
        source=wait.source,
        status=wait.status,
        reason=wait.reason,
        message=statement.message,
        since=since,
        confirmed=now,
        node=wait.node,
        via=wait.via,
        episode=episodes.get(wait.identity, 0) + 1,
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


def _statement(hearing: Statements, item: Finding | Pending) -> Statement | None:
    place = hearing.places.get(item.place)
    return place.said.get(item.identity) if place else None


def _gone_at(hearing: Statements, item: Finding | Pending) -> datetime | None:
    place = hearing.places.get(item.place)
    return place.gone_at(item.identity, item.message) if place else None


def _worst_first(item: Finding | Pending) -> tuple[int, str, str, str, str]:
    return order(item.identity)
