"""The simulated driver's Controller service."""

import grpc

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.pb import csi_pb2_grpc as rpc
from volumehealth.csi.types import GET_VOLUME, GET_VOLUME_HEALTH, LIST_VOLUME_HEALTH, LIST_VOLUMES
from volumehealth_sandbox import driver_health as health
from volumehealth_sandbox.driver_faults import Plane
from volumehealth_sandbox.driver_gate import Context
from volumehealth_sandbox.driver_pages import BadToken, Page, page
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_refusals import need, need_capability, need_volume
from volumehealth_sandbox.driver_state import GIBIBYTE, DriverState, SimulatedVolume

_CAPACITY = 1024 * GIBIBYTE
_RPC = pb.ControllerServiceCapability.RPC
_FUTURE_CAPABILITY = _RPC.Type.ValueType(99)


class Controller(rpc.ControllerServicer):
    """Volumes' life, and what the storage says of their health."""

    def __init__(self, state: DriverState) -> None:
        self._state = state

    async def ControllerGetCapabilities(  # noqa: N802 - named by CSI, as are all of these
        self, request: pb.ControllerGetCapabilitiesRequest, context: Context
    ) -> pb.ControllerGetCapabilitiesResponse:
        """Tell what it can do."""
        types = [_RPC.Type.Value(name) for name in self._state.advertised(self._state.controller)]
        if self._state.habit(Quirk.UNKNOWN_CAPABILITY):
            types.append(_FUTURE_CAPABILITY)
        return pb.ControllerGetCapabilitiesResponse(
            capabilities=[pb.ControllerServiceCapability(rpc=_RPC(type=number)) for number in types]
        )

    # ---- Volumes' life ----

    async def CreateVolume(  # noqa: N802
        self, request: pb.CreateVolumeRequest, context: Context
    ) -> pb.CreateVolumeResponse:
        """Make a volume; the same name again gives the same volume."""
        await need_capability(context, "CREATE_DELETE_VOLUME", self._state.controller)
        await need(context, name=request.name, volume_capabilities=request.volume_capabilities)
        wanted = request.capacity_range.required_bytes or GIBIBYTE
        volume = next((one for one in self._state.volumes.values() if one.name == request.name), None)
        if volume is None:
            block = request.volume_capabilities[0].HasField("block")
            volume = self._state.create(request.name, capacity=wanted, block=block)
        elif not _fits(volume.capacity, request.capacity_range):
            await context.abort(
                grpc.StatusCode.ALREADY_EXISTS, f"{request.name} exists with {volume.capacity} bytes"
            )
        return pb.CreateVolumeResponse(volume=_volume(volume))

    async def DeleteVolume(  # noqa: N802
        self, request: pb.DeleteVolumeRequest, context: Context
    ) -> pb.DeleteVolumeResponse:
        """Delete a volume; one that is gone already is fine."""
        await need_capability(context, "CREATE_DELETE_VOLUME", self._state.controller)
        await need(context, volume_id=request.volume_id)
        self._state.volumes.pop(request.volume_id, None)
        return pb.DeleteVolumeResponse()

    async def ControllerPublishVolume(  # noqa: N802
        self, request: pb.ControllerPublishVolumeRequest, context: Context
    ) -> pb.ControllerPublishVolumeResponse:
        """Attach a volume to a node."""
        await need_capability(context, "PUBLISH_UNPUBLISH_VOLUME", self._state.controller)
        await need(
            context,
            volume_id=request.volume_id,
            node_id=request.node_id,
            volume_capability=request.HasField("volume_capability"),
        )
        volume = await need_volume(context, self._state, request.volume_id)
        if request.node_id != self._state.node_id:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"node {request.node_id} does not exist")
        if volume.nodes.setdefault(request.node_id, request.readonly) != request.readonly:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "attached with another readonly flag")
        return pb.ControllerPublishVolumeResponse()

    async def ControllerUnpublishVolume(  # noqa: N802
        self, request: pb.ControllerUnpublishVolumeRequest, context: Context
    ) -> pb.ControllerUnpublishVolumeResponse:
        """Detach a volume from a node, or from all."""
        await need_capability(context, "PUBLISH_UNPUBLISH_VOLUME", self._state.controller)
        await need(context, volume_id=request.volume_id)
        volume = self._state.volumes.get(request.volume_id)
        if volume is not None:
            for node in [request.node_id] if request.node_id else list(volume.nodes):
                volume.nodes.pop(node, None)
        return pb.ControllerUnpublishVolumeResponse()

    async def ValidateVolumeCapabilities(  # noqa: N802
        self, request: pb.ValidateVolumeCapabilitiesRequest, context: Context
    ) -> pb.ValidateVolumeCapabilitiesResponse:
        """Confirm whatever is asked for."""
        await need(context, volume_id=request.volume_id, volume_capabilities=request.volume_capabilities)
        await need_volume(context, self._state, request.volume_id)
        confirmed = pb.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
        )
        return pb.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    async def GetCapacity(  # noqa: N802
        self, request: pb.GetCapacityRequest, context: Context
    ) -> pb.GetCapacityResponse:
        """Tell how much room is left."""
        await need_capability(context, "GET_CAPACITY", self._state.controller)
        taken = sum(volume.capacity for volume in self._state.volumes.values())
        return pb.GetCapacityResponse(available_capacity=max(_CAPACITY - taken, 0))

    async def ControllerExpandVolume(  # noqa: N802
        self, request: pb.ControllerExpandVolumeRequest, context: Context
    ) -> pb.ControllerExpandVolumeResponse:
        """Make a volume larger."""
        await need_capability(context, "EXPAND_VOLUME", self._state.controller)
        await need(context, volume_id=request.volume_id, capacity_range=request.HasField("capacity_range"))
        volume = await need_volume(context, self._state, request.volume_id)
        volume.capacity = max(volume.capacity, request.capacity_range.required_bytes)
        return pb.ControllerExpandVolumeResponse(
            capacity_bytes=volume.capacity, node_expansion_required=not volume.block
        )

    # ---- Health, legacy ----

    async def ListVolumes(  # noqa: N802
        self, request: pb.ListVolumesRequest, context: Context
    ) -> pb.ListVolumesResponse:
        """List every volume."""
        await need_capability(context, LIST_VOLUMES, self._state.controller)
        part = await self._page(context, max_entries=request.max_entries, token=request.starting_token)
        entries = [self._entry(self._state.volumes[handle]) for handle in part.handles]
        if self._state.habit(Quirk.DUPLICATES):
            entries += [self._healthy_entry(self._state.volumes[handle]) for handle in part.handles]
        return pb.ListVolumesResponse(entries=entries, next_token=part.next_token)

    async def ControllerGetVolume(  # noqa: N802
        self, request: pb.ControllerGetVolumeRequest, context: Context
    ) -> pb.ControllerGetVolumeResponse:
        """Tell about one volume."""
        await need_capability(context, GET_VOLUME, self._state.controller)
        volume = await self._sought(context, "ControllerGetVolume", handle=request.volume_id)
        status = pb.ControllerGetVolumeResponse.VolumeStatus(
            published_node_ids=list(volume.nodes),
            volume_condition=health.condition(
                self._state, volume, plane=Plane.CONTROLLER, method="ControllerGetVolume"
            ),
        )
        return pb.ControllerGetVolumeResponse(volume=self._replied(volume), status=status)

    def _entry(self, volume: SimulatedVolume) -> pb.ListVolumesResponse.Entry:
        condition = health.condition(self._state, volume, plane=Plane.CONTROLLER, method="ListVolumes")
        status = pb.ListVolumesResponse.VolumeStatus(
            published_node_ids=list(volume.nodes), volume_condition=condition
        )
        return pb.ListVolumesResponse.Entry(volume=_volume(volume, padding=self._padding()), status=status)

    def _healthy_entry(self, volume: SimulatedVolume) -> pb.ListVolumesResponse.Entry:
        healthy = pb.VolumeCondition(abnormal=False, message=health.HEALTHY)
        return pb.ListVolumesResponse.Entry(
            volume=_volume(volume), status=pb.ListVolumesResponse.VolumeStatus(volume_condition=healthy)
        )

    def _padding(self) -> str:
        huge = self._state.habit(Quirk.HUGE_ENTRIES)
        return "x" * (huge.count or 10 * 1024) if huge else ""

    # ---- Health, CSI 1.13 ----

    async def ControllerListVolumeHealth(  # noqa: N802
        self, request: pb.ControllerListVolumeHealthRequest, context: Context
    ) -> pb.ControllerListVolumeHealthResponse:
        """List the volumes that are not healthy."""
        await need_capability(context, LIST_VOLUME_HEALTH, self._state.controller)
        part = await self._page(
            context,
            max_entries=request.max_entries,
            token=request.starting_token,
            adverse_only=not self._state.habit(Quirk.LISTS_HEALTHY),
        )
        entries = [self._health(self._state.volumes[handle]) for handle in part.handles]
        if self._state.habit(Quirk.DUPLICATES):
            entries += [pb.VolumeHealth(volume_id=handle) for handle in part.handles]
        return pb.ControllerListVolumeHealthResponse(entries=entries, next_token=part.next_token)

    async def ControllerGetVolumeHealth(  # noqa: N802
        self, request: pb.ControllerGetVolumeHealthRequest, context: Context
    ) -> pb.ControllerGetVolumeHealthResponse:
        """Tell the health of one volume."""
        await need_capability(context, GET_VOLUME_HEALTH, self._state.controller)
        volume = await self._sought(context, "ControllerGetVolumeHealth", handle=request.volume_id)
        if self._state.habit(Quirk.NIL_VOLUME):
            return pb.ControllerGetVolumeHealthResponse()
        told = self._health(volume)
        told.volume_id = self._reply_id(volume)
        return pb.ControllerGetVolumeHealthResponse(volume_health=told)

    def _health(self, volume: SimulatedVolume) -> pb.VolumeHealth:
        return pb.VolumeHealth(
            volume_id=volume.handle,
            health_statuses=health.statuses(self._state, volume, plane=Plane.CONTROLLER),
        )

    # ---- Both ----

    async def _page(
        self, context: Context, *, max_entries: int, token: str, adverse_only: bool = False
    ) -> Page:
        try:
            return page(self._state, self._listed(adverse_only), max_entries=max_entries, token=token)
        except BadToken:
            await context.abort(grpc.StatusCode.ABORTED, f"starting_token {token} is not valid; start again")

    def _listed(self, adverse_only: bool) -> list[str]:
        unlisted = self._state.habit(Quirk.NOT_LISTED)
        return sorted(
            handle
            for handle, volume in self._state.volumes.items()
            if self._state.exists(handle)
            and not (unlisted and unlisted.hits(handle))
            and not (adverse_only and not volume.symptoms(Plane.CONTROLLER))
        )

    async def _sought(self, context: Context, method: str, *, handle: str) -> SimulatedVolume:
        await need(context, volume_id=handle)
        absent = self._state.habit(Quirk.NOT_FOUND, method)
        if absent and absent.hits(handle):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"volume {handle} does not exist")
        return await need_volume(context, self._state, handle)

    def _replied(self, volume: SimulatedVolume) -> pb.Volume | None:
        if self._state.habit(Quirk.NIL_VOLUME):
            return None
        return pb.Volume(volume_id=self._reply_id(volume), capacity_bytes=volume.capacity)

    def _reply_id(self, volume: SimulatedVolume) -> str:
        return f"array-1/{volume.handle}" if self._state.habit(Quirk.OTHER_IDS) else volume.handle


def _fits(capacity: int, wanted: pb.CapacityRange) -> bool:
    return wanted.required_bytes <= capacity and (not wanted.limit_bytes or capacity <= wanted.limit_bytes)


def _volume(volume: SimulatedVolume, *, padding: str = "") -> pb.Volume:
    context = {"padding": padding} if padding else {}
    return pb.Volume(volume_id=volume.handle, capacity_bytes=volume.capacity, volume_context=context)
