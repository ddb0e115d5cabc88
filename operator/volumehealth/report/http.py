"""A small HTTP server for `/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import h11

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of a page of metrics."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a route answers."""

    body: bytes
    ok: bool = True
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Page]

_CHUNK = 64 * 1024
_CLIENT_SECONDS = 30.0
"""Seconds that a client may take for its request and for reading the page."""


def health(check: Callable[[], tuple[bool, str]]) -> Route:
    """Make a route of a check that returns whether all is well and a sentence; 503 if it is not."""

    def answer() -> Page:
        well, text = check()
        return Page(f"{text}\n".encode(), ok=well)

    return answer


@asynccontextmanager
async def serve(address: str, routes: Mapping[str, Route]) -> AsyncIterator[int]:
    """Serve GET routes until the context ends; one request on each connection.

    Args:
        address: `HOST:PORT`, `:PORT` or `[::1]:PORT`; port 0 takes a free one.
        routes: by path.

    Yields:
        The port in use.

    Raises:
        OSError: if the address cannot be bound.
    """
    host, _, port = address.rpartition(":")
    clients: set[asyncio.Task[None]] = set()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(_serve(reader, writer, routes))
        clients.add(client)
        client.add_done_callback(clients.discard)

    server = await asyncio.start_server(meet, host.strip("[]") or None, int(port))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, routes: Mapping[str, Route]
) -> None:
    """Answer one client."""
    http = h11.Connection(h11.SERVER)
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            page, status = await _answer(http, reader, routes)
            headers = [
                ("Content-Type", page.content_type),
                ("Content-Length", str(len(page.body))),
                ("Connection", "close"),
            ]
            writer.write(http.send(h11.Response(status_code=status, headers=headers)) or b"")
            writer.write(page.body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (OSError, h11.ProtocolError):  # TimeoutError is an OSError
        pass
    finally:
        writer.transport.abort()


async def _answer(
    http: h11.Connection, reader: asyncio.StreamReader, routes: Mapping[str, Route]
) -> tuple[Page, int]:
    """Read a request and return its page with its status."""
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(_CHUNK))
    if not isinstance(event, h11.Request):
        raise h11.RemoteProtocolError("no request")
    route = routes.get(event.target.decode("latin-1").partition("?")[0])
    if route is None:
        return Page(b"not found\n"), 404
    if event.method not in (b"GET", b"HEAD"):
        return Page(b"only GET\n"), 405
    page = route()
    status = 200 if page.ok else 503
    return page if event.method == b"GET" else replace(page, body=b""), status
