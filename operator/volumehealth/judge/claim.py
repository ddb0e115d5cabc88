"""What is confirmed of one claim: hysteresis, freezing, verdict, transitions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from volumehealth.judge.collect import (
    MOST_CONDITIONS,
    OriginStatements,
    Statement,
    Statements,
    could_answer,
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
    Basis,
    Change,
    ClaimHealth,
    Finding,
    Identity,
    Origins,
    Outcome,
    Pending,
    Source,
    Transition,
    TransitionKind,
    Verdict,
    severity,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import SilenceReason

_TURNS = 10
_EPISODES = 64
"""Identities whose past episodes are remembered; a driver that invents reasons must not fill the memory."""
_IGNORED = "a rule ignores it"
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
        fresh: how long a positive answer makes a claim Healthy while something adverse waits to be confirmed.
        clock_set: when it was noticed that this process's wall clock had been set; None if it never was.
    """

    unhealthy_after: timedelta
    healthy_after: timedelta
    rules: CompiledRules
    record_retention: timedelta
    longest_gap: timedelta = timedelta(minutes=15)
    longest_pause: timedelta = timedelta.max
    fresh: timedelta = timedelta.max
    clock_set: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is confirmed of one claim now.

    Attributes:
        health: what must be remembered; None if nothing is said against it and it has no past.
        verdict: exactly one of four.
        transitions: what people are to be told.
        unknown_reason, unknown_message: why the verdict is Unknown; else empty.
        basis: whose word makes it Healthy; None if it is not.
    """

    health: ClaimHealth | None
    verdict: Verdict
    transitions: tuple[Transition, ...] = ()
    unknown_reason: str = ""
    unknown_message: str = ""
    basis: Basis | None = None


class _Tick(NamedTuple):
    """The moment of a judgement, as clocks of answered time take it."""

    monotonic: float
    longest_gap: timedelta
    wall: datetime


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
    by_node: bool = False,
    origins: Origins | None = None,
) -> Judgement:
    """Judge one claim.

    Args:
        previous: what was remembered.
        answers: what every origin says now. Without a driver's answer and without `by_node` nothing here can say that
            the claim is healthy: it is Unmonitored unless something is said against it.
        ref: the claim.
        uid: of the claim; what was remembered of another uid is dropped.
        driver: of the claim's volume.
        settings: what its policy says about judging.
        now: the moment, by the wall clock: what people are shown, and the latest that anything remembered can be.
        monotonic: the moment in monotonic seconds, by which durations are counted; None if no clock was set meanwhile.
        stale_reason: why the cluster view must not be trusted; then nothing recovers and nothing is Healthy.
        before: the last verdict, where `previous` does not remember one.
        by_node: a node completed every required look at it; if none of them found anything, it is healthy.
        origins: tells of an origin that gave no answer whether it is clean, silent or ended; silent without this.
    """
    if previous is not None and previous.uid != uid:
        previous, before = None, Verdict.UNKNOWN
    if previous is None and not any(answer.outcome is Outcome.ADVERSE for answer in answers):
        return _unaccused(answers, stale_reason, by_node=by_node)
    past = not_after(previous, now) if previous is not None else ClaimHealth(uid, verdict=before)
    tick = _Tick(now.timestamp() if monotonic is None else monotonic, settings.longest_gap, now)
    stand_ins, states = _stand_ins(answers, past, origins, ref)
    hearing = hear(
        answers,
        stand_ins,
        driver=driver,
        rules=settings.rules,
        delay=settings.unhealthy_after,
        now=now,
        clock_set=settings.clock_set,
    )
    states |= _of_other_objects(past, hearing, origins, ref)
    known = frozenset(origin for origin in past.confirmed_origins if not hearing.is_clean(origin))
    following = _follow_pending(past.pending, hearing, states, known, tick)
    followed = _follow_findings(
        past.findings, following, hearing, {} if stale_reason else states, known, settings.healthy_after, tick,
        frozen=bool(stale_reason),
    )  # fmt: skip
    kept, cleared, closed = followed
    known -= _over_for_good(closed, kept, hearing)
    # What the rules call otherwise now has lasted already, also if it was confirmed without a wait.
    known |= {one for finding, _ in closed for one in finding.origins if hearing.renamed(one, finding)}
    pending = _take_up(following, kept, hearing, known, tick)
    waiting, confirmed, known = _confirm(pending, kept, hearing, known, past.episodes, now)
    confirmed = _since_before(confirmed, closed, hearing) if closed else confirmed
    said = [wait for wait in waiting if _statement(hearing, wait) is not None]
    findings = tuple(sorted((*kept, *confirmed), key=_worst_first))
    was = past.verdict if _positive_is_fresh(waiting, hearing, settings.fresh) else Verdict.UNKNOWN
    verdict, basis = _verdict(findings, said, hearing, was, stale_reason, by_node=by_node)
    reason, message = _why(verdict, said, hearing, stale_reason)
    over = bool(cleared or closed)
    health = ClaimHealth(
        uid=uid,
        findings=findings,
        pending=tuple(sorted(waiting, key=_worst_first)),
        confirmed_origins=known,
        verdict=verdict,
        episodes=_episodes(past.episodes, confirmed, findings),
        history=_history(past.history, cleared, closed, confirmed, now),
        recovered=None if findings else now if over else past.recovered,
        closed=not findings and (bool(closed) if over else past.closed),
        unknown_reason=reason,
        unknown_message=message,
        ignored=hearing.ignored,
    )
    health = _forget(health, settings.record_retention, now)

    def turns(kind: TransitionKind, those: Iterable[Finding]) -> Iterator[Transition]:
        return (Transition(kind, ref, uid, finding, now) for finding in those)

    return Judgement(
        _memorable(health, previous),
        verdict,
        (
            *turns(TransitionKind.RECOVERED, cleared),
            *turns(TransitionKind.CLOSED, [finding for finding, _ in closed]),
            *turns(TransitionKind.FOUND, confirmed),
        ),
        reason,
        message,
        basis,
    )


_States = dict[tuple[Origin, Identity], Answer]
"""By origin and statement: that it is silent about that, or will not speak of it any more."""


def _stand_ins(
    answers: Sequence[Answer], past: ClaimHealth, origins: Origins | None, ref: ClaimRef
) -> tuple[Sequence[Answer], _States]:
    """Return what origins are that said something before and gave no answer now, and apart what is not clean.

    An origin may be clean of one statement and silent about another one: each is about an object of its own.
    """
    spoke = {answer.origin for answer in answers}
    items: tuple[Finding | Pending, ...] = (*past.findings, *past.pending)
    missing: dict[tuple[Origin, Identity | None], str] = {
        (origin, item.identity): item.reason
        for item in items
        for origin in item.origins
        if origin not in spoke
    }
    missing |= {(origin, None): "" for origin in past.confirmed_origins if origin not in spoke}
    if origins is None or not missing:
        return (), {}
    told: dict[Origin, Answer] = {}
    states: _States = {}
    for (origin, identity), reason in missing.items():
        answer = origins.state_of(ref, origin, reason)
        if answer.outcome is Outcome.HEALTHY and identity is not None:
            told[origin] = answer
        elif answer.outcome is not Outcome.ENDED:
            told.setdefault(origin, answer)
        if answer.outcome is not Outcome.HEALTHY and identity is not None:
            states[origin, identity] = answer
    return tuple(told.values()), states


def _of_other_objects(
    past: ClaimHealth, hearing: Statements, origins: Origins | None, ref: ClaimRef
) -> _States:
    """Return what is not clean although its origin speaks: Kubernetes speaks of many objects.

    That a node has failed says nothing of the driver that is not registered there.
    """
    if origins is None:
        return {}
    states: _States = {}
    items: tuple[Finding | Pending, ...] = (*past.findings, *past.pending)
    for item in items:
        for origin in item.origins:
            if item.source is Source.KUBERNETES and origin in hearing.origins:
                answer = origins.state_of(ref, origin, item.reason)
                if answer.outcome is not Outcome.HEALTHY and hearing.said(item.identity) is None:
                    states[origin, item.identity] = answer
    return states


def unjudged(previous: ClaimHealth | None, uid: str, error: Exception) -> Judgement:
    """Return what becomes of a claim whose judging failed: what was found stays, stale, and nothing is told.

    Args:
        previous: what was remembered.
        uid: of the claim; what was remembered of another uid is dropped.
        error: what went wrong; shown as why the claim is Unknown.
    """
    reason = str(SilenceReason.JUDGING_FAILED)
    words = clean_message(f"{type(error).__name__}: {error}")
    if previous is None or previous.uid != uid:
        return Judgement(None, Verdict.UNKNOWN, unknown_reason=reason, unknown_message=words)
    past = stopped(previous)
    health = replace(
        past,
        findings=tuple(replace(finding, stale=True) for finding in past.findings),
        verdict=Verdict.UNHEALTHY if past.findings else Verdict.UNKNOWN,
        unknown_reason=reason,
        unknown_message=words,
    )
    return Judgement(
        _memorable(health, previous), health.verdict, unknown_reason=reason, unknown_message=words
    )


def _unaccused(answers: Sequence[Answer], stale_reason: str, *, by_node: bool) -> Judgement:
    """Judge a claim that nothing is said against and nothing is remembered of: there are many of these."""
    could = [answer for answer in answers if could_answer(answer)]
    basis = Basis.DRIVER if any(answer.outcome is Outcome.HEALTHY for answer in could) else None
    basis = basis or (Basis.NODE if by_node else None)
    if basis is not None and not stale_reason:
        return Judgement(None, Verdict.HEALTHY, basis=basis)
    if basis is not None:
        reason = str(SilenceReason.VIEW_STALE)
        return Judgement(None, Verdict.UNKNOWN, unknown_reason=reason, unknown_message=stale_reason)
    if not could:
        return Judgement(None, Verdict.UNMONITORED)
    silence = first_silence(could)
    return Judgement(None, Verdict.UNKNOWN, unknown_reason=silence.reason, unknown_message=silence.message)


def hand_over(health: ClaimHealth, policy_name: str, now: datetime) -> ClaimHealth:
    """Return what the next policy remembers: all of it and a line of history; nobody is told.

    Clocks of answered time stand until its first check: nobody looked in between.
    """
    turn = Change(now, f"handed over to policy {policy_name}")
    return replace(not_looked_at(health), history=(*health.history, turn)[-_TURNS:])


class Running(NamedTuple):
    """A delay of answered time that is running.

    Attributes:
        complete_at: from when on an answer completes it, in monotonic seconds.
        heard: when the newest answer that was taken up was given.
    """

    complete_at: float
    heard: datetime


def running(health: ClaimHealth, healthy_after: timedelta) -> Iterator[Running]:
    """Yield the delays that are running out: of what is not confirmed yet, and of what is not cleared yet."""
    waits = ((wait.waited, wait.after) for wait in health.pending)
    ends = ((finding.clear, healthy_after) for finding in health.findings)
    for answered, delay in chain(waits, ends):
        complete_at = answered.complete_at(delay)
        if complete_at is not None and answered.stamp is not None:
            yield Running(complete_at, answered.stamp)


def stopped(health: ClaimHealth) -> ClaimHealth:
    """Return what is remembered of a claim, with all clocks of answered time standing."""
    findings = tuple(_stop(finding) for finding in health.findings)
    pending = tuple(replace(wait, waited=wait.waited.stopped()) for wait in health.pending)
    if findings == health.findings and pending == health.pending:
        return health
    return replace(health, findings=findings, pending=pending)


def not_looked_at(health: ClaimHealth) -> ClaimHealth:
    """Return what is remembered of a claim that nobody looked at for a while.

    Its clocks stand, and that it was healthy then is no word about now.
    """
    known = stopped(health)
    return replace(known, verdict=Verdict.UNKNOWN) if known.verdict is Verdict.HEALTHY else known


def resumed(health: ClaimHealth) -> ClaimHealth:
    """Return what a process that was started anew goes on from: it knows of no answer yet.

    A finding that was about to be cleared is cleared after a whole `healthyAfter`, and its record keeps saying since
    when its source no longer says it; a place whose findings were all said still needs no new confirmation.
    """
    said = frozenset(
        origin
        for finding in health.findings
        if finding.clear_since is None and not finding.stale
        for origin in finding.origins
    )
    findings = tuple(replace(finding, clear=NOTHING_ANSWERED) for finding in health.findings)
    return replace(health, findings=findings, pending=(), confirmed_origins=said)


def not_after(health: ClaimHealth, now: datetime) -> ClaimHealth:
    """Return what is remembered of a claim with no time later than now; the same object if none is.

    A wall clock that was set back, and a record that somebody wrote, know times that have not come yet. In their place
    stands now as records say it.
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
    now = _shown(now)
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
        named=finding.named or (finding.since if finding.since > now else None),
        since=min(finding.since, now),
        confirmed=min(finding.confirmed, now),
        clear_since=_not_after(finding.clear_since, now),
        last_notified_at=_not_after(finding.last_notified_at, now),
    )


