"""Requests and streams over real HTTP, to a server in this process that behaves as the test says."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import certifi
import pytest
import yaml
from aiohttp import web

from volumehealth import errors
from volumehealth.kube.access import Access
from volumehealth.kube.api import Api, over_aiohttp
from volumehealth.kube.credentials import CredentialSource
from volumehealth.kube.h11_transport import H11Transport
from volumehealth.kube.transport import Connect, HttpAnswer, HttpRequest, Transport
from volumehealth.model.clock import SystemClock

OBJECT = {"kind": "Thing"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MovableClock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> None:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Server:
    """An HTTP server whose one handler a test replaces; keeps what arrived."""

    url: str = ""
    handler: Handler | None = None
    tokens: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    accepted: set[str] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "")
        self.tokens.append(token)
        self.bodies.append(await request.read())
        if self.accepted is not None and token not in self.accepted:
            return status(401, "Unauthorized")
        return await self.handler(request) if self.handler else web.json_response(OBJECT)


def status(code: int, message: str, **headers: str) -> web.Response:
    """Answer as the API server refuses."""
    reason = "NotFound" if code == 404 else "Whatever"
    body = {"kind": "Status", "code": code, "message": message, "reason": reason}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response(body, status=code, headers=named)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def kubeconfig(path: Path, server: str, user: dict[str, object]) -> Path:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


class _Ends:
    """A transport that counts its answers, and those that were ended."""

    def __init__(self, real: Transport) -> None:
        self.real, self.answers, self.aborted = real, 0, 0

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        answer = await self.real.send(request, access)
        self.answers += 1
        return _Counted(answer, self)

    async def aclose(self) -> None:
        await self.real.aclose()


class _Counted:
    def __init__(self, real: HttpAnswer, ends: _Ends) -> None:
        self._real, self._ends = real, ends
        self.status, self.headers, self.chunk = real.status, real.headers, real.chunk

    def abort(self) -> None:
        self._ends.aborted += 1
        self._real.abort()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(params=[over_aiohttp, H11Transport], ids=["the operator's", "the agents'"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Each transport."""
    chosen: Connect = request.param
    return chosen


@pytest.fixture
async def api(server: Server, tmp_path: Path, clock: MovableClock, connect: Connect) -> AsyncIterator[Api]:
    """Logged in by a token file `token`, which ends in a newline; over each transport."""
    token = tmp_path / "token"
    token.write_text("first\n")
    path = kubeconfig(tmp_path / "kubeconfig", server.url, {"tokenFile": str(token)})
    api = Api(CredentialSource(str(path)), clock=clock, connect=connect)  # type: ignore[arg-type]  # nobody asks for the wall clock
    await api.open()
    async with api:
        yield api


async def test_a_request_carries_the_token_and_a_json_body(api: Api, server: Server) -> None:
    answer = await api.request("POST", "/apis/x", body={"a": [1, "ü"]})
    assert answer == b'{"kind": "Thing"}'
    assert server.tokens == ["Bearer first"]
    assert server.bodies == ['{"a":[1,"ü"]}'.encode()]


async def test_a_user_that_acts_as_another_says_so_with_all_its_groups(
    server: Server, tmp_path: Path, connect: Connect
) -> None:
    heard: list[tuple[str, list[str]]] = []

    async def note(request: web.Request) -> web.Response:
        heard.append((request.headers["Impersonate-User"], request.headers.getall("Impersonate-Group")))
        return web.json_response(OBJECT)

    server.handler = note
    user: dict[str, object] = {"token": "t", "as": "jane", "as-groups": ["shop", "viewers"]}
    path = kubeconfig(tmp_path / "kubeconfig", server.url, user)
    async with await Api.connect(str(path), transport=connect) as api:
        await api.request("GET", "/x")
    assert heard == [("jane", ["shop", "viewers"])]


