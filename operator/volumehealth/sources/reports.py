"""What agents' reports say of claims: who is alive, what is said against claims, what was looked at.

Nearly every claim is well on its node and named as covered only, so it is not looked at one by one: what origins cover
is kept in tables that are made anew only when a report, an agent's life or a Pod changed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import Claim, Pod, StorageStatement
from volumehealth.model.health import Answer, Condition, HealthAPI, Outcome, Source, SourceState, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import ASKED, Observer, Origin
from volumehealth.model.report import (
    AGENT_RENEW_SECONDS,
    Plane,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    UnseenOrigin,
    VolumeHealthReport,
    agent_lease_name,
)
from volumehealth.model.steps import Steps
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.sources.kubernetes import ClaimAnswers
from volumehealth.sources.moments import Moment, Moments
from volumehealth.sources.usage import Usage

Heard = Callable[[ReportedVolume, Answer], datetime]
"""Tells when an answer that is made of an entry was heard last."""
_NOTHING_SAID: frozenset[Observer] = frozenset()
_COMEBACK = AGENT_RENEW_SECONDS * 1.5
"""Seconds that agents have to renew their Leases once the API server is back; it was away for us and for them."""


@dataclass(frozen=True, slots=True)
class Covered:
    """What live agents looked at and have nothing against.

    Attributes:
        origins: by driver and claim, the origins that looked at it and have nothing against it.
        healthy: by driver, the claims of which the driver's node plugin says so.
        complete: by driver, the claims at which every required look was completed on a node and nothing was found.
        unasked: by driver, claims and nodes where the driver answers and was not asked about the claim yet.
    """

    origins: dict[str, dict[ClaimRef, tuple[Origin, ...]]] = field(default_factory=dict)
    healthy: dict[str, set[ClaimRef]] = field(default_factory=dict)
    complete: dict[str, set[ClaimRef]] = field(default_factory=dict)
    unasked: dict[str, list[tuple[ClaimRef, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeAgent:
    """The agent that should report of a node.

    Attributes:
        node: the node's name.
        report: what it said last; None if there is no report.
        silent_since: since when it is silent; None while it is alive.
    """

    node: str
    report: VolumeHealthReport | None
    silent_since: datetime | None = None

    @property
    def live(self) -> VolumeHealthReport | None:
        """Its report, if it counts."""
        return self.report if self.silent_since is None else None

    def unseen(self, observer: Observer) -> UnseenOrigin | None:
        """Return why an observer cannot look there; None if it can."""
        return (
            next((one for one in self.live.unseen if one.observer is observer), None) if self.live else None
        )

    def driver(self, name: str) -> ReportedDriver | None:
        """Return what it said last of a driver."""
        drivers = self.report.drivers if self.report is not None else ()
        return next((driver for driver in drivers if driver.name == name), None)


class AgentLiveness:
    """Calls the roll of agents, and remembers since when those are missing that nobody has ever seen.

    Args:
        moments: knows when the API server was away: a Lease that expired meanwhile says nothing about its agent, for a
            while.
    """

    def __init__(self, moments: Moments) -> None:
        self._missing: dict[str, datetime] = {}
        self._moments = moments

    def evaluate(
        self,
        nodes: Iterable[str],
        reports: Mapping[str, VolumeHealthReport],
        leases: Mapping[str, LeaseLiveness],
        moment: Moment,
    ) -> dict[str, NodeAgent]:
        """Return the agent of every node, by node.

        Args:
            nodes: those that run Pods with claims.
            reports: by node.
            leases: by name.
            moment: the moment that counts.
        """
        agents = {}
        missing: dict[str, datetime] = {}
        for node in nodes:
            report, lease = reports.get(node), leases.get(agent_lease_name(node))
            since: datetime | None = None
            if report is None or lease is None:
                since = missing[node] = min(self._missing.get(node, moment.wall), moment.wall)
            elif not self.alive(lease, moment.monotonic):
                since = moment.wall - timedelta(seconds=moment.monotonic - lease.until)
            agents[node] = NodeAgent(node, report, since)
        self._missing = missing
        return agents

    def alive(self, lease: LeaseLiveness, monotonic: float) -> bool:
        """Tell whether an agent is alive, by its Lease at a moment in monotonic seconds."""
        if lease.until > monotonic:
            return True
        if self._moments.away is None:
            return False
        began, ended = self._moments.away
        return lease.until > began and monotonic < ended + _COMEBACK


def node_reports(reports: Iterable[VolumeHealthReport]) -> dict[str, VolumeHealthReport]:
    """Return the reports on nodes, by node; a report is about the node it is named after, whatever it says."""
    return {report.name: report for report in reports if report.plane is Plane.NODE}


def answers(driver: ReportedDriver) -> bool:
    """Tell whether a driver can say from a node that a volume is healthy, and does."""
    return driver.state is SourceState.ANSWERING and driver.health_api is not HealthAPI.NONE


def cannot_answer(driver: ReportedDriver) -> bool:
    """Tell whether a driver has no health call on a node, so that only the node's own looks speak there."""
    return driver.state is SourceState.UNSUPPORTED or driver.health_api is HealthAPI.NONE


