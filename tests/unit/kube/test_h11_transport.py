"""The agents' own transport: TLS, proxies, and connections that are kept."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from volumehealth.errors import ApiError
from volumehealth.kube.access import Access
from volumehealth.kube.h11_transport import H11Transport
from volumehealth.kube.transport import HttpRequest

GET = HttpRequest("GET", "/version", {"a": "b c"}, {"Accept": "application/json"}, None)
PUT = HttpRequest("PUT", "/thing", None, {"Content-Type": "text/plain"}, b"body")

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificate with openssl"
)


@dataclass
class Peer:
    """A server of raw bytes: answers every request with its own head, and can hang up.

    Attributes:
        heads: the heads of all requests, each with the number of its connection.
        answers: how many requests one connection is good for.
        refusal: what a CONNECT is answered with; empty connects to `upstream`.
    """

    port: int = 0
    heads: list[tuple[int, str]] = field(default_factory=list)
    answers: int = 1000
    upstream: int = 0
    refusal: str = ""
    connections: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a client."""
        self.connections += 1
        self.tasks.append(asyncio.create_task(self._serve(self.connections, reader, writer)))

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(self.answers):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append((number, head))
                if head.startswith("CONNECT"):
                    await self._tunnel(reader, writer)
                    return
                length = next(
                    (
                        int(line[15:])
                        for line in head.splitlines()
                        if line.lower().startswith("content-length:")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nX-Seen: yes\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusal:
            writer.write(f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


Serve = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start peers."""
    servers: list[tuple[asyncio.Server, Peer]] = []

    async def started(context: ssl.SSLContext | None = None) -> Peer:
        peer = Peer()
        server = await asyncio.start_server(peer.meet, "127.0.0.1", 0, ssl=context)
        peer.port = server.sockets[0].getsockname()[1]
        servers.append((server, peer))
        return peer

    yield started
    for server, peer in servers:
        server.close()
        for task in peer.tasks:
            task.cancel()
        await asyncio.gather(*peer.tasks, return_exceptions=True)


@asynccontextmanager
async def connected(access: Access) -> AsyncIterator[Callable[[HttpRequest], Awaitable[bytes]]]:
    """Send requests and read their answers to the end."""
    transport = H11Transport(access)

    async def send(request: HttpRequest) -> bytes:
        answer = await transport.send(request, access)
        assert (answer.status, answer.headers.get("x-seen")) == (200, "yes")
        body = b""
        while chunk := await answer.chunk():
            body += chunk
        answer.abort()
        return body

    try:
        yield send
    finally:
        await transport.aclose()
        await asyncio.sleep(0.01)


def plain(peer: Peer) -> Access:
    return Access(f"http://127.0.0.1:{peer.port}")


async def test_a_request_has_its_query_its_headers_and_the_servers_name(serve: Serve) -> None:
    peer = await serve()
    async with connected(plain(peer)) as send:
        await send(GET)
        assert await send(PUT) == b"body"
    lines = peer.heads[0][1].splitlines()
    assert lines[0] == "GET /version?a=b+c HTTP/1.1"
    assert f"Host: 127.0.0.1:{peer.port}" in lines
    assert "Accept: application/json" in lines


async def test_a_connection_is_used_again(serve: Serve) -> None:
    peer = await serve()
    async with connected(plain(peer)) as send:
        for _ in range(5):
            await send(GET)
    assert peer.connections == 1


async def test_requests_at_the_same_time_have_connections_of_their_own(serve: Serve) -> None:
    peer = await serve()
    async with connected(plain(peer)) as send:
        await asyncio.gather(*(send(GET) for _ in range(3)))
    assert peer.connections == 3


@pytest.mark.parametrize("request_", [GET, PUT], ids=["GET", "PUT"])
async def test_a_kept_connection_that_the_server_closed_fails_no_request(
    serve: Serve, request_: HttpRequest
) -> None:
    peer = await serve()
    peer.answers = 1
    async with connected(plain(peer)) as send:
        for _ in range(3):
            await send(request_)
    assert peer.connections == 3


async def test_an_answer_that_is_not_read_to_its_end_takes_its_connection_with_it(serve: Serve) -> None:
    peer = await serve()
    access = plain(peer)
    transport = H11Transport(access)
    answer = await transport.send(PUT, access)
    answer.abort()
    assert await answer.chunk() == b""
    again = await transport.send(PUT, access)
    assert await again.chunk() == b"body"
    await transport.aclose()
    assert peer.connections == 2


async def test_what_is_no_http_is_a_broken_connection() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    access = Access(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        transport = H11Transport(access)
        with pytest.raises(ConnectionError, match="no HTTP"):
            await transport.send(GET, access)
        await transport.aclose()


# ---- proxies ----


async def test_a_plain_server_is_asked_through_the_proxy_by_its_whole_address(serve: Serve) -> None:
    proxy = await serve()
    access = Access("http://api.example:8080", proxy=f"http://user:p%40ss@127.0.0.1:{proxy.port}")
    async with connected(access) as send:
        await send(GET)
    lines = proxy.heads[0][1].splitlines()
    assert lines[0] == "GET http://api.example:8080/version?a=b+c HTTP/1.1"
    assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in lines


async def test_a_proxy_of_another_kind_is_told() -> None:
    access = Access("http://api.example", proxy="socks5://127.0.0.1:1080")
    transport = H11Transport(access)
    with pytest.raises(ConnectionError, match=r"socks5://.* is of a kind that is not supported"):
        await transport.send(GET, access)


# ---- TLS ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for api.example that is its own CA, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "api.pem", folder / "api.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=api", "-addext", "subjectAltName=DNS:api.example"]
    command = ["openssl", "req", *kind, *names, "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


@pytest.fixture
async def secure(serve: Serve, certificate: tuple[Path, Path]) -> Peer:
    """A server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return await serve(context)


def over_tls(peer: Peer, certificate: tuple[Path, Path], name: str = "api.example") -> Access:
    return Access(f"https://127.0.0.1:{peer.port}", ca_file=str(certificate[0]), server_name=name)


@needs_openssl
async def test_the_servers_certificate_is_checked_against_the_expected_name(
    secure: Peer, certificate: tuple[Path, Path]
) -> None:
    async with connected(over_tls(secure, certificate)) as send:
        assert await send(PUT) == b"body"

    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        async with connected(over_tls(secure, certificate, name="other.example")) as send:
            await send(GET)
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        async with connected(replace(over_tls(secure, certificate), ca_file="")) as send:
            await send(GET)


@needs_openssl
async def test_a_server_over_tls_is_reached_through_the_proxys_tunnel(
    serve: Serve, secure: Peer, certificate: tuple[Path, Path]
) -> None:
    proxy = await serve()
    proxy.upstream = secure.port
    access = replace(
        over_tls(secure, certificate),
        server="https://api.example:6443",
        proxy=f"http://user:secret@127.0.0.1:{proxy.port}",
    )
    async with connected(access) as send:
        for _ in range(2):
            assert await send(PUT) == b"body"

    lines = proxy.heads[0][1].splitlines()
    assert lines[0] == "CONNECT api.example:6443 HTTP/1.1"
    assert "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in lines
    assert len(secure.heads) == 2
    assert not any("Proxy-Authorization" in head for _, head in secure.heads)


async def test_a_proxy_that_refuses_is_told(serve: Serve) -> None:
    proxy = await serve()
    proxy.refusal = "407 Proxy Authentication Required"
    access = Access("https://api.example:6443", proxy=f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(ConnectionError, match="refuses with HTTP 407"):
        async with connected(access) as send:
            await send(GET)


async def test_tls_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("no certificate")
    with pytest.raises(ApiError, match=r"the TLS files for .* cannot be used"):
        H11Transport(Access("https://api.example", ca_file=str(tmp_path / "ca")))
