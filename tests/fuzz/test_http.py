"""HTTP answers as bytes, from an API server, a proxy or anybody: read, or refused with an ApiError.

In: real connections on loopback, through both transports. Out: the errors of `kube.api.Api` and of all that reads bodies.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import pytest
from hypothesis import strategies as st

from fuzz.fuzzing import edited, fuzz
from volumehealth.cluster import resources
from volumehealth.cluster.objects import LabelPool
from volumehealth.errors import ApiError
from volumehealth.kube.access import Access
from volumehealth.kube.aiohttp_transport import AiohttpTransport
from volumehealth.kube.answers import error_of
from volumehealth.kube.api import Api
from volumehealth.kube.bodies import read_body
from volumehealth.kube.discovery import serves
from volumehealth.kube.h11_transport import H11Transport
from volumehealth.kube.reading import ObjectReader
from volumehealth.kube.transport import Transport
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef
from volumehealth.oneshot.overview import read_drivers, read_overview
from volumehealth.oneshot.reading import read_record

STATUS = b'{"kind":"Status","status":"Failure","message":"no","reason":"NotFound","details":{"retryAfterSeconds":3},"code":404}'
LIST = b'{"kind":"List","metadata":{"resourceVersion":"7","continue":""},"items":[{"metadata":{"name":"a","uid":"u"}}]}'
WATCH = b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"8"}}}\n{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n'
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
BODIES = (STATUS, LIST, WATCH, HTML, b"", b"null", b'{"items":null,"metadata":{"resourceVersion":"7"}}')


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = "\r\n".join((f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"))
    return lines.encode() + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    return head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


ANSWERS = (
    answer("200 OK", LIST, "Content-Type: application/json"),
    answer("200 OK", HTML, "Content-Type: text/html; charset=wrong", "Set-Cookie: a=b; Expires=never"),
    answer("404 Not Found", STATUS, "Content-Type: application/json"),
    answer("429 Too Many Requests", b"busy", "Retry-After: 7"),
    answer("302 Found", b"", "Location: https://login.example/?next=%zz"),
    answer("401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="x"'),
    answer("200 OK", b"\x1f\x8b\x08\x00rest", "Content-Encoding: gzip"),
    answer("502 Bad Gateway", HTML, "Content-Type: text/html"),
    chunked(LIST),
    chunked(WATCH),
    b"HTTP/1.0 200 OK\r\n\r\n" + LIST,
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer("200 OK", LIST),
    b"SSH-2.0-OpenSSH_9.2\r\n",
)


class Nobody:
    """Credentials of nobody at an address."""

    def __init__(self, port: int) -> None:
        self._access = Access(f"http://127.0.0.1:{port}")

    async def load(self) -> Access:
        return self._access

    async def refresh(self) -> Access:
        return self._access


class OddServer:
    """Answers every request with the bytes it was told, and hangs up."""

    def __init__(self) -> None:
        self.sent = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.sent)
            await writer.drain()
        writer.close()


async def ask(api: Api) -> None:
    """Make a request and begin a watch."""
    with suppress(ApiError):
        await api.request("GET", "/x", timeout=5)
    with suppress(ApiError):
        async with aclosing(api.stream("/x", query={}, idle_timeout=2)) as lines:
            async for _ in lines:
                pass


@pytest.mark.parametrize("connect", [AiohttpTransport, H11Transport])
def test_any_bytes_in_place_of_an_answer_are_an_api_error(connect: Callable[[Access], Transport]) -> None:
    odd = OddServer()
    with asyncio.Runner() as runner:
        server = runner.run(asyncio.start_server(odd.serve, "127.0.0.1", 0))
        api = Api(Nobody(server.sockets[0].getsockname()[1]), connect=connect)
        runner.run(api.open())

        @fuzz(edited(ANSWERS), share=0.25)
        def whatever_is_answered(sent: bytes) -> None:
            odd.sent = sent
            runner.run(ask(api))

        whatever_is_answered()  # type: ignore[call-arg]  # hypothesis gives it
        runner.run(api.aclose())
        server.close()


@fuzz(st.integers(300, 999), edited(BODIES), edited((b"120", b"Wed, 21 Oct 2026 07:28:00 GMT")))
def test_any_refusal_is_an_api_error_with_a_bounded_wait(status: int, body: bytes, wait: bytes) -> None:
    error = error_of(status, body, request="GET /x", retry_after=wait.decode("latin-1"))
    assert error.retry_after is None or 0 <= error.retry_after <= 600


KINDS = (
    resources.nodes(),
    resources.claims(LabelPool()),
    resources.volumes(),
    resources.pods(),
    resources.records(LabelPool()),
)


@fuzz(edited(BODIES), st.sampled_from(KINDS))
def test_any_body_in_place_of_a_list_is_a_page_or_an_api_error(body: bytes, kind: Any) -> None:
    reader = ObjectReader(kind.name, kind.item, kind.read)
    with suppress(ApiError):
        for item in reader.page(body).items:
            reader.row(item)


class OneBody:
    """Answers every request with one body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, **_: object
    ) -> bytes:
        return self._body


@fuzz(edited(BODIES))
def test_any_body_is_what_was_asked_for_or_an_api_error(body: bytes) -> None:
    api: Any = OneBody(body)
    for question in (
        lambda: serves(api, "/apis/volumehealth.dev/v1alpha1/volumehealths"),
        lambda: read_overview(api, namespace="", now=SystemClock().now()),
        lambda: read_drivers(api),
        lambda: read_record(api, ClaimRef("shop", "a")),
    ):
        with suppress(ApiError):
            asyncio.run(question())
    with suppress(ApiError):
        read_body(body, dict[str, Any], what="it")
