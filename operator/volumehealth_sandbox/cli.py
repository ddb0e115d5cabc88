"""`volumehealth sandbox`: a real control plane, simulated drivers and the operator on this machine."""

import os
import tempfile
from pathlib import Path

import click
from rich.console import Console

from volumehealth.settings import ENV_PREFIX
from volumehealth_sandbox.assets import checkout
from volumehealth_sandbox.cli_driver import driver, fault, misbehave
from volumehealth_sandbox.demo import Demo
from volumehealth_sandbox.hints import how_to_play
from volumehealth_sandbox.image import build_image, product
from volumehealth_sandbox.interrupts import interruptible
from volumehealth_sandbox.screen import Screen
from volumehealth_sandbox.tools import TOOLS, find_or_build, home_directory
from volumehealth_sandbox.wait import Look, Told, await_told
from volumehealth_sandbox.world import Sandbox

_NEEDED = ("etcd", "kube-apiserver", "kubectl")
_NOT_ALL_RUN = 3

_home = click.option(
    "--dir",
    "home",
    envvar=f"{ENV_PREFIX}SANDBOX_DIR",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: _default_home(),
    help="Where it keeps its files. Default: volumehealth/sandbox in the user's state directory.",
)


def _default_home() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    state = Path(base) if base else home_directory(f"{ENV_PREFIX}SANDBOX_DIR") / ".local" / "state"
    return state / "volumehealth" / "sandbox"


@click.group()
def sandbox() -> None:
    """See it work on this machine: a real API server, simulated CSI drivers, the operator. No Docker, no root."""


@sandbox.command()
@_home
def up(home: Path) -> None:
    """Start it and return; it runs until `down`."""
    screen = Screen(Console(highlight=False))
    world = Sandbox(home, detached=True, say=screen.line)
    with interruptible():
        world.start()
        try:
            world.control_plane.kubectl("apply", "-f", str(world.policy_file))
            look = Look(world)
            await_told(world, Told("the first check", lambda: look.policy_says("True", unhealthy=0)))
        except BaseException:
            world.stop()
            raise
    screen.line("The operator has checked all volumes.")
    screen.say("It runs until: volumehealth sandbox down")
    screen.text(how_to_play(world))


@sandbox.command()
@_home
def down(home: Path) -> None:
    """End everything that `up` started and remove its files."""
    world = Sandbox(home)
    if not world.exists:
        click.echo(f"There is no sandbox in {home}.")
        return
    world.stop()
    click.echo("Ended; nothing is left behind.")


@sandbox.command()
@_home
def status(home: Path) -> None:
    """Show what runs and where; exit status 3 if not all of it runs."""
    world = Sandbox(home)
    if not world.exists:
        click.echo(f"There is no sandbox in {home}. Start one: volumehealth sandbox up")
        raise SystemExit(_NOT_ALL_RUN)
    states = [(program.name, program.running) for program in world.programs]
    for name, running in states:
        click.echo(f"{name:26}{f'running  pid {running.pid}' if running else 'not running'}")
    click.echo()
    for what, where in (
        ("API server", world.control_plane.url),
        ("metrics", world.metrics_url),
        ("logs", world.home / "logs"),
        ("for a shell", f"source {world.environment_file}"),
    ):
        click.echo(f"{what:12}{where}")
    if not all(running for _, running in states):
        raise SystemExit(_NOT_ALL_RUN)


@sandbox.command()
@click.option("--once", is_flag=True, help="End by itself after the story; exit status 1 if a step failed.")
def demo(once: bool) -> None:
    """Tell the whole story: healthy, two faults, what kubectl shows, recovery. Ctrl-C ends it."""
    screen = Screen(Console(highlight=False))
    with tempfile.TemporaryDirectory(prefix="vh-demo-", ignore_cleanup_errors=True) as scratch:
        world = Sandbox(Path(scratch, "sandbox"), say=screen.line)
        raise SystemExit(Demo(world, screen).play(once=once))


@sandbox.command()
@click.argument("names", nargs=-1, type=click.Choice(TOOLS), metavar="[NAME]...")
def tools(names: tuple[str, ...]) -> None:
    """Find or build the programs it runs, so that later starts are quick; prints where they are."""
    for name in names or _NEEDED:
        click.echo(f"{name:16} {find_or_build(name, click.echo)}")


@sandbox.command()
def image() -> None:
    """Build the image from the Dockerfile of this checkout, with no registry; prints where its archive is. Root only."""
    click.echo(build_image(product(checkout()), click.echo))


for command in (driver, fault, misbehave):
    sandbox.add_command(command)
