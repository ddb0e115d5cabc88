"""The mission's use cases with a driver that has no health call at all, on real filesystems that really break.

In: a node of its own, whose volumes are ext4 and XFS on disks that break on demand. Out: what the node sees is told on the
claim and on all of its Pods, and nothing is told of the neighbours.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.scenes import await_recovery, mount_again, unmount_one
from support.realnode import NodeDriver, RealNode, obstacles
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.node_mounts import mount, unmount

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MUTE = NodeDriver(
    "mute.csi.volumehealth.test",
    Generation.LEGACY,
    (
        # ext4 and XFS take turns
        "data-stalled",
        "xfs-shut-down",
        "lost-writes",
        "xfs-stalled",
        "data-corrupt",
        "xfs-neighbour",
        "data-unmounted",
        "xfs-slow",
        "data-wrong",
    ),
    disks=("ext4", "xfs"),
    mute=True,
)
WITHIN = 60.0


@pytest.fixture(scope="module")
def mute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node with the mute driver."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    policy = {
        "interval": "5s",
        "unhealthyAfter": "0s",
        "healthyAfter": "0s",
        "checks": {"node": {"ioStalledAfter": "5s", "maxLatency": "150ms"}},
    }
    with RealNode(
        tmp_path_factory.mktemp("mute"),
        Path(tempfile.gettempdir(), "vh-node-mute"),
        drivers=(MUTE,),
        pods=("first", "second"),
        policy=policy,
        gate=False,
        network=3,
    ) as node:
        yield node


def told(node: RealNode, claim: str, status: str, reason: str) -> float:
    """Expect just this finding, told on the claim and all of its Pods; return how many seconds it took."""
    took = node.until(
        lambda: (
            [(one["status"], one["reason"], one["source"]) for one in node.findings(claim)]
            == [(status, reason, "Node")]
        ),
        f"{claim} is found to be {status}/{reason}: {node.findings(claim)}",
        within=WITHIN,
    )
    everybody = {f"PersistentVolumeClaim/{claim}", *(f"Pod/{pod}" for pod in node.pods)}
    node.until(lambda: node.told("VolumeConditionAbnormal", claim) == everybody, "everybody is told")
    return took


def write(node: RealNode, claim: str, name: str, *, mebibytes: int = 1) -> None:
    """Write as an application would; its errors are the application's."""
    try:
        with (node.path(claim, node.pods[0]) / name).open("wb", buffering=0) as file:
            file.write(os.urandom(mebibytes * 1024 * 1024))
            os.fsync(file.fileno())
    except OSError:
        pass


@pytest.mark.before_faults
def test_the_agent_in_its_container_completes_every_look(mute: RealNode) -> None:
    """As it is shipped: not privileged, all capabilities dropped but SYSLOG, the runtime's seccomp profile."""

    def looked() -> bool:
        # After lines that the kernel suppressed the log proves nothing for one round.
        report = mute.report()
        origins = {one["origin"] for one in report["coverage"]}
        return origins >= {"MountTable", "BlockDevice", "Filesystem", "KernelLog"} and "missing" not in report

    mute.until(looked, "every look is complete", within=60.0)
    mute.until(lambda: len(mute.report()["complete"]) == len(MUTE.claims), "for every claim", within=60.0)
    mute.until(mute.all_healthy, "every claim is healthy on the node's word", within=60.0)


@pytest.mark.parametrize("claim", ["data-stalled", "xfs-stalled"])
def test_io_that_does_not_end_is_told_and_so_is_its_end(mute: RealNode, claim: str) -> None:
    mute.break_disk(claim, reads="hang", writes="hang")
    writing = threading.Thread(target=write, args=(mute, claim, "waits"), daemon=True)
    writing.start()
    told(mute, claim, "Inaccessible", "IOStalled")
    mute.break_disk(claim)
    writing.join(30)
    await_recovery(mute, claim)


def test_writes_that_are_lost_are_told(mute: RealNode) -> None:
    mute.break_disk("lost-writes", writes="fail")
    for number in range(4):
        write(mute, "lost-writes", f"lost{number}")
        if mute.findings("lost-writes"):
            break
    mute.until(lambda: mute.findings("lost-writes"), "lost writes are found", within=WITHIN)
    assert mute.findings("lost-writes")[0]["status"] == "DataLoss"


def test_an_xfs_that_shuts_down_is_told(mute: RealNode) -> None:
    claim = "xfs-shut-down"
    mute.break_disk(claim, reads="fail", writes="fail")
    for number in range(4):
        write(mute, claim, f"lost{number}")
        os.sync()
    told(mute, claim, "Inaccessible", "FilesystemShutdown")


def test_an_error_that_ext4_finds_is_told(mute: RealNode) -> None:
    device = Path(f"/sys/dev/block/{_number(mute, 'data-corrupt')}").resolve().name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("broken for a test")
    told(mute, "data-corrupt", "Degraded", "FilesystemError")


def _number(node: RealNode, claim: str) -> str:
    device = node.path(claim, node.pods[0]).stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def test_a_slow_disk_is_told_and_so_is_its_end(mute: RealNode) -> None:
    claim = "xfs-slow"
    mute.break_disk(claim, reads="0.4", writes="0.4")
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            write(mute, claim, "slow")

    writing = threading.Thread(target=keep_writing, daemon=True)
    writing.start()
    try:
        told(mute, claim, "Degraded", "SlowIO")
    finally:
        mute.break_disk(claim)
        await_recovery(mute, claim)
        stop.set()


def test_a_volume_that_is_unmounted_is_told_and_so_is_its_end(mute: RealNode) -> None:
    unmount_one(mute, "data-unmounted")
    told(mute, "data-unmounted", "Inaccessible", "VolumeUnmounted")
    mount_again(mute, "data-unmounted")
    await_recovery(mute, "data-unmounted")


def test_a_directory_of_the_nodes_disk_is_told(mute: RealNode) -> None:
    claim = "data-wrong"
    staging = (
        mute.node.layout.kubelet_dir / "plugins/kubernetes.io/csi" / MUTE.name / ("3f" * 32) / "globalmount"
    )
    staging.mkdir(parents=True)
    path = mute.path(claim, mute.pods[0])
    unmount(path)
    mount("--bind", staging, path)
    told(mute, claim, "Inaccessible", "WrongMount")


def test_nothing_is_told_of_the_neighbour(mute: RealNode) -> None:
    assert mute.findings("xfs-neighbour") == []
    assert mute.told("VolumeConditionAbnormal", "xfs-neighbour") == set()
