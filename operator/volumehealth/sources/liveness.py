"""Which agents should report, and which of them are alive; judged by what we see of their Leases."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.model.report import AGENT_RENEW_SECONDS, VolumeHealthReport, agent_lease_name
from volumehealth.sources.moments import Moment, Moments
from volumehealth.sources.reports import NodeAgent

_COMEBACK = AGENT_RENEW_SECONDS * 1.5
"""Seconds that agents have to renew their Leases once the API server is back; it was away for us and for them."""


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
