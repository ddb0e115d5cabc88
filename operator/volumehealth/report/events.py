"""Events on claims and on the Pods that use them.

Level-triggered: each check says which findings there are; what people were not told of yet is told, and what they
were told of long ago is told again by raising the same Event's count.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import ClaimHealth, Finding, Identity, Transition, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.report import messages
from volumehealth.report.eventobjects import About, EventDraft, EventSink, EventState
from volumehealth.report.picture import Picture
from volumehealth.report.priorities import Priority
from volumehealth.report.problems import Group, group_of

_MANY = 20
"""From this many claims on, if they are half of a driver's, a recovery is told on the PVCs only."""
_HOLD = timedelta(seconds=10)
"""How long a record waits for its claim's Event, so that one write tells both."""


@dataclass(eq=False, slots=True)
class _Notification:
    """What is known of one Event object.

    Attributes:
        seen: what it says; None if that is not known (after a restart).
        first: when people were first told; None if not yet.
        last: when they were last told.
        opened: since when a write is on its way; None if none is.
    """

    seen: EventState | None = None
    first: datetime | None = None
    last: datetime | None = None
    opened: datetime | None = None

    def due(self, now: datetime, remind_every: timedelta) -> bool:
        """Tell whether it is time to write."""
        return self.opened is None and (self.last is None or now - self.last >= remind_every)


@dataclass(eq=False, slots=True)
class _Told:
    """What was told of one episode of a finding: on the claim, and on each Pod by uid."""

    claim: _Notification
    pods: dict[str, _Notification] = field(default_factory=dict)
    wide: bool = False


_Episode = tuple[str, Identity, int]
"""The claim's uid, the finding's identity, which episode of it."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was told of a claim's findings as of one health of it; `episodes` also has those that are just over."""

    health: ClaimHealth
    findings: tuple[tuple[Finding, _Told], ...]
    episodes: dict[_Episode, _Told]


