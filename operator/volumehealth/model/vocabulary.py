"""The closed lists: names that appear in objects, events and metrics, each with a sentence.

`docs/vocabulary.md` holds the same tables; a test compares them.
"""

from enum import StrEnum

GROUP = "volumehealth.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
POLICY_KIND = "VolumeHealthPolicy"
POLICIES = "volumehealthpolicies"
RECORD_KIND = "VolumeHealth"
RECORDS = "volumehealths"
REPORT_KIND = "VolumeHealthReport"
REPORTS = "volumehealthreports"
DRIVER_KIND = "VolumeHealthDriver"
DRIVERS = "volumehealthdrivers"
COMPONENT = "volumehealth"
"""Our name as reporting component, field manager and event source."""


SILENCE_UNTIL = f"{GROUP}/silence-until"
"""Annotation of a claim, a namespace or a node: until when people are not told."""
SILENCE_REASON = f"{GROUP}/silence-reason"
"""Annotation beside it: why."""


class Described(StrEnum):
    """A name with the sentence that explains it."""

    description: str

    def __new__(cls, value: str, description: str) -> "Described":
        """Make a member from its name and its sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member


class ConditionType(Described):
    """`status.conditions[].type` of a policy: the first three always, the last only while it is true."""

    READY = "Ready", "The spec is valid and checks advance; never about volumes."
    SOURCES_AVAILABLE = "SourcesAvailable", "Drivers, agents and the view of the API answer."
    VOLUMES_HEALTHY = "VolumesHealthy", "No selected claim is unhealthy or unknown."
    STALLED = "Stalled", "The spec cannot be used; no progress until it is changed."


class ReadyReason(Described):
    """Reasons of `Ready`."""

    CHECKING = "Checking", "Checks advance at the policy's interval."
    INVALID_SPEC = "InvalidSpec", "The spec cannot be used; the last good one stays in force."
    SUSPENDED = "Suspended", "The policy is suspended, for good or until a moment: everything stays as it is."
    NOT_YET_CHECKED = "NotYetChecked", "No check has finished yet."


class StalledReason(Described):
    """Reasons of `Stalled`."""

    INVALID_SPEC = "InvalidSpec", "The spec cannot be used; the last good one stays in force."


class SourcesReason(Described):
    """Reasons of `SourcesAvailable`."""

    ALL_AVAILABLE = "AllAvailable", "Every source that should answer does."
    NO_SOURCES = "NoSources", "No source can be asked about any selected claim, or no check has finished yet."
    DRIVER_UNREACHABLE = "DriverUnreachable", "At least one driver or configured endpoint does not answer."
    AGENT_SILENT = "AgentSilent", "At least one agent has stopped reporting."
    VIEW_STALE = "ViewStale", "The API server cannot be followed; what is known of objects is old."


class VolumesReason(Described):
    """Reasons of `VolumesHealthy`."""

    ALL_HEALTHY = "AllHealthy", "Every monitored claim is healthy."
    VOLUMES_UNHEALTHY = "VolumesUnhealthy", "At least one claim is unhealthy."
    DRIVER_WIDE_PROBLEM = (
        "DriverWideProblem",
        "At least 20 claims and half of a driver's claims are unhealthy for one reason.",
    )
    SOME_UNKNOWN = "SomeUnknown", "No claim is unhealthy, but a source that should speak does not."
    NOTHING_SELECTED = "NothingSelected", "The policy selects no claim: a typo must not look healthy."
    NOTHING_MONITORED = (
        "NothingMonitored",
        "No selected claim can be monitored: no source can say that it is healthy.",
    )
    NOT_YET_CHECKED = "NotYetChecked", "No check has finished yet, or none since the operator started."
    SUSPENDED = "Suspended", "The policy is suspended, for good or until a moment: everything stays as it is."


class EventReason(Described):
    """Reasons of the Events we write."""

    VOLUME_CONDITION_ABNORMAL = (
        "VolumeConditionAbnormal",
        "On a PVC and its Pods: the volume became unhealthy.",
    )
    VOLUME_CONDITION_NORMAL = "VolumeConditionNormal", "On a PVC and its Pods: the volume recovered."
    NODE_FAILED = "NodeFailed", "On a PVC and its Pods: the node that uses the volume failed."
    NODE_RECOVERED = "NodeRecovered", "On a PVC and its Pods: that node is back."
    VOLUMES_UNHEALTHY = "VolumesUnhealthy", "On a policy: claims became unhealthy."
    VOLUMES_HEALTHY = "VolumesHealthy", "On a policy: no claim is unhealthy any more."
    STORAGE_UNHEALTHY = (
        "StorageUnhealthy",
        "On a policy: a driver says that storage is unwell, seen from a node.",
    )
    STORAGE_HEALTHY = "StorageHealthy", "On a policy: no driver says so of its storage any more."
    SOURCE_SILENT = "SourceSilent", "On a policy: a driver stopped answering."
    SOURCE_ANSWERING = "SourceAnswering", "On a policy: a driver answers again."
    AGENT_SILENT = "AgentSilent", "On a policy: an agent stopped reporting."
    AGENT_REPORTING = "AgentReporting", "On a policy: an agent reports again."
    SILENCE_INVALID = (
        "SilenceInvalid",
        "On a claim, a namespace or a node: the end of its silence cannot be read, and nothing is silenced.",
    )


class Reason(Described):
    """Reasons of conditions that we give ourselves, beside those that drivers give."""

    VOLUME_NOT_FOUND = "VolumeNotFound", "The driver's controller says the volume does not exist, confirmed."
    VOLUME_CONDITION_ABNORMAL = (
        "VolumeConditionAbnormal",
        "A legacy driver says abnormal; no rule knows its text.",
    )
    OUT_OF_CAPACITY = "OutOfCapacity", "The volume, or the storage behind it, is full."
    FILESYSTEM_CORRUPTED = "FilesystemCorrupted", "The filesystem is damaged."
    VOLUME_UNMOUNTED = "VolumeUnmounted", "A volume that should be mounted is not."
    FILESYSTEM_READ_ONLY = "FilesystemReadOnly", "A volume asked for read-write is mounted read-only."
    WRONG_MOUNT = (
        "WrongMount",
        "Something else is mounted where the volume should be: mostly a directory of the node's own disk.",
    )
    MOUNT_REPLACED = (
        "MountReplaced",
        "The volume was mounted anew under a running Pod, which still sees the old mount.",
    )
    FILESYSTEM_SHUTDOWN = (
        "FilesystemShutdown",
        "The kernel shut the filesystem down: all access fails until it is mounted anew.",
    )
    FILESYSTEM_ERROR = "FilesystemError", "The kernel found an error in the filesystem."
    IO_ERROR = "IOError", "I/O of the device under the volume fails, or writes were lost."
    IO_STALLED = "IOStalled", "I/O of the device under the volume does not end."
    DEVICE_GONE = "DeviceGone", "The device under the volume is not there any more."
    DEVICE_OFFLINE = "DeviceOffline", "The device under the volume takes no I/O."
    PATH_DOWN = "PathDown", "A path to the device is down; another one works."
    REPLICA_LOST = "ReplicaLost", "A member of the array, or a replica, under the volume is lost."
    SERVER_NOT_RESPONDING = "ServerNotResponding", "The file server of the volume does not respond."
    RESERVATION_CONFLICT = (
        "ReservationConflict",
        "Another node holds the device, or this one is fenced from it.",
    )
    SLOW_IO = "SlowIO", "Requests take longer on average than the policy's maxLatency."
    NOT_ATTACHED = "NotAttached", "The storage says that the node is not attached to the volume."
    BACKEND_ERROR = "BackendError", "The storage behind the volume reports an error."
    HEALTH_CHECK_STUCK = "HealthCheckStuck", "The driver's own check of the volume does not return."
    NODE_FAILED = (
        "NodeFailed",
        "A node is not Ready, or gone, while Pods that use the volume are bound to it.",
    )
    DRIVER_NOT_REGISTERED = (
        "DriverNotRegistered",
        "The kubelet of a node that runs Pods with the volume does not list its driver any more (CSINode).",
    )
    ATTACH_FAILED = "AttachFailed", "The volume cannot be attached to a node (VolumeAttachment)."
    DETACH_FAILED = "DetachFailed", "The volume cannot be detached from a node (VolumeAttachment)."
    VOLUME_FAILED = "VolumeFailed", "The PersistentVolume's phase is Failed."
    CLAIM_LOST = "ClaimLost", "The claim's phase is Lost: its PersistentVolume is gone."
    RESIZE_FAILED = (
        "ResizeFailed",
        "The volume cannot be resized (conditions and resize status of the claim).",
    )
    RESIZE_STUCK = "ResizeStuck", "A resize has waited for an hour, and the capacity is below the request."
    MODIFY_FAILED = "ModifyFailed", "The claim's VolumeAttributesClass cannot be applied."
    CANNOT_MOUNT = "CannotMount", "A Pod waits because its volume cannot be mounted or attached."
    MULTI_ATTACH = (
        "MultiAttach",
        "A Pod waits because its volume is attached to another node, or used by another Pod.",
    )
    ATTACH_STUCK = (
        "AttachStuck",
        "A VolumeAttachment is neither attached nor gone for a long time, and a Pod waits for it.",
    )
    VOLUME_DELETING = (
        "VolumeDeleting",
        "The PersistentVolume or its claim is being deleted while it is in use.",
    )


class SilenceReason(Described):
    """Why a source that should speak does not (`Unknown`)."""

    NOT_YET_ASKED = "NotYetAsked", "The volume was not asked about yet."
    NO_CONDITION = "NoCondition", "The driver answered without a condition; that is never read as healthy."
    NOT_LISTED = "NotListed", "The volume is not in the driver's list, and that is not confirmed yet."
    LIST_INCOMPLETE = "ListIncomplete", "The driver's list ended early; absence means nothing."
    DRIVER_UNREACHABLE = "DriverUnreachable", "The driver does not answer."
    SOURCE_DOWN = "SourceDown", "Errors for at least half and at least ten of the driver's volumes at once."
    CALL_FAILED = "CallFailed", "The call for this volume failed."
    NOT_MOUNTED = "NotMounted", "The node plugin does not know the volume where it should be mounted."
    ANSWER_OUTDATED = "AnswerOutdated", "The last answer is too old to be trusted."
    VIEW_STALE = "ViewStale", "The API server cannot be followed."
    AGENT_SILENT = "AgentSilent", "The node's agent stopped reporting."
    UNKNOWN_VALUE = "UnknownValue", "Another health monitor wrote a value that is not known here."
    NOT_YET_CONFIRMED = (
        "NotYetConfirmed",
        "The driver says something adverse that has not lasted long enough.",
    )
    JUDGING_FAILED = (
        "JudgingFailed",
        "A fault of the operator: what is said of the claim could not be judged.",
    )
