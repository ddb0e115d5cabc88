"""The pipeline on one screen: select claims, gather what sources say of them, judge; outputs take the result.

A check never waits for a driver. It judges what was said last; drivers are asked by tasks of their own, and what they
say of importance wakes the policies that select them. So a driver that hangs delays nobody's check.
"""

from collections.abc import Collection, Mapping

from volumehealth.judge.judge import Judge
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim
from volumehealth.model.explanation import Explanation
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps
from volumehealth.policy.select import Selection
from volumehealth.policy.silence import NOBODY, Silences
from volumehealth.sources.gather import Sources
from volumehealth.sources.source import Asked
from volumehealth.sources.view import ClaimsView
from volumehealth.sources.wanted import WantedVolumes

Policies = Mapping[str, Policy]  # by uid
Changed = Collection[ClaimRef] | None


class Pipeline:
    """Runs checks. Between steps nothing else may be asked of it, but for `users_of`."""

    def __init__(self, view: ClaimsView, sources: Sources, clock: Clock, silences: Silences = NOBODY) -> None:
        self._view, self._sources, self._clock, self.silences = view, sources, clock, silences
        self.selection, self.judge = Selection(), Judge(view.claims)
        self._wanted = WantedVolumes(self.selection.members)
        self._policies: Policies = {}

    def follow(
        self, policies: Policies, changed: Changed, *, gone: Collection[str] = (), relabelled: bool = False
    ) -> Steps[None]:
        """Select: who holds what now, and what is wanted of which driver.

        `changed` is None if it may be any claim. Of policies that are `gone` (uids) nothing is remembered.
        """
        if policies != self._policies or changed is None or changed or relabelled:
            yield from self.selection.update(policies, self._view.claims, self._view.namespaces, changed)
            now, monotonic = self._clock.now(), self._clock.monotonic()
            yield from self.judge.follow(policies, self.selection.owner, now, monotonic)
        self._policies = policies
        for uid in gone:
            self.judge.forget(uid)
            self._sources.forget(uid)
        self._sources.want((yield from self._wanted.add_up(policies, self.judge.to_confirm)))

    def check(self, policy: Policy) -> Steps[CheckResult]:
        """Gather, judge, and remember what was found."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        members, view, claims = self.selection.members(policy.uid), self._view.state(), self._view.claims
        said = yield from self._sources.gather(Asked(policy, members, now), view.stale)
        judged = self.judge.judge_claims(policy, members, said, now=now, monotonic=monotonic)
        return CheckResult(
            policy=policy,
            now=now,
            judgement=(yield from judged),
            claims=claims,
            drivers=said.states,
            view=view,
            agents=said.agents,
            storage=self.judge.judge_storage(policy, said.storage, view.stale, now=now, monotonic=monotonic),
            unresolved=said.unresolved,
            silences=self.silences,
        )

    def explain(self, claim: Claim) -> Explanation:
        """Return all that is known of one claim as of its policy's last check."""
        policy = self._policies.get(self.selection.owner(claim.ref) or "")
        return self.judge.explain(claim, policy, self.selection, self.silences, self._clock.now())

    def users_of(self, driver: str) -> list[str]:
        """Return the uids of the policies that own claims of a driver."""
        return [uid for uid in self._policies if driver in self.selection.members(uid).by_driver]
