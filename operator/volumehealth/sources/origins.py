"""What an origin is that gave no answer: total over all origins, so that nothing that was found is forgotten.

It speaks and is clean, it should speak and is silent, or it has ended: it is switched off, was uninstalled, lost its
health call, or has nothing to look at any more. What ended closes its findings without a recovery.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.model.health import (
    Answer,
    DriverState,
    HealthAPI,
    Origins,
    Outcome,
    Source,
    SourceState,
    Via,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.policy import Checks
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.sources.reports import NodeAgent, silent_words
from volumehealth.sources.usage import Usage

_AT_ONCE = timedelta(0)
_OF_MOUNTS = (Reason.CANNOT_MOUNT, Reason.MULTI_ATTACH, Reason.ATTACH_STUCK)
_OF_WAITING = (Reason.CANNOT_MOUNT, Reason.MULTI_ATTACH)
_OF_USE = (Reason.NODE_FAILED, Reason.DRIVER_NOT_REGISTERED, Reason.CANNOT_MOUNT, Reason.MULTI_ATTACH)
"""What is said of a node because the claim is in use there."""
_NO_LONGER = "no longer monitored"


def _speaks(origin: Origin, now: datetime) -> Answer:
    return Answer(origin.source, Outcome.HEALTHY, now, origin.node, observer=origin.observer)


def _silent(origin: Origin, now: datetime, reason: SilenceReason, message: str) -> Answer:
    return Answer(
        origin.source,
        Outcome.SILENT,
        now,
        origin.node,
        Via.AGENT if origin.source is Source.NODE else Via.OPERATOR,
        reason=str(reason),
        message=message,
        observer=origin.observer,
    )


def _ended(origin: Origin, now: datetime, why: str, *, delay: timedelta | None = None) -> Answer:
    return Answer(
        origin.source, Outcome.ENDED, now, origin.node, message=why, observer=origin.observer, delay=delay
    )


def _switched_off(origin: Origin, now: datetime, check: str) -> Answer:
    return _ended(origin, now, f"{_NO_LONGER}: spec.checks.{check}.enabled is false", delay=_AT_ONCE)


@dataclass(frozen=True, slots=True)
class PlaneOrigins:
    """The origins of the node plane and the Kubernetes plane, for one policy at one moment.

    Attributes:
        checks: what the policy wants.
        driver_of: the driver of a claim; empty if there is none.
        usage: which claims are used where.
        agents: by node; None where agents may not be read now.
        follows: whether a resource may be read.
        now: the moment.
        undecided: whether a Pod on a node may still wait for a claim, and nobody can say that it does not.
    """

    checks: Checks
    driver_of: Callable[[ClaimRef], str]
    usage: Usage
    agents: Mapping[str, NodeAgent] | None
    follows: Callable[[str], bool]
    now: datetime
    undecided: Callable[[ClaimRef, str], bool] = lambda claim, node: False

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin of these planes is that gave no answer; see `model.health.Origins`."""
        if origin.source is Source.NODE:
            return self._node(claim, origin)
        return self._kubernetes(claim, origin, reason)

    def _kubernetes(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        if reason == Reason.NODE_FAILED and not self.checks.node_failure.enabled:
            return _switched_off(origin, self.now, "nodeFailure")
        if reason in _OF_MOUNTS and not self.checks.mount.enabled:
            return _switched_off(origin, self.now, "mount")
        if origin.node and not all(map(self.follows, ("nodes", "csinodes", "volumeattachments"))):
            return _silent(origin, self.now, SilenceReason.VIEW_STALE, "nodes may not be read")
        if reason in _OF_USE and not self._in_use(claim, origin):
            return self._unused(origin)
        if reason in _OF_WAITING and self.undecided(claim, origin.node):
            why = f"a Pod on {origin.node} still waits, and no Event says whether for this"
            return _silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        return _speaks(origin, self.now)

    def _node(self, claim: ClaimRef, origin: Origin) -> Answer:
        if origin.observer is Observer.CAPACITY and not self.checks.capacity.enabled:
            return _switched_off(origin, self.now, "capacity")
        if origin.observer is not Observer.CAPACITY and not self.checks.node.enabled:
            return _switched_off(origin, self.now, "node")
        if not self._in_use(claim, origin):
            return self._unused(origin)
        if origin.observer is Observer.API:
            return _speaks(origin, self.now)
        if self.agents is None:
            return _silent(origin, self.now, SilenceReason.VIEW_STALE, "agents may not be read")
        agent = self.agents.get(origin.node)
        if agent is None:
            return _ended(origin, self.now, f"{_NO_LONGER}: no agent runs on {origin.node}")
        return self._of_agent(claim, origin, agent)

    def _of_agent(self, claim: ClaimRef, origin: Origin, agent: NodeAgent) -> Answer:
        """Say what an agent's origin is that does not cover a claim now."""
        if agent.live is None:
            return _silent(origin, self.now, SilenceReason.AGENT_SILENT, silent_words(agent))
        name = self.driver_of(claim)
        driver = agent.driver(name)
        lost = driver is not None and (
            driver.state is SourceState.UNSUPPORTED or driver.health_api is HealthAPI.NONE
        )
        if origin.observer is Observer.DRIVER and lost:
            return _ended(origin, self.now, f"{_NO_LONGER}: {name} has no health call on {origin.node}")
        return _silent(
            origin, self.now, SilenceReason.NOT_YET_ASKED, f"the agent on {origin.node} did not look at it"
        )

    def _in_use(self, claim: ClaimRef, origin: Origin) -> bool:
        return origin.node in self.usage.nodes_of(claim)

    def _unused(self, origin: Origin) -> Answer:
        return _ended(origin, self.now, f"no longer in use on {origin.node}")


@dataclass(frozen=True, slots=True)
class StorageOrigins:
    """The origins of what one driver says of the storage behind it, as nodes see it, at one moment.

    Attributes:
        driver: its name.
        planes: what is known of nodes and their agents.
        registered: whether the driver is registered with the kubelet of a node.
    """

    driver: str
    planes: PlaneOrigins
    registered: Callable[[str], bool]

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that says nothing of the storage any more; see `model.health.Origins`."""
        now = self.planes.now
        if not self.planes.checks.node.enabled:
            return _switched_off(origin, now, "node")
        if origin.observer is Observer.API:
            return self._kubelet(origin)
        if self.planes.agents is None:
            return _silent(origin, now, SilenceReason.VIEW_STALE, "agents may not be read")
        agent = self.planes.agents.get(origin.node)
        if agent is None:
            return _ended(origin, now, f"{_NO_LONGER}: no agent runs on {origin.node}")
        if agent.live is None:
            return _silent(origin, now, SilenceReason.AGENT_SILENT, silent_words(agent))
        return self._agent(origin, agent)

    def _kubelet(self, origin: Origin) -> Answer:
        if not self.planes.follows("csinodes"):
            return _silent(origin, self.planes.now, SilenceReason.VIEW_STALE, "CSINodes may not be read")
        if not self.registered(origin.node):
            return _ended(
                origin, self.planes.now, f"{_NO_LONGER}: {self.driver} is not registered on {origin.node}"
            )
        return _speaks(origin, self.planes.now)

    def _agent(self, origin: Origin, agent: NodeAgent) -> Answer:
        driver, now = agent.driver(self.driver), self.planes.now
        if driver is not None and driver.state in (SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN):
            return _silent(origin, now, SilenceReason.DRIVER_UNREACHABLE, driver.message)
        if driver is None or "NodeGetStorageHealth" not in driver.methods:
            return _ended(
                origin, now, f"{_NO_LONGER}: {self.driver} says nothing of its storage on {origin.node}"
            )
        return _speaks(origin, now)


@dataclass(frozen=True, slots=True)
class AllOrigins:
    """Every origin, for one policy at one moment.

    Attributes:
        checks: what the policy wants.
        driver_of: the driver of a claim; empty if there is none.
        drivers: how the drivers' controllers answer, by driver.
        planes: the other origins; None if nothing observes them.
        now: the moment.
    """

    checks: Checks
    driver_of: Callable[[ClaimRef], str]
    drivers: Mapping[str, DriverState]
    planes: Origins | None
    now: datetime

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if origin.source is Source.CONTROLLER:
            return self._controller(claim, origin)
        if self.planes is None:
            return _silent(origin, self.now, SilenceReason.NOT_YET_ASKED, "nothing observes it")
        return self.planes.state_of(claim, origin, reason)

    def _controller(self, claim: ClaimRef, origin: Origin) -> Answer:
        if not self.checks.controller.enabled:
            return _switched_off(origin, self.now, "controller")
        if origin.observer is Observer.API:
            return _speaks(origin, self.now)
        name = self.driver_of(claim)
        driver = self.drivers.get(name)
        if driver is not None and driver.state is SourceState.UNSUPPORTED:
            return _ended(origin, self.now, f"{_NO_LONGER}: {name} has no health call")
        if driver is None or driver.state is SourceState.NOT_CONNECTED:
            return _ended(origin, self.now, f"{_NO_LONGER}: the controller of {name} is not connected")
        return _silent(origin, self.now, SilenceReason.DRIVER_UNREACHABLE, driver.message)
