"""What drivers answer, as values. Text is cleaned and bounded; tokens and handles are kept as they came.

Adverse statements are `model.health.Condition`; only what the model does not know is defined here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from volumehealth.model.health import Condition

CONTROLLER_SERVICE = "CONTROLLER_SERVICE"
LIST_VOLUMES = "LIST_VOLUMES"
GET_VOLUME = "GET_VOLUME"
VOLUME_CONDITION = "VOLUME_CONDITION"
LIST_VOLUME_HEALTH = "LIST_VOLUME_HEALTH"
GET_VOLUME_HEALTH = "GET_VOLUME_HEALTH"
GET_VOLUME_STATS = "GET_VOLUME_STATS"
GET_STORAGE_HEALTH = "GET_STORAGE_HEALTH"


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """Who a driver is and what it says it can do.

    Attributes:
        name: as in `spec.csi.driver`; a valid CSI driver name.
        vendor_version: for people only.
        ready: what Probe says.
        controller_service: whether this socket serves the controller plane.
        controller: names of the controller's capabilities, such as `LIST_VOLUMES`; a number this version does
            not know is `UNKNOWN_<number>`.
    """

    name: str
    vendor_version: str
    ready: bool
    controller_service: bool
    controller: frozenset[str]


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Who a node plugin is and what it says it can do.

    Attributes:
        name: as in `spec.csi.driver`.
        vendor_version: for people only.
        node: names of the node plugin's capabilities, such as `GET_VOLUME_STATS`.
    """

    name: str
    vendor_version: str
    node: frozenset[str]


Listed = tuple[str, tuple[Condition, ...] | None]
"""Handle and adverse conditions of an entry: none is explicitly healthy, None that the driver did not say."""


@dataclass(frozen=True, slots=True)
class VolumePage:
    """A page of either generation's list of volumes, in the driver's order; duplicates are kept.

    Attributes:
        entries: what it lists. Each is read when somebody comes to it, so a long page is best gone through in parts.
        next_token: opaque; empty at the end, or with a driver that never sends one (facts D1).
    """

    entries: Collection[Listed]
    next_token: str = ""


class Unit(StrEnum):
    """What a usage counts."""

    BYTES = "bytes"
    INODES = "inodes"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a volume is. Some drivers and kinds of volume send 0 for what they do not know (facts D8)."""

    unit: Unit
    total: int
    used: int
    available: int


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """NodeGetVolumeStats. Usage may be missing, above all from an abnormal volume (facts D8).

    Attributes:
        usage: bytes and inodes.
        conditions: of a legacy driver; none means healthy, None that it did not say.
    """

    usage: tuple[Usage, ...]
    conditions: tuple[Condition, ...] | None


@dataclass(frozen=True, slots=True)
class StorageCondition:
    """An adverse statement about the storage behind a node.

    Attributes:
        status: `StorageDegraded`, `StorageUnreachable`, or a newer value kept as it came.
        reason: CamelCase.
        message: what the driver said.
        access_mode: the kind of volume affected, as Kubernetes names it (`ReadWriteOnce`); empty for all.
        volume_mode: `Filesystem` or `Block`; empty for both.
    """

    status: str
    reason: str
    message: str
    access_mode: str = ""
    volume_mode: str = ""
