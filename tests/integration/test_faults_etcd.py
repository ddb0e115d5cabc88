"""etcd is gone for minutes and volumes go bad meanwhile: all of it is told once, when it is back."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.bars import ABNORMAL, AT_ONCE, LONG, NORMAL, Restarter, await_told, healths, make_claims, told
from support.installation import Installation, until
from volumehealth import errors
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200 if LONG else 600)]

GONE = 300.0 if LONG else 40.0
SPACE = "without-etcd"


async def test_what_happens_while_etcd_is_gone_is_told_once_when_it_is_back(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = await asyncio.to_thread(fresh_control_plane)
    volumes = [f"vol-{number}" for number in range(40)]
    async with (
        Installation(plane, tmp_path) as installed,
        SimulatedDriver(name="etcd.example.com", volumes=volumes) as driver,
    ):
        stay, heal, come, blink = volumes[:5], volumes[5:10], volumes[10:15], volumes[15:20]
        for handle in (*stay, *heal):
            driver.fault(handle, Fault.IO_ERRORS)
        await make_claims(installed, driver, SPACE, pods_of=volumes[:20])
        operator = await installed.operator([driver.endpoint])
        async with Restarter(operator) as restarter:
            await installed.policy("etcd", selector={"drivers": [driver.name]}, **AT_ONCE)
            await await_told(installed, SPACE, [*stay, *heal], ABNORMAL)
            await asyncio.sleep(7)

            await asyncio.to_thread(plane.etcd.kill)
            for handle in (*come, *blink):
                driver.fault(handle, Fault.DISK_FAILURE)
            for handle in heal:
                driver.clear(handle)
            await asyncio.sleep(GONE / 2)
            for handle in blink:
                driver.clear(handle)
            await asyncio.sleep(GONE / 2)
            await asyncio.to_thread(plane.etcd.start)
            back = await until(partial(answers, installed), "the API server answers again", within=300)

            took = await await_told(installed, SPACE, come, ABNORMAL, within=120)
            took += await await_told(installed, SPACE, heal, NORMAL, within=120)
            log.info(
                "etcd was gone for %.0f s, the API server for %.0f s more: all is told %.1f s later, %d restarts",
                GONE,
                back,
                took,
                restarter.restarts,
            )
            ill = {*stay, *come}

            async def recorded() -> bool:
                found = await healths(installed, SPACE)
                return {handle for handle, health in found.items() if health == "Unhealthy"} == ill

            await until(recorded, "the records say so", within=60)
            await asyncio.sleep(7)
            now = await told(installed, SPACE)
            assert now.repeated() == []
            assert not {f"Pod/pod-{handle}" for handle in ill} & now.of(NORMAL)


async def answers(installed: Installation) -> bool:
    """Tell whether the API server reads what etcd holds: it may take longer to come back than etcd."""
    try:
        await told(installed, SPACE)
    except errors.ApiError:
        return False
    return True
