"""What answers in the API server's place deletes nothing, recovers nothing, and ends nothing (faults page, F16)."""

import asyncio
import logging
from pathlib import Path
from random import Random

import pytest

from support.badproxy import BadProxy, Weather
from support.bars import (
    ABNORMAL,
    AT_ONCE,
    LONG,
    NORMAL,
    Restarter,
    await_told,
    healths,
    make_claims,
    told,
    unhealthy,
)
from support.installation import Installation, until
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600 if LONG else 600)]

STORMS = [one for one in Weather if one is not Weather.CLEAR]
POLICY = "proxied"


def seconds_of(storm: Weather) -> float:
    """Say how long a storm lasts: longer than anything waits for a confirmation, or just a check."""
    if LONG:
        return 90.0
    return 33.0 if storm is Weather.NOT_FOUND else 6.0


@pytest.mark.parametrize("elect", [True, False] if LONG else [True])
async def test_whatever_a_proxy_answers_nothing_is_deleted_and_nothing_recovers(
    installed: Installation, tmp_path: Path, elect: bool
) -> None:
    storms = STORMS if LONG or not elect else [Weather.NOT_FOUND, Weather.LOGIN, Weather.CUT]
    space = "proxied-elect" if elect else "proxied"
    volumes = [f"vol-{number}" for number in range(60)]
    async with (
        SimulatedDriver(name=f"{space}.example.com", volumes=volumes) as driver,
        BadProxy(installed.plane, Random(5)) as proxy,
    ):
        sick = volumes[:8]
        for handle in sick:
            driver.fault(handle, Fault.IO_ERRORS)
        await make_claims(installed, driver, space, pods_of=volumes[:24])
        kubeconfig = proxy.kubeconfig(installed.kubeconfig, tmp_path / "proxied.kubeconfig")
        operator = await installed.operator(
            [driver.endpoint], kubeconfig=kubeconfig, arguments=[] if elect else ["--no-leader-elect"]
        )
        async with Restarter(operator) as restarter:
            await installed.policy(POLICY, selector={"drivers": [driver.name]}, **AT_ONCE)
            await await_told(installed, space, sick, ABNORMAL)
            for number, storm in enumerate(storms):
                proxy.be(storm)
                news = volumes[8 + number]
                driver.fault(news, Fault.IO_ERRORS)
                await asyncio.sleep(seconds_of(storm))
                if not elect:
                    assert (await operator.page("/healthz"))[0] == 200, storm
                proxy.be(Weather.CLEAR)
                sick.append(news)
                took = await await_told(installed, space, sick, ABNORMAL)
                log.info("%s for %.0f s: told %.1f s after it", storm, seconds_of(storm), took)
                assert [one for one in installed.audit.all() if one.verb == "delete"] == [], storm
                assert (await told(installed, space)).of(NORMAL) == set(), storm
                assert await healths(installed, space) == dict.fromkeys(sick, "Unhealthy"), storm
            assert proxy.answered > 0
            assert elect or restarter.restarts == 0
            await until(lambda: counts(installed, len(sick)), "the status says so", within=60)
            for handle in sick:
                driver.clear(handle)
            await await_told(installed, space, sick, NORMAL)
            await asyncio.sleep(7)
            assert (await told(installed, space)).repeated() == []
            log.info(
                "%d requests were answered by the proxy, %d restarts", proxy.answered, restarter.restarts
            )


async def counts(installed: Installation, claims: int) -> bool:
    """Tell whether the policy counts so many claims unhealthy."""
    return await unhealthy(installed, POLICY) == claims
