"""A claim's health as a VolumeHealth object, and back: what a restarted operator goes on from."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import msgspec

from volumehealth.errors import ApiError
from volumehealth.kube.bodies import read_body, reason_of
from volumehealth.model.clock import LATEST, moment_of, rfc3339
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import Change, ClaimHealth, Finding, Identity, Source, Verdict, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.masking import mask
from volumehealth.model.origin import Observer
from volumehealth.model.runbooks import PAGE, runbook
from volumehealth.model.text import STATUS_BYTES
from volumehealth.model.vocabulary import API_VERSION, GROUP, RECORD_KIND
from volumehealth.policy.silence import Silence
from volumehealth.report.outbox import Due, Edge
from volumehealth.report.text import fit, listed
from volumehealth.report.workloads import workloads

log = logging.getLogger(__name__)

POLICY_LABEL = f"{GROUP}/policy"
_CLOSED = "Closed"
_FINDINGS = 256
_FINDINGS_BYTES = 100 * 1024
_EPISODES = 64
_MOST_EPISODES = 1_000_000
_PODS = 20
_PODS_OWED = 10
_WORKLOADS = 10
_MESSAGE = 1024
_DUE_MESSAGE = 256
_REASON = 256
_NODE = 253
_HISTORY = 10
_OWED = 512
_OWED_WHOLE = 16 * 1024
_OWED_BYTES = 64 * 1024
_TURN = 512
"""Bounds in bytes that keep a record under 256 KiB whatever drivers say, even if each byte is escaped in JSON."""

Notified = Callable[[Finding], datetime | None]


def deserves_record(health: ClaimHealth) -> bool:
    """Tell whether a claim has a record: it has a finding, or had one lately (the judge forgets it in time)."""
    return bool(health.findings) or health.recovered is not None


def render(
    health: ClaimHealth,
    *,
    claim: Claim,
    policy: str,
    pods: Sequence[Pod],
    notified: Notified,
    owed: Sequence[Due] = (),
    silence: Silence | None = None,
    runbooks: str = PAGE,
) -> dict[str, Any]:
    """Write a VolumeHealth as it is to be applied (server-side apply; nobody else owns a field of it).

    Args:
        health: with a finding, or recovered.
        claim: the claim it is of; the record is owned by it.
        policy: the name of the policy that holds the claim.
        pods: those that use it.
        notified: when people were last told of a finding.
        owed: what people are still to be told.
        silence: of everything that is wrong with the claim; None if people are to be told of something.
        runbooks: the address of the page of runbooks.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": RECORD_KIND,
        "metadata": {
            "name": claim.ref.name,
            "namespace": claim.ref.namespace,
            "labels": {POLICY_LABEL: label_value(policy)},
            "ownerReferences": [owner_reference(claim)],
        },
        "status": _status(health, claim, policy, pods, notified, owed, silence, runbooks),
    }


def owner_reference(claim: Claim) -> dict[str, str]:
    """Return how a record says that its claim owns it."""
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.ref.name, "uid": claim.uid}


def label_value(name: str) -> str:
    """Fit a policy's name into a label value, which is 63 characters at most."""
    if len(name) <= 63:
        return name
    return f"{name[:46].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _status(
    health: ClaimHealth,
    claim: Claim,
    policy: str,
    pods: Sequence[Pod],
    notified: Notified,
    owed: Sequence[Due],
    silence: Silence | None,
    runbooks: str,
) -> dict[str, object]:
    names = sorted(pod.name for pod in pods if not pod.finished)
    since = min((finding.since for finding in health.findings), default=health.recovered)
    return _without_empty(
        {
            "health": _word(health),
            "since": _time(since),
            "recovered": _time(health.recovered),
            "reason": health.unknown_reason if health.frozen else "",
            "message": fit(health.unknown_message, _MESSAGE) if health.frozen else "",
            "policy": policy,
            "driver": claim.driver,
            "volume": claim.volume,
            "volumeHandle": fit(claim.handle, _MESSAGE),
            "silenced": _silenced(silence) if silence is not None else None,
            "runbook": runbook(health.findings[0].reason, runbooks) if health.findings else None,
            "findings": _findings(health.findings, notified),
            "episodes": _episodes(health.episodes),
            "owed": _owed(owed),
            "pods": names[:_PODS],
            "podSummary": listed(names, len(names), 3),
            "workloads": list(workloads(pods)[:_WORKLOADS]),
            "history": [
                {"time": rfc3339(turn.time), "what": fit(turn.what, _TURN)} for turn in health.history
            ],
        }
    )


def _silenced(silence: Silence) -> dict[str, object]:
    reason = fit(silence.reason, _TURN)
    return _without_empty({"until": rfc3339(silence.until), "by": silence.by, "reason": reason})


def _word(health: ClaimHealth) -> str:
    if not health.findings:
        return _CLOSED if health.closed else "Recovered"
    return "Unknown" if health.frozen else "Unhealthy"


