"""What all looks together say of volumes: the loud cases, each with its one incident, and who stays quiet."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.nodetree import KUBELET, Node, remembered, said
from volumehealth.node.faults import Look

SHUT = "XFS (sda): Filesystem has been shut down due to log error (0x2)."
WRITE_ERROR = "I/O error, dev sda, sector 294936 op 0x1:(WRITE) flags 0x9800 phys_seg 13 prio class 2"
READ_ERROR = "I/O error, dev sda, sector 294936 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"


def ext4_node() -> Node:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    node.volume()
    return node


def xfs_node() -> Node:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.write("/sys/fs/xfs/sda/log/log_head_lsn", "1:2")
    node.files.renumber("/sys/fs/xfs/sda", 23074)
    node.volume(kind="xfs")
    return node


def btrfs_node() -> Node:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.link("/sys/fs/btrfs/uuid-1/devices/sda", "/sys/class/block/sda")
    node.files.write("/sys/fs/btrfs/features/x", "1")
    node.files.write(
        "/sys/fs/btrfs/uuid-1/devinfo/1/error_stats", "write_errs 0\nread_errs 0\ncorruption_errs 0"
    )
    node.volume(kind="btrfs", number="0:41")
    return node


# -- healthy by the node's word --------------------------------------------------------------------------------


def test_two_clean_looks_make_a_volume_healthy() -> None:
    node = ext4_node()
    assert not node.look()["data"].healthy
    sight = node.look()["data"]
    assert (sight.healthy, sight.missing) == (True, "")
    assert sight.complete == {Look.MOUNTS, Look.DEVICE, Look.FILESYSTEM, Look.KERNEL_LOG}


@pytest.mark.parametrize("make", [ext4_node, btrfs_node])
def test_filesystems_that_count_errors_need_no_kernel_log(make: "type[Node]") -> None:
    node = make()
    node.readable = False
    assert node.look(2)["data"].healthy


def test_xfs_needs_the_kernel_log() -> None:
    node = xfs_node()
    assert node.look(2)["data"].healthy
    node = xfs_node()
    node.readable = False
    sight = node.look(2)["data"]
    assert (sight.healthy, sight.missing) == (
        False,
        "XFS on n1 cannot be judged: the agent may not read the kernel log",
    )


def test_xfs_needs_the_kernel_log_since_it_was_mounted() -> None:
    node = xfs_node()
    node.log[:] = ["<6>[  900.000000] something long after the boot"]
    assert "does not reach back" in node.look(2)["data"].missing
    node.print("XFS (sda): Mounting V5 Filesystem 1-2", level=5)
    assert node.look(2)["data"].healthy


def test_without_counters_of_the_device_nothing_is_proven() -> None:
    node = ext4_node()
    node.files.write("/sys/devices/virtual/block/sda/queue/iostats", 0)
    sight = node.look(2)["data"]
    assert not sight.healthy
    assert "iostats" in sight.missing


def logical_node(kernel: tuple[int, int], name: str = "dm-3", *, reads: int = 10) -> Node:
    node = Node(kernel=kernel)
    node.files.disk("sda", "8:0")
    path = node.files.disk(name, "253:3", below=["sda"])
    node.files.write(f"{path}/queue/iostats", 0)
    node.files.count(name, reads=reads, writes=0)
    node.files.ext4(name)
    node.volume(number="253:3", source=f"/dev/{name}")
    return node


@pytest.mark.parametrize(
    ("kernel", "name"), [((4, 18), "dm-3"), ((6, 1), "dm-3"), ((5, 10), "md3"), ((6, 18), "drbd1003")]
)
def test_a_driver_that_counts_whatever_is_asked_for_is_counted(kernel: tuple[int, int], name: str) -> None:
    """Drivers that take bios had `queue/iostats` 0 from the start, and counted."""
    node = logical_node(kernel, name)
    assert node.look(2)["data"].healthy
    node.files.count(name, reads=10, writes=0, waiting=3, started="0 3")
    assert said(node.look_for(90)["data"]) == ["Inaccessible/IOStalled"]
    node.files.count(name, reads=10, writes=3)
    assert said(node.look()["data"]) == []


@pytest.mark.parametrize("reads", [0, 10])
def test_a_device_is_counted_once_its_counters_are_seen_to_move(reads: int) -> None:
    node = logical_node((6, 18), reads=reads)
    assert "iostats" in node.look(3)["data"].missing
    node.files.count("dm-3", reads=reads + 1, writes=0)
    assert node.look(2)["data"].healthy
    node.files.renumber("/sys/devices/virtual/block/dm-3", 9)
    assert "iostats" in node.look(3)["data"].missing


@pytest.mark.parametrize("kind", ["overlay", "tmpfs", "9pfs"])
def test_what_the_node_cannot_see_is_never_accused_and_never_healthy(kind: str) -> None:
    node = Node()
    node.volume(number="0:50", kind=kind, source=kind)
    sight = node.look(3)["data"]
    assert (said(sight), sight.healthy) == ([], False)
    assert kind in sight.missing


@pytest.mark.parametrize(
    ("kind", "source"), [("ceph", "10.0.0.1:/"), ("fuse.juicefs", "JuiceFS:x"), ("cifs", "//s/x")]
)
def test_what_only_the_driver_sees_is_healthy_while_the_driver_can_tell(kind: str, source: str) -> None:
    node = Node()
    node.volume(number="0:50", kind=kind, source=source, statfs=True)
    assert node.look(2)["data"].healthy
    node = Node()
    node.volume(number="0:50", kind=kind, source=source)
    assert not node.look(2)["data"].healthy


# -- filesystems ------------------------------------------------------------------------------------------------


def test_a_btrfs_of_a_kernel_that_shows_no_counters_is_judged_by_the_log_and_never_healthy() -> None:
    """There is a directory of each device since Linux 5.6, and its counters are in it since 5.14."""
    node = btrfs_node()
    node.files.remove("/sys/fs/btrfs/uuid-1/devinfo/1/error_stats")
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/1/missing", 0)
    sight = node.look(3)["data"]
    assert (sight.healthy, sight.missing) == (False, "the error counters of btrfs cannot be read")
    assert sight.numbers.filesystem_errors is None
    node.print("BTRFS error (device sda): bdev /dev/sda errs: wr 2, rd 0, flush 0, corrupt 0, gen 0")
    assert said(node.look()["data"]) == ["Degraded/FilesystemError"]


def test_an_error_that_ext4_counts_is_told() -> None:
    node = ext4_node()
    node.look(2)
    node.files.ext4("sda", errors=1, at=int(node.now.timestamp()))
    sight = node.look()["data"]
    assert said(sight) == ["Degraded/FilesystemError"]
    assert "ext4_find_entry" in sight.incidents[0].message


def test_an_error_before_the_agent_came_is_told_if_its_pod_was_there() -> None:
    node = ext4_node()
    node.files.ext4("sda", errors=1, at=int(node.now.timestamp()) + 1)
    node.pass_(3600)
    assert said(node.look()["data"]) == ["Degraded/FilesystemError"]


def test_one_fault_that_three_looks_see_is_one_incident() -> None:
    node = ext4_node()
    node.look(2)
    node.files.ext4("sda", errors=3, at=int(node.now.timestamp()))
    node.mount("data", super_options="rw,errors=remount-ro,emergency_ro")
    node.print(READ_ERROR)
    node.print(
        "EXT4-fs error (device sda): ext4_find_entry:1683: inode #2: comm ls: reading directory lblock 0"
    )
    node.print("EXT4-fs (sda): Remounting filesystem read-only")
    sight = node.look()["data"]
    assert said(sight) == ["Degraded/FilesystemReadOnly"]
    assert "stop all Pods" in sight.incidents[0].message
    assert "ext4_find_entry" in sight.incidents[0].message
    assert "reads of the device" in sight.incidents[0].message


def test_kernels_that_print_no_read_only_state_are_seen_through() -> None:
    node = Node(kernel=(6, 13))
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    node.volume(super_options="rw,errors=remount-ro")
    node.look(2)
    node.files.ext4("sda", errors=1, at=int(node.now.timestamp()))
    assert said(node.look()["data"]) == ["Degraded/FilesystemReadOnly"]


@pytest.mark.parametrize("off", [-100_000, -1000, 1000, 100_000])
def test_the_clock_that_the_kernel_stamps_its_log_with_need_not_be_right(off: float) -> None:
    """After months it is minutes off; what is new was written since the last look, and counts for a quarter of an hour."""
    node = ext4_node()
    node.look(2)
    node.log.append(f"<3>[{200_000 + node.passed + off:12.6f}] {WRITE_ERROR}")
    node.passed += 200_000
    node.look()
    node.log.append(f"<3>[{node.passed + off:12.6f}] {WRITE_ERROR}")
    assert said(node.look()["data"]) == ["Degraded/IOError"]
    assert said(node.look_for(800)["data"]) == ["Degraded/IOError"]
    assert said(node.look_for(300)["data"]) == []


def test_what_was_written_long_ago_is_old_by_a_clock_that_is_ahead() -> None:
    node = ext4_node()
    node.log += [f"<3>[{node.passed + 4000:12.6f}] {WRITE_ERROR}", f"<6>[{node.passed + 5000:12.6f}] later"]
    assert said(node.look(2)["data"]) == []


def test_data_that_the_kernel_says_is_lost_is_data_loss() -> None:
    node = ext4_node()
    node.look(2)
    node.print(
        "EXT4-fs (sda): failed to convert unwritten extents to written extents -- potential data loss!"
        "  (inode 13, error -5)"
    )
    assert said(node.look()["data"]) == ["DataLoss/FilesystemError"]


def test_an_xfs_that_was_shut_down_is_told_for_as_long_as_it_is_mounted() -> None:
    node = xfs_node()
    node.look(2)
    node.print(SHUT, level=1)
    assert said(node.look()["data"]) == ["Inaccessible/FilesystemShutdown"]
    assert said(node.look_for(7200)["data"]) == ["Inaccessible/FilesystemShutdown"]


def test_a_line_that_holds_outlasts_the_coming_and_going_of_a_thousand_devices() -> None:
    """Of so many names some are forgotten: those of which only their mounting is known, however new they are."""
    node = xfs_node()
    node.print(SHUT, level=1)
    assert said(node.look()["data"]) == ["Inaccessible/FilesystemShutdown"]
    for number in range(1000):
        node.print(f"XFS (rbd{number}): Mounting V5 Filesystem", level=5)
    assert said(node.look()["data"]) == ["Inaccessible/FilesystemShutdown"]
    assert said(node.look_for(3600)["data"]) == ["Inaccessible/FilesystemShutdown"]


def test_when_an_xfs_was_mounted_outlasts_the_coming_and_going_of_a_thousand_disks() -> None:
    node = xfs_node()
    node.log[:] = ["<6>[  900.000000] something long after the boot"]
    node.print("XFS (sda): Mounting V5 Filesystem 1-2", level=5)
    assert node.look(2)["data"].healthy
    for number in range(1000):
        node.print(f"sd 3:0:0:{number}: [sd{number}] Attached SCSI disk", level=5)
    assert node.look(2)["data"].healthy


def test_an_xfs_shut_down_an_hour_ago_is_told_by_an_agent_that_was_started_since() -> None:
    node = xfs_node()
    node.look(2)
    node.print(SHUT, level=1)
    kept = remembered(node.look(), node.uses, node.now)
    node.pass_(3600)
    node.log[:] = ["<6>[ 4000.000000] the ring has wrapped"]
    node.restart(kept)
    assert said(node.look(2)["data"]) == ["Inaccessible/FilesystemShutdown"]
    node.files.renumber("/sys/fs/xfs/sda", 23098)
    node.print("XFS (sda): Mounting V5 Filesystem 1-2", level=5)
    sight = node.look(2)["data"]
    assert (said(sight), sight.healthy) == ([], True)


def test_a_line_between_two_agents_is_told_by_the_second_and_expires_by_its_own_time() -> None:
    node = ext4_node()
    assert node.look(2)["data"].healthy
    node.pass_(60)
    node.print(WRITE_ERROR)
    node.pass_(60)
    node.restart()
    assert said(node.look(2)["data"]) == ["Degraded/IOError"]
    node.pass_(600)
    node.restart()
    assert said(node.look(2)["data"]) == ["Degraded/IOError"]
    node.look_for(300)
    assert said(node.look()["data"]) == []


def test_an_agent_that_comes_after_the_log_wrapped_names_what_it_cannot_judge() -> None:
    node = xfs_node()
    assert node.look(2)["data"].healthy
    node.log[:] = [f"<6>[{node.passed:12.6f}] the ring begins here now"]
    node.restart()
    sight = node.look(2)["data"]
    assert (sight.healthy, said(sight)) == (False, [])
    assert "does not reach back" in sight.missing


def test_a_filesystem_that_is_mounted_anew_leaves_its_log_behind_even_if_the_log_does_not_say_so() -> None:
    node = xfs_node()
    node.look(2)
    node.print(SHUT, level=1)
    node.look()
    node.files.renumber("/sys/fs/xfs/sda", 23098)
    assert said(node.look()["data"]) == []


def test_a_btrfs_that_counts_more_errors_is_told() -> None:
    node = btrfs_node()
    node.look(2)
    node.files.write(
        "/sys/fs/btrfs/uuid-1/devinfo/1/error_stats", "write_errs 0\nread_errs 1\ncorruption_errs 3"
    )
    sight = node.look()["data"]
    assert said(sight) == ["Degraded/FilesystemError"]
    assert "corruption, read" in sight.incidents[0].message
    kept = remembered(node.look(), node.uses, node.now)
    node.restart(kept)
    assert said(node.look()["data"]) == ["Degraded/FilesystemError"]


# -- devices ----------------------------------------------------------------------------------------------------


def test_io_that_does_not_end_is_told_after_a_minute() -> None:
    node = ext4_node()
    node.look(2)
    node.files.count("sda", waiting=3, started="0 3")
    assert said(node.look_for(60)["data"]) == []
    assert said(node.look()["data"]) == ["Inaccessible/IOStalled"]
    node.files.count("sda", writes=23)
    assert said(node.look()["data"]) == []


def test_writes_that_hang_behind_reads_that_go_on_are_told() -> None:
    node = ext4_node()
    for reads in range(8):
        node.files.count("sda", reads=10 + reads, waiting=1 + reads % 3, started="1 2")
        sight = node.look()["data"]
    assert said(sight) == ["Inaccessible/IOStalled"]
    assert "writes of the device sda" in sight.incidents[0].message


def test_io_errors_of_the_disk_are_told_and_expire_after_a_quarter_of_an_hour() -> None:
    node = ext4_node()
    node.look(2)
    node.print(WRITE_ERROR)
    assert said(node.look()["data"]) == ["Degraded/IOError"]
    node.print(READ_ERROR)
    assert said(node.look()["data"]) == ["Inaccessible/IOError"]
    assert said(node.look_for(860)["data"]) == ["Inaccessible/IOError"]
    assert said(node.look_for(60)["data"]) == []


def test_an_error_accuses_only_the_partition_it_is_in() -> None:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.partition("sda", "sda1", "8:1", start=2048, size=204800)
    node.files.partition("sda", "sda2", "8:2", start=206848, size=204800)
    for name in ("sda1", "sda2"):
        node.files.ext4(name)
    node.volume("one", number="8:1", source="/dev/sda1")
    node.volume("two", number="8:2", source="/dev/sda2")
    node.look(2)
    node.print(WRITE_ERROR)
    sights = node.look()
    assert (said(sights["one"]), said(sights["two"])) == ([], ["Degraded/IOError"])


def test_a_device_that_is_gone_is_told() -> None:
    node = ext4_node()
    node.look(2)
    node.files.remove("/sys/dev/block/8:0")
    assert said(node.look()["data"]) == ["Inaccessible/DeviceGone"]


def test_a_disk_without_capacity_is_gone() -> None:
    node = ext4_node()
    node.files.write("/sys/devices/virtual/block/sda/size", 0)
    assert said(node.look()["data"]) == ["Inaccessible/DeviceGone"]


def test_a_scsi_disk_that_stays_offline_is_told() -> None:
    node = Node()
    path = node.files.scsi("sda", "8:0", "2:0:0:0", session="session3")
    node.files.ext4("sda")
    node.volume()
    node.look(2)
    node.files.write(f"{path}/device/state", "transport-offline")
    assert said(node.look_for(60)["data"]) == []
    sight = node.look()["data"]
    assert said(sight) == ["Inaccessible/DeviceOffline"]
    assert "2:0:0:0 is transport-offline" in sight.incidents[0].message


def test_an_iscsi_session_that_stays_failed_is_told() -> None:
    node = Node()
    node.files.scsi("sda", "8:0", "2:0:0:0", session="session3")
    node.files.ext4("sda")
    node.volume()
    node.files.write("/sys/class/iscsi_session/session3/state", "FAILED")
    assert said(node.look_for(90)["data"]) == ["Inaccessible/DeviceOffline"]


def multipath_node() -> Node:
    node = Node()
    node.files.scsi("sda", "8:0", "2:0:0:0")
    node.files.scsi("sdb", "8:16", "3:0:0:0")
    path = node.files.disk("dm-0", "253:0", below=("sda", "sdb"))
    node.files.write(f"{path}/dm/uuid", "mpath-3600")
    node.files.write(f"{path}/dm/name", "mpatha")
    node.files.write(f"{path}/dm/suspended", 0)
    node.files.ext4("dm-0")
    node.volume(number="253:0", source="/dev/mapper/mpatha")
    return node


def test_a_path_that_is_down_degrades_and_all_of_them_take_the_device_offline() -> None:
    node = multipath_node()
    node.files.write(
        "/sys/class/block/sdb".replace("/sys/class/block/sdb", node.files.target("/sys/class/block/sdb"))
        + "/device/state",
        "offline",
    )
    assert said(node.look_for(90)["data"]) == ["Degraded/PathDown"]
    node.files.write(node.files.target("/sys/class/block/sda") + "/device/state", "offline")
    assert said(node.look_for(90)["data"]) == ["Inaccessible/DeviceOffline"]


def test_a_path_that_multipath_gave_up_is_down_until_it_takes_it_back() -> None:
    node = multipath_node()
    node.look(2)
    node.print("device-mapper: multipath: 253:0: Failing path 8:16.", level=4)
    assert said(node.look_for(3600)["data"]) == ["Degraded/PathDown"]
    node.print("device-mapper: multipath: 253:0: Reinstating path 8:16.", level=4)
    assert said(node.look()["data"]) == []


def test_a_path_that_multipath_gave_up_is_down_for_the_next_agent_too_until_it_is_taken_back() -> None:
    node = multipath_node()
    node.look(2)
    node.print("device-mapper: multipath: 253:0: Failing path 8:16.", level=4)
    node.restart(remembered(node.look(), node.uses, node.now))
    node.log[:] = ["<6>[ 4000.000000] the ring has wrapped"]
    assert said(node.look(2)["data"]) == ["Degraded/PathDown"]
    node.print("device-mapper: multipath: 253:0: Reinstating path 8:16.", level=4)
    assert said(node.look()["data"]) == []


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("multipath: 253:0", "attached"),
        ("multipath: 253:0", "another inode"),
        ("multipath: 253:0", "out of the table"),
        ("multipath: 253:0", "another map"),
        ("multipath", "attached"),
        ("multipath", "another inode"),
    ],
)
def test_a_path_that_multipath_gave_up_is_another_one_by_now(name: str, how: str) -> None:
    """It is used from when it is added, and no line says so."""
    node = multipath_node()
    node.look(2)
    node.print(f"device-mapper: {name}: Failing path 8:16.", level=4)
    assert said(node.look(2)["data"]) == ["Degraded/PathDown"]
    below, disk = "/sys/devices/virtual/block/dm-0/slaves/sdb", node.files.target("/sys/class/block/sdb")
    if how == "attached":
        node.print("sd 3:0:0:0: [sdb] Attached SCSI disk", level=5)
    elif how == "another inode":
        node.files.renumber(disk, 9)
    elif how == "another map":
        node.files.renumber("/sys/devices/virtual/block/dm-0", 9)
    else:
        node.files.remove(below)
        assert said(node.look(2)["data"]) == []
        node.files.link(below, "/sys/class/block/sdb")
    assert said(node.look(2)["data"]) == []
    node.restart()
    if how == "attached":
        assert said(node.look(2)["data"]) == []
    node.print(f"device-mapper: {name}: Failing path 8:16.", level=4)
    assert said(node.look(2)["data"]) == ["Degraded/PathDown"]


def test_a_path_that_lost_its_capacity_is_a_path_and_all_of_them_are_the_device() -> None:
    node = multipath_node()
    node.look(2)
    node.files.write(node.files.target("/sys/class/block/sdb") + "/size", 0)
    assert said(node.look(2)["data"]) == ["Degraded/PathDown"]
    node.files.write(node.files.target("/sys/class/block/sda") + "/size", 0)
    assert said(node.look(2)["data"]) == ["Inaccessible/DeviceOffline"]


def lvm_mirror_node(*, kind: str = "raid1") -> Node:
    node = Node()
    below: list[str] = []
    for place, disk in enumerate(("sda", "sdb")):
        node.files.scsi(disk, f"8:{16 * place}", f"{place + 2}:0:0:0")
        for part in ("rimage", "rmeta") if kind == "raid1" else ("rimage",):
            name = f"dm-{len(below)}"
            path = node.files.disk(name, f"253:{len(below)}", below=(disk,))
            node.files.write(f"{path}/dm/name", f"group-data_{part}_{place}")
            below.append(name)
    path = node.files.disk("dm-9", "253:9", below=below)
    node.files.write(f"{path}/dm/name", "group-data")
    node.files.ext4("dm-9")
    node.volume(number="253:9", source="/dev/mapper/group-data")
    return node


@pytest.mark.parametrize(
    ("kind", "one"), [("raid1", "Degraded/ReplicaLost"), ("raid0", "Inaccessible/DeviceOffline")]
)
def test_a_mirror_of_lvm_works_on_with_one_of_its_disks(kind: str, one: str) -> None:
    node = lvm_mirror_node(kind=kind)
    assert node.look(2)["data"].healthy
    node.files.write(node.files.target("/sys/class/block/sdb") + "/device/state", "offline")
    assert said(node.look_for(90)["data"]) == [one]
    node.files.write(node.files.target("/sys/class/block/sda") + "/device/state", "offline")
    assert said(node.look_for(90)["data"]) == ["Inaccessible/DeviceOffline"]


def test_a_member_that_an_array_of_lvm_gave_up_is_lost_until_it_is_revived_or_replaced() -> None:
    """Its disk may take I/O again; sysfs shows nothing of it, as it does of arrays of md."""
    node = lvm_mirror_node()
    other = "md/raid1:md0: Disk failure on dm-2, disabling device."
    lost = "md/raid1:mdX: Disk failure on dm-2, disabling device."
    node.look(2)
    node.print(other, level=2)
    assert said(node.look(2)["data"]) == []
    node.print(lost, level=2)
    assert said(node.look_for(3600)["data"]) == ["Degraded/ReplicaLost"]
    node.restart(remembered(node.look(), node.uses, node.now))
    node.log[:] = ["<6>[ 9000.000000] the ring has wrapped"]
    assert said(node.look_for(3600)["data"]) == ["Degraded/ReplicaLost"]
    revived = (
        "device-mapper: raid: Faulty raid1 device #1 has readable super block.  Attempting to revive it."
    )
    node.print(revived, level=6)
    assert said(node.look(2)["data"]) == []
    node.print(lost, level=2)
    assert said(node.look(2)["data"]) == ["Degraded/ReplicaLost"]
    node.files.renumber(node.files.target("/sys/class/block/dm-2"), 9)
    assert said(node.look(2)["data"]) == []


def test_what_an_array_of_lvm_gave_up_accuses_no_volume_that_has_the_device_otherwise() -> None:
    node = lvm_mirror_node(kind="raid0")
    node.look(2)
    node.print("md/raid1:mdX: Disk failure on dm-1, disabling device.", level=2)
    assert said(node.look(2)["data"]) == []


def test_an_array_of_md_all_members_of_which_are_offline_takes_no_io() -> None:
    """The last one it never gives up, so what it says to lack is no more than before."""
    node = array_node()
    assert node.look(2)["data"].healthy
    slaves = node.files.target("/sys/class/block/md0") + "/slaves"
    for disk, number, address in (("sda", "8:0", "2:0:0:0"), ("sdb", "8:16", "3:0:0:0")):
        node.files.scsi(disk, number, address)
        node.files.link(f"{slaves}/{disk}", f"/sys/class/block/{disk}")
    node.files.write(node.files.target("/sys/class/block/sda") + "/device/state", "offline")
    assert said(node.look_for(90)["data"]) == []
    node.files.write(node.files.target("/sys/class/block/sdb") + "/device/state", "offline")
    assert said(node.look_for(90)["data"]) == ["Inaccessible/DeviceOffline"]
    node.files.write(node.files.target("/sys/class/block/sdb") + "/device/state", "running")
    assert said(node.look_for(90)["data"]) == []


def test_an_error_of_one_disk_of_a_mirror_of_lvm_is_none_of_the_volume() -> None:
    node = lvm_mirror_node()
    node.look(2)
    node.print("I/O error, dev sdb, sector 99999 op 0x0:(READ) flags 0x0")
    assert said(node.look(2)["data"]) == []


def test_errors_of_one_path_do_not_accuse_the_volume() -> None:
    node = multipath_node()
    node.look(2)
    node.print("I/O error, dev sdb, sector 9999 op 0x1:(WRITE) flags 0x0")
    assert said(node.look()["data"]) == []


def nvme_node() -> Node:
    node = Node()
    subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    node.files.disk("nvme0n1", "259:0", place=subsystem)
    for controller in ("nvme0", "nvme1"):
        node.files.link(f"{subsystem}/{controller}", f"/sys/devices/fabrics/{controller}")
        node.files.link(f"/sys/class/nvme/{controller}", f"/sys/devices/fabrics/{controller}")
        node.files.write(f"/sys/devices/fabrics/{controller}/state", "live")
        node.files.write(f"/sys/devices/fabrics/{controller}/nvme0c{controller[4:]}n1/size", 1)
    node.files.ext4("nvme0n1")
    node.volume(number="259:0", source="/dev/nvme0n1")
    return node


@pytest.mark.parametrize(
    "line",
    [
        "nvme0c0n1: I/O Cmd(0x2) @ LBA 1, 32 blocks, I/O Error (sct 0x3 / sc 0x71)",
        "recoverable transport error, dev nvme0c0n1, sector 99999 op 0x1:(WRITE) flags 0x0",
    ],
)
def test_an_error_of_one_path_of_nvme_is_one_of_the_device_only_where_no_other_path_works(line: str) -> None:
    node = nvme_node()
    node.look(2)
    node.print(line)
    assert said(node.look()["data"]) == ["Degraded/PathDown"]
    node.look_for(900)
    assert said(node.look()["data"]) == []
    for controller in ("nvme0", "nvme1"):
        node.files.write(f"{node.files.target(f'/sys/class/nvme/{controller}')}/state", "connecting")
    node.print(line)
    assert said(node.look()["data"]) == ["Degraded/IOError"]


def test_a_namespace_of_nvme_is_counted_by_its_paths_before_linux_6_5() -> None:
    node = nvme_node()
    node.files.write("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/queue/iostats", 0)
    node.files.count("nvme0n1", reads=0, writes=0, ticks=0)
    paths = [f"/sys/devices/fabrics/nvme{number}/nvme0c{number}n1" for number in (0, 1)]

    def count(*numbers: tuple[int, int]) -> None:
        for path, (writes, waiting) in zip(paths, numbers, strict=True):
            node.files.write(f"{path}/stat", f"10 0 80 5 {writes} 0 160 5 {waiting} 9 9 0 0 0 0 0 0")
            node.files.write(f"{path}/inflight", f"0 {waiting}")

    count((5, 0), (7, 0))
    assert node.look(2)["data"].healthy
    count((5, 0), (7, 2))
    assert said(node.look_for(90)["data"]) == ["Inaccessible/IOStalled"]
    count((6, 0), (7, 2))
    assert said(node.look()["data"]) == []
    for path in paths:
        node.files.write(f"{path}/queue/iostats", 0)
    count((6, 0), (7, 0))
    assert "iostats" in node.look(2)["data"].missing


def test_a_controller_that_was_removed_before_the_volume_came_is_another_one() -> None:
    node = Node()
    place = "/sys/devices/pci0000:00/0000:00:1f.0/nvme/nvme1"
    node.files.disk("nvme1n1", "259:1", place=place)
    node.files.write(f"{place}/state", "live")
    node.files.ext4("nvme1n1")
    node.print("nvme nvme1: Removing after probe failure status: -19")
    node.print("EXT4-fs (nvme1n1): mounted filesystem 1-2 r/w with ordered data mode.", level=6)
    node.volume(number="259:1", source="/dev/nvme1n1")
    node.look(2)
    node.files.write(f"{place}/state", "resetting")
    assert said(node.look(3)["data"]) == []
    node.print("nvme nvme1: Disabling device after reset failure: -19")
    assert said(node.look()["data"]) == ["Inaccessible/DeviceGone"]


def test_a_replica_that_drbd_lost_is_of_the_past_once_the_resource_is_set_up_anew() -> None:
    """Without a disk of its own, as it may be then, no line says that one is back."""
    node = Node()
    node.files.disk("drbd1000", "147:1000")
    node.files.ext4("drbd1000")
    node.volume(number="147:1000", source="/dev/drbd1000")
    node.look(2)
    node.print("drbd pvc-data/0 drbd1000: disk( UpToDate -> Failed )")
    node.print("drbd pvc-data: susp-io( no -> quorum )")
    assert said(node.look()["data"]) == ["Inaccessible/IOStalled"]
    node.print("drbd pvc-data node-2: Starting sender thread (from drbdsetup [13926])")
    assert said(node.look_for(3600)["data"]) == ["Inaccessible/IOStalled"]
    node.print("drbd pvc-data: Starting worker thread (from drbdsetup [13925])")
    assert said(node.look()["data"]) == []


@pytest.mark.parametrize(
    ("state", "expected"),
    [("Online", []), ("Marginal", []), ("Blocked", ["Inaccessible/DeviceOffline"])],
)
def test_a_port_of_fibre_channel_that_loses_frames_still_takes_io(state: str, expected: list[str]) -> None:
    node = Node()
    place = "/sys/devices/pci0000:00/host7/rport-7:0-1/target7:0:0/7:0:0:0/block"
    node.files.disk("sda", "8:0", place=place)
    node.files.write("/sys/class/fc_remote_ports/rport-7:0-1/port_state", state)
    node.files.ext4("sda")
    node.volume()
    assert said(node.look_for(120)["data"]) == expected


def test_an_nvme_controller_that_stays_away_is_a_path_and_the_last_one_the_device() -> None:
    node = nvme_node()
    assert node.look(2)["data"].healthy
    node.files.write("/sys/devices/fabrics/nvme1/state", "connecting")
    assert said(node.look_for(60)["data"]) == []
    assert said(node.look_for(30)["data"]) == ["Degraded/PathDown"]
    node.files.write("/sys/devices/fabrics/nvme0/state", "connecting")
    assert said(node.look_for(90)["data"]) == ["Inaccessible/DeviceOffline"]


def test_an_array_that_loses_a_member_while_it_is_watched_is_told() -> None:
    node = Node()
    path = node.files.disk("md0", "9:0")
    for file, text in (("degraded", 0), ("level", "raid1"), ("array_state", "active")):
        node.files.write(f"{path}/md/{file}", text)
    node.files.ext4("md0")
    node.volume(number="9:0", source="/dev/md0")
    node.look(2)
    node.files.write(f"{path}/md/degraded", 1)
    assert said(node.look()["data"]) == ["Degraded/ReplicaLost"]
    kept = remembered(node.look(), node.uses, node.now)
    node.restart(kept)
    assert said(node.look()["data"]) == ["Degraded/ReplicaLost"]
    node.files.write(f"{path}/md/degraded", 0)
    assert said(node.look()["data"]) == []


@pytest.mark.parametrize(
    ("degraded", "members", "expected"),
    {
        "a member is lost": (1, "3", ["Degraded/ReplicaLost"]),
        "a member is added, and not in step yet": (1, "4", []),
        "the same while it is reshaped": (1, "4 (3)", []),
        "a member is added, and another one lost": (2, "4", ["Degraded/ReplicaLost"]),
        "a member is given up on purpose": (0, "2", []),
        "it is checked": (0, "3", []),
    }.values(),
)
def test_an_array_is_judged_by_the_members_that_work(
    degraded: int, members: str, expected: list[str]
) -> None:
    node = Node()
    path = node.files.disk("md0", "9:0")
    for file, text in (
        ("degraded", 0),
        ("level", "raid5"),
        ("array_state", "clean"),
        ("raid_disks", 3),
        ("sync_action", "reshape"),
    ):
        node.files.write(f"{path}/md/{file}", text)
    node.files.ext4("md0")
    node.volume(number="9:0")
    node.look(2)
    node.files.write(f"{path}/md/degraded", degraded)
    node.files.write(f"{path}/md/raid_disks", members)
    assert said(node.look(2)["data"]) == expected


def array_node() -> Node:
    node = Node()
    path = node.files.disk("md0", "9:0")
    for file, text in (("degraded", 0), ("level", "raid1"), ("array_state", "clean"), ("raid_disks", 2)):
        node.files.write(f"{path}/md/{file}", text)
    node.files.ext4("md0")
    node.volume(number="9:0", source="/dev/md0")
    return node


def member_lost(node: Node) -> None:
    node.files.write("/sys/devices/virtual/block/md0/md/degraded", 1)


def reserved(node: Node) -> None:
    node.files.count("sda", writes=99)
    node.print("reservation conflict error, dev sda, sector 100000 op 0x1:(WRITE)")


def error_counted(node: Node) -> None:
    node.files.ext4("sda", errors=1, at=int(node.now.timestamp()))


def write_error_counted(node: Node) -> None:
    node.files.write(
        "/sys/fs/btrfs/uuid-1/devinfo/1/error_stats", "write_errs 2\nread_errs 0\ncorruption_errs 0"
    )


@pytest.mark.parametrize("away", ["no Pod", "unreadable", "a pause"])
@pytest.mark.parametrize(
    ("make", "strike"),
    [
        (array_node, member_lost),
        (ext4_node, error_counted),
        (btrfs_node, write_error_counted),
        (ext4_node, reserved),
    ],
)
def test_what_is_wrong_is_not_forgotten_while_a_volume_is_out_of_sight(
    make: "type[Node]", strike: "type", away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Pod is replaced by another one and the volume stays mounted, or its device cannot be read for a moment."""
    node = make()
    node.look(2)
    strike(node)
    before = said(node.look()["data"])
    assert before
    uses, mounts = list(node.uses), dict(node.mounts)
    if away == "no Pod":
        node.uses.clear()
        node.mounts.clear()
        node.look(4)
        node.mounts.update(mounts)
        node.uses += [
            replace(use, pods=tuple(replace(pod, since=node.now) for pod in use.pods)) for use in uses
        ]
    elif away == "a pause":
        node.pass_(300)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(node.files, "target", unreadable)
            patch.setattr(node.files, "names", unreadable)
            node.look(2)
    for _ in range(4):
        sight = node.look()["data"]
        assert said(sight) == before


