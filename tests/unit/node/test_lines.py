"""Which lines of the kernel log accuse a device, by kernel, and which only look as if they did."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.node.klog import Line
from volumehealth.node.lines import About, Says, sign_of, signs

ACCUSING = {
    # the block layer
    "end_request: I/O error, dev sdb, sector 1234": (Says.IO_ERROR, About.DISK, "sdb"),
    "blk_update_request: I/O error, dev sdd, sector 0": (Says.IO_ERROR, About.DISK, "sdd"),
    "blk_update_request: critical medium error, dev sdd, sector 99": (Says.IO_ERROR, About.DISK, "sdd"),
    "print_req_error: I/O error, dev nbd0, sector 0": (Says.IO_ERROR, About.DISK, "nbd0"),
    "print_req_error: I/O error, dev nvme0n1, sector 10 flags 0": (Says.IO_ERROR, About.DISK, "nvme0n1"),
    (
        "blk_update_request: I/O error, dev rbd2, sector 33928 op 0x0:(READ) flags 0x3000 phys_seg 1 prio class 0"
    ): (Says.IO_ERROR, About.DISK, "rbd2"),
    "I/O error, dev loop0, sector 294936 op 0x1:(WRITE) flags 0x9800 phys_seg 13 prio class 2": (
        Says.IO_ERROR,
        About.DISK,
        "loop0",
    ),
    "device offline error, dev sdc, sector 8 op 0x0:(READ) flags 0x0": (Says.IO_ERROR, About.DISK, "sdc"),
    "protection error, dev sdc, sector 8 op 0x0:(READ) flags 0x0": (Says.IO_ERROR, About.DISK, "sdc"),
    "timeout error, dev vda, sector 8 op 0x0:(READ) flags 0x0": (Says.IO_ERROR, About.DISK, "vda"),
    "critical target error, dev sdc, sector 8 op 0x1:(WRITE) flags 0x0": (Says.IO_ERROR, About.DISK, "sdc"),
    "critical space allocation error, dev sdc, sector 8 op 0x1:(WRITE)": (
        Says.NO_SPACE,
        About.DISK,
        "sdc",
    ),
    "critical nexus error, dev sdc, sector 8": (Says.RESERVED, About.DISK, "sdc"),
    "reservation conflict error, dev sdc, sector 8 op 0x1:(WRITE)": (Says.RESERVED, About.DISK, "sdc"),
    "recoverable transport error, dev sdc, sector 8": (Says.PATH_ERROR, About.DISK, "sdc"),
    "I/O error, dev nvme0c1n2, sector 8 op 0x0:(READ) flags 0x0": (Says.IO_ERROR, About.DISK, "nvme0n2"),
    "I/O error, dev pxd!pxd208, sector 8 op 0x0:(READ) flags 0x0": (Says.IO_ERROR, About.DISK, "pxd/pxd208"),
    "EXT4-fs (pxd!pxd208): Remounting filesystem read-only": (
        Says.READ_ONLY,
        About.FILESYSTEM,
        "pxd/pxd208",
    ),
    "I/O error, dev sdc, sector 8 op 0x2:(FLUSH) flags 0x0": (Says.IO_ERROR, About.DISK, "sdc"),
    # the page cache
    "Buffer I/O error on dev loop0, logical block 77, async page read": (
        Says.IO_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "Buffer I/O error on dev dm-3, logical block 77, lost async page write": (
        Says.PAGES_LOST,
        About.FILESYSTEM,
        "dm-3",
    ),
    "Buffer I/O error on dev dm-3, logical block 77, lost sync page write": (
        Says.PAGES_LOST,
        About.FILESYSTEM,
        "dm-3",
    ),
    "Buffer I/O error on device loop0, logical block 9217": (Says.IO_ERROR, About.FILESYSTEM, "loop0"),
    "lost page write due to I/O error on sdb1": (Says.PAGES_LOST, About.FILESYSTEM, "sdb1"),
    "loop0: writeback error on inode 331, offset 0, sector 1160": (
        Says.WRITES_LOST,
        About.FILESYSTEM,
        "loop0",
    ),
    "XFS (dm-17): writeback error on sector 1160": (Says.WRITES_LOST, About.FILESYSTEM, "dm-17"),
    # ext4
    "EXT4-fs error (device loop0): ext4_find_entry:1683: inode #2: comm ls: reading directory lblock 0": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "EXT4-fs error (device sdf) in ext4_reserve_inode_write:5678: Journal has aborted": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "sdf",
    ),
    "EXT4-fs (loop0): Remounting filesystem read-only": (Says.READ_ONLY, About.FILESYSTEM, "loop0"),
    "EXT4-fs (loop0): re-mounted 6e0d-11 r/w. Quota mode: none.": (Says.WRITABLE, About.FILESYSTEM, "loop0"),
    (
        "EXT4-fs warning (device loop0): ext4_end_bio:368: I/O error 10 writing to inode 13 starting block 9217)"
    ): (Says.WRITES_LOST, About.FILESYSTEM, "loop0"),
    (
        "EXT4-fs warning (device dm-1): ext4_end_bio:330: I/O error -5 writing to inode 7 "
        "(offset 0 size 0 starting block 5)"
    ): (Says.WRITES_LOST, About.FILESYSTEM, "dm-1"),
    "EXT4-fs warning (device dm-1): ext4_end_bio:343: I/O error 3 writing to inode 7 starting block 5)": (
        Says.NO_SPACE,
        About.FILESYSTEM,
        "dm-1",
    ),
    "EXT4-fs warning (device dm-1): ext4_end_bio:330: I/O error -28 writing to inode 7 (offset 0": (
        Says.NO_SPACE,
        About.FILESYSTEM,
        "dm-1",
    ),
    (
        "EXT4-fs (loop0): failed to convert unwritten extents to written extents -- potential data loss!"
        "  (inode 13, error -5)"
    ): (Says.DATA_LOST, About.FILESYSTEM, "loop0"),
    (
        "EXT4-fs (loop0): failed to convert unwritten extents to written extents -- potential data loss!"
        "  (inode 13, error -28)"
    ): (Says.NO_SPACE, About.FILESYSTEM, "loop0"),
    "EXT4-fs (loop0): shut down requested (2)": (Says.SHUT_DOWN, About.FILESYSTEM, "loop0"),
    "Aborting journal on device loop0-8.": (Says.JOURNAL_ABORTED, About.FILESYSTEM, "loop0"),
    "Aborting journal on device dm-3-8.": (Says.JOURNAL_ABORTED, About.FILESYSTEM, "dm-3"),
    "Aborting journal on device dm-3.": (Says.JOURNAL_ABORTED, About.FILESYSTEM, "dm-3"),
    "JBD2: I/O error when updating journal superblock for loop0-8.": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "JBD2: Detected IO errors while flushing file data on dm-3-8": (
        Says.WRITES_LOST,
        About.FILESYSTEM,
        "dm-3",
    ),
    "JBD2: Detected IO errors -5 while flushing file data on dm-3-8": (
        Says.WRITES_LOST,
        About.FILESYSTEM,
        "dm-3",
    ),
    "JBD2: Detected IO errors -28 while flushing file data on nvme1n1p1-8": (
        Says.NO_SPACE,
        About.FILESYSTEM,
        "nvme1n1p1",
    ),
    # XFS
    "XFS (loop0): Filesystem has been shut down due to log error (0x2).": (
        Says.SHUT_DOWN,
        About.FILESYSTEM,
        "loop0",
    ),
    (
        "XFS (loop0): Metadata I/O Error (0x1) detected at xfs_trans_read_buf_map+0x1/0x2 (fs/xfs/xfs_trans_buf.c:296)."
        "  Shutting down filesystem."
    ): (Says.SHUT_DOWN, About.FILESYSTEM, "loop0"),
    (
        "XFS (loop0): Log I/O Error (0x6) detected at xfs_fs_goingdown+0x55/0x90 (fs/xfs/xfs_fsops.c:481)."
        "  Shutting down filesystem."
    ): (Says.SHUT_DOWN, About.FILESYSTEM, "loop0"),
    "XFS (sdb): xfs_do_force_shutdown(0x8) called from line 1022 of file fs/xfs/xfs_trans.c.": (
        Says.SHUT_DOWN,
        About.FILESYSTEM,
        "sdb",
    ),
    "XFS (sdb): Corruption of in-memory data detected.  Shutting down filesystem": (
        Says.SHUT_DOWN,
        About.FILESYSTEM,
        "sdb",
    ),
    "XFS (loop0): log I/O error -5": (Says.IO_ERROR, About.FILESYSTEM, "loop0"),
    'XFS (loop0): metadata I/O error in "xfs_da_read_buf+0xd9/0x130" at daddr 0x78 len 8 error 5': (
        Says.IO_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    'XFS (sdb): metadata I/O error: block 0x500d90 ("xlog_iodone") error 5 numblks 64': (
        Says.IO_ERROR,
        About.FILESYSTEM,
        "sdb",
    ),
    'XFS (loop0): metadata I/O error in "xfs_da_read_buf+0xd9/0x130" at daddr 0x78 len 8 error 117': (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "XFS (loop0): Metadata CRC error detected at xfs_agi_read_verify+0xd/0x120, xfs_agi block 0x2": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "XFS (loop0): Metadata corruption detected at xfs_buf_ioend+0x5e/0x1d0, xfs_inode block 0x80": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "XFS (loop0): Unmount and run xfs_repair": (Says.FILESYSTEM_ERROR, About.FILESYSTEM, "loop0"),
    "XFS (dm-0): Failing async write on buffer block 0x2. Retrying async write.": (
        Says.IO_ERROR,
        About.FILESYSTEM,
        "dm-0",
    ),
    # btrfs
    "BTRFS error (device loop0): bdev /dev/loop0 errs: wr 2, rd 0, flush 0, corrupt 0, gen 0": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop0",
    ),
    "BTRFS: error (device loop1 state A) in btrfs_commit_transaction:2524: errno=-5 IO failure": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "loop1",
    ),
    # error_stats count none of these; the first was seen on 6.18
    "BTRFS warning (device loop1): checksum verify failed on logical 30785536 mirror 2 wanted 0x1 found 0x2 level 0": (
        Says.METADATA_DAMAGED,
        About.FILESYSTEM,
        "loop1",
    ),
    "BTRFS warning (device loop2): loop2 checksum verify failed on 30408704 wanted C2CC51CB found CCF180A7 level 0": (
        Says.METADATA_DAMAGED,
        About.FILESYSTEM,
        "loop2",
    ),
    "BTRFS error (device sdg): parent transid verify failed on 52180048330752 wanted 132477 found 132432": (
        Says.METADATA_DAMAGED,
        About.FILESYSTEM,
        "sdg",
    ),
    "BTRFS error (device sdg: state E): bad tree block start, mirror 1 want 30408704 have 0": (
        Says.METADATA_DAMAGED,
        About.FILESYSTEM,
        "sdg",
    ),
    "BTRFS critical (device dm-3): corrupt leaf: root=5 block=30408704 slot=1 ino=257, invalid inode": (
        Says.METADATA_DAMAGED,
        About.FILESYSTEM,
        "dm-3",
    ),
    "BTRFS info (device loop2): read error corrected: ino 0 off 30408704 (dev /dev/loop1 sector 59392)": (
        Says.METADATA_REPAIRED,
        About.FILESYSTEM,
        "loop2",
    ),
    "BTRFS info (device loop1 state EA): forced readonly": (Says.READ_ONLY, About.FILESYSTEM, "loop1"),
    # NVMe
    "nvme0n1: I/O Cmd(0x2) @ LBA 1, 32 blocks, I/O Error (sct 0x3 / sc 0x71)": (
        Says.PATH_ERROR,
        About.DISK,
        "nvme0n1",
    ),
    "block nvme0n1: no available path - failing I/O": (Says.IO_ERROR, About.DISK, "nvme0n1"),
    "sd 2:0:0:0: [sdb] Attached SCSI disk": (Says.ATTACHED, About.DISK, "sdb"),
    "sd 2:0:0:0: [sdb] Attached SCSI removable disk": (Says.ATTACHED, About.DISK, "sdb"),
    "virtio_blk virtio3: [vdb] 41943040 512-byte logical blocks (21.5 GB/20.0 GiB)": (
        Says.ATTACHED,
        About.DISK,
        "vdb",
    ),
    "rbd: rbd0: capacity 1073741824 features 0x3d": (Says.ATTACHED, About.DISK, "rbd0"),
    "nbd0: detected capacity change from 0 to 2097152": (Says.ATTACHED, About.DISK, "nbd0"),
    "nvme nvme1: pci function 0000:00:1f.0": (Says.ATTACHED, About.CONTROLLER, "nvme1"),
    'nvme nvme2: new ctrl: NQN "nqn.1", addr 10.0.0.1:4420': (Says.ATTACHED, About.CONTROLLER, "nvme2"),
    "drbd pvc-1: Starting worker thread (from drbdsetup [13925])": (Says.ATTACHED, About.RESOURCE, "pvc-1"),
    "nvme nvme0: Removing after probe failure status: -19": (Says.GONE, About.CONTROLLER, "nvme0"),
    # device mapper
    "device-mapper: multipath: 253:3: Failing path 8:32.": (Says.PATH_FAILED, About.NUMBER, "253:3"),
    "device-mapper: multipath: Failing path 8:32.": (Says.PATH_FAILED, About.NUMBER, ""),
    "device-mapper: multipath: 253:3: Reinstating path 8:32.": (Says.PATH_BACK, About.NUMBER, "253:3"),
    "device-mapper: thin: 253:4: switching pool to out-of-data-space (queue IO) mode": (
        Says.POOL_FULL,
        About.NUMBER,
        "253:4",
    ),
    "device-mapper: thin: 253:4: switching pool to read-only mode": (
        Says.POOL_READ_ONLY,
        About.NUMBER,
        "253:4",
    ),
    "device-mapper: thin: 253:4: switching pool to write mode": (Says.POOL_BACK, About.NUMBER, "253:4"),
    "md/raid10:mdX: Disk failure on dm-9, disabling device. Operation continuing on 3 devices.": (
        Says.REPLICA_LOST,
        About.DISK,
        "dm-9",
    ),
    "device-mapper: raid: Faulty raid1 device #1 has readable super block.  Attempting to revive it.": (
        Says.REPLICA_BACK,
        About.DISK,
        "",
    ),
    # network block devices
    "rbd: rbd2: write at objno 0 0~4096 result -108": (Says.BACKEND_ERROR, About.DISK, "rbd2"),
    "rbd: rbd2: write result -108": (Says.BACKEND_ERROR, About.DISK, "rbd2"),
    "rbd: rbd2: write result -28": (Says.NO_SPACE, About.DISK, "rbd2"),
    "block nbd0: Connection timed out": (Says.IO_ERROR, About.DISK, "nbd0"),
    "block nbd0: shutting down sockets": (Says.IO_ERROR, About.DISK, "nbd0"),
    "drbd pvc-X: susp-io( no -> quorum )": (Says.SUSPENDED, About.RESOURCE, "pvc-X"),
    "drbd pvc-X: susp-io( quorum -> no )": (Says.RESUMED, About.RESOURCE, "pvc-X"),
    "drbd pvc-X/0 drbd1008: disk( UpToDate -> Failed )": (Says.REPLICA_LOST, About.RESOURCE, "pvc-X"),
    "drbd pvc-X/0 drbd1008: disk( Inconsistent -> UpToDate )": (Says.REPLICA_BACK, About.RESOURCE, "pvc-X"),
    # file servers
    "nfs: server nas.local not responding, still trying": (Says.SERVER_DOWN, About.SERVER, "nas.local"),
    "nfs: server nas.local not responding, timed out": (Says.SERVER_DOWN, About.SERVER, "nas.local"),
    "nfs: server nas.local OK": (Says.SERVER_UP, About.SERVER, "nas.local"),
    r"CIFS: VFS: \\nas has not responded in 180 seconds. Reconnecting...": (
        Says.SERVER_DOWN,
        About.SERVER,
        "nas",
    ),
    # boundaries
    "EXT4-fs (loop0): mounted filesystem 1-2 r/w with ordered data mode. Quota mode: none.": (
        Says.MOUNTED,
        About.FILESYSTEM,
        "loop0",
    ),
    "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)": (
        Says.MOUNTED,
        About.FILESYSTEM,
        "sda1",
    ),
    "EXT4-fs (loop0): unmounting filesystem 1-2.": (Says.UNMOUNTED, About.FILESYSTEM, "loop0"),
    "XFS (loop0): Mounting V5 Filesystem 1-2": (Says.MOUNTED, About.FILESYSTEM, "loop0"),
    "XFS (loop0): Unmounting Filesystem 1-2": (Says.UNMOUNTED, About.FILESYSTEM, "loop0"),
    "BTRFS info (device loop0): first mount of filesystem 1-2": (Says.MOUNTED, About.FILESYSTEM, "loop0"),
    "BTRFS info (device loop0): last unmount of filesystem 1-2": (Says.UNMOUNTED, About.FILESYSTEM, "loop0"),
    "BTRFS info (device dm-3 state EA): last unmount of filesystem 1-2": (
        Says.UNMOUNTED,
        About.FILESYSTEM,
        "dm-3",
    ),
    # the same in other generations
    "XFS (dm-3): xfs_log_force: error -5 returned.": (Says.SHUT_DOWN, About.FILESYSTEM, "dm-3"),
    "XFS (sdb1): xfs_log_force: error 5 returned.": (Says.SHUT_DOWN, About.FILESYSTEM, "sdb1"),
    "XFS (sdb): I/O Error Detected. Shutting down filesystem": (Says.SHUT_DOWN, About.FILESYSTEM, "sdb"),
    "XFS (sdb): log I/O error -28": (Says.NO_SPACE, About.FILESYSTEM, "sdb"),
    "XFS (dm-1): Mounting V5 filesystem 1-2 in no-recovery mode. Filesystem will be inconsistent.": (
        Says.MOUNTED,
        About.FILESYSTEM,
        "dm-1",
    ),
    "XFS (dm-1): Mounting Filesystem": (Says.MOUNTED, About.FILESYSTEM, "dm-1"),
    "XFS (sdb): Corruption detected. Unmount and run xfs_repair": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "sdb",
    ),
    (
        "XFS (sdb): Corruption warning: Metadata has LSN (9:1) ahead of current LSN (1:2). Please unmount and run xfs_repair"
    ): (Says.FILESYSTEM_ERROR, About.FILESYSTEM, "sdb"),
    "XFS (sdb): Internal error xfs_trans_cancel at line 983 of file fs/xfs/xfs_trans.c.": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "sdb",
    ),
    "EXT4-fs (sdb): re-mounted. Opts: errors=remount-ro": (Says.WRITABLE, About.FILESYSTEM, "sdb"),
    "EXT4-fs (sdb): re-mounted 6e0d-11. Quota mode: none.": (Says.WRITABLE, About.FILESYSTEM, "sdb"),
    "JBD2: Error -5 detected when updating journal superblock for dm-3-8.": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "dm-3",
    ),
    "BTRFS: error (device dm-0: state A) in btrfs_run_delayed_refs:2151: errno=-5 IO failure": (
        Says.FILESYSTEM_ERROR,
        About.FILESYSTEM,
        "dm-0",
    ),
    "BTRFS info (device dm-0: state EA): forced readonly": (Says.READ_ONLY, About.FILESYSTEM, "dm-0"),
    "F2FS-fs (dm-2): Stopped filesystem due to reason: 3": (Says.SHUT_DOWN, About.FILESYSTEM, "dm-2"),
    "nvme nvme0: Disabling device after reset failure: -19": (Says.GONE, About.CONTROLLER, "nvme0"),
    "device-mapper: integrity: dm-1: Checksum failed at sector 0x4f0": (
        Says.IO_ERROR,
        About.DISK,
        "dm-1",
    ),
    "device-mapper: crypt: dm-2: INTEGRITY AEAD ERROR, sector 77": (Says.IO_ERROR, About.DISK, "dm-2"),
    # kernels that know the names of NVMe's errors
    "nvme0n1: Write(0x1) @ LBA 123, 8 blocks, Host Path Error (sct 0x3 / sc 0x70) DNR ": (
        Says.PATH_ERROR,
        About.DISK,
        "nvme0n1",
    ),
    "nvme0c0n1: Read(0x2) @ LBA 123, 8 blocks, Asymmetric Access Inaccessible (sct 0x3 / sc 0x2) ": (
        Says.PATH_ERROR,
        About.DISK,
        "nvme0n1",
    ),
    "rbd: rbd2:   result -108 xferred 1000": (Says.BACKEND_ERROR, About.DISK, "rbd2"),
    "drbd pvc-X: role( Secondary -> Primary ) susp-io( no -> quorum )": (
        Says.SUSPENDED,
        About.RESOURCE,
        "pvc-X",
    ),
    "drbd pvc-X/0 drbd1008: disk( Failed -> Diskless ) quorum( yes -> no )": (
        Says.REPLICA_LOST,
        About.RESOURCE,
        "pvc-X",
    ),
    "XFS (dm-0): page discard on page 00000000abcdef01, inode 0x81, pos 4096.": (
        Says.WRITES_LOST,
        About.FILESYSTEM,
        "dm-0",
    ),
    # the log itself
    "EXT4-fs error: 12 callbacks suppressed": (Says.SUPPRESSED, About.LOG, "EXT4-fs error"),
    "EXT4-fs warning: 3 callbacks suppressed": (Says.SUPPRESSED, About.LOG, "EXT4-fs warning"),
    "quiet_error: 24 callbacks suppressed": (Says.SUPPRESSED, About.LOG, "quiet_error"),
    "nfs_do_something: 24 callbacks suppressed": (Says.SUPPRESSED, About.LOG, "nfs_do_something"),
    "brd_place: 24 callbacks suppressed": (Says.SUPPRESSED, About.LOG, "brd_place"),
    "blk_print_req_error: 51 callbacks suppressed": (Says.SUPPRESSED, About.LOG, "blk_print_req_error"),
    "** 12 printk messages dropped **": (Says.SUPPRESSED, About.LOG, "printk"),
}


@pytest.mark.parametrize("text", ACCUSING)
def test_a_line_says_what_of_which_device(text: str) -> None:
    sign = sign_of(text)
    assert sign is not None
    assert (sign.says, sign.about, sign.name, sign.text) == (*ACCUSING[text], text)


@pytest.mark.parametrize(
    "text",
    [
        "EXT4-fs (loop0): error count since last fsck: 1",
        "EXT4-fs (loop0): initial error at time 1700000000: ext4_find_entry:1683: inode 2: block 77",
        "EXT4-fs (loop0): last error at time 1700000000: ext4_find_entry:1683",
        "EXT4-fs (loop0): warning: mounting fs with errors, running e2fsck is recommended",
        "VFS: Can't find ext4 filesystem",
        "XFS (loop0): Invalid superblock magic number",
        "/dev/loop0: Can't open blockdev",
        "EXT4-fs (loop0): bad geometry: block count 300 exceeds size of device (100 blocks)",
        "ext4: Unknown parameter 'emergency_ro'",
        "BTRFS info (device loop0): bdev /dev/loop0 errs: wr 1, rd 0, flush 0, corrupt 0, gen 0",
        "loop0: detected capacity change from 0 to 204800",
        "operation not supported error, dev loop0, sector 0 op 0x3:(DISCARD) flags 0x800 phys_seg 0 prio class 0",
        "critical target error, dev sdc, sector 8 op 0x3:(DISCARD) flags 0x800",
        "I/O error, dev sdc, sector 8 op 0x9:(WRITE_ZEROES) flags 0x800",
        "I/O error, dev sdc, sector 8 op 0x5:(SECURE_ERASE) flags 0x800",
        "device resource error, dev sdc, sector 8 op 0x1:(WRITE)",
        "kernel resource error, dev sdc, sector 8 op 0x1:(WRITE)",
        "nonblocking retry error, dev sdc, sector 8 op 0x1:(WRITE)",
        "zone resource error, dev sdc, sector 8 op 0x1:(WRITE)",
        "libceph: osd1 (1)10.0.0.1:6801 socket closed (con state OPEN)",
        "libceph: mon0 (1)10.0.0.1:6789 session lost, hunting for new mon",
        "rbd: rbd2: encountered watch error: -107",
        "blkfront: xvda: barrier or flush: disabled",
        "nvme nvme0: I/O 900 QID 2 timeout, completion polled",
        "nvme nvme0: Reconnecting in 10 seconds...",
        "nvme0n1: I/O Cmd(0x2) @ LBA 1, 32 blocks, I/O Error (sct 0x2 / sc 0x81)",
        "EXT4-fs (loop0): recovery complete",
        "EXT4-fs (loop0): orphan cleanup on readonly fs",
        "XFS (loop0): Ending recovery (logdev: internal)",
        "XFS (loop0): User initiated shutdown received.",
        "XFS: possible memory allocation deadlock in kmem_alloc (mode:0x2400240)",
        "EXT4-fs warning (device loop0): ext4_dx_add_entry:2510: Directory (ino: 2) index full, reached max htree level",
        "EXT4-fs warning (device loop0): htree_dirblock_to_tree:1082: inode #2: lblock 0: comm ls: error -5 reading",
        "EXT4-fs (loop0): re-mounted 6e0d-11 ro. Quota mode: none.",
        "INFO: task dd:123 blocked for more than 120 seconds.",
        "connection1:0: detected conn error (1022)",
        "sd 2:0:0:0: [sdb] tag#0 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK cmd_age=77s",
        "I/O error, dev sdc, sector 0 op 0x22:(DRV_IN) flags 0x0",
        "I/O error, dev sdc, sector 0 op 0x20:(SCSI_IN) flags 0x0",
        "critical target error, dev sdc, sector 8 op 0x7:(WRITE_SAME) flags 0x800",
        "md/raid1:md0: Disk failure on sdb, disabling device.",
        "md: recovery of RAID array md0",
        "md: reshape of RAID array md0",
        "device-mapper: thin: 253:4: reached low water mark for data device: sending event.",
        "device-mapper: thin: Data device (dm-1) discard unsupported: Disabling discard passdown.",
        "XFS (dm-3): Ending clean mount",
        "XFS (dm-3): Quotacheck needed: Please wait.",
        "XFS (dm-3): EXPERIMENTAL online scrub feature in use. Use at your own risk!",
        "EXT4-fs (dm-3): INFO: recovery required on readonly filesystem",
        "EXT4-fs (dm-3): write access will be enabled during recovery",
        "EXT4-fs (dm-3): resizing filesystem from 26214400 to 52428800 blocks",
        "EXT4-fs warning (device dm-3): ext4_multi_mount_protect:328: MMP interval 42 higher than expected, please wait.",
        "BTRFS info (device dm-3: state M): relocating block group 1 flags data",
        "F2FS-fs (dm-2): Found nat_bits in checkpoint",
        "overlayfs: upperdir is in-use as upperdir/workdir of another mount",
        "ceph: mds0 hung",
        "CIFS: VFS: Autodisabling the use of server inode numbers on \\\\srv\\x",
        "nfs: RPC call returned error 13",
        "lockd: server 10.0.0.1 not responding, timed out",
        "print_req_error: critical target error, dev sdb, sector 2048 flags 803",
        "print_req_error: critical target error, dev sdb, sector 2048 flags 9",
        "print_req_error: I/O error, dev sdb, sector 0 flags 20",
        "drbd pvc-1/0 drbd1008: disk( Diskless -> Attaching )",
        "drbd pvc-1/0 drbd1008: disk( UpToDate -> Detaching )",
        "drbd pvc-1/0 drbd1008: disk( Detaching -> Diskless )",
        "drbd pvc-1/0 drbd1008: quorum( yes -> no )",
        "rbd: rbd2:   result -95 xferred 1000",
        "nvme0n1: Read(0x2) @ LBA 0, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) MORE DNR ",
        "drbd pvc-1/0 drbd1008: resync done (total 1 sec; paused 0 sec; 4096 K/sec)",
        # what other places printed too often says nothing of volumes
        "warn_alloc: 3 callbacks suppressed",
        "mlx5e_poll_rx_cq: 3 callbacks suppressed",
        "kauditd_printk_skb: 18 callbacks suppressed",
        "net_ratelimit: 9 callbacks suppressed",
        "show_signal_msg: 14 callbacks suppressed",
        # what comes from others stands inside a line
        'audit: comm="x" name="I/O error, dev sda, sector 1"',
        "process I/O error, dev sda, sector 1 said so",
        "EXT4-fs (loop0): x EXT4-fs error (device sda): no",
    ],
)
def test_a_line_that_only_looks_like_a_fault_says_nothing(text: str) -> None:
    assert sign_of(text) is None


@pytest.mark.parametrize(
    ("flags", "op"),
    [("0", "READ"), ("80700", "READ"), ("ca01", "WRITE"), ("100001", "WRITE"), ("2", "FLUSH")],
)
def test_what_was_asked_of_a_disk_is_in_the_flags_of_kernels_that_do_not_name_it(flags: str, op: str) -> None:
    sign = sign_of(f"print_req_error: I/O error, dev sdc, sector 82592296 flags {flags}")
    assert sign is not None
    assert (sign.says, sign.op, sign.sector) == (Says.IO_ERROR, op, 82592296)


def test_where_and_what_is_read_from_a_block_line() -> None:
    sign = sign_of("I/O error, dev loop0, sector 294936 op 0x1:(WRITE) flags 0x9800 phys_seg 13 prio class 2")
    assert sign is not None
    assert (sign.sector, sign.op) == (294936, "WRITE")


def test_a_full_device_loses_no_data_by_the_second_line_either() -> None:
    lines = [
        Line(
            "EXT4-fs (dm-1): Delayed block allocation failed for inode 13 at logical offset 0 with max blocks 1 with error 28"
        ),
        Line("EXT4-fs (dm-1): This should not happen!! Data will be lost"),
    ]
    assert [sign.says for _, _, sign in signs(lines)] == [Says.NO_SPACE]


def test_a_device_that_fails_loses_data() -> None:
    lines = [
        Line(
            "EXT4-fs (dm-1): Delayed block allocation failed for inode 13 at logical offset 0 with max blocks 1 with error 5"
        ),
        Line("EXT4-fs (dm-1): This should not happen!! Data will be lost"),
    ]
    assert {sign.says for _, _, sign in signs(lines)} == {Says.DATA_LOST}


@given(st.text(max_size=15))
def test_what_a_process_calls_itself_is_too_short_for_any_line(comm: str) -> None:
    """A line break in it makes a line of its own of what the kernel prints behind it, which it may choose."""
    assert sign_of(comm) is None


def test_no_line_that_is_known_is_as_short_as_the_name_of_a_process() -> None:
    assert min(map(len, ACCUSING)) > 15


@given(st.text(max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    sign_of(text)
    sign_of(f"I/O error, dev {text}")
    sign_of(f"EXT4-fs error (device {text}")
