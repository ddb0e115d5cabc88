"""One check's judgement of a policy's claims, and the numbers and groups that its report needs.

It goes driver by driver: most claims of one are counted, some are as they were, the rest is judged one by one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from itertools import chain
from types import MappingProxyType

from volumehealth.judge.claim import Judgement, JudgeSettings, judge_claim, not_looked_at, unjudged
from volumehealth.judge.groups import DriverWide, UnknownGroup, driver_wide, group_unknown, worst_first
from volumehealth.judge.partition import NO_HANDLE, Handles, Partition, Silence, Silent, partition, silent
from volumehealth.judge.rules import CompiledRules
from volumehealth.model.cluster import Claim
from volumehealth.model.health import (
    Answer,
    Basis,
    ClaimHealth,
    DriverAnswers,
    Evidence,
    Outcome,
    SourceState,
    Transition,
    Verdict,
)
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth.model.origin import Observer
from volumehealth.model.steps import Steps, in_parts
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members

_PART = 2_000
"""Claims that are sorted in one step."""
_NOBODY: frozenset[ClaimRef] = frozenset()
_NO_PARTITION = Partition()


@dataclass(frozen=True, slots=True)
class DriverCounts:
    """The claims of one driver by verdict."""

    claims: int = 0
    healthy: int = 0
    healthy_by_node: int = 0
    """Of the healthy ones those that only their nodes say so of."""
    unhealthy: int = 0
    unknown: int = 0
    unmonitored: int = 0
    ignored: int = 0
    """Those with a statement that a rule ignored."""


@dataclass(frozen=True, slots=True)
class DriverJudgement:
    """What is confirmed of one driver's claims now.

    Attributes:
        counts: of all of them.
        healths: what must be remembered, sparse.
        transitions: what people are to be told, in the order of claims.
        silent: claims that are Unknown, by reason.
        aggregates: what so many of them have in common that it is told once.
        healthy: claims that were judged one by one, are Healthy, and are not in `healths`.
        carried_over: of `healths` those that stay as they are while all sources go on saying the same, until `rest_ends`:
            an array that was gone leaves thousands of claims that are bad, and for a week thousands that recovered.
        rests: whether these are all that is remembered, and all that were judged one by one.
        touched: claims of which other sources than the driver said something.
        now: when, by the wall clock.
        handles, answers, healthy_on_nodes, complete, distrusted, rules, quiet: what was judged, and how.
    """

    counts: DriverCounts
    healths: Mapping[ClaimRef, ClaimHealth]
    transitions: tuple[Transition, ...]
    silent: tuple[tuple[Silence, Silent], ...]
    aggregates: tuple[DriverWide, ...]
    healthy: frozenset[ClaimRef]
    carried_over: Mapping[ClaimRef, ClaimHealth]
    rests: bool
    rest_ends: datetime | None
    touched: frozenset[ClaimRef]
    now: datetime
    handles: Handles
    answers: DriverAnswers | None
    healthy_on_nodes: frozenset[ClaimRef]
    complete: frozenset[ClaimRef]
    distrusted: bool
    rules: CompiledRules
    quiet: Partition


@dataclass(frozen=True, slots=True)
class Counts:
    """`status.claims`. The four verdicts add up to `selected`; the last three are counted beside them."""

    selected: int = 0
    healthy: int = 0
    healthy_by_node: int = 0
    """Of the healthy ones those that only their nodes say so of."""
    unhealthy: int = 0
    unknown: int = 0
    unmonitored: int = 0
    ignored: int = 0
    """Claims with a statement that a rule ignored."""
    overridden: int = 0
    not_csi: int = 0


@dataclass(frozen=True, slots=True)
class PolicyJudgement:
    """What is confirmed of a policy's claims now.

    Attributes:
        healths: what must be remembered, sparse: the next check's `previous`. The same object as in the last judgement
            while each health in it is.
        counts: of all claims.
        transitions: what people are to be told, in the order of claims.
        unknown: claims that are Unknown, grouped, largest group first.
        silences: how many are Unknown for each reason, in these very words.
        overdue: of those that were not asked about yet, how many have waited for longer than a new claim does.
        unmonitored: how many claims of each driver are Unmonitored.
        drivers: claims of each driver by verdict.
        driver_wide: aggregates that are told once for the driver, worst first.
        monotonic: when, in monotonic seconds.
        members, evidence: what was judged.
        judged: how the claims of each driver were judged; the next check starts from it.
    """

    healths: Mapping[ClaimRef, ClaimHealth]
    counts: Counts
    transitions: tuple[Transition, ...] = ()
    unknown: tuple[UnknownGroup, ...] = ()
    silences: Mapping[Silence, int] = field(default_factory=dict)
    overdue: int = 0
    unmonitored: Mapping[str, int] = field(default_factory=dict)
    drivers: Mapping[str, DriverCounts] = field(default_factory=dict)
    driver_wide: tuple[DriverWide, ...] = ()
    monotonic: float = 0.0
    members: Members = field(default_factory=Members)
    evidence: Evidence = field(default_factory=lambda: Evidence({}))
    judged: Mapping[str, DriverJudgement] = field(default_factory=dict)


def judge_policy(
    previous: Mapping[ClaimRef, ClaimHealth],
    members: Members,
    claims: Mapping[ClaimRef, Claim],
    evidence: Evidence,
    *,
    settings: JudgeSettings,
    now: datetime,
    monotonic: float | None = None,
    last: PolicyJudgement | None = None,
    steady: bool = False,
) -> Steps[PolicyJudgement]:
    """Judge every claim of a policy, one in each step. Between steps `claims` may change, nothing else.

    Claims whose driver says they are healthy (its controller, or its node plugins), or says nothing, of which nothing
    is remembered and nobody says anything else, are only counted; the others are judged one by one.

    Args:
        previous: what is remembered of its claims; what belongs to no claim of `members` is left out of the result.
        members: the policy's claims.
        claims: the view's rows.
        evidence: what all sources say now.
        settings: what the policy says about judging.
        now: the moment, by the wall clock.
        monotonic: the moment in monotonic seconds; None if no clock was set meanwhile.
        last: the last judgement of this policy. It tells a claim that was healthy from one that is new, so that
            a pending statement leaves the verdict as it was; without it such a claim is Unknown while it pends.
        steady: whether `previous` is what `last` says, and no claim came, changed or went since then.
    """
    earlier = last.judged if last is not None else {}
    kept = {name: driver.healths for name, driver in earlier.items()}
    remembered = kept if steady else _by_driver(previous, claims)
    accused = _by_driver(evidence.claims, claims)
    moment = now.timestamp() if monotonic is None else monotonic
    looked = last is None or moment - last.monotonic <= settings.longest_pause.total_seconds()
    drivers: dict[str, DriverJudgement] = {}
    for name, handles in sorted(members.by_driver.items()):
        judge = DriverJudge(
            name,
            handles,
            evidence,
            previous=previous,
            claims=claims,
            settings=settings,
            now=now,
            monotonic=moment,
            looked=looked,
            steady=steady,
            last=earlier.get(name),
        )
        drivers[name] = yield from judge.judge(
            members.claims_of[name], remembered.get(name, ()), accused.get(name, ())
        )
    counts = [driver.counts for driver in drivers.values()]
    if last is not None and _same_objects({name: driver.healths for name, driver in drivers.items()}, kept):
        healths = last.healths
    else:
        healths = MappingProxyType(
            {ref: one for driver in drivers.values() for ref, one in driver.healths.items()}
        )
    yield
    unknown = group_unknown({name: driver.silent for name, driver in drivers.items()})
    yield
    return PolicyJudgement(
        healths=healths,
        counts=Counts(
            selected=sum(count.claims for count in counts),
            healthy=sum(count.healthy for count in counts),
            healthy_by_node=sum(count.healthy_by_node for count in counts),
            unhealthy=sum(count.unhealthy for count in counts),
            unknown=sum(count.unknown for count in counts),
            unmonitored=sum(count.unmonitored for count in counts),
            ignored=sum(count.ignored for count in counts),
            overridden=sum(members.overridden.values()),
            not_csi=members.not_csi,
        ),
        transitions=tuple(turn for driver in drivers.values() for turn in driver.transitions),
        unknown=unknown,
        silences=MappingProxyType(_silences(driver.silent for driver in drivers.values())),
        unmonitored=MappingProxyType(
            {name: driver.counts.unmonitored for name, driver in drivers.items() if driver.counts.unmonitored}
        ),
        drivers=MappingProxyType({name: driver.counts for name, driver in drivers.items()}),
        driver_wide=worst_first(driver.aggregates for driver in drivers.values()),
        monotonic=moment,
        members=members,
        evidence=evidence,
        judged=MappingProxyType(drivers),
    )


def _silences(silent: Iterable[Iterable[tuple[Silence, Silent]]]) -> dict[Silence, int]:
    """Count claims of all drivers by why they are Unknown."""
    counted: Counter[Silence] = Counter()
    for why, claims in chain.from_iterable(silent):
        counted[why] += len(claims.claims)
    return dict(counted)


def _same_objects(some: Mapping[str, object], others: Mapping[str, object]) -> bool:
    """Tell whether two mappings have the same objects under the same keys."""
    return some.keys() == others.keys() and all(others[name] is one for name, one in some.items())


def _by_driver(refs: Iterable[ClaimRef], claims: Mapping[ClaimRef, Claim]) -> Mapping[str, list[ClaimRef]]:
    """Sort claims that the view still has by their driver."""
    sorted_refs: dict[str, list[ClaimRef]] = {}
    for ref in refs:
        claim = claims.get(ref)
        if claim is not None:
            sorted_refs.setdefault(claim.driver, []).append(ref)
    return sorted_refs


def answers_about(claim: Claim, evidence: Evidence) -> tuple[Answer, ...]:
    """Return what every source says of one claim, as it is judged."""
    speaking = _speaking(evidence.drivers.get(claim.driver))
    told = () if speaking is None or not claim.handle else (answer_about(claim.handle, speaking),)
    return (
        *told,
        *evidence.volumes.get(VolumeId(claim.driver, claim.handle), ()),
        *evidence.claims.get(claim.ref, ()),
        *evidence.healthy_on_nodes.about(claim.ref),
    )


class DriverJudge:
    """The claims of one driver while they are judged.

    Args:
        name: of the driver.
        handles: the policy's claims by volume.
        evidence: what all sources say now.
        previous: what is remembered of claims.
        claims: the view's rows.
        settings: what the policy says about judging.
        now: the moment, by the wall clock.
        monotonic: the moment, in monotonic seconds.
        looked: whether the last check was so lately that nothing can have happened unseen since then.
        steady: whether no claim came, changed, went or was handed over since the last check.
        last: the last judgement of these claims.
    """

    def __init__(
        self,
        name: str,
        handles: Handles,
        evidence: Evidence,
        *,
        previous: Mapping[ClaimRef, ClaimHealth],
        claims: Mapping[ClaimRef, Claim],
        settings: JudgeSettings,
        now: datetime,
        monotonic: float,
        looked: bool,
        steady: bool,
        last: DriverJudgement | None,
    ) -> None:
        self._name = name
        self._handles = handles
        self._evidence = evidence
        self._answers = _speaking(evidence.drivers.get(name))
        self._vouched = evidence.healthy_on_nodes.claims.get(name, _NOBODY)
        self._complete = evidence.healthy_on_nodes.complete.get(name, _NOBODY)
        self._nameless = frozenset(handles.get(NO_HANDLE, ()))
        self._previous = previous
        self._claims = claims
        self._settings = settings
        self._now = now
        self._monotonic = monotonic
        self._looked = looked
        self._steady = steady
        self._last = last
        self._quiet = _NO_PARTITION
        self._touched = _NOBODY
        self._healths: dict[ClaimRef, ClaimHealth] = {}
        self._transitions: list[Transition] = []
        self._healthy: list[ClaimRef] = []
        self._by_node = 0
        self._silent: list[tuple[Silence, Silent]] = []
        self._resting: dict[ClaimRef, ClaimHealth] = {}
        self._rest_ends: datetime | None = None

    def judge(
        self, count: int, remembered: Iterable[ClaimRef], accused: Iterable[ClaimRef]
    ) -> Steps[DriverJudgement]:
        """Judge all of them, one in each step.

        Args:
            count: how many they are.
            remembered: those that may be remembered from the last check.
            accused: those of which other sources say something.
        """
        last = self._last
        if self._answers is not None:
            quiet = last.quiet if last is not None else None
            self._quiet = yield from partition(self._handles, self._answers, quiet)
            yield
        self._touched = self._find_touched(accused)
        if last is not None and self._steady and last.rests and not self._touched and self._goes_on(last):
            return replace(last, transitions=(), now=self._now)
        single = self._quiet.doubtful | self._touched | {ref for ref in remembered if self._owns(ref)}
        yield
        if last is not None and self._goes_on(last):
            self._resting, self._rest_ends = self._still_resting(last, single), last.rest_ends
            yield
            all_rest = len(self._resting) == len(single) == len(last.healths)
            if all_rest and not last.touched and last.counts.claims == count:
                return replace(last, transitions=(), now=self._now)
        self._healths.update(self._resting)
        verdicts = self._count_quiet(count, single)
        for ref, health in self._resting.items():
            verdicts[health.verdict] += 1
            self._by_node += health.verdict is Verdict.HEALTHY and self._is_seen_only(ref)
        yield
        gone = yield from self._judge_singly(single - self._resting.keys(), verdicts)
        return DriverJudgement(
            counts=DriverCounts(
                count - gone,
                healthy=verdicts[Verdict.HEALTHY],
                healthy_by_node=self._by_node,
                unhealthy=verdicts[Verdict.UNHEALTHY],
                unknown=verdicts[Verdict.UNKNOWN],
                unmonitored=verdicts[Verdict.UNMONITORED],
                ignored=sum(health.ignored for health in self._healths.values()),
            ),
            healths=MappingProxyType(self._healths),
            transitions=tuple(self._transitions),
            silent=tuple(self._silent),
            aggregates=driver_wide(self._name, self._healths, count),
            healthy=frozenset(self._healthy),
            carried_over=MappingProxyType(self._resting),
            rests=len(self._resting) == len(single) == len(self._healths),
            rest_ends=self._rest_ends,
            touched=self._touched,
            now=self._now,
            handles=self._handles,
            answers=self._answers,
            healthy_on_nodes=self._vouched,
            complete=self._complete,
            distrusted=bool(self._evidence.stale_reason),
            rules=self._settings.rules,
            quiet=self._quiet,
        )

    def _find_touched(self, accused: Iterable[ClaimRef]) -> frozenset[ClaimRef]:
        touched = {ref for ref in accused if self._owns(ref)}
        for volume in self._evidence.volumes:
            if volume.driver == self._name:
                touched.update(self._handles.get(volume.handle, ()))
        return frozenset(touched)

    def _owns(self, ref: ClaimRef) -> bool:
        claim = self._claims.get(ref)
        return claim is not None and ref in self._handles.get(claim.handle, ())

    # ---- claims that are counted ----

    def _count_quiet(self, count: int, single: frozenset[ClaimRef]) -> dict[Verdict, int]:
        """Count the claims that are not judged one by one, and say which of them are Unknown and why."""
        groups = {
            why: group.without(single).without(self._vouched) for why, group in self._quiet.silent.items()
        }
        seen = self._complete - self._vouched - single
        if self._answers is not None:
            askable = (group.claims for group in groups.values())
            seen = frozenset().union(*(claims & seen for claims in (*askable, self._nameless)))
        unsaid = ((why, group.without(seen)) for why, group in groups.items())
        self._silent += [(why, group) for why, group in unsaid if group.claims]
        unknown = sum(len(group.claims) for _, group in self._silent)
        rest = count - len(single) - unknown
        mute = self._nameless - single - self._vouched - seen
        healthy = rest - len(mute) if self._answers is not None else len(self._vouched - single) + len(seen)
        unmonitored = rest - healthy
        if self._evidence.stale_reason and healthy:
            doubted = Silence(SilenceReason.VIEW_STALE, self._evidence.stale_reason)
            self._silent.append((doubted, self._doubted(single)))
            unknown, healthy = unknown + healthy, 0
        self._by_node += min(len(seen), healthy)
        return {
            Verdict.HEALTHY: healthy,
            Verdict.UNHEALTHY: 0,
            Verdict.UNKNOWN: unknown,
            Verdict.UNMONITORED: unmonitored,
        }

    def _is_seen_only(self, ref: ClaimRef) -> bool:
        """Tell whether only its node says that a healthy claim is healthy."""
        if ref not in self._complete or ref in self._vouched:
            return False
        return self._answers is None or self._claims[ref].handle not in self._answers.healthy

    def _doubted(self, single: frozenset[ClaimRef]) -> Silent:
        """Return the claims that would be Healthy if the view were trusted."""
        if self._answers is None:
            return silent((self._vouched | self._complete) - single)
        named = single | (self._nameless - self._vouched - self._complete)
        unsaid = named.union(*(group.claims for _, group in self._silent))
        return silent(frozenset(ref for refs in self._handles.values() for ref in refs) - unsaid)

    # ---- claims that are as they were ----

    def _goes_on(self, last: DriverJudgement) -> bool:
        """Tell whether the driver and the nodes go on saying what they said, and are heard by the same rules."""
        return (
            # the driver says the same of the same claims
            self._quiet is last.quiet
            and self._handles is last.handles
            # and so do the nodes
            and self._vouched == last.healthy_on_nodes
            and self._complete == last.complete
            # the view was trusted, and is
            and not (self._evidence.stale_reason or last.distrusted)
            # it is heard by the same rules
            and self._settings.rules is last.rules
            # no record is to be forgotten by now
            and (last.rest_ends is None or self._now < last.rest_ends)
            # no time that is remembered lies ahead
            and last.now <= self._now
        )

    def _still_resting(
        self, last: DriverJudgement, single: frozenset[ClaimRef]
    ) -> dict[ClaimRef, ClaimHealth]:
        """Return the claims that others say nothing of either, and that are still the same claims."""
        previous, claims = self._previous, self._claims
        return {
            ref: health
            for ref, health in last.carried_over.items()
            # nobody judged it in between
            if previous.get(ref) is health
            # its volume is the one that the selection knows
            and ref in single
            # nobody but its driver says anything of it
            and ref not in self._touched
            # it is the same claim, not one made anew under its name
            and (claim := claims.get(ref)) is not None
            and claim.uid == health.uid
        }

    def _rests(self, ref: ClaimRef, claim: Claim, health: ClaimHealth) -> bool:
        """Tell whether what was found of a claim stays as it is while nobody says anything new."""
        if ref in self._touched or self._evidence.stale_reason or health.pending or health.ignored:
            return False
        if not health.findings:
            settled = health.verdict in (Verdict.HEALTHY, Verdict.UNMONITORED)
            return settled and not health.confirmed_origins
        if self._answers is None or self._answers.driver.state is not SourceState.ANSWERING:
            return False
        answer = self._answers.others.get(claim.handle)
        return (
            # the driver says something against it
            answer is not None
            and answer.outcome is Outcome.ADVERSE
            # all of it is confirmed
            and len(health.findings) == len(answer.conditions)
            # nothing waits for its source, or to be cleared
            and not any(finding.stale or finding.clear_since for finding in health.findings)
            # no node says otherwise
            and ref not in self._vouched
            # nobody else's word is in it
            and all(finding.observers == (Observer.DRIVER,) for finding in health.findings)
        )

    # ---- claims that are judged one by one ----

    def _judge_singly(self, single: frozenset[ClaimRef], verdicts: dict[Verdict, int]) -> Steps[int]:
        """Judge claims, one in each step, and add up their verdicts; return how many are gone."""
        gone = 0
        unknown: dict[Silence, list[ClaimRef]] = {}
        sorted_parts = []
        for part in in_parts(single, _PART):
            sorted_parts.append(sorted(part))
            yield
        for ref in merge(*sorted_parts):
            claim = self._claims.get(ref)
            if claim is None:  # the view may be ahead of the selection
                gone += 1
            else:
                judgement = self._judge(ref, claim)
                verdicts[judgement.verdict] += 1
                self._by_node += judgement.basis is Basis.NODE
                if judgement.verdict is Verdict.UNKNOWN:
                    why = Silence(judgement.unknown_reason, judgement.unknown_message)
                    unknown.setdefault(why, []).append(ref)
            yield
        self._silent += [(why, silent(frozenset(refs))) for why, refs in unknown.items()]
        return gone

    def _judge(self, ref: ClaimRef, claim: Claim) -> Judgement:
        previous = self._previous.get(ref)
        try:
            judgement = self._judge_said(previous, ref, claim)
        except Exception as error:  # noqa: BLE001 - whatever is said of one claim costs that claim only
            judgement = unjudged(previous, claim.uid, error)
        self._keep(ref, claim, judgement)
        return judgement

    def _judge_said(self, previous: ClaimHealth | None, ref: ClaimRef, claim: Claim) -> Judgement:
        if previous is not None and not self._looked:
            previous = not_looked_at(previous)
        return self._still_said(previous, ref, claim) or judge_claim(
            previous,
            answers_about(claim, self._evidence),
            ref=ref,
            uid=claim.uid,
            driver=self._name,
            settings=self._settings,
            now=self._now,
            monotonic=self._monotonic,
            stale_reason=self._evidence.stale_reason,
            before=self._before(ref, claim),
            by_node=ref in self._complete,
            origins=self._evidence.origins,
        )

    def _still_said(self, previous: ClaimHealth | None, ref: ClaimRef, claim: Claim) -> Judgement | None:
        """Return the judgement of a claim whose driver goes on saying no more and no less than is confirmed.

        An array that is gone makes its driver accuse volume after volume, list after list.
        """
        last = self._last
        if previous is None or last is None or self._answers is None or last.answers is None:
            return None
        same = (
            # it was found at the last check, of the same claim with the same volume
            previous is last.healths.get(ref)
            and previous.findings
            and previous.uid == claim.uid
            and ref in last.handles.get(claim.handle, ())
            # the driver has said the same since, and answered then
            and last.answers.others.get(claim.handle) is self._answers.others.get(claim.handle)
            and last.answers.driver.state is SourceState.ANSWERING
            # no time that is remembered lies ahead, and it is heard by the same rules
            and last.now <= self._now
            and last.rules is self._settings.rules
            # at the last check the view was trusted, and nobody else spoke
            and not (
                previous.recovered or last.distrusted or ref in last.touched or ref in last.healthy_on_nodes
            )
            # nor does anybody now
            and self._rests(ref, claim, previous)
        )
        return Judgement(previous, previous.verdict) if same else None

    def _before(self, ref: ClaimRef, claim: Claim) -> Verdict:
        """Return the last verdict of a claim of which nothing is remembered; what was long ago counts for nothing."""
        last = self._last
        if last is None or not self._looked or ref in last.healths or last.distrusted:
            return Verdict.UNKNOWN
        if ref in last.healthy or ref in last.healthy_on_nodes or ref in last.complete:
            return Verdict.HEALTHY
        then = last.answers
        owned = ref in last.handles.get(claim.handle, ())
        plain = then is not None and claim.handle in then.healthy and claim.handle not in then.others
        return Verdict.HEALTHY if owned and plain else Verdict.UNKNOWN

    def _keep(self, ref: ClaimRef, claim: Claim, judgement: Judgement) -> None:
        health = judgement.health
        if health is not None:
            self._healths[ref] = health
            if self._rests(ref, claim, health):
                self._resting[ref] = health
                if health.recovered is not None:
                    self._rest_until(health.recovered + self._settings.record_retention)
        elif judgement.verdict is Verdict.HEALTHY:
            self._healthy.append(ref)
        self._transitions += judgement.transitions

    def _rest_until(self, end: datetime) -> None:
        if self._rest_ends is None or end < self._rest_ends:
            self._rest_ends = end


def _speaking(answers: DriverAnswers | None) -> DriverAnswers | None:
    """Return the answers of a driver that can answer at all."""
    if answers is None or answers.driver.state in (SourceState.UNSUPPORTED, SourceState.NOT_CONNECTED):
        return None
    return answers


def answer_about(handle: str, answers: DriverAnswers) -> Answer:
    """Return what a driver says of a volume, dated with when it said so last.

    A driver that goes on saying the same keeps one Answer, dated when that was first heard; how fresh it is, all
    of its answers say together. An answer with a `since` was heard by itself, at its own time. A driver that no
    longer answers at all says nothing, whatever it said before.
    """
    answer = answers.about(handle)
    if answer.outcome is not Outcome.ADVERSE:
        return answer
    if answers.driver.state.is_down and answers.silence.reason == SilenceReason.DRIVER_UNREACHABLE:
        return answers.silence
    if answer.since is not None:
        return answer
    return replace(answer, at=answers.at, since=answer.at)