def test_what_fails_before_the_pod_of_a_new_mounting_runs_is_told_although_another_volume_had_the_name() -> (
    None
):
    node = xfs_node()
    node.look(2)
    uses, mounts = list(node.uses), dict(node.mounts)
    node.uses.clear()
    node.mounts.clear()
    node.look(2)
    node.files.renumber("/sys/fs/xfs/sda", 23098)
    node.print("XFS (sda): Mounting V5 Filesystem 1-2", level=5)
    node.print(SHUT, level=1)
    node.look(2)
    node.mounts.update(mounts)
    node.uses += uses
    assert said(node.look()["data"]) == ["Inaccessible/FilesystemShutdown"]


def test_what_holds_for_a_quarter_of_an_hour_holds_no_longer_because_the_agent_was_started() -> None:
    """The journal was aborted beside it, and that holds until the mounting ends."""
    node = ext4_node()
    node.look(2)
    node.print("Aborting journal on device sda-8.")
    node.print(WRITE_ERROR)
    node.print(READ_ERROR)
    sights = node.look()
    assert said(sights["data"]) == ["Inaccessible/IOError"]
    node.restart(remembered(sights, node.uses, node.now))
    node.log[:] = ["<6>[ 4000.000000] the ring has wrapped"]
    sight = node.look_for(1000)["data"]
    assert said(sight) == ["Degraded/FilesystemError"]
    assert sight.incidents[0].message.endswith(
        "journal: nothing more is written: Aborting journal on device sda-8."
    )


