"""Debian's Prometheus and Alertmanager as processes, with the rules that the chart ships, and a pager that is a real HTTP server.

The only change to the rules is time: a `for` of a minute is a second, so that a test does not wait for ten of them. What
Alertmanager inhibits is read from docs/alerts.md, so that what the page says is what was run.
"""

import asyncio
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/volumehealth/files/alerts/volumehealth.yaml"
PROGRAMS = ("prometheus", "prometheus-alertmanager")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
WHY_NOT = f"no {', '.join(MISSING)} (Debian: apt-get install prometheus prometheus-alertmanager)"
_POLL = 0.1


def quick_rules() -> dict[str, Any]:
    """Return the shipped rules with seconds for minutes."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["for"] = f"{_seconds(rule.get('for', '0s')) // 60}s"
    return rules


def inhibit_rules() -> list[dict[str, Any]]:
    """Return what docs/alerts.md tells Alertmanager to inhibit."""
    (block,) = re.findall(
        r"```yaml\n(inhibit_rules:.*?)```", (ROOT / "docs/alerts.md").read_text(), re.DOTALL
    )
    rules: list[dict[str, Any]] = yaml.safe_load(block)["inhibit_rules"]
    return rules


def _seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


class Monitoring:
    """An async context manager.

    Attributes:
        pages: what Alertmanager delivered, in order: `firing` or `resolved`, and the alert's labels.
        descriptions: the descriptions that came with them, in their order.

    Args:
        home: directory for data and logs.
        targets: `host:port` of what is scraped, each second, with `honor_labels`.
    """

    def __init__(self, home: Path, targets: Sequence[str]) -> None:
        self.pages: list[tuple[str, dict[str, str]]] = []
        self.descriptions: list[str] = []
        self._home = home
        self._targets = targets
        prometheus, alertmanager, self._pager = free_ports(3)
        self.prometheus, self.alertmanager = (
            f"http://127.0.0.1:{prometheus}",
            f"http://127.0.0.1:{alertmanager}",
        )
        self._programs = (
            Program(
                "alertmanager",
                lambda: (
                    "prometheus-alertmanager",
                    f"--config.file={home}/alertmanager.yml",
                    f"--storage.path={home}/alertmanager",
                    f"--web.listen-address=127.0.0.1:{alertmanager}",
                    "--cluster.listen-address=",
                ),
                home=home,
            ),
            Program(
                "prometheus",
                lambda: (
                    "prometheus",
                    f"--config.file={home}/prometheus.yml",
                    f"--storage.tsdb.path={home}/prometheus",
                    f"--web.listen-address=127.0.0.1:{prometheus}",
                ),
                home=home,
            ),
        )
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._write()
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_post("/page", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._pager).start()
        for program in self._programs:
            await asyncio.to_thread(program.start)
        await self.until(self._ready, "both answer", within=60)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._programs):
            await asyncio.to_thread(program.stop)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    # What is asked.

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus: each series as `{"metric": ..., "value": ...}`.

        Raises:
            AssertionError: if the expression is refused.
        """
        answer = await self._get(f"{self.prometheus}/api/v1/query", {"query": expression})
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire at Prometheus."""
        answer = await self._get(f"{self.prometheus}/api/v1/alerts")
        return {one["labels"]["alertname"] for one in answer["data"]["alerts"] if one["state"] == "firing"}

    async def active(self) -> list[Mapping[str, Any]]:
        """Return the alerts at Alertmanager, each with its labels and its status (silencedBy, inhibitedBy)."""
        found: list[Mapping[str, Any]] = await self._get(f"{self.alertmanager}/api/v2/alerts")
        return found

    async def silence(self, labels: Mapping[str, str], *, until: str, why: str) -> str:
        """Silence alerts as a person does; returns the silence's id.

        Args:
            labels: what they must carry.
            until: RFC 3339.
            why: the comment.
        """
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in labels.items()
            ],
            "startsAt": "2020-01-01T00:00:00Z",
            "endsAt": until,
            "createdBy": "test",
            "comment": why,
        }
        assert self._session is not None
        async with self._session.post(f"{self.alertmanager}/api/v2/silences", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return str((await answer.json())["silenceID"])

    async def unsilence(self, silence: str) -> None:
        """End a silence."""
        assert self._session is not None
        async with self._session.delete(f"{self.alertmanager}/api/v2/silence/{silence}") as answer:
            assert answer.status == 200, await answer.text()

    async def paged(self, name: str, state: str = "firing", **labels: str) -> float:
        """Wait until the pager was told of an alert with these labels; return how many seconds that took."""

        async def so() -> bool:
            return any(
                said == state and labels.items() <= told.items() and told["alertname"] == name
                for said, told in self.pages
            )

        return await self.until(so, f"{name} {labels} is delivered as {state}: {self.pages}")

    async def until(self, condition: Any, what: str, *, within: float = 60.0) -> float:
        """Wait until something is so; return how many seconds that took.

        Raises:
            AssertionError: if it is not so in time; with the ends of both logs.
        """
        loop = asyncio.get_running_loop()
        before = loop.time()
        while not await condition():
            if loop.time() - before > within:
                tails = "\n".join(f"{one.name}:\n{one.tail()}" for one in self._programs)
                raise AssertionError(f"not within {within:g} s: {what}\n{tails}")
            await asyncio.sleep(_POLL)
        return loop.time() - before

    # How it is set up.

    def _write(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        (self._home / "rules.yml").write_text(yaml.safe_dump(quick_rules()))
        prometheus = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
                "external_labels": {"cluster": "test"},
            },
            "rule_files": ["rules.yml"],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [self.alertmanager.removeprefix("http://")]}]}
                ]
            },
            "scrape_configs": [
                {
                    "job_name": "volumehealth",
                    "honor_labels": True,
                    "static_configs": [{"targets": list(self._targets)}],
                }
            ],
        }
        alertmanager = {
            "route": {
                "receiver": "pager",
                "group_by": ["..."],
                "group_wait": "1s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [
                {
                    "name": "pager",
                    "webhook_configs": [{"url": f"http://127.0.0.1:{self._pager}/page"}],
                }
            ],
            "inhibit_rules": inhibit_rules(),
        }
        (self._home / "prometheus.yml").write_text(yaml.safe_dump(prometheus))
        (self._home / "alertmanager.yml").write_text(yaml.safe_dump(alertmanager))

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.pages += [(alert["status"], alert["labels"]) for alert in body["alerts"]]
        self.descriptions += [alert["annotations"].get("description", "") for alert in body["alerts"]]
        return web.Response()

    async def _ready(self) -> bool:
        for program in self._programs:
            program.check_alive()
        try:
            for url in (f"{self.prometheus}/-/ready", f"{self.alertmanager}/-/ready"):
                assert self._session is not None
                async with self._session.get(url) as answer:
                    if answer.status != 200:
                        return False
        except aiohttp.ClientError:
            return False
        return True

    async def _get(self, url: str, query: Mapping[str, str] | None = None) -> Any:
        assert self._session is not None
        async with self._session.get(url, params=query) as answer:
            return await answer.json()
