"""Clocks of tests: one that stands still until a test moves it, and one that follows the event loop."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


class LoopClock:
    """A `model.clock.Clock` of the event loop's own time, virtual under `looptime`."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC."""
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()


class ManualClock:
    """A `model.clock.Clock` that can be slept on; nothing passes but what `advance` lets pass."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed = 0.0
        self._sleepers: dict[asyncio.Future[None], float] = {}

    def now(self) -> datetime:
        """Return the wall clock, in UTC."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Return the seconds passed so far."""
        return self._passed

    @property
    def sleepers(self) -> int:
        """How many tasks sleep."""
        return len(self._sleepers)

    @property
    def next_wake(self) -> float | None:
        """When the first sleeper wakes, in `monotonic` seconds; None if nobody sleeps."""
        return min(self._sleepers.values(), default=None)

    async def sleep(self, seconds: float) -> None:
        """Sleep until so many seconds were let pass."""
        future = asyncio.get_running_loop().create_future()
        self._sleepers[future] = self._passed + seconds
        try:
            await future
        finally:
            self._sleepers.pop(future, None)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake whoever slept until then."""
        self._passed += seconds
        for future, until in list(self._sleepers.items()):
            if until <= self._passed and not future.done():
                del self._sleepers[future]
                future.set_result(None)

    def oversleep(self, seconds: float) -> None:
        """Let time pass and wake nobody, as if the process had not been scheduled."""
        self._passed += seconds
