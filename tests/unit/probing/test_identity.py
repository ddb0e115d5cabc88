"""A driver is identified before it is asked, and anew whenever it may have become another one."""

from dataclasses import replace

from volumehealth.csi.types import GET_VOLUME, LIST_VOLUMES, VOLUME_CONDITION, DriverInfo
from volumehealth.probing.identity import Identity
from volumehealth.probing.spec import ProbeLimits

INFO = DriverInfo("sim", "1", True, True, frozenset({LIST_VOLUMES, GET_VOLUME, VOLUME_CONDITION}))


def identity(given: str = "") -> Identity:
    return Identity(given, ProbeLimits())


def test_it_is_due_at_once_then_every_five_minutes() -> None:
    who = identity()
    assert who.due() <= 0
    assert who.found(INFO, endpoint="here", now=100.0)
    assert who.due() == 400.0
    assert not who.found(INFO, endpoint="here", now=400.0)


def test_a_missing_driver_is_tried_ever_more_rarely_every_thirty_seconds_at_least() -> None:
    who, pauses = identity(), []
    for _ in range(8):
        who.missed(0.0, rest=0.0)
        pauses.append(who.due())
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    who.found(INFO, endpoint="here", now=0.0)
    who.missed(0.0, rest=0.0)
    assert who.due() == 1


def test_a_driver_that_was_kept_busy_in_vain_is_left_in_peace() -> None:
    who = identity()
    who.missed(0.0, rest=135.0)
    assert who.due() == 135.0


def test_a_promise_that_was_broken_is_remembered_until_the_driver_comes_back() -> None:
    who = identity()
    who.found(INFO, endpoint="here", now=0.0)
    who.lacks("ListVolumes")
    assert who.due() <= 0
    assert who.found(INFO, endpoint="here", now=0.0)
    assert who.plan is not None
    assert not who.plan.lists
    who.lost(10.0)
    assert who.found(INFO, endpoint="here", now=10.0)
    assert who.plan.lists


def test_a_call_that_went_and_came_back_without_a_new_connection_is_made_again() -> None:
    """It answers UNIMPLEMENTED before its capabilities are read anew; five minutes later it has the call again."""
    who = identity()
    who.found(INFO, endpoint="here", now=0.0)
    who.lacks("ListVolumes")
    without = replace(INFO, controller=INFO.controller - {LIST_VOLUMES})
    who.found(without, endpoint="here", now=0.0)
    assert who.plan is not None
    assert not who.plan.message
    assert who.found(INFO, endpoint="here", now=300.0)
    assert who.plan.lists


def test_a_driver_that_is_ready_at_times_is_not_asked_again_for_what_it_lacks() -> None:
    who = identity()
    who.found(INFO, endpoint="here", now=0.0)
    who.lacks("ListVolumes")
    for ready in (True, False, True):
        who.found(replace(INFO, ready=ready), endpoint="here", now=0.0)
        assert who.plan is not None
        assert not who.plan.lists


def test_another_driver_at_the_endpoint_is_asked_anew_whatever_it_can() -> None:
    """What was heard of the one is no word about volumes of the other, though they have the same handles."""
    who = identity()
    who.found(INFO, endpoint="here", now=0.0)
    assert who.found(replace(INFO, name="renamed"), endpoint="here", now=400.0)
    assert who.name == "renamed"
    assert not who.found(replace(INFO, name="renamed"), endpoint="here", now=800.0)


def test_a_driver_with_another_name_than_given_is_not_asked() -> None:
    who = identity("other")
    who.found(INFO, endpoint="unix:///here", now=0.0)
    assert who.name == "other"
    assert who.plan is not None
    assert not who.plan.able
    assert who.mismatch == "unix:///here is the endpoint of sim, not of other"
