"""The RPCs we call."""

from volumehealth.csi.channel import Method
from volumehealth.csi.pb import csi_pb2 as pb

_IDENTITY = "csi.v1.Identity"
_CONTROLLER = "csi.v1.Controller"
_NODE = "csi.v1.Node"

GET_PLUGIN_INFO = Method(_IDENTITY, "GetPluginInfo", pb.GetPluginInfoResponse)
GET_PLUGIN_CAPABILITIES = Method(_IDENTITY, "GetPluginCapabilities", pb.GetPluginCapabilitiesResponse)
PROBE = Method(_IDENTITY, "Probe", pb.ProbeResponse)
CONTROLLER_GET_CAPABILITIES = Method(
    _CONTROLLER, "ControllerGetCapabilities", pb.ControllerGetCapabilitiesResponse
)
LIST_VOLUMES = Method(_CONTROLLER, "ListVolumes", pb.ListVolumesResponse)
CONTROLLER_GET_VOLUME = Method(_CONTROLLER, "ControllerGetVolume", pb.ControllerGetVolumeResponse)
CONTROLLER_LIST_VOLUME_HEALTH = Method(
    _CONTROLLER, "ControllerListVolumeHealth", pb.ControllerListVolumeHealthResponse
)
CONTROLLER_GET_VOLUME_HEALTH = Method(
    _CONTROLLER, "ControllerGetVolumeHealth", pb.ControllerGetVolumeHealthResponse
)
NODE_GET_CAPABILITIES = Method(_NODE, "NodeGetCapabilities", pb.NodeGetCapabilitiesResponse)
NODE_GET_VOLUME_STATS = Method(_NODE, "NodeGetVolumeStats", pb.NodeGetVolumeStatsResponse)
NODE_GET_VOLUME_HEALTH = Method(_NODE, "NodeGetVolumeHealth", pb.NodeGetVolumeHealthResponse)
NODE_GET_STORAGE_HEALTH = Method(_NODE, "NodeGetStorageHealth", pb.NodeGetStorageHealthResponse)
