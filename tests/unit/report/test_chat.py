"""Notifications in words: what people read, through the real Apprise to a real HTTP server."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.health import found, make_claim, make_finding, make_health, make_result
from support.notifying import reporter_with
from volumehealth.report.chat import AppriseSession, Words, words_of

# Apprise looks for a module that Python 3.13 has no more.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
DATA: dict[str, Any] = {
    "policy": "production",
    "driver": "csi.example.com",
    "source": "Node",
    "status": "Inaccessible",
    "reason": "IOError",
    "since": "2026-11-23T03:02:11+00:00",
    "edge": "Abnormal",
    "runbook": "https://docs.example.com/runbooks.html#ioerror",
    "node": "worker-2",
    "message": "the device answered I/O errors",
}
SECRET = "very-secret"
SAID = Words("title", "body", bad=True)


class Server:
    """A chat's HTTP server, which answers as the test says."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{SECRET}"

    async def take(self, request: web.Request) -> web.Response:
        answer = self.answers.pop() if self.answers else 200
        if answer == 200:
            self.taken.append(await request.json())
        return web.Response(status=answer, headers={"Location": "/elsewhere"} if answer == 302 else {})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def test_a_problem_of_one_claim_says_where_since_when_and_what_to_do() -> None:
    words = words_of("shop/orders-db", DATA)
    assert words.title == "shop/orders-db: Inaccessible/IOError"
    assert words.body == (
        "the device answered I/O errors\n"
        "Since 2026-11-23T03:02:11+00:00: driver csi.example.com, node worker-2, policy production.\n"
        "What to do: https://docs.example.com/runbooks.html#ioerror"
    )


def test_a_problem_of_many_claims_names_some_of_them() -> None:
    many = DATA | {"claims": 40, "namespaces": 3, "examples": ["a/1", "b/2"]}
    words = words_of("csi.example.com", many)
    assert words.title == "40 claims of csi.example.com in 3 namespaces: Inaccessible/IOError"
    assert "\nAmong them: a/1, b/2.\n" in words.body
    alone = words_of("csi.example.com", many | {"namespaces": 1})
    assert alone.title == "40 claims of csi.example.com in 1 namespace: Inaccessible/IOError"


def test_what_recovered_asks_for_nothing() -> None:
    words = words_of("shop/orders-db", DATA | {"edge": "Normal"})
    assert (words.title, words.bad) == ("shop/orders-db: recovered from Inaccessible/IOError", False)
    assert "What to do" not in words.body


def test_a_drivers_text_can_call_nobody_and_make_no_link() -> None:
    words = words_of("shop/db", DATA | {"message": "@everyone <!channel> <https://x|y>", "reason": "@here"})
    for call in ("@everyone", "<!", "<https", "@here"):
        assert call not in words.title + words.body.partition("What to do")[0]


async def test_the_server_gets_title_body_and_kind(server: Server) -> None:
    assert await AppriseSession()(server.address, SAID)
    assert await AppriseSession()(server.address, Words("well", "again", bad=False))
    assert [(one["title"], one["message"], one["type"]) for one in server.taken] == [
        ("title", "body", "failure"),
        ("well", "again", "success"),
    ]


@pytest.mark.parametrize("answer", [302, 401, 404, 429, 500])
async def test_what_is_not_taken_is_said_without_the_address(
    server: Server, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [answer]
    assert not await AppriseSession()(server.address, SAID)
    assert server.taken == []
    assert SECRET not in "".join(one.getMessage() for one in caplog.records if one.name == "apprise")


@pytest.mark.parametrize("address", [f"nonsense://{SECRET}", f"json://{SECRET}:x:y", "", f"://{SECRET}"])
async def test_an_address_that_apprise_does_not_know_is_not_taken_and_not_quoted(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert not await AppriseSession()(address, SAID)
    assert SECRET not in caplog.text


async def test_what_the_whole_reporter_publishes_arrives_in_words_after_a_failure(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [503]
    claim, finding = make_claim(), make_finding()
    runbooks = "https://docs.example.com/runbooks.html"
    async with reporter_with(f"apprise: {server.address}", tmp_path, runbooks=runbooks) as (reporter, api):
        reporter.report(make_result([(claim, make_health(claim, finding))], turns=[found(claim, finding)]))
        async with asyncio.timeout(60):
            while not server.taken or "owed" in api.of_kind("VolumeHealth")[0]["status"]:  # noqa: ASYNC110 - a real server's time
                await asyncio.sleep(0.05)
    (told,) = server.taken
    assert told["title"] == "shop/orders-db: Inaccessible/VolumeNotFound"
    assert told["message"].endswith("What to do: https://docs.example.com/runbooks.html#volumenotfound")
    assert "a notification was not sent" in caplog.text
    assert SECRET not in caplog.text


def test_apprise_is_not_loaded_before_the_first_message() -> None:
    code = (
        "import sys, volumehealth.report.outputs, volumehealth.report.notifications; "
        "print([one for one in ('apprise', 'requests') if one in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
