"""Events on claims and on the Pods that use them.

Level-triggered: each check says which findings there are, and the outbox says which recoveries people were not told
of yet. What was not told is told, once the claim's record shows it; what was told long ago is told again by raising
the same Event's count.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from volumehealth.judge.problem import Group
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import ClaimHealth, Finding, Identity, Transition, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps
from volumehealth.report.agenda import Agenda
from volumehealth.report.eventobjects import (
    About,
    EventDraft,
    EventSink,
    EventState,
    Receipt,
    event_reason,
    found_on_claim,
    found_on_pod,
    recovered,
)
from volumehealth.report.outbox import Due, Edge, Episode, Outbox, StoredRecord, episode_of
from volumehealth.report.output import Output
from volumehealth.report.priorities import Priority
from volumehealth.report.problems import group_of, wide_groups

log = logging.getLogger(__name__)

OUTPUT = "Events"
"""The name of this output in the outbox."""
_MANY = 20
"""From this many claims on, if they are half of a driver's, a recovery is told on the PVCs only."""
_SET_BACK = timedelta(minutes=1)
"""By so much clocks may differ; a longer wait for a reminder would outlast the Event."""
_PODS = 10
"""So many Pods are named in a record as still to be told; of more, all."""


@dataclass(eq=False, slots=True)
class _Notification:
    """What is known of one Event object.

    Attributes:
        seen: what it says; None if that is not known (after a restart).
        last: when people were last told; None if not yet.
        open: a write is on its way.
        dropped: nobody wants it any more.
    """

    seen: EventState | None = None
    last: datetime | None = None
    open: bool = False
    dropped: bool = False

    def due(self, now: datetime, remind_every: timedelta) -> bool:
        """Tell whether it is time to write; also if it was told in the future: a clock was set back since."""
        if self.open:
            return False
        return self.last is None or now - self.last >= remind_every or self.last - now > _SET_BACK


@dataclass(eq=False, slots=True)
class _Told:
    """What was told of one episode of a finding: on the claim, and on each Pod by uid."""

    claim: _Notification
    pods: dict[str, _Notification] = field(default_factory=dict)
    wide: bool = False

    def drop(self) -> None:
        """Take back what is on its way."""
        for line in (self.claim, *self.pods.values()):
            line.dropped = True

    def settled(self) -> "_Told":
        """Return what people were told, and nothing of what is on its way."""
        lines = {uid: _Notification(line.seen, line.last) for uid, line in self.pods.items()}
        return _Told(_Notification(self.claim.seen, self.claim.last), lines, self.wide)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was told of a claim's findings as of one health of it; `episodes` also has those that are just over."""

    health: ClaimHealth
    findings: tuple[tuple[Finding, Episode, _Told], ...]
    episodes: dict[Episode, _Told]


@dataclass(eq=False, slots=True)
class _Closing:
    """What was told of an episode's end; `abnormal` is what was told of its beginning."""

    abnormal: _Told
    claim: _Notification = field(default_factory=_Notification)
    pods: dict[str, _Notification] = field(default_factory=dict)

    def drop(self) -> None:
        """Take back what is on its way."""
        self.abnormal.drop()
        for line in (self.claim, *self.pods.values()):
            line.dropped = True


@dataclass(eq=False, slots=True)
class _Rest:
    """What is told of a policy's settled claims holds on to: how often, and which groups of them as one story.

    Attributes:
        oldest, newest: when people were last told of any of them; None if none is settled.
    """

    remind_every: timedelta
    wide: frozenset[Group]
    oldest: datetime | None = None
    newest: datetime | None = None

    def goes_on(self, now: datetime, remind_every: timedelta, wide: Collection[Group]) -> bool:
        """Tell whether none of them is due, see `_Notification.due`, and all are told as before."""
        if self.remind_every != remind_every or self.wide != wide:
            return False
        if self.oldest is None or self.newest is None:
            return True
        return now - self.oldest < remind_every and self.newest - now <= _SET_BACK

    def take(self, told: datetime) -> None:
        """Take another one."""
        self.oldest = min(self.oldest or told, told)
        self.newest = max(self.newest or told, told)


