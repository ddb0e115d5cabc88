"""What administrators do to the cluster and to the product, while a volume is sick: nobody is told twice, nothing is lost."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.scenes import WITHIN, await_recovery, driver_says
from support.product import AGENT, AGENT_SPACE, OPERATOR, OPERATOR_SPACE
from support.realnode import RealNode
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.image import NAME

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SICK = "disk"
"""The claim that is sick all the while, by its controller's word."""
ANOTHER = "slow"
"""A claim that turns sick meanwhile."""


@pytest.fixture
def sick(real_node: RealNode) -> Iterator[RealNode]:
    """The node, with one volume that has failed and was told of; and healed at the end."""
    real_node.until(real_node.all_healthy, "all is well before", within=60.0)
    with spoiled(real_node, SICK, Fault.DISK_FAILURE):
        yield real_node
    real_node.until(real_node.all_healthy, "all is well afterwards", within=90.0)


@contextmanager
def spoiled(node: RealNode, claim: str, fault: Fault) -> Iterator[None]:
    """Spoil a claim until everybody was told; heal it, and wait until everybody was told that."""
    spoil, heal = driver_says(fault, Plane.CONTROLLER)
    told_before = _normals(node, claim)
    spoil(node, claim)
    try:
        node.until(lambda: node.findings(claim), f"{claim} is found to be sick", within=90.0)
        node.until(
            lambda: node.told("VolumeConditionAbnormal", claim) == _everybody(node, claim), "all are told"
        )
        yield
    finally:
        heal(node, claim)
    await_recovery(node, claim)
    node.until(lambda: len(_normals(node, claim) - told_before) == 1 + len(node.pods), "all is well again")


def _everybody(node: RealNode, claim: str) -> set[str]:
    return {f"PersistentVolumeClaim/{claim}", *(f"Pod/{pod}" for pod in node.pods)}


def _normals(node: RealNode, claim: str) -> set[str]:
    """Return the names of the Events that say that a claim has recovered."""
    return {
        event["metadata"]["name"]
        for event in node.events("VolumeConditionNormal")
        if event["involvedObject"]["name"] == claim
        or f" {claim}" in event["message"]
        or f"/{claim}" in event["message"]
    }


def _told(node: RealNode) -> dict[str, int]:
    """Return every Event on health, and how often it was told."""
    reasons = ("VolumeConditionAbnormal", "VolumeConditionNormal")
    return {event["metadata"]["name"]: event["count"] for reason in reasons for event in node.events(reason)}


def _since(node: RealNode) -> list[str]:
    return [finding["since"] for finding in node.findings(SICK)]


def _two_checks_later(node: RealNode) -> None:
    """Wait until the operator that works now has made two checks of its own."""
    node.until(lambda: node.product.leader(), "an operator works", within=60.0)
    seen = node.checks()
    node.until(lambda: node.checks() >= seen + 2, "two checks later", within=60.0)


def test_when_the_operators_pod_is_killed_the_second_takes_over_and_repeats_nothing(sick: RealNode) -> None:
    """Killed without a chance to say goodbye; a volume that turns sick meanwhile is told once, by the successor."""
    before, since = _told(sick), _since(sick)
    leader = sick.product.leader()
    sick.kubectl("delete", "pod", leader, f"--namespace={OPERATOR_SPACE}", "--grace-period=0", "--force")
    with spoiled(sick, ANOTHER, Fault.DEGRADED_PERFORMANCE):
        # The second replica, or the one that the ReplicaSet starts while the Lease of the dead one runs out.
        sick.until(lambda: sick.product.leader() not in ("", leader), "another one leads", within=60.0)
        _two_checks_later(sick)
        assert _since(sick) == since
        told = _told(sick)
        assert {name: told[name] for name in before} == before
        assert len(told.keys() - before.keys()) == 1 + len(sick.pods)
    sick.product.await_rollout(OPERATOR, OPERATOR_SPACE)


