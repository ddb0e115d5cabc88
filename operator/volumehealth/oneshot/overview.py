"""What the operator has written, for a person: policies, drivers, records. Read-only, and light: no gRPC, no Kopf.

It works with the rights of whoever runs it. Someone with the role `view` of one namespace sees that namespace's records;
policies and drivers, which name other namespaces, are then said to be out of sight instead of missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from volumehealth.errors import NotFound, NotServed
from volumehealth.kube.api import Api
from volumehealth.model.clock import moment_of, rfc3339
from volumehealth.model.health import urgency
from volumehealth.model.text import count
from volumehealth.model.vocabulary import (
    API_VERSION,
    DRIVERS,
    POLICIES,
    RECORDS,
    ConditionType,
    VolumesReason,
)
from volumehealth.oneshot.reading import (
    NOT_INSTALLED,
    Object,
    check_namespace,
    list_if_allowed,
    read_answer,
    read_items,
)
from volumehealth.policy.durations import parse_duration

_BASE = f"/apis/{API_VERSION}"
LATE = timedelta(minutes=11)
"""A policy's heartbeat is written every five minutes; twice that and one more means that nothing checks."""
_BEAT = timedelta(minutes=6)
"""The same of a policy that is checked less often than that: its heartbeat comes with a check."""
_TWO_CLOCKS = timedelta(minutes=2)
"""By so much the clocks of the operator and of this machine may differ."""
_LONG_AGO = "9999"


@dataclass(frozen=True, slots=True)
class Overview:
    """What was read.

    Attributes:
        policies, drivers: the objects, by name; None if they may not be read.
        records: VolumeHealths, worst first.
        installed: whether the API is there at all.
        namespace: the one that was asked for; empty for all.
        loud: sentences on what is not watched, or not known to be.
        more_unhealthy: claims that the policies call unhealthy and that have no record; 0 where one namespace was asked for.
    """

    policies: Sequence[Object] | None
    drivers: Sequence[Object] | None
    records: Sequence[Object]
    installed: bool = True
    namespace: str = ""
    loud: tuple[str, ...] = field(default=())
    more_unhealthy: int = 0

    @property
    def unhealthy(self) -> tuple[Object, ...]:
        """The records of claims that are unhealthy, or were when their source last answered."""
        return tuple(one for one in self.records if _status(one).get("health") in ("Unhealthy", "Unknown"))

    @property
    def exit_status(self) -> int:
        """0 healthy; 1 unhealthy; 3 nothing unhealthy, but something is not known or not watched."""
        if self.unhealthy or self.more_unhealthy:
            return 1
        return 3 if self.loud else 0


async def read_overview(api: Api, *, namespace: str, now: datetime) -> Overview:
    """Read what the operator has written.

    Args:
        api: a connection.
        namespace: whose records; empty for all namespaces.
        now: the moment, to tell whether checks go on.

    Raises:
        NotFound: if the namespace does not exist.
        ApiError: if the API server cannot be reached, or the records may not be read.
    """
    where = f"/namespaces/{namespace}" if namespace else ""
    try:
        records = await read_items(api, f"{_BASE}{where}/{RECORDS}")
    except (NotFound, NotServed):
        await read_answer(api, "/version")  # else it is no API server that says so
        return Overview(None, None, (), installed=False, namespace=namespace, loud=(NOT_INSTALLED,))
    if namespace and not records:
        await check_namespace(api, namespace)  # the list of one that does not exist is empty, too
    policies = await list_if_allowed(api, f"{_BASE}/{POLICIES}")
    drivers = await read_drivers(api)
    found = Overview(policies, drivers, sorted(records, key=_worst_first), namespace=namespace)
    if policies is None:
        return replace(found, loud=(out_of_sight(namespace),))
    told = sum(int((_status(policy).get("claims") or {}).get("unhealthy") or 0) for policy in policies)
    more = 0 if namespace else max(0, told - len(found.unhealthy))
    loud = not_watched(policies, now)
    if more:
        loud.append(
            f"NOT RECORDED: {count(more, 'unhealthy claim')} without a record; see: kubectl describe vhp"
        )
    return replace(found, loud=tuple(loud), more_unhealthy=more)


async def read_drivers(api: Api) -> list[Object] | None:
    """Return the VolumeHealthDrivers, by name; None if they may not be read, or the API is not there.

    Raises:
        ApiError: if the API server cannot be reached.
    """
    return await list_if_allowed(api, f"{_BASE}/{DRIVERS}")


