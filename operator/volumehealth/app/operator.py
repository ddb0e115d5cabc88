"""The composition root: what runs in the operator process, started and stopped in order.

Kopf cancels every task that was created after it started, and a cancelled Kopf skips its own clean-up. So all else is
started first, and Kopf is stopped by its flag after the last write.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import kopf

from volumehealth import __version__
from volumehealth.app.engine import Engine
from volumehealth.app.handlers import make_registry
from volumehealth.app.secrets import SecretFiles
from volumehealth.check import Checker
from volumehealth.cluster.api import Api
from volumehealth.cluster.credentials import Access
from volumehealth.cluster.lease import LeaseElector
from volumehealth.cluster.view import ClusterView
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import LeaseLost
from volumehealth.model.clock import Clock, SystemClock
from volumehealth.probe.demand import ProbeLimits
from volumehealth.probe.probers import Probers
from volumehealth.report.http import Page, health, serve
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter
from volumehealth.settings import HostPort, Settings, identity

log = logging.getLogger(__name__)

LEASE = "volumehealth-operator"
DRAIN_SECONDS = 5.0
LEASE_LOST_SECONDS = 3
"""Others may take over 5 seconds after we gave up (`LeaseTiming`)."""
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Probes:
    """What /healthz and /readyz say, in every phase of the process."""

    def __init__(self) -> None:
        self.alive: Callable[[], tuple[bool, str]] = lambda: (True, "starting")
        self.ready: Callable[[], tuple[bool, str]] = lambda: (False, "starting")

    def standing_by(self) -> None:
        """Another process leads; we are ready to take over."""
        self.alive = self.ready = lambda: (True, "standing by: another process holds the Lease")

    def working(self, engine: Engine) -> None:
        """We lead."""
        self.alive, self.ready = engine.advancing, engine.ready


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT.

    Returns:
        The exit status: 0 after a signal, 1 after the Lease was lost.

    Raises:
        ApiError: if there are no credentials, or the API server refuses them at start.
    """
    log.info("starting", extra={"version": __version__})
    stop = asyncio.Event()
    _on_signals(stop)
    clock, random, probes, metrics = SystemClock(), Random(), Probes(), Metrics()
    status = 0
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await Api.connect(settings.kubeconfig or None))
        routes = {"/healthz": health(lambda: probes.alive()), "/readyz": health(lambda: probes.ready())}
        for address, served in (
            (settings.health_address, routes),
            (
                settings.metrics_address,
                {"/metrics": lambda: Page(metrics.render(), content_type=_PROMETHEUS)},
            ),
        ):
            if address is not None:
                port = await stack.enter_async_context(serve(_text(address), served))
                log.info("serving", extra={"paths": " ".join(served), "port": port})
        elector = LeaseElector(
            api, namespace=settings.namespace, name=LEASE, identity=identity(), clock=clock, random=random
        )
        if settings.leader_elect:
            probes.standing_by()
            if not await _unless(stop, elector.acquire()):
                return 0
            log.info("leading", extra={"lease": f"{settings.namespace}/{LEASE}"})
        try:
            async with asyncio.TaskGroup() as group:
                if settings.leader_elect:
                    group.create_task(_hold(elector))
                await _lead(settings, api, clock, random, metrics, probes, stop, group)
                raise _Done
        except* _Done:
            pass
        except* LeaseLost as lost:
            log.error("lease lost", extra={"error": str(lost.exceptions[0])})
            status = 1
        if settings.leader_elect and status == 0:
            await elector.release()
    log.info("stopped")
    return status


async def _hold(elector: LeaseElector) -> None:
    """Hold the Lease; once it is lost this process must be gone, whatever its clean-up is waiting for."""
    try:
        await elector.hold()
    except LeaseLost:
        signal.alarm(LEASE_LOST_SECONDS)
        raise


class _Done(Exception):  # noqa: N818 - no error: it ends the task group
    """The work is done; cancels what is left."""


async def _lead(
    settings: Settings,
    api: Api,
    clock: Clock,
    random: Random,
    metrics: Metrics,
    probes: Probes,
    stop: asyncio.Event,
    group: asyncio.TaskGroup,
) -> None:
    """Do the operator's work until it is told to stop."""
    engine: Engine
    view = ClusterView(api, clock=clock, random=random)
    probers = Probers(
        [(parse_endpoint(one.address, settings.csi_tls), one.driver) for one in settings.csi_endpoints],
        clock=clock,
        on_news=lambda driver: engine.driver_news(driver),
        metrics=metrics,
        secrets=SecretFiles(settings.csi_secrets_dir),
        random=random,
        limits=ProbeLimits(gets_in_flight=settings.csi_gets_in_flight, duty=settings.csi_busy_percent / 100),
    )
    reporter = Reporter(api, clock=clock, random=random, metrics=metrics, pods_of=view.pods_of)
    checker = Checker(view=view, drivers=probers, clock=clock)
    engine = Engine(view=view, checker=checker, reporter=reporter, metrics=metrics, clock=clock)
    probes.working(engine)

    for work in (view.run(), probers.run(), reporter.run(), engine.run()):
        group.create_task(work)
    if not await _unless(stop, engine.started()):
        return
    flag, ready = asyncio.Event(), asyncio.Event()
    kopf_task = group.create_task(
        kopf.operator(
            registry=make_registry(engine, lambda: _kopf_connection(api.access)),
            clusterwide=True,
            standalone=True,
            ready_flag=ready,
            stop_flag=flag,
        )
    )

    def ended(_: object) -> None:
        ready.set()
        stop.set()

    kopf_task.add_done_callback(ended)
    await ready.wait()
    _on_signals(stop)  # Kopf took them over
    await stop.wait()
    log.info("stopping")
    engine.stop()
    left = await reporter.drain(DRAIN_SECONDS)
    if left:
        log.warning("stopping with writes undone", extra={"writes": left})
    flag.set()
    await asyncio.wait([kopf_task], timeout=DRAIN_SECONDS)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


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


def _kopf_connection(access: Access) -> kopf.ConnectionInfo:
    """Let Kopf use the server and the credentials that we found."""
    scheme, _, token = access.authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=access.server,
        scheme=scheme or None,
        token=token or None,
        ca_path=access.ca_file or None,
        certificate_path=access.cert_file or None,
        private_key_path=access.key_file or None,
        insecure=not access.verify,
        proxy_url=access.proxy or None,
    )


def _text(address: HostPort) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
