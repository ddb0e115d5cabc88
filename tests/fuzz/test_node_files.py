"""What the kernel shows, and what looks like it: mount tables, NFS statistics, log lines and sysfs values."""

from typing import Any

from hypothesis import strategies as st

from fuzz.fuzzing import ANY_TEXT, ODD_TEXT, edited_text, fuzz
from support.nodetree import KUBELET, Node
from volumehealth.node.klog import LogTail, parse_line
from volumehealth.node.lines import sign_of, signs
from volumehealth.node.logfaults import quoted_signs
from volumehealth.node.mountinfo import parse_mountinfo, unescaped
from volumehealth.node.nfs import parse_mountstats, server_of

MOUNTS = (
    "46 30 8:0 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pvc-1/mount rw,relatime shared:1 - ext4 /dev/sda rw",
    "47 30 0:41 /sub /var/lib/kubelet/pods/u/volume\\040subpaths/v/c/0 ro - btrfs /dev/sdb rw,subvolid=5",
    (
        "48 30 0:9 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw\n"
        "49 30 0:52 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pvc-2/mount rw - nfs4 10.0.0.5:/e rw,vers=4.1"
    ),
)
STATISTICS = (
    (
        "device 10.0.0.5:/e mounted on /mnt with fstype nfs4 statvers=1.1\n"
        "\tage:\t100\n\topts:\trw,vers=4.1\n\txprt:\ttcp 0 0 1 0 11 1000 999 1 5 0 2 3 4\n"
        "\tper-op statistics\n\t        READ: 10 11 0 1000 2000 5 6 7 0\n"
    ),
)
LOG = (
    "<3>[  100.000001] EXT4-fs error (device sda): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
    "<3>[  100.1][ T12] I/O error, dev sda, sector 294936 op 0x1:(WRITE) flags 0x9800 phys_seg 13 prio class 2",
    "<1>[ 5.000000] XFS (dm-0): Filesystem has been shut down due to log error (0x2).",
    "<4>[ 9.123456] nfs: server 10.0.0.5 not responding, still trying",
    "<3>[ 10.000000] nvme nvme0: I/O tag 5 (0005) opcode 0x2 (I/O Cmd) QID 1 timeout, aborting req_op:READ(0) size:4096",
    "<12>[ 11.0] fake: EXT4-fs error (device sda)",
    "<6>[    0.000000] Linux version",
)
LINES = edited_text(LOG)


@fuzz(edited_text(MOUNTS))
def test_any_mount_table_is_read(text: str) -> None:
    parse_mountinfo(text, KUBELET)
    unescaped(text)


@fuzz(edited_text(STATISTICS))
def test_any_nfs_statistics_are_read(text: str) -> None:
    parse_mountstats(text)
    server_of(text)


@fuzz(st.lists(LINES, max_size=6), st.lists(LINES, max_size=6))
def test_any_two_kernel_logs_are_read_one_after_the_other(before: list[str], after: list[str]) -> None:
    tail = LogTail()
    for log in (before, after, [*before, *after], []):
        news = tail.take("\n".join(log))
        for _, _, sign in signs(news.lines):
            assert sign.says
    for line in (*before, *after):
        parse_line(line)
        sign_of(line)
        list(quoted_signs(line))


VALUES = edited_text(
    ("8:0", "2097152", "1", "10 0 80 5 20 0 160 5 0 9 9", "running", "write_errs 0\nread_errs 5")
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 10_000), VALUES | ANY_TEXT | st.sampled_from(ODD_TEXT)), max_size=6
)


def recorded() -> Node:
    """Return a node with a disk of each kind, and a volume on each."""
    node = Node()
    node.files.scsi("sda", "8:0", "1:0:0:0", session="session1")
    node.files.ext4("sda", errors=1, at=1_700_000_000)
    node.volume("a")
    node.files.disk("dm-0", "253:0", below=["sda"])
    node.files.write("/sys/devices/virtual/block/dm-0/dm/uuid", "mpath-3600")
    node.files.write("/sys/devices/virtual/block/dm-0/dm/suspended", "1")
    node.files.write("/sys/fs/xfs/dm-0/log/log_head_lsn", "1:2")
    node.volume("b", number="253:0", kind="xfs", source="/dev/dm-0")
    node.files.disk("md0", "9:0")
    for name, text in (("degraded", "1"), ("level", "raid1"), ("array_state", "clean")):
        node.files.write(f"/sys/devices/virtual/block/md0/md/{name}", text)
    node.volume("c", number="9:0", source="/dev/md0")
    node.files.disk("sdb", "8:16")
    node.files.link("/sys/fs/btrfs/uuid-1/devices/sdb", "/sys/class/block/sdb")
    node.files.write(
        "/sys/fs/btrfs/uuid-1/devinfo/1/error_stats", "write_errs 0\nread_errs 0\ncorruption_errs 0"
    )
    node.volume("d", number="0:41", kind="btrfs", source="/dev/sdb")
    node.volume("e", number="0:52", kind="nfs4", source="10.0.0.5:/e")
    node.nfs["e"] = STATISTICS[0]
    return node


@fuzz(CHANGES, st.lists(LINES, max_size=4), edited_text(MOUNTS), edited_text(STATISTICS), share=0.5)
def test_whatever_a_node_shows_its_agent_goes_on_looking(
    changes: list[tuple[int, str]], log: list[str], mounts: str, statistics: str
) -> None:
    node = recorded()
    node.look(2)
    files: dict[str, Any] = vars(node.files)["_files"]
    for place, value in changes:
        node.files.write(sorted(files)[place % len(files)], value)
    node.log += log
    node.mounts["odd"] = mounts
    node.nfs["odd"] = statistics
    assert set(node.look(3)) == set("abcde")
