"""Ways between processes and servers: they take time, and everything that can go wrong on them does."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from random import Random
from typing import NamedTuple

import grpc
import msgspec

from simulation.apiserver import ApiServer, Reply, Watch
from simulation.driver import Answered, SimDriver
from simulation.history import History
from simulation.loop import Process, SimLoop
from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.wire import RpcFailed, WireClosed
from volumehealth.kube.access import Access
from volumehealth.kube.transport import HttpAnswer, HttpRequest

_BOOKMARK = 60.0
FAULTS = (
    "refused",
    "lost request",
    "lost answer",
    "silent request",
    "silent answer",
    "slow",
    "html 404",
    "html 502",
    "html 200",
    "error 500",
    "error 503",
    "error 429",
    "error 403",
    "error 401",
    "error 409",
    "error 410",
    "truncated",
    "no json",
    "null items",
    "watch drop",
    "watch stall",
    "watch expired",
    "watch garbage",
)
_HTML = b"<html><head><title>%s</title></head><body><center><h1>%s</h1></center><hr>nginx</body></html>"


@dataclass(slots=True)
class Weather:
    """How likely each fault is at the moment; nothing is, unless a storm is on.

    Attributes:
        rates: by fault.
        victims: processes that are hit; empty means all.
        writes_of: what is in the path of the writes that alone are hit; empty means all requests.
        last: when the last fault happened.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    victims: tuple[str, ...] = ()
    writes_of: str = ""
    last: float = 0.0


class Attempt(NamedTuple):
    """A write as the process that sent it saw it.

    Attributes:
        at: virtual seconds at which it was sent.
        process: who.
        plural: of the resource.
        what: the object: its path, name and uid, as far as the request names them.
        status: of the answer; 0 if none came, or not all of it.
    """

    at: float
    process: Process
    plural: str
    what: tuple[str, str, str]
    status: int


class Network:
    """The ways to the API server and to drivers.

    Args:
        loop: where time passes.
        random: decides.
        server: the API server.
        history: what happened.

    Attributes:
        weather: which faults there are now.
        drivers: by address.
        latency: mean seconds of one way.
        attempts: the writes so far that were answered, or failed, while their process lived.
    """

    def __init__(self, loop: SimLoop, random: Random, server: ApiServer, history: History) -> None:
        self.loop = loop
        self.random = random
        self._draw = random.random
        self.server = server
        self.history = history
        self.weather = Weather()
        self.drivers: dict[str, SimDriver] = {}
        self.latency = 0.005
        self.attempts: list[Attempt] = []

    def delay(self) -> float:
        """Return seconds of one way."""
        return -log(1.0 - self._draw()) / (1 / self.latency)  # `expovariate`, to the last digit

    def strikes(self, process: Process, fault: str, request: HttpRequest) -> bool:
        """Tell whether a fault happens to a request now."""
        rate = self.weather.rates.get(fault, 0.0)
        if not rate or (self.weather.victims and process.name not in self.weather.victims):
            return False
        only = self.weather.writes_of
        if only and (request.method == "GET" or only not in request.path):
            return False
        if self.random.random() >= rate:
            return False
        self.weather.last = self.loop.time()
        self.history.reach(f"fault: {fault}")
        return True


