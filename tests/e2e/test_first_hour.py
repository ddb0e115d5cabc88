"""The first hour on a real node, by docs/first-hour.md alone: what its commands say while operator and agents run in their Pods.

In: a node with a driver, two claims and a Pod, the stand-ins for the Prometheus Operator's kinds, and no volumehealth. Prometheus
scrapes the operator's Pod. Out: a transcript (`support.firsthour`).
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.firsthour import Newcomer, go_through, prometheus_kinds
from support.monitoring import MISSING, WHY_NOT
from support.product import OPERATOR_SPACE, NotInstalled
from support.realnode import NodeDriver, RealNode, obstacles
from volumehealth_sandbox.driver_state import Generation

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=WHY_NOT),
]

DRIVER = NodeDriver("hour.csi.volumehealth.test", Generation.LEGACY, ("orders", "cache"), controller="")


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node with a driver and a Pod on its volumes, the image in its containerd, and nothing else."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    with RealNode(
        tmp_path_factory.mktemp("hour"),
        Path(tempfile.gettempdir(), "vh-node-hour"),
        drivers=(DRIVER,),
        pods=("app",),
        policy=None,
        gate=False,
        network=7,
        product=NotInstalled,
    ) as node:
        yield node


async def test_the_first_hour_goes_as_its_page_says(bare: RealNode, tmp_path: Path) -> None:
    async def kubectl(*arguments: str) -> str:
        return await asyncio.to_thread(bare.kubectl, *arguments)

    async def operator() -> str:
        leader = await asyncio.to_thread(bare.product.leader)
        return f"{bare.get('pod', leader, namespace=OPERATOR_SPACE)['status']['podIP']}:8080"

    await kubectl("apply", "-f", _written(tmp_path, prometheus_kinds()))
    await go_through(
        Newcomer(
            bare.plane, tmp_path, flags=[f"--set kubeletDir={bare.node.layout.kubelet_dir}"], nodes=True
        ),
        kubectl,
        tmp_path,
        operator=operator,
        watched="all of 2 monitored claims",
    )


def _written(home: Path, text: str) -> str:
    file = home / "kinds.yaml"
    file.write_text(text)
    return str(file)
