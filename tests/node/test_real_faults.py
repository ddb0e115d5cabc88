"""The mission's seven use cases on a real kernel, by the node's own looks alone.

What is said of the volume that is broken, what when it is healed, and that nothing is said of its neighbour.
"""

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.realdisk import RealNode, run
from volumehealth.model.clock import SystemClock

pytestmark = pytest.mark.node
Make = Callable[..., RealNode]


def healthy(node: RealNode, *names: str) -> None:
    """Expect two clean looks."""
    node.look(2)
    for name in names or ("data", "neighbour"):
        sight = node.sight(name)
        assert (node.said(name), sight.healthy, sight.missing) == ([], True, ""), name


# -- I/O errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_writes_that_fail_are_told(make_node: Make, kind: str) -> None:
    node = make_node()
    volume = node.volume(kind=kind)
    node.volume("neighbour", kind)
    volume.write()
    healthy(node)
    volume.disk.behave(writes="fail")
    expected = {
        "ext4": {"DataLoss/FilesystemError", "DataLoss/IOError"},
        "xfs": {"Inaccessible/FilesystemShutdown", "Inaccessible/IOError", "Degraded/IOError"},
        "btrfs": {"Degraded/FilesystemReadOnly", "Degraded/FilesystemError"},
    }[kind]
    for number in range(6):
        volume.write(f"lost{number}")
        node.look(2)
        if node.said():
            break
    assert set(node.said()) <= expected
    assert node.said()
    assert node.said("neighbour") == []


def test_reads_that_fail_are_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    node.volume("neighbour")
    volume.write(mebibytes=4)
    healthy(node)
    volume.disk.behave(reads="fail")
    for _ in range(6):  # the kernel may print nothing for 5 seconds after the noise of an earlier test
        volume.read()
        node.look(2)
        if node.said():
            break
    # ext4 may read a bitmap of its own meanwhile, which it counts as an error of the filesystem.
    assert node.said() in (["Degraded/IOError"], ["Degraded/FilesystemError"])
    assert node.said("neighbour") == []


def write_device(path: Path) -> None:
    """Write to a device; its errors are the application's."""
    subprocess.run(
        ["dd", "if=/dev/urandom", f"of={path}", "bs=4k", "count=4", "seek=100", "conv=fsync"],
        capture_output=True,
        check=False,
    )


def test_writes_to_a_raw_device_that_fail_are_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(kind="block")
    node.volume("neighbour", "block")
    healthy(node)
    assert node.sight().note == "device only"
    volume.disk.behave(writes="fail")
    for _ in range(6):
        write_device(volume.point)
        node.look(2)
        if node.said():
            break
    assert node.said() == ["DataLoss/IOError"]
    assert node.said("neighbour") == []


@pytest.mark.parametrize("kind", ["ext4", "block"])
def test_a_disk_whose_storage_is_full_is_told_to_be_full(make_node: Make, kind: str) -> None:
    """A thin array or a thin file without space: writes are lost for a reason that is no damage."""
    node = make_node()
    volume = node.volume(kind=kind)
    node.volume("neighbour", kind)
    healthy(node)
    volume.disk.behave(writes="full")
    for number in range(6):
        if kind == "block":
            write_device(volume.point)
        else:
            volume.write(f"lost{number}")
        node.look(2)
        if node.said():
            break
    # ext4 gives its journal up when a write to that fails, for whatever reason.
    assert node.said()[0] in (
        "Degraded/OutOfCapacity",
        "Degraded/FilesystemReadOnly",
        "Degraded/FilesystemError",
    )
    assert not [one for one in node.said() if one.startswith("DataLoss")]
    assert node.said("neighbour") == []


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_io_that_does_not_end_is_told_and_its_end_too(make_node: Make, kind: str) -> None:
    node = make_node()
    volume = node.volume(kind=kind)
    node.volume("neighbour", kind)
    healthy(node)
    volume.disk.behave(reads="hang", writes="hang")
    writing = volume.write_in_background()
    took = node.until("Inaccessible/IOStalled")
    assert took >= 3
    assert node.said("neighbour") == []
    volume.disk.behave()
    writing.join(20)
    node.until()


