"""The list of sources: who is asked about volumes. A new one is registered here, and nowhere else."""

from dataclasses import dataclass

from volumehealth.model.clock import Clock
from volumehealth.sources.claimhealth import ClaimHealthStatus
from volumehealth.sources.clusterobjects import ClusterObjects
from volumehealth.sources.context import Context, ContextSource
from volumehealth.sources.controllers import DriverControllers, Drivers, ReportedControllers
from volumehealth.sources.gather import Sources
from volumehealth.sources.kubelets import Kubelets
from volumehealth.sources.monitors import MonitorAnnotations
from volumehealth.sources.nodeagents import NodeAgents
from volumehealth.sources.view import SourceView

_OF_THE_CLUSTER: tuple[type[ContextSource], ...] = (
    ClusterObjects,
    ClaimHealthStatus,
    MonitorAnnotations,
    Kubelets,
    NodeAgents,
)
"""In the order in which they are asked, after the drivers' controllers."""
ANNOTATIONS = frozenset[str]().union(*(source.annotations for source in _OF_THE_CLUSTER))
"""The annotations that the view keeps for them."""


@dataclass(frozen=True, slots=True)
class SourceList:
    """All sources, and the one that is also told which drivers answered an earlier process."""

    sources: Sources
    controllers: DriverControllers


def make_sources(view: SourceView, probers: Drivers, *, clock: Clock) -> SourceList:
    """Return the sources of a process."""
    context = Context(view, clock)
    controllers = DriverControllers(
        probers,
        view.claims,
        lambda: view.follows("leases"),
        reported=ReportedControllers(view, clock=clock),
    )
    sources = (controllers, *(source(context) for source in _OF_THE_CLUSTER))
    return SourceList(Sources(sources, context=context), controllers)