class SimTransport:
    """A process's way to the API server (`kube.transport.Transport`)."""

    def __init__(self, network: Network, process: Process, user: str) -> None:
        self._network = network
        self._process = process
        self._user = user
        self._open: set[int] = set()

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        """Send a request."""
        sent, status = self._network.loop.time(), 0
        try:
            answer = await self._send(request)
            status = 0 if isinstance(answer, _Whole) and answer.cut else answer.status
            return answer
        finally:
            if request.method != "GET":
                attempt = Attempt(sent, self._process, _plural(request.path), _object(request), status)
                self._network.attempts.append(attempt)

    async def _send(self, request: HttpRequest) -> HttpAnswer:
        network = self._network
        if network.strikes(self._process, "refused", request):
            self._note(request, "connection refused")
            raise ConnectionRefusedError(111, "Connect call failed")
        answer: asyncio.Future[HttpAnswer] = network.loop.create_future()
        delay = network.delay()
        if network.strikes(self._process, "slow", request):
            delay += network.random.uniform(0.5, 40.0)
        network.loop.in_world(delay, self._arrive, request, answer)
        return await answer

    async def aclose(self) -> None:
        """Nothing is kept open."""

    def _note(self, request: HttpRequest, what: str) -> None:
        self._network.history.note(self._process.name, f"{request.method} {request.path}: {what}")

    def _arrive(self, request: HttpRequest, answer: "asyncio.Future[HttpAnswer]") -> None:
        """The request is at the server."""
        network, process = self._network, self._process
        for fault in ("lost request", "silent request"):
            if network.strikes(process, fault, request):
                self._note(request, fault)
                if fault == "lost request":
                    self._fail(answer, ConnectionResetError(104, "Connection reset by peer"))
                return
        faked = self._faked(request)
        if faked is not None:
            self._note(request, f"{faked.status} instead of an answer")
            self._deliver(request, answer, faked)
            return
        reply = network.server.answer(
            self._user, request.method, request.path, request.query or {}, request.body, request.headers
        )
        if isinstance(reply, Watch):
            stream = _Stream(network, process, reply, request)
            network.loop.in_world(network.delay(), _resolve, answer, stream)
            return
        renews = request.path.partition("/leases/")[1] and reply.status == 200
        if (request.method != "GET" and not renews) or reply.status >= 400:
            self._note(request, str(reply.status))
        for fault in ("lost answer", "silent answer"):
            if network.strikes(process, fault, request):
                self._note(request, fault)
                if request.method != "GET" and reply.status < 300:
                    network.history.reach("a write took effect and its answer was lost")
                if fault == "lost answer":
                    self._fail(answer, ConnectionResetError(104, "Connection reset by peer"))
                return
        came = self._spoilt(request, reply)
        genuine = came is reply or came.body.endswith(b'"items":null}')  # which is what an empty list may be
        self._deliver(request, answer, came, genuine=genuine)

    def _faked(self, request: HttpRequest) -> Reply | None:
        """Return what somebody answers in the server's place."""
        network, process = self._network, self._process
        if not network.weather.rates:
            return None
        for title in (b"404 Not Found", b"502 Bad Gateway", b"200 Sign in"):
            if network.strikes(process, f"html {title[:3].decode()}", request):
                return Reply(int(title[:3]), _HTML % (title, title), "text/html")
        for code in (500, 503, 429, 403, 401, 409, 410, 422):
            if network.strikes(process, f"error {code}", request):
                body = json.dumps(
                    {"kind": "Status", "code": code, "message": f"simulated {code}", "reason": "Simulated"}
                )
                extra = {"Retry-After": "1"} if code == 429 else {}
                return Reply(code, body.encode(), headers=extra)
        return None

    def _spoilt(self, request: HttpRequest, reply: Reply) -> Reply:
        """Return the answer as it comes through."""
        network, process = self._network, self._process
        if network.strikes(process, "no json", request):
            return Reply(reply.status, b"upstream connect error or disconnect/reset before headers")
        if (
            request.method == "GET"
            and b'"items":[' in reply.body
            and network.strikes(process, "null items", request)
        ):
            head = reply.body.partition(b'"items":[')[0]
            if reply.body.endswith(b'"items":[]}'):
                return Reply(reply.status, head + b'"items":null}')
        return reply

    def _deliver(
        self,
        request: HttpRequest,
        answer: "asyncio.Future[HttpAnswer]",
        reply: Reply,
        *,
        genuine: bool = False,
    ) -> None:
        network = self._network
        cut = network.strikes(self._process, "truncated", request)
        if genuine and not cut and request.method == "GET" and b'"continue":"' not in reply.body:
            self._process.listed.add(request.path.rpartition("/")[2])  # the last page
        network.loop.in_world(network.delay(), _resolve, answer, _Whole(reply, network.random, cut=cut))

    def _fail(self, answer: "asyncio.Future[HttpAnswer]", error: OSError) -> None:
        self._network.loop.in_world(self._network.delay(), _refuse, answer, error)


