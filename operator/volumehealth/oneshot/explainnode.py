"""What is known of a node and of the claims in use there, as it stands on the API server."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from volumehealth.errors import NotFound
from volumehealth.kube.api import Api
from volumehealth.model.clock import date_and_time, moment_of
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import AGENT_SILENT_SECONDS, agent_lease_name
from volumehealth.model.text import count
from volumehealth.model.vocabulary import API_VERSION, RECORDS, REPORTS
from volumehealth.oneshot.reading import Object, claims_of, if_allowed, read_items, read_one


@dataclass(frozen=True, slots=True)
class ClaimThere:
    """A claim in use on the node.

    Attributes:
        claim: `NAMESPACE/NAME`.
        pods: those that use it there.
        health, reason: of its record; empty if it has none.
    """

    claim: str
    pods: tuple[str, ...]
    health: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeStory:
    """What is known of a node.

    Attributes:
        name: of the node.
        at: the moment.
        ready: a sentence on its Ready condition.
        planned: a sentence while it is cordoned or drained; else empty.
        agent: a sentence on its agent.
        drivers: a sentence for each driver that the agent reports.
        looks: a sentence for each observer: how many claims it has looked at.
        claims: those in use there, the unhealthy first; none if Pods may not be read.
        seen: whether Pods, and records, may be read.
        not_known: sentences: what could not be read.
    """

    name: str
    at: datetime
    ready: str
    planned: str = ""
    agent: str = ""
    drivers: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    claims: tuple[ClaimThere, ...] = ()
    not_known: tuple[str, ...] = ()
    seen: bool = True


async def explain_node(api: Api, name: str, *, operator_in: str, now: datetime) -> NodeStory:
    """Return what is known of a node.

    Args:
        api: a connection.
        name: of the node.
        operator_in: the namespace of the agents' Leases.
        now: the moment.

    Raises:
        NotFound: if the node does not exist.
        ApiError: if the API server cannot be reached, or the node may not be read.
    """
    node = await read_one(api, f"/api/v1/nodes/{name}")
    if node is None:
        raise NotFound(f"the node {name} does not exist; see: kubectl get nodes")
    refused: list[str] = []
    report = await if_allowed(
        read_one(api, f"/apis/{API_VERSION}/{REPORTS}/{name}"), refused, "its agent's report"
    )
    lease_path = f"/apis/coordination.k8s.io/v1/namespaces/{operator_in}/leases/{agent_lease_name(name)}"
    lease = await if_allowed(read_one(api, lease_path), refused, "whether its agent is alive")
    pods = await if_allowed(
        read_items(api, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}"}), refused, "its Pods"
    )
    records = await if_allowed(
        read_items(api, f"/apis/{API_VERSION}/{RECORDS}"), refused, "its claims' records"
    )
    told: Any = (report or {}).get("status") or {}
    return NodeStory(
        name,
        now,
        _ready(node),
        planned_work(node),
        _agent(report, lease, now),
        tuple(_driver(one) for one in told.get("drivers") or ()),
        tuple(
            f"{one.get('origin') or one.get('observer')}: {count(one.get('count', len(one.get('claims') or ())), 'claim')}"
            for one in told.get("coverage") or ()
        ),
        _claims(pods or [], records or []),
        tuple(refused),
        pods is not None and records is not None,
    )


def planned_work(node: Object) -> str:
    """Say that a node is cordoned, or taken out of service, on purpose; empty if it is not."""
    spec = node.get("spec") or {}
    taints = {one.get("key"): one for one in spec.get("taints") or ()}
    out = taints.get("node.kubernetes.io/out-of-service")
    if out is not None:
        return "taken out of service by hand (taint node.kubernetes.io/out-of-service)"
    if spec.get("unschedulable"):
        since = moment_of((taints.get("node.kubernetes.io/unschedulable") or {}).get("timeAdded"))
        when = f" since {date_and_time(since)}" if since else ""
        return f"cordoned{when} (kubectl cordon or drain): planned work"
    return ""


def _ready(node: Object) -> str:
    for one in (node.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Ready":
            since = moment_of(one.get("lastTransitionTime"))
            when = f" since {date_and_time(since)}" if since else ""
            why = f": {one.get('reason', '')} {one.get('message', '')}" if one.get("status") != "True" else ""
            words = {"True": "Ready", "False": "not Ready"}.get(str(one.get("status")), "not heard of")
            return f"{words}{when}{why}".strip()
    return "it has no Ready condition yet"


def _agent(report: Object | None, lease: Object | None, now: datetime) -> str:
    if report is None and lease is None:
        return "none reports: the node's own eyes are not installed here, or never started"
    renewed = moment_of(((lease or {}).get("spec") or {}).get("renewTime"))
    if renewed is None:
        return "it has a report and no Lease: it was not alive lately"
    age = max(0, round((now - renewed).total_seconds()))
    if age > AGENT_SILENT_SECONDS:
        return f"silent: it has not been alive since {date_and_time(renewed)}; what it reported is stale"
    return f"alive {age} s ago" + ("" if report is not None else "; it has not reported yet")


def _driver(one: Any) -> str:
    calls = ", ".join(one.get("methods") or ()) or "no health call"
    message = f"; {one['message']}" if one.get("message") else ""
    return f"{one.get('name')}: {one.get('state')}, {calls}{message}"


def _claims(pods: list[Object], records: list[Object]) -> tuple[ClaimThere, ...]:
    known = {
        ClaimRef(one["metadata"]["namespace"], one["metadata"]["name"]): one.get("status") or {}
        for one in records
    }
    users: dict[ClaimRef, list[str]] = {}
    for pod in pods:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            for claim in claims_of(pod):
                users.setdefault(ClaimRef(pod["metadata"]["namespace"], claim), []).append(
                    pod["metadata"]["name"]
                )
    rows = []
    for ref, names in sorted(users.items()):
        status = known.get(ref, {})
        worst: Any = next(iter(status.get("findings") or ()), {})
        reason = f"{worst.get('status', '')}/{worst.get('reason', '')}" if worst else ""
        rows.append(ClaimThere(str(ref), tuple(sorted(names)), str(status.get("health", "")), reason))
    return tuple(sorted(rows, key=lambda row: (not row.reason, row.claim)))
