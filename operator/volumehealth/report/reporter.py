"""Everything that tells, wired together: one for the process."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from volumehealth.kube.writes import Limits, Requests, WriteQueue
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Pod
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.report.drivers import DriversView, DriverWriter
from volumehealth.report.eventobjects import EventSink
from volumehealth.report.events import EventWriter
from volumehealth.report.metrics import Metrics
from volumehealth.report.outbox import Outbox
from volumehealth.report.picture import Picture
from volumehealth.report.policyevents import PolicyEventWriter
from volumehealth.report.problems import ProblemFinder
from volumehealth.report.recordwriter import RecordWriter, StoredRecord
from volumehealth.report.status import render_status
from volumehealth.report.statuswriter import StatusWriter

_RECEIPTS = 5.0
"""Seconds after which records say what was delivered, if no check comes first."""
_SLICE = 0.01
"""Seconds after which telling lets others have a turn."""


@dataclass(eq=False, slots=True)
class _Job:
    """A check to be told; `dropped` once its policy is gone."""

    picture: Picture
    dropped: bool = False

    @property
    def turns(self) -> bool:
        """Whether the check found something to begin or to end, which must not be passed over."""
        turned = self.picture.judgement is not None and bool(self.picture.judgement.transitions)
        return turned or any(problem.new for problem in self.picture.storage)


class Reporter:
    """Tells what checks found: policy status, records, Events, metrics.

    Args:
        api: where to write (`kube.api.Api`).
        clock: for times that people see.
        random: jitter.
        metrics: what to count in.
        pods_of: the Pods that use a claim (`ClusterView.pods_of`).
        limits: how hard the API server may be pressed.
        view: the cluster view, for VolumeHealthDrivers; None, and none are written.
        owner_of: the name of the policy that owns a claim now; None if none does.
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
        view: DriversView | None = None,
        owner_of: Callable[[ClaimRef], str | None] = lambda _: None,
    ) -> None:
        self._metrics = metrics
        self._pods_of = pods_of
        self._jobs: deque[_Job] = deque()
        self._telling: _Job | None = None
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._queue = WriteQueue(api, random=random, observe=metrics.write_done, limits=limits)
        sink = EventSink(self._queue, clock=clock, observe=metrics.event_written)
        self._outbox = Outbox(clock=clock)
        self._events = EventWriter(
            sink, clock=clock, pods_of=pods_of, outbox=self._outbox, on_error=metrics.output_failed
        )
        self._records = RecordWriter(
            self._queue,
            clock=clock,
            outbox=self._outbox,
            notified=self._events.last_notified,
            pods_of=pods_of,
            owner_of=owner_of,
            on_error=metrics.output_failed,
        )
        self._policy_events = PolicyEventWriter(sink)
        self._statuses = StatusWriter(self._queue, clock=clock)
        self._drivers = DriverWriter(self._queue, clock=clock, view=view) if view is not None else None

    async def run(self) -> None:
        """Tell and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            group.create_task(self._tell_all())
            group.create_task(self._take_receipts())

    async def drain(self, timeout: float) -> int:
        """Before the end of the process: wait for what is to be told, while `run` goes on; return what is left."""
        end = asyncio.get_running_loop().time() + timeout
        try:
            async with asyncio.timeout_at(end):
                while self._jobs or self._telling is not None:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return len(self._jobs) + 1 + len(self._queue)
        while True:
            left = await self._queue.drain(end - asyncio.get_running_loop().time())
            if not self._records.has_receipts or asyncio.get_running_loop().time() >= end:
                return left
            self._records.take_receipts()

    def resume(self, records: Mapping[ClaimRef, StoredRecord]) -> dict[str, dict[ClaimRef, ClaimHealth]]:
        """At start, once the view is complete: read `ClusterView.records` and return healths by policy name.

        Also learns from them what is on the server, so that nothing equal is written again.
        """
        healths: dict[str, dict[ClaimRef, ClaimHealth]] = {}
        for ref, resumed in self._records.learn(records).items():
            healths.setdefault(resumed.policy, {})[ref] = resumed.health
        return healths

    def report(
        self, picture: Picture, *, previous_status: Mapping[str, Any] | None = None, version: int = 0
    ) -> None:
        """After each check (or instead of one, with `judgement=None`): have told what changed.

        Does not block: `run` tells it, claim by claim, while others have their turns.
        `previous_status` is the policy's raw status as the view has it, and `version` its resourceVersion.
        """
        self._statuses.learn(picture.policy, previous_status, version=version)
        self._outbox.enter(picture)
        self._metrics.view(picture.view)
        for job in self._jobs:
            if job.picture.policy.uid == picture.policy.uid and not job.turns:
                job.picture = picture
                return
        self._jobs.append(_Job(picture))
        self._news.set()

    def forget(self, policy: Policy) -> None:
        """A policy was deleted: take back its records and metrics; no Event says that anything recovered."""
        for job in (*self._jobs, self._telling):
            if job is not None and job.picture.policy.uid == policy.uid:
                job.dropped = True
        self._statuses.forget(policy.uid)
        self._policy_events.forget(policy.uid)
        self._events.forget(policy.name)
        self._records.forget(policy.name)
        self._metrics.forget(policy.name)
        if self._drivers is not None:
            self._drivers.forget(policy.uid)

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policy_names: Collection[str]) -> None:
        """Compare records with what the view shows (`ClusterView.records`); call it when all policies are known.

        Those of policies that are gone are deleted, wanted ones that somebody deleted are written again.
        """
        self._records.sweep(records, policy_names)
        if self._drivers is not None:
            self._drivers.sweep()

    async def _take_receipts(self) -> None:
        """Have records say what was delivered; receipts come in swarms, so they are taken together."""
        while True:
            await self._outbox.receipt.wait()
            await asyncio.sleep(_RECEIPTS)
            self._outbox.receipt.clear()
            self._records.take_receipts()

    async def _tell_all(self) -> None:
        while True:
            self._news.clear()
            while self._jobs:
                self._telling = self._jobs.popleft()
                await self._tell(self._telling)
                self._telling = None
            self._idle.set()
            await self._news.wait()

    async def _tell(self, job: _Job) -> None:
        """Tell of one check: verdicts first, then Events and records, then metrics."""
        picture = job.picture
        finder = ProblemFinder(picture, self._pods_of)
        await _in_turns(job, finder.gather())
        if job.dropped:
            return
        problems = finder.problems()
        status = render_status(picture, problems, self._statuses.newest(picture.policy))
        self._statuses.publish(picture.policy, status)
        if self._drivers is not None:
            self._drivers.publish(picture)
        self._policy_events.tell(picture, problems)
        await _in_turns(job, self._events.publish(picture))
        if job.dropped:
            return
        await _in_turns(job, self._records.keep(picture))
        if not job.dropped:
            self._metrics.publish(picture, [(one["type"], one["status"]) for one in status["conditions"]])
            self._metrics.waiting(len(self._queue))


async def _in_turns(job: _Job, steps: Iterator[None]) -> None:
    """Take steps until a slice of time is over, then let others have a turn; stop if the policy is gone."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SLICE
    for _ in steps:
        if loop.time() >= until:
            await asyncio.sleep(0)
            if job.dropped:
                return
            until = loop.time() + _SLICE
