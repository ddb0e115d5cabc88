"""Answers of drivers and registrations of plugins as bytes: read, or refused with a CsiError."""

import asyncio
from contextlib import suppress

import grpc
from google.protobuf.message import Message
from hypothesis import strategies as st

from fuzz.fuzzing import ODD_TEXT, TIMES, edited, edited_text, fuzz
from support.oddwire import OddWire
from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.pb import pluginregistration_pb2 as registration
from volumehealth.csi.registration import plugin_info
from volumehealth.csi.wire import RpcFailed
from volumehealth.errors import CsiError

ENDPOINT = parse_endpoint("unix:///run/csi.sock")


def entry() -> pb.VolumeHealth.VolumeHealthEntry:
    return pb.VolumeHealth.VolumeHealthEntry(status=pb.INACCESSIBLE, reason="X", message="gone")


MESSAGES: dict[str, Message] = {
    "GetPluginInfo": pb.GetPluginInfoResponse(name="d.example.com", vendor_version="1.2"),
    "GetPluginCapabilities": pb.GetPluginCapabilitiesResponse(
        capabilities=[
            pb.PluginCapability(
                service=pb.PluginCapability.Service(type=pb.PluginCapability.Service.CONTROLLER_SERVICE)
            )
        ]
    ),
    "ListVolumes": pb.ListVolumesResponse(
        entries=[
            pb.ListVolumesResponse.Entry(
                volume=pb.Volume(volume_id="v", capacity_bytes=5),
                status=pb.ListVolumesResponse.VolumeStatus(
                    volume_condition=pb.VolumeCondition(abnormal=True, message="bad")
                ),
            )
        ],
        next_token="t",
    ),
    "ControllerGetVolume": pb.ControllerGetVolumeResponse(
        status=pb.ControllerGetVolumeResponse.VolumeStatus(
            volume_condition=pb.VolumeCondition(message="well")
        )
    ),
    "ControllerListVolumeHealth": pb.ControllerListVolumeHealthResponse(
        entries=[pb.VolumeHealth(volume_id="v", health_statuses=[entry()])]
    ),
    "ControllerGetVolumeHealth": pb.ControllerGetVolumeHealthResponse(
        volume_health=pb.VolumeHealth(volume_id="v", health_statuses=[entry()])
    ),
    "NodeGetVolumeHealth": pb.NodeGetVolumeHealthResponse(
        volume_health=pb.VolumeHealth(volume_id="v", health_statuses=[entry()])
    ),
    "NodeGetVolumeStats": pb.NodeGetVolumeStatsResponse(
        usage=[pb.VolumeUsage(total=10, available=5, used=5, unit=pb.VolumeUsage.BYTES)],
        volume_condition=pb.VolumeCondition(abnormal=True, message="bad"),
    ),
}
SAMPLES = [one.SerializeToString() for one in MESSAGES.values()]
ANSWERS = st.fixed_dictionaries(
    {
        name: st.just(one.SerializeToString()) | edited([one.SerializeToString()]) | edited(SAMPLES)
        for name, one in MESSAGES.items()
    }
    | {
        "Probe": edited(SAMPLES),
        "ControllerGetCapabilities": edited(SAMPLES),
        "NodeGetCapabilities": edited(SAMPLES),
    }
    | {"NodeGetStorageHealth": edited(SAMPLES)}
)


async def every_call(wire: OddWire) -> None:
    """Make every call that there is."""
    async with CsiClient(ENDPOINT, dial=lambda _: wire) as client:
        for call in (
            client.identify(1),
            client.identify_node(1),
            client.list_volumes(0, "", timeout=1),
            client.get_volume("v", 1),
            client.list_volume_health(0, "", secrets={}, timeout=1),
            client.get_volume_health("v", secrets={}, timeout=1),
            client.node_get_volume_stats("v", "/p", staging_path="", timeout=1),
            client.node_get_volume_health("v", publish_path="/p", staging_path="", timeout=1),
            client.node_get_storage_health(secrets={}, timeout=1),
        ):
            with suppress(CsiError):
                await call


@fuzz(ANSWERS)
def test_any_answer_of_a_driver_is_read_or_a_csi_error(answers: dict[str, bytes]) -> None:
    asyncio.run(every_call(OddWire(answers)))


@fuzz(
    st.sampled_from(list(grpc.StatusCode)),
    edited_text(("failed to connect to all addresses; last error: UNKNOWN: unix:/x", *TIMES))
    | st.sampled_from(ODD_TEXT),
    share=0.3,
)
def test_any_status_of_a_driver_is_a_csi_error(code: grpc.StatusCode, details: str) -> None:
    asyncio.run(every_call(OddWire({}, RpcFailed(code, details))))


INFO = registration.PluginInfo(
    type="CSIPlugin",
    name="d.example.com",
    endpoint="/var/lib/kubelet/plugins/d/csi.sock",
    supported_versions=["1.0"],
).SerializeToString()


@fuzz(edited([INFO]))
def test_any_registration_is_read_or_a_csi_error(answer: bytes) -> None:
    with suppress(CsiError):
        asyncio.run(plugin_info("/run/reg.sock", timeout=1, dial=lambda _: OddWire({"GetInfo": answer})))