def _shown(moment: datetime) -> datetime:
    """Return a moment as records say it, in whole seconds: the next process orders findings as this one does."""
    return moment.replace(microsecond=0)


def _not_after(moment: datetime | None, now: datetime) -> datetime | None:
    return None if moment is None else min(moment, now)


def _stop(finding: Finding) -> Finding:
    return finding if finding.clear.mark is None else replace(finding, clear=finding.clear.stopped())


def _follow_findings(
    findings: Sequence[Finding],
    pending: Sequence[Pending],
    hearing: Statements,
    states: _States,
    known: frozenset[Origin],
    healthy_after: timedelta,
    tick: _Tick,
    *,
    frozen: bool,
) -> tuple[list[Finding], list[Finding], list[tuple[Finding, str]]]:
    """Return the findings that stay, as they are now, those that are cleared, and those that are closed and why."""
    kept: list[Finding] = []
    cleared: list[Finding] = []
    closed: list[tuple[Finding, str]] = []
    for finding in findings:
        statement = hearing.said(finding.identity)
        over = None if frozen else _over(finding, hearing, states, healthy_after, tick)
        if statement is not None:
            kept.append(_said_again(finding, statement, hearing.observers[finding.identity]))
        elif over is None:
            kept.append(replace(_stop(finding), stale=True))
        elif not over.ended and _goes_on_in_passing_words(
            finding, findings, pending, hearing, known, healthy_after
        ):
            kept.append(replace(finding, stale=False, clear_since=None, clear=NOTHING_ANSWERED))
        else:
            ending = bool(over.ended)
            if finding.ending is not ending and finding.clear != NOTHING_ANSWERED:
                # That nobody could be asked is no word that it is well, and the other way round.
                finding = replace(finding, clear_since=None, clear=NOTHING_ANSWERED)
            clear = _go_on(finding.clear, over.stamp, tick)
            since = finding.clear_since or min(over.since, tick.wall)
            following = replace(finding, stale=ending, ending=ending, clear_since=since, clear=clear)
            if not clear.reaches(over.delay):
                kept.append(following)
            elif over.ended:
                closed.append((following, over.ended))
            else:
                cleared.append(following)
    return kept, cleared, closed