def covered_by(agent: NodeAgent, claims: Mapping[ClaimRef, Claim], usage: Usage) -> Covered:
    """Return what a live agent looked at. One that left entries out says nothing of what it does not name."""
    covered, report = Covered(), agent.live
    if report is None or report.omitted.volumes or report.omitted.silent:
        return covered
    look = _Look(agent.node, report)
    for refs in usage.on(agent.node).values():
        for ref in refs:
            claim = claims.get(ref)
            if claim is not None:
                look.at(ref, claim, covered)
    return covered


def together(parts: Iterable[Covered]) -> Steps[Covered]:
    """Return what several agents looked at; one of them in each step."""
    covered = Covered()
    for part in parts:
        for driver, table in part.origins.items():
            of_driver = covered.origins.setdefault(driver, {})
            for ref, clean in table.items():
                of_driver[ref] = of_driver[ref] + clean if ref in of_driver else clean
        for driver, healthy in part.healthy.items():
            covered.healthy.setdefault(driver, set()).update(healthy)
        for driver, complete in part.complete.items():
            covered.complete.setdefault(driver, set()).update(complete)
        for driver, unasked in part.unasked.items():
            covered.unasked.setdefault(driver, []).extend(unasked)
        yield
    return covered


def missing_looks(
    claim: Claim, pods: Iterable[Pod], reports: Mapping[str, VolumeHealthReport]
) -> tuple[str, ...]:
    """Return why nodes cannot say that a claim is healthy which is in use there, for a person.

    Args:
        claim: the claim.
        pods: those that use it.
        reports: by name.
    """
    nodes = sorted({pod.node for pod in pods if pod.node in reports})
    return tuple(
        f"{node}: {look.why}"
        for node in nodes
        for look in reports[node].missing
        if look.claim_uid == claim.uid
    )


class _Look:
    """One live report, ready to be asked about the claims in use on its node."""

    def __init__(self, node: str, report: VolumeHealthReport) -> None:
        self._node = node
        self._complete = report.complete
        names = {one.observer: one.names for one in report.coverage}
        self._asked = names.get(Observer.DRIVER, frozenset())
        # Of a thousand nodes' claims hardly one is in a report by itself: origins are made for a node, not for each claim.
        self._looks = tuple((Origin(Source.NODE, one, node), found) for one, found in names.items())
        self._drivers = {driver.name: driver for driver in report.drivers}
        self._silent = {(one.driver, ref_of(one)) for one in report.silent}
        self._said: dict[tuple[str, ClaimRef], set[Observer]] = {}
        for volume in report.volumes:
            said = self._said.setdefault((volume.driver, ref_of(volume)), set())
            said.update(condition.origin for condition in volume.conditions)

    def at(self, ref: ClaimRef, claim: Claim, covered: Covered) -> None:
        """Enter one claim that is in use here."""
        said = self._said.get((claim.driver, ref), _NOTHING_SAID)
        silent = (claim.driver, ref) in self._silent
        driver = self._drivers.get(claim.driver)
        asked = driver is not None and driver.state is SourceState.ANSWERING and not silent
        clean = tuple(
            [
                origin
                for origin, names in self._looks
                if claim.uid in names
                and origin.observer not in said
                and (asked or origin.observer not in ASKED)
            ]
        )
        if clean:
            covered.origins.setdefault(claim.driver, {})[ref] = clean
        if driver is not None and answers(driver) and not silent:
            if claim.uid not in self._asked:
                covered.unasked.setdefault(claim.driver, []).append((ref, self._node))
            elif Observer.DRIVER not in said:
                covered.healthy.setdefault(claim.driver, set()).add(ref)
        if claim.uid in self._complete and not said:
            covered.complete.setdefault(claim.driver, set()).add(ref)


