"""What several sources share: the view, which claims are used on which nodes, and the moment that counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from volumehealth.model.clock import Clock
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps, in_parts
from volumehealth.policy.select import Members
from volumehealth.sources.moments import Moment, Moments
from volumehealth.sources.source import Asked, HealthSource
from volumehealth.sources.usage import Usage
from volumehealth.sources.view import SourceView

_GRACE = timedelta(seconds=30)
"""Beside an interval and a timeout: what an agent needs to see a new Pod and to write what it found."""
_PART = 5_000
"""Volumes that are looked at in one step."""


@dataclass(frozen=True, slots=True)
class InUse:
    """A policy's claims where they are used: made anew when its members or the use of claims changed.

    Attributes:
        members: what it was made of.
        version: of the usage that it was made of.
        claims: those of each driver.
        nodes: where any of them is used, in order.
    """

    members: Members
    version: int
    claims: Mapping[str, frozenset[ClaimRef]]
    nodes: tuple[str, ...]


class Context:
    """What sources share.

    Args:
        view: the cluster view, which follows nodes and reports as far as they are to be read.
        clock: time.

    Attributes:
        view: the cluster view.
        usage: which claims are used where.
        moments: knows when the view was stale last.
        moment: the moment of the check that goes on.
    """

    def __init__(self, view: SourceView, clock: Clock) -> None:
        self.view = view
        self._clock = clock
        self._claim_changes, self._pod_changes = view.subscribe(), view.subscribe_pods()
        self.usage = Usage(view.claims, view.pods_of)
        self.moments = Moments(view, clock)
        self.moment: Moment = self.moments.at(clock.now())
        self._in_use: dict[str, InUse] = {}
        self._grace = 0.0

    def follow(self, asked: Asked) -> Steps[None]:
        """Follow the use of claims up to the moment of a check; sources are asked after this."""
        self._grace = max(self._grace, grace_of(asked.policy))
        self.moment = self.moments.at(asked.now)
        claims, pods = self._claim_changes.take(), self._pod_changes.take()
        changed = None if claims is None or pods is None else claims | pods
        now = self._clock.monotonic()
        try:
            yield from self.usage.update(changed, now)
        except BaseException:  # what changed must not be lost with the turn
            self._claim_changes.put_back(claims)
            self._pod_changes.put_back(pods)
            raise
        self.usage.forget_fresh(now - self._grace)

    def in_use(self, asked: Asked) -> Steps[InUse]:
        """Return a policy's claims where they are used; the same object while nothing changed."""
        known, members = self._in_use.get(asked.policy.uid), asked.members
        same = known is not None and known.members is members
        if known is not None and same and known.version == self.usage.version:
            return known
        claims = known.claims if known is not None and same else (yield from _by_driver(members))
        nodes = (
            node
            for node, drivers in self.usage.nodes.items()
            if any(
                not claims[driver].isdisjoint(refs) for driver, refs in drivers.items() if driver in claims
            )
        )
        made = InUse(members, self.usage.version, claims, tuple(sorted(nodes)))
        self._in_use[asked.policy.uid] = made
        return made

    def driver_of(self, ref: ClaimRef) -> str:
        """Return the driver of a claim; empty if there is none."""
        claim = self.view.claims.get(ref)
        return claim.driver if claim is not None else ""

    def forget(self, policy_uid: str) -> None:
        """A policy is gone."""
        self._in_use.pop(policy_uid, None)


class ContextSource(HealthSource):
    """A source that is made of what sources share.

    Args:
        context: what sources share.
    """

    def __init__(self, context: Context) -> None:
        self._context = context


def grace_of(policy: Policy) -> float:
    """Return for how many seconds a Pod must run before its node's silence means that all is well."""
    return (policy.spec.interval + policy.spec.timeout + _GRACE).total_seconds()


def _by_driver(members: Members) -> Steps[dict[str, frozenset[ClaimRef]]]:
    """Return all claims of each driver, some thousands in each step."""
    drivers: dict[str, frozenset[ClaimRef]] = {}
    for driver, handles in members.by_driver.items():
        found: set[ClaimRef] = set()
        for part in in_parts(handles.values(), _PART):
            found.update(chain.from_iterable(part))
            yield
        drivers[driver] = frozenset(found)
    return drivers
