"""Claims go bad by the hundred while the operator is killed again and again: nothing is lost, nothing is repeated."""

import asyncio
import logging
import time
from random import Random

import pytest

from support.bars import (
    ABNORMAL,
    AT_ONCE,
    LONG,
    NORMAL,
    await_told,
    healths,
    make_claims,
    objects_of,
    told,
)
from support.installation import Installation, until
from support.process import OperatorProcess
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(5400 if LONG else 500)]

BURSTS, SICK, KILLS = (10, 1000, 10) if LONG else (2, 200, 3)
POLICY = SPACE = "kills"
_TELLING = ("events", "volumehealths")
_AT_WORK = 300.0 if LONG else 120.0


async def test_bursts_are_told_once_each_whenever_the_operator_is_killed(installed: Installation) -> None:
    """Each kill comes after the first record or Event of the process that is killed."""
    random = Random(17)
    # Where most volumes of a driver are bad, Pods are not told one by one; here they are.
    volumes = [f"vol-{number}" for number in range(2 * SICK + 20)]
    async with SimulatedDriver(name="kills.example.com", volumes=volumes) as driver:
        sick = volumes[:SICK]
        await make_claims(installed, driver, SPACE, pods_of=sick)
        operator = await installed.operator([driver.endpoint], arguments=["--no-leader-elect"])
        await installed.policy(POLICY, selector={"drivers": [driver.name]}, **AT_ONCE)
        await until(lambda: watches(installed, len(volumes)), "all is watched", within=_AT_WORK)
        kills = 0
        for burst in range(1, BURSTS + 1):
            for handle in sick:
                driver.fault(handle, Fault.IO_ERRORS)
            kills += await kill_at_work(installed, operator, random, of=ABNORMAL)
            took = await settled(installed, sick, health="Unhealthy", reason=ABNORMAL, times=burst)
            log.info("burst %d is told %.1f s after the last kill", burst, took)
            for handle in sick:
                driver.clear(handle)
            kills += await kill_at_work(installed, operator, random, of=NORMAL)
            took = await settled(installed, sick, health="Recovered", reason=NORMAL, times=burst)
            log.info("its end is told %.1f s after the last kill", took)
        log.info("%d bursts of %d claims, %d kills", BURSTS, SICK, kills)
        assert kills >= BURSTS * KILLS


async def watches(installed: Installation, claims: int) -> bool:
    """Tell whether the policy calls all of its claims healthy."""
    return bool((await installed.status(POLICY)).get("claims", {}).get("healthy") == claims)


async def kill_at_work(installed: Installation, operator: OperatorProcess, random: Random, *, of: str) -> int:
    """Kill the operator after its first writes, and start it again, as often as there is something to tell."""
    for number in range(KILLS):
        installed.audit.news()
        if not await first_write(installed, within=30.0):
            log.info("nothing was left to tell of %s after %d kills", of, number)
            return number
        await asyncio.sleep(random.choice((0.0, random.uniform(0, 0.1), random.uniform(0, 1.0))))
        await operator.kill()
        await operator.start()
    return KILLS


async def first_write(installed: Installation, *, within: float) -> bool:
    """Wait for the first record or Event that the operator writes; False if none comes."""
    before = time.monotonic()
    while not any(one.writes and one.resource in _TELLING for one in installed.audit.news()):
        if time.monotonic() - before > within:
            return False
        await asyncio.sleep(0.01)
    return True


async def settled(installed: Installation, sick: list[str], *, health: str, reason: str, times: int) -> float:
    """Wait until all records say so and everybody was told; nobody may have been told more often.

    A repetition would come with a later check or a later start, so one more check is waited for.
    """
    took = await await_told(installed, SPACE, sick, reason, times=times, within=_AT_WORK)

    async def so() -> bool:
        records = await healths(installed, SPACE)
        return {records.get(handle) for handle in sick} == {health}

    took += await until(so, f"all records say {health}", within=_AT_WORK)
    await asyncio.sleep(7)
    now = await told(installed, SPACE)
    assert now.repeated(times) == []
    assert now.of(reason) == objects_of(sick)
    return took
