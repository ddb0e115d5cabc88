"""What the operator has written, for a person: policies, drivers, records. Read-only, and light: no gRPC, no Kopf.

It works with the rights of whoever runs it. Someone with the role `view` of one namespace sees that namespace's records;
policies and drivers, which name other namespaces, are then said to be out of sight instead of missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from volumehealth.errors import NotFound, NotServed
from volumehealth.kube.api import Api
from volumehealth.model.clock import moment_of
from volumehealth.model.health import urgency
from volumehealth.model.vocabulary import API_VERSION, DRIVERS, POLICIES, RECORDS, ConditionType
from volumehealth.oneshot.reading import Object, list_if_allowed, read_items

_BASE = f"/apis/{API_VERSION}"
LATE = timedelta(minutes=11)
"""A policy's heartbeat is written every five minutes; twice that and one more means that nothing checks."""
_LONG_AGO = "9999"


@dataclass(frozen=True, slots=True)
class Overview:
    """What was read.

    Attributes:
        policies, drivers: the objects, by name; None if they may not be read.
        records: VolumeHealths, worst first.
        installed: whether the API is there at all.
        namespace: the one that was asked for; empty for all.
    """

    policies: Sequence[Object] | None
    drivers: Sequence[Object] | None
    records: Sequence[Object]
    installed: bool = True
    namespace: str = ""
    loud: tuple[str, ...] = field(default=())

    @property
    def unhealthy(self) -> tuple[Object, ...]:
        """The records of claims that are unhealthy, or were when their source last answered."""
        return tuple(one for one in self.records if _status(one).get("health") in ("Unhealthy", "Unknown"))

    @property
    def exit_status(self) -> int:
        """0 healthy; 1 unhealthy; 3 nothing unhealthy, but something is not known or not watched."""
        if self.unhealthy:
            return 1
        return 3 if self.loud else 0


async def read_overview(api: Api, *, namespace: str, now: datetime) -> Overview:
    """Read what the operator has written.

    Args:
        api: a connection.
        namespace: whose records; empty for all namespaces.
        now: the moment, to tell whether checks go on.

    Raises:
        ApiError: if the API server cannot be reached, or the records may not be read.
    """
    where = f"/namespaces/{namespace}" if namespace else ""
    try:
        records = await read_items(api, f"{_BASE}{where}/{RECORDS}")
    except (NotFound, NotServed):
        return Overview(None, None, (), installed=False, namespace=namespace, loud=(NOT_INSTALLED,))
    policies = await list_if_allowed(api, f"{_BASE}/{POLICIES}")
    drivers = await read_drivers(api)
    loud = tuple(not_watched(policies, now)) if policies is not None else ()
    return Overview(policies, drivers, sorted(records, key=_worst_first), namespace=namespace, loud=loud)


async def read_drivers(api: Api) -> list[Object] | None:
    """Return the VolumeHealthDrivers, by name; None if they may not be read, or the API is not there.

    Raises:
        ApiError: if the API server cannot be reached.
    """
    return await list_if_allowed(api, f"{_BASE}/{DRIVERS}")


NOT_INSTALLED = "NOT INSTALLED: this cluster does not serve volumehealth.dev; see docs/install.md"
NO_POLICY = "NOTHING IS CHECKED: no VolumeHealthPolicy exists; apply examples/smallest.yaml"


def not_watched(policies: Sequence[Object], now: datetime) -> list[str]:
    """Say loudly what is not watched: no policy, no checks, silent sources, claims that are Unknown or Unmonitored."""
    if not policies:
        return [NO_POLICY]
    lines = []
    for policy in policies:
        name, status = policy["metadata"]["name"], _status(policy)
        lines += [f"{name}: {line}" for line in _of_policy(policy, status, now)]
    return lines


def _of_policy(policy: Object, status: Object, now: datetime) -> list[str]:
    spec = policy.get("spec") or {}
    until = moment_of(spec.get("suspendUntil"))
    if spec.get("suspend"):
        return ["SUSPENDED: no checks are made"]
    if until is not None and until > now:
        return [f"SUSPENDED until {spec['suspendUntil']}: no checks are made"]
    lines = []
    last = moment_of(status.get("lastCheckTime"))
    if last is None or now - last > LATE:
        since = f" since {status['lastCheckTime']}" if last is not None else ""
        lines.append(
            f"NOT CHECKED{since}: does the operator run? kubectl get pods -A -l app.kubernetes.io/name=volumehealth-operator"
        )
    conditions = {one.get("type"): one for one in status.get("conditions") or ()}
    ready = conditions.get(ConditionType.READY, {})
    if ready.get("status") == "False":
        lines.append(f"INVALID SPEC: {ready.get('message', '')}")
    sources = conditions.get(ConditionType.SOURCES_AVAILABLE, {})
    if sources.get("status") == "False":
        lines.append(f"SOURCE DOES NOT ANSWER: {sources.get('message', '')}")
    claims = status.get("claims") or {}
    if claims.get("unknown"):
        lines.append(f"UNKNOWN: {claims['unknown']} of {claims.get('selected', 0)} claims")
    if claims.get("unmonitored"):
        lines.append(
            f"NOT MONITORED: {claims['unmonitored']} of {claims.get('selected', 0)} claims; see: volumehealth drivers"
        )
    return lines


def _status(one: Object) -> Object:
    found: Object = one.get("status") or {}
    return found


def urgency_of(finding: Object) -> int:
    """Rank a finding of a record, most urgent highest."""
    return urgency(str(finding.get("status", "")), str(finding.get("reason", "")))


def _worst_first(record: Object) -> tuple[bool, int, str, str, str]:
    status = _status(record)
    worst = max(map(urgency_of, status.get("findings") or ()), default=-1)
    metadata = record["metadata"]
    recovered = status.get("health") == "Recovered"
    return (
        recovered,
        -worst,
        str(status.get("since") or _LONG_AGO),
        str(metadata.get("namespace")),
        metadata["name"],
    )
