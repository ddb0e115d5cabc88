"""`volumehealth sandbox driver`, `fault` and `misbehave`: a CSI driver to play with."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import click
import grpc

from volumehealth.csi import types
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.model.vocabulary import Described
from volumehealth_sandbox.driver import DEFAULT_NAME, SimulatedDriver, run_driver
from volumehealth_sandbox.driver_control import DriverControl
from volumehealth_sandbox.driver_disks import KINDS, Disks
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_mounts import Filesystems, Mounts
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_registration import Registration
from volumehealth_sandbox.driver_state import CONTROLLER_CAPABILITIES, GIBIBYTE, NODE_CAPABILITIES, Generation

_LISTS = {types.LIST_VOLUMES, types.LIST_VOLUME_HEALTH}
_GETS = {types.GET_VOLUME, types.GET_VOLUME_HEALTH}
_HEALTH = {types.VOLUME_CONDITION, types.LIST_VOLUME_HEALTH, types.GET_VOLUME_HEALTH}

_FAULTS = {one.value: one for one in Fault}
_HABITS = {one.value: one for one in Quirk}
_CODES = [one.name for one in grpc.StatusCode if one is not grpc.StatusCode.OK]


def _checked(context: click.Context, parameter: click.Parameter, address: str) -> str:
    try:
        return str(parse_endpoint(address))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _explained(kinds: Iterable[Described]) -> str:
    """List names with their sentences, for help; click must not fold the lines."""
    return "\b\nKIND is one of:\n" + "\n".join(f"  {one.value:20} {one.description}" for one in kinds)


_endpoint = click.option(
    "--endpoint",
    required=True,
    callback=_checked,
    metavar="ADDRESS",
    help="The driver's socket: unix:///path, or HOST:PORT on loopback.",
)


@click.command()
@_endpoint
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="The driver's name.")
@click.option(
    "--generation",
    type=click.Choice([one.value for one in Generation]),
    default=Generation.LEGACY.value,
    show_default=True,
    help="Which health calls it speaks: VolumeCondition, or those of CSI 1.13.",
)
@click.option(
    "--volumes",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many volumes it starts with.",
)
@click.option(
    "--volume-prefix",
    default="vol-",
    show_default=True,
    help="What their handles begin with; a number follows.",
)
@click.option("--node-id", default="node-1", show_default=True, help="The node it runs on.")
@click.option(
    "--volume-size",
    type=click.IntRange(min=1),
    default=GIBIBYTE,
    show_default=True,
    help="How large they are, in bytes.",
)
@click.option(
    "--kubelet-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve the kubelet with this root directory: register with it, and really mount (tmpfs; needs root).",
)
@click.option(
    "--disks",
    metavar="KINDS",
    help=f"With --kubelet-dir: real block devices with filesystems instead of tmpfs, such as {','.join(KINDS)}; the "
    "volumes take turns. They break on demand: see the file faults in the directory disks beside the kubelet's.",
)
@click.option("--no-list", is_flag=True, help="Cannot list volumes.")
@click.option("--no-get", is_flag=True, help="Cannot tell about a single volume.")
@click.option("--no-health", is_flag=True, help="Can tell nothing about health.")
def driver(
    endpoint: str,
    name: str,
    generation: str,
    volumes: int,
    volume_prefix: str,
    node_id: str,
    volume_size: int,
    kubelet_dir: Path | None,
    disks: str | None,
    no_list: bool,
    no_get: bool,
    no_health: bool,
) -> None:
    """Run a simulated CSI driver until interrupted: a real gRPC server with no storage behind it."""
    missing = (
        (_LISTS if no_list else set()) | (_GETS if no_get else set()) | (_HEALTH if no_health else set())
    )
    simulated = SimulatedDriver(
        name=name,
        generation=Generation(generation),
        volumes=[f"{volume_prefix}{number}" for number in range(1, volumes + 1)],
        capabilities=CONTROLLER_CAPABILITIES[Generation(generation)] - missing,
        node_id=node_id,
        endpoint=endpoint,
        node_capabilities=NODE_CAPABILITIES[Generation(generation)] - (_HEALTH if no_health else set()),
        mounts=_mounts(kubelet_dir, disks),
    )
    for volume in simulated.volumes.values():
        volume.capacity = volume_size
    asyncio.run(_serve(simulated, kubelet_dir))


def _mounts(kubelet: Path | None, disks: str | None) -> Mounts | None:
    if kubelet is None:
        if disks:
            raise click.UsageError("--disks needs --kubelet-dir")
        return None
    if not disks:
        return Filesystems()
    kinds = disks.split(",")
    if not set(kinds) <= set(KINDS):
        raise click.UsageError(f"--disks: each must be one of {', '.join(KINDS)}")
    return Disks(kubelet.parent / "disks", kinds)


async def _serve(simulated: SimulatedDriver, kubelet: Path | None) -> None:
    """Run a driver until interrupted, registered with a kubelet if one is given."""
    async with AsyncExitStack() as stack:
        if kubelet is not None:
            registration = Registration(kubelet, name=simulated.name, endpoint=simulated.endpoint)
            await stack.enter_async_context(registration)
        await run_driver(
            simulated, ready=lambda: click.echo(f"{simulated.name} answers at {simulated.endpoint}")
        )


@click.command(epilog=_explained(Fault))
@_endpoint
@click.argument("volume")
@click.argument("kind", type=click.Choice(list(_FAULTS)), metavar="KIND", required=False)
@click.option("--message", help="What the driver says, instead of its usual words.")
@click.option(
    "--plane", type=click.Choice([one.value for one in Plane]), help="Who sees it; default: as usual."
)
@click.option("--clear", is_flag=True, help="Heal the volume: of KIND, or of everything.")
def fault(
    endpoint: str, volume: str, kind: str | None, message: str | None, plane: str | None, clear: bool
) -> None:
    """Give a VOLUME of a simulated driver a fault of some KIND, or heal it."""
    wanted = _FAULTS[kind] if kind else None
    if clear:
        _tell(endpoint, lambda control: control.clear(volume, wanted))
    elif wanted is None:
        raise click.UsageError("KIND is missing; or heal it with --clear")
    else:
        where = Plane(plane) if plane else None
        _tell(endpoint, lambda control: control.fault(volume, wanted, message=message, plane=where))


@click.command(epilog=_explained(Quirk))
@_endpoint
@click.argument("kind", type=click.Choice(list(_HABITS)), metavar="KIND", required=False)
@click.option("--method", "methods", multiple=True, help="An RPC, such as ListVolumes. Repeat for more.")
@click.option("--volume", "volumes", multiple=True, help="A volume. Repeat for more.")
@click.option(
    "--fraction", type=click.FloatRange(0, 1), default=1.0, help="Share of the volumes, if none are named."
)
@click.option("--count", type=click.IntRange(min=0), help="A number; its meaning depends on KIND.")
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, help="How long.")
@click.option("--code", type=click.Choice(_CODES), default="INTERNAL", help="gRPC status of an error.")
@click.option("--stop", is_flag=True, help="Behave again: in KIND, or in everything.")
def misbehave(
    endpoint: str,
    kind: str | None,
    methods: tuple[str, ...],
    volumes: tuple[str, ...],
    fraction: float,
    count: int | None,
    seconds: float,
    code: str,
    stop: bool,
) -> None:
    """Make a simulated driver take up a bad habit of some KIND, or give it up."""
    habit = _HABITS[kind] if kind else None
    if stop:
        _tell(endpoint, lambda control: control.behave(habit))
    elif habit is None:
        raise click.UsageError("KIND is missing; or let it behave again with --stop")
    else:
        params = Params(methods, volumes, fraction, count, seconds, code)
        _tell(endpoint, lambda control: control.misbehave(habit, params))


def _tell(endpoint: str, what: Callable[[DriverControl], Awaitable[None]]) -> None:
    async def tell() -> None:
        async with DriverControl(endpoint) as control:
            await what(control)

    asyncio.run(tell())
