"""The node agent: what is in use here, who is asked about it, and what is reported."""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

from volumehealth.agent.compose import compose
from volumehealth.agent.driver import DriverPace, DriverWatch
from volumehealth.agent.exposition import NodeNumbers
from volumehealth.agent.looks import NodeLooks
from volumehealth.agent.lookups import ClaimLookup
from volumehealth.agent.numbers import node_numbers
from volumehealth.agent.pods import NodePod, NodePodObject, node_pods, pods_that_run
from volumehealth.agent.policies import PolicyStore
from volumehealth.agent.reach import NodeReach
from volumehealth.agent.registry import PluginRegistry, RegistryPace
from volumehealth.agent.settings import NodeSettings
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import Target, find_targets, used_claims
from volumehealth.agent.usage import UsageBook
from volumehealth.agent.writer import AgentLease, ReportWriter
from volumehealth.app.secrets import SecretFiles
from volumehealth.csi.endpoint import Endpoint, parse_endpoint
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import OF_MANY, Reflector
from volumehealth.kube.scoped import ScopedApi
from volumehealth.model.clock import Clock
from volumehealth.model.health import SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.policy import LabelSelector
from volumehealth.model.report import ReportedDriver, VolumeHealthReport
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Selection
from volumehealth.settings import identity

log = logging.getLogger(__name__)

_SETTLE = 0.2
"""Seconds that changes of the cluster wait for more of them."""
_TICK = 30.0
"""Seconds after which plans are made anew even without news: a Pod may have waited for its volumes for too long."""
_FIRST_ROUND = 45.0
"""Seconds that the first report waits for every volume to be asked."""
_COVERAGE_EVERY = 10.0
"""Seconds between two reports at least if nothing changed but what was looked at."""
_STALLED = 150.0
"""Seconds without a sign of life after which this process does not say any more that it is alive."""