@pytest.mark.parametrize(("make", "strike"), [(ext4_node, error_counted), (btrfs_node, write_error_counted)])
def test_errors_that_a_filesystem_counted_are_not_forgotten_because_another_fault_named_them_beside(
    make: "type[Node]", strike: "type"
) -> None:
    node = make()
    node.look(2)
    strike(node)
    node.print(WRITE_ERROR)
    node.print(READ_ERROR)
    sights = node.look()
    assert said(sights["data"]) == ["Inaccessible/IOError"]
    node.pass_(60)
    node.uses[:] = [
        replace(use, pods=tuple(replace(pod, since=node.now) for pod in use.pods)) for use in node.uses
    ]
    node.restart(remembered(sights, node.uses, node.now))
    node.log[:] = ["<6>[ 4000.000000] the ring has wrapped"]
    assert said(node.look_for(1000)["data"]) == ["Degraded/FilesystemError"]


def unreadable(path: str) -> str:
    raise OSError(5, "Input/output error", path)


def test_a_disk_that_goes_under_a_logical_volume_is_told_after_a_minute() -> None:
    node = Node()
    node.files.disk("sdb", "8:16")
    node.files.disk("dm-3", "253:3", below=["sdb"])
    node.files.ext4("dm-3")
    node.volume(number="253:3")
    node.look(2)
    node.files.remove("/sys/class/block/sdb")
    assert said(node.look()["data"]) == []
    sight = node.look_for(75)["data"]
    assert said(sight) == ["Inaccessible/DeviceGone"]
    assert "sdb is not there any more (dm-3)" in sight.incidents[0].message


