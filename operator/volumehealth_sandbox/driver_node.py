"""The simulated driver's Node service."""

from pathlib import Path

import grpc

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.pb import csi_pb2_grpc as rpc
from volumehealth.csi.types import GET_STORAGE_HEALTH, GET_VOLUME_HEALTH, GET_VOLUME_STATS
from volumehealth_sandbox import driver_health as health
from volumehealth_sandbox.driver_faults import ActiveFault, Fault, Plane, activate
from volumehealth_sandbox.driver_gate import Context
from volumehealth_sandbox.driver_mounts import Mounts, Space
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_refusals import need, need_capability, need_volume
from volumehealth_sandbox.driver_state import DriverState, SimulatedVolume

_RPC = pb.NodeServiceCapability.RPC
_MODE = pb.VolumeCapability.AccessMode
_FUTURE_CAPABILITY = _RPC.Type.ValueType(99)
_BYTES_PER_INODE = 16384
_STORAGE_STATUS = {"StorageDegraded": pb.STORAGE_DEGRADED, "StorageUnreachable": pb.STORAGE_UNREACHABLE}


class Node(rpc.NodeServicer):
    """A node's mounts, and what the node sees of its volumes."""

    def __init__(self, state: DriverState, mounts: Mounts) -> None:
        self._state = state
        self._mounts = mounts

    async def NodeGetInfo(  # noqa: N802 - named by CSI, as are all of these
        self, request: pb.NodeGetInfoRequest, context: Context
    ) -> pb.NodeGetInfoResponse:
        """Tell which node this is."""
        return pb.NodeGetInfoResponse(node_id=self._state.node_id)

    async def NodeGetCapabilities(  # noqa: N802
        self, request: pb.NodeGetCapabilitiesRequest, context: Context
    ) -> pb.NodeGetCapabilitiesResponse:
        """Tell what it can do."""
        types = [_RPC.Type.Value(name) for name in self._state.advertised(self._state.node)]
        if self._state.habit(Quirk.UNKNOWN_CAPABILITY):
            types.append(_FUTURE_CAPABILITY)
        return pb.NodeGetCapabilitiesResponse(
            capabilities=[pb.NodeServiceCapability(rpc=_RPC(type=number)) for number in types]
        )

    # ---- Mounts ----

    async def NodeStageVolume(  # noqa: N802
        self, request: pb.NodeStageVolumeRequest, context: Context
    ) -> pb.NodeStageVolumeResponse:
        """Make a volume ready on this node."""
        await need(
            context,
            volume_id=request.volume_id,
            staging_target_path=request.staging_target_path,
            volume_capability=request.HasField("volume_capability"),
        )
        volume = await need_volume(context, self._state, request.volume_id)
        block = request.volume_capability.HasField("block")
        self._mounts.stage(
            volume.handle, Path(request.staging_target_path), size=volume.capacity, block=block
        )
        volume.staged.add(request.staging_target_path)
        return pb.NodeStageVolumeResponse()

    async def NodeUnstageVolume(  # noqa: N802
        self, request: pb.NodeUnstageVolumeRequest, context: Context
    ) -> pb.NodeUnstageVolumeResponse:
        """Undo NodeStageVolume."""
        await need(context, volume_id=request.volume_id, staging_target_path=request.staging_target_path)
        self._mounts.unstage(Path(request.staging_target_path))
        if volume := self._state.volumes.get(request.volume_id):
            volume.staged.discard(request.staging_target_path)
        return pb.NodeUnstageVolumeResponse()

    async def NodePublishVolume(  # noqa: N802
        self, request: pb.NodePublishVolumeRequest, context: Context
    ) -> pb.NodePublishVolumeResponse:
        """Give a Pod its volume."""
        await need(
            context,
            volume_id=request.volume_id,
            target_path=request.target_path,
            volume_capability=request.HasField("volume_capability"),
        )
        volume = await need_volume(context, self._state, request.volume_id)
        mode = request.volume_capability.access_mode.mode
        others = volume.targets.keys() - {request.target_path}
        if others and mode == _MODE.SINGLE_NODE_SINGLE_WRITER:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "published at another path for one writer"
            )
        self._mounts.publish(
            Path(request.staging_target_path) if request.staging_target_path else None,
            Path(request.target_path),
            block=request.volume_capability.HasField("block"),
            readonly=request.readonly,
        )
        volume.targets[request.target_path] = mode
        return pb.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(  # noqa: N802
        self, request: pb.NodeUnpublishVolumeRequest, context: Context
    ) -> pb.NodeUnpublishVolumeResponse:
        """Undo NodePublishVolume."""
        await need(context, volume_id=request.volume_id, target_path=request.target_path)
        self._mounts.unpublish(Path(request.target_path))
        if volume := self._state.volumes.get(request.volume_id):
            volume.targets.pop(request.target_path, None)
        return pb.NodeUnpublishVolumeResponse()

    async def NodeExpandVolume(  # noqa: N802
        self, request: pb.NodeExpandVolumeRequest, context: Context
    ) -> pb.NodeExpandVolumeResponse:
        """Let the node see that a volume grew."""
        await need(context, volume_id=request.volume_id, volume_path=request.volume_path)
        volume = await need_volume(context, self._state, request.volume_id)
        return pb.NodeExpandVolumeResponse(capacity_bytes=volume.capacity)

    # ---- Health ----

    async def NodeGetVolumeStats(  # noqa: N802
        self, request: pb.NodeGetVolumeStatsRequest, context: Context
    ) -> pb.NodeGetVolumeStatsResponse:
        """Tell how full a volume is and, if legacy, its condition."""
        await need_capability(context, GET_VOLUME_STATS, self._state.node)
        await need(context, volume_id=request.volume_id, volume_path=request.volume_path)
        volume = await need_volume(context, self._state, request.volume_id)
        path = Path(request.volume_path)
        mounted = self._mounts.mounted(path)
        if mounted is None and request.volume_path not in volume.targets.keys() | volume.staged:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"nothing is mounted at {request.volume_path}")
        condition = health.condition(
            self._state, volume, plane=Plane.NODE, method="NodeGetVolumeStats", seen=_unmounted(mounted)
        )
        hidden = volume.symptoms(Plane.NODE) and self._state.habit(Quirk.NO_USAGE)
        try:
            usage = [] if hidden or mounted is False else _usage(volume, self._mounts.space(path))
        except OSError as error:  # as real drivers pass it on
            await context.abort(
                grpc.StatusCode.INTERNAL, f"failed to get stats: {(error.strerror or '').lower()}"
            )
        return pb.NodeGetVolumeStatsResponse(usage=usage, volume_condition=condition)

    async def NodeGetVolumeHealth(  # noqa: N802
        self, request: pb.NodeGetVolumeHealthRequest, context: Context
    ) -> pb.NodeGetVolumeHealthResponse:
        """Tell what the node sees of a volume."""
        await need_capability(context, GET_VOLUME_HEALTH, self._state.node)
        await need(context, volume_id=request.volume_id)
        volume = await need_volume(context, self._state, request.volume_id)
        published = request.volume_publish_path
        mounted = self._mounts.mounted(Path(published)) if published else None
        told = pb.VolumeHealth(
            volume_id=volume.handle,
            health_statuses=health.statuses(self._state, volume, plane=Plane.NODE, seen=_unmounted(mounted)),
        )
        return pb.NodeGetVolumeHealthResponse(volume_health=told)

    async def NodeGetStorageHealth(  # noqa: N802
        self, request: pb.NodeGetStorageHealthRequest, context: Context
    ) -> pb.NodeGetStorageHealthResponse:
        """Tell what the node sees of the storage as a whole."""
        await need_capability(context, GET_STORAGE_HEALTH, self._state.node)
        return pb.NodeGetStorageHealthResponse(
            backend_health=[
                pb.NodeGetStorageHealthResponse.StorageBackendHealth(
                    status=_STORAGE_STATUS[status], reason=status, message=message
                )
                for status, message in self._state.backend.items()
            ]
        )


def _unmounted(mounted: bool | None) -> list[ActiveFault]:
    """Return what a driver that really mounts sees of a path where nothing is mounted."""
    return [activate(Fault.UNMOUNTED)] if mounted is False else []


def _usage(volume: SimulatedVolume, space: Space | None) -> list[pb.VolumeUsage]:
    """Count a volume's filesystem, or if there is none, what is on the books."""
    if space is None or Fault.OUT_OF_CAPACITY in volume.faults:
        used = volume.capacity if Fault.OUT_OF_CAPACITY in volume.faults else volume.used
        inodes = volume.capacity // _BYTES_PER_INODE
        space = Space(volume.capacity, volume.capacity - used, inodes, inodes - 1)
    usage = [
        pb.VolumeUsage(
            unit=pb.VolumeUsage.BYTES,
            total=space.total,
            used=space.total - space.available,
            available=space.available,
        )
    ]
    if not volume.block:
        usage.append(
            pb.VolumeUsage(
                unit=pb.VolumeUsage.INODES,
                total=space.inodes,
                used=space.inodes - space.free_inodes,
                available=space.free_inodes,
            )
        )
    return usage
