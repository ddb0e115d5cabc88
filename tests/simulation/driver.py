"""A CSI driver in memory: bytes of its messages go in, bytes or a gRPC status come out.

Volumes have a true state, told by both planes in the driver's own generation. What was answered, and heard, is kept
for the invariants.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

import grpc
from google.protobuf.message import Message

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.pb import pluginregistration_pb2 as registration
from volumehealth.csi.wire import RpcFailed

_STATUS = {"Degraded": pb.DEGRADED, "Inaccessible": pb.INACCESSIBLE, "DataLoss": pb.DATA_LOSS}


@dataclass(frozen=True, slots=True)
class Illness:
    """What is wrong with a volume, as its driver says it.

    Attributes:
        status, reason: as a driver of CSI 1.13 says them; they are also the right meaning of the legacy text. A star
            in the reason is another word in each answer.
        message: the driver's words.
    """

    status: str
    reason: str
    message: str


@dataclass(slots=True)
class SimVolume:
    """A volume on the storage.

    Attributes:
        handle: its id at the driver.
        illness: what is wrong now; None is well.
        exists: False once it was deleted on the storage.
        silent: the driver answers without a condition, or fails, for this volume.
        truth: the changes of `illness`, with their times; what the controller says.
    """

    handle: str
    illness: Illness | None = None
    exists: bool = True
    error: grpc.StatusCode | None = None
    nil: bool = False
    truth: list[tuple[float, Illness | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Statement:
    """What the driver said of a volume, and somebody heard.

    Attributes:
        said_at: when it was true.
        heard_at: when it arrived.
        by: the process that heard it.
        plane: `Controller` or the node's name.
        illness: None is well.
    """

    said_at: float
    heard_at: float
    by: str
    plane: str
    illness: Illness | None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer on its way.

    Attributes:
        seconds: how long the driver took.
        body: of the answer.
        failed: the status instead.
        says: what it says of which volumes.
    """

    method: str
    asked_by: str
    at: float
    seconds: float
    body: bytes = b""
    failed: RpcFailed | None = None
    says: tuple[tuple[str, Illness | None], ...] = ()
    plane: str = "Controller"


