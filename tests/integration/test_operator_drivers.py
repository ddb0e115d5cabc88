"""Drivers of every kind in front of a running operator: the right call is made, and one that hangs harms no other.

In: simulated drivers that count their calls. Out: calls, and what policies say of drivers and claims.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest

from support.installation import Installation, until
from volumehealth.csi import types
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import CONTROLLER_CAPABILITIES, Generation
from volumehealth_sandbox.objects import ClaimSpec

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
VOLUMES = 10
HEALTH_CALLS = {
    "ListVolumes",
    "ControllerGetVolume",
    "ControllerListVolumeHealth",
    "ControllerGetVolumeHealth",
}
_numbers = count(1)


def driver_of(kind: str, generation: Generation, *without: str) -> SimulatedDriver:
    """Describe a driver that lacks some capabilities of its generation."""
    return SimulatedDriver(
        name=f"{kind}.example.com",
        generation=generation,
        volumes=[f"{kind}-{n}" for n in range(VOLUMES)],
        capabilities=CONTROLLER_CAPABILITIES[generation] - set(without),
    )


async def make_claims(installed: Installation, *drivers: SimulatedDriver) -> str:
    """Make a claim for each volume of each driver; returns their namespace."""
    namespace = f"drivers-{next(_numbers)}"
    await installed.objects.make_namespace(namespace)
    await installed.objects.make_claims(
        ClaimSpec(namespace, f"claim-{handle}", VolumeId(driver.name, handle))
        for driver in drivers
        for handle in driver.volumes
    )
    return namespace


def claims_of(status: Mapping[str, Any]) -> tuple[int, ...]:
    """Return how many claims are healthy, unhealthy, unknown and unmonitored."""
    claims = status.get("claims", {})
    kinds = ("healthy", "unhealthy", "unknown", "unmonitored")
    return tuple(claims.get(kind, 0) for kind in kinds)


async def test_each_kind_of_driver_gets_the_right_call_and_the_status_says_so(
    installed: Installation,
) -> None:
    """Acceptance 4, counted at the drivers; a 1.13 list names only the bad volume, the others are Healthy."""
    list_only = driver_of("list-only", Generation.LEGACY, types.GET_VOLUME)
    get_only = driver_of("get-only", Generation.LEGACY, types.LIST_VOLUMES)
    new_list = driver_of("new-list", Generation.V1_13)
    new_get = driver_of("new-get", Generation.V1_13, types.LIST_VOLUME_HEALTH)
    mute = driver_of("mute", Generation.LEGACY, types.VOLUME_CONDITION)
    expected: dict[SimulatedDriver, tuple[str, set[str], set[str]]] = {
        list_only: ("VolumeCondition", {"ListVolumes"}, set()),
        get_only: ("VolumeCondition", {"ControllerGetVolume"}, set()),
        new_list: ("VolumeHealth", {"ControllerListVolumeHealth"}, {"ControllerGetVolumeHealth"}),
        new_get: ("VolumeHealth", {"ControllerGetVolumeHealth"}, set()),
    }
    drivers = [*expected, mute]
    async with AsyncExitStack() as stack:
        for driver in drivers:
            await stack.enter_async_context(driver)
        await make_claims(installed, *drivers)
        for driver in drivers:
            await installed.policy(
                driver.name.partition(".")[0], selector={"drivers": [driver.name]}, **AT_ONCE
            )
        await installed.operator([driver.endpoint for driver in drivers])

        async def counted(unhealthy: int) -> bool:
            return all(
                [
                    claims_of(await installed.status(driver.name.partition(".")[0]))
                    == ((0, 0, 0, VOLUMES) if driver is mute else (VOLUMES - unhealthy, unhealthy, 0, 0))
                    for driver in drivers
                ]
            )

        await until(lambda: counted(0), "every claim is healthy", within=60)
        for driver, (api, needed, _) in expected.items():
            told = await installed.driver_is(driver.name, "Answering")
            assert told["healthAPI"] == api
            assert set(told["methods"]) == needed

        for driver in drivers:
            driver.fault(next(iter(driver.volumes)), Fault.IO_ERRORS)
        await until(lambda: counted(1), "every policy tells one bad claim")
        await asyncio.sleep(6)  # one more round
        assert await counted(1)
        for driver, (_, needed, allowed) in expected.items():
            called = {method for method in driver.calls if method in HEALTH_CALLS}
            log.info("%s: %s", driver.name, dict(driver.calls))
            assert needed <= called <= needed | allowed
        assert not HEALTH_CALLS & mute.calls.keys()
        told = await installed.driver_is(mute.name, "Unsupported")
        assert told["healthAPI"] == "None"
        assert told["hint"]
        assert "methods" not in told


async def test_a_driver_that_hangs_delays_no_other_and_none_of_its_claims_is_healthy(
    installed: Installation,
) -> None:
    """Acceptance 5: one hangs from the start, one falls silent later, beside a good one."""
    good, later, never = (driver_of(kind, Generation.LEGACY) for kind in ("good", "later", "never"))
    never.misbehave(Quirk.HANGS)
    async with good, later, never:
        await make_claims(installed, good, later, never)
        for name, driver in (("good", good), ("later", later), ("never", never)):
            await installed.policy(name, selector={"drivers": [driver.name]}, timeout="2s", **AT_ONCE)
        operator = await installed.operator([good.endpoint, later.endpoint, f"{never.name}={never.endpoint}"])
        await operator.ready()

        async def counted(policy: str, healthy: int, unhealthy: int, unknown: int) -> bool:
            return claims_of(await installed.status(policy)) == (healthy, unhealthy, unknown, 0)

        await until(lambda: counted("good", VOLUMES, 0, 0), "the good driver's claims are healthy")
        await until(lambda: counted("later", VOLUMES, 0, 0), "the other's are healthy as well")
        await until(lambda: counted("never", 0, 0, VOLUMES), "the hung one's are unknown")

        calls, began = good.calls["ListVolumes"], time.monotonic()
        later.misbehave(Quirk.HANGS)
        took = await until(lambda: counted("later", 0, 0, VOLUMES), "its claims are unknown", within=60)
        log.info("a driver that falls silent is noticed after %.1f s", took)
        for name in ("later", "never"):

            async def reason_told(policy: str = name) -> bool:
                condition = await installed.condition(policy, "VolumesHealthy")
                assert (condition["status"], condition["reason"]) == ("Unknown", "SomeUnknown")
                return "DEADLINE_EXCEEDED" in condition["message"]

            await until(reason_told, f"the policy says why nothing is known of {name}'s claims")
            sources = await installed.condition(name, "SourcesAvailable")
            assert (sources["status"], sources["reason"]) == ("False", "DriverUnreachable")
            (line,) = (await installed.status(name))["drivers"]
            assert "Unreachable since" in line or "CircuitOpen since" in line

        calls, seconds = good.calls["ListVolumes"] - calls, time.monotonic() - began
        log.info("meanwhile the good driver was listed %d times in %.1f s", calls, seconds)
        assert calls >= seconds // 5.5  # its interval, and a tenth for jitter
        assert await counted("good", VOLUMES, 0, 0)
        assert (await operator.page("/healthz"))[0] == 200

        good.fault("good-0", Fault.IO_ERRORS)
        took = await until(lambda: counted("good", VOLUMES - 1, 1, 0), "its fault is told")
        log.info("the good driver's fault is told after %.1f s", took)

        later.behave()
        took = await until(lambda: counted("later", VOLUMES, 0, 0), "it answers again", within=60)
        log.info("a driver that answers again is noticed after %.1f s", took)
