"""The cluster as the process sees it: claims with their volumes, the Pods that use them, namespaces, our own objects.

StorageClasses are not watched: policies select them by name, which claims and volumes carry.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Any, TypeVar

from volumehealth.cluster.changes import Changes
from volumehealth.cluster.joins import ClaimJoin, PodIndex, known_from
from volumehealth.cluster.objects import (
    Annotations,
    ClaimRow,
    LabelPool,
    RawDriver,
    RawPolicy,
    RawRecord,
    VolumeRow,
)
from volumehealth.cluster.podevents import PodEvents
from volumehealth.cluster.resources import (
    agent_pods,
    attachments,
    claims,
    csinodes,
    drivers,
    leases,
    left_out,
    namespaces,
    nodes,
    pods,
    policies,
    records,
    reports,
    volumes,
)
from volumehealth.cluster.tables import AgentPodTable, ErrorTable, LeaseLiveness, LeaseTable, NodeTable, Table
from volumehealth.cluster.trust import trust
from volumehealth.kube.reflector import Pace, Reflector, Requests, Resource, Sink
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import (
    ApiConditions,
    Attachment,
    Claim,
    LeftOut,
    Namespace,
    Node,
    NodeDrivers,
    Pod,
    PodEvent,
    SilenceAsked,
    ViewState,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import VolumeHealthReport

STALE_AFTER = 90.0
"""Seconds without a word about a resource after which the view is not trusted. In a quiet cluster the only word is the
bookmark that the API server sends on each watch once a minute."""

Row = TypeVar("Row")


class Part(StrEnum):
    """What of the view has changed."""

    CLAIMS = "claims"
    """Claims or volumes; `Changes` says which claims."""
    PODS = "pods"
    NAMESPACES = "namespaces"
    POLICIES = "policies"
    RECORDS = "records"
    DRIVERS = "drivers"
    NODES = "nodes"
    """Nodes, their drivers, or attachments."""
    REPORTS = "reports"
    AGENTS = "agents"
    """Agents' Leases and Pods."""
    STATE = "state"
    """The view is complete now, became stale, or is itself again."""


Listener = Callable[[Part], None]


