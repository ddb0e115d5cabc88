"""Nodes and what belongs to them, as they come and as they are kept; agents' reports and Leases. All of it is pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from sys import intern
from typing import Any

import msgspec

from volumehealth.cluster.conditions import StorageHealth, storage_statements
from volumehealth.cluster.objects import ObjectMeta, SilenceMeta, silence_asked
from volumehealth.model.clock import moment_of, rfc3339
from volumehealth.model.cluster import Attachment, LeftOut, Node, NodeDrivers
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import LEFT_OUT_BECAUSE, LEFT_OUT_OF, VolumeHealthReport
from volumehealth.model.report_json import decode_report
from volumehealth.model.text import clean_message

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class _NodeCondition(msgspec.Struct, rename="camel"):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class _Taint(msgspec.Struct, rename="camel"):
    key: str = ""
    time_added: str | None = None


class _NodeSpec(msgspec.Struct):
    unschedulable: bool = False
    taints: list[_Taint] | None = None


class _NodeStatus(msgspec.Struct):
    conditions: list[_NodeCondition] | None = None


class NodeObject(msgspec.Struct):
    """A Node."""

    metadata: SilenceMeta
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class _NamedDriver(msgspec.Struct):
    name: str = ""


class _CsiNodeSpec(msgspec.Struct):
    drivers: list[_NamedDriver] | None = None


class _CsiNodeStatus(msgspec.Struct, rename="camel"):
    storage_health: list[StorageHealth] | None = None


class CsiNodeObject(msgspec.Struct):
    """A CSINode; it has a status from 1.37 on."""

    metadata: ObjectMeta
    spec: _CsiNodeSpec = msgspec.field(default_factory=_CsiNodeSpec)
    status: _CsiNodeStatus | None = None


class _AttachmentSource(msgspec.Struct, rename="camel"):
    persistent_volume_name: str | None = None


class _AttachmentSpec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    source: _AttachmentSource = msgspec.field(default_factory=_AttachmentSource)


class _AttachmentError(msgspec.Struct):
    message: str = ""


class _AttachmentStatus(msgspec.Struct, rename="camel"):
    attached: bool = False
    attach_error: _AttachmentError | None = None
    detach_error: _AttachmentError | None = None


class AttachmentObject(msgspec.Struct):
    """A VolumeAttachment."""

    metadata: ObjectMeta
    spec: _AttachmentSpec = msgspec.field(default_factory=_AttachmentSpec)
    status: _AttachmentStatus = msgspec.field(default_factory=_AttachmentStatus)


class ReportObject(msgspec.Struct):
    """A VolumeHealthReport."""

    metadata: ObjectMeta
    status: Any = None


class _LeaseSpec(msgspec.Struct, rename="camel"):
    lease_duration_seconds: int | None = None
    renew_time: str | None = None


class LeaseObject(msgspec.Struct):
    """A Lease."""

    metadata: ObjectMeta
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)


class _NodeField(msgspec.Struct):
    key: str = ""
    values: list[str] | None = None


class _NodeTerm(msgspec.Struct, rename="camel"):
    match_fields: list[_NodeField] | None = None


class _NodeTerms(msgspec.Struct, rename="camel"):
    node_selector_terms: list[_NodeTerm] | None = None


class _NodeAffinity(msgspec.Struct):
    required: _NodeTerms | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class _Affinity(msgspec.Struct, rename="camel"):
    node_affinity: _NodeAffinity | None = None


class _AgentPodSpec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    affinity: _Affinity | None = None


class AgentPodObject(msgspec.Struct):
    """A Pod of the agents' DaemonSet."""

    metadata: ObjectMeta
    spec: _AgentPodSpec = msgspec.field(default_factory=_AgentPodSpec)


@dataclass(frozen=True, slots=True)
class AgentPod:
    """Where the DaemonSet wants an agent.

    Attributes:
        namespace, name: of the Pod.
        node: it runs there, or is to run there.
    """

    namespace: str
    name: str
    node: str


def agent_pod_row(pod: AgentPodObject) -> AgentPod | None:
    """Reduce a Pod; None if it is meant for no node. A Pod that cannot be scheduled says where it should be."""
    node = pod.spec.node_name or next(_wanted_nodes(pod.spec.affinity), "")
    return AgentPod(pod.metadata.namespace, pod.metadata.name, intern(node)) if node else None


