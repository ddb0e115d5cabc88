"""What Kubernetes' own objects say: nodes, CSINodes, attachments, Pods that wait, and claims themselves."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from volumehealth.model.cluster import Attachment, Pod
from volumehealth.model.health import Answer, Condition, Source
from volumehealth.model.ids import NO_CSI_DRIVERS, ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.policy import Checks
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.sources import kubernetes, origins, waiting
from volumehealth.sources.context import Context, ContextSource
from volumehealth.sources.moments import Seen
from volumehealth.sources.source import Asked, Observed, Statements
from volumehealth.sources.usage import Usage

_OF_MOUNTS = (Reason.CANNOT_MOUNT, Reason.MULTI_ATTACH, Reason.ATTACH_STUCK)
_OF_WAITING = (Reason.CANNOT_MOUNT, Reason.MULTI_ATTACH)
_OF_USE = (
    Reason.NODE_FAILED,
    Reason.DRIVER_NOT_REGISTERED,
    Reason.CANNOT_MOUNT,
    Reason.MULTI_ATTACH,
    Reason.ATTACH_FAILED,
)
"""What is said of a node because the claim is in use there."""
_OF_NODES = (*_OF_USE, Reason.DETACH_FAILED, Reason.ATTACH_STUCK)
"""All that is said of a claim on a node; a rule of the policy may give it any other name."""


class ClusterObjects(ContextSource):
    """What Kubernetes' objects say against volumes. It only ever speaks against a volume."""

    name = "ClusterObjects"
    observers = frozenset(((Source.KUBERNETES, Observer.API),))

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._missing = kubernetes.Missing()
        self._troubled = Seen()
        self._waiting, self._attaching, self._lasting = Seen(), Seen(), Seen()
        self._heard = Seen()

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return what is said of the policy's claims."""
        yield
        view, checks, now = self._context.view, asked.policy.spec.checks, self._context.moment.wall
        troubles = self._troubles(now)
        attachments = self._attachments() if checks.mount.enabled else ()
        hanging = {
            (one.volume, one.node) for one in attachments if waiting.hangs_since(one, now=now) is not None
        }
        moving = [one for one in view.attachments.values() if waiting.on_its_way_since(one) is not None]
        arriving = {(one.volume, one.node) for one in moving if not one.attached}
        leaving = {(one.volume, one.node) for one in moving if one.deleted is not None}

        def undecided(ref: ClaimRef, node: str) -> bool:
            return any(
                waiting.is_undecided(pod, ref, view.pod_events, view.claims, troubled=troubles)
                for pod in view.pods_of(ref)
                if pod.node == node
            )

        def among(places: Collection[tuple[str, str]]) -> Callable[[ClaimRef, str], bool]:
            def attached(ref: ClaimRef, node: str) -> bool:
                claim = view.claims.get(ref)
                return claim is not None and (claim.volume, node) in places

            return attached

        def registered(ref: ClaimRef, node: str) -> bool:
            there = view.csinodes.get(node)
            return there is not None and self._context.driver_of(ref) in there.drivers

        def lacks(ref: ClaimRef, node: str) -> bool:
            driver = self._context.driver_of(ref)
            return node in view.csinodes and driver not in NO_CSI_DRIVERS and not registered(ref, node)

        def mute(node: str) -> bool:
            there = view.nodes.get(node)
            return there is not None and not there.ready

        return Observed(
            statements=self._statements(asked, troubles, attachments, now),
            origins=_Objects(
                checks,
                self._context.usage,
                view.follows,
                undecided=undecided,
                hangs=among(hanging),
                arrives=among(arriving),
                leaves=among(leaving),
                registered=registered,
                lacks=lacks,
                troubled=troubles.keys(),
                mute=mute,
                now=now,
            ),
        )

    def _troubles(self, now: datetime) -> Mapping[str, kubernetes.NodeTrouble]:
        view = self._context.view
        if not view.follows("nodes"):
            return {}
        moment = self._context.moment
        missing = self._missing.since(self._context.usage.nodes, view.nodes, view.nodes_gone, moment)
        nodes = {node.name: node for node in view.nodes.values() if node.ready in kubernetes.NOT_READY}
        since = self._troubled.since({name: node.since for name, node in nodes.items()}, moment)
        dated = (replace(node, since=since[name]) for name, node in nodes.items())
        return kubernetes.troubled_nodes(dated, missing, now=now)

    def _pods_waiting(self) -> Sequence[Pod]:
        """Return the Pods that wait, each for no longer than we can have seen it wait."""
        pods = self._context.view.pods_waiting.values()
        told = {pod.uid: pod.waits.since if pod.waits is not None else None for pod in pods}
        since = self._waiting.since(told, self._context.moment)
        return [
            pod if pod.waits is None else replace(pod, waits=replace(pod.waits, since=since[pod.uid]))
            for pod in pods
        ]

    def _events_heard(self) -> Mapping[waiting.Heard, datetime | None]:
        """Return when what is said of Pods that wait was said last, as far as our own clock can know."""
        view = self._context.view
        told = {
            waiting.heard_of(pod, event): event.last
            for pod in view.pods_waiting.values()
            for event in view.pod_events.get(pod.uid, ())
        }
        return self._heard.since(told, self._context.moment)

    def _attachments(self) -> Sequence[Attachment]:
        """Return the attachments that are on their way, each for no longer than we can have seen it."""
        on_its_way = {
            (one.name, one.deleted is not None): one
            for one in self._context.view.attachments.values()
            if waiting.on_its_way_since(one) is not None
        }
        told = {key: waiting.on_its_way_since(one) for key, one in on_its_way.items()}
        since = self._attaching.since(told, self._context.moment)
        return [
            replace(one, deleted=since[key]) if key[1] else replace(one, created=since[key])
            for key, one in on_its_way.items()
        ]

    def _slow(self) -> Sequence[tuple[ClaimRef, Condition, datetime]]:
        """Return what is normal for a while, each for no longer than we can have seen it."""
        slow = {
            (ref, one.reason, said): (one, said)
            for ref, conditions in self._context.view.api_conditions.items()
            for one, said in conditions.slow
        }
        since = self._lasting.since({key: said for key, (_, said) in slow.items()}, self._context.moment)
        return [(key[0], one, since[key] or said) for key, (one, said) in slow.items()]

    def _statements(
        self,
        asked: Asked,
        troubles: Mapping[str, kubernetes.NodeTrouble],
        attachments: Sequence[Attachment],
        now: datetime,
    ) -> Statements:
        view, usage, drivers = self._context.view, self._context.usage, asked.members.by_driver
        checks = asked.policy.spec.checks
        if checks.node_failure.enabled and troubles:
            yield from kubernetes.node_failures(
                troubles, usage, drivers=drivers, after=checks.node_failure.after, now=now
            )
        yield from kubernetes.unregistered_drivers(
            view.csinodes, usage, drivers=drivers, troubles=troubles, now=now
        )
        yield from kubernetes.failed_attachments(view.attachments.values(), self._claims_of, now)
        if checks.mount.enabled:
            yield from waiting.pods_that_cannot_mount(
                self._pods_waiting(),
                view.pod_events,
                view.claims,
                view.pods_of,
                troubled=troubles,
                now=now,
                heard=self._events_heard(),
            )
            yield from waiting.attachments_that_hang(attachments, self._claims_of, view.pods_of, now=now)
        yield from waiting.slow_conditions(self._slow(), now=now)
        yield from kubernetes.api_conditions_of_claims(view.api_conditions, now=now)

    def _claims_of(self, volume: str) -> Iterable[ClaimRef]:
        view = self._context.view
        claims = view.claims
        return (ref for ref in view.claims_of(volume) if ref in claims and claims[ref].volume == volume)


