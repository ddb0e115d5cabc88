"""What can go wrong with a volume of the simulated driver, and how a driver would tell it."""

from dataclasses import dataclass
from enum import StrEnum

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.model.vocabulary import Described


class Plane(StrEnum):
    """Where a fault shows."""

    CONTROLLER = "controller"
    NODE = "node"
    BOTH = "both"


class Fault(Described):
    """A volume's trouble, with the sentence that explains it."""

    VOLUME_DELETED = "VolumeDeleted", "Deleted on the storage, outside Kubernetes; the driver says so."
    VOLUME_GONE = (
        "VolumeGone",
        "Deleted outside Kubernetes; the driver does not know it any more: not listed, NOT_FOUND.",
    )
    DISK_FAILURE = "DiskFailure", "The disks under the volume failed; data is lost."
    OUT_OF_CAPACITY = "OutOfCapacity", "The volume is full."
    DEGRADED_PERFORMANCE = "DegradedPerformance", "It works, but slowly: a rebuild is under way."
    IO_ERRORS = "IOErrors", "Reading and writing fail."
    FILESYSTEM_CORRUPTED = "FilesystemCorrupted", "The filesystem on it is damaged."
    UNMOUNTED = "Unmounted", "Unmounted on its node, outside Kubernetes; only the node plane can see it."


@dataclass(frozen=True, slots=True)
class Symptom:
    """How a driver tells a fault.

    Attributes:
        status, reason: CSI 1.13.
        message: both generations; a legacy driver has nothing else.
        plane: who sees it.
    """

    status: pb.VolumeHealthErrorType.ValueType
    reason: str
    message: str
    plane: Plane = Plane.BOTH


# Texts in use by csi-driver-host-path are kept word for word (facts C6); no driver has one for the others.
SYMPTOMS: dict[Fault, Symptom] = {
    Fault.VOLUME_DELETED: Symptom(
        pb.INACCESSIBLE, "VolumeNotFound", "The source path of the volume doesn't exist", Plane.CONTROLLER
    ),
    Fault.VOLUME_GONE: Symptom(pb.INACCESSIBLE, "VolumeNotFound", "volume not found", Plane.BOTH),
    Fault.DISK_FAILURE: Symptom(
        pb.DATA_LOSS, "DiskFailure", "disk failure: no intact replica of the volume is left", Plane.CONTROLLER
    ),
    Fault.OUT_OF_CAPACITY: Symptom(
        pb.DEGRADED, "OutOfCapacity", "The free space of the volume is insufficient", Plane.CONTROLLER
    ),
    Fault.DEGRADED_PERFORMANCE: Symptom(
        pb.DEGRADED, "DegradedPerformance", "degraded performance: a rebuild is in progress", Plane.CONTROLLER
    ),
    Fault.IO_ERRORS: Symptom(
        pb.INACCESSIBLE, "IOError", "read and write I/O errors on the volume", Plane.BOTH
    ),
    Fault.FILESYSTEM_CORRUPTED: Symptom(
        pb.INACCESSIBLE, "FilesystemCorrupted", "filesystem corruption: structure needs cleaning", Plane.BOTH
    ),
    Fault.UNMOUNTED: Symptom(pb.INACCESSIBLE, "VolumeUnmounted", "The volume isn't mounted", Plane.NODE),
}


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that a volume has now; its message and plane may differ from the usual ones."""

    fault: Fault
    symptom: Symptom

    def shows_on(self, plane: Plane) -> bool:
        """Tell whether the controller or the node plane sees it."""
        return self.symptom.plane in (plane, Plane.BOTH)


def activate(fault: Fault, *, message: str | None = None, plane: Plane | None = None) -> ActiveFault:
    """Make a fault happen, with its usual message and plane unless others are given."""
    usual = SYMPTOMS[fault]
    symptom = Symptom(
        usual.status, usual.reason, usual.message if message is None else message, plane or usual.plane
    )
    return ActiveFault(fault, symptom)
