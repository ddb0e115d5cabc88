"""The dashboards: as their code makes them, and every query of every panel answered by a real Prometheus.

In: the operator on the real API server with a claim that is unhealthy, and the page of a node agent as the product writes it
after two hours of growth. Out: data for each query.
"""

import asyncio
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.installation import Installation
from support.monitoring import MISSING, ROOT, WHY_NOT, Monitoring
from support.nodetree import Node
from volumehealth.agent.exposition import exposition
from volumehealth.agent.numbers import node_numbers
from volumehealth.agent.usage import UsageBook
from volumehealth.csi.types import Unit, Usage
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth.model.policy import CapacityCheck
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.objects import ClaimSpec
from volumehealth_sandbox.ports import free_ports

FILES = sorted((ROOT / "charts/volumehealth/files/dashboards").glob("*.json"))
METRICS = (ROOT / "docs/metrics.md").read_text()
SHOP, CLAIM, DRIVER = "pictured", "claim-orders", "pictured.example.com"
GIB = 2**30


def panels(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the title of each panel with each of its queries."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


QUERIES = [(file.stem, title, query) for file in FILES for title, query in panels(file)]


def filled(query: str) -> str:
    """Put values into the places of Grafana's variables."""
    values = {"cluster": ".*", "driver": DRIVER, "namespace": SHOP, "claim": CLAIM, "__rate_interval": "15s"}
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], query)


def agent_page() -> bytes:
    """Return what an agent exports of a volume that grew for two hours and whose disk is looked at."""
    node, book, ref = Node(), UsageBook(), ClaimRef(SHOP, CLAIM)
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    node.volume()
    node.look(2)
    node.files.count("sda", reads=50, writes=50)
    for number in range(24):
        used = GIB + number * GIB // 12
        usage = (Usage(Unit.BYTES, 10 * GIB, used, 10 * GIB - used), Usage(Unit.INODES, 1000, 10, 990))
        book.note(ref, usage, now=number * 300.0, check=CapacityCheck())
    return exposition(node_numbers([ref], book, {ref: node.look()["data"]}, log_gaps=0))


@asynccontextmanager
async def agent() -> AsyncIterator[str]:
    """Serve the page of an agent; yields `host:port`."""
    page, (port,) = agent_page(), free_ports(1)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def test_the_files_are_as_the_code_makes_them() -> None:
    command = [sys.executable, str(ROOT / "charts/dashboards.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_asks_for_no_metric_that_is_not_documented(file: Path) -> None:
    asked = set(re.findall(r"volumehealth_[a-z_]+", file.read_text()))
    names = {name.removesuffix("_bucket").removesuffix("_count") for name in asked}
    assert {name for name in names if f"`{name}`" not in METRICS} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_query_of_a_panel_has_an_id_of_its_own_and_each_panel_says_what_it_shows(file: Path) -> None:
    for panel in json.loads(file.read_text())["panels"]:
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids) > 0
        assert all(ids)
        assert panel["title"]


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(MISSING), reason=WHY_NOT)
async def test_every_query_of_every_panel_returns_data(installed: Installation, tmp_path: Path) -> None:
    async with SimulatedDriver(name=DRIVER, volumes=["orders", "cache"]) as driver, agent() as page:
        await installed.objects.make_namespace(SHOP)
        await installed.objects.make_claims(
            ClaimSpec(SHOP, f"claim-{handle}", VolumeId(DRIVER, handle)) for handle in driver.volumes
        )
        operator = await installed.operator([driver.endpoint])
        await installed.policy(
            "pictured", selector={"drivers": [DRIVER]}, interval="5s", unhealthyAfter="0s", healthyAfter="0s"
        )
        await operator.ready()
        driver.fault("orders", Fault.VOLUME_DELETED)
        metrics = operator.metrics_url.removeprefix("http://").removesuffix("/metrics")
        async with Monitoring(tmp_path / "monitoring", [metrics, page]) as monitoring:
            await monitoring.paged("VolumeHealthInaccessible")
            missing: list[Any] = list(QUERIES)

            async def all_answered() -> bool:
                missing[:] = [one for one in missing if not await answered(monitoring, one[2])]
                return not missing

            try:
                await monitoring.until(all_answered, "every query has data", within=45)
            except AssertionError:
                pytest.fail("no data for:\n" + "\n".join(map(str, missing)))
            if kept := os.environ.get("VOLUMEHEALTH_TRANSCRIPTS"):
                lines = [await shown(monitoring, *one) for one in QUERIES]
                await asyncio.to_thread(Path(kept).write_text, "\n".join(lines))


async def shown(monitoring: Monitoring, dashboard: str, title: str, query: str) -> str:
    """Return a line on what a panel shows: its series, and the value of the first."""
    found = await monitoring.query(filled(query))
    return f"| {dashboard} | {title} | {len(found)} | {found[0]['value'][1] if found else ''} |"


async def answered(monitoring: Monitoring, query: str) -> bool:
    """Tell whether a query has at least one series whose value is a number."""
    found = await monitoring.query(filled(query))
    return any(not math.isnan(float(series["value"][1])) for series in found)
