"""Keeps the VolumeHealth objects on the server as they should be.

Level-triggered by content: each check compares what a record should say with what the view shows, whoever wrote it
last, and writes what differs. What the server answers is compared, too: fields that somebody else added stay there
after a server-side apply, and are removed by a patch of their own.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from volumehealth.judge.result import CheckResult
from volumehealth.kube.bodies import UNREADABLE, version_number
from volumehealth.kube.writes import Make, OnDone, Outcome, Result, Write, WriteQueue
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import ClaimHealth, Finding
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import HAND_OVER_SECONDS, Policy
from volumehealth.model.runbooks import PAGE
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import API_VERSION, COMPONENT, RECORDS
from volumehealth.policy.silence import Silence
from volumehealth.report.agenda import Agenda
from volumehealth.report.merge import difference
from volumehealth.report.outbox import Fact, Outbox, StoredRecord
from volumehealth.report.output import Output
from volumehealth.report.priorities import Priority
from volumehealth.report.records import (
    POLICY_LABEL,
    Resumed,
    deserves_record,
    owner_reference,
    render,
    resume,
)

log = logging.getLogger(__name__)

OUTPUT = "Records"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
KIND = "record"
_NEW_OWNER = 2.0
"""Seconds that a deleted policy's records stay: the policy that holds its claims now has checked them by then."""
_LAG = 5.0
"""Seconds after which the view should show what was written: what it shows instead was written, or deleted, by others."""


@dataclass(eq=False, slots=True)
class _Wanted:
    """What a record is made of, and the digest of what it should say."""

    policy: str
    claim: Claim
    health: ClaimHealth
    pods: tuple[Pod, ...]
    version: int
    silence: Silence | None = None
    digest: bytes = b""

    def is_of(
        self,
        policy: str,
        claim: Claim,
        health: ClaimHealth,
        pods: tuple[Pod, ...],
        version: int,
        silence: Silence | None,
    ) -> bool:
        """Tell whether it is made of these; what stays is the same object, and there may be thousands."""
        if self.policy != policy or self.version != version or self.silence != silence:
            return False
        same = self.health is health and self.claim is claim and self.pods is pods
        return same or (self.health == health and self.claim == claim and self.pods == pods)


@dataclass(eq=False, slots=True)
class _Written:
    """What the server answered to the last write; `seen` once the view has shown it, or something newer."""

    digest: bytes
    version: int
    at: float
    seen: bool = False


