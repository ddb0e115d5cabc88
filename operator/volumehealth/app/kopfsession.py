"""Kopf's connection to the API server: what a proxy in front of it answers is an outage, which Kopf waits out.

Left to itself Kopf ends on every refusal that it does not know, and the process would have to start over for a fault
outside of it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import kopf
import msgspec

from volumehealth.errors import ApiError, ApiUnreachable, NotServed
from volumehealth.kube.access import Access
from volumehealth.kube.answers import error_of
from volumehealth.kube.bodies import UNREADABLE, read_body
from volumehealth.kube.tls import tls_context

log = logging.getLogger(__name__)

Served = Callable[[str], Awaitable[bool]]
"""Tells of a path whether the API server serves it; raises ApiError if it does not tell."""


_JSON = "application/json"
_EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'
BACKOFFS = (0.5, 1.0, 2.0, 3.0, *(5.0,) * 17_280)
"""Seconds between tries of one request of Kopf: a day of them, for a fault of the API server must not end it."""


def session_of(access: Access, served: Served) -> kopf.AiohttpSession:
    """Make the session that Kopf uses; Kopf closes it.

    Its TLS is that of our own connection: with Kopf's, Python 3.13 refuses certificates that kubectl accepts, and no policy
    would ever be checked.

    Args:
        access: the server and the credentials.
        served: asked when a path is said not to be there.

    Raises:
        ApiError: if the TLS files cannot be used.
    """
    place = urlsplit(access.server).path.rstrip("/")

    async def check(response: aiohttp.ClientResponse) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            path = response.url.path.removeprefix(place)  # Rancher's server has a path of its own
            await _refuse_what_is_not_kubernetes(response, partial(served, path))
        elif not _is_watch(response):
            await _refuse_what_is_no_object(response)
        elif response.content_type != _JSON:
            raise aiohttp.ClientConnectionError(f"a watch is answered with {response.content_type}")

    async def named(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.server_hostname = access.server_name or None
        try:
            return await handler(request)
        except aiohttp.ClientConnectorCertificateError:
            with suppress(ApiError):  # its files are replaced when the cluster's CA is; Kopf tries again
                connector._ssl = tls_context(access)
            raise

    connector = aiohttp.TCPConnector(limit=0, ssl=tls_context(access))
    session = aiohttp.ClientSession(
        connector=connector,
        headers=[
            *([("Authorization", access.authorization)] if access.authorization else ()),
            *access.acts_as,
        ],
        proxy=access.proxy or None,
        raise_for_status=check,
        response_class=_Response,
        middlewares=(named,),
    )
    return kopf.AiohttpSession(server=access.server, aiohttp_session=session)


async def _refuse_what_is_not_kubernetes(
    response: aiohttp.ClientResponse, served: Callable[[], Awaitable[bool]]
) -> None:
    """Raise ClientConnectionError, which Kopf waits out, if an answer is not the API server's own."""
    body = await response.read()
    error = error_of(response.status, body, request=f"{response.method} {response.url.path}")
    if not isinstance(error, ApiUnreachable):
        return
    if isinstance(error, NotServed):
        try:
            if not await served():
                return
        except ApiError:
            pass
    raise aiohttp.ClientConnectionError(str(error))


def _is_watch(response: aiohttp.ClientResponse) -> bool:
    return "watch" in response.url.query


async def _refuse_what_is_no_object(response: aiohttp.ClientResponse) -> None:
    """Raise ClientConnectionError if a good answer is no object of Kubernetes, such as the login page of a proxy."""
    try:
        _object(await response.read())
    except ApiError as error:
        raise aiohttp.ClientConnectionError(f"{response.url.path}: {error}") from error


def _object(body: bytes) -> dict[str, Any]:
    """Read an object or a list of objects; null is an empty list.

    Raises:
        ApiError: if it is neither.
    """
    found = read_body(body, dict[str, Any], what="the answer")
    if "items" in found:
        found["items"] = read_body(body, _List, what="the list").items or []
    return found


class _Meta(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _Item(msgspec.Struct):
    metadata: _Meta


class _List(msgspec.Struct):
    items: list[dict[str, Any]] | None


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Response(aiohttp.ClientResponse):
    """An answer of which Kopf sees only what it can read."""

    async def start(self, connection: Any) -> "_Response":
        """Begin to read it."""
        await super().start(connection)
        if _is_watch(self):
            self.content = _Lines(self.content)  # type: ignore[assignment]  # all else is as it was
        return self

    async def json(self, **_: Any) -> Any:
        """Return the object."""
        try:
            return _object(await self.read())
        except ApiError as error:
            raise aiohttp.ClientConnectionError(str(error)) from error


class _Lines:
    """The lines of a watch, as Kopf reads them: whole ones only, each with an object that has a name."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield lines.

        Raises:
            ClientPayloadError: at anything else; Kopf begins another watch then.
        """
        rest = b""
        async for chunk in self._content.iter_chunked(size):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield _checked(line)
        if rest:
            raise aiohttp.ClientPayloadError("a watch ends amid a line")


def _checked(raw: bytes) -> bytes:
    """Return a line that Kopf can take. An error of the server, whichever it is, has it list again: Kopf would end."""
    try:
        line = msgspec.json.decode(raw, type=_Line)
        if line.type == "ERROR":
            return _EXPIRED
        msgspec.json.decode(line.object, type=_Item)
    except UNREADABLE as error:
        raise aiohttp.ClientPayloadError(f"a watch has a line that cannot be read: {error}") from error
    return raw + b"\n"
