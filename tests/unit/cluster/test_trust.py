"""How far the view is trusted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from volumehealth.cluster.trust import trust
from volumehealth.model.cluster import ViewState

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@dataclass
class Followed:
    name: str
    confirmed: float = 0.0
    synced: bool = True
    error: str = ""

    @property
    def confirmed_at(self) -> datetime:
        return START + timedelta(seconds=self.confirmed)


def state(*resources: Followed, now: float) -> ViewState:
    return trust(resources, now=now, stale_after=90, started=(0.0, START))


def test_the_view_is_as_old_as_its_oldest_part() -> None:
    assert state(Followed("pods", 50), Followed("claims", 20), now=60) == ViewState(complete=True, age=40)


def test_a_part_that_was_not_read_yet_makes_the_view_incomplete_and_not_trusted() -> None:
    found = state(Followed("pods", 50), Followed("claims", synced=False, error="claims is forbidden"), now=60)
    assert found == ViewState(
        complete=False, age=60, stale="claims not read yet: claims is forbidden", stale_since=START
    )


def test_a_part_that_was_not_confirmed_for_too_long_makes_the_view_stale_since_then() -> None:
    found = state(
        Followed("pods", 150),
        Followed("claims", 40),
        Followed("volumes", 30, error="connection refused"),
        now=151,
    )
    assert found.complete
    assert found.age == 121
    assert found.stale == "claims, volumes not confirmed since 2026-11-24T03:00:30Z: connection refused"
    assert found.stale_since == START + timedelta(seconds=30)


def test_an_error_that_is_young_is_no_reason_for_alarm() -> None:
    assert state(Followed("pods", 50, error="connection refused"), now=60).stale == ""
