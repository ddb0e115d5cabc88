"""The generated code is what `protos/` says, and `protos/` says what the facts page says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import Message

from volumehealth.csi.pb import csi_pb2 as pb

ROOT = Path(__file__).parents[3]
GENERATED = "volumehealth/csi/pb"


def test_generated_code_is_what_the_protocol_files_give(tmp_path: Path) -> None:
    """Somebody who changes a protocol file runs `make protos`."""
    subprocess.run(
        [ROOT / "protos/generate.sh", tmp_path],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
    )
    fresh = {file.name: file.read_text() for file in (tmp_path / GENERATED).iterdir()}
    kept = {
        file.name: file.read_text()
        for file in (ROOT / "operator" / GENERATED).iterdir()
        if file.is_file() and file.name != "__init__.py"
    }
    assert kept == fresh


FIELDS: dict[str, tuple[type[Message], dict[str, int]]] = {
    "legacy: VolumeCondition": (pb.VolumeCondition, {"abnormal": 1, "message": 2}),
    "legacy: ListVolumes request": (pb.ListVolumesRequest, {"max_entries": 1, "starting_token": 2}),
    "legacy: ListVolumes answer": (pb.ListVolumesResponse, {"entries": 1, "next_token": 2}),
    "legacy: ListVolumes entry": (pb.ListVolumesResponse.Entry, {"volume": 1, "status": 2}),
    "legacy: ListVolumes status keeps the field that 1.13 reserves": (
        pb.ListVolumesResponse.VolumeStatus,
        {"published_node_ids": 1, "volume_condition": 2},
    ),
    "legacy: ControllerGetVolume answer": (pb.ControllerGetVolumeResponse, {"volume": 1, "status": 2}),
    "legacy: ControllerGetVolume status keeps the field that 1.13 reserves": (
        pb.ControllerGetVolumeResponse.VolumeStatus,
        {"published_node_ids": 1, "volume_condition": 2},
    ),
    "legacy: NodeGetVolumeStats request": (
        pb.NodeGetVolumeStatsRequest,
        {"volume_id": 1, "volume_path": 2, "staging_target_path": 3},
    ),
    "legacy: NodeGetVolumeStats answer keeps the field that 1.13 reserves": (
        pb.NodeGetVolumeStatsResponse,
        {"usage": 1, "volume_condition": 2},
    ),
    "legacy: VolumeUsage": (pb.VolumeUsage, {"available": 1, "total": 2, "used": 3, "unit": 4}),
    "1.13: list request": (
        pb.ControllerListVolumeHealthRequest,
        {"max_entries": 1, "starting_token": 2, "secrets": 3},
    ),
    "1.13: list answer": (pb.ControllerListVolumeHealthResponse, {"entries": 1, "next_token": 2}),
    "1.13: get request": (pb.ControllerGetVolumeHealthRequest, {"volume_id": 1, "secrets": 2}),
    "1.13: get answer": (pb.ControllerGetVolumeHealthResponse, {"volume_health": 1}),
    "1.13: VolumeHealth": (pb.VolumeHealth, {"volume_id": 1, "health_statuses": 2}),
    "1.13: entry": (pb.VolumeHealth.VolumeHealthEntry, {"status": 1, "reason": 2, "message": 3}),
    "1.13: node request": (
        pb.NodeGetVolumeHealthRequest,
        {"volume_id": 1, "volume_publish_path": 2, "staging_target_path": 3},
    ),
    "1.13: node answer": (pb.NodeGetVolumeHealthResponse, {"volume_health": 1}),
    "1.13: storage request": (pb.NodeGetStorageHealthRequest, {"secrets": 1}),
    "1.13: storage answer": (pb.NodeGetStorageHealthResponse, {"backend_health": 1}),
    "1.13: storage entry": (
        pb.NodeGetStorageHealthResponse.StorageBackendHealth,
        {"status": 1, "reason": 2, "message": 3, "volume_capability": 4},
    ),
}


@pytest.mark.parametrize(("message", "numbers"), FIELDS.values(), ids=FIELDS.keys())
def test_fields_have_their_numbers_on_the_wire(message: type[Message], numbers: dict[str, int]) -> None:
    assert {field.name: field.number for field in message.DESCRIPTOR.fields} == numbers


def test_enums_have_their_numbers_on_the_wire() -> None:
    """The KEP orders them otherwise; the specification's own file is right (facts C5)."""
    assert (pb.DEGRADED, pb.INACCESSIBLE, pb.DATA_LOSS) == (1, 2, 3)
    assert (pb.STORAGE_DEGRADED, pb.STORAGE_UNREACHABLE) == (1, 2)


def test_capabilities_of_both_generations_live_side_by_side() -> None:
    controller = pb.ControllerServiceCapability.RPC
    node = pb.NodeServiceCapability.RPC
    assert (controller.LIST_VOLUMES, controller.VOLUME_CONDITION, controller.GET_VOLUME) == (3, 11, 12)
    assert (controller.GET_VOLUME_HEALTH, controller.LIST_VOLUME_HEALTH) == (16, 17)
    assert (node.GET_VOLUME_STATS, node.VOLUME_CONDITION) == (2, 4)
    assert (node.GET_VOLUME_HEALTH, node.GET_STORAGE_HEALTH) == (7, 8)
