"""A driver as typed calls, in both generations of CSI health: each call, and how its answer is read.

Lists of 10,000 entries pass here: nothing is made twice that can be made once.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from volumehealth.csi import methods
from volumehealth.csi.channel import Channel
from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.types import (
    DriverInfo,
    Listed,
    NodeInfo,
    StorageCondition,
    Unit,
    Usage,
    VolumePage,
    VolumeStats,
)
from volumehealth.errors import CallNotSupported, CsiError, GarbledAnswer
from volumehealth.model.health import DATA_LOSS, DEGRADED, INACCESSIBLE, Condition
from volumehealth.model.text import clean_message, clean_reason
from volumehealth.model.vocabulary import Reason

_DRIVER_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?")
_Entry = TypeVar("_Entry")
_CONTROLLER_SERVICE = pb.PluginCapability.Service.CONTROLLER_SERVICE
_STATUS: dict[int, str] = {pb.DEGRADED: DEGRADED, pb.INACCESSIBLE: INACCESSIBLE, pb.DATA_LOSS: DATA_LOSS}
_STORAGE_STATUS: dict[int, str] = {
    pb.STORAGE_DEGRADED: "StorageDegraded",
    pb.STORAGE_UNREACHABLE: "StorageUnreachable",
}
_UNIT: dict[int, Unit] = {pb.VolumeUsage.BYTES: Unit.BYTES, pb.VolumeUsage.INODES: Unit.INODES}
_Mode = pb.VolumeCapability.AccessMode
_ACCESS_MODE: dict[int, str] = {  # as the kubelet maps them (facts C3)
    _Mode.SINGLE_NODE_WRITER: "ReadWriteOnce",
    _Mode.SINGLE_NODE_READER_ONLY: "ReadWriteOnce",
    _Mode.SINGLE_NODE_MULTI_WRITER: "ReadWriteOnce",
    _Mode.SINGLE_NODE_SINGLE_WRITER: "ReadWriteOncePod",
    _Mode.MULTI_NODE_READER_ONLY: "ReadOnlyMany",
    _Mode.MULTI_NODE_SINGLE_WRITER: "ReadWriteMany",
    _Mode.MULTI_NODE_MULTI_WRITER: "ReadWriteMany",
}


class CsiClient(Channel):
    """The calls that we make to one driver, over one connection.

    If that breaks, the next call may reach another driver. Each method takes `timeout`, the seconds one call may take,
    and raises only `CsiError` and its subclasses: `DriverUnreachable` without connection or answer, `GarbledAnswer`,
    `VolumeNotFound`, `TokenRejected`, `CallNotSupported`, or `CsiError` itself with the gRPC code.
    """

    # ---- Identity ----

    async def identify(self, timeout: float) -> DriverInfo:
        """Ask who the driver is and what its controller can do; up to four calls of `timeout` seconds each.

        A driver whose controller service is not served on this socket (as on a node plugin's) has none.

        Raises:
            GarbledAnswer: if the name it gives is not a CSI driver name.
        """
        name, version = await self._plugin_info(timeout)
        ready = await self.probe(timeout)
        reply = await self.call(
            methods.GET_PLUGIN_CAPABILITIES, pb.GetPluginCapabilitiesRequest(), timeout=timeout
        )
        advertised = any(capability.service.type == _CONTROLLER_SERVICE for capability in reply.capabilities)
        capabilities = await self._controller_capabilities(timeout) if advertised else None
        return DriverInfo(
            name=name,
            vendor_version=version,
            ready=ready,
            controller_service=capabilities is not None,
            controller=capabilities or frozenset(),
        )

    async def identify_node(self, timeout: float) -> NodeInfo:
        """Ask who the driver is and what its node plugin can do; two calls of `timeout` seconds each."""
        name, version = await self._plugin_info(timeout)
        reply = await self.call(
            methods.NODE_GET_CAPABILITIES, pb.NodeGetCapabilitiesRequest(), timeout=timeout
        )
        return NodeInfo(name, version, node_capabilities(reply))

    async def probe(self, timeout: float) -> bool:
        """Ask whether the driver is ready. Saying nothing means yes; FAILED_PRECONDITION means no."""
        try:
            reply = await self.call(methods.PROBE, pb.ProbeRequest(), timeout=timeout)
        except CsiError as error:
            if error.code == "FAILED_PRECONDITION":
                return False
            raise
        return reply.ready.value if reply.HasField("ready") else True

    async def _plugin_info(self, timeout: float) -> tuple[str, str]:
        reply = await self.call(methods.GET_PLUGIN_INFO, pb.GetPluginInfoRequest(), timeout=timeout)
        if not _DRIVER_NAME.fullmatch(reply.name):
            raise GarbledAnswer(
                f"GetPluginInfo: {clean_message(reply.name)!r} is not a CSI driver name", code="INTERNAL"
            )
        return reply.name, clean_message(reply.vendor_version)

    async def _controller_capabilities(self, timeout: float) -> frozenset[str] | None:
        try:
            reply = await self.call(
                methods.CONTROLLER_GET_CAPABILITIES, pb.ControllerGetCapabilitiesRequest(), timeout=timeout
            )
        except CallNotSupported:
            return None
        return controller_capabilities(reply)

    # ---- Controller, legacy ----

    async def list_volumes(self, max_entries: int, token: str, *, timeout: float) -> VolumePage:
        """Ask for a page of all volumes with their conditions; `max_entries` 0 is no limit, token "" the start."""
        request = pb.ListVolumesRequest(max_entries=max_entries, starting_token=token)
        reply = await self.call(methods.LIST_VOLUMES, request, timeout=timeout)
        return VolumePage(Entries(reply.entries, volume_entries), reply.next_token)

    async def get_volume(self, handle: str, timeout: float) -> tuple[Condition, ...] | None:
        """Ask about one volume; no conditions is explicitly healthy, None that the driver sends no condition.

        The id in the answer is not looked at: some drivers send another, or no volume at all (facts D5).
        """
        request = pb.ControllerGetVolumeRequest(volume_id=handle)
        reply = await self.call(methods.CONTROLLER_GET_VOLUME, request, timeout=timeout)
        sent = reply.status.HasField("volume_condition")
        return legacy(reply.status.volume_condition) if sent else None

    # ---- Controller, CSI 1.13 ----

    async def list_volume_health(
        self, max_entries: int, token: str, *, secrets: Mapping[str, str], timeout: float
    ) -> VolumePage:
        """Ask for a page of adverse volumes; `max_entries` 0 is no limit, token "" the start."""
        request = pb.ControllerListVolumeHealthRequest(
            max_entries=max_entries, starting_token=token, secrets=secrets
        )
        reply = await self.call(methods.CONTROLLER_LIST_VOLUME_HEALTH, request, timeout=timeout)
        return VolumePage(Entries(reply.entries, health_entries), reply.next_token)

    async def get_volume_health(
        self, handle: str, *, secrets: Mapping[str, str], timeout: float
    ) -> tuple[Condition, ...] | None:
        """Ask about one volume; no conditions is explicitly healthy, None an answer without any health."""
        request = pb.ControllerGetVolumeHealthRequest(volume_id=handle, secrets=secrets)
        reply = await self.call(methods.CONTROLLER_GET_VOLUME_HEALTH, request, timeout=timeout)
        return conditions(reply.volume_health.health_statuses) if reply.HasField("volume_health") else None

    # ---- Node ----

    async def node_get_volume_stats(
        self, handle: str, volume_path: str, *, staging_path: str, timeout: float
    ) -> VolumeStats:
        """Ask a node plugin how full a volume is, and a legacy one for its condition.

        Args:
            handle: the volume.
            volume_path: where it is published or staged on this node.
            staging_path: where it is staged; empty if the driver does not stage.
            timeout: seconds.
        """
        request = pb.NodeGetVolumeStatsRequest(
            volume_id=handle, volume_path=volume_path, staging_target_path=staging_path
        )
        reply = await self.call(methods.NODE_GET_VOLUME_STATS, request, timeout=timeout)
        sent = reply.HasField("volume_condition")
        return VolumeStats(
            usage=tuple(map(usage, reply.usage)),
            conditions=legacy(reply.volume_condition) if sent else None,
        )

    async def node_get_volume_health(
        self, handle: str, *, publish_path: str, staging_path: str, timeout: float
    ) -> tuple[Condition, ...] | None:
        """Ask a CSI 1.13 node plugin about one volume; see `get_volume_health`. Paths may be empty."""
        request = pb.NodeGetVolumeHealthRequest(
            volume_id=handle, volume_publish_path=publish_path, staging_target_path=staging_path
        )
        reply = await self.call(methods.NODE_GET_VOLUME_HEALTH, request, timeout=timeout)
        return conditions(reply.volume_health.health_statuses) if reply.HasField("volume_health") else None

    async def node_get_storage_health(
        self, *, secrets: Mapping[str, str], timeout: float
    ) -> tuple[StorageCondition, ...]:
        """Ask a CSI 1.13 node plugin about the storage behind its node; empty means healthy."""
        request = pb.NodeGetStorageHealthRequest(secrets=secrets)
        reply = await self.call(methods.NODE_GET_STORAGE_HEALTH, request, timeout=timeout)
        return tuple(map(storage_condition, reply.backend_health))


# ---- from messages to values ----


def legacy(sent: pb.VolumeCondition) -> tuple[Condition, ...]:
    """Read a VolumeCondition that was sent; none if it is not abnormal. What its text means, rules decide later."""
    if not sent.abnormal:
        return ()
    return (Condition(DEGRADED, Reason.VOLUME_CONDITION_ABNORMAL.value, clean_message(sent.message)),)


class Entries(Collection[Listed], Generic[_Entry]):
    """The entries of a page, each read when somebody comes to it.

    Args:
        sent: as they were sent.
        read: reads them one after the other.
    """

    def __init__(self, sent: Sequence[_Entry], read: Callable[[Iterable[_Entry]], Iterator[Listed]]) -> None:
        self._sent = sent
        self._read = read

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[Listed]:
        return self._read(self._sent)

    def __contains__(self, one: object) -> bool:
        return any(entry == one for entry in self)


def volume_entries(sent: Iterable[pb.ListVolumesResponse.Entry]) -> Iterator[Listed]:
    """Read the entries of ListVolumes. What is said of many volumes becomes one object; a healthy one's text is not read."""
    known: dict[str, tuple[Condition, ...]] = {}
    for entry in sent:
        status = entry.status
        said: tuple[Condition, ...] | None = None
        if status.HasField("volume_condition"):
            condition_sent = status.volume_condition
            said = ()
            if condition_sent.abnormal:
                message = condition_sent.message
                said = known.get(message)
                if said is None:
                    said = known[message] = legacy(condition_sent)
        yield entry.volume.volume_id, said


def health_entries(sent: Iterable[pb.VolumeHealth]) -> Iterator[Listed]:
    """Read the entries of ControllerListVolumeHealth; what is said of many volumes becomes one object."""
    known: dict[tuple[int, str, str], Condition] = {}

    def read(one: pb.VolumeHealth.VolumeHealthEntry) -> Condition:
        key = (one.status, one.reason, one.message)
        found = known.get(key)
        if found is None:
            found = known[key] = condition(one)
        return found

    for entry in sent:
        yield entry.volume_id, tuple(map(read, entry.health_statuses))


def conditions(statuses: Iterable[pb.VolumeHealth.VolumeHealthEntry]) -> tuple[Condition, ...]:
    """Read the adverse statements about one volume."""
    return tuple(map(condition, statuses))


def condition(sent: pb.VolumeHealth.VolumeHealthEntry) -> Condition:
    """Read an adverse statement about a volume. A status this version does not know is kept by its number."""
    return Condition(
        _STATUS.get(sent.status) or f"UnknownHealthType{sent.status}",
        clean_reason(sent.reason),
        clean_message(sent.message),
    )


def storage_condition(
    entry: pb.NodeGetStorageHealthResponse.StorageBackendHealth,
) -> StorageCondition:
    """Read an adverse statement about the storage behind a node."""
    capability = entry.volume_capability
    access = capability.WhichOneof("access_type")
    return StorageCondition(
        status=_STORAGE_STATUS.get(entry.status) or f"UnknownStorageHealthType{entry.status}",
        reason=clean_reason(entry.reason),
        message=clean_message(entry.message),
        access_mode=_ACCESS_MODE.get(capability.access_mode.mode, ""),
        volume_mode={"block": "Block", "mount": "Filesystem"}.get(access or "", ""),
    )


def usage(entry: pb.VolumeUsage) -> Usage:
    """Read how full a volume is."""
    return Usage(_UNIT.get(entry.unit, Unit.UNKNOWN), entry.total, entry.used, entry.available)


def controller_capabilities(reply: pb.ControllerGetCapabilitiesResponse) -> frozenset[str]:
    """Name the controller's capabilities."""
    names = {int(number): name for name, number in pb.ControllerServiceCapability.RPC.Type.items()}
    return frozenset(_name(names, capability.rpc.type) for capability in reply.capabilities)


def node_capabilities(reply: pb.NodeGetCapabilitiesResponse) -> frozenset[str]:
    """Name the node plugin's capabilities."""
    names = {int(number): name for name, number in pb.NodeServiceCapability.RPC.Type.items()}
    return frozenset(_name(names, capability.rpc.type) for capability in reply.capabilities)


def _name(names: dict[int, str], number: int) -> str:
    return names.get(number) or f"UNKNOWN_{number}"
