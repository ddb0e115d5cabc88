"""What can be asked of a simulated driver in another process, as JSON."""

import msgspec

from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_quirks import Params, Quirk


class SetFault(msgspec.Struct, frozen=True, tag="fault"):
    """Give a volume a fault."""

    volume: str
    fault: Fault
    message: str | None = None
    plane: Plane | None = None


class ClearFault(msgspec.Struct, frozen=True, tag="clear"):
    """Heal a volume: of one fault, or of all."""

    volume: str
    fault: Fault | None = None


class SetHabit(msgspec.Struct, frozen=True, tag="misbehave"):
    """Take up a bad habit."""

    habit: Quirk
    params: Params


class ClearHabit(msgspec.Struct, frozen=True, tag="behave"):
    """Give up a bad habit, or all."""

    habit: Quirk | None = None


class SetBackend(msgspec.Struct, frozen=True, tag="backend"):
    """Say what is wrong with the storage behind the node; an empty map heals it."""

    conditions: dict[str, str]


class Crash(msgspec.Struct, frozen=True, tag="crash"):
    """Vanish, and come back after so many seconds."""

    seconds: float


class Report(msgspec.Struct, frozen=True, tag="stats"):
    """Tell how often each method was called and what is wrong."""


Command = SetFault | ClearFault | SetHabit | ClearHabit | SetBackend | Crash | Report


class Stats(msgspec.Struct, frozen=True):
    """What a driver tells of itself: calls by method, volumes, faults by volume, habits."""

    calls: dict[str, int]
    volumes: list[str]
    faults: dict[str, list[Fault]]
    habits: dict[Quirk, Params]
