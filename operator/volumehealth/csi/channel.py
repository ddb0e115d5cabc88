"""One connection to one driver: the gRPC channel, a call, and where gRPC's exceptions end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.text import clean_message
from volumehealth.errors import (
    CallNotSupported,
    CsiError,
    DriverUnreachable,
    GarbledAnswer,
    TokenRejected,
    VolumeNotFound,
)
from volumehealth.settings import TlsFiles

_MEBIBYTE = 1024 * 1024
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 * _MEBIBYTE),  # a big array's whole list; gRPC's default is 4 MiB
    (
        "grpc.max_metadata_size",
        _MEBIBYTE,
    ),  # a driver's error text travels there; by default 8 KiB break the call
    ("grpc.absolute_max_metadata_size", _MEBIBYTE),
    ("grpc.initial_reconnect_backoff_ms", 100),  # a restarted driver is noticed within a second or two
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that vanished without a word: acknowledgements that stay out break the connection after 20 s, else it
    # takes the kernel a quarter of an hour. Five minutes and a bit, since Go servers drop whom they see ping more often.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each client, also to one address
    ("grpc.enable_retries", 0),  # how often a driver is asked is our decision
    ("grpc.enable_http_proxy", 0),  # a driver is never behind the web proxy of the environment
)
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

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._channel: grpc.aio.Channel | None = None
        self._asks: dict[str, Callable[..., Awaitable[bytes]]] = {}

    async def __aenter__(self) -> Self:
        self._channel, self._asks = _open(self.endpoint), {}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now. It breaks when the driver ends, and is made again by the next call."""
        return self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def aclose(self) -> None:
        """Close the connection; a second time does nothing."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

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
        if self._channel is None:
            raise DriverUnreachable(f"{method.name}: the connection is closed", code="UNAVAILABLE")
        path = f"/{method.service}/{method.name}"
        ask = self._asks.get(path)
        if ask is None:
            # Bytes in, bytes out: gRPC would log a message it cannot decode with a traceback and answer None.
            ask = self._asks[path] = self._channel.unary_unary(path, None, None)
        try:
            answer = await ask(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, method=method.name, timeout=timeout) from error
        except asyncio.CancelledError as error:
            if _we_are_cancelled():
                raise
            # A closed channel ends its calls this way; uncaught it would look like the end of our own task.
            raise DriverUnreachable(f"{method.name}: the connection was closed", code="CANCELLED") from error
        return answer


def _open(endpoint: Endpoint) -> grpc.aio.Channel:
    if endpoint.tls is None:
        return grpc.aio.insecure_channel(endpoint.target, options=_OPTIONS)
    return grpc.aio.secure_channel(endpoint.target, _credentials(endpoint.tls), options=_OPTIONS)


def _credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    try:
        ca, key, certificate = (Path(file).read_bytes() for file in (files.ca, files.key, files.certificate))
    except OSError as error:
        raise DriverUnreachable(
            f"cannot read {error.filename}: {error.strerror}", code="UNAVAILABLE"
        ) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _translated(error: grpc.aio.AioRpcError, *, method: str, timeout: float) -> CsiError:
    code = error.code()
    details = clean_message(error.details() or "") or code.name
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"no answer within {timeout:g} s"  # gRPC's own words are about streams
    elif details.startswith(_NO_CONNECTION):
        details = f"no connection: {details.rpartition('error: ')[2]}"
    return _ERRORS.get(code, CsiError)(f"{method}: {details}", code=code.name)


def _we_are_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