class ClusterView:
    """Follows the cluster while `run` runs; everything else only reads what is known.

    Args:
        api: a connection (`kube.api.Api`).
        clock: time.
        random: spreads waiting times.
        own: whether our own objects (policies and records) are followed too.
        pace: how resources are followed.
        stale_after: seconds.
        with_nodes: whether nodes, their drivers and attachments are followed too.
        pod_events: whether the Events of Pods that wait to begin are read.
        annotations: keys of the annotations of claims and volumes that sources read.
        agents_in: the namespace of the agents' Leases; these and reports are followed if it is not empty.
        on_skip: told the resource's name for each object that cannot be read.

    Attributes:
        claims: every claim, joined with its volume, by reference. A live view: it changes between awaits.
        annotations: those that sources read, of claims and their volumes, by the claim; sparse.
        api_conditions: what the API itself says against claims, by reference; sparse.
        silences_asked: the annotations of claims that ask for a silence, by reference; sparse.
        pods_with_volume_health: Pods of which the kubelet says something adverse, by namespace and name; sparse.
        pods_waiting: Pods that are bound to a node and do not run, by namespace and name; sparse.
        pod_events: Events about these, by the Pod's uid.
        namespaces: by name.
        policies: by name.
        records: by reference.
        drivers: VolumeHealthDrivers by name.
        nodes: by name.
        nodes_gone: since when (monotonic seconds) nodes are gone that were deleted before our eyes.
        csinodes: by the node's name.
        attachments: those with an error, by name.
        reports: by name.
        leases: how long agents are alive, by the Lease's name.
        left_out: Pods of CSI controllers that were started without the agent, by namespace and name.
        agent_nodes: how many Pods of the agents' DaemonSet are on, or meant for, each node.
    """

    def __init__(
        self,
        api: Requests,
        *,
        clock: Clock,
        random: Random,
        own: bool = True,
        pace: Pace | None = None,
        stale_after: float = STALE_AFTER,
        with_nodes: bool = False,
        pod_events: bool = False,
        annotations: Collection[str] = (),
        agents_in: str = "",
        on_skip: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._stale_after = stale_after
        self._started, self._started_at = clock.monotonic(), clock.now()
        self._subscribers: list[Changes] = []
        self._listeners: list[Listener] = []
        self._complete = asyncio.Event()
        self._join = ClaimJoin(self._claim_changed)
        self._pod_subscribers: list[Changes] = []
        self._record_subscribers: list[Changes] = []
        self._pods = PodIndex(self._pods_changed, shared=self._join.shared)
        self._namespaces: dict[str, Namespace] = {}
        self._policies: dict[str, RawPolicy] = {}
        self._records: dict[ClaimRef, RawRecord] = {}
        self._drivers: dict[str, RawDriver] = {}
        rows = _NodeRows()
        self.api_conditions: Mapping[ClaimRef, ApiConditions] = self._join.api_conditions
        self.annotations: Mapping[ClaimRef, Mapping[str, str]] = self._join.annotations
        self.silences_asked: Mapping[ClaimRef, SilenceAsked] = self._join.silences
        self.pods_with_volume_health: Mapping[ClaimRef, Pod] = self._pods.unwell
        self.pods_waiting: Mapping[ClaimRef, Pod] = self._pods.waiting
        self._pod_events = PodEvents(api, self._pods.waiting, clock=clock, random=random)
        self._reads_pod_events = pod_events
        self.pod_events: Mapping[str, Sequence[PodEvent]] = self._pod_events.events
        self.nodes: Mapping[str, Node] = MappingProxyType(rows.nodes)
        self.nodes_gone: Mapping[str, float] = MappingProxyType(rows.gone)
        self.csinodes: Mapping[str, NodeDrivers] = MappingProxyType(rows.csinodes)
        self.attachments: Mapping[str, Attachment] = MappingProxyType(rows.attachments)
        self.reports: Mapping[str, VolumeHealthReport] = MappingProxyType(rows.reports)
        self.leases: Mapping[str, LeaseLiveness] = MappingProxyType(rows.leases)
        self.agent_nodes: Mapping[str, int] = MappingProxyType(rows.agent_nodes)
        self.left_out: Mapping[ClaimRef, LeftOut] = MappingProxyType(rows.left_out)
        self.claims: Mapping[ClaimRef, Claim] = self._join.claims
        self.namespaces: Mapping[str, Namespace] = MappingProxyType(self._namespaces)
        self.policies: Mapping[str, RawPolicy] = MappingProxyType(self._policies)
        self.drivers: Mapping[str, RawDriver] = MappingProxyType(self._drivers)
        self.records: Mapping[ClaimRef, RawRecord] = MappingProxyType(self._records)

        def follow(resource: Resource[Any, Row], sink: Sink[Row], part: Part) -> Reflector[Any, Row]:
            return Reflector(
                api,
                resource,
                sink,
                clock=clock,
                random=random,
                pace=pace or Pace(),
                news=lambda: self._tell(part),
                on_skip=on_skip,
            )

        labels = LabelPool()
        kept = Annotations(annotations, labels)
        self._reflectors: list[Reflector[Any, Any]] = [
            follow(volumes(kept), _Volumes(self._join), Part.CLAIMS),
            follow(claims(labels, kept), _Claims(self._join), Part.CLAIMS),
            follow(pods(), self._pods, Part.PODS),
            follow(namespaces(labels), Table(self._namespaces, _name), Part.NAMESPACES),
        ]
        if own:
            self._reflectors += [
                follow(policies(), Table(self._policies, _name), Part.POLICIES),
                follow(
                    records(labels), _Records(self._records, self._join, self._record_changed), Part.RECORDS
                ),
                follow(drivers(), Table(self._drivers, _name), Part.DRIVERS),
            ]
        if with_nodes:
            self._reflectors += [
                follow(nodes(), NodeTable(rows.nodes, rows.gone, clock), Part.NODES),
                follow(csinodes(), Table(rows.csinodes, _node), Part.NODES),
                follow(attachments(), ErrorTable(rows.attachments), Part.NODES),
            ]
        if agents_in:
            self._reflectors += [
                follow(reports(), Table(rows.reports, _name), Part.REPORTS),
                follow(leases(agents_in), LeaseTable(rows.leases, clock), Part.AGENTS),
                follow(agent_pods(), AgentPodTable(rows.agent_nodes), Part.AGENTS),
                follow(left_out(), Table(rows.left_out, _pod), Part.AGENTS),
            ]
        self._of_resource: dict[str, list[Reflector[Any, Any]]] = {}
        for reflector in self._reflectors:
            self._of_resource.setdefault(reflector.name, []).append(reflector)

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"follow {reflector.name}")
            group.create_task(self._watch_state(), name="watch the view's age")
            if self._reads_pod_events:
                group.create_task(self._pod_events.run(), name="read Events of Pods that wait")

    async def complete(self) -> None:
        """Wait until every resource was listed once."""
        await self._complete.wait()

    def pods_of(self, ref: ClaimRef) -> tuple[Pod, ...]:
        """Return the Pods that use a claim, finished ones too."""
        return self._pods.users_of(ref)

    def claims_of(self, volume: str) -> tuple[ClaimRef, ...]:
        """Return the claims that name a PersistentVolume."""
        return self._join.claims_of(volume)

    def handles_of(self, driver: str) -> frozenset[str]:
        """Return the handles of a driver's volumes that belong to a claim."""
        return self._join.handles_of(driver)

    def follows(self, resource: str) -> bool:
        """Tell whether a resource (`nodes`) is followed: asked for, there, read once, and ours to read."""
        return any(one.synced and not one.absent for one in self._of_resource.get(resource, ()))

    @property
    def refused(self) -> tuple[str, ...]:
        """Name the resources that we may not read and do without."""
        return tuple(one.name for one in self._reflectors if one.absent and one.refused)

    def subscribe_pods(self) -> Changes:
        """Return a consumer's own account of the claims whose Pods change from now on."""
        changes = Changes()
        self._pod_subscribers.append(changes)
        return changes

    def subscribe(self) -> Changes:
        """Return a consumer's own account of the claims that change from now on."""
        changes = Changes()
        self._subscribers.append(changes)
        return changes

    def subscribe_told(self) -> Changes:
        """Return a consumer's own account of the claims that change from now on, or whose Pods or records do."""
        changes = Changes()
        for subscribers in (self._subscribers, self._pod_subscribers, self._record_subscribers):
            subscribers.append(changes)
        return changes

    def listen(self, listener: Listener) -> None:
        """Have a function called after each batch of changes; it must not block."""
        self._listeners.append(listener)

    def state(self) -> ViewState:
        """Tell how far the view can be trusted now."""
        return trust(
            self._reflectors,
            now=self._clock.monotonic(),
            stale_after=self._stale_after,
            started=(self._started, self._started_at),
        )

    async def _watch_state(self) -> None:
        """Tell when trust is lost or won: the one change that comes from time alone."""
        before = (False, False)
        while True:
            state = self.state()
            now = (state.complete, bool(state.stale))
            if state.complete:
                self._complete.set()
            if now != before:
                before = now
                self._tell(Part.STATE)
            await asyncio.sleep(1.0)

    def _claim_changed(self, ref: ClaimRef) -> None:
        for changes in self._subscribers:
            changes.add(ref)

    def _pods_changed(self, ref: ClaimRef) -> None:
        for changes in self._pod_subscribers:
            changes.add(ref)

    def _record_changed(self, ref: ClaimRef) -> None:
        for changes in self._record_subscribers:
            changes.add(ref)

    def _tell(self, part: Part) -> None:
        if not self._complete.is_set() and all(one.synced for one in self._reflectors):
            self._complete.set()
        for listener in self._listeners:
            listener(part)


