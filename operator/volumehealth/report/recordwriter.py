"""Keeps the VolumeHealth objects on the server as they should be."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from volumehealth.kube.bodies import UNREADABLE
from volumehealth.kube.writes import Make, OnDone, Outcome, Result, Write, WriteQueue
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import ClaimHealth, Finding
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import API_VERSION, COMPONENT, RECORDS
from volumehealth.report.picture import Picture
from volumehealth.report.priorities import Priority
from volumehealth.report.records import POLICY_LABEL, Resumed, deserves_record, render, resume

_APPLY = "application/apply-patch+yaml"
_HAND_OVER = 15.0
"""Seconds that a claim may belong to no policy before its record is removed: another policy may take it over."""
_HEIR = 2.0
"""Seconds that a deleted policy's records stay: whoever holds its claims now has checked them by then."""
_LATER = 60.0
"""Seconds until a record that had no place (no namespace, no CRD) is tried again."""
_SETTLED = timedelta(seconds=60)
"""After this long a record that the view does not show was deleted by somebody."""


class StoredRecord(Protocol):
    """A VolumeHealth object as the view has it (`cluster`)."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def owner_uid(self) -> str:
        """The uid of the claim that owns it; empty if none does."""

    @property
    def status(self) -> bytes:
        """Its status, as JSON; empty if it has none."""


class Telling(Protocol):
    """What a record says of Events (`events.EventWriter`)."""

    def first_told(self, claim: ClaimRef, uid: str, finding: Finding) -> datetime | None:
        """Say when people were first told of a finding."""

    def unsettled(self, claim: ClaimRef) -> bool:
        """Tell whether the claim's own Event is on its way right now."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a record is made of."""

    policy: str
    claim: Claim
    health: ClaimHealth
    pods: tuple[Pod, ...]

    def is_of(self, policy: str, claim: Claim, health: ClaimHealth, pods: tuple[Pod, ...]) -> bool:
        """Tell whether it is made of these; what stays is the same object, and there may be thousands."""
        return (
            self.health is health and self.claim is claim and self.pods is pods and self.policy == policy
        ) or self == _Wanted(policy, claim, health, pods)


@dataclass(frozen=True, slots=True)
class _Written:
    """What is on the server."""

    digest: bytes
    at: datetime


