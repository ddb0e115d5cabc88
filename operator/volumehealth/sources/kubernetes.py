"""What Kubernetes' own objects say against volumes: node failures, drivers that are not registered, attachments.

Pure producers of answers. The Kubernetes source accuses and never can_clear: its HEALTHY takes back what it said itself.
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
    ClaimHealth,
    Condition,
    Outcome,
    Source,
    Via,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import Reason
from volumehealth.sources.usage import Usage

ClaimAnswers = Iterator[tuple[ClaimRef, Answer]]
"""Answers about claims, in any order; a claim may come more than once."""

_AT_ONCE = timedelta(0)
_NOT_READY = ("False", "Unknown")
_MILD = (Reason.DRIVER_NOT_REGISTERED, Reason.DETACH_FAILED)
"""What is mounted goes on working."""


@dataclass(frozen=True, slots=True)
class NodeTrouble:
    """A node that is not Ready, or gone.

    Attributes:
        since: since when, clamped to now.
        why: a sentence.
        over: whether it has lasted longer than the policy's `checks.nodeFailure.after`.
    """

    since: datetime
    why: str
    over: bool


class Missing:
    """Since when nodes are missing that Pods are still bound to."""

    def __init__(self) -> None:
        self._noticed: dict[str, datetime] = {}

    def since(
        self, used: Iterable[str], nodes: Mapping[str, Node], gone: Mapping[str, datetime], now: datetime
    ) -> Mapping[str, datetime]:
        """Return the nodes in use that do not exist, and since when that is known.

        Args:
            used: nodes that Pods with claims are bound to.
            nodes: those that exist.
            gone: when nodes were deleted before our eyes.
            now: the moment; a node that was gone before we looked counts from the first look.
        """
        missing = [name for name in used if name not in nodes]
        self._noticed = {name: gone.get(name) or self._noticed.get(name, now) for name in missing}
        return self._noticed


def troubled_nodes(
    nodes: Iterable[Node], missing: Mapping[str, datetime], *, after: timedelta, now: datetime
) -> dict[str, NodeTrouble]:
    """Return the nodes that are not Ready (False or Unknown) or gone.

    A node that has no Ready condition yet says nothing. Times come from the condition itself, so that a restart of
    the operator loses nothing; one in the future is now.

    Args:
        nodes: all that exist.
        missing: those that are gone while Pods are bound to them, and since when.
        after: how long is too long.
        now: the moment.
    """
    troubles: dict[str, NodeTrouble] = {}
    for node in nodes:
        if node.ready in _NOT_READY:
            since = min(node.since or now, now)
            why = f"the node {node.name} is not Ready since {rfc3339(since)} ({node.ready}; {node.why})"
            troubles[node.name] = NodeTrouble(since, clean_message(why), now - since >= after)
    for name, when in missing.items():
        since = min(when, now)
        why = f"the node {name} does not exist any more, and Pods are still bound to it"
        troubles[name] = NodeTrouble(since, why, now - since >= after)
    return troubles


def node_failures(
    troubles: Mapping[str, NodeTrouble],
    usage: Usage,
    *,
    drivers: Iterable[str],
    healths: Mapping[ClaimRef, ClaimHealth],
    now: datetime,
) -> ClaimAnswers:
    """Accuse failed nodes before every claim that is used there.

    A node that failed and flaps is not forgiven in between: while it is not Ready, however shortly, claims that have
    the finding keep it. Who waited for `after` need not wait for `unhealthyAfter` as well.

    Args:
        troubles: from `troubled_nodes`.
        usage: which claims are used where.
        drivers: of the policy's claims.
        healths: what is remembered of the policy's claims.
        now: the moment.
    """
    wanted = tuple(drivers)
    for name, trouble in troubles.items():
        on_node = usage.on(name)
        for driver in wanted:
            for ref in on_node.get(driver, ()):
                if trouble.over or _failed_before(healths.get(ref), name):
                    yield ref, _answer(Reason.NODE_FAILED, trouble.why, name, now, since=trouble.since)


def _failed_before(health: ClaimHealth | None, node: str) -> bool:
    return health is not None and any(
        finding.reason == Reason.NODE_FAILED and finding.node == node and finding.source is Source.KUBERNETES
        for finding in health.findings
    )


def _answer(
    reason: Reason, message: str, node: str, now: datetime, *, since: datetime | None = None
) -> Answer:
    status = DEGRADED if reason in _MILD else INACCESSIBLE
    return Answer(
        Source.KUBERNETES,
        Outcome.ADVERSE,
        now,
        node=node,
        conditions=(Condition(status, reason.value, message),),
        can_clear=False,
        since=since,
        delay=_AT_ONCE if reason is Reason.NODE_FAILED else None,
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
    wanted = tuple(drivers)
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
    api_conditions: Mapping[ClaimRef, ApiConditions], *, controller: bool, now: datetime
) -> ClaimAnswers:
    """Tell what the API says of claims: Lost, Failed, resize errors, and what another monitor wrote.

    Args:
        api_conditions: by claim; sparse.
        controller: whether the policy wants to hear what is said of the controller plane.
        now: the moment.
    """
    for ref, said in api_conditions.items():
        if said.own:
            yield ref, accusation(Source.KUBERNETES, said.own, now)
        if said.health and controller:
            yield ref, accusation(Source.CONTROLLER, said.health, now, via=Via.MONITOR)


def api_conditions_of_pods(pods: Iterable[Pod], usage: Usage, now: datetime) -> ClaimAnswers:
    """Tell what kubelets wrote into the status of Pods (1.37, `CSIVolumeHealth`): statements of the node plane.

    Args:
        pods: those with something adverse.
        usage: which claims are used where; a Pod that is finished, or bound nowhere, uses nothing.
        now: the moment.
    """
    for pod in pods:
        for name, conditions in pod.health:
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
) -> Answer:
    """Make the answer of somebody who accuses and can never acquit."""
    return Answer(source, Outcome.ADVERSE, now, node=node, via=via, conditions=conditions, can_clear=False)