def _goes_on_in_passing_words(
    finding: Finding,
    findings: Sequence[Finding],
    pending: Sequence[Pending],
    hearing: Statements,
    known: frozenset[Origin],
    healthy_after: timedelta,
) -> bool:
    """Tell whether the driver that said a finding says something as bad now, in words that do not last.

    A driver that puts a number into its reason says a new one in each answer. That is one fault, which is told once, and
    not a fault that recovers every few minutes beside a new one. Others have a fixed word for each fault.
    """
    as_bad = [
        (origin, identity, statement)
        for origin in finding.origins
        if origin.observer is Observer.DRIVER and (heard := hearing.origins.get(origin)) is not None
        for identity, statement in heard.said.items()
        if severity(identity.status) >= severity(finding.status)
    ]
    if not as_bad:
        return False
    found = {one.identity for one in findings}
    lasting = {
        (one.origin, one.identity) for one in pending if one.waited.reaches(min(one.after, healthy_after))
    }
    lasts = {
        origin
        for origin, identity, statement in as_bad
        if (
            # it is a finding
            identity in found
            # it becomes one now, or has been said for long enough to take the place of what is said no more
            or not statement.after
            or (origin, identity) in lasting
            # it is worse, of an origin that need not wait
            or (severity(identity.status) > severity(finding.status) and origin in known)
        )
    }
    return any(origin not in lasts for origin, *_ in as_bad)


