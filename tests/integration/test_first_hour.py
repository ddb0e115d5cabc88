"""The first hour, by docs/first-hour.md alone: its commands in their order, from `helm install` to an alert that pages and clears.

In: a whole control plane without a node, the stand-ins for the Prometheus Operator's kinds. The operator runs as a process with
the ServiceAccount that the chart made. On a real node: `tests/e2e/test_first_hour.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from support.firsthour import Newcomer, go_through, prometheus_kinds
from support.installation import ACCOUNT, NAMESPACE, Installation
from support.monitoring import MISSING, WHY_NOT
from volumehealth_sandbox.controlplane import ControlPlane

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=WHY_NOT),
]


@pytest.fixture
async def bare(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> AsyncIterator[Installation]:
    """A whole control plane with the kinds of the Prometheus Operator, two claims of a driver, and nothing of ours."""
    plane = await asyncio.to_thread(lambda: fresh_control_plane(whole=True))
    installed = Installation(plane, tmp_path)
    (plane.home / "installed").touch()  # by the page, not by the fixture
    async with installed:
        await installed.kubectl("apply", "-f", "-", text=prometheus_kinds())
        await installed.objects.make_namespace("shop")
        for name in ("orders", "cache"):
            await installed.objects.make_claim("shop", name, driver="csi.example.com", handle=name)
        yield installed


async def test_the_first_hour_goes_as_its_page_says(bare: Installation, tmp_path: Path) -> None:
    async def operator() -> str:
        token = await asyncio.to_thread(bare.plane.create_token, NAMESPACE, ACCOUNT)
        bare.plane.write_kubeconfig(bare.kubeconfig, token, user=ACCOUNT)
        process = await bare.operator()
        await process.ready()
        return process.metrics_url.removeprefix("http://").removesuffix("/metrics")

    await go_through(
        Newcomer(bare.plane, tmp_path),
        bare.kubectl,
        tmp_path,
        operator=operator,
        watched="NOT MONITORED 2 claims: csi.example.com",
    )
    assert bare.log_problems() == []
