"""The composition root: what runs in the operator process, started and stopped in order.

Kopf is started last and stopped by its flag after the last write: see `kopfrun`.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any

from volumehealth import __version__
from volumehealth.app.assembly import LeaderWork
from volumehealth.app.engine import Engine
from volumehealth.app.explain import ExplainPages
from volumehealth.app.explain import explain as explain_claim
from volumehealth.app.kopfrun import KopfRun, on_signals, policies_served
from volumehealth.errors import LeaseLost
from volumehealth.kube.api import Api
from volumehealth.kube.lease import LeaseElector
from volumehealth.model.clock import SystemClock
from volumehealth.model.steps import in_slices
from volumehealth.report.http import PROMETHEUS, Page, health, serve
from volumehealth.report.metrics import Metrics
from volumehealth.settings import HostPort, Settings, identity

log = logging.getLogger(__name__)

LEASE = "volumehealth-operator"
DRAIN_SECONDS = 5.0
GC_THRESHOLDS = (5_000, 2, 2_500)
"""Often, of what is young, and hardly ever of all there is: a pause is as long as what is looked at. With Python's
defaults, and with rare large collections as well, garbage of a burst blocked the event loop for 50 ms and more."""
LEASE_LOST_SECONDS = 4
"""Others may take over 5 seconds after we gave up (`LeaseTiming`)."""


class Probes:
    """What /healthz and /readyz say, in every phase of the process."""

    def __init__(self) -> None:
        self.alive: Callable[[], tuple[bool, str]] = lambda: (True, "starting")
        self.ready: Callable[[], tuple[bool, str]] = lambda: (False, "starting")

    def waiting_for(self, elector: LeaseElector) -> None:
        """Another process may lead; once the Lease says so, we are ready to take over."""
        standing_by = "standing by: another process holds the Lease"
        self.alive = lambda: (True, standing_by if elector.held_elsewhere else "the Lease was not read yet")
        self.ready = lambda: (elector.held_elsewhere, self.alive()[1])

    def working(self, engine: Engine) -> None:
        """We lead."""
        self.alive, self.ready = engine.advancing, engine.ready


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT.

    Returns:
        The exit status: 0 after a signal; 1 if the Lease was lost, or policies are not served any more (the CRD
        was deleted): then the process has to start over.

    Raises:
        ApiError: if there are no credentials, or the API server refuses them at start.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    log.info("starting", extra={"version": __version__})
    stop = asyncio.Event()
    on_signals(stop)
    clock, random, probes, metrics = SystemClock(), Random(), Probes(), Metrics()
    status, lost_lease = 0, False
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await Api.connect(settings.kubeconfig or None))
        routes = {"/healthz": health(lambda: probes.alive()), "/readyz": health(lambda: probes.ready())}
        explain = ExplainPages()
        shown = {"/metrics": partial(_metrics_page, metrics)}
        for address, served, trees in (
            (settings.health_address, routes, {}),
            (settings.metrics_address, shown, {"/explain/": explain}),
        ):
            if address is not None:
                port = await stack.enter_async_context(serve(_text(address), served, trees))
                log.info("serving", extra={"paths": " ".join((*served, *trees)), "port": port})
        elector = LeaseElector(
            api, namespace=settings.namespace, name=LEASE, identity=identity(), clock=clock, random=random
        )
        if settings.leader_elect:
            probes.waiting_for(elector)
            if not await _unless(stop, elector.acquire()):
                return 0
            log.info("leading", extra={"lease": f"{settings.namespace}/{LEASE}"})
        try:
            async with asyncio.TaskGroup() as group:
                if settings.leader_elect:
                    group.create_task(_hold(elector))
                leads = elector.holds if settings.leader_elect else _always
                work = LeaderWork(api, settings, clock=clock, random=random, metrics=metrics, leads=leads)
                explained = partial(
                    explain_claim, view=work.view, engine=work.engine, runbooks=settings.runbooks
                )
                explain.working(explained)
                status = await _lead(work, api, probes, stop, group)
                raise _Done
        except* _Done:
            pass
        except* LeaseLost as lost:
            log.error("lease lost", extra={"error": str(lost.exceptions[0])})
            status, lost_lease = 1, True
        if settings.leader_elect and not lost_lease:
            await elector.release()
    log.info("stopped")
    return status


async def _metrics_page(metrics: Metrics) -> Page:
    return Page(await in_slices(metrics.render()), content_type=PROMETHEUS)


async def _hold(elector: LeaseElector) -> None:
    """Hold the Lease; once it is lost this process must be gone, whatever its clean-up is waiting for."""
    try:
        await elector.hold()
    except LeaseLost:
        signal.alarm(LEASE_LOST_SECONDS)
        raise


def _always() -> bool:
    """Without election there is no other leader."""
    return True


class _Done(Exception):  # noqa: N818 - no error: it ends the task group
    """The work is done; cancels what is left."""


async def _lead(
    work: LeaderWork,
    api: Api,
    probes: Probes,
    stop: asyncio.Event,
    group: asyncio.TaskGroup,
) -> int:
    """Do the operator's work until it is told to stop; return the exit status."""
    engine, reporter = work.engine, work.reporter
    probes.working(engine)
    for one in work.coroutines():
        group.create_task(one)
    if not (await _unless(stop, engine.started()) and await _unless(stop, policies_served(api))):
        return 0
    gc.freeze()  # what was loaded stays: collecting garbage must not walk over it each time
    run = KopfRun(engine, api, stop=stop)
    try:
        await run.until_stop(lambda: on_signals(stop))
    except asyncio.CancelledError:  # the Lease is lost
        engine.stop()
        await run.end()
        raise
    log.info("stopping")
    engine.stop()
    left = await reporter.drain(DRAIN_SECONDS)
    if left:
        log.warning("stopping with writes undone", extra={"writes": left})
    return 0 if await run.end() else 1


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do some work unless we are told to stop before it is done; tell whether it was done."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()
    finally:
        for one in (task, stopped):
            one.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


def _text(address: HostPort) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
