"""The pipeline on one screen: select claims, gather what sources say of them, judge; outputs take the result.

A check never waits for a driver. It judges what was said last; drivers are asked by tasks of their own, and what they
say of importance wakes the policies that select them. So a driver that hangs delays nobody's check.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from volumehealth.judge.judge import Judge
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim
from volumehealth.model.explanation import Explanation
from volumehealth.model.health import Verdict
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import FieldError, Policy
from volumehealth.model.steps import Steps
from volumehealth.policy.select import Selection
from volumehealth.policy.silence import NOBODY, Silences
from volumehealth.sources.gather import Sources
from volumehealth.sources.source import Asked
from volumehealth.sources.view import ClaimsView
from volumehealth.sources.wanted import WantedVolumes


class Pipeline:
    """Runs checks. Between steps nothing else may be asked of it, but for `users_of`."""

    def __init__(self, view: ClaimsView, sources: Sources, clock: Clock, silences: Silences = NOBODY) -> None:
        self._view, self._sources, self._clock, self._silences = view, sources, clock, silences
        self.selection, self.judge = Selection(), Judge(view.claims)
        self._wanted = WantedVolumes(self.selection.members, view.claims)
        self._policies: Mapping[str, Policy] = {}

    def follow(
        self,
        policies: Mapping[str, Policy],
        changed: Collection[ClaimRef] | None,
        *,
        relabelled: bool = False,
    ) -> Steps[None]:
        """Select: who holds what now, and what is wanted of which driver. `changed` is None if it may be any claim."""
        gone = self._policies.keys() - policies.keys()
        if policies != self._policies or changed is None or changed or relabelled:
            claims, namespaces = self._view.claims, self._view.namespaces
            yield from self.selection.update(policies, claims, namespaces, changed)
            self.judge.follow(policies, self.selection.owner, self._clock.now())
        self._policies = policies
        for uid in gone:
            self.forget(uid)
        self._sources.want(self._wanted.add_up(policies, self.judge.to_confirm))

    def check(self, policy: Policy) -> Steps[CheckResult]:
        """Gather, judge, and remember what was found."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        members, view, claims = self.selection.members(policy.uid), self._view.state(), self._view.claims
        said = yield from self._sources.gather(Asked(policy, members, now), view.stale)
        judged = self.judge.judge_claims(policy, members, said.evidence, now=now, monotonic=monotonic)
        return CheckResult(
            policy=policy,
            now=now,
            judgement=(yield from judged),
            claims=claims,
            drivers=said.drivers,
            view=view,
            agents=said.agents,
            storage=self.judge.judge_storage(policy, said.storage, view.stale, now=now, monotonic=monotonic),
            unresolved=said.unresolved,
            silences=self._silences,
        )

    def unchecked(self, policy: Policy, faults: Sequence[FieldError]) -> CheckResult:
        """Return the result for a policy that is suspended, or whose spec cannot be used."""
        now, view, claims = self._clock.now(), self._view.state(), self._view.claims
        return CheckResult.unjudged(policy, now, claims=claims, view=view, invalid=tuple(faults))

    def explain(self, claim: Claim) -> Explanation:
        """Return all that is known of one claim as of its policy's last check."""
        policy = self._policies.get(self.selection.owner(claim.ref) or "")
        about = Explanation.of(claim, self._clock.now())
        if policy is None:
            return replace(about, why=self.selection.why_not(claim))
        about = replace(about, policy=policy.name, why=self.selection.why(claim.ref))
        if not claim.driver:
            return replace(about, verdict=Verdict.UNMONITORED, unknown_message=claim.unsupported)
        told = self.judge.explain(policy, claim, about)
        node = told.findings[0].node if told.findings else ""
        silence = self._silences.of(claim.ref, node, about.at)
        return replace(told, silenced=silence.text if silence is not None else "")

    def forget(self, uid: str) -> None:
        """A policy is gone."""
        self.judge.forget(uid)
        self._sources.forget(uid)

    def users_of(self, driver: str) -> list[str]:
        """Return the uids of the policies that own claims of a driver."""
        return [uid for uid in self._policies if driver in self.selection.members(uid).by_driver]
