"""`volumehealth operator` as a process of its own, as a Pod would run it; it dies with the test that started it."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from volumehealth.errors import SandboxError
from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program

LEASE_LOST = (1, -signal.SIGALRM)
"""Exit statuses of an operator that lost its Lease: by itself, or because its clean-up took too long."""
_POLL = 0.05
_READY_WITHIN = 60.0


class OperatorProcess:
    """One operator process: its life, its log and its HTTP pages.

    Args:
        name: tells it from others in the same directory, and is its identity at the Lease (`POD_NAME`).
        home: directory for its log.
        kubeconfig: with the deployed ServiceAccount's token.
        endpoints: values of `--csi-endpoint`.
        arguments: further flags.
        environment: further variables.
    """

    def __init__(
        self,
        name: str,
        *,
        home: Path,
        kubeconfig: Path,
        endpoints: Sequence[str] = (),
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        metrics, health = free_ports(2)
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.health_url = f"http://127.0.0.1:{health}"
        command = (
            sys.executable,
            "-P",
            "-m",
            "volumehealth",
            "operator",
            f"--kubeconfig={kubeconfig}",
            f"--metrics-address=127.0.0.1:{metrics}",
            f"--health-address=127.0.0.1:{health}",
            "--log-format=json",
            *(f"--csi-endpoint={endpoint}" for endpoint in endpoints),
            *arguments,
        )
        self.program = Program(
            name, lambda: command, home=home, environment={"POD_NAME": name, **(environment or {})}
        )

    # Life.

    async def start(self) -> None:
        """Start it; returns before it has done anything."""
        await asyncio.to_thread(self.program.start)

    async def ready(self, within: float = _READY_WITHIN) -> None:
        """Wait until /readyz says yes.

        Raises:
            SandboxError: if it ends by itself, or is not ready in time; the message holds the end of its log.
        """
        try:
            async with asyncio.timeout(within):
                while (await self.page("/readyz"))[0] != 200:
                    self.program.check_alive()
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise SandboxError(
                f"{self.program.name} is not ready after {within:g} s\n{self.program.tail()}"
            ) from None

    async def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        await asyncio.to_thread(self.program.kill)

    def freeze(self) -> None:
        """Let it stand still, as a machine that is suspended does: SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        running = self.program.running
        if running is None:
            raise SandboxError(f"{self.program.name} does not run")
        running.signal(number)

    async def stop(self, *, grace: float = 15.0) -> int | None:
        """End it as a kubelet would, SIGTERM first; return its exit status (-9: it had to be killed)."""
        await asyncio.to_thread(self.program.stop, grace=grace)
        return self.program.exit_status

    async def ended(self, within: float) -> int | None:
        """Wait for it to end by itself and return its exit status; None if it still runs."""
        running = self.program.running
        if running is not None:
            await asyncio.to_thread(running.wait, within)
        return self.program.exit_status

    # What it says.

    def log(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return its log lines after the first `after` ones; what is no JSON is `{"message": ..., "raw": True}`."""
        return [_entry(line) for line in self._lines()[after:]]

    @property
    def log_length(self) -> int:
        """How many lines it has written."""
        return len(self._lines())

    def _lines(self) -> list[str]:
        try:
            return self.program.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    async def page(self, path: str) -> tuple[int, str]:
        """Read /healthz or /readyz: the status and the text; 0 if nobody answers."""
        return await _get(f"{self.health_url}{path}")

    async def metrics(self) -> Mapping[str, float]:
        """Read /metrics: the value of each series, by its name with labels as they are printed."""
        return await scrape(self.metrics_url)


async def scrape(url: str) -> Mapping[str, float]:
    """Read a page of metrics: the value of each series, by its name with labels as they are printed.

    Raises:
        SandboxError: if the page cannot be had.
    """
    status, text = await _get(url)
    if status != 200:
        raise SandboxError(f"{url} serves no metrics: {status}")
    samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in samples}


def _entry(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"message": line, "raw": True}
    return entry


async def _get(url: str) -> tuple[int, str]:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(url) as answer,
        ):
            return answer.status, await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return 0, ""
