"""Silences on a real API server, by somebody with the rights of `edit` in one namespace."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from support.command import run
from support.installation import Installation, until
from volumehealth.model.clock import SystemClock, rfc3339
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


async def editor(installed: Installation, namespace: str) -> Path:
    """Make somebody with what `edit` gives in one namespace; return the kubeconfig."""
    await installed.kubectl("create", "serviceaccount", "editor", "-n", namespace)
    # Nothing aggregates roles on this control plane: this is the part of `edit` that Kubernetes itself brings.
    await installed.kubectl(
        *("create", "rolebinding", "editor", "-n", namespace, "--clusterrole=system:aggregate-to-edit"),
        f"--serviceaccount={namespace}:editor",
    )
    token = await asyncio.to_thread(installed.plane.create_token, namespace, "editor")
    return installed.plane.write_kubeconfig(
        installed.plane.home / f"editor-{namespace}.kubeconfig", token, user="editor"
    )


async def test_a_tenant_silences_own_claims_and_nothing_else_and_is_told_at_the_end(
    installed: Installation,
) -> None:
    async with SimulatedDriver(name="quiet.example.com", volumes=["a", "b", "c"]) as driver:
        await installed.objects.make_namespace("quiet")
        await installed.objects.make_namespace("theirs")
        for name in ("a", "b", "c"):
            await installed.objects.make_claim("quiet", name, driver=driver.name, handle=name)
        await installed.objects.make_claim("theirs", "x", driver="other.example.com", handle="x")
        await installed.objects.make_node("quiet-node")
        mine = await editor(installed, "quiet")

        status, words = await run(mine, "silence", "quiet/a", "--for=1h", "--reason=array work")
        assert (status, "quiet/a is silenced until" in words) == (0, True), words
        for target in (("theirs/x",), ("namespace", "quiet"), ("node", "quiet-node")):
            status, words = await run(mine, "silence", *target, "--for=1h")
            assert status == 2
            assert "takes the right to patch it" in words
        await installed.kubectl(
            "annotate", "pvc", "c", "-n", "quiet", "volumehealth.dev/silence-until=tomorrow"
        )

        await installed.policy(
            "quiet", selector={"drivers": [driver.name]}, interval="5s", unhealthyAfter="0s"
        )
        await installed.operator([driver.endpoint])
        for volume in ("a", "b", "c"):
            driver.fault(volume, Fault.IO_ERRORS)

        async def others_told() -> bool:
            told = await installed.told("quiet", "VolumeConditionAbnormal")
            return {"PersistentVolumeClaim/b", "PersistentVolumeClaim/c"} <= told

        async def counted() -> bool:
            claims = (await installed.status("quiet")).get("claims", {})
            return (claims.get("unhealthy"), claims.get("silenced")) == (3, 1)

        await until(others_told, "the others are told")
        await until(counted, "the silenced claim is counted")
        assert await installed.told("quiet", "SilenceInvalid") == {"PersistentVolumeClaim/c"}
        assert await installed.record(ClaimRef("quiet", "a")) is not None
        assert "PersistentVolumeClaim/a" not in await installed.told("quiet", "VolumeConditionAbnormal")
        summary = "\n".join((await installed.status("quiet"))["summary"])
        assert "SILENCED" in summary
        assert "array work" in summary
        status, page = await run(installed.plane.kubeconfig, "status")
        assert "SILENCED" in page

        assert (await run(mine, "unsilence", "quiet/a"))[0] == 0

        async def told() -> bool:
            return "PersistentVolumeClaim/a" in await installed.told("quiet", "VolumeConditionAbnormal")

        await until(told, "what is still wrong is told")
        (event,) = [
            one
            for one in await installed.events("quiet")
            if one["involvedObject"]["name"] == "a" and one["reason"] == "VolumeConditionAbnormal"
        ]
        assert event["count"] == 1

        await installed.kubectl(
            "annotate", "node", "quiet-node", "volumehealth.dev/silence-until=4h", "--overwrite"
        )

        async def on_the_node() -> bool:
            return "Node/quiet-node" in await installed.told("default", "SilenceInvalid")

        await until(on_the_node, "the node says that its silence cannot be read")


async def test_a_silence_and_a_pause_end_by_themselves_and_what_is_still_wrong_is_told_once(
    installed: Installation,
) -> None:
    """Nobody takes the annotation or `suspendUntil` back."""
    async with (
        SimulatedDriver(name="ends.example.com", volumes=["a"]) as driver,
        SimulatedDriver(name="paused.example.com", volumes=["p"]) as other,
    ):
        await installed.objects.make_namespace("ends")
        await installed.objects.make_claim("ends", "a", driver=driver.name, handle="a")
        await installed.objects.make_claim("ends", "p", driver=other.name, handle="p")
        now = SystemClock().now()
        end, pause = (rfc3339(now + timedelta(seconds=seconds)) for seconds in (45, 50))
        await installed.kubectl("annotate", "pvc", "a", "-n", "ends", f"volumehealth.dev/silence-until={end}")
        for volume, one in (("a", driver), ("p", other)):
            one.fault(volume, Fault.IO_ERRORS)
        at_once = {"interval": "5s", "unhealthyAfter": "0s"}
        await installed.policy("ends", selector={"drivers": [driver.name]}, **at_once)
        await installed.policy("paused", selector={"drivers": [other.name]}, suspendUntil=pause, **at_once)
        await installed.operator([driver.endpoint, other.endpoint])

        async def silenced() -> bool:
            claims = (await installed.status("ends")).get("claims", {})
            return (claims.get("unhealthy"), claims.get("silenced")) == (1, 1)

        async def paused() -> bool:
            ready = await installed.condition("paused", "Ready")
            return (ready.get("status"), ready.get("reason")) == ("True", "Suspended")

        await until(silenced, "the silenced claim is counted", within=40)
        await until(paused, "the policy is suspended", within=40)
        record = await installed.record(ClaimRef("ends", "a"))
        assert record is not None
        assert record["status"]["silenced"] == {"until": end, "by": "the claim"}
        assert pause in (await installed.status("paused"))["summary"][0]
        assert await installed.told("ends", "VolumeConditionAbnormal") == set()

        async def told() -> bool:
            both = {"PersistentVolumeClaim/a", "PersistentVolumeClaim/p"}
            return both <= await installed.told("ends", "VolumeConditionAbnormal")

        await until(told, "both are told when the silence and the pause are over", within=100)
        assert (await installed.condition("paused", "Ready"))["reason"] == "Checking"
        assert "silenced" not in (await installed.status("ends"))["claims"]

        async def record_without() -> bool:
            record = await installed.record(ClaimRef("ends", "a"))
            return record is not None and "silenced" not in record["status"]

        await until(record_without, "the record is not silenced any more")
        abnormal = [
            one for one in await installed.events("ends") if one["reason"] == "VolumeConditionAbnormal"
        ]
        assert sorted((one["involvedObject"]["name"], one["count"]) for one in abnormal) == [
            ("a", 1),
            ("p", 1),
        ]
