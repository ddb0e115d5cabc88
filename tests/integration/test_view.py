"""The cluster view on a real API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from volumehealth.cluster.view import ClusterView
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import Pace
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects, claim_object, volume_object

pytestmark = pytest.mark.cluster

DRIVER = "hostpath.csi.k8s.io"


@asynccontextmanager
async def a_view(kubeconfig: str, **pace: Any) -> AsyncIterator[ClusterView]:
    """Follow a cluster until the context ends; complete from the start."""
    async with await Api.connect(kubeconfig) as api, asyncio.TaskGroup() as group:
        view = ClusterView(api, clock=SystemClock(), random=Random(), pace=Pace(**pace))
        task = group.create_task(view.run())
        try:
            async with asyncio.timeout(20):
                await view.complete()
        except TimeoutError:
            pytest.fail(f"the view is not complete: {view.state().stale}")
        yield view
        task.cancel()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the view is what is looked at
            await asyncio.sleep(0.02)


async def test_a_claim_is_joined_with_its_volume_and_the_pods_that_use_it(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    made = await cluster_objects.make_claim(
        namespace, "orders", driver=DRIVER, handle=f"h-{namespace}", labels={"app": "shop"}
    )
    for name in ("orders-0", "orders-1"):
        await cluster_objects.make_pod(namespace, name, ["orders"], node="worker-1")
    await cluster_objects.make_pod(namespace, "stateless", [])
    ref = ClaimRef(namespace, "orders")
    async with a_view(str(control_plane.kubeconfig)) as view:
        claim = view.claims[ref]
        assert (claim.driver, claim.handle, claim.volume) == (
            DRIVER,
            f"h-{namespace}",
            f"pv-{namespace}-orders",
        )
        assert (claim.uid, claim.phase, claim.storage_class) == (made["metadata"]["uid"], "Bound", "fast")
        assert dict(claim.labels) == {"app": "shop"}
        assert {pod.name for pod in view.pods_of(ref)} == {"orders-0", "orders-1"}
        assert {(pod.node, pod.phase) for pod in view.pods_of(ref)} == {("worker-1", "Running")}
        assert view.claims_of(f"pv-{namespace}-orders") == (ref,)
        assert namespace in view.namespaces
        assert view.state().complete
        assert view.state().stale == ""


async def test_changes_arrive_and_are_told_by_claim(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    async with a_view(str(control_plane.kubeconfig)) as view:
        changes = view.subscribe()
        assert changes.take() is None, "at first it may be any"
        await cluster_objects.make_claim(namespace, "a", driver=DRIVER, handle=f"a-{namespace}")
        await cluster_objects.make_claim(namespace, "b", driver=DRIVER, handle=f"b-{namespace}")
        a, b = ClaimRef(namespace, "a"), ClaimRef(namespace, "b")
        await until(lambda: all(ref in view.claims and view.claims[ref].driver for ref in (a, b)))
        await until(lambda: all(view.claims[ref].phase == "Bound" for ref in (a, b)))
        assert {a, b} <= (changes.take() or frozenset())
        await cluster_objects.patch(
            f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/a",
            {"metadata": {"labels": {"tier": "gold"}}},
        )
        await until(lambda: view.claims[a].labels == {"tier": "gold"})
        assert {ref for ref in changes.take() or () if ref.namespace == namespace} == {a}
        # No controller here removes the finalizer that protects a claim in use.
        path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/b"
        await cluster_objects.patch(path, {"metadata": {"finalizers": None}})
        await cluster_objects.delete(path)
        await until(lambda: b not in view.claims)
        assert b in (changes.take() or ())
        assert view.claims_of(f"pv-{namespace}-b") == ()


async def test_outputs_are_told_of_a_claim_whose_row_pods_or_record_change(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    ref = ClaimRef(namespace, "a")
    record = f"/apis/volumehealth.dev/v1alpha1/namespaces/{namespace}/volumehealths"
    async with a_view(str(control_plane.kubeconfig)) as view:
        changes = view.subscribe_told()
        assert changes.take() is None, "at first it may be any"
        await cluster_objects.make_claim(namespace, "a", driver=DRIVER, handle=f"a-{namespace}")
        await until(lambda: ref in view.claims and view.claims[ref].phase == "Bound")
        assert ref in (changes.take() or ())
        await cluster_objects.make_pod(namespace, "a-0", ["a"], node="worker-1")
        await until(lambda: view.pods_of(ref))
        assert ref in (changes.take() or ())
        body = {"apiVersion": "volumehealth.dev/v1alpha1", "kind": "VolumeHealth", "metadata": {"name": "a"}}
        await cluster_objects.post(record, body)
        await until(lambda: ref in view.records)
        assert ref in (changes.take() or ())
        await cluster_objects.delete(f"{record}/a")
        await until(lambda: ref not in view.records)
        assert ref in (changes.take() or ())


async def test_a_claim_waits_for_its_volume_and_knows_it_still_when_it_is_lost(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    spec = ClaimSpec(namespace, "late", VolumeId(DRIVER, f"late-{namespace}"))
    async with a_view(str(control_plane.kubeconfig)) as view:
        base = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        made = await cluster_objects.post(base, claim_object(spec))
        await until(lambda: spec.ref in view.claims)
        assert view.claims[spec.ref].volume == ""
        source = {"csi": {"driver": DRIVER, "volumeHandle": spec.volume.handle}}
        volume = volume_object(spec, claim_uid=made["metadata"]["uid"], source=source)
        await cluster_objects.post("/api/v1/persistentvolumes", volume)
        await until(lambda: view.claims[spec.ref].handle == spec.volume.handle)
        path = f"/api/v1/persistentvolumes/{spec.persistent_volume}"
        await cluster_objects.patch(path, {"metadata": {"finalizers": None}})
        await cluster_objects.delete(path)
        await cluster_objects.patch(f"{base}/{spec.name}/status", {"status": {"phase": "Lost"}})
        await until(lambda: view.claims[spec.ref].phase == "Lost")
        assert view.claims[spec.ref].handle == spec.volume.handle
        assert [said.reason for said in view.api_conditions[spec.ref].own] == ["ClaimLost"]


async def test_a_volume_bound_to_an_earlier_claim_of_that_name_is_not_ours(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    spec = ClaimSpec(namespace, "again", VolumeId(DRIVER, f"again-{namespace}"))
    await cluster_objects.post(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim_object(spec))
    source = {"csi": {"driver": DRIVER, "volumeHandle": spec.volume.handle}}
    volume = volume_object(spec, claim_uid="11111111-1111-1111-1111-111111111111", source=source)
    await cluster_objects.post("/api/v1/persistentvolumes", volume)
    async with a_view(str(control_plane.kubeconfig)) as view:
        assert view.claims[spec.ref].volume == ""
        assert view.claims[spec.ref].handle == ""


@pytest.mark.parametrize(
    ("field", "source"),
    [
        ("nfs", {"server": "nfs.example.invalid", "path": "/x"}),
        ("hostPath", {"path": "/x"}),
        ("awsElasticBlockStore", {"volumeID": "vol-1"}),
    ],
)
async def test_an_in_tree_volume_is_named_by_its_plugin(
    control_plane: ControlPlane,
    cluster_objects: ClusterObjects,
    namespace: str,
    field: str,
    source: dict[str, str],
) -> None:
    spec = ClaimSpec(namespace, "old", VolumeId("", ""))
    made = await cluster_objects.post(
        f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim_object(spec)
    )
    volume = volume_object(spec, claim_uid=made["metadata"]["uid"], source={field: source})
    await cluster_objects.post("/api/v1/persistentvolumes", volume)
    async with a_view(str(control_plane.kubeconfig)) as view:
        claim = view.claims[spec.ref]
        assert (claim.unsupported, claim.driver, claim.handle) == (field, "", "")
        assert claim.volume == spec.persistent_volume


async def test_a_generic_ephemeral_volume_is_the_claim_of_its_pod(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    await cluster_objects.make_claim(namespace, "web-scratch", driver=DRIVER, handle=f"s-{namespace}")
    template = {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    pod = {
        "metadata": {"name": "web"},
        "spec": {
            "containers": [{"name": "main", "image": "example.invalid/none"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}],
        },
    }
    await cluster_objects.post(f"/api/v1/namespaces/{namespace}/pods", pod)
    async with a_view(str(control_plane.kubeconfig)) as view:
        assert [pod.name for pod in view.pods_of(ClaimRef(namespace, "web-scratch"))] == ["web"]


async def test_paging_is_right_while_objects_come_and_go(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    specs = [
        ClaimSpec(namespace, f"c-{number:03}", VolumeId(DRIVER, f"{namespace}-{number}"))
        for number in range(60)
    ]
    await cluster_objects.make_claims(specs)
    stop = asyncio.Event()

    async def churn() -> set[str]:
        """Make and delete namespaces' worth of claims as fast as it goes; gives what is left."""
        left = {spec.name for spec in specs}
        number = 0
        while not stop.is_set():
            spec = ClaimSpec(namespace, f"x-{number:03}", VolumeId(DRIVER, f"{namespace}-x{number}"))
            await cluster_objects.make(spec)
            left.add(spec.name)
            victim = sorted(left)[(number * 7) % len(left)]
            path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{victim}"
            await cluster_objects.patch(path, {"metadata": {"finalizers": None}})
            await cluster_objects.delete(path)
            left.discard(victim)
            number += 1
        return left

    churning = asyncio.create_task(churn())
    for _ in range(3):
        async with a_view(str(control_plane.kubeconfig), page=7):
            await asyncio.sleep(0.2)
    async with a_view(str(control_plane.kubeconfig), page=7) as view:
        stop.set()
        left = await churning
        await until(lambda: {ref.name for ref in view.claims if ref.namespace == namespace} == left)


