"""One check's judgement: every claim of a policy, and the numbers and groups that its report needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from itertools import islice
from types import MappingProxyType

from volumehealth.judge.claim import Judgement, JudgeSettings, judge_claim
from volumehealth.judge.groups import DriverWide as DriverWide  # part of what a judgement holds
from volumehealth.judge.groups import UnknownGroup as UnknownGroup
from volumehealth.judge.groups import driver_wide, group_unknown
from volumehealth.judge.quiet import Quiet, Silence, Silent, silent, sort_quiet
from volumehealth.judge.rules import CompiledRules
from volumehealth.model.cluster import Claim
from volumehealth.model.health import (
    Answer,
    ClaimHealth,
    DriverAnswers,
    Evidence,
    Outcome,
    SourceState,
    Transition,
    Verdict,
)
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth.model.steps import Steps, at_once
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.select import Members

_PART = 2_000
"""Claims that are sorted in one step."""
_DOWN = (SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN)


@dataclass(frozen=True, slots=True)
class Counts:
    """`status.claims`. The four verdicts add up to `selected`; the last three are counted beside them."""

    selected: int = 0
    healthy: int = 0
    unhealthy: int = 0
    unknown: int = 0
    unmonitored: int = 0
    ignored: int = 0
    """Claims with a statement that a rule ignored."""
    overridden: int = 0
    unsupported: int = 0


@dataclass(frozen=True, slots=True)
class DriverCounts:
    """The claims of one driver by verdict."""

    claims: int = 0
    healthy: int = 0
    unhealthy: int = 0
    unknown: int = 0
    unmonitored: int = 0


@dataclass(frozen=True, slots=True)
class PolicyJudgement:
    """What is believed of a policy's claims now.

    Attributes:
        healths: what must be remembered, sparse: the next check's `previous`.
        counts: of all claims.
        transitions: what people are to be told, in the order of claims.
        unknown: claims that are Unknown, grouped, largest group first.
        unmonitored: how many claims of each driver are Unmonitored.
        drivers: claims of each driver by verdict.
        driver_wide: stories that are told once for the driver, worst first.
        next_due: when a statement may next be believed or cleared, if its source goes on saying the same.
        members, evidence, rules, quiet: what was judged, and how; the next check's `last` reads them.
        healthy: claims that were judged one by one, are Healthy, and are not in `healths`.
    """

    healths: Mapping[ClaimRef, ClaimHealth]
    counts: Counts
    transitions: tuple[Transition, ...] = ()
    unknown: tuple[UnknownGroup, ...] = ()
    unmonitored: Mapping[str, int] = field(default_factory=dict)
    drivers: Mapping[str, DriverCounts] = field(default_factory=dict)
    driver_wide: tuple[DriverWide, ...] = ()
    next_due: datetime | None = None
    members: Members = field(default_factory=Members)
    evidence: Evidence = field(default_factory=lambda: Evidence({}))
    rules: CompiledRules | None = None
    healthy: frozenset[ClaimRef] = frozenset()
    quiet: Mapping[str, Quiet] = field(default_factory=dict)


def judge_policy(
    previous: Mapping[ClaimRef, ClaimHealth],
    members: Members,
    claims: Mapping[ClaimRef, Claim],
    evidence: Evidence,
    *,
    settings: JudgeSettings,
    now: datetime,
    last: PolicyJudgement | None = None,
) -> PolicyJudgement:
    """Judge every claim of a policy, at once; see `judge_in_steps`."""
    return at_once(judge_in_steps(previous, members, claims, evidence, settings=settings, now=now, last=last))


def judge_in_steps(
    previous: Mapping[ClaimRef, ClaimHealth],
    members: Members,
    claims: Mapping[ClaimRef, Claim],
    evidence: Evidence,
    *,
    settings: JudgeSettings,
    now: datetime,
    last: PolicyJudgement | None = None,
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
        now: the moment.
        last: the last judgement of this policy. It tells a claim that was healthy from one that is new, so that
            a pending statement leaves the verdict as it was; without it such a claim is Unknown while it pends.
    """
    remembered = _by_driver(previous, claims)
    accused = _by_driver(evidence.claims, claims)
    drivers = {
        driver: _Driver(
            driver, handles, evidence, previous=previous, claims=claims, settings=settings, now=now, last=last
        )
        for driver, handles in sorted(members.by_driver.items())
    }
    for name, driver in drivers.items():
        yield from driver.judge(members.claims_of[name], remembered.get(name, ()), accused.get(name, ()))
    counts = [driver.counts for driver in drivers.values()]
    healths = {ref: health for driver in drivers.values() for ref, health in driver.healths.items()}
    yield
    unknown = group_unknown({name: driver.silent for name, driver in drivers.items()})
    yield
    wide = driver_wide({name: driver.healths for name, driver in drivers.items()}, members.claims_of)
    yield
    return PolicyJudgement(
        healths=MappingProxyType(healths),
        counts=Counts(
            selected=sum(count.claims for count in counts),
            healthy=sum(count.healthy for count in counts),
            unhealthy=sum(count.unhealthy for count in counts),
            unknown=sum(count.unknown for count in counts),
            unmonitored=sum(count.unmonitored for count in counts),
            ignored=sum(health.ignored for health in healths.values()),
            overridden=sum(members.overridden.values()),
            unsupported=members.unsupported,
        ),
        transitions=tuple(turn for driver in drivers.values() for turn in driver.transitions),
        unknown=unknown,
        unmonitored=MappingProxyType(
            {name: driver.counts.unmonitored for name, driver in drivers.items() if driver.counts.unmonitored}
        ),
        drivers=MappingProxyType({name: driver.counts for name, driver in drivers.items()}),
        driver_wide=wide,
        next_due=min((driver.due for driver in drivers.values() if driver.due), default=None),
        members=members,
        evidence=evidence,
        rules=settings.rules,
        healthy=frozenset(ref for driver in drivers.values() for ref in driver.healthy),
        quiet={name: driver.quiet for name, driver in drivers.items()},
    )


