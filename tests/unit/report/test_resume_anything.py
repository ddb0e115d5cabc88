"""A record is what others may edit: whatever it says, it is gone on from or left, and all times stay in range."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.model.clock import LATEST, LONG_AGO
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report_json import decode_report
from volumehealth.report.records import resume

CLAIM = ClaimRef("shop", "a")
SINCE = "2026-11-24T03:02:11Z"
FINDING = {
    "source": "Controller",
    "status": "Inaccessible",
    "reason": "X",
    "since": SINCE,
    "confirmed": SINCE,
}
TIMES = (
    "0001-01-01T00:00:00+05:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "2026-13-40",
    "2016-12-31T23:59:60Z",
    "2026-11-24T03:02:11.999999999999999999Z",
    "2026-11-24t03:02:11z",
    "",
    SINCE,
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(TIMES)
)
NAMES = st.sampled_from(
    (
        "findings",
        "history",
        "episodes",
        "recovered",
        "since",
        "confirmed",
        "time",
        "what",
        "count",
        "clearSince",
        "source",
        "status",
        "reason",
        "node",
        "drivers",
        "volumes",
        "silent",
        "conditions",
        "storage",
        "omitted",
        "driver",
        "volumeHandle",
        "capacityWarnings",
        "plane",
        "methods",
        "name",
        "state",
        "healthAPI",
    )
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("field", ["since", "confirmed", "clearSince", "lastNotifiedAt"])
def test_a_findings_time_is_in_range_or_not_there(field: str, time: str) -> None:
    status = {"policy": "p", "findings": [{**FINDING, field: time}]}
    resumed = resume(CLAIM, "u", msgspec.json.encode(status))
    assert resumed is not None, "a bad time does not lose the finding"
    for finding in resumed.health.findings:
        for moment in (finding.since, finding.confirmed, finding.clear_since, finding.last_notified_at):
            assert moment is None or LONG_AGO <= moment <= LATEST


@pytest.mark.parametrize("time", TIMES)
def test_when_it_recovered_can_be_reckoned_with(time: str) -> None:
    resumed = resume(CLAIM, "u", msgspec.json.encode({"recovered": time, "findings": [FINDING]}))
    assert resumed is not None
    recovered = resumed.health.recovered
    assert recovered is None or recovered + timedelta(hours=999_999) > recovered


@given(JSON)
def test_any_status_is_gone_on_from_or_left(status: Any) -> None:
    resume(CLAIM, "u", msgspec.json.encode(status))


@given(st.binary(max_size=100))
def test_any_bytes_are_gone_on_from_or_left(status: bytes) -> None:
    resume(CLAIM, "u", status)


@given(JSON)
def test_any_report_is_read(status: Any) -> None:
    report = decode_report("n", status)
    for driver in report.drivers:
        assert LONG_AGO <= driver.since <= LATEST
    assert float(report.capacity_warnings) < 2e9
