"""What policies together want of drivers' controllers: each volume once, the shortest interval, the longest timeout."""

from collections.abc import Callable, Mapping
from itertools import chain
from operator import is_not
from typing import NamedTuple, TypeVar

from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import Steps
from volumehealth.policy.select import Members
from volumehealth.probing.spec import FROM_ANYWHERE, ProbeSpec, Topology
from volumehealth.sources.source import Wanted

_Part = TypeVar("_Part")
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

    def add_up(self, policies: Mapping[str, Policy], confirming: Confirming) -> Steps[Wanted]:
        """Return what is wanted of each driver; the volumes of one policy are collected in one step.

        Args:
            policies: all with a usable spec, by uid.
            confirming: which of their volumes need confirming.
        """
        users: dict[str, list[_Wish]] = {}
        names: set[str] = set()
        for uid, policy in policies.items():
            members, spec = self._members_of(uid), policy.spec
            if not members.by_driver:
                self._handles.pop(uid, None)
                continue  # of a hundred policies most hold nothing
            names.update(members.by_driver)
            if spec.suspend or not spec.checks.controller.enabled:
                continue
            bad, topologies = confirming(uid), members.topologies
            for driver, handles in self._handles_of(uid, members).items():
                wish = _Wish(
                    spec, handles, bad.get(driver, frozenset()), topologies.get(driver, FROM_ANYWHERE)
                )
                users.setdefault(driver, []).append(wish)
            yield
        self._keep(users, policies)
        volumes = {
            driver: ProbeSpec(
                _combined(self._unions, driver, tuple(wish.handles for wish in wishes), _united),
                min(wish.spec.interval for wish in wishes),
                max(wish.spec.timeout for wish in wishes),
                frozenset().union(*(wish.adverse for wish in wishes)),
                _combined(self._topologies, driver, tuple(wish.topology for wish in wishes), _merged),
            )
            for driver, wishes in users.items()
        }
        yield
        return Wanted(volumes, frozenset(names))

    def _keep(self, drivers: Mapping[str, object], policies: Mapping[str, Policy]) -> None:
        """Forget drivers and policies that are not there any more."""
        for memory, present in (
            (self._unions, drivers),
            (self._topologies, drivers),
            (self._handles, policies),
        ):
            for key in memory.keys() - present.keys():
                del memory[key]

    def _handles_of(self, uid: str, members: Members) -> Mapping[str, frozenset[str]]:
        known = self._handles.get(uid)
        if known is None or known[0] is not members:
            known = self._handles[uid] = (members, handles_of(members))
        return known[1]


def _combined(
    memory: dict[str, tuple[tuple[_Part, ...], _Part]],
    driver: str,
    parts: tuple[_Part, ...],
    combine: Callable[[tuple[_Part, ...]], _Part],
) -> _Part:
    """Combine what several policies have of a driver; the same object comes back while they are the same objects."""
    known = memory.get(driver)
    if known is None or len(known[0]) != len(parts) or any(map(is_not, known[0], parts)):
        known = memory[driver] = (parts, parts[0] if len(parts) == 1 else combine(parts))
    return known[1]


def _united(parts: tuple[frozenset[str], ...]) -> frozenset[str]:
    return frozenset().union(*parts)


def _merged(parts: tuple[Topology, ...]) -> Topology:
    return dict(chain(*(part.items() for part in parts)))