class _NodeRows:
    """What is kept of nodes and agents."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.gone: dict[str, float] = {}
        self.csinodes: dict[str, NodeDrivers] = {}
        self.attachments: dict[str, Attachment] = {}
        self.reports: dict[str, VolumeHealthReport] = {}
        self.leases: dict[str, LeaseLiveness] = {}
        self.agent_nodes: dict[str, int] = {}
        self.left_out: dict[ClaimRef, LeftOut] = {}


def _name(row: Namespace | RawPolicy | RawDriver | VolumeHealthReport) -> str:
    return row.name


def _pod(row: LeftOut) -> ClaimRef:
    return row.pod


def _node(row: NodeDrivers) -> str:
    return row.node


def _ref(row: RawRecord) -> ClaimRef:
    return row.ref


class _Records(Table[ClaimRef, RawRecord]):
    """Our records, which also tell what a claim was bound to."""

    def __init__(
        self, rows: dict[ClaimRef, RawRecord], join: ClaimJoin, on_change: Callable[[ClaimRef], None]
    ) -> None:
        super().__init__(rows, _ref)
        self._join = join
        self._on_change = on_change

    def put(self, row: RawRecord, /) -> None:
        super().put(row)
        self._join.recall(row.ref, known_from(row))
        self._on_change(row.ref)

    def drop(self, key: ClaimRef, /) -> None:
        super().drop(key)
        self._join.recall(key, None)
        self._on_change(key)


class _Claims:
    """The claims' side of the join."""

    def __init__(self, join: ClaimJoin) -> None:
        self._join = join

    def put(self, row: ClaimRow) -> None:
        self._join.put_claim(row)

    def drop(self, key: ClaimRef) -> None:
        self._join.drop_claim(key)

    def known(self) -> Collection[ClaimRef]:
        return self._join.claim_keys()


class _Volumes:
    """The volumes' side of the join."""

    def __init__(self, join: ClaimJoin) -> None:
        self._join = join

    def put(self, row: VolumeRow) -> None:
        self._join.put_volume(row)

    def drop(self, key: str) -> None:
        self._join.drop_volume(key)

    def known(self) -> Collection[str]:
        return self._join.volume_keys()