def test_slow_io_is_told_only_where_a_limit_is_set() -> None:
    for limit, expected in ((None, []), (0.5, ["Degraded/SlowIO"])):
        node = Node()
        node.files.disk("sda", "8:0")
        node.files.ext4("sda")
        node.volume(max_latency=limit)
        node.look(2)
        node.files.count("sda", reads=20, writes=30, ticks=10005)
        assert said(node.look()["data"]) == expected


def test_a_full_thin_pool_is_told_for_every_volume_of_it() -> None:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.disk("dm-4", "253:4", below=("sda",))
    for minor, name in ((5, "one"), (6, "two")):
        node.files.disk(f"dm-{minor}", f"253:{minor}", below=("dm-4",))
        node.files.ext4(f"dm-{minor}")
        node.volume(name, number=f"253:{minor}", source=f"/dev/dm-{minor}")
    node.print("device-mapper: thin: 253:4: switching pool to out-of-data-space (queue IO) mode", level=4)
    assert [said(sight) for sight in node.look().values()] == [["Degraded/OutOfCapacity"]] * 2
    node.print("device-mapper: thin: 253:4: switching pool to write mode", level=4)
    assert [said(sight) for sight in node.look().values()] == [[], []]


def test_a_pool_that_is_full_is_full_for_the_next_agent_too_until_it_takes_writes() -> None:
    node = Node()
    node.files.disk("dm-4", "253:4")
    node.files.disk("dm-5", "253:5", below=("dm-4",))
    node.files.ext4("dm-5")
    node.volume(number="253:5", source="/dev/dm-5")
    node.print("device-mapper: thin: 253:4: switching pool to out-of-data-space (queue IO) mode", level=4)
    node.restart(remembered(node.look(), node.uses, node.now))
    node.log[:] = ["<6>[ 4000.000000] the ring has wrapped"]
    assert said(node.look(2)["data"]) == ["Degraded/OutOfCapacity"]
    node.print("device-mapper: thin: 253:4: switching pool to write mode", level=4)
    assert said(node.look()["data"]) == []


