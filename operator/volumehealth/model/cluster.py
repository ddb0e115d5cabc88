"""What the cluster says, reduced to the fields in use.

These rows are what the cluster view keeps of each object, so they are small on purpose: at 100,000 claims
every field costs megabytes. Strings that repeat (drivers, classes, namespaces, nodes) are interned by the view.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from volumehealth.model.health import Condition
from volumehealth.model.ids import ClaimRef

_NO_ALARM = ("excluded_from_alerts", "true")
"""Label by which users of the kubernetes-mixin already keep a claim out of alerts about free space (facts D21)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim joined with the PersistentVolume it is bound to."""

    ref: ClaimRef
    uid: str
    labels: Mapping[str, str]
    storage_class: str
    """`spec.storageClassName`, or that of the volume; empty if neither names one."""
    phase: str
    """`Pending`, `Bound` or `Lost`. A Lost claim is selected as what it was: it keeps its driver and handle."""
    volume: str
    """Name of the PersistentVolume; empty while unbound, or if the volume was never in the view."""
    driver: str
    """CSI driver name, or one of `NO_CSI_DRIVERS`; empty if the volume is of another kind (see `unsupported`)."""
    handle: str
    """CSI `volumeHandle`; empty if the volume is not CSI."""
    unsupported: str = ""
    """Why no CSI driver can be asked: the in-tree plugin's field name, such as `nfs` or `awsElasticBlockStore`."""
    access_modes: tuple[str, ...] = ()
    block: bool = False
    """True if `volumeMode` is Block."""
    deleting: bool = False
    """True if the claim carries a deletionTimestamp."""
    topology: str = ""
    """From which nodes the volume can be reached (`spec.nodeAffinity`); empty if from all."""

    @property
    def only_readers(self) -> bool:
        """Whether nobody may write to it."""
        return set(self.access_modes) == {"ReadOnlyMany"}

    @property
    def minds_space(self) -> bool:
        """Whether little free space means anything: not of devices, readers' volumes, and what is full on purpose (D8, D21)."""
        label, value = _NO_ALARM
        return not (self.block or self.only_readers or self.labels.get(label) == value)


@dataclass(frozen=True, slots=True)
class PodWait:
    """A Pod that is bound to a node and does not run, and its volumes may be why.

    Attributes:
        since: when it was bound to the node, or when all of it had stopped there; None if nobody says.
        volumes: the names of its volumes that are claims, with the claims' names.
    """

    since: datetime | None
    volumes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PodEvent:
    """An Event about a Pod.

    Attributes:
        reason, message: as they are written; the message is cleaned.
        last: when it was seen last; None if nobody says.
    """

    reason: str
    message: str
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod that uses at least one claim."""

    namespace: str
    name: str
    uid: str
    node: str
    """`spec.nodeName`; empty while unscheduled."""
    phase: str
    claims: tuple[str, ...]
    """Names of the claims it uses, generic ephemeral volumes resolved to theirs (`<pod>-<volume>`)."""
    deleting: bool = False
    health: tuple[tuple[str, tuple[Condition, ...]], ...] = ()
    """`status.volumeHealth` (1.37, written by the kubelet): what is adverse, by the claim's name."""
    waits: PodWait | None = None
    """That it is bound to a node and waits to begin; None if it does not."""
    owner: str = ""
    """What runs it, as people name it: `StatefulSet/orders-db`; empty if nothing does."""

    @property
    def finished(self) -> bool:
        """True if its containers will never run again."""
        return self.phase in ("Succeeded", "Failed")

    def wait_names(self, claim: str) -> tuple[str, ...]:
        """Return by which names of its own volumes it waits for a claim; none if it does not wait."""
        volumes = self.waits.volumes if self.waits is not None else ()
        return tuple(volume for volume, name in volumes if name == claim)


@dataclass(frozen=True, slots=True)
class SilenceAsked:
    """The annotations of a silence, as they stand there.

    Attributes:
        until: when it ends, in whatever words.
        reason: why, cleaned; may be empty.
        uid: of the object that bears them.
    """

    until: str
    reason: str
    uid: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, for `namespaceSelector`; and whether its claims are silenced."""

    name: str
    labels: Mapping[str, str]
    silence: SilenceAsked | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as far as its readiness goes.

    Attributes:
        name: of the node.
        ready: status of its Ready condition: `True`, `False`, `Unknown`; empty if it has none yet.
        since: the condition's lastTransitionTime; None if it has none.
        why: reason and message of a condition that is not `True`; empty otherwise.
        silence: what its annotations ask for; None if nothing.
        planned: a sentence while it is out of service on purpose (cordoned, drained); else empty.
    """

    name: str
    ready: str
    since: datetime | None
    why: str = ""
    silence: SilenceAsked | None = None
    planned: str = ""


@dataclass(frozen=True, slots=True)
class StorageStatement:
    """What a driver says is wrong with the storage behind it, as it is seen from a node.

    Attributes:
        condition: its status is `StorageUnreachable`, `StorageDegraded`, or a newer value.
        access_mode, volume_mode: the kind of volumes that it touches (`ReadWriteOnce`, `Block`); empty for any.
    """

    condition: Condition
    access_mode: str = ""
    volume_mode: str = ""

    def touches(self, claim: Claim) -> bool:
        """Tell whether a claim's volume is of that kind."""
        return (not self.access_mode or self.access_mode in claim.access_modes) and (
            not self.volume_mode or (self.volume_mode == "Block") == claim.block
        )


@dataclass(frozen=True, slots=True)
class NodeDrivers:
    """A CSINode: the drivers that are registered with a kubelet.

    Attributes:
        node: its name.
        drivers: their names.
        storage: `status.storageHealth` (1.37): statements by driver.
    """

    node: str
    drivers: frozenset[str]
    storage: tuple[tuple[str, StorageStatement], ...] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A VolumeAttachment.

    Attributes:
        name: of the object.
        volume: name of the PersistentVolume.
        node: where it is to be attached.
        attach_error, detach_error: what went wrong last; empty if nothing did.
        attached: `status.attached`.
        created: when it was made.
        deleted: since when it is being deleted; None if it is not.
    """

    name: str
    volume: str
    node: str
    attach_error: str = ""
    detach_error: str = ""
    attached: bool = True
    created: datetime | None = None
    deleted: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiConditions:
    """What the API itself says against a claim; most claims have none.

    Attributes:
        health: `status.healthStatus` (1.37, written by another monitor).
        own: of the Kubernetes source: the claim is Lost, its volume Failed, a resize went wrong.
        slow: of the same source: what is normal for a while, and since when it lasts.
    """

    health: tuple[Condition, ...] = ()
    own: tuple[Condition, ...] = ()
    slow: tuple[tuple[Condition, datetime], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.health or self.own or self.slow)


@dataclass(frozen=True, slots=True)
class ViewState:
    """How far the cluster view can be trusted.

    Attributes:
        complete: every resource was listed at least once.
        age: seconds since the least recently confirmed resource was known to be current.
        stale: why it must not be trusted now ("" if it can be): which resource, since when, what error.
        stale_since: when it became stale.
    """

    complete: bool
    age: float
    stale: str = ""
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A Pod of a CSI controller that was started without the agent.

    Attributes:
        pod: its namespace and name.
        driver: the CSI driver.
        why: for people.
    """

    pod: ClaimRef
    driver: str
    why: str
