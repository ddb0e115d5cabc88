"""What a look finds wrong with one volume, and how several such faults become one incident; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from volumehealth.model.health import severity
from volumehealth.model.vocabulary import Reason


class Look(StrEnum):
    """Which look it was; each is an origin of its own in the report."""

    MOUNTS = "MountTable"
    DEVICE = "BlockDevice"
    FILESYSTEM = "Filesystem"
    KERNEL_LOG = "KernelLog"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a volume now.

    Attributes:
        look: which look found it.
        status, reason: as in a condition.
        message: a person's sentence without a moving time; what it names decides how it reads, not what it means.
        instance: not empty if it holds until this instance of the filesystem or device ends, whatever is seen later.
    """

    look: Look
    status: str
    reason: Reason
    message: str
    instance: str = ""


_OF_MOUNTS = frozenset({Reason.VOLUME_UNMOUNTED, Reason.WRONG_MOUNT, Reason.MOUNT_REPLACED})
"""What is wrong with where a volume is mounted has other causes than what is wrong with the volume."""
_ORDER = (
    Reason.VOLUME_UNMOUNTED,
    Reason.WRONG_MOUNT,
    Reason.MOUNT_REPLACED,
    Reason.DEVICE_GONE,
    Reason.FILESYSTEM_SHUTDOWN,
    Reason.DEVICE_OFFLINE,
    Reason.IO_STALLED,
    Reason.SERVER_NOT_RESPONDING,
    Reason.BACKEND_ERROR,
    Reason.FILESYSTEM_READ_ONLY,
    Reason.FILESYSTEM_ERROR,
    Reason.OUT_OF_CAPACITY,
    Reason.REPLICA_LOST,
    Reason.PATH_DOWN,
    Reason.RESERVATION_CONFLICT,
    Reason.IO_ERROR,
    Reason.SLOW_IO,
)
"""Which of equally bad faults names the incident: what lasts longer comes first, so that the name stays when a line of
the kernel log expires."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Faults of one volume that belong together.

    Attributes:
        fault: the worst; what is said of the volume.
        details: the others.
    """

    fault: Fault
    details: tuple[Fault, ...] = ()

    @property
    def instance(self) -> str:
        """Which mounting it was seen in, if any part of it holds until that ends."""
        return next((one.instance for one in (self.fault, *self.details) if one.instance), "")

    @property
    def message(self) -> str:
        """The sentence of the worst fault, and what else was seen of it."""
        also = list(dict.fromkeys(one.message for one in self.details if one.message != self.fault.message))
        return f"{self.fault.message}; also: {'; '.join(also)}" if also else self.fault.message


def incidents(faults: Iterable[Fault]) -> tuple[Incident, ...]:
    """Put what several looks saw of one fault together: one incident for the mounts, one for what is below them.

    The worst fault names the incident.
    """
    families: dict[bool, list[Fault]] = {}
    for fault in faults:
        families.setdefault(fault.reason in _OF_MOUNTS, []).append(fault)
    found = []
    for _, members in sorted(families.items(), reverse=True):
        worst, *rest = sorted(members, key=_worst_first)
        found.append(Incident(worst, tuple(rest)))
    return tuple(found)


def _worst_first(fault: Fault) -> tuple[int, int]:
    order = _ORDER.index(fault.reason) if fault.reason in _ORDER else len(_ORDER)
    return (-severity(fault.status), order)