async def test_bytes_are_sent_as_they_are(api: Api, server: Server) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({**OBJECT, "type": request.headers["Content-Type"]})

    server.handler = echo
    answer = await api.request("PATCH", "/x", body=b"a: b", content_type="application/apply-patch+yaml")
    assert b"application/apply-patch+yaml" in answer
    assert server.bodies == [b"a: b"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.Invalid),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.Gone),
        (422, errors.Invalid),
        (429, errors.TooManyRequests),
        (500, errors.ApiError),
        (503, errors.ApiError),
    ],
)
async def test_a_refusal_is_an_error_with_the_servers_own_sentence(
    api: Api, server: Server, code: int, kind: type[errors.ApiError]
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return status(code, "pods is forbidden", Retry_After="7")

    server.handler = refuse
    with pytest.raises(kind) as caught:
        await api.request("GET", "/x")
    assert type(caught.value) is kind
    assert str(caught.value) == "pods is forbidden"
    assert caught.value.status == code
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.ApiUnreachable),
        (401, errors.ApiUnreachable),
        (403, errors.ApiUnreachable),
        (404, errors.NotServed),
        (409, errors.ApiUnreachable),
        (410, errors.ApiUnreachable),
        (422, errors.ApiUnreachable),
        (429, errors.TooManyRequests),
        (503, errors.ApiError),
    ],
)
@pytest.mark.parametrize(
    "body",
    [b"<html>no</html>", b"", b"404 page not found", b'{"error":"NotFound"}', b"null", b"\xff", b"[" * 9999],
)
async def test_what_is_no_status_is_not_the_api_servers_word(
    api: Api, server: Server, code: int, kind: type[errors.ApiError], body: bytes
) -> None:
    async def proxy(_: web.Request) -> web.Response:
        return web.Response(status=code, body=body)

    server.handler = proxy
    with pytest.raises(kind) as caught:
        await api.request("GET", "/x")
    assert type(caught.value) is kind


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"null", b"{}", b"\xff", b'{"kind":"Event"'])
async def test_a_page_in_place_of_an_answer_to_a_write_is_no_success(
    api: Api, server: Server, method: str, body: bytes
) -> None:
    async def login(_: web.Request) -> web.Response:
        return web.Response(body=body)

    server.handler = login
    with pytest.raises(errors.ApiUnreachable):
        await api.request(method, "/x", body={})


