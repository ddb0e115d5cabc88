"""Situations in which nothing is wrong with a volume, whatever they look like: nothing is told, for as long as they last.

The numbers are those of docs/node-quiet.md, which also names the tests in test_eyes, test_mounts and test_lines.
"""

from dataclasses import replace

import pytest

from support.nodetree import KUBELET, Node, said
from unit.node.test_eyes import (
    SHUT,
    block_node,
    btrfs_node,
    ext4_node,
    multipath_node,
    nfs_node,
    nvme_node,
    transport,
    xfs_node,
)
from volumehealth.node.eyes import Earlier
from volumehealth.node.faults import Look

ERROR = "I/O error, dev sda, sector {} op 0x1:(WRITE) flags 0x9800 phys_seg 13 prio class 2"


def quiet_for(node: Node, minutes: float) -> None:
    """Look for so long and expect nothing at any look."""
    for _ in range(int(minutes * 60 / node.interval)):
        for name, sight in node.look().items():
            assert said(sight) == [], name


def btrfs(errors: int) -> Node:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.link("/sys/fs/btrfs/uuid-1/devices/sda", "/sys/class/block/sda")
    stats = f"write_errs {errors}\nread_errs 3\ncorruption_errs 7\ngeneration_errs 0\nflush_errs 0"
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/1/error_stats", stats)
    node.volume(kind="btrfs", number="0:41")
    return node


def test_2_errors_that_btrfs_has_counted_for_years() -> None:
    node = btrfs(5)
    node.print("BTRFS info (device sda): bdev /dev/sda errs: wr 5, rd 3, flush 0, corrupt 7, gen 0", level=6)
    quiet_for(node, 30)
    node.restart()
    quiet_for(node, 30)


def test_2_counters_of_btrfs_that_cannot_be_read_for_a_moment() -> None:
    node = btrfs(5)
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/2/error_stats", "write_errs 3\nread_errs 0")
    node.look(2)
    for device in (1, 2):
        path = f"/sys/fs/btrfs/uuid-1/devinfo/{device}/error_stats"
        text = node.files.read(path).strip()
        for unreadable in ("invalid", ""):
            node.files.write(path, unreadable)
            quiet_for(node, 1)
            node.files.write(path, text)
            quiet_for(node, 1)
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/3/error_stats", "write_errs 8\nread_errs 0")
    quiet_for(node, 1)
    node.files.write("/sys/fs/btrfs/uuid-1/devinfo/2/error_stats", "write_errs 4\nread_errs 0")
    assert said(node.look()["data"]) == ["Degraded/FilesystemError"]


def test_4_the_line_of_each_day_about_errors_of_long_ago_renews_nothing() -> None:
    node = ext4_node()
    node.look(2)
    node.print(ERROR.format(100_000))
    assert said(node.look()["data"]) == ["Degraded/IOError"]
    for _ in range(3):
        node.look_for(600)
        node.print("EXT4-fs (sda): error count since last fsck: 1", level=5)
        node.print("EXT4-fs (sda): initial error at time 1700000000: ext4_find_entry:1683: inode 2", level=5)
        node.print("EXT4-fs (sda): last error at time 1700000000: ext4_find_entry:1683: inode 2", level=5)
    quiet_for(node, 20)


def test_5_a_check_of_a_filesystem_before_it_is_mounted() -> None:
    node = ext4_node()
    mounts, uses = dict(node.mounts), list(node.uses)
    node.mounts.clear()
    node.uses.clear()
    node.look()
    node.print("I/O error, dev sda, sector 9999 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2")
    node.print("Buffer I/O error on dev sda, logical block 1249, async page read")
    node.look()
    node.print("EXT4-fs (sda): mounted filesystem 1-2 r/w with ordered data mode. Quota mode: none.", level=6)
    node.mounts.update(mounts)
    node.uses += uses
    quiet_for(node, 20)


