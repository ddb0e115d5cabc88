"""How fast a driver is asked by get when it need not be left in peace.

In: a simulated driver without lists, and limits that allow all of its time. Out: how often it was called.
"""

from support.probing import ProberRig
from volumehealth.csi.types import GET_VOLUME, VOLUME_CONDITION
from volumehealth.probing.spec import ProbeLimits
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_quirks import Params, Quirk

GET_ONLY = {GET_VOLUME, VOLUME_CONDITION}
GET = "ControllerGetVolume"
FREE = ProbeLimits(gets_in_flight=4, duty=1.0, jitter=0.0)
VOLUMES = [f"vol-{number}" for number in range(600)]


async def test_every_volume_is_asked_about_once_without_a_pause() -> None:
    async with (
        SimulatedDriver(volumes=VOLUMES, capabilities=GET_ONLY) as driver,
        ProberRig(driver, limits=FREE) as rig,
    ):
        await rig.want()
        assert rig.answers.healthy == set(VOLUMES)
        assert driver.calls[GET] == len(VOLUMES)


async def test_a_driver_that_fails_is_not_asked_on() -> None:
    async with (
        SimulatedDriver(volumes=VOLUMES, capabilities=GET_ONLY) as driver,
        ProberRig(driver, limits=FREE) as rig,
    ):
        driver.misbehave(Quirk.HANGS, Params(methods=(GET,)))
        await rig.want(timeout=0.1)
        assert driver.calls[GET] <= FREE.failing_calls + FREE.gets_in_flight
        assert rig.answers.healthy == frozenset()