def _wanted_nodes(affinity: _Affinity | None) -> Iterator[str]:
    """Read the nodes that the DaemonSet controller pins a Pod to."""
    required = affinity.node_affinity.required if affinity and affinity.node_affinity else None
    for term in (required.node_selector_terms if required else None) or ():
        for field in term.match_fields or ():
            if field.key == "metadata.name":
                yield from field.values or ()


class _LeftOutAnnotations(msgspec.Struct):
    driver: str = msgspec.field(default="", name=LEFT_OUT_OF)
    why: str = msgspec.field(default="", name=LEFT_OUT_BECAUSE)


class _LeftOutMeta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    annotations: _LeftOutAnnotations | None = None
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class LeftOutPodObject(msgspec.Struct):
    """A Pod of a CSI controller that the admission policy started without the agent."""

    metadata: _LeftOutMeta


def left_out_row(pod: LeftOutPodObject) -> LeftOut | None:
    """Reduce a Pod; None if it does not say of which driver it is."""
    said = pod.metadata.annotations
    if said is None or not said.driver:
        return None
    return LeftOut(ClaimRef(pod.metadata.namespace, pod.metadata.name), said.driver, clean_message(said.why))


LONGEST_LEASE = 3600
"""Seconds: a Lease that claims to last longer than this does not keep a dead agent alive."""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A Lease as its holder wrote it last; the times are the holder's.

    Attributes:
        name: of the object.
        renewed: `spec.renewTime` as it is written.
        duration: `spec.leaseDurationSeconds`; 0 if it does not say.
    """

    name: str
    renewed: str
    duration: int


def node_row(node: NodeObject) -> Node:
    """Reduce a Node to its Ready condition."""
    name = intern(node.metadata.name)
    asked, planned = silence_asked(node.metadata), planned_work(node)
    for condition in node.status.conditions or ():
        if condition.type == "Ready":
            why = (
                ""
                if condition.status == "True"
                else clean_message(f"{condition.reason}: {condition.message}".strip(": "))
            )
            since = moment_of(condition.last_transition_time)
            return Node(name, intern(condition.status), since, why, asked, planned)
    return Node(name, "", None, silence=asked, planned=planned)


def planned_work(node: NodeObject) -> str:
    """Say that a node is out of service on purpose; empty if it is not.

    `kubectl cordon` and `kubectl drain` set `spec.unschedulable`, and the node controller adds the taint with its time.
    """
    taints = {taint.key: taint.time_added for taint in node.spec.taints or ()}
    if _OUT_OF_SERVICE in taints:
        return f"it was taken out of service by hand (taint {_OUT_OF_SERVICE})"
    if not node.spec.unschedulable:
        return ""
    since = moment_of(taints.get(_UNSCHEDULABLE))
    when = f" since {rfc3339(since)}" if since is not None else ""
    return f"it is cordoned{when}: planned work, as kubectl drain does it"


def csinode_row(node: CsiNodeObject) -> NodeDrivers:
    """Reduce a CSINode."""
    return NodeDrivers(
        intern(node.metadata.name),
        frozenset(intern(driver.name) for driver in node.spec.drivers or ()),
        storage_statements(node.status.storage_health) if node.status else (),
    )


def attachment_row(attachment: AttachmentObject) -> Attachment:
    """Reduce a VolumeAttachment; an inline volume has no PersistentVolume and so no claim."""
    return Attachment(
        attachment.metadata.name,
        attachment.spec.source.persistent_volume_name or "",
        intern(attachment.spec.node_name),
        _error(attachment.status.attach_error),
        _error(attachment.status.detach_error),
        attachment.status.attached,
        moment_of(attachment.metadata.creation_timestamp),
        moment_of(attachment.metadata.deletion_timestamp),
    )


def report_row(report: ReportObject) -> VolumeHealthReport:
    """Read a VolumeHealthReport."""
    return decode_report(intern(report.metadata.name), report.status)


def lease_row(lease: LeaseObject) -> LeaseRow:
    """Reduce a Lease."""
    duration = min(max(lease.spec.lease_duration_seconds or 0, 0), LONGEST_LEASE)
    return LeaseRow(lease.metadata.name, lease.spec.renew_time or "", duration)


def _error(error: _AttachmentError | None) -> str:
    return (clean_message(error.message) or "no further words") if error is not None else ""
