"""The one way out: a bounded, prioritised, level-triggered queue of writes to the API server.

What is queued under a key is the newest thing wanted there; its body is built when it is sent. Nothing is lost
while the server is away, and nothing is sent twice because of it. Each write ends in exactly one outcome.

Only a leader writes. A process that stood still for longer than its Lease lasts, and goes on, has writes in hand that are
older than what the next leader has written since. It must not send them in the moment before it sees that its Lease is
lost, so the Lease is looked at last.
"""

import asyncio
import heapq
import itertools
import logging
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Protocol

from volumehealth import errors
from volumehealth.kube.answers import check_read
from volumehealth.kube.backoff import Backoffs, Cause, Growth

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


@dataclass(frozen=True, slots=True)
class Write:
    """One request. A GET is allowed: it is how an Event that exists already is looked at before it is changed."""

    method: str
    path: str
    body: object = None
    query: Mapping[str, str] | None = None
    content_type: str = "application/json"


class Result(StrEnum):
    """How a write ended; each ends once. A write that is retried has not ended."""

    DONE = "Done"
    CONFLICT = "Conflict"
    """409: it exists already, or has another uid."""
    NOT_FOUND = "NotFound"
    """404 to anything but a POST."""
    GONE = "Gone"
    """The namespace is gone or going: there is nobody left to tell."""
    INVALID = "Invalid"
    """The server will never take this."""
    FAILED = "Failed"
    """Its body could not be built or sent: an error of this program."""
    DROPPED = "Dropped"
    """Nobody wanted it any more: it was discarded, or its `make` returned None."""
    REPLACED = "Replaced"
    """A newer write took its place; that one goes on."""
    REFUSED = "Refused"
    """Too many wait, and it was put with `refusable=True`."""


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


