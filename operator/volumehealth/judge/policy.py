"""One check's judgement: every claim of a policy, and the numbers and groups that its report needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from volumehealth.judge.claim import JudgeSettings
from volumehealth.model.cluster import Claim
from volumehealth.model.health import ClaimHealth, Evidence, Source, Transition
from volumehealth.model.ids import ClaimRef
from volumehealth.select import Members


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
class UnknownGroup:
    """Claims that are Unknown for one reason.

    Attributes:
        driver: of the claims.
        reason: as the source's silence named it.
        message: one of the messages; messages that differ only in numbers and names are one group.
        claims: how many.
        examples: the first three by name.
    """

    driver: str
    reason: str
    message: str
    claims: int
    examples: tuple[ClaimRef, ...]


@dataclass(frozen=True, slots=True)
class DriverWide:
    """One story for at least 20 claims and half of a driver's claims.

    Attributes:
        driver, source, status, reason: what they have in common.
        claims: how many have it.
        of: how many claims of the driver the policy owns.
        namespaces: in how many namespaces.
        since: when the first of them was first heard.
        message: of that first one.
    """

    driver: str
    source: Source
    status: str
    reason: str
    claims: int
    of: int
    namespaces: int
    since: datetime
    message: str


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
        members, evidence: what was judged; the next check's `last` reads them.
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
    healthy: frozenset[ClaimRef] = frozenset()


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
    """Judge every claim of a policy.

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
    raise NotImplementedError
