"""Unary calls to one driver as bytes: a request goes out, bytes or a gRPC status come back.

What the bytes mean, and what a status stands for, is decided above this seam, so a simulation that puts its own driver
below it runs the code that runs in production.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import grpc
import grpc.aio

from volumehealth.csi.endpoint import Endpoint
from volumehealth.errors import DriverUnreachable
from volumehealth.settings import TlsFiles

_MEBIBYTE = 1024 * 1024
_OPTIONS: tuple[tuple[str, int | str], ...] = (
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
_UNIX_OPTIONS = (
    *_OPTIONS,
    # gRPC would send the percent-encoded path as `:authority`, and servers in Rust and C# refuse every such call.
    ("grpc.default_authority", "localhost"),
)


class RpcFailed(Exception):  # noqa: N818 - a status of gRPC, not an error of this package
    """A call that ended without an answer.

    Attributes:
        code: the gRPC status.
        details: the driver's words, or gRPC's own.
    """

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class WireClosed(Exception):  # noqa: N818 - no error: this side closed it
    """The connection was closed from here while a call was under way."""


class Wire(Protocol):
    """A connection to one driver, made at the first call and made again after it broke."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        """Make one call.

        Args:
            path: `/package.Service/Method`.
            request: the serialized message.
            timeout: seconds until the answer must be here, connecting included.

        Raises:
            RpcFailed: if there is no answer.
            WireClosed: if the connection was closed from here.
        """

    async def aclose(self) -> None:
        """Close the connection; calls that are under way end with WireClosed."""


Dial = Callable[[Endpoint], Wire]
"""Makes a wire; nothing is sent yet."""


class GrpcWire:
    """The wire of production.

    Args:
        endpoint: where the driver answers.

    Raises:
        DriverUnreachable: if the TLS files cannot be read.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._channel = _open(endpoint)
        self._asks: dict[str, Callable[..., Awaitable[bytes]]] = {}

    @property
    def connected(self) -> bool:
        """See `Wire.connected`."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        await self._channel.close(None)

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        """See `Wire.call`."""
        ask = self._asks.get(path)
        if ask is None:
            # Bytes in, bytes out: gRPC would log a message it cannot decode with a traceback and answer None.
            ask = self._asks[path] = self._channel.unary_unary(path, None, None)
        try:
            return await ask(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise RpcFailed(error.code(), error.details() or "") from error
        except asyncio.CancelledError as error:
            if _we_are_cancelled():
                raise
            # A closed channel ends its calls this way; uncaught it would look like the end of our own task.
            raise WireClosed from error


def _open(endpoint: Endpoint) -> grpc.aio.Channel:
    if endpoint.tls is None:
        options = _UNIX_OPTIONS if endpoint.is_unix else _OPTIONS
        return grpc.aio.insecure_channel(endpoint.target, options=options)
    return grpc.aio.secure_channel(endpoint.target, _credentials(endpoint.tls), options=_OPTIONS)


def _credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    try:
        ca, key, certificate = (Path(file).read_bytes() for file in (files.ca, files.key, files.certificate))
    except OSError as error:
        raise DriverUnreachable(
            f"cannot read {error.filename}: {error.strerror}", code="UNAVAILABLE"
        ) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _we_are_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
