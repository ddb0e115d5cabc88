"""The operator's main job, as a new user sees it: a fault is told everywhere, its end too, and nothing is written between.

In: claims on a simulated driver, a policy applied by kubectl. Out: conditions, records, Events, and the audit log.
"""

import asyncio
import logging
import time
from itertools import count

import pytest

from support.installation import Installation, until
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.objects import ClaimSpec

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

INTERVAL = 5.0
AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
_numbers = count(1)


async def open_shop(installed: Installation, driver: SimulatedDriver) -> str:
    """Make a namespace with a claim for each volume of the driver; returns its name."""
    namespace = f"tells-{next(_numbers)}"
    await installed.objects.make_namespace(namespace)
    await installed.objects.make_claims(
        ClaimSpec(namespace, f"claim-{handle}", VolumeId(driver.name, handle)) for handle in driver.volumes
    )
    return namespace


async def test_a_fault_is_told_everywhere_within_an_interval_and_so_is_its_end(
    installed: Installation,
) -> None:
    """Acceptance 2: 200 claims, every 5 s; the policy, the record, the PVC and both Pods tell it; then silence."""
    async with SimulatedDriver(name="tells.example.com", volumes=[f"vol-{n}" for n in range(200)]) as driver:
        shop = await open_shop(installed, driver)
        for pod in ("web-0", "web-1"):
            await installed.objects.make_pod(shop, pod, ["claim-vol-7"], node="worker-1")
        users = {"PersistentVolumeClaim/claim-vol-7", "Pod/web-0", "Pod/web-1"}
        operator = await installed.operator([driver.endpoint])
        await installed.policy("tells", selector={"drivers": [driver.name]}, **AT_ONCE)
        await operator.ready()

        async def volumes_healthy(status: str) -> bool:
            return (await installed.condition("tells", "VolumesHealthy")).get("status") == status

        await until(lambda: volumes_healthy("True"), "the policy is healthy")
        assert (await installed.status("tells"))["claims"]["healthy"] == 200

        driver.fault("vol-7", Fault.IO_ERRORS)

        async def fault_told() -> bool:
            return (
                await volumes_healthy("False")
                and await installed.record(ClaimRef(shop, "claim-vol-7")) is not None
                and await installed.told(shop, "VolumeConditionAbnormal") == users
            )

        fault_seconds = await until(fault_told, "the fault is told everywhere")

        driver.clear("vol-7")

        async def end_told() -> bool:
            record = await installed.record(ClaimRef(shop, "claim-vol-7"))
            return (
                await volumes_healthy("True")
                and record is not None
                and record["status"]["health"] == "Recovered"
                and await installed.told(shop, "VolumeConditionNormal") == users
            )

        end_seconds = await until(end_told, "the recovery is told everywhere")
        log.info("fault told in %.2f s, its end in %.2f s", fault_seconds, end_seconds)
        assert fault_seconds <= INTERVAL + 2
        assert end_seconds <= INTERVAL + 2

        await asyncio.sleep(7)  # receipts of Events reach the record within five seconds
        checks = 'volumehealth_check_duration_seconds_count{policy="tells"}'
        installed.audit.news()
        lines, first, began = operator.log_length, (await operator.metrics())[checks], time.monotonic()

        async def ten_checks() -> bool:
            return (await operator.metrics())[checks] >= first + 10

        await until(ten_checks, "ten checks", within=80)
        writes = [one for one in installed.audit.news() if one.writes and one.resource != "leases"]
        log.info("ten checks in %.1f s, %d writes", time.monotonic() - began, len(writes))
        beats = [one for one in writes if one.resource == "volumehealthpolicies/status"]
        assert writes == beats
        assert len(beats) <= 1
        assert operator.log(after=lines) == []
        assert (await operator.page("/healthz"))[0] == 200
        assert (await operator.page("/readyz"))[0] == 200
