"""What people read of nodes, agents and storage: Events on claims, Pods and policies, and the front page.

In: a cluster in memory, checked by the real Checker. Out: what the real Reporter writes to an API server in memory.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from support.fakeapi import FakeApi
from support.health import DRIVER, START, SteppedClock, make_claim, make_pod
from support.pipeline import PlainPipeline
from support.planes import PlainCluster, make_entry, make_reported_driver
from volumehealth.model.cluster import Claim, NodeDrivers, StorageStatement
from volumehealth.model.health import Condition, DriverAnswers, HealthAPI, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Checks, NodeCheck, Policy, PolicySpec, Rule, RuleMatch, RuleSet
from volumehealth.model.report import (
    Plane,
    ReportedDriver,
    StorageProblem,
    VolumeHealthReport,
    controller_report_name,
)
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter
from volumehealth.report.storagestate import read_storage

pytestmark = pytest.mark.looptime

POLICY = Policy(
    "storage",
    "uid-storage",
    1,
    START,
    PolicySpec(interval=timedelta(seconds=30)),
)
PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"


class NoDrivers:
    """Nobody is connected to any controller."""

    unresolved: tuple[str, ...] = ()

    def demand(self, wanted: dict[str, ProbeSpec]) -> None:
        """Nobody is there to hear it."""

    def answers(self) -> dict[str, DriverAnswers]:
        return {}


class World:
    """An operator without a socket, its cluster, and the API server that it writes to."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.cluster = PlainCluster(self.clock)
        self.api = FakeApi()
        self.api.objects[PATH] = {"metadata": {"name": "storage", "uid": "uid-storage"}}
        self.policy = POLICY
        self.start()

    def start(self) -> None:
        self.checker = PlainPipeline.of_everything(self.cluster, NoDrivers(), self.clock)  # type: ignore[arg-type]  # narrower mappings than are asked for
        self.reporter = Reporter(
            self.api,
            clock=self.clock,
            random=Random(1),
            metrics=Metrics(),
            pods_of=self.cluster.pods_of,
        )

    def claim(self, name: str, *nodes: str, driver: str = DRIVER) -> Claim:
        """Make a claim with a running Pod on each of some nodes."""
        claim = replace(make_claim(name), driver=driver)
        self.cluster.add(claim)
        for node in nodes:
            if node not in self.cluster.nodes:
                self.cluster.set_node(node, since=START - timedelta(days=1))
            self.cluster.run(make_pod(f"{name}-{node}", node=node, claim=name))
        return claim

    async def after(self, *, renew: tuple[str, ...] = (), **by: float) -> None:
        """Let time pass, with a check and its report every 30 s."""
        end = self.clock.now() + timedelta(**by)
        running = asyncio.create_task(self.reporter.run())
        while (left := end - self.clock.now()) > timedelta(0):
            self.clock.advance(seconds=min(30.0, left.total_seconds()))
            self.cluster.renew(*renew)
            self.checker.follow({POLICY.uid: self.policy}, None)
            self.reporter.report(self.checker.check(self.policy))
            assert await self.reporter.drain(600) == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def told(self, reason: str, about: str) -> dict[str, str]:
        """Return the messages of Events by the name of what they are about."""
        events = self.api.events(reason, about=about)
        return {event["involvedObject"]["name"]: event["message"] for event in events}

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[PATH]["status"]
        return found

    def condition(self, kind: str) -> dict[str, str]:
        conditions: list[dict[str, str]] = self.status["conditions"]
        return next(one for one in conditions if one["type"] == kind)


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_failed_node_is_told_on_its_claims_and_pods_by_name_of_both(world: World) -> None:
    world.claim("orders-db", "worker-1", "worker-2")
    world.claim("elsewhere", "worker-1")
    world.cluster.set_node("worker-2", "Unknown")
    await world.after(minutes=6)
    (message,) = world.told("NodeFailed", "PersistentVolumeClaim").values()
    assert message.startswith(
        "Inaccessible/NodeFailed (Kubernetes worker-2): the node worker-2 is not Ready since "
    )
    assert "Pod orders-db-worker-2 on worker-2 uses it" in message
    assert "kubectl describe vh orders-db -n shop" in message
    assert list(world.told("NodeFailed", "Pod")) == ["orders-db-worker-2"], "not the Pod on the other node"
    assert world.told("VolumeConditionAbnormal", "Pod") == {}
    world.cluster.set_node("worker-2")
    await world.after(minutes=6)
    (back,) = world.told("NodeRecovered", "PersistentVolumeClaim").values()
    assert "the node worker-2 is Ready again" in back
    assert list(world.told("NodeRecovered", "Pod")) == ["orders-db-worker-2"]
    kinds = {event["type"] for event in world.api.events("NodeRecovered")}
    assert kinds == {"Normal"}


