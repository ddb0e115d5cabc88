"""The node is real: what the other scenes stand on."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from support.realnode import SPACE, RealNode
from volumehealth.errors import SandboxError
from volumehealth.model.vocabulary import API_VERSION, POLICY_KIND, REPORT_KIND
from volumehealth_sandbox.node_mounts import mounts_below

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_containers_write_into_volumes_that_the_driver_mounted(real_node: RealNode) -> None:
    """A real Pod on a real kubelet has the simulated driver's volume, and CSINode lists the driver."""
    first, second = (real_node.path("mounted", pod) for pod in real_node.pods)
    assert {str(first), str(second)} <= set(mounts_below(real_node.node.layout.kubelet_dir))
    real_node.until(lambda: (first / "written-by-a-pod").exists(), "the container writes")
    assert (second / "written-by-a-pod").read_text() == "hello\n"
    assert real_node.node.drivers() == set(real_node.drivers)
    assert real_node.node.ready_status() == "True"


def test_all_is_healthy_by_the_word_of_controller_and_node(real_node: RealNode) -> None:
    """Every claim is Healthy."""
    real_node.until(real_node.all_healthy, "all claims are healthy", within=60.0)
    assert real_node.condition("VolumesHealthy")["status"] == "True"


@pytest.mark.parametrize(
    "forbidden",
    [
        {"apiVersion": API_VERSION, "kind": REPORT_KIND, "metadata": {"name": "another-node"}},
        {"apiVersion": API_VERSION, "kind": POLICY_KIND, "metadata": {"name": "of-an-agent"}},
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "volumehealth-operator", "namespace": "volumehealth-system"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "mounted", "namespace": SPACE, "labels": {"written": "by-an-agent"}},
        },
    ],
    ids=lambda one: one["kind"],
)
def test_the_agents_own_token_writes_nothing_of_others(
    real_node: RealNode, forbidden: Mapping[str, Any]
) -> None:
    """Another node's report, a policy, the operator's Lease, a claim: refused to the token the agent runs with."""
    with pytest.raises(SandboxError, match="forbidden"):
        real_node.plane.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "-",
            input=json.dumps(forbidden),
            kubeconfig=real_node.agent_kubeconfig,
        )
