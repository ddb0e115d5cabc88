"""Judges policies' claims and the storage behind drivers, and keeps what must be remembered between checks.

Pure: time is an argument, and the same calls give the same results.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from volumehealth.judge.claim import (
    JudgeSettings,
    Running,
    hand_over,
    not_after,
    not_looked_at,
    resumed,
    running,
)
from volumehealth.judge.explain import explain_claim
from volumehealth.judge.policy import PolicyJudgement, answer_about, judge_policy
from volumehealth.judge.rules import CompiledRules, compile_rules
from volumehealth.judge.storage import (
    Backend,
    StorageEvidence,
    StorageJudgement,
    StorageProblem,
    judge_storage,
)
from volumehealth.model.cluster import Claim
from volumehealth.model.explanation import Explanation
from volumehealth.model.health import ClaimHealth, DriverAnswers, Evidence, TransitionKind, Verdict
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import HAND_OVER_SECONDS, Policy
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members, Selection
from volumehealth.policy.silence import Silences

Healths = Mapping[ClaimRef, ClaimHealth]
_LONGEST_GAP = timedelta(days=1)
"""Drivers that are slow, or have many volumes, answer seldom; checks in between see when they fall silent."""
_SET = 1.0
"""Seconds by which the wall clock differs from the monotonic one once it was set."""
_LONGEST_PAUSE = timedelta(minutes=3)
"""A policy that was not checked for longer (it was suspended, the process stood still) missed what was said."""
_NEW_FOR = timedelta(minutes=10)
"""For so long a claim that was not asked about yet is a new one."""
_LOOKED_AT = 100
"""Volumes with a delay that is complete, of which it is looked up at each answer whether it was about one of them."""


class _RunningOf(NamedTuple):
    """A delay that is running, and of which volume; storage has no handle."""

    clock: Running
    handle: str


@dataclass(slots=True)
class _Between:
    """What is remembered of a claim that left its policy, and that no policy holds now.

    Attributes:
        health: what was found of it.
        left: the uid of the policy.
        noticed: when that policy was checked for the first time without it, in monotonic seconds, which is when its record
            begins to be over; None if it was not.
    """

    health: ClaimHealth
    left: str
    noticed: float | None = None


@dataclass(slots=True)
class _Memory:
    """What is remembered of one policy.

    Attributes:
        healths: of its claims.
        last: the last judgement.
        steady: whether no claim came, changed, went or was handed over since then.
        rules: its compiled rules, and of which policy.
        pause: after how long without a check its last one of claims would have been too long ago.
        storage: of the storage behind drivers.
        storage_pause: the same for storage.
        storage_judged: when that was judged last, in monotonic seconds.
        touched: the claims that each of these touches.
        bad: volumes with findings, by driver; None until somebody asks after a check.
        running: delays that are running, by driver, the next to be complete first; None likewise.
        unasked: claims that were not asked about yet, and since when, in monotonic seconds; empty while they are many.
    """

    healths: dict[ClaimRef, ClaimHealth] = field(default_factory=dict)
    last: PolicyJudgement | None = None
    steady: bool = False
    rules: tuple[Policy, CompiledRules] | None = None
    pause: timedelta = timedelta(0)
    storage: Mapping[Backend, ClaimHealth] = field(default_factory=dict)
    storage_pause: timedelta = timedelta(0)
    storage_judged: float = -math.inf
    touched: Mapping[Backend, tuple[ClaimRef, ...]] = field(default_factory=dict)
    bad: Mapping[str, frozenset[str]] | None = None
    running: Mapping[str, Sequence[_RunningOf]] | None = None
    unasked: dict[ClaimRef, float] = field(default_factory=dict)

    def changed(self) -> None:
        """Forget what follows from the healths."""
        self.bad = self.running = None


class Judge:
    """Judges, and remembers by policy.

    Args:
        claims: the view's rows.
    """

    def __init__(self, claims: Mapping[ClaimRef, Claim]) -> None:
        self._claims = claims
        self._memories: dict[str, _Memory] = {}
        self._unowned: dict[ClaimRef, ClaimHealth] = {}
        self._between: dict[ClaimRef, _Between] = {}
        self._heirs: set[str] = set()
        self._ahead: float | None = None
        self._clock_set: datetime | None = None

    # ---- what an earlier process knew ----

    def resume(self, healths: Mapping[str, Healths], unowned: Healths, now: datetime) -> Steps[None]:
        """Take up what an earlier process wrote, one claim in each step.

        Args:
            healths: by the uid of the policy that owns the claim now.
            unowned: of claims that no usable policy owns now; the next policy that does goes on from there.
            now: the moment; no remembered time is after it.
        """
        for uid, of_policy in healths.items():
            self._memory(uid).healths = yield from _taken_up(of_policy, now)
        self._unowned = yield from _taken_up(unowned, now)

    def resume_storage(
        self, uid: str, storage: Mapping[Backend, tuple[ClaimHealth, tuple[ClaimRef, ...]]]
    ) -> None:
        """Take up what an earlier process confirmed of the storage behind drivers, for the policy with this uid."""
        memory = self._memory(uid)
        memory.storage = {backend: health for backend, (health, _) in storage.items()}
        memory.touched = {backend: claims for backend, (_, claims) in storage.items()}

    def keep_unowned(self, records: Container[ClaimRef]) -> None:
        """Forget what was remembered of claims that no policy owns, and that have no record any more."""
        self._unowned = {ref: health for ref, health in self._unowned.items() if ref in records}
        self._between = {
            ref: one for ref, one in self._between.items() if ref in records or one.noticed is not None
        }

    # ---- policies ----

    def follow(
        self,
        policies: Mapping[str, Policy],
        owner: Callable[[ClaimRef], str | None],
        now: datetime,
        monotonic: float,
    ) -> Steps[None]:
        """Let what is remembered go with its claim to the policy that owns it now, one claim in each step.

        Args:
            policies: all with a usable spec, by uid.
            owner: the uid of the policy that owns a claim; None if none does.
            now: the moment, for the history.
            monotonic: the moment, in monotonic seconds.
        """
        self._notice(now, monotonic)
        for uid, memory in list(self._memories.items()):
            memory.changed()
            memory.steady = False
            for ref in [ref for ref in memory.healths if owner(ref) != uid]:
                health, new_owner = memory.healths.pop(ref), owner(ref)
                if new_owner is not None:
                    moved = hand_over(health, policies[new_owner].name, now)
                    self._memory(new_owner).healths[ref] = moved
                    self._heirs.add(new_owner)
                elif uid in policies:
                    self._between[ref] = _Between(not_looked_at(health), uid)
                yield
        self._take_back(owner, monotonic)
        for ref in list(self._unowned):
            new_owner = owner(ref)
            if new_owner is not None:
                self._memory(new_owner).healths.setdefault(ref, self._unowned.pop(ref))
                self._heirs.add(new_owner)

    def take_heirs(self) -> frozenset[str]:
        """Return, once, the uids of the policies that came to hold claims of which something is remembered."""
        heirs, self._heirs = frozenset(self._heirs), set()
        return heirs

    def _take_back(self, owner: Callable[[ClaimRef], str | None], now: float) -> None:
        """Go on from what is remembered of claims that no policy held for a while, as long as their records stay."""
        for ref, one in list(self._between.items()):
            holder = owner(ref)
            late = one.noticed is not None and now - one.noticed > HAND_OVER_SECONDS
            if holder is not None and not late:
                self._memory(holder).healths.setdefault(ref, one.health)
                self._heirs.add(holder)
            if holder is not None or late:
                del self._between[ref]

    def forget(self, uid: str) -> None:
        """A policy is gone, and so are the records of the claims that it held last."""
        self._memories.pop(uid, None)
        self._between = {ref: one for ref, one in self._between.items() if one.left != uid}

    def healths(self, uid: str) -> Healths:
        """Return what is remembered of a policy's claims."""
        memory = self._memories.get(uid)
        return memory.healths if memory is not None else {}

    @property
    def unowned(self) -> Healths:
        """What an earlier process found of claims that no usable policy owns."""
        return self._unowned

    def to_confirm(self, uid: str) -> Mapping[str, frozenset[str]]:
        """Return a policy's volumes with live findings, by driver; looked for once after each check."""
        memory = self._memories.get(uid)
        if memory is None:
            return {}
        if memory.bad is None:
            bad: dict[str, set[str]] = {}
            for ref, health in memory.healths.items():
                claim = self._claims.get(ref) if health.findings else None
                if claim is not None:
                    bad.setdefault(claim.driver, set()).add(claim.handle)
            memory.bad = {driver: frozenset(handles) for driver, handles in bad.items()}
        return memory.bad

    # ---- delays that are running ----

    def next_complete(self, uid: str, monotonic: float) -> float:
        """Return when the next delay of a policy can be complete, in monotonic seconds; infinity if none is running."""
        ahead = (delays[_due(delays, monotonic) :] for delays in self._running(uid).values())
        return min((delays[0].clock.complete_at for delays in ahead if delays), default=math.inf)

    def waits_for(self, uid: str, driver: str, monotonic: float) -> bool:
        """Tell whether a delay of a policy's is due, which a driver's next answer may complete."""
        return _due(self._running(uid).get(driver, ()), monotonic) > 0

    def may_complete(self, uid: str, answers: DriverAnswers, monotonic: float) -> bool:
        """Tell whether a driver's answers may complete a delay of a policy's: one is due, and its volume was heard of."""
        delays = self._running(uid).get(answers.driver.name, ())
        due = delays[: min(_due(delays, monotonic), _LOOKED_AT)]
        return any(answer_about(one.handle, answers).at != one.clock.heard for one in due)

    def _running(self, uid: str) -> Mapping[str, Sequence[_RunningOf]]:
        memory = self._memories.get(uid)
        if memory is None or memory.rules is None:
            return {}
        if memory.running is None:
            found: dict[str, list[_RunningOf]] = {}
            for driver, handle, health in self._remembered(memory):
                for clock in running(health, memory.rules[0].spec.healthy_after):
                    found.setdefault(driver, []).append(_RunningOf(clock, handle))
            memory.running = {driver: sorted(delays) for driver, delays in found.items()}
        return memory.running

    def _remembered(self, memory: _Memory) -> Iterator[tuple[str, str, ClaimHealth]]:
        """Yield driver, volume and what is remembered of each claim, and of storage."""
        for ref, health in memory.healths.items():
            claim = self._claims.get(ref)
            if claim is not None:
                yield claim.driver, claim.handle, health
        for health in memory.storage.values():
            yield "", "", health

    # ---- checks ----

    def judge_claims(
        self,
        policy: Policy,
        members: Members,
        evidence: Evidence,
        *,
        now: datetime,
        monotonic: float,
    ) -> Steps[PolicyJudgement]:
        """Judge every claim of a policy, and remember what was found; see `judge_policy`."""
        self._notice(now, monotonic)
        memory, settings = self._memory(policy.uid), self._settings(policy)
        # A shorter interval that was set meanwhile does not make the last check one that was missed.
        pause, memory.pause = max(memory.pause, settings.longest_pause), settings.longest_pause
        judgement = yield from judge_policy(
            memory.healths,
            members,
            self._claims,
            evidence,
            settings=replace(settings, longest_pause=pause),
            now=now,
            monotonic=monotonic,
            last=memory.last,
            steady=memory.steady,
        )
        if memory.last is None or not memory.steady or judgement.healths is not memory.last.healths:
            memory.healths = dict(judgement.healths)
            memory.changed()
        judgement = replace(judgement, overdue=_overdue(memory, judgement, settings))
        memory.last, memory.steady = judgement, True
        for one in self._between.values():
            if one.left == policy.uid and one.noticed is None:
                one.noticed = monotonic
        return judgement

    def judge_storage(
        self, policy: Policy, evidence: StorageEvidence, stale_reason: str, *, now: datetime, monotonic: float
    ) -> StorageJudgement:
        """Judge the storage behind drivers as nodes see it: an incident of its own, with the claims that it touches."""
        memory = self._memory(policy.uid)
        if not (memory.storage or evidence.said):
            return StorageJudgement()
        settings, before = self._settings(policy), memory.storage
        pause = max(memory.storage_pause, settings.longest_pause)
        memory.storage_pause = settings.longest_pause
        if monotonic - memory.storage_judged > pause.total_seconds():
            before = {backend: not_looked_at(health) for backend, health in before.items()}
        memory.storage_judged = monotonic
        healths, turns = judge_storage(
            before,
            evidence.said,
            settings=settings,
            now=now,
            monotonic=monotonic,
            stale_reason=stale_reason,
            origins_of=evidence.origins_of,
        )
        touched = {**self._still_touched(memory), **evidence.touched}
        memory.storage, memory.touched = healths, {backend: touched.get(backend, ()) for backend in healths}
        memory.changed()
        new = {(backend, turn.finding) for backend, turn in turns if turn.kind is TransitionKind.FOUND}
        return StorageJudgement(
            tuple(
                StorageProblem(backend, finding, memory.touched[backend], (backend, finding) in new)
                for backend, health in healths.items()
                for finding in health.findings
            ),
            tuple(
                (backend, turn.finding) for backend, turn in turns if turn.kind is TransitionKind.RECOVERED
            ),
        )

    def _still_touched(self, memory: _Memory) -> Mapping[Backend, tuple[ClaimRef, ...]]:
        """Return the claims that storage touched when somebody spoke of it last, as far as the policy still holds them."""
        held = memory.last.members.by_driver if memory.last is not None else {}

        def is_held(backend: Backend, ref: ClaimRef) -> bool:
            claim = self._claims.get(ref)
            return claim is not None and ref in held.get(backend.driver, {}).get(claim.handle, ())

        return {
            backend: tuple(ref for ref in refs if is_held(backend, ref))
            for backend, refs in memory.touched.items()
        }

    def explain(
        self, claim: Claim, policy: Policy | None, selection: Selection, silences: Silences, now: datetime
    ) -> Explanation:
        """Return all that is known of one claim as of its policy's last check.

        Args:
            claim: the view's row.
            policy: the one that owns it; None if none does.
            selection: knows why.
            silences: of what people are not to be told for now.
            now: the moment.
        """
        about = Explanation.of(claim, now)
        if policy is None:
            return replace(about, why=selection.why_not(claim))
        about = replace(about, policy=policy.name, why=selection.why(claim.ref))
        if not claim.driver:
            return replace(about, verdict=Verdict.UNMONITORED, unknown_message=claim.unsupported)
        memory = self._memory(policy.uid)
        health = memory.healths.get(claim.ref)
        about = replace(about, suspended=policy.spec.suspend)
        told = explain_claim(about, claim, health, memory.last, self._settings(policy))
        nodes = {finding.node for finding in told.findings} or {""}
        held = [one for node in nodes if (one := silences.of(claim.ref, node, now)) is not None]
        if len(held) < len(nodes):  # people are told of some of it
            return told
        return replace(told, silenced=min(held, key=lambda one: one.until).text)

    def _memory(self, uid: str) -> _Memory:
        return self._memories.setdefault(uid, _Memory())

    def _notice(self, now: datetime, monotonic: float) -> None:
        """Notice whether the wall clock was set since the last look at it: the monotonic clock went on as ever."""
        ahead = now.timestamp() - monotonic
        if self._ahead is not None and abs(ahead - self._ahead) > _SET:
            self._clock_set = now
        self._ahead = ahead

    def _settings(self, policy: Policy) -> JudgeSettings:
        memory, spec = self._memory(policy.uid), policy.spec
        if memory.rules is None or memory.rules[0] is not policy:
            memory.rules = (policy, compile_rules(spec.rules))
        longest_pause = max(_LONGEST_PAUSE, 2 * spec.interval + spec.timeout)
        return JudgeSettings(
            unhealthy_after=spec.unhealthy_after,
            healthy_after=spec.healthy_after,
            rules=memory.rules[1],
            record_retention=spec.record_retention,
            longest_gap=_LONGEST_GAP,
            longest_pause=longest_pause,
            fresh=longest_pause,
            clock_set=self._clock_set,
        )


