"""How fast a driver is asked by get when it need not be left in peace, and how long answers count when the pace changes.

In: a simulated driver, and limits. Out: how often it was called, and what is told of its volumes.
"""

from datetime import timedelta

from support.probing import ProberRig
from volumehealth.csi.types import GET_VOLUME, VOLUME_CONDITION
from volumehealth.probing.spec import ProbeLimits, ProbeSpec
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_quirks import Params, Quirk

GET_ONLY = {GET_VOLUME, VOLUME_CONDITION}
LIST, GET = "ListVolumes", "ControllerGetVolume"
FREE = ProbeLimits(gets_in_flight=4, duty=1.0, jitter=0.0)
NO_JITTER = ProbeLimits(jitter=0.0)
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


# ---- how old an answer may be, while the pace changes ----


async def test_answers_count_on_while_a_shorter_interval_takes_hold() -> None:
    async with (
        SimulatedDriver(volumes=VOLUMES[:40], capabilities=GET_ONLY) as driver,
        ProberRig(driver, limits=NO_JITTER) as rig,
    ):
        await rig.want(interval=600.0)
        await rig.after(1190.0)
        assert rig.answers.healthy == set(driver.volumes)
        await rig.want(interval=60.0)
        for _ in range(30):
            assert rig.answers.healthy == set(driver.volumes)
            await rig.after(10.0)


async def test_a_list_counts_on_while_a_shorter_interval_takes_hold() -> None:
    async with SimulatedDriver(volumes=VOLUMES[:4]) as driver, ProberRig(driver, limits=NO_JITTER) as rig:
        await rig.want(interval=600.0)
        await rig.after(1100.0)
        driver.misbehave(Quirk.HANGS, Params(methods=(LIST,)))
        demand = ProbeSpec(frozenset(driver.volumes), timedelta(seconds=60), timedelta(seconds=0.05))
        rig.prober.demand(demand)
        assert rig.answers.healthy == set(driver.volumes)
