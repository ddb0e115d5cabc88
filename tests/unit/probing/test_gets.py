"""What single volumes answered is kept until it is too old or somebody knows better."""

from datetime import UTC, datetime

from volumehealth.model.health import Condition
from volumehealth.probing.gets import GetOutcome, GetResults
from volumehealth.probing.moment import Moment

NOW = Moment(datetime(2026, 11, 24, 3, 0, tzinfo=UTC), 1000.0)
BAD = (Condition("Inaccessible", "Offline"),)


def said(gets: GetResults, handle: str) -> GetOutcome | None:
    if handle in gets.healthy:
        return GetOutcome.HEALTHY
    return gets.others[handle].said if handle in gets.others else None


def test_the_newest_explicit_answer_counts() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    assert said(gets, "a") is GetOutcome.HEALTHY
    gets.adverse_now("a", NOW, BAD)
    assert said(gets, "a") is GetOutcome.ADVERSE
    gets.nothing_now("a", NOW)
    assert said(gets, "a") is GetOutcome.NOTHING
    gets.healthy_now("a", NOW)
    assert said(gets, "a") is GetOutcome.HEALTHY
    assert gets.others == {}


def test_no_answer_is_no_word_about_the_volume() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    gets.unheard("a", NOW.later(60), "DEADLINE_EXCEEDED")
    assert said(gets, "a") is GetOutcome.HEALTHY
    gets.unheard("b", NOW, "DEADLINE_EXCEEDED")
    assert said(gets, "b") is GetOutcome.FAILED


def test_the_drivers_own_error_is_a_word_about_the_volume() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    gets.failed("a", NOW, "INTERNAL: no")
    assert said(gets, "a") is GetOutcome.FAILED


def test_not_found_changes_nothing_until_it_was_heard_often_enough_in_a_row() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    assert [gets.not_found("a", NOW, "gone", enough=3) for _ in range(2)] == [1, 2]
    assert said(gets, "a") is GetOutcome.HEALTHY
    gets.healthy_now("a", NOW)
    assert [gets.not_found("a", NOW, "gone", enough=3) for _ in range(3)] == [1, 2, 3]
    assert said(gets, "a") is GetOutcome.NOT_FOUND
    assert gets.not_found("a", NOW.later(60), "gone", enough=3) == 3
    assert gets.others["a"].doubted == NOW


def test_what_is_too_old_is_outdated_or_failed_if_the_last_call_did() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    gets.healthy_now("b", NOW)
    gets.healthy_now("c", NOW.later(50))
    gets.unheard("b", NOW.later(60), "DEADLINE_EXCEEDED")
    gets.expire(NOW.later(100), 100)
    assert said(gets, "a") is GetOutcome.HEALTHY
    gets.expire(NOW.later(101), 100)
    assert said(gets, "a") is GetOutcome.OUTDATED
    assert (said(gets, "b"), gets.others["b"].text) == (GetOutcome.FAILED, "DEADLINE_EXCEEDED")
    assert said(gets, "c") is GetOutcome.HEALTHY
    assert gets.oldest() == NOW.later(50).mono


def test_only_another_volumes_explicit_answer_vouches() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    assert not gets.answered_since(NOW.mono, other_than="a")
    gets.failed("b", NOW, "INTERNAL: no")
    gets.nothing_now("c", NOW)
    assert not gets.answered_since(NOW.mono, other_than="a")
    gets.adverse_now("d", NOW, BAD)
    gets.healthy_now("a", NOW)
    assert gets.answered_since(NOW.mono, other_than="a")
    assert gets.answered_since(NOW.mono, other_than="d")
    assert not gets.answered_since(NOW.mono + 1, other_than="a")


def test_the_same_answer_again_is_no_change() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    gets.failed("b", NOW, "INTERNAL: no")
    changes = gets.changes
    gets.healthy_now("a", NOW.later(60))
    gets.failed("b", NOW.later(60), "INTERNAL: no")
    assert gets.changes == changes


def test_who_is_not_asked_any_more_is_forgotten() -> None:
    gets = GetResults()
    gets.healthy_now("a", NOW)
    gets.adverse_now("b", NOW, BAD)
    gets.keep(frozenset({"c"}))
    assert gets.known == 0
    assert gets.oldest() is None
