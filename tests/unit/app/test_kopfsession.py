"""What Kopf's connection makes of answers: Kubernetes' own pass, those of a proxy are an outage."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from volumehealth.app.kopfsession import BACKOFFS, session_of
from volumehealth.errors import ApiUnreachable, NotServed
from volumehealth.kube.access import Access
from volumehealth.kube.discovery import serves

HTML = "<html>no</html>"
ANSWERS: dict[str, tuple[int, str, bool]] = {
    "all is well": (200, "{}", True),
    "a login page": (200, HTML, False),
    "half an object": (200, '{"items": [', False),
    "a list of what is no object": (200, '{"items": [7]}', False),
    "404 by Kubernetes' own word": (404, '{"kind": "Status", "reason": "NotFound", "code": 404}', True),
    "403 by Kubernetes' own word": (403, '{"kind": "Status", "reason": "Forbidden", "code": 403}', True),
    "401 by Kubernetes' own word": (401, '{"kind": "Status", "reason": "Unauthorized", "code": 401}', True),
    "404 of a proxy": (404, HTML, False),
    "404 of a proxy in JSON": (404, '{"error": "no route"}', False),
    "403 of a proxy": (403, HTML, False),
    "401 of a proxy": (401, HTML, False),
}


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, dict[str, object]]]:
    """A server that answers as it is told."""
    said: dict[str, object] = {"status": 200, "text": ""}

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            status=int(str(said["status"])),
            text=str(said["text"]),
            content_type=str(said.get("type", "application/json")),
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", said
    await runner.cleanup()


async def asked(url: str, *, served: bool | None) -> int:
    """Send a request as Kopf does; return the status, or 0 if Kopf would wait and try again."""

    async def is_served(_: str) -> bool:
        if served is None:
            raise ApiUnreachable("what answers is not the API server")
        return served

    made = session_of(Access(url), is_served)
    async with made.aiohttp_session as session:
        try:
            async with session.get(f"{url}/apis/volumehealth.dev/v1alpha1/volumehealthpolicies") as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return 0


async def test_kopf_is_who_our_own_connection_is_and_acts_as_whom_that_acts_as() -> None:
    async def is_served(_: str) -> bool:
        return True

    groups = (("Impersonate-User", "jane"), ("Impersonate-Group", "shop"), ("Impersonate-Group", "viewers"))
    made = session_of(Access("http://127.0.0.1:1", "Bearer t", acts_as=groups), is_served)
    async with made.aiohttp_session as session:
        assert session.headers.getall("Authorization") == ["Bearer t"]
        assert session.headers.getall("Impersonate-Group") == ["shop", "viewers"]


@pytest.mark.parametrize(("status", "text", "passes"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer(server: tuple[str, dict[str, object]], status: int, text: str, passes: bool) -> None:
    url, said = server
    said.update(status=status, text=text)
    assert await asked(url, served=None) == (status if passes else 0)
    assert await asked(url, served=True) == (status if passes else 0)


async def test_a_resource_that_is_not_served_any_more_ends_kopf(
    server: tuple[str, dict[str, object]],
) -> None:
    url, said = server
    said.update(status=404, text="404 page not found")
    assert await asked(url, served=False) == 404


class Serving:
    """An API server of which only the lists of what it serves are read; a proxy answers in its place if there are none."""

    def __init__(self, *groups: str) -> None:
        self._groups = [
            {"name": group, "versions": [{"groupVersion": f"{group}/v1alpha1"}]} for group in groups
        ]

    async def request(self, method: str, path: str) -> bytes:
        assert (method, path) == ("GET", "/apis")
        if not self._groups:
            raise NotServed("HTTP 404, and not by the API server's own word", status=404)
        return msgspec.json.encode({"kind": "APIGroupList", "groups": self._groups})


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/apis", "/apis/volumehealth.dev/v1alpha1"])
async def test_a_proxy_that_answers_404_to_what_kopf_asks_at_its_start_is_an_outage(
    server: tuple[str, dict[str, object]], path: str
) -> None:
    """It ended Kopf, and the operator, with a ValueError."""
    url, said = server
    said.update(status=404, text=HTML)
    for api in (Serving(), Serving("volumehealth.dev")):
        made = session_of(Access(url), partial(serves, api))
        async with made.aiohttp_session as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(f"{url}{path}")


async def test_where_the_server_has_a_path_of_its_own_the_api_server_is_asked_about_its_own_paths(
    server: tuple[str, dict[str, object]],
) -> None:
    """Rancher's server is https://HOST/k8s/clusters/NAME."""
    url, said = server
    said.update(status=404, text="404 page not found", type="text/plain")
    paths = []

    async def is_served(path: str) -> bool:
        paths.append(path)
        return False

    made = session_of(Access(f"{url}/k8s/clusters/c-1/"), is_served)
    async with made.aiohttp_session as session:
        for path in (
            "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies",
            "/apis/volumehealth.dev/v1alpha1",
        ):
            async with session.get(f"{url}/k8s/clusters/c-1{path}") as answer:
                assert answer.status == 404
            assert paths.pop() == path


