"""The builders make what a cluster would: bound claims, running Pods; and they make many quickly."""

import json
import time

import pytest

from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects

pytestmark = pytest.mark.cluster


async def test_a_claim_is_bound_to_its_volume_and_a_pod_runs_with_it(
    cluster_objects: ClusterObjects, namespace: str, control_plane: ControlPlane
) -> None:
    await cluster_objects.make_claim(namespace, "data", driver="a.example.com", handle="vol-1")
    await cluster_objects.make_pod(namespace, "app-0", ["data"], node="worker-1")

    claim = json.loads(control_plane.kubectl("get", "pvc", "data", "-n", namespace, "-o", "json"))
    volume = json.loads(control_plane.kubectl("get", "pv", claim["spec"]["volumeName"], "-o", "json"))
    pod = json.loads(control_plane.kubectl("get", "pod", "app-0", "-n", namespace, "-o", "json"))
    assert claim["status"]["phase"] == volume["status"]["phase"] == "Bound"
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert volume["spec"]["csi"]["volumeHandle"] == "vol-1"
    assert pod["status"]["phase"] == "Running"
    assert pod["spec"]["nodeName"] == "worker-1"


async def test_a_claim_can_be_removed_with_no_controller_to_take_finalizers_off(
    cluster_objects: ClusterObjects, namespace: str, control_plane: ControlPlane
) -> None:
    await cluster_objects.make_claim(namespace, "gone", driver="a.example.com", handle="vol-2")
    await cluster_objects.delete_claim(namespace, "gone")

    assert control_plane.kubectl("get", "pvc", "-n", namespace, "--ignore-not-found") == ""


async def test_two_hundred_claims_with_pods_take_seconds(
    cluster_objects: ClusterObjects, namespace: str
) -> None:
    claims = [ClaimSpec(namespace, f"c-{n}", VolumeId("a.example.com", f"v-{n}")) for n in range(200)]
    began = time.monotonic()
    await cluster_objects.make_claims(claims)
    await cluster_objects.all_of(
        cluster_objects.make_pod(namespace, f"p-{claim.name}", [claim.name]) for claim in claims
    )

    assert time.monotonic() - began < 60  # about 2 s on an idle machine
