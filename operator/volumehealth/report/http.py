"""A small HTTP server for `/healthz`, `/readyz` and `/metrics`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of a page of metrics."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a route answers."""

    body: bytes
    ok: bool = True
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Page]


def health(check: Callable[[], tuple[bool, str]]) -> Route:
    """Make a route of a check that returns whether all is well and a sentence; 503 if it is not."""

    def answer() -> Page:
        well, text = check()
        return Page(f"{text}\n".encode(), ok=well)

    return answer


@asynccontextmanager
async def serve(address: str, routes: Mapping[str, Route]) -> AsyncIterator[int]:
    """Serve GET routes until the context ends.

    Args:
        address: `HOST:PORT`, `:PORT` or `[::1]:PORT`; port 0 takes a free one.
        routes: by path.

    Yields:
        The port in use.

    Raises:
        OSError: if the address cannot be bound.
    """
    app = web.Application()
    for path, route in routes.items():
        app.router.add_get(path, _handler(route))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        host, _, port = address.rpartition(":")
        site = web.TCPSite(runner, host.strip("[]") or None, int(port))
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _handler(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(_: web.Request) -> web.StreamResponse:
        page = route()
        headers = {"Content-Type": page.content_type}
        return web.Response(body=page.body, status=200 if page.ok else 503, headers=headers)

    return handle