def _owed(dues: Iterable[Due]) -> list[dict[str, object]]:
    """Write what is owed; where that is much, without what it can be told without: the message and which Pods."""
    told: list[dict[str, object]] = []
    size = 0
    for due in islice(dues, _OWED):
        if size > _OWED_WHOLE:
            everybody = due.all_pods or bool(due.pods)
            due = replace(due, pods=(), all_pods=everybody, finding=replace(due.finding, message=""))
        one = _due(due)
        size += len(msgspec.json.encode(one))
        if size > _OWED_BYTES:
            break
        told.append(one)
    return told


def _due(due: Due) -> dict[str, object]:
    finding = due.finding
    return _without_empty(
        {
            "output": due.output,
            "edge": due.edge,
            "time": rfc3339(due.time),
            "claim": due.claim or None,
            "pods": [fit(name, _NODE) for name in due.pods],
            "allPods": due.all_pods or None,
            "remaining": due.remaining or None,
            **_identity(finding.identity),
            "message": fit(finding.message, _DUE_MESSAGE),
            "since": rfc3339(finding.since),
            "named": _time(finding.named),
            "confirmed": rfc3339(finding.confirmed),
            "episode": finding.episode,
            "lastNotifiedAt": _time(finding.last_notified_at),
        }
    )


def _findings(findings: Sequence[Finding], notified: Notified) -> list[dict[str, object]]:
    """Write findings, the worst first, as many as a record has room for."""
    told: list[dict[str, object]] = []
    size = 0
    for finding in findings[:_FINDINGS]:
        one = _finding(finding, notified(finding))
        size += len(msgspec.json.encode(one))
        if size > _FINDINGS_BYTES:
            break
        told.append(one)
    return told


def _finding(finding: Finding, told: datetime | None) -> dict[str, object]:
    return _without_empty(
        {
            "via": finding.via,
            "origins": list(finding.observers),
            **_identity(finding.identity),
            "message": fit(finding.message, _MESSAGE),
            "since": rfc3339(finding.since),
            "named": _time(finding.named),
            "confirmed": rfc3339(finding.confirmed),
            "episode": finding.episode,
            "stale": finding.stale or None,
            "clearSince": _time(finding.clear_since),
            "lastNotifiedAt": _time(told),
        }
    )


def _episodes(episodes: Mapping[Identity, int]) -> list[dict[str, object]]:
    return [
        _without_empty({**_identity(identity), "count": number})
        for identity, number in sorted(episodes.items())[:_EPISODES]
    ]


def _identity(identity: Identity) -> dict[str, object]:
    return {
        "source": identity.source,
        "node": fit(identity.node, _NODE),
        "status": fit(identity.status, STATUS_BYTES),
        "reason": fit(identity.reason, _REASON),
    }


def _without_empty(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in ("", None, [])}


