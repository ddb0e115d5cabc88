"""What the errors of a driver's NodeGetVolumeStats and NodeGetVolumeHealth say of the volume itself; pure.

A driver without a health call still touches the volume when it is asked how full it is: it calls statfs(2), and passes the
kernel's words on (aws-ebs-csi-driver, azuredisk, csi-driver-nfs: `failed to get stats: input/output error`). Those errnos
which say that the volume cannot be reached are evidence about it (as k8s.io/mount-utils counts them in IsCorruptedMnt);
all other errors are the call's.
"""

import re

from volumehealth.errors import CsiError
from volumehealth.model.health import INACCESSIBLE, Condition
from volumehealth.model.vocabulary import Reason

_OF_THE_VOLUME = re.compile(
    r"(?:^|[:\s])(?:input/output error|stale (?:nfs )?file handle|transport endpoint is not connected|host is down"
    r"|structure needs cleaning|cannot send after transport endpoint shutdown|no such device(?: or address)?)\W*$",
    re.IGNORECASE,
)
_OF_A_STAT = re.compile(
    r"(?:^|[:\s])stat(?:fs)? \S+: (?:permission denied|resource temporarily unavailable)\W*$", re.IGNORECASE
)
"""An evicted or stuck CephFS client; without the path it may be the driver that lacks a right."""
_OF_A_CONNECTION = re.compile(r"\b(?:dial|connect|rpc error|transport: )\b", re.IGNORECASE)
_CODES = frozenset({"INTERNAL", "UNKNOWN", "FAILED_PRECONDITION", "ABORTED", "DATA_LOSS"})


def backend_error(error: CsiError, *, wanted: str = "how full the volume is") -> Condition | None:
    """Return what a failed call says of the volume; None if it says nothing.

    Args:
        error: of NodeGetVolumeStats, or of NodeGetVolumeHealth.
        wanted: what the driver was asked.
    """
    text = str(error)
    if error.code not in _CODES or _OF_A_CONNECTION.search(text):
        return None
    if _OF_THE_VOLUME.search(text) or _OF_A_STAT.search(text):
        message = f"the driver cannot tell {wanted}: {text}"
        return Condition(INACCESSIBLE, Reason.BACKEND_ERROR.value, message)
    return None
