"""What is kept of nodes, attachments and Leases, and what is forgotten."""

from datetime import timedelta

import pytest

from support.health import START, SteppedClock
from volumehealth.cluster.nodeobjects import LeaseRow
from volumehealth.cluster.tables import ErrorTable, LeaseLiveness, LeaseTable, NodeTable
from volumehealth.model.clock import moment_of, rfc3339
from volumehealth.model.cluster import Attachment, Node

FIRST_SIGHTS = {
    "a Lease renewed just now lives as long as it says": (0.0, 180.0),
    "one renewed a minute ago has a minute less": (60.0, 120.0),
    "one that expired long ago is dead": (1000.0, -820.0),
    "one from the future is as good as new": (-1000.0, 180.0),
}


@pytest.mark.parametrize(("age", "left"), FIRST_SIGHTS.values(), ids=FIRST_SIGHTS.keys())
def test_at_first_sight_a_lease_is_as_old_as_it_says(age: float, left: float) -> None:
    seen: dict[str, LeaseLiveness] = {}
    LeaseTable(seen, SteppedClock()).put(LeaseRow("a", rfc3339(START - timedelta(seconds=age)), 180))
    assert seen["a"].until == left


def test_a_change_is_a_sign_of_life_whatever_the_time_in_it() -> None:
    seen: dict[str, LeaseLiveness] = {}
    clock = SteppedClock()
    table = LeaseTable(seen, clock)
    table.put(LeaseRow("a", "1999-01-01T00:00:00Z", 180))
    clock.advance(seconds=50)
    table.put(LeaseRow("a", "1999-01-01T00:00:00Z", 180))
    assert seen["a"].until < 0, "the same again is no sign"
    table.put(LeaseRow("a", "1999-01-01T00:01:00Z", 0))
    assert seen["a"].until == 50 + 180


def test_a_lease_that_was_never_renewed_shows_no_life() -> None:
    seen: dict[str, LeaseLiveness] = {}
    LeaseTable(seen, SteppedClock()).put(LeaseRow("a", "", 180))
    assert seen["a"].until == 0.0


def test_a_lease_whose_time_is_taken_out_of_it_lives_no_longer_for_that() -> None:
    seen: dict[str, LeaseLiveness] = {}
    clock = SteppedClock()
    table = LeaseTable(seen, clock)
    table.put(LeaseRow("a", rfc3339(START), 180))
    clock.advance(seconds=100)
    for renewed in ("", "soon", ""):
        table.put(LeaseRow("a", renewed, 180))
        assert seen["a"].until == 180
    table.put(LeaseRow("a", rfc3339(START), 180))
    assert seen["a"].until == 100 + 180


def test_leases_do_not_push_out_of_memory_the_times_that_are_read_in_every_check() -> None:
    standing = moment_of("2026-11-24T03:00:00.123456Z")
    table = LeaseTable({}, SteppedClock())
    for number in range(3_000):
        table.put(LeaseRow(f"node-{number}", rfc3339(START + timedelta(seconds=number)), 180))
    assert moment_of("2026-11-24T03:00:00.123456Z") is standing


def test_a_node_is_gone_from_its_deletion_until_it_is_back() -> None:
    gone: dict[str, object] = {}
    nodes: dict[str, Node] = {}
    clock = SteppedClock()
    table = NodeTable(nodes, gone, clock)  # type: ignore[arg-type]  # what is in it is looked at below
    table.put(Node("a", "True", START))
    table.drop("a")
    table.drop("never seen")
    assert gone == {"a": clock.monotonic()}
    table.put(Node("a", "True", START))
    assert gone == {}


def test_nodes_that_went_long_ago_are_forgotten() -> None:
    gone: dict[str, object] = {}
    table = NodeTable({}, gone, SteppedClock())  # type: ignore[arg-type]  # as above
    for number in range(5000):
        table.put(Node(f"n-{number}", "True", None))
        table.drop(f"n-{number}")
    assert len(gone) < 5000
    assert "n-4999" in gone


def test_only_attachments_with_an_error_are_kept() -> None:
    rows: dict[str, Attachment] = {}
    table = ErrorTable(rows)
    table.put(Attachment("fine", "pv", "a"))
    table.put(Attachment("bad", "pv", "a", attach_error="no path"))
    assert set(rows) == {"bad"}
    table.put(Attachment("bad", "pv", "a"))
    assert rows == {}
