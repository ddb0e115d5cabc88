"""Reads that may hang, each bounded in time: one that hangs is left behind, and delays no other.

A read of sysfs can wait in the kernel for ever, and a thread that waits there cannot be ended. So the jobs of a round run
one after another in a thread; when one takes too long, the thread is abandoned with it and another one takes the rest.
A job that hangs is not begun again before it returned.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

PATIENCE = 2.0
"""Seconds that one job may take."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class HangsError(Exception):
    """A job did not return in time, now or in an earlier round."""


@dataclass(slots=True)
class _Thread:
    """What a thread works through.

    Attributes:
        jobs: what is left, by key.
        current: what it works on now.
        abandoned: it hangs, and what it brings is not wanted any more.
        advanced: set when it began something, or ended.
    """

    jobs: deque[tuple[Hashable, Callable[[], object]]]
    results: dict[Hashable, object] = field(default_factory=dict)
    current: Hashable | None = None
    begun: int = 0
    abandoned: bool = False
    ended: bool = False


def in_thread(work: Callable[[], None]) -> None:
    """Do something in a thread of its own, which ends with the process."""
    threading.Thread(target=work, daemon=True, name="look").start()


class Workers:
    """Runs rounds of jobs.

    Args:
        patience: seconds that one job may take.
        start: has something done beside the event loop; a simulation, which has no threads, does it at once.
    """

    def __init__(
        self, patience: float = PATIENCE, *, start: Callable[[Callable[[], None]], None] = in_thread
    ) -> None:
        self._patience = patience
        self._start = start
        self._hanging: dict[Hashable, _Thread] = {}

    @property
    def hanging(self) -> frozenset[Hashable]:
        """What has not returned."""
        return frozenset(self._hanging)

    async def run(self, jobs: Mapping[K, Callable[[], T]]) -> dict[K, T | Exception]:
        """Do each job once.

        Returns:
            What each returned or raised; HangsError for one that does not return.
        """
        self._hanging = {key: thread for key, thread in self._hanging.items() if not thread.ended}
        due: deque[tuple[Hashable, Callable[[], object]]] = deque(
            (key, job) for key, job in jobs.items() if key not in self._hanging
        )
        results: dict[Hashable, object] = {}
        while due:
            thread = await self._work(due)
            results |= thread.results
        return {key: results.get(key, HangsError()) for key in jobs}  # type: ignore[misc]  # what the job returned

    async def _work(self, due: deque[tuple[Hashable, Callable[[], object]]]) -> _Thread:
        """Let a thread do jobs until all are done or one hangs; what is left stays in `due`."""
        thread, advanced, loop = _Thread(due), asyncio.Event(), asyncio.get_running_loop()

        def advance() -> None:
            try:
                loop.call_soon_threadsafe(advanced.set)
            except RuntimeError:  # the process ends
                thread.abandoned = True

        self._start(partial(_serve, thread, advance))
        while not thread.ended:
            begun = thread.begun
            try:
                async with asyncio.timeout(self._patience):
                    await advanced.wait()
                    advanced.clear()
            except TimeoutError:
                if thread.begun == begun and not thread.ended:
                    thread.abandoned = True
                    if thread.current is not None:
                        self._hanging[thread.current] = thread
                    left = _Thread(due, results=dict(thread.results))
                    thread.jobs = deque()
                    return left
        return thread


def _serve(thread: _Thread, advance: Callable[[], None]) -> None:
    while not thread.abandoned:
        try:
            key, job = thread.jobs.popleft()
        except IndexError:
            break
        thread.current, thread.begun = key, thread.begun + 1
        try:
            result: object = job()
        except Exception as error:  # noqa: BLE001 - it is handed to who asked
            result = error
        if not thread.abandoned:
            thread.results[key] = result
    thread.ended = True
    advance()
