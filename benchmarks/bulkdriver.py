"""A CSI driver for benchmarks: legacy generation, answers kept as bytes, so that it costs next to nothing.

The simulated driver of `volumehealth_sandbox` builds each of 10,000 entries anew and would be most of what is
measured. This one speaks the same wire protocol; what it can do beside answering is change its mind and hang.

Run as `python -m benchmarks.bulkdriver ENDPOINT NAME PREFIX VOLUMES [no-list]`. One more gRPC method, `Do`, takes
a JSON `Order` and returns a JSON `Told`.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio
import msgspec

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.model.clock import SystemClock

CONTROL = "/volumehealth.benchmarks.Control/Do"
MESSAGE = "the array has lost its path to the disk"
_Answer = Callable[[bytes], Awaitable[bytes]]
_RPC = pb.ControllerServiceCapability.RPC


class Order(msgspec.Struct, frozen=True):
    """What to do.

    Attributes:
        bad: the first so many volumes are abnormal from now on; -1 leaves it as it is.
        hang: whether lists and gets are answered at all; None leaves it as it is.
    """

    bad: int = -1
    hang: bool | None = None


class Told(msgspec.Struct, frozen=True):
    """What happened.

    Attributes:
        calls: by method.
        heard: wall clock seconds at which the first list since the last change of mind was answered; 0 if none was.
        round: seconds from the first get to the one that made it as many as there are volumes; 0 until then.
    """

    calls: dict[str, int]
    heard: float
    round: float


class BulkDriver:
    """Volumes `<prefix>1` to `<prefix>N`."""

    def __init__(self, name: str, prefix: str, volumes: int, *, lists: bool) -> None:
        self._handles = [f"{prefix}{number}" for number in range(1, volumes + 1)]
        self._hang = False
        self._heard = 0.0
        self._first_get = self._round = 0.0
        self._calls: Counter[str] = Counter()
        self._clock = SystemClock()
        capabilities = [_RPC.GET_VOLUME, _RPC.VOLUME_CONDITION, *([_RPC.LIST_VOLUMES] if lists else [])]
        self._fixed = {
            "GetPluginInfo": pb.GetPluginInfoResponse(name=name, vendor_version="1").SerializeToString(),
            "Probe": pb.ProbeResponse().SerializeToString(),
            "GetPluginCapabilities": pb.GetPluginCapabilitiesResponse(
                capabilities=[
                    pb.PluginCapability(
                        service=pb.PluginCapability.Service(
                            type=pb.PluginCapability.Service.CONTROLLER_SERVICE
                        )
                    )
                ]
            ).SerializeToString(),
            "ControllerGetCapabilities": pb.ControllerGetCapabilitiesResponse(
                capabilities=[
                    pb.ControllerServiceCapability(rpc=_RPC(type=number)) for number in capabilities
                ]
            ).SerializeToString(),
        }
        self._list = b""
        self._gets: dict[str, bytes] = {}
        self._make_up_its_mind(0)

    def _make_up_its_mind(self, bad: int) -> None:
        answer = pb.ListVolumesResponse()
        for number, handle in enumerate(self._handles):
            abnormal = number < bad
            condition = pb.VolumeCondition(abnormal=abnormal, message=MESSAGE if abnormal else "")
            volume = pb.Volume(volume_id=handle, capacity_bytes=1 << 30)
            answer.entries.add(
                volume=volume, status=pb.ListVolumesResponse.VolumeStatus(volume_condition=condition)
            )
            self._gets[handle] = pb.ControllerGetVolumeResponse(
                volume=volume, status=pb.ControllerGetVolumeResponse.VolumeStatus(volume_condition=condition)
            ).SerializeToString()
        self._list = answer.SerializeToString()
        self._heard = 0.0

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return what answers a method."""
        answer = self._obey if details.method == CONTROL else self._answers(details.method)
        return _unary(answer) if answer is not None else None

    async def answer(self, path: str, request: bytes) -> bytes | None:
        """Answer a call that was made in this process; None if there is no such method."""
        answer = self._answers(path)
        return await answer(request) if answer is not None else None

    def obey(self, order: Order) -> None:
        """Do what is ordered."""
        if order.bad >= 0:
            self._make_up_its_mind(order.bad)
        if order.hang is not None:
            self._hang = order.hang

    def _answers(self, path: str) -> _Answer | None:
        method = path.rpartition("/")[2]
        if method in self._fixed:
            return lambda _: _now(self._fixed[method])
        return {"ListVolumes": self._all, "ControllerGetVolume": self._one}.get(method)

    async def _all(self, _: bytes) -> bytes:
        self._calls["ListVolumes"] += 1
        await self._may_hang()
        self._heard = self._heard or self._clock.now().timestamp()
        return self._list

    async def _one(self, request: bytes) -> bytes:
        self._calls["ControllerGetVolume"] += 1
        if self._calls["ControllerGetVolume"] == 1:
            self._first_get = self._clock.monotonic()
        elif self._calls["ControllerGetVolume"] == len(self._handles):
            self._round = self._clock.monotonic() - self._first_get
        await self._may_hang()
        return self._gets[pb.ControllerGetVolumeRequest.FromString(request).volume_id]

    async def _may_hang(self) -> None:
        if self._hang:
            await asyncio.Event().wait()

    async def _obey(self, request: bytes) -> bytes:
        self.obey(msgspec.json.decode(request, type=Order))
        return msgspec.json.encode(Told(dict(self._calls), self._heard, self._round))


async def _now(answer: bytes) -> bytes:
    return answer


def _unary(answer: _Answer) -> "grpc.RpcMethodHandler[bytes, bytes]":
    async def handle(request: bytes, _: object) -> bytes:
        return await answer(request)

    return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the type stubs only
    def __init__(self, driver: BulkDriver) -> None:
        self._driver = driver

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return what answers a method."""
        return self._driver.service(handler_call_details)


async def serve(endpoint: str, driver: BulkDriver) -> None:
    """Answer for ever."""
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers([_Handler(driver)])
    server.add_insecure_port(endpoint)
    await server.start()
    await server.wait_for_termination()


async def order(endpoint: str, wanted: Order) -> Told:
    """Tell a driver in another process what to do. Raises grpc.aio.AioRpcError if nobody is there in 10 s."""
    async with grpc.aio.insecure_channel(endpoint) as channel:
        do = channel.unary_unary(CONTROL, None, None)
        reply: bytes = await do(msgspec.json.encode(wanted), timeout=10.0, wait_for_ready=True)
    return msgspec.json.decode(reply, type=Told)


if __name__ == "__main__":
    _endpoint, _name, _prefix, _volumes, *_rest = sys.argv[1:]
    asyncio.run(serve(_endpoint, BulkDriver(_name, _prefix, int(_volumes), lists="no-list" not in _rest)))