# -- disk failure, deleted outside ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_disk_that_fails_for_good_is_told(make_node: Make, kind: str) -> None:
    node = make_node()
    volume = node.volume(kind=kind)
    node.volume("neighbour", kind)
    volume.write(mebibytes=4)
    healthy(node)
    volume.disk.behave(reads="fail", writes="fail")
    for number in range(6):
        volume.write(f"lost{number}")
        volume.read()
        node.look(2)
        if node.said() and not node.said()[0].startswith("Degraded"):
            break
    assert node.said()[0].partition("/")[0] in ("Inaccessible", "DataLoss")
    assert node.said("neighbour") == []


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "block"])
def test_a_disk_that_is_taken_away_is_told_until_it_is_there_again(make_node: Make, kind: str) -> None:
    node = make_node()
    volume = node.volume(kind=kind)
    node.volume("neighbour", kind)
    healthy(node)
    volume.disk.faults.take_away()
    node.until("Inaccessible/DeviceGone")
    assert node.said("neighbour") == []
    volume.disk.faults.give_back()
    node.until()


# -- degraded performance ---------------------------------------------------------------------------------------


def test_a_slow_disk_is_told_where_a_limit_is_set(make_node: Make) -> None:
    node = make_node(max_latency="50ms")
    volume = node.volume()
    node.volume("neighbour")
    healthy(node)
    volume.disk.behave(reads="0.2", writes="0.2")
    for number in range(3):
        volume.write(f"slow{number}", mebibytes=0.1)
        node.look()
        if node.said():
            break
    assert node.said() == ["Degraded/SlowIO"]
    assert node.said("neighbour") == []
    volume.disk.behave()
    volume.write("fast")
    node.until()


# -- corruption -------------------------------------------------------------------------------------------------


