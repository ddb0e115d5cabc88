"""Event objects: their names, sentences and bodies, and how one comes to be there exactly once.

The name follows from what is told, so a second writer, a retried request and a restarted operator all meet the same
object: a POST that is refused with 409 means that people know already. A sentence has `Status/Reason (Source): ` first,
the next command to type last, and 1,024 bytes at most.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from volumehealth.errors import ApiError
from volumehealth.kube.bodies import read_body
from volumehealth.kube.writes import Outcome, Result, Write, WriteQueue
from volumehealth.model.clock import Clock, date_and_time, moment_of, rfc3339
from volumehealth.model.cluster import Pod
from volumehealth.model.health import Finding, Source, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.text import count
from volumehealth.model.vocabulary import COMPONENT, EventReason
from volumehealth.report.priorities import Priority
from volumehealth.report.text import clean, fit, span
from volumehealth.report.workloads import workloads

LONGEST = 1024
"""Bytes of an Event's message that the API server takes."""
_PODS_NAMED = 3
_LONGEST_NAME = 253
_NO_CLAIM = ClaimRef("", "")
_MOST_COUNTED = 1_000_000_000
"""The API server takes a count of 32 bits."""
_KIND = "event"
_MERGE_PATCH = "application/merge-patch+json"
NORMAL = frozenset(
    {
        EventReason.VOLUME_CONDITION_NORMAL,
        EventReason.NODE_RECOVERED,
        EventReason.STORAGE_HEALTHY,
        EventReason.VOLUMES_HEALTHY,
        EventReason.SOURCE_ANSWERING,
        EventReason.AGENT_REPORTING,
    }
)
"""Events of type Normal; all others are Warnings."""


_FOLLOW_UP = Priority.CLAIM_EVENT
"""What was begun is brought to its end before anything new of lower priority; it cannot be refused."""


