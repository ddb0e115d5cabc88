"""One check's judgement: every claim of a policy, and the numbers and groups that its report needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from volumehealth.judge.claim import JudgeSettings
from volumehealth.judge.driver import DriverCounts as DriverCounts  # part of what a judgement holds
from volumehealth.judge.driver import DriverJudge, DriverJudgement
from volumehealth.judge.groups import DriverWide as DriverWide
from volumehealth.judge.groups import UnknownGroup as UnknownGroup
from volumehealth.judge.groups import group_unknown, worst_first
from volumehealth.model.cluster import Claim
from volumehealth.model.health import ClaimHealth, Evidence, Transition
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Steps
from volumehealth.policy.select import Members


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
