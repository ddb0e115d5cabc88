"""What sources need of the cluster view."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from volumehealth.cluster.changes import Changes
from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.model.cluster import (
    ApiConditions,
    Attachment,
    Claim,
    Namespace,
    Node,
    NodeDrivers,
    Pod,
    PodEvent,
    ViewState,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import VolumeHealthReport


class ClaimsView(Protocol):
    """What a check needs of the cluster view."""

    @property
    def claims(self) -> Mapping[ClaimRef, Claim]:
        """The claims, by reference."""

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """The namespaces, by name."""

    def state(self) -> ViewState:
        """How far the view can be trusted."""


class SourceView(Protocol):
    """What sources need of `cluster.view.ClusterView`."""

    @property
    def claims(self) -> Mapping[ClaimRef, Claim]:
        """See `cluster.view.ClusterView`."""

    @property
    def api_conditions(self) -> Mapping[ClaimRef, ApiConditions]:
        """See `cluster.view.ClusterView`."""

    @property
    def annotations(self) -> Mapping[ClaimRef, Mapping[str, str]]:
        """See `cluster.view.ClusterView`."""

    @property
    def pods_with_volume_health(self) -> Mapping[ClaimRef, Pod]:
        """See `cluster.view.ClusterView`."""

    @property
    def pods_waiting(self) -> Mapping[ClaimRef, Pod]:
        """See `cluster.view.ClusterView`."""

    @property
    def pod_events(self) -> Mapping[str, Sequence[PodEvent]]:
        """See `cluster.view.ClusterView`."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """See `cluster.view.ClusterView`."""

    @property
    def nodes_gone(self) -> Mapping[str, float]:
        """See `cluster.view.ClusterView`."""

    @property
    def csinodes(self) -> Mapping[str, NodeDrivers]:
        """See `cluster.view.ClusterView`."""

    @property
    def attachments(self) -> Mapping[str, Attachment]:
        """See `cluster.view.ClusterView`."""

    @property
    def reports(self) -> Mapping[str, VolumeHealthReport]:
        """See `cluster.view.ClusterView`."""

    @property
    def leases(self) -> Mapping[str, LeaseLiveness]:
        """See `cluster.view.ClusterView`."""

    @property
    def agent_nodes(self) -> Mapping[str, int]:
        """See `cluster.view.ClusterView`."""

    def pods_of(self, ref: ClaimRef) -> Sequence[Pod]:
        """See `cluster.view.ClusterView`."""

    def claims_of(self, volume: str) -> Sequence[ClaimRef]:
        """See `cluster.view.ClusterView`."""

    def handles_of(self, driver: str) -> frozenset[str]:
        """See `cluster.view.ClusterView`."""

    def follows(self, resource: str) -> bool:
        """See `cluster.view.ClusterView`."""

    def subscribe(self) -> Changes:
        """See `cluster.view.ClusterView`."""

    def subscribe_pods(self) -> Changes:
        """See `cluster.view.ClusterView`."""

    def state(self) -> ViewState:
        """See `cluster.view.ClusterView`."""
