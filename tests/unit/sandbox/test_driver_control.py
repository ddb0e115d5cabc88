"""A simulated driver in another process is steered through its own socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import CsiError, DriverUnreachable, SandboxError, VolumeNotFound
from volumehealth_sandbox.cli_driver import driver as driver_command
from volumehealth_sandbox.cli_driver import fault, misbehave
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_control import DriverControl
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.world import Sandbox


@pytest.fixture
async def driver() -> AsyncIterator[SimulatedDriver]:
    """A driver with vol-1, vol-2 and vol-3."""
    async with SimulatedDriver() as simulated:
        yield simulated


@pytest.fixture
async def control(driver: SimulatedDriver) -> AsyncIterator[DriverControl]:
    """The way to it."""
    async with DriverControl(driver.endpoint) as one:
        yield one


@pytest.mark.parametrize(
    "words",
    ["driver --disks ext4", "driver --volumes -1", "driver --volume-size 0", "misbehave Errors --code NOPE",
     "misbehave Errors --code OK", "misbehave Hangs --fraction 7", "misbehave Slow --seconds -1"],
)  # fmt: skip
def test_what_would_do_nothing_or_break_the_driver_is_refused(words: str) -> None:
    name, *rest = words.split()
    command = driver_command if name == "driver" else misbehave
    assert CliRunner().invoke(command, [*rest, "--endpoint=unix:///run/none.sock"]).exit_code == 2


def test_a_directory_that_cannot_be_made_is_a_sentence() -> None:
    with pytest.raises(SandboxError, match="/proc/none/sandbox cannot be made"):
        Sandbox(Path("/proc/none/sandbox")).start()


async def test_faults_come_and_go(driver: SimulatedDriver, control: DriverControl) -> None:
    await control.fault("vol-1", Fault.UNMOUNTED, message="off", plane=Plane.BOTH)
    await control.fault("vol-1", Fault.DISK_FAILURE)
    active = driver.volumes["vol-1"].faults
    assert list(active) == [Fault.UNMOUNTED, Fault.DISK_FAILURE]
    assert active[Fault.UNMOUNTED].symptom.message == "off"
    assert active[Fault.UNMOUNTED].symptom.plane is Plane.BOTH
    await control.clear("vol-1", Fault.UNMOUNTED)
    assert list(active) == [Fault.DISK_FAILURE]
    await control.clear("vol-1")
    assert not active


async def test_habits_come_and_go(driver: SimulatedDriver, control: DriverControl) -> None:
    params = Params(methods=("ListVolumes",), volumes=("vol-1",), fraction=0.25, count=3, seconds=0.5)
    await control.misbehave(Quirk.SLOW, params)
    await control.misbehave(Quirk.NO_TOKEN)
    assert driver.habits == {Quirk.SLOW: params, Quirk.NO_TOKEN: Params()}
    await control.behave(Quirk.SLOW)
    assert list(driver.habits) == [Quirk.NO_TOKEN]
    await control.behave()
    assert not driver.habits


async def test_storage_trouble_is_set(driver: SimulatedDriver, control: DriverControl) -> None:
    await control.backend({"StorageDegraded": "one controller is down"})
    assert driver.backend == {"StorageDegraded": "one controller is down"}


async def test_it_tells_what_it_was_asked_and_what_is_wrong(
    driver: SimulatedDriver, control: DriverControl
) -> None:
    async with CsiClient(parse_endpoint(driver.endpoint)) as client:
        await client.probe(1.0)
    await control.fault("vol-2", Fault.IO_ERRORS)
    await control.misbehave(Quirk.NO_TOKEN)
    stats = await control.stats()
    assert stats.calls == {"Probe": 1}
    assert stats.volumes == ["vol-1", "vol-2", "vol-3"]
    assert stats.faults == {"vol-2": [Fault.IO_ERRORS]}
    assert stats.habits == {Quirk.NO_TOKEN: Params()}


async def test_a_volume_it_does_not_have_is_not_found(control: DriverControl) -> None:
    with pytest.raises(VolumeNotFound, match="no volume 'vol-9'"):
        await control.fault("vol-9", Fault.DISK_FAILURE)


async def test_a_crash_on_demand_ends_by_itself(driver: SimulatedDriver, control: DriverControl) -> None:
    await control.crash(0.01)
    async with asyncio.timeout(5.0):
        await reachable(control, wanted=False)
        await reachable(control, wanted=True)


async def reachable(control: DriverControl, *, wanted: bool) -> None:
    """Ask until the driver answers, or does not."""
    answers = not wanted
    while answers is not wanted:
        try:
            await control.stats()
            answers = True
        except CsiError:  # refused, or cancelled in flight
            answers = False
        await asyncio.sleep(0.005)


async def test_control_works_while_every_csi_call_hangs(control: DriverControl) -> None:
    await control.misbehave(Quirk.HANGS)
    await control.behave()


def invoke(command: click.Command, *arguments: str) -> Result:
    """Run a command as a shell would."""
    return CliRunner().invoke(command, arguments)


async def tell(command: click.Command, *arguments: str) -> Result:
    """Run a command in a thread: it has an event loop of its own."""
    return await asyncio.to_thread(invoke, command, *arguments)


async def test_the_fault_command(driver: SimulatedDriver) -> None:
    at = ["--endpoint", driver.endpoint]
    result = await tell(fault, *at, "vol-1", "DiskFailure", "--message", "head crash", "--plane", "node")
    assert result.exit_code == 0, result.output
    symptom = driver.volumes["vol-1"].faults[Fault.DISK_FAILURE].symptom
    assert (symptom.message, symptom.plane) == ("head crash", Plane.NODE)
    assert (await tell(fault, *at, "vol-1", "--clear")).exit_code == 0
    assert not driver.volumes["vol-1"].faults


async def test_the_misbehave_command(driver: SimulatedDriver) -> None:
    at = ["--endpoint", driver.endpoint]
    result = await tell(misbehave, *at, "Slow", "--method", "ListVolumes", "--seconds", "2")
    assert result.exit_code == 0, result.output
    assert driver.habits == {Quirk.SLOW: Params(methods=("ListVolumes",), seconds=2.0)}
    assert (await tell(misbehave, *at, "--stop")).exit_code == 0
    assert not driver.habits


WRONG = {
    "a fault of no kind": (fault, ["--endpoint", "unix:///x.sock", "vol-1"], "KIND is missing"),
    "a habit of no kind": (misbehave, ["--endpoint", "unix:///x.sock"], "KIND is missing"),
    "a kind there is not": (fault, ["--endpoint", "unix:///x.sock", "vol-1", "Bored"], "DiskFailure"),
    "no endpoint": (driver_command, [], "--endpoint"),
    "an endpoint that is none": (driver_command, ["--endpoint", "somewhere"], "neither unix:///path nor"),
    "plain text for everybody": (driver_command, ["--endpoint", "0.0.0.0:1"], "not on loopback"),
}


@pytest.mark.parametrize(("command", "arguments", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_explained(command: click.Command, arguments: list[str], complaint: str) -> None:
    result = invoke(command, *arguments)
    assert result.exit_code == 2
    assert complaint in result.output


def test_nobody_at_the_endpoint_is_unreachable() -> None:
    result = invoke(fault, "--endpoint", "unix:///nonexistent/x.sock", "vol-1", "DiskFailure")
    assert isinstance(result.exception, DriverUnreachable)
