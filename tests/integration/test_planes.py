"""Nodes, agents and Kubernetes' own words on a real API server: what the view sees of them, and what a check makes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from support.installation import Installation, until
from support.pipeline import PlainPipeline
from volumehealth.cluster.view import ClusterView
from volumehealth.judge.result import CheckResult
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import Pace
from volumehealth.model.clock import LONG_AGO, SystemClock, rfc3339
from volumehealth.model.health import DriverAnswers, HealthAPI, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.policy import Checks, NodeFailureCheck, Policy, PolicySpec, Selector
from volumehealth.model.report import (
    AGENT_LABEL,
    Coverage,
    ReportedCondition,
    ReportedDriver,
    ReportedVolume,
    VolumeHealthReport,
    agent_lease_name,
)
from volumehealth.model.report_json import report_manifest
from volumehealth.probing.spec import ProbeSpec
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects

pytestmark = pytest.mark.cluster

REPORTS = "/apis/volumehealth.dev/v1alpha1/volumehealthreports"
STORAGE = "/apis/storage.k8s.io/v1"
CONDITION = {"status": "Degraded", "reason": "PathDown", "message": "one path is down"}


class NoDrivers:
    """Nobody is connected to any controller."""

    unresolved: tuple[str, ...] = ()

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        """Nobody hears it."""

    def answers(self) -> Mapping[str, DriverAnswers]:
        return {}


@dataclass
class Eyes:
    """A view that follows everything, and a checker with a policy for one driver."""

    view: ClusterView
    checker: PlainPipeline
    policy: Policy

    def check(self) -> CheckResult:
        self.checker.follow({self.policy.uid: self.policy}, None)
        return self.checker.check(self.policy)

    def findings(self, ref: ClaimRef) -> set[str]:
        health = self.check().healths.get(ref)
        return {finding.headline for finding in (health.findings if health else ())}

    async def until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the view is what is looked at
                await asyncio.sleep(0.02)


@asynccontextmanager
async def looking(kubeconfig: Path, driver: str, agents_in: str) -> AsyncIterator[Eyes]:
    """Follow a cluster until the context ends; what is said is confirmed at once."""
    clock = SystemClock()
    spec = PolicySpec(
        selector=Selector(drivers=(driver,)),
        unhealthy_after=timedelta(),
        healthy_after=timedelta(),
        checks=Checks(node_failure=NodeFailureCheck(after=timedelta(seconds=1))),
    )
    async with await Api.connect(str(kubeconfig)) as api, asyncio.TaskGroup() as group:
        view = ClusterView(
            api,
            clock=clock,
            random=Random(),
            pace=Pace(),
            with_nodes=True,
            pod_events=True,
            agents_in=agents_in,
        )
        task = group.create_task(view.run())
        try:
            async with asyncio.timeout(20):
                await view.complete()
        except TimeoutError:
            pytest.fail(f"the view is not complete: {view.state().stale}")
        checker = PlainPipeline.of_everything(view, NoDrivers(), clock)
        yield Eyes(view, checker, Policy("all", "uid-all", 1, LONG_AGO, spec))
        task.cancel()


async def in_use(
    objects: ClusterObjects, namespace: str, name: str = "db"
) -> tuple[ClaimRef, dict[str, Any]]:
    """Make a claim of driver `<namespace>.example.com` that a running Pod uses on a node of its own, which is Ready."""
    made = await objects.make_claim(
        namespace, name, driver=f"{namespace}.example.com", handle=f"{namespace}-{name}"
    )
    await objects.make_node(f"{namespace}-node")
    await objects.make_pod(namespace, f"{name}-0", [name], node=f"{namespace}-node")
    return ClaimRef(namespace, name), made


async def renew(objects: ClusterObjects, namespace: str, node: str) -> None:
    """Renew an agent's Lease as an agent does."""
    base = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    name = agent_lease_name(node)
    labels = {AGENT_LABEL: "node"}
    await objects.ensure(base, {"metadata": {"name": name, "labels": labels}, "spec": {}})
    now = rfc3339(SystemClock().now()).replace("Z", ".000000Z")
    await objects.patch(f"{base}/{name}", {"spec": {"renewTime": now, "leaseDurationSeconds": 180}})