@dataclass(slots=True)
class SimDriver:
    """One plugin process: a controller, or a node plugin of the same volumes.

    Attributes:
        name: of the driver.
        address: where it answers.
        legacy: the generation of its health calls.
        lists, gets: which controller calls it has.
        node_health: whether its node plugins tell of volumes.
        plane: `Controller`, or the node's name.
        volumes: by handle; shared by all plugins of a driver.
        up: whether it answers at all.
        hangs: methods that never answer now.
        fails: a status for every call of a method.
        lacks: which of its health calls (`lists`, `gets`, `node_health`) another version of it does not have.
        slow: mean seconds of a call.
        incarnation: counts restarts.
        statements: what was heard of each volume.
        words: reasons given so far.
    """

    name: str
    address: str
    volumes: dict[str, SimVolume]
    time: Callable[[], float]
    random: Random
    legacy: bool = False
    lists: bool = True
    gets: bool = True
    node_health: bool = False
    plane: str = "Controller"
    up: bool = True
    hangs: frozenset[str] = frozenset()
    fails: dict[str, grpc.StatusCode] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    slow: float = 0.02
    incarnation: int = 1
    pages: int = 0
    statements: dict[str, list[Statement]] = field(default_factory=dict)
    most_in_flight: dict[str, int] = field(default_factory=dict)
    words: int = 0

    def answer(self, by: str, path: str, request: bytes) -> Answered | None:
        """Answer a call; None never answers."""
        method = path.rpartition("/")[2]
        if method in self.hangs or "*" in self.hangs:
            return None
        now = self.time()
        seconds = self.random.expovariate(1 / self.slow)
        failed = self.fails.get(method) or self.fails.get("*")
        if failed is not None:
            return Answered(method, by, now, seconds, failed=RpcFailed(failed, "simulated"))
        try:
            reply, says = self._call(method, request)
        except RpcFailed as error:
            return Answered(method, by, now, seconds, failed=error)
        return Answered(
            method,
            by,
            now,
            seconds,
            reply.SerializeToString(deterministic=True),
            says=tuple(says),
            plane=self.plane,
        )

    def heard(self, answered: Answered) -> None:
        """An answer arrived."""
        now = self.time()
        for handle, illness in answered.says:
            statement = Statement(answered.at, now, answered.asked_by, answered.plane, illness)
            self.statements.setdefault(handle, []).append(statement)

    def restart(self) -> None:
        """Be another process: calls under way end."""
        self.incarnation += 1

    # ---- calls ----

    def _call(self, method: str, request: bytes) -> "tuple[Message, Iterable[tuple[str, Illness | None]]]":
        match method:
            case "GetInfo":
                return registration.PluginInfo(
                    type="CSIPlugin", name=self.name, endpoint=self.address.removeprefix("unix://")
                ), ()
            case "GetPluginInfo":
                return pb.GetPluginInfoResponse(name=self.name, vendor_version="1.0"), ()
            case "Probe":
                return pb.ProbeResponse(), ()
            case "NodeGetCapabilities" if self.plane != "Controller":
                return self._node_calls(), ()
            case "NodeGetVolumeStats" if self.legacy and self._has("node_health"):
                return self._get_stats(pb.NodeGetVolumeStatsRequest.FromString(request).volume_id)
            case "NodeGetVolumeHealth" if not self.legacy and self._has("node_health"):
                return self._get_node_health(pb.NodeGetVolumeHealthRequest.FromString(request).volume_id)
            case "GetPluginCapabilities":
                service = pb.PluginCapability.Service(type=pb.PluginCapability.Service.CONTROLLER_SERVICE)
                return pb.GetPluginCapabilitiesResponse(
                    capabilities=[pb.PluginCapability(service=service)]
                ), ()
            case "ControllerGetCapabilities":
                rpc = pb.ControllerServiceCapability.RPC
                kinds = [
                    pb.ControllerServiceCapability(rpc=rpc(type=kind)) for kind in self._controller_calls()
                ]
                return pb.ControllerGetCapabilitiesResponse(capabilities=kinds), ()
            case "ListVolumes" if self.legacy and self._has("lists"):
                return self._list_volumes(pb.ListVolumesRequest.FromString(request))
            case "ControllerListVolumeHealth" if not self.legacy and self._has("lists"):
                return self._list_health(pb.ControllerListVolumeHealthRequest.FromString(request))
            case "ControllerGetVolume" if self.legacy and self._has("gets"):
                return self._get_volume(pb.ControllerGetVolumeRequest.FromString(request).volume_id)
            case "ControllerGetVolumeHealth" if not self.legacy and self._has("gets"):
                return self._get_health(pb.ControllerGetVolumeHealthRequest.FromString(request).volume_id)
        raise RpcFailed(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method}")

    def _has(self, call: str) -> bool:
        """Tell whether the version that runs has a health call."""
        return bool(getattr(self, call)) and call not in self.lacks

    def _controller_calls(self) -> "list[pb.ControllerServiceCapability.RPC.Type.ValueType]":
        types = pb.ControllerServiceCapability.RPC
        if self.legacy:
            calls = [types.VOLUME_CONDITION]
            calls += [types.LIST_VOLUMES] if self._has("lists") else []
            return calls + ([types.GET_VOLUME] if self._has("gets") else [])
        calls = [types.LIST_VOLUME_HEALTH] if self._has("lists") else []
        return calls + ([types.GET_VOLUME_HEALTH] if self._has("gets") else [])

    @property
    def controller_tells(self) -> bool:
        """Whether its controller tells of volumes, in the version that runs most of the time."""
        return self.lists or self.gets

    def named(self, illness: Illness) -> tuple[str, str]:
        """Return status and reason of what it says."""
        return ("Degraded", "VolumeConditionAbnormal") if self.legacy else (illness.status, illness.reason)

    def _node_calls(self) -> pb.NodeGetCapabilitiesResponse:
        types, reply = pb.NodeServiceCapability.RPC, pb.NodeGetCapabilitiesResponse()
        legacy = (types.GET_VOLUME_STATS, types.VOLUME_CONDITION)
        kinds = legacy if self.legacy else (types.GET_VOLUME_HEALTH,)
        for kind in kinds if self._has("node_health") else ():
            reply.capabilities.add().rpc.type = kind
        return reply

    def _get_stats(self, handle: str) -> "tuple[Message, list[tuple[str, Illness | None]]]":
        volume, reply = self._known(handle), pb.NodeGetVolumeStatsResponse()
        if volume.nil:
            return reply, []
        _condition(reply.volume_condition, volume.illness)
        return reply, [(handle, volume.illness)]

    def _get_node_health(self, handle: str) -> "tuple[Message, list[tuple[str, Illness | None]]]":
        volume, reply = self._known(handle), pb.NodeGetVolumeHealthResponse()
        if volume.nil:
            return reply, []
        self._health(reply.volume_health, volume)
        return reply, [(handle, volume.illness)]

    def _there(self) -> list[SimVolume]:
        return [volume for volume in self.volumes.values() if volume.exists]

    def _list_volumes(
        self, request: pb.ListVolumesRequest
    ) -> "tuple[Message, list[tuple[str, Illness | None]]]":
        page, token = self._page(self._there(), request.max_entries, request.starting_token)
        reply, says = pb.ListVolumesResponse(next_token=token), []
        for volume in page:
            entry = reply.entries.add()
            entry.volume.volume_id = volume.handle
            if volume.nil:
                continue
            _condition(entry.status.volume_condition, volume.illness)
            says.append((volume.handle, volume.illness))
        return reply, says

    def _list_health(
        self, request: pb.ControllerListVolumeHealthRequest
    ) -> "tuple[Message, list[tuple[str, Illness | None]]]":
        page, token = self._page(self._there(), request.max_entries, request.starting_token)
        reply, says = pb.ControllerListVolumeHealthResponse(next_token=token), []
        for volume in page:
            if volume.illness is not None:
                self._health(reply.entries.add(), volume)
            says.append((volume.handle, volume.illness))
        if not token:  # who is absent from a whole list is well
            says += [(volume.handle, None) for volume in self.volumes.values() if not volume.exists]
        return reply, says

    def _page(self, there: list[SimVolume], most: int, token: str) -> tuple[list[SimVolume], str]:
        start = int(token) if token else 0
        size = most or self.pages or len(there) or 1
        end = start + size
        return there[start:end], str(end) if end < len(there) else ""

    def _get_volume(self, handle: str) -> "tuple[Message, list[tuple[str, Illness | None]]]":
        volume = self._known(handle)
        reply = pb.ControllerGetVolumeResponse()
        reply.volume.volume_id = handle
        if volume.nil:
            return reply, []
        _condition(reply.status.volume_condition, volume.illness)
        return reply, [(handle, volume.illness)]

    def _get_health(self, handle: str) -> "tuple[Message, list[tuple[str, Illness | None]]]":
        volume = self._known(handle)
        reply = pb.ControllerGetVolumeHealthResponse()
        if volume.nil:
            return reply, []
        self._health(reply.volume_health, volume)
        return reply, [(handle, volume.illness)]

    def _health(self, health: pb.VolumeHealth, volume: SimVolume) -> None:
        health.volume_id = volume.handle
        health.SetInParent()
        if volume.illness is not None:
            entry = health.health_statuses.add()
            entry.status = _STATUS[volume.illness.status]
            self.words += 1
            entry.reason = volume.illness.reason.replace("*", str(self.words))
            entry.message = volume.illness.message

    def _known(self, handle: str) -> SimVolume:
        volume = self.volumes.get(handle)
        if volume is None or not volume.exists:
            raise RpcFailed(grpc.StatusCode.NOT_FOUND, f"volume {handle} not found")
        if volume.error is not None:
            raise RpcFailed(volume.error, "simulated error of one volume")
        return volume


def _condition(condition: pb.VolumeCondition, illness: Illness | None) -> None:
    condition.abnormal = illness is not None
    condition.message = illness.message if illness is not None else "Volume is healthy"
