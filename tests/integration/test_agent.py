"""A node agent on the real API server: a node's drivers and mounts in, one report and one Lease out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import pytest

from support.node import SimulatedNode
from volumehealth.agent.driver import DriverPace
from volumehealth.agent.node import NodeAgent
from volumehealth.agent.registry import RegistryPace
from volumehealth.agent.settings import NodeSettings
from volumehealth.errors import NotFound
from volumehealth.kube.api import Api
from volumehealth.model.clock import SystemClock
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.ids import VolumeId
from volumehealth.model.origin import Observer
from volumehealth.model.report import VolumeHealthReport, agent_lease_name
from volumehealth.model.report_json import decode_report
from volumehealth.settings import Settings
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_registration import Registration
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects

pytestmark = pytest.mark.cluster

POLICIES = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies"
REPORTS = "/apis/volumehealth.dev/v1alpha1/volumehealthreports"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/volumehealth-system/leases"
PACE = DriverPace(again=0.3, outage=1.0, delay=0.2)


class Counting(Api):
    """A connection that remembers what was asked."""

    requests: list[tuple[str, str]]

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        self.requests.append((method, path))
        return await super().request(method, path, **more)


class Rig:
    """One node with its agent."""

    def __init__(self, objects: ClusterObjects, plane: ControlPlane, node: SimulatedNode, space: str) -> None:
        self.objects = objects
        self.plane = plane
        self.node = node
        self.space = space
        self.requests: list[tuple[str, str]] = []
        """What the agent asked of the API server: method and path."""

    async def use(
        self,
        driver: SimulatedDriver,
        handle: str,
        *,
        phase: str = "Running",
        node: str = "",
        mount: bool = True,
    ) -> str:
        """Make a claim of a volume, and a Pod on this node that uses it; return where the volume is for the Pod."""
        driver.create(handle, capacity=2**30, block=False)
        volume = driver.volumes[handle] = driver.volumes.pop(f"created-{driver.created}")
        volume.handle, volume.used = handle, 2**20
        spec = ClaimSpec(self.space, handle, VolumeId(driver.name, handle))
        await self.objects.make(spec)
        pod = await self.objects.make_pod(
            self.space, f"pod-{handle}", [handle], node=node or self.node.name, phase=phase
        )
        path = self.node.paths(
            volume=spec.persistent_volume, driver=driver.name, handle=handle, pod_uid=pod["metadata"]["uid"]
        ).publish
        volume.targets[path] = 1
        if mount:
            self.node.mount(path)
        return path

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[NodeAgent]:
        """Run the agent."""
        settings = NodeSettings(
            common=Settings(),
            node=self.node.name,
            kubelet_dir=str(self.node.kubelet),
            mount_table=str(self.node.mount_table),
        )
        async with await Counting.connect(str(self.plane.kubeconfig)) as api:
            api.requests = self.requests
            agent = NodeAgent(
                api,
                settings,
                clock=SystemClock(),
                random=Random(1),
                driver_pace=PACE,
                registry_pace=RegistryPace(look=0.2, gone=1.0),
            )
            task = asyncio.create_task(agent.run())
            try:
                yield agent
            finally:
                assert not task.done(), task.exception()
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def report(self) -> VolumeHealthReport | None:
        """Read the node's report."""
        with suppress(NotFound):
            found = await self.objects.get(f"{REPORTS}/{self.node.name}")
            return decode_report(self.node.name, found["status"])
        return None

    async def until(
        self, holds: Callable[[VolumeHealthReport], bool], within: float = 20.0
    ) -> VolumeHealthReport:
        """Wait until the report says something."""
        report = None
        try:
            async with asyncio.timeout(within):
                while True:
                    report = await self.report()
                    if report is not None and holds(report):
                        return report
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"the report says {report}")


@pytest.fixture
def node(namespace: str) -> Iterator[SimulatedNode]:
    with SimulatedNode(f"worker-{namespace}") as node:
        yield node


