"""A driver is asked evenly over the interval, and never more than its share of the time (facts D3)."""

import math
from random import Random

import pytest

from volumehealth.probing.pace import NEVER, AgeLimit, DutyCycle, GetQueue, ListTimer, RoundMeter

HANDLES = frozenset(f"v{number:02}" for number in range(20))


def queue(handles: frozenset[str] = HANDLES) -> GetQueue:
    queue = GetQueue(Random(1), jitter=0.05)
    queue.retarget(handles)
    return queue


def drain(queue: GetQueue, now: float, *, interval: float = 60.0) -> list[str]:
    taken = queue.take(now, 1000)
    for handle in taken:
        queue.asked(handle, now, interval=interval)
    return taken


def test_the_rest_is_nine_times_the_work() -> None:
    duty = DutyCycle(0.1)
    duty.worked(100.0, 102.0)
    assert duty.rest_until == pytest.approx(120.0)


def test_overlapping_work_never_shortens_a_rest() -> None:
    duty = DutyCycle(0.1)
    duty.worked(100.0, 110.0)
    duty.worked(109.0, 110.0)
    assert duty.rest_until == pytest.approx(200.0)


def test_with_all_of_the_time_there_is_no_rest() -> None:
    duty = DutyCycle(1.0)
    duty.worked(100.0, 110.0)
    assert duty.rest_until == 110.0


def test_the_first_list_is_due_at_once_the_second_within_an_interval_the_others_after_one() -> None:
    timer = ListTimer(Random(1), jitter=0.05)
    assert timer.due == -math.inf
    timer.started(0.0, 60.0)
    assert 30.0 <= timer.due <= 60.0
    timer.started(60.0, 60.0)
    assert 60.0 + 57.0 <= timer.due <= 60.0 + 63.0


def test_a_shorter_interval_counts_from_the_last_list() -> None:
    timer = ListTimer(Random(1), jitter=0.05)
    timer.started(0.0, 60.0)
    timer.started(100.0, 600.0)
    timer.shorten_interval(60.0)
    assert timer.due == 160.0


def test_every_volume_is_asked_once_an_interval_evenly_spread() -> None:
    gets = queue()
    assert len(drain(gets, 0.0)) == 20
    asked = [len(drain(gets, float(second))) for second in range(1, 301)]
    rounds = [sum(asked[start : start + 60]) for start in range(60, 300, 60)]
    assert all(18 <= count <= 22 for count in rounds)
    assert max(asked) <= 3


def test_what_is_late_is_asked_in_turn() -> None:
    gets = queue()
    drain(gets, 0.0)
    order = []
    for step in range(40):
        for handle in gets.take(1000.0 + step, 1):
            order.append(handle)
            gets.asked(handle, 1000.0 + step, interval=1.0)
    assert sorted(order[:20]) == sorted(HANDLES)
    assert sorted(order[20:]) == sorted(HANDLES)


def test_a_new_volume_comes_before_those_whose_turn_it_is_and_a_doubtful_one_before_both() -> None:
    gets = queue()
    drain(gets, 0.0)
    gets.retarget(HANDLES | {"new"})
    gets.soon("v07", 70.0)
    assert gets.take(100.0, 2) == ["v07", "new"]


def test_a_volume_in_flight_is_not_asked_twice() -> None:
    gets = queue(frozenset({"v"}))
    assert gets.take(0.0, 4) == ["v"]
    assert gets.take(1000.0, 4) == []
    assert gets.next_due() == NEVER


def test_a_volume_that_is_not_wanted_any_more_is_not_asked() -> None:
    gets = queue(frozenset({"a", "b"}))
    drain(gets, 0.0)
    gets.retarget(frozenset({"b"}))
    assert drain(gets, 1000.0) == ["b"]
    gets.soon("a", 0.0)
    assert gets.take(2000.0, 4) == ["b"]
    gets.retarget(frozenset())
    gets.asked("b", 2000.0, interval=60.0)
    assert len(gets) == 0
    assert gets.next_due() == NEVER


def test_volumes_that_come_and_go_while_nobody_asks_leave_nothing_behind() -> None:
    asked = GetQueue(Random(1), jitter=0.05)
    for number in range(50):
        asked.retarget({f"v{number}"})
    assert [*asked._new, *asked._unordered] == [["v49"]]
    assert asked.take(0.0, 100) == ["v49"]


def test_a_shorter_interval_brings_turns_forward() -> None:
    gets = queue()
    drain(gets, 0.0, interval=6000.0)
    gets.shorten_interval(0.0, 60.0)
    assert len(drain(gets, 60.0)) == 20


def test_a_round_lasts_the_interval_unless_the_duty_rule_makes_it_longer() -> None:
    meter = RoundMeter(in_flight=4, duty=0.1)
    assert meter.seconds(1000, 60.0) == 60.0
    meter.batch(0.1)
    assert meter.seconds(100, 60.0) == 60.0
    assert meter.seconds(1000, 60.0) == pytest.approx(250.0)


def test_what_people_are_told_of_a_round_is_steady() -> None:
    meter = RoundMeter(in_flight=4, duty=0.1)
    meter.batch(0.1)
    assert meter.shown(1000, 60.0) == 250.0
    meter.batch(0.12)
    assert meter.shown(1000, 60.0) == 250.0
    for _ in range(50):
        meter.batch(0.2)
    assert meter.shown(1000, 60.0) == pytest.approx(500.0, abs=130)
    assert meter.shown(10, 60.0) == 60.0


def test_a_longer_age_holds_at_once_and_a_shorter_one_once_it_has_passed() -> None:
    age = AgeLimit()
    assert age.seconds(100.0, 0.0) == 100.0
    assert age.seconds(1000.0, 1.0) == 1000.0
    assert age.changes_at == NEVER
    assert age.seconds(100.0, 10.0) == 1000.0
    assert age.changes_at == 110.0
    assert age.seconds(90.0, 109.0) == 1000.0
    assert age.seconds(90.0, 110.0) == 90.0
    assert age.changes_at == NEVER


def test_an_age_that_grows_again_is_no_shorter_one_any_more() -> None:
    age = AgeLimit()
    age.seconds(1000.0, 0.0)
    age.seconds(100.0, 10.0)
    assert age.seconds(1000.0, 50.0) == 1000.0
    assert age.changes_at == NEVER
    assert age.seconds(100.0, 120.0) == 1000.0