def block_node() -> Node:
    node = Node()
    node.files.disk("sda", "8:0")
    node.volume(number="0:5", kind="devtmpfs", source="udev", root="/sda", block=True)
    return node


def test_a_block_volume_is_judged_by_its_device() -> None:
    node = block_node()
    sight = node.look(2)["data"]
    assert (sight.healthy, sight.note) == (True, "device only")
    node.print(WRITE_ERROR)
    assert said(node.look()["data"]) == ["Degraded/IOError"]


def test_a_device_that_was_taken_away_is_gone_even_if_another_one_has_its_name_by_now() -> None:
    node = block_node()
    node.look(2)
    node.mount("data", number="0:5", kind="devtmpfs", source="udev", root="/sda//deleted", block=True)
    assert said(node.look()["data"]) == ["Inaccessible/DeviceGone"]
    node.files.remove("/sys/devices/virtual/block/sda")
    node.files.remove("/sys/class/block/sda")
    assert said(node.look()["data"]) == ["Inaccessible/DeviceGone"]


# -- servers ----------------------------------------------------------------------------------------------------


def nfs_node() -> Node:
    node = Node()
    node.volume(number="0:60", kind="nfs4", source="nas:/export", statfs=True)
    transport(node, connects=1, sent=100, received=100)
    return node


