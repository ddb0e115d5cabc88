"""Pods that wait because of their volumes: a mount that fails, a volume that is held elsewhere, an attachment that hangs.

Pure. The Pod's own status decides that it waits; the Events about it lend the text and say which volume is meant, since
the same Event is made for a Secret that is not there. Formats: kubelet `MountVolume.SetUp failed for volume "PV" : ...`,
`Unable to attach or mount volumes: unmounted volumes=[data], ...`; attach-detach controller `Multi-Attach error for volume
"PV" ...` (up to 1.36), `Waiting for detach for volume "PV" ...` (1.37). More than 10 alike in 10 minutes get the prefix
"(combined from similar events): ".
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from volumehealth.model.clock import LONG_AGO, rfc3339
from volumehealth.model.cluster import Attachment, Claim, Pod, PodEvent
from volumehealth.model.health import DEGRADED, INACCESSIBLE, Answer, Condition, Outcome, Source
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import EventReason, Reason

MUTE_AFTER = timedelta(minutes=15)
"""A Pod that waits for so long without any Event that says why waits for its volumes: whatever comes after them is told
again and again. (The kubelet tells at most one failed mount in 5 minutes after a burst.)"""
ATTACHING_AFTER = timedelta(minutes=15)
"""An attachment may take a while where a node is shut down first."""
SLOW_AFTER = timedelta(hours=1)
"""A resize may take long on large volumes."""
_MOUNTING = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_ATTACHING = "FailedAttachVolume"
_ATTACHED = "SuccessfulAttachVolume"
_NO_SIGN = ("Scheduled", _ATTACHED, "VolumePermissionChangeInProgress", *_MOUNTING)
"""What is told of a Pod before its volumes are there, and says nothing of why they are not."""
_OF_HEALTH = tuple(
    reason.value
    for reason in (
        EventReason.VOLUME_CONDITION_ABNORMAL,
        EventReason.VOLUME_CONDITION_NORMAL,
        EventReason.NODE_FAILED,
        EventReason.NODE_RECOVERED,
    )
)
"""What this operator, and other monitors, tell of a Pod's volumes; it says nothing of how far the Pod has come."""
_AFTERWARDS = frozenset(
    (
        "AddedInterface",
        "BackOff",
        "Created",
        "ErrImageNeverPull",
        "Failed",
        "FailedCreatePodSandBox",
        "FailedPostStartHook",
        "InspectFailed",
        "Pulled",
        "Pulling",
        "SandboxChanged",
        "Started",
        "Unhealthy",
    )
)
"""What kubelets and networks tell of a Pod once its volumes are there. Other programs may tell anything at any time."""
_VOLUME = re.compile(r'\bvolume "([^"]{1,253})"')
_UNMOUNTED = re.compile(r"\bunmounted volumes=\[([^\]]{0,4096})\]")
_HELD = re.compile(r"(?i)multi-attach error|waiting for detach|already (exclusively attached|used by pod)")

Heard = tuple[str, str, str]
"""The uid of a Pod, and the reason and message of an Event about it."""
ClaimAnswers = Iterator[tuple[ClaimRef, Answer]]


def pods_that_cannot_mount(
    pods: Iterable[Pod],
    events: Mapping[str, Sequence[PodEvent]],
    claims: Mapping[ClaimRef, Claim],
    pods_of: Callable[[ClaimRef], Sequence[Pod]],
    *,
    troubled: Collection[str],
    now: datetime,
    heard: Mapping[Heard, datetime | None] = MappingProxyType({}),
) -> ClaimAnswers:
    """Tell of claims for which a Pod waits.

    Args:
        pods: those that are bound to a node and do not run.
        events: about these Pods, by uid; a Pod that is missing was not asked about yet.
        claims: the view's rows.
        pods_of: the Pods that use a claim.
        troubled: nodes that are not Ready or gone: they mount nothing, and are told of themselves.
        now: the moment.
        heard: when Events were seen last by our own clock; those that are not in it by their own.
    """
    for pod in pods:
        wait, said = pod.waits, events.get(pod.uid)
        if wait is None or said is None or pod.node in troubled:
            continue
        since = min(wait.since or now, now)
        for name, claim_name in wait.volumes:
            ref = ClaimRef(pod.namespace, claim_name)
            claim = claims.get(ref)
            if claim is None or claim.phase != "Bound":
                continue
            text = _why(said, {name, claim.volume})
            mute = text is None and now - since >= MUTE_AFTER
            if mute and _is_mute([_dated(pod, event, heard) for event in said], now=now):
                text = "no Event says why"
            if text is not None:
                yield ref, _answer(pod, ref, text, pods_of(ref), since=since, now=now)