async def test_many_failed_nodes_are_one_problem_whatever_the_drivers(world: World) -> None:
    for number in range(20):
        world.claim(f"db-{number:02}", f"worker-{number:02}", driver=f"driver-{number % 3}.example.com")
        world.cluster.set_node(f"worker-{number:02}", "Unknown")
    world.claim("well", "worker-99")
    await world.after(minutes=6)
    (problem,) = world.status["problems"]
    assert (problem["reason"], problem["claims"]) == ("NodeFailed", 20)
    assert "driver" not in problem
    (line,) = [line for line in world.status["summary"] if "NodeFailed" in line]
    assert "20 claims" in line
    assert "on 20 nodes" in line
    (event,) = world.told("VolumesUnhealthy", "VolumeHealthPolicy").values()
    assert event.startswith("20 claims on worker-00, worker-01 and 18 more nodes: Inaccessible/NodeFailed")
    assert len(world.told("NodeFailed", "PersistentVolumeClaim")) == 20
    assert "on worker-00, worker-01 and 18 more nodes" in world.condition("VolumesHealthy")["message"]


async def test_a_fault_on_one_node_goes_to_the_pods_on_that_node(world: World) -> None:
    claim = world.claim("shared", "worker-1", "worker-2")
    world.cluster.run(make_pod("shared-second", node="worker-2", claim="shared"))
    world.cluster.report("worker-1")
    world.cluster.report("worker-2", make_entry(claim))
    await world.after(minutes=3, renew=("worker-1", "worker-2"))
    assert sorted(world.told("VolumeConditionAbnormal", "Pod")) == ["shared-second", "shared-worker-2"]
    (record,) = world.api.of_kind("VolumeHealth")
    assert [finding["node"] for finding in record["status"]["findings"]] == ["worker-2"]


async def test_a_silent_agent_is_told_once_on_the_policy_and_so_is_its_return(world: World) -> None:
    world.claim("db", "worker-1")
    world.claim("wal", "worker-2")
    world.cluster.report("worker-1")
    world.cluster.report("worker-2")
    await world.after(minutes=1, renew=("worker-1", "worker-2"))
    assert world.status["agents"] == {"expected": 2, "reporting": 2}
    await world.after(minutes=10, renew=("worker-1",))
    assert world.status["agents"] == {"expected": 2, "reporting": 1, "silent": 1, "silentNames": ["worker-2"]}
    sources = world.condition("SourcesAvailable")
    assert (sources["status"], sources["reason"]) == ("False", "AgentSilent")
    (event,) = world.api.events("AgentSilent")
    assert event["message"].startswith("worker-2 has not reported since 23 Nov 03:0")
    assert event["count"] == 1
    assert world.condition("VolumesHealthy")["status"] == "Unknown"
    await world.after(minutes=1, renew=("worker-1", "worker-2"))
    (back,) = world.api.events("AgentReporting")
    assert "worker-2" in back["message"]
    assert world.condition("SourcesAvailable")["status"] == "True"


async def test_a_silent_agent_of_a_node_is_not_told_with_claims_that_another_agent_is_silent_about(
    world: World,
) -> None:
    """Faults H26: the agent beside a driver's controller is silent as well, and so is one that is not told of yet."""
    other = "other.csi.example.com"
    world.claim("db", "worker-1")
    world.claim("wal", "worker-2")
    for name in ("a", "b", "c"):
        world.claim(name, driver=other)
    nodes, controller = ("worker-1", "worker-2"), controller_report_name(other)
    for node in nodes:
        world.cluster.report(node)
    state = ReportedDriver(
        other, SourceState.ANSWERING, START, HealthAPI.VOLUME_HEALTH, ("ControllerListVolumeHealth",)
    )
    world.cluster.reports[controller] = VolumeHealthReport(
        controller, plane=Plane.CONTROLLER, drivers=(state,)
    )
    await world.after(minutes=1, renew=(*nodes, controller))
    await world.after(minutes=4, renew=("worker-2",))
    await world.after(minutes=3)
    (event,) = world.api.events("AgentSilent")
    assert event["message"].startswith("worker-1 has not reported")
    assert "; 1 claim Unknown" in event["message"]
    unknown = world.checker.check(world.policy).unknown
    assert sum(group.claims for group in unknown if group.reason == "AgentSilent") == 5


