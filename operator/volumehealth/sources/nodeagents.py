"""What node agents report: what is said against claims on their nodes, and what was looked at.

What they cover is remembered between checks, since it changes only with a report, an agent's life or a Pod.
"""

from collections import ChainMap, Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import inf

from volumehealth.cluster.resources import AGENT_PODS
from volumehealth.judge.result import Agents
from volumehealth.judge.storage import Backend
from volumehealth.model.cluster import Claim, StorageStatement
from volumehealth.model.health import Answer, HealthAPI, HealthyOnNodes, Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import ON_NODES, Observer, Origin
from volumehealth.model.policy import Checks, Policy
from volumehealth.model.report import ReportedDriver, ReportedVolume, VolumeHealthReport, agent_lease_name
from volumehealth.model.steps import Steps
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.sources import origins, reports
from volumehealth.sources.context import Context, ContextSource, InUse, grace_of
from volumehealth.sources.moments import last_round
from volumehealth.sources.source import (
    OF_STORAGE,
    Asked,
    Observed,
    ObservedDriver,
    Statements,
)
from volumehealth.sources.storage import is_said_still, is_used, observed_storage
from volumehealth.sources.usage import Place, Usage

_AGENTS = Mapping[str, reports.NodeAgent]
_Entry = tuple[str, str, str, Observer | None]
_USAGE, _STORAGE = "NodeGetVolumeStats", "NodeGetStorageHealth"
"""The calls that tell how full volumes are, and how the storage behind a driver is."""


@dataclass(slots=True)
class _OfPolicy:
    """Which of a policy's claims agents cover: made anew when its claims, or what agents cover, changed.

    Attributes:
        made_of: what it was made of.
        healthy: the claims that are healthy on their nodes, by driver.
        complete: those at which a node completed every required look.
    """

    made_of: tuple[object, object] = (None, None)
    healthy: Mapping[str, frozenset[ClaimRef]] = field(default_factory=dict)
    complete: Mapping[str, frozenset[ClaimRef]] = field(default_factory=dict)


class _Entries:
    """Since when reports have said what they say against volumes, by our own clock.

    An agent writes what changes, and nothing else: an entry that stays was heard again in every round of asking.
    """

    def __init__(self) -> None:
        self._before: dict[_Entry, tuple[object, float]] = {}
        self._now: dict[_Entry, tuple[object, float]] = {}

    def begin(self) -> None:
        """Begin to read the reports anew: what is not in them any more is forgotten."""
        self._before, self._now = self._now, {}

    def since(self, volume: ReportedVolume, answer: Answer, monotonic: float) -> float:
        """Return since when an entry says this, in monotonic seconds."""
        key = (answer.node, volume.claim_uid, volume.handle, answer.observer)
        said = tuple(one for one in volume.conditions if one.origin is answer.observer)
        known = self._before.get(key)
        if known is None or known[0] != said:
            known = said, monotonic
        self._now[key] = known
        return known[1]


