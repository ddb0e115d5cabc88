"""What a report says it covers, written and read back."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.model.origin import Observer
from volumehealth.model.report import (
    MOST_COVERED,
    Coverage,
    MissingLook,
    Plane,
    VolumeHealthReport,
    coverage_digest,
)
from volumehealth.model.report_json import decode_report, encode_report

UIDS = st.frozensets(st.uuids().map(str), max_size=20)


@given(UIDS, st.sampled_from(Observer), st.sampled_from(Plane))
def test_coverage_is_read_back_as_it_was_written(
    names: frozenset[str], observer: Observer, plane: Plane
) -> None:
    report = VolumeHealthReport("n", plane=plane, coverage=(Coverage.of(observer, names),), complete=names)
    again = decode_report("n", encode_report(report))
    assert (again.coverage, again.complete) == (report.coverage, names)


def test_a_missing_look_is_read_back_as_it_was_written() -> None:
    missing = (MissingLook("d", "shop", "data", "uid", "the agent may not read the kernel log"),)
    assert decode_report("n", encode_report(VolumeHealthReport("n", missing=missing))).missing == missing


def test_very_many_names_are_told_by_their_digest() -> None:
    names = [f"vol-{number}" for number in range(MOST_COVERED + 1)]
    covered = Coverage.of(Observer.DRIVER, names)
    assert (covered.names, covered.count) == (frozenset(), MOST_COVERED + 1)
    assert covered.digest == coverage_digest(reversed(names))


@pytest.mark.parametrize("others", [("a",), ("a", "b", "c"), ("ab",), ()])
def test_other_names_have_another_digest(others: Iterable[str]) -> None:
    assert coverage_digest(("a", "b")) != coverage_digest(others)


def test_an_observer_that_is_not_known_covers_nothing() -> None:
    assert decode_report("n", {"coverage": [{"origin": "Oracle", "claims": ["uid"]}]}).coverage == ()
