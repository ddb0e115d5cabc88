"""A VolumeHealthReport: what an agent says of its node, or of one driver's controller plugin. Agent and operator use it.

How it is read. A claim that a running Pod uses on the report's node is explicitly healthy there if all of this holds:
its driver is in `drivers`, is Answering and has a health API; the claim is neither in `volumes` nor in `silent`;
nothing was left out; and the Pod has been running for longer than the reader's grace, so that the agent had the time
to ask. A driver whose health API is None: it can clear nothing, but its volumes' mount table and capacity entries accuse all
the same. An agent whose Lease was not renewed for `AGENT_SILENT_SECONDS` says nothing at all any more.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.vocabulary import COMPONENT

AGENT_RENEW_SECONDS = 60
"""An agent renews its Lease this often."""
AGENT_SILENT_SECONDS = 180
"""An agent whose Lease was not renewed for so long is silent; its Lease's `leaseDurationSeconds`."""
LEASE_PREFIX = f"{COMPONENT}-agent-"
AGENT_LABEL = "volumehealth.dev/agent"
"""Label of every agent's Lease; its value is the plane in lower case, `node` or `controller`."""
CONTROLLER_PREFIX = "controller."

_MOST_NAME = 253
_MOST_LABEL = 220
_HASH = 10


class Plane(StrEnum):
    """What an agent reports on."""

    NODE = "Node"
    CONTROLLER = "Controller"


class Origin(StrEnum):
    """Where an adverse statement about a volume comes from."""

    DRIVER = "Driver"
    """The driver's own word: a health call, or a legacy condition."""
    MOUNT_TABLE = "MountTable"
    """The agent read the node's mount table."""
    CAPACITY = "Capacity"
    """The agent compared the usage that the driver counts with a policy's thresholds."""


@dataclass(frozen=True, slots=True)
class ReportedCondition:
    """One adverse statement about a volume.

    Attributes:
        status, reason, message: as in `model.health.Condition`; cleaned and bounded.
        since: when the agent first heard it without a break, by the agent's clock.
        origin: whose word it is.
    """

    status: str
    reason: str
    message: str
    since: datetime
    origin: Origin = Origin.DRIVER


@dataclass(frozen=True, slots=True)
class StorageProblem:
    """One adverse statement about the storage behind a driver on this node (NodeGetStorageHealth).

    Attributes:
        status: `StorageDegraded`, `StorageUnreachable`, or a newer value kept as it came.
        reason, message: as the driver gave them, cleaned and bounded.
        since: when the agent first heard it without a break.
        access_mode, volume_mode: the kind of volumes it touches, as Kubernetes names them (`ReadWriteOnce`,
            `Filesystem`); empty for all.
    """

    status: str
    reason: str
    message: str
    since: datetime
    access_mode: str = ""
    volume_mode: str = ""


@dataclass(frozen=True, slots=True)
class ReportedDriver:
    """What a driver can tell from here, and how it answers.

    Attributes:
        name: as in `spec.csi.driver`.
        state: Answering, Unreachable (all its volumes are silent; none of them is listed for that, and what it said of
            them before is not repeated) or Unsupported.
        since: since when it is in that state.
        health_api: which health calls of this plane it speaks; None: it can clear nothing.
        methods: the CSI methods that are called, such as `NodeGetVolumeHealth`.
        message: why it is not Answering, or how its behaviour and its capabilities differ; may be empty.
        hint: what would make it tell more; may be empty.
        storage: what it says is wrong with the storage behind it, worst first.
    """

    name: str
    state: SourceState
    since: datetime
    health_api: HealthAPI = HealthAPI.NONE
    methods: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""
    storage: tuple[StorageProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportedVolume:
    """A volume of which something adverse is said, once for each claim on it.

    Attributes:
        driver, handle: the CSI volume.
        namespace, claim, claim_uid: the claim that the Pods use; empty in a controller's report.
        pods: names of the running Pods of this node that use the claim, in order of the alphabet.
        conditions: worst first, at least one.
    """

    driver: str
    handle: str
    namespace: str = ""
    claim: str = ""
    claim_uid: str = ""
    pods: tuple[str, ...] = ()
    conditions: tuple[ReportedCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class SilentVolume:
    """A volume whose driver answers, but gave no answer about this one. It may have an adverse entry as well.

    Attributes:
        driver, handle: the CSI volume.
        namespace, claim, claim_uid: the claim that the Pods use; empty in a controller's report.
        reason: a `SilenceReason`, or a newer one.
        message: a person's sentence.
        since: since when there is no answer.
    """

    driver: str
    handle: str
    reason: str
    message: str
    since: datetime
    namespace: str = ""
    claim: str = ""
    claim_uid: str = ""


@dataclass(frozen=True, slots=True)
class Omitted:
    """How many entries are not in the report, the mildest ones, because it would be too big."""

    drivers: int = 0
    volumes: int = 0
    silent: int = 0

    def __bool__(self) -> bool:
        return bool(self.drivers or self.volumes or self.silent)


@dataclass(frozen=True, slots=True)
class VolumeHealthReport:
    """One agent's report.

    Attributes:
        name: of the object: the node's, or `controller.<driver>` (see `controller_report_name`).
        plane: what it is about.
        node: the node's name; empty in a controller's report.
        drivers: every driver that was found here, by name.
        volumes: adverse entries only, worst first.
        silent: volumes that were asked and gave no answer.
        capacity_warnings: how many claims have less free than some policy's `warningPercentFree`.
        omitted: what was left out. While anything was, a claim that is not named is not healthy but unknown.
    """

    name: str
    plane: Plane = Plane.NODE
    node: str = ""
    drivers: tuple[ReportedDriver, ...] = ()
    volumes: tuple[ReportedVolume, ...] = ()
    silent: tuple[SilentVolume, ...] = ()
    capacity_warnings: int = 0
    omitted: Omitted = Omitted()


def controller_report_name(driver: str) -> str:
    """Return the name of the report of a driver's controller plugin; CSI names compare without case."""
    return f"{CONTROLLER_PREFIX}{driver.lower()}"


def agent_lease_name(report: str) -> str:
    """Return the name of the Lease of the agent that writes a report, given the report's name.

    It is `volumehealth-agent-<report>`; a report's name that is too long for that is cut and ends in a hash.
    """
    if len(LEASE_PREFIX) + len(report) <= _MOST_NAME:
        return f"{LEASE_PREFIX}{report}"
    return f"{LEASE_PREFIX}{report[:_MOST_LABEL]}-{sha256(report.encode()).hexdigest()[:_HASH]}"