def transport(node: Node, *, connects: int, sent: int, received: int) -> None:
    point = next(iter(node.mounts))
    node.nfs["data"] = (
        f"device nas:/export mounted on {point} with fstype nfs4 statvers=1.1\n"
        f"\txprt:\ttcp 0 0 {connects} 0 24 {sent} {received} 0 150 0 2 0 0"
    )


def test_a_server_that_did_not_respond_long_ago_is_given_time_to_reply_by_an_agent_that_starts() -> None:
    """A soft mount gives up, and no line says that the server is back."""
    node = nfs_node()
    node.print("nfs: server nas not responding, timed out", level=5)
    node.pass_(86400)
    assert said(node.look(3)["data"]) == []
    transport(node, connects=1, sent=110, received=110)
    assert said(node.look_for(3600)["data"]) == []
    node.print("nfs: server nas not responding, timed out", level=5)
    assert said(node.look_for(75)["data"]) == ["Inaccessible/ServerNotResponding"]


@pytest.mark.parametrize("make", ["nfs", "cifs"])
def test_a_server_that_does_not_respond_is_not_back_for_a_minute_because_the_agent_was_started(
    make: str,
) -> None:
    node = nfs_node() if make == "nfs" else share_node()
    asked(node, statfs=False)
    node.print("nfs: server nas not responding, timed out", level=5)
    sights = node.look_for(120)
    assert said(sights["data"]) == ["Inaccessible/ServerNotResponding"]
    for wrapped in (False, True):
        node.restart(remembered(sights, node.uses, node.now))
        if wrapped:
            node.log[:] = ["<6>[ 9000.000000] the ring has wrapped"]
        for _ in range(10):
            assert said(node.look()["data"]) == ["Inaccessible/ServerNotResponding"]


def share_node(*, statfs: bool = True) -> Node:
    node = Node()
    node.volume(number="0:60", kind="cifs", source="//nas/share", statfs=statfs)
    node.look(2)
    node.print(r"CIFS: VFS: \\nas has not responded in 180 seconds. Reconnecting...")
    return node


def asked(node: Node, *, statfs: bool | None) -> None:
    node.uses[:] = [replace(use, statfs=statfs) for use in node.uses]


def test_a_cifs_server_is_down_until_it_answers_the_driver() -> None:
    """One line says so, however long it lasts, and none that it is back."""
    node = share_node()
    asked(node, statfs=False)
    assert said(node.look_for(75)["data"]) == ["Inaccessible/ServerNotResponding"]
    assert said(node.look_for(7200)["data"]) == ["Inaccessible/ServerNotResponding"]
    node.restart(remembered(node.look(), node.uses, node.now))
    node.log[:] = ["<6>[ 9000.000000] the ring has wrapped"]
    assert said(node.look_for(7200)["data"]) == ["Inaccessible/ServerNotResponding"]
    asked(node, statfs=True)
    assert said(node.look()["data"]) == []
    asked(node, statfs=False)
    assert said(node.look()["data"]) == []


def test_a_cifs_server_that_answers_the_driver_is_not_told_and_the_line_is_soon_of_the_past() -> None:
    node = share_node()
    for _ in range(70):
        assert said(node.look()["data"]) == []
    asked(node, statfs=False)
    assert said(node.look_for(75)["data"]) == []


def test_of_a_cifs_server_that_the_driver_never_asked_the_line_expires() -> None:
    node = share_node(statfs=False)
    assert said(node.look_for(75)["data"]) == ["Inaccessible/ServerNotResponding"]
    assert said(node.look_for(900)["data"]) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_of_a_cifs_server_that_the_driver_is_asked_about_no_more_the_line_expires(restarted: bool) -> None:
    """The check of capacity was switched off, or the call was lost: nothing else could ever end what the line says."""
    node = share_node()
    asked(node, statfs=False)
    sights = node.look_for(75)
    assert said(sights["data"]) == ["Inaccessible/ServerNotResponding"]
    if restarted:
        node.restart(remembered(sights, node.uses, node.now))
        node.log[:] = ["<6>[ 9000.000000] the ring has wrapped"]
        assert said(node.look()["data"]) == ["Inaccessible/ServerNotResponding"]
    asked(node, statfs=None)
    assert said(node.look_for(960)["data"]) == []


def test_what_a_disks_name_said_before_the_device_came_is_of_another_disk() -> None:
    node = Node()
    node.files.disk("sda", "8:0")
    node.print(WRITE_ERROR)
    node.print("Buffer I/O error on dev sda, logical block 77, lost async page write")
    node.pass_(60)
    node.volume(kind="devtmpfs", number="0:6", root="/sda", block=True)
    assert said(node.look(2)["data"]) == []
    node.print("Buffer I/O error on dev sda, logical block 78, lost async page write")
    assert said(node.look()["data"]) == ["DataLoss/IOError"]


