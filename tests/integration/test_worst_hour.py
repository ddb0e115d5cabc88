"""The worst hour: an array gone, a node gone and a filesystem corrupt, all at once, as each tool shows it.

In: three drivers, forty-odd claims on the real API server. Out: what a tired person reads first, everywhere in the same order.
The pages are kept in the test's directory: docs/worst-hour.md is one such hour.
"""

import asyncio
import logging
from pathlib import Path

import pytest

from support.command import run
from support.installation import Installation, until
from support.monitoring import MISSING, WHY_NOT, Monitoring
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec

log = logging.getLogger(__name__)
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(MISSING), reason=WHY_NOT),
]

FIRST_STEPS = ("Look at the storage system", "Take a snapshot or a copy", "Bring the node back")
ARRAY, CLOUD, CEPH = "array.worst.example.com", "cloud.worst.example.com", "ceph.worst.example.com"
SPEC = {
    "interval": "5s",
    "unhealthyAfter": "0s",
    "healthyAfter": "0s",
    "checks": {"nodeFailure": {"after": "1s"}},
    "selector": {"drivers": [ARRAY, CLOUD, CEPH]},
}


async def volumehealth(installed: Installation, *arguments: str) -> str:
    """Run the command as an administrator; return what it printed."""
    return (await run(installed.plane.kubeconfig, *arguments))[1]


async def populate(installed: Installation) -> None:
    """Thirty databases on the array, six queues on node worker-7, one ledger."""
    objects = installed.objects
    for node in ("worker-3", "worker-7"):
        await objects.make_node(node)
    for namespace in ("billing", "queues", *(f"team-{n}" for n in range(5))):
        await objects.make_namespace(namespace)
    for n in range(30):
        space = f"team-{n % 5}"
        await objects.make(ClaimSpec(space, f"db-{n}", VolumeId(ARRAY, f"lun-{n}"), storage_class="array"))
        await objects.make_pod(space, f"db-{n}-0", [f"db-{n}"], node="worker-3")
    for n in range(6):
        await objects.make(
            ClaimSpec("queues", f"queue-{n}", VolumeId(CLOUD, f"disk-{n}"), storage_class="cloud")
        )
        await objects.make_pod("queues", f"queue-{n}-0", [f"queue-{n}"], node="worker-7")
    await objects.make(ClaimSpec("billing", "ledger", VolumeId(CEPH, "image-1"), storage_class="ceph"))
    await objects.make_pod("billing", "ledger-0", ["ledger"], node="worker-3")


async def test_everything_at_once_says_what_to_do_first(installed: Installation, tmp_path: Path) -> None:
    async with (
        SimulatedDriver(
            name=ARRAY, volumes=[f"lun-{n}" for n in range(30)], generation=Generation.V1_13
        ) as array,
        SimulatedDriver(name=CLOUD, volumes=[f"disk-{n}" for n in range(6)]) as cloud,
        SimulatedDriver(name=CEPH, volumes=["image-1"], generation=Generation.V1_13) as ceph,
    ):
        await populate(installed)
        operator = await installed.operator([array.endpoint, cloud.endpoint, ceph.endpoint])
        await installed.policy("storage", **SPEC)
        await operator.ready()
        metrics = operator.metrics_url.removeprefix("http://").removesuffix("/metrics")
        async with Monitoring(tmp_path / "monitoring", [metrics]) as monitoring:

            async def healthy() -> bool:
                return (await installed.condition("storage", "VolumesHealthy")).get("status") == "True"

            await until(healthy, "all claims are healthy", within=60)
            for volume in list(array.volumes):
                array.fault(volume, Fault.IO_ERRORS)
            ceph.fault("image-1", Fault.FILESYSTEM_CORRUPTED)
            await installed.objects.make_node("worker-7", ready=False)

            async def told() -> bool:
                return bool((await installed.status("storage")).get("claims", {}).get("unhealthy") == 37)

            await until(told, "37 claims are unhealthy", within=60)
            await monitoring.paged("VolumeHealthDriverWideProblem", driver=ARRAY)
            await asyncio.sleep(8)

            pages = {
                "status": await volumehealth(installed, "status"),
                "drivers": await volumehealth(installed, "drivers"),
                "vhp": await installed.kubectl("get", "vhp"),
                "describe": await installed.kubectl("describe", "vhp", "storage"),
                "ledger": await installed.kubectl("describe", "vh", "ledger", "-n", "billing"),
                "pvc": await installed.kubectl("describe", "pvc", "queue-0", "-n", "queues"),
                "pages": "\n".join(
                    f"{state} {labels.get('severity')} {labels['alertname']} "
                    + " ".join(
                        labels[name]
                        for name in ("driver", "node", "namespace", "persistentvolumeclaim", "reason")
                        if name in labels
                    )
                    for state, labels in monitoring.pages
                ),
                "report": await volumehealth(installed, "report", "-o", str(tmp_path / "report.html")),
            }
            for name, page in pages.items():
                (tmp_path / f"{name}.txt").write_text(page)
                log.info("%s:\n%s", name, page)

            summary = (await installed.status("storage"))["summary"]
            assert ARRAY in summary[1]
            assert "DRIVER-WIDE" in "\n".join(summary)
            report = (tmp_path / "report.html").read_text()
            for page in (pages["status"], report):
                steps = [page.index(words) for words in FIRST_STEPS]
                assert steps == sorted(steps)
            firing = sorted(labels["alertname"] for state, labels in monitoring.pages if state == "firing")
            assert firing == [
                "VolumeHealthDriverWideProblem",
                "VolumeHealthInaccessible",
                "VolumeHealthNodeFailed",
            ]