class NodeAgents(ContextSource):
    """What the agents of nodes report."""

    name = "NodeAgents"
    observers = frozenset((Source.NODE, one) for one in ON_NODES)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._liveness = reports.AgentLiveness(context.moments)
        self._of_policies: dict[str, _OfPolicy] = {}
        self._version = -1
        self._covered = reports.Covered()
        self._parts: dict[str, tuple[VolumeHealthReport | None, reports.Covered]] = {}
        self._entries: dict[str, _Entries] = {}
        self._arrived: dict[str, tuple[VolumeHealthReport | None, float]] = {}
        self._listed: dict[Place, tuple[float, VolumeHealthReport | None]] = {}
        self._idle: dict[Place, float] = {}

    def forget(self, policy_uid: str) -> None:
        """A policy is gone."""
        self._of_policies.pop(policy_uid, None)
        self._entries.pop(policy_uid, None)

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return what agents report of the policy's claims, and what they cover."""
        self._list()
        checks, now = asked.policy.spec.checks, self._context.moment.wall
        on, capacity = checks.node.enabled, checks.capacity.enabled
        in_use = yield from self._context.in_use(asked)
        yield
        everyone = self._agents() if on or capacity else {}
        agents = tuple(everyone[node] for node in in_use.nodes if node in everyone)
        covered, unasked = yield from self._cover(asked.policy, in_use, everyone)
        covered = replace(covered, asked=self._asked(agents, asked.policy.spec.interval))
        if not on:
            covered, unasked = _of_capacity(covered), ()
        yield
        readable = everyone if self._context.view.follows("leases") else None
        silent = {agent.node: agent.silent_since for agent in agents if agent.silent_since is not None}
        words = {
            agent.node: clean_message(reports.silent_words(agent)) for agent in agents if agent.node in silent
        }

        def used(backend: Backend) -> bool:
            return is_used(self._context, in_use, backend)

        return Observed(
            statements=self._statements(asked, agents, unasked),
            covered=covered,
            agents=Agents(len(agents), len(agents) - len(silent), tuple(sorted(silent)), silent, words),
            storage=self._storage(in_use, agents) if on else {},
            storage_origins=lambda driver: _AgentStorage(driver, on, readable, used, now),
            on_nodes=_drivers(agents, in_use.claims, self._context.view.claims) if on else {},
            origins=_Agents(checks, self._context.view.claims, self._context.usage, readable, now),
        )

    def _list(self) -> None:
        """Note which report was there when a Pod began to run: it says nothing about that Pod's volumes."""
        fresh = self._context.usage.fresh
        for place in self._listed.keys() - fresh.keys():
            del self._listed[place]
        for place, since in fresh.items():
            listed = self._listed.get(place)
            if since == inf or listed is None or listed[0] != since:
                self._listed[place] = since, self._context.view.reports.get(place.node)
        now = self._context.moment.monotonic
        self._idle = {place: self._idle.get(place, now) for place, since in fresh.items() if since == inf}

    def _agents(self) -> _AGENTS:
        """Return the agents of all nodes in use; where no agent has ever reported, none is expected.

        Nor is one where the DaemonSet wants none and none is alive: the agents were removed, or are kept off the node.
        One that is alive, or has its Pod there, has reported or will, though somebody may have deleted what it wrote.
        """
        view, moment = self._context.view, self._context.moment
        if not view.follows("leases"):
            return {}
        by_node = reports.node_reports(view.reports.values())
        if not (by_node or view.leases or view.agent_nodes):
            return {}  # nobody ever ran one
        expected = self._expected if by_node else self._is_there
        nodes = [node for node in self._context.usage.nodes if expected(node)]
        return self._liveness.evaluate(nodes, by_node, view.leases, moment)

    def _expected(self, node: str) -> bool:
        return not self._context.view.follows(AGENT_PODS) or self._is_there(node)

    def _is_there(self, node: str) -> bool:
        return node in self._context.view.agent_nodes or self._lives(node)

    def _lives(self, node: str) -> bool:
        lease = self._context.view.leases.get(agent_lease_name(node))
        return lease is not None and self._liveness.alive(lease, self._context.moment.monotonic)

    def _statements(
        self, asked: Asked, agents: Sequence[reports.NodeAgent], unasked: Statements
    ) -> Statements:
        claims, usage = self._context.view.claims, self._context.usage
        checks, now = asked.policy.spec.checks, self._context.moment.wall
        wanted = frozenset(
            one for one in ON_NODES if (checks.capacity if one is Observer.CAPACITY else checks.node).enabled
        )
        entries = self._entries.setdefault(asked.policy.uid, _Entries())
        entries.begin()
        interval, moment = asked.policy.spec.interval, self._context.moment

        def heard(volume: ReportedVolume, answer: Answer) -> datetime:
            return last_round(entries.since(volume, answer, moment.monotonic), interval, moment)

        yield from reports.adverse_answers(agents, claims, usage, wanted=wanted, now=now, heard=heard)
        if checks.node.enabled:
            yield from reports.silences(agents, usage, drivers=asked.members.by_driver, now=now)
        yield from unasked

    def _asked(self, agents: Iterable[reports.NodeAgent], interval: timedelta) -> Mapping[str, datetime]:
        """Return by node when its drivers were asked last, given when what they report was written."""
        moment = self._context.moment
        for node in self._arrived.keys() - self._context.usage.nodes:
            del self._arrived[node]
        asked = {}
        for agent in agents:
            arrived = self._arrived.get(agent.node)
            if arrived is None or arrived[0] is not agent.report:
                arrived = self._arrived[agent.node] = agent.report, moment.monotonic
            asked[agent.node] = last_round(arrived[1], interval, moment)
        return asked

    def _storage(self, in_use: InUse, agents: Iterable[reports.NodeAgent]) -> dict[Backend, OF_STORAGE]:
        said = _storage_statements(agents)
        return observed_storage(self._context, in_use, said, via=Via.AGENT, observer=Observer.DRIVER)

    # ---- what they cover ----

    def _cover(
        self, policy: Policy, in_use: InUse, agents: _AGENTS
    ) -> Steps[tuple[HealthyOnNodes, Statements]]:
        """Return what nodes have nothing against, and what they were not asked about yet."""
        if not agents:
            return HealthyOnNodes(), ()
        now = self._context.moment.wall
        covered = yield from self._covered_now(agents.values())
        own = self._of_policies.setdefault(policy.uid, _OfPolicy())
        if own.made_of[0] is not in_use or own.made_of[1] is not covered:
            own.made_of, claims = (in_use, covered), in_use.claims
            own.healthy = {name: claims[name] & covered.healthy.get(name, set()) for name in claims}
            own.complete = {name: claims[name] & covered.complete.get(name, set()) for name in claims}
        tables = (table for driver, table in covered.origins.items() if driver in in_use.claims)
        old: dict[ClaimRef, tuple[Origin, ...]] = {}
        by_claim = ChainMap(old, *tables)
        # Where no Pod has begun to run for long, for want of its image say, a claim is not in use yet.
        begun = self._context.moment.monotonic - grace_of(policy)
        idle = {place for place, since in self._idle.items() if since <= begun}
        told = reports.unasked(covered, in_use.claims, now)
        unasked = [(ref, answer) for ref, answer in told if not idle or Place(answer.node, ref) not in idle]
        for place in self._covered_before_its_pod(policy, agents):
            listed = by_claim.get(place.claim, ())
            if all(origin.node != place.node for origin in listed):
                continue
            old[place.claim] = tuple(origin for origin in listed if origin.node != place.node)
            if place not in idle:
                words = f"its Pod on {place.node} does not run yet, or has only just begun to"
                why = str(SilenceReason.NOT_YET_ASKED)
                unasked.append((place.claim, reports.silence(why, words, place.node, now)))
        healthy, complete = _without(own.healthy, old), own.complete
        if old:
            complete = {driver: refs - old.keys() for driver, refs in complete.items()}
        return HealthyOnNodes(now, healthy, complete, by_claim), unasked

    def _covered_before_its_pod(self, policy: Policy, agents: _AGENTS) -> Iterator[Place]:
        """Yield claims whose Pod began to run after the agent last wrote: what it covers is what was there before."""
        grace, monotonic = grace_of(policy), self._context.moment.monotonic
        for place, since in self._context.usage.fresh.items():
            agent = agents.get(place.node)
            young = monotonic - since < grace
            listed = self._listed.get(place)
            if young and agent is not None and listed is not None and agent.report is listed[1]:
                yield place

    def _covered_now(self, agents: Collection[reports.NodeAgent]) -> Steps[reports.Covered]:
        """Return what all agents cover in the whole cluster; the same object while nothing changed."""
        usage = self._context.usage
        known = self._parts if self._version == usage.version else {}
        parts = {}
        for agent in agents:
            part = known.get(agent.node)
            if part is None or part[0] is not agent.live:
                part = agent.live, reports.covered_by(agent, self._context.view.claims, usage)
                yield
            parts[agent.node] = part
        same = len(parts) == len(known) and all(part is known.get(node) for node, part in parts.items())
        if not same or self._version != usage.version:
            self._covered = yield from reports.together(part for _, part in parts.values())
            self._version, self._parts = usage.version, parts
        return self._covered


