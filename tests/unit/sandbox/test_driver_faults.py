"""Each fault of the simulated driver shows where it should, in both generations, and heals."""

from collections.abc import AsyncIterator

import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import VolumeNotFound
from volumehealth.model.health import DATA_LOSS, DEGRADED, INACCESSIBLE
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import SYMPTOMS, Fault, Plane
from volumehealth_sandbox.driver_state import Generation

TARGET = "/mnt/vol-1"
TOLD = [fault for fault in Fault if fault is not Fault.VOLUME_GONE]
STATUSES = {
    Fault.VOLUME_DELETED: (INACCESSIBLE, "VolumeNotFound"),
    Fault.DISK_FAILURE: (DATA_LOSS, "DiskFailure"),
    Fault.OUT_OF_CAPACITY: (DEGRADED, "OutOfCapacity"),
    Fault.DEGRADED_PERFORMANCE: (DEGRADED, "DegradedPerformance"),
    Fault.IO_ERRORS: (INACCESSIBLE, "IOError"),
    Fault.FILESYSTEM_CORRUPTED: (INACCESSIBLE, "FilesystemCorrupted"),
    Fault.UNMOUNTED: (INACCESSIBLE, "VolumeUnmounted"),
}
ON_CONTROLLER = [fault for fault in TOLD if SYMPTOMS[fault].plane is not Plane.NODE]
ON_NODE = [fault for fault in TOLD if SYMPTOMS[fault].plane is not Plane.CONTROLLER]


@pytest.fixture(params=list(Generation), ids=str)
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedDriver]:
    """A driver of either generation with vol-1 mounted."""
    async with SimulatedDriver(generation=request.param) as simulated:
        simulated.volumes["vol-1"].targets[TARGET] = 1
        yield simulated


@pytest.fixture
async def client(driver: SimulatedDriver) -> AsyncIterator[CsiClient]:
    """Its client."""
    async with CsiClient(parse_endpoint(driver.endpoint)) as one:
        yield one


async def from_controller(driver: SimulatedDriver, client: CsiClient) -> list[tuple[str, str, str]]:
    """What the controller says of vol-1, legacy conditions with neither status nor reason."""
    if driver.generation is Generation.LEGACY:
        told = await client.get_volume("vol-1", 1.0)
        return [("", "", one.message) for one in told or ()]
    conditions = await client.get_volume_health("vol-1", secrets={}, timeout=1.0)
    return [(one.status, one.reason, one.message) for one in conditions or ()]


async def from_node(driver: SimulatedDriver, client: CsiClient) -> list[tuple[str, str, str]]:
    """What the node plugin says of vol-1."""
    if driver.generation is Generation.LEGACY:
        stats = await client.node_get_volume_stats("vol-1", TARGET, staging_path="", timeout=1.0)
        return [("", "", one.message) for one in stats.conditions or ()]
    conditions = await client.node_get_volume_health(
        "vol-1", publish_path=TARGET, staging_path="", timeout=1.0
    )
    return [(one.status, one.reason, one.message) for one in conditions or ()]


def expected(driver: SimulatedDriver, fault: Fault, message: str) -> list[tuple[str, str, str]]:
    """What either generation makes of a fault."""
    status, reason = STATUSES[fault] if driver.generation is Generation.V1_13 else ("", "")
    return [(status, reason, message)]


@pytest.mark.parametrize("fault", TOLD, ids=str)
async def test_a_fault_shows_on_its_planes_and_heals(
    fault: Fault, driver: SimulatedDriver, client: CsiClient
) -> None:
    driver.fault("vol-1", fault)
    told = expected(driver, fault, SYMPTOMS[fault].message)
    assert await from_controller(driver, client) == (told if fault in ON_CONTROLLER else [])
    assert await from_node(driver, client) == (told if fault in ON_NODE else [])
    driver.clear("vol-1", fault)
    assert await from_controller(driver, client) == []
    assert await from_node(driver, client) == []


async def test_a_fault_can_show_elsewhere_with_other_words(
    driver: SimulatedDriver, client: CsiClient
) -> None:
    driver.fault("vol-1", Fault.UNMOUNTED, message="host h7 is not attached", plane=Plane.CONTROLLER)
    told = expected(driver, Fault.UNMOUNTED, "host h7 is not attached")
    assert await from_controller(driver, client) == told
    assert await from_node(driver, client) == []


async def test_two_faults_are_both_told(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.fault("vol-1", Fault.DISK_FAILURE, message="disk")
    driver.fault("vol-1", Fault.OUT_OF_CAPACITY, message="full")
    told = [message for _, _, message in await from_controller(driver, client)]
    assert told == (["disk; full"] if driver.generation is Generation.LEGACY else ["disk", "full"])


async def test_a_volume_that_is_gone_is_neither_listed_nor_found(
    driver: SimulatedDriver, client: CsiClient
) -> None:
    driver.fault("vol-1", Fault.VOLUME_GONE)
    page = await client.list_volumes(0, "", timeout=1.0)
    assert [handle for handle, _ in page.entries] == ["vol-2", "vol-3"]
    with pytest.raises(VolumeNotFound):
        await from_controller(driver, client)
    with pytest.raises(VolumeNotFound):
        await from_node(driver, client)
    driver.clear("vol-1")
    assert await from_controller(driver, client) == []


async def test_faults_survive_a_crash(driver: SimulatedDriver, client: CsiClient) -> None:
    driver.fault("vol-1", Fault.DISK_FAILURE)
    await driver.crash()
    await driver.restart()
    async with CsiClient(parse_endpoint(driver.endpoint)) as fresh:
        assert await from_controller(driver, fresh)


def test_every_fault_has_its_symptom() -> None:
    assert set(SYMPTOMS) == set(Fault)
