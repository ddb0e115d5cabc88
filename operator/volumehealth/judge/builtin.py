"""What is known of the texts of drivers in the field (facts C6, D7); applied after a policy's own rules.

A legacy driver says *abnormal* and a text, no more. These rules give the texts a status and a reason, and longer
delay where a text means normal life. They touch only statements that nobody classified yet: what a driver of CSI
1.13 says with a reason of its own stays as it is. A rule names a driver only if its text could mean something else
elsewhere: many drivers are installed under names of their own.
"""

from dataclasses import dataclass
from datetime import timedelta

from volumehealth.model.health import DEGRADED, INACCESSIBLE, Source
from volumehealth.model.policy import Rule, RuleMatch, RuleSet
from volumehealth.model.vocabulary import Reason

POWERSTORE = "csi-powerstore.dellemc.com"
POWERSCALE = "csi-isilon.dellemc.com"
POWERFLEX = "csi-vxflexos.dellemc.com"
LINODE = "linodebs.csi.linode.com"

WHILE_PODS_MOVE = timedelta(minutes=15)
"""A volume is detached from one node before it is attached to the next; arrays call both abnormal."""
WHILE_BUSY = timedelta(hours=1)
"""Creating, resizing or migrating a large volume."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One built-in rule.

    Attributes:
        name: for `--explain` and the documentation.
        meaning: what it recognises, for a person.
        example: a text as the driver says it.
        source: where the text comes from: driver and file, an issue, or the errno.
        rule: as a policy would write it.
    """

    name: str
    meaning: str
    example: str
    source: str
    rule: Rule


def _text(
    name: str,
    pattern: str,
    *,
    meaning: str,
    example: str,
    source: str,
    becomes: tuple[str, Reason] | None,
    driver: str = "",
    said_by: Source | None = None,
    after: timedelta | None = None,
) -> BuiltIn:
    """Make a rule about a text; one that becomes nothing is ignored."""
    match = RuleMatch(
        driver=driver,
        source=said_by.value if said_by is not None else "",
        status=DEGRADED,  # all that a legacy driver can say; who says another one has said how bad it is
        reason=str(Reason.VOLUME_CONDITION_ABNORMAL),
        message=pattern,
    )
    made = RuleSet(becomes[0], str(becomes[1])) if becomes is not None else None
    rule = Rule(match, unhealthy_after=after, set=made, ignore=made is None)
    return BuiltIn(name, meaning, example, source, rule)


