"""VolumeHealthDriver objects: what each CSI driver can tell, and how it answers.

One for each driver that a claim in the cluster uses, shared by all policies. Level-triggered: what the view shows is
compared with what should be there. A change of state, methods or hint is written at once, numbers alone every five
minutes at most, so that a steady cluster writes nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

from volumehealth.cluster.objects import RawDriver
from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.judge.policy import PolicyJudgement
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import Outcome, Result, Write, WriteQueue
from volumehealth.model.clock import Clock, parse_rfc3339, rfc3339
from volumehealth.model.cluster import Claim, LeftOut, NodeDrivers
from volumehealth.model.health import DriverState, SourceState
from volumehealth.model.ids import NO_CSI_DRIVERS, ClaimRef, object_name
from volumehealth.model.known_drivers import known_driver
from volumehealth.model.policy import Policy
from volumehealth.model.report import Plane, VolumeHealthReport, agent_lease_name
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import API_VERSION, COMPONENT, DRIVER_KIND, DRIVERS
from volumehealth.report.merge import difference
from volumehealth.report.outbox import StoredRecord
from volumehealth.report.output import Output
from volumehealth.report.phrases import clearest, unseen
from volumehealth.report.priorities import Priority
from volumehealth.report.text import clean, fit

NUMBERS_EVERY = 300.0
"""Seconds between two writes of a driver of which only numbers changed."""
_KIND = "driver"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_TEXT = 1024
_VERDICTS = ("healthy", "unhealthy", "unknown", "unmonitored")
_NUMBERS = ("claims", "basis", "plugins", "roundSeconds", "nextTry", "message")
_INSTALL_AGENT = "install the node agent (deploy/agent): it sees mounts, devices, filesystems and free space"
_NOT_HEARD = (SourceState.NOT_CONNECTED, SourceState.UNREACHABLE)
"""Unreachable: the report that is made with the agent's rights is there, and no agent writes it."""
_COULD_TELL_MORE = (SourceState.UNSUPPORTED, SourceState.NOT_CONNECTED)
_NOT_SELECTED = "no policy selects its claims"


class DriversView(Protocol):
    """What is needed of `cluster.view.ClusterView`."""

    @property
    def claims(self) -> Mapping[ClaimRef, Claim]:
        """By reference."""

    @property
    def csinodes(self) -> Mapping[str, NodeDrivers]:
        """By the node's name."""

    @property
    def reports(self) -> Mapping[str, VolumeHealthReport]:
        """By name."""

    @property
    def drivers(self) -> Mapping[str, RawDriver]:
        """VolumeHealthDrivers by name."""

    @property
    def leases(self) -> Mapping[str, LeaseLiveness]:
        """How long agents are alive, by the Lease's name."""

    def follows(self, resource: str) -> bool:
        """Tell whether a resource is followed and ours to read."""

    @property
    def left_out(self) -> Mapping[ClaimRef, LeftOut]:
        """Pods of CSI controllers that were started without the agent."""


def _basis(healthy: int, by_node: int) -> str:
    """Say on whose word claims are healthy."""
    said = (("Driver", healthy > by_node), ("Node", by_node > 0))
    return ", ".join(name for name, says in said if says)


@dataclass(frozen=True, slots=True)
class _Share:
    """What one policy knows of a driver: its state, its claims by verdict, and the healthy ones on their nodes' word."""

    state: DriverState
    claims: tuple[int, ...]
    by_node: int = 0


@dataclass(frozen=True, slots=True)
class _Nodes:
    """On how many nodes each driver is registered, and on how many an agent reports about it, by the object's name."""

    registered: Mapping[str, int]
    reporting: Mapping[str, int]

    def of(self, name: str) -> str:
        """Return `13/14`: nodes whose agent reports about the driver, of those where it is registered."""
        registered, reporting = self.registered.get(name, 0), self.reporting.get(name, 0)
        return f"{reporting}/{max(registered, reporting)}" if registered or reporting else ""


def _told_of(state: DriverState) -> Iterator[str]:
    """Say how a driver answers, which claims its nodes cannot judge, and what they do not see of the others."""
    if state.message:
        yield state.message
    if state.unseen:
        yield unseen(state.unseen)
    if state.limits:
        yield f"of some claims less is seen: {state.limits}"


