"""A cluster of nodes, Pods and agents in memory, seen as the cluster view shows it: for tests of the planes."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from support.health import DRIVER, START, SteppedClock
from volumehealth.cluster.changes import Changes
from volumehealth.cluster.joins import PodIndex
from volumehealth.cluster.nodeobjects import LeaseRow
from volumehealth.cluster.resources import AGENT_PODS
from volumehealth.cluster.tables import ErrorTable, LeaseLiveness, LeaseTable, NodeTable
from volumehealth.model.clock import rfc3339
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
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import ON_NODES, Observer
from volumehealth.model.report import (
    AGENT_SILENT_SECONDS,
    Coverage,
    MissingLook,
    Omitted,
    ReportedCondition,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    UnseenOrigin,
    VolumeHealthReport,
    agent_lease_name,
)


class PlainCluster:
    """What is in a cluster, with the very tables that the view keeps rows in.

    Args:
        clock: stepped by the test.

    Attributes:
        claims, namespaces, api_conditions, annotations, nodes, nodes_gone, csinodes, attachments, reports, leases: as the view has them.
        stale: why the view must not be trusted, and for how many seconds.
        agent_nodes: as the view has it; counts only once `AGENT_PODS` is no longer `unread`.
        unread: resources that may not be read.
    """

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock
        self.claims: dict[ClaimRef, Claim] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.api_conditions: dict[ClaimRef, ApiConditions] = {}
        self.annotations: dict[ClaimRef, dict[str, str]] = {}
        self.pod_events: dict[str, tuple[PodEvent, ...]] = {}
        self.nodes: dict[str, Node] = {}
        self.nodes_gone: dict[str, float] = {}
        self.csinodes: dict[str, NodeDrivers] = {}
        self.attachments: dict[str, Attachment] = {}
        self.reports: dict[str, VolumeHealthReport] = {}
        self.leases: dict[str, LeaseLiveness] = {}
        self.agent_nodes: dict[str, int] = {}
        self.stale: tuple[str, float] = ("", 0.0)
        self.unread: set[str] = {AGENT_PODS}
        self._node_table = NodeTable(self.nodes, self.nodes_gone, clock)
        self._errors = ErrorTable(self.attachments)
        self._lease_table = LeaseTable(self.leases, clock)
        self._claim_changes: list[Changes] = []
        self._pod_changes: list[Changes] = []
        self._pods = PodIndex(self._pod_changed)
        self.pods_with_volume_health = self._pods.unwell
        self.pods_waiting = self._pods.waiting

    # What the view is asked.

    def state(self) -> ViewState:
        """How far it can be trusted."""
        why, age = self.stale
        return ViewState(complete=True, age=age, stale=why)

    def pods_of(self, ref: ClaimRef) -> Sequence[Pod]:
        """The Pods that use a claim."""
        return self._pods.users_of(ref)

    def claims_of(self, volume: str) -> Sequence[ClaimRef]:
        """The claims that name a PersistentVolume."""
        return [ref for ref, claim in self.claims.items() if claim.volume == volume]

    def handles_of(self, driver: str) -> frozenset[str]:
        """The handles of a driver's volumes that belong to a claim."""
        return frozenset(claim.handle for claim in self.claims.values() if claim.driver == driver)

    def follows(self, resource: str) -> bool:
        """Whether a resource may be read."""
        return resource not in self.unread

    def subscribe(self) -> Changes:
        """An account of claims that change."""
        self._claim_changes.append(Changes())
        return self._claim_changes[-1]

    def subscribe_pods(self) -> Changes:
        """An account of claims whose Pods change."""
        self._pod_changes.append(Changes())
        return self._pod_changes[-1]

    # What happens in it.

    def add(self, *claims: Claim) -> None:
        """Make claims, or change them."""
        for claim in claims:
            self.claims[claim.ref] = claim
            for changes in self._claim_changes:
                changes.add(claim.ref)

    def run(self, *pods: Pod) -> None:
        """Make Pods, or change them."""
        for pod in pods:
            self._pods.put(pod)

    def end(self, *pods: Pod) -> None:
        """Delete Pods."""
        for pod in pods:
            self._pods.drop(ClaimRef(pod.namespace, pod.name))

    def set_node(self, name: str, ready: str = "True", *, since: datetime | None = None) -> None:
        """Make a node, or change its readiness; `since` is the condition's own time, now by default."""
        why = "" if ready == "True" else "NodeStatusUnknown: Kubelet stopped posting node status."
        self._node_table.put(Node(name, ready, since or self.clock.now(), why))

    def delete_node(self, name: str) -> None:
        """Delete a node; Pods stay bound to it."""
        self._node_table.drop(name)

    def attach(self, attachment: Attachment) -> None:
        """Make a VolumeAttachment, or change it."""
        self._errors.put(attachment)

    def renew(self, *nodes: str, at: datetime | None = None) -> None:
        """Renew the Leases of agents; `at` is the time by the agent's clock."""
        for node in nodes:
            renewed = rfc3339(at or self.clock.now())
            self._lease_table.put(LeaseRow(agent_lease_name(node), renewed, AGENT_SILENT_SECONDS))

    def report(
        self,
        node: str,
        *entries: ReportedVolume | SilentVolume,
        drivers: Iterable[ReportedDriver] | None = None,
        omitted: Omitted | None = None,
        covered: Iterable[Claim] | None = None,
        complete: Iterable[Claim] = (),
        unseen: Iterable[UnseenOrigin] = (),
        missing: Iterable[MissingLook] = (),
    ) -> None:
        """Let an agent report, and renew its Lease.

        `covered` are the claims that all its observers have answered about, but for those that cannot look: those in use
        there now, if not given.
        """
        claims = self._in_use(node) if covered is None else covered
        uids = frozenset(claim.uid for claim in claims)
        cannot_look = tuple(unseen)
        blind = {one.observer for one in cannot_look}
        self.reports[node] = VolumeHealthReport(
            node,
            node=node,
            drivers=(make_reported_driver(),) if drivers is None else tuple(drivers),
            coverage=tuple(Coverage.of(one, uids) for one in ON_NODES if one not in blind),
            complete=frozenset(claim.uid for claim in complete),
            volumes=tuple(entry for entry in entries if isinstance(entry, ReportedVolume)),
            silent=tuple(entry for entry in entries if isinstance(entry, SilentVolume)),
            omitted=omitted or Omitted(),
            unseen=cannot_look,
            missing=tuple(missing),
        )
        self.renew(node)

    def _in_use(self, node: str) -> list[Claim]:
        return [
            claim
            for ref, claim in self.claims.items()
            if any(pod.node == node and not pod.finished for pod in self.pods_of(ref))
        ]

    def _pod_changed(self, ref: ClaimRef) -> None:
        for changes in self._pod_changes:
            changes.add(ref)


