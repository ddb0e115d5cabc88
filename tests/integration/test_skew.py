"""An agent of the last revision with the operator and the CRDs of this one, as they are during every upgrade.

The last revision is the last tag, or the commit before this one where there is none; its agent runs as a process of its own.
"""

import asyncio
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.installation import Installation, until
from support.node import SimulatedNode
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_registration import Registration
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec
from volumehealth_sandbox.processes import Program

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
CLAIMS = ("well", "sick")


def git(*arguments: str) -> bytes:
    """Run git in the checkout; nothing if it fails."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


@pytest.fixture(scope="session")
def last_revision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source root of the last revision."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD~1").decode().strip()
    archive = git("archive", tag or "HEAD~1", "operator")
    if not archive:
        pytest.skip("no checkout with a revision before this one")
    home = tmp_path_factory.mktemp("last")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(home, filter="data")
    return home / "operator"


def agent_of(source: Path, node: SimulatedNode, kubeconfig: Path, home: Path) -> Program:
    """Describe the node agent of another source root as a process."""
    command = (
        sys.executable,
        "-P",
        "-m",
        "volumehealth",
        "agent",
        "node",
        f"--kubeconfig={kubeconfig}",
        f"--node-name={node.name}",
        f"--kubelet-dir={node.kubelet}",
        f"--mount-table={node.mount_table}",
        "--health-address=127.0.0.1:0",
    )
    return Program("last-agent", lambda: command, home=home, environment={"PYTHONPATH": str(source)})


async def test_an_agent_of_the_last_revision_is_understood(
    installed: Installation, last_revision: Path, tmp_path: Path
) -> None:
    """What it says is wrong is told; a volume of which it says nothing bad is never told as unhealthy."""
    objects, space = installed.objects, "skew"
    await objects.make_namespace(space)
    with SimulatedNode("skew-node") as node:
        await objects.make_node(node.name)
        socket = f"unix://{node.kubelet}/plugins/skew/csi.sock"
        async with (
            SimulatedDriver(
                name="skew.example.com", generation=Generation.LEGACY, volumes=CLAIMS, endpoint=socket
            ) as driver,
            Registration(node.kubelet, name=driver.name, endpoint=socket),
        ):
            claims = [ClaimSpec(space, name, VolumeId(driver.name, name)) for name in CLAIMS]
            await objects.make_claims(claims)
            for claim in claims:
                pod: dict[str, Any] = await objects.make_pod(
                    space, f"pod-{claim.name}", [claim.name], node=node.name
                )
                paths = node.paths(
                    volume=claim.persistent_volume,
                    driver=driver.name,
                    handle=claim.name,
                    pod_uid=pod["metadata"]["uid"],
                )
                driver.volumes[claim.name].targets[paths.publish] = 1
                node.mount(paths.publish)
            driver.fault("sick", Fault.IO_ERRORS, plane=Plane.NODE)
            await installed.operator()
            selector = {"drivers": [driver.name]}
            await installed.policy(
                "skew", selector=selector, interval="5s", unhealthyAfter="0s", healthyAfter="0s"
            )
            agent = agent_of(last_revision, node, installed.plane.kubeconfig, tmp_path)
            await asyncio.to_thread(agent.start)
            try:
                await until(lambda: installed.record(claims[1].ref), f"it is told\n{agent.tail()}", within=60)
                status = await installed.status("skew")
            finally:
                await asyncio.to_thread(agent.stop)
    assert status["claims"].get("unhealthy", 0) <= 1
    assert await installed.record(claims[0].ref) is None