class DriverOutput(Output):
    """Shows what checks learn of drivers in their VolumeHealthDrivers.

    Args:
        writer: brings them to the server.
    """

    name = "Drivers"

    def __init__(self, writer: "DriverWriter") -> None:
        self._writer = writer

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Take what a check says of the drivers of its claims."""
        self._writer.publish(result)
        yield

    def forget(self, policy: Policy) -> Steps[None]:
        """Drivers are shared: what the policy knew of them no longer counts."""
        self._writer.forget(policy.uid)
        yield

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policies: Collection[str]) -> None:
        """Write drivers that no check speaks of, and remove those that no claim uses."""
        self._writer.sweep()


class DriverWriter:
    """Creates, updates and removes VolumeHealthDrivers.

    Args:
        queue: where writes go.
        clock: the time.
        view: the cluster view.
    """

    def __init__(self, queue: WriteQueue, *, clock: Clock, view: DriversView) -> None:
        self._queue = queue
        self._clock = clock
        self._view = view
        self._shares: dict[str, dict[str, _Share]] = {}
        self._unchecked: set[str] = set()
        self._numbers_at: dict[str, float] = {}
        self._swept = False

    def publish(self, result: CheckResult) -> None:
        """After a check: take what it says of the drivers of its claims."""
        judgement, uid = result.judgement, result.policy.uid
        if judgement is None:
            self._unchecked.add(uid)
            shares = self._shares.get(uid, {})
        else:
            self._unchecked.discard(uid)
            shares = self._shares[uid] = _shares(result, judgement)
        nodes = self._nodes()
        for name in set(map(object_name, shares)):
            self._keep(name, nodes)

    def forget(self, policy_uid: str) -> None:
        """A policy is gone; the next sweep writes what that changes."""
        self._shares.pop(policy_uid, None)
        self._unchecked.discard(policy_uid)

    def sweep(self) -> None:
        """Write drivers that no check speaks of, and remove those that no claim uses; call it now and then.

        The first sweep of a process writes nothing for drivers that no check has spoken of yet; nor does any while a policy
        is suspended, or its spec cannot be used, since before this process began: nobody can tell which claims it selects.
        """
        drivers = {claim.driver for claim in self._view.claims.values()} - {"", *NO_CSI_DRIVERS}
        used = set(map(object_name, drivers))
        spoken = {object_name(name) for shares in self._shares.values() for name in shares}
        nodes = self._nodes()
        for name in used if self._swept and not self._unchecked - self._shares.keys() else used & spoken:
            self._keep(name, nodes)
        for name in self._view.drivers.keys() - used:
            self._remove(name)
        self._swept = True

    def _keep(self, name: str, nodes: "_Nodes") -> None:
        """Write an object if the view shows something else than what is known of its driver."""
        there = self._view.drivers.get(name)
        before = there.status if there is not None else {}
        status = self._status(name, before, nodes.of(name))
        news = there is None or _without_numbers(status) != _without_numbers(before)
        if not news and status == before:
            self._queue.discard(_key(name))  # it waited, and is not so any more
            return
        if not news and not self._numbers_due(name) and _key(name) not in self._queue:
            return
        self._numbers_at[name] = self._clock.monotonic()
        write = _corrected(name, before, status) if _has_more(before, status) else _applied(name, status)
        self._queue.put(
            _key(name),
            lambda: write,
            kind=_KIND,
            priority=Priority.STATUS,
            on_done=lambda outcome: self._written(name, outcome),
        )

    def _written(self, name: str, outcome: Outcome) -> None:
        if outcome.result in (Result.CONFLICT, Result.NOT_FOUND):
            self._queue.back_off(_key(name), kind=_KIND)

    def _remove(self, name: str) -> None:
        self._numbers_at.pop(name, None)
        self._queue.put(
            _key(name),
            lambda: Write("DELETE", _path(name)),
            kind=_KIND,
            priority=Priority.RECORD,
        )

    def _numbers_due(self, name: str) -> bool:
        last = self._numbers_at.setdefault(name, self._clock.monotonic())
        return self._clock.monotonic() - last >= NUMBERS_EVERY

    def _status(self, name: str, before: Mapping[str, Any], nodes: str) -> dict[str, Any]:
        seen = [
            (share, uid not in self._unchecked)
            for uid, shares in self._shares.items()
            for driver, share in shares.items()
            if object_name(driver) == name
        ]
        if not seen:
            status = {"state": str(SourceState.NOT_CONNECTED), "since": rfc3339(self._clock.now())}
            status |= {"healthAPI": "None", "hint": _NOT_SELECTED}
            return status | {"since": _since(status, before)}
        found = [share for share, _ in seen]
        # Each policy tells of its own claims only.
        blind = tuple(chain.from_iterable(share.state.unseen for share in found))
        state = replace(clearest((share.state, checked) for share, checked in seen), unseen=blind)
        claims = dict(
            zip(_VERDICTS, map(sum, zip(*(share.claims for share in found), strict=True)), strict=True)
        )
        told = {
            "state": str(state.state),
            "since": rfc3339(state.since),
            "healthAPI": str(state.health_api),
            "methods": list(state.methods),
            "plugins": {"controller": str(state.controller)} | ({"nodes": nodes} if nodes else {}),
            "claims": {"selected": sum(claims.values())} | claims,
            "basis": _basis(claims["healthy"], sum(share.by_node for share in found)),
            "roundSeconds": round(state.round_seconds),
            "nextTry": rfc3339(state.next_try) if state.next_try is not None else "",
            "message": fit(clean("; ".join(_told_of(state))), _TEXT),
            "hint": fit(clean(self._hint(state, nodes)), _TEXT),
        }
        told["since"] = _since(told, before)
        return {key: value for key, value in told.items() if value not in ("", [], 0)}

    def _hint(self, state: DriverState, nodes: str) -> str:
        left_out = next((one for one in self._view.left_out.values() if one.driver == state.name), None)
        if left_out is not None and state.state in _NOT_HEARD:
            return f"the agent was left out of Pod {left_out.pod}: {left_out.why}"
        known = known_driver(state.name)
        if known is not None and known.advice and state.state in _COULD_TELL_MORE:
            return known.advice
        if state.state is SourceState.UNSUPPORTED and (not nodes or nodes.startswith("0/")):
            return _INSTALL_AGENT
        return state.hint

    def _nodes(self) -> "_Nodes":
        """Count the nodes of all drivers, once for all that are looked at together."""
        reports = (
            report
            for report in self._view.reports.values()
            if report.plane is Plane.NODE and self._reports_still(report)
        )
        return _Nodes(
            Counter(
                name for node in self._view.csinodes.values() for name in set(map(object_name, node.drivers))
            ),
            Counter(
                name for report in reports for name in {object_name(driver.name) for driver in report.drivers}
            ),
        )

    def _reports_still(self, report: VolumeHealthReport) -> bool:
        """Tell whether the agent that wrote a report is there; what it wrote stays as long as its Node."""
        if not self._view.follows("leases"):
            return True
        lease = self._view.leases.get(agent_lease_name(report.name))
        return lease is not None and self._clock.monotonic() - lease.until < NUMBERS_EVERY


def _shares(result: CheckResult, judgement: PolicyJudgement) -> dict[str, _Share]:
    """Return what a check says of the drivers of its claims."""
    shares = {}
    for name, state in result.drivers.items():
        if name in NO_CSI_DRIVERS:
            continue
        counts = judgement.drivers.get(name)
        claims = tuple(getattr(counts, verdict) if counts is not None else 0 for verdict in _VERDICTS)
        shares[name] = _Share(state, claims, counts.healthy_by_node if counts is not None else 0)
    return shares


def _applied(name: str, status: Mapping[str, Any]) -> Write:
    body = {
        "apiVersion": API_VERSION,
        "kind": DRIVER_KIND,
        "metadata": {"name": name},
        "status": status,
    }
    query = {"fieldManager": COMPONENT, "force": "true"}
    return Write("PATCH", _path(name), body, query=query, content_type=_APPLY)


def _corrected(name: str, before: Mapping[str, Any], status: Mapping[str, Any]) -> Write:
    """Make the write that also takes away what somebody else added, which a server-side apply leaves there."""
    patch = {"status": difference(before, status)}
    return Write("PATCH", _path(name), patch, query={"fieldManager": COMPONENT}, content_type=_MERGE)


def _has_more(there: object, wanted: object) -> bool:
    """Tell whether there are fields, at any depth, that are not wanted."""
    if not (isinstance(there, Mapping) and isinstance(wanted, Mapping)):
        return False
    return any(name not in wanted or _has_more(value, wanted[name]) for name, value in there.items())


def _without_numbers(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in _NUMBERS}


def _since(status: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Return since when it is in its state: what was written earlier stays, over a restart of the operator too."""
    now, then = str(status["since"]), before.get("since")
    if before.get("state") != status["state"] or not isinstance(then, str):
        return now
    try:
        return min(now, then, key=parse_rfc3339)
    except ValueError:
        return now


def _key(name: str) -> tuple[str, str]:
    return ("driver", name)


def _path(name: str) -> str:
    return f"/apis/{API_VERSION}/{DRIVERS}/{name}"
