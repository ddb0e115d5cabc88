"""Writes a policy's status when the server has another one, and every five minutes as a heartbeat.

Level-triggered by content: what the view shows is compared with what the check says, whoever wrote it last. A write
whose answer was lost may have been carried out, so the next patch removes what either of them may have left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from volumehealth.errors import ApiError
from volumehealth.judge.result import CheckResult
from volumehealth.kube.bodies import read_body, version_number
from volumehealth.kube.writes import Outcome, Result, Write, WriteQueue
from volumehealth.model.clock import Clock, moment_of
from volumehealth.model.policy import Policy
from volumehealth.model.runbooks import PAGE
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import API_VERSION, POLICIES
from volumehealth.report.merge import merge_patch, union
from volumehealth.report.output import Output
from volumehealth.report.priorities import Priority
from volumehealth.report.status import differs, render_status

HEARTBEAT = timedelta(minutes=5)
_KIND = "status"


@dataclass(eq=False, slots=True)
class _State:
    """What is known of one policy's status.

    Attributes:
        there: what the server has, by its newest word.
        version: the resourceVersion of that; 0 if it is not known.
        wanted: what we wrote last, or are about to write; empty before the first check.
        unconfirmed: all that was sent since the server's last word.
    """

    there: Mapping[str, Any]
    version: int = 0
    wanted: Mapping[str, Any] = field(default_factory=dict)
    unconfirmed: Mapping[str, Any] = field(default_factory=dict)


class StatusOutput(Output):
    """Shows each check in its policy's status.

    Args:
        writer: brings it to the server.
        runbooks: the address of the page of runbooks.
    """

    name = "Status"

    def __init__(self, writer: "StatusWriter", runbooks: str = PAGE) -> None:
        self._writer = writer
        self._runbooks = runbooks

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Render the status and write it if it says something new."""
        before = self._writer.newest(result.policy)
        status = render_status(result, result.problems, before, runbooks=self._runbooks)
        self._writer.publish(result.policy, status)
        yield

    def forget(self, policy: Policy) -> Steps[None]:
        """The status went with the policy."""
        self._writer.forget(policy.uid)
        yield


class StatusWriter:
    """Brings statuses on the server in line with what checks say.

    Args:
        queue: where writes go.
        clock: the time.
    """

    def __init__(self, queue: WriteQueue, *, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._states: dict[str, _State] = {}

    def learn(self, policy: Policy, status: Mapping[str, Any] | None, *, version: int = 0) -> None:
        """Take what the view shows of a policy, unless we know something newer.

        Args:
            policy: the policy.
            status: its status; None if the view was not asked.
            version: its resourceVersion; 0 if that is not known, and then only the first status counts.
        """
        state = self._states.get(policy.uid)
        if state is None:
            self._states[policy.uid] = _State(status or {}, version)
        elif status is not None and version > state.version:
            state.there, state.version = status, version

    def newest(self, policy: Policy) -> Mapping[str, Any]:
        """Return what we want to be there, or what is."""
        state = self._states.get(policy.uid)
        return {} if state is None else state.wanted or state.there

    def publish(self, policy: Policy, status: Mapping[str, Any]) -> None:
        """Write the status if the server has another one, or if the heartbeat is due."""
        state = self._states.setdefault(policy.uid, _State({}))
        coming = state.wanted if _key(policy.uid) in self._queue else state.there
        if coming and not differs(coming, status) and not self._beat_is_due(coming, status):
            return
        state.wanted = status
        if _key(policy.uid) not in self._queue and self._queue.waits(_key(policy.uid)):
            return  # it was not taken lately; a later check compares again
        self._queue.put(
            _key(policy.uid),
            lambda: self._patch(policy),
            kind=_KIND,
            priority=Priority.STATUS,
            flow=policy.name,
            on_done=lambda outcome: self._written(policy, outcome),
        )

    def forget(self, uid: str) -> None:
        """The policy is gone."""
        self._states.pop(uid, None)
        self._queue.discard(_key(uid))

    def _patch(self, policy: Policy) -> Write | None:
        state = self._states.get(policy.uid)
        if state is None:
            return None
        patch = merge_patch(union(state.there, state.unconfirmed), state.wanted)
        state.unconfirmed = union(state.unconfirmed, state.wanted)
        body = {"metadata": {"uid": policy.uid}, "status": patch}
        path = f"/apis/{API_VERSION}/{POLICIES}/{policy.name}/status"
        return Write("PATCH", path, body, content_type="application/merge-patch+json")

    def _written(self, policy: Policy, outcome: Outcome) -> None:
        state = self._states.get(policy.uid)
        if state is None:
            return
        if outcome.result in (Result.CONFLICT, Result.NOT_FOUND):
            self._queue.back_off(_key(policy.uid), kind=_KIND)
        if outcome.result is not Result.DONE:
            return
        try:
            there = read_body(outcome.body, dict[str, Any], what="the policy")
        except ApiError:  # the view shows it soon
            there = {"status": state.unconfirmed}
        metadata, status = there.get("metadata"), there.get("status")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        state.there = status if isinstance(status, dict) else {}
        state.version = max(state.version, version_number(version) if isinstance(version, str) else 0)
        state.unconfirmed = {}
        if _key(policy.uid) not in self._queue and differs(state.there, state.wanted):
            self._queue.back_off(_key(policy.uid), kind=_KIND)  # somebody changes it as often as we do

    def _beat_is_due(self, newest: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        last, check = newest.get("lastCheckTime"), status.get("lastCheckTime")
        if last == check:
            return False
        told, now = moment_of(last), self._clock.now()
        return told is None or abs(now - told) >= HEARTBEAT


def _key(uid: str) -> tuple[str, str]:
    return ("status", uid)
