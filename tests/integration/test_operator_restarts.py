"""Operators that die, hand over, lose their Lease or their API server: nothing is lost, repeated or told wrongly.

In: operator processes that are killed. Out: Events with their counts, records, the Lease, exit statuses.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.installation import LEASE, Installation, until
from support.process import LEASE_LOST, OperatorProcess
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.objects import ClaimSpec

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
CHECKS = 'volumehealth_check_duration_seconds_count{policy="restarts"}'


async def make_claims(installed: Installation, driver: SimulatedDriver, namespace: str) -> None:
    """Make a claim for each volume of the driver, and a Pod for each."""
    await installed.objects.make_namespace(namespace)
    await installed.objects.make_claims(
        ClaimSpec(namespace, f"claim-{handle}", VolumeId(driver.name, handle)) for handle in driver.volumes
    )
    await installed.objects.all_of(
        installed.objects.make_pod(namespace, f"pod-{handle}", [f"claim-{handle}"])
        for handle in driver.volumes
    )


async def holder(installed: Installation) -> str:
    """Return who holds the Lease."""
    return str((await installed.objects.get(LEASE))["spec"]["holderIdentity"])


async def unhealthy(installed: Installation) -> int:
    """Return how many claims the policy calls unhealthy; -1 while it says nothing."""
    claims = (await installed.status("restarts")).get("claims", {})
    return int(claims.get("unhealthy", -1))


async def told(installed: Installation, namespace: str) -> dict[str, tuple[str, int, str]]:
    """Return the Events of a namespace by name: their uid, count and last time."""
    return {
        event["metadata"]["name"]: (event["metadata"]["uid"], event["count"], event["lastTimestamp"])
        for event in await installed.events(namespace)
    }


async def since(installed: Installation, namespace: str, handles: list[str]) -> dict[str, list[str]]:
    """Return since when each claim is unhealthy, as its record says, finding by finding."""
    records = [(handle, await installed.record(ClaimRef(namespace, f"claim-{handle}"))) for handle in handles]
    return {
        handle: [record["status"]["since"], *(finding["since"] for finding in record["status"]["findings"])]
        for handle, record in records
        if record is not None
    }


async def checked(operator: OperatorProcess) -> bool:
    """Tell whether an operator has checked the policy."""
    return (await operator.metrics()).get(CHECKS, 0) > 0


async def test_nothing_is_told_twice_when_operators_die_hand_over_and_lose_their_lease(
    installed: Installation,
) -> None:
    """Acceptance 3 with a second operator that stands by, as deploy/ runs them."""
    async with SimulatedDriver(
        name="restarts.example.com", volumes=[f"vol-{n}" for n in range(60)]
    ) as driver:
        sick = [f"vol-{n}" for n in range(20)]
        for handle in sick:
            driver.fault(handle, Fault.IO_ERRORS)
        await make_claims(installed, driver, "restarts")
        first = await installed.operator([driver.endpoint], name="first")
        await installed.policy("restarts", selector={"drivers": [driver.name]}, **AT_ONCE)

        async def all_told() -> bool:
            return (
                await unhealthy(installed) == 20
                and len(await told(installed, "restarts")) == 40
                and len(await since(installed, "restarts", sick)) == 20
            )

        await until(all_told, "20 claims and their Pods are told of", within=60)
        second = await installed.operator([driver.endpoint], name="second")
        await second.ready()
        assert "standing by" in (await second.page("/readyz"))[1]
        assert (await second.page("/healthz"))[0] == 200
        await asyncio.sleep(1)
        events, times = await told(installed, "restarts"), await since(installed, "restarts", sick)
        assert all(count == 1 for _, count, _ in events.values())
        transition = await installed.condition("restarts", "VolumesHealthy")

        async def nothing_changed() -> None:
            await asyncio.sleep(1)  # what it would tell is on its way
            assert await told(installed, "restarts") == events
            assert await since(installed, "restarts", sick) == times
            now = await installed.condition("restarts", "VolumesHealthy")
            assert {**now, "observedGeneration": 0} == {**transition, "observedGeneration": 0}
            assert await unhealthy(installed) == 20

        async def leads(name: str) -> bool:
            return await holder(installed) == name

        await first.kill()
        took = await until(lambda: leads("second"), "the second took over", within=40)
        log.info("the Lease is taken over %.1f s after SIGKILL", took)
        assert took <= 20
        await until(lambda: checked(second), "the second checks")
        await nothing_changed()

        third = await installed.operator([driver.endpoint], name="third")
        await third.ready()
        rarely = AT_ONCE | {"interval": "1m"}  # its next call is far off: it must not wait for that
        await installed.policy("restarts", selector={"drivers": [driver.name]}, **rarely)
        await asyncio.sleep(2)
        before = time.monotonic()
        assert await second.stop() == 0
        took = time.monotonic() - before
        log.info("an operator stops within %.1f s of SIGTERM", took)
        assert took <= 4
        await installed.policy("restarts", selector={"drivers": [driver.name]}, **AT_ONCE)
        took = await until(lambda: leads("third"), "the third took over")
        log.info("the Lease is handed over %.1f s after the end", took)
        assert took <= 5
        await until(lambda: checked(third), "the third checks")
        await nothing_changed()

        await installed.objects.patch(LEASE, {"spec": {"holderIdentity": "a-thief"}})
        assert await third.ended(within=10) in LEASE_LOST
        assert "lease lost" in [line["message"] for line in third.log()]
        await nothing_changed()


async def test_an_operator_goes_on_by_itself_when_the_api_server_restarts(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """Acceptance 3: what happens while the API server is away is told when it is back, by the same process."""
    plane = await asyncio.to_thread(fresh_control_plane)
    async with (
        Installation(plane, tmp_path) as installed,
        SimulatedDriver(name="restarts.example.com") as driver,
    ):
        installed.may_be_refused = True  # by an API server that has not read its roles yet
        driver.fault("vol-1", Fault.IO_ERRORS)
        await make_claims(installed, driver, "restarts")
        # Without the Lease: a restart may take longer than an operator may lead without renewing it.
        operator = await installed.operator([driver.endpoint], arguments=["--no-leader-elect"])
        await installed.policy("restarts", selector={"drivers": [driver.name]}, **AT_ONCE)

        async def told_of(claims: int) -> bool:
            return (
                await unhealthy(installed) == claims and len(await told(installed, "restarts")) == 2 * claims
            )

        await until(lambda: told_of(1), "the fault is told")
        events = await told(installed, "restarts")

        await asyncio.to_thread(plane.kill_apiserver)
        driver.fault("vol-2", Fault.DISK_FAILURE)
        await asyncio.sleep(6)  # a check goes by
        assert (await operator.page("/healthz"))[0] == 200
        await asyncio.to_thread(plane.start_apiserver)
        took = await until(lambda: told_of(2), "the fault of meanwhile is told", within=60)
        log.info("what happened meanwhile is told %.1f s after the API server is back", took)
        assert events.items() <= (await told(installed, "restarts")).items()

        driver.clear("vol-1")
        await until(lambda: told_normal(installed), "the recovery is told")
        operator.program.check_alive()
        assert installed.log_problems() == []


async def told_normal(installed: Installation) -> bool:
    """Tell whether somebody was told of a recovery."""
    return bool(await installed.told("restarts", "VolumeConditionNormal"))
