"""Writes a policy's status when it says something new, and every five minutes as a heartbeat."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from volumehealth.kube.writes import Outcome, Result, Write, WriteQueue
from volumehealth.model.clock import Clock, moment_of
from volumehealth.model.policy import Policy
from volumehealth.model.vocabulary import API_VERSION, POLICIES
from volumehealth.report.priorities import Priority
from volumehealth.report.status import differs

HEARTBEAT = timedelta(minutes=5)


class StatusWriter:
    """Remembers what the server has, so that an equal status is not written again.

    Args:
        queue: where writes go.
        clock: the time.
    """

    def __init__(self, queue: WriteQueue, *, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._there: dict[str, Mapping[str, Any]] = {}
        self._wanted: dict[str, Mapping[str, Any]] = {}

    def learn(self, policy: Policy, status: Mapping[str, Any] | None) -> None:
        """Take what the view shows of a policy, unless we know it already."""
        if policy.uid not in self._there:
            self._there[policy.uid] = status or {}

    def newest(self, policy: Policy) -> Mapping[str, Any]:
        """Return what we want to be there, or what is."""
        return self._wanted.get(policy.uid) or self._there.get(policy.uid, {})

    def publish(self, policy: Policy, status: Mapping[str, Any]) -> None:
        """Write the status if it says something new, or if the heartbeat is due."""
        newest = self.newest(policy)
        if newest and not differs(newest, status) and not self._beat_is_due(newest, status):
            return
        self._wanted[policy.uid] = status
        sent: Mapping[str, Any] = {}

        def make() -> Write | None:
            nonlocal sent
            sent = self._wanted.get(policy.uid, {})
            patch = merge_patch(self._there.get(policy.uid, {}), sent)
            body = {"metadata": {"uid": policy.uid}, "status": patch}
            path = f"/apis/{API_VERSION}/{POLICIES}/{policy.name}/status"
            return Write("PATCH", path, body, content_type="application/merge-patch+json") if sent else None

        def done(outcome: Outcome) -> None:
            if outcome.result is Result.DONE and policy.uid in self._there:
                self._there[policy.uid] = sent

        self._queue.put(
            _key(policy.uid), make, kind="status", priority=Priority.STATUS, flow=policy.name, on_done=done
        )

    def forget(self, uid: str) -> None:
        """The policy is gone."""
        self._queue.discard(_key(uid))
        self._there.pop(uid, None)
        self._wanted.pop(uid, None)

    def _beat_is_due(self, newest: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        last, check = newest.get("lastCheckTime"), status.get("lastCheckTime")
        if last == check:
            return False
        told = moment_of(last)
        return told is None or self._clock.now() - told >= HEARTBEAT


def _key(uid: str) -> tuple[str, str]:
    return ("status", uid)


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Write an RFC 7386 patch that makes `new` of `old`: all of `new`, and null for what is there no more."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch
