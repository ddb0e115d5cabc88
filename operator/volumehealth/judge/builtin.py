"""What is known of the texts of drivers in the field (facts C6, D7); applied after a policy's own rules.

A legacy driver says *abnormal* and a text, no more. These rules give the texts a status and a reason, and longer
delay where a text means normal life. They touch only statements that nobody classified yet: what a driver of CSI
1.13 says with a reason of its own stays as it is. A rule names a driver only if its text could mean something else
elsewhere: many drivers are installed under names of their own.
"""

from dataclasses import dataclass
from datetime import timedelta

from volumehealth.model.health import DEGRADED, INACCESSIBLE
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
        rule: as a policy would write it.
    """

    name: str
    meaning: str
    rule: Rule


def _text(
    name: str,
    pattern: str,
    *,
    meaning: str,
    becomes: tuple[str, Reason],
    driver: str = "",
    after: timedelta | None = None,
) -> BuiltIn:
    match = RuleMatch(driver=driver, reason=str(Reason.VOLUME_CONDITION_ABNORMAL), message=pattern)
    return BuiltIn(
        name, meaning, Rule(match, unhealthy_after=after, set=RuleSet(becomes[0], str(becomes[1])))
    )


BUILT_IN: tuple[BuiltIn, ...] = (
    _text(  # `host H is not attached to volume X`: also while a Pod moves
        "powerstore-not-attached",
        r"is not attached to volume",
        meaning="Dell PowerStore: the array has not attached the volume to the node",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERSTORE,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # `host H has no active initiator connection`
        "powerstore-no-initiator",
        r"has no active initiator connection",
        meaning="Dell PowerStore: the node has lost every path to the array",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERSTORE,
    ),
    _text(  # `Volume X is in Initializing state`
        "powerstore-initializing",
        r"is in Initializing state",
        meaning="Dell PowerStore: the volume is being prepared",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
        driver=POWERSTORE,
        after=WHILE_BUSY,
    ),
    _text(  # `Volume X is in Offline state`, and states that later arrays may add
        "powerstore-state",
        r"is in \S+ state",
        meaning="Dell PowerStore: the volume is in another state than Ready",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=POWERSTORE,
    ),
    _text(  # `volume does not exists at this path P`, with its grammar
        "powerscale-path-missing",
        r"volume does not exists? at this path",
        meaning="Dell PowerScale: the volume's directory is gone",
        becomes=(INACCESSIBLE, Reason.VOLUME_NOT_FOUND),
        driver=POWERSCALE,
    ),
    _text(  # `error in getting 'V' volume 'E'`, `unable to fetch export list`: its API fails, perhaps not the volume
        "powerscale-api-error",
        r"^(error in getting '|unable to fetch export list)",
        meaning="Dell PowerScale: the array's API did not tell about the volume",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
        driver=POWERSCALE,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # `volume: X was not mapped to host: E`
        "powerflex-not-mapped",
        r"was not mapped to host",
        meaning="Dell PowerFlex: the array has not mapped the volume to the node",
        becomes=(INACCESSIBLE, Reason.NOT_ATTACHED),
        driver=POWERFLEX,
        after=WHILE_PODS_MOVE,
    ),
    _text(  # `volume path: P is not accessible: E`
        "powerflex-path",
        r"volume path: .* is not accessible",
        meaning="Dell PowerFlex: the mounted volume cannot be read",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=POWERFLEX,
    ),
    _text(  # the message is the status word, and every word but `active` is abnormal
        "linode-busy",
        r"^(creating|resizing|migrating|key_rotating)$",
        meaning="Linode: the volume is being created, resized, moved or re-encrypted",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
        driver=LINODE,
        after=WHILE_BUSY,
    ),
    _text(
        "linode-support",
        r"^contact_support$",
        meaning="Linode: the volume has a problem that only Linode's support can solve",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=LINODE,
    ),
    _text(  # the node plugin's words for EIO
        "linode-io-error",
        r"failed to get stats",
        meaning="Linode: the mounted volume answers with input/output errors",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
        driver=LINODE,
    ),
    _text(  # `Resource with issues on node(s): a,b`: replicas, of which others may serve
        "linstor-replica",
        r"^Resource with issues on node\(s\)",
        meaning="LINSTOR: replicas of the volume are faulty on the named nodes",
        becomes=(DEGRADED, Reason.BACKEND_ERROR),
    ),
    _text(  # older versions add `for N seconds`
        "ceph-check-stuck",
        r"health-check has not responded",
        meaning="ceph-csi: its own read or write of the volume does not return",
        becomes=(INACCESSIBLE, Reason.HEALTH_CHECK_STUCK),
    ),
    _text(  # two texts of csi-driver-host-path
        "hostpath-capacity",
        r"^The (capacity of volume is greater than actual storage|free space of the volume is insufficient)",
        meaning="csi-driver-host-path: the storage behind the volume is full",
        becomes=(DEGRADED, Reason.OUT_OF_CAPACITY),
    ),
    _text(  # `The source path of the volume doesn't exist`; `volume id X does not exist in the volumes list`
        "hostpath-missing",
        r"^The source path of the volume doesn't exist|does not exist in the volumes list",
        meaning="csi-driver-host-path: the volume's directory, or the volume, is gone",
        becomes=(INACCESSIBLE, Reason.VOLUME_NOT_FOUND),
    ),
    _text(  # PowerStore `Volume X is not found`, PowerFlex `Volume is not found by controller at T`, Unity, XCP-ng
        "volume-not-found",
        r"(?i)\b(volume|filesystem)( \S{1,256})?( is| was)? not found\b|\bVolumeNotFound\b",
        meaning="any driver: the volume is not found",
        becomes=(INACCESSIBLE, Reason.VOLUME_NOT_FOUND),
    ),
    _text(  # `The volume isn't mounted`, `staging target path P not mounted for volume X`, `volPath: P is not mounted`
        "not-mounted",
        r"(?i)\b(isn't|not) mounted\b",
        meaning="any driver: the volume is not mounted where it should be",
        becomes=(INACCESSIBLE, Reason.VOLUME_UNMOUNTED),
    ),
    _text(  # EUCLEAN, and what checks of filesystems say
        "filesystem-corrupted",
        r"(?i)structure needs cleaning|(file ?system|journal|superblock) .{0,64}corrupt"
        r"|corrupted? (file ?system|journal|superblock)",
        meaning="any driver: the filesystem is damaged",
        becomes=(INACCESSIBLE, Reason.FILESYSTEM_CORRUPTED),
    ),
    _text(  # EROFS
        "filesystem-read-only",
        r"(?i)read-only file ?system",
        meaning="any driver: the filesystem went read-only",
        becomes=(DEGRADED, Reason.FILESYSTEM_READ_ONLY),
    ),
    _text(  # ENOSPC, EDQUOT
        "no-space",
        r"(?i)no space left on device|disk quota exceeded",
        meaning="any driver: the volume, or the storage behind it, is full",
        becomes=(DEGRADED, Reason.OUT_OF_CAPACITY),
    ),
    _text(  # the errnos of a corrupted mount (ceph-csi and others): ESTALE, ENOTCONN, EIO, EHOSTDOWN
        "dead-mount",
        r"(?i)stale (nfs )?file handle|transport endpoint is not connected|input/output error|host is down",
        meaning="any driver: the mount is dead or the device answers with errors",
        becomes=(INACCESSIBLE, Reason.BACKEND_ERROR),
    ),
)
"""In order: the first that matches decides, so a driver's own come before what may be any driver's."""
