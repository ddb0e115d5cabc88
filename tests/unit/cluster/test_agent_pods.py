"""Where agents are expected, and where one was left out: read from Pods that labels select."""

import msgspec

from volumehealth.cluster.nodeobjects import (
    AgentPod,
    AgentPodObject,
    LeftOutPodObject,
    agent_pod_row,
    left_out_row,
)
from volumehealth.cluster.tables import AgentPodTable
from volumehealth.model.cluster import LeftOut
from volumehealth.model.ids import ClaimRef


def read(**spec: object) -> AgentPod | None:
    pod = {"metadata": {"name": "agent-x", "namespace": "volumehealth-agent"}, "spec": spec}
    return agent_pod_row(msgspec.json.decode(msgspec.json.encode(pod), type=AgentPodObject))


def test_a_pod_that_runs_is_where_it_runs() -> None:
    assert read(nodeName="worker-1") == AgentPod("volumehealth-agent", "agent-x", "worker-1")


def test_a_pod_that_cannot_be_scheduled_is_expected_where_the_daemonset_pins_it() -> None:
    """As the DaemonSet controller of Kubernetes writes it."""
    fields = [{"key": "metadata.name", "operator": "In", "values": ["worker-2"]}]
    terms = {"nodeSelectorTerms": [{"matchFields": fields}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    assert read(affinity=affinity) == AgentPod("volumehealth-agent", "agent-x", "worker-2")


def test_a_pod_that_is_meant_for_no_node_says_nothing() -> None:
    assert read() is None
    assert read(affinity={"nodeAffinity": {}}) is None


def test_two_pods_of_one_node_make_it_expected_until_both_are_gone() -> None:
    nodes: dict[str, int] = {}
    table = AgentPodTable(nodes)
    for name in ("old", "new", "new"):
        table.put(AgentPod("volumehealth-agent", name, "worker-1"))
    assert nodes == {"worker-1": 2}
    table.drop(ClaimRef("volumehealth-agent", "old"))
    assert nodes == {"worker-1": 1}
    table.drop(ClaimRef("volumehealth-agent", "new"))
    table.drop(ClaimRef("volumehealth-agent", "never-there"))
    assert nodes == {}


def read_left_out(annotations: object) -> LeftOut | None:
    pod = {"metadata": {"name": "csi-0", "namespace": "csi", "annotations": annotations}}
    return left_out_row(msgspec.json.decode(msgspec.json.encode(pod), type=LeftOutPodObject))


def test_a_pod_says_why_the_agent_was_left_out_of_it() -> None:
    said = {
        "volumehealth.dev/left-out-of": "a.example.com",
        "volumehealth.dev/left-out-because": "the socket\n belongs to root",
        "another": "x",
    }
    assert read_left_out(said) == LeftOut(
        ClaimRef("csi", "csi-0"), "a.example.com", "the socket belongs to root"
    )


def test_a_pod_that_names_no_driver_says_nothing() -> None:
    assert read_left_out(None) is None
    assert read_left_out({"volumehealth.dev/left-out-because": "x"}) is None
