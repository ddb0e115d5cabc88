"""Thousands of volumes are bad, and nothing changes from check to check; in this process alone, on an API server in memory."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from random import Random
from statistics import median
from types import MappingProxyType

from benchmarks.table import Line, ms, spread
from support.driven import DrivenCluster
from support.fakeapi import FakeApi
from support.health import DRIVER, START, SteppedClock, make_claim, make_driver
from support.pipeline import PlainPipeline
from volumehealth.kube.writes import Limits
from volumehealth.model.health import Answer, Condition, DriverAnswers, Outcome, Source
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import at_once
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter

_GOAL = 0.02
_POLICY = Policy("storage", "uid-storage", 1, START, PolicySpec(unhealthy_after=timedelta()))
_PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"


def _accusing(cluster: DrivenCluster, bad: int) -> DriverAnswers:
    """Return what the driver says if the first so many volumes are slow."""
    handles = [claim.handle for claim in cluster.claims.values()]
    slow = (Condition("Degraded", "Slow", "the path is slow"),)
    adverse = Answer(Source.CONTROLLER, Outcome.ADVERSE, START, conditions=slow)
    silence = Answer(Source.CONTROLLER, Outcome.SILENT, START, reason="NotYetAsked")
    others = MappingProxyType(dict.fromkeys(handles[:bad], adverse))
    return DriverAnswers(make_driver(), START, frozenset(handles[bad:]), others, silence)


async def resting(*, bad: int, claims: int, times: int) -> list[Line]:
    """Let so many volumes be bad, too few to be one story of their driver, until all was told; then check on."""
    clock, api = SteppedClock(), FakeApi(latency=0)
    api.objects[_PATH] = {"kind": "Policy", "metadata": {"name": "storage"}}
    cluster = DrivenCluster({one.ref: one for one in (make_claim(f"claim-{n:06}") for n in range(claims))})
    checker = PlainPipeline.of_controllers(cluster, cluster, clock)
    reporter = Reporter(
        api,
        clock=clock,
        random=Random(1),
        metrics=Metrics(),
        pods_of=cluster.pods_of,
        changes=cluster.changes,
        limits=Limits(paced_per_second=1e9),
    )
    at_once(reporter.resume(cluster.records))
    cluster.said[DRIVER] = _accusing(cluster, bad)
    task = asyncio.create_task(reporter.run())
    checks, tellings = [], []
    for number in range(times + 3):
        clock.advance(seconds=60)
        cluster.said[DRIVER] = replace(cluster.said[DRIVER], at=clock.now())
        begun = time.process_time()
        checker.follow({_POLICY.uid: _POLICY}, () if number else None)
        result = checker.check(_POLICY)
        checked = time.process_time()
        reporter.report(result)
        await reporter.drain(60)
        told = time.process_time()
        if number < 2:  # the first is told, and the second finds that it was
            cluster.show_records(api)
        elif number > 2:
            checks.append(checked - begun)
            tellings.append(told - checked)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [
        Line(
            f"{bad:,} volumes stay bad, nothing changes: {what}",
            "under 20 ms of processor",
            "",
            ms(median(taken)),
            median(taken) / _GOAL,
            median(taken) < _GOAL,
            spread([1000 * one for one in taken]),
        )
        for what, taken in (("a check", checks), ("telling it", tellings))
    ]
