"""A small HTTP server for `/healthz`, `/readyz` and `/metrics`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import h11

from volumehealth.errors import SettingsError

log = logging.getLogger(__name__)

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of a page of metrics."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a route answers."""

    body: bytes
    ok: bool = True
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Page | Awaitable[Page]]
"""A page that takes long to make is made while others have their turns."""
Tree = Callable[[str], Page | None]
"""Answers for every path below one; None if there is nothing."""

_Find = Callable[[str], Page | Awaitable[Page] | None]
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
async def serve(
    address: str, routes: Mapping[str, Route], trees: Mapping[str, Tree] = MappingProxyType({})
) -> AsyncIterator[int]:
    """Serve GET routes until the context ends; one request on each connection.

    Args:
        address: `HOST:PORT`, `:PORT` or `[::1]:PORT`; port 0 takes a free one.
        routes: by path.
        trees: by the path that comes before what is asked for; it ends in a slash.

    Yields:
        The port in use.

    Raises:
        SettingsError: if nobody can listen there: another process does, or it is no address of this machine.
    """
    host, _, port = address.rpartition(":")
    clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
    find = partial(_find, routes, trees)

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(_serve(reader, writer, find))
        clients[client] = writer
        client.add_done_callback(clients.pop)

    try:
        server = await asyncio.start_server(meet, host.strip("[]") or None, int(port))
    except (OSError, UnicodeError) as error:  # the latter of a host that can be no name
        raise SettingsError([f"cannot listen on {address}: {error}"]) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        left = dict(clients)
        for client, writer in left.items():
            client.cancel()
            writer.transport.abort()  # one that had no turn yet would end without closing it
        await asyncio.gather(*left, return_exceptions=True)


def _find(routes: Mapping[str, Route], trees: Mapping[str, Tree], path: str) -> Page | Awaitable[Page] | None:
    """Return the page of a path; None if there is none."""
    if path in routes:
        return routes[path]()
    for root, tree in trees.items():
        if path.startswith(root):
            return tree(path.removeprefix(root))
    return None


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, find: _Find) -> None:
    """Answer one client."""
    http = h11.Connection(h11.SERVER)
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            page, status = await _answer(http, reader, find)
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


async def _answer(http: h11.Connection, reader: asyncio.StreamReader, find: _Find) -> tuple[Page, int]:
    """Read a request and return its page with its status."""
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(_CHUNK))
    if not isinstance(event, h11.Request):
        raise h11.RemoteProtocolError("no request")
    if event.method not in (b"GET", b"HEAD"):
        return Page(b"only GET\n"), 405
    try:
        found = find(event.target.decode("latin-1").partition("?")[0])
        page = await found if isinstance(found, Awaitable) else found
    except Exception:
        log.exception("a page cannot be made")
        return Page(b"this page cannot be made\n"), 500
    if page is None:
        return Page(b"not found\n"), 404
    status = 200 if page.ok else 503
    return page if event.method == b"GET" else replace(page, body=b""), status