def adverse_answers(
    agents: Iterable[NodeAgent],
    claims: Mapping[ClaimRef, Claim],
    usage: Usage,
    *,
    wanted: Collection[Observer],
    now: datetime,
    heard: Heard | None = None,
) -> ClaimAnswers:
    """Tell what live reports name: adverse entries, and volumes that gave no answer.

    An entry counts only for the claim it was written of (by uid and driver), and while a Pod uses the claim there.

    Args:
        agents: of all nodes in use.
        claims: the view's rows.
        usage: which claims are used where.
        wanted: the observers that the policy wants to hear.
        now: the moment.
        heard: tells when something was said last that is heard only when the driver is asked; now without this.
    """
    for agent in agents:
        report = agent.live
        if report is None:
            continue
        unseen = {one.observer for one in report.unseen}
        for volume in report.volumes:
            if _concerns(volume, agent.node, claims, usage):
                for answer in _adverse_of(volume, agent.node, wanted, unseen, now=now):
                    if heard is not None and answer.observer in ASKED:
                        answer = replace(answer, at=heard(volume, answer))
                    yield ref_of(volume), answer
        for silent in report.silent if Observer.DRIVER in wanted else ():
            if _concerns(silent, agent.node, claims, usage):
                yield ref_of(silent), silence(silent.reason, silent.message, agent.node, now)


def _adverse_of(
    volume: ReportedVolume,
    node: str,
    wanted: Collection[Observer],
    unseen: Collection[Observer],
    *,
    now: datetime,
) -> Iterator[Answer]:
    """Make the answers of an adverse entry, one for each observer that says something and is wanted.

    One that cannot look any more says only what holds by itself. When the agent heard it first is not taken over: that is
    by the agent's clock.
    """
    for observer in dict.fromkeys(one.origin for one in volume.conditions):
        if observer not in wanted or (observer in unseen and not _holds(volume, observer)):
            continue
        conditions = tuple(
            Condition(one.status, one.reason, clean_message(one.message))
            for one in volume.conditions
            if one.origin is observer
        )
        yield Answer(
            Source.NODE,
            Outcome.ADVERSE,
            now,
            node=node,
            via=Via.AGENT,
            conditions=conditions,
            observer=observer,
        )


def _holds(volume: ReportedVolume, observer: Observer) -> bool:
    return any(one.origin is observer and one.holds for one in volume.conditions)


def silences(
    agents: Iterable[NodeAgent], usage: Usage, *, drivers: Iterable[str], now: datetime
) -> ClaimAnswers:
    """Tell of claims whose node should speak and does not: the agent is silent, the driver is, or it left some out.

    Args:
        agents: of all nodes in use.
        usage: which claims are used where.
        drivers: of the policy's claims.
        now: the moment.
    """
    wanted, everyone = tuple(drivers), tuple(agents)
    looks = any(agent.report is not None and agent.report.complete for agent in everyone)
    able = {
        driver.name
        for agent in everyone
        if agent.report is not None
        for driver in agent.report.drivers
        if driver.health_api is not HealthAPI.NONE
    }
    for agent in everyone:
        on_node = usage.on(agent.node)
        for name in wanted:
            if name in on_node and (why := _why_silent(agent, name, able, looks=looks)):
                answer = silence(*why, agent.node, now)
                named = _named(agent.live, name, adverse=why[0] == SilenceReason.LIST_INCOMPLETE)
                yield from ((ref, answer) for ref in on_node[name] if ref not in named)


