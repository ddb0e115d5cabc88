"""The node plane and the Kubernetes plane of a check: everything that is not said by a controller's socket.

Holds what must be remembered between checks (which claims are used where, who vouches for whom) and asks the pure
producers in `kubernetes`, `reports` and `takeback`.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from math import inf

from volumehealth.cluster.resources import AGENT_PODS
from volumehealth.judge.storage import Backend
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import StorageStatement
from volumehealth.model.health import Answer, ClaimHealth, HealthAPI, HealthyOnNodes, Source, SourceState, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.report import agent_lease_name
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members
from volumehealth.sources import kubernetes, reports, waiting
from volumehealth.sources.liveness import AgentLiveness
from volumehealth.sources.observations import Observations, ObservedDriver, PlaneView
from volumehealth.sources.resolved import Place, resolved
from volumehealth.sources.usage import Usage

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
        vouching: the table that `healthy_on_nodes` was made of.
        healthy_on_nodes: the claims that are healthy on their nodes, by driver.
    """

    made_of: tuple[Members, int]
    claims: Mapping[str, frozenset[ClaimRef]]
    nodes: tuple[str, ...]
    vouching: object = None
    healthy_on_nodes: Mapping[str, frozenset[ClaimRef]] = field(default_factory=dict)


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
        self._vouching: reports.Vouching = {}

    def forget(self, policy_uid: str) -> None:
        """A policy is gone."""
        self._owns.pop(policy_uid, None)

    def hear(
        self, policy: Policy, members: Members, healths: Mapping[ClaimRef, ClaimHealth], now: datetime
    ) -> Steps[Observations]:
        """Return what nodes, agents and Kubernetes say of a policy's claims; nothing else may be asked between steps.

        Args:
            policy: with what it wants to hear.
            members: its claims.
            healths: what is remembered of them.
            now: the moment.
        """
        self._grace = max(self._grace, _grace_of(policy))
        moment = self._moment(now)
        yield from self._follow()
        own = self._own(policy.uid, members)
        yield
        everyone = self._agents(moment) if policy.spec.checks.node.enabled else {}
        agents = tuple(everyone[node] for node in own.nodes if node in everyone)
        healthy_on_nodes = yield from self._vouch(policy, own, everyone, moment)
        troubles = self._troubles(policy, moment)
        said: dict[ClaimRef, list[Answer]] = {}
        # The view may change between steps, so each of these is heard in one.
        for statements in (
            self._kubernetes(policy, members, healths, troubles, moment),
            self._nodes(policy, members, agents, moment),
            self._fresh(policy, members, agents, moment),
        ):
            yield
            for ref, answer in statements:
                said.setdefault(ref, []).append(answer)
        yield
        silence = {agent.node: agent for agent in agents}
        for ref, answer in list(
            self._resolved(policy, healths, said, healthy_on_nodes, silence, troubles, moment)
        ):
            said.setdefault(ref, []).append(answer)
        return Observations(
            claims={ref: tuple(answers) for ref, answers in said.items()},
            healthy_on_nodes=healthy_on_nodes,
            expected=len(agents),
            silent={agent.node: agent.silent_since for agent in agents if agent.silent_since is not None},
            storage=self._storage(policy, own, agents, moment),
            drivers=_drivers(agents, members.by_driver),
        )

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

    def _vouch(
        self, policy: Policy, own: _Own, agents: Mapping[str, reports.NodeAgent], moment: _Moment
    ) -> Steps[HealthyOnNodes]:
        if not agents:
            return HealthyOnNodes()
        vouching = yield from self._vouching_now(agents.values())
        if own.vouching is not vouching:
            own.vouching = vouching
            own.healthy_on_nodes = {
                driver: own.claims[driver] & refs.keys()
                for driver, refs in vouching.items()
                if driver in own.claims
            }
        own_words: dict[ClaimRef, tuple[str, ...]] = {}
        tables = (table for driver, table in vouching.items() if driver in own.claims)
        nodes = ChainMap(own_words, *tables)
        claims = own.healthy_on_nodes
        grace = _grace_of(policy)
        for (node, ref), since in self._usage.fresh.items():
            if moment.monotonic - since < grace and node in nodes.get(ref, ()):
                rest = tuple(other for other in nodes[ref] if other != node)
                own_words[ref] = rest
                if not rest:
                    claims = {driver: refs - {ref} for driver, refs in claims.items()}
        return HealthyOnNodes(moment.wall, claims, nodes)

    def _vouching_now(self, agents: Collection[reports.NodeAgent]) -> Steps[reports.Vouching]:
        """Return who vouches for whom in the whole cluster; the same object while nothing changed."""
        signature = [(agent.report, agent.silent_since is None) for agent in agents]
        same = len(signature) == len(self._signature) and all(
            old[0] is new[0] and old[1] is new[1] for old, new in zip(self._signature, signature, strict=True)
        )
        if not same or self._version != self._usage.version:
            self._vouching = yield from reports.vouched_for(agents, self._usage)
            self._signature, self._version = list(signature), self._usage.version
        return self._vouching

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

    def _fresh(
        self, policy: Policy, members: Members, agents: Sequence[reports.NodeAgent], moment: _Moment
    ) -> kubernetes.ClaimAnswers:
        """Tell of claims whose Pod has only just begun to run where their driver will be asked."""
        if not agents or not self._usage.fresh:
            return
        grace, by_node = _grace_of(policy), {agent.node: agent for agent in agents}
        for (node, ref), since in self._usage.fresh.items():
            claim, agent = self._view.claims.get(ref), by_node.get(node)
            young = moment.monotonic - since < grace
            if young and claim is not None and agent is not None and claim.driver in members.by_driver:
                driver = agent.driver(claim.driver) if agent.live is not None else None
                if driver is not None and reports.answers(driver):
                    begun = "has only just begun" if since != inf else "has not begun"
                    words = f"its Pod on {node} {begun} to run"
                    yield ref, reports.silence(str(SilenceReason.NOT_YET_ASKED), words, node, moment.wall)

    # ---- Kubernetes ----

    def _troubles(self, policy: Policy, moment: _Moment) -> Mapping[str, kubernetes.NodeTrouble]:
        if not self._view.follows("nodes"):
            return {}
        nodes, gone = self._view.nodes, self._view.nodes_gone
        missing = self._missing.since(self._usage.nodes, nodes, gone, moment.wall)
        after = policy.spec.checks.node_failure.after
        return kubernetes.troubled_nodes(nodes.values(), missing, after=after, now=moment.wall)

    def _kubernetes(
        self,
        policy: Policy,
        members: Members,
        healths: Mapping[ClaimRef, ClaimHealth],
        troubles: Mapping[str, kubernetes.NodeTrouble],
        moment: _Moment,
    ) -> kubernetes.ClaimAnswers:
        view, usage, drivers, now = self._view, self._usage, members.by_driver, moment.wall
        if policy.spec.checks.node_failure.enabled and troubles:
            yield from kubernetes.node_failures(troubles, usage, drivers=drivers, healths=healths, now=now)
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

    def _resolved(
        self,
        policy: Policy,
        healths: Mapping[ClaimRef, ClaimHealth],
        said: Mapping[ClaimRef, Sequence[Answer]],
        healthy_on_nodes: HealthyOnNodes,
        agents: Mapping[str, reports.NodeAgent],
        troubles: Mapping[str, kubernetes.NodeTrouble],
        moment: _Moment,
    ) -> kubernetes.ClaimAnswers:
        known = all(map(self._view.follows, ("nodes", "csinodes", "volumeattachments")))
        looks = policy.spec.checks.node_failure.enabled

        def heard(ref: ClaimRef) -> set[Place]:
            places = {(answer.source, answer.node) for answer in said.get(ref, ())}
            return places | {(Source.NODE, node) for node in healthy_on_nodes.nodes.get(ref, ())}

        def by_kubernetes(node: str) -> bool:
            return not node or (known and (looks or node not in troubles))

        def by_node(ref: ClaimRef, node: str, carrier: str) -> bool:
            if node not in self._usage.nodes_of(ref):
                return True
            agent, claim = agents.get(node), self._view.claims.get(ref)
            if agent is None:
                return carrier == Via.KUBELET and policy.spec.checks.node.enabled
            driver = agent.driver(claim.driver) if claim is not None and agent.live is not None else None
            # Its own checks speak for a driver that can give no answer: what they do not name is over.
            return driver is not None and (
                driver.state is SourceState.UNSUPPORTED or driver.health_api is HealthAPI.NONE
            )

        return resolved(healths, heard, kubernetes=by_kubernetes, node=by_node, now=moment.wall)

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
                        Source.NODE, (statement.condition,), moment.wall, node=backend.node, via=via
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


def _grace_of(policy: Policy) -> float:
    """Return for how many seconds a Pod must run before its node's silence means that all is well."""
    return (policy.spec.interval + policy.spec.timeout + _GRACE).total_seconds()


def _drivers(agents: Iterable[reports.NodeAgent], wanted: Collection[str]) -> dict[str, ObservedDriver]:
    """Return what live agents report of each driver; a node where it has a health call outweighs those without."""
    found: dict[str, ObservedDriver] = {}
    for agent in agents:
        for driver in agent.live.drivers if agent.live is not None else ():
            if driver.name in wanted and (reports.answers(driver) or reports.cannot_answer(driver)):
                here = ObservedDriver(1, driver.health_api, driver.methods, driver.since)
                known = found.get(driver.name)
                found[driver.name] = here if known is None else _together(known, here)
    return found


def _together(known: ObservedDriver, here: ObservedDriver) -> ObservedDriver:
    able, other = (known.health_api is not HealthAPI.NONE), (here.health_api is not HealthAPI.NONE)
    if able is not other:
        return known if able else here
    return replace(known, nodes=known.nodes + here.nodes, since=min(known.since, here.since))