class RecordWriter:
    """Creates a record with the first finding, keeps it after recovery, deletes it when nobody wants it.

    Args:
        queue: where writes go.
        clock: the time.
        telling: what people were told by Events.
        pods_of: the Pods that use a claim.
    """

    def __init__(
        self,
        queue: WriteQueue,
        *,
        clock: Clock,
        telling: Telling,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._telling = telling
        self._pods_of = pods_of
        self._wanted: dict[ClaimRef, _Wanted] = {}
        self._holders: dict[ClaimRef, str] = {}
        self._written: dict[ClaimRef, _Written] = {}
        self._held: set[ClaimRef] = set()

    def __len__(self) -> int:
        """Return how many records there should be."""
        return len(self._wanted)

    def learn(self, records: Mapping[ClaimRef, StoredRecord]) -> dict[ClaimRef, Resumed]:
        """At start: see what is on the server, and return what can be gone on from."""
        resumed = {}
        for ref, record in records.items():
            read = resume(ref, record.owner_uid, record.status)
            if read is not None:
                resumed[ref] = read
                self._holders[ref] = read.policy
            digest = _digest(record.labels.get(POLICY_LABEL, ""), record.owner_uid, _as_it_is(record.status))
            self._written[ref] = _Written(digest, self._clock.now())
        return resumed

    def keep(self, picture: Picture) -> Iterator[None]:
        """After a check of a policy: write what differs, remove what is over; yields where others may have a turn."""
        if picture.judgement is None:
            return
        policy, healths = picture.policy.name, picture.judgement.healths
        for ref, health in healths.items():
            claim = picture.claims.get(ref)
            if claim is not None and claim.uid == health.uid and deserves_record(health):
                pods, known = tuple(self._pods_of(ref)), self._wanted.get(ref)
                if known is None or not known.is_of(policy, claim, health, pods):
                    self._wanted[ref] = _Wanted(policy, claim, health, pods)
                    self._holders[ref] = policy
                    self._write(ref)
                elif ref in self._held or ref not in self._written:
                    self._write(ref)
            elif self._holders.get(ref) == policy:
                self._remove(ref, 0)
            yield
        for ref in [ref for ref, holder in self._holders.items() if holder == policy and ref not in healths]:
            self._remove(ref, _HAND_OVER if ref in picture.claims else 0)

    def told(self, claim: ClaimRef) -> None:
        """The claim's Event was written: write the record that waited for it."""
        if claim in self._wanted:
            self._write(claim)

    def forget(self, policy: str) -> None:
        """A policy is gone: remove its records, unless another one takes over their claims in this moment."""
        for ref in [ref for ref, holder in self._holders.items() if holder == policy]:
            self._remove(ref, _HEIR)

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policies: Collection[str]) -> None:
        """Compare with what is on the server, once all policies are known.

        Records of policies that are gone are removed; wanted ones that somebody deleted are written again.
        """
        for ref in [ref for ref, holder in self._holders.items() if holder not in policies]:
            self._remove(ref, 0)
        for ref in records.keys() - self._holders.keys():
            if _key(ref) not in self._queue:
                self._remove(ref, 0)
        now = self._clock.now()
        for ref in self._wanted.keys() - records.keys():
            written = self._written.get(ref)
            if written is not None and now - written.at > _SETTLED:
                del self._written[ref]
                self._write(ref)

    def _write(self, ref: ClaimRef) -> None:
        if self._telling.unsettled(ref):
            self._held.add(ref)
            return
        self._held.discard(ref)
        written = self._written.get(ref)
        if written is not None and written.digest == _digest_of(self._render(self._wanted[ref])):
            self._queue.discard(_key(ref))
            return
        self._apply(ref, 0)

    def _apply(self, ref: ClaimRef, delay: float) -> None:
        sent = b""

        def make() -> Write | None:
            nonlocal sent
            wanted = self._wanted.get(ref)
            if wanted is None:
                return None
            body = self._render(wanted)
            sent = _digest_of(body)
            query = {"fieldManager": COMPONENT, "force": "true"}
            return Write("PATCH", _path(ref), body, query=query, content_type=_APPLY)

        def done(outcome: Outcome) -> None:
            if outcome.result is Result.NOT_FOUND:
                self._apply(ref, _LATER)
            elif outcome.result is Result.DONE:
                self._written[ref] = _Written(sent, self._clock.now())

        self._put(ref, make, done, policy=self._holders.get(ref, ""), delay=delay)

    def _put(self, ref: ClaimRef, make: Make, done: OnDone, *, policy: str, delay: float) -> None:
        self._queue.put(
            _key(ref), make, kind="record", priority=Priority.RECORD, flow=policy, on_done=done, delay=delay
        )

    def _remove(self, ref: ClaimRef, delay: float) -> None:
        self._wanted.pop(ref, None)
        policy = self._holders.pop(ref, "")
        self._held.discard(ref)

        def make() -> Write | None:
            return Write("DELETE", _path(ref)) if ref not in self._wanted else None

        def done(outcome: Outcome) -> None:
            if outcome.result in (Result.DONE, Result.NOT_FOUND):
                self._written.pop(ref, None)

        self._put(ref, make, done, policy=policy, delay=delay)

    def _render(self, wanted: _Wanted) -> dict[str, Any]:
        ref, uid = wanted.claim.ref, wanted.claim.uid
        return render(
            wanted.health,
            claim=wanted.claim,
            policy=wanted.policy,
            pods=wanted.pods,
            told=lambda finding: self._telling.first_told(ref, uid, finding),
        )


def _key(ref: ClaimRef) -> tuple[str, ClaimRef]:
    return ("record", ref)


def _path(ref: ClaimRef) -> str:
    return f"/apis/{API_VERSION}/namespaces/{ref.namespace}/{RECORDS}/{ref.name}"


def _digest_of(record: Mapping[str, Any]) -> bytes:
    metadata = record["metadata"]
    owner = metadata["ownerReferences"][0]["uid"]
    return _digest(metadata["labels"][POLICY_LABEL], owner, record["status"])


def _digest(policy: str, owner: str, status: object) -> bytes:
    """Reduce what we own of a record to a few bytes; equal for what we applied and what the server gives back."""
    encoded = msgspec.json.encode([policy, owner, status], order="sorted")
    return hashlib.blake2b(encoded, digest_size=12).digest()


def _as_it_is(status: bytes) -> object:
    """Decode a record's status; what cannot be decoded equals nothing that is wanted, and is written anew."""
    try:
        return msgspec.json.decode(status) if status else {}
    except UNREADABLE:
        return None
