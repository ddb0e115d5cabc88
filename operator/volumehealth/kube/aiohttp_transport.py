"""The transport of the operator and of people's commands: aiohttp, which Kopf brings along."""

from collections.abc import Mapping

import aiohttp

from volumehealth.kube.access import Access
from volumehealth.kube.tls import tls_context
from volumehealth.kube.transport import CONNECT, HttpAnswer, HttpRequest

_CONNECTIONS = 100
_BUFFER = 2 * 1024 * 1024
"""Bytes that are read ahead: a page of a list is several megabytes."""
_BROKEN = (aiohttp.ClientError, OSError, AttributeError)
"""What a broken connection looks like. AttributeError: seen twice with aiohttp 3.14.5 in bursts of a thousand writes on
a busy machine, from an answer whose headers are None; one lost answer must not end the process."""


class AiohttpTransport:
    """See `Transport`.

    Args:
        access: the TLS files that its connections are made with.

    Raises:
        ApiError: if they cannot be used.
    """

    def __init__(self, access: Access) -> None:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls_context(access))
        # trust_env would read ~/.netrc and look for a proxy before each request, in a thread; and a .netrc that names
        # the server would end in an error beside our own Authorization.
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False, read_bufsize=_BUFFER)
        self._unread: set[aiohttp.ClientResponse] = set()

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        """See `Transport.send`."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=request.idle)
        try:
            answer: aiohttp.ClientResponse = await self._session.request(
                request.method,
                access.server + request.path,
                params=request.query,
                data=request.body,
                headers=[*request.headers.items(), *access.acts_as],
                timeout=limits,
                proxy=access.proxy or None,
                server_hostname=access.server_name or None,
                allow_redirects=False,
            )
        except TimeoutError:
            raise
        except _BROKEN as error:
            raise _broken(error) from error
        self._unread.add(answer)
        return _AiohttpAnswer(answer, self._unread)

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        # aiohttp (3.14.5) forgets who reads when it closes a connection: such a reader would wait for ever.
        for answer in self._unread:
            answer.content.set_exception(ConnectionAbortedError("the connection was closed from here"))
        self._unread.clear()
        await self._session.close()


class _AiohttpAnswer:
    """See `HttpAnswer`."""

    def __init__(self, answer: aiohttp.ClientResponse, unread: set[aiohttp.ClientResponse]) -> None:
        self._answer = answer
        self._unread = unread

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
        self._unread.discard(self._answer)
        # Without a farewell: a polite end of TLS waits for the other side, up to 30 seconds.
        connection = self._answer.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._answer.close()


def _broken(error: Exception) -> ConnectionError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return ConnectionError(text)