@pytest.fixture
async def rig(
    cluster_objects: ClusterObjects, control_plane: ControlPlane, node: SimulatedNode, namespace: str
) -> AsyncIterator[Rig]:
    """A node, a policy for the test's namespace, no driver yet."""
    await cluster_objects.make_node(node.name)
    await cluster_objects.make_namespace("volumehealth-system")
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    policy = {
        "apiVersion": "volumehealth.dev/v1alpha1",
        "kind": "VolumeHealthPolicy",
        "metadata": {"name": namespace},
        "spec": {"selector": selector, "interval": "5s", "timeout": "1s"},
    }
    await cluster_objects.post(POLICIES, policy)
    yield Rig(cluster_objects, control_plane, node, namespace)
    await cluster_objects.delete(f"{POLICIES}/{namespace}")


@asynccontextmanager
async def registered(
    node: SimulatedNode, name: str, generation: Generation
) -> AsyncIterator[SimulatedDriver]:
    """A driver that registers with the node's kubelet."""
    endpoint = f"unix://{node.kubelet}/plugins/{name}/csi.sock"
    async with (
        SimulatedDriver(name=name, generation=generation, volumes=(), endpoint=endpoint) as driver,
        Registration(node.kubelet, name=name, endpoint=endpoint),
    ):
        yield driver


