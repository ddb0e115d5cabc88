"""The list of sources: who is asked about volumes. A new one is registered here, and nowhere else."""

from dataclasses import dataclass

from volumehealth.model.clock import Clock
from volumehealth.sources.claimhealth import ClaimHealthStatus
from volumehealth.sources.clusterobjects import ClusterObjects
from volumehealth.sources.context import Context
from volumehealth.sources.controllers import ControllerAnswers, OwnProbers
from volumehealth.sources.drivercontrollers import DriverControllers
from volumehealth.sources.gather import Sources
from volumehealth.sources.kubelets import Kubelets
from volumehealth.sources.nodeagents import NodeAgents
from volumehealth.sources.view import SourceView


@dataclass(frozen=True, slots=True)
class SourceList:
    """All sources, and the one that is also told which drivers answered an earlier process."""

    sources: Sources
    controllers: DriverControllers


def make_sources(view: SourceView, probers: OwnProbers, *, clock: Clock) -> SourceList:
    """Return the sources of a process."""
    context = Context(view, clock)
    drivers = ControllerAnswers(probers, view, clock=clock)
    controllers = DriverControllers(drivers, view.claims)
    sources = (
        controllers,
        ClusterObjects(context),
        ClaimHealthStatus(context),
        Kubelets(context),
        NodeAgents(context),
    )
    return SourceList(Sources(sources, context=context), controllers)
