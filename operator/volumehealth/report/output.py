"""The Output contract: what takes the result of a check and tells it to somebody.

Each output has a lane of its own: a task that takes results one after the other, in slices of time. An output that is
slow or broken delays no other, and an error costs the one result that it happened in. Events and notifications need
the records (`outbox`); nothing else depends on another output.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from volumehealth.judge.result import CheckResult
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.report.outbox import StoredRecord

log = logging.getLogger(__name__)

SLICE = 0.01
"""Seconds after which an output lets others have a turn."""


class Output(ABC):
    """One way of telling. What has not to be done for an output, it does not implement."""

    name: ClassVar[str]
    """For logs, metrics and the outbox, such as `Records`."""

    @abstractmethod
    def publish(self, result: CheckResult) -> Iterator[None]:
        """Tell the result of a check, in steps; never waits for anything. Yields where others may have a turn."""

    def look_again(self, claims: Collection[ClaimRef] | None) -> None:  # noqa: B027 - most outputs settle nothing
        """The rows, Pods or records of these claims have changed (None: of any), for an output that keeps an `Agenda`."""

    @abstractmethod
    def forget(self, policy: Policy) -> None:
        """A policy was deleted: take back what was told, and say of nothing that it recovered."""

    def sweep(self, records: Mapping[ClaimRef, StoredRecord], policies: Collection[str]) -> None:  # noqa: B027 - most outputs have nothing to compare
        """Now and then, once all policies are known: compare with what is there."""

    async def run(self) -> None:  # noqa: B027 - most outputs deliver through the queue
        """Deliver until cancelled, for an output that does not write through the API server's queue."""

    async def drain(self, timeout: float) -> int:
        """Before the end of the process, while `run` goes on: deliver; return how much is left."""
        return 0


@dataclass(eq=False, slots=True)
class _Job:
    """A result to be told; `dropped` once its policy is gone."""

    result: CheckResult
    dropped: bool = False

    @property
    def turns(self) -> bool:
        """Whether the check found something to begin or to end, which must not be passed over."""
        return bool(self.result.transitions) or any(problem.new for problem in self.result.storage)


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
        self._jobs: deque[_Job] = deque()
        self._current: _Job | None = None
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._failed: str = ""

    def put(self, result: CheckResult) -> None:
        """Have a result told. Does not wait."""
        for job in self._jobs:
            if job.result.policy.uid == result.policy.uid and not (job.turns or job.dropped):
                job.result = result
                return
        self._jobs.append(_Job(result))
        self._news.set()

    def drop(self, policy_uid: str) -> None:
        """Tell nothing more of a policy."""
        for job in (*self._jobs, self._current):
            if job is not None and job.result.policy.uid == policy_uid:
                job.dropped = True

    @property
    def busy(self) -> bool:
        """Whether something waits or is being told."""
        return bool(self._jobs) or self._current is not None

    async def idle(self) -> None:
        """Wait until everything was told."""
        while self.busy:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            self._news.clear()
            while self._jobs:
                self._current = self._jobs.popleft()
                await self._tell(self._current)
                self._current = None
            self._idle.set()
            await self._news.wait()

    async def _tell(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + SLICE
        try:
            if job.dropped:
                return
            for _ in self._publish(job.result):
                if loop.time() >= until:
                    await asyncio.sleep(0)
                    if job.dropped:
                        return
                    until = loop.time() + SLICE
        except Exception as error:
            self._on_error(self._name)
            if repr(error) != self._failed:
                self._failed = repr(error)
                log.exception("a check cannot be told", extra={"output": self._name})
