"""Thousands of volumes are bad, and nothing changes from check to check; in this process alone, on an API server in memory."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from statistics import median
from types import MappingProxyType

import msgspec

from benchmarks.table import Line, ms, spread
from support.fakeapi import FakeApi
from support.health import DRIVER, START, SteppedClock, make_claim, make_driver
from support.pipeline import PlainPipeline
from volumehealth.cluster.changes import Changes
from volumehealth.cluster.objects import RawRecord
from volumehealth.kube.writes import Limits
from volumehealth.model.cluster import Claim, Namespace, Pod, ViewState
from volumehealth.model.health import Answer, Condition, DriverAnswers, Outcome, Source
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter

_GOAL = 0.02
_POLICY = Policy("storage", "uid-storage", 1, START, PolicySpec(unhealthy_after=timedelta()))
_PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"


@dataclass
class _Cluster:
    """Claims, each with a Pod, and what their driver says of them: a view, and drivers for a pipeline."""

    claims: dict[ClaimRef, Claim]
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    said: dict[str, DriverAnswers] = field(default_factory=dict)
    records: dict[ClaimRef, RawRecord] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def state(self) -> ViewState:
        return ViewState(complete=True, age=0.0)

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        pass

    def answers(self) -> dict[str, DriverAnswers]:
        return self.said

    def pods_of(self, ref: ClaimRef) -> tuple[Pod, ...]:
        return (Pod(ref.namespace, f"pod-{ref.name}", f"uid-pod-{ref.name}", "n1", "Running", (ref.name,)),)

    def accuse(self, bad: int) -> None:
        """Let the driver say that the first so many volumes are slow."""
        handles = [claim.handle for claim in self.claims.values()]
        slow = (Condition("Degraded", "Slow", "the path is slow"),)
        adverse = Answer(Source.CONTROLLER, Outcome.ADVERSE, START, conditions=slow)
        silence = Answer(Source.CONTROLLER, Outcome.SILENT, START, reason="NotYetAsked")
        others = MappingProxyType(dict.fromkeys(handles[:bad], adverse))
        self.said[DRIVER] = DriverAnswers(make_driver(), START, frozenset(handles[bad:]), others, silence)

    def show_records(self, api: FakeApi) -> None:
        """Let the view show the records that are on the server."""
        for one in api.of_kind("VolumeHealth"):
            about, status = one["metadata"], msgspec.json.encode(one["status"])
            ref, owner = ClaimRef(about["namespace"], about["name"]), about["ownerReferences"][0]["uid"]
            version = int(about["resourceVersion"])
            self.records[ref] = RawRecord(ref, "", owner, about["labels"], status, version=version)
            self.changes.add(ref)


async def resting(*, bad: int, claims: int, times: int) -> list[Line]:
    """Let so many volumes be bad, too few to be one story of their driver, until all was told; then check on."""
    clock, api = SteppedClock(), FakeApi(latency=0)
    api.objects[_PATH] = {"kind": "Policy", "metadata": {"name": "storage"}}
    cluster = _Cluster({one.ref: one for one in (make_claim(f"claim-{n:06}") for n in range(claims))})
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
    reporter.resume(cluster.records)
    cluster.accuse(bad)
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
