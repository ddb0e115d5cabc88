"""The page that a person reads at 3 a.m.: `kubectl describe vhp` is 110 lines at most with one or three problems.

In: 3,000 claims, of which 3, then all, are bad. Out: what kubectl prints; with VOLUMEHEALTH_PAGES=DIRECTORY it is kept.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.installation import Installation, until
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec, claim_object, volume_object

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

CLAIMS = 3000
NAMESPACES = 20
LINES = 110


async def make_claims(installed: Installation, driver: SimulatedDriver) -> None:
    """Make a claim for each volume, in twenty namespaces, in as few requests as a bound claim takes."""
    objects = installed.objects
    for number in range(NAMESPACES):
        await objects.make_namespace(f"team-{number}")

    async def make(number: int, handle: str) -> dict[str, object]:
        claim = ClaimSpec(f"team-{number % NAMESPACES}", f"data-{number}", VolumeId(driver.name, handle))
        base = f"/api/v1/namespaces/{claim.namespace}/persistentvolumeclaims"
        made = await objects.post(base, claim_object(claim))
        source = {"csi": {"driver": driver.name, "volumeHandle": handle}}
        volume = volume_object(claim, claim_uid=made["metadata"]["uid"], source=source)
        await objects.post("/api/v1/persistentvolumes", volume)
        return await objects.patch(f"{base}/{claim.name}/status", {"status": {"phase": "Bound"}})

    await objects.all_of(make(number, handle) for number, handle in enumerate(driver.volumes))


def keep(name: str, page: str) -> None:
    """Write a page where the one who ran the test wants it."""
    directory = os.environ.get("VOLUMEHEALTH_PAGES")
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / name).write_text(page)


async def test_the_page_is_short_with_three_bad_claims_and_with_three_thousand(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """Acceptance 7."""
    plane = await asyncio.to_thread(fresh_control_plane)
    volumes = [f"vol-{number}" for number in range(CLAIMS)]
    async with (
        Installation(plane, tmp_path) as installed,
        SimulatedDriver(name="csi.array.example.com", generation=Generation.V1_13, volumes=volumes) as driver,
        SimulatedDriver(name="mute.example.com", capabilities=["CREATE_DELETE_VOLUME"]) as mute,
    ):
        await make_claims(installed, driver)
        await installed.objects.make_claim("team-0", "logs", driver=mute.name, handle="vol-1")
        for pod, claim in (("orders-db-0", "data-0"), ("orders-db-1", "data-1")):
            await installed.objects.make_pod(f"team-{claim[-1]}", pod, [claim], node=f"worker-{claim[-1]}")
        driver.fault("vol-0", Fault.VOLUME_DELETED)
        driver.fault("vol-1", Fault.VOLUME_DELETED)
        driver.fault("vol-2", Fault.DEGRADED_PERFORMANCE)
        await installed.operator([driver.endpoint, mute.endpoint])
        await installed.policy("storage", interval="5s", timeout="2s", unhealthyAfter="0s", healthyAfter="0s")

        async def unhealthy(claims: int) -> bool:
            told = (await installed.status("storage")).get("claims", {})
            return bool(told.get("unhealthy") == claims)

        async def described(name: str) -> str:
            page = await installed.kubectl("describe", "vhp", "storage")
            keep(name, page + "\n" + await installed.kubectl("get", "vhp"))
            log.info("%s: %d lines", name, len(page.splitlines()))
            assert len(page.splitlines()) <= LINES
            assert "volumehealth.dev/finalizer" not in page
            return page

        took = await until(lambda: unhealthy(3), "three are unhealthy", within=60)
        log.info("3 of %d claims are told %.1f s after the operator's start", CLAIMS, took)
        await asyncio.sleep(1)
        page = await described("three-bad.txt")
        for words in (
            "UNHEALTHY 3 of 3000",
            "VolumeNotFound",
            "DegradedPerformance",
            "team-0/data-0",
            "mute.example.com",
        ):
            assert words in page
        keep("records.txt", await installed.kubectl("get", "vh", "-A", "-o", "wide"))
        keep("pvc.txt", await installed.kubectl("describe", "pvc", "data-0", "-n", "team-0"))
        keep("pod.txt", await installed.kubectl("describe", "pod", "orders-db-0", "-n", "team-0"))
        keep("vh.txt", await installed.kubectl("describe", "vh", "data-0", "-n", "team-0"))

        for handle in volumes:
            driver.fault(handle, Fault.IO_ERRORS)
        took = await until(lambda: unhealthy(CLAIMS), "all are unhealthy", within=60)
        log.info("%d bad claims are told after %.1f s", CLAIMS, took)
        await asyncio.sleep(2)
        page = await described("three-thousand-bad.txt")
        for words in ("DRIVER-WIDE", "IOError", "DriverWideProblem"):
            assert words in page
        driver.misbehave(Quirk.HANGS)

        async def silent() -> bool:
            return (await installed.condition("storage", "SourcesAvailable")).get("status") == "False"

        await until(silent, "the driver is called silent", within=90)
        await asyncio.sleep(1)
        await described("driver-silent.txt")
        assert installed.log_problems() == []
