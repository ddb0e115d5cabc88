"""The one connection to the API server: requests and streams of bytes, errors of `errors`.

HTTP is below, in a transport; no client library's models, retries or time limits are used.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Protocol, Self

import msgspec

from volumehealth import errors
from volumehealth.kube.access import Access
from volumehealth.kube.answers import error_of
from volumehealth.kube.bodies import UNREADABLE
from volumehealth.kube.credentials import CredentialSource
from volumehealth.kube.transport import Connect, HttpAnswer, HttpRequest, Transport
from volumehealth.model.clock import Clock, SystemClock

log = logging.getLogger(__name__)

_REFRESH_EVERY = 60.0
"""Seconds after which files that may have been replaced are read again, as client-go does."""
_RENEW_PAUSE = 2.0
"""Seconds between two full loads after 401: an exec plugin must not be run for every request that fails."""
_ACCEPT = 30.0
"""Seconds until a stream must have begun."""
_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; etcd takes no object of more than a few. What sends more is no API server, and may never end its line."""
_LONGEST_REFUSAL = 1024 * 1024
"""Bytes that are read of an answer that is no good one; a `Status` has a few hundred."""


class Credentials(Protocol):
    """What is needed of `CredentialSource`."""

    async def load(self) -> Access:
        """Read everything anew. Raises ApiError if there are no credentials."""

    async def refresh(self) -> Access:
        """Read again what expires. Raises ApiError if it cannot be read now."""


def over_aiohttp(access: Access) -> Transport:
    """Make the operator's transport."""
    from volumehealth.kube.aiohttp_transport import AiohttpTransport  # an agent must not pay for it

    return AiohttpTransport(access)


