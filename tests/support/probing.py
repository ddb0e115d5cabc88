"""A prober on a real connection to a simulated driver, in a time that tests move."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from random import Random
from types import TracebackType
from typing import Self

from support.clock import ManualClock
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.model.health import Answer, DriverAnswers, DriverState, Outcome
from volumehealth.probing.prober import ControllerProber
from volumehealth.probing.spec import ProbeLimits, ProbeSpec
from volumehealth_sandbox.driver import SimulatedDriver

_A_WHILE = 0.001  # real seconds between two looks
_CALM = (
    20  # turns of the event loop in which the prober only sleeps: enough for a wake-up call to get through
)
_PATIENCE = 60.0  # real seconds until a prober that does not come to rest fails the test


class CallLog:
    """A ProbeMetrics that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def observe_call(self, driver: str, method: str, *, code: str, seconds: float) -> None:
        """Remember a call."""
        self.calls.append((driver, method, code))


class ProberRig:
    """A running ControllerProber; an asynchronous context manager.

    Deadlines of calls pass in real time, everything else in the rig's: a list that takes no time by this clock
    makes no rest due by the duty rule.

    Attributes:
        clock: the prober's time.
        prober: what is tested.
        news: how often it told of news.
        same: how often it told that the driver said the same again.
        log: the calls it counted.
    """

    def __init__(
        self,
        driver: SimulatedDriver,
        *,
        limits: ProbeLimits | None = None,
        driver_name: str = "",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.driver = driver
        self.clock = ManualClock()
        self.log = CallLog()
        self.news = 0
        self.same = 0
        self.prober = ControllerProber(
            parse_endpoint(driver.endpoint),
            clock=self.clock,
            on_news=self._note,
            on_same=self._note_same,
            metrics=self.log,
            secrets=lambda name: secrets or {},
            random=Random(1),
            limits=limits,
            driver_name=driver_name,
            sleep=self.clock.sleep,
        )
        self._task: asyncio.Task[None] | None = None

    def _note(self) -> None:
        self.news += 1

    def _note_same(self) -> None:
        self.same += 1

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.prober.run())
        await self.settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def want(
        self,
        volumes: Iterable[str] | None = None,
        *,
        interval: float = 60.0,
        timeout: float = 5.0,
        adverse: Iterable[str] = (),
        topology: Mapping[str, str] | None = None,
    ) -> None:
        """ProbeSpec volumes, all that the driver has unless named, and wait until what is due was done.

        Args:
            volumes: handles.
            interval: seconds of the rig's time.
            timeout: of one call, in real seconds.
            adverse: volumes with live findings.
            topology: from which nodes volumes can be reached; from all unless named.
        """
        handles = frozenset(self.driver.volumes if volumes is None else volumes)
        self.prober.demand(
            ProbeSpec(
                handles,
                timedelta(seconds=interval),
                timedelta(seconds=timeout),
                frozenset(adverse),
                topology or {},
            )
        )
        await self.settle()

    async def settle(self) -> None:
        """Wait until the prober sleeps."""
        async with asyncio.timeout(_PATIENCE):
            calm = 0
            while calm < _CALM:
                await asyncio.sleep(0 if self.clock.sleepers else _A_WHILE)
                calm = calm + 1 if self.clock.sleepers else 0

    async def after(self, seconds: float) -> None:
        """Let time pass, with everything that falls due in it."""
        end = self.clock.monotonic() + seconds
        while self.clock.next_wake is not None and self.clock.next_wake <= end:
            self.clock.advance(max(0.0, self.clock.next_wake - self.clock.monotonic()))
            await self.settle()
        self.clock.advance(end - self.clock.monotonic())
        await self.settle()

    async def next_turn(self) -> None:
        """Let time pass until the prober does something."""
        assert self.clock.next_wake is not None
        await self.after(self.clock.next_wake - self.clock.monotonic())

    @property
    def answers(self) -> DriverAnswers:
        """What the prober tells now."""
        return self.prober.answers()

    @property
    def state(self) -> DriverState:
        """The driver's state."""
        return self.answers.driver

    def about(self, handle: str) -> Answer:
        """What the prober tells of one volume."""
        return self.answers.about(handle)

    def says(self, handle: str) -> str:
        """Return what is told of a volume in a word or three: `Healthy`, `NotListed`, `Inaccessible/VolumeNotFound`."""
        answer = self.about(handle)
        if answer.outcome is Outcome.ADVERSE:
            return ", ".join(f"{one.status}/{one.reason}" for one in answer.conditions)
        return answer.reason or str(answer.outcome)