class NodeAgent:
    """Watches one node while `run` runs.

    Args:
        api: a connection.
        settings: as they are.
        clock: time.
        random: spreads what many agents do.
        driver_pace, registry_pace: how drivers are asked and found.
        reach: the ways to the node.
        holder: who this process is to its Lease.
    """

    def __init__(
        self,
        api: Api,
        settings: NodeSettings,
        *,
        clock: Clock,
        random: Random,
        driver_pace: DriverPace | None = None,
        registry_pace: RegistryPace | None = None,
        reach: NodeReach | None = None,
        holder: str = "",
    ) -> None:
        self._reach = reach = reach or NodeReach()
        self._settings = settings
        self._clock = clock
        self._random = random
        self._driver_pace = driver_pace
        self._changed = asyncio.Event()
        self._said = asyncio.Event()
        self._pods: dict[ClaimRef, NodePod] = {}
        self._selection = Selection()
        self._targets: dict[ClaimRef, Target] = {}
        self._unread: Collection[ClaimRef] = ()
        self._looked_at: set[ClaimRef] = set()
        self._watches: dict[str, tuple[Endpoint, DriverWatch, asyncio.Task[None]]] = {}
        self._missing: dict[str, ReportedDriver] = {}
        self._earlier: dict[str, ReportedDriver] = {}
        self._ledger = ReportState()
        self._looks: NodeLooks | None = None
        self._usage = UsageBook()
        self._secrets = SecretFiles(settings.common.csi_secrets_dir)
        self._started = clock.monotonic()
        self._planned_at: float | None = None
        self._planned = False
        self._of_node = ScopedApi(api, query={"fieldSelector": f"spec.nodeName={settings.node}"})
        self._reflector: Reflector[NodePodObject, NodePod] = Reflector(
            self._of_node,
            node_pods(),
            _Pods(self._pods),
            clock=clock,
            random=random,
            pace=OF_MANY,
            news=self._changed.set,
        )
        self._policies = PolicyStore(api, clock=clock, random=random, news=self._changed.set)
        self._lookups = ClaimLookup(api, clock=clock, random=random, news=self._changed.set)
        self._registry = PluginRegistry(
            settings.kubelet_dir,
            fixed=[
                (parse_endpoint(one.address, settings.common.csi_tls), one.driver)
                for one in settings.common.csi_endpoints
            ],
            clock=clock,
            news=self._changed.set,
            pace=registry_pace,
            dial=reach.dial,
            sockets=reach.sockets,
        )
        self._writer = ReportWriter(api, settings.node, clock=clock, random=random)
        self._lease = AgentLease(
            api,
            namespace=settings.common.namespace,
            report=settings.node,
            identity=holder or identity(),
            clock=clock,
            random=random,
            owner=lambda: self._writer.owner,
        )

    # -- state --------------------------------------------------------------------------------------------------

    def alive(self) -> bool:
        """Tell whether plans advance, the node's Pods are followed, and news are written: else the report cannot be confirmed."""
        followed = self._clock.monotonic() - self._reflector.confirmed < _STALLED
        advances = self._planned_at is not None and not self._stalled()
        return advances and followed and self._writer.believable

    def health(self) -> tuple[bool, str]:
        """Say whether this process should go on; to wait for the API server is no reason to start it again."""
        if self._planned_at is None:
            return True, "waiting for the API server"
        if self._stalled():
            return False, "stalled"
        return True, f"{len(self._targets)} claims in use are watched"

    def _stalled(self) -> bool:
        return self._planned_at is not None and self._clock.monotonic() - self._planned_at >= _STALLED

    def numbers(self) -> NodeNumbers:
        """Return what is exported at `/metrics`."""
        looks = self._looks
        seen, gaps = (looks.seen, looks.log_gaps) if looks is not None else ({}, 0)
        return node_numbers(self._targets, self._usage, seen, log_gaps=gaps)

    def ready(self) -> tuple[bool, str]:
        """Say whether the API server was read: Pods, policies and the claims in use. There may be nothing to ask."""
        if not self._planned:
            return False, "the API server was not read yet"
        return True, "reporting" if self._writer.written.is_set() else "no report written yet"

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        earlier = await self._writer.load()
        self._ledger = ReportState(earlier)
        self._earlier = {driver.name: driver for driver in earlier.drivers} if earlier else {}
        looks = self._looks = NodeLooks(
            node=self._settings.node,
            kubelet=self._settings.kubelet_dir,
            mount_table=self._settings.mount_table,
            ledger=self._ledger,
            clock=self._clock,
            news=self._said.set,
            sights=self._reach.sights,
            kernel_log=self._settings.kernel_log,
            earlier=earlier,
            pods_that_run=partial(pods_that_run, self._of_node),
        )
        async with asyncio.TaskGroup() as group:
            work: list[Coroutine[Any, Any, None]] = [
                self._reflector.run(),
                self._policies.run(),
                self._lookups.run(),
                self._registry.run(),
                looks.run(),
                self._plan(looks, group),
                self._report(),
                self._writer.run(),
                self._live(),
            ]
            for one in work:
                group.create_task(one)

    async def _live(self) -> None:
        """Say that we are alive, once there is a report to believe."""
        await self._writer.written.wait()
        await self._lease.run(self.alive)

    # -- plan ---------------------------------------------------------------------------------------------------

    async def _plan(self, looks: NodeLooks, group: asyncio.TaskGroup) -> None:
        """Keep what is asked in step with the cluster."""
        self._planned_at = self._clock.monotonic()
        while True:
            await _until(self._changed, _TICK)
            await asyncio.sleep(_SETTLE)
            self._changed.clear()
            self._planned_at = self._clock.monotonic()
            targets = self._find()
            if targets is None:
                continue
            self._planned = True
            looked_at = {ref: target.claim for ref, target in targets.items()}
            if self._ledger.keep(looked_at, self._unread):
                self._said.set()
            if targets != self._targets:
                self._forget_answers(targets)
                self._targets = targets
                self._looked_at |= targets.keys()
                self._said.set()
            self._usage.keep(targets)
            looks.demand(targets.values())
            self._share_out(group)

    def _forget_answers(self, targets: Mapping[ClaimRef, Target]) -> None:
        """Drop answers from before a claim was wanted as it is now: of another Pod, a check that is off, a suspended policy."""
        for ref, target in targets.items():
            before = self._targets.get(ref)
            if before is not None and target.is_anew(before):
                self._ledger.uncover(target.claim)
            for observer in Observer:
                wanted = target.counted if observer is Observer.CAPACITY else target.health
                if not wanted and not target.suspended:
                    self._ledger.drop(target.claim, observer)

    def _find(self) -> dict[ClaimRef, Target] | None:
        """Find what to ask about; None while not everything was read that this depends on."""
        if not self._reflector.synced or not self._policies.reflector.synced or not self._registry.looked:
            return None
        policies = self._policies.policies
        used = used_claims(self._pods.values(), self._clock.now())
        selectors = [policy.spec.selector for policy in policies.values()]
        by_namespace = any(one.namespace_selector != LabelSelector() for one in selectors)
        by_label = by_namespace or any(one.claim_selector != LabelSelector() for one in selectors)
        wanted = {ref: [pod.uid for pod in pods] for ref, pods in used.items()} if policies else {}
        self._lookups.want(wanted, labels=by_label, namespaces=by_namespace)
        if not self._planned and not (self._policies.settled and self._lookups.settled()):
            return None
        self._looked_at &= used.keys()
        # Of claims that were looked at since the start it is known that they are wanted no more.
        self._unread = used.keys() - self._looked_at if self._policies.unknown else self._lookups.unread
        claims = self._lookups.claims
        rows = {ref: found.claim for ref, found in claims.items()}
        at_once(self._selection.update(policies, rows, self._lookups.namespaces, None))
        return find_targets(
            used,
            claims,
            selection=self._selection,
            policies=policies,
            kubelet=self._settings.kubelet_dir,
        )

    def _share_out(self, group: asyncio.TaskGroup) -> None:
        """Give each driver its part; start, replace and end what asks them."""
        wanted: dict[str, dict[str, Target]] = {}
        for target in self._targets.values():
            wanted.setdefault(target.claim.driver, {})[target.key] = target
        registered = self._registry.drivers
        for name, (endpoint, watch, task) in list(self._watches.items()):
            if name not in wanted or registered.get(name) != endpoint:
                task.cancel()
                del self._watches[name]
                self._earlier[name] = watch.status
                self._said.set()
        self._note_missing(wanted.keys() - registered.keys())
        for name in wanted.keys() & registered.keys() - self._watches.keys():
            self._watches[name] = self._watch(name, registered[name], group)
            self._said.set()
        for name, (_, watch, _) in self._watches.items():
            watch.demand(wanted[name])

    def _watch(
        self, name: str, endpoint: Endpoint, group: asyncio.TaskGroup
    ) -> tuple[Endpoint, DriverWatch, asyncio.Task[None]]:
        watch = DriverWatch(
            name,
            endpoint,
            ledger=self._ledger,
            clock=self._clock,
            random=self._random,
            news=self._said.set,
            secrets=self._secrets,
            earlier=self._earlier.pop(name, None),
            usage=self._usage,
            pace=self._driver_pace,
            dial=self._reach.dial,
        )
        return endpoint, watch, group.create_task(watch.run(), name=f"ask {name}")

    def _note_missing(self, names: set[str]) -> None:
        """Remember the drivers that are in use here and do not register with the kubelet.

        One that registers again does not answer for that: what its volumes were before counts once it does.
        """
        for name in self._missing.keys() - names:
            self._earlier[name] = self._missing.pop(name)
            self._said.set()
        text = self._registry.obstacle or "not in the kubelet's plugin registry of this node"
        for name in names:
            known = self._missing.get(name)
            if known is None or known.message != text:
                now = self._clock.now().replace(microsecond=0)
                self._missing[name] = gone_driver(name, text, known or self._earlier.get(name), now)
                self._said.set()

    # -- report -------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        """Write what is new; the first report waits until everything was asked once, or could have been."""
        while not self._settled():
            await _until(self._said, 1.0)
            self._said.clear()
        written: VolumeHealthReport | None = None
        at = 0.0
        while True:
            report = self._compose()
            rest = at + _COVERAGE_EVERY - self._clock.monotonic()
            if written is not None and rest > 0 and _same_but_coverage(report, written):
                await _until(self._said, rest)
            else:
                written, at = report, self._clock.monotonic()
                self._writer.want(report)
                await self._said.wait()
            self._said.clear()

    def _settled(self) -> bool:
        if not self._planned:
            return False
        late = self._clock.monotonic() - self._started > _FIRST_ROUND
        drivers = all(watch.settled for _, watch, _ in self._watches.values())
        return late or (drivers and self._looks is not None and self._looks.settled)

    def _compose(self) -> VolumeHealthReport:
        drivers = [watch.status for _, watch, _ in self._watches.values()]
        return compose(self._settings.node, [*drivers, *self._missing.values()], self._ledger, self._targets)


def gone_driver(name: str, text: str, before: ReportedDriver | None, now: datetime) -> ReportedDriver:
    """Return what is reported of a driver that does not register: what it could tell before is not lost for that.

    Args:
        name: of the driver.
        text: why it cannot be asked.
        before: what was reported of it last; None if nothing was.
        now: the moment.
    """
    away = SourceState.UNREACHABLE
    if before is None:
        return ReportedDriver(name, away, now, message=text)
    return replace(before, state=away, since=before.since if before.state is away else now, message=text)


def _same_but_coverage(one: VolumeHealthReport, other: VolumeHealthReport) -> bool:
    """Tell whether nothing changed but what was looked at."""
    return one == replace(other, coverage=one.coverage, complete=one.complete, missing=one.missing)


class _Pods:
    """The node's Pods in a dict, as the reflector fills it."""

    def __init__(self, pods: dict[ClaimRef, NodePod]) -> None:
        self._pods = pods

    def put(self, row: NodePod) -> None:
        self._pods[row.key] = row

    def drop(self, key: ClaimRef) -> None:
        self._pods.pop(key, None)

    def known(self) -> set[ClaimRef]:
        return set(self._pods)


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for so many seconds at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
