"""The node plane, both generations."""

import pytest

from volumehealth.csi.client import CsiClient, storage_condition
from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.types import StorageCondition, Unit, Usage
from volumehealth.errors import VolumeNotFound
from volumehealth.model.health import Condition
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import GIBIBYTE

TARGET = "/var/lib/kubelet/pods/1/mount"


def mounted(driver: SimulatedDriver) -> None:
    """Let vol-1 be published on this node."""
    driver.volumes["vol-1"].targets[TARGET] = pb.VolumeCapability.AccessMode.SINGLE_NODE_WRITER


async def test_stats_carry_usage_and_the_legacy_condition(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    mounted(legacy)
    legacy.volumes["vol-1"].used = 1000
    legacy.fault("vol-1", Fault.UNMOUNTED)
    stats = await to_legacy.node_get_volume_stats("vol-1", TARGET, staging_path="", timeout=1.0)
    assert stats.usage[0] == Usage(Unit.BYTES, total=GIBIBYTE, used=1000, available=GIBIBYTE - 1000)
    assert stats.usage[1].unit is Unit.INODES
    assert stats.conditions == (Condition("Degraded", "VolumeConditionAbnormal", "The volume isn't mounted"),)


async def test_stats_of_a_new_driver_carry_no_condition(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    mounted(modern)
    stats = await to_modern.node_get_volume_stats("vol-1", TARGET, staging_path="", timeout=1.0)
    assert stats.conditions is None


async def test_missing_usage_is_not_zero(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    """D8."""
    mounted(legacy)
    legacy.fault("vol-1", Fault.IO_ERRORS)
    legacy.misbehave(Quirk.NO_USAGE)
    stats = await to_legacy.node_get_volume_stats("vol-1", TARGET, staging_path="", timeout=1.0)
    assert stats.usage == ()
    assert stats.conditions is not None


async def test_a_path_where_nothing_is_mounted_is_not_found(to_legacy: CsiClient) -> None:
    with pytest.raises(VolumeNotFound, match="nothing is mounted"):
        await to_legacy.node_get_volume_stats("vol-1", "/elsewhere", staging_path="", timeout=1.0)


async def test_a_full_volume_has_nothing_available(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    mounted(legacy)
    legacy.fault("vol-1", Fault.OUT_OF_CAPACITY)
    stats = await to_legacy.node_get_volume_stats("vol-1", TARGET, staging_path="", timeout=1.0)
    assert stats.usage[0].available == 0


async def test_a_new_driver_tells_the_health_of_a_volume_on_its_node(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    modern.fault("vol-1", Fault.UNMOUNTED)
    told = await to_modern.node_get_volume_health("vol-1", publish_path=TARGET, staging_path="", timeout=1.0)
    assert told == (Condition("Inaccessible", "VolumeUnmounted", "The volume isn't mounted"),)
    assert await to_modern.get_volume_health("vol-1", secrets={}, timeout=1.0) == ()


async def test_a_new_driver_tells_the_health_of_the_storage_behind_its_node(
    modern: SimulatedDriver, to_modern: CsiClient
) -> None:
    assert await to_modern.node_get_storage_health(secrets={}, timeout=1.0) == ()
    modern.backend["StorageUnreachable"] = "no path to the array"
    told = await to_modern.node_get_storage_health(secrets={}, timeout=1.0)
    assert told == (StorageCondition("StorageUnreachable", "StorageUnreachable", "no path to the array"),)


def test_storage_trouble_of_one_kind_of_volume_is_told_in_the_words_of_kubernetes() -> None:
    entry = pb.NodeGetStorageHealthResponse.StorageBackendHealth(
        status=pb.StorageHealthErrorType.ValueType(9),
        reason="Slow",
        volume_capability=pb.VolumeCapability(
            block=pb.VolumeCapability.BlockVolume(),
            access_mode=pb.VolumeCapability.AccessMode(
                mode=pb.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER
            ),
        ),
    )
    assert storage_condition(entry) == StorageCondition(
        "UnknownStorageHealthType9", "Slow", "", access_mode="ReadWriteMany", volume_mode="Block"
    )