@pytest.mark.parametrize(
    "text",
    [
        "ext4_dx_add_entry:2510: Directory (ino: 2) index full, reached max htree level :2",
        "htree_dirblock_to_tree:1082: inode #2: lblock 0: comm ls: error -5 reading directory block",
        "ext4_multi_mount_protect:328: MMP interval 42 higher than expected, please wait.",
        "ext4_update_dynamic_rev:1129: updating to rev 1 because of new feature flag, running e2fsck is recommended",
        "ext4_mb_mark_diskspace_used:3123: no space for directory leaf checksum. Please run e2fsck -D.",
        "maximal mount count reached, running e2fsck is recommended",
    ],
)
def test_6_a_warning_of_ext4_that_is_of_no_lost_write(text: str) -> None:
    node = ext4_node()
    node.look(2)
    node.files.ext4("sda", warnings=1)
    node.print(f"EXT4-fs warning (device sda): {text}", level=4)
    quiet_for(node, 20)


@pytest.mark.parametrize(
    ("code", "errno", "why"), [(3, 12, "the node lacks memory"), (6, 28, "the disk is full")]
)
def test_7_an_error_that_ext4_counts_and_that_is_not_of_the_volume(code: int, errno: int, why: str) -> None:
    node = ext4_node()
    node.look(2)
    for count in range(1, 5):
        node.files.ext4("sda", errors=count, at=int(node.now.timestamp()), code=code)
        node.print(f"EXT4-fs error (device sda) in ext4_new_inode:1092: error {errno}")
        assert said(node.look()["data"]) == [], why
    node.restart()
    quiet_for(node, 5)


def test_9_a_logical_volume_is_moved_for_nine_minutes() -> None:
    node = Node()
    node.files.disk("sdb", "8:16")
    path = node.files.disk("dm-3", "253:3", below=["sdb"])
    node.files.write(f"{path}/dm/uuid", "LVM-1")
    node.files.ext4("dm-3")
    node.volume(number="253:3")
    node.look(2)
    node.files.write(f"{path}/dm/suspended", 1)
    node.files.count("dm-3", waiting=40, started="0 0")
    quiet_for(node, 9)
    node.files.write(f"{path}/dm/suspended", 0)
    node.files.count("dm-3", writes=4000)
    quiet_for(node, 2)


def test_a_logical_volume_that_is_never_resumed_is_told() -> None:
    node = ext4_node()
    node.files.write("/sys/devices/virtual/block/sda/dm/suspended", 1)
    assert said(node.look_for(700)["data"]) == ["Inaccessible/IOStalled"]


