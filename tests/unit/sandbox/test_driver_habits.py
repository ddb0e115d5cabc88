"""The simulated driver's bad habits, beside those of its pages: one test for each that no other test needs."""

from collections.abc import AsyncIterator

import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import CsiError, DriverUnreachable, VolumeNotFound
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import Generation

MANY = [f"vol-{number}" for number in range(200)]


@pytest.fixture
async def driver() -> AsyncIterator[SimulatedDriver]:
    """A legacy driver with 200 volumes."""
    async with SimulatedDriver(volumes=MANY) as simulated:
        yield simulated


@pytest.fixture
async def client(driver: SimulatedDriver) -> AsyncIterator[CsiClient]:
    """Its client."""
    async with CsiClient(parse_endpoint(driver.endpoint)) as one:
        yield one


async def test_duplicates_say_healthy_the_second_time(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.fault("vol-0", Fault.DISK_FAILURE)
    driver.misbehave(Quirk.DUPLICATES)
    page = await client.list_volumes(0, "", timeout=5.0)
    assert len(page.entries) == 400
    assert [len(told) for handle, told in page.entries if handle == "vol-0" and told is not None] == [1, 0]


async def test_duplicates_of_a_new_driver_say_healthy_the_second_time() -> None:
    async with (
        SimulatedDriver(generation=Generation.V1_13) as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        driver.fault("vol-1", Fault.DISK_FAILURE)
        driver.misbehave(Quirk.DUPLICATES)
        page = await client.list_volume_health(0, "", secrets={}, timeout=1.0)
    assert [len(told) for _, told in page.entries if told is not None] == [1, 0]


async def test_a_fraction_of_the_volumes_is_not_listed_and_always_the_same(
    driver: SimulatedDriver, client: CsiClient
) -> None:
    driver.misbehave(Quirk.NOT_LISTED, Params(fraction=0.5))
    first, second = [await client.list_volumes(0, "", timeout=5.0) for _ in range(2)]
    assert 60 < len(first.entries) < 140
    assert tuple(first.entries) == tuple(second.entries)


async def test_named_volumes_are_not_listed(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.misbehave(Quirk.NOT_LISTED, Params(volumes=("vol-7",)))
    page = await client.list_volumes(0, "", timeout=5.0)
    assert {*MANY} - {handle for handle, _ in page.entries} == {"vol-7"}


async def test_everything_is_not_found_by_get_though_listed(
    driver: SimulatedDriver, client: CsiClient
) -> None:
    driver.misbehave(Quirk.NOT_FOUND)
    assert len((await client.list_volumes(0, "", timeout=5.0)).entries) == 200
    with pytest.raises(VolumeNotFound):
        await client.get_volume("vol-1", 1.0)


async def test_errors_hit_named_volumes_only(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.misbehave(Quirk.ERRORS, Params(methods=("ControllerGetVolume",), volumes=("vol-1",)))
    assert await client.get_volume("vol-2", 1.0) is not None
    with pytest.raises(CsiError, match="the storage says no"):
        await client.get_volume("vol-1", 1.0)


async def test_changing_texts_differ_at_every_call(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.fault("vol-1", Fault.DISK_FAILURE, message="gone")
    driver.misbehave(Quirk.CHANGING_TEXTS)
    first, second = [await client.get_volume("vol-1", 1.0) for _ in range(2)]
    assert first != second


async def test_slow_calls_take_their_time(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.misbehave(Quirk.SLOW, Params(methods=("ListVolumes",), seconds=0.1))
    with pytest.raises(DriverUnreachable):
        await client.list_volumes(0, "", timeout=0.02)
    assert (await client.list_volumes(0, "", timeout=5.0)).entries


async def test_hidden_capabilities_still_work(driver: SimulatedDriver, client: CsiClient) -> None:
    """D15: DirectPV."""
    driver.misbehave(Quirk.HIDES_CAPABILITIES)
    assert "VOLUME_CONDITION" not in (await client.identify(1.0)).controller
    assert await client.get_volume("vol-1", 1.0) is not None


async def test_a_list_without_a_get_can_be_had() -> None:
    """D15: 1.13 says that must not be."""
    can = ["LIST_VOLUME_HEALTH"]
    async with (
        SimulatedDriver(generation=Generation.V1_13, capabilities=can) as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        assert (await client.identify(1.0)).controller == {"LIST_VOLUME_HEALTH"}
        await client.list_volume_health(0, "", secrets={}, timeout=1.0)
        with pytest.raises(CsiError):
            await client.get_volume_health("vol-1", secrets={}, timeout=1.0)


async def test_hanging_without_named_methods_leaves_identity_well(
    driver: SimulatedDriver, client: CsiClient
) -> None:
    driver.misbehave(Quirk.HANGS)
    assert await client.probe(1.0)
    with pytest.raises(DriverUnreachable):
        await client.get_volume("vol-1", 0.02)


async def test_a_driver_that_behaves_again_is_well(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.misbehave(Quirk.GARBAGE)
    driver.misbehave(Quirk.NOT_FOUND)
    driver.behave(Quirk.GARBAGE)
    with pytest.raises(VolumeNotFound):
        await client.get_volume("vol-1", 1.0)
    driver.behave()
    assert await client.get_volume("vol-1", 1.0) is not None


async def test_calls_are_counted_by_method(driver: SimulatedDriver, client: CsiClient) -> None:
    await client.probe(1.0)
    await client.get_volume("vol-1", 1.0)
    await client.get_volume("vol-2", 1.0)
    assert driver.calls == {"Probe": 1, "ControllerGetVolume": 2}
