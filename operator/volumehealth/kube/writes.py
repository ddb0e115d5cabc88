"""The one way out: a bounded, prioritised, level-triggered queue of writes to the API server.

What is queued under a key is the newest thing wanted there; its body is built when it is sent. Nothing is lost
while the server is away, and nothing is sent twice because of it.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from random import Random
from typing import Protocol

from volumehealth import errors

log = logging.getLogger(__name__)


class Requests(Protocol):
    """What the queue needs of `kube.api.Api`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> bytes:
        """Send one request; raise an `errors.ApiError` unless the answer is 2xx."""


class Priority(IntEnum):
    """Which write goes first."""

    STATUS = 0
    """A policy's status and its own Events: few, and the front page."""
    CLAIM_EVENT = 1
    RECORD = 2
    POD_EVENT = 3


@dataclass(frozen=True, slots=True)
class Write:
    """One request. A GET is allowed: it is how an Event that exists already is looked at before it is changed."""

    method: str
    path: str
    body: object = None
    query: Mapping[str, str] | None = None
    content_type: str = "application/json"


class Result(StrEnum):
    """How a write ended. A write that is retried has not ended."""

    DONE = "Done"
    CONFLICT = "Conflict"
    """409: it exists already, or has another uid."""
    NOT_FOUND = "NotFound"
    """404 to anything but a POST."""
    GONE = "Gone"
    """The namespace is gone or going: there is nobody left to tell."""
    INVALID = "Invalid"
    """The server will never take this."""
    UNWANTED = "Unwanted"
    """When its turn came, nobody wanted it any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `on_done` is told: how the write ended and, if it was done, the server's answer."""

    result: Result
    body: bytes = b""


Make = Callable[[], Write | None]
"""Builds the write when its turn has come; None if it is not wanted any more."""
OnDone = Callable[[Outcome], None]
Observe = Callable[[str, str], None]
"""Told the kind of every write that was tried and what came of it (a `Result`, `Retried` or `Forbidden`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How hard the API server may be pressed. Times in seconds.

    Attributes:
        in_flight: requests at once; one while the server is in trouble.
        paced_per_second: rate of writes that were put with `paced=True`.
        refusable: from this many waiting writes on, Pod events are refused (the next check offers them again).
        timeout: of one request.
        first_backoff, last_backoff: waiting time after the first failure and at most.
        first_forbidden, last_forbidden: waiting time after a missing right, which grows fourfold. It begins small: an
            API server that has just started refuses everybody until it has read its roles.
    """

    in_flight: int = 16
    paced_per_second: float = 50.0
    refusable: int = 20_000
    timeout: float = 15.0
    first_backoff: float = 0.5
    last_backoff: float = 30.0
    first_forbidden: float = 2.0
    last_forbidden: float = 600.0


_COMPLAIN_EVERY = 600.0
"""Seconds between two log lines about the same kind of refused write."""


@dataclass(eq=False, slots=True)
class _Entry:
    """A waiting write."""

    key: Hashable
    make: Make
    kind: str
    priority: Priority
    on_done: OnDone | None
    paced: bool
    policy: str
    turn: int
    order: int
    failures: int = 0
    refusals: int = 0

    @property
    def lane(self) -> "_Lane":
        """Where it takes its turn: what is paced must not hold up what is not, nor be held up by it."""
        return self.priority, self.paced


_Lane = tuple[Priority, bool]
"""Priority, and whether it is paced."""
_Place = tuple[int, int, int, _Entry]
"""Priority, turn, order."""


@dataclass(slots=True)
class _Heaps:
    """Where waiting entries stand; an entry that was replaced stays in its heap until it comes up."""

    ready: list[_Place] = field(default_factory=list)
    paced: list[_Place] = field(default_factory=list)
    delayed: list[tuple[float, int, _Entry]] = field(default_factory=list)


