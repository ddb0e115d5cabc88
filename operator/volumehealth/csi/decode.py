"""From messages to values. Lists of 10,000 entries pass here: nothing is made twice that can be made once."""

from collections.abc import Iterable

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.types import StorageCondition, Unit, Usage, VolumePage
from volumehealth.model.health import DATA_LOSS, DEGRADED, INACCESSIBLE, Condition
from volumehealth.model.text import clean_message, clean_reason
from volumehealth.model.vocabulary import Reason

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


def legacy(sent: pb.VolumeCondition) -> tuple[Condition, ...]:
    """Read a VolumeCondition that was sent; none if it is not abnormal. What its text means, rules decide later."""
    if not sent.abnormal:
        return ()
    return (Condition(DEGRADED, Reason.VOLUME_CONDITION_ABNORMAL.value, clean_message(sent.message)),)


def volume_page(reply: pb.ListVolumesResponse) -> VolumePage:
    """Read a page of ListVolumes; what is said of many volumes becomes one object, and a healthy one's text is not read."""
    known: dict[str, tuple[Condition, ...]] = {}
    entries: list[tuple[str, tuple[Condition, ...] | None]] = []
    add = entries.append
    for entry in reply.entries:
        status = entry.status
        said: tuple[Condition, ...] | None = None
        if status.HasField("volume_condition"):
            sent = status.volume_condition
            said = ()
            if sent.abnormal:
                message = sent.message
                said = known.get(message)
                if said is None:
                    said = known[message] = legacy(sent)
        add((entry.volume.volume_id, said))
    return VolumePage(tuple(entries), reply.next_token)


def health_page(reply: pb.ControllerListVolumeHealthResponse) -> VolumePage:
    """Read a page of ControllerListVolumeHealth."""
    entries = tuple((entry.volume_id, conditions(entry.health_statuses)) for entry in reply.entries)
    return VolumePage(entries, reply.next_token)


def conditions(statuses: Iterable[pb.VolumeHealth.VolumeHealthEntry]) -> tuple[Condition, ...]:
    """Read the adverse statements about one volume. A status this version does not know is kept by its number."""
    return tuple(
        Condition(
            _STATUS.get(entry.status) or f"UnknownHealthType{entry.status}",
            clean_reason(entry.reason),
            clean_message(entry.message),
        )
        for entry in statuses
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