def test_10_a_throttled_disk() -> None:
    node = ext4_node()
    node.look(2)
    for number in range(40):  # a limit of the cgroup: nothing waits in the device's queue
        node.files.count("sda", writes=20 + number // 10, waiting=0)
        assert said(node.look()["data"]) == []
    for number in range(40):  # a limit of the cloud: all wait, and some end
        node.files.count("sda", writes=100 + number, waiting=256, started="0 256")
        assert said(node.look()["data"]) == []


def test_11_an_idle_disk() -> None:
    quiet_for(ext4_node(), 300)


def test_12_a_disk_that_ends_one_request_in_half_a_minute() -> None:
    node = ext4_node()
    node.look(2)
    for number in range(40):
        node.files.count("sda", writes=20 + number // 2, waiting=128, started="0 1")
        assert said(node.look()["data"]) == []


def test_13_a_count_of_what_waits_that_an_old_kernel_never_takes_back() -> None:
    node = Node(kernel=(4, 19))
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    node.volume()
    node.files.count("sda", waiting=1, started="0 0")
    quiet_for(node, 55)


def test_14_a_backend_that_comes_back_within_the_time_that_error_handling_takes() -> None:
    node = Node()
    node.files.scsi("sdb", "8:16", "2:0:0:1", session="session1")
    node.files.ext4("sdb")
    node.volume(number="8:16")
    node.look(2)
    for number in range(5):
        node.print("connection1:0: detected conn error (1022)", level=6)
        node.files.write("/sys/class/iscsi_session/session1/state", "FAILED")
        node.files.count("sdb", writes=20 + number, waiting=30, started="0 30")
        quiet_for(node, 0.75)
        node.files.write("/sys/class/iscsi_session/session1/state", "LOGGED_IN")
        node.files.count("sdb", writes=21 + number)
        quiet_for(node, 0.5)


@pytest.mark.parametrize("action", ["check", "resync", "repair", "reshape"])
def test_15_an_array_that_is_checked_or_reshaped(action: str) -> None:
    node = Node()
    path = node.files.disk("md0", "9:0")
    for file, text in (("degraded", 0), ("level", "raid6"), ("array_state", "active"), ("raid_disks", 4)):
        node.files.write(f"{path}/md/{file}", text)
    node.files.ext4("md0")
    node.volume(number="9:0")
    node.look(2)
    node.files.write(f"{path}/md/sync_action", action)
    node.print(f"md: {action} of RAID array md0", level=6)
    quiet_for(node, 20)


def test_16_a_controller_of_a_disk_that_no_volume_is_on() -> None:
    node = nvme_node()
    node.look(2)
    node.files.write("/sys/class/nvme/nvme7/state", "dead")
    node.print("nvme nvme7: Removing after probe failure status: -19")
    quiet_for(node, 5)


@pytest.mark.parametrize("state", ["new", "deleting", "deleting (no IO)", "resetting"])
def test_16_a_controller_that_is_disconnected_on_purpose(state: str) -> None:
    node = nvme_node()
    node.look(2)
    node.files.write("/sys/devices/fabrics/nvme1/state", state)
    quiet_for(node, 0.75)
    node.files.remove("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1")
    node.files.remove("/sys/devices/fabrics/nvme1")
    node.files.remove("/sys/class/nvme/nvme1")
    quiet_for(node, 10)


@pytest.mark.parametrize("access", ["standby", "transitioning", "unavailable", "lba-dependent"])
def test_17_a_path_that_is_not_the_active_one(access: str) -> None:
    node = Node()
    path = node.files.scsi("sdb", "8:16", "2:0:0:1")
    node.files.ext4("sdb")
    node.volume(number="8:16")
    node.files.write(f"{path}/device/access_state", access)
    node.files.write(f"{path}/device/ioerr_cnt", "0x2f")
    quiet_for(node, 10)
    node.files.write(f"{path}/device/ioerr_cnt", "0xff")
    quiet_for(node, 10)


def test_18_an_array_that_restarts_one_controller_after_the_other() -> None:
    node = multipath_node()
    node.look(2)
    for name in ("sda", "sdb", "sda"):
        state = f"{node.files.target(f'/sys/class/block/{name}')}/device/state"
        node.files.write(state, "blocked")
        quiet_for(node, 0.75)
        node.files.write(state, "running")
        quiet_for(node, 1)


def test_19_an_iscsi_session_of_another_target() -> None:
    node = Node()
    node.files.scsi("sdb", "8:16", "2:0:0:1", session="session1")
    node.files.ext4("sdb")
    node.volume(number="8:16")
    node.files.write("/sys/class/iscsi_session/session2/state", "FAILED")
    node.print("session2: session recovery timed out after 120 secs", level=6)
    quiet_for(node, 10)


@pytest.mark.parametrize("state", ["blocked", "quiesce", "transport-offline"])
def test_20_a_state_that_error_handling_takes_for_less_than_a_minute(state: str) -> None:
    node = Node()
    path = node.files.scsi("sdb", "8:16", "2:0:0:1")
    node.files.ext4("sdb")
    node.volume(number="8:16")
    node.look(2)
    for _ in range(5):
        node.files.write(f"{path}/device/state", state)
        quiet_for(node, 0.75)
        node.files.write(f"{path}/device/state", "running")
        quiet_for(node, 0.5)


def test_21_a_machine_that_was_moved_while_it_waited_for_its_disk() -> None:
    node = ext4_node()
    node.look(2)
    for number in range(4):
        node.files.count("sda", writes=20 + number, waiting=12, started="0 12")
        node.pass_(900)
        quiet_for(node, 0.75)


def test_22_lines_about_a_disk_that_was_taken_away_after_it_was_unmounted() -> None:
    node = ext4_node()
    for text in (
        ERROR.format(100_000),
        "Buffer I/O error on dev sdx, logical block 12500, lost async page write",
        "EXT4-fs error (device sdx): ext4_find_entry:1683: inode #2: comm x: reading directory lblock 0",
        "XFS (sdx): Filesystem has been shut down due to log error (0x2).",
    ):
        node.print(text.replace("sda", "sdx"))
    quiet_for(node, 5)


@pytest.mark.parametrize("kind", ["nfs4", "ceph", "fuse.s3fs", "overlay", "tmpfs", "zfs", "cifs", "9p"])
def test_23_a_filesystem_without_a_device(kind: str) -> None:
    node = Node()
    node.volume(number="0:77", kind=kind, source="x:/y")
    quiet_for(node, 10)


def test_31_a_filesystem_that_is_read_only_under_pods_that_all_end() -> None:
    node = ext4_node()
    node.look(2)
    node.uses[0] = replace(node.uses[0], pods=())
    node.mount("data", super_options="rw,emergency_ro")
    quiet_for(node, 2)


@pytest.mark.parametrize(
    "text",
    [
        "nfs: server nas2 not responding, still trying",
        "nfs: server nas.other.example.com not responding, timed out",
        "nfs: server na not responding, still trying",
        "lockd: server nas not responding, timed out",
        r"CIFS: VFS: \\nas has not responded in 180 seconds. Reconnecting...",
    ],
)
def test_32_another_server_does_not_respond(text: str) -> None:
    node = nfs_node()
    for number in range(40):
        transport(node, connects=1, sent=100 + number, received=100 + number)
        node.print(text, level=5)
        assert said(node.look()["data"]) == []


def test_32_a_server_closes_the_connection_of_an_idle_mount_every_five_minutes() -> None:
    node = nfs_node()
    for number in range(12):
        transport(node, connects=1 + number, sent=100 + number, received=100 + number)
        quiet_for(node, 5)


@pytest.mark.parametrize(
    "text",
    [
        "libceph: osd1 (1)10.0.0.1:6801 socket closed (con state OPEN)",
        "libceph: mon0 (1)10.0.0.1:6789 session lost, hunting for new mon",
        "rbd: rbd0: encountered watch error: -107",
        "ceph: mds0 hung",
        "ceph: mds0 reconnect start",
    ],
)
def test_33_ceph_looks_for_another_server(text: str) -> None:
    node = Node()
    node.files.disk("rbd0", "252:0")
    node.files.ext4("rbd0")
    node.volume(number="252:0", source="/dev/rbd0")
    node.volume("shared", number="0:70", kind="ceph", source="10.0.0.1:/", statfs=True)
    node.look(2)
    for _ in range(20):
        node.print(text, level=4)
        quiet_for(node, 0.5)


def test_34_a_driver_is_restarted_and_its_staging_mount_is_gone_for_a_while() -> None:
    node = ext4_node()
    staging = f"{KUBELET}/plugins/kubernetes.io/csi/d.example.com/0123/globalmount"
    node.mounts[staging] = f"40 30 8:0 / {staging} rw,relatime shared:1 - ext4 /dev/sda rw"
    quiet_for(node, 2)
    del node.mounts[staging]
    quiet_for(node, 5)
    node.mounts[staging] = f"99 30 8:0 / {staging} rw,relatime shared:1 - ext4 /dev/sda rw"
    quiet_for(node, 5)


def test_35_the_name_of_a_process_or_a_file_that_looks_like_a_fault() -> None:
    node = ext4_node()
    node.look(2)
    for text in (
        'audit: type=1400 comm="x" name="EXT4-fs error (device sda): no"',
        "app[77]: I/O error, dev sda, sector 100000 op 0x1:(WRITE) flags 0x0",
        "EXT4-fs warning (device sda): ext4_x:1: inode #2: comm EXT4-fs (sda): Remounting filesystem read-only",
    ):
        node.print(text)
    node.print(ERROR.format(100_000), level=12)
    quiet_for(node, 5)


def test_36_what_was_said_before_the_node_was_booted() -> None:
    node = xfs_node()
    instance = "b0/xfs/sda/23074"  # the same as now, but of the boot before
    said_then = Earlier(
        Look.KERNEL_LOG, "Inaccessible", "FilesystemShutdown", f"shut down: {SHUT}", instance, node.now
    )
    node.restart({"claim-data": [said_then]})
    quiet_for(node, 5)


def test_37_a_kernel_that_lacks_memory_for_a_while() -> None:
    node = xfs_node()
    for number in range(20):
        node.print(
            f"XFS: shut down({number}) possible memory allocation deadlock size 32 in kmem_alloc (mode:0x2400240)"
        )
        node.print(
            f"XFS: java({number}) possible memory allocation deadlock size 32 in kmem_alloc (mode:0x2400240)"
        )
    quiet_for(node, 5)


@pytest.mark.parametrize("make", [ext4_node, xfs_node, btrfs_node, block_node, nfs_node])
def test_a_volume_at_work_for_an_hour(make: "type[Node]") -> None:
    node = make()
    for number in range(240):
        if make is nfs_node:
            transport(node, connects=1, sent=100 + number, received=100 + number)
        else:
            node.files.count("sda", reads=10 + 7 * number, writes=20 + 9 * number, waiting=number % 3)
        assert said(node.look()["data"]) == []
    assert node.look()["data"].healthy


# -- others of their kinds ---------------------------------------------------------------------------------------


def test_errors_of_a_disk_that_several_logical_volumes_lie_on_accuse_none_that_is_not_named() -> None:
    node = Node()
    node.files.disk("sda", "8:0")
    for number in (3, 4):
        node.files.disk(f"dm-{number}", f"253:{number}", below=["sda"])
        node.files.ext4(f"dm-{number}")
        node.volume(f"data-{number}", number=f"253:{number}")
    node.look(2)
    node.print(ERROR.format(100_000))
    quiet_for(node, 5)
    node.print("Buffer I/O error on dev dm-4, logical block 7000, lost async page write")
    sights = node.look()
    assert said(sights["data-3"]) == []
    assert said(sights["data-4"]) == ["DataLoss/IOError"]


@pytest.mark.parametrize("below", ["partition", "crypt", "pool", "array"])
def test_errors_below_what_several_logical_volumes_share_accuse_none_that_is_not_named(below: str) -> None:
    node = Node()
    node.files.disk("sda", "8:0", size=4_194_304)
    node.files.partition("sda", "sda1", "8:1", start=2048, size=4_000_000)
    group = "sda1"
    if below == "crypt":
        node.files.disk(group := "dm-1", "253:1", below=["sda1"])
    elif below == "pool":
        node.files.disk("dm-0", "253:0", below=["sda1"])
        node.files.disk(group := "dm-1", "253:1", below=["dm-0"])
    elif below == "array":
        node.files.disk(group := "md0", "9:0", below=["sda1"])
    for number in (3, 4):
        node.files.disk(f"dm-{number}", f"253:{number}", below=[group])
        node.files.ext4(f"dm-{number}")
        node.volume(f"data-{number}", number=f"253:{number}")
    node.look(2)
    node.print(ERROR.format(100_000))
    quiet_for(node, 5)
    node.print("Buffer I/O error on dev dm-4, logical block 7000, lost async page write")
    sights = node.look()
    assert said(sights["data-3"]) == []
    assert said(sights["data-4"]) == ["DataLoss/IOError"]


def test_errors_of_one_disk_of_a_mirror_are_none_of_the_volume() -> None:
    node = Node()
    for name, number in (("sda", "8:0"), ("sdb", "8:16")):
        node.files.disk(name, number)
    path = node.files.disk("md0", "9:0", below=["sda", "sdb"])
    for file, text in (("degraded", 0), ("level", "raid1"), ("array_state", "clean"), ("raid_disks", 2)):
        node.files.write(f"{path}/md/{file}", text)
    node.files.ext4("md0")
    node.volume(number="9:0")
    node.look(2)
    node.print(ERROR.format(100_000).replace("WRITE", "READ"))
    quiet_for(node, 5)
    node.files.write(f"{path}/md/degraded", 1)
    assert said(node.look()["data"]) == ["Degraded/ReplicaLost"]


def test_errors_of_another_partition_do_not_accuse_what_is_encrypted_on_this_one() -> None:
    node = Node()
    node.files.disk("sda", "8:0", size=4_194_304)
    node.files.partition("sda", "sda1", "8:1", start=2048, size=2_000_000)
    node.files.partition("sda", "sda2", "8:2", start=2_002_048, size=2_000_000)
    node.files.disk("dm-0", "253:0", below=["sda2"])
    node.files.ext4("dm-0")
    node.volume(number="253:0")
    node.look(2)
    node.print(ERROR.format(1_000_000))
    quiet_for(node, 2)
    node.print(ERROR.format(3_000_000))
    assert said(node.look()["data"]) == ["Degraded/IOError"]


def test_a_path_that_multipath_was_told_to_give_up_and_that_is_gone_from_its_table() -> None:
    node = multipath_node()
    node.look(2)
    node.files.remove("/sys/devices/virtual/block/dm-0/slaves/sdb")
    node.files.remove("/sys/class/block/sdb")
    quiet_for(node, 5)


def test_24_a_loop_device_that_goes_with_its_last_user() -> None:
    node = Node()
    path = node.files.disk("loop3", "7:3")
    node.files.write(f"{path}/loop/backing_file", "/var/lib/csi/pvc-1.img")
    node.files.write(f"{path}/loop/autoclear", 1)
    node.files.ext4("loop3")
    node.volume(number="7:3", source="/dev/loop3")
    node.print("loop3: detected capacity change from 0 to 204800", level=6)
    quiet_for(node, 10)


@pytest.mark.parametrize("root", ["/longhorn/pvc-1", "/topolvm/4c1b"])
def test_a_block_volume_whose_driver_made_the_file_below_dev_under_a_name_of_its_own(root: str) -> None:
    node = Node()
    node.files.disk("sdf", "8:80")
    node.volume(number="0:5", kind="devtmpfs", source="udev", root=root, block=True)
    quiet_for(node, 5)
    sight = node.look()["data"]
    assert (sight.healthy, root.strip("/") in sight.missing) == (False, True)


@pytest.mark.parametrize("kind", ["DISCARD", "WRITE_ZEROES", "SECURE_ERASE", "WRITE_SAME"])
def test_27_what_a_device_does_not_support(kind: str) -> None:
    node = ext4_node()
    node.look(2)
    node.print(
        f"operation not supported error, dev sda, sector 100000 op 0x3:({kind}) flags 0x800 phys_seg 0"
    )
    node.print(f"critical target error, dev sda, sector 100000 op 0x3:({kind}) flags 0x800 phys_seg 0")
    quiet_for(node, 5)


@pytest.mark.parametrize("name", ["sr0", "fd0", "sdz", "nbd3", "loop5", "zram0"])
def test_28_devices_that_no_volume_is_on(name: str) -> None:
    node = ext4_node()
    path = node.files.disk(name, "66:6")
    node.files.write(f"{path}/removable", 1)
    node.look(2)
    for number in range(12):
        node.print(f"I/O error, dev {name}, sector {100_000 + number} op 0x0:(READ) flags 0x0 phys_seg 1")
        node.print(f"Buffer I/O error on dev {name}, logical block {12_500 + number}, lost async page write")
    node.print(f"block {name}: Connection timed out")
    node.files.remove(f"/sys/class/block/{name}")
    quiet_for(node, 5)


@pytest.mark.parametrize(
    "options", ["ro,norecovery", "ro,noload", "ro,relatime,nouuid,norecovery", "ro,noatime"]
)
def test_30_a_snapshot_that_is_mounted_to_be_read(options: str) -> None:
    node = Node()
    node.files.disk("dm-7", "253:7")
    node.files.ext4("dm-7")
    node.volume(number="253:7", options="ro,relatime", super_options=options)
    quiet_for(node, 5)
    node.restart()
    quiet_for(node, 5)


def test_a_mount_of_another_pod_of_the_same_volume_that_only_reads() -> None:
    node = ext4_node()
    node.volume("reader", options="ro,relatime")
    quiet_for(node, 5)


def test_mounts_of_subdirectories_and_of_other_pods_are_not_looked_at() -> None:
    node = ext4_node()
    below = f"{KUBELET}/pods/uid-data/volume-subpaths/pvc-data/main/0"
    node.mounts[below] = f"47 30 8:0 /sub//deleted {below} ro - ext4 /dev/sda ro,emergency_ro"
    other = f"{KUBELET}/pods/uid-x/volumes/kubernetes.io~csi/pvc-x/mount"
    node.mounts[other] = f"48 30 8:64 / {other} ro - ext4 /dev/sde ro,shutdown"
    quiet_for(node, 5)
