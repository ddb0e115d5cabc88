"""What the simulated driver says of a volume's health, in both generations."""

from collections.abc import Iterable, Sequence

from volumehealth.csi.pb import csi_pb2 as pb
from volumehealth.csi.types import VOLUME_CONDITION
from volumehealth_sandbox.driver_faults import ActiveFault, Plane
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import DriverState, SimulatedVolume

HEALTHY = "volume is in a healthy condition"
_LISTS = ("ListVolumes",)


def condition(
    state: DriverState,
    volume: SimulatedVolume,
    *,
    plane: Plane,
    method: str,
    seen: Sequence[ActiveFault] = (),
) -> pb.VolumeCondition | None:
    """Return what a legacy driver says, of its faults and of what was `seen` besides; None if it leaves it out."""
    capabilities = state.controller if plane is Plane.CONTROLLER else state.node
    nil = state.habit(Quirk.NIL_CONDITION)
    if VOLUME_CONDITION not in capabilities:
        return None
    if nil and method in (nil.methods or _LISTS) and nil.hits(volume.handle):
        return None
    symptoms = [*volume.symptoms(plane), *seen]
    if not symptoms:
        return pb.VolumeCondition(abnormal=False, message=HEALTHY)
    return pb.VolumeCondition(abnormal=True, message=_text(state, "; ".join(_messages(symptoms))))


def statuses(
    state: DriverState, volume: SimulatedVolume, *, plane: Plane, seen: Sequence[ActiveFault] = ()
) -> list[pb.VolumeHealth.VolumeHealthEntry]:
    """Return what a CSI 1.13 driver says, of its faults and of what was `seen` besides; nothing means healthy."""
    return [
        pb.VolumeHealth.VolumeHealthEntry(
            status=_status(state, active),
            reason=_reason(state, active.symptom.reason),
            message=_text(state, active.symptom.message),
        )
        for active in (*volume.symptoms(plane), *seen)
    ]


def _messages(symptoms: Iterable[ActiveFault]) -> Iterable[str]:
    return (active.symptom.message for active in symptoms)


def _status(state: DriverState, active: ActiveFault) -> pb.VolumeHealthErrorType.ValueType:
    future = state.habit(Quirk.UNKNOWN_STATUS)
    return pb.VolumeHealthErrorType.ValueType(future.count or 7) if future else active.symptom.status


def _reason(state: DriverState, reason: str) -> str:
    return f"the reason is: {reason}!" if state.habit(Quirk.DIRTY_TEXTS) else reason


def _text(state: DriverState, message: str) -> str:
    if state.habit(Quirk.CHANGING_TEXTS):
        message = f"{message} (asked {sum(state.calls.values())} times)"
    if state.habit(Quirk.DIRTY_TEXTS):
        message = f"\x1b[31m{message}\x00\r\nand a second line \u202e"
    if huge := state.habit(Quirk.HUGE_TEXTS):
        message = message.ljust(huge.count or 1024**2, "x")
    return message
