"""The simulated driver's place in the kubelet's plugin registry, as a node-driver-registrar would make it."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from volumehealth.csi.pb import pluginregistration_pb2 as pb
from volumehealth.csi.pb import pluginregistration_pb2_grpc as rpc
from volumehealth.csi.registration import CSI_PLUGIN

_Context = Any  # a servicer's context; generic in the type stubs only


class Registration(rpc.RegistrationServicer):
    """Serves `<kubelet>/plugins_registry/<name>-reg.sock`; an asynchronous context manager.

    Args:
        kubelet: the kubelet's root directory; the registry is made if it is not there.
        name: the driver's.
        endpoint: of its node plugin, as `SimulatedDriver.endpoint` has it.
        kind: of the plugin; anything but `CSIPlugin` is none of ours.

    Attributes:
        asked: how often somebody asked who it is.
        registered: what the kubelet said last; None if it did not.
        refusal: why it refused.
    """

    def __init__(self, kubelet: Path, *, name: str, endpoint: str, kind: str = CSI_PLUGIN) -> None:
        self.socket = kubelet / "plugins_registry" / f"{name}-reg.sock"
        self.asked = 0
        self.registered: bool | None = None
        self.refusal = ""
        self._info = pb.PluginInfo(
            type=kind, name=name, endpoint=endpoint.removeprefix("unix://"), supported_versions=["1.0.0"]
        )
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        server = grpc.aio.server()
        rpc.add_RegistrationServicer_to_server(self, server)
        server.add_insecure_port(f"unix://{self.socket}")
        await server.start()
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)
        self.socket.unlink(missing_ok=True)

    async def GetInfo(  # noqa: N802 - the name is the protocol's
        self, request: pb.InfoRequest, context: _Context
    ) -> pb.PluginInfo:
        """Say who the plugin is."""
        self.asked += 1
        return self._info

    async def NotifyRegistrationStatus(  # noqa: N802
        self, request: pb.RegistrationStatus, context: _Context
    ) -> pb.RegistrationStatusResponse:
        """Hear whether the kubelet took it."""
        self.registered, self.refusal = request.plugin_registered, request.error
        return pb.RegistrationStatusResponse()
