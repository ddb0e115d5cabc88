"""What follows from all that was heard, and what stays the same object while it says the same."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from volumehealth.csi.types import GET_VOLUME, LIST_VOLUMES, VOLUME_CONDITION, DriverInfo
from volumehealth.model.health import Answer, Condition, Outcome
from volumehealth.probing.lists import ListResult
from volumehealth.probing.moment import Moment
from volumehealth.probing.plan import make_plan
from volumehealth.probing.spec import ProbeLimits
from volumehealth.probing.store import VolumeStates, VolumeStore

NOW = Moment(datetime(2026, 11, 24, 3, 0, tzinfo=UTC), 1000.0)
HANDLES = frozenset(f"v{number:02}" for number in range(20))
BAD = (Condition("Inaccessible", "Offline", "since 10 s"),)


def board(*capabilities: str) -> VolumeStore:
    info = DriverInfo("sim", "1", True, True, frozenset({VOLUME_CONDITION, *capabilities}))
    board = VolumeStore(make_plan(info), ProbeLimits())
    board.want(HANDLES, frozenset())
    return board


def reading(
    healthy: frozenset[str] = HANDLES, *, adverse: tuple[str, ...] = (), whole: bool = True
) -> ListResult:
    seen = healthy | frozenset(adverse)
    return ListResult(
        wanted=HANDLES,
        healthy=healthy - frozenset(adverse),
        adverse=dict.fromkeys(adverse, BAD),
        absent=HANDLES - seen,
        named=len(seen),
        whole=whole,
        why="" if whole else "it was cut",
    )


def lost(board: VolumeStore, *handles: str, now: Moment = NOW) -> None:
    for handle in handles:
        for _ in range(3):
            board.gets.not_found(handle, now, "gone", enough=3)


def told(view: VolumeStates, handle: str) -> str:
    answer = view.others.get(handle)
    if answer is None:
        return "Healthy" if handle in view.healthy else view.silence
    return answer.reason or answer.conditions[0].reason


def test_before_anything_is_heard_every_volume_was_not_asked_yet() -> None:
    view = board(LIST_VOLUMES).view(NOW)
    assert (view.healthy, dict(view.others), view.silence) == (frozenset(), {}, "NotYetAsked")


def test_a_list_that_says_the_same_leaves_the_same_objects() -> None:
    known = board(LIST_VOLUMES)
    known.listed(reading(adverse=("v00",)), NOW)
    first = known.view(NOW)
    later = reading(adverse=("v00",))
    changed = replace(later, adverse={"v00": (replace(BAD[0], message="since 70 s"),)})
    known.listed(changed, NOW.later(60))
    second = known.view(NOW.later(60))
    assert second.healthy is first.healthy
    assert second.others is first.others
    assert second.others["v00"].at == NOW.wall
    assert second.others["v00"].conditions[0].message == "since 10 s"


def test_an_accusation_by_get_tells_since_when_and_when_it_was_last_made() -> None:
    known = board(GET_VOLUME)
    known.got("v00", BAD, NOW)
    first = known.view(NOW).others["v00"]
    assert (first.at, first.since) == (NOW.wall, NOW.wall)
    known.got("v01", (), NOW.later(30))
    assert known.view(NOW.later(30)).others["v00"] is first
    known.got("v00", (replace(BAD[0], message="since 70 s"),), NOW.later(60))
    again = known.view(NOW.later(60)).others["v00"]
    assert (again.at, again.since) == (NOW.later(60).wall, NOW.wall)
    assert again.conditions == BAD


def test_a_volume_with_a_finding_is_well_as_of_its_own_answer_whatever_others_answer_later() -> None:
    known = board(GET_VOLUME)
    known.want(HANDLES, frozenset({"v00"}))
    known.got("v00", (), NOW)
    known.got("v01", (), NOW.later(300))
    view = known.view(NOW.later(300))
    assert {"v00", "v01"} <= view.healthy
    assert [(handle, answer.outcome, answer.at) for handle, answer in view.others.items()] == [
        ("v00", Outcome.HEALTHY, NOW.wall)
    ]
    known.got("v00", (), NOW.later(360))
    assert known.view(NOW.later(360)).others["v00"].at == NOW.later(360).wall
    known.want(HANDLES, frozenset())
    assert known.view(NOW.later(360)).others == {}


def test_a_list_that_is_too_old_makes_every_answer_outdated() -> None:
    known = board(LIST_VOLUMES)
    known.listed(reading(), NOW)
    assert known.expires(list_age=135, get_age=1) == NOW.mono + 135
    known.expire(NOW.later(136), list_age=135, get_age=1)
    view = known.view(NOW.later(136))
    assert (view.healthy, view.silence) == (frozenset(), "AnswerOutdated")


def test_get_is_asked_about_everything_or_about_what_a_list_leaves_open() -> None:
    assert board(GET_VOLUME).targets == HANDLES
    assert board(LIST_VOLUMES).targets == frozenset()
    known = board(LIST_VOLUMES, GET_VOLUME)
    assert known.targets == frozenset()
    known.listed(reading(HANDLES - {"v00"}), NOW)
    assert known.targets == {"v00"}


def test_an_incomplete_list_says_why_absence_means_nothing() -> None:
    known = board(LIST_VOLUMES)
    known.listed(reading(HANDLES - {"v00"}, whole=False), NOW)
    answer = known.view(NOW).others["v00"]
    assert answer.reason == "ListIncomplete"
    assert "it was cut" in answer.message


def test_what_a_get_said_counts_until_a_list_says_better() -> None:
    known = board(LIST_VOLUMES, GET_VOLUME)
    known.listed(reading(HANDLES - {"v00"}), NOW)
    known.got("v00", BAD, NOW)
    assert told(known.view(NOW), "v00") == "Offline"
    known.listed(reading(), NOW.later(60))
    assert told(known.view(NOW.later(60)), "v00") == "Healthy"


def test_what_a_get_said_first_and_a_list_goes_on_saying_is_as_new_as_the_list() -> None:
    known = board(LIST_VOLUMES, GET_VOLUME)
    known.listed(reading(HANDLES - {"v00"}), NOW)
    known.got("v00", BAD, NOW)
    by_get = known.view(NOW).others["v00"]
    known.listed(reading(adverse=("v00",)), NOW.later(60))
    by_list = known.view(NOW.later(60)).others["v00"]
    assert (by_get.at, by_get.since) == (NOW.wall, NOW.wall)
    assert (by_list.at, by_list.since) == (NOW.wall, None), (
        "without a time of its own: that of the newest list counts"
    )
    known.listed(reading(adverse=("v00",)), NOW.later(120))
    assert known.view(NOW.later(120)).others["v00"] is by_list


def test_an_answer_about_a_volume_that_is_not_wanted_any_more_is_dropped() -> None:
    known = board(GET_VOLUME)
    known.want(frozenset({"v01"}), frozenset())
    known.got("v00", BAD, NOW)
    assert known.view(NOW).others == {}


def test_a_list_read_while_the_demand_changed_tells_only_of_what_is_wanted_now() -> None:
    known = board(LIST_VOLUMES)
    known.want(frozenset({"v01"}), frozenset())
    known.listed(reading(adverse=("v00",)), NOW)
    assert known.view(NOW).healthy == {"v01"}
    assert known.view(NOW).others == {}


def test_not_found_is_believed_from_the_moment_another_volume_answers() -> None:
    known = board(GET_VOLUME)
    known.got("v01", (), NOW)
    lost(known, "v00", now=NOW.later(1))
    assert told(known.view(NOW.later(1)), "v00") == "CallFailed"
    known.got("v01", (), NOW.later(2))
    assert told(known.view(NOW.later(2)), "v00") == "VolumeNotFound"


@pytest.mark.parametrize(("failing", "outage"), [(9, False), (10, True)])
def test_an_outage_takes_ten_volumes_and_half_of_those_asked(failing: int, outage: bool) -> None:
    handles = sorted(HANDLES)
    known = board(GET_VOLUME)
    lost(known, *handles[:failing])
    for handle in handles[failing:]:
        known.got(handle, (), NOW.later(1))
    view = known.view(NOW.later(1))
    assert bool(view.outage) is outage
    assert told(view, handles[-1]) == ("SourceDown" if outage else "Healthy")
    assert told(view, handles[0]) == ("SourceDown" if outage else "VolumeNotFound")


def test_in_an_outage_what_was_explicitly_said_against_a_volume_stays() -> None:
    handles = sorted(HANDLES)
    known = board(GET_VOLUME)
    known.got(handles[19], BAD, NOW)
    for handle in handles[:19]:
        known.gets.failed(handle, NOW, "INTERNAL: no")
    view = known.view(NOW)
    assert told(view, handles[19]) == "Offline"
    assert set(view.others) == {handles[19]}


def test_absences_that_may_become_an_outage_are_not_believed_one_by_one() -> None:
    handles = sorted(HANDLES)
    known = board(LIST_VOLUMES, GET_VOLUME)
    known.listed(reading(frozenset(handles[:10])), NOW)
    lost(known, *handles[10:13])
    assert "VolumeNotFound" not in {told(known.view(NOW), handle) for handle in HANDLES}
    for handle in handles[13:]:
        known.got(handle, (), NOW)
    assert told(known.view(NOW), handles[10]) == "VolumeNotFound"


def test_of_a_driver_that_is_down_only_fresh_explicit_accusations_are_left() -> None:
    known = board(GET_VOLUME)
    known.got("v00", BAD, NOW)
    known.got("v01", (), NOW)
    lost(known, "v02")
    view = known.view(NOW, down=True)
    assert view.healthy == frozenset()
    assert set(view.others) == {"v00"}
    known.expire(NOW.later(136), list_age=135, get_age=135)
    assert known.view(NOW.later(136), down=True).others == {}


def test_every_answer_is_the_controllers() -> None:
    known = board(LIST_VOLUMES)
    known.listed(reading(HANDLES - {"v00"}, adverse=("v01",)), NOW)
    answers: list[Answer] = list(known.view(NOW).others.values())
    assert {answer.source for answer in answers} == {"Controller"}
    assert {answer.outcome for answer in answers} == {Outcome.ADVERSE, Outcome.SILENT}


def test_what_a_list_said_last_grows_no_older_by_what_other_volumes_answer_while_it_fails() -> None:
    """Faults B5: only answered time counts, whichever call gave the answers."""
    known = board(LIST_VOLUMES, GET_VOLUME)
    known.listed(reading(adverse=("v00",)), NOW)
    known.view(NOW)
    known.list_failed()
    for seconds in (60, 120, 180):
        known.got("v01", (), NOW.later(seconds))
        known.gets.failed("v00", NOW.later(seconds), "INTERNAL")
        answer = known.view(NOW.later(seconds)).others["v00"]
        assert (answer.outcome, answer.at, answer.since) == (Outcome.ADVERSE, NOW.wall, NOW.wall)
    known.listed(reading(adverse=("v00",)), NOW.later(240))
    answer = known.view(NOW.later(240)).others["v00"]
    assert (answer.at, answer.since) == (NOW.wall, None), "the list's own time is that of all its answers"


def test_what_a_list_cleared_last_stays_as_old_as_the_list_while_it_fails() -> None:
    known = board(LIST_VOLUMES, GET_VOLUME)
    known.want(HANDLES, frozenset({"v00"}))
    known.listed(reading(), NOW)
    known.view(NOW)
    known.list_failed()
    for seconds in (60, 120, 180):
        known.got("v01", (), NOW.later(seconds))
        known.gets.failed("v00", NOW.later(seconds), "INTERNAL")
        answer = known.view(NOW.later(seconds)).others["v00"]
        assert (answer.outcome, answer.at) == (Outcome.HEALTHY, NOW.wall)
