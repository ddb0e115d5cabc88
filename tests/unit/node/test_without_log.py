"""What the node's looks tell with CAP_SYSLOG and without it: the table of docs/node-looks.md, row by row.

In: a fault as the mount table, sysfs and the kernel log show it. Out: what is told if the log may be read, and if not.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.nodetree import Node, remembered, said
from unit.node.test_eyes import (
    SHUT,
    WRITE_ERROR,
    block_node,
    btrfs_node,
    ext4_node,
    lvm_mirror_node,
    multipath_node,
    nfs_node,
    transport,
    xfs_node,
)

PAGE = (Path(__file__).parents[3] / "docs" / "node-looks.md").read_text()
Fault = Callable[[Node], None]


def counted_by_ext4(node: Node) -> None:
    node.files.ext4("sda", errors=1, at=int(node.now.timestamp()))
    node.print(
        "EXT4-fs error (device sda): ext4_find_entry:1683: inode #2: comm ls: reading directory lblock 0"
    )


def made_read_only(node: Node) -> None:
    node.mount("data", super_options="rw,errors=remount-ro,emergency_ro")
    node.print("EXT4-fs (sda): Remounting filesystem read-only")


def ext4_shut_down(node: Node) -> None:
    node.mount("data", super_options="rw,shutdown")
    node.print("EXT4-fs (sda): shut down requested (2)")


def ext4_lost_writes(node: Node) -> None:
    node.files.ext4("sda", warnings=1)
    node.print(
        "EXT4-fs warning (device sda): ext4_end_bio:368: I/O error 10 writing to inode 13 starting block 9217)"
    )


def ext4_lost_data(node: Node) -> None:
    node.print(
        "EXT4-fs (sda): failed to convert unwritten extents to written extents -- potential data loss!"
        "  (inode 13, error -5)"
    )


def xfs_shut_down(node: Node) -> None:
    node.print(SHUT)


def xfs_damaged(node: Node) -> None:
    node.print("XFS (sda): Metadata CRC error detected at xfs_agi_read_verify+0xd/0x120, xfs_agi block 0x2")


def counted_by_btrfs(node: Node) -> None:
    node.files.write(
        "/sys/fs/btrfs/uuid-1/devinfo/1/error_stats", "write_errs 2\nread_errs 0\ncorruption_errs 0"
    )
    node.print("BTRFS error (device sda): bdev /dev/sda errs: wr 2, rd 0, flush 0, corrupt 0, gen 0")


def btrfs_read_only(node: Node) -> None:
    node.mount("data", kind="btrfs", number="0:41", super_options="ro")
    node.print("BTRFS info (device sda: state EA): forced readonly", level=6)


def btrfs_damaged(node: Node) -> None:
    for mirror in (1, 2):
        node.print(
            f"BTRFS warning (device sda): checksum verify failed on logical 30785536 mirror {mirror} wanted 0x1 "
            "found 0x2 level 0",
            level=4,
        )


def requests_fail(node: Node) -> None:
    node.print(WRITE_ERROR)


def pages_lost(node: Node) -> None:
    node.print("Buffer I/O error on dev sda, logical block 1234, lost async page write")


def requests_hang(node: Node) -> None:
    node.files.count("sda", waiting=3, started="0 3")


def device_gone(node: Node) -> None:
    path = node.files.target("/sys/class/block/sda")
    node.files.write(f"{path}/size", 0)


def unmounted(node: Node) -> None:
    node.volume("neighbour")
    node.umount("data")


def paths(node: Node, state: str, *names: str) -> None:
    for name in names:
        node.files.write(f"{node.files.target(f'/sys/class/block/{name}')}/device/state", state)


def path_offline(node: Node) -> None:
    paths(node, "offline", "sdb")


def all_paths_offline(node: Node) -> None:
    paths(node, "offline", "sda", "sdb")


def path_given_up(node: Node) -> None:
    node.print("device-mapper: multipath: 253:0: Failing path 8:16.", level=4)


def reserved(node: Node) -> None:
    node.files.count("sda", writes=99)
    node.print("reservation conflict error, dev sda, sector 100000 op 0x1:(WRITE)")


def disk_full(node: Node) -> None:
    node.print("critical space allocation error, dev sda, sector 100000 op 0x1:(WRITE)")


def no_reply(node: Node) -> None:
    transport(node, connects=1, sent=120, received=100)
    node.print("nfs: server nas not responding, still trying", level=5)


ROWS: tuple[tuple[str, str, Callable[[], Node], Fault], ...] = (
    ("ext4", "counts an error", ext4_node, counted_by_ext4),
    ("ext4", "is made read-only", ext4_node, made_read_only),
    ("ext4", "is shut down", ext4_node, ext4_shut_down),
    ("ext4", "loses writes", ext4_node, ext4_lost_writes),
    ("ext4", "says that data may be lost", ext4_node, ext4_lost_data),
    ("XFS", "is shut down", xfs_node, xfs_shut_down),
    ("XFS", "finds damaged metadata", xfs_node, xfs_damaged),
    ("btrfs", "counts an error", btrfs_node, counted_by_btrfs),
    ("btrfs", "is made read-only", btrfs_node, btrfs_read_only),
    ("btrfs", "finds damaged metadata", btrfs_node, btrfs_damaged),
    ("a disk", "fails writes", ext4_node, requests_fail),
    ("a raw device", "fails writes", block_node, requests_fail),
    ("a raw device", "loses cached writes", block_node, pages_lost),
    ("a disk", "ends no request", ext4_node, requests_hang),
    ("a disk", "is taken away", ext4_node, device_gone),
    ("a disk", "is full (ENOSPC)", ext4_node, disk_full),
    ("a disk", "is reserved for another node", ext4_node, reserved),
    ("multipath", "one path is offline", multipath_node, path_offline),
    ("multipath", "all paths are offline", multipath_node, all_paths_offline),
    ("multipath", "gave a path up that seems to run", multipath_node, path_given_up),
    ("NFS", "the server does not reply", nfs_node, no_reply),
    ("a mount", "is gone", ext4_node, unmounted),
)


def told(make: Callable[[], Node], fault: Fault, *, log: bool) -> str:
    """Return what is told of a volume two minutes after a fault, and what is not known without the log."""
    node = make()
    node.readable = log
    node.look(2)
    judged = node.look()["data"].healthy
    fault(node)
    sight = node.look_for(120)["data"]
    if sight.incidents:
        return f"`{said(sight)[0]}`"
    return "nothing" if judged else "nothing; the volume is not monitored, and the report says why"


@pytest.mark.parametrize("row", ROWS, ids=[f"{one[0]} {one[1]}" for one in ROWS])
def test_the_page_says_what_is_told_with_and_without_the_log(
    row: tuple[str, str, Callable[[], Node], Fault],
) -> None:
    what, fault, make, strike = row
    line = f"| {what}: {fault} | {told(make, strike, log=True)} | {told(make, strike, log=False)} |"
    assert line in PAGE.splitlines()


def refused(node: Node) -> None:
    node.print("rbd: sda: write at objno 0 0~4096 result -108")


def disk_lost_both(node: Node) -> None:
    node.print("EXT4-fs (sda): Remounting filesystem read-only")
    node.print(WRITE_ERROR)
    node.print(WRITE_ERROR.replace("WRITE", "READ"))


@pytest.mark.parametrize("wrapped", [False, True], ids=["the log is whole", "the log has wrapped"])
@pytest.mark.parametrize(
    "row",
    [
        *ROWS,
        ("rbd", "refuses", ext4_node, refused),
        ("a disk", "fails and the filesystem goes read-only", ext4_node, disk_lost_both),
        ("LVM", "a mirror lacks a disk", lvm_mirror_node, path_offline),
    ],
    ids=lambda one: f"{one[0]} {one[1]}",
)
def test_an_agent_that_is_started_anew_takes_nothing_back(
    row: tuple[str, str, Callable[[], Node], Fault], *, wrapped: bool
) -> None:
    """A look that cannot see what was said says that it is not complete."""
    _, _, make, strike = row
    node = make()
    node.look(3)
    strike(node)
    before = node.look_for(120)
    node.restart(remembered(before, node.uses, node.now))
    if wrapped:
        node.log[:] = [f"<6>[{node.passed:12.6f}] the ring has wrapped"]
    for _ in range(8):
        sight = node.look()["data"]
        now = {(one.fault.look, one.fault.status, one.fault.reason) for one in sight.incidents}
        for incident in before["data"].incidents:
            fault = incident.fault
            if fault.look in sight.complete and fault.reason not in sight.undecided:
                assert (fault.look, fault.status, fault.reason) in now


def test_a_path_that_is_offline_is_told_without_the_log_and_its_end_too() -> None:
    node = multipath_node()
    node.readable = False
    assert node.look(2)["data"].healthy
    paths(node, "offline", "sdb")
    assert said(node.look_for(90)["data"]) == ["Degraded/PathDown"]
    paths(node, "running", "sdb")
    assert said(node.look()["data"]) == []
