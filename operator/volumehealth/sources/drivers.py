"""How each driver is reached, as people are told: by an endpoint, by agents, or not at all."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from volumehealth.model.health import ControllerConnection, DriverState, HealthAPI, SourceState
from volumehealth.model.ids import LOCAL_VOLUMES, LOST_VOLUMES
from volumehealth.sources.source import ObservedDriver

NOT_CONNECTED = (
    "connect its controller: add the controller agent to the driver's controller Pod, or start the operator with "
    "--csi-endpoint"
)
_LIMITS = 4
"""As many things that nodes do not see are named."""
SWITCHED_OFF = "spec.checks.controller.enabled is false"
SEEN_BY_NODES = "no health API; its nodes see mounts, devices, filesystems and free space"


_NOBODY_TO_ASK = {
    LOCAL_VOLUMES: ("it is the kubelet's own, and only nodes see its volumes", SEEN_BY_NODES),
    LOST_VOLUMES: ("the driver that made them is not known", "the PersistentVolumes are gone"),
}


def no_csi_driver(name: str, observed_since: datetime) -> DriverState:
    """Return the state of one of `NO_CSI_DRIVERS`: there is nobody who could be asked."""
    message, hint = _NOBODY_TO_ASK[name]
    return DriverState(
        name,
        SourceState.UNSUPPORTED,
        observed_since,
        message=message,
        hint=hint,
        controller=ControllerConnection.NOT_CONNECTED,
    )


def through_agents(driver: DriverState, observed: ObservedDriver | None) -> DriverState:
    """Say what node agents report of a driver whose controller is not connected.

    Args:
        driver: its state on the controller plane.
        observed: what live node agents report of it; None if none does.

    Returns:
        Answering if its node plugin has a health call. Unsupported if no node has seen one: a controller agent cannot
        help there as far as is known, so nothing asks for one. As it was if it never answered on any node.
    """
    if observed is None:
        return driver
    driver = replace(
        driver,
        unseen=tuple(sorted(observed.unseen.items())),
        limits="; ".join(sorted(observed.limits)[:_LIMITS]),
    )
    if driver.state is not SourceState.NOT_CONNECTED or not observed.identified:
        return driver
    nodes = "1 node" if observed.nodes == 1 else f"{observed.nodes} nodes"
    if observed.health_api is HealthAPI.NONE:
        return replace(
            driver,
            state=SourceState.UNSUPPORTED,
            since=observed.since,
            message=f"its node plugin has no health API; the agents of {nodes} report what the nodes see",
            hint=f"no health API; its nodes do not see all: {why}"
            if (why := _commonest(observed.unseen))
            else SEEN_BY_NODES,
        )
    return DriverState(
        driver.name,
        SourceState.ANSWERING,
        observed.since,
        observed.health_api,
        observed.methods,
        message=f"the agents of {nodes} report; its controller is not connected",
        hint=driver.hint,
        controller=ControllerConnection.NOT_CONNECTED,
        unseen=driver.unseen,
        limits=driver.limits,
    )


def _commonest(reasons: Mapping[str, int]) -> str:
    return max(sorted(reasons), key=lambda one: reasons[one], default="")
