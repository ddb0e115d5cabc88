"""The whole way on a real Prometheus and a real Alertmanager: a volume fails, a pager rings, a silence holds, it clears.

In: the operator on the real API server, a simulated driver. Out: what Alertmanager delivered to an HTTP receiver.
"""

import asyncio
import logging
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from support.installation import Installation
from support.monitoring import MISSING, WHY_NOT, Monitoring
from volumehealth.model.clock import SystemClock, rfc3339
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.objects import ClaimSpec

log = logging.getLogger(__name__)
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(MISSING), reason=WHY_NOT),
]

AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
_numbers = count(1)


def address(url: str) -> str:
    """Return `host:port` of a page of metrics."""
    return url.removeprefix("http://").removesuffix("/metrics")


async def shop_of(installed: Installation, driver: SimulatedDriver, policy: str) -> str:
    """Make a claim for each volume of the driver, and a policy for them; returns the namespace."""
    namespace = f"paged-{next(_numbers)}"
    await installed.objects.make_namespace(namespace)
    await installed.objects.make_claims(
        ClaimSpec(namespace, f"claim-{handle}", VolumeId(driver.name, handle)) for handle in driver.volumes
    )
    await installed.policy(policy, selector={"drivers": [driver.name]}, **AT_ONCE)
    return namespace


async def test_a_fault_pages_a_silence_holds_and_recovery_clears(
    installed: Installation, tmp_path: Path
) -> None:
    async with SimulatedDriver(name="paged.example.com", volumes=["orders", "cache"]) as driver:
        shop = await shop_of(installed, driver, "paged")
        await installed.objects.make_pod(shop, "reader", ["claim-orders"])
        operator = await installed.operator([driver.endpoint])
        await operator.ready()
        async with Monitoring(tmp_path / "monitoring", [address(operator.metrics_url)]) as monitoring:

            async def checked() -> bool:
                return bool(
                    await monitoring.query('volumehealth_policy_claims{policy="paged",state="healthy"} == 2')
                )

            await monitoring.until(checked, "Prometheus sees two healthy claims")
            assert await monitoring.firing() == set()

            driver.fault("orders", Fault.VOLUME_DELETED)
            claim = {"namespace": shop, "persistentvolumeclaim": "claim-orders", "cluster": "test"}
            paged = await monitoring.paged("VolumeHealthInaccessible", severity="critical", **claim)
            assert monitoring.descriptions == [
                f"Used by Pod/reader. Run: kubectl describe vh claim-orders -n {shop}"
            ]

            end = rfc3339(SystemClock().now() + timedelta(hours=4))
            silence = await monitoring.silence(
                {"namespace": shop}, until=end, why="the array is being repaired"
            )
            driver.fault("cache", Fault.VOLUME_DELETED)

            async def silenced() -> bool:
                return {
                    one["labels"]["persistentvolumeclaim"]
                    for one in await monitoring.active()
                    if one["status"]["silencedBy"] == [silence]
                } == {"claim-orders", "claim-cache"}

            await monitoring.until(silenced, "both alerts are silenced")
            await asyncio.sleep(3)
            assert [labels["persistentvolumeclaim"] for _, labels in monitoring.pages] == ["claim-orders"]
            driver.clear("cache")
            await monitoring.unsilence(silence)

            driver.clear("orders")
            cleared = await monitoring.paged("VolumeHealthInaccessible", "resolved", **claim)
            log.info("paged in %.1f s, cleared in %.1f s", paged, cleared)

            async def quiet() -> bool:
                return await monitoring.firing() == set()

            await monitoring.until(quiet, "no alert fires")
            assert {labels["alertname"] for _, labels in monitoring.pages} == {"VolumeHealthInaccessible"}


async def test_an_array_that_is_gone_is_one_page_and_a_dead_operator_pages(
    installed: Installation, tmp_path: Path
) -> None:
    handles = [f"vol-{number}" for number in range(30)]
    async with SimulatedDriver(name="array.example.com", volumes=handles) as driver:
        await shop_of(installed, driver, "array")
        operator = await installed.operator([driver.endpoint])
        await operator.ready()
        async with Monitoring(tmp_path / "monitoring", [address(operator.metrics_url)]) as monitoring:

            async def thirty() -> bool:
                return bool(
                    await monitoring.query('volumehealth_policy_claims{policy="array",state="healthy"} == 30')
                )

            await monitoring.until(thirty, "Prometheus sees thirty healthy claims")
            for handle in handles:
                driver.fault(handle, Fault.IO_ERRORS)
            await monitoring.paged(
                "VolumeHealthDriverWideProblem", driver="array.example.com", policy="array"
            )

            async def inhibited() -> bool:
                claims = [
                    one for one in await monitoring.active() if "persistentvolumeclaim" in one["labels"]
                ]
                return len(claims) == 30 and all(one["status"]["inhibitedBy"] for one in claims)

            await monitoring.until(inhibited, "the alerts of its claims are inhibited")
            log.info("pages for 30 claims: %s", [labels["alertname"] for _, labels in monitoring.pages])

            await operator.kill()
            absent = await monitoring.paged("VolumeHealthOperatorAbsent", severity="critical")
            log.info("a dead operator pages after %.1f s, with `for` divided by 60", absent)

            await installed.operator(
                [driver.endpoint], arguments=[f"--metrics-address={address(operator.metrics_url)}"]
            )
            await monitoring.paged("VolumeHealthOperatorAbsent", "resolved")
