"""What Kopf's connection makes of answers: Kubernetes' own pass, those of a proxy are an outage."""

from collections.abc import AsyncIterator

import aiohttp
import kopf
import pytest
from aiohttp import web

from volumehealth.app.kopfsession import BACKOFFS, session_of
from volumehealth.errors import ApiUnreachable

HTML = "<html>no</html>"
ANSWERS: dict[str, tuple[int, str, bool]] = {
    "all is well": (200, "{}", True),
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
        return web.Response(status=int(str(said["status"])), text=str(said["text"]))

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

    made = session_of(kopf.ConnectionInfo(server=url), is_served)
    async with made.aiohttp_session as session:
        try:
            async with session.get(f"{url}/apis/volumehealth.dev/v1alpha1/volumehealthpolicies") as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return 0


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


def test_kopf_tries_again_for_a_day() -> None:
    assert sum(BACKOFFS) > 23 * 3600
    assert max(BACKOFFS) <= 5
