"""What agents' reports say of claims: who is alive, who accuses, who vouches.

Nearly every claim is well on its node and named in no report, so nobody looks at it: claims that are healthy_on_nodes for are
kept in one table that is made anew only when a report, an agent's life or a Pod changed. What is said otherwise costs
what is said.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import Claim, StorageStatement
from volumehealth.model.health import Answer, Condition, HealthAPI, Outcome, Source, SourceState, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.report import (
    Plane,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    VolumeHealthReport,
)
from volumehealth.model.steps import Steps
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.sources.kubernetes import ClaimAnswers
from volumehealth.sources.usage import Usage

Vouching = dict[str, dict[ClaimRef, tuple[str, ...]]]
"""By driver: the claims that nodes vouch for, and which nodes do."""


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

    def driver(self, name: str) -> ReportedDriver | None:
        """Return what it said last of a driver."""
        drivers = self.report.drivers if self.report is not None else ()
        return next((driver for driver in drivers if driver.name == name), None)


def node_reports(reports: Iterable[VolumeHealthReport]) -> dict[str, VolumeHealthReport]:
    """Return the reports on nodes, by node; a report is about the node it is named after, whatever it says."""
    return {report.name: report for report in reports if report.plane is Plane.NODE}


def answers(driver: ReportedDriver) -> bool:
    """Tell whether a driver can say from a node that a volume is healthy, and does."""
    return driver.state is SourceState.ANSWERING and driver.health_api is not HealthAPI.NONE


def cannot_answer(driver: ReportedDriver) -> bool:
    """Tell whether a driver has no health call on a node, so that only the node's own looks speak there."""
    return driver.state is SourceState.UNSUPPORTED or driver.health_api is HealthAPI.NONE


def vouched_for(agents: Iterable[NodeAgent], usage: Usage) -> Steps[Vouching]:
    """Return who vouches for whom; one node in each step.

    That is the rule of `model.report`, but for the grace of Pods that have only just begun to run. An agent that left
    something out vouches for nobody.
    """
    healthy_on_nodes: Vouching = {}
    for agent in agents:
        yield
        report = agent.live
        if report is None or report.omitted:
            continue
        on_node = usage.on(agent.node)
        entries: tuple[ReportedVolume | SilentVolume, ...] = (*report.volumes, *report.silent)
        named = {(entry.driver, ref_of(entry)) for entry in entries}
        for driver in report.drivers:
            if answers(driver) and driver.name in on_node:
                of_driver = healthy_on_nodes.setdefault(driver.name, {})
                for ref in on_node[driver.name]:
                    if (driver.name, ref) not in named:
                        of_driver[ref] = (*of_driver.get(ref, ()), agent.node)
    return healthy_on_nodes


def accusations(
    agents: Iterable[NodeAgent],
    claims: Mapping[ClaimRef, Claim],
    usage: Usage,
    *,
    capacity: bool,
    now: datetime,
) -> ClaimAnswers:
    """Tell what live reports name: adverse entries, and volumes that gave no answer.

    An entry counts only for the claim it was written of (by uid and driver), and while a Pod uses the claim there.

    Args:
        agents: of all nodes in use.
        claims: the view's rows.
        usage: which claims are used where.
        capacity: whether the policy wants to hear of capacity.
        now: the moment.
    """
    for agent in agents:
        report = agent.live
        if report is None:
            continue
        drivers = {driver.name: driver for driver in report.drivers}
        for volume in report.volumes:
            if _concerns(volume, agent.node, claims, usage):
                heard = drivers.get(volume.driver)
                can_clear = heard is not None and answers(heard)
                yield ref_of(volume), _accusation(volume, agent.node, capacity, can_clear=can_clear, now=now)
        for silent in report.silent:
            if _concerns(silent, agent.node, claims, usage):
                yield ref_of(silent), silence(silent.reason, silent.message, agent.node, now)


def _accusation(
    volume: ReportedVolume, node: str, capacity: bool, *, can_clear: bool, now: datetime
) -> Answer:
    """Make the answer of an adverse entry; it is healthy if the policy wants to hear nothing of what it says.

    When the agent heard it first is not taken over: that is by the agent's clock.
    """
    conditions = tuple(
        Condition(one.status, one.reason, clean_message(one.message))
        for one in volume.conditions
        if capacity or one.origin is not Observer.CAPACITY
    )
    return Answer(
        Source.NODE,
        Outcome.ADVERSE if conditions else Outcome.HEALTHY,
        now,
        node=node,
        via=Via.AGENT,
        conditions=conditions,
        can_clear=can_clear,
    )


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
            if name in on_node and (why := _why_silent(agent, name, able)):
                answer = silence(*why, agent.node, now)
                named = _named(agent.live, name, adverse=why[0] == SilenceReason.LIST_INCOMPLETE)
                yield from ((ref, answer) for ref in on_node[name] if ref not in named)


def _why_silent(agent: NodeAgent, driver: str, able: set[str]) -> tuple[str, str] | None:
    """Return reason and sentence, or None if the driver can give no answer there, or gives it."""
    known = agent.driver(driver)
    if agent.silent_since is not None:
        if (driver not in able) if known is None else known.health_api is HealthAPI.NONE:
            return None
        return str(SilenceReason.AGENT_SILENT), silent_words(agent)
    if known is None or known.state is SourceState.UNSUPPORTED or known.health_api is HealthAPI.NONE:
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
        and entry.claim_uid in ("", claim.uid)
        and node in usage.nodes_of(ref)
    )


def storage_of(agent: NodeAgent) -> Iterator[tuple[str, StorageStatement]]:
    """Yield what drivers say, by name, of the storage behind them as it is seen from a node."""
    for driver in agent.live.drivers if agent.live is not None else ():
        for problem in driver.storage:
            condition = Condition(problem.status, problem.reason, clean_message(problem.message))
            yield driver.name, StorageStatement(condition, problem.access_mode, problem.volume_mode)