def _over_for_good(
    closed: Iterable[tuple[Finding, str]], kept: Iterable[Finding], hearing: Statements
) -> frozenset[Origin]:
    """Return the origins of which all findings are closed: what they say if they come back must last anew."""
    left = {origin for finding in kept for origin in finding.origins}
    over = frozenset(origin for finding, _ in closed for origin in finding.origins) - left
    return frozenset(origin for origin in over if not hearing.says_anything(origin))


def _since_before(
    confirmed: Iterable[Finding], closed: Iterable[tuple[Finding, str]], hearing: Statements
) -> list[Finding]:
    """Let findings go on from those that the rules called otherwise: it is one fault, since when it is."""
    since: dict[Identity, datetime] = {}
    for finding, _ in closed:
        for origin in finding.origins:
            named = hearing.renamed(origin, finding)
            if named is not None:
                since[named] = min(finding.since, since.get(named, finding.since))
    return [replace(one, since=min(one.since, since.get(one.identity, one.since))) for one in confirmed]


class _Over(NamedTuple):
    """A statement that each of its origins has nothing to do with any more.

    Attributes:
        stamp: when that was said last by the one who was asked longest ago: what another goes on saying meanwhile is no
            second word of that one.
        since: when the last of them was first known to be over it.
        ended: why an origin cannot speak any more, or is not listened to; empty if each of them is clean.
        delay: how long it must be so.
    """

    stamp: datetime
    since: datetime
    ended: str
    delay: timedelta


