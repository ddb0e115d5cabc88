"""A leader that is frozen beyond its Lease and thawed: it repeats nothing, and leaves nothing stale behind."""

import asyncio
import logging
from functools import partial

import pytest

from support.bars import (
    ABNORMAL,
    AT_ONCE,
    LONG,
    NORMAL,
    Told,
    await_told,
    healths,
    make_claims,
    told,
    unhealthy,
)
from support.installation import LEASE, Installation, until
from support.process import LEASE_LOST
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800 if LONG else 600)]

SICK = 1000 if LONG else 100
ROUNDS = 5 if LONG else 1
POLICY = SPACE = "frozen"


@pytest.mark.parametrize("in_a_burst", [True, False], ids=["amid its writes", "at rest"])
async def test_a_frozen_leader_that_wakes_repeats_nothing_and_leaves_no_stale_record(
    installed: Installation, in_a_burst: bool
) -> None:
    space = f"{SPACE}-{'burst' if in_a_burst else 'rest'}"
    volumes = [f"vol-{number}" for number in range(2 * SICK + 40)]
    async with SimulatedDriver(name=f"{space}.example.com", volumes=volumes) as driver:
        sick, other = volumes[:SICK], volumes[SICK : SICK + 10]
        await make_claims(installed, driver, space, pods_of=[*sick, *other])
        first = await installed.operator([driver.endpoint], name="first")
        await first.ready()
        second = await installed.operator([driver.endpoint], name="second")
        await installed.policy(POLICY, selector={"drivers": [driver.name]}, **AT_ONCE)
        await second.ready()
        await until(lambda: says(installed, 0), "all is watched", within=60)
        leader, standby = first, second
        for number in range(1, ROUNDS + 1):
            installed.audit.news()
            for handle in sick:
                driver.fault(handle, Fault.IO_ERRORS)
            if in_a_burst:
                await until(lambda: wrote(installed), "the leader begins to tell")
            else:
                await await_told(installed, space, sick, ABNORMAL, times=number)
                await asyncio.sleep(7)
            leader.freeze()
            took = await until(partial(leads, installed, standby.program.name), "the other leads", within=40)
            log.info("the Lease of a frozen leader is taken over after %.1f s", took)
            await await_told(installed, space, sick, ABNORMAL, times=number)
            for handle in sick:
                driver.clear(handle)
            for handle in other:
                driver.fault(handle, Fault.DISK_FAILURE)
            await await_told(installed, space, sick, NORMAL, times=number)
            await await_told(installed, space, other, ABNORMAL, times=number)
            before = await state(installed, space)
            leader.thaw()
            assert await leader.ended(within=20) in LEASE_LOST
            await asyncio.sleep(12)  # two more checks of the other
            assert await state(installed, space) == before
            assert (await told(installed, space)).repeated(number) == []
            for handle in other:
                driver.clear(handle)
            await await_told(installed, space, other, NORMAL, times=number)
            await leader.start()
            await leader.ready()
            leader, standby = standby, leader
        assert await healths(installed, space) == dict.fromkeys([*sick, *other], "Recovered")


async def says(installed: Installation, claims: int) -> bool:
    """Tell whether the policy calls so many claims unhealthy."""
    return await unhealthy(installed, POLICY) == claims


async def wrote(installed: Installation) -> bool:
    """Tell whether a record or an Event was written."""
    return any(one.writes and one.resource in ("events", "volumehealths") for one in installed.audit.news())


async def leads(installed: Installation, name: str) -> bool:
    """Tell whether an operator holds the Lease."""
    return bool((await installed.objects.get(LEASE))["spec"]["holderIdentity"] == name)


async def state(installed: Installation, space: str) -> tuple[Told, dict[str, str]]:
    """Return what was told and what records say."""
    return await told(installed, space), await healths(installed, space)