@lru_cache(maxsize=4096)
def _plural(path: str) -> str:
    """Return the resource that a request is about."""
    parts = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    return parts[2] if parts[0] == "namespaces" and len(parts) > 2 else parts[0]


def _object(request: HttpRequest) -> tuple[str, str, str]:
    """Return which object a write is about."""
    metadata = msgspec.json.decode(request.body or b"{}").get("metadata") or {}
    return request.path, metadata.get("name", ""), metadata.get("uid", "")


def _resolve(future: "asyncio.Future[HttpAnswer]", answer: "HttpAnswer") -> None:
    if not future.done():
        future.set_result(answer)
    else:
        answer.abort()


def _refuse(future: "asyncio.Future[HttpAnswer]", error: OSError) -> None:
    if not future.done():
        future.set_exception(error)


class _Whole:
    """An answer that has an end (`kube.transport.HttpAnswer`)."""

    def __init__(self, reply: Reply, random: Random, *, cut: bool) -> None:
        self.status = reply.status
        self.headers: Mapping[str, str] = {"Content-Type": reply.content_type, **reply.headers}
        self._rest = reply.body
        self.cut = cut
        self._broken = False
        if cut:
            self._rest = reply.body[: random.randrange(len(reply.body) + 1)]
            self._broken = random.random() < 0.5  # else a proxy ended it politely
        self._piece = random.choice((37, 1024, 1 << 16, 1 << 24))

    async def chunk(self) -> bytes:
        """Return the next piece."""
        piece, self._rest = self._rest[: self._piece], self._rest[self._piece :]
        if not piece and self._broken:
            raise ConnectionResetError(104, "the answer ended early")
        return piece

    def abort(self) -> None:
        """Nothing is to be done."""


