"""The transport of the agents: HTTP/1.1 by h11 over asyncio's own streams.

An agent makes a few requests a minute and follows two lists, on every node of a cluster; aiohttp's client and what it
imports would take 12 MB of each.
"""

import asyncio
import base64
import ssl
from collections.abc import Iterator, Mapping
from typing import Self
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

import h11

from volumehealth import __version__
from volumehealth.kube.access import Access
from volumehealth.kube.tls import tls_context
from volumehealth.kube.transport import CONNECT, HttpAnswer, HttpRequest

_CHUNK = 64 * 1024
_KEEP = 60.0
"""Seconds for which a connection that is not used is kept; the API server closes it after 90."""
_SPARE = 8
"""Connections that are kept at most."""
_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
"""Methods that may be sent again if a connection that was kept turns out to be closed."""
_PORTS = {"http": 80, "https": 443}


class H11Transport:
    """See `Transport`.

    Args:
        access: the TLS files that its connections are made with.

    Raises:
        ApiError: if they cannot be used.
    """

    def __init__(self, access: Access) -> None:
        self._tls = tls_context(access)
        self._spare: list[tuple[_Connection, float]] = []
        self._open: set[_Connection] = set()
        self._closed = False

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        """See `Transport.send`."""
        kept = self._take_spare(access)
        if kept is not None:
            try:
                return await self._exchange(kept, request, access)
            except ConnectionError:
                if request.method not in _REPEATABLE:
                    raise
        async with asyncio.timeout(CONNECT):
            fresh = await _Connection.open(access, self._tls)
        self._open.add(fresh)
        return await self._exchange(fresh, request, access)

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        self._closed = True
        for connection in self._open | {one for one, _ in self._spare}:
            connection.abort()
        self._open.clear()
        self._spare.clear()

    async def _exchange(self, connection: "_Connection", request: HttpRequest, access: Access) -> HttpAnswer:
        try:
            response = await connection.exchange(request, access)
        except BaseException:
            self.drop(connection)
            raise
        return _Answer(self, connection, response, request.idle)

    def _take_spare(self, access: Access) -> "_Connection | None":
        """Return a connection that was kept and is still open; forget those that are not."""
        now = asyncio.get_running_loop().time()
        while self._spare:
            connection, since = self._spare.pop()
            if connection.usable_for(access) and now - since < _KEEP:
                self._open.add(connection)
                return connection
            connection.abort()
        return None

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection whose answer was read to its end."""
        self._open.discard(connection)
        if self._closed or len(self._spare) >= _SPARE or not connection.renewed():
            connection.abort()
        else:
            self._spare.append((connection, asyncio.get_running_loop().time()))

    def drop(self, connection: "_Connection") -> None:
        """Close a connection whose answer was not read to its end."""
        self._open.discard(connection)
        connection.abort()


class _Answer:
    """See `HttpAnswer`."""

    def __init__(
        self, transport: H11Transport, connection: "_Connection", response: h11.Response, idle: float | None
    ) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self._idle = idle
        self.status = int(response.status_code)
        self.headers: Mapping[str, str] = _Headers(response)

    async def chunk(self) -> bytes:
        connection = self._connection
        if connection is None:
            return b""
        async with asyncio.timeout(self._idle):
            data = await connection.body()
        if not data:
            self._connection = None
            self._transport.give_back(connection)
        return data

    def abort(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.drop(connection)


class _Headers(Mapping[str, str]):
    """Headers by name, in whatever case; of several with one name the last counts."""

    def __init__(self, response: h11.Response) -> None:
        self._found = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class _Connection:
    """One connection, one exchange at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: tuple[str, str, str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._route = route
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, access: Access, tls: ssl.SSLContext) -> Self:
        """Connect to the API server, through its proxy if it has one.

        Raises:
            OSError: if there is no connection.
        """
        server = urlsplit(access.server)
        secure = server.scheme == "https"
        name = access.server_name or server.hostname or ""
        if not access.proxy:
            reader, writer = await asyncio.open_connection(
                server.hostname,
                _port(server),
                ssl=tls if secure else None,
                server_hostname=name if secure else None,
            )
            return cls(reader, writer, _route(access))
        proxy = urlsplit(access.proxy)
        if proxy.scheme not in _PORTS:
            raise ConnectionError(
                f"the proxy {proxy.scheme}://{proxy.hostname} is of a kind that is not supported"
            )
        reader, writer = await asyncio.open_connection(
            proxy.hostname,
            _port(proxy),
            ssl=ssl.create_default_context() if proxy.scheme == "https" else None,
        )
        connection = cls(reader, writer, _route(access))
        if secure:
            try:
                await connection._tunnel(server, proxy)
                await writer.start_tls(tls, server_hostname=name)
            except BaseException:
                connection.abort()
                raise
            connection._http = h11.Connection(h11.CLIENT)
        return connection

    async def _tunnel(self, server: SplitResult, proxy: SplitResult) -> None:
        target = f"{_bracketed(server.hostname or '')}:{_port(server)}"
        headers = [("Host", target), *_proxy_authorization(proxy)]
        await self._write(h11.Request(method="CONNECT", target=target, headers=headers), h11.EndOfMessage())
        response = await self._response()
        if not 200 <= response.status_code < 300:
            raise ConnectionError(f"the proxy {proxy.hostname} refuses with HTTP {response.status_code}")

    async def exchange(self, request: HttpRequest, access: Access) -> h11.Response:
        """Send a request and return the head of its answer.

        Raises:
            OSError: if the connection breaks.
            TimeoutError: if nothing comes for the request's `idle` seconds.
        """
        server = urlsplit(access.server)
        query = f"?{urlencode(request.query)}" if request.query else ""
        target = f"{server.path}{request.path}{query}"
        headers = [
            ("Host", server.netloc),
            ("User-Agent", f"volumehealth/{__version__}"),
            *request.headers.items(),
            *access.acts_as,
        ]
        if access.proxy and server.scheme == "http":
            target = f"{access.server}{request.path}{query}"
            headers += _proxy_authorization(urlsplit(access.proxy))
        body = request.body
        if body is not None:
            headers.append(("Content-Length", str(len(body))))
        head = h11.Request(method=request.method, target=target, headers=headers)
        await self._write(head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage())
        async with asyncio.timeout(request.idle):
            return await self._response()

    async def body(self) -> bytes:
        """Return what came of the body; nothing at its end."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Data) and event.data:
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                return b""

    def renewed(self) -> bool:
        """Make the connection ready for another exchange; False if it cannot be used for one."""
        if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    def usable_for(self, access: Access) -> bool:
        """Tell whether it leads to this server and was not closed by the other side."""
        return self._route == _route(access) and not self._reader.at_eof() and not self._writer.is_closing()

    def abort(self) -> None:
        """Drop it without a farewell: a polite end of TLS waits for the other side, up to 30 seconds."""
        self._writer.transport.abort()

    async def _response(self) -> h11.Response:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                return event

    async def _event(self) -> object:
        """Return the next event of the answer.

        Raises:
            ConnectionError: if the answer was cut, or is no HTTP.
        """
        while True:
            try:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    if isinstance(event, h11.ConnectionClosed):
                        raise ConnectionError("Server disconnected")
                    return event
                self._http.receive_data(await self._reader.read(_CHUNK))
            except h11.ProtocolError as error:
                raise ConnectionError(f"the answer is cut or no HTTP: {error}") from error

    async def _write(self, *events: h11.Event) -> None:
        try:
            for event in events:
                data = self._http.send(event)
                if data:
                    self._writer.write(data)
        except h11.ProtocolError as error:
            raise ConnectionError(f"the request cannot be sent: {error}") from error
        await self._writer.drain()


def _route(access: Access) -> tuple[str, str, str]:
    return access.server, access.server_name, access.proxy


def _port(url: SplitResult) -> int:
    return url.port or _PORTS[url.scheme]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _proxy_authorization(proxy: SplitResult) -> list[tuple[str, str]]:
    if proxy.username is None:
        return []
    text = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [("Proxy-Authorization", f"Basic {base64.b64encode(text.encode()).decode()}")]
