"""What is still to be told, kept until it was told: the outbox whose durable copy is each claim's record.

The record comes first, then the word. A turn (a finding came or went) is told only once the record on the server
shows it; what is owed because of it stands in the record until an output's receipt says that it was delivered. So an
operator that is killed between any two writes loses nothing, and repeats nothing: names and ids follow from the
episode, and the episode is in the record.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import Clock, rfc3339
from volumehealth.model.health import ClaimHealth, Finding, Identity, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Steps

PATIENCE = 10.0
"""Seconds after which a turn whose record cannot be written is told all the same: people come before bookkeeping."""
CALM = 90.0
"""Seconds for which the API server must have taken what is no record before that holds. After an outage the record, too, is
tried again within 36 s, and then the word follows it; an operator that ended in between would tell nobody the end."""


class Edge(StrEnum):
    """Which end of an episode."""

    ABNORMAL = "Abnormal"
    NORMAL = "Normal"


class Episode(NamedTuple):
    """One time that a finding came and went. Two episodes of a finding differ in `since`, whatever is remembered."""

    uid: str
    identity: Identity
    number: int
    since: str

    @property
    def text(self) -> str:
        """The finding and its episode, for names and ids."""
        return "|".join((*self.identity, str(self.number), self.since))


def episode_of(uid: str, finding: Finding) -> Episode:
    """Return the episode of a finding on the claim with this uid."""
    return Episode(uid, finding.identity, finding.episode, rfc3339(finding.named or finding.since))


@dataclass(frozen=True, slots=True)
class Due:
    """What one output still owes about one end of one episode.

    Attributes:
        output: which output.
        edge: which end.
        uid: of the claim.
        finding: as it was then.
        time: when it happened.
        claim: whether the claim itself is still to be told.
        pods: names of the Pods that are still to be told.
        all_pods: whether every Pod that uses the claim is still to be told, because there are too many to name.
        remaining: how many other findings the claim had left.
    """

    output: str
    edge: Edge
    uid: str
    finding: Finding
    time: datetime
    claim: bool = True
    pods: tuple[str, ...] = ()
    all_pods: bool = False
    remaining: int = 0

    @property
    def key(self) -> tuple[str, Edge, Episode]:
        """What makes another due the same."""
        return self.output, self.edge, episode_of(self.uid, self.finding)

    @property
    def paid(self) -> bool:
        """Whether nothing is left to tell."""
        return not (self.claim or self.pods or self.all_pods)


class StoredRecord(Protocol):
    """A VolumeHealth object as the view has it (`cluster`)."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def owner_uid(self) -> str:
        """The uid of the claim that owns it; empty if none does."""

    @property
    def other_owners(self) -> bool:
        """Whether others own it, too."""

    @property
    def status(self) -> bytes:
        """Its status, as JSON; empty if it has none."""

    @property
    def version(self) -> int:
        """Its resourceVersion; 0 if that is not known."""


class Debtor(Protocol):
    """An output whose words must not be lost."""

    def dues(self, result: CheckResult, /) -> Iterable[tuple[ClaimRef, Due]]:
        """Return what the turns of a check oblige it to tell."""


class Fact(NamedTuple):
    """A turn that the record has to show before it is told."""

    edge: Edge
    episode: Episode