async def test_agents_that_fall_silent_one_after_the_other_share_an_event(world: World) -> None:
    agents = tuple(f"worker-{number}" for number in range(5))
    for node in agents:
        world.claim(f"db-{node}", node)
        world.cluster.report(node)
    await world.after(minutes=1, renew=agents)
    for number in range(1, 6):
        await world.after(minutes=1, renew=agents[number:])
    await world.after(minutes=10)
    (event,) = world.api.events("AgentSilent")
    assert "worker-0, worker-1 and 3 more agents have not reported" in event["message"]
    written = event["count"]
    world.start()
    await world.after(minutes=10)
    (event,) = world.api.events("AgentSilent")
    assert event["count"] == written, "a restart repeats nothing"
    await world.after(minutes=1, renew=agents)
    await world.after(minutes=10, renew=agents[1:])
    (event,) = world.api.events("AgentSilent")
    assert event["message"].startswith("worker-0 has not reported"), "another silence is told again"
    assert event["count"] == written + 1


async def test_unwell_storage_is_told_once_with_the_claims_it_touches(world: World) -> None:
    world.claim("db", "worker-1")
    world.claim("wal", "worker-1", "worker-2")
    world.cluster.report("worker-1")
    world.cluster.report("worker-2")
    agents = ("worker-1", "worker-2")
    said = StorageStatement(Condition("StorageUnreachable", "NoPath", "no path to the array"))
    for node in agents:
        world.cluster.csinodes[node] = NodeDrivers(node, frozenset([DRIVER]), ((DRIVER, said),))
    await world.after(minutes=3, renew=agents)
    (problem,) = world.status["problems"]
    assert (problem["status"], problem["claims"]) == ("StorageUnreachable", 2)
    assert problem["example"] == "shop/db"
    (event,) = world.api.events("StorageUnhealthy")
    assert event["message"].startswith(f"{DRIVER} on worker-1, worker-2: StorageUnreachable/NoPath (Node)")
    assert "2 claims may be touched: shop/db, shop/wal" in event["message"]
    assert world.api.events(about="PersistentVolumeClaim") == []
    assert world.api.of_kind("VolumeHealth") == []
    healthy = world.condition("VolumesHealthy")
    assert healthy["status"] == "True"
    assert "StorageUnreachable/NoPath" in healthy["message"]
    for node in agents:
        world.cluster.csinodes[node] = NodeDrivers(node, frozenset([DRIVER]))
    await world.after(minutes=6, renew=agents)
    assert len(world.api.events("StorageHealthy")) == 1
    assert "problems" not in world.status


@pytest.mark.parametrize("carrier", ["an agent", "a kubelet"])
@pytest.mark.parametrize("name", ["NoPath", "ArrayAway"])
async def test_unwell_storage_is_not_told_as_healthy_because_its_pods_have_left_the_node(
    world: World, carrier: str, name: str
) -> None:
    """Faults C8: it is said still; whoever drains the node must not be told that its storage is well again.

    Whatever a rule of the policy calls it.
    """
    rule = Rule(RuleMatch(reason="NoPath"), set=RuleSet(reason=name))
    world.policy = replace(POLICY, spec=replace(POLICY.spec, rules=(rule,)))
    world.claim("db", "worker-1")
    world.claim("wal", "worker-2")
    world.claim("other", "worker-1", driver="other.csi.example.com")
    if carrier == "an agent":
        said = StorageProblem("StorageUnreachable", "NoPath", "no path to the array", START)
        driver = make_reported_driver(
            storage=(said,), methods=("NodeGetVolumeHealth", "NodeGetStorageHealth")
        )
        world.cluster.report("worker-1", drivers=[driver])
    else:
        statement = StorageStatement(Condition("StorageUnreachable", "NoPath", "no path to the array"))
        drivers = frozenset([DRIVER, "other.csi.example.com"])
        world.cluster.csinodes["worker-1"] = NodeDrivers("worker-1", drivers, ((DRIVER, statement),))
    await world.after(minutes=3, renew=("worker-1",))
    assert len(world.api.events("StorageUnhealthy")) == 1
    world.cluster.end(make_pod("db-worker-1", node="worker-1", claim="db"))
    await world.after(minutes=10, renew=("worker-1",))
    assert "problems" not in world.status
    assert world.api.events("StorageHealthy") == []


