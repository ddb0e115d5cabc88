"""The pages for probes and for Prometheus."""

import aiohttp
import pytest

from volumehealth.errors import SettingsError
from volumehealth.report.http import Page, health, serve


async def test_a_page_is_served_and_an_unknown_path_is_not() -> None:
    routes = {"/metrics": lambda: Page(b"a 1\n", content_type="text/plain; version=0.0.4")}
    async with (
        serve("127.0.0.1:0", routes) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        async with http.get("/metrics") as answer:
            assert (answer.status, await answer.read()) == (200, b"a 1\n")
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
        async with http.get("/other") as answer:
            assert answer.status == 404


@pytest.mark.parametrize(("well", "status"), [(True, 200), (False, 503)])
async def test_a_health_page_says_what_is_wrong(well: bool, status: int) -> None:
    routes = {"/healthz": health(lambda: (well, "checks advance"))}
    async with (
        serve("127.0.0.1:0", routes) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        http.get("/healthz") as answer,
    ):
        assert (answer.status, await answer.text()) == (status, "checks advance\n")


async def test_a_page_that_cannot_be_made_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    """The connection ended without a word, and the log named no page."""

    def broken() -> Page:
        raise KeyError("claim")

    async with (
        serve("127.0.0.1:0", {"/healthz": broken}) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        http.get("/healthz") as answer,
    ):
        assert (answer.status, await answer.text()) == (500, "this page cannot be made\n")
    assert "a page cannot be made" in caplog.text


async def test_an_address_in_use_is_an_error_at_start() -> None:
    async with serve("127.0.0.1:0", {}) as port:
        with pytest.raises(SettingsError, match=r"cannot listen on 127.0.0.1:\d+: .*address already in use"):
            async with serve(f"127.0.0.1:{port}", {}):
                pass


@pytest.mark.parametrize("address", ["::8081", "a..b:8081", "256.0.0.1:8081"])
async def test_what_is_no_address_is_told_in_one_line(address: str) -> None:
    """It ended the operator and the agents with a traceback."""
    with pytest.raises(SettingsError, match="cannot listen on"):
        async with serve(address, {}):
            raise AssertionError