class Api:
    """A connection to one API server; an async context manager.

    Args:
        source: where credentials come from.
        clock: time.
        connect: makes the transport; the operator's is aiohttp.
    """

    def __init__(
        self, source: Credentials, *, clock: Clock | None = None, connect: Connect = over_aiohttp
    ) -> None:
        self._source = source
        self._clock = clock or SystemClock()
        self._connect = connect
        self._lock = asyncio.Lock()
        self._access = Access("")
        self._files: tuple[tuple[str, bytes], ...] = ()
        self._transport: Transport | None = None
        self._loaded = 0.0
        self._renewed = float("-inf")

    @classmethod
    async def connect(
        cls, kubeconfig: str | None, context: str | None = None, *, transport: Connect = over_aiohttp
    ) -> Self:
        """Find credentials and make a connection; nothing is sent yet.

        Args:
            kubeconfig: path; None or empty means as kubectl finds it (KUBECONFIG with one or several files,
                ~/.kube/config), then the credentials of the pod we run in.
            context: of the kubeconfig; None is its current one.
            transport: makes the connections.

        Raises:
            ApiError: if there are no credentials, or they cannot be used.
        """
        api = cls(CredentialSource(kubeconfig, context), connect=transport)
        await api.open()
        return api

    async def open(self) -> None:
        """Load the credentials. Raises ApiError if there are none."""
        async with self._lock:
            await self._take(await self._source.load())

    async def aclose(self) -> None:
        """Close every connection; requests that wait for an answer fail."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
            await asyncio.sleep(0)  # lets the loop drop what was aborted just now

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def access(self) -> Access:
        """The server and the credentials in use now, for other clients of this process."""
        return self._access

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object | bytes | None = None,
        content_type: str = "application/json",
        accept: str = "",
        timeout: float = 30.0,
    ) -> bytes:
        """Send one request and return the body of a 2xx answer.

        Args:
            method: such as GET.
            path: absolute, such as `/api/v1/pods`.
            query: parameters.
            body: bytes as they are; anything else is encoded as JSON.
            content_type: of the body. A server-side apply takes JSON as `application/apply-patch+yaml`.
            accept: the form of the answer; empty means plain JSON.
            timeout: seconds for all of it.

        Raises:
            ApiError: the subclass says what happened, the message is the server's own sentence.
        """
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            async with asyncio.timeout(timeout):
                answer = await self._send(method, path, query, data, (content_type, accept))
                body = await _body(answer)
        except TimeoutError as error:
            raise errors.ApiUnreachable(
                f"{self._access.server} did not answer in time (at most {timeout:g} s)"
            ) from error
        except OSError as error:
            raise self._unreachable(error) from error
        if method != "GET":
            _check_done(body, answer.status, request=f"{method} {path}")
        return body

    async def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float, accept: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """GET an answer without an end, line by line, such as a watch.

        Args:
            path: absolute.
            query: parameters.
            idle_timeout: seconds without a single byte after which the stream is ended from here. That is no error:
                nothing may have happened, or the connection may be dead; whoever asks again will see.
            accept: the form of the answer; empty means plain JSON.

        Yields:
            Each line, without its line break. The first one is empty: the server has agreed to answer.

        Raises:
            ApiError: as `request` does; `ApiUnreachable` if it does not begin in time, or breaks.
        """
        try:
            async with asyncio.timeout(_ACCEPT):
                answer = await self._send("GET", path, query, None, ("", accept), idle=idle_timeout)
            try:
                yield b""
                rest, size = [b""], 0
                while chunk := await _next_chunk(answer, idle_timeout):
                    first, *others = chunk.split(b"\n")
                    rest.append(first)
                    size += len(first)
                    if size > _LONGEST_LINE:
                        raise errors.ApiUnreachable(f"{path}: a line of the answer has no end")
                    for other in others:
                        line, rest, size = b"".join(rest), [other], len(other)
                        yield line
            finally:
                answer.abort()
        except TimeoutError as error:
            raise errors.ApiUnreachable(f"{self._access.server} did not answer in time") from error
        except OSError as error:
            raise self._unreachable(error) from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        forms: tuple[str, str],
        *,
        idle: float | None = None,
    ) -> HttpAnswer:
        """Send and check the status. After 401 once more with fresh credentials: nothing was done yet."""
        await self._keep_fresh()
        used = self._access
        answer = await self._send_once(method, path, query, data, forms, idle=idle)
        if answer.status == 401:
            refusal = await _error(
                answer, request=f"{method} {path}"
            )  # read first: it gives its connection back
            if not await self._renew(used):
                raise refusal
            answer = await self._send_once(method, path, query, data, forms, idle=idle)
        if answer.status < 300:
            return answer
        raise await _error(answer, request=f"{method} {path}")

    async def _send_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        forms: tuple[str, str],
        *,
        idle: float | None = None,
    ) -> HttpAnswer:
        transport, access = self._transport, self._access
        if transport is None:
            raise errors.ApiUnreachable("the connection to the API server is closed")
        content_type, accept = forms
        headers = {"Accept": accept or "application/json"}
        if access.authorization:
            headers["Authorization"] = access.authorization
        if data is not None:
            headers["Content-Type"] = content_type
        return await transport.send(HttpRequest(method, path, query, headers, data, idle), access)

    async def _keep_fresh(self) -> None:
        if self._clock.monotonic() - self._loaded < _REFRESH_EVERY:
            return
        async with self._lock:
            if self._clock.monotonic() - self._loaded < _REFRESH_EVERY:
                return
            self._loaded = self._clock.monotonic()
            try:
                await self._take(await self._source.refresh())
            except (errors.ApiError, OSError) as error:  # what we have may still be good; the server decides
                log.warning("credentials not refreshed", extra={"error": str(error)})

    async def _renew(self, refused: Access) -> bool:
        """Load credentials anew after the server refused them; False if that was done just now to no avail."""
        async with self._lock:
            if self._access is not refused:
                return True
            if self._clock.monotonic() - self._renewed < _RENEW_PAUSE:
                return False
            self._renewed = self._clock.monotonic()
            log.info("credentials refused by the API server, loading them again")
            await self._take(await self._source.load())
            return True

    async def _take(self, access: Access) -> None:
        """Use these from now on. A connection is made anew only if a file it was made with is another one."""
        files = access.files()
        same = self._transport is not None and files == self._files
        if not same or access.server != self._access.server or access.verify != self._access.verify:
            old, self._transport = self._transport, self._connect(access)
            if old is not None:
                await old.aclose()
        self._access, self._files, self._loaded = access, files, self._clock.monotonic()

    def _unreachable(self, error: OSError) -> errors.ApiUnreachable:
        text = str(error) or type(error).__name__
        return errors.ApiUnreachable(f"the connection to {self._access.server} failed: {text}")


class _Kind(msgspec.Struct):
    kind: str = ""


_kind = msgspec.json.Decoder(_Kind)


def _check_done(body: bytes, status: int, *, request: str) -> None:
    """Refuse a good answer to a write that is no object: a proxy's login page, after which nothing was written.

    Raises:
        ApiUnreachable: if it is none. What was written all the same is found by whoever tries again.
    """
    try:
        kind = _kind.decode(body).kind
    except UNREADABLE:
        kind = ""
    if not kind:
        raise errors.ApiUnreachable(
            f"{request}: HTTP {status}, and the answer is not the API server's", status=status
        )


async def _error(answer: HttpAnswer, *, request: str) -> errors.ApiError:
    """Read an answer that is no good one to its end; return what it means."""
    body = await _body(answer, most=_LONGEST_REFUSAL)
    retry_after = answer.headers.get("Retry-After", "")
    return error_of(answer.status, body, request=request, retry_after=retry_after)


async def _body(answer: HttpAnswer, *, most: int | None = None) -> bytes:
    """Read an answer to its end, or until it is longer than what is wanted of it; what is left is dropped."""
    chunks, size = [], 0
    try:
        while (most is None or size <= most) and (chunk := await answer.chunk()):
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)
    finally:
        answer.abort()


async def _next_chunk(answer: HttpAnswer, idle_timeout: float) -> bytes:
    """Read what has come; nothing at the end, or if nothing comes for too long, whatever became of the connection."""
    try:
        async with asyncio.timeout(idle_timeout):
            return await answer.chunk()
    except TimeoutError:
        return b""