class Outbox:
    """Keeps dues by claim. One for the process.

    Args:
        clock: time.
        calm: seconds for which no write of anything else had to be tried again.

    Attributes:
        receipt: set when something was delivered.
    """

    def __init__(self, *, clock: Clock, calm: Callable[[], float] = lambda: math.inf) -> None:
        self._clock = clock
        self._calm = calm
        self._debtors: list[Debtor] = []
        self._listeners: list[Callable[[ClaimRef], None]] = []
        self._on_receipt: Callable[[ClaimRef], None] = lambda _: None
        self._dues: dict[ClaimRef, dict[tuple[str, Edge, Episode], Due]] = {}
        self._unrecorded: dict[ClaimRef, dict[Fact, float]] = {}
        self._versions: dict[ClaimRef, int] = {}
        self.receipt = asyncio.Event()

    def join(self, debtor: Debtor, on_recorded: Callable[[ClaimRef], None]) -> None:
        """Let an output owe; it is called when turns of a claim are in its record, so that it may tell them."""
        self._debtors.append(debtor)
        self._listeners.append(on_recorded)

    def on_receipt(self, callback: Callable[[ClaimRef], None]) -> None:
        """Have a function called when something of a claim was delivered, which its record should say."""
        self._on_receipt = callback

    # ---- turns ----

    def enter(self, result: CheckResult) -> Steps[None]:
        """Take the turns of a check, before any output is given it; to take them once more changes nothing."""
        now = self._clock.monotonic()
        for turn in result.transitions:
            if turn.kind is TransitionKind.CLOSED:
                continue  # nobody is told
            edge = Edge.ABNORMAL if turn.kind is TransitionKind.FOUND else Edge.NORMAL
            facts = self._unrecorded.setdefault(turn.claim, {})
            facts.setdefault(Fact(edge, episode_of(turn.uid, turn.finding)), now)
            yield
        for debtor in self._debtors:
            for ref, due in debtor.dues(result):
                self._dues.setdefault(ref, {})[due.key] = due
                self._bump(ref)
                yield

    def restore(self, ref: ClaimRef, dues: Iterable[Due]) -> None:
        """Take what an earlier process still owed, as a record says."""
        for due in dues:
            self._dues.setdefault(ref, {})[due.key] = due

    @property
    def claims(self) -> Collection[ClaimRef]:
        """The claims of which anything is remembered."""
        return self._dues.keys() | self._unrecorded.keys() | self._versions.keys()

    def forget(self, ref: ClaimRef) -> None:
        """Nothing is owed about a claim any more."""
        self._dues.pop(ref, None)
        self._unrecorded.pop(ref, None)
        self._versions.pop(ref, None)

    def made_anew(self, ref: ClaimRef, uid: str) -> None:
        """The claim with this uid has the name now: nothing is owed any more about one that had it before."""
        if ref in self._dues:
            for due in [due for due in self.owed(ref) if due.uid != uid]:
                self.cancel(ref, due)

    # ---- the record ----

    def version(self, ref: ClaimRef) -> int:
        """Return a number that changes with what the record should say of dues and deliveries."""
        return self._versions.get(ref, 0)

    def owed(self, ref: ClaimRef) -> tuple[Due, ...]:
        """Return what is owed about a claim, in the order in which it came."""
        return tuple(self._dues.get(ref, {}).values())

    def waiting(self, ref: ClaimRef, health: ClaimHealth) -> frozenset[Fact]:
        """Return the turns that wait for the record and that a record of this health shows.

        One that shows the end of an episode shows that it began.
        """
        facts = self._unrecorded.get(ref)
        if not facts:
            return frozenset()
        present = {episode_of(health.uid, finding) for finding in health.findings}
        over = {fact.episode for fact in facts if fact.edge is Edge.NORMAL} - present
        return frozenset(
            fact
            for fact in facts
            if fact.episode in over or (fact.edge is Edge.ABNORMAL and fact.episode in present)
        )

    def recorded(self, ref: ClaimRef, facts: frozenset[Fact]) -> None:
        """The record on the server shows these turns now."""
        waiting = self._unrecorded.get(ref)
        if not waiting or not facts:
            return
        for fact in facts:
            waiting.pop(fact, None)
        if not waiting:
            del self._unrecorded[ref]
        self._call(ref)

    def unrecordable(self, ref: ClaimRef) -> None:
        """The record cannot be written: its turns are told all the same."""
        if self._unrecorded.pop(ref, None):
            self._call(ref)

    def may_tell(self, ref: ClaimRef, edge: Edge, episode: Episode) -> bool:
        """Whether the record shows this turn, or was waited for long enough."""
        facts = self._unrecorded.get(ref)
        entered = facts.get(Fact(edge, episode)) if facts is not None else None
        return entered is None or (self._clock.monotonic() - entered >= PATIENCE and self._calm() >= CALM)

    # ---- receipts ----

    def dues_of(self, output: str) -> list[tuple[ClaimRef, Due]]:
        """Return all that an output owes."""
        return [
            (ref, due) for ref, dues in self._dues.items() for due in dues.values() if due.output == output
        ]

    def due_of(self, ref: ClaimRef, output: str) -> list[Due]:
        """Return what an output owes about one claim."""
        return [due for due in self._dues.get(ref, {}).values() if due.output == output]

    def pay(self, ref: ClaimRef, due: Due, *, claim: bool = False, pods: Iterable[str] = ()) -> None:
        """Take a receipt: the claim, or some of its Pods, were told."""
        known = self._dues.get(ref, {}).get(due.key)
        if known is None:
            return
        told = frozenset(pods)
        left = replace(
            known,
            claim=known.claim and not claim,
            pods=tuple(name for name in known.pods if name not in told),
        )
        self._set(ref, left)

    def pay_all_pods(self, ref: ClaimRef, due: Due) -> None:
        """Take a receipt: every Pod was told."""
        known = self._dues.get(ref, {}).get(due.key)
        if known is not None:
            self._set(ref, replace(known, pods=(), all_pods=False))

    def cancel(self, ref: ClaimRef, due: Due) -> None:
        """Nobody is to be told of this any more."""
        dues = self._dues.get(ref, {})
        if dues.pop(due.key, None) is not None:
            self._bump(ref)
        if not dues:
            self._dues.pop(ref, None)

    def touch(self, ref: ClaimRef) -> None:
        """Something about a claim was delivered that its record should say."""
        self._bump(ref)
        self._on_receipt(ref)
        self.receipt.set()

    def _set(self, ref: ClaimRef, left: Due) -> None:
        dues = self._dues[ref]
        if dues[left.key] == left:
            return
        if left.paid:
            del dues[left.key]
            if not dues:
                del self._dues[ref]
        else:
            dues[left.key] = left
        self.touch(ref)

    def _bump(self, ref: ClaimRef) -> None:
        self._versions[ref] = self._versions.get(ref, 0) + 1

    def _call(self, ref: ClaimRef) -> None:
        for listener in self._listeners:
            listener(ref)
