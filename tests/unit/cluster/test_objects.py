"""What is read from objects as the API server sends them."""

from typing import Any

import msgspec
import pytest

from volumehealth.cluster import objects
from volumehealth.cluster.objects import LabelPool
from volumehealth.model.ids import LOCAL_VOLUMES, ClaimRef


def volume(**spec: Any) -> objects.VolumeRow:
    raw = {"metadata": {"name": "pv-1", "managedFields": [{}]}, "spec": spec, "status": {"phase": "Bound"}}
    return objects.volume_row(msgspec.json.decode(msgspec.json.encode(raw), type=objects.PersistentVolume))


def pod(*volumes: dict[str, Any], **metadata: Any) -> Any:
    raw = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", **metadata},
        "spec": {"nodeName": "worker-1", "volumes": list(volumes)},
        "status": {"phase": "Running"},
    }
    return objects.pod_row(msgspec.json.decode(msgspec.json.encode(raw), type=objects.PodObject))


def test_a_csi_volume() -> None:
    row = volume(
        capacity={"storage": "1Gi"},
        csi={"driver": "d", "volumeHandle": "h", "volumeAttributes": {"x": "y"}},
        claimRef={"namespace": "shop", "name": "db", "uid": "u"},
        storageClassName="fast",
    )
    assert (row.driver, row.handle) == ("d", "h")
    assert (row.claim, row.claim_uid) == (ClaimRef("shop", "db"), "u")
    assert (row.storage_class, row.unsupported) == ("fast", "")


@pytest.mark.parametrize("source", ["nfs", "hostPath", "awsElasticBlockStore", "aSourceThatIsNotInventedYet"])
def test_a_volume_of_any_other_source_is_named_after_it(source: str) -> None:
    row = volume(
        accessModes=["ReadWriteOnce"],
        capacity={"storage": "1Gi"},
        claimRef={"namespace": "shop", "name": "db"},
        nodeAffinity={"required": {}},
        persistentVolumeReclaimPolicy="Retain",
        volumeMode="Filesystem",
        **{source: {"path": "/x"}},
    )
    assert (row.driver, row.handle, row.unsupported) == ("", "", source)


def test_a_local_volume_is_watched_as_what_the_kubelets_own_plugin_mounts() -> None:
    """Field case 19: node loss is exactly the risk of `local` volumes."""
    row = volume(local={"path": "/mnt/disks/ssd1"}, nodeAffinity={"required": {"nodeSelectorTerms": []}})
    assert (row.driver, row.handle, row.unsupported) == (LOCAL_VOLUMES, row.name, "")


def test_a_volume_that_says_nothing_of_its_source_is_still_unsupported() -> None:
    assert volume(capacity={"storage": "1Gi"}).unsupported == "unknown"


def test_claims_of_a_pod_are_named_ones_and_those_of_ephemeral_volumes() -> None:
    row = pod(
        {"name": "config", "configMap": {"name": "x"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "orders"}},
        {"name": "again", "persistentVolumeClaim": {"claimName": "orders", "readOnly": True}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
    )
    assert row.claims == ("orders", "web-scratch")
    assert (row.node, row.phase, row.deleting) == ("worker-1", "Running", False)


def test_a_pod_that_uses_no_claim_is_not_kept() -> None:
    assert pod({"name": "config", "emptyDir": {}}) is None


def test_a_pod_on_its_way_out() -> None:
    row = pod(
        {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}, deletionTimestamp="2026-11-24T03:00:00Z"
    )
    assert row.deleting


def test_equal_labels_are_one_object_that_nobody_can_change() -> None:
    pool = LabelPool()
    one, two = pool.share({"app": "shop", "tier": "db"}), pool.share({"tier": "db", "app": "shop"})
    assert one is two
    assert one == {"app": "shop", "tier": "db"}
    with pytest.raises(TypeError):
        one["app"] = "other"  # type: ignore[index]  # that is the point
    assert pool.share(None) is pool.share({})


def test_a_policy_keeps_its_spec_as_it_is() -> None:
    raw = {
        "metadata": {
            "name": "storage",
            "uid": "u",
            "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "creationTimestamp": "2026-11-24T03:00:00Z",
        },
        "spec": {"interval": "30s", "fieldOfANewerVersion": 1},
    }
    row = objects.policy_row(msgspec.json.decode(msgspec.json.encode(raw), type=objects.PolicyObject))
    assert (row.name, row.uid, row.generation, row.status) == ("storage", "u", 3, {})
    assert row.manifest["spec"] == raw["spec"]
    assert "managedFields" not in row.manifest["metadata"]


def test_a_record_is_owned_by_its_claim() -> None:
    raw = {
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "uid": "r",
            "ownerReferences": [
                {"kind": "ConfigMap", "uid": "x"},
                {"kind": "PersistentVolumeClaim", "uid": "c"},
            ],
        },
        "status": {"health": "Unhealthy"},
    }
    encoded = msgspec.json.encode(raw)
    row = objects.record_row(msgspec.json.decode(encoded, type=objects.RecordObject), LabelPool())
    assert (row.ref, row.owner_uid) == (ClaimRef("shop", "db"), "c")
    assert row.status == b'{"health":"Unhealthy"}'