def answers_about(claim: Claim, evidence: Evidence) -> tuple[Answer, ...]:
    """Return what every source says of one claim, as it is judged."""
    speaking = _speaking(evidence.drivers.get(claim.driver))
    told = () if speaking is None else (_dated(speaking.about(claim.handle), speaking),)
    return (
        *told,
        *evidence.volumes.get(VolumeId(claim.driver, claim.handle), ()),
        *evidence.claims.get(claim.ref, ()),
        *evidence.vouched.about(claim.ref),
    )


class _Driver:
    """The claims of one driver while they are judged."""

    def __init__(
        self,
        name: str,
        handles: Mapping[str, tuple[ClaimRef, ...]],
        evidence: Evidence,
        *,
        previous: Mapping[ClaimRef, ClaimHealth],
        claims: Mapping[ClaimRef, Claim],
        settings: JudgeSettings,
        now: datetime,
        last: PolicyJudgement | None,
    ) -> None:
        self.healths: dict[ClaimRef, ClaimHealth] = {}
        self.transitions: list[Transition] = []
        self.healthy: list[ClaimRef] = []
        self.silent: list[tuple[Silence, Silent]] = []
        self.quiet = Quiet()
        self.due: datetime | None = None
        self.counts = DriverCounts()
        self._name = name
        self._handles = handles
        self._evidence = evidence
        self._answers = _speaking(evidence.drivers.get(name))
        self._previous = previous
        self._claims = claims
        self._settings = settings
        self._now = now
        self._last = last

    def judge(
        self, count: int, remembered: Iterable[ClaimRef], accused: Iterable[ClaimRef]
    ) -> Iterator[None]:
        """Judge all of them, one in each step.

        Args:
            count: how many they are.
            remembered: those that may be remembered from the last check.
            accused: those of which other sources say something.
        """
        if self._answers is not None:
            last = self._last.quiet.get(self._name) if self._last is not None else None
            self.quiet = sort_quiet(self._handles, self._answers, last)
            yield
        single = set(self.quiet.doubtful)
        for volume in self._evidence.volumes:
            if volume.driver == self._name:
                single.update(self._handles.get(volume.handle, ()))
        single.update(ref for ref in remembered if self._owns(ref))
        single.update(ref for ref in accused if self._owns(ref))
        yield
        verdicts = self._count_quiet(count, frozenset(single))
        gone = 0
        sorted_parts = []
        for part in _parts(single):
            sorted_parts.append(sorted(part))
            yield
        unknown: dict[Silence, list[ClaimRef]] = {}
        for ref in merge(*sorted_parts):
            claim = self._claims.get(ref)
            if claim is None:  # the view may be ahead of the selection
                gone += 1
            else:
                verdicts[self._judge(ref, claim, unknown)] += 1
            yield
        self.silent += ((why, silent(frozenset(refs))) for why, refs in unknown.items())
        self.counts = DriverCounts(
            count - gone,
            verdicts[Verdict.HEALTHY],
            verdicts[Verdict.UNHEALTHY],
            verdicts[Verdict.UNKNOWN],
            verdicts[Verdict.UNMONITORED],
        )

    def _count_quiet(self, count: int, single: frozenset[ClaimRef]) -> dict[Verdict, int]:
        """Count the claims that are not judged one by one, and say which of them are Unknown and why."""
        vouched = self._evidence.vouched.claims.get(self._name, frozenset())
        unsaid = ((why, group.without(single).without(vouched)) for why, group in self.quiet.silent.items())
        self.silent = [(why, group) for why, group in unsaid if group.claims]
        unknown = sum(len(group.claims) for _, group in self.silent)
        rest = count - len(single) - unknown
        healthy = rest if self._answers is not None else len(vouched) - len(vouched & single)
        unmonitored = rest - healthy
        if self._evidence.distrust and healthy:
            self.silent.append(
                (Silence(SilenceReason.VIEW_STALE, self._evidence.distrust), self._doubted(single))
            )
            unknown, healthy = unknown + healthy, 0
        return {
            Verdict.HEALTHY: healthy,
            Verdict.UNHEALTHY: 0,
            Verdict.UNKNOWN: unknown,
            Verdict.UNMONITORED: unmonitored,
        }

    def _doubted(self, single: frozenset[ClaimRef]) -> Silent:
        """Return the claims that would be Healthy if the view were trusted."""
        if self._answers is None:
            return silent(self._evidence.vouched.claims.get(self._name, frozenset()) - single)
        unsaid = frozenset().union(single, *(group.claims for _, group in self.silent))
        return silent(frozenset(ref for refs in self._handles.values() for ref in refs) - unsaid)

    def _owns(self, ref: ClaimRef) -> bool:
        claim = self._claims.get(ref)
        return claim is not None and ref in self._handles.get(claim.handle, ())

    def _judge(self, ref: ClaimRef, claim: Claim, unknown: dict[Silence, list[ClaimRef]]) -> Verdict:
        previous = self._previous.get(ref)
        unchanged = self._still_said(previous, ref, claim)
        if unchanged is not None:
            self.healths[ref] = unchanged
            return unchanged.verdict
        judgement = judge_claim(
            previous,
            answers_about(claim, self._evidence),
            ref=ref,
            uid=claim.uid,
            driver=self._name,
            settings=self._settings,
            now=self._now,
            distrust=self._evidence.distrust,
            before=self._before(ref, claim),
        )
        self._keep(ref, judgement)
        if judgement.verdict is Verdict.UNKNOWN:
            unknown.setdefault(Silence(judgement.unknown_reason, judgement.unknown_message), []).append(ref)
        return judgement.verdict

    def _still_said(self, previous: ClaimHealth | None, ref: ClaimRef, claim: Claim) -> ClaimHealth | None:
        """Return what is remembered of a claim whose driver goes on saying no more and no less than is believed.

        An array that is gone makes its driver accuse every volume, list after list.
        """
        last, answers = self._last, self._answers
        if previous is None or last is None or answers is None or previous is not last.healths.get(ref):
            return None
        answer = answers.others.get(claim.handle)
        then = last.evidence.drivers.get(self._name)
        same = (
            answer is not None
            and answer.outcome is Outcome.ADVERSE
            and then is not None
            and then.others.get(claim.handle) is answer
            and then.driver.state is answers.driver.state is SourceState.ANSWERING
            and last.rules is self._settings.rules
            and previous.uid == claim.uid
            and len(previous.findings) == len(answer.conditions)
            and not any(finding.stale or finding.clear_since for finding in previous.findings)
            and not (previous.pending or previous.recovered or previous.ignored)
            and _heard_alone(claim, self._evidence)
            and _heard_alone(claim, last.evidence)
        )
        return previous if same else None

    def _before(self, ref: ClaimRef, claim: Claim) -> Verdict:
        """Return the last verdict of a claim of which nothing is remembered."""
        if self._last is None or ref in self._last.healths or self._last.evidence.distrust:
            return Verdict.UNKNOWN
        if ref in self._last.healthy or ref in self._last.evidence.vouched.claims.get(self._name, ()):
            return Verdict.HEALTHY
        then = _speaking(self._last.evidence.drivers.get(self._name))
        owned = ref in self._last.members.by_driver.get(self._name, {}).get(claim.handle, ())
        plain = then is not None and claim.handle in then.healthy and claim.handle not in then.others
        return Verdict.HEALTHY if owned and plain else Verdict.UNKNOWN

    def _keep(self, ref: ClaimRef, judgement: Judgement) -> None:
        if judgement.health is not None:
            self.healths[ref] = judgement.health
        elif judgement.verdict is Verdict.HEALTHY:
            self.healthy.append(ref)
        self.transitions += judgement.transitions
        if judgement.due is not None and (self.due is None or judgement.due < self.due):
            self.due = judgement.due


