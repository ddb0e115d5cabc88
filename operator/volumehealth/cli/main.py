"""The command `volumehealth`."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from volumehealth import __version__
from volumehealth.errors import SettingsError, VolumeHealthError
from volumehealth.model.text import visible

_COMMANDS = {
    "operator": "volumehealth.cli.operator",
    "agent": "volumehealth.cli.agent",
    "check": "volumehealth.cli.check",
    "status": "volumehealth.cli.overview",
    "drivers": "volumehealth.cli.overview",
    "history": "volumehealth.cli.overview",
    "report": "volumehealth.cli.report",
    "explain": "volumehealth.cli.explain",
    "silence": "volumehealth.cli.silence",
    "unsilence": "volumehealth.cli.silence",
    "support": "volumehealth.cli.support",
    "completion": "volumehealth.cli.completion",
    "preflight": "volumehealth.cli.preflight",
    "sandbox": "volumehealth_sandbox.cli",
}

_ONLY_PEOPLE = "this command is not part of the plugin of kubectl; to have it: pipx install volumehealth"
_LEFT_OUT = frozenset(("google", "google.protobuf", "grpc", "kopf", "prometheus_client"))
"""What the plugin of kubectl does not bring (charts/krew.py)."""
_ERROR, _INTERRUPTED, _NOBODY_READS = 2, 130, 141
"""Exit statuses. Click's own for an error, for Ctrl-C and for a closed pipe is 1, which of `check` and `status` means unhealthy."""
_NO_SANDBOX = "the sandbox is not part of this installation; clone the repository and run: make demo"


class _Lazy(click.Group):
    """Imports a command when it is called: an agent must not pay for what the operator needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands that are here; the help imports each of them."""
        return [name for name, module in _COMMANDS.items() if find_spec(module.partition(".")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        try:
            module = import_module(_COMMANDS[cmd_name])
        except ModuleNotFoundError as error:
            if error.name != "volumehealth_sandbox":
                raise
            raise click.ClickException(_NO_SANDBOX) from None
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever keeps it from its end has an exit status that says nothing of volumes."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.show()
            raise SystemExit(_ERROR) from None
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None
        except BrokenPipeError:
            # What is still buffered would be written at the end, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(_NOBODY_READS) from None


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="volumehealth")
def cli() -> None:
    """Volume health monitoring for every Kubernetes cluster with CSI storage."""


def arguments(line: Sequence[str]) -> list[str]:
    """Return what the command is called with; `kubectl volumehealth` without a command, or with flags only, is `status`.

    Args:
        line: the program and its arguments.
    """
    given = list(line[1:])
    plugin = Path(line[0]).name.startswith("kubectl-")
    own = {"-h", "--help", "--version"}
    if plugin and (not given or (given[0].startswith("-") and given[0] not in own)):
        return ["status", *given]
    return given


def _lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def main() -> None:
    """Run the command line; expected failures end in one clear message and exit status 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal has no letter for is no failure
    try:
        cli.main(arguments(sys.argv), prog_name="volumehealth", standalone_mode=True)
    except SettingsError as error:
        for fault in error.faults:
            click.echo(f"Error: {visible(fault)}", err=True)
        raise SystemExit(2) from None
    except VolumeHealthError as error:
        click.echo(f"Error: {_lines(str(error))}", err=True)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        if error.name not in _LEFT_OUT:
            raise
        click.echo(f"Error: {_ONLY_PEOPLE}", err=True)
        raise SystemExit(2) from None