@pytest.mark.parametrize(
    ("name", "attached", "place"),
    [
        ("sdb", "sd 3:0:0:0: [sdb] Attached SCSI disk", ""),
        ("vdb", "virtio_blk virtio3: [vdb] 20971520 512-byte logical blocks (10.7 GB/10.0 GiB)", ""),
        ("rbd0", "rbd: rbd0: capacity 1073741824 features 0x3d", ""),
        ("nbd0", "nbd0: detected capacity change from 0 to 2097152", ""),
        (
            "nvme1n1",
            "nvme nvme1: pci function 0000:00:1f.0",
            "/sys/devices/pci0000:00/0000:00:1f.0/nvme/nvme1",
        ),
    ],
)
def test_what_a_disks_name_said_while_a_pod_waited_for_its_device_is_of_another_disk(
    name: str, attached: str, place: str
) -> None:
    """The disk of a Pod that was deleted goes while the next Pod is there already, and another disk gets its name."""
    node = Node()
    node.files.disk(name, "8:16", place=place) if place else node.files.disk(name, "8:16")
    if place:
        node.files.write(f"{place}/state", "live")
    node.volume(kind="devtmpfs", number="0:6", root=f"/{name}", block=True)
    node.pass_(20)
    node.print(f"I/O error, dev {name}, sector 294936 op 0x1:(WRITE) flags 0x9800 phys_seg 13 prio class 2")
    node.print(f"Buffer I/O error on dev {name}, logical block 77, lost async page write")
    node.pass_(20)
    node.print(attached, level=5)
    assert said(node.look(2)["data"]) == []
    node.print(f"Buffer I/O error on dev {name}, logical block 78, lost async page write")
    assert said(node.look()["data"]) == ["DataLoss/IOError"]


def test_a_disk_that_is_attached_ends_what_was_said_of_its_own_partitions_alone() -> None:
    node = ext4_node()
    node.files.disk("nbd10", "43:160")
    node.files.ext4("nbd10")
    node.volume("other", number="43:160", source="/dev/nbd10")
    node.look(2)
    for disk in ("sda", "nbd10"):
        node.print(f"EXT4-fs ({disk}): Remounting filesystem read-only")
    for attached in ("nbd1: detected capacity change from 0 to 8", "sd 3:0:0:0: [sdaa] Attached SCSI disk"):
        node.print(attached, level=5)
    node.print("virtio_blk virtio3: [nbd10] new size: 20971520 512-byte logical blocks (10.7 GB/10.0 GiB)")
    node.print("sda: detected capacity change from 0 to 8")
    sights = node.look()
    assert said(sights["data"]) == said(sights["other"]) == ["Degraded/FilesystemReadOnly"]


def test_a_device_without_space_loses_no_data() -> None:
    node = ext4_node()
    node.look(2)
    node.print("critical space allocation error, dev sda, sector 294936 op 0x1:(WRITE) flags 0x9800")
    node.print("Buffer I/O error on dev sda, logical block 36867, lost async page write")
    node.print("sda: writeback error on inode 331, offset 0, sector 1160")
    assert said(node.look()["data"]) == ["Degraded/OutOfCapacity"]


def test_an_ext4_that_takes_writes_again_is_over_on_kernels_that_allow_it() -> None:
    node = ext4_node()
    node.look(2)
    node.print("EXT4-fs (sda): Remounting filesystem read-only")
    assert said(node.look()["data"]) == ["Degraded/FilesystemReadOnly"]
    node.print("EXT4-fs (sda): re-mounted. Opts: errors=remount-ro", level=6)
    assert said(node.look()["data"]) == []


def test_a_device_that_a_btrfs_lacks_is_not_forgotten_by_an_agent_that_is_started_anew() -> None:
    node = btrfs_node()
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/2/missing", 0)
    node.look(2)
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/2/missing", 1)
    sights = node.look()
    assert said(sights["data"]) == ["Degraded/ReplicaLost"]
    node.restart(remembered(sights, node.uses, node.now))
    assert said(node.look(3)["data"]) == ["Degraded/ReplicaLost"]
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/2/missing", 0)
    assert said(node.look()["data"]) == []


def test_a_btrfs_is_read_only_as_long_as_the_table_says_so() -> None:
    node = btrfs_node()
    node.look(2)
    node.print("BTRFS info (device sda: state E): forced readonly", level=6)
    assert said(node.look()["data"]) == []
    node.mount("data", kind="btrfs", number="0:41", super_options="ro")
    assert said(node.look()["data"]) == ["Degraded/FilesystemReadOnly"]


def test_damaged_metadata_of_a_btrfs_is_told_unless_a_copy_repairs_it() -> None:
    """Its error_stats stay zero, and its users get EIO (seen on Linux 6.18)."""
    node = btrfs_node()
    node.look(2)
    damaged = "BTRFS warning (device sda): checksum verify failed on logical 30785536 mirror {} wanted 0x1 found 0x2 level 0"
    node.print(damaged.format(1), level=4)
    node.print(
        "BTRFS info (device sda): read error corrected: ino 0 off 30785536 (dev /dev/sda sector 77)", level=6
    )
    assert said(node.look()["data"]) == []
    node.print(damaged.format(1), level=4)
    node.print(damaged.format(2), level=4)
    assert said(node.look()["data"]) == ["Degraded/FilesystemError"]


def test_a_server_that_does_not_reply_is_told() -> None:
    node = nfs_node()
    assert node.look(2)["data"].healthy
    transport(node, connects=1, sent=101, received=100)
    assert said(node.look_for(60)["data"]) == []
    assert said(node.look()["data"]) == ["Inaccessible/ServerNotResponding"]
    transport(node, connects=1, sent=102, received=102)
    assert said(node.look()["data"]) == []


def test_a_server_that_must_be_connected_to_again_and_again_is_told() -> None:
    node = nfs_node()
    node.look(2)
    transport(node, connects=2, sent=100, received=100)
    assert said(node.look_for(90)["data"]) == ["Inaccessible/ServerNotResponding"]


def test_a_server_that_the_log_says_does_not_respond_is_told_until_it_replies() -> None:
    node = nfs_node()
    node.look(2)
    node.print("nfs: server nas not responding, still trying", level=5)
    assert said(node.look_for(90)["data"]) == ["Inaccessible/ServerNotResponding"]
    transport(node, connects=1, sent=120, received=120)
    assert said(node.look()["data"]) == []


# -- the log as a witness ---------------------------------------------------------------------------------------


def test_lines_that_were_suppressed_make_a_look_at_the_log_incomplete() -> None:
    node = ext4_node()
    node.look(2)
    node.print("blk_print_req_error: 51 callbacks suppressed")
    assert Look.KERNEL_LOG not in node.look()["data"].complete
    assert Look.KERNEL_LOG in node.look()["data"].complete


def test_what_other_places_printed_too_often_is_no_gap() -> None:
    node = ext4_node()
    node.look(2)
    node.print("kauditd_printk_skb: 51 callbacks suppressed")
    assert Look.KERNEL_LOG in node.look()["data"].complete
    node.print("EXT4-fs error: 51 callbacks suppressed")
    assert Look.KERNEL_LOG not in node.look()["data"].complete


def test_lines_that_were_lost_leave_an_xfs_unjudged_until_it_is_mounted_anew() -> None:
    node = xfs_node()
    assert node.look(2)["data"].healthy
    node.log[:] = ["<6>[ 2000.000000] the ring has wrapped"]
    sight = node.look()["data"]
    assert not sight.healthy
    assert Look.KERNEL_LOG not in sight.complete
    assert not node.look()["data"].healthy


# -- who stays quiet --------------------------------------------------------------------------------------------


def old_errors_of_ext4(node: Node) -> None:
    node.files.ext4("sda", errors=1, warnings=1, at=int(node.now.timestamp()) - 86400)
    node.print("EXT4-fs (sda): error count since last fsck: 1", level=5)


def more_warnings_of_ext4(node: Node) -> None:
    node.files.ext4("sda", warnings=5)
    node.print("EXT4-fs warning (device sda): ext4_dx_add_entry:2510: Directory (ino: 2) index full", level=4)


