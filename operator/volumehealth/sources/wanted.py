"""What policies together want of drivers' controllers: each volume once, the shortest interval, the longest timeout."""

from collections.abc import Callable, Mapping
from itertools import chain
from operator import is_not
from typing import NamedTuple

from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.policy.select import Members
from volumehealth.probing.spec import FROM_ANYWHERE, ProbeSpec, Topology
from volumehealth.sources.source import Wanted

MembersOf = Callable[[str], Members]
Confirming = Callable[[str], Mapping[str, frozenset[str]]]
"""By a policy's uid: the volumes, by driver, of which something is confirmed, so that only an answer clears them."""


def handles_of(members: Members) -> dict[str, frozenset[str]]:
    """Return the volumes that can be asked about, by driver.

    A Lost claim of which nobody remembers the volume has no handle.
    """
    return {
        driver: frozenset(handles) if "" not in handles else frozenset(handles) - {""}
        for driver, handles in members.by_driver.items()
    }


class _Wish(NamedTuple):
    """What one policy wants of a driver."""

    spec: PolicySpec
    handles: frozenset[str]
    adverse: frozenset[str]
    topology: Topology


class WantedVolumes:
    """Adds up what policies want. While nothing changes, the same objects come back.

    Args:
        members_of: the claims of each policy.
    """

    def __init__(self, members_of: MembersOf) -> None:
        self._members_of = members_of
        self._handles: dict[str, tuple[Members, Mapping[str, frozenset[str]]]] = {}
        self._unions: dict[str, tuple[tuple[frozenset[str], ...], frozenset[str]]] = {}
        self._topologies: dict[str, tuple[tuple[Topology, ...], Topology]] = {}

    def add_up(self, policies: Mapping[str, Policy], confirming: Confirming) -> Wanted:
        """Return what is wanted of each driver.

        Args:
            policies: all with a usable spec, by uid.
            confirming: which of their volumes need confirming.
        """
        users: dict[str, list[_Wish]] = {}
        for uid, policy in policies.items():
            spec = policy.spec
            if spec.suspend or not spec.checks.controller.enabled:
                continue
            bad, topologies = confirming(uid), self._members_of(uid).topologies
            for driver, handles in self._handles_of(uid).items():
                wish = _Wish(
                    spec, handles, bad.get(driver, frozenset()), topologies.get(driver, FROM_ANYWHERE)
                )
                users.setdefault(driver, []).append(wish)
        self._keep(users, policies)
        volumes = {
            driver: ProbeSpec(
                self._union(driver, tuple(wish.handles for wish in wishes)),
                min(wish.spec.interval for wish in wishes),
                max(wish.spec.timeout for wish in wishes),
                frozenset().union(*(wish.adverse for wish in wishes)),
                self._topology(driver, tuple(wish.topology for wish in wishes)),
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
        if known is None or not _same(known[0], parts):
            known = self._unions[driver] = (parts, parts[0] if len(parts) == 1 else frozenset().union(*parts))
        return known[1]

    def _topology(self, driver: str, parts: tuple[Topology, ...]) -> Topology:
        """Put together from which nodes volumes can be reached; the same object comes back, too."""
        known = self._topologies.get(driver)
        if known is None or not _same(known[0], parts):
            known = self._topologies[driver] = (
                parts,
                parts[0] if len(parts) == 1 else dict(chain(*(part.items() for part in parts))),
            )
        return known[1]


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return len(before) == len(now) and not any(map(is_not, before, now))