def _over(
    finding: Finding, hearing: Statements, states: _States, healthy_after: timedelta, tick: _Tick
) -> _Over | None:
    """Return how a finding is over; None while any of its origins still says it, or is silent."""
    stamps, whys, delay = [], [], timedelta(0)
    for origin in finding.origins:
        state = states.get((origin, finding.identity))
        if state is not None and state.outcome is Outcome.ENDED:
            stamps.append(tick.wall)
            whys.append(state.message)
            delay = max(delay, healthy_after if state.delay is None else state.delay)
            continue
        if state is not None:
            return None
        heard = hearing.origins.get(origin)
        if heard is None or heard.gone_at(finding.identity, finding.message) is None:
            return None
        stamps.append(heard.stamp)
        if hearing.begun_to_ignore(origin, finding):
            whys.append(_IGNORED)
        elif (named := hearing.renamed(origin, finding)) is not None:
            whys.append(f"the rules call it {named.status}/{named.reason} now")
        else:
            delay = healthy_after
    return _Over(min(stamps), max(stamps), whys[0] if whys else "", delay)


def _said_again(finding: Finding, statement: Statement, observers: tuple[Observer, ...]) -> Finding:
    message = finding.message if same_text(finding.message, statement.message) else statement.message
    everyone = tuple(sorted({*finding.observers, *observers}))
    return replace(
        finding, message=message, observers=everyone, stale=False, clear_since=None, clear=NOTHING_ANSWERED
    )


def _go_on(answered: Answered, stamp: datetime, tick: _Tick) -> Answered:
    return answered.go_on(stamp, wall=tick.wall, monotonic=tick.monotonic, longest_gap=tick.longest_gap)


def _follow_pending(
    pending: Iterable[Pending],
    hearing: Statements,
    states: _States,
    confirmed: frozenset[Origin],
    tick: _Tick,
) -> list[Pending]:
    """Return what still waits.

    An origin that goes on saying something adverse lets all that it said wait on, in whatever words it says it now. One
    that is confirmed already needs that no more: only what it says now waits. Silence, an answer without a condition
    and an ignored text stop the clock.
    """
    following: list[Pending] = []
    for wait in pending:
        heard = hearing.origins.get(wait.origin)
        if heard is not None and heard.said:
            if wait.identity in heard.said or wait.origin not in confirmed:
                following.append(_waits_on(wait, heard, tick))
        elif (state := states.get((wait.origin, wait.identity))) and state.outcome is Outcome.ENDED:
            continue
        elif state is not None or heard is None or heard.gone_at(wait.identity, wait.message) is None:
            following.append(replace(wait, waited=wait.waited.stopped()))
    return following


