"""The simulated driver's Identity service."""

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from volumehealth import __version__
from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.pb import csi_pb2_grpc as rpc
from volumehealth_sandbox.driver_gate import Context
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import DriverState


class Identity(rpc.IdentityServicer):
    """Who the driver is and whether it is up."""

    def __init__(self, state: DriverState) -> None:
        self._state = state

    async def GetPluginInfo(  # noqa: N802 - named by CSI, as are all of these
        self, request: pb.GetPluginInfoRequest, context: Context
    ) -> pb.GetPluginInfoResponse:
        """Tell the name."""
        return pb.GetPluginInfoResponse(name=self._state.name, vendor_version=__version__)

    async def GetPluginCapabilities(  # noqa: N802
        self, request: pb.GetPluginCapabilitiesRequest, context: Context
    ) -> pb.GetPluginCapabilitiesResponse:
        """Tell that there is a controller, if it can do anything."""
        service = pb.PluginCapability.Service(type=pb.PluginCapability.Service.CONTROLLER_SERVICE)
        capabilities = [pb.PluginCapability(service=service)] if self._state.controller else []
        return pb.GetPluginCapabilitiesResponse(capabilities=capabilities)

    async def Probe(self, request: pb.ProbeRequest, context: Context) -> pb.ProbeResponse:  # noqa: N802
        """Tell whether it is ready."""
        if self._state.habit(Quirk.PROBE_FAILS):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the storage cannot be reached")
        return pb.ProbeResponse(ready=BoolValue(value=not self._state.habit(Quirk.NOT_READY)))
