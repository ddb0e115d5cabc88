"""A pause with an end: the policy is suspended until then, and goes on by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.health import make_policy, make_result
from volumehealth.app.policies import PolicyBook
from volumehealth.cluster.objects import RawPolicy
from volumehealth.errors import InvalidSpec
from volumehealth.model.policy import in_force
from volumehealth.oneshot.overview import not_watched
from volumehealth.policy.parse import parse_policy
from volumehealth.report.status import render_status

UNTIL = datetime(2026, 12, 1, 6, tzinfo=UTC)
BEFORE, AFTER = UNTIL - timedelta(hours=1), UNTIL


def raw(spec: dict[str, Any], generation: int = 1) -> RawPolicy:
    metadata = {"name": "storage", "uid": "u", "generation": generation}
    return RawPolicy("storage", "u", generation, {"metadata": metadata, "spec": spec}, {})


def test_a_policy_is_suspended_until_the_moment_and_goes_on_by_itself() -> None:
    book, policy = PolicyBook(), raw({"suspendUntil": "2026-12-01T06:00:00Z"})
    book.refresh([policy], now=0.0, wall=BEFORE)
    assert not book["u"].checks
    assert book.refresh([policy], now=1.0, wall=BEFORE) == (frozenset(), ())
    changed, _ = book.refresh([policy], now=2.0, wall=AFTER)
    assert changed == {"u"}
    assert book["u"].checks
    assert book.refresh([policy], now=3.0, wall=AFTER) == (frozenset(), ())


def test_a_pause_that_is_written_later_or_taken_back_acts_at_once() -> None:
    book = PolicyBook()
    book.refresh([raw({})], now=0.0, wall=BEFORE)
    book.refresh([raw({"suspendUntil": "2026-12-01T06:00:00Z"}, 2)], now=1.0, wall=BEFORE)
    assert not book["u"].checks
    book.refresh([raw({}, 3)], now=2.0, wall=BEFORE)
    assert book["u"].checks


def test_suspend_without_an_end_has_none() -> None:
    forever = make_policy(suspend=True, suspend_until=UNTIL)
    assert in_force(forever, AFTER).spec.suspend
    assert in_force(forever, BEFORE).spec.suspend_until is None


def test_a_spec_that_cannot_be_used_keeps_the_pause_of_the_last_good_one() -> None:
    book = PolicyBook()
    book.refresh([raw({"suspendUntil": "2026-12-01T06:00:00Z"})], now=0.0, wall=BEFORE)
    book.refresh([raw({"interval": "soon"}, 2)], now=1.0, wall=BEFORE)
    assert book["u"].faults
    assert not book["u"].checks
    book.refresh([raw({"interval": "soon"}, 2)], now=2.0, wall=AFTER)
    assert book["u"].checks


@pytest.mark.parametrize("text", ["tomorrow", "2026-12-01", "2026-12-01T06:00:00", 7, True])
def test_a_moment_that_cannot_be_read_is_a_fault_of_its_field(text: object) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.suspendUntil: must be a time with a zone"):
        parse_policy({"metadata": {"name": "a"}, "spec": {"suspendUntil": text}})


def test_ready_and_the_summary_say_until_when() -> None:
    paused = in_force(make_policy(suspend_until=UNTIL), BEFORE)
    status = render_status(
        make_result(policy=paused, judgement=None, now=BEFORE), (), {"summary": ["HEALTHY"]}
    )
    (ready,) = [one for one in status["conditions"] if one["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("True", "Suspended")
    assert "2026-12-01T06:00:00Z" in ready["message"]


def test_the_status_command_says_loudly_that_a_policy_is_paused() -> None:
    held = {"metadata": {"name": "storage"}, "spec": {"suspendUntil": "2026-12-01T06:00:00Z"}, "status": {}}
    assert not_watched([held], BEFORE) == [
        "storage: SUSPENDED until 2026-12-01T06:00:00Z: no checks are made"
    ]
    assert not any("SUSPENDED" in line for line in not_watched([held], AFTER))