def memory_that_the_node_lacks(node: Node) -> None:
    node.files.ext4("sda", errors=1, at=int(node.now.timestamp()), code=3)
    node.print("EXT4-fs error (device sda): ext4_mb_load_buddy:1: comm x: Out of memory")


def a_forged_line(node: Node) -> None:
    node.print(WRITE_ERROR, level=11)


def discards_that_are_not_supported(node: Node) -> None:
    node.print("operation not supported error, dev sda, sector 0 op 0x3:(DISCARD) flags 0x800")


def probing_of_the_first_and_last_blocks(node: Node) -> None:
    node.print("I/O error, dev sda, sector 0 op 0x0:(READ) flags 0x0")
    node.print("I/O error, dev sda, sector 2097144 op 0x0:(READ) flags 0x80700")
    node.print("Buffer I/O error on dev sda, logical block 0, async page read")
    node.print("Buffer I/O error on dev sda, logical block 262143, async page read")


def errors_of_another_device(node: Node) -> None:
    node.files.disk("sdb", "8:16")
    node.print("I/O error, dev sdb, sector 99999 op 0x1:(WRITE) flags 0x0")
    node.print("I/O error, dev sr0, sector 99999 op 0x0:(READ) flags 0x0")
    node.print("XFS (sdb): Filesystem has been shut down due to log error (0x2).")


def an_idle_device(node: Node) -> None:
    node.files.count("sda", waiting=0)


def a_deep_queue_that_moves(node: Node) -> None:
    node.files.count("sda", writes=int(node.passed), waiting=200, started="0 128")


def a_device_that_is_being_resized(node: Node) -> None:
    node.files.write("/sys/devices/virtual/block/sda/dm/suspended", 1)
    node.files.count("sda", waiting=9, started="0 9")


def a_reservation_of_a_node_without_writers(node: Node) -> None:
    node.print("reservation conflict error, dev sda, sector 8 op 0x0:(READ)")


@pytest.mark.parametrize(
    "harmless",
    [
        old_errors_of_ext4,
        more_warnings_of_ext4,
        memory_that_the_node_lacks,
        a_forged_line,
        discards_that_are_not_supported,
        probing_of_the_first_and_last_blocks,
        errors_of_another_device,
        an_idle_device,
        a_deep_queue_that_moves,
        a_device_that_is_being_resized,
        a_reservation_of_a_node_without_writers,
    ],
)
def test_harmless_situations_are_not_told(harmless: object) -> None:
    assert callable(harmless)
    node = ext4_node()
    node.files.write("/sys/devices/virtual/block/sda/dm/suspended", 0)
    harmless(node)
    node.look(2)
    for _ in range(20):
        harmless(node)
        assert said(node.look()["data"]) == []


def test_a_pause_of_the_node_restarts_the_watch() -> None:
    node = ext4_node()
    node.look(2)
    node.files.count("sda", waiting=3, started="0 3")
    node.look()
    node.pass_(3600)
    assert said(node.look()["data"]) == []
    assert said(node.look_for(75)["data"]) == ["Inaccessible/IOStalled"]


def test_a_pause_of_the_node_restarts_the_patience_with_states() -> None:
    node = nvme_node()
    node.look(2)
    for controller in ("nvme0", "nvme1"):
        node.files.write(f"/sys/devices/fabrics/{controller}/state", "connecting")
    node.look()
    node.pass_(3600)
    assert said(node.look()["data"]) == []


def test_states_that_last_less_than_a_minute_are_not_told() -> None:
    node = nvme_node()
    node.look(2)
    node.files.write("/sys/devices/fabrics/nvme0/state", "resetting")
    node.files.write("/sys/devices/fabrics/nvme1/state", "resetting")
    assert said(node.look_for(45)["data"]) == []
    node.files.write("/sys/devices/fabrics/nvme0/state", "live")
    node.files.write("/sys/devices/fabrics/nvme1/state", "live")
    assert said(node.look()["data"]) == []


def test_an_array_that_was_made_with_one_disk_is_not_told() -> None:
    node = Node()
    path = node.files.disk("md0", "9:0")
    for file, text in (("degraded", 1), ("level", "raid1"), ("array_state", "active")):
        node.files.write(f"{path}/md/{file}", text)
    node.files.ext4("md0")
    node.volume(number="9:0", source="/dev/md0")
    assert said(node.look(3)["data"]) == []


def test_paths_that_are_taken_away_on_purpose_are_not_told() -> None:
    node = multipath_node()
    node.look(2)
    node.files.remove("/sys/devices/virtual/block/dm-0/slaves/sdb")
    assert said(node.look_for(120)["data"]) == []


def test_a_filesystem_check_of_a_block_volume_is_not_told() -> None:
    node = block_node()
    node.look(2)
    node.print(READ_ERROR)
    node.print("Buffer I/O error on dev sda, logical block 500, async page read")
    assert said(node.look()["data"]) == []


def test_an_idle_server_is_not_told_whatever_was_sent_twice() -> None:
    node = nfs_node()
    transport(node, connects=3, sent=120, received=100)
    assert said(node.look_for(600)["data"]) == []
    transport(node, connects=4, sent=130, received=110)
    assert said(node.look_for(600)["data"]) == []


def test_a_server_that_fails_over_is_not_told() -> None:
    node = nfs_node()
    node.look(2)
    node.print("nfs: server nas not responding, still trying", level=5)
    node.look_for(45)
    node.print("nfs: server nas OK", level=5)
    assert said(node.look()["data"]) == []


def test_errors_before_the_volume_was_mounted_are_history() -> None:
    node = ext4_node()
    node.print(WRITE_ERROR)
    node.print("EXT4-fs (sda): mounted filesystem 1-2 r/w with ordered data mode. Quota mode: none.", level=6)
    assert said(node.look(2)["data"]) == []


def test_lines_that_are_older_than_a_quarter_of_an_hour_are_history_at_the_first_look() -> None:
    node = ext4_node()
    node.print(WRITE_ERROR)
    node.pass_(1200)
    assert said(node.look(2)["data"]) == []


def test_every_file_is_read_once_in_a_round() -> None:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    for number in range(5):
        node.volume(f"v{number}")
    node.look()
    assert len(node.files.reads) == len(set(node.files.reads))


def test_one_device_under_two_claims_is_told_for_both_with_the_same_words() -> None:
    node = ext4_node()
    node.volume("other")
    node.print(WRITE_ERROR)
    first, second = node.look().values()
    assert first.incidents == second.incidents
    assert KUBELET not in first.incidents[0].message


JUNK = ("", "-1", "x", "9" * 30, "1 2 3", "\x00", "\u0663", "\u00b2", "8:0", "0x1f", "nan", "running")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_sysfs_shows_the_looks_at_other_volumes_go_on(data: st.DataObject) -> None:
    node = data.draw(st.sampled_from((multipath_node, nvme_node, btrfs_node, xfs_node)))()
    node.files.disk("vdz", "252:400")
    node.files.ext4("vdz")
    node.volume("other", number="252:400")
    node.look(2)
    paths = sorted(path for path in node.files.known if "vdz" not in path)
    for path in data.draw(st.lists(st.sampled_from(paths), max_size=6)):
        node.files.write(path, data.draw(st.sampled_from(JUNK)))
    for path in data.draw(st.lists(st.sampled_from(paths), max_size=2)):
        node.files.remove(path)
    node.files.ext4("vdz", errors=1, at=int(node.now.timestamp()))
    assert said(node.look(2)["other"]) == ["Degraded/FilesystemError"]


def test_a_device_that_seems_to_consist_of_itself_is_not_followed_for_ever() -> None:
    node = multipath_node()
    node.files.link("/sys/class/block/sda", "/sys/devices/virtual/block/dm-0")
    node.files.link("/sys/devices/virtual/block/dm-0/slaves/dm-0", "/sys/devices/virtual/block/dm-0")
    assert node.look(2)["data"].missing == ""
