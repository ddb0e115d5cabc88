"""Words and numbers as a person reads them."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.model.clock import date_and_time
from volumehealth.report.text import clean, fit, listed, span


@given(st.text())
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert cleaned == " ".join(cleaned.split())


@given(st.text(), st.integers(3, 50))
def test_fitted_text_has_the_size_and_stays_utf8(text: str, size: int) -> None:
    text = text.encode(errors="ignore").decode()
    assert len(fit(text, size).encode()) <= size


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (5400, "1h30m"),
        (90000, "1d1h"),
        (-5, "0s"),
    ],
)
def test_a_span_is_written_in_two_units(seconds: int, written: str) -> None:
    assert span(timedelta(seconds=seconds)) == written


def test_a_moment_bears_its_date_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert date_and_time(datetime(2026, 11, 24, 0, 30, tzinfo=zone)) == "23 Nov 22:30Z"


def test_a_list_names_the_first_few() -> None:
    assert listed(["a", "b", "c"], 7, 2) == "a, b, 5 more"
    assert listed(["a"], 1, 2) == "a"
    assert listed([], 0, 2) == ""
