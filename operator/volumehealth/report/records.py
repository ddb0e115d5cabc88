"""A claim's health as a VolumeHealth object, and back: what a restarted operator goes on from."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from volumehealth.errors import ApiError
from volumehealth.kube.bodies import read_body, reason_of
from volumehealth.model.clock import moment_of, rfc3339
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import Change, ClaimHealth, Finding, Identity, Source, Verdict, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.masking import mask
from volumehealth.model.vocabulary import API_VERSION, GROUP, RECORD_KIND
from volumehealth.report.text import fit, listed

log = logging.getLogger(__name__)

POLICY_LABEL = f"{GROUP}/policy"
_FINDINGS = 32
_EPISODES = 64
_MOST_EPISODES = 1_000_000
_PODS = 20
_MESSAGE = 1024
_REASON = 256
_STATUS = 64
_NODE = 253
_TURN = 512
"""Bounds in bytes that keep a record under 256 KiB whatever drivers say, even if each byte is escaped in JSON."""

Told = Callable[[Finding], datetime | None]


def deserves_record(health: ClaimHealth) -> bool:
    """Tell whether a claim has a record: it has a finding, or had one lately (the judge forgets it in time)."""
    return bool(health.findings) or health.recovered is not None


def render(
    health: ClaimHealth, *, claim: Claim, policy: str, pods: Sequence[Pod], told: Told
) -> dict[str, Any]:
    """Write a VolumeHealth as it is to be applied (server-side apply; nobody else owns a field of it).

    Args:
        health: with a finding, or recovered.
        claim: the claim it is of; the record is owned by it.
        policy: the name of the policy that holds the claim.
        pods: those that use it.
        told: when people were first told of a finding.
    """
    owner = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.ref.name, "uid": claim.uid}
    return {
        "apiVersion": API_VERSION,
        "kind": RECORD_KIND,
        "metadata": {
            "name": claim.ref.name,
            "namespace": claim.ref.namespace,
            "labels": {POLICY_LABEL: label_value(policy)},
            "ownerReferences": [owner],
        },
        "status": _status(health, claim, policy, pods, told),
    }


def label_value(name: str) -> str:
    """Fit a policy's name into a label value, which is 63 characters at most."""
    if len(name) <= 63:
        return name
    return f"{name[:46].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _status(
    health: ClaimHealth, claim: Claim, policy: str, pods: Sequence[Pod], told: Told
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
            "findings": [_finding(finding, told(finding)) for finding in health.findings[:_FINDINGS]],
            "episodes": _episodes(health.episodes),
            "pods": names[:_PODS],
            "podSummary": listed(names, len(names), 3),
            "history": [
                {"time": rfc3339(turn.time), "what": fit(turn.what, _TURN)} for turn in health.history
            ],
        }
    )


def _word(health: ClaimHealth) -> str:
    if not health.findings:
        return "Recovered"
    return "Unknown" if health.frozen else "Unhealthy"


def _finding(finding: Finding, told: datetime | None) -> dict[str, object]:
    return _without_empty(
        {
            "via": finding.via,
            **_identity(finding.identity),
            "message": fit(finding.message, _MESSAGE),
            "since": rfc3339(finding.since),
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
        "status": fit(identity.status, _STATUS),
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
    via: Via = Via.OPERATOR
    node: str = ""
    message: str = ""
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


class _StatusIn(msgspec.Struct):
    policy: str = ""
    recovered: str = ""
    findings: tuple[_FindingIn, ...] = ()
    episodes: tuple[_EpisodeIn, ...] = ()
    history: tuple[_TurnIn, ...] = ()


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a record says of a claim."""

    policy: str
    health: ClaimHealth


def resume(claim: ClaimRef, uid: str, status: bytes) -> Resumed | None:
    """Read a record back.

    Args:
        claim: whose record it is, for the log.
        uid: of the claim that owns the record.
        status: its `status`, as JSON.

    Returns:
        None if nobody can go on from it: it was changed by hand, or says nothing.
    """
    try:
        read = read_body(status, _StatusIn, what="the record")
        health = ClaimHealth(
            uid=uid,
            findings=tuple(_read_finding(finding) for finding in read.findings),
            verdict=Verdict.UNHEALTHY if read.findings else Verdict.UNKNOWN,
            episodes={
                Identity(e.source, e.node, e.status, e.reason): min(max(e.count, 0), _MOST_EPISODES)
                for e in read.episodes
            },
            history=tuple(
                Change(when, turn.what) for turn in read.history if (when := moment_of(turn.time)) is not None
            ),
            recovered=moment_of(read.recovered),
        )
    except (ApiError, ValueError) as error:
        log.warning("record cannot be read", extra={"claim": str(claim), "error": reason_of(error)})
        return None
    return Resumed(read.policy, health) if deserves_record(health) else None


def _read_finding(finding: _FindingIn) -> Finding:
    since, confirmed = moment_of(finding.since), moment_of(finding.confirmed)
    since = since or confirmed
    if since is None:
        raise ValueError(f"a finding without a time: {finding.since[:64]!r}")
    return Finding(
        source=finding.source,
        status=finding.status,
        reason=mask(finding.reason),
        message=mask(finding.message),
        since=since,
        confirmed=confirmed or since,
        node=finding.node,
        via=finding.via,
        episode=min(max(finding.episode, 1), _MOST_EPISODES),
        stale=finding.stale,
        clear_since=moment_of(finding.clear_since),
        last_notified_at=moment_of(finding.last_notified_at),
    )