def _waits_on(wait: Pending, place: OriginStatements, tick: _Tick) -> Pending:
    waited = _go_on(wait.waited, place.stamp, tick)
    statement = place.said.get(wait.identity)
    if statement is None:
        return replace(wait, waited=waited)
    message = wait.message if same_text(wait.message, statement.message) else statement.message
    return replace(wait, waited=waited, message=message, after=statement.after)


def _take_up(
    pending: list[Pending],
    findings: Sequence[Finding],
    hearing: Statements,
    known: frozenset[Origin],
    tick: _Tick,
) -> list[Pending]:
    """Add what is said for the first time, the worst first; of one place no more than a volume can have conditions.

    Each node is a place of its own: what is broken on one is not mended because it is mended on the others.
    A finding waits, too, if its origin was clean in between: that shows for how long the origin is adverse again.
    """
    confirmed = {finding.identity for finding in findings}
    waiting = {(wait.origin, wait.identity) for wait in pending}
    held = {wait.identity for wait in pending} | confirmed
    held_at: dict[tuple[Source, str], list[Identity]] = {}
    for identity in held:
        held_at.setdefault(_place(identity), []).append(identity)
    new = [
        (origin, identity)
        for origin, heard in hearing.origins.items()
        for identity, statement in heard.said.items()
        # it does not wait already
        if (origin, identity) not in waiting
        # it is no finding yet; or it must last again, because its origin was clean in between
        and (identity not in confirmed or (statement.after and origin not in known))
    ]
    for origin, identity in sorted(new, key=lambda found: (order(found[1]), found[0])):
        # A worse one always finds room; so there are at most 16 of each severity.
        rank, beside = severity(identity.status), held_at.setdefault(_place(identity), [])
        room = sum(severity(other.status) >= rank for other in beside) < MOST_CONDITIONS
        if room or identity in held:
            if identity not in held:
                beside.append(identity)
            held.add(identity)
            pending.append(_pending(origin, identity, hearing.origins[origin], tick))
    return pending


def _place(identity: Identity) -> tuple[Source, str]:
    return identity.source, identity.node


def _pending(origin: Origin, identity: Identity, heard: OriginStatements, tick: _Tick) -> Pending:
    statement = heard.said[identity]
    return Pending(
        source=identity.source,
        status=identity.status,
        reason=identity.reason,
        message=statement.message,
        since=statement.first,
        node=identity.node,
        via=statement.via,
        after=statement.after,
        waited=_go_on(Answered(statement.credit.total_seconds()), heard.stamp, tick),
        observer=origin.observer,
    )


def _confirm(
    pending: Iterable[Pending],
    findings: Sequence[Finding],
    hearing: Statements,
    known: frozenset[Origin],
    episodes: Mapping[Identity, int],
    now: datetime,
) -> tuple[list[Pending], list[Finding], frozenset[Origin]]:
    """Return what still waits, what is confirmed now, and the origins that are confirmed.

    What was said for its own delay is confirmed. An origin that said anything adverse for the delay of something it
    said is confirmed as well: with the worst that it says now, unless it has a finding that is as bad.
    """
    waiting = sorted(pending, key=_worst_first)
    ripe = [wait for wait in waiting if wait.waited.reaches(wait.after)]
    began = _began(waiting)
    has = {finding.identity: finding for finding in findings}
    found: dict[Identity, Finding] = {}
    for wait in ripe:
        if wait.identity not in found | has and _statement(hearing, wait) is not None:
            found[wait.identity] = _finding(wait.identity, wait.since, hearing, episodes, now)
    # What is confirmed without any wait, a loss of data, says nothing of how long its origin has been adverse.
    known |= {wait.origin for wait in ripe if wait.after and hearing.says_anything(wait.origin)}
    for origin in sorted(filter(hearing.says_anything, known)):
        identity, statement = hearing.worst_of(origin)
        bad = [one for one in (*findings, *found.values()) if origin in one.origins]
        if identity not in has and all(severity(one.status) < severity(identity.status) for one in bad):
            since = began.get(origin, statement.first)
            found[identity] = _finding(identity, since, hearing, episodes, now)
    left = [
        wait
        for wait in waiting
        if wait.identity not in found and (wait.origin not in known or _statement(hearing, wait) is not None)
    ]
    return left, list(found.values()), known