def _speaking(answers: DriverAnswers | None) -> DriverAnswers | None:
    """Return the answers of a driver that can answer at all."""
    if answers is None or answers.driver.state in (SourceState.NOT_ABLE, SourceState.NOT_HEARD):
        return None
    return answers


def _dated(answer: Answer, answers: DriverAnswers) -> Answer:
    """Return an adverse answer as what it is now.

    A driver that goes on saying the same keeps one Answer, dated when that was first heard; how fresh it is, all
    of its answers say together. An answer with a `since` was heard by itself, at its own time. A driver that no
    longer answers at all says nothing, whatever it said before.
    """
    if answer.outcome is not Outcome.ADVERSE:
        return answer
    if answers.driver.state in _DOWN and answers.silence.reason == SilenceReason.DRIVER_UNREACHABLE:
        return answers.silence
    if answer.since is not None:
        return answer
    return replace(answer, at=max(answer.at, answers.at), since=answer.at)


def _parts(refs: Iterable[ClaimRef]) -> Iterator[list[ClaimRef]]:
    """Cut many claims into parts that are sorted in no time."""
    every = iter(refs)
    while part := list(islice(every, _PART)):
        yield part


def _heard_alone(claim: Claim, evidence: Evidence) -> bool:
    """Tell whether nobody but its driver's controller says anything of a claim, and the view is trusted."""
    return not (
        evidence.distrust
        or claim.ref in evidence.claims
        or VolumeId(claim.driver, claim.handle) in evidence.volumes
        or claim.ref in evidence.vouched.nodes
    )


def _by_driver(refs: Iterable[ClaimRef], claims: Mapping[ClaimRef, Claim]) -> Mapping[str, list[ClaimRef]]:
    """Sort claims that the view still has by their driver."""
    sorted_refs: dict[str, list[ClaimRef]] = {}
    for ref in refs:
        claim = claims.get(ref)
        if claim is not None:
            sorted_refs.setdefault(claim.driver, []).append(ref)
    return sorted_refs