def _taken_up(healths: Healths, now: datetime) -> Steps[dict[ClaimRef, ClaimHealth]]:
    taken_up: dict[ClaimRef, ClaimHealth] = {}
    for ref, health in healths.items():
        taken_up[ref] = not_after(resumed(health), now)
        yield
    return taken_up


def _overdue(memory: _Memory, judgement: PolicyJudgement, settings: JudgeSettings) -> int:
    """Count the claims that were not asked about yet for longer than a new one waits; where most are not, nobody need."""
    waiting = [
        silent.claims
        for driver in judgement.judged.values()
        for why, silent in driver.silent
        if why.reason == SilenceReason.NOT_YET_ASKED
    ]
    if sum(map(len, waiting)) > judgement.counts.healthy:
        memory.unasked = {}
        return 0
    now = judgement.monotonic
    memory.unasked = {ref: memory.unasked.get(ref, now) for claims in waiting for ref in claims}
    longest = max(_NEW_FOR, settings.longest_pause).total_seconds()
    return sum(now - since >= longest for since in memory.unasked.values())


def _due(delays: Sequence[_RunningOf], monotonic: float) -> int:
    """Return how many delays an answer may complete by now; they are in the order in which they come to that."""
    return bisect_right(delays, monotonic, key=lambda one: one.clock.complete_at)
