"""Which Pods wait for their volumes, who runs them, and what is kept of volumes and attachments on their way."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from volumehealth.cluster.conditions import ClaimStatus, below, claim_api_conditions
from volumehealth.cluster.joins import ClaimJoin
from volumehealth.cluster.nodeobjects import AttachmentObject, attachment_row
from volumehealth.cluster.objects import (
    LabelPool,
    PersistentVolume,
    PersistentVolumeClaim,
    PodObject,
    claim_row,
    pod_row,
    volume_row,
)
from volumehealth.model.cluster import Pod, PodWait
from volumehealth.model.ids import ClaimRef

SINCE = "2026-11-24T03:02:11Z"
MOMENT = datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC)
CREATING = {"state": {"waiting": {"reason": "ContainerCreating"}}}
INITIALIZING = {"state": {"waiting": {"reason": "PodInitializing"}}}


def pod(status: dict[str, Any], **metadata: Any) -> Pod:
    found = pod_row(
        msgspec.convert(
            {
                "metadata": {"name": "db-0", "namespace": "shop", "uid": "u", **metadata},
                "spec": {
                    "nodeName": "n1",
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": "orders-db"}},
                        {"name": "creds", "secret": {"secretName": "x"}},
                    ],
                },
                "status": {"phase": "Pending", "startTime": SINCE, **status},
            },
            PodObject,
        )
    )
    assert found is not None
    return found


WAITS = {
    "a container is to be created": {"containerStatuses": [CREATING]},
    "no container has a status yet": {},
    "an init container is to be created": {
        "initContainerStatuses": [INITIALIZING],
        "containerStatuses": [INITIALIZING],
    },
    "its sandbox is not there": {"conditions": [{"type": "PodReadyToStartContainers", "status": "False"}]},
}
BEGUN: dict[str, dict[str, Any]] = {
    "a long init container runs": {
        "initContainerStatuses": [{"state": {"running": {"startedAt": SINCE}}}],
        "containerStatuses": [INITIALIZING],
    },
    "an init container is done": {"initContainerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]},
    "an init container crashes": {
        "initContainerStatuses": [
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}},
            }
        ]
    },
    "an image cannot be pulled": {
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}, CREATING]
    },
    "a Secret for its environment is missing": {
        "containerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError"}}}]
    },
    "its sandbox is there": {
        "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}],
        "containerStatuses": [CREATING],
    },
    "it runs": {"phase": "Running"},
}


@pytest.mark.parametrize("status", WAITS.values(), ids=WAITS.keys())
def test_a_pod_that_may_wait_for_its_volumes(status: dict[str, Any]) -> None:
    assert pod(status).waits == PodWait(MOMENT, (("data", "orders-db"),))


NO_SANDBOX = {
    "phase": "Running",
    "startTime": "2026-11-01T00:00:00Z",
    "conditions": [{"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": SINCE}],
}
STOPPED = {"state": {"terminated": {"exitCode": 255, "reason": "Unknown"}}}


@pytest.mark.parametrize(
    "before", [STOPPED, CREATING | {"lastState": STOPPED["state"]}], ids=["ended", "waits"]
)
def test_a_pod_whose_node_was_started_anew_waits_for_its_volumes_as_a_new_one_does(
    before: dict[str, Any],
) -> None:
    """Its phase stays `Running` (kubelet, getPhase); its sandbox is gone, and is made after its volumes are mounted."""
    status = NO_SANDBOX | {"initContainerStatuses": [STOPPED], "containerStatuses": [before]}
    assert pod(status).waits == PodWait(MOMENT, (("data", "orders-db"),))


@pytest.mark.parametrize(
    "container",
    [{"state": {"running": {"startedAt": SINCE}}}, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    ids=["runs", "crashes"],
)
def test_a_pod_of_which_something_runs_or_crashes_waits_for_no_volume(container: dict[str, Any]) -> None:
    assert pod(NO_SANDBOX | {"containerStatuses": [STOPPED, container]}).waits is None


@pytest.mark.parametrize("status", BEGUN.values(), ids=BEGUN.keys())
def test_a_pod_that_does_not(status: dict[str, Any]) -> None:
    assert pod(status).waits is None


def test_a_pod_that_is_being_deleted_waits_for_nothing() -> None:
    assert pod({}, deletionTimestamp=SINCE).waits is None


def owner(kind: str, name: str, *, controller: bool = True) -> dict[str, Any]:
    return {"kind": kind, "name": name, "uid": "o", "controller": controller}


OWNERS: dict[str, tuple[list[dict[str, Any]], dict[str, str], str]] = {
    "a StatefulSet": ([owner("StatefulSet", "orders-db")], {}, "StatefulSet/orders-db"),
    "a Deployment": (
        [owner("ReplicaSet", "web-5d9c7b")],
        {"pod-template-hash": "5d9c7b"},
        "Deployment/web",
    ),
    "a ReplicaSet by itself": ([owner("ReplicaSet", "web-5d9c7b")], {}, "ReplicaSet/web-5d9c7b"),
    "a ReplicaSet of another name": (
        [owner("ReplicaSet", "web")],
        {"pod-template-hash": "5d9c7b"},
        "ReplicaSet/web",
    ),
    "a Job": ([owner("Job", "backup-1")], {}, "Job/backup-1"),
    "an owner that does not run it": ([owner("ConfigMap", "x", controller=False)], {}, ""),
    "nobody": ([], {}, ""),
}


@pytest.mark.parametrize(("owners", "labels", "name"), OWNERS.values(), ids=OWNERS.keys())
def test_what_runs_a_pod_is_named_as_people_name_it(
    owners: list[dict[str, Any]], labels: dict[str, str], name: str
) -> None:
    assert pod({}, ownerReferences=owners, labels=labels).owner == name


MIGRATED: dict[str, tuple[str, dict[str, Any], dict[str, str], str]] = {
    "EBS": ("ebs.csi.aws.com", {"awsElasticBlockStore": {"volumeID": "aws://us-east-1a/vol-1"}}, {}, "vol-1"),
    "EBS, plain": ("ebs.csi.aws.com", {"awsElasticBlockStore": {"volumeID": "vol-1"}}, {}, "vol-1"),
    "GCE": (
        "pd.csi.storage.gke.io",
        {"gcePersistentDisk": {"pdName": "disk-1"}},
        {"topology.kubernetes.io/zone": "europe-west1-b"},
        "projects/UNSPECIFIED/zones/europe-west1-b/disks/disk-1",
    ),
    "GCE, regional": (
        "pd.csi.storage.gke.io",
        {"gcePersistentDisk": {"pdName": "disk-1"}},
        {"topology.kubernetes.io/zone": "europe-west1-b__europe-west1-c"},
        "projects/UNSPECIFIED/regions/europe-west1/disks/disk-1",
    ),
    "Azure disk": (
        "disk.csi.azure.com",
        {"azureDisk": {"diskName": "d", "diskURI": "/subscriptions/s/disks/d"}},
        {},
        "/subscriptions/s/disks/d",
    ),
    "Cinder": ("cinder.csi.openstack.org", {"cinder": {"volumeID": "c-1"}}, {}, "c-1"),
    "vSphere": (
        "csi.vsphere.vmware.com",
        {"vsphereVolume": {"volumePath": "[ds] v.vmdk"}},
        {},
        "[ds] v.vmdk",
    ),
    "one that is not plain": ("file.csi.azure.com", {"azureFile": {"shareName": "s"}}, {}, ""),
}


@pytest.mark.parametrize(("driver", "source", "labels", "handle"), MIGRATED.values(), ids=MIGRATED.keys())
def test_a_migrated_volume_is_one_of_its_csi_driver(
    driver: str, source: dict[str, Any], labels: dict[str, str], handle: str
) -> None:
    row = volume_row(volume(source, annotations={"pv.kubernetes.io/migrated-to": driver}, labels=labels))
    assert (row.driver, row.handle) == (driver, handle)
    assert row.unsupported == ""


def test_a_plugin_that_was_never_migrated_is_not_csi_whatever_an_annotation_says() -> None:
    annotations = {"pv.kubernetes.io/migrated-to": "some.csi.driver"}
    row = volume_row(volume({"nfs": {"server": "s", "path": "/"}}, annotations=annotations))
    assert (row.driver, row.handle, row.unsupported) == ("", "", "nfs")


def test_an_in_tree_volume_that_was_not_migrated_is_not_csi() -> None:
    row = volume_row(volume({"awsElasticBlockStore": {"volumeID": "vol-1"}}))
    assert (row.driver, row.handle, row.unsupported) == ("", "", "awsElasticBlockStore")


def volume(source: dict[str, Any], **metadata: Any) -> PersistentVolume:
    spec = {
        "claimRef": {"namespace": "shop", "name": "orders-db", "uid": "uid-claim"},
        "persistentVolumeReclaimPolicy": "Delete",
        **source,
    }
    made = {"metadata": {"name": "pv-1", **metadata}, "spec": spec, "status": {"phase": "Bound"}}
    return msgspec.json.decode(msgspec.json.encode(made), type=PersistentVolume)


def claim(**metadata: Any) -> PersistentVolumeClaim:
    made = {
        "metadata": {"name": "orders-db", "namespace": "shop", "uid": "uid-claim", **metadata},
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound"},
    }
    return msgspec.convert(made, PersistentVolumeClaim)


def said(claim: PersistentVolumeClaim, volume: PersistentVolume) -> list[tuple[str, str, str]]:
    join = ClaimJoin(lambda _: None)
    join.put_volume(volume_row(volume))
    join.put_claim(claim_row(claim, LabelPool()))
    found = join.api_conditions.get(ClaimRef("shop", "orders-db"))
    return [(one.status, one.reason, one.message) for one in found.own] if found is not None else []


CSI = {"csi": {"driver": "d", "volumeHandle": "h"}}


@pytest.mark.parametrize(("policy", "words"), [("Delete", "deletes the data"), ("Retain", "keeps the data")])
def test_a_bound_volume_that_is_being_deleted_says_what_becomes_of_the_data(policy: str, words: str) -> None:
    source = {**CSI, "persistentVolumeReclaimPolicy": policy}
    [(status, reason, message)] = said(claim(), volume(source, deletionTimestamp=SINCE))
    assert (status, reason) == ("Degraded", "VolumeDeleting")
    assert words in message


def test_a_claim_that_is_being_deleted_is_told_while_pods_use_it() -> None:
    protected = claim(deletionTimestamp=SINCE, finalizers=["kubernetes.io/pvc-protection"])
    assert [reason for _, reason, _ in said(protected, volume(CSI))] == ["VolumeDeleting"]
    assert said(claim(deletionTimestamp=SINCE, finalizers=["snapshot"]), volume(CSI)) == []
    assert said(claim(), volume(CSI)) == []


def resizing(kind: str, capacity: str) -> list[tuple[str, str]]:
    status = {
        "phase": "Bound",
        "capacity": {"storage": capacity},
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": SINCE, "message": "waits"}],
    }
    found = claim_api_conditions(msgspec.convert(status, ClaimStatus), requested="20Gi")
    return [(one.reason, since.isoformat()) for one, since in found.slow] if found is not None else []


def test_a_resize_that_goes_on_is_remembered_with_its_time_unless_the_capacity_is_there() -> None:
    expected = [("ResizeStuck", "2026-11-24T03:02:11+00:00")]
    assert resizing("FileSystemResizePending", "10Gi") == expected
    assert resizing("Resizing", "10Gi") == expected
    assert resizing("FileSystemResizePending", "20Gi") == []
    assert resizing("FileSystemResizePending", "20480Mi") == []
    assert resizing("FileSystemResizePending", "30Gi") == []
    assert resizing("Other", "10Gi") == []


@pytest.mark.parametrize(
    ("capacity", "requested", "is_below"),
    [
        ("1Gi", "2Gi", True),
        ("1G", "1Gi", True),
        ("1024Mi", "1Gi", False),
        ("1e9", "1Gi", True),
        ("1E", "1Ei", True),
        ("1500m", "2", True),
        ("", "1Gi", False),
        ("1Gi", "much", False),
        ("9" * 30, "1Ei", False),
    ],
)
def test_quantities_are_compared_as_kubernetes_does(capacity: str, requested: str, is_below: bool) -> None:
    assert below(capacity, requested) is is_below


def test_a_class_that_cannot_be_applied_is_told() -> None:
    condition = {"type": "ModifyVolumeError", "status": "True", "message": "iops too high"}
    refused = claim_api_conditions(msgspec.convert({"conditions": [condition]}, ClaimStatus))
    assert refused is not None
    assert [(one.status, one.reason, one.message) for one in refused.own] == [
        ("Degraded", "ModifyFailed", "ModifyVolumeError: iops too high")
    ]
    change = {"status": "Infeasible", "targetVolumeAttributesClassName": "gold"}
    never = claim_api_conditions(msgspec.convert({"modifyVolumeStatus": change}, ClaimStatus))
    assert never is not None
    assert "gold" in never.own[0].message


def test_of_an_attachment_is_kept_how_far_it_is() -> None:
    made = {
        "metadata": {"name": "a", "creationTimestamp": SINCE, "deletionTimestamp": SINCE},
        "spec": {"nodeName": "n", "source": {"persistentVolumeName": "pv"}},
        "status": {"attached": True},
    }
    row = attachment_row(msgspec.convert(made, AttachmentObject))
    assert (row.attached, row.created, row.deleted) == (True, MOMENT, MOMENT)


def test_from_which_nodes_a_volume_can_be_reached() -> None:
    def affinity(*nodes: str) -> dict[str, Any]:
        wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
        return {**CSI, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}}}

    one, same, other = (volume_row(volume(affinity(*nodes))).topology for nodes in ("ab", "ba", "c"))
    assert one == same == "kubernetes.io/hostname In a,b"
    assert other == "kubernetes.io/hostname In c"
    assert volume_row(volume(CSI)).topology == ""