@pytest.mark.parametrize("wait", ["9" * 400, "²", "-1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", ""])
async def test_nobody_makes_us_wait_for_longer_than_ten_minutes(api: Api, server: Server, wait: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": wait.encode().decode("latin-1")})

    server.handler = refuse
    with pytest.raises(errors.TooManyRequests) as caught:
        await api.request("GET", "/x")
    assert caught.value.retry_after in (None, 600.0)


async def test_an_answer_that_is_no_status_still_says_what_it_is_about(api: Api, server: Server) -> None:
    async def broken_gateway(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway</html>")

    server.handler = broken_gateway
    with pytest.raises(errors.ApiError, match=r"^GET /api/v1/pods: HTTP 502$"):
        await api.request("GET", "/api/v1/pods")


async def test_a_redirect_is_not_followed_with_our_token(api: Api, server: Server) -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

    server.handler = elsewhere
    with pytest.raises(errors.ApiError, match="HTTP 302"):
        await api.request("GET", "/x")


async def test_no_answer_in_time(api: Api, server: Server) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    server.handler = hang
    with pytest.raises(errors.ApiUnreachable, match="did not answer in time"):
        await api.request("GET", "/x", timeout=0.1)


async def test_nobody_listens(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", {"token": "t"})
    async with await Api.connect(str(path)) as api:
        with pytest.raises(errors.ApiUnreachable, match=r"127\.0\.0\.1:1 failed: "):
            await api.request("GET", "/x")


@pytest.mark.parametrize("connect", [over_aiohttp], indirect=True, ids=["the operator's"])
async def test_an_answer_without_headers_is_a_broken_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(response: aiohttp.ClientResponse, connection: object) -> None:
        response.headers.getall("Set-Cookie")  # as aiohttp does; its answer has no headers yet

    monkeypatch.setattr(aiohttp.ClientResponse, "start", start)
    with pytest.raises(errors.ApiUnreachable):
        await api.request("GET", "/version")


async def test_after_it_was_closed(api: Api) -> None:
    await api.aclose()
    with pytest.raises(errors.ApiUnreachable, match="closed"):
        await api.request("GET", "/x")


async def test_a_refused_token_is_read_again_and_the_request_repeated_once(
    api: Api, server: Server, tmp_path: Path
) -> None:
    server.accepted = {"Bearer second"}
    (tmp_path / "token").write_text("second")
    assert await api.request("POST", "/x", body={}) == b'{"kind": "Thing"}'
    assert server.tokens == ["Bearer first", "Bearer second"]


async def test_a_token_that_stays_refused_is_not_read_for_every_request(api: Api, server: Server) -> None:
    server.accepted = set()
    for _ in range(3):
        with pytest.raises(errors.Forbidden, match="does not accept our credentials"):
            await api.request("GET", "/x")
    assert len(server.tokens) == 4, "only the first refusal was followed by a second try"


async def test_many_refused_at_once_load_the_credentials_once(
    api: Api, server: Server, tmp_path: Path
) -> None:
    server.accepted = {"Bearer second"}
    (tmp_path / "token").write_text("second")
    answers = await asyncio.gather(*(api.request("GET", "/x") for _ in range(20)))
    assert answers == [b'{"kind": "Thing"}'] * 20


async def test_a_refusal_costs_no_connection_while_no_credentials_can_be_loaded(
    server: Server, tmp_path: Path, clock: MovableClock, connect: Connect
) -> None:
    """A connection that is not given back is lost to all that asks later; the operator has a hundred."""
    token = tmp_path / "token"
    token.write_text("first")
    source = CredentialSource(str(kubeconfig(tmp_path / "kubeconfig", server.url, {"tokenFile": str(token)})))
    ends: list[_Ends] = []

    def counted(access: Access) -> Transport:
        ends.append(_Ends(connect(access)))
        return ends[-1]

    async with Api(source, clock=clock, connect=counted) as api:  # type: ignore[arg-type]  # as above
        await api.open()
        server.accepted = set()
        token.unlink()
        for _ in range(3):
            clock.seconds += 5
            with pytest.raises(errors.ApiError, match="no credentials"):
                await api.request("GET", "/x")
    assert [(one.answers, one.aborted) for one in ends] == [(3, 3)]


async def test_a_token_file_is_read_again_every_minute(
    api: Api, server: Server, tmp_path: Path, clock: MovableClock
) -> None:
    (tmp_path / "token").write_text("second")
    await api.request("GET", "/x")
    clock.seconds += 61
    await api.request("GET", "/x")
    assert server.tokens == ["Bearer first", "Bearer second"]
    assert api.access.authorization == "Bearer second"


async def test_a_token_file_that_is_gone_for_a_moment_leaves_the_old_token(
    api: Api, server: Server, tmp_path: Path, clock: MovableClock
) -> None:
    (tmp_path / "token").unlink()
    clock.seconds += 61
    await api.request("GET", "/x")
    assert server.tokens == ["Bearer first"]


async def lines_of(api: Api, *, idle_timeout: float = 5.0) -> list[bytes]:
    return [line async for line in api.stream("/x", query={"watch": "true"}, idle_timeout=idle_timeout)]


def streaming(*chunks: bytes | float, die: bool = False) -> Handler:
    """Send chunks, sleep where there is a number, then end or break the connection."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            if isinstance(chunk, bytes):
                await response.write(chunk)
            else:
                await asyncio.sleep(chunk)
        if die and request.transport is not None:
            request.transport.abort()
        else:
            await response.write_eof()
        return response

    return stream


async def test_a_netrc_that_names_the_server_changes_nothing(
    api: Api, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert await api.request("GET", "/x") == b'{"kind": "Thing"}'
    assert server.tokens == ["Bearer first"]


async def test_a_stream_comes_line_by_line_however_it_was_cut(api: Api, server: Server) -> None:
    server.handler = streaming(b'{"a"', 0.01, b':1}\n{"b":2}\n', 0.01, b'{"c":', b"3}\n")
    assert await lines_of(api) == [b"", b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_a_line_longer_than_any_buffer(api: Api, server: Server) -> None:
    server.handler = streaming(*[b"x" * 100_000] * 100, b"\n")
    assert [len(line) for line in await lines_of(api)] == [0, 10_000_000]


async def test_a_stream_that_breaks(api: Api, server: Server) -> None:
    server.handler = streaming(b"one\ntw", die=True)
    seen: list[bytes] = []

    async def read() -> None:
        async for line in api.stream("/x", query={}, idle_timeout=5):
            seen.append(line)  # noqa: PERF401 - what came before it broke counts

    with pytest.raises(errors.ApiUnreachable, match="failed"):
        await read()
    assert seen == [b"", b"one"]


async def test_a_stream_that_falls_silent_ends_without_an_error(api: Api, server: Server) -> None:
    server.handler = streaming(b"one\n", 5.0)
    assert await lines_of(api, idle_timeout=0.2) == [b"", b"one"]


async def test_a_stream_ends_when_its_connection_is_made_anew(
    server: Server, clock: MovableClock, connect: Connect
) -> None:
    """As when a cluster's CA is another one: whoever reads must begin anew, and is told so."""
    server.handler = streaming(b"one\n", 60.0)
    source = Source(Access(server.url))
    async with connected(source, clock, connect) as api:
        lines = api.stream("/x", query={}, idle_timeout=60)
        assert [await anext(lines), await anext(lines)] == [b"", b"one"]
        waiting = asyncio.ensure_future(anext(lines))
        source.access = Access(server.url.replace("127.0.0.1", "localhost"))
        await later(api, server, clock)
        async with asyncio.timeout(5):
            with pytest.raises(errors.ApiUnreachable):
                await waiting


async def test_files_that_are_written_anew_and_say_the_same_leave_streams_alone(
    server: Server, clock: MovableClock, connect: Connect, tmp_path: Path
) -> None:
    """As the kubelet writes all files of a Pod's credentials whenever the token is a new one."""
    ca = tmp_path / "ca.crt"
    shutil.copy(certifi.where(), ca)
    server.handler = streaming(b"one\n", 0.5, b"two\n")
    async with connected(Source(Access(server.url, ca_file=str(ca))), clock, connect) as api:
        lines = api.stream("/x", query={}, idle_timeout=60)
        assert [await anext(lines), await anext(lines)] == [b"", b"one"]
        ca.unlink()
        shutil.copy(certifi.where(), ca)
        os.utime(ca, (1, 1))
        await later(api, server, clock)
        assert await anext(lines) == b"two"


class Source:
    """Credentials that a test changes."""

    def __init__(self, access: Access) -> None:
        self.access = access

    async def load(self) -> Access:
        return self.access

    refresh = load


@asynccontextmanager
async def connected(source: Source, clock: MovableClock, connect: Connect) -> AsyncIterator[Api]:
    api = Api(source, clock=clock, connect=connect)  # type: ignore[arg-type]  # nobody asks for the wall clock
    await api.open()
    async with api:
        yield api


async def later(api: Api, server: Server, clock: MovableClock) -> None:
    """Send a request after so long that the credentials are read again."""
    server.handler = None
    clock.seconds += 61
    await api.request("GET", "/x")


async def test_a_stream_whose_answer_never_ends_by_itself_ends_for_us() -> None:
    """Whatever becomes of a connection: after the time without a byte the stream is over."""
    api = Api(Source(Access("http://127.0.0.1:1")), clock=SystemClock(), connect=lambda _: _Forgetful())
    await api.open()
    async with api, asyncio.timeout(5):
        assert [line async for line in api.stream("/x", query={}, idle_timeout=0.1)] == [b""]


class _Endless:
    """A transport whose answers have no end and no line end."""

    def __init__(self, status: int) -> None:
        self.status, self.headers, self.sent = status, {"Retry-After": "7"}, 0

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        return self

    async def chunk(self) -> bytes:
        self.sent += 1
        assert self.sent < 2000, "it is read without an end"
        return b"x" * 65536

    def abort(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def test_a_line_without_an_end_is_given_up_and_costs_no_more_than_its_bytes() -> None:
    endless = _Endless(200)
    api = Api(Source(Access("http://127.0.0.1:1")), clock=SystemClock(), connect=lambda _: endless)
    await api.open()
    begun = time.process_time()
    async with api:
        with pytest.raises(errors.ApiUnreachable, match="has no end"):
            await lines_of(api)
    assert time.process_time() - begun < 2


async def test_of_a_refusal_without_an_end_no_more_is_read_than_says_what_it_is() -> None:
    endless = _Endless(503)
    api = Api(Source(Access("http://127.0.0.1:1")), clock=SystemClock(), connect=lambda _: endless)
    await api.open()
    async with api:
        with pytest.raises(errors.ApiError, match="HTTP 503") as told:
            await api.request("GET", "/x")
    assert told.value.retry_after == 7


class _Forgetful:
    """A transport that never wakes who reads."""

    status = 200
    headers: Mapping[str, str] = {}

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        return self

    async def chunk(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    def abort(self) -> None:
        """Nothing is there to be dropped."""

    async def aclose(self) -> None:
        """Nothing is there to be closed."""


async def test_a_stream_that_never_begins(api: Api, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    monkeypatch.setattr("volumehealth.kube.api._ACCEPT", 0.1)
    server.handler = hang
    with pytest.raises(errors.ApiUnreachable, match="did not answer in time"):
        await lines_of(api)


async def test_a_stream_that_lasts_longer_than_any_limit_of_the_library_as_long_as_it_speaks(
    api: Api, server: Server
) -> None:
    server.handler = streaming(*(b".\n", 0.1) * 10)
    assert len(await lines_of(api, idle_timeout=0.3)) == 11


async def test_a_refused_stream(api: Api, server: Server) -> None:
    async def gone(_: web.Request) -> web.Response:
        return status(410, "too old resource version")

    server.handler = gone
    with pytest.raises(errors.Gone, match="too old"):
        await lines_of(api)
