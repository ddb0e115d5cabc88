"""The agent's two objects: written on change only, and again when somebody took them away."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from support.clock import LoopClock, ManualClock
from support.fakeapi import FakeApi
from volumehealth import errors
from volumehealth.agent.writer import VERIFY, AgentLease, ReportWriter
from volumehealth.model.clock import SystemClock
from volumehealth.model.report import VolumeHealthReport
from volumehealth.model.report_json import decode_report

pytestmark = pytest.mark.looptime

PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthreports/worker-1"
NODE = "/api/v1/nodes/worker-1"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/volumehealth-system/leases/volumehealth-agent-worker-1"


def report(warnings: int) -> VolumeHealthReport:
    return VolumeHealthReport("worker-1", node="worker-1", capacity_warnings=warnings)


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.objects[NODE] = {"metadata": {"name": "worker-1", "uid": "node-1"}}
    return api


@pytest.fixture
async def writer(api: FakeApi) -> AsyncIterator[ReportWriter]:
    writer = ReportWriter(api, "worker-1", clock=SystemClock(), random=Random(1))
    assert await writer.load() is None
    task = asyncio.create_task(writer.run())
    yield writer
    assert not task.done()
    task.cancel()


def stored(api: FakeApi) -> int:
    return decode_report("worker-1", api.objects[PATH]["status"]).capacity_warnings


async def test_a_report_is_written_once_however_often_it_says_the_same(
    api: FakeApi, writer: ReportWriter
) -> None:
    for _ in range(5):
        writer.want(report(1))
        await asyncio.sleep(20)
    assert stored(api) == 1
    assert api.count("PATCH") == 1
    assert writer.written.is_set()
    assert api.objects[PATH]["metadata"]["ownerReferences"][0]["uid"] == "node-1"


async def test_of_many_changes_at_once_the_last_is_written(api: FakeApi, writer: ReportWriter) -> None:
    for number in range(100):
        writer.want(report(number + 1))
        await asyncio.sleep(0.1)
    await asyncio.sleep(20)
    assert stored(api) == 100
    assert api.count("PATCH") <= 4


async def test_what_is_wanted_again_while_something_else_is_written_is_written_after_it(
    api: FakeApi, writer: ReportWriter
) -> None:
    writer.want(report(1))
    await asyncio.sleep(20)
    api.latency = 10.0
    writer.want(report(2))
    await asyncio.sleep(5)  # it is on its way
    writer.want(report(1))
    await asyncio.sleep(40)
    assert stored(api) == 1


async def test_a_write_that_fails_is_done_later(api: FakeApi, writer: ReportWriter) -> None:
    api.away = True
    writer.want(report(1))
    await asyncio.sleep(30)
    assert not writer.written.is_set()
    api.away = False
    await asyncio.sleep(61)
    assert stored(api) == 1


async def test_a_report_that_somebody_deleted_is_written_again(api: FakeApi, writer: ReportWriter) -> None:
    writer.want(report(1))
    await asyncio.sleep(20)
    del api.objects[PATH]
    await asyncio.sleep(VERIFY * 1.3)
    assert stored(api) == 1


async def test_a_node_that_was_made_anew_owns_the_report_from_then_on(
    api: FakeApi, writer: ReportWriter
) -> None:
    writer.want(report(1))
    await asyncio.sleep(20)
    api.objects[NODE] = {"metadata": {"name": "worker-1", "uid": "node-2"}}
    await asyncio.sleep(VERIFY * 1.3)
    assert [one["uid"] for one in api.objects[PATH]["metadata"]["ownerReferences"]] == ["node-2"]


async def test_it_waits_for_the_server_to_read_its_report_at_start(api: FakeApi) -> None:
    api.away = True
    writer = ReportWriter(api, "worker-1", clock=SystemClock(), random=Random(1))
    loading = asyncio.create_task(writer.load())
    await asyncio.sleep(100)
    assert not loading.done()
    api.away = False
    assert await loading is None


async def test_a_page_in_the_place_of_its_report_is_no_word_that_there_is_none(
    api: FakeApi, writer: ReportWriter
) -> None:
    """An agent that begins anew would forget what has to last, and tell an end of it."""
    writer.want(report(1))
    await asyncio.sleep(20)
    version = [{"groupVersion": "volumehealth.dev/v1alpha1"}]
    api.objects["/apis"] = {"kind": "APIGroupList", "groups": [{"name": "", "versions": version}]}
    resources = [{"name": "volumehealthreports"}]
    api.objects["/apis/volumehealth.dev/v1alpha1"] = {"kind": "APIResourceList", "resources": resources}
    api.refusals = [None, errors.NotServed("a page", status=404)]
    again = ReportWriter(api, "worker-1", clock=SystemClock(), random=Random(1))
    assert await again.load() == report(1)


async def test_where_reports_are_not_served_there_is_none(api: FakeApi) -> None:
    api.objects["/apis"] = {"kind": "APIGroupList", "groups": []}
    api.refusals = [None, errors.NotServed("404 page not found", status=404)]
    writer = ReportWriter(api, "worker-1", clock=SystemClock(), random=Random(1))
    assert await writer.load() is None


async def test_what_is_on_the_server_already_is_not_written(api: FakeApi, writer: ReportWriter) -> None:
    writer.want(report(1))
    await asyncio.sleep(20)
    again = ReportWriter(api, "worker-1", clock=SystemClock(), random=Random(1))
    assert await again.load() == report(1)
    again.want(report(1))
    assert again.written.is_set()
    assert api.count("PATCH") == 1


async def test_the_lease_is_renewed_each_minute_while_the_agent_is_well(api: FakeApi) -> None:
    clock, well = ManualClock(), True
    lease = AgentLease(
        api,
        namespace="volumehealth-system",
        report="worker-1",
        identity="agent-x",
        clock=clock,
        random=Random(1),
        owner=lambda: None,
    )
    task = asyncio.create_task(lease.run(lambda: well))
    await asyncio.sleep(600)
    assert 10 <= api.count("PATCH") <= 12
    assert api.objects[LEASE]["spec"]["renewTime"] == "2026-11-24T03:00:00.000000Z"
    well = False
    before = api.count("PATCH")
    await asyncio.sleep(600)
    assert api.count("PATCH") <= before + 1
    well = True
    api.refusals = [errors.Forbidden("no", status=403)] * 3
    await asyncio.sleep(120)
    assert api.count("PATCH") >= before + 4
    task.cancel()


async def test_a_report_that_cannot_be_written_is_not_believed_for_long(api: FakeApi) -> None:
    """What the server shows is old: an agent that says it is alive would confirm what it knows better."""
    writer = ReportWriter(api, "worker-1", clock=LoopClock(), random=Random(1))
    await writer.load()
    task = asyncio.create_task(writer.run())
    writer.want(report(1))
    await asyncio.sleep(20)
    api.refuse = lambda method, _: errors.Forbidden("no", status=403) if method == "PATCH" else None
    await asyncio.sleep(10 * VERIFY)
    assert writer.believable  # nothing is new: what is there is true
    writer.want(report(2))
    await asyncio.sleep(20)
    assert writer.believable
    for number in range(3, 33):
        writer.want(report(number))
        await asyncio.sleep(10)
    assert not writer.believable
    api.refuse = lambda method, path: None
    await asyncio.sleep(61)
    assert stored(api) == 32
    assert writer.believable
    task.cancel()