async def test_a_version_that_is_not_served_is_told_to_kopf(server: tuple[str, dict[str, object]]) -> None:
    url, said = server
    said.update(status=404, text="404 page not found")
    made = session_of(Access(url), partial(serves, Serving("other.example")))
    async with (
        made.aiohttp_session as session,
        session.get(f"{url}/apis/volumehealth.dev/v1alpha1") as answer,
    ):
        assert answer.status == 404


def test_kopf_tries_again_for_a_day() -> None:
    assert sum(BACKOFFS) > 23 * 3600
    assert max(BACKOFFS) <= 5


async def watched(url: str) -> list[bytes]:
    """Read a watch to its end as Kopf does."""

    async def is_served(_: str) -> bool:
        return True

    made = session_of(Access(url), is_served)
    async with made.aiohttp_session as session, session.get(f"{url}/x?watch=true") as answer:
        return [line async for line in answer.content.iter_chunked(1024)]


ADDED = '{"type":"ADDED","object":{"metadata":{"name":"p","uid":"u"}}}\n'


async def test_a_watch_is_read_line_by_line(server: tuple[str, dict[str, object]]) -> None:
    url, said = server
    said["text"] = ADDED + ADDED
    assert await watched(url) == [ADDED.encode()] * 2


@pytest.mark.parametrize(
    "text",
    [HTML + "\n", ADDED[:-5], "7\n", '{"type":"ADDED","object":{"metadata":null}}\n', "[" * 5000 + "\n"],
)
async def test_what_is_no_line_of_a_watch_is_a_broken_connection(
    server: tuple[str, dict[str, object]], text: str
) -> None:
    url, said = server
    said["text"] = text
    with pytest.raises(aiohttp.ClientPayloadError):
        await watched(url)


async def test_a_page_in_place_of_a_watch_is_an_outage(server: tuple[str, dict[str, object]]) -> None:
    url, said = server
    said.update(text=HTML, type="text/html")
    with pytest.raises(aiohttp.ClientConnectionError):
        await watched(url)


async def test_any_error_in_a_watch_has_kopf_list_again(server: tuple[str, dict[str, object]]) -> None:
    url, said = server
    said["text"] = '{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd is away"}}\n'
    (line,) = await watched(url)
    assert b'"code":410' in line


async def test_a_list_that_is_null_is_empty(server: tuple[str, dict[str, object]]) -> None:
    url, said = server
    said["text"] = '{"items": null, "metadata": {}}'

    async def is_served(_: str) -> bool:
        return True

    made = session_of(Access(url), is_served)
    async with made.aiohttp_session as session, session.get(f"{url}/x") as answer:
        assert (await answer.json())["items"] == []


# ---- TLS ----


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
async def test_kopf_takes_the_certificates_that_our_own_connection_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's certificate without an authority key identifier, under the name that the kubeconfig says."""
    default = ssl.create_default_context

    def strict(*args: Any, **options: Any) -> ssl.SSLContext:  # as of Python 3.13
        context = default(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    made = _certificates(tmp_path)
    url, runner = await _serve(made)

    async def is_served(_: str) -> bool:
        return True

    access = Access(url, "Bearer t", ca_file=str(made / "ca.pem"), server_name="api.example")
    async with session_of(access, is_served).aiohttp_session as session, session.get(f"{url}/x") as found:
        assert await found.json() == {"said": "Bearer t"}
    async with session_of(replace(access, server_name="other.example"), is_served).aiohttp_session as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}/x")
    await runner.cleanup()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
async def test_kopf_goes_on_when_the_ca_of_the_cluster_was_replaced(tmp_path: Path) -> None:
    """The kubelet writes the new one into the Pod; Kopf kept the one that it had begun with for a day."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, new = (_certificates(tmp_path / name) for name in ("old", "new"))
    url, runner = await _serve(new)
    ca = tmp_path / "ca.crt"
    ca.write_bytes((old / "ca.pem").read_bytes())

    async def is_served(_: str) -> bool:
        return True

    made = session_of(Access(url, "Bearer t", ca_file=str(ca), server_name="api.example"), is_served)
    async with made.aiohttp_session as session:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(f"{url}/x")
        ca.write_bytes((new / "ca.pem").read_bytes())
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}/x")
        async with session.get(f"{url}/x") as found:
            assert found.status == 200
    await runner.cleanup()


async def _serve(made: Path) -> tuple[str, web.AppRunner]:
    """Serve with a certificate; return where."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made / "api.pem", made / "api.key")

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"said": request.headers["Authorization"]})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    return url, runner


def _certificates(folder: Path) -> Path:
    """Make a CA, and a certificate for api.example that does not say by which key it is signed."""
    (folder / "names").write_text("subjectAltName=DNS:api.example\nauthorityKeyIdentifier=none\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"req -x509 {key} -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
        f"req {key} -subj /CN=api -keyout api.key -out api.csr",
        "x509 -req -in api.csr -CA ca.pem -CAkey ca.key -set_serial 7 -days 2 -extfile names -out api.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder
