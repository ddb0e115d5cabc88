"""What is seen from outside while a run goes on: every write that took effect, with its time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from simulation.history import History
from simulation.loop import SimLoop
from simulation.objects import Json, Kind
from volumehealth.model.health import SourceState
from volumehealth.model.report import VolumeHealthReport
from volumehealth.model.report_json import decode_report


@dataclass(frozen=True, slots=True)
class Told:
    """An Event object that came to be.

    Attributes:
        at: virtual seconds.
        about: uid of the object that it is about.
        reason: of the Event.
        name: of the Event.
        message: of the Event.
        again: an Event of that name was there before.
    """

    at: float
    about: str
    reason: str
    name: str
    message: str
    again: bool


@dataclass(frozen=True, slots=True)
class RecordState:
    """What a claim's record said from a moment on; `status` is None while there is no record.

    `claim` is the uid of the claim that owns the record, or owned it.
    """

    at: float
    status: Json | None
    by: str
    claim: str


@dataclass(frozen=True, slots=True)
class StatusState:
    """What a policy's status said from a moment on."""

    at: float
    policy: str
    status: Json


@dataclass(frozen=True, slots=True)
class ReportState:
    """What a node's report said from a moment on; `report` is None while there is none."""

    at: float
    report: VolumeHealthReport | None


class Request(NamedTuple):
    """A write as it arrived at the API server, and the HTTP status of the answer."""

    user: str
    method: str
    path: str
    query: dict[str, str]
    form: str
    body: str
    status: int


@dataclass(slots=True)
class Observer:
    """Keeps what the invariants need.

    Attributes:
        statuses: of policies, as the operator wrote them.
        shown: by policy what its status said from each moment on, whoever wrote it.
    """

    history: History
    loop: SimLoop
    told: list[Told] = field(default_factory=list)
    records: dict[tuple[str, str], list[RecordState]] = field(default_factory=dict)
    statuses: list[StatusState] = field(default_factory=list)
    shown: dict[str, list[StatusState]] = field(default_factory=dict)
    event_writes: dict[tuple[str, str], float] = field(default_factory=dict)
    writes: list[tuple[float, str, str, str, Json | None, Json | None]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    reports: dict[str, list[ReportState]] = field(default_factory=dict)
    renewals: dict[str, list[float]] = field(default_factory=dict)
    _names: set[tuple[str, str]] = field(default_factory=set)

    def answered(
        self,
        user: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        headers: Mapping[str, str],
        status: int,
    ) -> None:
        """A write was answered (`ApiServer.answered`)."""
        form, text = headers.get("Content-Type", ""), (body or b"").decode()
        self.requests.append(Request(user, method, path, dict(query), form, text, status))

    def written(self, user: str, method: str, kind: Kind, old: Json | None, new: Json | None) -> None:
        """A write took effect (`ApiServer.on_write`)."""
        now = self.loop.time()
        self.writes.append((now, user, kind.plural, method, old, new))
        shown = new or old or {}
        key = (shown["metadata"].get("namespace", ""), shown["metadata"]["name"])
        match kind.plural:
            case "events":
                self._event(now, key, old, new)
            case "volumehealths":
                status = new.get("status", {}) if new is not None else None
                owners = shown["metadata"].get("ownerReferences") or [{"uid": ""}]
                self.records.setdefault(key, []).append(RecordState(now, status, user, owners[0]["uid"]))
            case "volumehealthreports":
                report = decode_report(key[1], new.get("status")) if new is not None else None
                self.reports.setdefault(key[1], []).append(ReportState(now, report))
                self._reach(report)
            case "leases" if new is not None:
                self.renewals.setdefault(key[1], []).append(now)
            case "volumehealthpolicies":
                state = StatusState(now, key[1], new.get("status", {}) if new is not None else {})
                self.shown.setdefault(key[1], []).append(state)
                if user != "admin" and "summary" in state.status:
                    self.statuses.append(state)

    def _reach(self, report: VolumeHealthReport | None) -> None:
        """Count what reports say of plugins that do not answer."""
        for driver in report.drivers if report is not None else ():
            if driver.state is not SourceState.ANSWERING:
                self.history.reach(f"a report says that a plugin is {driver.state}")
        for silent in report.silent if report is not None else ():
            self.history.reach(f"a report says that a plugin is silent: {silent.reason}")

    def _event(self, now: float, key: tuple[str, str], old: Json | None, new: Json | None) -> None:
        if new is None:
            self.event_writes.pop(key, None)
            return
        self.event_writes[key] = now
        if old is None:
            about = new["involvedObject"]
            told = Told(now, about.get("uid", ""), new["reason"], key[1], new["message"], key in self._names)
            self._names.add(key)
            self.told.append(told)
            self.history.note(
                "api", f"EVENT {new['reason']} on {about['kind']} {about['name']}: {new['message']}"
            )