def test_a_drained_node_comes_back_and_nobody_is_told_twice(sick: RealNode) -> None:
    """`kubectl drain` takes away the operator, the controllers and the Pods with the volumes; the agent stays."""
    before, since = _told(sick), _since(sick)
    agent = sick.product.agent()["metadata"]["uid"]
    # Without --disable-eviction the PodDisruptionBudget keeps the second operator: there is no other node for the first.
    flags = (
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--grace-period=5",
        "--disable-eviction",
    )
    try:
        sick.kubectl("drain", sick.node.name, *flags, "--timeout=90s")
        sick.until(lambda: not sick.product.running(OPERATOR_SPACE), "no operator runs")
        assert sick.product.agent()["metadata"]["uid"] == agent
    finally:
        sick.kubectl("uncordon", sick.node.name)
    sick.product.await_rollout(OPERATOR, OPERATOR_SPACE)
    sick.await_controllers()
    sick.start_pods()
    _two_checks_later(sick)
    assert _since(sick) == since
    told = _told(sick)
    assert {name: told.get(name) for name in before} == before
    repeated = [
        event
        for event in sick.events("VolumeConditionAbnormal")
        if event["metadata"]["name"] not in before and event["involvedObject"]["kind"] != "Pod"
    ]
    assert repeated == [], "the claim is told once; the new Pods may be told what they have not been told"


def test_a_rolling_upgrade_of_operator_and_agents_repeats_and_loses_nothing(sick: RealNode) -> None:
    """Another image for both, by `kubectl set image`; a volume that turns sick while they roll is told once."""
    before, since = _told(sick), _since(sick)
    pods = {*sick.product.names(OPERATOR_SPACE), *sick.product.names(AGENT_SPACE)}
    newer = f"{NAME}-next"
    sick.node.ctr("images", "tag", "--force", f"docker.io/library/{NAME}", f"docker.io/library/{newer}")
    try:
        sick.kubectl("set", "image", OPERATOR, f"operator={newer}", f"--namespace={OPERATOR_SPACE}")
        sick.kubectl("set", "image", AGENT, f"agent={newer}", f"--namespace={AGENT_SPACE}")
        with spoiled(sick, ANOTHER, Fault.DEGRADED_PERFORMANCE):
            sick.product.await_rollout(OPERATOR, OPERATOR_SPACE)
            sick.product.await_rollout(AGENT, AGENT_SPACE)
            _two_checks_later(sick)
            assert pods.isdisjoint({*sick.product.names(OPERATOR_SPACE), *sick.product.names(AGENT_SPACE)})
            assert _since(sick) == since
            told = _told(sick)
            assert {name: told[name] for name in before} == before
            assert len(told.keys() - before.keys()) == 1 + len(sick.pods)
    finally:
        sick.product.install()


def test_agents_that_are_removed_alone_leave_no_alarm(real_node: RealNode) -> None:
    """`kubectl delete -k deploy/agent`: once their Leases have ended no agent is expected, and none is silent."""
    real_node.until(real_node.all_healthy, "all is well before", within=60.0)
    real_node.until(lambda: real_node.agents("reporting") == 1, "the agent reports")
    real_node.product.remove_agent()
    try:
        real_node.until(lambda: real_node.agents("expected") == 0, "no agent is expected", within=240.0)
        _two_checks_later(real_node)
        assert real_node.agents("expected") == 0
        assert real_node.agents("silent") == 0
        assert "AgentSilent" not in json.dumps(real_node.status())
        assert real_node.condition("SourcesAvailable")["status"] == "True"
    finally:
        real_node.product.install()
    real_node.until(lambda: real_node.agents("reporting") == 1, "the agent reports again", within=90.0)
    real_node.until(real_node.all_healthy, "all is well afterwards", within=90.0)


def test_everything_removed_is_gone_and_can_be_installed_again(real_node: RealNode) -> None:
    """`kubectl delete -k` of both leaves no object and no API; a second installation finds every claim healthy."""
    real_node.product.remove_agent()
    real_node.product.remove_operator()
    kinds = "namespaces,clusterroles,clusterrolebindings,validatingadmissionpolicies,crds,priorityclasses"
    left = real_node.kubectl(
        "get", kinds, "-l", "app.kubernetes.io/part-of=volumehealth", "-o", "name"
    ).split()
    assert [name for name in left if "volumehealth-controller." not in name] == []
    assert "volumehealth" not in real_node.kubectl("get", "crds", "-o", "name")
    real_node.install()
    real_node.until(real_node.all_healthy, "all claims are healthy", within=WITHIN * 3)