async def test_policies_and_records_are_seen_as_they_are_written(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    base = "/apis/volumehealth.dev/v1alpha1"
    made = await cluster_objects.make_claim(namespace, "db", driver=DRIVER, handle=f"db-{namespace}")
    owner = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "name": "db",
        "uid": made["metadata"]["uid"],
    }
    async with a_view(str(control_plane.kubeconfig)) as view:
        await cluster_objects.post(
            f"{base}/volumehealthpolicies",
            {
                "apiVersion": "volumehealth.dev/v1alpha1",
                "kind": "VolumeHealthPolicy",
                "metadata": {"name": namespace},
                "spec": {"interval": "30s"},
            },
        )
        await until(lambda: namespace in view.policies)
        policy = view.policies[namespace]
        assert policy.generation == 1
        assert policy.manifest["spec"] == {"interval": "30s"}
        assert policy.manifest["metadata"]["creationTimestamp"]
        await cluster_objects.post(
            f"{base}/namespaces/{namespace}/volumehealths",
            {
                "apiVersion": "volumehealth.dev/v1alpha1",
                "kind": "VolumeHealth",
                "metadata": {"name": "db", "ownerReferences": [owner], "labels": {"a": "b"}},
                "status": {"health": "Unhealthy", "policy": namespace},
            },
        )
        ref = ClaimRef(namespace, "db")
        await until(lambda: ref in view.records)
        record = view.records[ref]
        assert record.owner_uid == made["metadata"]["uid"]
        assert b"Unhealthy" in record.status
        assert record.labels == {"a": "b"}
        await cluster_objects.delete(f"{base}/namespaces/{namespace}/volumehealths/db")
        await cluster_objects.delete(f"{base}/volumehealthpolicies/{namespace}")
        await until(lambda: ref not in view.records and namespace not in view.policies)
