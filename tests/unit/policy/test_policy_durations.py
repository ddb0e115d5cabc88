"""Durations: what is written is read again, and only that."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.policy.durations import format_duration, parse_duration

READ = {
    "0s": timedelta(),
    "90s": timedelta(seconds=90),
    "2m": timedelta(minutes=2),
    "1h30m": timedelta(minutes=90),
    "5ms": timedelta(milliseconds=5),
    "5m5ms": timedelta(minutes=5, milliseconds=5),
    "168h": timedelta(days=7),
}


@pytest.mark.parametrize("text", READ)
def test_a_duration_is_read(text: str) -> None:
    assert parse_duration(text) == READ[text]


@pytest.mark.parametrize(
    "text", ["", "5", "s", "1d", "1.5h", "-1s", "+1s", "1m ", "1m\n", "1s1m", "1m1m", "1234567s"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 90s"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=366 * 24 * 3600 * 1000))
def test_what_is_written_is_read_again(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


def test_the_shortest_form_is_written() -> None:
    assert format_duration(timedelta(seconds=5400)) == "1h30m"
    assert format_duration(timedelta()) == "0s"
    assert format_duration(timedelta(microseconds=1)) == "0s"


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))