def is_undecided(
    pod: Pod,
    ref: ClaimRef,
    events: Mapping[str, Sequence[PodEvent]],
    claims: Mapping[ClaimRef, Claim],
    *,
    troubled: Collection[str],
) -> bool:
    """Tell whether a Pod still waits and nobody can say that it does not wait for a claim any more.

    Its Events were not read yet, or have expired, or its node does nothing now.
    """
    if pod.wait_names(ref.name) == () or ref.namespace != pod.namespace:
        return False
    said, claim = events.get(pod.uid), claims.get(ref)
    if said is None or pod.node in troubled:
        return True
    names = {*pod.wait_names(ref.name), claim.volume if claim is not None else ""}
    return not any(_is_later_sign(event, LONG_AGO.timestamp(), names) for event in said)


def _why(events: Sequence[PodEvent], names: Collection[str]) -> str | None:
    """Return what was said last of one of a volume's names; None if nothing was, or something later since."""
    named = [
        event
        for event in events
        if event.reason in _MOUNTING and not names_of(event.message).isdisjoint(names)
    ]
    newest = max(named, key=_rank, default=None)
    if newest is None:
        return None
    last = max(map(_when, named))
    if any(_is_later_sign(event, last, names) for event in events):
        return None
    if newest.reason == _ATTACHING and any(_attaches(event, names, since=newest) for event in events):
        return None
    return newest.message.removeprefix("(combined from similar events): ")


def _is_later_sign(event: PodEvent, than: float, names: Collection[str]) -> bool:
    """Tell whether an Event says that a volume is there: what comes after all are, or a sum that leaves it out."""
    if _when(event) <= than:
        return False
    if event.reason in _AFTERWARDS:
        return True
    sums_up = event.reason in _MOUNTING and _UNMOUNTED.search(event.message) is not None
    return sums_up and names_of(event.message).isdisjoint(names)


def _attaches(event: PodEvent, names: Collection[str], *, since: PodEvent) -> bool:
    named = not names_of(event.message).isdisjoint(names)
    return event.reason == _ATTACHED and named and _when(event) > _when(since)


def names_of(message: str) -> set[str]:
    """Return the names of the volumes that a mount's Event is about: of PersistentVolumes, or the Pod's own."""
    names = set(_VOLUME.findall(message))
    for listed in _UNMOUNTED.findall(message):
        names.update(listed.split())
    return names


def _rank(event: PodEvent) -> tuple[bool, float]:
    """Prefer what names the cause; `Unable to attach or mount volumes: ...: timed out` only sums up."""
    return _UNMOUNTED.search(event.message) is None, _when(event)


def _when(event: PodEvent) -> float:
    return event.last.timestamp() if event.last is not None else 0.0


def heard_of(pod: Pod, event: PodEvent) -> Heard:
    """Return what names an Event about a Pod, however often it comes."""
    return pod.uid, event.reason, event.message


def _dated(pod: Pod, event: PodEvent, heard: Mapping[Heard, datetime | None]) -> PodEvent:
    return replace(event, last=heard.get(heard_of(pod, event), event.last))