async def test_a_node_that_is_not_ready_and_then_deleted(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    ref, _ = await in_use(cluster_objects, namespace)
    node = f"{namespace}-node"
    async with looking(control_plane.kubeconfig, f"{namespace}.example.com", namespace) as eyes:
        assert eyes.findings(ref) == set()
        await cluster_objects.make_node(node, ready=False)
        await eyes.until(lambda: eyes.findings(ref) == {f"Inaccessible/NodeFailed (Kubernetes {node})"})
        await cluster_objects.make_node(node)
        await eyes.until(lambda: eyes.findings(ref) == set())
        await cluster_objects.delete(f"/api/v1/nodes/{node}")
        await eyes.until(lambda: node in eyes.view.nodes_gone)
        await eyes.until(lambda: eyes.findings(ref) == {f"Inaccessible/NodeFailed (Kubernetes {node})"})
        await cluster_objects.delete(f"/api/v1/namespaces/{namespace}/pods/db-0")
        await eyes.until(lambda: eyes.findings(ref) == set())


async def test_errors_of_attaching_registering_resizing_and_losing(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    ref, _ = await in_use(cluster_objects, namespace)
    node, driver = f"{namespace}-node", f"{namespace}.example.com"
    claim = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/db/status"
    async with looking(control_plane.kubeconfig, driver, namespace) as eyes:
        await cluster_objects.post(
            f"{STORAGE}/csinodes", {"metadata": {"name": node}, "spec": {"drivers": []}}
        )
        await eyes.until(lambda: eyes.findings(ref) == {f"Degraded/DriverNotRegistered (Kubernetes {node})"})
        registered = {"spec": {"drivers": [{"name": driver, "nodeID": "n", "topologyKeys": []}]}}
        await cluster_objects.patch(f"{STORAGE}/csinodes/{node}", registered)
        await eyes.until(lambda: eyes.findings(ref) == set())

        attachment = f"{STORAGE}/volumeattachments/{namespace}"
        spec = {
            "attacher": driver,
            "nodeName": node,
            "source": {"persistentVolumeName": f"pv-{namespace}-db"},
        }
        await cluster_objects.post(
            f"{STORAGE}/volumeattachments", {"metadata": {"name": namespace}, "spec": spec}
        )
        failed = {
            "attached": False,
            "attachError": {"time": rfc3339(SystemClock().now()), "message": "no path"},
        }
        await cluster_objects.patch(f"{attachment}/status", {"status": failed})
        await eyes.until(lambda: eyes.findings(ref) == {f"Inaccessible/AttachFailed (Kubernetes {node})"})
        await cluster_objects.patch(
            f"{attachment}/status", {"status": {"attached": True, "attachError": None}}
        )
        await eyes.until(lambda: eyes.findings(ref) == set())

        resize = {"type": "ControllerResizeError", "status": "True", "message": "quota exceeded"}
        await cluster_objects.patch(claim, {"status": {"conditions": [resize]}})
        await eyes.until(lambda: eyes.findings(ref) == {"Degraded/ResizeFailed (Kubernetes)"})
        await cluster_objects.patch(claim, {"status": {"conditions": []}})
        await eyes.until(lambda: eyes.findings(ref) == set())

        await cluster_objects.patch(
            f"/api/v1/persistentvolumes/pv-{namespace}-db/status", {"status": {"phase": "Failed"}}
        )
        await eyes.until(lambda: eyes.findings(ref) == {"Inaccessible/VolumeFailed (Kubernetes)"})
        volume = f"/api/v1/persistentvolumes/pv-{namespace}-db"
        await cluster_objects.patch(volume, {"metadata": {"finalizers": None}})
        await cluster_objects.delete(volume)
        await cluster_objects.patch(claim, {"status": {"phase": "Lost"}})
        await eyes.until(lambda: eyes.findings(ref) == {"Inaccessible/ClaimLost (Kubernetes)"})
        assert eyes.view.claims[ref].handle == f"{namespace}-db", "it is still known which volume it was"


async def test_a_pod_that_waits_for_its_volume_is_told_with_the_words_of_its_events(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    ref, _ = await in_use(cluster_objects, namespace)
    node, pods = f"{namespace}-node", f"/api/v1/namespaces/{namespace}/pods"
    await cluster_objects.delete(f"{pods}/db-0")
    waiting = await cluster_objects.make_pod(namespace, "db-1", ["db"], node=node, phase="Pending")
    creating = {
        "name": "main",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ContainerCreating"}},
    }
    await cluster_objects.patch(f"{pods}/db-1/status", {"status": {"containerStatuses": [creating]}})
    now = rfc3339(SystemClock().now())
    text = f'MountVolume.MountDevice failed for volume "pv-{namespace}-db" : rpc error: password=S3cr3t no such device'
    event = {
        "metadata": {"name": "db-1.1"},
        "involvedObject": {
            "kind": "Pod",
            "name": "db-1",
            "namespace": namespace,
            "uid": waiting["metadata"]["uid"],
        },
        "reason": "FailedMount",
        "message": text,
        "type": "Warning",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 3290,
    }
    await cluster_objects.post(f"/api/v1/namespaces/{namespace}/events", event)
    async with looking(control_plane.kubeconfig, f"{namespace}.example.com", namespace) as eyes:
        expected = {f"Inaccessible/CannotMount (Kubernetes {node})"}
        await eyes.until(lambda: eyes.findings(ref) == expected, seconds=60)
        [finding] = eyes.check().healths[ref].findings
        assert "no such device" in finding.message
        assert "S3cr3t" not in finding.message
        running = creating | {"ready": True, "state": {"running": {"startedAt": now}}}
        status = {"phase": "Running", "containerStatuses": [running]}
        await cluster_objects.patch(f"{pods}/db-1/status", {"status": status})
        await eyes.until(lambda: eyes.findings(ref) == set())


async def test_a_report_and_a_lease_make_claims_healthy_and_unhealthy(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    bad, made = await in_use(cluster_objects, namespace)
    well, healthy = await in_use(cluster_objects, namespace, "well")
    node, driver = f"{namespace}-node", f"{namespace}.example.com"
    now = SystemClock().now()
    said = ReportedCondition("Inaccessible", "VolumeUnmounted", "it is not mounted", now)
    report = VolumeHealthReport(
        node,
        node=node,
        drivers=(ReportedDriver(driver, SourceState.ANSWERING, now, HealthAPI.VOLUME_HEALTH),),
        volumes=(
            ReportedVolume(
                driver, f"{namespace}-db", namespace, "db", made["metadata"]["uid"], conditions=(said,)
            ),
        ),
        coverage=(Coverage.of(Observer.DRIVER, [made["metadata"]["uid"], healthy["metadata"]["uid"]]),),
    )
    async with looking(control_plane.kubeconfig, driver, namespace) as eyes:
        await cluster_objects.post(REPORTS, report_manifest(report))
        await eyes.until(lambda: node in eyes.view.reports)
        assert eyes.check().agents.expected == 0, (
            "no Lease says that its agent is alive, and no Pod that there is one"
        )
        await renew(cluster_objects, namespace, node)
        await eyes.until(lambda: eyes.findings(bad) == {f"Inaccessible/VolumeUnmounted (Node {node})"})
        checked = eyes.check()
        assert (checked.counts.healthy, checked.counts.unhealthy) == (1, 1)
        assert well not in checked.healths
        assert (checked.agents.expected, checked.agents.reporting) == (1, 1)
    await cluster_objects.delete(f"{REPORTS}/{node}")


async def test_the_health_fields_of_kubernetes_1_37(
    fresh_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = await asyncio.to_thread(fresh_control_plane, feature_gates=["CSIVolumeHealth=true"])
    async with ClusterObjects(plane.kubeconfig) as objects:
        await objects.make_namespace("gated")
        by_monitor, _ = await in_use(objects, "gated", "by-monitor")
        by_kubelet, _ = await in_use(objects, "gated", "by-kubelet")
        health = {"healthConditions": [CONDITION], "lastTransitionTime": rfc3339(SystemClock().now())}
        base = "/api/v1/namespaces/gated"
        await objects.patch(
            f"{base}/persistentvolumeclaims/by-monitor/status", {"status": {"healthStatus": health}}
        )
        pod = {"volumeHealth": [{"name": "by-kubelet", **health}]}
        await objects.patch(f"{base}/pods/by-kubelet-0/status", {"status": pod})
        driver = {"name": "gated.example.com", "nodeID": "n", "topologyKeys": []}
        await objects.post(
            f"{STORAGE}/csinodes", {"metadata": {"name": "gated-node"}, "spec": {"drivers": [driver]}}
        )
        unreachable = {
            "status": "StorageUnreachable",
            "reason": "NoPath",
            "message": "no path to the array",
            "accessMode": "ReadWriteOnce",
            "volumeMode": "Filesystem",
        }
        storage = {"storageHealth": [{"name": "gated.example.com", "healthConditions": [unreachable]}]}
        await objects.patch(f"{STORAGE}/csinodes/gated-node/status", {"status": storage})
        async with looking(plane.kubeconfig, "gated.example.com", "gated") as eyes:
            assert eyes.findings(by_monitor) == {"Degraded/PathDown (Controller)"}
            assert eyes.findings(by_kubelet) == {"Degraded/PathDown (Node gated-node)"}
            (problem,) = eyes.check().storage.problems
            assert (problem.backend.node, problem.finding.reason) == ("gated-node", "NoPath")
            assert set(problem.claims) == {by_monitor, by_kubelet}
            await objects.patch(
                f"{base}/persistentvolumeclaims/by-monitor/status", {"status": {"healthStatus": None}}
            )
            await objects.patch(f"{base}/pods/by-kubelet-0/status", {"status": {"volumeHealth": None}})
            await objects.patch(f"{STORAGE}/csinodes/gated-node/status", {"status": {"storageHealth": None}})
            await eyes.until(lambda: not (eyes.findings(by_monitor) or eyes.findings(by_kubelet)))
            await eyes.until(lambda: eyes.check().storage.problems == ())


@pytest.mark.timeout(120)
async def test_the_operator_under_its_own_rights_tells_of_a_failed_node(installed: Installation) -> None:
    objects = installed.objects
    await objects.make_namespace("failing")
    await in_use(objects, "failing")
    await in_use(objects, "failing", "wal")
    await installed.policy(
        "failing",
        selector={"drivers": ["failing.example.com"]},
        interval="5s",
        unhealthyAfter="0s",
        healthyAfter="0s",
        checks={"nodeFailure": {"after": "1s"}},
    )
    operator = await installed.operator([])

    async def told(reason: str) -> set[str]:
        return await installed.told("failing", reason)

    async def failed() -> bool:
        return await told("NodeFailed") == everybody

    async def recovered() -> bool:
        return await told("NodeRecovered") == everybody

    claims = {f"PersistentVolumeClaim/{name}" for name in ("db", "wal")}
    everybody = claims | {f"Pod/{name}" for name in ("db-0", "wal-0")}
    await objects.make_node("failing-node", ready=False)
    await until(failed, "claims and Pods are told that their node failed", within=30)
    status = await installed.status("failing")
    assert [(one["reason"], one["claims"]) for one in status["problems"]] == [("NodeFailed", 2)]
    await objects.make_node("failing-node")
    await until(recovered, "claims and Pods are told that it is back", within=30)
    counts = [event["count"] for event in await installed.events("failing")]
    assert counts == [1] * 8, "nothing is told twice"
    await operator.stop()
