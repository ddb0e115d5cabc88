"""`volumehealth status`, `drivers`, `history` and `report` against a real API server, as an admin and as a tenant."""

import asyncio
import sys
from pathlib import Path

import pytest

from support.installation import Installation, until
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


async def run(kubeconfig: Path, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "volumehealth", *arguments, f"--kubeconfig={kubeconfig}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_a_fault_is_seen_by_the_admin_and_by_the_tenant_of_its_namespace(
    installed: Installation, tmp_path: Path
) -> None:
    async with SimulatedDriver(name="seen.example.com", volumes=["v1", "v2"]) as driver:
        await installed.objects.make_namespace("tenant")
        for volume in ("v1", "v2"):
            await installed.objects.make_claim("tenant", f"claim-{volume}", driver=driver.name, handle=volume)
        await installed.policy(
            "seen", selector={"drivers": [driver.name]}, interval="5s", unhealthyAfter="0s"
        )
        await installed.operator([driver.endpoint])
        driver.fault("v1", Fault.IO_ERRORS)

        async def recorded() -> bool:
            return await installed.record(ClaimRef("tenant", "claim-v1")) is not None

        await until(recorded, "the record is there")
        status, page = await run(installed.plane.kubeconfig, "status")
        assert (status, "claim-v1" in page) == (1, True), page
        assert "Next: kubectl describe vh claim-v1 -n tenant" in page
        status, page = await run(installed.plane.kubeconfig, "drivers")
        assert (status, "seen.example.com" in page, "Answering" in page) == (0, True, True), page
        status, page = await run(installed.plane.kubeconfig, "history", "tenant/claim-v1")
        assert (status, "VolumeConditionAbnormal" in page) == (0, True), page

        file = tmp_path / "report.html"
        status, page = await run(installed.plane.kubeconfig, "report", "-o", str(file))
        assert (status, "VolumeConditionAbnormal" in file.read_text(), "tenant/" in file.read_text()) == (
            0,
            True,
            True,
        ), page

        await installed.kubectl("create", "serviceaccount", "viewer", "-n", "tenant")
        await installed.kubectl(
            "create",
            "rolebinding",
            "viewer",
            "-n",
            "tenant",
            "--clusterrole=view",
            "--serviceaccount=tenant:viewer",
        )
        token = await asyncio.to_thread(installed.plane.create_token, "tenant", "viewer")
        mine = installed.plane.write_kubeconfig(
            installed.plane.home / "viewer.kubeconfig", token, user="viewer"
        )

        async def aggregated() -> bool:
            return (await run(mine, "status", "-n", "tenant"))[0] == 1

        # No controller aggregates roles on this control plane: the view role's rule is given by hand.
        await installed.kubectl(
            "create",
            "rolebinding",
            "viewer-health",
            "-n",
            "tenant",
            "--clusterrole=volumehealth-view",
            "--serviceaccount=tenant:viewer",
        )
        await until(aggregated, "the tenant sees its own record")
        status, page = await run(mine, "status", "-n", "tenant")
        assert "Policies are out of your sight" in page
        assert "claim-v1" in page
        status, page = await run(mine, "report", "-n", "tenant", "-o", str(file))
        assert (status, "Out of your sight" in file.read_text()) == (0, True), page
        status, page = await run(mine, "status")
        assert status == 2
        assert "forbidden" in page
