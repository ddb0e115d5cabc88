"""Which call a driver is asked by: decided from its capabilities, told with what would make it tell more.

Capabilities are trusted to call, content to judge (facts D15).
"""

from dataclasses import dataclass

from volumehealth.csi.types import (
    GET_VOLUME,
    GET_VOLUME_HEALTH,
    LIST_VOLUME_HEALTH,
    LIST_VOLUMES,
    VOLUME_CONDITION,
    DriverInfo,
)
from volumehealth.model.health import HealthAPI

LIST_CALLS = {
    HealthAPI.VOLUME_HEALTH: "ControllerListVolumeHealth",
    HealthAPI.VOLUME_CONDITION: "ListVolumes",
}
GET_CALLS = {
    HealthAPI.VOLUME_HEALTH: "ControllerGetVolumeHealth",
    HealthAPI.VOLUME_CONDITION: "ControllerGetVolume",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a driver is asked.

    Attributes:
        api: the generation; NONE if no call is made.
        lists: whether one list tells of all volumes.
        gets: whether single volumes can be asked about: all of them if there is no list, else what it leaves open.
        message: what its capabilities and its behaviour contradict each other in; may be empty.
        hint: what would make it tell more; may be empty.
    """

    api: HealthAPI = HealthAPI.NONE
    lists: bool = False
    gets: bool = False
    message: str = ""
    hint: str = ""

    @property
    def able(self) -> bool:
        """Whether there is any health call to make."""
        return self.lists or self.gets

    @property
    def legacy(self) -> bool:
        """Whether it speaks the generation before CSI 1.13."""
        return self.api is HealthAPI.VOLUME_CONDITION

    @property
    def list_call(self) -> str:
        """Name of the CSI method that lists."""
        return LIST_CALLS[self.api]

    @property
    def get_call(self) -> str:
        """Name of the CSI method that gets."""
        return GET_CALLS[self.api]

    @property
    def methods(self) -> tuple[str, ...]:
        """What a check calls: the list alone where there is one; get only confirms then."""
        if self.lists:
            return (self.list_call,)
        return (self.get_call,) if self.gets else ()


def make_plan(info: DriverInfo, broken: frozenset[str] = frozenset()) -> Plan:
    """Choose the call: 1.13 list, 1.13 get, legacy list, legacy get, none; the first that there is.

    Args:
        info: who the driver is and what it says it can do.
        broken: methods that answered UNIMPLEMENTED although the driver advertises them.
    """
    able = info.controller if info.controller_service else frozenset[str]()
    message = _broken_message(broken)
    for api, list_needs, get_needs in (
        (HealthAPI.VOLUME_HEALTH, {LIST_VOLUME_HEALTH}, {GET_VOLUME_HEALTH}),
        (HealthAPI.VOLUME_CONDITION, {LIST_VOLUMES, VOLUME_CONDITION}, {GET_VOLUME, VOLUME_CONDITION}),
    ):
        lists = able >= list_needs and LIST_CALLS[api] not in broken
        gets = able >= get_needs and GET_CALLS[api] not in broken
        if lists or gets:
            mismatch = _mismatch(api, able) if lists else ""
            return Plan(api, lists, gets, _join(message, mismatch), _hint(api, lists=lists, gets=gets))
    return Plan(message=message, hint=_missing(info, able))


def _broken_message(broken: frozenset[str]) -> str:
    if not broken:
        return ""
    return f"answers UNIMPLEMENTED to {', '.join(sorted(broken))}, which its capabilities advertise"


def _mismatch(api: HealthAPI, able: frozenset[str]) -> str:
    if api is HealthAPI.VOLUME_HEALTH and GET_VOLUME_HEALTH not in able:
        return "advertises LIST_VOLUME_HEALTH without GET_VOLUME_HEALTH, which CSI 1.13 demands with it"
    return ""


def _hint(api: HealthAPI, *, lists: bool, gets: bool) -> str:
    if lists and gets:
        return ""
    if lists:
        wanted = GET_VOLUME_HEALTH if api is HealthAPI.VOLUME_HEALTH else GET_VOLUME
        return f"with {wanted} what its list leaves open would be confirmed sooner than by two lists in a row"
    wanted = LIST_VOLUME_HEALTH if api is HealthAPI.VOLUME_HEALTH else LIST_VOLUMES
    return f"with {wanted} one call would tell of all volumes instead of one call for each"


def _missing(info: DriverInfo, able: frozenset[str]) -> str:
    if not info.controller_service:
        return "this endpoint serves no CSI controller: name the socket of the driver's controller plugin"
    listing = sorted(able & {LIST_VOLUMES, GET_VOLUME})
    if listing and VOLUME_CONDITION not in able:
        return f"it has {' and '.join(listing)}, but not VOLUME_CONDITION: it tells no health by them"
    if VOLUME_CONDITION in able and not listing:
        return "it has VOLUME_CONDITION, but neither LIST_VOLUMES nor GET_VOLUME to tell it by"
    return (
        "its controller has no health capability: LIST_VOLUME_HEALTH or GET_VOLUME_HEALTH (CSI 1.13), or "
        "VOLUME_CONDITION with LIST_VOLUMES or GET_VOLUME; a newer version or a flag of the driver may add one"
    )


def _join(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
