"""The longest steps of the event loop with 100,000 claims, in this process alone: API server and driver are in memory.

What a busy machine, a network or another program takes is not in them, so that they can be compared from day to day.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from benchmarks.bulkdriver import BulkDriver, Order
from benchmarks.memorycluster import DriverWire, MemoryCluster, Nobody
from benchmarks.table import Line
from benchmarks.watched import step_name
from volumehealth.app.assembly import LeaderWork
from volumehealth.app.operator import GC_THRESHOLDS
from volumehealth.kube.api import Api
from volumehealth.model.clock import SystemClock
from volumehealth.model.steps import in_slices
from volumehealth.report.metrics import Metrics
from volumehealth.settings import EndpointSetting, Settings

_GOAL = 0.05
_DRIVER = "array.bench.example.com"
_POLICIES = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies"
_RECORDS = "/apis/volumehealth.dev/v1alpha1/volumehealths"
_NAME = "all"
_POLICY = {
    "kind": "VolumeHealthPolicy",
    "metadata": {
        "name": _NAME,
        "uid": f"uid-{_NAME}",
        "generation": 1,
        "creationTimestamp": "2026-11-01T00:00:00Z",
    },
    "spec": {"interval": "5s", "timeout": "3s", "unhealthyAfter": "0s", "healthyAfter": "0s"},
}
_PATIENCE = 300.0
"""Seconds that a turn of events may take on a slow machine."""


class _Watch:
    """Times each step of the event loop in processor time of its thread, but for those of whoever measures."""

    def __init__(self) -> None:
        self._longest = (0.0, "")
        self._measures = asyncio.current_task()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch until the context ends."""
        run = asyncio.events.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            callback: object = handle._callback  # type: ignore[attr-defined]
            worked = time.thread_time()
            run(handle)
            seconds = time.thread_time() - worked
            if seconds > self._longest[0] and getattr(callback, "__self__", None) is not self._measures:
                self._longest = (seconds, step_name(callback))

        setattr(asyncio.events.Handle, "_run", timed)  # noqa: B010 - the type checker would not have it otherwise
        try:
            yield
        finally:
            setattr(asyncio.events.Handle, "_run", run)  # noqa: B010 - likewise

    def taken(self) -> tuple[float, str]:
        """Return the longest step since the last call, and whose it was."""
        longest, self._longest = self._longest, (0.0, "")
        return longest


async def steps(*, claims: int, bad: int) -> list[Line]:
    """Start over so many claims; then let so many volumes be bad, the driver be silent, and all be listed anew."""
    cluster, driver = MemoryCluster(), BulkDriver(_DRIVER, "vol-", claims, lists=True)
    cluster.populate(claims, driver=_DRIVER, prefix="vol-")
    cluster.put(_POLICIES, _NAME, _POLICY)
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()  # what is measured must not wait for what measures
    try:
        return await _measured(cluster, driver, claims=claims, bad=bad)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


async def _measured(cluster: MemoryCluster, driver: BulkDriver, *, claims: int, bad: int) -> list[Line]:
    clock, metrics, watch = SystemClock(), Metrics(), _Watch()
    api = Api(Nobody(), clock=clock, connect=lambda _: cluster)
    await api.open()
    settings = Settings(
        csi_endpoints=(EndpointSetting("unix:///driver.sock", _DRIVER),), csi_busy_percent=100
    )
    work = LeaderWork(
        api, settings, clock=clock, random=Random(1), metrics=metrics, dial=lambda _: DriverWire(driver)
    )

    async def until(done: Callable[[dict[str, Any]], object]) -> None:
        """Wait until the policy's counts are as they should be."""
        async with asyncio.timeout(_PATIENCE):
            while not done(cluster.find(_POLICIES, _NAME).get("status", {}).get("claims", {})):  # noqa: ASYNC110 - only the server can tell
                await asyncio.sleep(0.1)

    async def started() -> None:
        await work.engine.started()
        gc.freeze()
        tasks.append(asyncio.create_task(_turns(work)))
        await until(lambda counts: counts.get("healthy") == claims)

    async def turned_bad() -> None:
        driver.obey(Order(bad=bad))
        await until(lambda counts: counts.get("unhealthy") == bad)
        async with asyncio.timeout(_PATIENCE):
            while len(cluster.collections[_RECORDS]) < bad:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)
        await asyncio.create_task(_scrape(metrics))
        await asyncio.sleep(7)  # records say what was told

    async def silent() -> None:
        driver.obey(Order(hang=True))
        await until(lambda counts: not counts["healthy"])
        driver.obey(Order(bad=0, hang=False))
        await until(lambda counts: counts["healthy"] == claims)

    async def listed_anew() -> None:
        cluster.expire()
        await asyncio.sleep(15)

    async def deleted() -> None:
        cluster.remove(_POLICIES, _NAME)
        async with asyncio.timeout(_PATIENCE):
            while cluster.collections[_RECORDS]:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)

    phases: dict[str, Callable[[], Awaitable[None]]] = {
        "at start": started,
        "two lists in which nothing changed": lambda: asyncio.sleep(12),
        f"{bad:,} volumes turn bad": turned_bad,
        "the driver is silent, and speaks again": silent,
        "all is listed anew": listed_anew,
        "the policy is deleted": deleted,
    }
    lines = []
    with watch.watching():
        tasks = [asyncio.create_task(one) for one in work.coroutines()]
        try:
            for name, phase in phases.items():
                await phase()
                lines.append(_line(f"event loop, {claims:,} claims in memory: {name}", *watch.taken()))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return lines


async def _turns(work: LeaderWork) -> None:
    """Do what Kopf's timer does."""
    while await work.engine.turn(f"uid-{_NAME}"):  # noqa: ASYNC110 - the engine waits until it is due
        await asyncio.sleep(0.1)


async def _scrape(metrics: Metrics) -> None:
    await in_slices(metrics.render())


def _line(name: str, seconds: float, what: str) -> Line:
    return Line(
        name,
        "longest step under 50 ms of processor",
        "",
        f"{seconds * 1000:.0f} ms",
        seconds / _GOAL,
        seconds < _GOAL,
        {"step": what},
    )
