"""What Kubernetes' own objects say against volumes: node failures, drivers that are not registered, attachments.

Pure producers of answers. The Kubernetes source only ever speaks against a volume; when that is over, `origins` says.
Each costs what is wrong and the number of nodes, not the number of claims.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import ApiConditions, Attachment, Node, NodeDrivers, Pod
from volumehealth.model.health import (
    DEGRADED,
    INACCESSIBLE,
    Answer,
    Condition,
    Outcome,
    Source,
    Via,
)
from volumehealth.model.ids import NO_CSI_DRIVERS, ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import Reason
from volumehealth.sources.moments import Moment
from volumehealth.sources.usage import Usage

ClaimAnswers = Iterator[tuple[ClaimRef, Answer]]
"""Answers about claims, in any order; a claim may come more than once."""

NOT_READY = ("False", "Unknown")
_MILD = (Reason.DRIVER_NOT_REGISTERED, Reason.DETACH_FAILED)
"""What is mounted goes on working."""


@dataclass(frozen=True, slots=True)
class NodeTrouble:
    """A node that is not Ready, or gone.

    Attributes:
        since: since when, clamped to now.
        why: a sentence.
    """

    since: datetime
    why: str


class Missing:
    """Since when nodes are missing that Pods are still bound to, by our own monotonic clock."""

    def __init__(self) -> None:
        self._noticed: dict[str, float] = {}

    def since(
        self, used: Iterable[str], nodes: Mapping[str, Node], gone: Mapping[str, float], moment: Moment
    ) -> Mapping[str, datetime]:
        """Return the nodes in use that do not exist, and since when that is known.

        Args:
            used: nodes that Pods with claims are bound to.
            nodes: those that exist.
            gone: when (monotonic seconds) nodes were deleted before our eyes.
            moment: the moment that counts; a node that was gone before we looked counts from the first look.
        """
        missing = [name for name in used if name not in nodes]
        first = moment.monotonic
        self._noticed = {name: gone.get(name, self._noticed.get(name, first)) for name in missing}
        return {name: moment.back_to(at) for name, at in self._noticed.items()}


def troubled_nodes(
    nodes: Iterable[Node], missing: Mapping[str, datetime], *, now: datetime
) -> dict[str, NodeTrouble]:
    """Return the nodes that are not Ready (False or Unknown) or gone.

    A node that has no Ready condition yet says nothing. Times come from the condition itself, so that a restart of
    the operator loses nothing; one in the future is now.

    Args:
        nodes: all that exist.
        missing: those that are gone while Pods are bound to them, and since when.
        now: the moment.
    """
    troubles: dict[str, NodeTrouble] = {}
    for node in nodes:
        if node.ready in NOT_READY:
            since = min(node.since or now, now)
            why = f"the node {node.name} is not Ready since {rfc3339(since)} ({node.ready}; {node.why})"
            why += f"; {node.planned}" if node.planned else ""
            troubles[node.name] = NodeTrouble(since, clean_message(why))
    for name, when in missing.items():
        since = min(when, now)
        why = f"the node {name} does not exist any more, and Pods are still bound to it"
        troubles[name] = NodeTrouble(since, why)
    return troubles


def node_failures(
    troubles: Mapping[str, NodeTrouble],
    usage: Usage,
    *,
    drivers: Iterable[str],
    after: timedelta,
    now: datetime,
) -> ClaimAnswers:
    """Say of nodes that are not Ready, or gone, that they failed, for every claim that is used there.

    It must last for `after`, which the node's own condition dates; `unhealthyAfter` is not added.

    Args:
        troubles: from `troubled_nodes`.
        usage: which claims are used where.
        drivers: of the policy's claims.
        after: how long it must last.
        now: the moment.
    """
    wanted = tuple(drivers)
    for name, trouble in troubles.items():
        on_node = usage.on(name)
        for driver in wanted:
            for ref in on_node.get(driver, ()):
                yield (
                    ref,
                    _answer(Reason.NODE_FAILED, trouble.why, name, now, since=trouble.since, delay=after),
                )


def _answer(
    reason: Reason,
    message: str,
    node: str,
    now: datetime,
    *,
    since: datetime | None = None,
    delay: timedelta | None = None,
) -> Answer:
    status = DEGRADED if reason in _MILD else INACCESSIBLE
    return Answer(
        Source.KUBERNETES,
        Outcome.ADVERSE,
        now,
        node=node,
        conditions=(Condition(status, reason.value, message),),
        observer=Observer.API,
        since=since,
        delay=delay,
    )


def unregistered_drivers(
    csinodes: Mapping[str, NodeDrivers],
    usage: Usage,
    *,
    drivers: Iterable[str],
    troubles: Mapping[str, NodeTrouble],
    now: datetime,
) -> ClaimAnswers:
    """Accuse nodes that run Pods with volumes of a driver which their CSINode does not list.

    Args:
        csinodes: by node; a node without one says nothing.
        usage: which claims are used where.
        drivers: of the policy's claims.
        troubles: nodes that are not Ready or gone have a story of their own.
        now: the moment.
    """
    wanted = tuple(driver for driver in drivers if driver not in NO_CSI_DRIVERS)
    for name, registered in csinodes.items():
        on_node = usage.on(name)
        for driver in wanted:
            if driver in on_node and driver not in registered.drivers and name not in troubles:
                why = f"{driver} is not registered with the kubelet of the node {name}, whose Pods use its volumes"
                for ref in on_node[driver]:
                    if usage.runs(name, ref):
                        yield ref, _answer(Reason.DRIVER_NOT_REGISTERED, why, name, now)


def failed_attachments(
    attachments: Iterable[Attachment], claims_of: Callable[[str], Iterable[ClaimRef]], now: datetime
) -> ClaimAnswers:
    """Accuse nodes to which a volume cannot be attached, or from which it cannot be detached.

    Args:
        attachments: those with an error.
        claims_of: the claims that are bound to a PersistentVolume, by its name.
        now: the moment.
    """
    for attachment in attachments:
        for ref in claims_of(attachment.volume):
            if attachment.attach_error:
                why = (
                    f"the volume cannot be attached to the node {attachment.node}: {attachment.attach_error}"
                )
                yield ref, _answer(Reason.ATTACH_FAILED, clean_message(why), attachment.node, now)
            if attachment.detach_error:
                why = f"the volume cannot be detached from the node {attachment.node}: {attachment.detach_error}"
                yield ref, _answer(Reason.DETACH_FAILED, clean_message(why), attachment.node, now)


def api_conditions_of_claims(
    api_conditions: Mapping[ClaimRef, ApiConditions], *, now: datetime
) -> ClaimAnswers:
    """Tell what the API says of claims themselves: Lost, Failed, resize errors.

    Args:
        api_conditions: by claim; sparse.
        now: the moment.
    """
    for ref, said in api_conditions.items():
        if said.own:
            yield ref, accusation(Source.KUBERNETES, said.own, now)


def api_conditions_of_pods(pods: Iterable[Pod], usage: Usage, now: datetime) -> ClaimAnswers:
    """Tell what kubelets wrote into the status of Pods (1.37, `CSIVolumeHealth`): statements of the node plane.

    Args:
        pods: those with something adverse.
        usage: which claims are used where; a Pod that is finished, or bound nowhere, uses nothing.
        now: the moment.
    """
    for pod in pods:
        for name, conditions in () if pod.finished else pod.health:
            ref = ClaimRef(pod.namespace, name)
            if pod.node in usage.nodes_of(ref):
                yield ref, accusation(Source.NODE, conditions, now, node=pod.node, via=Via.KUBELET)


def accusation(
    source: Source,
    conditions: tuple[Condition, ...],
    now: datetime,
    *,
    node: str = "",
    via: Via = Via.OPERATOR,
    observer: Observer = Observer.API,
) -> Answer:
    """Make the answer of an observer that says something against a volume."""
    return Answer(source, Outcome.ADVERSE, now, node=node, via=via, conditions=conditions, observer=observer)
