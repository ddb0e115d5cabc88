"""The node plane and the Kubernetes plane of a check: everything that is not said by a controller's socket.

Holds what must be remembered between checks (which claims are used where, what agents cover) and asks the pure
producers in `kubernetes`, `reports` and `origins`.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from math import inf

from volumehealth.cluster.resources import AGENT_PODS
from volumehealth.judge.storage import Backend
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import StorageStatement
from volumehealth.model.health import Answer, HealthAPI, HealthyOnNodes, Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.policy import Policy
from volumehealth.model.report import VolumeHealthReport, agent_lease_name
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members
from volumehealth.sources import kubernetes, reports, waiting
from volumehealth.sources.liveness import AgentLiveness
from volumehealth.sources.observations import Observations, ObservedDriver, PlaneView
from volumehealth.sources.origins import PlaneOrigins, StorageOrigins
from volumehealth.sources.usage import Place, Usage

_GRACE = timedelta(seconds=30)
"""Beside an interval and a timeout: what an agent needs to see a new Pod and to write what it found."""


@dataclass(slots=True)
class _Moment:
    """Now, or when the view was last known to be current if it is stale."""

    wall: datetime
    monotonic: float


@dataclass(slots=True)
class _Own:
    """What follows from a policy's members and the use of claims: made anew when one of them changes.

    Attributes:
        made_of: what it was made of.
        claims: those of each driver.
        nodes: where any of them is used, in order.
        covered: what `healthy` and `complete` were made of.
        healthy: the claims that are healthy on their nodes, by driver.
        complete: those at which a node completed every required look.
    """

    made_of: tuple[Members, int]
    claims: Mapping[str, frozenset[ClaimRef]]
    nodes: tuple[str, ...]
    covered: object = None
    healthy: Mapping[str, frozenset[ClaimRef]] = field(default_factory=dict)
    complete: Mapping[str, frozenset[ClaimRef]] = field(default_factory=dict)


class Planes:
    """Hears nodes and Kubernetes, for any number of policies.

    Args:
        view: the cluster view, which follows nodes and reports as far as they are to be heard.
        clock: time.
    """

    def __init__(self, view: PlaneView, *, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._claim_changes, self._pod_changes = view.subscribe(), view.subscribe_pods()
        self._usage = Usage(view.claims, view.pods_of)
        self._missing = kubernetes.Missing()
        self._roll = AgentLiveness()
        self._owns: dict[str, _Own] = {}
        self._stale_since: float | None = None
        self._grace = 0.0
        self._signature: list[tuple[object, bool]] = []
        self._version = -1
        self._covered = reports.Covered()
        self._listed: dict[Place, VolumeHealthReport | None] = {}

    def forget(self, policy_uid: str) -> None:
        """A policy is gone."""
        self._owns.pop(policy_uid, None)

    def hear(self, policy: Policy, members: Members, now: datetime) -> Steps[Observations]:
        """Return what nodes, agents and Kubernetes say of a policy's claims; nothing else may be asked between steps.

        Args:
            policy: with what it wants to hear.
            members: its claims.
            now: the moment.
        """
        self._grace = max(self._grace, _grace_of(policy))
        moment = self._moment(now)
        yield from self._follow()
        own = self._own(policy.uid, members)
        yield
        everyone = self._agents(moment) if policy.spec.checks.node.enabled else {}
        agents = tuple(everyone[node] for node in own.nodes if node in everyone)
        healthy_on_nodes, unasked = yield from self._cover(policy, own, everyone, moment)
        troubles = self._troubles(moment)
        said: dict[ClaimRef, list[Answer]] = {}
        # The view may change between steps, so each of these is observed in one.
        for statements in (
            self._kubernetes(policy, members, troubles, moment),
            self._nodes(policy, members, agents, moment),
            unasked,
        ):
            yield
            for ref, answer in statements:
                said.setdefault(ref, []).append(answer)
        yield
        origins = PlaneOrigins(
            checks=policy.spec.checks,
            driver_of=self._driver_of,
            usage=self._usage,
            agents=everyone if self._view.follows("leases") else None,
            follows=self._view.follows,
            now=moment.wall,
            undecided=lambda ref, node: self._is_undecided(ref, node, troubles),
        )
        return Observations(
            claims={ref: tuple(answers) for ref, answers in said.items()},
            healthy_on_nodes=healthy_on_nodes,
            expected=len(agents),
            silent={agent.node: agent.silent_since for agent in agents if agent.silent_since is not None},
            storage=self._storage(policy, own, agents, moment),
            drivers=_drivers(agents, members.by_driver),
            origins=origins,
            storage_origins=lambda driver: StorageOrigins(driver, origins, partial(self._registers, driver)),
        )

    def _is_undecided(self, ref: ClaimRef, node: str, troubles: Collection[str]) -> bool:
        view = self._view
        return any(
            waiting.is_undecided(pod, ref, view.pod_events, view.claims, troubled=troubles)
            for pod in view.pods_of(ref)
            if pod.node == node
        )

    def _registers(self, driver: str, node: str) -> bool:
        csinode = self._view.csinodes.get(node)
        return csinode is not None and driver in csinode.drivers

    def _driver_of(self, ref: ClaimRef) -> str:
        claim = self._view.claims.get(ref)
        return claim.driver if claim is not None else ""

    # ---- what is followed ----

    def _moment(self, now: datetime) -> _Moment:
        """While the view is stale, nothing has happened since it was last confirmed."""
        state, monotonic = self._view.state(), self._clock.monotonic()
        if state.stale:
            self._stale_since = monotonic - state.age
            return _Moment(now - timedelta(seconds=state.age), self._stale_since)
        if self._stale_since is not None:
            self._roll.outage(self._stale_since, monotonic)
            self._stale_since = None
        return _Moment(now, monotonic)

    def _follow(self) -> Steps[None]:
        claims, pods = self._claim_changes.take(), self._pod_changes.take()
        changed = None if claims is None or pods is None else claims | pods
        now = self._clock.monotonic()
        try:
            yield from self._usage.update_in_steps(changed, now)
        except BaseException:  # what changed must not be lost with the turn
            self._claim_changes.put_back(claims)
            self._pod_changes.put_back(pods)
            raise
        self._usage.forget_fresh(now - self._grace)
        for place in self._listed.keys() - self._usage.fresh.keys():
            del self._listed[place]
        for place, since in self._usage.fresh.items():
            if since == inf or place not in self._listed:
                self._listed[place] = self._view.reports.get(place.node)

    def _own(self, uid: str, members: Members) -> _Own:
        known = self._owns.get(uid)
        made_of = (members, self._usage.version)
        if known is not None and known.made_of[0] is members and known.made_of[1] == made_of[1]:
            return known
        claims = (
            known.claims
            if known is not None and known.made_of[0] is members
            else {
                driver: frozenset(chain.from_iterable(handles.values()))
                for driver, handles in members.by_driver.items()
            }
        )
        nodes = (
            node
            for node, drivers in self._usage.nodes.items()
            if any(
                not claims[driver].isdisjoint(refs) for driver, refs in drivers.items() if driver in claims
            )
        )
        self._owns[uid] = _Own(made_of, claims, tuple(sorted(nodes)))
        return self._owns[uid]

    # ---- agents ----

    def _agents(self, moment: _Moment) -> Mapping[str, reports.NodeAgent]:
        """Return the agents of all nodes in use; where no agent has ever reported, none is expected.

        Nor is one where the DaemonSet wants none and none is alive: the agents were removed, or are kept off the node.
        """
        if not (self._view.follows("leases") and self._view.reports):
            return {}
        by_node = reports.node_reports(self._view.reports.values())
        if not by_node:
            return {}
        leases = self._view.leases
        nodes = [node for node in self._usage.nodes if self._expected(node, moment)]
        return self._roll.call(nodes, by_node, leases, now=moment.wall, monotonic=moment.monotonic)

    def _expected(self, node: str, moment: _Moment) -> bool:
        if not self._view.follows(AGENT_PODS) or node in self._view.agent_nodes:
            return True
        lease = self._view.leases.get(agent_lease_name(node))
        return lease is not None and self._roll.alive(lease, moment.monotonic)

    def _cover(
        self, policy: Policy, own: _Own, agents: Mapping[str, reports.NodeAgent], moment: _Moment
    ) -> Steps[tuple[HealthyOnNodes, kubernetes.ClaimAnswers]]:
        """Return what nodes have nothing against, and what they were not asked about yet."""
        if not agents:
            return HealthyOnNodes(), iter(())
        covered = yield from self._covered_now(agents.values())
        if own.covered is not covered:
            own.covered = covered
            own.healthy = {name: own.claims[name] & covered.healthy.get(name, set()) for name in own.claims}
            own.complete = {name: own.claims[name] & covered.complete.get(name, set()) for name in own.claims}
        tables = (table for driver, table in covered.origins.items() if driver in own.claims)
        old: dict[ClaimRef, tuple[Origin, ...]] = {}
        origins = ChainMap(old, *tables)
        unasked = list(reports.unasked(covered, own.claims, moment.wall))
        for place in self._covered_before_its_pod(policy, agents, moment):
            listed = origins.get(place.claim, ())
            if any(origin.node == place.node for origin in listed):
                old[place.claim] = tuple(origin for origin in listed if origin.node != place.node)
                words = f"its Pod on {place.node} has only just begun to run"
                why = str(SilenceReason.NOT_YET_ASKED)
                unasked.append((place.claim, reports.silence(why, words, place.node, moment.wall)))
        healthy, complete = _without(own.healthy, old), own.complete
        if old:
            complete = {driver: refs - old.keys() for driver, refs in complete.items()}
        return HealthyOnNodes(moment.wall, healthy, complete, origins), iter(unasked)

    def _covered_before_its_pod(
        self, policy: Policy, agents: Mapping[str, reports.NodeAgent], moment: _Moment
    ) -> Iterator[Place]:
        """Yield claims whose Pod began to run after the agent last wrote: what it covers is what was there before."""
        grace = _grace_of(policy)
        for place, since in self._usage.fresh.items():
            agent = agents.get(place.node)
            young = moment.monotonic - since < grace
            if young and agent is not None and agent.report is self._listed.get(place):
                yield place

    def _covered_now(self, agents: Collection[reports.NodeAgent]) -> Steps[reports.Covered]:
        """Return what all agents cover in the whole cluster; the same object while nothing changed."""
        signature = [(agent.report, agent.silent_since is None) for agent in agents]
        same = len(signature) == len(self._signature) and all(
            old[0] is new[0] and old[1] is new[1] for old, new in zip(self._signature, signature, strict=True)
        )
        if not same or self._version != self._usage.version:
            self._covered = yield from reports.covered_by(agents, self._view.claims, self._usage)
            self._signature, self._version = list(signature), self._usage.version
        return self._covered

    def _nodes(
        self, policy: Policy, members: Members, agents: Sequence[reports.NodeAgent], moment: _Moment
    ) -> kubernetes.ClaimAnswers:
        if policy.spec.checks.node.enabled:
            capacity = policy.spec.checks.capacity.enabled
            claims, usage, now = self._view.claims, self._usage, moment.wall
            yield from kubernetes.api_conditions_of_pods(
                self._view.pods_with_volume_health.values(), usage, now
            )
            yield from reports.accusations(agents, claims, usage, capacity=capacity, now=now)
            yield from reports.silences(agents, usage, drivers=members.by_driver, now=now)

    # ---- Kubernetes ----

    def _troubles(self, moment: _Moment) -> Mapping[str, kubernetes.NodeTrouble]:
        if not self._view.follows("nodes"):
            return {}
        nodes, gone = self._view.nodes, self._view.nodes_gone
        missing = self._missing.since(self._usage.nodes, nodes, gone, moment.wall)
        return kubernetes.troubled_nodes(nodes.values(), missing, now=moment.wall)

    def _kubernetes(
        self,
        policy: Policy,
        members: Members,
        troubles: Mapping[str, kubernetes.NodeTrouble],
        moment: _Moment,
    ) -> kubernetes.ClaimAnswers:
        view, usage, drivers, now = self._view, self._usage, members.by_driver, moment.wall
        if policy.spec.checks.node_failure.enabled and troubles:
            after = policy.spec.checks.node_failure.after
            yield from kubernetes.node_failures(troubles, usage, drivers=drivers, after=after, now=now)
        yield from kubernetes.unregistered_drivers(
            view.csinodes, usage, drivers=drivers, troubles=troubles, now=now
        )
        yield from kubernetes.failed_attachments(view.attachments.values(), self._claims_of, now)
        if policy.spec.checks.mount.enabled:
            yield from waiting.pods_that_cannot_mount(
                view.pods_waiting.values(),
                view.pod_events,
                view.claims,
                view.pods_of,
                troubled=troubles,
                now=now,
            )
            yield from waiting.attachments_that_hang(
                view.attachments.values(), self._claims_of, view.pods_of, now=now
            )
        yield from waiting.slow_conditions(view.api_conditions, now=now)
        controller = policy.spec.checks.controller.enabled
        yield from kubernetes.api_conditions_of_claims(view.api_conditions, controller=controller, now=now)

    def _claims_of(self, volume: str) -> Iterable[ClaimRef]:
        claims = self._view.claims
        return (ref for ref in self._view.claims_of(volume) if ref in claims and claims[ref].volume == volume)

    # ---- the storage behind drivers ----

    def _storage(
        self, policy: Policy, own: _Own, agents: Sequence[reports.NodeAgent], moment: _Moment
    ) -> dict[Backend, tuple[tuple[Answer, ...], tuple[ClaimRef, ...]]]:
        """Return what is said of the storage behind drivers, for nodes that use it for a claim of the policy."""
        if not policy.spec.checks.node.enabled:
            return {}
        said: dict[Backend, list[tuple[Via, StorageStatement]]] = {}
        for node in own.nodes:
            registered = self._view.csinodes.get(node)
            for driver, statement in registered.storage if registered is not None else ():
                said.setdefault(Backend(driver, node), []).append((Via.KUBELET, statement))
        for agent in agents:
            for driver, statement in reports.storage_of(agent):
                said.setdefault(Backend(driver, agent.node), []).append((Via.AGENT, statement))
        heard = {}
        for backend, statements in said.items():
            touched = self._touched(own, backend, [statement for _, statement in statements])
            if touched:
                answers = tuple(
                    kubernetes.accusation(
                        Source.NODE,
                        (statement.condition,),
                        moment.wall,
                        node=backend.node,
                        via=via,
                        observer=Observer.DRIVER if via is Via.AGENT else Observer.API,
                    )
                    for via, statement in statements
                )
                heard[backend] = (answers, touched)
        return heard

    def _touched(
        self, own: _Own, backend: Backend, statements: Sequence[StorageStatement]
    ) -> tuple[ClaimRef, ...]:
        claims, used = self._view.claims, self._usage.on(backend.node).get(backend.driver, {})
        return tuple(
            sorted(
                ref
                for ref in used
                if ref in own.claims.get(backend.driver, ())
                and ref in claims
                and any(statement.touches(claims[ref]) for statement in statements)
            )
        )


def _without(
    claims: Mapping[str, frozenset[ClaimRef]], changed: Mapping[ClaimRef, tuple[Origin, ...]]
) -> Mapping[str, frozenset[ClaimRef]]:
    """Take out the claims that no node's driver says are healthy any more; the same object if none changed."""
    gone = {ref for ref, left in changed.items() if all(one.observer is not Observer.DRIVER for one in left)}
    return {driver: refs - gone for driver, refs in claims.items()} if gone else claims