def _time(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None


class _FindingIn(msgspec.Struct, rename="camel"):
    source: Source
    status: str
    reason: str
    since: str
    via: str = Via.OPERATOR.value
    origins: tuple[str, ...] = ()
    node: str = ""
    message: str = ""
    named: str = ""
    confirmed: str = ""
    episode: int = 1
    stale: bool = False
    clear_since: str = ""
    last_notified_at: str = ""


class _EpisodeIn(msgspec.Struct):
    source: Source
    status: str
    reason: str
    count: int
    node: str = ""


class _TurnIn(msgspec.Struct):
    time: str
    what: str


class _DueIn(_FindingIn, rename="camel", kw_only=True):
    output: str
    edge: Edge
    time: str
    claim: bool = False
    pods: tuple[str, ...] = ()
    all_pods: bool = False
    remaining: int = 0


class _StatusIn(msgspec.Struct):
    """Lists are read item by item: one that somebody edited must not cost the others."""

    health: str = ""
    policy: str = ""
    recovered: str = ""
    findings: tuple[msgspec.Raw, ...] = ()
    episodes: tuple[msgspec.Raw, ...] = ()
    history: tuple[msgspec.Raw, ...] = ()
    owed: tuple[msgspec.Raw, ...] = ()


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a record says of a claim, and what people are still to be told."""

    policy: str
    health: ClaimHealth
    owed: tuple[Due, ...] = ()


def resume(claim: ClaimRef, uid: str, status: bytes, *, now: datetime = LATEST) -> Resumed | None:
    """Read a record back. Anybody may have edited it: only what this program could have written is gone on from.

    No time is later than now, no finding is there twice, and there are no more of anything than are written.

    Args:
        claim: whose record it is, for the log.
        uid: of the claim that owns the record.
        status: its `status`, as JSON.
        now: the moment.

    Returns:
        None if nobody can go on from it: it was changed by hand, or says nothing.
    """
    try:
        read = read_body(status, _StatusIn, what="the record")
    except (ApiError, ValueError) as error:
        log.warning("record cannot be read", extra={"claim": str(claim), "error": reason_of(error)})
        return None
    reader = _Reader(claim, uid, now)
    findings = reader.findings(read.findings)
    health = ClaimHealth(
        uid=uid,
        findings=findings,
        verdict=Verdict.UNHEALTHY if findings else Verdict.UNKNOWN,
        episodes=reader.episodes(read.episodes),
        history=reader.history(read.history),
        recovered=None if findings else reader.past(read.recovered),
        closed=not findings and read.health == _CLOSED,
    )
    owed = reader.owed(read.owed, findings)
    return Resumed(read.policy, health, owed) if deserves_record(health) else None


_In = TypeVar("_In")


class _Reader:
    """Reads what a record lists, and leaves out what this program cannot have written."""

    def __init__(self, claim: ClaimRef, uid: str, now: datetime) -> None:
        self._claim = claim
        self._uid = uid
        self._now = now

    def past(self, text: str) -> datetime | None:
        """Read a time; one in the future counts as now."""
        moment = moment_of(text)
        return min(moment, self._now) if moment is not None else None

    def findings(self, items: Iterable[msgspec.Raw]) -> tuple[Finding, ...]:
        """Read findings; of one that is there twice, that which began first."""
        found: dict[Identity, Finding] = {}
        for item in self._read(items, _FindingIn):
            finding = self._finding(item)
            if finding is None:
                continue
            known = found.get(finding.identity)
            if known is None or finding.since < known.since:
                found[finding.identity] = finding
        return tuple(found.values())[:_FINDINGS]

    def episodes(self, items: Iterable[msgspec.Raw]) -> Mapping[Identity, int]:
        """Read how often each finding came about."""
        counted = {
            Identity(item.source, item.node, item.status, mask(item.reason)): min(
                max(item.count, 0), _MOST_EPISODES
            )
            for item in self._read(items, _EpisodeIn)
        }
        return dict(list(counted.items())[:_EPISODES])

    def history(self, items: Iterable[msgspec.Raw]) -> tuple[Change, ...]:
        """Read the last turns."""
        changes = [
            Change(when, fit(mask(item.what), _TURN))
            for item in self._read(items, _TurnIn)
            if (when := self.past(item.time)) is not None
        ]
        return tuple(changes[-_HISTORY:])

    def owed(self, items: Iterable[msgspec.Raw], findings: Sequence[Finding]) -> tuple[Due, ...]:
        """Read what is still to be told: of findings that are over, or that are there."""
        present = {(finding.identity, finding.since) for finding in findings}
        dues = []
        for item in self._read(items, _DueIn):
            finding, when = self._finding(item), self.past(item.time)
            if finding is None or when is None:
                continue
            if item.edge is Edge.ABNORMAL or (finding.identity, finding.since) not in present:
                dues.append(self._due(item, finding, max(when, finding.since)))
        return tuple({due.key: due for due in dues if not due.paid}.values())[:_OWED]

    def _due(self, item: _DueIn, finding: Finding, when: datetime) -> Due:
        pods, remaining = item.pods[:_PODS_OWED], min(max(item.remaining, 0), _FINDINGS)
        return Due(
            item.output, item.edge, self._uid, finding, when, item.claim, pods, item.all_pods, remaining
        )

    def _finding(self, item: _FindingIn) -> Finding | None:
        since = self.past(item.since) or self.past(item.confirmed)
        if (
            since is None
            or not item.status
            or not item.reason
            or (item.source is Source.NODE and not item.node)
        ):
            log.warning("a record's finding is left out", extra={"claim": str(self._claim)})
            return None
        confirmed, cleared = self.past(item.confirmed), self.past(item.clear_since)
        notified = self.past(item.last_notified_at)
        return Finding(
            source=item.source,
            status=fit(item.status, STATUS_BYTES),
            reason=fit(mask(item.reason), _REASON),
            message=fit(mask(item.message), _MESSAGE),
            since=since,
            confirmed=max(confirmed or since, since),
            node=fit(item.node, _NODE),
            via=next((one for one in Via if one.value == item.via), Via.OPERATOR),
            episode=min(max(item.episode, 1), _MOST_EPISODES),
            stale=item.stale,
            named=self._named(item, since),
            clear_since=cleared if cleared is not None and cleared >= since else None,
            last_notified_at=notified if notified is not None and notified >= since else None,
            observers=_observers(item),
        )

    def _named(self, item: _FindingIn, since: datetime) -> datetime | None:
        """Return by which time the episode's Events are named, if the wall clock was set back since."""
        named = moment_of(item.named) or moment_of(item.since)
        return named if named is not None and named > since else None

    def _read(self, items: Iterable[msgspec.Raw], kind: type[_In]) -> Iterator[_In]:
        for item in items:
            try:
                yield read_body(bytes(item), kind, what="a part of the record")
            except (ApiError, ValueError) as error:
                extra = {"claim": str(self._claim), "error": reason_of(error)}
                log.warning("a part of a record is left out", extra=extra)


def _observers(finding: _FindingIn) -> tuple[Observer, ...]:
    """Return whose word a finding is; a record that does not say so means what speaks for its source as a rule."""
    named = tuple(sorted(observer for observer in Observer if observer.value in finding.origins))
    return named or ((Observer.API if finding.source is Source.KUBERNETES else Observer.DRIVER),)
