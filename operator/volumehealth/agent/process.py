"""The process of the node agent: started, stopped, and asked whether it is well."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from random import Random

from volumehealth import __version__
from volumehealth.agent.exposition import exposition
from volumehealth.agent.node import NodeAgent
from volumehealth.agent.settings import NodeSettings
from volumehealth.kube.api import Api
from volumehealth.kube.h11_transport import H11Transport
from volumehealth.model.clock import SystemClock
from volumehealth.report.http import PROMETHEUS, Page, health, serve

log = logging.getLogger(__name__)


async def run_node(settings: NodeSettings) -> int:
    """Run the node agent until SIGTERM or SIGINT.

    Its Lease is left to run out: an agent that is replaced is back before anybody misses it.

    Returns:
        The exit status.

    Raises:
        ApiError: if there are no credentials.
    """
    log.info("starting", extra={"version": __version__, "node": settings.node})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            await Api.connect(settings.common.kubeconfig or None, transport=H11Transport)
        )
        agent = NodeAgent(api, settings, clock=SystemClock(), random=Random())
        address = settings.common.health_address
        if address is not None:
            routes = {
                "/healthz": health(agent.health),
                "/readyz": health(agent.ready),
                "/metrics": lambda: Page(exposition(agent.numbers()), content_type=PROMETHEUS),
            }
            host = f"[{address.host}]" if ":" in address.host else address.host
            port = await stack.enter_async_context(serve(f"{host}:{address.port}", routes))
            log.info("serving", extra={"paths": " ".join(routes), "port": port})
        work = asyncio.ensure_future(agent.run())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stopped):
            task.cancel()
        await asyncio.wait((work, stopped))
        if not work.cancelled():
            work.result()
    log.info("stopped")
    return 0
