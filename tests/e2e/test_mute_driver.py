"""The mission's use cases with a driver that has no health call at all, on real filesystems that really break.

In: a node of its own, whose volumes are ext4, XFS and btrfs on disks that break on demand. Out: what the node sees is told
on the claim and on all of its Pods, how many seconds that took, and nothing is told of the neighbours.
"""

import fcntl
import json
import os
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.product import AGENT, AGENT_SPACE
from support.realdisk import why_no_disks
from support.realnode import SPACE, NodeDriver, RealNode, obstacles
from volumehealth_sandbox.assets import checkout
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.node_mounts import mount, unmount
from volumehealth_sandbox.tools import Say

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WITHIN = 60.0
_MARK = "a-name-to-be-damaged"
_GOING_DOWN = 0x8004587D
"""FS_IOC_GOINGDOWN, by which a filesystem is shut down."""
_REPAIRS = {"ext4": ("e2fsck", "-fy"), "xfs": ("xfs_repair",)}
"""What checks and repairs a filesystem that is not mounted; btrfs is not to be repaired."""
_TABLE = checkout() / "build" / "mute-driver.md"
"""What was seen, a row at once, so that an interrupted run loses nothing."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A volume that is broken in a scene.

    Attributes:
        node, claim: whose it is.
        healing: what is done when it is to be well again, the last first.
    """

    node: RealNode
    claim: str
    healing: ExitStack

    @property
    def paths(self) -> list[Path]:
        """Where each Pod sees it."""
        return [self.node.path(self.claim, pod) for pod in self.node.pods]

    @property
    def kernel_name(self) -> str:
        """The name of its device."""
        return self.node.disk(self.claim).device.removeprefix("/dev/")

    def keep_doing(self, what: Callable[[Path], None]) -> None:
        """Do something again and again, as applications would, until it is healed; errors are the application's.

        It was done once when this returns: a filesystem that was idle, and of which nothing is cached any more, would only
        read from a disk that fails then, and never write, so that the kernel says less of it.
        """
        path, done, stop = self.paths[0], threading.Event(), threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    what(path)
                    done.set()
                except OSError:
                    stop.wait(0.5)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.healing.callback(thread.join, 30)
        self.healing.callback(stop.set)
        assert done.wait(60)


def write(path: Path) -> None:
    """Write a mebibyte."""
    with (path / "written").open("wb", buffering=0) as file:
        file.write(os.urandom(1024 * 1024))
        os.fsync(file.fileno())


def read(path: Path) -> None:
    """Read files from the disk."""
    Path("/proc/sys/vm/drop_caches").write_text("1")
    for one in path.iterdir():
        if one.is_file():
            one.read_bytes()


def walk(path: Path) -> None:
    """Read directories from the disk."""
    for _ in range(6):  # XFS keeps what was read often
        Path("/proc/sys/vm/drop_caches").write_text("3")
    for _ in path.rglob("*"):
        pass


# -- what is done to a volume -----------------------------------------------------------------------------------


def disk(*, reads: str = "work", writes: str = "work", by: Callable[[Path], None] = write) -> "Act":
    """Let its disk behave so while somebody uses it."""

    def act(volume: Broken) -> None:
        faults = volume.node.disk(volume.claim)
        volume.keep_doing(by)
        volume.healing.callback(faults.behave)
        faults.behave(reads=reads, writes=writes)

    return act


def fail_reads(volume: Broken) -> None:
    """Let the disk fail while what is on it is read again and again."""
    write(volume.paths[0])
    disk(reads="fail", by=read)(volume)


def take_the_disk_away(volume: Broken) -> None:
    """Take the disk's capacity away while nobody uses it."""
    faults = volume.node.disk(volume.claim)
    volume.healing.callback(faults.give_back)
    faults.take_away()


def fail_and_take_away(volume: Broken) -> None:
    """Let the disk fail while it is written to, and take it away five seconds later."""
    disk(reads="fail", writes="fail")(volume)
    later = threading.Timer(5, volume.node.disk(volume.claim).take_away)
    later.start()
    volume.healing.callback(volume.node.disk(volume.claim).give_back)
    volume.healing.callback(later.join)