def _is_mute(events: Sequence[PodEvent], *, now: datetime) -> bool:
    """Tell whether no Event says why a Pod waits.

    What others told once and not again, before it was bound (FailedScheduling) or of its node, is no reason.
    """
    silent = (*(one for one in _NO_SIGN if one not in _MOUNTING), *_OF_HEALTH)

    def explains(event: PodEvent) -> bool:
        if event.reason in _AFTERWARDS or event.reason in _MOUNTING:
            return True
        lately = event.last is None or now - event.last < MUTE_AFTER
        return lately and event.reason not in silent

    return not any(map(explains, events))


def _answer(
    pod: Pod, ref: ClaimRef, text: str, users: Sequence[Pod], *, since: datetime, now: datetime
) -> Answer:
    """Make the answer; who holds the volume is named where it is held."""
    waits = f"the Pod {pod.name} waits on {pod.node} since {rfc3339(since)}"
    reason = Reason.CANNOT_MOUNT
    if _HELD.search(text):
        reason = Reason.MULTI_ATTACH
        holders = [
            f"{one.name} on {one.node}"
            for one in users
            if one.uid != pod.uid and one.node and not one.finished
        ]
        if holders:
            waits = f"{waits}; the volume is used by {', '.join(sorted(holders)[:3])}"
    return _adverse(
        Condition(INACCESSIBLE, reason.value, clean_message(f"{waits}: {text}")), pod.node, now, since
    )


def attachments_that_hang(
    attachments: Iterable[Attachment],
    claims_of: Callable[[str], Iterable[ClaimRef]],
    pods_of: Callable[[ClaimRef], Sequence[Pod]],
    *,
    now: datetime,
) -> ClaimAnswers:
    """Tell of attachments without an error that are neither attached nor gone, while a Pod waits for the volume.

    Args:
        attachments: those that are on their way.
        claims_of: the claims that are bound to a PersistentVolume, by its name.
        pods_of: the Pods that use a claim.
        now: the moment.
    """
    for attachment in attachments:
        begun = hangs_since(attachment, now=now)
        if begun is None:
            continue
        what = "detached from" if attachment.deleted is not None else "attached to"
        for ref in claims_of(attachment.volume):
            waiting = [
                pod.name
                for pod in pods_of(ref)
                if pod.waits is not None and (attachment.deleted is not None or pod.node == attachment.node)
            ]
            if waiting:
                text = (
                    f"the volume is not {what} the node {attachment.node} since {rfc3339(begun)}, and no error is told "
                    f"(is the attacher running?); {waiting[0]} waits for it"
                )
                condition = Condition(DEGRADED, Reason.ATTACH_STUCK.value, clean_message(text))
                yield ref, _adverse(condition, attachment.node, now, begun)


def on_its_way_since(attachment: Attachment) -> datetime | None:
    """Return since when a volume is being attached or detached; None if it is not."""
    return attachment.deleted or (attachment.created if not attachment.attached else None)


def hangs_since(attachment: Attachment, *, now: datetime) -> datetime | None:
    """Return since when an attachment hangs without an error; None if it does not."""
    begun = on_its_way_since(attachment)
    told = attachment.attach_error or attachment.detach_error
    return None if begun is None or told or now - begun < ATTACHING_AFTER else begun


def slow_conditions(
    conditions: Iterable[tuple[ClaimRef, Condition, datetime]], *, now: datetime
) -> ClaimAnswers:
    """Tell of what is normal for a while and has lasted for too long.

    Args:
        conditions: of which claim, what, and since when.
        now: the moment.
    """
    for ref, condition, since in conditions:
        if now - since >= SLOW_AFTER:
            yield ref, _adverse(condition, "", now, since)


def _adverse(condition: Condition, node: str, now: datetime, since: datetime) -> Answer:
    return Answer(
        Source.KUBERNETES,
        Outcome.ADVERSE,
        now,
        node=node,
        conditions=(condition,),
        observer=Observer.API,
        since=min(since, now),
    )