class EventWriter(Output):
    """Tells PVC and Pod readers of findings. One for the process, whichever policies hold the claims.

    Args:
        sink: makes Events be there.
        clock: for timestamps.
        pods_of: the Pods that use a claim.
        outbox: what is owed, and what the records show already.
        on_error: told the output's name when one object could not be handled.
    """

    name = OUTPUT

    def __init__(
        self,
        sink: EventSink,
        *,
        clock: Clock,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        outbox: Outbox,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._pods_of = pods_of
        self._outbox = outbox
        self._on_error = on_error
        self._told: dict[ClaimRef, _Kept] = {}
        self._left: dict[ClaimRef, dict[Episode, _Told]] = {}
        self._closings: dict[ClaimRef, dict[Episode, _Closing]] = {}
        self._holders: dict[ClaimRef, str] = {}
        self._newest: dict[str, CheckResult] = {}
        self._failed: set[ClaimRef] = set()
        self._agenda = Agenda()
        self._rests: dict[str, _Rest] = {}
        outbox.join(self, self._recorded)

    def dues(self, result: CheckResult) -> Iterator[tuple[ClaimRef, Due]]:
        """Return the recoveries of a check; that a finding has come needs no due, its record says whether it was told."""
        judgement = result.judgement
        if judgement is None:
            return
        cleared = [turn for turn in judgement.transitions if turn.kind is TransitionKind.RECOVERED]
        together = _together(cleared, result)
        for turn in cleared:
            claim = result.claims.get(turn.claim)
            if claim is not None:
                self._holders[turn.claim] = result.policy.name
                yield turn.claim, self._due(claim, turn, result, on_pods=claim.driver not in together)

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Tell what a check found and what it found to be over, claim by claim.

        Args:
            result: of a check; without a judgement nothing is told.

        Yields:
            Wherever others may have a turn.
        """
        judgement = result.judgement
        if judgement is None:
            return
        self._newest[result.policy.name] = result
        wide = wide_groups(judgement)
        rest = self._rest(result, frozenset(wide))
        healthy = set()
        for ref in self._agenda.of(result.policy.name, judgement.healths):
            claim, health = result.claims.get(ref), judgement.healths.get(ref)
            if claim is None or health is None or not health.findings or claim.uid != health.uid:
                healthy.add(ref)
                continue
            self._holders[ref] = result.policy.name
            self._guarded(ref, partial(self._look_at, claim, health, result, wide, rest))
            yield
        for ref in dict.fromkeys(ref for ref, _ in self._outbox.dues_of(OUTPUT)):
            if ref in judgement.healths:
                self._holders[ref] = result.policy.name
            if self._holders.get(ref) == result.policy.name:
                self._tell_dues(ref, result)
                yield
        for ref in healthy | self._closings.keys():
            self._drop_healthy(ref, result)
            yield

    def look_again(self, claims: Collection[ClaimRef] | None) -> None:
        """Look again at what is to be told of these claims; None means all."""
        self._agenda.look_again(claims)

    def last_notified(self, claim: ClaimRef, uid: str, finding: Finding) -> datetime | None:
        """Say when people were last told of this finding; None if not yet."""
        told = self._episodes(claim).get(episode_of(uid, finding))
        return told.claim.last if told is not None else finding.last_notified_at

    def forget(self, policy: Policy) -> Steps[None]:
        """A policy is gone: forget what was told of its claims, take back what waits, and tell nobody.

        What is owed goes with the claims' records: to the policy that holds them next, or away.
        """
        self._newest.pop(policy.name, None)
        self._rests.pop(policy.name, None)
        self._agenda.forget(policy.name)
        for claim in [claim for claim, holder in self._holders.items() if holder == policy.name]:
            if self._holders.get(claim) == policy.name:
                self._leave(claim)
            yield

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policies: Collection[str]) -> None:
        """Forget what was told of claims that no policy holds, once their records are gone."""
        for ref in self._left.keys() - records.keys():
            del self._left[ref]

    # ---- findings ----

    def _rest(self, result: CheckResult, wide: frozenset[Group]) -> _Rest:
        """Return what holds of the policy's settled claims; if it does not hold any more, all are looked at again."""
        name, remind_every = result.policy.name, result.policy.spec.events.remind_every
        rest = self._rests.get(name)
        if rest is None or not rest.goes_on(result.now, remind_every, wide):
            rest = self._rests[name] = _Rest(remind_every, wide)
            self._agenda.look_again(None, policy=name)
        return rest

    def _look_at(
        self, claim: Claim, health: ClaimHealth, result: CheckResult, wide: Collection[Group], rest: _Rest
    ) -> None:
        """Tell what is to be told of a claim, and settle it if that was told already."""
        self._tell_findings(claim, health, result, wide)
        lines = self._told_of(claim.ref, result)
        if lines and not self._closings.get(claim.ref) and not self._outbox.due_of(claim.ref, OUTPUT):
            for told in lines:
                rest.take(told)
            self._agenda.settle(result.policy.name, claim.ref)

    def _told_of(self, ref: ClaimRef, result: CheckResult) -> list[datetime]:
        """Return when everybody was last told of each finding of a claim; nothing if somebody is still to be."""
        moments = []
        for finding, _, told in self._told[ref].findings:
            if result.silence(ref, finding) is not None:
                return []
            users = () if told.wide else _users(self._pods_of(ref), finding)
            for line in (told.claim, *(told.pods.get(pod.uid) for pod in users)):
                if line is None or line.last is None or line.open:
                    return []
                moments.append(line.last)
        return moments

    def _tell_findings(
        self,
        claim: Claim,
        health: ClaimHealth,
        result: CheckResult,
        wide: Collection[Group],
        only: Identity | None = None,
    ) -> None:
        for finding, episode, told in self._keep(claim, health):
            if only not in (None, finding.identity):
                continue
            if result.silence(claim.ref, finding) is not None:
                continue  # it is told once the silence is over, if it still is so
            told.wide = group_of(claim.driver, finding) in wide
            if self._outbox.may_tell(claim.ref, Edge.ABNORMAL, episode):
                self._tell(claim, finding, episode, told, result)

    def _keep(self, claim: Claim, health: ClaimHealth) -> tuple[tuple[Finding, Episode, _Told], ...]:
        """Bring what is remembered of a claim in line with its findings, and return it with them."""
        before = self._told.get(claim.ref)
        if before is not None and before.health is health:
            return before.findings
        known = self._episodes(claim.ref)
        episodes: dict[Episode, _Told] = {}
        findings = []
        for finding in health.findings:
            episode = episode_of(health.uid, finding)
            told = known.get(episode) or _Told(_Notification(last=finding.last_notified_at))
            episodes[episode] = told
            findings.append((finding, episode, told))
        closing = self._closings.get(claim.ref, {})
        for episode in known.keys() - episodes.keys() - closing.keys():
            known[episode].drop()  # it ended without a recovery: there is nothing to tell of it any more
        self._told[claim.ref] = _Kept(health, tuple(findings), episodes)
        self._left.pop(claim.ref, None)
        return tuple(findings)

    def _episodes(self, claim: ClaimRef) -> dict[Episode, _Told]:
        kept = self._told.get(claim)
        return kept.episodes if kept is not None else self._left.get(claim, {})

    def _tell(
        self, claim: Claim, finding: Finding, episode: Episode, told: _Told, result: CheckResult
    ) -> None:
        remind_every = result.policy.spec.events.remind_every
        due = told.claim.due(result.now, remind_every)
        if told.wide and not due:
            return
        users = tuple(_users(self._pods_of(claim.ref), finding))
        if due and not self._waits(claim.ref, claim.uid, finding):
            draft = _found_on_claim(claim, finding, episode, users)
            paced = told.wide or told.claim.last is not None
            self._write(
                result,
                told.claim,
                draft,
                Priority.CLAIM_EVENT,
                partial(self._told_claim, claim.ref, finding.identity),
                paced=paced,
            )
        if told.wide:
            return
        for uid in told.pods.keys() - {pod.uid for pod in users}:
            del told.pods[uid]
        for pod in users:
            line = told.pods.setdefault(pod.uid, _Notification())
            if line.due(result.now, remind_every) and not self._waits(
                claim.ref, claim.uid, finding, pod=pod.name
            ):
                draft = _found_on_pod(claim, finding, episode, pod)
                paced = line.last is not None
                settled = partial(self._go_on, claim.ref, finding.identity)
                self._write(result, line, draft, Priority.POD_EVENT, settled, paced=paced)

    def _told_claim(self, ref: ClaimRef, identity: Identity) -> None:
        """People were told of a finding: its record should say so, and its end may have waited for that."""
        self._outbox.touch(ref)
        self._go_on(ref, identity)

    def _write(
        self,
        result: CheckResult,
        line: _Notification,
        draft: EventDraft,
        priority: Priority,
        settled: Callable[[], None],
        *,
        paced: bool,
    ) -> None:
        """Have an Event written; `settled` is called when people were told, or never can be."""

        def on_end(receipt: Receipt) -> None:
            line.open = False
            if receipt.settled:
                line.seen = receipt.state
                line.last = receipt.state.last if receipt.state is not None else self._clock.now()
                settled()

        line.open = True
        self._sink.ensure(
            draft,
            policy=result.policy.name,
            seen=line.seen,
            older_than=result.policy.spec.events.remind_every,
            priority=priority,
            on_end=on_end,
            paced=paced,
            wanted=lambda: not line.dropped and not self._is_silenced(draft, result),
        )

    def _is_silenced(self, draft: EventDraft, result: CheckResult) -> bool:
        """Tell whether a silence has begun since an Event was wanted: it may have waited for long."""
        return result.silences.of(draft.claim, draft.node, self._clock.now()) is not None

    # ---- recoveries ----

    def _due(self, claim: Claim, turn: Transition, result: CheckResult, *, on_pods: bool) -> Due:
        health = result.healths.get(claim.ref)
        episode = episode_of(turn.uid, turn.finding)
        told = self._episodes(claim.ref).get(episode) or _Told(
            _Notification(last=turn.finding.last_notified_at)
        )
        self._closings.setdefault(claim.ref, {})[episode] = _Closing(told)
        pods: list[str] = []
        if on_pods and not told.wide:
            pods = [pod.name for pod in _users(self._pods_of(claim.ref), turn.finding)]
        return Due(
            OUTPUT,
            Edge.NORMAL,
            turn.uid,
            replace(turn.finding, last_notified_at=told.claim.last),
            turn.time,
            pods=tuple(pods) if len(pods) <= _PODS else (),
            all_pods=len(pods) > _PODS,
            remaining=len(health.findings) if health is not None else 0,
        )

    def _tell_dues(self, ref: ClaimRef, result: CheckResult, only: Identity | None = None) -> None:
        """Tell what is owed about a claim at this moment: while others had a turn, some of it may have been told."""
        for due in self._outbox.due_of(ref, OUTPUT):
            if only not in (None, due.finding.identity):
                continue
            self._guarded(ref, partial(self._tell_due, ref, due, result))

    def _tell_due(self, ref: ClaimRef, due: Due, result: CheckResult) -> None:
        """Tell an episode's end, and its beginning to those who never heard of it."""
        claim = result.claims.get(ref)
        episode = episode_of(due.uid, due.finding)
        if claim is None or claim.uid != due.uid or not self._outbox.may_tell(ref, Edge.NORMAL, episode):
            return
        closings = self._closings.setdefault(ref, {})
        closing = closings.get(episode)
        resumed = closing is None
        if closing is None:
            closing = closings[episode] = _Closing(_Told(_Notification(last=due.finding.last_notified_at)))
        if result.silence(ref, due.finding) is not None:
            began = closing.abnormal.claim
            if began.last is None and not began.open:  # it began and ended within the silence
                self._outbox.cancel(ref, due)
            return  # else it waits for the end of the silence
        users = tuple(_users(self._pods_of(ref), due.finding))
        if due.claim and not self._waits(ref, due.uid, due.finding, due):
            began = closing.abnormal.claim
            if began.last is None:
                draft = _found_on_claim(claim, due.finding, episode, users)
                self._begin(ref, began, draft, due.finding, result)
            elif not closing.claim.open:
                paid = partial(self._outbox.pay, ref, due, claim=True)
                draft = _cleared(_about_claim(claim), claim, due, episode)
                paced = resumed or not (due.pods or due.all_pods)
                self._end(ref, closing.claim, draft, due.finding, paid, result, paced=paced)
        self._tell_due_pods(claim, due, closing, users, result)

    def _tell_due_pods(
        self, claim: Claim, due: Due, closing: _Closing, users: Sequence[Pod], result: CheckResult
    ) -> None:
        episode = episode_of(due.uid, due.finding)
        owed = [pod for pod in users if due.all_pods or pod.name in due.pods]
        for pod in owed:
            if self._waits(claim.ref, due.uid, due.finding, due, pod=pod.name):
                continue
            began = closing.abnormal.pods.setdefault(pod.uid, _Notification())
            line = closing.pods.setdefault(pod.uid, _Notification())
            if began.last is None:
                draft = _found_on_pod(claim, due.finding, episode, pod)
                self._begin(claim.ref, began, draft, due.finding, result)
            elif line.last is None and not line.open:
                draft = _cleared(_about_pod(pod), claim, due, episode)
                paid = self._pod_receipt(claim.ref, due, closing, pod, owed)
                self._end(claim.ref, line, draft, due.finding, paid, result)
        gone = frozenset(due.pods) - {pod.name for pod in users}
        if gone:
            self._outbox.pay(claim.ref, due, pods=gone)
        if due.all_pods and not owed:
            self._outbox.pay_all_pods(claim.ref, due)

    def _waits(
        self, ref: ClaimRef, uid: str, finding: Finding, before: Due | None = None, *, pod: str = ""
    ) -> bool:
        """Tell whether an earlier end of a finding is still to be told there; of a finding words go out in order.

        Args:
            ref: the claim.
            uid: of the claim.
            finding: what is to be told.
            before: the end that is to be told; None if the finding is there.
            pod: a Pod's name; empty for the claim itself.
        """
        for due in self._outbox.due_of(ref, OUTPUT):
            if before is not None and due.key == before.key:
                return False
            owed = (due.all_pods or pod in due.pods) if pod else due.claim
            if owed and due.uid == uid and due.finding.identity == finding.identity:
                return True
        return False

    def _begin(
        self, ref: ClaimRef, line: _Notification, draft: EventDraft, finding: Finding, result: CheckResult
    ) -> None:
        """Tell a beginning to who never heard of it; its end is told when that is settled."""
        if not line.open:
            on_pod = draft.about.kind == "Pod"
            priority = Priority.POD_EVENT if on_pod else Priority.CLAIM_EVENT
            settled = partial(self._go_on, ref, finding.identity)
            self._write(result, line, draft, priority, settled, paced=not on_pod)

    def _end(
        self,
        ref: ClaimRef,
        line: _Notification,
        draft: EventDraft,
        finding: Finding,
        paid: Callable[[], None],
        result: CheckResult,
        *,
        paced: bool = False,
    ) -> None:
        """Tell an end; what waits for that is told when it is settled."""

        def settled() -> None:
            paid()
            if ref in self._told:
                self._recorded(ref, finding.identity)

        priority = Priority.POD_EVENT if draft.about.kind == "Pod" else Priority.CLAIM_EVENT
        self._write(result, line, draft, priority, settled, paced=paced)

    def _go_on(self, ref: ClaimRef, identity: Identity) -> None:
        """A beginning was told: an end may have waited for that."""
        if any(due.finding.identity == identity for due in self._outbox.due_of(ref, OUTPUT)):
            self._recorded(ref, identity)

    def _pod_receipt(
        self, ref: ClaimRef, due: Due, closing: _Closing, pod: Pod, owed: Sequence[Pod]
    ) -> Callable[[], None]:
        """Return what takes the receipt of one Pod; where they are not named, the last one settles all."""

        def paid() -> None:
            if not due.all_pods:
                self._outbox.pay(ref, due, pods=(pod.name,))
            elif all(closing.pods[one.uid].last is not None for one in owed):
                self._outbox.pay_all_pods(ref, due)

        return paid

    # ---- both ----

    def _recorded(self, ref: ClaimRef, only: Identity | None = None) -> None:
        """The record shows a claim's newest turns: tell them now.

        Args:
            ref: the claim.
            only: those of this finding; a claim that is used on many nodes has many. None means all.
        """
        result = self._newest.get(self._holders.get(ref, ""))
        claim = result.claims.get(ref) if result is not None else None
        if result is None or result.judgement is None or claim is None:
            return
        health = result.judgement.healths.get(ref)
        if health is not None and health.findings and health.uid == claim.uid:
            wide = wide_groups(result.judgement)
            self._guarded(ref, partial(self._tell_findings, claim, health, result, wide, only))
        self._tell_dues(ref, result, only)

    def _guarded(self, ref: ClaimRef, step: Callable[[], None]) -> None:
        """Take a step for one claim; an error costs that claim only, is logged once and counted."""
        try:
            step()
        except Exception:
            self._on_error(OUTPUT)
            if ref not in self._failed:
                self._failed.add(ref)
                log.exception("a claim's Events cannot be written", extra={"claim": str(ref)})

    def _drop_healthy(self, claim: ClaimRef, result: CheckResult) -> None:
        """Forget a claim that this policy holds no more, or that has no finding left and of which nothing is owed."""
        health, owed = result.healths.get(claim), self._outbox.due_of(claim, OUTPUT)
        unhealthy = health is not None and bool(health.findings)
        ours = self._holders.get(claim) == result.policy.name
        if ours and (owed or unhealthy):
            self._forget_paid(claim, owed)
        if ours and owed and not unhealthy:
            self._told.pop(claim, None)
        if ours and not (owed or unhealthy):
            (self._leave if health is None else self._drop)(claim)
        if not unhealthy and not (ours and owed):
            self._agenda.settle(result.policy.name, claim)

    def _forget_paid(self, claim: ClaimRef, owed: Sequence[Due]) -> None:
        closings = self._closings.get(claim, {})
        open_ones = {episode_of(due.uid, due.finding) for due in owed}
        for episode in closings.keys() - open_ones:
            del closings[episode]
        if not closings:
            self._closings.pop(claim, None)

    def _leave(self, claim: ClaimRef) -> None:
        """Take back what waits; the policy that holds the claim next, or again, goes on from what people were told."""
        left = {episode: told.settled() for episode, told in self._episodes(claim).items()}
        self._drop(claim)
        if left:
            self._left[claim] = left

    def _drop(self, claim: ClaimRef) -> None:
        self._holders.pop(claim, None)
        self._failed.discard(claim)
        for told in self._episodes(claim).values():
            told.drop()
        for closing in self._closings.pop(claim, {}).values():
            closing.drop()
        self._told.pop(claim, None)
        self._left.pop(claim, None)


def _users(pods: Iterable[Pod], finding: Finding) -> Iterator[Pod]:
    """A controller's finding concerns every Pod that runs or will run; a node's, those on that node."""
    return (pod for pod in pods if not pod.finished and (not finding.node or pod.node == finding.node))


def _together(cleared: Sequence[Transition], result: CheckResult) -> frozenset[str]:
    """Return the drivers of which so many claims recovered at once that it is one story, not many."""
    refs = {turn.claim for turn in cleared}  # a claim may have findings on many nodes
    drivers = Counter(claim.driver for ref in refs if (claim := result.claims.get(ref)) is not None)
    counts = result.driver_counts
    return frozenset(
        driver
        for driver, number in drivers.items()
        if driver in counts and number >= _MANY and 2 * number >= counts[driver].claims
    )


def _found_on_claim(claim: Claim, finding: Finding, episode: Episode, users: Sequence[Pod]) -> EventDraft:
    return EventDraft(
        _about_claim(claim),
        event_reason(TransitionKind.FOUND, finding),
        episode.text,
        lambda: found_on_claim(finding, claim.driver, claim.ref, users),
        TransitionKind.FOUND,
        claim.ref,
        finding.node,
    )


def _found_on_pod(claim: Claim, finding: Finding, episode: Episode, pod: Pod) -> EventDraft:
    return EventDraft(
        _about_pod(pod),
        event_reason(TransitionKind.FOUND, finding),
        f"{claim.uid}|{episode.text}",
        lambda: found_on_pod(finding, claim.driver, claim.ref),
        TransitionKind.FOUND,
        claim.ref,
        finding.node,
    )


def _cleared(about: About, claim: Claim, due: Due, episode: Episode) -> EventDraft:
    return EventDraft(
        about,
        event_reason(TransitionKind.RECOVERED, due.finding),
        f"{claim.uid}|{episode.text}",
        lambda: recovered(due.finding, claim.ref, at=due.time, remaining=due.remaining),
        TransitionKind.RECOVERED,
        claim.ref,
        due.finding.node,
    )


def _about_claim(claim: Claim) -> About:
    return About("PersistentVolumeClaim", claim.ref.namespace, claim.ref.name, claim.uid)


def _about_pod(pod: Pod) -> About:
    return About("Pod", pod.namespace, pod.name, pod.uid)
