"""The health calls of CSI 1.13, controller plane."""

from volumehealth.csi.client import CsiClient
from volumehealth.model.health import Condition
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Params, Quirk

LOST = Condition("DataLoss", "DiskFailure", "disk failure: no intact replica of the volume is left")
SLOW = Condition("Degraded", "DegradedPerformance", "degraded performance: a rebuild is in progress")
GONE = Condition("Inaccessible", "VolumeNotFound", "The source path of the volume doesn't exist")


async def test_a_list_tells_the_adverse_ones_only(modern: SimulatedDriver, to_modern: CsiClient) -> None:
    modern.fault("vol-2", Fault.DISK_FAILURE)
    page = await to_modern.list_volume_health(0, "", secrets={}, timeout=1.0)
    assert tuple(page.entries) == (("vol-2", (LOST,)),)
    assert page.next_token == ""


async def test_a_list_may_name_healthy_ones_without_conditions(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    modern.fault("vol-2", Fault.DISK_FAILURE)
    modern.misbehave(Quirk.LISTS_HEALTHY)
    page = await to_modern.list_volume_health(0, "", secrets={}, timeout=1.0)
    assert tuple(page.entries) == (("vol-1", ()), ("vol-2", (LOST,)), ("vol-3", ()))


async def test_a_list_goes_on_where_its_token_says(modern: SimulatedDriver, to_modern: CsiClient) -> None:
    for handle in ("vol-1", "vol-2", "vol-3"):
        modern.fault(handle, Fault.VOLUME_DELETED)
    first = await to_modern.list_volume_health(2, "", secrets={}, timeout=1.0)
    rest = await to_modern.list_volume_health(2, first.next_token, secrets={}, timeout=1.0)
    assert (*first.entries, *rest.entries) == (("vol-1", (GONE,)), ("vol-2", (GONE,)), ("vol-3", (GONE,)))


async def test_one_volume_can_be_asked_about(modern: SimulatedDriver, to_modern: CsiClient) -> None:
    modern.fault("vol-2", Fault.DISK_FAILURE)
    modern.fault("vol-2", Fault.DEGRADED_PERFORMANCE)
    assert await to_modern.get_volume_health("vol-1", secrets={}, timeout=1.0) == ()
    assert await to_modern.get_volume_health("vol-2", secrets={}, timeout=1.0) == (LOST, SLOW)


async def test_an_answer_without_health_is_none_and_never_healthy(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    modern.misbehave(Quirk.NIL_VOLUME)
    assert await to_modern.get_volume_health("vol-1", secrets={}, timeout=1.0) is None


async def test_the_id_in_the_answer_does_not_matter(modern: SimulatedDriver, to_modern: CsiClient) -> None:
    """D5."""
    modern.misbehave(Quirk.OTHER_IDS)
    assert await to_modern.get_volume_health("vol-1", secrets={}, timeout=1.0) == ()


async def test_a_status_of_the_future_is_kept_and_never_healthy(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    """C5: the kubelet drops them."""
    modern.fault("vol-1", Fault.DISK_FAILURE)
    modern.misbehave(Quirk.UNKNOWN_STATUS, Params(count=7))
    conditions = await to_modern.get_volume_health("vol-1", secrets={}, timeout=1.0)
    assert conditions == (Condition("UnknownHealthType7", LOST.reason, LOST.message),)


async def test_reasons_that_kubernetes_refuses_are_made_fit(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    """D12."""
    modern.fault("vol-1", Fault.DISK_FAILURE, message="broken")
    modern.misbehave(Quirk.DIRTY_TEXTS)
    conditions = await to_modern.get_volume_health("vol-1", secrets={}, timeout=1.0)
    assert conditions == (Condition("DataLoss", "TheReasonIsDiskFailure", "[31mbroken and a second line"),)


async def test_secrets_reach_the_driver(modern: SimulatedDriver, to_modern: CsiClient) -> None:
    secrets = {"user": "monitor", "password": "hunter2"}
    await to_modern.list_volume_health(0, "", secrets=secrets, timeout=1.0)
    assert modern.secrets == secrets
    await to_modern.get_volume_health("vol-1", secrets={"user": "other"}, timeout=1.0)
    assert modern.secrets == {"user": "other"}
