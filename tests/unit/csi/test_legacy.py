"""VolumeCondition, as drivers up to CSI 1.12 send it."""

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.model.health import Condition
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Params, Quirk

HEALTHY: tuple[Condition, ...] = ()
FULL = (Condition("Degraded", "VolumeConditionAbnormal", "The free space of the volume is insufficient"),)


async def test_a_list_tells_every_volume(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    legacy.fault("vol-2", Fault.OUT_OF_CAPACITY)
    page = await to_legacy.list_volumes(0, "", timeout=1.0)
    assert tuple(page.entries) == (("vol-1", HEALTHY), ("vol-2", FULL), ("vol-3", HEALTHY))
    assert page.next_token == ""


async def test_a_list_goes_on_where_its_token_says(to_legacy: CsiClient) -> None:
    first = await to_legacy.list_volumes(2, "", timeout=1.0)
    rest = await to_legacy.list_volumes(2, first.next_token, timeout=1.0)
    assert [handle for handle, _ in (*first.entries, *rest.entries)] == ["vol-1", "vol-2", "vol-3"]
    assert first.next_token
    assert rest.next_token == ""


async def test_a_missing_condition_is_none_and_never_healthy(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    """D4."""
    legacy.misbehave(Quirk.NIL_CONDITION, Params(methods=("ListVolumes", "ControllerGetVolume")))
    page = await to_legacy.list_volumes(0, "", timeout=1.0)
    assert tuple(page.entries) == (("vol-1", None), ("vol-2", None), ("vol-3", None))
    assert await to_legacy.get_volume("vol-1", 1.0) is None


async def test_a_driver_that_cannot_tell_conditions_sends_none() -> None:
    can = ["LIST_VOLUMES"]
    async with (
        SimulatedDriver(capabilities=can) as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        page = await client.list_volumes(0, "", timeout=1.0)
    assert {condition for _, condition in page.entries} == {None}


async def test_one_volume_can_be_asked_about(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    legacy.fault("vol-2", Fault.OUT_OF_CAPACITY)
    assert await to_legacy.get_volume("vol-1", 1.0) == HEALTHY
    assert await to_legacy.get_volume("vol-2", 1.0) == FULL


async def test_the_id_in_the_answer_does_not_matter(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    """D5."""
    legacy.misbehave(Quirk.OTHER_IDS)
    assert await to_legacy.get_volume("vol-1", 1.0) == HEALTHY


async def test_no_volume_in_the_answer_does_not_matter(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    """D5: PowerScale's abnormal answer."""
    legacy.misbehave(Quirk.NIL_VOLUME)
    assert await to_legacy.get_volume("vol-1", 1.0) == HEALTHY


async def test_dirty_texts_come_out_clean(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    """D12."""
    legacy.fault("vol-1", Fault.DISK_FAILURE, message="broken")
    legacy.misbehave(Quirk.DIRTY_TEXTS)
    condition = await to_legacy.get_volume("vol-1", 1.0)
    assert condition == (Condition("Degraded", "VolumeConditionAbnormal", "[31mbroken and a second line"),)


async def test_huge_texts_come_out_bounded(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    """D12."""
    legacy.fault("vol-1", Fault.DISK_FAILURE)
    legacy.misbehave(Quirk.HUGE_TEXTS)
    condition = await to_legacy.get_volume("vol-1", 1.0)
    assert condition is not None
    assert len(condition[0].message.encode()) <= 1024


async def test_a_list_larger_than_grpcs_usual_limit_is_read() -> None:
    """C2: 4 MiB are too few for a big array."""
    volumes = [f"vol-{number}" for number in range(6)]
    async with (
        SimulatedDriver(volumes=volumes) as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        driver.misbehave(Quirk.HUGE_ENTRIES, Params(count=1024**2))
        page = await client.list_volumes(0, "", timeout=5.0)
    assert len(page.entries) == 6


async def test_equal_conditions_are_one_object(to_legacy: CsiClient) -> None:
    """Ten thousand healthy volumes say the same; they are not ten thousand objects."""
    page = await to_legacy.list_volumes(0, "", timeout=1.0)
    assert len({id(condition) for _, condition in page.entries}) == 1
