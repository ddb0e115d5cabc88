"""Everything that tells, wired together: one for the process."""

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Pod
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.report.eventobjects import EventSink
from volumehealth.report.events import EventWriter
from volumehealth.report.metrics import Metrics
from volumehealth.report.picture import Picture
from volumehealth.report.policyevents import PolicyEventWriter
from volumehealth.report.problems import find_problems, wide_groups
from volumehealth.report.recordwriter import RecordWriter, StoredRecord
from volumehealth.report.status import render_status
from volumehealth.report.statuswriter import StatusWriter
from volumehealth.report.writes import Limits, Requests, WriteQueue


class Reporter:
    """Tells what checks found: policy status, records, Events, metrics.

    Args:
        api: where to write (`cluster.api.Api`).
        clock: for times that people see.
        random: jitter.
        metrics: what to count in.
        pods_of: the Pods that use a claim (`ClusterView.pods_of`).
        limits: how hard the API server may be pressed.
    """

    def __init__(
        self,
        api: Requests,
        *,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        limits: Limits | None = None,
    ) -> None:
        self._metrics = metrics
        self._pods_of = pods_of
        self._queue = WriteQueue(api, random=random, observe=metrics.write_done, limits=limits)
        sink = EventSink(self._queue, clock=clock, observe=metrics.event_written)
        self._events = EventWriter(
            sink, clock=clock, pods_of=pods_of, on_told=lambda claim: self._records.told(claim)
        )
        self._records = RecordWriter(self._queue, clock=clock, telling=self._events, pods_of=pods_of)
        self._policy_events = PolicyEventWriter(sink)
        self._statuses = StatusWriter(self._queue, clock=clock)

    async def run(self) -> None:
        """Write until cancelled."""
        await self._queue.run()

    async def drain(self, timeout: float) -> int:
        """Before the end of the process: wait for what is queued, while `run` goes on; return what is left."""
        return await self._queue.drain(timeout)

    def resume(self, records: Mapping[ClaimRef, StoredRecord]) -> dict[str, dict[ClaimRef, ClaimHealth]]:
        """At start, once the view is complete: read `ClusterView.records` and return healths by policy name.

        Also learns from them what is on the server, so that nothing equal is written again.
        """
        healths: dict[str, dict[ClaimRef, ClaimHealth]] = {}
        for ref, resumed in self._records.learn(records).items():
            healths.setdefault(resumed.policy, {})[ref] = resumed.health
        return healths

    def report(self, picture: Picture, *, previous_status: Mapping[str, Any] | None = None) -> None:
        """After each check (or instead of one, with `judgement=None`): tell what changed. Does not block.

        `previous_status` is the policy's raw status as the view has it; only the first one counts.
        """
        self._statuses.learn(picture.policy, previous_status)
        problems = find_problems(picture, self._pods_of)
        status = render_status(picture, problems, self._statuses.newest(picture.policy))
        self._statuses.publish(picture.policy, status)
        self._policy_events.tell(picture, problems)
        self._events.tell(picture, wide_groups(picture.judgement) if picture.judgement is not None else ())
        self._records.keep(picture)
        self._metrics.publish(picture, [(one["type"], one["status"]) for one in status["conditions"]])
        self._metrics.view(picture.view)
        self._metrics.waiting(len(self._queue))

    def forget(self, policy: Policy) -> None:
        """A policy was deleted: take back its records and metrics; no Event says that anything recovered."""
        self._statuses.forget(policy.uid)
        self._policy_events.forget(policy.uid)
        self._events.forget(policy.name)
        self._records.forget(policy.name)
        self._metrics.forget(policy.name)

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policy_names: Collection[str]) -> None:
        """Compare records with what the view shows (`ClusterView.records`); call it when all policies are known.

        Those of policies that are gone are deleted, wanted ones that somebody deleted are written again.
        """
        self._records.sweep(records, policy_names)