def _grace_of(policy: Policy) -> float:
    """Return for how many seconds a Pod must run before its node's silence means that all is well."""
    return (policy.spec.interval + policy.spec.timeout + _GRACE).total_seconds()


def _drivers(agents: Collection[reports.NodeAgent], wanted: Collection[str]) -> dict[str, ObservedDriver]:
    """Return what live agents report of each driver; a node where it has a health call outweighs those without."""
    found: dict[str, ObservedDriver] = {}
    for agent in agents:
        for driver in agent.live.drivers if agent.live is not None else ():
            if driver.name in wanted and (reports.answers(driver) or reports.cannot_answer(driver)):
                here = ObservedDriver(1, driver.health_api, driver.methods, driver.since)
                known = found.get(driver.name)
                found[driver.name] = here if known is None else _together(known, here)
    unseen, limits = _unseen(agents), _limits(agents)
    return {
        name: replace(driver, unseen=unseen.get(name, {}), limits=frozenset(limits.get(name, ())))
        for name, driver in found.items()
    }


def _limits(agents: Iterable[reports.NodeAgent]) -> dict[str, set[str]]:
    """Return by driver what nodes do not see of claims that they can judge."""
    found: dict[str, set[str]] = {}
    for agent in agents:
        for one in agent.live.limits if agent.live is not None else ():
            found.setdefault(one.driver, set()).add(one.what)
    return found


def _unseen(agents: Iterable[reports.NodeAgent]) -> dict[str, dict[str, int]]:
    """Count by driver, and by why, the claims of which their nodes cannot say that they are healthy."""
    found: dict[str, dict[str, int]] = {}
    for agent in agents:
        for one in agent.live.missing if agent.live is not None else ():
            reasons = found.setdefault(one.driver, {})
            reasons[one.why] = reasons.get(one.why, 0) + 1
    return found


def _together(known: ObservedDriver, here: ObservedDriver) -> ObservedDriver:
    able, other = (known.health_api is not HealthAPI.NONE), (here.health_api is not HealthAPI.NONE)
    if able is not other:
        return known if able else here
    return replace(known, nodes=known.nodes + here.nodes, since=min(known.since, here.since))