class EventWriter:
    """Tells PVC and Pod readers of findings. One for the process, whichever policies hold the claims.

    Args:
        sink: makes Events be there.
        clock: for timestamps.
        pods_of: the Pods that use a claim.
        on_told: called when a claim's Event was written, so that its record can say so.
    """

    def __init__(
        self,
        sink: EventSink,
        *,
        clock: Clock,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        on_told: Callable[[ClaimRef], None],
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._pods_of = pods_of
        self._on_told = on_told
        self._told: dict[ClaimRef, _Kept] = {}
        self._holders: dict[ClaimRef, str] = {}
        self._closing: dict[ClaimRef, datetime] = {}

    def tell(self, picture: Picture, wide: Collection[Group]) -> Iterator[None]:
        """Tell what a check found and what it found to be over, claim by claim.

        Args:
            picture: of a check; without a judgement nothing is told.
            wide: driver-wide problems: their Pod events are left out and their PVC events paced.

        Yields:
            Wherever others may have a turn.
        """
        if picture.judgement is None:
            return
        for claim, health in _unhealthy(picture):
            self._holders[claim.ref] = picture.policy.name
            for finding, told in self._keep(claim, health):
                told.wide = group_of(claim.driver, finding) in wide
                self._tell(claim, finding, told, picture)
            yield
        cleared = [turn for turn in picture.judgement.transitions if turn.kind is TransitionKind.RECOVERED]
        together = _together(cleared, picture)
        for turn in cleared:
            gone_well = picture.claims.get(turn.claim)
            if gone_well is not None:
                self._tell_cleared(gone_well, turn, picture, paced=gone_well.driver in together)
            yield
        self._drop_healthy(picture)

    def first_told(self, claim: ClaimRef, uid: str, finding: Finding) -> datetime | None:
        """Say when people were first told of this finding; None if not yet."""
        told = self._episodes(claim).get(_episode(uid, finding))
        return told.claim.first if told is not None else finding.last_notified_at

    def unsettled(self, claim: ClaimRef) -> bool:
        """Tell whether the claim's own Event was queued just now and is not written yet."""
        now = self._clock.now()
        lines = (told.claim.opened for told in self._episodes(claim).values() if not told.wide)
        return any(
            opened is not None and now - opened < _HOLD for opened in (*lines, self._closing.get(claim))
        )

    def forget(self, policy: str) -> None:
        """A policy is gone: forget what was told of its claims, and tell nobody."""
        for claim in [claim for claim, holder in self._holders.items() if holder == policy]:
            self._drop(claim)

    def _keep(self, claim: Claim, health: ClaimHealth) -> tuple[tuple[Finding, _Told], ...]:
        """Bring what is remembered of a claim in line with its findings, and return it with them."""
        before = self._told.get(claim.ref)
        if before is not None and before.health is health:
            return before.findings
        episodes = {
            episode: told for episode, told in self._episodes(claim.ref).items() if episode[0] == health.uid
        }
        findings = []
        for finding in health.findings:
            line = _Notification(first=finding.last_notified_at, last=finding.last_notified_at)
            findings.append((finding, episodes.setdefault(_episode(health.uid, finding), _Told(line))))
        self._told[claim.ref] = _Kept(health, tuple(findings), episodes)
        return tuple(findings)

    def _episodes(self, claim: ClaimRef) -> dict[_Episode, _Told]:
        kept = self._told.get(claim)
        return kept.episodes if kept is not None else {}

    def _tell(self, claim: Claim, finding: Finding, told: _Told, picture: Picture) -> None:
        users = tuple(_users(self._pods_of(claim.ref), finding))
        remind_every = picture.policy.spec.events.remind_every
        if told.claim.due(picture.now, remind_every):
            notice = _found_on_claim(claim, finding, users)
            reminder = told.claim.last is not None
            self._write(
                picture, claim.ref, told.claim, notice, Priority.CLAIM_EVENT, paced=told.wide or reminder
            )
        if told.wide:
            return
        for uid in told.pods.keys() - {pod.uid for pod in users}:
            del told.pods[uid]
        for pod in users:
            line = told.pods.setdefault(pod.uid, _Notification())
            if line.due(picture.now, remind_every):
                notice = _found_on_pod(claim, finding, pod)
                self._write(picture, None, line, notice, Priority.POD_EVENT, paced=line.last is not None)

    def _write(
        self,
        picture: Picture,
        claim: ClaimRef | None,
        line: _Notification,
        notice: EventDraft,
        priority: Priority,
        *,
        paced: bool,
    ) -> None:
        def on_seen(seen: EventState | None) -> None:
            now = self._clock.now()
            line.opened, line.seen = None, seen
            line.last = seen.last if seen is not None else now
            line.first = line.first or line.last
            if claim is not None:
                self._on_told(claim)

        accepted = self._sink.ensure(
            notice,
            policy=picture.policy.name,
            seen=line.seen,
            older_than=picture.policy.spec.events.remind_every,
            priority=priority,
            on_seen=on_seen,
            paced=paced,
        )
        line.opened = self._clock.now() if accepted else None

    def _tell_cleared(self, claim: Claim, turn: Transition, picture: Picture, *, paced: bool) -> None:
        health = picture.judgement.healths.get(claim.ref) if picture.judgement is not None else None
        told = self._episodes(claim.ref).pop(_episode(turn.uid, turn.finding), None)
        remaining = len(health.findings) if health is not None else 0
        self._closing[claim.ref] = picture.now

        def on_seen(_: EventState | None) -> None:
            self._closing.pop(claim.ref, None)
            self._on_told(claim.ref)

        abouts = [_about_claim(claim)]
        if not paced and not (told is not None and told.wide):
            abouts.extend(_about_pod(pod) for pod in _users(self._pods_of(claim.ref), turn.finding))
        for about in abouts:
            on_claim = about.kind == "PersistentVolumeClaim"
            self._sink.ensure(
                _cleared(about, claim, turn, remaining),
                policy=picture.policy.name,
                seen=None,
                older_than=timedelta.max,
                priority=Priority.CLAIM_EVENT if on_claim else Priority.POD_EVENT,
                on_seen=on_seen if on_claim else _nothing,
                paced=paced,
            )

    def _drop_healthy(self, picture: Picture) -> None:
        """Forget claims that this policy holds no more or that have no finding left."""
        healths = picture.judgement.healths if picture.judgement is not None else {}
        for claim, holder in list(self._holders.items()):
            health = healths.get(claim)
            if holder == picture.policy.name and (health is None or not health.findings):
                self._drop(claim)

    def _drop(self, claim: ClaimRef) -> None:
        self._holders.pop(claim, None)
        self._told.pop(claim, None)


def _unhealthy(picture: Picture) -> Iterator[tuple[Claim, ClaimHealth]]:
    if picture.judgement is None:
        return
    for ref, health in picture.judgement.healths.items():
        claim = picture.claims.get(ref) if health.findings else None
        if claim is not None and claim.uid == health.uid:
            yield claim, health


def _episode(uid: str, finding: Finding) -> _Episode:
    return (uid, finding.identity, finding.episode)


def _users(pods: Iterable[Pod], finding: Finding) -> Iterator[Pod]:
    """A controller's finding concerns every Pod that runs or will run; a node's, those on that node."""
    return (pod for pod in pods if not pod.finished and (not finding.node or pod.node == finding.node))


def _together(cleared: Sequence[Transition], picture: Picture) -> frozenset[str]:
    """Return the drivers of which so many claims recovered at once that it is one story, not many."""
    drivers = Counter(
        claim.driver for turn in cleared if (claim := picture.claims.get(turn.claim)) is not None
    )
    counts = picture.judgement.drivers if picture.judgement is not None else {}
    return frozenset(
        driver
        for driver, number in drivers.items()
        if driver in counts and number >= _MANY and 2 * number >= counts[driver].claims
    )


def _found_on_claim(claim: Claim, finding: Finding, users: Sequence[Pod]) -> EventDraft:
    return EventDraft(
        _about_claim(claim),
        messages.event_reason(TransitionKind.FOUND, finding),
        _identity(finding),
        lambda: messages.found_on_claim(finding, claim.driver, claim.ref, users),
        TransitionKind.FOUND,
    )


def _found_on_pod(claim: Claim, finding: Finding, pod: Pod) -> EventDraft:
    return EventDraft(
        _about_pod(pod),
        messages.event_reason(TransitionKind.FOUND, finding),
        f"{claim.uid}|{_identity(finding)}",
        lambda: messages.found_on_pod(finding, claim.driver, claim.ref),
        TransitionKind.FOUND,
    )


def _cleared(about: About, claim: Claim, turn: Transition, remaining: int) -> EventDraft:
    return EventDraft(
        about,
        messages.event_reason(TransitionKind.RECOVERED, turn.finding),
        f"{claim.uid}|{_identity(turn.finding)}",
        lambda: messages.cleared(turn.finding, claim.ref, at=turn.time, remaining=remaining),
        TransitionKind.RECOVERED,
    )


def _identity(finding: Finding) -> str:
    return "|".join((*finding.identity, str(finding.episode)))


def _about_claim(claim: Claim) -> About:
    return About("PersistentVolumeClaim", claim.ref.namespace, claim.ref.name, claim.uid)


def _about_pod(pod: Pod) -> About:
    return About("Pod", pod.namespace, pod.name, pod.uid)


def _nothing(_: EventState | None) -> None:
    """Nobody waits for this Event."""
