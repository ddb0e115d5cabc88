"""What the simulated driver knows: its volumes, their faults, its habits, and how often it was asked."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from volumehealth.csi import types
from volumehealth_sandbox.driver_faults import ActiveFault, Fault, Plane, activate
from volumehealth_sandbox.driver_quirks import Params, Quirk

GIBIBYTE = 1024**3


class Generation(StrEnum):
    """Which health calls the driver speaks."""

    LEGACY = "legacy"
    """CSI 1.12: VolumeCondition."""
    V1_13 = "1.13"
    """CSI 1.13: health calls of their own."""


_LIFECYCLE = frozenset(
    {
        "CREATE_DELETE_VOLUME",
        "PUBLISH_UNPUBLISH_VOLUME",
        "PUBLISH_READONLY",
        "LIST_VOLUMES",
        "LIST_VOLUMES_PUBLISHED_NODES",
        "GET_CAPACITY",
        "GET_VOLUME",
        "EXPAND_VOLUME",
        "SINGLE_NODE_MULTI_WRITER",
    }
)
_NODE_LIFECYCLE = frozenset(
    {"STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME", "SINGLE_NODE_MULTI_WRITER"}
)
_HEALTH = frozenset({types.VOLUME_CONDITION, types.GET_VOLUME_HEALTH, types.LIST_VOLUME_HEALTH})
CONTROLLER_CAPABILITIES: dict[Generation, frozenset[str]] = {
    Generation.LEGACY: _LIFECYCLE | {types.VOLUME_CONDITION},
    Generation.V1_13: _LIFECYCLE | {types.GET_VOLUME_HEALTH, types.LIST_VOLUME_HEALTH},
}
NODE_CAPABILITIES: dict[Generation, frozenset[str]] = {
    Generation.LEGACY: _NODE_LIFECYCLE | {types.VOLUME_CONDITION},
    Generation.V1_13: _NODE_LIFECYCLE | {types.GET_VOLUME_HEALTH, types.GET_STORAGE_HEALTH},
}


@dataclass(slots=True)
class SimulatedVolume:
    """A volume of the simulated driver.

    Attributes:
        handle: its id.
        name: that CreateVolume was called with.
        capacity: in bytes.
        block: a raw block volume.
        nodes: nodes it is attached to, and whether read-only.
        staged: its staging paths.
        targets: where it is published, and the CSI access mode's number.
        used: bytes in use.
        faults: what is wrong with it now.
    """

    handle: str
    name: str = ""
    capacity: int = GIBIBYTE
    block: bool = False
    nodes: dict[str, bool] = field(default_factory=dict)
    staged: set[str] = field(default_factory=set)
    targets: dict[str, int] = field(default_factory=dict)
    used: int = 0
    faults: dict[Fault, ActiveFault] = field(default_factory=dict)

    def symptoms(self, plane: Plane) -> list[ActiveFault]:
        """Return the faults that one plane sees."""
        return [fault for fault in self.faults.values() if fault.shows_on(plane)]


class DriverState:
    """The simulated driver without its server; survives the server's crash."""

    def __init__(
        self,
        *,
        name: str,
        generation: Generation,
        node_id: str,
        volumes: Iterable[str],
        capabilities: Collection[str] | None,
        node_capabilities: Collection[str] | None,
    ) -> None:
        self.name = name
        self.generation = generation
        self.node_id = node_id
        self.controller = frozenset(
            CONTROLLER_CAPABILITIES[generation] if capabilities is None else capabilities
        )
        self.node = frozenset(
            NODE_CAPABILITIES[generation] if node_capabilities is None else node_capabilities
        )
        self.volumes = {handle: SimulatedVolume(handle, name=handle) for handle in volumes}
        self.habits: dict[Quirk, Params] = {}
        self.backend: dict[str, str] = {}
        """Trouble of the storage behind the node: `StorageDegraded` or `StorageUnreachable`, and its message."""
        self.calls: Counter[str] = Counter()
        self.secrets: dict[str, str] = {}
        """What the last call that can carry secrets carried."""
        self.created = 0
        self._news = asyncio.Event()

    def count(self, method: str) -> None:
        """Note that a method is called."""
        self.calls[method] += 1
        self._news.set()

    async def called(self, method: str, *, times: int = 1) -> None:
        """Wait until a method was called so many times in all."""
        while self.calls[method] < times:
            self._news.clear()
            await self._news.wait()

    def fault(
        self, handle: str, fault: Fault, *, message: str | None = None, plane: Plane | None = None
    ) -> None:
        """Give a volume a fault; a second one comes on top.

        Raises:
            KeyError: if there is no such volume.
        """
        self.volumes[handle].faults[fault] = activate(fault, message=message, plane=plane)

    def clear(self, handle: str, fault: Fault | None = None) -> None:
        """Heal a volume: of one fault, or of all.

        Raises:
            KeyError: if there is no such volume.
        """
        faults = self.volumes[handle].faults
        if fault is None:
            faults.clear()
        else:
            faults.pop(fault, None)

    def misbehave(self, habit: Quirk, params: Params | None = None) -> None:
        """Take up a bad habit, or change its details."""
        self.habits[habit] = params or Params()

    def behave(self, habit: Quirk | None = None) -> None:
        """Give up one bad habit, or all."""
        if habit is None:
            self.habits.clear()
        else:
            self.habits.pop(habit, None)

    def habit(self, habit: Quirk, method: str = "") -> Params | None:
        """Return the details of a habit if the driver has it, for this method if one is named."""
        params = self.habits.get(habit)
        return params if params is not None and (not method or params.covers(method)) else None

    def advertised(self, capabilities: frozenset[str]) -> list[str]:
        """Return what a capabilities call names."""
        hidden = _HEALTH if self.habit(Quirk.HIDES_CAPABILITIES) else frozenset()
        return sorted(capabilities - hidden)

    def create(self, name: str, *, capacity: int, block: bool) -> SimulatedVolume:
        """Add a volume under a handle of its own."""
        self.created += 1
        volume = SimulatedVolume(f"created-{self.created}", name=name, capacity=capacity, block=block)
        self.volumes[volume.handle] = volume
        return volume

    def exists(self, handle: str) -> bool:
        """Tell whether the storage knows a volume."""
        volume = self.volumes.get(handle)
        return volume is not None and Fault.VOLUME_GONE not in volume.faults
