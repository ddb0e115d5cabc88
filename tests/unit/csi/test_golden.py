"""Answers of real drivers, as they were seen."""

from google.protobuf import json_format

from volumehealth.csi.client import conditions
from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.model.health import Condition


def test_a_real_answer_of_csi_1_13_keeps_its_own_reason() -> None:
    seen = """{"volume_health": {"health_statuses": [{"message": "size of the volume changed: 1 -> 2",
        "reason": "wrong_size", "status": "DEGRADED"}], "volume_id": "v/4149/pvc-8"}}"""
    reply = json_format.Parse(seen, pb.ControllerGetVolumeHealthResponse())
    assert conditions(reply.volume_health.health_statuses) == (
        Condition("Degraded", "wrong_size", "size of the volume changed: 1 -> 2"),
    )
