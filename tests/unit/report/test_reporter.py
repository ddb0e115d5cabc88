"""All of telling together: each check reaches the status, the Events, the records and the metrics."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from support.fakeapi import FakeApi
from support.health import (
    SteppedClock,
    cleared,
    found,
    make_claim,
    make_finding,
    make_health,
    make_pod,
    make_policy,
    make_result,
)
from unit.report.scenes import three_thousand_bad
from volumehealth.judge.result import CheckResult
from volumehealth.model.steps import at_once
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Lane, Reporter

pytestmark = pytest.mark.looptime

POLICY = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"
CLAIM, FINDING = make_claim(), make_finding()


@pytest.fixture
async def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def reporter(api: FakeApi, clock: SteppedClock, metrics: Metrics) -> Reporter:
    api.objects[POLICY] = {"metadata": {"name": "storage", "uid": "uid-storage"}}
    return Reporter(api, clock=clock, random=Random(1), metrics=metrics, pods_of=lambda _: (make_pod(),))


@asynccontextmanager
async def running(reporter: Reporter) -> AsyncIterator[None]:
    task = asyncio.create_task(reporter.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def bad() -> CheckResult:
    return make_result([(CLAIM, make_health(CLAIM, FINDING))], turns=[found(CLAIM, FINDING)], healthy=9)


async def test_a_check_is_told_everywhere_with_one_write_for_each_object(
    reporter: Reporter, api: FakeApi, metrics: Metrics
) -> None:
    async with running(reporter):
        reporter.report(bad())
        assert await reporter.drain(30) == 0
    assert api.objects[POLICY]["status"]["claims"]["unhealthy"] == 1
    assert {event["involvedObject"]["kind"] for event in api.events()} == {
        "PersistentVolumeClaim",
        "Pod",
        "VolumeHealthPolicy",
    }
    (record,) = api.of_kind("VolumeHealth")
    assert "lastNotifiedAt" in record["status"]["findings"][0]
    assert len(api.requests) == 6, "the record is written first, and once more when its Events were delivered"
    assert b"volumehealth_claim_unhealthy{" in at_once(metrics.render())


async def test_the_record_of_a_recovery_is_written_after_its_event(reporter: Reporter, api: FakeApi) -> None:
    async with running(reporter):
        reporter.report(bad())
        await reporter.drain(30)
        api.requests.clear()
        over = (CLAIM, make_health(CLAIM, recovered=FINDING.confirmed))
        reporter.report(make_result([over], turns=[cleared(CLAIM, FINDING)], healthy=10))
        await reporter.drain(30)
    paths = [path.split("/")[-2 if method == "PATCH" else -1] for method, path in api.requests]
    assert paths.index("events") < paths.index("volumehealths")


async def test_of_equal_checks_that_wait_only_the_newest_is_told(reporter: Reporter, api: FakeApi) -> None:
    reporter.report(make_result(healthy=1))
    reporter.report(make_result(healthy=2))
    async with running(reporter):
        await reporter.drain(30)
    assert api.count("PATCH") == 1
    assert api.objects[POLICY]["status"]["claims"]["healthy"] == 2


async def test_a_check_that_found_a_turn_is_never_passed_over(reporter: Reporter, api: FakeApi) -> None:
    over = (CLAIM, make_health(CLAIM, recovered=FINDING.confirmed))
    reporter.report(make_result([over], turns=[cleared(CLAIM, FINDING)], healthy=10))
    reporter.report(make_result([over], healthy=10))
    async with running(reporter):
        await reporter.drain(30)
    assert len(api.events("VolumeConditionNormal", about="PersistentVolumeClaim")) == 1


async def test_a_check_of_a_policy_that_is_gone_is_not_told(reporter: Reporter, api: FakeApi) -> None:
    reporter.report(bad())
    at_once(reporter.forget(bad().policy))
    async with running(reporter):
        await reporter.drain(30)
    assert api.events() == []
    assert api.of_kind("VolumeHealth") == []


async def test_a_recovery_is_told_though_its_policy_was_made_anew_before_any_output_took_the_check(
    reporter: Reporter, api: FakeApi
) -> None:
    over = (CLAIM, make_health(CLAIM, recovered=FINDING.confirmed))
    result = make_result([over], turns=[cleared(CLAIM, FINDING)], healthy=10)
    reporter.report(result)
    at_once(reporter.forget(result.policy))
    reporter.report(make_result([over], policy=replace(result.policy, uid="uid-anew"), healthy=10))
    async with running(reporter):
        await reporter.drain(30)
    assert len(api.events("VolumeConditionNormal", about="PersistentVolumeClaim")) == 1


async def test_a_lane_hands_back_what_it_did_not_tell_to_its_end() -> None:
    results = [bad(), bad(), replace(bad(), policy=make_policy("other"))]
    left: list[CheckResult] = []

    def publish(result: CheckResult) -> Iterator[None]:
        yield
        if not left:
            left.extend(lane.drop(results[0].policy.uid))

    lane = Lane(publish, name="Events", on_error=lambda _: None)
    for result in results:
        lane.put(result)
    task = asyncio.create_task(lane.run())
    await lane.idle()
    task.cancel()
    assert [id(one) for one in left] == [id(one) for one in results[:2]]


async def test_a_policy_that_goes_while_it_is_told_leaves_nothing_behind(
    reporter: Reporter, api: FakeApi, metrics: Metrics
) -> None:
    result = three_thousand_bad()
    async with running(reporter):
        reporter.report(result)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        at_once(reporter.forget(result.policy))
        await reporter.drain(300)
    assert api.of_kind("VolumeHealth") == []
    assert b"volumehealth_policy_claims{" not in at_once(metrics.render())


async def test_a_suspended_policy_keeps_its_records_and_events(reporter: Reporter, api: FakeApi) -> None:
    async with running(reporter):
        reporter.report(bad())
        await reporter.drain(30)
        reporter.report(replace(make_result(), judgement=None))
        assert await reporter.drain(30) == 0
    assert len(api.of_kind("VolumeHealth")) == 1
