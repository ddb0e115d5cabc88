"""`volumehealth explain` against a real API server: before and after confirmation, with and without the operator."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support.installation import Installation, until
from support.service import behind_service, own_address
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Quirk

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
RUNBOOKS = "https://docs.example.com/runbooks.html"


async def explain(kubeconfig: Path, *what: str) -> str:
    """Run the command; it must end well. What it prints is kept where VOLUMEHEALTH_TRANSCRIPTS says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "volumehealth", "explain", *what, f"--kubeconfig={kubeconfig}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    page = out.decode()
    if kept := os.environ.get("VOLUMEHEALTH_TRANSCRIPTS"):
        _keep(Path(kept), f"$ kubectl volumehealth explain {' '.join(what)}\n{page}\n")
    assert process.returncode == 0, page
    return page


def _keep(file: Path, text: str) -> None:
    with file.open("a") as pages:
        pages.write(text)


async def told(kubeconfig: Path, claim: str) -> dict[str, Any]:
    """Return the explanation as data."""
    found: dict[str, Any] = json.loads(await explain(kubeconfig, claim, "-o", "json"))
    return found


@pytest.mark.skipif(not own_address(), reason="the API server's proxy reaches no address of this machine")
async def test_a_claim_is_explained_before_and_after_it_is_confirmed_and_where_nobody_checks_it(
    installed: Installation,
) -> None:
    admin = installed.plane.kubeconfig
    volumes = ["good", "bad", "slow", "free"]
    async with SimulatedDriver(name="told.example.com", volumes=volumes) as driver:
        await installed.objects.make_namespace("why", {"team": "a"})
        await installed.objects.make_namespace("else")
        for volume in ("good", "bad", "slow"):
            await installed.objects.make_claim("why", volume, driver=driver.name, handle=volume)
        await installed.objects.make_claim("why", "mute", driver="mute.example.com", handle="m")
        await installed.objects.make_claim("else", "free", driver=driver.name, handle="free")
        await installed.objects.make_node("worker-1")
        await installed.objects.make_pod("why", "bad-0", ["bad"], node="worker-1")
        await installed.policy(
            "why",
            selector={"namespaceSelector": {"matchLabels": {"team": "a"}}},
            interval="5s",
            unhealthyAfter="0s",
            healthyAfter="10m",
            rules=[{"match": {"message": "(?i)slow|rebuild"}, "unhealthyAfter": "20m"}],
        )
        operator = await installed.operator(
            [driver.endpoint],
            arguments=[f"--metrics-address={own_address()}:0", f"--runbooks={RUNBOOKS}"],
        )
        await behind_service(installed, operator)

        async def checked() -> bool:
            return bool((await told(admin, "why/good"))["verdict"] == "Healthy")

        await until(checked, "the operator has checked")
        page = await explain(admin, "why/good")
        assert "VERDICT    Healthy (the driver says so)" in page
        assert "POLICY     why: the only policy that selects it is why" in page
        assert "TOLD BY" not in page  # the operator itself

        driver.fault("slow", Fault.DEGRADED_PERFORMANCE)

        async def waits() -> bool:
            return "PENDING" in await explain(admin, "why/slow")

        await until(waits, "a statement waits")
        page = await explain(admin, "why/slow")
        assert "VERDICT    Healthy" in page
        assert "rule: spec.rules[0]" in page
        assert "(waits 20m)" in page
        assert (
            await installed.record(ClaimRef("why", "slow")) is None
        )  # nothing is written before it is confirmed

        driver.fault("bad", Fault.IO_ERRORS)

        async def confirmed() -> bool:
            return "CONFIRMED" in await explain(admin, "why/bad")

        await until(confirmed, "a finding is confirmed")
        page = await explain(admin, "why/bad")
        assert "VERDICT    Unhealthy" in page
        assert "USED BY    bad-0 on worker-1" in page
        assert f"{RUNBOOKS}#" in page
        assert "CLAIM      why/bad" in await explain(admin, "pod", "why/bad-0")
        assert "why/bad" in await explain(admin, "pv", "pv-why-bad")
        assert "why/bad  Unhealthy" in await explain(admin, "node", "worker-1")

        page = await explain(admin, "why/mute")
        assert "VERDICT    Unmonitored" in page
        assert "mute.example.com: NotConnected" in page
        page = await explain(admin, "else/free")
        assert "VERDICT    not checked" in page
        assert "no policy selects it (why: selector.namespaceSelector does not" in " ".join(page.split())

        driver.misbehave(Quirk.HANGS)

        async def stale() -> bool:
            return "stale: its source is silent" in await explain(admin, "why/bad")

        await until(stale, "the finding is stale", within=60)

        await operator.kill()
        page = await explain(admin, "why/bad")
        assert "The operator was not reached" in page
        assert "VERDICT    Unhealthy" in page
        assert "NOT KNOWN" in page

        viewer = await _viewer(installed, "why")
        page = await explain(viewer, "why/bad")
        assert "this is the record alone" in page
        assert f"{RUNBOOKS}#" in page
        assert "I/O errors" in page
        page = await explain(viewer, "why/good")
        assert "VERDICT    not known (it has no record" in page


async def _viewer(installed: Installation, namespace: str) -> Path:
    """Make somebody who may read one namespace; return the kubeconfig."""
    account = f"--serviceaccount={namespace}:viewer"
    await installed.kubectl("create", "serviceaccount", "viewer", "-n", namespace)
    # Nothing aggregates roles on this control plane: what `view` gives is given by hand.
    await installed.kubectl(
        *("create", "role", "reader", "-n", namespace, "--verb=get,list,watch"),
        "--resource=persistentvolumeclaims,pods,events",
    )
    await installed.kubectl("create", "rolebinding", "reader", "-n", namespace, "--role=reader", account)
    await installed.kubectl(
        *("create", "rolebinding", "viewer", "-n", namespace, "--clusterrole=volumehealth-view"), account
    )
    token = await asyncio.to_thread(installed.plane.create_token, namespace, "viewer")
    return installed.plane.write_kubeconfig(
        installed.plane.home / f"viewer-{namespace}.kubeconfig", token, user="viewer"
    )
