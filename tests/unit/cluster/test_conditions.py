"""What is read of health fields, resize errors, nodes and attachments, from JSON as the API server sends it."""

from typing import Any

import msgspec
import pytest

from volumehealth.cluster import nodeobjects
from volumehealth.cluster.objects import LabelPool, PersistentVolumeClaim, PodObject, claim_row, pod_row
from volumehealth.model.cluster import ApiConditions, Pod
from volumehealth.model.health import Condition


def claim(status: dict[str, Any], **metadata: Any) -> Any:
    raw = {"metadata": {"name": "db", "namespace": "shop", **metadata}, "spec": {}, "status": status}
    return claim_row(msgspec.json.decode(msgspec.json.encode(raw), type=PersistentVolumeClaim), LabelPool())


def api_conditions(status: dict[str, Any]) -> ApiConditions:
    found: ApiConditions = claim(status).api_conditions or ApiConditions()
    return found


QUIET: dict[str, dict[str, Any]] = {
    "a bound claim": {"phase": "Bound"},
    "a resize that goes well": {
        "phase": "Bound",
        "conditions": [{"type": "Resizing", "status": "True", "message": "on its way"}],
        "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
    },
    "an error that is over": {
        "phase": "Bound",
        "conditions": [{"type": "NodeResizeError", "status": "False"}],
    },
    "no condition left": {"phase": "Bound", "healthStatus": {"healthConditions": []}},
    "null where a list may be": {
        "phase": "Bound",
        "healthStatus": {"healthConditions": None},
        "conditions": None,
    },
    "a field without its status": {"phase": "Bound", "healthStatus": {"healthConditions": [{"reason": "X"}]}},
}


@pytest.mark.parametrize("status", QUIET.values(), ids=QUIET.keys())
def test_nothing_is_made_of_a_claim_that_has_nothing_to_say(status: dict[str, Any]) -> None:
    assert claim(status).api_conditions is None


