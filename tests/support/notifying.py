"""The whole reporter, with an address for the notifications of the policy `storage`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random

from support.fakeapi import FakeApi
from support.health import START, SteppedClock
from volumehealth.model.runbooks import PAGE
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter


@asynccontextmanager
async def reporter_with(
    target: str, directory: Path, *, runbooks: str = PAGE
) -> AsyncIterator[tuple[Reporter, FakeApi]]:
    """Run a reporter over an API server in memory.

    Args:
        target: what the policy's file says.
        directory: where that file is written.
        runbooks: the address of the page of runbooks.
    """
    (directory / "notifications").mkdir()
    (directory / "notifications" / "storage.yaml").write_text(target)
    api = FakeApi(latency=0)
    api.objects["/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"] = {
        "metadata": {"name": "storage"}
    }
    reporter = Reporter(
        api,
        clock=SteppedClock(START + timedelta(minutes=5)),
        random=Random(1),
        metrics=Metrics(),
        pods_of=lambda _: (),
        files=str(directory),
        runbooks=runbooks,
    )
    running = asyncio.create_task(reporter.run())
    try:
        yield reporter, api
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