@dataclass(frozen=True, slots=True)
class About:
    """The object that an Event is about; `namespace` is empty for one of cluster scope."""

    kind: str
    namespace: str
    name: str
    uid: str
    api_version: str = "v1"


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What is to be told.

    Attributes:
        about: on which object.
        reason: the Event's reason.
        identity: with the object's uid and the reason it makes the Event's name.
        message: builds the sentence when it is sent.
        action: the Event's `action`, in CamelCase.
        claim, node: whose finding it tells, and on which node, for silences; empty if it tells of none.
    """

    about: About
    reason: EventReason
    identity: str
    message: Callable[[], str]
    action: str
    claim: ClaimRef = _NO_CLAIM
    node: str = ""

    @property
    def namespace(self) -> str:
        """Where the Event lives: Events on objects of cluster scope are in `default`."""
        return self.about.namespace or "default"

    @property
    def name(self) -> str:
        """`<object name>.<hash>`, 253 characters at most."""
        told = "\0".join((self.about.uid, self.reason, self.identity))
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        return f"{self.about.name[: _LONGEST_NAME - 17].rstrip('.-')}.{digest}"


@dataclass(frozen=True, slots=True)
class EventState:
    """What an Event object says of itself."""

    count: int
    first: datetime
    last: datetime


class _Series(msgspec.Struct, rename="camel"):
    """The fields in use of a core/v1 Event that is there already."""

    count: int = 0
    first_timestamp: str | None = None
    last_timestamp: str | None = None


class EventResult(StrEnum):
    """How telling ended: the values of the label `result` of `volumehealth_events_total`."""

    CREATED = "Created"
    UPDATED = "Updated"
    EXISTING = "Existing"
    """It was there already: people know."""
    GONE = "Gone"
    """What it is about is gone: there is nobody left to tell."""
    INVALID = "Invalid"
    """The server will never take it."""
    UNDELIVERED = "Undelivered"
    """It was dropped, replaced or refused before it was sent, or could not be built; it is still to be told."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How telling an Event ended, and what the Event says now, if that is known."""

    result: EventResult
    state: EventState | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: people were told, or can never be."""
        return self.result is not EventResult.UNDELIVERED


OnEnd = Callable[[Receipt], None]
_ENDS = {
    Result.GONE: EventResult.GONE,
    Result.NOT_FOUND: EventResult.GONE,
    Result.INVALID: EventResult.INVALID,
}


def _wanted() -> bool:
    """Nobody takes it back."""
    return True


class EventSink:
    """Makes Events be there. One for the process.

    Args:
        queue: where writes go.
        clock: for timestamps.
        observe: told the reason of each Event and what came of it (an `EventResult`).
    """

    def __init__(self, queue: WriteQueue, *, clock: Clock, observe: Callable[[str, str], None]) -> None:
        self.queue = queue
        self.clock = clock
        self.observe = observe

    def ensure(
        self,
        notice: EventDraft,
        *,
        policy: str,
        seen: EventState | None,
        older_than: timedelta,
        priority: Priority,
        on_end: OnEnd,
        paced: bool = False,
        wanted: Callable[[], bool] = _wanted,
    ) -> None:
        """Make an Event be there and be told again if it was told longer ago than `older_than`.

        Args:
            notice: what to tell.
            policy: whose check it tells.
            seen: what the Event said when it was last written or read, and its count is to be raised now;
                None if that is not known: then it is created, or looked at if it exists.
            older_than: how old `lastTimestamp` of an existing Event must be for its count to be raised.
            priority: of the writes.
            on_end: called once, when it is there, can never be, or was not sent.
            paced: see `WriteQueue.put`.
            wanted: asked when it is sent; False takes it back.
        """
        telling = _Telling(self, notice, policy, older_than, on_end, paced, wanted)
        if seen is None:
            telling.create(None, priority)
        else:
            telling.raise_count(seen, priority)


@dataclass(frozen=True, slots=True)
class _Telling:
    """One Event on its way: create; if it exists look; if it is old raise its count; if it expired create again."""

    sink: EventSink
    notice: EventDraft
    policy: str
    older_than: timedelta
    on_end: OnEnd
    paced: bool
    wanted: Callable[[], bool]

    def create(self, before: EventState | None, priority: Priority = _FOLLOW_UP) -> None:
        """POST it; `before` is what an expired predecessor said, so that its count goes on."""

        def make() -> Write | None:
            if not self.wanted():
                return None
            seen = self._raised(before)
            path = f"/api/v1/namespaces/{self.notice.namespace}/events"
            return Write("POST", path, event_body(self.notice, seen))

        def done(outcome: Outcome) -> None:
            if outcome.result is Result.CONFLICT:
                self._look()
            else:
                self._end(outcome, EventResult.CREATED, self._read(outcome))

        self._put(make, done, priority)

    def raise_count(self, seen: EventState, priority: Priority = _FOLLOW_UP) -> None:
        """PATCH count, time and message. The numbers are absolute: a repeated request changes nothing more."""

        def make() -> Write | None:
            if not self.wanted():
                return None
            raised = self._raised(seen)
            body = {
                "count": raised.count,
                "lastTimestamp": rfc3339(raised.last),
                "message": self.notice.message(),
            }
            return Write("PATCH", self._path(), body, content_type=_MERGE_PATCH)

        def done(outcome: Outcome) -> None:
            if outcome.result is Result.NOT_FOUND:
                self.create(seen)
            else:
                if outcome.result is Result.CONFLICT:
                    self._back_off()
                self._end(outcome, EventResult.UPDATED, self._read(outcome))

        self._put(make, done, priority)

    def _look(self) -> None:
        def done(outcome: Outcome) -> None:
            seen = self._read(outcome)
            if outcome.result is Result.NOT_FOUND:
                self._back_off()  # it has expired since, or something else than an Event that exists said conflict
                self.create(None)
            elif seen is not None and self.sink.clock.now() - seen.last >= self.older_than:
                self.raise_count(seen)
            else:
                self._end(outcome, EventResult.EXISTING, seen)

        self._put(lambda: Write("GET", self._path()), done, _FOLLOW_UP)

    def _back_off(self) -> None:
        self.sink.queue.back_off(self._key, kind=_KIND)

    @property
    def _key(self) -> tuple[str, str]:
        return self.notice.namespace, self.notice.name

    def _put(
        self, make: Callable[[], Write | None], done: Callable[[Outcome], None], priority: Priority
    ) -> None:
        self.sink.queue.put(
            self._key,
            make,
            kind=_KIND,
            priority=priority,
            flow=self.policy,
            on_done=done,
            paced=self.paced,
            refusable=priority is Priority.POD_EVENT,
        )

    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.notice.namespace}/events/{self.notice.name}"

    def _raised(self, seen: EventState | None) -> EventState:
        now = self.sink.clock.now()
        return EventState(1, now, now) if seen is None else EventState(seen.count + 1, seen.first, now)

    def _read(self, outcome: Outcome) -> EventState | None:
        if outcome.result is not Result.DONE:
            return None
        now = self.sink.clock.now()
        try:
            series = read_body(outcome.body, _Series, what="the Event")
        except ApiError:  # it is there, and what it says is not to be had: it counts as just told
            return EventState(1, now, now)
        last = min(moment_of(series.last_timestamp) or now, now)
        first = min(moment_of(series.first_timestamp) or last, last)
        return EventState(min(max(series.count, 0), _MOST_COUNTED), first, last)

    def _end(self, outcome: Outcome, well: EventResult, seen: EventState | None) -> None:
        result = well if seen is not None else _ENDS.get(outcome.result, EventResult.UNDELIVERED)
        self.sink.observe(self.notice.reason, result)
        self.on_end(Receipt(result, seen))


def event_body(notice: EventDraft, seen: EventState) -> dict[str, object]:
    """Write a core/v1 Event."""
    about = notice.about
    involved = {"apiVersion": about.api_version, "kind": about.kind, "name": about.name, "uid": about.uid}
    if about.namespace:
        involved["namespace"] = about.namespace
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": notice.name, "namespace": notice.namespace},
        "involvedObject": involved,
        "type": "Normal" if notice.reason in NORMAL else "Warning",
        "reason": notice.reason,
        "message": notice.message(),
        "action": notice.action,
        "count": seen.count,
        "firstTimestamp": rfc3339(seen.first),
        "lastTimestamp": rfc3339(seen.last),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }


# ---- sentences ----


def event_reason(kind: TransitionKind, finding: Finding) -> EventReason:
    """Choose the Event's reason for a finding that came or went."""
    came = kind is TransitionKind.FOUND
    if finding.source is Source.KUBERNETES and finding.reason == EventReason.NODE_FAILED:
        return EventReason.NODE_FAILED if came else EventReason.NODE_RECOVERED
    return EventReason.VOLUME_CONDITION_ABNORMAL if came else EventReason.VOLUME_CONDITION_NORMAL