@dataclass(frozen=True, slots=True)
class _Objects:
    """What objects of the API are that say nothing, for one policy at one moment.

    Attributes:
        checks: what the policy wants.
        usage: which claims are used where.
        follows: whether a resource may be read.
        undecided: whether a Pod on a node may still wait for a claim, and nobody can say that it does not.
        hangs: whether the attachment of a claim's volume to a node hangs, wait for it who may.
        arrives, leaves: whether a claim's volume is being attached to a node, or detached from it.
        registered: whether a claim's driver is registered on a node.
        lacks: whether a node is there and says that a claim's driver is not registered.
        troubled: nodes that are not Ready or gone.
        mute: whether nothing is known of a node's readiness.
        now: the moment.
    """

    checks: Checks
    usage: Usage
    follows: Callable[[str], bool]
    undecided: Callable[[ClaimRef, str], bool]
    hangs: Callable[[ClaimRef, str], bool]
    arrives: Callable[[ClaimRef, str], bool]
    leaves: Callable[[ClaimRef, str], bool]
    registered: Callable[[ClaimRef, str], bool]
    lacks: Callable[[ClaimRef, str], bool]
    troubled: Collection[str]
    mute: Callable[[str], bool]
    now: datetime

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if reason == Reason.NODE_FAILED and not self.checks.node_failure.enabled:
            return origins.switched_off(origin, self.now, "nodeFailure")
        if reason in _OF_MOUNTS and not self.checks.mount.enabled:
            return origins.switched_off(origin, self.now, "mount")
        if origin.node and not all(map(self.follows, ("nodes", "csinodes", "volumeattachments"))):
            return origins.silent(origin, self.now, SilenceReason.VIEW_STALE, "nodes may not be read")
        renamed = bool(reason and origin.node) and reason not in _OF_NODES
        if (renamed or reason in _OF_USE) and origin.node not in self.usage.nodes_of(claim):
            return origins.unused(origin, self.now)
        if (renamed or reason in _OF_WAITING) and self.undecided(claim, origin.node):
            why = f"a Pod on {origin.node} still waits, and no Event says whether for this"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        if renamed and not self.checks.node_failure.enabled and origin.node in self.troubled:
            return origins.switched_off(origin, self.now, "nodeFailure")
        if (renamed or reason == Reason.NODE_FAILED) and self.mute(origin.node):
            why = f"the node {origin.node} does not say whether it is Ready"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        if (renamed or reason == Reason.ATTACH_FAILED) and self.arrives(claim, origin.node):
            why = f"the volume is still not attached to {origin.node}"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        if (renamed or reason == Reason.DETACH_FAILED) and self.leaves(claim, origin.node):
            why = f"the volume is still not detached from {origin.node}"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        if (renamed or reason == Reason.ATTACH_STUCK) and self.hangs(claim, origin.node):
            return origins.ended(origin, self.now, "no Pod waits for it any more")
        lacks = self.lacks if renamed else lambda ref, node: not self.registered(ref, node)
        if (renamed or reason == Reason.DRIVER_NOT_REGISTERED) and lacks(claim, origin.node):
            why = f"its driver is still not registered on {origin.node}, which is not Ready or runs none of its Pods"
            return origins.silent(origin, self.now, SilenceReason.NOT_YET_ASKED, why)
        return origins.speaks(origin, self.now)