BUILT_IN: tuple[BuiltIn, ...] = (
    _text(  # `host H is not attached to volume X`: also while a Pod moves
        "powerstore-not-attached",
        r"is not attached to volume",
        meaning="Dell PowerStore: the array has not attached the volume to the node",
        example="host csi-node-4 is not attached to volume 6f",
        source="dell/csi-powerstore, pkg/node/node.go",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERSTORE,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # the same for file systems, also while a Pod moves; what the node does not find is not gone for that
        "powerstore-nfs-export",
        r"is not attached to NFS export|^NFS export for volume \S+ is not found",
        meaning="Dell PowerStore NFS: the array has not exported the file system to the node",
        example="host csi-node-4 is not attached to NFS export for filesystem 6f",
        source="dell/csi-powerstore, pkg/node/node.go",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERSTORE,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # `host H has no active initiator connection`
        "powerstore-no-initiator",
        r"has no active initiator connection",
        meaning="Dell PowerStore: the node has lost every path to the array",
        example="host csi-node-4 has no active initiator connection",
        source="dell/csi-powerstore, pkg/node/node.go",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERSTORE,
    ),
    _text(  # `Volume X is in Initializing state`
        "powerstore-initializing",
        r"is in Initializing state",
        meaning="Dell PowerStore: the volume is being prepared",
        example="Volume 6f is in Initializing state",
        source="dell/csi-powerstore, pkg/controller/controller.go",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
        driver=POWERSTORE,
        after=WHILE_BUSY,
    ),
    _text(  # `Volume X is in Offline state`, and states that later arrays may add
        "powerstore-state",
        r"is in \S+ state",
        meaning="Dell PowerStore: the volume is in another state than Ready",
        example="Volume 6f is in Offline state",
        source="dell/csi-powerstore, pkg/controller/controller.go",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=POWERSTORE,
    ),
    _text(  # `volume does not exists at this path P`, with its grammar
        "powerscale-path-missing",
        r"volume does not exists? at this path",
        meaning="Dell PowerScale: the volume's directory is gone",
        example="volume does not exists at this path /ifs/data/csi/k8s-1",
        source="dell/csi-powerscale, service/node.go",
        becomes=(INACCESSIBLE, Reason.VOLUME_NOT_FOUND),
        driver=POWERSCALE,
        said_by=Source.CONTROLLER,
    ),
    _text(  # `error in getting 'V' volume 'E'`, `unable to fetch export list`: its API fails, perhaps not the volume
        "powerscale-api-error",
        r"^(error in getting '|unable to fetch export list)",
        meaning="Dell PowerScale: the array's API did not tell about the volume",
        example="unable to fetch export list",
        source="dell/csi-powerscale, service/controller.go",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
        driver=POWERSCALE,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # `volume: X was not mapped to host: E`
        "powerflex-not-mapped",
        r"was not mapped to host",
        meaning="Dell PowerFlex: the array has not mapped the volume to the node",
        example="volume: 9b was not mapped to host: no such device",
        source="dell/csi-powerflex, service/node.go",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERFLEX,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # it reads every volume as a directory, which a device is not
        "powerflex-block",
        r"volume path: .* is not accessible: readdirent .*: not a directory",
        meaning="Dell PowerFlex: a raw block volume, which the driver cannot look into",
        example="volume path: /mnt/x is not accessible: readdirent /mnt/x: not a directory",
        source="dell/csi-powerflex, service/node.go",
        becomes=None,
        driver=POWERFLEX,
    ),
    _text(  # `volume path: P is not accessible: E`
        "powerflex-path",
        r"volume path: .* is not accessible",
        meaning="Dell PowerFlex: the mounted volume cannot be read",
        example="volume path: /mnt/x is not accessible: permission denied",
        source="dell/csi-powerflex, service/node.go",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=POWERFLEX,
    ),
    _text(  # the message is the status word, and every word but `active` is abnormal
        "linode-busy",
        r"^(creating|resizing|migrating|key_rotating)$",
        meaning="Linode: the volume is being created, resized, moved or re-encrypted",
        example="resizing",
        source="linode-blockstorage-csi-driver, status of the API",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
        driver=LINODE,
        after=WHILE_BUSY,
    ),
    _text(
        "linode-support",
        r"^contact_support$",
        meaning="Linode: the volume has a problem that only Linode's support can solve",
        example="contact_support",
        source="linode-blockstorage-csi-driver, status of the API",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=LINODE,
    ),
    _text(  # the node plugin's words for EIO
        "linode-io-error",
        r"failed to get stats",
        meaning="Linode: the mounted volume answers with input/output errors",
        example="failed to get stats: input/output error",
        source="linode-blockstorage-csi-driver, NodeGetVolumeStats",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=LINODE,
    ),
    _text(  # `Resource with issues on node(s): a,b`: replicas, of which others may serve
        "linstor-replica",
        r"^Resource with issues on node\(s\)",
        meaning="LINSTOR: replicas of the volume are faulty on the named nodes",
        example="Resource with issues on node(s): worker-1,worker-2",
        source="piraeusdatastore/linstor-csi 481",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
    ),
    _text(  # older versions add `for N seconds`
        "ceph-check-stuck",
        r"health-check has not responded",
        meaning="ceph-csi: its own read or write of the volume does not return",
        example="health-check has not responded for 135.040921 seconds",
        source="ceph/ceph-csi 6540",
        becomes=(INACCESSIBLE, Reason.HEALTH_CHECK_STUCK),
    ),
    _text(  # two texts of csi-driver-host-path
        "hostpath-capacity",
        r"^The (capacity of volume is greater than actual storage|free space of the volume is insufficient)",
        meaning="csi-driver-host-path: the storage behind the volume is full",
        example="The free space of the volume is insufficient",
        source="csi-driver-host-path, CSI 1.12, pkg/hostpath/healthcheck.go",
        becomes=(DEGRADED, Reason.OUT_OF_CAPACITY),
    ),
    _text(  # `The source path of the volume doesn't exist`; `volume id X does not exist in the volumes list`
        "hostpath-missing",
        r"^The source path of the volume doesn't exist|does not exist in the volumes list",
        meaning="csi-driver-host-path: the volume's directory, or the volume, is gone",
        example="The source path of the volume doesn't exist",
        source="csi-driver-host-path, CSI 1.12, pkg/hostpath/healthcheck.go",
        becomes=(INACCESSIBLE, Reason.VOLUME_NOT_FOUND),
    ),
    _text(  # PowerFlex `Volume is not found by node driver at T`; an array's export or host may be missing instead
        "not-found-by-node",
        r"(?i)\b(volume|filesystem)( \S{1,256})?( is| was)? not found\b|\bVolumeNotFound\b"
        r"|volume does not exists? at this path",
        meaning="any driver: its node plugin does not find the volume, which is not gone for that",
        example="Volume is not found by node driver at 2021-11-11 02:04:49",
        source="dell/csi-powerflex, service/node.go",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        said_by=Source.NODE,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # PowerStore `Volume X is not found`, PowerFlex `Volume is not found by controller at T`, Unity, XCP-ng
        "volume-not-found",
        r"(?i)\b(volume|filesystem)( \S{1,256})?( is| was)? not found\b|\bVolumeNotFound\b",
        meaning="any driver: the volume is not found",
        example="Volume 6f is not found",
        source="dell/csi-powerstore, pkg/controller/controller.go",
        becomes=(INACCESSIBLE, Reason.VOLUME_NOT_FOUND),
    ),
    _text(  # `The volume isn't mounted`, `staging target path P not mounted for volume X`, `volPath: P is not mounted`
        "not-mounted",
        r"(?i)\b(isn't|not) (currently )?(mounted|a mount[ -]?point)\b",
        meaning="any driver: the volume is not mounted where it should be",
        example="staging target path /x not mounted for volume 6f",
        source="dell/csi-powerstore, pkg/node/node.go",
        becomes=(INACCESSIBLE, Reason.VOLUME_UNMOUNTED),
    ),
    _text(  # EUCLEAN, and what checks of filesystems say
        "filesystem-corrupted",
        r"(?i)structure needs cleaning|(file ?system|journal|superblock) .{0,64}corrupt"
        r"|corrupted? (file ?system|journal|superblock)",
        meaning="any driver: the filesystem is damaged",
        example="mount failed: Structure needs cleaning",
        source="EUCLEAN",
        becomes=(INACCESSIBLE, Reason.FILESYSTEM_CORRUPTED),
    ),
    _text(  # EROFS
        "filesystem-read-only",
        r"(?i)read-only file ?system",
        meaning="any driver: the filesystem went read-only",
        example="write t: read-only file system",
        source="EROFS",
        becomes=(DEGRADED, Reason.FILESYSTEM_READ_ONLY),
    ),
    _text(  # ENOSPC, EDQUOT
        "no-space",
        r"(?i)no space left on device|disk quota exceeded",
        meaning="any driver: the volume, or the storage behind it, is full",
        example="write t: no space left on device",
        source="ENOSPC, EDQUOT",
        becomes=(DEGRADED, Reason.OUT_OF_CAPACITY),
    ),
    _text(  # what Go says of a system call on a path: an evicted client, a stuck one, a device that left (mount-utils)
        "dead-path",
        r"(?i)\b(l?stat|statfs|lstat|open|read|readdir|readdirent|getattr|access) .+: (permission denied"
        r"|operation not permitted|resource temporarily unavailable|no such device( or address)?|connection timed out"
        r"|no route to host|network is unreachable|software caused connection abort)$",
        meaning="any driver: the mounted path cannot be read",
        example="stat /var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/p/mount: permission denied",
        source="mount-utils, IsCorruptedMnt: EACCES, EWOULDBLOCK, ENODEV; and ENXIO, ETIMEDOUT, EHOSTUNREACH",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
    ),
    _text(  # the errnos of a corrupted mount (ceph-csi and others): ESTALE, ENOTCONN, EIO, EHOSTDOWN
        "dead-mount",
        r"(?i)stale (nfs )?file handle|transport endpoint is not connected|input/output error|host is down"
        r"|cannot send after transport endpoint shutdown|remote i/o error",
        meaning="any driver: the mount is dead or the device answers with errors",
        example="stat /var/lib/kubelet/x: transport endpoint is not connected",
        source="ESTALE, ENOTCONN, EIO, EHOSTDOWN, ESHUTDOWN, EREMOTEIO",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
    ),
)
"""In order: the first that matches decides, so a driver's own come before what may be any driver's."""