RESIZES: dict[str, tuple[dict[str, Any], str]] = {
    "of the controller": (
        {"conditions": [{"type": "ControllerResizeError", "status": "True", "message": "quota"}]},
        "ControllerResizeError: quota",
    ),
    "of the node, without words": (
        {"conditions": [{"type": "NodeResizeError", "status": "True"}]},
        "NodeResizeError",
    ),
    "infeasible": (
        {"allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}},
        "resize of storage: NodeResizeInfeasible",
    ),
    "failed, before 1.31": (
        {"allocatedResourceStatuses": {"storage": "ControllerResizeFailed"}},
        "resize of storage: ControllerResizeFailed",
    ),
}


@pytest.mark.parametrize(("status", "message"), RESIZES.values(), ids=RESIZES.keys())
def test_a_resize_that_failed(status: dict[str, Any], message: str) -> None:
    assert api_conditions({"phase": "Bound", **status}).own == (
        Condition("Degraded", "ResizeFailed", message),
    )


def test_a_lost_claim_names_the_driver_that_made_its_volume() -> None:
    annotations = {"volume.kubernetes.io/storage-provisioner": "hostpath.csi.k8s.io", "other": "x"}
    lost = claim({"phase": "Lost"}, annotations=annotations)
    assert lost.driver == "hostpath.csi.k8s.io"
    assert [said.reason for said in lost.api_conditions.own] == ["ClaimLost"]
    assert claim({"phase": "Bound"}, annotations=annotations).driver == ""


@pytest.mark.parametrize(
    ("annotations", "driver"),
    [
        ({"volume.beta.kubernetes.io/storage-provisioner": "ebs.csi.aws.com"}, "ebs.csi.aws.com"),
        ({"volume.kubernetes.io/storage-provisioner": "rancher.io/local-path"}, ""),
        ({"volume.kubernetes.io/storage-provisioner": "../volumehealthpolicies/x"}, ""),
        ({}, ""),
    ],
    ids=["before 1.23", "a provisioner that is no CSI driver", "no name at all", "nobody made it"],
)
def test_who_made_a_lost_claims_volume_is_named_if_it_is_a_csi_driver(
    annotations: dict[str, str], driver: str
) -> None:
    """An object is named after the driver; the name must be one."""
    assert claim({"phase": "Lost"}, annotations=annotations).driver == driver


def test_health_conditions_are_kept_as_they_came_but_cleaned() -> None:
    said = {"status": "Wobbling", "reason": "of a new kind", "message": "line\nbreak"}
    health = api_conditions({"phase": "Bound", "healthStatus": {"healthConditions": [said]}}).health
    assert health == (Condition("Wobbling", "OfANewKind", "line break"),)


def test_a_blank_status_says_nothing() -> None:
    """A record without a status is refused by its schema, so that nobody would be told of the finding as it is."""
    blank = [{"status": words, "reason": "X"} for words in ("", " ", "\u200b")]
    said = [*blank, {"status": "Degraded", "reason": "X"}]
    found = api_conditions({"phase": "Bound", "healthStatus": {"healthConditions": said}})
    assert [one.status for one in found.health] == ["Degraded"]


def pod(volumes: list[dict[str, Any]], health: list[dict[str, Any]]) -> Pod:
    raw = {
        "metadata": {"name": "app", "namespace": "shop", "uid": "u"},
        "spec": {"nodeName": "a", "volumes": volumes},
        "status": {"phase": "Running", "volumeHealth": health},
    }
    found = pod_row(msgspec.json.decode(msgspec.json.encode(raw), type=PodObject))
    assert found is not None
    return found


def test_what_a_kubelet_says_of_a_volume_is_said_of_its_claim() -> None:
    bad = {"healthConditions": [{"status": "Degraded", "reason": "Slow"}]}
    found = pod(
        [
            {"name": "data", "persistentVolumeClaim": {"claimName": "db"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "config", "configMap": {}},
        ],
        [
            {"name": "data", **bad},
            {"name": "scratch", **bad},
            {"name": "config", **bad},
            {"name": "gone", **bad},
        ],
    )
    slow = (Condition("Degraded", "Slow", ""),)
    assert found.health == (("db", slow), ("app-scratch", slow))


def test_a_node_without_a_ready_condition_says_nothing_yet() -> None:
    raw: dict[str, Any] = {"metadata": {"name": "a"}, "status": {"conditions": [{"type": "DiskPressure"}]}}
    node = nodeobjects.node_row(msgspec.convert(raw, nodeobjects.NodeObject))
    assert (node.ready, node.since, node.why) == ("", None, "")


def test_a_node_that_is_not_ready_says_why() -> None:
    ready = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastTransitionTime": "2026-11-24T03:00:00Z",
    }
    raw = {"metadata": {"name": "a"}, "status": {"conditions": [ready]}}
    node = nodeobjects.node_row(msgspec.convert(raw, nodeobjects.NodeObject))
    assert (node.ready, node.why) == ("Unknown", "NodeStatusUnknown: Kubelet stopped posting node status.")
    assert node.since is not None


def test_a_csinode_before_and_after_it_had_a_status() -> None:
    raw: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"drivers": [{"name": "d"}]}}
    old = nodeobjects.csinode_row(msgspec.convert(raw, nodeobjects.CsiNodeObject))
    assert (set(old.drivers), old.storage) == ({"d"}, ())
    said = {
        "status": "StorageDegraded",
        "reason": "Slow",
        "accessMode": "ReadWriteMany",
        "volumeMode": "Block",
    }
    raw["status"] = {"storageHealth": [{"name": "d", "healthConditions": [said]}, {"name": "e"}]}
    new = nodeobjects.csinode_row(msgspec.convert(raw, nodeobjects.CsiNodeObject))
    ((driver, statement),) = new.storage
    assert (driver, statement.condition.status, statement.access_mode, statement.volume_mode) == (
        "d",
        "StorageDegraded",
        "ReadWriteMany",
        "Block",
    )


def test_an_attachment_of_an_inline_volume_has_no_claim() -> None:
    raw = {
        "metadata": {"name": "va"},
        "spec": {"nodeName": "a", "source": {"inlineVolumeSpec": {}}},
        "status": {"attachError": {"message": ""}},
    }
    row = nodeobjects.attachment_row(msgspec.convert(raw, nodeobjects.AttachmentObject))
    assert (row.volume, row.attach_error, row.detach_error) == ("", "no further words", "")
