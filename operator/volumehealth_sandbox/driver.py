"""A simulated CSI driver: a real gRPC server, with faults and misbehaviour on demand."""

import asyncio
import signal
import tempfile
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from volumehealth.csi.pb import csi_pb2_grpc as rpc
from volumehealth_sandbox.driver_control import ControlService
from volumehealth_sandbox.driver_controller import Controller
from volumehealth_sandbox.driver_gate import Gate
from volumehealth_sandbox.driver_identity import Identity
from volumehealth_sandbox.driver_mounts import Markers, Mounts
from volumehealth_sandbox.driver_node import Node
from volumehealth_sandbox.driver_state import DriverState, Generation

DEFAULT_NAME = "sim.volumehealth.dev"
_ANSWER_FIRST = 0.05  # seconds
_UNLIMITED = -1
_MEBIBYTE = 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.max_send_message_length", _UNLIMITED),
    ("grpc.max_metadata_size", _MEBIBYTE),  # error texts travel there
    ("grpc.absolute_max_metadata_size", _MEBIBYTE),
)


class SimulatedDriver(DriverState):
    """A CSI driver, both planes on one socket; an asynchronous context manager.

    Its state (volumes, faults, habits, call counts) survives `crash` and `restart`. In a test:

        async with SimulatedDriver(generation=Generation.LEGACY, volumes=["vol-1"]) as driver:
            driver.fault("vol-1", Fault.DISK_FAILURE)
            driver.misbehave(Quirk.HANGS, Params(methods=("ListVolumes",)))
            ... parse_endpoint(driver.endpoint) ...
            assert driver.calls["ListVolumes"] == 1
    """

    def __init__(
        self,
        *,
        name: str = DEFAULT_NAME,
        generation: Generation = Generation.LEGACY,
        volumes: Iterable[str] = ("vol-1", "vol-2", "vol-3"),
        capabilities: Collection[str] | None = None,
        node_capabilities: Collection[str] | None = None,
        node_id: str = "node-1",
        endpoint: str = "",
        credentials: grpc.ServerCredentials | None = None,
        mounts: Mounts | None = None,
    ) -> None:
        """Describe a driver; it serves from `__aenter__` on.

        Args:
            name: as in `spec.csi.driver`.
            generation: which health calls it speaks.
            volumes: handles of the volumes it starts with.
            capabilities: of the controller, instead of all that the generation has; what is missing answers
                UNIMPLEMENTED. None at all: no controller service.
            node_capabilities: likewise, of the node plugin.
            node_id: the one node it knows.
            endpoint: `unix:///path` or `host:port` (port 0: a free one); default: a socket of its own.
            credentials: TLS of a TCP endpoint.
            mounts: how to stage and publish; default: markers that need no root.
        """
        super().__init__(
            name=name,
            generation=generation,
            node_id=node_id,
            volumes=volumes,
            capabilities=capabilities,
            node_capabilities=node_capabilities,
        )
        self.endpoint = endpoint
        self._credentials = credentials
        self._mounts = mounts or Markers()
        self._server: grpc.aio.Server | None = None
        self._outage: asyncio.Task[None] | None = None
        self._exit = ExitStack()

    async def __aenter__(self) -> Self:
        if not self.endpoint:
            folder = self._exit.enter_context(tempfile.TemporaryDirectory(prefix="csi-"))
            self.endpoint = f"unix://{folder}/csi.sock"
        await self.restart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outage is not None:
            self._outage.cancel()
            await asyncio.wait([self._outage])
        await self.crash()
        self._exit.close()

    def vanish(self, seconds: float) -> None:
        """Crash in a moment and come back after so many seconds; the caller is answered before."""
        self._outage = asyncio.create_task(self._out_for(seconds))

    async def _out_for(self, seconds: float) -> None:
        await asyncio.sleep(_ANSWER_FIRST)
        await self.crash()
        await asyncio.sleep(seconds)
        await self.restart()

    async def crash(self) -> None:
        """Vanish: calls under way are broken off, the socket is gone. A second time does nothing."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def restart(self) -> None:
        """Serve, at the same endpoint as before.

        Raises:
            RuntimeError: if the address cannot be bound.
        """
        await self.crash()
        server = grpc.aio.server(interceptors=[Gate(self)], options=_OPTIONS)
        rpc.add_IdentityServicer_to_server(Identity(self), server)
        rpc.add_ControllerServicer_to_server(Controller(self), server)
        rpc.add_NodeServicer_to_server(Node(self, self._mounts), server)
        control = ControlService(self, vanish=self.vanish)
        server.add_generic_rpc_handlers([control.handler()])
        self._bind(server)
        await server.start()
        self._server = server

    def _bind(self, server: grpc.aio.Server) -> None:
        if self.endpoint.startswith("unix://"):
            Path(self.endpoint.removeprefix("unix://")).parent.mkdir(parents=True, exist_ok=True)
        if self._credentials is None:
            port = server.add_insecure_port(self.endpoint)
        else:
            port = server.add_secure_port(self.endpoint, self._credentials)
        if self.endpoint.endswith(":0"):
            self.endpoint = f"{self.endpoint.removesuffix(':0')}:{port}"


async def run_driver(driver: SimulatedDriver, *, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once calls are answered."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    async with driver:
        ready()
        await done.wait()