def _of_capacity(covered: HealthyOnNodes) -> HealthyOnNodes:
    """Return what is left of it for a policy that wants nothing of nodes but how full volumes are."""
    return HealthyOnNodes(covered.at, covered=_OnlyCapacity(covered.covered), asked=covered.asked)


class _OnlyCapacity(Mapping[ClaimRef, tuple[Origin, ...]]):
    """Of what agents have nothing against, how full volumes are; read claim by claim, as few are asked for."""

    def __init__(self, covered: Mapping[ClaimRef, tuple[Origin, ...]]) -> None:
        self._covered = covered

    def __getitem__(self, ref: ClaimRef) -> tuple[Origin, ...]:
        return tuple(one for one in self._covered[ref] if one.observer is Observer.CAPACITY)

    def __iter__(self) -> Iterator[ClaimRef]:
        return iter(self._covered)

    def __len__(self) -> int:
        return len(self._covered)


def _without(
    claims: Mapping[str, frozenset[ClaimRef]], changed: Mapping[ClaimRef, tuple[Origin, ...]]
) -> Mapping[str, frozenset[ClaimRef]]:
    """Take out the claims that no node's driver says are healthy any more; the same object if none changed."""
    gone = {ref for ref, left in changed.items() if all(one.observer is not Observer.DRIVER for one in left)}
    return {driver: refs - gone for driver, refs in claims.items()} if gone else claims


