"""From messages to values. Lists of 10,000 entries pass here: nothing is made twice that can be made once."""

from collections.abc import Iterable

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.types import StorageCondition, Unit, Usage
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


Listed = tuple[str, tuple[Condition, ...] | None]
"""Handle and adverse conditions of an entry: none is explicitly healthy, None that the driver did not say."""


class VolumeEntries:
    """Reads a page of ListVolumes, part by part.

    What is said of many volumes becomes one object, and a healthy one's text is not read.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Condition, ...]] = {}

    def read(self, entries: Iterable[pb.ListVolumesResponse.Entry]) -> list[Listed]:
        """Read a part of the entries."""
        known = self._known
        found: list[Listed] = []
        add = found.append
        for entry in entries:
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
        return found


class HealthEntries:
    """Reads a page of ControllerListVolumeHealth, part by part; what is said of many volumes becomes one object."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], Condition] = {}

    def read(self, entries: Iterable[pb.VolumeHealth]) -> list[Listed]:
        """Read a part of the entries."""
        return [
            (entry.volume_id, tuple(self._condition(one) for one in entry.health_statuses))
            for entry in entries
        ]

    def _condition(self, sent: pb.VolumeHealth.VolumeHealthEntry) -> Condition:
        key = (sent.status, sent.reason, sent.message)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = condition(sent)
        return found


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
