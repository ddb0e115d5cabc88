"""What policies together want of drivers' controllers: each volume once, the shortest interval, the longest timeout."""

from collections.abc import Callable, Mapping
from functools import partial
from operator import is_not

from volumehealth.model.cluster import Claim
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.policy.select import Members
from volumehealth.probing.spec import ProbeSpec, Topology
from volumehealth.sources.source import Wanted

MembersOf = Callable[[str], Members]
Confirming = Callable[[str], Mapping[str, frozenset[str]]]
"""By a policy's uid: the volumes, by driver, of which something is confirmed, so that only an answer clears them."""


def handles_of(members: Members) -> dict[str, frozenset[str]]:
    """Return the volumes that can be asked about, by driver.

    A Lost claim of which nobody remembers the volume has no handle.
    """
    return {driver: frozenset(handles) - {""} for driver, handles in members.by_driver.items()}


class WantedVolumes:
    """Adds up what policies want. While nothing changes, the same objects come back.

    Args:
        members_of: the claims of each policy.
        claims: the view's rows.
    """

    def __init__(self, members_of: MembersOf, claims: Mapping[ClaimRef, Claim]) -> None:
        self._members_of = members_of
        self._claims = claims
        self._policies: Mapping[str, Policy] = {}
        self._handles: dict[str, tuple[Members, Mapping[str, frozenset[str]]]] = {}
        self._unions: dict[str, tuple[tuple[frozenset[str], ...], frozenset[str]]] = {}
        self._topologies: dict[str, Topology] = {}

    def add_up(self, policies: Mapping[str, Policy], confirming: Confirming) -> Wanted:
        """Return what is wanted of each driver.

        Args:
            policies: all with a usable spec, by uid.
            confirming: which of their volumes need confirming.
        """
        self._policies = policies
        users: dict[str, list[tuple[PolicySpec, frozenset[str], frozenset[str]]]] = {}
        for uid, policy in policies.items():
            spec = policy.spec
            if spec.suspend or not spec.checks.controller.enabled:
                continue
            bad = confirming(uid)
            for driver, handles in self._handles_of(uid).items():
                users.setdefault(driver, []).append((spec, handles, bad.get(driver, frozenset())))
        self._keep(users, policies)
        volumes = {
            driver: ProbeSpec(
                self._union(driver, tuple(handles for _, handles, _ in wishes)),
                min(spec.interval for spec, _, _ in wishes),
                max(spec.timeout for spec, _, _ in wishes),
                frozenset().union(*(bad for _, _, bad in wishes)),
                self._topologies.setdefault(driver, partial(self._topology, driver)),
            )
            for driver, wishes in users.items()
        }
        return Wanted(
            volumes, frozenset(name for uid in policies for name in self._members_of(uid).by_driver)
        )

    def _keep(self, drivers: Mapping[str, object], policies: Mapping[str, Policy]) -> None:
        """Forget drivers and policies that are not there any more."""
        for memory, present in (
            (self._unions, drivers),
            (self._topologies, drivers),
            (self._handles, policies),
        ):
            for key in memory.keys() - present.keys():
                del memory[key]

    def _handles_of(self, uid: str) -> Mapping[str, frozenset[str]]:
        members = self._members_of(uid)
        known = self._handles.get(uid)
        if known is None or known[0] is not members:
            known = self._handles[uid] = (members, handles_of(members))
        return known[1]

    def _union(self, driver: str, parts: tuple[frozenset[str], ...]) -> frozenset[str]:
        """Unite sets; the same object comes back while they are the same objects."""
        known = self._unions.get(driver)
        if known is None or len(known[0]) != len(parts) or any(map(is_not, known[0], parts)):
            known = self._unions[driver] = (parts, parts[0] if len(parts) == 1 else frozenset().union(*parts))
        return known[1]

    def _topology(self, driver: str, handle: str) -> str:
        """Tell from which nodes a volume can be reached; empty if from all."""
        for uid in self._policies:
            for ref in self._members_of(uid).by_driver.get(driver, {}).get(handle, ()):
                claim = self._claims.get(ref)
                if claim is not None:
                    return claim.topology
        return ""
