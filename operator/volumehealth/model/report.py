"""A VolumeHealthReport: what an agent says of its node, or of one driver's controller plugin. Agent and operator use it.

How it is read. An observer (the driver, the mount table, ...) speaks of a claim only if its `coverage` names the claim.
It then says what `volumes` quotes of it, and nothing else is wrong as far as it can see. A claim that it does not
cover was not asked about since it was wanted: that is Unknown, never healthy. An agent whose Lease was not renewed for
`AGENT_SILENT_SECONDS` says nothing at all any more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b, sha256

from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.origin import Observer
from volumehealth.model.vocabulary import COMPONENT

AGENT_RENEW_SECONDS = 60
"""An agent renews its Lease this often."""
AGENT_SILENT_SECONDS = 180
"""An agent whose Lease was not renewed for so long is silent; its Lease's `leaseDurationSeconds`."""
LEASE_PREFIX = f"{COMPONENT}-agent-"
AGENT_LABEL = "volumehealth.dev/agent"
"""Label of every agent's Lease; its value is the plane in lower case, `node` or `controller`."""
AGENT_POD_LABEL = "app.kubernetes.io/name=volumehealth-agent"
"""Selects the Pods of the agents' DaemonSet."""
LEFT_OUT_LABEL = "volumehealth.dev/controller-agent=left-out"
"""Selects the Pods of CSI controllers that the admission policy started without the agent."""
LEFT_OUT_OF = "volumehealth.dev/left-out-of"
"""Annotation of such a Pod: the driver."""
LEFT_OUT_BECAUSE = "volumehealth.dev/left-out-because"
"""Annotation of such a Pod: why, for people."""
CONTROLLER_PREFIX = "controller."
MOST_COVERED = 1_000
"""As many claims or volumes are listed by name in a report's coverage; more are told by their digest."""

_MOST_NAME = 253
_MOST_LABEL = 220
_HASH = 10


class Plane(StrEnum):
    """What an agent reports on."""

    NODE = "Node"
    CONTROLLER = "Controller"


def names_mounting(instance: str) -> bool:
    """Tell whether an instance is a mounting (`boot/...`), and not a boot alone.

    What was seen in a mounting holds until that ends, although its observer cannot look; what names a boot alone ends
    earlier, when its observer sees the end.
    """
    return "/" in instance


@dataclass(frozen=True, slots=True)
class ReportedCondition:
    """One adverse statement about a volume.

    Attributes:
        status, reason, message: as in `model.health.Condition`; cleaned and bounded.
        since: when the agent first heard it without a break, by the agent's clock.
        origin: which observer says it.
        instance: which boot and mounting it was seen in, if it holds until that ends whatever is seen later; an agent
            that is started anew goes on from it.
    """

    status: str
    reason: str
    message: str
    since: datetime
    origin: Observer = Observer.DRIVER
    instance: str = ""

    @property
    def holds(self) -> bool:
        """Whether it holds although its observer cannot look."""
        return names_mounting(self.instance)


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
class Coverage:
    """What one observer has answered about since it was wanted, whatever the answer was.

    Attributes:
        observer: which.
        names: of a node's report the uids of claims, of a controller's report the handles of volumes; in order. Empty
            where they are too many to be listed.
        count: how many they are.
        digest: of all of them (`coverage_digest`); empty where they are listed.
    """

    observer: Observer
    names: frozenset[str] = frozenset()
    count: int = 0
    digest: str = ""

    @classmethod
    def of(cls, observer: Observer, names: Iterable[str]) -> "Coverage":
        """Cover these; they are listed as long as they are not too many."""
        every = frozenset(names)
        if len(every) <= MOST_COVERED:
            return cls(observer, every, len(every))
        return cls(observer, frozenset(), len(every), coverage_digest(every))


@dataclass(frozen=True, slots=True)
class MissingLook:
    """A claim of which the node cannot say that it is healthy, because a look that its kind of volume requires is missing.

    Attributes:
        driver, namespace, claim, claim_uid: the claim.
        why: a person's sentence that names the look.
    """

    driver: str
    namespace: str
    claim: str
    claim_uid: str
    why: str


@dataclass(frozen=True, slots=True, order=True)
class LimitedLook:
    """What the looks do not see of some claims of a driver although every look that is required was completed.

    Attributes:
        driver: of the claims.
        what: a person's words.
    """

    driver: str
    what: str


@dataclass(frozen=True, slots=True)
class UnseenOrigin:
    """An observer that cannot look here at all: what it said last is not seen any more.

    Attributes:
        observer: which.
        why: a person's sentence.
        off: it was told not to look, so what it said has ended; else it will look again.
    """

    observer: Observer
    why: str
    off: bool = False


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
        coverage: what each observer has answered about since it was wanted, by observer.
        complete: uids of claims at which every look was completed that their kind of volume requires, since they were
            wanted; if none of these observers says anything against such a claim, it is healthy on the node's word.
        missing: claims of which that cannot be said, and why.
        limits: what is not seen of claims although that can be said, by driver.
        unseen: observers that cannot look. What `volumes` still quotes of one is stale, unless it holds until an instance
            ends.
        volumes: adverse entries only, worst first.
        silent: volumes that were asked and gave no answer.
        capacity_warnings: how many claims have less free than some policy's `warningPercentFree`.
        omitted: what was left out. While anything was, a claim that is not named is not healthy but unknown.
    """

    name: str
    plane: Plane = Plane.NODE
    node: str = ""
    drivers: tuple[ReportedDriver, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    complete: frozenset[str] = frozenset()
    missing: tuple[MissingLook, ...] = ()
    limits: tuple[LimitedLook, ...] = ()
    unseen: tuple[UnseenOrigin, ...] = ()
    volumes: tuple[ReportedVolume, ...] = ()
    silent: tuple[SilentVolume, ...] = ()
    capacity_warnings: int = 0
    omitted: Omitted = Omitted()


def coverage_digest(names: Iterable[str]) -> str:
    """Reduce a set of names to 32 hexadecimal digits; the order changes nothing."""
    digest = blake2b(digest_size=16)
    for name in sorted(names):
        digest.update(name.encode())
        digest.update(b"\0")
    return digest.hexdigest()


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