def _why_silent(agent: NodeAgent, driver: str, able: set[str], *, looks: bool) -> tuple[str, str] | None:
    """Return reason and sentence, or None if the driver can give no answer there, or gives it.

    An agent that never reported would judge by its own looks if others do (`looks`).
    """
    known = agent.driver(driver)
    if agent.silent_since is not None:
        if looks if agent.report is None else agent.report.complete:
            return str(SilenceReason.AGENT_SILENT), silent_words(agent)
        if (driver not in able) if known is None else known.health_api is HealthAPI.NONE:
            return None
        return str(SilenceReason.AGENT_SILENT), silent_words(agent)
    if known is None and agent.report is not None and agent.report.omitted.drivers:
        words = f"the report of {agent.node} is too long: it leaves drivers out, and what {driver} says is unknown"
        return str(SilenceReason.LIST_INCOMPLETE), words
    if known is None or (cannot_answer(known) and not (known.state.is_down and driver in able)):
        return None
    if not answers(known):
        why = f": {known.message}" if known.message else ""
        words = f"{driver} does not answer on {agent.node} since {rfc3339(known.since)}{why}"
        return str(SilenceReason.DRIVER_UNREACHABLE), clean_message(words)
    if agent.report is not None and agent.report.omitted:
        words = f"the report of {agent.node} is too long: it leaves claims out, and those it does not name are unknown"
        return str(SilenceReason.LIST_INCOMPLETE), words
    return None


def silent_words(agent: NodeAgent) -> str:
    """Say for a person that an agent is silent."""
    if agent.report is None:
        return f"no agent reports from {agent.node}"
    since = f" since {rfc3339(agent.silent_since)}" if agent.silent_since is not None else ""
    return f"the agent on {agent.node} has not reported{since}"


def _named(report: VolumeHealthReport | None, driver: str, *, adverse: bool) -> set[ClaimRef]:
    """Return the claims that a report names itself as silent, and those with an adverse entry if wanted."""
    if report is None:
        return set()
    entries: tuple[ReportedVolume | SilentVolume, ...] = report.silent
    if adverse:
        entries += report.volumes
    return {ref_of(entry) for entry in entries if entry.driver == driver}


def unasked(covered: Covered, drivers: Iterable[str], now: datetime) -> ClaimAnswers:
    """Tell of claims that their driver was not asked about since they were wanted."""
    answers: dict[str, Answer] = {}  # one for each node: after a start they are about every claim
    for driver in drivers:
        for ref, node in covered.unasked.get(driver, ()):
            answer = answers.get(node)
            if answer is None:
                words = f"the driver was not asked about it on {node} since it was wanted"
                answer = answers[node] = silence(str(SilenceReason.NOT_YET_ASKED), words, node, now)
            yield ref, answer


def silence(reason: str, message: str, node: str, now: datetime) -> Answer:
    """Make the answer of a node that should speak and does not."""
    return Answer(
        Source.NODE,
        Outcome.SILENT,
        now,
        node=node,
        via=Via.AGENT,
        reason=reason,
        message=clean_message(message),
    )


def ref_of(entry: ReportedVolume | SilentVolume) -> ClaimRef:
    """Return the claim that an entry is about."""
    return ClaimRef(entry.namespace, entry.claim)


def _concerns(
    entry: ReportedVolume | SilentVolume, node: str, claims: Mapping[ClaimRef, Claim], usage: Usage
) -> bool:
    ref = ref_of(entry)
    claim = claims.get(ref)
    return (
        claim is not None
        and claim.driver == entry.driver
        # the claim may have been made anew since
        and entry.claim_uid in ("", claim.uid)
        # a node speaks only of volumes that its Pods use
        and node in usage.nodes_of(ref)
    )


def storage_of(agent: NodeAgent) -> Iterator[tuple[str, StorageStatement]]:
    """Yield what drivers say, by name, of the storage behind them as it is seen from a node."""
    for driver in agent.live.drivers if agent.live is not None else ():
        if driver.state.is_down:
            continue  # it repeats what the driver said last
        for problem in driver.storage:
            condition = Condition(problem.status, problem.reason, clean_message(problem.message))
            yield driver.name, StorageStatement(condition, problem.access_mode, problem.volume_mode)
