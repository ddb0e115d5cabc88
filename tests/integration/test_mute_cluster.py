"""A cluster of ten drivers without any health call, on the real API server: what the nodes' own eyes make of it.

In: drivers with the names that people run, on recorded trees of devices and a recorded kernel log; one node whose kubelet mounts
where nobody sees it (field case 24). Out: what `kubectl get vhd -o wide` and `kubectl describe vhp` print; with
VOLUMEHEALTH_PAGES=DIRECTORY they are kept.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from support.installation import Installation, until
from support.nodetree import FakeFiles
from volumehealth.agent.looks import NodeSights
from volumehealth.agent.node import NodeAgent
from volumehealth.agent.paths import volume_paths
from volumehealth.agent.reach import NodeReach
from volumehealth.agent.registry import RegistryPace
from volumehealth.agent.settings import NodeSettings
from volumehealth.kube.api import Api
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import VolumeId
from volumehealth.settings import Settings
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_registration import Registration
from volumehealth_sandbox.objects import ClaimSpec

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SHOP = "shop"
TABLE = "/proc/1/mountinfo"


@dataclass(frozen=True)
class Kind:
    """A driver's volumes as a node shows them.

    Attributes:
        driver: its name.
        claim: one of its claims.
        device: the kernel's name of the volume's device; empty for a file server.
        number: of the device, or of the filesystem.
        kind: of the filesystem.
        source: as the mount table has it.
        handle: of the volume.
    """

    driver: str
    claim: str
    device: str
    number: str
    kind: str
    source: str
    handle: str = ""


KINDS = (
    Kind("ebs.csi.aws.com", "orders", "nvme1n1", "259:1", "ext4", "/dev/nvme1n1", "vol-0123456789abcdef0"),
    Kind("efs.csi.aws.com", "uploads", "", "0:61", "nfs4", "127.0.0.1:/"),
    Kind("disk.csi.azure.com", "ledger", "sdc", "8:32", "ext4", "/dev/sdc"),
    Kind("file.csi.azure.com", "reports", "", "0:62", "cifs", "//acct.file.core.windows.net/reports"),
    Kind("pd.csi.storage.gke.io", "search", "sdb", "8:16", "ext4", "/dev/sdb"),
    Kind("csi.vsphere.vmware.com", "invoices", "sdd", "8:48", "xfs", "/dev/sdd"),
    Kind("cinder.csi.openstack.org", "sessions", "vdb", "252:16", "ext4", "/dev/vdb"),
    Kind("csi.trident.netapp.io", "warehouse", "dm-3", "253:3", "xfs", "/dev/mapper/3600a0"),
    Kind("driver.longhorn.io", "queue", "sdg", "8:96", "ext4", "/dev/longhorn/pvc-queue"),
    Kind("nfs.csi.k8s.io", "media", "", "0:63", "nfs4", "filer.example.com:/media"),
)


@dataclass
class Recorded:
    """A node of recorded trees, and the agent that looks at it."""

    name: str
    kubelet: Path
    files: FakeFiles = field(default_factory=FakeFiles)
    mounts: list[str] = field(default_factory=list)
    pods: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=lambda: ["<5>[    0.000000] Linux version 6.8.0"])

    def __post_init__(self) -> None:
        self.files.write("/proc/sys/kernel/random/boot_id", f"boot-of-{self.name}")
        self.files.write("/proc/sys/kernel/osrelease", "6.8.0-generic")
        self.mounts.append("30 1 259:0 / / rw - ext4 /dev/root rw")
        self._write()

    def device(self, kind: Kind) -> None:
        """Add what a kind of volume lies on."""
        files = self.files
        if kind.device.startswith("dm"):
            for path, number, address in (("sde", "8:64", "3:0:0:1"), ("sdf", "8:80", "4:0:0:1")):
                files.scsi(path, number, address, session=f"session{address[0]}")
            place = files.disk(kind.device, kind.number, below=["sde", "sdf"])
            files.write(f"{place}/dm/uuid", "mpath-3600a0")
        elif kind.device.startswith("sd"):
            session = "session9" if kind.device == "sdg" else ""
            files.scsi(kind.device, kind.number, f"2:0:0:{kind.number.partition(':')[2]}", session=session)
        elif kind.device.startswith("nvme"):
            controller = "/sys/devices/pci0000:00/0000:00:1f.0/nvme/nvme1"
            place = files.disk(kind.device, kind.number, place=controller)
            files.write(f"{controller}/state", "live")
            files.write(f"{place}/device/serial", kind.handle.replace("-", ""))
        elif kind.device:
            files.disk(kind.device, kind.number)
        if kind.kind == "ext4":
            files.ext4(kind.device)
        if kind.kind == "xfs":
            files.write(f"/sys/fs/xfs/{kind.device}/log/log_head_lsn", "1:2")
            self.log.append(f"<5>[   10.000000] XFS ({kind.device}): Mounting V5 Filesystem 1-2")

    def mount(self, point: str, kind: Kind) -> None:
        """Mount a volume of a kind."""
        self.mounts.append(
            f"46 30 {kind.number} / {point} rw,relatime shared:1 - {kind.kind} {kind.source} rw"
        )
        self._write()

    def token(self, kind: Kind, pod_uid: str) -> None:
        """Mount the token of a Pod that uses a volume of a kind, as nearly every Pod has one."""
        self.pods[kind.claim] = pod_uid
        point = f"{self.kubelet}/pods/{pod_uid}/volumes/kubernetes.io~projected/token"
        self.mounts.append(f"90 30 0:9 / {point} rw - tmpfs tmpfs rw")
        self._write()

    def _write(self) -> None:
        self.files.write(TABLE, "\n".join(self.mounts))
        servers = [line for line in self.mounts if " - nfs4 " in line]
        self.files.write(
            "/proc/1/mountstats",
            "\n".join(
                f"device {line.split()[-2]} mounted on {line.split()[4]} with fstype nfs4 statvers=1.1\n"
                "\txprt:\ttcp 0 0 2 0 5 100 100 0 100 0 2 0 0"
                for line in servers
            ),
        )

    @asynccontextmanager
    async def agent(self, plane: ControlPlane) -> AsyncIterator[None]:
        """Run the agent."""
        settings = NodeSettings(
            common=Settings(), node=self.name, kubelet_dir=str(self.kubelet), mount_table=TABLE
        )
        sights = NodeSights(files=self.files, kernel_log=lambda: "\n".join(self.log) + "\n")
        async with await Api.connect(str(plane.kubeconfig)) as api:
            agent = NodeAgent(
                api,
                settings,
                clock=SystemClock(),
                random=Random(1),
                registry_pace=RegistryPace(look=0.2, gone=1.0),
                reach=NodeReach(sights=sights),
            )
            task = asyncio.create_task(agent.run())
            try:
                yield
            finally:
                assert not task.done(), task.exception()
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def keep(name: str, page: str) -> None:
    """Write a page where the one who ran the test wants it."""
    directory = os.environ.get("VOLUMEHEALTH_PAGES")
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / name).write_text(page)


@pytest.fixture
def nodes() -> Iterator[tuple[Recorded, Recorded]]:
    """A node as they are, and one whose kubelet mounts in a namespace of its own."""
    with tempfile.TemporaryDirectory(prefix="vh-") as one, tempfile.TemporaryDirectory(prefix="vh-") as two:
        yield Recorded("worker-1", Path(one)), Recorded("worker-2", Path(two))


@asynccontextmanager
async def mute_drivers(node: Recorded) -> AsyncIterator[None]:
    """Ten drivers whose node plugins tell how full a volume is, and nothing else."""
    async with AsyncExitStack() as stack:
        for kind in KINDS:
            endpoint = f"unix://{node.kubelet}/plugins/{kind.driver}/csi.sock"
            driver = SimulatedDriver(
                name=kind.driver,
                volumes=(),
                capabilities=(),
                node_capabilities=("STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS"),
                endpoint=endpoint,
            )
            await stack.enter_async_context(driver)
            await stack.enter_async_context(Registration(node.kubelet, name=kind.driver, endpoint=endpoint))
            driver.create(kind.claim, capacity=2**30, block=False)
            volume = driver.volumes.pop(f"created-{driver.created}")
            volume.handle = kind.handle or f"vol-{kind.claim}"
            volume.used = 2**20
            driver.volumes[volume.handle] = volume
            volume.targets[_point(node, kind)] = 1
        yield


def _point(node: Recorded, kind: Kind) -> str:
    return volume_paths(
        str(node.kubelet),
        volume=f"pv-{SHOP}-{kind.claim}",
        driver=kind.driver,
        handle=kind.handle or f"vol-{kind.claim}",
        pod_uid=node.pods[kind.claim],
        block=False,
    ).publish


async def test_ten_mute_drivers_are_watched_by_their_nodes(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path, nodes: tuple[Recorded, Recorded]
) -> None:
    plane = await asyncio.to_thread(fresh_control_plane)
    seen, blind = nodes
    async with AsyncExitStack() as stack:
        installed = await stack.enter_async_context(Installation(plane, tmp_path))
        objects = installed.objects
        await objects.make_namespace(SHOP)
        for node in nodes:
            await objects.make_node(node.name)
        for kind in KINDS:
            await objects.make_storage_class(kind.claim, driver=kind.driver)
            handle = VolumeId(kind.driver, kind.handle or f"vol-{kind.claim}")
            await objects.make(ClaimSpec(SHOP, kind.claim, handle, storage_class=kind.claim))
            pod = await objects.make_pod(SHOP, f"{kind.claim}-0", [kind.claim], node=seen.name)
            seen.device(kind)
            seen.token(kind, pod["metadata"]["uid"])
            seen.mount(_point(seen, kind), kind)
        for number in range(2):
            volume = VolumeId("ebs.csi.aws.com", f"vol-0123456789abcdf{number:02}")
            await objects.make(ClaimSpec(SHOP, f"hidden-{number}", volume, storage_class="orders"))
            await objects.make_pod(SHOP, f"hidden-{number}", [f"hidden-{number}"], node=blind.name)
        await stack.enter_async_context(mute_drivers(seen))
        await installed.operator([])
        await installed.policy(
            "storage",
            interval="5s",
            timeout="2s",
            unhealthyAfter="0s",
            healthyAfter="0s",
            selector={"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SHOP}}},
        )
        for node in nodes:
            await stack.enter_async_context(node.agent(plane))

        async def healthy() -> bool:
            return bool((await installed.status("storage")).get("claims", {}).get("healthy") == len(KINDS))

        await until(healthy, "all that can be seen is healthy on the node's word", within=90)

        async def blindness_is_told() -> bool:
            page = await installed.kubectl("describe", "vhp", "storage")
            drivers = await installed.kubectl("get", "vhd", "-o", "wide")
            keep("ten-healthy.txt", page)
            keep("ten-drivers.txt", drivers)
            return "mounts in another namespace" in page and "mounts in another namespace" in drivers

        await until(blindness_is_told, "policy and driver say what one node cannot see")
        assert (await installed.status("storage"))["claims"]["unhealthy"] == 0

        uptime = asyncio.get_running_loop().time()
        seen.log.append(
            f"<1>[{uptime:12.6f}] XFS (sdd): Filesystem has been shut down due to log error (0x2)."
        )
        seen.log.append(f"<4>[{uptime:12.6f}] device-mapper: multipath: 253:3: Failing path 8:80.")

        async def told() -> bool:
            return bool((await installed.status("storage")).get("claims", {}).get("unhealthy") == 2)

        await until(told, "both faults are told", within=60)
        await asyncio.sleep(1)
        page = await installed.kubectl("describe", "vhp", "storage")
        keep("ten-two-sick.txt", page)
        keep("ten-records.txt", await installed.kubectl("get", "vh", "-A", "-o", "wide"))
        keep("ten-reports.txt", await installed.kubectl("get", "vhr", "-o", "yaml"))
        for words in ("FilesystemShutdown", "PathDown", "shop/invoices", "shop/warehouse"):
            assert words in page
        drivers = await installed.kubectl("get", "vhd", "-o", "wide")
        for kind in KINDS:
            assert kind.driver in drivers
