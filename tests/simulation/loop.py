"""An event loop on virtual time, without a selector: what runs next is decided by a seed, and nothing else.

Handles belong to the process in whose context they were made. A process that is killed never runs again: that is no
cancellation, which would run its `finally` clauses. A frozen one stands still, and goes on where it was.
"""

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from random import Random
from typing import Any, TypeVar
from weakref import WeakSet

_Value = TypeVar("_Value")


class Process:
    """What is killed and frozen as one.

    Args:
        name: for people, such as `operator-2`.

    Attributes:
        dead: it was killed.
        frozen: it stands still.
        queue: what it is going to run.
        tasks: what it was doing; kept when it is killed, so that nothing of it is ever cleaned up.
        listed: the resources of which it was sent a whole list.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.queue: deque[Handle] = deque()
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.graves: list[object] = []
        self.listed: set[str] = set()

    def kill(self) -> None:
        """End it between two steps."""
        self.dead = True
        self.graves = [list(self.tasks), list(self.queue)]
        self.queue.clear()


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class _Task(asyncio.Task[Any]):
    """A task whose hash is a number: sets of tasks have an order that does not hang on addresses."""

    def __init__(self, *args: Any, loop: "SimLoop", **options: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(*args, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    """See `_Task`."""

    __slots__ = ("number",)
    number: int

    def __hash__(self) -> int:
        return self.number


class Handle:
    """What is going to run: `asyncio.Handle` without what a debugger needs; most of a run is made of these."""

    __slots__ = ("args", "callback", "context", "live")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.live = True

    def cancel(self) -> None:
        """Let it not run."""
        self.live = False
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        """Tell whether it is not to run."""
        return not self.live


def _nothing() -> None:
    """Do nothing."""


class Livelock(AssertionError):  # noqa: N818 - a sentence about a run
    """So much ran while so little time passed that it would never end."""


class SimLoop(asyncio.BaseEventLoop):
    """The loop.

    Args:
        random: decides the order of what is ready at one moment in different processes.
        drag: seconds that each step takes.
        most: steps in one virtual second.

    Attributes:
        steps: how many handles ran.
        now: virtual seconds.
    """

    def __init__(self, random: Random, *, drag: float = 0.0, most: int = 200_000) -> None:
        super().__init__()
        self._draw = random.random
        self.now = 0.0
        self._drag = drag
        self._most = most
        self._next_second = 0
        self._steps_before = 0
        self._timers: list[tuple[float, float, int, Handle]] = []
        self._order = itertools.count()
        self.numbers = itertools.count(1)
        self._busy: list[Process] = []
        self._graveyard: list[Process] = []
        self.world = Process("world")
        self.world_context = contextvars.copy_context()
        self.world_context.run(PROCESS.set, self.world)
        self.steps = 0
        self.set_task_factory(_make_task)

    # ---- time ----

    def time(self) -> float:
        """Return virtual seconds."""
        return self.now

    # ---- scheduling ----

    def call_soon(  # type: ignore[override]  # plain arguments, and a slim handle
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        """Run it in its process's turn."""
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._queue(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there are no other threads

    def call_at(  # type: ignore[override]  # plain arguments, and a slim handle
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Run it at a moment."""
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        heapq.heappush(self._timers, (when, self._draw(), next(self._order), handle))
        return handle

    def call_later(  # type: ignore[override]  # plain arguments, and a slim handle
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Run it after so many seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def in_world(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Have the world do something, whatever becomes of the process that asks for it."""
        when = self.now + delay if delay > 0.0 else self.now
        handle = Handle(callback, args, self.world_context)
        heapq.heappush(self._timers, (when, self._draw(), next(self._order), handle))

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task of a process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, process)
        return context.run(self.create_task, work)

    def kill(self, process: Process) -> None:
        """End a process between two steps; nothing of it is ever cleaned up."""
        process.kill()
        self._graveyard.append(process)

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on."""
        process.frozen = False
        if process.queue and process not in self._busy:
            self._busy.append(process)

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future with a hash of its own."""
        future = _Future(loop=self)
        future.number = next(self.numbers)
        return future

    async def within(self, seconds: float | None, future: "asyncio.Future[_Value]") -> _Value:
        """Wait for a future of nobody else's; after so many seconds it fails. `asyncio.timeout` costs five times as much."""
        if seconds is None:
            return await future
        late = self.call_at(self.now + seconds, _come_too_late, future)
        try:
            return await future
        finally:
            late.cancel()

    def run_in_executor(  # type: ignore[override]  # inline
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run it now, here."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, the future carries it
            future.set_exception(error)
        return future

    def _queue(self, handle: Handle) -> None:
        process = handle.context.get(PROCESS, self.world)
        if process.dead:
            process.graves.append(handle)
            return
        if not process.queue and not process.frozen:
            self._busy.append(process)
        process.queue.append(handle)

    # ---- running ----

    def _run_once(self) -> None:
        """Run one handle after the other until the loop is to stop; let time pass where there is none."""
        busy, timers, draw, drag = self._busy, self._timers, self._draw, self._drag
        while not self._stopping:  # type: ignore[attr-defined]  # no public name
            while not busy:
                self._pass()
            if timers and timers[0][0] <= self.now:
                self._release()
            at = int(draw() * len(busy)) if len(busy) > 1 else 0
            process = busy[at]
            queue = process.queue
            if process.frozen or not queue:
                busy[at] = busy[-1]
                busy.pop()
                continue
            handle = queue.popleft()
            if not queue:
                busy[at] = busy[-1]
                busy.pop()
            if not handle.live:
                continue
            try:
                handle.context.run(handle.callback, *handle.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
                self._failed(handle, error)
            self.steps += 1
            self.now += drag
            if self.now >= self._next_second:
                self._next_second, self._steps_before = int(self.now) + 1, self.steps
            elif self.steps - self._steps_before > self._most:
                raise Livelock(f"{self._most} steps within one second")

    def _failed(self, handle: Handle, error: BaseException) -> None:
        name = getattr(handle.callback, "__qualname__", "a callback")
        self.call_exception_handler({"message": f"Exception in callback {name}", "exception": error})

    def _pass(self) -> None:
        """Let time pass until the next timer."""
        if not self._timers:
            raise Livelock("nothing is left to happen")
        self.now = max(self.now, self._timers[0][0])
        self._release()

    def _release(self) -> None:
        timers, now = self._timers, self.now
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[3]
            if handle.live:
                self._queue(handle)

    # ---- what a loop without a selector has not ----

    def _write_to_self(self) -> None:
        return

    def _process_events(self, event_list: object) -> None:
        return

    async def shutdown_default_executor(self) -> None:
        """Do nothing."""


def _come_too_late(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _make_task(
    loop: Any, work: "Coroutine[Any, Any, Any] | Generator[Any, None, Any]", **options: Any
) -> "asyncio.Task[Any]":
    task = _Task(work, loop=loop, **options)
    process = PROCESS.get(None)
    if process is not None:
        process.tasks.add(task)
    return task
