"""Times that others write: read as they are meant, or refused; nothing computed with one overflows."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.model.clock import LATEST, LONG_AGO, moment_of, parse_rfc3339, rfc3339

MEANT = {
    "2026-11-24T03:02:11Z": datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC),
    "2026-11-24T03:02:11.5Z": datetime(2026, 11, 24, 3, 2, 11, 500_000, tzinfo=UTC),
    "2026-11-24t03:02:11z": datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC),
    "2026-11-24 03:02:11Z": datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC),
    "2026-11-24T03:02:11+05:30": datetime(2026, 11, 23, 21, 32, 11, tzinfo=UTC),
    "2026-11-24T03:02:11-08:00": datetime(2026, 11, 24, 11, 2, 11, tzinfo=UTC),
    "2026-11-24T03:02:11-00:00": datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC),
    "2026-11-24T03:02:11.123456789Z": datetime(2026, 11, 24, 3, 2, 11, 123_456, tzinfo=UTC),
    "2026-11-24T03:02:11." + "9" * 60 + "Z": datetime(2026, 11, 24, 3, 2, 11, 999_999, tzinfo=UTC),
    "2016-12-31T23:59:60Z": datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
    "1970-01-01T00:00:00Z": LONG_AGO,
    "1969-12-31T19:00:00-05:00": LONG_AGO,
    "2200-01-01T00:00:00Z": LATEST,
}

REFUSED = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+05:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-05:00",
    "0000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "2200-01-01T00:00:01Z",
    "2026-13-40T00:00:00Z",
    "2026-13-40",
    "2026-02-30T00:00:00Z",
    "2026-11-24T24:00:00Z",
    "2026-11-24T03:02:61Z",
    "2026-11-24T03:02:11",
    "2026-11-24T03:02:11+99:99",
    "2026-11-24T03:02:11+24:00",
    "2026-11-24T03:02:11+05:00:00",
    "2026-11-24T03:02:11." + "9" * 65 + "Z",
    "2026-11-24T03:02:11.Z",
    "2026-W48-2T03:02:11Z",
    "20261124T030211Z",
    "+12026-11-24T03:02:11Z",
    "٢٠٢٦-11-24T03:02:11Z",
    "2026-11-24T03:02:11Z\n",
    "yesterday",
    "",
)


@pytest.mark.parametrize(("text", "moment"), MEANT.items(), ids=MEANT.keys())
def test_a_time_is_read_as_it_is_meant(text: str, moment: datetime) -> None:
    assert parse_rfc3339(text) == moment


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_time_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)
    assert moment_of(text) is None


@pytest.mark.parametrize(
    "raw", [None, 7, 1.5, True, [], {}, ["2026-11-24T03:02:11Z"], b"2026-11-24T03:02:11Z"]
)
def test_what_is_no_text_is_no_time(raw: object) -> None:
    assert moment_of(raw) is None


DIGITS = st.integers(0, 99).map(lambda number: f"{number:02}")
TIMES = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    st.integers(0, 9999).map(lambda year: f"{year:04}"),
    DIGITS,
    DIGITS,
    st.sampled_from("Tt "),
    DIGITS,
    DIGITS,
    DIGITS,
    st.sampled_from(("", ".", ".5", ".123456789", "." + "1" * 80)),
    st.sampled_from(("", "Z", "z", "+00:00", "-23:59", "+14:00", "+99:99", "+0500")),
)


@given(st.text(max_size=80) | TIMES)
def test_whatever_is_written_gives_a_moment_in_range_or_none(text: str) -> None:
    moment = moment_of(text)
    if moment is not None:
        assert LONG_AGO <= moment <= LATEST
        assert moment.utcoffset() == timedelta(0)
        assert moment + timedelta(days=365 * 150) > moment - timedelta(days=365 * 150)
        assert parse_rfc3339(rfc3339(moment)) == moment.replace(microsecond=0)