def make_reported_driver(
    name: str = DRIVER,
    state: SourceState = SourceState.ANSWERING,
    api: HealthAPI = HealthAPI.VOLUME_HEALTH,
    **changes: object,
) -> ReportedDriver:
    """Build what a report says of a driver."""
    plain: dict[str, object] = {"methods": ("NodeGetVolumeHealth", "NodeGetVolumeStats")}
    return ReportedDriver(name, state, START - timedelta(days=1), api, **plain | changes)  # type: ignore[arg-type]  # fields by name


def make_entry(
    claim: Claim,
    *,
    status: str = "Inaccessible",
    reason: str = "VolumeUnmounted",
    message: str = "the volume is not mounted",
    origin: Observer = Observer.DRIVER,
    instance: str = "",
) -> ReportedVolume:
    """Build an adverse entry of a report."""
    return ReportedVolume(
        claim.driver,
        claim.handle,
        claim.ref.namespace,
        claim.ref.name,
        claim.uid,
        conditions=(ReportedCondition(status, reason, message, START, origin, instance),),
    )


def make_silent(claim: Claim, reason: str = "CallFailed", message: str = "INTERNAL") -> SilentVolume:
    """Build an entry of a volume that gave no answer."""
    ref = claim.ref
    return SilentVolume(
        claim.driver, claim.handle, reason, message, START, ref.namespace, ref.name, claim.uid
    )
