"""The way to a simulated driver in another process: one more gRPC service on the driver's own socket."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
import msgspec
from google.protobuf.wrappers_pb2 import StringValue

from volumehealth.csi.channel import Channel, Method
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth_sandbox import driver_commands as commands
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_gate import Context
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import DriverState

_SERVICE = "volumehealth_sandbox.DriverControl"
_DO = Method(_SERVICE, "Do", StringValue)
_TIMEOUT = 5.0


class ControlService:
    """The driver's side: obeys commands."""

    def __init__(self, state: DriverState, *, vanish: Callable[[float], None]) -> None:
        """Take the driver's state, and what makes it vanish for so many seconds."""
        self._state = state
        self._vanish = vanish

    def handler(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """Return what a gRPC server takes."""
        do = grpc.unary_unary_rpc_method_handler(
            self._do,
            request_deserializer=StringValue.FromString,
            response_serializer=StringValue.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {_DO.name: do})

    async def _do(self, request: StringValue, context: Context) -> StringValue:
        try:
            command: commands.Command = msgspec.json.decode(request.value, type=commands.Command)
            self._obey(command)
        except msgspec.DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except KeyError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"the driver has no volume {error}")
        return StringValue(value=msgspec.json.encode(self._stats()).decode())

    def _obey(self, command: commands.Command) -> None:
        state = self._state
        match command:
            case commands.SetFault(volume=volume, fault=fault, message=message, plane=plane):
                state.fault(volume, fault, message=message, plane=plane)
            case commands.ClearFault(volume=volume, fault=one):
                state.clear(volume, one)
            case commands.SetHabit(habit=habit, params=params):
                state.misbehave(habit, params)
            case commands.ClearHabit(habit=which):
                state.behave(which)
            case commands.SetBackend(conditions=conditions):
                state.backend = dict(conditions)
            case commands.Crash(seconds=seconds):
                self._vanish(seconds)
            case commands.Report():
                pass

    def _stats(self) -> commands.Stats:
        volumes = self._state.volumes
        return commands.Stats(
            calls=dict(self._state.calls),
            volumes=list(volumes),
            faults={handle: list(volume.faults) for handle, volume in volumes.items() if volume.faults},
            habits=dict(self._state.habits),
        )


class DriverControl:
    """The other side: tells a simulated driver what to do. An asynchronous context manager.

    Every method raises `CsiError`: `DriverUnreachable` if nobody answers, `VolumeNotFound` if the driver has no
    such volume.
    """

    def __init__(self, endpoint: str) -> None:
        """Take the driver's own endpoint.

        Raises:
            ValueError: if it is none.
        """
        self._channel = Channel(parse_endpoint(endpoint))

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.aclose()

    async def fault(
        self, volume: str, fault: Fault, *, message: str | None = None, plane: Plane | None = None
    ) -> None:
        """Give a volume a fault; with another message or on another plane than usual if given."""
        await self._do(commands.SetFault(volume, fault, message, plane))

    async def clear(self, volume: str, fault: Fault | None = None) -> None:
        """Heal a volume: of one fault, or of all."""
        await self._do(commands.ClearFault(volume, fault))

    async def misbehave(self, habit: Quirk, params: Params | None = None) -> None:
        """Make the driver take up a bad habit."""
        await self._do(commands.SetHabit(habit, params or Params()))

    async def behave(self, habit: Quirk | None = None) -> None:
        """Make the driver give up a bad habit, or all."""
        await self._do(commands.ClearHabit(habit))

    async def backend(self, conditions: dict[str, str]) -> None:
        """Set what NodeGetStorageHealth says: messages by `StorageDegraded` and `StorageUnreachable`."""
        await self._do(commands.SetBackend(conditions))

    async def crash(self, seconds: float) -> None:
        """Make the driver vanish, and come back after so many seconds."""
        await self._do(commands.Crash(seconds))

    async def stats(self) -> commands.Stats:
        """Ask how often each method was called and what is wrong."""
        return await self._do(commands.Report())

    async def _do(self, command: commands.Command) -> commands.Stats:
        request = StringValue(value=msgspec.json.encode(command).decode())
        reply = await self._channel.call(_DO, request, timeout=_TIMEOUT)
        return msgspec.json.decode(reply.value, type=commands.Stats)