def found_on_claim(finding: Finding, driver: str, claim: ClaimRef, pods: Sequence[Pod]) -> str:
    """Tell a PVC's reader that its volume has a finding, since when, and who uses it; on a node, who does there."""
    since = f"since {date_and_time(finding.since)}"
    return _compose(
        finding, _words(finding, driver), f"{since}; {_users(pods, finding.node)}; {_next(claim)}"
    )


def found_on_pod(finding: Finding, driver: str, claim: ClaimRef) -> str:
    """Tell a Pod's reader that a volume it uses has a finding."""
    return _compose(finding, f"PVC {claim.name}: {_words(finding, driver)}", _next(claim))


def recovered(finding: Finding, claim: ClaimRef, *, at: datetime, remaining: int) -> str:
    """Tell that a finding is over, how long it lasted, and how many others the claim still has."""
    lasted = f"lasted {span(at - finding.since)}, {date_and_time(finding.since)} to {date_and_time(at)}"
    rest = f"{count(remaining, 'other finding')} left" if remaining else "no other finding"
    over = "not reported any more"
    if event_reason(TransitionKind.RECOVERED, finding) is EventReason.NODE_RECOVERED:
        over = f"the node {finding.node} is Ready again, or none of its Pods is bound there any more"
    return _compose(finding, f"PVC {claim.name}: {over}; {lasted}; {rest}", _next(claim))


def _compose(finding: Finding, words: str, end: str) -> str:
    head, tail = f"{fit(clean(finding.headline), 400)}: ", f"; {fit(end, 500)}"
    return head + fit(words, LONGEST - len(head.encode()) - len(tail.encode())) + tail


def _words(finding: Finding, driver: str) -> str:
    said = clean(finding.message) or "no further words"
    words = f"{driver} says: {said}" if _is_drivers_word(finding) else said
    return f"{words} (not confirmed now: this source does not respond)" if finding.stale else words


def _is_drivers_word(finding: Finding) -> bool:
    """Tell whether the driver said it, not what the node itself sees, nor Kubernetes."""
    return finding.source is not Source.KUBERNETES and Observer.DRIVER in finding.observers


def _users(pods: Sequence[Pod], node: str) -> str:
    if not pods:
        return f"no Pod on {node} uses it" if node else "no Pod uses it"
    if any(pod.owner for pod in pods):
        by = workloads(pods)
        return f"used by {fit('; '.join(by[:_PODS_NAMED]), 250)}" + (
            f"; {len(by) - 3} more" if len(by) > 3 else ""
        )
    named = [f"{pod.name} on {pod.node}" if pod.node else pod.name for pod in pods[:_PODS_NAMED]]
    if len(pods) == 1:
        return f"Pod {fit(named[0], 300)} uses it"
    more = len(pods) - len(named)
    return fit(f"Pods {', '.join([*named, f'{more} more'] if more else named)}", 300) + " use it"


def _next(claim: ClaimRef) -> str:
    return f"see: kubectl describe vh {claim.name} -n {claim.namespace}"
