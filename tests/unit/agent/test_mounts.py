"""What the mount table of a node is read as, and what it says of volumes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.agent import KUBELET, make_claim, make_pod, make_target
from support.clock import ManualClock
from volumehealth.agent.mounts import Expected, Mount, judge_mounts, parse_mountinfo
from volumehealth.agent.mountwatch import MountWatch
from volumehealth.agent.paths import volume_paths
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import KnownClaim
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer

POINT = f"{KUBELET}/pods/u/volumes/kubernetes.io~csi/pv/mount"
TOKEN = f"{KUBELET}/pods/u/volumes/kubernetes.io~projected/token"


def line(
    point: str = POINT, options: str = "rw,noatime", fields: str = "shared:1", fs: str = "ext4 /dev/sda rw"
) -> bytes:
    return f"36 35 98:0 / {point} {options} {fields} - {fs}".encode()


@pytest.mark.parametrize(
    ("text", "mount"),
    {
        "a plain mount": (line(), Mount(read_only=False, kind="ext4")),
        "the mount itself is read-only": (line(options="ro,relatime"), Mount(read_only=True, kind="ext4")),
        "the filesystem below went read-only": (
            line(fs="ext4 /dev/sda ro,errors=remount-ro"),
            Mount(read_only=True, kind="ext4"),
        ),
        "an option that only begins like ro": (
            line(fs="xfs /dev/sda rw,rootcontext=x"),
            Mount(read_only=False, kind="xfs"),
        ),
        "no optional fields": (line(fields="").replace(b"  ", b" "), Mount(read_only=False, kind="ext4")),
        "several optional fields": (line(fields="shared:1 master:7"), Mount(read_only=False, kind="ext4")),
        "a source with an escaped blank": (
            line(fs=r"nfs4 host:/a\040b rw,vers=4"),
            Mount(read_only=False, kind="nfs4"),
        ),
        "of two on one point the later, which lies on top": (
            line() + b"\n" + line(options="ro"),
            Mount(read_only=True, kind="ext4"),
        ),
    }.values(),
)
def test_a_line_is_read(text: bytes, mount: Mount) -> None:
    assert parse_mountinfo(text, KUBELET).mounts == {POINT: mount}


def test_paths_are_unescaped() -> None:
    table = parse_mountinfo(line(rf"{KUBELET}/pods/a\040b\134c"), KUBELET)
    assert list(table.mounts) == [f"{KUBELET}/pods/a b\\c"]


def test_mounts_elsewhere_are_not_kept() -> None:
    assert parse_mountinfo(line("/mnt") + b"\n" + line("/var/lib/kubelet2/x"), KUBELET).mounts == {}


def test_the_table_of_this_machine_can_be_read() -> None:
    text = Path("/proc/self/mountinfo").read_bytes()
    assert "/proc" in parse_mountinfo(text, "").mounts


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(text: bytes) -> None:
    parse_mountinfo(text, KUBELET)
    parse_mountinfo(line() + b"\n" + text, KUBELET)


def test_a_volume_that_should_be_there_and_is_not_is_unmounted() -> None:
    table = parse_mountinfo(line(TOKEN), KUBELET)
    (found,) = judge_mounts(table, [Expected(POINT, "app-0")])
    assert (found.status, found.reason) == ("Inaccessible", "VolumeUnmounted")
    assert "Pod app-0" in found.message


def test_read_only_is_a_fault_only_where_writes_are_wanted() -> None:
    table = parse_mountinfo(line(options="ro"), KUBELET)
    (found,) = judge_mounts(table, [Expected(POINT, "app-0"), Expected(POINT, "reader", read_only=True)])
    assert (found.status, found.reason) == ("Degraded", "FilesystemReadOnly")
    assert "reader" not in found.message
    assert judge_mounts(table, [Expected(POINT, "app-0", block=True)]) == ()


def test_paths_are_the_kubelets() -> None:
    """As kubelet 1.37 makes them: the staging directory is named after the handle's hash."""
    file = volume_paths(KUBELET, volume="pv-1", driver="d", handle="vol-1", pod_uid="u", block=False)
    assert file.publish == "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv-1/mount"
    assert file.staging == (
        "/var/lib/kubelet/plugins/kubernetes.io/csi/d/"
        "d2e8363faaac7ae76def3b14091d8eb5755f6b92e9531627aeec833a8731cc49/globalmount"
    )
    block = volume_paths(KUBELET, volume="pv-1", driver="d", handle="vol-1", pod_uid="u", block=True)
    assert block.publish == "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pv-1/u"
    assert block.staging == "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/staging/pv-1"


class Watching:
    """A MountWatch with a table that the test writes."""

    def __init__(self, **changes: Any) -> None:
        self.target = make_target(known=KnownClaim(make_claim(**changes)))
        self.ledger = ReportState()
        self.news = 0
        self.watch = MountWatch("/none", KUBELET, ledger=self.ledger, clock=ManualClock(), news=self._count)
        self.watch.demand([self.target])

    def _count(self) -> None:
        self.news += 1

    def look(self, *points: str) -> bool:
        return self.watch.judge(parse_mountinfo(b"\n".join(map(line, points)), KUBELET))

    @property
    def point(self) -> str:
        return self.target.expected[0].path

    @property
    def said(self) -> list[str]:
        return [one.reason for one in self.ledger.accused(ClaimRef("shop", "data"))]


def test_a_new_suspicion_is_looked_at_twice() -> None:
    """The kubelet unmounts a finished Pod's volume before the API shows that it has finished."""
    watching = Watching()
    assert watching.look(TOKEN)
    assert watching.said == []
    assert not watching.look(TOKEN)
    assert watching.said == ["VolumeUnmounted"]
    assert watching.news == 1
    watching.look(TOKEN)
    assert watching.news == 1
    watching.look(TOKEN, watching.point)
    assert watching.said == []


def test_a_suspicion_that_was_wrong_leaves_no_trace() -> None:
    watching = Watching()
    watching.look(TOKEN)
    watching.look(TOKEN, watching.point)
    watching.look(TOKEN)
    assert watching.said == []
    assert watching.news == 0


def test_a_table_without_any_pods_mount_may_be_another_namespaces_and_says_nothing() -> None:
    watching = Watching()
    for _ in range(3):
        watching.look()
    assert watching.said == []
    watching.look(watching.point)
    for _ in range(2):
        watching.look()
    assert watching.said == [
        "VolumeUnmounted"
    ]  # it was the node's table, and now nothing is mounted any more


def test_a_device_is_missed_only_if_it_was_there() -> None:
    """A driver may put a device there without mounting it."""
    watching = Watching(block=True)
    for _ in range(3):
        watching.look(TOKEN)
    assert watching.said == []
    watching.look(TOKEN, watching.point)
    for _ in range(2):
        watching.look(TOKEN)
    assert watching.said == ["VolumeUnmounted"]


def test_pods_that_are_being_deleted_leave_everything_as_it_was() -> None:
    watching = Watching()
    for _ in range(2):
        watching.look(TOKEN)
    watching.watch.demand([make_target(make_pod(deleting=True))])
    watching.look(TOKEN, watching.point)
    assert watching.said == ["VolumeUnmounted"]
    assert watching.ledger.says(ClaimRef("shop", "data"), Observer.MOUNT_TABLE)
