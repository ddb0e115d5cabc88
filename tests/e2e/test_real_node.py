"""The node is real: what the other scenes stand on."""

import json
from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

import pytest

from support.product import AGENT_SPACE, OPERATOR_SPACE
from support.realnode import SPACE, RealNode
from volumehealth.errors import SandboxError
from volumehealth.model.vocabulary import API_VERSION, POLICY_KIND, REPORT_KIND
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.node_mounts import mounts_below
from volumehealth_sandbox.tools import Say

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


def test_only_the_kubelets_directory_differs_from_what_is_shipped(real_node: RealNode, show: Say) -> None:
    """The operator is applied from deploy/ as it is, the agent through an overlay; the difference is shown."""
    shipped, applied = (
        real_node.kubectl("kustomize", str(directory)).splitlines()
        for directory in (asset("deploy") / "agent", real_node.product.home / "agent")
    )
    changed = list(unified_diff(shipped, applied, "shipped", "applied", n=0, lineterm=""))
    show("\n".join(changed))
    added = [line[1:] for line in changed[2:] if line.startswith("+")]
    removed = [line[1:] for line in changed[2:] if line.startswith("-")]
    kubelet_dir = str(real_node.node.layout.kubelet_dir)
    assert [
        line.replace(kubelet_dir, "/var/lib/kubelet") for line in added if "--kubelet-dir" not in line
    ] == removed
    assert [line.strip() for line in added if "--kubelet-dir" in line] == [f"- --kubelet-dir={kubelet_dir}"]


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
            kubeconfig=real_node.agent_kubeconfig(),
        )


def test_what_the_pods_take(real_node: RealNode, show: Say) -> None:
    """The memory of each Pod's process is shown, and none is near the limit that it is shipped with."""
    for namespace, limit in ((OPERATOR_SPACE, 512), (AGENT_SPACE, 160)):
        for name, megabytes in real_node.product.memory(namespace).items():
            show(f"{name}: {megabytes:.0f} MB resident")
            assert megabytes < limit * 2 / 3