_SERVER = Growth(0.5, 2.0, 30.0)
_PRESSED = Growth(0.5, 2.0, 1.0)
_FORBIDDEN = Growth(2.0, 4.0, 600.0)
_REFUSED = Growth(2.0, 2.0, 600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How hard the API server may be pressed. Times in seconds.

    Attributes:
        in_flight: requests at once; one while the server is in trouble, and one of a kind that it has too many of.
        paced_per_second: rate of writes that were put with `paced=True`.
        refusable: from this many waiting writes on, those that may be refused are.
        timeout: of one request.
        server: waiting time after a failure of the server.
        pressed: waiting time of a kind of which the server has too many (429) and does not say for how long.
        forbidden: waiting time after a missing right. It begins small: an API server that has just started refuses
            everybody until it has read its roles.
        refused: waiting time of a key whose write the server does not take: what is wrong with it may change.
    """

    in_flight: int = 16
    paced_per_second: float = 50.0
    refusable: int = 20_000
    timeout: float = 15.0
    server: Growth = _SERVER
    pressed: Growth = _PRESSED
    forbidden: Growth = _FORBIDDEN
    refused: Growth = _REFUSED


_NEVER = frozenset({400, 405, 413, 415, 422})
"""Answers by which the server says that it will never take this; any other answer may be another one next time."""
_COMPLAIN_EVERY = 600.0
"""Seconds between two log lines about the same kind of refused write."""


@dataclass(eq=False, slots=True)
class _Entry:
    """A waiting write."""

    key: Hashable
    make: Make
    kind: str
    priority: int
    on_done: OnDone | None
    paced: bool
    flow: str
    turn: int
    order: int
    due: float = 0.0

    @property
    def lane(self) -> "_Lane":
        """Where it takes its turn: what is paced must not hold up what is not, nor be held up by it."""
        return self.priority, self.paced


_Lane = tuple[int, bool]
"""Priority, and whether it is paced."""
_Place = tuple[int, int, int, _Entry]
"""Priority, turn, order."""


@dataclass(slots=True)
class _Heaps:
    """Where waiting entries stand, by kind; an entry that was replaced stays in its heap until it comes up."""

    ready: dict[str, list[_Place]] = field(default_factory=dict)
    paced: dict[str, list[_Place]] = field(default_factory=dict)
    delayed: list[tuple[float, int, _Entry]] = field(default_factory=list)


@dataclass(slots=True)
class _Pressure:
    """Of a kind that the server has too many of: how often in a row it said so, and until when none is sent."""

    refusals: int = 0
    gate: float = 0.0


class WriteQueue:
    """Sends writes in order of priority until `run` is cancelled.

    Among writes of one priority flows take turns, so that a flow with one write need not wait for another's ten
    thousand. (Start-time fair queueing: each write gets the turn after its flow's last one.)

    Args:
        api: where to.
        random: jitter of the waiting times.
        observe: counts what was tried.
        limits: how hard the server may be pressed.
        leads: whether the Lease is surely ours now (`LeaseElector.holds`).
    """

    def __init__(
        self,
        api: Requests,
        *,
        random: Random,
        observe: Observe,
        limits: Limits | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._api = api
        self._leads = leads
        self._random = random
        self._observe = observe
        self._limits = limits or Limits()
        self._entries: dict[Hashable, _Entry] = {}
        self._in_flight: dict[Hashable, str] = {}
        self._heaps = _Heaps()
        self._order = 0
        self._served: dict[_Lane, int] = {}
        self._turns: dict[tuple[_Lane, str], int] = {}
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._troubles = 0
        self._gate = 0.0
        self._pressures: dict[str, _Pressure] = {}
        self._next_paced = 0.0
        self._complained: dict[str, float] = {}
        self._untaken: dict[str, float] = {}
        growths = {
            Cause.SERVER: self._limits.server,
            Cause.FORBIDDEN: self._limits.forbidden,
            Cause.REFUSED: self._limits.refused,
        }
        self._backoffs = Backoffs(growths, random=random)

    def __len__(self) -> int:
        """Return how many writes wait or are on their way."""
        return len(self._entries) + sum(key not in self._entries for key in self._in_flight)

    def __contains__(self, key: Hashable) -> bool:
        """Tell whether a write waits under this key or is on its way."""
        return key in self._entries or key in self._in_flight

    def put(
        self,
        key: Hashable,
        make: Make,
        *,
        kind: str,
        priority: int,
        flow: str = "",
        on_done: OnDone | None = None,
        paced: bool = False,
        delay: float = 0.0,
        refusable: bool = False,
    ) -> bool:
        """Want this write; what else waits under the key is replaced.

        Args:
            key: what is written, such as an object's path; never two requests at once for one key. A key whose last
                request failed waits for the rest of its back-off, whatever is put.
            make: builds the request when its turn has come.
            kind: for metrics and logs, such as `event`.
            priority: the lowest number goes first.
            flow: whose write it is; flows take turns.
            on_done: called once, when it has ended, in whatever way; it may put the next write.
            paced: send at `paced_per_second` at most, after others of its priority.
            delay: seconds before it is sent.
            refusable: whether it may be refused while very many wait.

        Returns:
            False if it was refused.
        """
        self._order += 1
        turn = self._next_turn(key, (priority, paced), flow)
        entry = _Entry(key, make, kind, priority, on_done, paced, flow, turn, self._order)
        if refusable and len(self._entries) >= self._limits.refusable:
            self._end(entry, Outcome(Result.REFUSED))
            return False
        replaced = self._entries.get(key)
        self._entries[key] = entry
        if key not in self._in_flight:
            self._place(entry, max(delay, self._backoffs.left(key, _time())))
        if replaced is not None:
            self._end(replaced, Outcome(Result.REPLACED))
        return True

    def back_off(self, key: Hashable, *, kind: str) -> None:
        """Make a key wait, longer each time, because its last write did not bring about what the caller wants."""
        self._backoffs.failed(key, Cause.REFUSED, kind=kind, now=_time())

    def calm(self, *, other_than: str) -> float:
        """Return for how many seconds no write of another kind had to be tried again; infinity if none ever had to."""
        failed = max((at for kind, at in self._untaken.items() if kind != other_than), default=-math.inf)
        return _time() - failed

    def waits(self, key: Hashable) -> bool:
        """Tell whether a key waits for the end of its back-off."""
        return self._backoffs.left(key, _time()) > 0

    def _next_turn(self, key: Hashable, lane: "_Lane", flow: str) -> int:
        """Return the turn after the flow's last one; a write that replaces another keeps its turn."""
        waiting = self._entries.get(key)
        if waiting is not None and (waiting.lane, waiting.flow) == (lane, flow):
            return waiting.turn
        turn = max(self._served.get(lane, 0), self._turns.get((lane, flow), 0)) + 1
        self._turns[lane, flow] = turn
        return turn

    def discard(self, key: Hashable) -> None:
        """Drop what waits under a key; what is on its way already goes on."""
        dropped = self._entries.pop(key, None)
        if dropped is not None:
            self._end(dropped, Outcome(Result.DROPPED))
        self._settled.set()

    def _end(self, entry: _Entry, outcome: Outcome) -> None:
        """Tell a write's one outcome. An error in the callback costs that write only."""
        self._observe(entry.kind, outcome.result)
        if entry.on_done is None:
            return
        try:
            entry.on_done(outcome)
        except Exception:  # noqa: BLE001 - one object must not end the process
            self._observe(entry.kind, "CallbackFailed")
            self._report_error(entry, "the end of a write could not be handled")

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
        waiting = itertools.chain(*self._heaps.ready.values(), *self._heaps.paced.values())
        soon = (entry for *_, entry in self._heaps.delayed if entry.kind in self._pressures)
        places = itertools.chain((entry for *_, entry in waiting), soon)
        return bool(self._in_flight) or any(self._current(entry) for entry in places)

    def _current(self, entry: _Entry) -> bool:
        return self._entries.get(entry.key) is entry

    def _place(self, entry: _Entry, delay: float) -> None:
        if delay > 0:
            entry.due = _time() + delay
            heapq.heappush(self._heaps.delayed, (entry.due, entry.order, entry))
        else:
            lane = self._heaps.paced if entry.paced else self._heaps.ready
            place = (entry.priority, entry.turn, entry.order, entry)
            heapq.heappush(lane.setdefault(entry.kind, []), place)
        self._wake.set()

    def _release_delayed(self) -> None:
        delayed = self._heaps.delayed
        while delayed and (_due(delayed[0][0]) or not self._current(delayed[0][2])):
            due, _, entry = heapq.heappop(delayed)
            if self._current(entry) and entry.due == due:  # it may have been placed anew
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
            heapq.heappop(self._heaps.paced[paced.kind])
            self._next_paced = max(_time() - 1, self._next_paced) + 1 / self._limits.paced_per_second
            return self._taken(paced)
        if ready is not None:
            heapq.heappop(self._heaps.ready[ready.kind])
            return self._taken(ready)
        return None

    def _taken(self, entry: _Entry) -> _Entry:
        del self._entries[entry.key]
        self._served[entry.lane] = max(self._served.get(entry.lane, 0), entry.turn)
        if not self._entries:
            self._turns.clear()
        self._in_flight[entry.key] = entry.kind
        return entry

    def _head(self, lane: Mapping[str, list[_Place]]) -> _Entry | None:
        """Return the first entry of a lane that may be sent, after dropping those that were replaced."""
        first: _Place | None = None
        for kind, places in lane.items():
            while places and not self._current(places[0][-1]):
                heapq.heappop(places)
            if places and (first is None or places[0] < first) and self._may_send(kind):
                first = places[0]
        return first[-1] if first is not None else None

    def _may_send(self, kind: str) -> bool:
        """Tell whether one of a kind may be sent; of which there were too many, one at once."""
        pressure = self._pressures.get(kind)
        return pressure is None or (_due(pressure.gate) and kind not in self._in_flight.values())

    async def _sleep(self) -> None:
        """Wait for a put, the end of a request, or the next moment at which something may be sent."""
        moments = [self._heaps.delayed[0][0]] if self._heaps.delayed else []
        if any(self._heaps.ready.values()) or any(self._heaps.paced.values()):
            gates = (pressure.gate for pressure in self._pressures.values())
            moments.extend(moment for moment in (self._gate, self._next_paced, *gates) if not _due(moment))
        try:
            async with asyncio.timeout_at(min(moments, default=None)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, entry: _Entry) -> None:
        try:
            ended = await self._try(entry)
        except asyncio.CancelledError:
            following = self._entries.setdefault(
                entry.key, entry
            )  # whoever runs the queue next sends it again
            self._in_flight.pop(entry.key, None)
            self._place(following, 0)
            if following is not entry:
                self._end(entry, Outcome(Result.REPLACED))
            raise
        finally:
            self._in_flight.pop(entry.key, None)
            self._wake.set()
        newer = self._entries.get(entry.key)
        if newer is not None:
            self._place(newer, self._backoffs.left(entry.key, _time()))
        if isinstance(ended, Outcome):
            self._end(entry, ended)
        elif newer is not None:
            self._end(entry, Outcome(Result.REPLACED))
        else:
            self._entries[entry.key] = entry
            self._place(entry, ended)
        self._settled.set()

    async def _try(self, entry: _Entry) -> Outcome | float:
        """Send once; return how it ended, or the seconds to wait before it is tried again."""
        try:
            write = entry.make()
            if write is None:
                return Outcome(Result.DROPPED)
            try:
                body = await self._request(write)
            except errors.ApiError as error:
                return self._failed(entry, write, error)
        except Exception:  # noqa: BLE001 - one object must not end the process
            self._report_error(entry, "a write could not be made")
            self._backoffs.failed(entry.key, Cause.REFUSED, kind=entry.kind, now=_time())
            return Outcome(Result.FAILED)
        self._troubles = 0
        self._pressures.pop(entry.kind, None)
        if self._backoffs.succeeded(entry.key) is Cause.FORBIDDEN:
            self._try_again(entry.kind)
        return Outcome(Result.DONE, body)

    async def _request(self, write: Write) -> bytes:
        # It is tried again if this process leads on.
        if write.method != "GET" and not self._leads():
            raise errors.ApiUnreachable("the Lease was not renewed in time, another process may lead now")
        answer = await self._api.request(
            write.method,
            write.path,
            query=write.query,
            body=write.body,
            content_type=write.content_type,
            timeout=self._limits.timeout,
        )
        if write.method == "GET":
            check_read(answer, request=f"GET {write.path}")
        return answer

    def _try_again(self, kind: str) -> None:
        """A right is back: try what else of this kind waits for it."""
        for key in self._backoffs.end_waits(kind, Cause.FORBIDDEN, _time()):
            waiting = self._entries.get(key)
            if waiting is not None and key not in self._in_flight:
                waiting.due = 0.0
                self._place(waiting, 0)

    def _failed(self, entry: _Entry, write: Write, error: errors.ApiError) -> Outcome | float:
        if _in_trouble(error):
            self._untaken[entry.kind] = _time()
            self._observe(entry.kind, "Retried")
            if _due(self._gate):  # of many requests that fail together, one counts
                self._troubles += 1
                grown = self._limits.server.after(self._troubles) * self._random.uniform(0.8, 1.2)
                self._gate = _time() + grown
            self._gate = max(self._gate, _time() + (error.retry_after or 0.0))
            return 0.0
        self._troubles = 0
        if isinstance(error, errors.TooManyRequests):
            return self._pressed(entry, error)
        self._pressures.pop(entry.kind, None)
        match error:
            case errors.Conflict() if write.method != "GET":  # nothing conflicts with a look
                return Outcome(Result.CONFLICT)
            case errors.NotFound():
                return Outcome(Result.GONE if write.method == "POST" else Result.NOT_FOUND)
            case errors.Forbidden() if "being terminated" in str(error):
                return Outcome(Result.GONE)
            case errors.Forbidden():
                self._untaken[entry.kind] = _time()
                self._observe(entry.kind, "Forbidden")
                self._complain(entry.kind, "refused for now; trying again later", error)
                return self._backoffs.failed(entry.key, Cause.FORBIDDEN, kind=entry.kind, now=_time())
            case _ if error.status in _NEVER and not isinstance(error, errors.ApiUnreachable):
                self._complain(entry.kind, "the API server does not take this write", error)
                self._backoffs.failed(entry.key, Cause.REFUSED, kind=entry.kind, now=_time())
                return Outcome(Result.INVALID)
            case _:
                self._untaken[entry.kind] = _time()
                self._observe(entry.kind, "Retried")
                return self._backoffs.failed(
                    entry.key, Cause.SERVER, kind=entry.kind, now=_time(), at_least=error.retry_after or 0.0
                )

    def _pressed(self, entry: _Entry, error: errors.TooManyRequests) -> float:
        """The server has too many of a kind, perhaps of one namespace: others of it go first, and other kinds go on.

        A limit of Events alone (the admission plugin EventRateLimit) must not keep records and statuses waiting.
        """
        self._untaken[entry.kind] = now = _time()
        self._observe(entry.kind, "Retried")
        pressure = self._pressures.setdefault(entry.kind, _Pressure())
        if _due(pressure.gate):  # of many requests that are refused together, one counts
            pressure.refusals += 1
        after = error.retry_after or 0.0
        grown = self._limits.pressed.after(pressure.refusals) * self._random.uniform(0.8, 1.2)
        pressure.gate = max(pressure.gate, now + max(after, grown))
        entry.turn = self._next_turn(entry.key, entry.lane, entry.flow)
        return self._backoffs.failed(entry.key, Cause.SERVER, kind=entry.kind, now=now, at_least=after)

    def _complain(self, kind: str, what: str, error: errors.ApiError) -> None:
        """Log a refused write, once in ten minutes for each kind."""
        now = _time()
        if now >= self._complained.get(kind, 0.0):
            self._complained[kind] = now + _COMPLAIN_EVERY
            log.warning(what, extra={"kind": kind, "error": str(error)})

    def _report_error(self, entry: _Entry, what: str) -> None:
        """Log an error of this program, once in ten minutes for each kind; use it in an except block."""
        now = _time()
        if now >= self._complained.get(what + entry.kind, 0.0):
            self._complained[what + entry.kind] = now + _COMPLAIN_EVERY
            log.exception(what, extra={"kind": entry.kind, "key": str(entry.key)})


def _in_trouble(error: errors.ApiError) -> bool:
    """Tell whether the server as a whole, not this one write, is the trouble."""
    away = isinstance(error, errors.ApiUnreachable) and error.status == 0
    return away or error.status in (502, 503, 504)


def _time() -> float:
    return asyncio.get_running_loop().time()


def _due(moment: float) -> bool:
    """Tell whether a moment has come; a loop's timers may fire early by the resolution of its clock."""
    return moment <= _time() + 0.001
