"""What kubelets wrote (Kubernetes 1.37): volume health into the status of Pods, storage health into CSINodes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf

from volumehealth.judge.storage import Backend
from volumehealth.model.cluster import StorageStatement
from volumehealth.model.health import Answer, Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.sources import kubernetes, origins
from volumehealth.sources.context import ContextSource, InUse, grace_of
from volumehealth.sources.source import OF_STORAGE, Asked, Observed
from volumehealth.sources.storage import is_said_still, is_used, observed_storage
from volumehealth.sources.usage import Place, Usage
from volumehealth.sources.view import SourceView


class Kubelets(ContextSource):
    """What kubelets say of volumes on their nodes."""

    name = "Kubelets"
    observers = frozenset(((Source.NODE, Observer.API),))

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return what is written now of the policy's claims."""
        yield
        now, on = self._context.moment.wall, asked.policy.spec.checks.node.enabled
        view, usage = self._context.view, self._context.usage
        in_use = (yield from self._context.in_use(asked)) if on else None
        storage = self._storage(in_use) if in_use is not None else {}
        pods = view.pods_with_volume_health.values() if on else ()
        heard = (pod for pod in pods if not _is_mute(view, pod.node))
        begun = self._context.moment.monotonic - grace_of(asked.policy)

        def used(backend: Backend) -> bool:
            return in_use is not None and is_used(self._context, in_use, backend)

        return Observed(
            statements=kubernetes.api_conditions_of_pods(heard, usage, now),
            storage=storage,
            storage_origins=lambda driver: _KubeletStorage(driver, on, view, used, now),
            origins=_Kubelets(on, usage, view, begun, now),
        )

    def _storage(self, in_use: InUse) -> dict[Backend, OF_STORAGE]:
        said = self._storage_statements(in_use.nodes)
        return observed_storage(self._context, in_use, said, via=Via.KUBELET, observer=Observer.API)

    def _storage_statements(self, nodes: Iterable[str]) -> Iterator[tuple[Backend, StorageStatement]]:
        for node in nodes:
            if _is_mute(self._context.view, node):
                continue  # what it wrote last stands there for as long as nobody writes
            registered = self._context.view.csinodes.get(node)
            if registered is None:
                continue
            for driver, statement in registered.storage:
                if driver in registered.drivers:  # else the kubelet cannot ask it any more
                    yield Backend(driver, node), statement


def _is_mute(view: SourceView, name: str) -> bool:
    """Tell whether a node's kubelet writes nothing now: its node is gone, or nobody hears of it.

    One that says itself that its node is not Ready goes on writing.
    """
    node = view.nodes.get(name)
    return view.follows("nodes") and (node is None or node.ready == "Unknown")


@dataclass(frozen=True, slots=True)
class _Kubelets:
    """What kubelets are that say nothing, for one policy at one moment.

    Attributes:
        on: whether the policy wants them.
        usage: which claims are used where.
        view: the cluster view.
        begun: in monotonic seconds; a Pod that began to run later has only just begun.
        now: the moment.
    """

    on: bool
    usage: Usage
    view: SourceView
    begun: float
    now: datetime

    def state_of(self, claim: ClaimRef, origin: Origin, _reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`.

        A kubelet writes into the status of Pods that run, and only while it runs itself.
        """
        if not self.on:
            return origins.switched_off(origin, self.now, "node")
        if origin.node not in self.usage.nodes_of(claim):
            return origins.unused(origin, self.now)
        if self.usage.fresh.get(Place(origin.node, claim), -inf) > self.begun:
            why = f"its Pod on {origin.node} does not run yet, or has only just begun to"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        if self.view.follows("nodes") and not self._is_ready(origin.node):
            why = f"the node {origin.node} is not Ready"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        return origins.speaks(origin, self.now)

    def _is_ready(self, name: str) -> bool:
        node = self.view.nodes.get(name)
        return node is not None and node.ready == "True"


@dataclass(frozen=True, slots=True)
class _KubeletStorage:
    """What kubelets are that say nothing of the storage behind a driver any more.

    Attributes:
        driver: its name.
        on: whether the policy wants them.
        view: the cluster view.
        used: whether claims of the policy use a driver on a node.
        now: the moment.
    """

    driver: str
    on: bool
    view: SourceView
    used: Callable[[Backend], bool]
    now: datetime

    def state_of(self, _claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if not self.on:
            return origins.switched_off(origin, self.now, "node")
        if not self.used(Backend(self.driver, origin.node)):
            return origins.unused(origin, self.now)
        if not self.view.follows("csinodes"):
            return origins.silent(origin, self.now, SilenceReason.VIEW_STALE, "CSINodes may not be read")
        csinode = self.view.csinodes.get(origin.node)
        if csinode is not None and _is_mute(self.view, origin.node):
            why = f"the kubelet of {origin.node} does not report"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        if csinode is None or self.driver not in csinode.drivers:
            why = f"{origins.NO_LONGER}: {self.driver} is not registered on {origin.node}"
            return origins.ended(origin, self.now, why)
        said = (statement for driver, statement in csinode.storage if driver == self.driver)
        if is_said_still(said, reason):
            return origins.unused(origin, self.now)  # it is said still, and touches no claim of the policy
        return origins.speaks(origin, self.now)
