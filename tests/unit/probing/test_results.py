"""What one list says: entries of many pages, sorted by what they mean."""

from volumehealth.model.health import Condition
from volumehealth.probing.lists import MAX_CONDITIONS, ListAccumulator, merged

OK: tuple[Condition, ...] = ()
BAD = (Condition("Degraded", "VolumeConditionAbnormal", "offline"),)


def test_entries_are_healthy_bad_silent_or_absent_and_others_are_ignored() -> None:
    tally = ListAccumulator(frozenset("abcd"))
    tally.add((("a", OK), ("b", BAD), ("c", None), ("x", BAD), ("y", None)))
    reading = tally.reading()
    assert reading.healthy == {"a"}
    assert reading.adverse == {"b": BAD}
    assert reading.silent == {"c"}
    assert reading.absent == {"d"}
    assert reading.named == 5


def test_of_duplicates_the_worst_counts_in_any_order() -> None:
    for entries in ([OK, None, BAD], [BAD, None, OK], [None, BAD, OK]):
        tally = ListAccumulator(frozenset("a"))
        tally.add(tuple(("a", entry) for entry in entries))
        assert "a" in tally.reading().adverse
    tally = ListAccumulator(frozenset("a"))
    tally.add((("a", None), ("a", OK)))
    assert tally.reading().silent == {"a"}


def test_an_entry_without_conditions_is_healthy() -> None:
    tally = ListAccumulator(frozenset("ab"))
    tally.add((("a", ()), ("b", (Condition("Inaccessible", "Offline"),))))
    assert tally.reading().healthy == {"a"}
    assert set(tally.reading().adverse) == {"b"}


def test_statements_of_one_kind_are_merged_worst_first_and_bounded() -> None:
    degraded = [Condition("Degraded", f"Reason{number}") for number in range(20)]
    conditions = [*degraded, Condition("DataLoss", "Lost", "one"), Condition("DataLoss", "Lost", "two")]
    result = merged([*conditions, Condition("DataLoss", "Lost", "one"), Condition("Newer", "X")])
    assert result[0] == Condition("DataLoss", "Lost", "one; two")
    assert result[1] == Condition("Newer", "X")
    assert len(result) == MAX_CONDITIONS
    assert merged(reversed(degraded)) == merged(degraded)
