"""The circuit of a driver: closed, open for ever longer, closed again by one success."""

from datetime import UTC, datetime, timedelta
from random import Random

from volumehealth.probing.breaker import Breaker
from volumehealth.probing.moment import Moment

START = Moment(datetime(2026, 11, 24, 3, 2, tzinfo=UTC), 1000.0)


def breaker() -> Breaker:
    return Breaker(Random(1), max_backoff=300.0)


def fail(breaker: Breaker, now: Moment, *, times: int = 1, least: float = 60.0) -> None:
    for _ in range(times):
        breaker.failed(now, "DEADLINE_EXCEEDED", opens_at=3, least=least)


def test_it_opens_at_the_third_failure_in_a_row() -> None:
    circuit = breaker()
    fail(circuit, START, times=2)
    circuit.ok(START)
    fail(circuit, START, times=2)
    assert not circuit.open
    fail(circuit, START)
    assert circuit.open


def test_it_stays_open_for_ever_longer_five_minutes_at_most() -> None:
    circuit, now, pauses = breaker(), START, []
    fail(circuit, now, times=3)
    for _ in range(6):
        assert circuit.next_try is not None
        pauses.append(circuit.next_try.mono - now.mono)
        now = circuit.next_try
        fail(circuit, now)
    assert [round(pause / 60) for pause in pauses[:2]] == [1, 2]
    assert all(60 <= pause <= 330 for pause in pauses)


def test_it_is_never_open_for_less_than_the_interval() -> None:
    circuit = breaker()
    fail(circuit, START, times=3, least=1800.0)
    assert circuit.next_try is not None
    assert circuit.next_try.mono >= START.mono + 1800.0


def test_calls_that_were_under_way_when_it_opened_do_not_prolong_it() -> None:
    circuit = breaker()
    fail(circuit, START, times=3)
    until = circuit.next_try
    fail(circuit, START.later(1), times=3)
    assert circuit.next_try == until


def test_one_failed_call_is_no_silence_while_the_last_answer_is_fresh() -> None:
    circuit = breaker()
    circuit.ok(START)
    fail(circuit, START.later(60))
    assert not circuit.is_silent(START.later(100), delay=135.0, enough=1)
    assert circuit.is_silent(START.later(136), delay=135.0, enough=1)
    assert not circuit.is_silent(START.later(136), delay=135.0, enough=3)


def test_it_says_since_when_why_and_until_when() -> None:
    circuit = breaker()
    circuit.ok(START)
    assert circuit.sentence(START) == ""
    fail(circuit, START)
    assert circuit.sentence(START.later(60)) == "has not answered since 24 Nov 03:02Z (DEADLINE_EXCEEDED)"
    fail(circuit, START.later(1000), times=2)
    sentence = circuit.sentence(START.later(1000))
    assert sentence.startswith(
        "has not answered since 24 Nov 03:02Z (DEADLINE_EXCEEDED), next try 24 Nov 03:"
    )
    assert "since 24 Nov 03:02Z" in circuit.sentence(START.later(86_400))


def test_a_driver_has_not_been_silent_since_a_moment_that_has_not_come() -> None:
    circuit = breaker()
    fail(circuit, START)
    set_back = Moment(START.wall - timedelta(hours=1), START.mono + 60.0)
    fail(circuit, set_back)
    fail(circuit, set_back.later(7200.0))
    assert circuit.failing_since == Moment(set_back.wall, START.mono)
