"""How the demo speaks: numbered steps, real commands, and their real output as it came."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from volumehealth.errors import SandboxError


class Screen:
    """Prints; runs what it shows.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0
        self._began = time.monotonic()

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self._step += 1
        self._console.print()
        self._console.print(
            Rule(Text(f"{self._step}. {title}", style="bold cyan"), align="left", style="cyan")
        )

    def say(self, text: str) -> None:
        """Say something to the person."""
        self._console.print()
        self._console.print(Text(text))

    def line(self, text: str) -> None:
        """Tell a bit of progress, with the seconds since the start."""
        self._console.print(Text(f"  {time.monotonic() - self._began:5.1f} s  {text}", style="dim"))

    def bad(self, text: str) -> None:
        """Tell that it failed."""
        self._console.print(Text(f"\nFAILED: {text}", style="bold red"))

    def text(self, text: str) -> None:
        """Print lines as they are, indented."""
        for line in text.splitlines():
            self._console.print(Text(f"  {line}"), soft_wrap=True)

    def run(self, command: str, environment: Mapping[str, str]) -> None:
        """Show a shell command, run that very command, show what it said.

        Raises:
            SandboxError: if it fails.
        """
        self._console.print()
        self._console.print(Text(f"$ {command}", style="bold green"), soft_wrap=True)
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | environment,
        )
        for line in (done.stdout + done.stderr).splitlines():
            self._console.print(Text(f"  {line}", style=_tone(line)), soft_wrap=True)
        if done.returncode != 0:
            raise SandboxError(f"exit status {done.returncode} of: {command}")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show that we wait; on a terminal something moves."""
        began = time.monotonic()
        self._console.print()
        with self._console.status(Text(f"waiting for {what}")):
            yield
        self._console.print(Text(f"  ... {time.monotonic() - began:.1f} s until {what}", style="dim"))


def _tone(line: str) -> str:
    """Colour the lines that a person should find at once."""
    if "VolumeConditionAbnormal" in line or "UNHEALTHY " in line:
        return "red"
    if "VolumeConditionNormal" in line:
        return "green"
    return ""
