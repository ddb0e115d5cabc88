"""What operator and agents take in their Pods, at the sizes that docs/performance.md names.

In: a node of its own, and 10,000 claims with Pods and a driver for them, which takes minutes: `make memory` runs this,
`make e2e` leaves it out. Out: megabytes of each Pod's first process, on the terminal.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.controllers import (
    ACCOUNT,
    SOURCE,
    SOURCE_MAP,
    driver_pod,
    rights_of_a_provisioner,
    settings,
    workload,
    write_kustomization,
)
from support.product import AGENT_SPACE, OPERATOR_SPACE
from support.realnode import NodeDriver, RealNode, obstacles
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects, pod_object
from volumehealth_sandbox.tools import Say

SIZE = "VOLUMEHEALTH_CLAIMS"
"""Environment variable: how many claims the operator is measured with."""
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(SIZE not in os.environ, reason="takes minutes: see `make memory`"),
]

VOLUMES = 100
"""Volumes on the node."""
AGENT_AT_MOST, OPERATOR_AT_MOST = 60.0, 160.0
"""Megabytes."""
BULK, BULK_SPACE = "bulk.csi.volumehealth.test", "bulk"
DRIVER = NodeDriver(
    "many.csi.volumehealth.test",
    Generation.LEGACY,
    tuple(f"claim-{number}" for number in range(1, VOLUMES + 1)),
    controller="",
)
POLICY = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
_ROUNDS = 6
"""Checks before memory is read."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node with a Pod that uses a hundred volumes."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    with RealNode(
        tmp_path_factory.mktemp("crowded"),
        Path(tempfile.gettempdir(), "vh-node-crowded"),
        drivers=(DRIVER,),
        pods=("crowd",),
        policy=POLICY,
        gate=False,
        network=6,
    ) as node:
        yield node


def test_a_node_agent_with_a_hundred_volumes(crowded: RealNode, show: Say) -> None:
    """It asks the driver about each, looks at each, and serves metrics."""
    crowded.until(crowded.all_healthy, "every claim is healthy", within=120.0)
    _some_checks_later(crowded)
    (megabytes,) = crowded.product.memory(AGENT_SPACE).values()
    show(f"node agent in its Pod, {VOLUMES} volumes, with metrics: {megabytes:.1f} MB resident")
    assert megabytes <= AGENT_AT_MOST


def test_an_operator_with_many_claims(crowded: RealNode, show: Say, tmp_path: Path) -> None:
    """Each claim with a volume and a Pod; the driver's controller has the agent beside it, which answers for all."""
    claims = int(os.environ[SIZE])
    _start_driver(crowded, tmp_path, claims)
    asyncio.run(_make_claims(crowded, claims))
    healthy = claims + VOLUMES
    took = crowded.until(lambda: crowded.count("healthy") == healthy, "every claim is healthy", within=300.0)
    _some_checks_later(crowded)
    leader = crowded.product.leader()
    operators = crowded.product.memory(OPERATOR_SPACE)
    (sidecar,) = crowded.product.memory(BULK_SPACE, container="volumehealth").values()
    show(
        f"operator in its Pod, {healthy} claims, volumes and Pods: {operators.pop(leader):.1f} MB resident "
        f"(all healthy {took:.0f} s after the last was made); the one that waits: "
        f"{', '.join(f'{one:.1f}' for one in operators.values())} MB; the agent beside the controller: {sidecar:.1f} MB"
    )
    assert crowded.product.memory(OPERATOR_SPACE)[leader] <= OPERATOR_AT_MOST


def _some_checks_later(node: RealNode) -> None:
    seen = node.checks()
    node.until(lambda: node.checks() >= seen + _ROUNDS, f"{_ROUNDS} checks later", within=120.0)


def _start_driver(node: RealNode, tmp_path: Path, volumes: int) -> None:
    """Start a driver with so many volumes in its controller's Pod, and the agent beside it."""
    node.kubectl("create", "namespace", BULK_SPACE)
    node.kubectl("create", "configmap", SOURCE_MAP, f"--namespace={BULK_SPACE}", f"--from-file={SOURCE}")
    resources = [
        settings(BULK, BULK_SPACE),
        *rights_of_a_provisioner(BULK_SPACE),
        workload("Deployment", BULK_SPACE, driver_pod(BULK, volumes=volumes)),
    ]
    node.kubectl("apply", "-k", str(write_kustomization(tmp_path / "bulk", resources)))
    node.product.await_rollout(f"Deployment/{ACCOUNT}", BULK_SPACE)


async def _make_claims(node: RealNode, claims: int) -> None:
    async with ClusterObjects(node.plane.kubeconfig) as objects:
        await objects.make_claims(
            ClaimSpec(BULK_SPACE, f"claim-{number}", VolumeId(BULK, f"vol-{number}"))
            for number in range(1, claims + 1)
        )
        pods = [
            pod_object(f"pod-{number}", [f"claim-{number}"], node="", labels={"app": f"app-{number % 50}"})
            for number in range(1, claims + 1)
        ]
        for pod in pods:
            pod["spec"]["schedulerName"] = "nobody"  # no node has room for so many
        await objects.all_of(objects.post(f"/api/v1/namespaces/{BULK_SPACE}/pods", pod) for pod in pods)
