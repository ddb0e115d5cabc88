"""How an agent starts: alive whatever the API server does, Ready once it has read it, and content with nothing to do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from grpc import StatusCode

from support.agent import make_target
from support.clock import LoopClock
from support.memoryserver import MemoryServer, connected
from volumehealth.agent.controller import ControllerAgent
from volumehealth.agent.controller_settings import ControllerSettings
from volumehealth.agent.node import NodeAgent
from volumehealth.agent.settings import NodeSettings
from volumehealth.csi.endpoint import Endpoint, parse_endpoint
from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.wire import RpcFailed
from volumehealth.kube.api import Api
from volumehealth.model.clock import Clock
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.report import ReportedDriver
from volumehealth.settings import Settings

pytestmark = pytest.mark.looptime

GROUP = "/apis/volumehealth.dev/v1alpha1"
DRIVER = "csi.example.com"
HOUR = 3600

Agent = NodeAgent | ControllerAgent
Make = Callable[[Api, Clock, Path], Agent]


class Hanging:
    """A wire (`csi.wire.Wire`) to a driver that never answers."""

    connected = False

    def __init__(self, _: Endpoint) -> None:
        """Take the endpoint."""

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def aclose(self) -> None:
        """Nothing was opened."""


class Awakening(Hanging):
    """A wire to a driver that answers once `awake` is set: it has no controller service."""

    awake = False

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        if not Awakening.awake:
            await asyncio.sleep(timeout)
            raise RpcFailed(StatusCode.DEADLINE_EXCEEDED, "")
        return pb.GetPluginInfoResponse(name=DRIVER).SerializeToString() if "GetPluginInfo" in path else b""


def node_agent(api: Api, clock: Clock, tmp_path: Path) -> NodeAgent:
    table = tmp_path / "mountinfo"
    table.touch()
    settings = NodeSettings(Settings(), "worker-1", kubelet_dir=str(tmp_path), mount_table=str(table))
    return NodeAgent(api, settings, clock=clock, random=Random(1))


def controller_agent(api: Api, clock: Clock, tmp_path: Path) -> ControllerAgent:
    settings = ControllerSettings(Settings(), DRIVER, f"unix://{tmp_path}/csi.sock")
    return ControllerAgent(api, settings, clock=clock, random=Random(1), dial=Hanging)


AGENTS: dict[str, tuple[Make, str]] = {
    "the node agent": (node_agent, f"{GROUP}/volumehealthreports/worker-1"),
    "the controller agent": (controller_agent, f"{GROUP}/volumehealthreports/controller.{DRIVER}"),
}


@pytest.fixture
def server() -> MemoryServer:
    """An API server with nothing on it."""
    server = MemoryServer("/api/v1/pods", "/api/v1/persistentvolumes", f"{GROUP}/volumehealthpolicies")
    server.objects["/api/v1/nodes/worker-1"] = {"metadata": {"name": "worker-1", "uid": "node-1"}}
    return server


@asynccontextmanager
async def running(make: Make, server: MemoryServer, tmp_path: Path) -> AsyncIterator[Agent]:
    clock = LoopClock()
    agent = make(await connected(server, clock), clock, tmp_path)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
        assert not task.done()
    finally:
        task.cancel()


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_a_cluster_without_a_policy_and_a_driver_makes_it_ready(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    async with running(make, server, tmp_path) as agent:
        await asyncio.sleep(10)
        assert agent.ready()[0]
        await asyncio.sleep(60)
        assert agent.health()[0]
        assert report in server.objects


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_without_an_api_server_at_boot_it_is_alive_for_hours_and_not_ready(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    server.away = True
    async with running(make, server, tmp_path) as agent:
        for _ in range(6 * 60):
            await asyncio.sleep(60)
            assert agent.health()[0]
            assert not agent.ready()[0]
            assert not agent.alive()


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_it_is_ready_soon_after_the_api_server_came(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    server.away = True
    async with running(make, server, tmp_path) as agent:
        await asyncio.sleep(HOUR)
        server.away = False
        await asyncio.sleep(30)
        assert agent.ready()[0]


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_an_api_server_that_goes_away_leaves_it_alive_and_ready(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    async with running(make, server, tmp_path) as agent:
        await asyncio.sleep(60)
        server.away = True
        for _ in range(60):
            await asyncio.sleep(60)
            assert agent.health()[0]
            assert agent.ready()[0]


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_a_report_that_must_not_be_written_keeps_it_ready(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    server.refused = {f"PATCH {report}"}
    async with running(make, server, tmp_path) as agent:
        await asyncio.sleep(60)
        assert agent.ready() == (True, "no report written yet")
        assert not any(one.endswith("/leases") for _, one in server.requests)


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_an_agent_that_may_not_write_its_report_any_more_does_not_confirm_the_old_one(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    async with running(make, server, tmp_path) as agent:
        await asyncio.sleep(60)
        assert agent.alive()
        server.refused = {f"PATCH {report}"}
        server.objects[report]["status"] = {}  # somebody else edits what is there
        await asyncio.sleep(600)
        assert not agent.alive()
        server.refused = set()
        await asyncio.sleep(120)
        assert agent.alive()


async def test_a_policy_that_cannot_be_read_keeps_a_controller_agent_from_reporting_nothing(
    server: MemoryServer, tmp_path: Path
) -> None:
    """It says that it is alive: what its report said before would be confirmed for as long."""
    report = f"{GROUP}/volumehealthreports/controller.{DRIVER}"
    clock = LoopClock()
    settings = ControllerSettings(Settings(), DRIVER, f"unix://{tmp_path}/csi.sock")
    api = await connected(server, clock)
    agent = ControllerAgent(api, settings, clock=clock, random=Random(1), dial=Awakening)
    task = asyncio.create_task(agent.run())
    await asyncio.sleep(120)
    assert server.objects[report]["status"]["drivers"][0]["state"] == "Unreachable"
    policy = f"{GROUP}/volumehealthpolicies/new"
    server.refused = {f"GET {policy}"}
    metadata = {"name": "new", "uid": "new", "generation": 1, "resourceVersion": "101"}
    server.news[f"{GROUP}/volumehealthpolicies"] = {"type": "ADDED", "object": {"metadata": metadata}}
    await asyncio.sleep(2 * HOUR)
    assert ("GET", policy) in server.requests
    Awakening.awake = True
    await asyncio.sleep(HOUR)
    assert server.objects[report]["status"]["drivers"][0]["state"] == "Unsupported"
    task.cancel()


@pytest.mark.parametrize(("make", "report"), AGENTS.values(), ids=AGENTS.keys())
async def test_without_our_crds_it_waits_alive_and_ready(
    make: Make, report: str, server: MemoryServer, tmp_path: Path
) -> None:
    server.collections.discard(f"{GROUP}/volumehealthpolicies")
    async with running(make, server, tmp_path) as agent:
        for _ in range(10):
            await asyncio.sleep(60)
            assert agent.health()[0]
            assert agent.ready()[0]


async def test_a_driver_that_registers_again_does_not_answer_before_it_does(
    server: MemoryServer, tmp_path: Path
) -> None:
    """It was away for hours and hangs: what was heard of its volumes before would count again until that shows."""
    clock = LoopClock()
    agent = node_agent(await connected(server, clock), clock, tmp_path)
    target = make_target()
    name = target.claim.driver
    told = ReportedDriver(name, SourceState.ANSWERING, clock.now(), HealthAPI.VOLUME_HEALTH)
    agent._earlier[name], agent._targets[target.claim.ref] = told, target
    states = []
    async with asyncio.TaskGroup() as group:
        for endpoints in ({}, {name: parse_endpoint(f"unix://{tmp_path}/csi.sock")}):
            agent._registry._drivers.update(endpoints)
            agent._share_out(group)
            states += [driver.state for driver in agent._compose().drivers]
        for _, _, task in agent._watches.values():
            task.cancel()
    assert states == [SourceState.UNREACHABLE] * 2
