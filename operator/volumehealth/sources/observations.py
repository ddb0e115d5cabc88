"""What the planes need of the cluster view, and what they tell of a policy's claims."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from volumehealth.cluster.changes import Changes
from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.judge.storage import Backend
from volumehealth.model.cluster import (
    ApiConditions,
    Attachment,
    Claim,
    Node,
    NodeDrivers,
    Pod,
    PodEvent,
    ViewState,
)
from volumehealth.model.health import Answer, HealthAPI, HealthyOnNodes, Origins
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import VolumeHealthReport


class PlaneView(Protocol):
    """What is needed of `cluster.view.ClusterView`."""

    @property
    def claims(self) -> Mapping[ClaimRef, Claim]:
        """See there."""

    @property
    def api_conditions(self) -> Mapping[ClaimRef, ApiConditions]:
        """See there."""

    @property
    def pods_with_volume_health(self) -> Mapping[ClaimRef, Pod]:
        """See there."""

    @property
    def pods_waiting(self) -> Mapping[ClaimRef, Pod]:
        """See there."""

    @property
    def pod_events(self) -> Mapping[str, Sequence[PodEvent]]:
        """See there."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """See there."""

    @property
    def nodes_gone(self) -> Mapping[str, datetime]:
        """See there."""

    @property
    def csinodes(self) -> Mapping[str, NodeDrivers]:
        """See there."""

    @property
    def attachments(self) -> Mapping[str, Attachment]:
        """See there."""

    @property
    def reports(self) -> Mapping[str, VolumeHealthReport]:
        """See there."""

    @property
    def leases(self) -> Mapping[str, LeaseLiveness]:
        """See there."""

    @property
    def agent_nodes(self) -> Mapping[str, int]:
        """See there."""

    def pods_of(self, ref: ClaimRef) -> Sequence[Pod]:
        """See there."""

    def claims_of(self, volume: str) -> Sequence[ClaimRef]:
        """See there."""

    def follows(self, resource: str) -> bool:
        """See there."""

    def subscribe(self) -> Changes:
        """See there."""

    def subscribe_pods(self) -> Changes:
        """See there."""

    def state(self) -> ViewState:
        """See there."""


@dataclass(frozen=True, slots=True)
class ObservedDriver:
    """What nodes' agents report of a driver.

    Attributes:
        nodes: on how many nodes it answers; if it has no health call, on how many an agent sees it.
        health_api: the generation that it speaks there; None if it has no health call.
        methods: what is called there.
        since: since when the first of them answers.
        limits: what its nodes do not see of claims that they can judge.
        unseen: of how many claims its nodes cannot say that they are healthy, by why.
    """

    nodes: int
    health_api: HealthAPI
    methods: tuple[str, ...]
    since: datetime
    unseen: Mapping[str, int] = field(default_factory=dict)
    limits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observations:
    """What these planes say of a policy's claims.

    Attributes:
        claims: answers by claim; sparse.
        healthy_on_nodes: claims that their nodes say are healthy.
        expected: how many agents should report.
        silent: those that do not, and since when, by node.
        storage: answers about the storage behind drivers, seen from nodes, and the claims that it touches.
        drivers: those that answer on nodes.
        origins: what origins of these planes are that gave no answer.
        storage_origins: the same for what drivers say of the storage behind them, by driver.
    """

    claims: Mapping[ClaimRef, tuple[Answer, ...]] = field(default_factory=dict)
    healthy_on_nodes: HealthyOnNodes = field(default_factory=HealthyOnNodes)
    expected: int = 0
    silent: Mapping[str, datetime] = field(default_factory=dict)
    storage: Mapping[Backend, tuple[tuple[Answer, ...], tuple[ClaimRef, ...]]] = field(default_factory=dict)
    drivers: Mapping[str, ObservedDriver] = field(default_factory=dict)
    origins: Origins | None = None
    storage_origins: Callable[[str], Origins] | None = None