class RecordWriter(Output):
    """Creates a record with the first finding, keeps it after recovery, deletes it when it is over.

    Args:
        queue: where writes go.
        clock: the time.
        outbox: what is owed; it waits for records.
        notified: when people were last told of a finding (`EventWriter.last_notified`).
        pods_of: the Pods that use a claim.
        owner_of: the name of the policy that owns a claim now; None if none does, or it is not known.
        on_error: told the output's name when one record could not be handled.
        runbooks: the address of the page of runbooks.
    """

    name = OUTPUT

    def __init__(
        self,
        queue: WriteQueue,
        *,
        clock: Clock,
        outbox: Outbox,
        notified: Callable[[ClaimRef, str, Finding], datetime | None],
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        owner_of: Callable[[ClaimRef], str | None] = lambda _: None,
        on_error: Callable[[str], None] = lambda _: None,
        runbooks: str = PAGE,
    ) -> None:
        self._runbooks = runbooks
        self._queue = queue
        self._clock = clock
        self._outbox = outbox
        self._notified = notified
        self._pods_of = pods_of
        self._owner_of = owner_of
        self._on_error = on_error
        self._records: Mapping[ClaimRef, StoredRecord] | None = None
        self._shown: dict[ClaimRef, tuple[StoredRecord, bytes]] = {}
        self._wanted: dict[ClaimRef, _Wanted] = {}
        self._holders: dict[ClaimRef, str] = {}
        self._written: dict[ClaimRef, _Written] = {}
        self._removing: set[ClaimRef] = set()
        self._receipts: set[ClaimRef] = set()
        self._failed: set[ClaimRef] = set()
        self._recordless: frozenset[ClaimRef] = frozenset()
        self._agenda = Agenda()
        outbox.on_receipt(self._delivered)

    def __len__(self) -> int:
        """Return how many records there should be."""
        return len(self._wanted)

    def learn(self, records: Mapping[ClaimRef, StoredRecord]) -> Steps[dict[ClaimRef, Resumed]]:
        """At start: see what is on the server, and return what can be gone on from.

        `records` may be a live view: later checks compare with what it shows then.
        """
        self._records = records
        resumed = {}
        for ref, record in list(records.items()):
            read = self._resume(ref, record)
            if read is not None:
                resumed[ref] = read
                self._hold(ref, read.policy)
                self._outbox.restore(ref, read.owed)
            yield
        return resumed

    def publish(self, result: CheckResult) -> Iterator[None]:
        """After a check of a policy: write what differs, remove what is over; yields where others may have a turn."""
        if result.judgement is None:
            return
        policy, healths, silenced = result.policy.name, result.judgement.healths, result.silenced
        self._agenda.add(policy, silenced)
        for ref in self._agenda.of(policy, healths):
            try:
                self._look_at(ref, healths.get(ref), result, policy, silenced.get(ref))
            except Exception:  # noqa: BLE001 - one object must not end the process
                self._report_error(ref)
            yield

    def look_again(self, claims: Collection[ClaimRef] | None) -> None:
        """Compare the records of these claims again; None means all."""
        self._agenda.look_again(claims)

    def take_receipts(self) -> Steps[None]:
        """Write into the records what was delivered since, a record in each step."""
        while self._receipts:
            ref = self._receipts.pop()
            wanted = self._wanted.get(ref)
            if wanted is None:
                continue
            version = self._outbox.version(ref)
            self._wanted[ref] = replace(wanted, version=version, digest=b"")
            try:
                self._compare(ref, trusted=True)
            except Exception:  # noqa: BLE001 - one object must not end the process
                self._report_error(ref)
            yield

    @property
    def has_receipts(self) -> bool:
        """Whether something was delivered that a record does not say yet."""
        return bool(self._receipts)

    def forget(self, policy: Policy) -> Steps[None]:
        """A policy is gone: remove its records, unless another one takes over their claims in this moment."""
        self._agenda.forget(policy.name)
        for ref in [ref for ref, holder in self._holders.items() if holder == policy.name]:
            if self._holders.get(ref) == policy.name:
                self._remove(ref, policy.name, _NEW_OWNER, left=True)
            yield

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policies: Collection[str]) -> None:
        """Once all policies are known: remove records of policies that are gone, and those that nobody wants."""
        self._records = records
        for ref in [ref for ref, holder in self._holders.items() if holder not in policies]:
            self._agenda.forget(self._holders[ref])
            self._remove(ref, self._holders[ref], 0)
        for ref in records.keys() - self._holders.keys():
            if _key(ref) not in self._queue:
                self._remove(ref, "", 0)
        # What was found of a claim in this moment has no record yet; by the next sweep it has, or its claim is gone.
        recordless = frozenset(
            ref
            for ref in self._outbox.claims
            if ref not in records and ref not in self._holders and _key(ref) not in self._queue
        )
        for ref in recordless & self._recordless:
            self._outbox.forget(ref)
        self._recordless = recordless

    # ---- one record ----

    def _resume(self, ref: ClaimRef, record: StoredRecord) -> Resumed | None:
        try:
            return resume(ref, record.owner_uid, record.status, now=self._clock.now())
        except Exception:  # noqa: BLE001 - one object must not end the process
            self._report_error(ref)
            return None

    def _delivered(self, ref: ClaimRef) -> None:
        self._receipts.add(ref)
        self._agenda.look_again((ref,))

    def _hold(self, ref: ClaimRef, policy: str) -> None:
        """A record goes to a policy, which looks at it in its next check, whatever that finds."""
        self._holders[ref] = policy
        self._agenda.add(policy, (ref,))

    def _look_at(
        self,
        ref: ClaimRef,
        health: ClaimHealth | None,
        result: CheckResult,
        policy: str,
        silence: Silence | None,
    ) -> None:
        if health is not None:
            self._keep_one(ref, health, result, policy, silence)
        elif self._holders.get(ref) == policy:
            self._let_go(ref, policy, gone=ref not in result.claims)
        if health is None or not deserves_record(health) or self._is_settled(ref):
            self._agenda.settle(policy, ref)

    def _is_settled(self, ref: ClaimRef) -> bool:
        """Tell whether the view shows the record as it should be, and nothing that it says is about to change."""
        wanted, written = self._wanted.get(ref), self._written.get(ref)
        row = self._records.get(ref) if self._records is not None else None
        return (
            wanted is not None
            and row is not None
            and (written is None or row.version >= written.version)
            and self._digest_shown(ref, row) == wanted.digest
            # no silence ends
            and wanted.silence is None
            # nothing is still to be told
            and not self._outbox.owed(ref)
            # no write is on its way
            and ref not in self._removing
            and _key(ref) not in self._queue
        )

    def _keep_one(
        self, ref: ClaimRef, health: ClaimHealth, result: CheckResult, policy: str, silence: Silence | None
    ) -> None:
        claim = result.claims.get(ref)
        if claim is not None and claim.uid == health.uid and deserves_record(health):
            self._outbox.made_anew(ref, claim.uid)
            pods, version, known = tuple(self._pods_of(ref)), self._outbox.version(ref), self._wanted.get(ref)
            if known is None or not known.is_of(policy, claim, health, pods, version, silence):
                self._wanted[ref] = _Wanted(policy, claim, health, pods, version, silence)
                self._holders[ref] = policy
            self._receipts.discard(ref)
            self._compare(ref, trusted=not result.view.stale)
        elif self._holders.get(ref) == policy:
            self._remove(ref, policy, 0)

    def _let_go(self, ref: ClaimRef, policy: str, *, gone: bool) -> None:
        """The policy holds a claim no more: its record goes with it to the next policy, or is over."""
        owner = self._owner_of(ref)
        if not gone and owner is not None and owner != policy:
            self._hold(ref, owner)
        elif gone or owner == policy:
            self._remove(ref, policy, 0)
        else:
            self._remove(ref, policy, HAND_OVER_SECONDS, left=True)

    def _compare(self, ref: ClaimRef, *, trusted: bool) -> None:
        """Write a record if the server has another one; otherwise its turns may be told."""
        wanted = self._wanted[ref]
        if not wanted.digest:
            wanted.digest = _digest_of(self._render(wanted))
        if not self._differs(ref, wanted.digest, trusted=trusted):
            if ref in self._removing:
                self._queue.discard(_key(ref))
            self._outbox.recorded(ref, self._outbox.waiting(ref, wanted.health))
        elif ref in self._removing or not (_key(ref) in self._queue or self._queue.waits(_key(ref))):
            self._apply(ref)  # what was not taken lately is compared again by a later check

    def _differs(self, ref: ClaimRef, digest: bytes, *, trusted: bool) -> bool:
        """Tell whether the server has something else than is wanted, by the newest that is known of it."""
        written, row = self._written.get(ref), self._records.get(ref) if self._records is not None else None
        if row is None and written is None:
            return True
        if row is not None and (written is None or row.version >= written.version):
            if written is not None:
                written.seen = True
            return self._digest_shown(ref, row) != digest
        if written is None or self._records is None or not trusted:
            return written is None or written.digest != digest
        if row is None and written.seen:
            return True
        late = self._clock.monotonic() - written.at > _LAG
        return late or written.digest != digest

    def _digest_shown(self, ref: ClaimRef, row: StoredRecord) -> bytes:
        known = self._shown.get(ref)
        if known is None or known[0] is not row:
            owner = "" if row.other_owners else row.owner_uid
            digest = _digest(row.labels.get(POLICY_LABEL, ""), owner, _decoded(row.status))
            known = self._shown[ref] = (row, digest)
        return known[1]

    def _apply(self, ref: ClaimRef) -> None:
        sent = b""
        facts: frozenset[Fact] = frozenset()

        def make() -> Write | None:
            nonlocal sent, facts
            wanted = self._wanted.get(ref)
            if wanted is None:
                return None
            body = self._render(wanted)
            sent, facts = _digest_of(body), self._outbox.waiting(ref, wanted.health)
            query = {"fieldManager": COMPONENT, "force": "true"}
            return Write("PATCH", _path(ref), body, query=query, content_type=_APPLY)

        def done(outcome: Outcome) -> None:
            if outcome.result is Result.DONE:
                there = self._note(ref, outcome.body)
                self._outbox.recorded(ref, facts)
                if there.digest != sent:
                    self._repair(ref, there)
            else:
                self._not_written(ref, outcome)

        self._removing.discard(ref)
        self._put(ref, make, done, policy=self._holders.get(ref, ""))

    def _repair(self, ref: ClaimRef, there: "_Answer") -> None:
        """Take away what others added, which a server-side apply leaves there."""
        sent = b""

        def make() -> Write | None:
            nonlocal sent
            wanted = self._wanted.get(ref)
            if wanted is None:
                return None
            body = self._render(wanted)
            sent = _digest_of(body)
            patch = {
                "metadata": {"ownerReferences": [owner_reference(wanted.claim)]},
                "status": difference(there.status, body["status"]),
            }
            return Write("PATCH", _path(ref), patch, query={"fieldManager": COMPONENT}, content_type=_MERGE)

        def done(outcome: Outcome) -> None:
            if outcome.result is not Result.DONE:
                self._not_written(ref, outcome)
            elif self._note(ref, outcome.body).digest != sent:
                self._queue.back_off(_key(ref), kind=KIND)  # somebody changes it as often as we do

        self._put(ref, make, done, policy=self._holders.get(ref, ""))

    def _note(self, ref: ClaimRef, body: bytes) -> "_Answer":
        """Remember what the server has now."""
        there = _Answer.read(body)
        self._written[ref] = _Written(there.digest, there.version, self._clock.monotonic())
        return there

    def _not_written(self, ref: ClaimRef, outcome: Outcome) -> None:
        if outcome.result in (Result.CONFLICT, Result.NOT_FOUND, Result.GONE):
            self._queue.back_off(_key(ref), kind=KIND)
        # After a conflict it is written again; its turns wait for that as long as the outbox has patience.
        if outcome.result not in (Result.CONFLICT, Result.REPLACED, Result.DROPPED):
            self._outbox.unrecordable(ref)

    def _put(self, ref: ClaimRef, make: Make, done: OnDone, *, policy: str, delay: float = 0.0) -> None:
        self._queue.put(
            _key(ref), make, kind=KIND, priority=Priority.RECORD, flow=policy, on_done=done, delay=delay
        )

    def _remove(self, ref: ClaimRef, policy: str, delay: float, *, left: bool = False) -> None:
        """Delete a record, unless another policy owns its claim when the time has come.

        Args:
            ref: of the record.
            policy: the name of the one that it is of; empty if that is not known.
            delay: seconds until then.
            left: whether the claim left that policy: then it may be back, or one that was made anew has that name.
        """
        self._wanted.pop(ref, None)
        self._holders.pop(ref, None)
        self._failed.discard(ref)
        self._agenda.look_again((ref,))

        def make() -> Write | None:
            if ref in self._wanted:
                return None
            owner = self._owner_of(ref)
            if owner is not None and policy and (left or owner != policy):
                self._hold(ref, owner)
                return None
            return Write("DELETE", _path(ref))

        def done(outcome: Outcome) -> None:
            if outcome.result is not Result.REPLACED:
                self._removing.discard(ref)
            if outcome.result in (Result.DONE, Result.NOT_FOUND):
                self._written.pop(ref, None)
                self._shown.pop(ref, None)
                if ref not in self._wanted:
                    self._outbox.forget(ref)

        self._put(ref, make, done, policy=policy, delay=delay)
        self._removing.add(ref)

    def _render(self, wanted: _Wanted) -> dict[str, Any]:
        ref, uid = wanted.claim.ref, wanted.claim.uid
        return render(
            wanted.health,
            claim=wanted.claim,
            policy=wanted.policy,
            pods=wanted.pods,
            notified=lambda finding: self._notified(ref, uid, finding),
            owed=self._outbox.owed(ref),
            silence=wanted.silence,
            runbooks=self._runbooks,
        )

    def _report_error(self, ref: ClaimRef) -> None:
        """An error costs one record only: it is logged once and counted."""
        self._on_error(OUTPUT)
        if ref not in self._failed:
            self._failed.add(ref)
            log.exception("a record cannot be handled", extra={"claim": str(ref)})


class _OwnerIn(msgspec.Struct):
    uid: str = ""


class _MetaIn(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    labels: dict[str, str] = {}
    owner_references: list[_OwnerIn] = []


class _RecordIn(msgspec.Struct):
    metadata: _MetaIn = msgspec.field(default_factory=_MetaIn)
    status: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class _Answer:
    """A record as the server answered that it has it."""

    version: int
    digest: bytes
    status: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes) -> "_Answer":
        """Read the answer to a write; what cannot be read is compared again once the view shows it."""
        try:
            there = msgspec.json.decode(body, type=_RecordIn)
        except UNREADABLE:
            return cls(0, b"", {})
        owners = [owner.uid for owner in there.metadata.owner_references]
        owner = owners[0] if len(owners) == 1 else ""
        digest = _digest(there.metadata.labels.get(POLICY_LABEL, ""), owner, there.status)
        return cls(version_number(there.metadata.resource_version), digest, there.status)


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


def _decoded(status: bytes) -> object:
    """Decode a record's status; what cannot be decoded equals nothing that is wanted, and is written anew."""
    try:
        return msgspec.json.decode(status) if status else {}
    except UNREADABLE:
        return None
