"""Which call a driver is asked by follows from its capabilities alone (facts D15, the issue's section 3)."""

import pytest

from volumehealth.csi.types import (
    GET_VOLUME,
    GET_VOLUME_HEALTH,
    LIST_VOLUME_HEALTH,
    LIST_VOLUMES,
    VOLUME_CONDITION,
    DriverInfo,
)
from volumehealth.probing.plan import make_plan

LEGACY = {LIST_VOLUMES, GET_VOLUME, VOLUME_CONDITION}
MODERN = {LIST_VOLUME_HEALTH, GET_VOLUME_HEALTH}


def info(*capabilities: str, controller: bool = True) -> DriverInfo:
    return DriverInfo("sim", "1", True, controller, frozenset(capabilities))


@pytest.mark.parametrize(
    ("capabilities", "list_call", "get_call"),
    [
        (MODERN | LEGACY, "ControllerListVolumeHealth", "ControllerGetVolumeHealth"),
        ({LIST_VOLUME_HEALTH} | LEGACY, "ControllerListVolumeHealth", ""),
        ({GET_VOLUME_HEALTH} | LEGACY, "", "ControllerGetVolumeHealth"),
        (LEGACY, "ListVolumes", "ControllerGetVolume"),
        ({LIST_VOLUMES, VOLUME_CONDITION}, "ListVolumes", ""),
        ({GET_VOLUME, VOLUME_CONDITION}, "", "ControllerGetVolume"),
    ],
)
def test_the_first_call_there_is_in_the_order_1_13_list_get_legacy_list_get(
    capabilities: set[str], list_call: str, get_call: str
) -> None:
    plan = make_plan(info(*capabilities))
    assert plan.able
    assert (plan.list_call if plan.lists else "") == list_call
    assert (plan.get_call if plan.gets else "") == get_call


@pytest.mark.parametrize(
    ("driver", "hint"),
    [
        (info(), "no health capability"),
        (info("CREATE_DELETE_VOLUME", "UNKNOWN_99"), "no health capability"),
        (info(LIST_VOLUMES, GET_VOLUME), "GET_VOLUME and LIST_VOLUMES, but not VOLUME_CONDITION"),
        (info(VOLUME_CONDITION), "neither LIST_VOLUMES nor GET_VOLUME"),
        (info(*LEGACY, controller=False), "no CSI controller"),
    ],
    ids=["nothing", "other things", "no condition", "only a condition", "no controller service"],
)
def test_a_driver_that_can_tell_nothing_is_not_called_and_the_hint_says_what_is_missing(
    driver: DriverInfo, hint: str
) -> None:
    plan = make_plan(driver)
    assert not plan.able
    assert plan.methods == ()
    assert hint in plan.hint


def test_with_list_and_get_a_check_calls_list_alone() -> None:
    assert make_plan(info(*LEGACY)).methods == ("ListVolumes",)
    assert make_plan(info(*LEGACY)).hint == ""


def test_what_would_make_a_driver_tell_more_is_hinted() -> None:
    assert GET_VOLUME in make_plan(info(LIST_VOLUMES, VOLUME_CONDITION)).hint
    assert LIST_VOLUME_HEALTH in make_plan(info(GET_VOLUME_HEALTH)).hint


def test_a_method_that_turned_out_to_be_missing_is_left_out_and_told() -> None:
    plan = make_plan(info(*MODERN, *LEGACY), frozenset({"ControllerListVolumeHealth"}))
    assert plan.methods == ("ControllerGetVolumeHealth",)
    assert "UNIMPLEMENTED to ControllerListVolumeHealth" in plan.message


def test_if_no_promised_method_is_there_the_driver_is_not_called() -> None:
    broken = frozenset({"ListVolumes", "ControllerGetVolume"})
    assert not make_plan(info(*LEGACY), broken).able