async def read_rest(api: Api, *, now: datetime, policy: str | None = None) -> list[str]:
    """Say which policies make no checks, as far as they may be read: what is written stands as it was then.

    Args:
        api: a connection.
        now: the moment.
        policy: the one that matters; None for all.

    Raises:
        ApiError: if the API server cannot be reached.
    """
    policies = await list_if_allowed(api, f"{_BASE}/{POLICIES}") or ()
    return not_checked([one for one in policies if policy in (None, one["metadata"]["name"])], now)


NO_POLICY = "NOTHING IS CHECKED: no VolumeHealthPolicy exists; apply examples/smallest.yaml"


def out_of_sight(namespace: str) -> str:
    """Say that policies may not be read, so that nothing may be checked at all."""
    place = f"namespace {namespace}" if namespace else "the namespaces"
    return (
        f"Policies are out of your sight: this shows the records of {place} only. Without a record a claim is healthy, or "
        "nothing checks it."
    )


def not_checked(policies: Sequence[Object], now: datetime) -> list[str]:
    """Say which policies make no checks, so that what was written of them is as it was then."""
    found = ((policy["metadata"]["name"], _rests(policy, now)) for policy in policies)
    return [f"{name}: {why}" for name, why in found if why]


def not_watched(policies: Sequence[Object], now: datetime) -> list[str]:
    """Say loudly what is not watched: no policy, no checks, silent sources, claims that are Unknown or Unmonitored."""
    if not policies:
        return [NO_POLICY]
    lines = []
    for policy in policies:
        name, status = policy["metadata"]["name"], _status(policy)
        lines += [f"{name}: {line}" for line in _of_policy(policy, status, now)]
    return lines


def _suspended(spec: Object, now: datetime) -> str:
    until = moment_of(spec.get("suspendUntil"))
    if spec.get("suspend"):
        return "SUSPENDED: no checks are made"
    if until is not None and until > now:
        return f"SUSPENDED until {spec['suspendUntil']}: no checks are made"
    return ""


def _rests(policy: Object, now: datetime) -> str:
    """Say why no check is made, or that nobody can tell; empty if checks go on."""
    spec, status = policy.get("spec") or {}, _status(policy)
    if suspended := _suspended(spec, now):
        return suspended
    last = moment_of(status.get("lastCheckTime"))
    if last is not None and last - now > _TWO_CLOCKS:
        return f"CLOCKS DIFFER: it was checked at {status['lastCheckTime']}, and it is {rfc3339(now)} here: ages are wrong"
    if last is not None and now - last <= max(LATE, _interval(spec) + _BEAT):
        return ""
    since = f" since {status['lastCheckTime']}" if last is not None else ""
    return f"NOT CHECKED{since}: does the operator run? kubectl get pods -A -l app.kubernetes.io/name=volumehealth-operator"


def _interval(spec: Object) -> timedelta:
    try:
        return parse_duration(str(spec.get("interval") or "1m"))
    except ValueError:  # the API server refuses it
        return timedelta()


def _of_policy(policy: Object, status: Object, now: datetime) -> list[str]:
    if suspended := _suspended(policy.get("spec") or {}, now):
        return [suspended]
    lines = [late] if (late := _rests(policy, now)) else []
    conditions = {one.get("type"): one for one in status.get("conditions") or ()}
    ready = conditions.get(ConditionType.READY, {})
    if ready.get("status") == "False":
        lines.append(f"INVALID SPEC: {ready.get('message', '')}")
    sources = conditions.get(ConditionType.SOURCES_AVAILABLE, {})
    if sources.get("status") == "False":
        lines.append(f"SOURCE DOES NOT ANSWER: {sources.get('message', '')}")
    volumes = conditions.get(ConditionType.VOLUMES_HEALTHY, {})
    if volumes.get("reason") == VolumesReason.NOTHING_SELECTED:
        lines.append(f"NOTHING SELECTED: {volumes.get('message', '')}")
    claims = status.get("claims") or {}
    selected = count(int(claims.get("selected") or 0), "claim")
    if claims.get("unknown"):
        lines.append(f"UNKNOWN: {claims['unknown']} of {selected}")
    if claims.get("unmonitored"):
        lines.append(f"NOT MONITORED: {claims['unmonitored']} of {selected}; see: volumehealth drivers")
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