def _storage_statements(
    agents: Iterable[reports.NodeAgent],
) -> Iterator[tuple[Backend, StorageStatement]]:
    for agent in agents:
        for driver, statement in reports.storage_of(agent):
            yield Backend(driver, agent.node), statement


def _drivers(
    agents: Collection[reports.NodeAgent],
    wanted: Mapping[str, frozenset[ClaimRef]],
    claims: Mapping[ClaimRef, Claim],
) -> dict[str, ObservedDriver]:
    """Return what live agents report of each driver; nodes where it has a health call outweigh those without."""
    told: dict[str, list[ReportedDriver]] = {}
    for agent in agents:
        for driver in agent.live.drivers if agent.live is not None else ():
            if driver.name in wanted and (reports.answers(driver) or reports.cannot_answer(driver)):
                told.setdefault(driver.name, []).append(driver)
    unseen, limits = _unseen(agents, wanted, claims), _limits(agents)
    return {
        name: _together(drivers, unseen.get(name, {}), frozenset(limits.get(name, ())))
        for name, drivers in told.items()
    }


def _together(
    told: Sequence[ReportedDriver], unseen: Mapping[str, int], limits: frozenset[str]
) -> ObservedDriver:
    identified = [driver for driver in told if driver.methods or not driver.state.is_down]
    able = [driver for driver in identified if driver.health_api is not HealthAPI.NONE] or identified or told
    since = min(driver.since for driver in able)
    return ObservedDriver(
        len(able), able[0].health_api, able[0].methods, since, unseen, limits, identified=bool(identified)
    )


def _limits(agents: Iterable[reports.NodeAgent]) -> dict[str, set[str]]:
    """Return by driver what nodes do not see of claims that they can judge."""
    found: dict[str, set[str]] = {}
    for agent in agents:
        for one in agent.live.limits if agent.live is not None else ():
            found.setdefault(one.driver, set()).add(one.what)
    return found


def _unseen(
    agents: Iterable[reports.NodeAgent],
    wanted: Mapping[str, frozenset[ClaimRef]],
    claims: Mapping[ClaimRef, Claim],
) -> dict[str, dict[str, int]]:
    """Count by driver, and by why, the claims that are wanted and of which no node can say that they are healthy.

    A claim that is used on several nodes is one claim.
    """
    found: dict[str, dict[ClaimRef, str]] = {}
    for agent in agents:
        for one in agent.live.missing if agent.live is not None else ():
            ref = ClaimRef(one.namespace, one.claim)
            claim = claims.get(ref) if ref in wanted.get(one.driver, ()) else None
            if claim is not None and claim.uid == one.claim_uid:
                found.setdefault(one.driver, {}).setdefault(ref, one.why)
    return {driver: dict(Counter(reasons.values())) for driver, reasons in found.items()}