def fill(volume: Broken) -> None:
    """Fill it, but for 1%."""
    path = volume.paths[0]
    volume.healing.callback((path / "ballast").unlink)
    space = os.statvfs(path)
    with (path / "ballast").open("wb", buffering=0) as file:
        file.write(bytes((space.f_bavail - space.f_blocks // 100) * space.f_frsize))
        os.fsync(file.fileno())


def let_ext4_find_an_error(volume: Broken) -> None:
    """Let ext4 do what it does when it finds an error."""
    Path(f"/sys/fs/ext4/{volume.kernel_name}/trigger_fs_error").write_text("broken for a test")


def let_ext4_turn_read_only(volume: Broken) -> None:
    """Let ext4 find an error where it is to take no more writes then."""
    mount("-o", "remount,errors=remount-ro", volume.paths[0])
    let_ext4_find_an_error(volume)


def damage(volume: Broken) -> None:
    """Change names in a directory on the disk, behind the filesystem's back, which then reads them."""
    path = volume.paths[0]
    (path / "directory").mkdir()
    for number in range(100):
        (path / "directory" / f"{_MARK}-{number:03}").write_text("x")
    subprocess.run(["fsfreeze", "--freeze", path], check=True)  # brings all to its place on the disk
    subprocess.run(["fsfreeze", "--unfreeze", path], check=True)
    faults = volume.node.disk(volume.claim)
    volume.healing.callback(faults.damage, _MARK.swapcase())
    volume.keep_doing(walk)
    faults.damage(_MARK)


def shut_down(volume: Broken) -> None:
    """Shut the filesystem down."""
    handle = os.open(volume.paths[0], os.O_RDONLY)
    try:
        fcntl.ioctl(handle, _GOING_DOWN, struct.pack("I", 2))
    finally:
        os.close(handle)


def remount_read_only(volume: Broken) -> None:
    """Remount it so that it takes no writes."""
    path = volume.paths[0]
    volume.healing.callback(mount, "-o", "remount,rw", path)
    mount("-o", "remount,ro", path)


def unmount_it(volume: Broken) -> None:
    """Unmount it for one Pod, as somebody with a root shell might; mounted again by hand, since the kubelet does not."""
    path, other = volume.paths
    volume.healing.callback(mount, "--bind", other, path)
    unmount(path)


def mount_a_directory(volume: Broken) -> None:
    """Mount a directory of the node's disk instead."""
    kubelet, driver = volume.node.node.layout.kubelet_dir, volume.node.driver_of(volume.claim).name
    staging = kubelet / "plugins/kubernetes.io/csi" / driver / ("3f" * 32) / "globalmount"
    staging.mkdir(parents=True, exist_ok=True)
    unmount_it(volume)
    path = volume.paths[0]
    volume.healing.callback(unmount, path)
    mount("--bind", staging, path)


def mount_another(volume: Broken) -> None:
    """Mount the device of another volume instead."""
    other = volume.node.path("neighbour-xfs", volume.node.pods[0])
    unmount_it(volume)
    path = volume.paths[0]
    volume.healing.callback(unmount, path)
    mount("--bind", other, path)


Act = Callable[[Broken], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        use_case: of the mission.
        caused_by: in words.
        claim: whose volume it is; every row has one of its own.
        kind: of filesystem.
        act: what is done.
        said: what may be said; which of them depends on which of its writes the kernel loses first.
        words: what its message says besides.
        recovers: whether it is well again as soon as the cause is gone; else it takes new Pods.
    """

    use_case: str
    caused_by: str
    claim: str
    kind: str
    act: Act
    said: frozenset[str]
    words: str = ""
    recovers: bool = False


def row(
    use_case: str,
    caused_by: str,
    claim: str,
    act: Act,
    *said: str,
    kind: str = "ext4",
    words: str = "",
    recovers: bool = False,
) -> Row:
    """Write a row."""
    return Row(use_case, caused_by, claim, kind, act, frozenset(said), words, recovers)


_DEAD = (
    "DataLoss/FilesystemError",
    "DataLoss/IOError",
    "Inaccessible/DeviceGone",
    "Inaccessible/FilesystemShutdown",
    "Inaccessible/IOError",
)
_FAILING = disk(reads="fail", writes="fail")
_HANGING = disk(reads="hang", writes="hang")
ROWS = (
    row(
        "deleted outside",
        "the disk fails for good, then it is taken away",
        "e-deleted",
        fail_and_take_away,
        *_DEAD,
        words="no capacity any more",
    ),
    row(
        "deleted outside",
        "the disk is taken away, unused",
        "e-taken-away",
        take_the_disk_away,
        "Inaccessible/DeviceGone",
        recovers=True,
    ),
    row("disk failure", "EIO on all", "e-disk", _FAILING, *_DEAD),
    row("disk failure", "EIO on all", "x-disk", _FAILING, *_DEAD, kind="xfs"),
    row(
        "disk failure",
        "EIO on all",
        "b-disk",
        _FAILING,
        *_DEAD,
        "Degraded/FilesystemReadOnly",
        "Degraded/FilesystemError",
        kind="btrfs",
    ),
    row("out of capacity", "filled to 99%", "e-full", fill, "Degraded/OutOfCapacity", recovers=True),
    row(
        "out of capacity",
        "the storage under the disk is full (ENOSPC)",
        "e-thin",
        disk(writes="full"),
        "Degraded/OutOfCapacity",
        "Degraded/FilesystemReadOnly",
        "Degraded/FilesystemError",
    ),
    row(
        "degraded performance",
        "0.4 s a request, `maxLatency: 150ms`",
        "x-slow",
        disk(reads="0.4", writes="0.4"),
        "Degraded/SlowIO",
        kind="xfs",
        recovers=True,
    ),
    row("I/O errors", "EIO on writes", "e-writes", disk(writes="fail"), *_DEAD),
    row(
        "I/O errors", "EIO on writes", "x-writes", disk(writes="fail"), *_DEAD, "Degraded/IOError", kind="xfs"
    ),
    row(
        "I/O errors",
        "EIO on writes",
        "b-writes",
        disk(writes="fail"),
        "Degraded/FilesystemReadOnly",
        "Degraded/FilesystemError",
        kind="btrfs",
    ),
    row(
        "I/O errors",
        "EIO on reads",
        "e-reads",
        fail_reads,
        "Degraded/IOError",
        "Degraded/FilesystemError",
    ),
    row("I/O errors", "requests hang", "e-hangs", _HANGING, "Inaccessible/IOStalled", recovers=True),
    row(
        "I/O errors",
        "requests hang",
        "x-hangs",
        _HANGING,
        "Inaccessible/IOStalled",
        kind="xfs",
        recovers=True,
    ),
    row(
        "I/O errors",
        "requests hang",
        "b-hangs",
        _HANGING,
        "Inaccessible/IOStalled",
        kind="btrfs",
        recovers=True,
    ),
    row(
        "filesystem corruption",
        "`trigger_fs_error`",
        "e-error",
        let_ext4_find_an_error,
        "Degraded/FilesystemError",
    ),
    row(
        "filesystem corruption",
        "the same with `errors=remount-ro`",
        "e-remounts",
        let_ext4_turn_read_only,
        "Degraded/FilesystemReadOnly",
    ),
    row("filesystem corruption", "damaged metadata", "e-damaged", damage, "Degraded/FilesystemError"),
    row(
        "filesystem corruption",
        "damaged metadata",
        "x-damaged",
        damage,
        "Degraded/FilesystemError",
        kind="xfs",
    ),
    row(
        "filesystem corruption",
        "damaged metadata",
        "b-damaged",
        damage,
        "Degraded/FilesystemError",
        kind="btrfs",
    ),
    row(
        "filesystem corruption",
        "shut down",
        "x-shut",
        shut_down,
        "Inaccessible/FilesystemShutdown",
        kind="xfs",
    ),
    row("filesystem corruption", "shut down", "e-shut", shut_down, "Inaccessible/FilesystemShutdown"),
    row(
        "unmounted outside",
        "`umount` for one Pod",
        "e-unmounted",
        unmount_it,
        "Inaccessible/VolumeUnmounted",
        recovers=True,
    ),
    row(
        "unmounted outside",
        "a directory of the node's disk is mounted",
        "x-wrong",
        mount_a_directory,
        "Inaccessible/WrongMount",
        kind="xfs",
        recovers=True,
    ),
    row(
        "unmounted outside",
        "another device is mounted",
        "x-replaced",
        mount_another,
        "Degraded/MountReplaced",
        kind="xfs",
        recovers=True,
    ),
    row(
        "unmounted outside",
        "`mount -o remount,ro`",
        "x-read-only",
        remount_read_only,
        "Degraded/FilesystemReadOnly",
        kind="xfs",
        recovers=True,
    ),
)
NEIGHBOURS = {f"neighbour-{kind}": kind for kind in ("ext4", "xfs", "btrfs")}
SEEN_IN_THE_LOG = "log-reads"
KINDS = {one.claim: one.kind for one in ROWS} | NEIGHBOURS | {SEEN_IN_THE_LOG: "ext4"}
MUTE = NodeDriver(
    "mute.csi.volumehealth.test",
    Generation.LEGACY,
    tuple(KINDS),
    disks=tuple(KINDS.values()),  # the volumes take turns
    mute=True,
)


@pytest.fixture(scope="module")
def mute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node with the mute driver."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    if reason := why_no_disks():
        pytest.skip(f"no disk can be broken: {reason}")
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
        _TABLE.parent.mkdir(exist_ok=True)
        _TABLE.write_text(
            "| Use case | Caused by | Filesystem | Said | Told after | Recovery told after |\n|---|---|---|---|---|---|\n"
        )
        yield node


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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.claim)
def test_what_breaks_is_told_on_the_claim_and_its_pods(mute: RealNode, row: Row, show: Say) -> None:
    everybody = {f"PersistentVolumeClaim/{row.claim}", *(f"Pod/{pod}" for pod in mute.pods)}

    def found() -> bool:
        findings = mute.findings(row.claim)
        said = {f"{one['status']}/{one['reason']}" for one in findings}
        return bool(said) and said <= row.said and row.words in findings[0]["message"]

    with ExitStack() as healing:
        row.act(Broken(mute, row.claim, healing))
        begun = time.monotonic()
        try:
            mute.until(found, f"{row.claim} is {', '.join(row.said)}", within=WITHIN)
        except AssertionError as error:
            raise AssertionError(f"found is {mute.findings(row.claim)}") from error
        mute.until(lambda: mute.told("VolumeConditionAbnormal", row.claim) == everybody, "everybody is told")
        told = time.monotonic() - begun
        (finding,) = mute.findings(row.claim)
        assert finding["source"] == "Node"
    recovery = "new Pods"
    if row.recovers:
        begun = time.monotonic()
        mute.until(lambda: mute.health(row.claim) in ("Recovered", ""), "it recovers", within=WITHIN)
        mute.until(lambda: mute.told("VolumeConditionNormal", row.claim) == everybody, "all is well again")
        recovery = f"{time.monotonic() - begun:.0f}"
    message, _, _ = finding["message"].partition("; also: ")
    said = f"`{finding['status']}/{finding['reason']}`: {message}"
    line = f"| {row.use_case} | {row.caused_by} | {row.kind} | {said} | {told:.0f} | {recovery} |"
    with _TABLE.open("a") as table:
        print(line, file=table)
    show(line)


def test_nothing_is_told_of_the_neighbours(mute: RealNode) -> None:
    for claim in NEIGHBOURS:
        assert mute.findings(claim) == []
        assert mute.told("VolumeConditionAbnormal", claim) == set()


def _restart_agent(node: RealNode, *changes: Mapping[str, object]) -> None:
    """Change the agent's container, and return when it runs."""
    at = "/spec/template/spec/containers/0"
    patch = json.dumps([{**change, "path": f"{at}/{change['path']}"} for change in changes])
    node.kubectl("patch", AGENT, f"--namespace={AGENT_SPACE}", "--type=json", "-p", patch)
    node.product.await_rollout(AGENT, AGENT_SPACE)


def _unseen(node: RealNode) -> dict[str, object]:
    """Return what the report says of the kernel log that is not seen; empty if it is."""
    return next((one for one in node.report().get("unseen") or () if one["origin"] == "KernelLog"), {})


def test_without_the_capability_what_the_log_said_is_stale_and_without_the_log_it_is_closed(
    mute: RealNode, show: Say
) -> None:
    claim = SEEN_IN_THE_LOG
    may = {"op": "add", "path": "securityContext/capabilities/add", "value": ["SYSLOG"]}
    with ExitStack() as healing:
        fail_reads(Broken(mute, claim, healing))
        mute.until(lambda: [one["reason"] for one in mute.findings(claim)] == ["IOError"], "it is found")
        # The agent that is started last reports when it has asked about every volume, or after 45 s.
        healing.callback(lambda: mute.until(lambda: not _unseen(mute), "the log is seen again", within=90.0))
        healing.callback(_restart_agent, mute, may)
        _restart_agent(mute, {"op": "remove", "path": "securityContext/capabilities/add"})
        mute.until(
            lambda: "Operation not permitted" in str(_unseen(mute)), "the log is refused", within=WITHIN
        )
        mute.until(lambda: mute.findings(claim)[0].get("stale"), "it is stale", within=WITHIN)
        report = mute.report()
        cannot = {(KINDS[one["claim"]], one["message"]) for one in report["missing"]}
        show(f"without CAP_SYSLOG: {_unseen(mute)}; missing: {cannot}; limits: {report.get('limits')}")
        assert {kind for kind, _ in cannot} == {"xfs"}
        _restart_agent(mute, {"op": "add", "path": "args/-", "value": "--no-kernel-log"})
        healing.callback(_restart_agent, mute, {"op": "remove", "path": f"args/{len(_args(mute)) - 1}"})
        mute.until(lambda: _unseen(mute).get("switchedOff"), "the log is switched off", within=WITHIN)
        mute.until(lambda: mute.findings(claim) == [], "what it said is closed", within=WITHIN)
        assert mute.told("VolumeConditionNormal", claim) == set()


def _args(node: RealNode) -> list[str]:
    agent = node.get(AGENT, namespace=AGENT_SPACE)
    args: list[str] = agent["spec"]["template"]["spec"]["containers"][0]["args"]
    return args


def test_new_pods_find_volumes_well_whose_disks_were_healed(mute: RealNode, show: Say) -> None:
    """What holds until a filesystem is mounted anew is closed with the Pods, and not told of the new ones."""
    bad = [claim for claim in KINDS if mute.findings(claim)]
    mute.kubectl("delete", "pods", "--all", f"--namespace={SPACE}", "--wait=true", "--timeout=120s")
    staged = str(mute.node.layout.kubelet_dir / "plugins/kubernetes.io/csi")
    mute.until(lambda: staged not in Path("/proc/self/mounts").read_text(), "all is unmounted", within=60.0)
    mute.until(lambda: not any(map(mute.findings, bad)), "what was found is closed", within=WITHIN)
    for claim in bad:
        if repair := _REPAIRS.get(KINDS[claim]):
            subprocess.run([*repair, mute.disk(claim).device], check=False, capture_output=True)
    mute.start_pods()
    try:
        took = mute.until(mute.all_healthy, "every claim is healthy on the node's word", within=WITHIN)
    except AssertionError as error:
        report = mute.report()
        said = {key: report.get(key) for key in ("missing", "unseen", "volumes")}
        complete = len(report.get("complete") or ())
        counted = mute.status().get("claims"), mute.status().get("summary")
        raise AssertionError(
            f"the policy says {counted}; of {complete} every look is complete; {said}"
        ) from error
    assert not any(map(mute.findings, KINDS))
    show(
        f"all {len(KINDS)} volumes, {len(bad)} of them bad before, are healthy {took:.0f} s after new Pods ran"
    )
