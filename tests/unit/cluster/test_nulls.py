"""Null is what was not given: in every list, in every kind that is read, at every depth."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from volumehealth.agent.pods import node_pods
from volumehealth.agent.policies import policy_metadata
from volumehealth.cluster import resources
from volumehealth.cluster.objects import LabelPool
from volumehealth.errors import ApiUnreachable
from volumehealth.kube.bodies import without_nulls
from volumehealth.kube.reading import ObjectPage, ObjectReader
from volumehealth.kube.reflector import Resource
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import PolicySpec
from volumehealth.policy.parse import parse_policy
from volumehealth.report.records import resume

RESOURCES: dict[str, Callable[[], Resource[Any, Any]]] = {
    "volumes": resources.volumes,
    "claims": lambda: resources.claims(LabelPool()),
    "Pods": resources.pods,
    "a node's Pods": node_pods,
    "namespaces": lambda: resources.namespaces(LabelPool()),
    "policies": resources.policies,
    "metadata of policies": policy_metadata,
    "records": lambda: resources.records(LabelPool()),
    "nodes": resources.nodes,
    "CSINodes": resources.csinodes,
    "attachments": resources.attachments,
    "reports": resources.reports,
    "Leases": lambda: resources.leases("volumehealth-system"),
}

NULLS: dict[str, dict[str, Any]] = {
    "metadata": {
        "name": "one",
        "namespace": "shop",
        "uid": "uid-1",
        "resourceVersion": "7",
        "creationTimestamp": None,
        "generation": None,
        "labels": None,
        "annotations": None,
        "ownerReferences": None,
        "finalizers": None,
        "managedFields": None,
        "deletionTimestamp": None,
    },
    "spec": {
        "accessModes": None,
        "mountOptions": None,
        "claimRef": None,
        "csi": None,
        "storageClassName": None,
        "volumeName": None,
        "volumeMode": None,
        "volumes": None,
        "nodeName": None,
        "drivers": None,
        "source": None,
        "renewTime": None,
        "leaseDurationSeconds": None,
        "selector": None,
        "rules": None,
    },
    "status": {
        "phase": None,
        "conditions": None,
        "allocatedResourceStatuses": None,
        "healthStatus": None,
        "startTime": None,
        "containerStatuses": None,
        "volumeHealth": None,
        "storageHealth": None,
        "attachError": None,
        "detachError": None,
        "drivers": None,
        "volumes": None,
        "silent": None,
        "omitted": None,
        "findings": None,
        "episodes": None,
        "history": None,
        "pods": None,
        "summary": None,
        "problems": None,
    },
}


def reader(resource: Resource[Any, Any]) -> ObjectReader[Any, Any]:
    return ObjectReader(resource.name, resource.item, resource.read)


def page_of(resource: Resource[Any, Any], body: object) -> ObjectPage[Any]:
    return reader(resource).page(msgspec.json.encode(body))


def row_of(resource: Resource[Any, Any], body: object) -> Any:
    return reader(resource).row(msgspec.Raw(msgspec.json.encode(body)))


each_resource = pytest.mark.parametrize("make", RESOURCES.values(), ids=RESOURCES.keys())


@each_resource
def test_a_list_that_is_null_is_empty(make: Callable[[], Resource[Any, Any]]) -> None:
    page = page_of(make(), {"metadata": {"resourceVersion": "7"}, "items": None})

    assert not page.items
    assert page.metadata.resource_version == "7"


@each_resource
def test_a_list_that_is_null_beside_other_nulls_is_empty(make: Callable[[], Resource[Any, Any]]) -> None:
    page = page_of(make(), {"metadata": {"resourceVersion": "7", "continue": None}, "items": None})

    assert not page.items
    assert not page.metadata.token


@each_resource
def test_an_answer_without_items_is_no_list(make: Callable[[], Resource[Any, Any]]) -> None:
    with pytest.raises(ApiUnreachable):
        page_of(make(), {"metadata": {"resourceVersion": "7"}})


@pytest.mark.parametrize("part", ["spec", "status"])
@pytest.mark.parametrize(
    "make",
    [make for name, make in RESOURCES.items() if name not in ("policies", "records")],
    ids=[name for name in RESOURCES if name not in ("policies", "records")],
)
def test_fields_that_are_null_were_not_given(make: Callable[[], Resource[Any, Any]], part: str) -> None:
    resource, given = make(), {name: value for name, value in NULLS.items() if name in ("metadata", part)}

    assert row_of(resource, given) == row_of(resource, without_nulls(given))


def test_a_policy_may_say_null_for_all_that_it_leaves_out() -> None:
    row = row_of(resources.policies(), NULLS)

    assert row is not None
    assert parse_policy(row.manifest).spec == PolicySpec()
    assert row.status == {}


def test_a_record_may_say_null_for_all_that_it_leaves_out() -> None:
    finding = {
        "source": "Controller",
        "status": "Degraded",
        "reason": "Slow",
        "since": "2026-11-24T03:00:00Z",
        "via": None,
    }
    status = {
        **NULLS["status"],
        "policy": None,
        "recovered": None,
        "findings": [{**finding, "origins": None, "node": None}],
    }

    read = resume(ClaimRef("shop", "data"), "uid-1", msgspec.json.encode(status))

    assert read is not None
    assert [one.reason for one in read.health.findings] == ["Slow"]


@each_resource
def test_a_whole_part_may_be_null(make: Callable[[], Resource[Any, Any]]) -> None:
    resource = make()
    given = {"metadata": NULLS["metadata"], "spec": None, "status": None}

    assert row_of(resource, given) == row_of(resource, without_nulls(given))