@pytest.mark.parametrize("patience", ["5m", "0s"])
@pytest.mark.parametrize(
    "end",
    ["its check is switched off", "its agent is uninstalled", "a rule ignores it", "its Pods have left"],
)
async def test_unwell_storage_that_is_no_longer_monitored_is_not_told_as_healthy(
    world: World, end: str, patience: str
) -> None:
    """Faults C8: it was where a policy's `healthyAfter` is 0s."""
    world.policy = replace(
        POLICY, spec=replace(POLICY.spec, healthy_after=timedelta(minutes=int(patience[0])))
    )
    world.claim("db", "worker-1")
    said = StorageProblem("StorageUnreachable", "NoPath", "no path to the array", START)
    driver = make_reported_driver(storage=(said,), methods=("NodeGetVolumeHealth", "NodeGetStorageHealth"))
    world.cluster.report("worker-1", drivers=[driver])
    await world.after(minutes=3, renew=("worker-1",))
    assert len(world.api.events("StorageUnhealthy")) == 1
    if end == "its agent is uninstalled":
        world.cluster.reports.clear()
    elif end == "its Pods have left":
        world.cluster.end(make_pod("db-worker-1", node="worker-1", claim="db"))
    elif end == "a rule ignores it":
        rule = Rule(RuleMatch(reason="NoPath"), ignore=True)
        world.policy = replace(world.policy, spec=replace(world.policy.spec, rules=(rule,)))
    else:
        spec = replace(world.policy.spec, checks=Checks(node=NodeCheck(enabled=False)))
        world.policy = replace(world.policy, spec=spec)
    await world.after(minutes=10, renew=() if end == "its agent is uninstalled" else ("worker-1",))
    assert "problems" not in world.status
    assert world.api.events("StorageHealthy") == []


async def test_a_restart_in_the_middle_of_a_failure_writes_no_second_event(world: World) -> None:
    world.claim("db", "worker-1")
    world.cluster.set_node("worker-1", "False")
    await world.after(minutes=6)
    before = {event["metadata"]["name"]: event["count"] for event in world.api.events()}
    (record,) = world.api.of_kind("VolumeHealth")
    old = world.checker
    world.start()
    world.checker.follow({POLICY.uid: POLICY}, None)
    remembered = old.pipeline.judge.healths(POLICY.uid)[ClaimRef("shop", "db")]
    world.checker.resume({POLICY.uid: {ClaimRef("shop", "db"): remembered}}, ())
    await world.after(minutes=5)
    assert {event["metadata"]["name"]: event["count"] for event in world.api.events()} == before
    assert (
        world.api.of_kind("VolumeHealth")[0]["status"]["findings"][0]["since"]
        == (record["status"]["findings"][0]["since"])
    )


@pytest.mark.parametrize("status", ["StorageUnreachable", "StorageDegraded"])
async def test_unwell_storage_is_told_once_however_often_the_operator_restarts(
    world: World, status: str
) -> None:
    world.claim("db", "worker-1")
    world.claim("wal", "worker-1", "worker-2")
    agents = ("worker-1", "worker-2")
    said = StorageStatement(Condition(status, "NoPath", "no path to the array"))
    for node in agents:
        world.cluster.report(node)
        world.cluster.csinodes[node] = NodeDrivers(node, frozenset([DRIVER]), ((DRIVER, said),))
    await world.after(minutes=3, renew=agents)
    since = world.status["problems"][0]["since"]
    for seconds in (30, 60, 30, 300, 30):
        world.start()
        world.checker.follow({POLICY.uid: POLICY}, None)
        world.checker.pipeline.judge.resume_storage(
            POLICY.uid, read_storage(world.status, now=world.clock.now())
        )
        await world.after(seconds=seconds, renew=agents)
    assert [event["count"] for event in world.api.events("StorageUnhealthy")] == [1]
    assert world.status["problems"][0]["since"] == since
    for node in agents:
        world.cluster.csinodes[node] = NodeDrivers(node, frozenset([DRIVER]))
    await world.after(minutes=6, renew=agents)
    assert [event["count"] for event in world.api.events("StorageHealthy")] == [1]


@pytest.mark.parametrize(
    "status",
    [
        {"problems": 7},
        {"problems": [7, {"status": "StorageDegraded"}]},
        {
            "problems": [
                {"status": "StorageDegraded", "driver": "d", "since": "9999-12-31T00:00:00Z", "nodes": ["n"]}
            ]
        },
        {
            "problems": [
                {"status": "StorageDegraded", "driver": "d", "since": "2026-01-01T00:00:00Z", "nodes": "n"}
            ]
        },
        {
            "problems": [
                {"status": "Inaccessible", "driver": "d", "since": "2026-01-01T00:00:00Z", "nodes": ["n"]}
            ]
        },
    ],
)
def test_a_status_that_somebody_edited_makes_no_storage_unwell(status: dict[str, Any]) -> None:
    assert read_storage(status, now=START) == {}
