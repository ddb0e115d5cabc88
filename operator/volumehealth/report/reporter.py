"""Hands the result of each check to every output, each in a lane of its own: one for the process."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from volumehealth.cluster.changes import Changes
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import Limits, Requests, WriteQueue
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Pod
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.runbooks import PAGE
from volumehealth.model.steps import SLICE, Steps, in_slices
from volumehealth.report.drivers import DriversView
from volumehealth.report.metrics import Metrics
from volumehealth.report.outbox import Outbox, StoredRecord
from volumehealth.report.outputs import Tools, make_outputs
from volumehealth.report.problems import Problems
from volumehealth.report.recordwriter import KIND as RECORD_KIND

log = logging.getLogger(__name__)

_RECEIPTS = 5.0
"""Seconds after which records say what was delivered, if no check comes first."""


class Lane:
    """Hands results to one output, the newest of each policy; those with turns are never passed over.

    Args:
        publish: takes the steps of one result.
        name: of the output.
        on_error: told the output's name when a result could not be told.
    """

    def __init__(
        self, publish: Callable[[CheckResult], Iterator[None]], *, name: str, on_error: Callable[[str], None]
    ) -> None:
        self._publish = publish
        self._name = name
        self._on_error = on_error
        self._waiting: deque[CheckResult] = deque()
        self._current: CheckResult | None = None
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._failed: str = ""

    def put(self, result: CheckResult) -> None:
        """Have a result told. Does not wait."""
        for number, older in enumerate(self._waiting):
            if older.policy.uid == result.policy.uid and not older.turns:
                self._waiting[number] = result
                return
        self._waiting.append(result)
        self._news.set()

    def drop(self, policy_uid: str) -> list[CheckResult]:
        """Tell nothing more of a policy; return what was not told to its end, the oldest first."""
        waiting = self._waiting if self._current is None else (self._current, *self._waiting)
        left = [one for one in waiting if one.policy.uid == policy_uid]
        self._waiting = deque(one for one in self._waiting if one.policy.uid != policy_uid)
        if self._current is not None and self._current.policy.uid == policy_uid:
            self._current = None
        return left

    @property
    def busy(self) -> bool:
        """Whether something waits or is being told."""
        return bool(self._waiting) or self._current is not None

    async def idle(self) -> None:
        """Wait until everything was told."""
        while self.busy:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            self._news.clear()
            while self._waiting:
                self._current = self._waiting.popleft()
                await self._tell(self._current)
                self._current = None
            self._idle.set()
            await self._news.wait()

    async def _tell(self, result: CheckResult) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + SLICE
        try:
            for _ in self._publish(result):
                if loop.time() >= until:
                    await asyncio.sleep(0)
                    if self._current is not result:  # it was dropped
                        return
                    until = loop.time() + SLICE
        except Exception as error:
            self._on_error(self._name)
            if repr(error) != self._failed:
                self._failed = repr(error)
                log.exception("a check cannot be told", extra={"output": self._name})


class Reporter:
    """Publishes what checks found to all outputs (`outputs.make_outputs`).

    Args:
        api: where to write (`kube.api.Api`).
        clock: for times that people see.
        random: jitter.
        metrics: what to count in.
        pods_of: the Pods that use a claim (`ClusterView.pods_of`).
        changes: the claims whose rows, Pods or records change (`ClusterView.subscribe_told`); None if nobody tells, and
            then each check looks at all of them.
        limits: how hard the API server may be pressed.
        view: the cluster view, for VolumeHealthDrivers; None, and none are written.
        owner_of: the name of the policy that owns a claim now; None if none does.
        files: a directory with one for each output that needs configuration; empty if there is none.
        runbooks: the address of the page of runbooks.
        leads: whether this process surely leads, and may write.
    """

    def __init__(
        self,
        api: Requests,
        *,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        changes: Changes | None = None,
        limits: Limits | None = None,
        view: DriversView | None = None,
        owner_of: Callable[[ClaimRef], str | None] = lambda _: None,
        files: str = "",
        runbooks: str = PAGE,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._metrics = metrics
        self._changes = changes
        self._problems = Problems(pods_of)
        self._queue = WriteQueue(api, random=random, observe=metrics.write_done, limits=limits, leads=leads)
        self._outbox = Outbox(clock=clock, calm=partial(self._queue.calm, other_than=RECORD_KIND))
        tools = Tools(
            queue=self._queue,
            clock=clock,
            metrics=metrics,
            outbox=self._outbox,
            pods_of=pods_of,
            owner_of=owner_of,
            view=view,
            random=random,
            files=Path(files) if files else None,
            runbooks=runbooks,
        )
        self._outputs = make_outputs(tools)
        self._grouping = Lane(self._group, name="Problems", on_error=metrics.output_failed)
        self._lanes = tuple(
            Lane(output.publish, name=output.name, on_error=metrics.output_failed)
            for output in self._outputs.all
        )

    async def run(self) -> None:
        """Tell and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            for lane in (self._grouping, *self._lanes):
                group.create_task(lane.run())
            for output in self._outputs.all:
                group.create_task(output.run())
            group.create_task(self._take_receipts())

    async def drain(self, timeout: float) -> int:
        """Before the end of the process: wait for what is to be told, while `run` goes on; return what is left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        try:
            async with asyncio.timeout_at(end):
                for lane in (self._grouping, *self._lanes):
                    await lane.idle()
        except TimeoutError:
            return sum(lane.busy for lane in (self._grouping, *self._lanes)) + len(self._queue)
        drains = [output.drain(end - loop.time()) for output in self._outputs.all]
        return sum(await asyncio.gather(self._drain_writes(end), *drains))

    def resume(
        self, records: Mapping[ClaimRef, StoredRecord]
    ) -> Steps[dict[str, dict[ClaimRef, ClaimHealth]]]:
        """At start, once the view is complete: read `ClusterView.records` and return healths by policy name.

        Also learns from them what is on the server and what people are still to be told.
        """
        healths: dict[str, dict[ClaimRef, ClaimHealth]] = {}
        for ref, resumed in (yield from self._outputs.records.learn(records)).items():
            healths.setdefault(resumed.policy, {})[ref] = resumed.health
        return healths

    def report(
        self, result: CheckResult, *, previous_status: Mapping[str, Any] | None = None, version: int = 0
    ) -> None:
        """After each check (or instead of one, with `judgement=None`): have told what changed.

        Does not block: `run` tells it, claim by claim, while others have their turns.
        `previous_status` is the policy's raw status as the view has it, and `version` its resourceVersion.
        """
        self._outputs.statuses.learn(result.policy, previous_status, version=version)
        self._outputs.policy_events.learn(result.policy, previous_status)
        self._metrics.view(result.view)
        changed = self._changes.take() if self._changes is not None else None
        self._problems.look_again(changed)
        for output in self._outputs.all:
            output.look_again(changed)
        self._grouping.put(result)

    def forget(self, policy: Policy) -> Steps[None]:
        """A policy was deleted: take back its records and metrics; no Event says that anything recovered."""
        left = self._grouping.drop(policy.uid)
        for lane in self._lanes:
            lane.drop(policy.uid)
        for result in left:  # whichever policy holds these claims next owes what this one found
            yield from self._outbox.enter(result)
        self._problems.forget(policy.name)
        for output in self._outputs.all:
            yield from output.forget(policy)

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policy_names: Collection[str]) -> Steps[None]:
        """Compare records with what the view shows (`ClusterView.records`); call it when all policies are known.

        Those of policies that are gone are deleted, wanted ones that somebody deleted are written again.
        """
        for output in self._outputs.all:
            output.sweep(records, policy_names)
            yield

    def _group(self, result: CheckResult) -> Iterator[None]:
        """Note what is to be told, group findings into problems, once for all outputs, and hand the result on."""
        yield from self._outbox.enter(result)
        result = replace(result, problems=(yield from self._problems.of(result)))
        for lane in self._lanes:
            lane.put(result)

    async def _take_receipts(self) -> None:
        """Have records say what was delivered; receipts come in swarms, so they are taken together."""
        while True:
            await self._outbox.receipt.wait()
            await asyncio.sleep(_RECEIPTS)
            self._outbox.receipt.clear()
            await in_slices(self._outputs.records.take_receipts())

    async def _drain_writes(self, end: float) -> int:
        loop = asyncio.get_running_loop()
        while True:
            left = await self._queue.drain(end - loop.time())
            if not self._outputs.records.has_receipts or loop.time() >= end:
                return left
            await in_slices(self._outputs.records.take_receipts())
