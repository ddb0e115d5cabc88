"""What must not grow with the number of bad volumes: objects, series, memory, and what others wait for.

In: a policy over 1,200 claims, checked and told in memory. Out: sizes and counts; nothing here looks at a clock.
"""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from random import Random
from types import MappingProxyType

import pytest

from support.driven import DrivenCluster
from support.fakeapi import FakeApi
from support.health import DRIVER, START, SteppedClock, make_claim
from support.pipeline import PlainPipeline
from volumehealth.judge.result import CheckResult
from volumehealth.model.health import (
    Answer,
    Condition,
    DriverAnswers,
    DriverState,
    HealthAPI,
    Outcome,
    Source,
    SourceState,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import at_once
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter

pytestmark = pytest.mark.looptime

CLAIMS = 1200
LARGEST = 256 * 1024
SPEC = PolicySpec(unhealthy_after=timedelta(), healthy_after=timedelta(), record_retention=timedelta())
PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"
POLICY = Policy("storage", "uid-storage", 1, START, SPEC)


class World:
    """A checker and a reporter over a cluster, and the API server in memory that they write to."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.api = FakeApi(latency=0.001)
        self.api.objects[PATH] = {"kind": "Policy", "metadata": {"name": "storage"}}
        made = [make_claim(f"claim-{number:04}") for number in range(CLAIMS)]
        self.cluster = DrivenCluster({claim.ref: claim for claim in made})
        self.metrics = Metrics()
        self.checker = PlainPipeline.of_controllers(self.cluster, self.cluster, self.clock)
        self.reporter = Reporter(
            self.api,
            clock=self.clock,
            random=Random(1),
            metrics=self.metrics,
            pods_of=self.cluster.pods_of,
            changes=self.cluster.changes,
        )
        at_once(self.reporter.resume(self.cluster.records))
        self.checker.follow({POLICY.uid: POLICY}, None)

    @property
    def handles(self) -> list[str]:
        return [claim.handle for claim in self.cluster.claims.values()]

    async def hears(self, bad: Iterable[str], conditions: tuple[Condition, ...] = ()) -> CheckResult:
        """Let the driver accuse some volumes; check, and tell all of it."""
        self.clock.advance(seconds=60)
        now = self.clock.now()
        conditions = conditions or (Condition("Degraded", "Slow", "the path is slow"),)
        others = {
            handle: Answer(Source.CONTROLLER, Outcome.ADVERSE, now, conditions=conditions) for handle in bad
        }
        self.cluster.said[DRIVER] = DriverAnswers(
            DriverState(DRIVER, SourceState.ANSWERING, START, HealthAPI.VOLUME_HEALTH),
            now,
            frozenset(self.handles) - others.keys(),
            MappingProxyType(others),
            Answer(Source.CONTROLLER, Outcome.SILENT, now, reason="NotYetAsked"),
        )
        return await self.check()

    async def hears_the_same_again(self) -> CheckResult:
        """Let the driver go on saying the same; check, and tell what there is to be told."""
        self.clock.advance(seconds=60)
        self.cluster.said[DRIVER] = replace(self.cluster.said[DRIVER], at=self.clock.now())
        return await self.check()

    async def check(self) -> CheckResult:
        self.checker.follow({POLICY.uid: POLICY}, ())
        result = self.checker.check(POLICY)
        task = asyncio.create_task(self.reporter.run())
        self.reporter.report(result)
        await asyncio.sleep(60)  # what is taken back waits a while
        assert await self.reporter.drain(600) == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.cluster.show_records(self.api)
        return result


async def test_no_object_outgrows_a_quarter_of_a_mebibyte_however_many_volumes_are_bad() -> None:
    world = World()
    wordy = tuple(Condition("Inaccessible", f"Reason{number}", "x" * 1024) for number in range(16))
    await world.hears(world.handles)
    await world.hears(world.handles[:100], wordy)
    kinds = {one.get("kind") for one in world.api.objects.values()}
    assert {"Policy", "VolumeHealth", "Event"} <= kinds
    assert max(len(json.dumps(one)) for one in world.api.objects.values()) < LARGEST


async def test_series_are_bounded_and_no_healthy_volume_has_one() -> None:
    world = World()
    await world.hears([])
    quiet = at_once(world.metrics.render()).count(b"\n")
    assert quiet < 150
    await world.hears(world.handles)
    loud = at_once(world.metrics.render())
    assert loud.count(b"\nvolumehealth_claim_unhealthy{") == 1000
    assert b"volumehealth_claim_unhealthy_truncated 200.0" in loud
    await world.hears([])
    assert at_once(world.metrics.render()).count(b"\n") < quiet + 20


async def test_memory_is_returned_after_a_burst() -> None:
    world = World()
    for _ in range(2):
        await world.hears([])
    world.api.requests.clear()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await world.hears(world.handles[: CLAIMS // 4])
        burst = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            await world.hears([])
        world.api.objects.clear()
        world.api.requests.clear()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert burst - before > 500_000
    assert after - before < (burst - before) / 10


async def test_a_driver_that_goes_on_accusing_all_volumes_causes_no_further_write() -> None:
    world = World()
    await world.hears(world.handles)
    world.api.requests.clear()
    result = await world.hears(world.handles)
    assert result.judgement is not None
    assert result.counts.unhealthy == CLAIMS
    assert world.api.requests == []


async def test_a_check_looks_at_the_claims_of_which_something_has_changed_and_at_no_other() -> None:
    world = World()
    bad = world.handles[: CLAIMS // 3]  # not so many that they are one story of their driver
    for _ in range(3):
        await world.hears(bad)
    world.cluster.looked_at.clear()
    before = await world.hears(bad)
    assert world.cluster.looked_at == []
    again = await world.hears_the_same_again()
    assert again.healths is before.healths, "nothing was judged either"
    changed = ClaimRef("shop", "claim-0007")
    world.cluster.changes.add(changed)
    await world.hears(bad)
    assert changed in world.cluster.looked_at
    assert set(world.cluster.looked_at) <= {
        changed,
        *(ClaimRef("shop", f"claim-000{number}") for number in range(3)),
    }, "the problem names three"


async def test_records_that_users_delete_and_edit_among_thousands_that_rest_are_put_right() -> None:
    world = World()
    for _ in range(3):
        await world.hears(world.handles)
    deleted, edited, *_ = (path for path in sorted(world.api.objects) if "/volumehealths/" in path)
    good = {path: world.api.objects[path]["status"] for path in (deleted, edited)}
    del world.api.objects[deleted]
    edit = {"status": {"health": "Recovered"}}
    await world.api.request("PATCH", edited, body=edit, content_type="application/merge-patch+json")
    world.cluster.show_records(world.api)
    await world.hears(world.handles)
    assert {path: world.api.objects[path]["status"] for path in (deleted, edited)} == good


async def test_a_claim_that_is_made_anew_among_thousands_that_rest_is_judged_anew() -> None:
    world = World()
    for _ in range(2):
        await world.hears(world.handles)
    ref = ClaimRef("shop", "claim-0007")
    world.cluster.claims[ref] = replace(world.cluster.claims[ref], uid="another")
    world.checker.follow({POLICY.uid: POLICY}, [ref])
    result = await world.hears(world.handles)
    assert result.healths[ref].uid == "another"
    assert {turn.claim for turn in result.transitions} == {ref}


async def test_checking_thousands_of_bad_volumes_lets_others_have_a_turn_after_each() -> None:
    world = World()
    await world.hears([])
    bad = Answer(Source.CONTROLLER, Outcome.ADVERSE, START, conditions=(Condition("Degraded", "Slow", ""),))
    world.cluster.said[DRIVER] = replace(
        world.cluster.said[DRIVER], healthy=frozenset(), others=dict.fromkeys(world.handles, bad)
    )
    assert sum(1 for _ in world.checker.pipeline.check(POLICY)) >= CLAIMS
    assert sum(1 for _ in world.checker.pipeline.follow({POLICY.uid: POLICY}, None)) >= CLAIMS


async def test_taking_up_and_taking_back_thousands_of_records_lets_others_have_a_turn_after_each() -> None:
    world = World()
    for _ in range(2):
        await world.hears(world.handles)
    world.cluster.show_records(world.api)
    assert len(world.cluster.records) == CLAIMS
    again = World()
    assert sum(1 for _ in again.reporter.resume(world.cluster.records)) >= CLAIMS
    healths = {POLICY.uid: at_once(World().reporter.resume(world.cluster.records))["storage"]}
    assert sum(1 for _ in again.checker.pipeline.judge.resume(healths, {}, START)) >= CLAIMS
    assert sum(1 for _ in world.reporter.forget(POLICY)) >= CLAIMS


async def test_handing_thousands_of_bad_claims_over_lets_others_have_a_turn_after_each() -> None:
    world = World()
    await world.hears(world.handles)
    heir = replace(POLICY, name="heir", uid="uid-heir", spec=replace(SPEC, priority=1))
    both = {POLICY.uid: POLICY, heir.uid: heir}
    assert sum(1 for _ in world.checker.pipeline.follow(both, ())) >= 2 * CLAIMS
    assert len(world.checker.pipeline.judge.healths(heir.uid)) == CLAIMS


async def test_a_page_of_metrics_with_a_thousand_series_is_written_in_steps() -> None:
    world = World()
    await world.hears(world.handles)
    assert sum(1 for _ in world.metrics.render()) >= 1000


async def test_fifty_claims_come_and_go_in_each_second_and_cost_what_they_are() -> None:
    """Counts are exact all the while, following costs what changed, and in the end nothing is left of it."""
    world, policies = World(), {POLICY.uid: POLICY}
    await world.hears([])
    new = [make_claim(f"new-{number:04}") for number in range(1000)]
    for second in range(25):
        come, gone = new[50 * second :][:50], new[50 * (second - 5) :][:50] if second >= 5 else []
        world.cluster.claims |= {claim.ref: claim for claim in come}
        for claim in gone:
            del world.cluster.claims[claim.ref]
        world.clock.advance(seconds=1)
        changed = {claim.ref for claim in (*come, *gone)}
        assert sum(1 for _ in world.checker.pipeline.follow(policies, changed)) <= 2 * len(changed) + 10
        counts = world.checker.check(POLICY).counts
        assert (counts.selected, counts.healthy) == (len(world.cluster.claims), CLAIMS)
        assert counts.unknown == len(world.cluster.claims) - CLAIMS, "nobody was asked about them yet"
    last = world.checker.check(POLICY)
    assert (last.counts.selected, last.counts.healthy, dict(last.healths)) == (CLAIMS, CLAIMS, {})
