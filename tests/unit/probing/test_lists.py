"""An absence from a list means different things in the two generations (facts C2)."""

from datetime import UTC, datetime

from volumehealth.model.health import Condition
from volumehealth.probing.lists import ListResult, ListResults
from volumehealth.probing.moment import Moment

NOW = Moment(datetime(2026, 11, 24, 3, 0, tzinfo=UTC), 0.0)
BAD = (Condition("Inaccessible", "Offline"),)
WANTED = frozenset("abc")


def reading(
    healthy: str = "", *, bad: str = "", silent: str = "", named: int = 1, whole: bool = True
) -> ListResult:
    seen = frozenset(healthy) | frozenset(bad) | frozenset(silent)
    return ListResult(
        wanted=WANTED,
        healthy=frozenset(healthy),
        adverse=dict.fromkeys(bad, BAD),
        silent=frozenset(silent),
        absent=WANTED - seen,
        named=named,
        whole=whole,
        why="" if whole else "cut",
    )


def lists(*, legacy: bool, findings: str = "") -> ListResults:
    lists = ListResults(legacy=legacy)
    lists.want(WANTED, frozenset(findings))
    return lists


def test_absent_from_a_legacy_list_is_open_where_get_can_confirm() -> None:
    known = lists(legacy=True)
    for _ in range(3):
        known.take(reading("ab"), NOW, confirmable=True)
        assert known.open == {"c": "NotListed"}
        assert known.missing == frozenset()


def test_absent_from_two_whole_legacy_lists_in_a_row_is_missing() -> None:
    known = lists(legacy=True)
    known.take(reading("ab"), NOW, confirmable=False)
    assert known.open == {"c": "NotListed"}
    known.take(reading("ab"), NOW, confirmable=False)
    assert known.missing == {"c"}
    known.take(reading("abc"), NOW, confirmable=False)
    assert known.missing == frozenset()
    assert known.healthy == WANTED


def test_an_incomplete_list_breaks_the_row_and_leaves_the_absent_open() -> None:
    for legacy in (True, False):
        known = lists(legacy=legacy, findings="c")
        known.take(reading("ab"), NOW, confirmable=False)
        known.take(reading("a", whole=False), NOW, confirmable=False)
        assert known.open == {"b": "ListIncomplete", "c": "ListIncomplete"}
        known.take(reading("ab"), NOW, confirmable=False)
        assert known.open == {"c": "NotListed"}


def test_absent_from_a_whole_1_13_list_and_never_bad_is_healthy() -> None:
    known = lists(legacy=False)
    known.take(reading(bad="a"), NOW, confirmable=True)
    assert known.healthy == {"b", "c"}
    assert known.open == {}


def test_absent_from_a_1_13_list_after_being_bad_is_open_until_get_acquits() -> None:
    known = lists(legacy=False)
    known.take(reading(bad="a"), NOW, confirmable=True)
    for _ in range(3):
        known.take(reading(), NOW, confirmable=True)
        assert known.open == {"a": "NotListed"}
    known.acquit("a")
    assert known.open == {}
    assert known.healthy == WANTED
    known.take(reading(), NOW, confirmable=True)
    assert known.healthy == WANTED


def test_without_get_a_1_13_recovery_takes_two_whole_lists() -> None:
    known = lists(legacy=False)
    known.take(reading(bad="a"), NOW, confirmable=False)
    known.take(reading(), NOW, confirmable=False)
    assert known.healthy == {"b", "c"}
    known.take(reading(), NOW, confirmable=False)
    assert known.healthy == WANTED


def test_a_live_finding_counts_as_having_been_bad_until_it_was_acquitted() -> None:
    known = lists(legacy=False, findings="a")
    known.take(reading(), NOW, confirmable=True)
    assert known.open == {"a": "NotListed"}
    known.acquit("a")
    known.want(WANTED, frozenset("a"))
    known.take(reading(), NOW, confirmable=True)
    assert known.open == {}
    known.take(reading(bad="a"), NOW, confirmable=True)
    known.take(reading(), NOW, confirmable=True)
    assert known.open == {"a": "NotListed"}


def test_an_explicit_healthy_entry_acquits() -> None:
    known = lists(legacy=False, findings="a")
    known.take(reading("a"), NOW, confirmable=True)
    known.take(reading(), NOW, confirmable=True)
    assert known.healthy == WANTED


def test_a_volume_that_is_not_wanted_any_more_is_forgotten() -> None:
    known = lists(legacy=True)
    known.take(reading("a", bad="b"), NOW, confirmable=True)
    known.want(frozenset("a"), frozenset())
    assert known.healthy == {"a"}
    assert not known.adverse
    assert not known.open