def test_an_error_that_ext4_finds_is_told_until_the_filesystem_is_checked(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(options="errors=continue")
    node.volume("neighbour")
    healthy(node)
    Path(f"/sys/fs/ext4/{volume.disk.name}/trigger_fs_error").write_text("broken for a test")
    node.until("Degraded/FilesystemError")
    assert "trigger_test_error" in node.message()
    assert node.said("neighbour") == []
    node.restart()
    node.look(2)
    assert node.said() == ["Degraded/FilesystemError"]
    volume.umount()
    subprocess.run(["e2fsck", "-fy", volume.disk.device], check=False, capture_output=True)
    volume.mount()
    node.until()
    healthy(node)


def test_a_filesystem_that_the_kernel_makes_read_only_is_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(options="errors=remount-ro")
    node.volume("neighbour")
    healthy(node)
    Path(f"/sys/fs/ext4/{volume.disk.name}/trigger_fs_error").write_text("broken for a test")
    node.until("Degraded/FilesystemReadOnly")
    assert "stop all Pods" in node.message()
    assert "also:" in node.message()
    assert node.said("neighbour") == []


def test_an_ext4_that_was_shut_down_is_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    healthy(node, "data")
    _shut_down(volume.point)
    node.until("Inaccessible/FilesystemShutdown")


def test_an_xfs_that_was_shut_down_is_told_also_by_an_agent_that_was_started_since(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(kind="xfs")
    node.volume("neighbour", "xfs")
    healthy(node)
    _shut_down(volume.point)
    node.until("Inaccessible/FilesystemShutdown")
    assert node.said("neighbour") == []
    node.restart()
    node.look(2)
    assert node.said() == ["Inaccessible/FilesystemShutdown"]
    volume.umount()
    volume.mount()
    node.until()
    healthy(node)


def _shut_down(point: Path) -> None:
    """Shut a filesystem down as its own ioctl does (FS_IOC_GOINGDOWN, without flushing)."""
    handle = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(handle)


def test_a_damaged_btrfs_is_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(kind="btrfs")
    healthy(node, "data")
    volume.write("big", mebibytes=8)
    volume.umount()
    _overwrite(Path(volume.disk.device))
    volume.mount()
    node.look(2)
    volume.read("big")
    node.look(2)
    assert node.said() == ["Degraded/FilesystemError"]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_metadata_that_was_damaged_is_told_when_it_is_read(make_node: Make, kind: str) -> None:
    node = make_node()
    volume = node.volume(kind=kind)
    node.volume("neighbour", kind)
    healthy(node)
    directory = volume.point / "directory"
    directory.mkdir()
    for number in range(100):
        (directory / f"a-name-to-be-damaged-{number:03}").write_text("x")
    run("fsfreeze", "--freeze", str(volume.point))  # brings all to its place on the disk
    run("fsfreeze", "--unfreeze", str(volume.point))
    volume.disk.faults.damage("a-name-to-be-damaged")
    for _ in range(6):
        for _ in range(6):  # XFS keeps what was read often
            Path("/proc/sys/vm/drop_caches").write_text("3")
        subprocess.run(["ls", str(directory)], check=False, capture_output=True)
        node.look(2)
        if node.said():
            break
    assert node.said() == ["Degraded/FilesystemError"]
    assert node.said("neighbour") == []


def _overwrite(device: Path) -> None:
    """Damage data of a filesystem on the disk, past its superblocks and metadata."""
    with device.open("r+b", buffering=0) as disk:
        for place in range(13, 40):
            disk.seek(place * 1024 * 1024 + 8192)
            disk.write(b"x" * 4096)


# -- unmounted outside ------------------------------------------------------------------------------------------


def test_a_volume_that_was_unmounted_is_told_until_it_is_mounted(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    node.volume("neighbour")
    healthy(node)
    volume.umount()
    node.until("Inaccessible/VolumeUnmounted")
    assert node.said("neighbour") == []
    volume.mount()
    node.until()


def test_a_directory_of_the_nodes_disk_is_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    node.volume("neighbour")
    healthy(node)
    staging = node.kubelet / "plugins/kubernetes.io/csi/d.example.com" / ("3f" * 32) / "globalmount"
    staging.mkdir(parents=True)
    volume.umount()
    run("mount", "--bind", str(staging), str(volume.point))
    node.until("Inaccessible/WrongMount")
    assert node.said("neighbour") == []


def test_a_volume_that_was_mounted_anew_from_another_device_is_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    other = node.volume("neighbour")
    healthy(node)
    volume.umount()
    run("mount", other.disk.device, str(volume.point))
    node.until("Degraded/MountReplaced")


def test_a_volume_that_was_remounted_read_only_is_told(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    node.volume("neighbour")
    healthy(node)
    run("mount", "-o", "remount,ro", str(volume.point))
    node.until("Degraded/FilesystemReadOnly")
    assert node.said("neighbour") == []
    run("mount", "-o", "remount,rw", str(volume.point))
    node.until()


# -- without the kernel log -------------------------------------------------------------------------------------


def test_without_the_kernel_log_xfs_cannot_be_judged_and_ext4_can(make_node: Make) -> None:
    node = make_node(kernel_log=False)
    node.volume(kind="xfs")
    volume = node.volume("neighbour")
    node.look(2)
    assert not node.sight().healthy
    assert "XFS on n1 cannot be judged" in node.sight().missing
    assert node.sight("neighbour").healthy
    Path(f"/sys/fs/ext4/{volume.disk.name}/trigger_fs_error").write_text("broken for a test")
    node.look(2)
    assert node.said("neighbour")


# -- quiet ------------------------------------------------------------------------------------------------------


def test_old_errors_of_a_filesystem_are_history(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(options="errors=continue")
    Path(f"/sys/fs/ext4/{volume.disk.name}/trigger_fs_error").write_text("broken for a test")
    volume.umount()
    volume.mount()
    time.sleep(1.1)
    volume.pod = replace(volume.pod, since=SystemClock().now())
    node.restart()
    node.look(3)
    assert node.said() == []


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_work_probing_freezing_and_trimming_are_quiet(make_node: Make, kind: str) -> None:
    node = make_node()
    volume = node.volume(kind=kind)
    healthy(node, "data")
    for number in range(4):
        volume.write(f"file{number}", mebibytes=4)
        subprocess.run(["blkid", "-p", volume.disk.device], check=False, capture_output=True)
        subprocess.run(["fstrim", str(volume.point)], check=False, capture_output=True)
        node.look()
    run("fsfreeze", "-f", str(volume.point))
    try:
        waiting = volume.write_in_background("frozen")
        node.look(6)
    finally:
        run("fsfreeze", "-u", str(volume.point))
    waiting.join(10)
    node.look()
    assert node.said() == []
    assert node.sight().healthy


def test_a_full_filesystem_is_no_broken_one(make_node: Make) -> None:
    node = make_node()
    volume = node.volume(mebibytes=40)
    healthy(node, "data")
    volume.write("full", mebibytes=60)
    node.look(2)
    assert node.said() == []


def test_a_line_that_a_process_wrote_is_no_evidence(make_node: Make) -> None:
    node = make_node()
    volume = node.volume()
    healthy(node, "data")
    Path("/dev/kmsg").write_text(
        f"<3>I/O error, dev {volume.disk.name}, sector 294936 op 0x1:(WRITE) flags 0x0"
    )
    node.look(2)
    assert node.said() == []