async def eventually(holds: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - nobody would tell
            await asyncio.sleep(0.05)


def said(report: VolumeHealthReport) -> dict[str, list[tuple[str, str, Observer]]]:
    return {
        one.claim: [(condition.status, condition.reason, condition.origin) for condition in one.conditions]
        for one in report.volumes
    }


async def test_every_kind_of_trouble_on_a_node_is_reported_once(rig: Rig) -> None:
    """Of both generations: the driver's word, the mount table's, the capacity's; what is not in use is not named."""
    node = rig.node
    async with (
        registered(node, "old.example.com", Generation.LEGACY) as old,
        registered(node, "new.example.com", Generation.V1_13) as new,
    ):
        for driver, prefix in ((old, "old"), (new, "new")):
            await rig.use(driver, f"{prefix}-well")
            await rig.use(driver, f"{prefix}-sick")
            driver.fault(f"{prefix}-sick", Fault.IO_ERRORS, plane=Plane.NODE)
            await rig.use(driver, f"{prefix}-full")
            driver.volumes[f"{prefix}-full"].used = 2**30 - 2**20
        gone = await rig.use(old, "gone")
        node.unmount(gone)
        frozen = await rig.use(old, "frozen")
        node.mount(frozen, superblock="ro,errors=remount-ro")
        await rig.use(old, "pending", phase="Pending", mount=False)
        old.fault("pending", Fault.IO_ERRORS, plane=Plane.NODE)
        await rig.use(old, "elsewhere", node="another-node")
        old.fault("elsewhere", Fault.IO_ERRORS, plane=Plane.NODE)
        new.backend["StorageDegraded"] = "one of two paths is down"

        async with rig.agent():
            report = await rig.until(lambda report: len(report.volumes) == 6)

    capacity = ("Degraded", "OutOfCapacity", Observer.CAPACITY)
    assert said(report) == {
        "old-sick": [("Degraded", "VolumeConditionAbnormal", Observer.DRIVER)],
        "new-sick": [("Inaccessible", "IOError", Observer.DRIVER)],
        "old-full": [capacity],
        "new-full": [capacity],
        "gone": [("Inaccessible", "VolumeUnmounted", Observer.MOUNT_TABLE)],
        "frozen": [("Degraded", "FilesystemReadOnly", Observer.MOUNT_TABLE)],
    }
    assert report.silent == ()
    shown = rig.plane.kubectl("get", "vhr", node.name)
    assert "2 of 2 drivers answering; 6 volumes in trouble, 0 silent" in shown
    assert "Inaccessible" in shown  # the worst comes first
    drivers = {driver.name: driver for driver in report.drivers}
    assert drivers["old.example.com"].health_api is HealthAPI.VOLUME_CONDITION
    assert drivers["old.example.com"].state is SourceState.ANSWERING
    assert drivers["new.example.com"].health_api is HealthAPI.VOLUME_HEALTH
    assert drivers["new.example.com"].storage[0].message == "one of two paths is down"
    assert "pending" not in said(report)
    assert next(one.pods for one in report.volumes if one.claim == "gone") == ("pod-gone",)


async def test_a_restarted_agent_goes_on_from_its_report_and_writes_nothing_new(rig: Rig) -> None:
    async with registered(rig.node, "old.example.com", Generation.LEGACY) as driver:
        await rig.use(driver, "sick")
        driver.fault("sick", Fault.IO_ERRORS, plane=Plane.NODE)
        async with rig.agent():
            before = await rig.until(lambda report: "sick" in said(report))
            first = await rig.objects.get(f"{REPORTS}/{rig.node.name}")
            await asyncio.sleep(1.1)  # times have whole seconds
        async with rig.agent() as agent:
            await driver.called("NodeGetVolumeStats", times=driver.calls["NodeGetVolumeStats"] + 1)
            await eventually(lambda: agent.ready()[0])
            assert await rig.report() == before
            again = await rig.objects.get(f"{REPORTS}/{rig.node.name}")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    node = await rig.objects.get(f"/api/v1/nodes/{rig.node.name}")
    assert [owner["uid"] for owner in again["metadata"]["ownerReferences"]] == [node["metadata"]["uid"]]


async def test_its_lease_says_that_it_is_alive_once_there_is_a_report(rig: Rig) -> None:
    async with registered(rig.node, "old.example.com", Generation.LEGACY) as driver:
        await rig.use(driver, "well")
        async with rig.agent():
            report = await rig.until(lambda report: bool(report.drivers))
            async with asyncio.timeout(10):
                lease: dict[str, Any] = {}
                while not lease:
                    with suppress(NotFound):
                        lease = await rig.objects.get(f"{LEASES}/{agent_lease_name(rig.node.name)}")
                    await asyncio.sleep(0.05)
    assert (report.volumes, report.silent) == ((), ())
    assert lease["spec"]["leaseDurationSeconds"] == 180
    assert lease["metadata"]["labels"]["volumehealth.dev/agent"] == "node"


async def test_drivers_come_and_go_and_restart(rig: Rig) -> None:
    name = "old.example.com"
    async with rig.agent():
        async with registered(rig.node, name, Generation.LEGACY) as driver:
            await rig.use(driver, "sick")
            driver.fault("sick", Fault.IO_ERRORS, plane=Plane.NODE)
            await rig.until(lambda report: "sick" in said(report))
        down = await rig.until(lambda report: report.drivers[0].state is SourceState.UNREACHABLE)
        assert down.drivers[0].message
        assert said(down) == {}
        async with registered(rig.node, name, Generation.V1_13) as other:
            other.volumes = driver.volumes
            back = await rig.until(
                lambda report: (
                    report.drivers[0].state is SourceState.ANSWERING
                    and said(report).get("sick") == [("Inaccessible", "IOError", Observer.DRIVER)]
                )
            )
            assert back.drivers[0].health_api is HealthAPI.VOLUME_HEALTH


async def test_a_policys_status_is_not_read_and_its_spec_is_when_it_changes(rig: Rig) -> None:
    """A thousand agents must not ask for a policy each time the operator writes its status."""
    policy = f"{POLICIES}/{rig.space}"
    async with registered(rig.node, "new.example.com", Generation.V1_13) as driver:
        await rig.use(driver, "sick")
        driver.fault("sick", Fault.IO_ERRORS, plane=Plane.NODE)
        async with rig.agent():
            await rig.until(lambda report: "sick" in said(report))
            for number in range(5):
                await rig.objects.patch(f"{policy}/status", {"status": {"claims": {"selected": number}}})
            await asyncio.sleep(3)  # longer than agents spread their reading over
            assert rig.requests.count(("GET", policy)) == 1
            await rig.objects.patch(policy, {"spec": {"checks": {"node": {"enabled": False}}}})
            await rig.until(lambda report: report.volumes == ())
            assert rig.requests.count(("GET", policy)) == 2
    asked = {path for method, path in rig.requests if method == "GET"}
    assert (
        not {f"/api/v1/{kind}" for kind in ("persistentvolumes", "persistentvolumeclaims", "nodes")} & asked
    )
