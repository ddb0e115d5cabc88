"""One connection to one driver: the gRPC channel, a call, and where gRPC's exceptions end."""

from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.wire import Dial, GrpcWire, RpcFailed, Wire, WireClosed
from volumehealth.errors import (
    CallNotSupported,
    CsiError,
    DriverUnreachable,
    GarbledAnswer,
    TokenRejected,
    VolumeNotFound,
)
from volumehealth.model.text import clean_message

_NO_CONNECTION = "failed to connect to all addresses"  # gRPC repeats the address twice; we know it
_ERRORS: dict[grpc.StatusCode, type[CsiError]] = {
    grpc.StatusCode.UNAVAILABLE: DriverUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DriverUnreachable,
    grpc.StatusCode.NOT_FOUND: VolumeNotFound,
    grpc.StatusCode.ABORTED: TokenRejected,
    grpc.StatusCode.UNIMPLEMENTED: CallNotSupported,
}

ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[ReplyT]):
    """An RPC: its service and name, and the message it answers with."""

    service: str
    name: str
    reply: type[ReplyT]


class Channel:
    """One connection to one endpoint, made at the first call and made again after it broke.

    An asynchronous context manager. Closing it ends the calls that are under way with `CsiError`.
    """

    def __init__(self, endpoint: Endpoint, *, dial: Dial = GrpcWire) -> None:
        self.endpoint = endpoint
        self._dial = dial
        self._wire: Wire | None = None

    async def __aenter__(self) -> Self:
        self._wire = self._dial(self.endpoint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now. It breaks when the driver ends, and is made again by the next call."""
        return self._wire is not None and self._wire.connected

    async def aclose(self) -> None:
        """Close the connection; a second time does nothing."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.aclose()

    async def call(self, method: Method[ReplyT], request: Message, *, timeout: float) -> ReplyT:
        """Ask the driver once.

        Args:
            method: which RPC.
            request: its message.
            timeout: seconds until the answer must be here, connecting included.

        Raises:
            DriverUnreachable: if there is no connection or no answer in time.
            GarbledAnswer: if the answer is no such message.
            CsiError: or a subclass, if the driver refuses.
        """
        answer = await self._ask(method, request.SerializeToString(), timeout=timeout)
        try:
            return method.reply.FromString(answer)
        except DecodeError as error:
            raise GarbledAnswer(
                f"{method.name}: {len(answer)} bytes that are no {method.reply.__name__}", code="INTERNAL"
            ) from error

    async def _ask(self, method: Method[ReplyT], request: bytes, *, timeout: float) -> bytes:
        if self._wire is None:
            raise DriverUnreachable(f"{method.name}: the connection is closed", code="UNAVAILABLE")
        try:
            return await self._wire.call(f"/{method.service}/{method.name}", request, timeout)
        except RpcFailed as error:
            raise _translated(error, method=method.name, timeout=timeout) from error
        except WireClosed as error:
            raise DriverUnreachable(f"{method.name}: the connection was closed", code="CANCELLED") from error


def _translated(error: RpcFailed, *, method: str, timeout: float) -> CsiError:
    code = error.code
    details = clean_message(error.details) or code.name
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"no answer within {timeout:g} s"  # gRPC's own words are about streams
    elif details.startswith(_NO_CONNECTION):
        details = f"no connection: {details.rpartition('error: ')[2]}"
    return _ERRORS.get(code, CsiError)(f"{method}: {details}", code=code.name)