class WriteQueue:
    """Sends writes in order of priority until `run` is cancelled.

    Among writes of one priority policies take turns, so that whoever has one thing to tell need not wait for another's
    ten thousand. (Start-time fair queueing: each write gets the turn after its policy's last one.)

    Args:
        api: where to.
        random: jitter of the waiting times.
        observe: counts what was tried.
        limits: how hard the server may be pressed.
    """

    def __init__(
        self, api: Requests, *, random: Random, observe: Observe, limits: Limits | None = None
    ) -> None:
        self._api = api
        self._random = random
        self._observe = observe
        self._limits = limits or Limits()
        self._entries: dict[Hashable, _Entry] = {}
        self._in_flight: set[Hashable] = set()
        self._heaps = _Heaps()
        self._order = 0
        self._served: dict[_Lane, int] = {}
        self._turns: dict[tuple[_Lane, str], int] = {}
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._troubles = 0
        self._gate = 0.0
        self._next_paced = 0.0
        self._complained: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many writes wait or are on their way."""
        return len(self._entries.keys() | self._in_flight)

    def __contains__(self, key: Hashable) -> bool:
        """Tell whether a write waits under this key or is on its way."""
        return key in self._entries or key in self._in_flight

    def put(
        self,
        key: Hashable,
        make: Make,
        *,
        kind: str,
        priority: Priority,
        policy: str = "",
        on_done: OnDone | None = None,
        paced: bool = False,
        delay: float = 0.0,
    ) -> bool:
        """Want this write; whatever else waits under the key is forgotten, its `on_done` uncalled.

        Args:
            key: what is written, such as an object's path; never two requests at once for one key.
            make: builds the request when its turn has come.
            kind: for metrics and logs: `status`, `event`, `record`.
            priority: which goes first.
            policy: whose check it tells.
            on_done: called once it has ended; it may put the next write.
            paced: send at `paced_per_second` at most, after others of its priority.
            delay: seconds before it is sent.

        Returns:
            False if it was refused: too many wait, and it is a Pod event.
        """
        if priority is Priority.POD_EVENT and len(self._entries) >= self._limits.refusable:
            self._observe(kind, "Refused")
            return False
        self._order += 1
        turn = self._next_turn(key, (priority, paced), policy)
        entry = _Entry(key, make, kind, priority, on_done, paced, policy, turn, self._order)
        self._entries[key] = entry
        if key not in self._in_flight:
            self._place(entry, delay)
        return True

    def _next_turn(self, key: Hashable, lane: "_Lane", policy: str) -> int:
        """Return the turn after the policy's last one; who waits already keeps its turn."""
        waiting = self._entries.get(key)
        if waiting is not None and (waiting.lane, waiting.policy) == (lane, policy):
            return waiting.turn
        turn = max(self._served.get(lane, 0), self._turns.get((lane, policy), 0)) + 1
        self._turns[lane, policy] = turn
        return turn

    def discard(self, key: Hashable) -> None:
        """Forget what waits under a key; what is on its way already goes on."""
        self._entries.pop(key, None)
        self._settled.set()

    async def run(self) -> None:
        """Send until cancelled. Costs nothing while nothing waits."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                self._release_delayed()
                while (entry := self._next()) is not None:
                    group.create_task(self._send(entry))
                await self._sleep()

    async def drain(self, timeout: float) -> int:
        """Wait until nothing is ready or on its way, while `run` goes on.

        Args:
            timeout: seconds at most.

        Returns:
            How many writes are left, those that wait for a later time included.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._busy():
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            log.warning("writes left undone", extra={"left": len(self)})
        return len(self)

    def _busy(self) -> bool:
        waiting = itertools.chain(self._heaps.ready, self._heaps.paced)
        return bool(self._in_flight) or any(self._current(entry) for *_, entry in waiting)

    def _current(self, entry: _Entry) -> bool:
        return self._entries.get(entry.key) is entry

    def _place(self, entry: _Entry, delay: float) -> None:
        if delay > 0:
            heapq.heappush(self._heaps.delayed, (_time() + delay, entry.order, entry))
        else:
            lane = self._heaps.paced if entry.paced else self._heaps.ready
            heapq.heappush(lane, (entry.priority, entry.turn, entry.order, entry))
        self._wake.set()

    def _release_delayed(self) -> None:
        delayed = self._heaps.delayed
        while delayed and (_due(delayed[0][0]) or not self._current(delayed[0][2])):
            entry = heapq.heappop(delayed)[2]
            if self._current(entry):
                self._place(entry, 0)

    def _next(self) -> _Entry | None:
        """Take the entry to send now, if one may be sent."""
        limit = 1 if self._troubles else self._limits.in_flight
        if len(self._in_flight) >= limit or not _due(self._gate):
            return None
        ready, paced = self._head(self._heaps.ready), None
        if _due(self._next_paced):
            paced = self._head(self._heaps.paced)
        if paced is not None and (ready is None or paced.priority < ready.priority):
            heapq.heappop(self._heaps.paced)
            self._next_paced = max(_time() - 1, self._next_paced) + 1 / self._limits.paced_per_second
            return self._taken(paced)
        if ready is not None:
            heapq.heappop(self._heaps.ready)
            return self._taken(ready)
        return None

    def _taken(self, entry: _Entry) -> _Entry:
        del self._entries[entry.key]
        self._served[entry.lane] = max(self._served.get(entry.lane, 0), entry.turn)
        if not self._entries:
            self._turns.clear()
        self._in_flight.add(entry.key)
        return entry

    def _head(self, lane: list[_Place]) -> _Entry | None:
        """Return the first entry of a lane, after dropping those that were replaced."""
        while lane and not self._current(lane[0][-1]):
            heapq.heappop(lane)
        return lane[0][-1] if lane else None

    async def _sleep(self) -> None:
        """Wait for a put, the end of a request, or the next moment at which something may be sent."""
        moments = [self._heaps.delayed[0][0]] if self._heaps.delayed else []
        if self._heaps.ready or self._heaps.paced:
            moments.extend(moment for moment in (self._gate, self._next_paced) if not _due(moment))
        try:
            async with asyncio.timeout_at(min(moments, default=None)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, entry: _Entry) -> None:
        try:
            ended = await self._try(entry)
        finally:
            self._in_flight.discard(entry.key)
            self._wake.set()
        newer = self._entries.get(entry.key)
        if newer is not None:
            self._place(newer, 0)
        if isinstance(ended, Outcome):
            self._observe(entry.kind, ended.result)
            if entry.on_done is not None:
                entry.on_done(ended)
        elif newer is None:
            entry.failures += 1
            self._entries[entry.key] = entry
            self._place(entry, ended)
        self._settled.set()

    async def _try(self, entry: _Entry) -> Outcome | float:
        """Send once; return how it ended, or the seconds to wait before it is tried again."""
        write = entry.make()
        if write is None:
            return Outcome(Result.UNWANTED)
        try:
            body = await self._api.request(
                write.method,
                write.path,
                query=write.query,
                body=write.body,
                content_type=write.content_type,
                timeout=self._limits.timeout,
            )
        except errors.ApiError as error:
            return self._failed(entry, write, error)
        self._troubles = 0
        return Outcome(Result.DONE, body)

    def _failed(self, entry: _Entry, write: Write, error: errors.ApiError) -> Outcome | float:
        if _in_trouble(error):
            self._observe(entry.kind, "Retried")
            if _due(self._gate):  # of many requests that fail together, one counts
                self._troubles += 1
                self._gate = _time() + self._backoff(self._troubles, None)
            self._gate = max(self._gate, _time() + (error.retry_after or 0.0))
            return 0.0
        self._troubles = 0
        match error:
            case errors.Conflict():
                return Outcome(Result.CONFLICT)
            case errors.NotFound():
                return Outcome(Result.GONE if write.method == "POST" else Result.NOT_FOUND)
            case errors.Forbidden() if "being terminated" in str(error):
                return Outcome(Result.GONE)
            case errors.Forbidden():
                self._observe(entry.kind, "Forbidden")
                self._complain(entry.kind, "a right is missing; trying again later", error)
                entry.refusals += 1
                grown = self._limits.first_forbidden * 4.0 ** min(entry.refusals - 1, 16)
                return min(self._limits.last_forbidden, grown) * self._jitter()
            case _ if error.status >= 500 or isinstance(error, errors.ApiUnreachable):
                self._observe(entry.kind, "Retried")
                return self._backoff(entry.failures + 1, error.retry_after)
            case _:
                self._complain(entry.kind, "the API server does not take this write", error)
                return Outcome(Result.INVALID)

    def _backoff(self, failures: int, retry_after: float | None) -> float:
        limits = self._limits
        grown = min(limits.last_backoff, limits.first_backoff * 2.0 ** min(failures - 1, 16))
        return max(retry_after or 0.0, grown * self._jitter())

    def _jitter(self) -> float:
        return self._random.uniform(0.8, 1.2)

    def _complain(self, kind: str, what: str, error: errors.ApiError) -> None:
        """Log a refused write, once in ten minutes for each kind."""
        now = _time()
        if now >= self._complained.get(kind, 0.0):
            self._complained[kind] = now + _COMPLAIN_EVERY
            log.warning(what, extra={"kind": kind, "error": str(error)})


def _in_trouble(error: errors.ApiError) -> bool:
    """Tell whether the server as a whole, not this one write, is the trouble."""
    away = isinstance(error, errors.ApiUnreachable) and error.status == 0
    return away or isinstance(error, errors.TooManyRequests) or error.status in (502, 503, 504)


def _time() -> float:
    return asyncio.get_running_loop().time()


def _due(moment: float) -> bool:
    """Tell whether a moment has come; a loop's timers may fire early by the resolution of its clock."""
    return moment <= _time() + 0.001
