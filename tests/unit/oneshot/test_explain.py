"""`explain` takes the best of three ways: the operator, the objects, the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from support.health import START, SteppedClock
from volumehealth import errors
from volumehealth.cli.explainoutput import show_explanation, show_node
from volumehealth.model.explanation import Explanation
from volumehealth.model.ids import ClaimRef
from volumehealth.oneshot.explain import explain_claim, explain_pod, explain_volume
from volumehealth.oneshot.explainnode import explain_node

REF = ClaimRef("shop", "orders-db")
OPERATOR = "/api/v1/namespaces/ops/services/volumehealth-operator:metrics/proxy/explain/shop/orders-db/u-1"
PODS = "/api/v1/namespaces/shop/pods"
DRIVER = "d.example.com"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ops/leases"
OURS = "/apis/volumehealth.dev/v1alpha1"


def claim() -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "orders-db", "uid": "u-1"},
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound"},
    }


def record() -> dict[str, Any]:
    moment = "2026-11-23T03:00:00Z"
    finding = {
        "source": "Controller",
        "origins": ["Driver"],
        "status": "Inaccessible",
        "reason": "VolumeNotFound",
        "message": "not found",
        "since": moment,
        "confirmed": moment,
    }
    return {
        "metadata": {
            "namespace": "shop",
            "name": "orders-db",
            "uid": "r-1",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "orders-db", "uid": "u-1"}
            ],
        },
        "status": {
            "health": "Unhealthy",
            "policy": "storage",
            "driver": DRIVER,
            "volume": "pv-1",
            "volumeHandle": "h-1",
            "findings": [finding],
            "history": [{"time": moment, "what": "Inaccessible/VolumeNotFound (Controller)"}],
        },
    }


def report(**status: Any) -> dict[str, Any]:
    driver = {
        "name": DRIVER,
        "state": "Answering",
        "since": "2026-11-23T02:00:00Z",
        "healthAPI": "VolumeCondition",
        "methods": ["NodeGetVolumeStats"],
    }
    return {
        "metadata": {"name": "worker-1"},
        "status": {"plane": "Node", "node": "worker-1", "drivers": [driver]} | status,
    }


@dataclass
class Server:
    """An API server: objects by path, lists by path, and what is refused."""

    objects: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    refused: dict[str, errors.ApiError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 0
    ) -> bytes:
        assert method == "GET"
        self.asked.append(path)
        for prefix, error in self.refused.items():
            if path.startswith(prefix):
                raise error
        if path in self.objects:
            return msgspec.json.encode(self.objects[path])
        if path in self.lists:
            return msgspec.json.encode({"metadata": {}, "items": self.lists[path]})
        raise errors.NotFound(f"{path} is not there", status=404)


def cluster() -> Server:
    pod = {
        "metadata": {"namespace": "shop", "name": "orders-db-0", "uid": "p-1"},
        "spec": {
            "nodeName": "worker-1",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "orders-db"}}],
        },
        "status": {"phase": "Running"},
    }
    node = {
        "metadata": {"name": "worker-1"},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T00:00:00Z"}]
        },
    }
    volume = {
        "metadata": {"name": "pv-1", "uid": "v-1"},
        "spec": {
            "csi": {"driver": DRIVER, "volumeHandle": "h-1"},
            "claimRef": {"namespace": "shop", "name": "orders-db", "uid": "u-1"},
        },
        "status": {"phase": "Bound"},
    }
    lease = {
        "metadata": {
            "name": "volumehealth-agent-worker-1",
            "labels": {"volumehealth.dev/agent": "node"},
        },
        "spec": {"renewTime": "2026-11-23T03:02:00Z", "leaseDurationSeconds": 180},
    }
    policy = {"metadata": {"name": "storage", "uid": "pol-1"}, "spec": {}}
    agent = {"metadata": {"namespace": "agents", "name": "a-1"}, "spec": {"nodeName": "worker-1"}}
    return Server(
        objects={
            "/api/v1/namespaces/shop/persistentvolumeclaims/orders-db": claim(),
            "/api/v1/persistentvolumes/pv-1": volume,
            "/api/v1/namespaces/shop": {"metadata": {"name": "shop"}},
            "/api/v1/nodes/worker-1": node,
            "/apis/storage.k8s.io/v1/csinodes/worker-1": {
                "metadata": {"name": "worker-1"},
                "spec": {"drivers": [{"name": DRIVER, "nodeID": "n"}]},
            },
            f"{LEASES}/volumehealth-agent-worker-1": lease,
            f"{OURS}/volumehealthreports/worker-1": report(),
        },
        lists={
            PODS: [pod],
            "/api/v1/pods": [agent],
            "/apis/storage.k8s.io/v1/volumeattachments": [],
            f"{OURS}/volumehealthpolicies": [policy],
            f"{OURS}/volumehealths": [record()],
        },
        refused={OPERATOR: errors.ApiError("no endpoints available", status=503)},
    )


async def explained(server: Server) -> Explanation:
    return await explain_claim(server, REF, operator_in="ops", clock=SteppedClock())  # type: ignore[arg-type] # it asks for no more than requests


async def test_the_operator_is_asked_first_with_the_uid_of_the_claim() -> None:
    server = cluster()
    server.refused.clear()
    told = Explanation("shop/orders-db", "u-1", START, told_by="Operator", verdict="Healthy")
    server.objects[OPERATOR] = msgspec.to_builtins(told)
    assert await explained(server) == told
    assert len(server.asked) == 2


async def test_a_replica_that_stands_by_is_asked_again() -> None:
    server = cluster()
    await explained(server)
    assert server.asked.count(OPERATOR) > 3


async def test_without_the_operator_the_objects_say_who_owns_the_claim_and_what_its_agent_says() -> None:
    server = cluster()
    condition = {
        "status": "Inaccessible",
        "reason": "VolumeUnmounted",
        "message": "nothing is mounted",
        "since": "2026-11-23T03:01:11Z",
        "origin": "MountTable",
    }
    volume = {
        "driver": DRIVER,
        "volumeHandle": "h-1",
        "namespace": "shop",
        "claim": "orders-db",
        "claimUID": "u-1",
        "pods": ["orders-db-0"],
        "conditions": [condition],
    }
    coverage = [{"origin": "MountTable", "claims": ["u-1"], "count": 1}]
    server.objects[f"{OURS}/volumehealthreports/worker-1"] = report(volumes=[volume], coverage=coverage)
    told = await explained(server)
    assert (told.told_by, told.policy, told.pods) == ("Objects", "storage", ("orders-db-0 on worker-1",))
    (said,) = [one for one in told.statements if one.conditions]
    (heard,) = said.conditions
    assert (said.origin, said.node, heard.reason, heard.belief) == (
        "MountTable",
        "worker-1",
        "VolumeUnmounted",
        "Pending",
    )
    assert heard.left_seconds is None  # how long it must still be said only the operator knows
    assert any("only the operator knows" in line for line in told.not_known)


async def test_a_policy_whose_spec_cannot_be_used_is_named_and_not_taken_for_none() -> None:
    """The operator goes on with its last good spec; without the operator nobody knows that one."""
    server = cluster()
    server.lists[f"{OURS}/volumehealthpolicies"][0]["spec"] = {"interval": "1s"}
    told = await explained(server)
    assert any("the policy storage holds it by its last good spec" in line for line in told.not_known)


async def test_what_a_record_confirmed_stays_confirmed_without_the_operator() -> None:
    server = cluster()
    server.objects[f"{OURS}/namespaces/shop/volumehealths/orders-db"] = record()
    told = await explained(server)
    assert told.verdict == "Unhealthy"
    assert [one.reason for one in told.findings] == ["VolumeNotFound"]
    assert told.runbooks == "docs/runbooks.md"


@pytest.mark.parametrize("policies", [True, False])
async def test_a_record_of_a_claim_that_had_the_name_before_says_nothing_of_this_one(policies: bool) -> None:
    """A claim that is made anew meets the record of the old one until Kubernetes or the operator takes it away."""
    server = cluster()
    server.objects["/api/v1/namespaces/shop/persistentvolumeclaims/orders-db"]["metadata"]["uid"] = "u-2"
    server.objects[f"{OURS}/namespaces/shop/volumehealths/orders-db"] = record()
    server.refused = {"/api/v1/namespaces/ops/services": errors.ApiError("no endpoints", status=503)}
    if not policies:
        server.refused[f"{OURS}/volumehealthpolicies"] = errors.Forbidden("no", status=403)
    told = await explained(server)
    assert told.told_by == ("Objects" if policies else "Record")
    assert (told.findings, told.history) == ((), ())


async def test_an_answer_in_the_operators_place_that_is_no_text_is_not_its_answer() -> None:
    """A proxy answers with bytes that are no UTF-8."""

    class Garbled(Server):
        async def request(
            self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 0
        ) -> bytes:
            if path == OPERATOR:
                return b'{"claim": "\xff"}'
            return await super().request(method, path, query=query, timeout=timeout)

    known = cluster()
    told = await explained(Garbled(known.objects, known.lists))
    assert told.told_by == "Objects"
    assert "it is of another version" in told.not_known[0]


async def test_without_the_operator_the_runbooks_are_where_the_record_says() -> None:
    server = cluster()
    written = record()
    written["status"]["runbook"] = "https://docs.example.com/runbooks.html#volumenotfound"
    server.objects[f"{OURS}/namespaces/shop/volumehealths/orders-db"] = written
    assert (await explained(server)).runbooks == "https://docs.example.com/runbooks.html"


async def test_a_claim_whose_volume_is_gone_is_explained_by_what_its_record_remembers() -> None:
    server = cluster()
    del server.objects["/api/v1/persistentvolumes/pv-1"]
    lost = claim()
    lost["status"]["phase"] = "Lost"
    server.objects["/api/v1/namespaces/shop/persistentvolumeclaims/orders-db"] = lost
    server.objects[f"{OURS}/namespaces/shop/volumehealths/orders-db"] = record()
    told = await explained(server)
    assert (told.policy, told.verdict) == ("storage", "Unhealthy")


async def test_a_tenant_sees_the_record_alone_and_what_is_out_of_sight() -> None:
    server = cluster()
    refused = errors.Forbidden("persistentvolumes is forbidden", status=403)
    server.refused = {
        OPERATOR: errors.Forbidden("services/proxy is forbidden", status=403),
        "/api/v1/persistentvolumes": refused,
        f"{OURS}/volumehealthpolicies": refused,
    }
    server.objects[f"{OURS}/namespaces/shop/volumehealths/orders-db"] = record()
    told = await explained(server)
    assert (told.told_by, told.verdict, told.policy) == ("Record", "Unhealthy", "storage")
    assert "services/proxy" in told.not_known[0]
    assert "persistentvolumes is forbidden" in told.not_known[1]


async def test_what_may_not_be_read_is_said_and_not_taken_for_gone() -> None:
    server = cluster()
    server.refused["/api/v1/nodes"] = errors.Forbidden("nodes is forbidden", status=403)
    told = await explained(server)
    assert told.findings == ()
    assert not any(one.says == "Adverse" for one in told.statements)
    assert any("whether its nodes are ready" in line for line in told.not_known)


async def test_a_claim_that_is_not_there_is_a_sentence_with_a_way_out() -> None:
    with pytest.raises(errors.NotFound, match="kubectl get pvc -n shop"):
        await explained(Server())


async def test_a_claim_that_is_missing_hides_no_other_claim_of_its_pod() -> None:
    server = cluster()
    claims = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("cache", "orders-db")]
    server.objects["/api/v1/namespaces/shop/pods/orders-db-0"] = {
        "metadata": {"namespace": "shop", "name": "orders-db-0"},
        "spec": {"volumes": claims},
    }
    pod = ClaimRef("shop", "orders-db-0")
    missing, there = await explain_pod(server, pod, operator_in="ops", clock=SteppedClock())  # type: ignore[arg-type] # it asks for no more than requests
    assert "none: the claim does not exist" in show_explanation(missing, width=80)
    assert there.claim == "shop/orders-db"


async def test_before_the_installation_a_claim_is_explained_as_far_as_it_is_known() -> None:
    """The API server answers 404 without a word of its own for what it does not serve."""
    server = cluster()
    server.refused[OURS] = errors.NotServed(f"GET {OURS}: HTTP 404", status=404)
    server.objects["/version"] = {"gitVersion": "v1.37.2"}
    told = await explained(server)
    assert told.volume == "pv-1"
    assert any(one.startswith("NOT INSTALLED") for one in told.not_known)


async def test_a_proxy_that_answers_404_is_no_cluster_without_the_api() -> None:
    server = cluster()
    server.refused[OURS] = errors.NotServed(f"GET {OURS}: HTTP 404", status=404)
    server.refused["/version"] = errors.NotServed("GET /version: HTTP 404", status=404)
    with pytest.raises(errors.NotServed, match="/version"):
        await explained(server)


async def test_a_volume_leads_to_its_claim() -> None:
    server = cluster()
    told = await explain_volume(server, "pv-1", operator_in="ops", clock=SteppedClock())  # type: ignore[arg-type] # as above
    assert told.claim == "shop/orders-db"


async def test_a_volume_whose_claim_is_gone_does_not_lead_to_another_of_its_name() -> None:
    server = cluster()
    server.objects["/api/v1/namespaces/shop/persistentvolumeclaims/orders-db"]["metadata"]["uid"] = "u-2"
    with pytest.raises(errors.NotFound, match="shop/orders-db is another one"):
        await explain_volume(server, "pv-1", operator_in="ops", clock=SteppedClock())  # type: ignore[arg-type] # as above


async def test_the_object_of_a_driver_with_capitals_is_found() -> None:
    server = cluster()
    server.objects["/api/v1/persistentvolumes/pv-1"]["spec"]["csi"]["driver"] = "D.Example.com"
    server.objects[f"{OURS}/volumehealthdrivers/{DRIVER}"] = {
        "metadata": {"name": DRIVER},
        "status": {"state": "Unreachable", "since": "2026-11-23T02:00:00Z"},
    }
    told = (await explained(server)).driver
    assert told is not None
    assert (told.name, told.state) == ("D.Example.com", "Unreachable")


@pytest.mark.parametrize("hidden", ["/api/v1/pods", f"{OURS}/volumehealths"])
async def test_of_a_node_nothing_is_counted_that_may_not_be_read(hidden: str) -> None:
    """It said that none of the claims there has anything recorded."""
    server = cluster()
    server.refused[hidden] = errors.Forbidden("no")
    told = await explain_node(server, "worker-1", operator_in="ops", now=START)  # type: ignore[arg-type] # as above
    page = show_node(told, width=200)
    assert "nothing recorded" not in page
    assert "may not be read" in page


async def test_a_report_and_a_record_that_say_nothing_are_no_traceback() -> None:
    server = cluster()
    server.objects[f"{OURS}/volumehealthreports/worker-1"]["status"] = None
    server.lists["/api/v1/pods"] = server.lists[PODS]
    server.lists[f"{OURS}/volumehealths"] = [record() | {"status": {"findings": [{"message": "bad"}]}}]
    told = await explain_node(server, "worker-1", operator_in="ops", now=START)  # type: ignore[arg-type] # as above
    assert (told.drivers, told.looks, told.claims[0].reason) == ((), (), "/")


async def test_days_of_a_node_are_written_as_everywhere_else() -> None:
    server = cluster()
    server.objects["/api/v1/nodes/worker-1"]["status"]["conditions"][0]["lastTransitionTime"] = (
        "2026-11-03T00:00:00Z"
    )
    told = await explain_node(server, "worker-1", operator_in="ops", now=START)  # type: ignore[arg-type] # as above
    assert told.ready == "Ready since 3 Nov 00:00Z"


async def test_a_node_says_that_it_is_cordoned_on_purpose_and_which_claims_are_there() -> None:
    server = cluster()
    told = await explain_node(server, "worker-1", operator_in="ops", now=START)  # type: ignore[arg-type] # as above
    assert "cordoned" in told.planned
    assert told.agent == "alive 11 s ago"
    assert told.drivers == (f"{DRIVER}: Answering, NodeGetVolumeStats",)