def _began(waiting: Iterable[Pending]) -> dict[Origin, datetime]:
    """Return since when each origin has been saying something adverse that is not confirmed."""
    began: dict[Origin, datetime] = {}
    for wait in waiting:
        began[wait.origin] = min(wait.since, began.get(wait.origin, wait.since))
    return began


def _finding(
    identity: Identity,
    since: datetime,
    hearing: Statements,
    episodes: Mapping[Identity, int],
    now: datetime,
) -> Finding:
    """Make a finding of what is said now."""
    statement = hearing.spoken(identity)
    return Finding(
        source=identity.source,
        status=identity.status,
        reason=identity.reason,
        message=statement.message,
        since=_shown(since),
        confirmed=_shown(now),
        node=identity.node,
        via=statement.via,
        episode=episodes.get(identity, 0) + 1,
        observers=hearing.observers[identity],
    )


def _verdict(
    findings: Sequence[Finding],
    said: Sequence[Pending],
    hearing: Statements,
    was: Verdict,
    stale_reason: str,
    *,
    by_node: bool,
) -> tuple[Verdict, Basis | None]:
    if findings:
        return Verdict.UNHEALTHY, None
    seen = by_node and not any(wait.source is Source.NODE for wait in said)
    basis = Basis.DRIVER if hearing.positive else Basis.NODE if seen else None
    if basis is None and was is Verdict.HEALTHY and _leaves_it_open(said, hearing):
        basis = Basis.NODE if by_node else Basis.DRIVER
    if basis is not None:
        return (Verdict.UNKNOWN, None) if stale_reason else (Verdict.HEALTHY, basis)
    return (Verdict.UNKNOWN if hearing.answerable else Verdict.UNMONITORED), None


def _positive_is_fresh(waiting: Iterable[Pending], hearing: Statements, fresh: timedelta) -> bool:
    """Tell whether a positive answer that came before all that is said now would still be fresh.

    An origin that goes on saying something adverse, in whatever words, has said nothing positive for as long.
    """
    return not any(wait.waited.reaches(fresh) for wait in waiting if hearing.says_anything(wait.origin))


def _leaves_it_open(said: Sequence[Pending], hearing: Statements) -> bool:
    """Tell whether something is said and not confirmed yet, by the driver or while nothing that should speak is silent.

    That leaves the verdict as it was. What API objects say is no reason to call a volume healthy.
    """
    return any(
        wait.observer is Observer.DRIVER or (wait.source is Source.NODE and hearing.silence is None)
        for wait in said
    )


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
    past: tuple[Change, ...],
    cleared: Sequence[Finding],
    closed: Sequence[tuple[Finding, str]],
    confirmed: Sequence[Finding],
    now: datetime,
) -> tuple[Change, ...]:
    gone = (Change(now, f"{finding.headline} recovered") for finding in cleared)
    ends = (Change(now, f"{finding.headline} closed: {_quote(why)}") for finding, why in closed)
    come = (Change(now, f"{finding.headline}: {_quote(finding.message)}") for finding in confirmed)
    return (*past, *gone, *ends, *come)[-_TURNS:]


def _quote(message: str) -> str:
    return message if len(message) <= _QUOTED else message[: _QUOTED - 1] + "…"


def _forget(health: ClaimHealth, retention: timedelta, now: datetime) -> ClaimHealth:
    """Drop the past of a claim that recovered long ago."""
    if health.recovered is None or now < health.recovered + retention:
        return health
    return replace(health, recovered=None, closed=False, episodes=MappingProxyType({}), history=())


def _memorable(health: ClaimHealth, previous: ClaimHealth | None) -> ClaimHealth | None:
    """Return what must be remembered; the very same object if nothing changed."""
    if not (health.findings or health.pending or health.recovered or health.ignored):
        return None
    return previous if health == previous else health


def _statement(hearing: Statements, wait: Pending) -> Statement | None:
    heard = hearing.origins.get(wait.origin)
    return heard.said.get(wait.identity) if heard else None


def _worst_first(item: Finding | Pending) -> tuple[int, str, str, str, str]:
    return order(item.identity)
