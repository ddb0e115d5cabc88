"""The resources that are followed, each with its path, its struct and its row."""

from functools import partial
from operator import attrgetter

from volumehealth.cluster import nodeobjects, objects
from volumehealth.cluster.objects import Annotations, LabelPool, RawDriver, RawPolicy, RawRecord
from volumehealth.kube.reflector import Resource
from volumehealth.model.cluster import Attachment, LeftOut, Namespace, Node, NodeDrivers, Pod
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import AGENT_LABEL, AGENT_POD_LABEL, LEFT_OUT_LABEL, VolumeHealthReport
from volumehealth.model.vocabulary import API_VERSION, DRIVERS, POLICIES, RECORDS, REPORTS

AGENT_PODS = "agents' pods"
"""Name of the resource that says where agents are expected."""


def volumes(
    annotations: Annotations = objects.NO_ANNOTATIONS,
) -> Resource[objects.PersistentVolume, objects.VolumeRow]:
    """PersistentVolumes."""
    return Resource(
        "persistentvolumes",
        "/api/v1/persistentvolumes",
        objects.PersistentVolume,
        read=partial(objects.volume_row, annotations=annotations),
        key=attrgetter("name"),
    )


def claims(
    labels: LabelPool, annotations: Annotations = objects.NO_ANNOTATIONS
) -> Resource[objects.PersistentVolumeClaim, objects.ClaimRow]:
    """PersistentVolumeClaims."""
    return Resource(
        "persistentvolumeclaims",
        "/api/v1/persistentvolumeclaims",
        objects.PersistentVolumeClaim,
        read=partial(objects.claim_row, labels=labels, annotations=annotations),
        key=attrgetter("ref"),
    )


def pods() -> Resource[objects.PodObject, Pod]:
    """Pods that use claims."""

    def key(pod: Pod) -> ClaimRef:
        return ClaimRef(pod.namespace, pod.name)

    return Resource("pods", "/api/v1/pods", objects.PodObject, read=objects.pod_row, key=key)


def namespaces(labels: LabelPool) -> Resource[objects.NamespaceObject, Namespace]:
    """Namespaces, for `namespaceSelector`."""
    return Resource(
        "namespaces",
        "/api/v1/namespaces",
        objects.NamespaceObject,
        read=partial(objects.namespace_row, labels=labels),
        key=attrgetter("name"),
    )


def policies() -> Resource[objects.PolicyObject, RawPolicy]:
    """VolumeHealthPolicies."""
    return Resource(
        POLICIES,
        f"/apis/{API_VERSION}/{POLICIES}",
        objects.PolicyObject,
        read=objects.policy_row,
        key=attrgetter("name"),
        optional=True,
    )


def records(labels: LabelPool) -> Resource[objects.RecordObject, RawRecord]:
    """VolumeHealth records."""
    return Resource(
        RECORDS,
        f"/apis/{API_VERSION}/{RECORDS}",
        objects.RecordObject,
        read=partial(objects.record_row, labels=labels),
        key=attrgetter("ref"),
        optional=True,
    )


def drivers() -> Resource[objects.DriverObject, RawDriver]:
    """VolumeHealthDrivers."""
    return Resource(
        DRIVERS,
        f"/apis/{API_VERSION}/{DRIVERS}",
        objects.DriverObject,
        read=objects.driver_row,
        key=attrgetter("name"),
        optional=True,
        dispensable=True,
    )


def nodes() -> Resource[nodeobjects.NodeObject, Node]:
    """Nodes, for their readiness."""
    return Resource(
        "nodes",
        "/api/v1/nodes",
        nodeobjects.NodeObject,
        read=nodeobjects.node_row,
        key=attrgetter("name"),
        dispensable=True,
    )


def csinodes() -> Resource[nodeobjects.CsiNodeObject, NodeDrivers]:
    """CSINodes: which drivers are registered where."""
    return Resource(
        "csinodes",
        "/apis/storage.k8s.io/v1/csinodes",
        nodeobjects.CsiNodeObject,
        read=nodeobjects.csinode_row,
        key=attrgetter("node"),
        dispensable=True,
    )


def attachments() -> Resource[nodeobjects.AttachmentObject, Attachment]:
    """VolumeAttachments, for their errors."""
    return Resource(
        "volumeattachments",
        "/apis/storage.k8s.io/v1/volumeattachments",
        nodeobjects.AttachmentObject,
        read=nodeobjects.attachment_row,
        key=attrgetter("name"),
        dispensable=True,
    )


def reports() -> Resource[nodeobjects.ReportObject, VolumeHealthReport]:
    """VolumeHealthReports of agents."""
    return Resource(
        REPORTS,
        f"/apis/{API_VERSION}/{REPORTS}",
        nodeobjects.ReportObject,
        read=nodeobjects.report_row,
        key=attrgetter("name"),
        optional=True,
        dispensable=True,
    )


def leases(namespace: str) -> Resource[nodeobjects.LeaseObject, nodeobjects.LeaseRow]:
    """The agents' Leases: that they are alive."""
    return Resource(
        "leases",
        f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
        nodeobjects.LeaseObject,
        read=nodeobjects.lease_row,
        key=attrgetter("name"),
        dispensable=True,
        query={"labelSelector": AGENT_LABEL},
    )


def agent_pods() -> Resource[nodeobjects.AgentPodObject, nodeobjects.AgentPod]:
    """The Pods of the agents' DaemonSet: where agents are expected."""

    def key(pod: nodeobjects.AgentPod) -> ClaimRef:
        return ClaimRef(pod.namespace, pod.name)

    return Resource(
        AGENT_PODS,
        "/api/v1/pods",
        nodeobjects.AgentPodObject,
        read=nodeobjects.agent_pod_row,
        key=key,
        dispensable=True,
        query={"labelSelector": AGENT_POD_LABEL},
    )


def left_out() -> Resource[nodeobjects.LeftOutPodObject, LeftOut]:
    """Pods of CSI controllers that the admission policy started without the agent."""
    return Resource(
        "controllers' pods",
        "/api/v1/pods",
        nodeobjects.LeftOutPodObject,
        read=nodeobjects.left_out_row,
        key=attrgetter("pod"),
        dispensable=True,
        query={"labelSelector": LEFT_OUT_LABEL},
    )
