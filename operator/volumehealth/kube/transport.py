"""HTTP as the connection needs it: a request goes out, a status, headers and chunks of bytes come back.

Everything that reads an answer (JSON, `Status` objects, lines of a watch, what a proxy sends instead) is above this
seam, so a simulation that puts its own server below it runs the code that runs in production.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from volumehealth import errors
from volumehealth.kube.access import Access

_CONNECT = 10.0
"""Seconds for a TCP connection."""
_CONNECTIONS = 100
_BUFFER = 2 * 1024 * 1024
"""Bytes that are read ahead: a page of a list is several megabytes."""
_BROKEN = (aiohttp.ClientError, OSError, AttributeError)
"""What a broken connection looks like. AttributeError: seen twice with aiohttp 3.14.5 in bursts of a thousand writes on
a busy machine, from an answer whose headers are None; one lost answer must not end the process."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request.

    Attributes:
        method: such as GET.
        path: absolute, such as `/api/v1/pods`.
        query: parameters; None if there are none.
        headers: as they are sent.
        body: None if there is none.
        idle: seconds without a byte of the answer after which reading it ends with TimeoutError; None is no limit.
    """

    method: str
    path: str
    query: Mapping[str, str] | None
    headers: Mapping[str, str]
    body: bytes | None
    idle: float | None = None


class HttpAnswer(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""

    async def chunk(self) -> bytes:
        """Return what came of the body; nothing at its end.

        Raises:
            TimeoutError: if nothing came for the request's `idle` seconds.
            OSError: if the connection broke.
        """

    def abort(self) -> None:
        """Drop the connection unless the body was read to its end."""


class Transport(Protocol):
    """A way to one API server."""

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        """Send a request and return the answer once its headers are there.

        Args:
            request: what to send.
            access: the server, and how to reach it.

        Raises:
            OSError: if there is no connection, or it broke.
        """

    async def aclose(self) -> None:
        """Close every connection; requests that wait for an answer fail."""


Connect = Callable[[Access], Transport]
"""Makes a transport with the TLS files of an access. Raises ApiError if they cannot be used."""


class AiohttpTransport:
    """The transport of production.

    Args:
        access: the TLS files that its connections are made with.

    Raises:
        ApiError: if they cannot be used.
    """

    def __init__(self, access: Access) -> None:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=_tls(access))
        # trust_env would read ~/.netrc and look for a proxy before each request, in a thread; and a .netrc that names
        # the server would end in an error beside our own Authorization.
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False, read_bufsize=_BUFFER)

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        """See `Transport.send`."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=request.idle)
        try:
            answer: aiohttp.ClientResponse = await self._session.request(
                request.method,
                access.server + request.path,
                params=request.query,
                data=request.body,
                headers=request.headers,
                timeout=limits,
                proxy=access.proxy or None,
                server_hostname=access.server_name or None,
                allow_redirects=False,
            )
        except TimeoutError:
            raise
        except _BROKEN as error:
            raise _broken(error) from error
        return _AiohttpAnswer(answer)

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        await self._session.close()


class _AiohttpAnswer:
    """See `HttpAnswer`."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def chunk(self) -> bytes:
        try:
            return await self._answer.content.readany()
        except TimeoutError:
            raise
        except _BROKEN as error:
            raise _broken(error) from error

    def abort(self) -> None:
        # Without a farewell: a polite end of TLS waits for the other side, up to 30 seconds.
        connection = self._answer.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._answer.close()


def _tls(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.cert_file:
            context.load_cert_chain(access.cert_file, keyfile=access.key_file or None)
    except OSError as error:  # an SSLError is one
        raise errors.ApiError(
            f"the TLS files for {access.server} cannot be used: {error.strerror or error}"
        ) from error
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Python 3.13's strict X.509 checks refuse certificates that kubectl accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _broken(error: Exception) -> ConnectionError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return ConnectionError(text)
