"""A reverse proxy in front of the API server that a test can make answer in its place, as bad ones do."""

import asyncio
import json
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from volumehealth_sandbox.controlplane import ControlPlane

_PAGE = (
    "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center><hr>nginx</body></html>"
)
_LOGIN = "<html><body><form action='/login'>Sign in <input name='user'></form></body></html>"
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "host", "keep-alive"})


class Weather(StrEnum):
    """What the proxy does to requests."""

    CLEAR = "carries all"
    NOT_FOUND = "404 as a page"
    LOGIN = "a login page with status 200"
    REDIRECT = "302 to a login page"
    FORBIDDEN = "403 as a page"
    UNAUTHORIZED = "401 as a page"
    BAD_GATEWAY = "502 as a page"
    UNAVAILABLE = "503 as a page"
    RESET = "resets connections"
    LOST = "carries requests, and resets instead of answering"
    SLOW = "takes seconds"
    CUT = "ends answers in the middle"


_PAGES = {
    Weather.NOT_FOUND: (404, _PAGE.format(title="404 Not Found")),
    Weather.LOGIN: (200, _LOGIN),
    Weather.FORBIDDEN: (403, _PAGE.format(title="403 Forbidden")),
    Weather.UNAUTHORIZED: (401, _PAGE.format(title="401 Authorization Required")),
    Weather.BAD_GATEWAY: (502, _PAGE.format(title="502 Bad Gateway")),
    Weather.UNAVAILABLE: (503, _PAGE.format(title="503 Service Temporarily Unavailable")),
}


class BadProxy:
    """Plain HTTP on loopback; an async context manager.

    Args:
        plane: whose API server it carries requests to.
        random: how long a slow answer takes.

    Attributes:
        port: where it listens.
        answered: how many requests it answered in the server's place, or broke.
    """

    def __init__(self, plane: ControlPlane, random: Random) -> None:
        self._plane = plane
        self._random = random
        self._weather = Weather.CLEAR
        self._changed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.answered = 0

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cafile=str(self._plane.ca_file))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), auto_decompress=False
        )
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def kubeconfig(self, of: Path, to: Path) -> Path:
        """Write a kubeconfig that leads through the proxy; returns its path.

        Args:
            of: the kubeconfig that leads to the API server.
            to: the new file.
        """
        config = json.loads(of.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        to.write_text(json.dumps(config))
        return to

    def be(self, weather: Weather) -> None:
        """Change what happens from now on, and break off what is under way."""
        self._weather = weather
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        weather = self._weather
        if weather is not Weather.CLEAR:
            self.answered += 1
        if weather in _PAGES:
            status, page = _PAGES[weather]
            return web.Response(status=status, text=page, content_type="text/html")
        if weather is Weather.REDIRECT:
            return web.Response(status=302, headers={"Location": "https://login.example/"})
        if weather is Weather.RESET:
            return _reset(request)
        if weather is Weather.SLOW:
            await asyncio.sleep(self._random.uniform(0.5, 8.0))
        with suppress(aiohttp.ClientError, OSError):
            return await self._carry(request, weather)
        return _reset(request)

    async def _carry(self, request: web.Request, weather: Weather) -> web.StreamResponse:
        if self._session is None:
            raise RuntimeError("use it as an async context manager")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = await request.read()
        async with self._session.request(
            request.method,
            f"{self._plane.url}{request.raw_path}",
            headers=headers,
            data=body or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if weather is Weather.LOST:
                await answer.read()
                return _reset(request)
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            return await self._pass_on(request, answer, response, cut=weather is Weather.CUT)

    async def _pass_on(
        self,
        request: web.Request,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
        *,
        cut: bool,
    ) -> web.StreamResponse:
        """Carry the answer until it ends, or the weather changes."""
        changed = self._changed
        while True:
            data = await _unless(changed, answer.content.readany())
            if data is None:
                return _reset(request, response)
            if not data:
                await response.write_eof()
                return response
            await response.write(data[: len(data) // 2] if cut else data)
            if cut:
                return _reset(request, response)


async def _unless(changed: asyncio.Event, work: Coroutine[Any, Any, bytes]) -> bytes | None:
    """Return what comes of some work; None if an event happens before."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(changed.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None  # type: ignore[return-value]  # the first gives bytes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
