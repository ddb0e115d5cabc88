"""`volumehealth preflight` on a cluster with ten drivers, before and after the installation."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support.installation import Installation, until
from volumehealth_sandbox.driver import SimulatedDriver

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

DRIVERS = (
    "csi-powerstore.dellemc.com",
    "ebs.csi.aws.com",
    "csi.vsphere.vmware.com",
    "rook-ceph.rbd.csi.ceph.com",
    "linstor.csi.linbit.com",
    "driver.longhorn.io",
    "nfs.csi.k8s.io",
    "linodebs.csi.linode.com",
    "topolvm.io",
    "unknown.example.com",
)


async def preflight(kubeconfig: Path) -> tuple[int, str]:
    """Run the command. What it prints is kept where VOLUMEHEALTH_TRANSCRIPTS says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "volumehealth", "preflight", f"--kubeconfig={kubeconfig}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    page = out.decode()
    if kept := os.environ.get("VOLUMEHEALTH_TRANSCRIPTS"):
        _keep(Path(kept), f"$ kubectl volumehealth preflight   # exit status {process.returncode}\n{page}\n")
    return process.returncode or 0, page


def _keep(file: Path, text: str) -> None:
    with file.open("a") as pages:
        pages.write(text)


def controller(name: str, driver: str, **metadata: Any) -> dict[str, Any]:
    """Write a controller's Deployment as drivers ship it."""
    mounts = [{"name": "socket-dir", "mountPath": "/csi"}]
    sidecar = {
        "name": "csi-provisioner",
        "image": "registry.example.com/sig-storage/csi-provisioner:v6.0.0",
        "args": ["--csi-address=/csi/csi.sock", f"--driver-name={driver}"],
        "volumeMounts": mounts,
    }
    plugin = {"name": "driver", "image": "registry.example.com/driver:v1", "volumeMounts": mounts}
    pod = {
        "serviceAccountName": f"{name}-sa",
        "containers": [plugin, sidecar],
        "volumes": [{"name": "socket-dir", "emptyDir": {}}],
    }
    labels = {"app": name}
    return {
        "metadata": {"name": name} | metadata,
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


async def ten_drivers(installed: Installation) -> None:
    """Make what ten drivers leave in a cluster: CSIDrivers, registrations, volumes, and the controllers of some."""
    objects = installed.objects
    for driver in DRIVERS:
        await objects.post("/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": driver}})
    for node in ("worker-1", "worker-2"):
        await objects.make_node(node)
        drivers = [{"name": driver, "nodeID": node} for driver in DRIVERS[: 10 if node == "worker-1" else 4]]
        body = {"metadata": {"name": node}, "spec": {"drivers": drivers}}
        await objects.post("/apis/storage.k8s.io/v1/csinodes", body)
    for space, labels in (
        ("dell", {}),
        ("linstor", {"pod-security.kubernetes.io/enforce": "restricted"}),
        ("linode", {}),
        ("pf-apps", {}),
    ):
        await objects.make_namespace(space, labels)
    for number, driver in enumerate(DRIVERS):
        await objects.make_claim("pf-apps", f"claim-{number}", driver=driver, handle=f"h-{number}")
    helm = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "powerstore"},
    }
    for space, name, driver, metadata in (
        ("dell", "powerstore-controller", DRIVERS[0], helm),
        ("linstor", "linstor-csi-controller", DRIVERS[4], {}),
        ("linode", "csi-linode-controller", DRIVERS[7], {}),
    ):
        await objects.post(
            f"/apis/apps/v1/namespaces/{space}/deployments", controller(name, driver, **metadata)
        )
    await objects.post(
        "/api/v1/namespaces/linode/resourcequotas",
        {"metadata": {"name": "small"}, "spec": {"hard": {"limits.memory": "100Mi"}}},
    )
    await objects.patch(
        "/api/v1/namespaces/linode/resourcequotas/small/status",
        {"status": {"hard": {"limits.memory": "100Mi"}, "used": {"limits.memory": "0"}}},
    )


async def test_ten_drivers_before_and_after_the_installation(installed: Installation) -> None:
    admin = installed.plane.kubeconfig
    await ten_drivers(installed)
    status, page = await preflight(admin)
    text = " ".join(page.split())
    assert status == 1
    for driver in DRIVERS:
        assert f"\n  {driver}" in page
    assert "X_CSI_HEALTH_MONITOR_ENABLED is not set in Deployment dell/powerstore-controller" in text
    assert "namespace linstor enforces the Pod Security Standard restricted" in text
    assert "ResourceQuota linode/small has no room for the agent" in text
    assert "no policy: nothing is checked" in text
    assert "kubectl rollout restart deployment/csi-linode-controller -n linode" in page
    assert all(len(line) <= 80 for line in page.splitlines() if not line.lstrip()[:1].isdigit())

    async with SimulatedDriver(name=DRIVERS[7], volumes=["h-7"]) as simulated:
        await installed.policy("preflight", selector={"drivers": [DRIVERS[7], DRIVERS[1]]}, interval="5s")
        await installed.operator([simulated.endpoint])
        await installed.driver_is(DRIVERS[7], "Answering")

        async def heard() -> bool:
            return "Answering, ListVolumes" in (await preflight(admin))[1]

        await until(heard, "the driver that answers is shown so", within=60)
    status, page = await preflight(admin)
    assert status == 1
    assert "ResourceQuota linode/small" not in page  # its controller is heard without an agent