@dataclass(frozen=True, slots=True)
class _Agents:
    """What observers on nodes are that give no answer, for one policy at one moment.

    Attributes:
        checks: what the policy wants.
        claims: the view's rows.
        usage: which claims are used where.
        agents: by node; None where agents may not be read now.
        now: the moment.
    """

    checks: Checks
    claims: Mapping[ClaimRef, Claim]
    usage: Usage
    agents: _AGENTS | None
    now: datetime

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if origin.observer is Observer.CAPACITY and not self.checks.capacity.enabled:
            return origins.switched_off(origin, self.now, "capacity")
        if origin.observer is not Observer.CAPACITY and not self.checks.node.enabled:
            return origins.switched_off(origin, self.now, "node")
        if origin.node not in self.usage.nodes_of(claim):
            return origins.unused(origin, self.now)
        row = self.claims.get(claim)
        spaceless = origin.observer is Observer.CAPACITY and row is not None and not row.minds_space
        if row is not None and spaceless and not self._reaches(row.driver, origin, reason):
            return origins.ended(origin, self.now, f"{origins.NO_LONGER}: how full it is means nothing")
        if self.agents is None:
            return origins.silent(origin, self.now, SilenceReason.VIEW_STALE, "agents may not be read")
        agent = self.agents.get(origin.node)
        if agent is None:
            return origins.ended(origin, self.now, f"{origins.NO_LONGER}: no agent runs on {origin.node}")
        return self._of_agent(row.driver if row is not None else "", origin, agent)

    def _reaches(self, driver: str, origin: Origin, reason: str) -> bool:
        """Tell whether it was said that a volume cannot be reached, by a call that is made whatever its space means."""
        if reason != Reason.BACKEND_ERROR or not self.checks.node.enabled:
            return False
        agent = self.agents.get(origin.node) if self.agents is not None else None
        told = agent.driver(driver) if agent is not None else None
        return told is None or told.health_api is not HealthAPI.VOLUME_HEALTH

    def _of_agent(self, name: str, origin: Origin, agent: reports.NodeAgent) -> Answer:
        """Say what an agent's origin is that does not cover a claim now."""
        if agent.live is None:
            words = reports.silent_words(agent)
            return origins.silent(origin, self.now, SilenceReason.AGENT_SILENT, words)
        driver = agent.driver(name)
        lost = driver is not None and reports.cannot_answer(driver) and not driver.state.is_down
        if origin.observer is Observer.DRIVER and lost:
            why = f"{origins.NO_LONGER}: {name} has no health call on {origin.node}"
            return origins.ended(origin, self.now, why)
        mute = driver is not None and not driver.state.is_down and _USAGE not in driver.methods
        if origin.observer is Observer.CAPACITY and mute:
            why = f"{origins.NO_LONGER}: {name} does not tell on {origin.node} how full its volumes are"
            return origins.ended(origin, self.now, why)
        unseen = agent.unseen(origin.observer)
        if unseen is not None and unseen.off:
            return origins.ended(origin, self.now, f"{origins.NO_LONGER}: {unseen.why}", delay=timedelta(0))
        if unseen is not None:
            words = f"{origin.node}: {unseen.why}"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, words)
        words = f"the agent on {origin.node} did not look at it"
        return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, words)


@dataclass(frozen=True, slots=True)
class _AgentStorage:
    """What agents are that say nothing of the storage behind a driver any more.

    Attributes:
        driver: its name.
        on: whether the policy wants them.
        agents: by node; None where agents may not be read now.
        used: whether claims of the policy use a driver on a node.
        now: the moment.
    """

    driver: str
    on: bool
    agents: _AGENTS | None
    used: Callable[[Backend], bool]
    now: datetime

    def state_of(self, _claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if not self.on:
            return origins.switched_off(origin, self.now, "node")
        if not self.used(Backend(self.driver, origin.node)):
            return origins.unused(origin, self.now)
        if self.agents is None:
            return origins.silent(origin, self.now, SilenceReason.VIEW_STALE, "agents may not be read")
        agent = self.agents.get(origin.node)
        if agent is None:
            return origins.ended(origin, self.now, f"{origins.NO_LONGER}: no agent runs on {origin.node}")
        if agent.live is None:
            words = reports.silent_words(agent)
            return origins.silent(origin, self.now, SilenceReason.AGENT_SILENT, words)
        return self._of_agent(origin, agent, reason)

    def _of_agent(self, origin: Origin, agent: reports.NodeAgent, reason: str) -> Answer:
        driver = agent.driver(self.driver)
        if driver is not None and driver.state.is_down:
            return origins.silent(origin, self.now, SilenceReason.DRIVER_UNREACHABLE, driver.message)
        if driver is None and agent.live is not None and agent.live.omitted.drivers:
            why = f"the report of {origin.node} is too long: it leaves drivers out"
            return origins.silent(origin, self.now, SilenceReason.LIST_INCOMPLETE, why)
        if driver is None or _STORAGE not in driver.methods:
            why = f"{origins.NO_LONGER}: {self.driver} says nothing of its storage on {origin.node}"
            return origins.ended(origin, self.now, why)
        said = (one for name, one in reports.storage_of(agent) if name == self.driver)
        if is_said_still(said, reason):
            return origins.unused(origin, self.now)  # it is said still, and touches no claim of the policy
        return origins.speaks(origin, self.now)