class _Stream:
    """An answer without an end: a watch."""

    def __init__(self, network: Network, process: Process, watch: Watch, request: HttpRequest) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"Content-Type": "application/json"}
        self._network = network
        self._process = process
        self._watch = watch
        self._request = request
        self._idle = request.idle
        self._plural = request.path.rpartition("/")[2]
        self._pieces: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._arrives = 0.0
        self._stalled = False
        self._closed = False
        self._error: OSError | None = None
        backlog, watch.send = watch.backlog, self._send
        for line in backlog:
            self._send(line)
        loop = network.loop
        loop.in_world(watch.seconds, self._end)
        if watch.bookmarks:
            loop.in_world(network.random.uniform(0.8, 1.0) * _BOOKMARK, self._bookmark)

    # ---- the server's side ----

    def _send(self, line: bytes) -> None:
        """Put a line on its way; lines arrive in order."""
        network, process = self._network, self._process
        if self._closed or self._stalled:
            return
        if network.strikes(process, "watch stall", self._request):
            self._stalled = True
            self._note("stalls")
            return
        if network.strikes(process, "watch drop", self._request):
            self._note("drops")
            self._error = ConnectionResetError(104, "Connection reset by peer")
            network.loop.in_world(0.0, self._end)
            return
        if network.strikes(process, "watch expired", self._request):
            status = {
                "kind": "Status",
                "code": 410,
                "message": "too old resource version",
                "reason": "Expired",
            }
            line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
            self._note("expires")
        elif network.strikes(process, "watch garbage", self._request):
            line = line[: network.random.randrange(1, len(line))] + b"\n"
            self._note("is garbled")
        now = network.loop.time()
        delay = network.delay()
        if network.strikes(process, "slow", self._request):
            delay += network.random.uniform(0.5, 40.0)
        self._arrives = max(self._arrives + 1e-6, now + delay)  # lines never overtake each other
        network.loop.in_world(self._arrives - now, self._feed, line)

    def _bookmark(self) -> None:
        if self._closed:
            return
        if not self._stalled:
            self._network.server.bookmark(self._watch, self._plural)
        self._network.loop.in_world(_BOOKMARK, self._bookmark)

    def _end(self) -> None:
        self._closed = True
        self._watch.close()
        self._wake()

    def _note(self, what: str) -> None:
        self._network.history.note(self._process.name, f"the watch of {self._plural} {what}")

    # ---- the client's side ----

    def _feed(self, data: bytes) -> None:
        if self._error is None and not self._stalled:
            self._pieces.append(data)
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def chunk(self) -> bytes:
        """Return what has come."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._closed and self._arrives <= self._network.loop.time():
                return b""
            self._waiter = self._network.loop.create_future()
            await self._network.loop.within(self._idle, self._waiter)
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def abort(self) -> None:
        """The client hangs up."""
        if not self._closed:
            self._closed = True
            self._watch.close()


class SimWire:
    """A process's way to one driver (`csi.wire.Wire`)."""

    def __init__(self, network: Network, process: Process, endpoint: Endpoint) -> None:
        self._network = network
        self._process = process
        self._address = endpoint.target
        self._incarnation = 0
        self._closed = False
        self._calls: dict[asyncio.Future[bytes], str] = {}

    @property
    def connected(self) -> bool:
        """Whether the driver that was reached last is still there."""
        driver = self._network.drivers.get(self._address)
        return driver is not None and driver.up and driver.incarnation == self._incarnation

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        """Make one call."""
        network = self._network
        answer: asyncio.Future[bytes] = network.loop.create_future()
        method = self._calls[answer] = path.rpartition("/")[2]
        self._count(method)
        network.loop.in_world(network.delay(), self._arrive, path, request, answer)
        try:
            return await network.loop.within(timeout, answer)
        except TimeoutError as error:
            raise RpcFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from error
        finally:
            del self._calls[answer]

    async def aclose(self) -> None:
        """Close it."""
        self._closed = True
        for call in self._calls:
            if not call.done():
                call.set_exception(WireClosed())

    def _count(self, method: str) -> None:
        """Note the most calls of a method that were made at once."""
        driver = self._network.drivers.get(self._address)
        if driver is not None:
            count = sum(one == method for one in self._calls.values())
            driver.most_in_flight[method] = max(count, driver.most_in_flight.get(method, 0))

    def _arrive(self, path: str, request: bytes, answer: "asyncio.Future[bytes]") -> None:
        network = self._network
        driver = network.drivers.get(self._address)
        if answer.done():
            return
        if driver is None or not driver.up:
            unavailable = RpcFailed(
                grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: refused"
            )
            network.loop.in_world(network.delay(), _fail_call, answer, unavailable)
            return
        self._incarnation = driver.incarnation
        answered = driver.answer(self._process.name, path, request)
        if answered is not None:
            network.loop.in_world(
                answered.seconds + network.delay(), self._return, driver, answered, answer, driver.incarnation
            )

    def _return(
        self, driver: SimDriver, answered: Answered, answer: "asyncio.Future[bytes]", incarnation: int
    ) -> None:
        if answer.done():
            return
        if incarnation != driver.incarnation or not driver.up:
            answer.set_exception(RpcFailed(grpc.StatusCode.UNAVAILABLE, "Socket closed"))
        elif answered.failed is not None:
            answer.set_exception(answered.failed)
        else:
            driver.heard(answered)
            answer.set_result(answered.body)


def _fail_call(answer: "asyncio.Future[bytes]", error: RpcFailed) -> None:
    if not answer.done():
        answer.set_exception(error)
