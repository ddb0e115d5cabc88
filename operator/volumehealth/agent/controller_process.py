"""The process of the controller agent: one replica works, the others wait for its Lease."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from random import Random

from volumehealth import __version__
from volumehealth.agent.controller import ControllerAgent
from volumehealth.agent.controller_settings import ControllerSettings
from volumehealth.errors import LeaseLost
from volumehealth.kube.api import Api
from volumehealth.kube.h11_transport import H11Transport
from volumehealth.kube.lease import LeaseElector, LeaseTiming
from volumehealth.model.clock import SystemClock
from volumehealth.report.http import health, serve
from volumehealth.settings import identity

log = logging.getLogger(__name__)

ELECTION_PREFIX = "volumehealth-election-controller."
TIMING = LeaseTiming(duration=60.0, renew_deadline=40.0, retry=10.0)
"""Slower than client-go's: a replica that takes over within a minute is there before anybody misses the report."""


def election_lease_name(driver: str) -> str:
    """Return the name of the Lease for which the replicas of a driver's controller compete; CSI bounds it (63)."""
    return f"{ELECTION_PREFIX}{driver.lower()}"


async def run_controller(settings: ControllerSettings) -> int:
    """Run the controller agent until SIGTERM or SIGINT.

    The election's Lease is given back at the end; the one that says that the report lives is left to run out, for the
    next replica goes on with it.

    Returns:
        The exit status: 1 if the Lease was lost; then the process has to start over.

    Raises:
        ApiError: if there are no credentials.
    """
    log.info("starting", extra={"version": __version__, "driver": settings.driver})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    status = 0
    async with AsyncExitStack() as stack:
        common, clock, random = settings.common, SystemClock(), Random()
        api = await stack.enter_async_context(
            await Api.connect(common.kubeconfig or None, transport=H11Transport)
        )
        agent = ControllerAgent(api, settings, clock=clock, random=random)
        elector = LeaseElector(
            api,
            namespace=common.namespace,
            name=election_lease_name(settings.driver),
            identity=identity(),
            clock=clock,
            random=random,
            timing=TIMING,
        )
        leading = asyncio.Event()
        if common.health_address is not None:
            host = common.health_address.host
            host = f"[{host}]" if ":" in host else host
            routes = {
                "/healthz": health(lambda: agent.health() if leading.is_set() else (True, "standing by")),
                "/readyz": health(lambda: agent.ready() if leading.is_set() else waiting(elector)),
            }
            port = await stack.enter_async_context(serve(f"{host}:{common.health_address.port}", routes))
            log.info("serving", extra={"paths": " ".join(routes), "port": port})
        work = asyncio.ensure_future(_lead(agent, elector, leading))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stopped):
            task.cancel()
        await asyncio.wait((work, stopped))
        try:
            if not work.cancelled():
                work.result()
        except* LeaseLost as lost:
            log.error("lease lost", extra={"error": str(lost.exceptions[0])})
            status = 1
        else:
            await elector.release()
    log.info("stopped")
    return status


def waiting(elector: LeaseElector) -> tuple[bool, str]:
    """Say whether a replica that does not work is ready to: it has read the Lease, and another holds it."""
    if elector.held_elsewhere:
        return True, "standing by: another replica holds the Lease"
    return False, "the Lease was not read yet"


async def _lead(agent: ControllerAgent, elector: LeaseElector, leading: asyncio.Event) -> None:
    """Work while we hold the Lease."""
    await elector.acquire()
    leading.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(elector.hold())
        group.create_task(agent.run())
