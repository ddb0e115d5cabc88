"""Which volumes are asked about on this node, how often, and what is looked at; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from volumehealth.agent.paths import VolumePaths, volume_paths
from volumehealth.agent.pods import NodePod
from volumehealth.model.cluster import Claim
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import CapacityCheck, NodeCheck, Policy
from volumehealth.node.uses import PodUse, VolumeUse
from volumehealth.policy.select import Selection

MOUNT_GRACE = timedelta(minutes=2)
"""A Pod that waits for its volumes for longer than this has volumes that cannot be mounted."""


@dataclass(frozen=True, slots=True)
class KnownClaim:
    """A claim with its volume, as they were read.

    Attributes:
        claim: joined with its volume.
        read_only: the volume is read-only for everybody: by `spec.csi.readOnly`, or by a mount option.
    """

    claim: Claim
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A claim that is in use on this node and that some policy wants checked.

    Attributes:
        claim: what is asked about.
        pods: names of the Pods of this node that use it, in order of the alphabet.
        mounted: whether its volume was mounted by the kubelet; if not, its Pods have waited for that too long.
        paths: where the volume is for that of the Pods which stays and has been there for longest.
        expected: for which Pods it should be mounted where, and which of them leave; none if that is not to be judged.
        health: whether the driver is asked for the volume's health.
        capacity: thresholds of free space; None if they are not looked at.
        counted: whether the call that tells how full it is counts: its errors tell of volumes, too, whose space means nothing.
        interval, timeout: seconds between two asks, and of one call.
        suspended: its policy is: nothing is asked, what was said stays.
        looks: how the node's own looks judge it.
    """

    claim: Claim
    pods: tuple[str, ...]
    mounted: bool
    paths: VolumePaths
    expected: tuple[PodUse, ...]
    health: bool
    capacity: CapacityCheck | None
    interval: float
    timeout: float
    suspended: bool = False
    looks: NodeCheck = field(default_factory=NodeCheck)
    counted: bool = False

    @property
    def key(self) -> str:
        """Namespace and name of the claim."""
        return str(self.claim.ref)

    def is_anew(self, before: "Target") -> bool:
        """Tell whether what was answered before says nothing now: another Pod uses it, or its policy was suspended."""
        return before.paths != self.paths or (before.suspended and not self.suspended)

    @property
    def use(self) -> VolumeUse:
        """What the node's own looks are told of it."""
        claim = self.claim
        limit = self.looks.max_latency
        return VolumeUse(
            self.key,
            claim.uid,
            claim.volume,
            self.expected,
            block=claim.block,
            handle=claim.handle,
            io_stalled_after=self.looks.io_stalled_after.total_seconds(),
            max_latency=limit.total_seconds() if limit is not None else None,
        )


def used_claims(pods: Iterable[NodePod], now: datetime) -> dict[ClaimRef, list[NodePod]]:
    """Return the claims that are in use on this node, and by which Pods.

    A Pod uses its claims while it runs (facts D7, D8). One whose volumes are being mounted does not, unless that takes
    too long: then the driver may know why; but where another Pod runs with the claim, that one is looked at.
    """
    running: dict[ClaimRef, list[NodePod]] = {}
    waiting: dict[ClaimRef, list[NodePod]] = {}
    for pod in pods:
        if pod.runs:
            users = running
        elif pod.waits and now - pod.since > MOUNT_GRACE:
            users = waiting
        else:
            continue
        for claim in dict.fromkeys(volume.claim for volume in pod.volumes):
            users.setdefault(ClaimRef(pod.namespace, claim), []).append(pod)
    return waiting | running


def find_targets(
    used: Mapping[ClaimRef, Sequence[NodePod]],
    known: Mapping[ClaimRef, KnownClaim],
    *,
    selection: Selection,
    policies: Mapping[str, Policy],
    kubelet: str,
) -> dict[ClaimRef, Target]:
    """Decide what to ask about.

    Args:
        used: as `used_claims` returns it.
        known: claims with their volumes, as far as they were read.
        selection: who holds which claim, up to date with `known`.
        policies: every usable policy, by uid.
        kubelet: its root directory.
    """
    targets: dict[ClaimRef, Target] = {}
    for ref, pods in used.items():
        found = known.get(ref)
        policy = policies.get(selection.owner(ref) or "")
        if found is None or policy is None or not found.claim.driver:
            continue
        target = _target(found, sorted(pods, key=lambda pod: pod.name), policy, kubelet)
        if target.suspended or target.health or target.capacity is not None:
            targets[ref] = target
    return targets


def _target(found: KnownClaim, pods: Sequence[NodePod], policy: Policy, kubelet: str) -> Target:
    claim, checks, active = found.claim, policy.spec.checks, not policy.spec.suspend
    mounted = pods[0].runs
    paths = [
        volume_paths(
            kubelet,
            volume=claim.volume,
            driver=claim.driver,
            handle=claim.handle,
            pod_uid=pod.uid,
            block=claim.block,
        )
        for pod in pods
    ]
    expected = tuple(
        PodUse(
            pod.name,
            pod.uid,
            path.publish,
            since=pod.since,
            containers_since=_held_since(found, pod),
            read_only=_read_only(found, pod),
            leaving=pod.deleting,
        )
        for pod, path in zip(pods, paths, strict=True)
        if active and checks.node.enabled and mounted
    )
    # The driver is asked of one Pod's volume: one that is being deleted may lose it, and one that comes changes nothing.
    asked = min(
        range(len(pods)), key=lambda place: (pods[place].deleting, pods[place].since, pods[place].name)
    )
    counted = active and mounted and checks.capacity.enabled
    return Target(
        claim=claim,
        pods=tuple(pod.name for pod in pods),
        mounted=mounted,
        paths=paths[asked],
        expected=expected,
        health=active and checks.node.enabled,
        capacity=checks.capacity if counted and _minds_space(found, pods) else None,
        interval=policy.spec.interval.total_seconds(),
        timeout=policy.spec.timeout.total_seconds(),
        suspended=not active,
        looks=checks.node,
        counted=counted,
    )


def _held_since(found: KnownClaim, pod: NodePod) -> datetime | None:
    """Return since when a Pod's containers have had the volume: the first of them that still runs."""
    held = [volume.held_since for volume in pod.volumes if volume.claim == found.claim.ref.name]
    return min((since for since in held if since is not None), default=None)


def _read_only(found: KnownClaim, pod: NodePod) -> bool:
    return (
        found.read_only
        or found.claim.only_readers
        or all(volume.read_only for volume in pod.volumes if volume.claim == found.claim.ref.name)
    )


def _minds_space(found: KnownClaim, pods: Sequence[NodePod]) -> bool:
    """Tell whether little free space means anything: not of disk images either (D21)."""
    # a backup's Pod beside the launcher changes nothing
    return found.claim.minds_space and not (found.read_only or any(pod.virtual_machine for pod in pods))
