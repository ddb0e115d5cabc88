"""The one result of a check: what the pipeline makes, and what outputs and `volumehealth check` take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from volumehealth.judge.groups import UnknownGroup
from volumehealth.judge.policy import Counts, DriverCounts, PolicyJudgement
from volumehealth.judge.problem import Problem
from volumehealth.judge.storage import StorageJudgement
from volumehealth.model.cluster import Claim, ViewState
from volumehealth.model.health import ClaimHealth, DriverState, Finding, Transition
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import FieldError, Policy
from volumehealth.policy.silence import NOBODY, Silence, Silences


@dataclass(frozen=True, slots=True)
class Agents:
    """`status.agents`: who should report, who does, and who fell silent.

    Attributes:
        expected, reporting: how many.
        silent: the nodes of those that are silent.
        since: since when, by node.
        words: what the claims on their nodes are Unknown for, by node.
    """

    expected: int = 0
    reporting: int = 0
    silent: tuple[str, ...] = ()
    since: Mapping[str, datetime] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One policy as of one check.

    Attributes:
        policy: with the spec in force; its `generation` is what `observedGeneration` says.
        now: the moment of the check.
        judgement: what was judged; None if there was no check (suspended, or nothing can be checked yet).
        claims: the view's rows.
        drivers: the state of every driver whose claims the policy selects, and no other.
        view: how far the view is trusted.
        agents: those whose nodes carry claims of this policy.
        storage: what is confirmed of the storage behind drivers, as nodes see it.
        invalid: why the newest spec cannot be used; `policy.spec` is then the last good one.
        generation: `metadata.generation` of the object; None if it is the policy's own.
        unresolved: configured CSI endpoints that have not answered since the start, so that their driver has no name.
        problems: findings and storage grouped, worst first; the reporter adds them before outputs are given the result.
        silences: of what people are not to be told for now.
        remembered: without a judgement, what was found of its claims before; in records, and perhaps not so any more.
    """

    policy: Policy
    now: datetime
    judgement: PolicyJudgement | None
    claims: Mapping[ClaimRef, Claim]
    drivers: Mapping[str, DriverState]
    view: ViewState
    agents: Agents = Agents()
    storage: StorageJudgement = field(default_factory=StorageJudgement)
    invalid: tuple[FieldError, ...] = ()
    generation: int | None = None
    unresolved: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    silences: Silences = NOBODY
    remembered: Mapping[ClaimRef, ClaimHealth] = field(default_factory=dict)

    def silence(self, ref: ClaimRef, finding: Finding) -> Silence | None:
        """Return the silence that holds for a finding now; None if people are to be told of it."""
        return self.silences.of(ref, finding.node, self.now)

    @property
    def silenced(self) -> Mapping[ClaimRef, Silence]:
        """The unhealthy claims of which every finding is silenced, with the silence that ends first."""
        found: dict[ClaimRef, Silence] = {}
        if not self.silences.any:
            return found
        for ref, health in self.healths.items():
            silences = [self.silence(ref, finding) for finding in health.findings]
            held = [one for one in silences if one is not None]
            if held and len(held) == len(silences):
                found[ref] = min(held, key=lambda one: one.until)
        return found

    @classmethod
    def unjudged(
        cls,
        policy: Policy,
        now: datetime,
        *,
        claims: Mapping[ClaimRef, Claim],
        view: ViewState,
        silences: Silences,
        remembered: Mapping[ClaimRef, ClaimHealth],
        invalid: tuple[FieldError, ...] = (),
    ) -> "CheckResult":
        """Make the result for a policy that was not checked; of what is still to be told some may be silenced."""
        return cls(
            policy=policy,
            now=now,
            judgement=None,
            claims=claims,
            drivers={},
            view=view,
            invalid=invalid,
            silences=silences,
            remembered=remembered,
        )

    @property
    def observed_generation(self) -> int:
        """The generation of the spec that this check speaks of."""
        return self.generation or self.policy.generation

    @property
    def counts(self) -> Counts:
        """How many claims have which verdict; all are 0 if nothing was judged."""
        return self.judgement.counts if self.judgement is not None else Counts()

    @property
    def healths(self) -> Mapping[ClaimRef, ClaimHealth]:
        """What is remembered of claims; sparse, and empty if nothing was judged."""
        return self.judgement.healths if self.judgement is not None else {}

    @property
    def driver_counts(self) -> Mapping[str, DriverCounts]:
        """Claims of each driver by verdict; empty if nothing was judged."""
        return self.judgement.drivers if self.judgement is not None else {}

    @property
    def unknown(self) -> tuple[UnknownGroup, ...]:
        """Claims that are Unknown, grouped, largest group first."""
        return self.judgement.unknown if self.judgement is not None else ()

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """What people are to be notified of."""
        return self.judgement.transitions if self.judgement is not None else ()

    @property
    def turns(self) -> bool:
        """Whether the check found something to begin or to end, which must not be passed over."""
        turned = bool(self.storage.recovered) or any(problem.new for problem in self.storage.problems)
        return turned or bool(self.transitions)

    @property
    def silent_drivers(self) -> tuple[DriverState, ...]:
        """The drivers that should answer and do not, by name."""
        return tuple(driver for _, driver in sorted(self.drivers.items()) if driver.state.is_down)
