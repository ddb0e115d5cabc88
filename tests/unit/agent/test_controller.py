"""What the agent beside a controller wants of its driver, and what it writes of what it heard."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.agent import make_policy
from volumehealth.agent.controller import demand_of, remembered, report_of
from volumehealth.agent.controller_process import election_lease_name
from volumehealth.agent.controller_settings import parse_controller_settings
from volumehealth.errors import SettingsError
from volumehealth.model.health import (
    Answer,
    Condition,
    DriverAnswers,
    DriverState,
    HealthAPI,
    Outcome,
    Source,
    SourceState,
)
from volumehealth.model.report import Plane

DRIVER = "d.example.com"
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
QUIET = Answer(Source.CONTROLLER, Outcome.SILENT, NOW, reason="NotYetAsked", message="not asked yet")


def bad(status: str, at: datetime = NOW) -> Answer:
    return Answer(Source.CONTROLLER, Outcome.ADVERSE, at, conditions=(Condition(status, "Broken", "it is"),))


def heard(state: SourceState = SourceState.ANSWERING, **others: Answer) -> DriverAnswers:
    driver = DriverState(DRIVER, state, NOW, HealthAPI.VOLUME_CONDITION, ("ListVolumes",))
    return DriverAnswers(driver, NOW, frozenset({"well"}), others, QUIET)


def test_only_bad_and_silent_volumes_are_written_worst_first() -> None:
    wanted = frozenset({"well", "slow", "lost", "new"})

    report = report_of(
        DRIVER,
        heard(slow=bad("Degraded"), lost=bad("DataLoss"), gone=bad("Inaccessible")),
        wanted,
        earlier=None,
    )

    assert (report.name, report.plane) == (f"controller.{DRIVER}", Plane.CONTROLLER)
    assert [volume.handle for volume in report.volumes] == ["lost", "slow"]
    assert [volume.handle for volume in report.silent] == ["new"]


def test_a_statement_that_goes_on_keeps_its_time_over_a_restart() -> None:
    first = report_of(DRIVER, heard(slow=bad("Degraded")), frozenset({"slow"}), earlier=None)
    later = bad("Degraded", NOW + timedelta(hours=1))

    again = report_of(DRIVER, heard(slow=later), frozenset({"slow"}), earlier=first)

    assert again == first


def test_that_a_volume_was_bad_is_remembered_until_its_driver_says_something_of_it() -> None:
    """An agent is started anew together with its driver, which does not answer yet."""
    wanted = frozenset({"slow", "well"})
    first = report_of(DRIVER, heard(slow=bad("Degraded")), wanted, earlier=None)
    down = heard(SourceState.UNREACHABLE)

    silent = report_of(DRIVER, down, wanted, earlier=first)
    known = remembered(silent, down, wanted, earlier=first)

    assert silent.volumes == ()
    assert known.volumes == first.volumes
    later = heard(slow=bad("Degraded", NOW + timedelta(hours=1)))
    assert report_of(DRIVER, later, wanted, earlier=known).volumes == first.volumes
    well = heard(slow=Answer(Source.CONTROLLER, Outcome.HEALTHY, NOW))
    assert (
        remembered(report_of(DRIVER, well, wanted, earlier=known), well, wanted, earlier=known).volumes == ()
    )
    nothing = report_of(DRIVER, down, frozenset(), earlier=known)
    assert remembered(nothing, down, wanted, earlier=known).volumes == first.volumes, (
        "its policy is suspended"
    )
    assert remembered(nothing, down, None, earlier=known).volumes == first.volumes, (
        "they may not be listed now"
    )
    assert remembered(silent, down, frozenset({"well"}), earlier=known).volumes == (), "it is gone"


@pytest.mark.parametrize("state", [SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN])
def test_of_a_driver_that_is_down_no_volume_is_named_as_silent(state: SourceState) -> None:
    report = report_of(DRIVER, heard(state), frozenset({"well", "new"}), earlier=None)

    assert report.silent == ()
    assert report.drivers[0].state is SourceState.UNREACHABLE


def test_a_missing_right_is_said_in_the_report_and_nobody_is_healthy() -> None:
    report = report_of(DRIVER, heard(), frozenset(), earlier=None, unable="persistentvolumes: forbidden")

    assert (report.drivers[0].state, report.drivers[0].message) == (
        SourceState.UNREACHABLE,
        "persistentvolumes: forbidden",
    )


def test_the_most_demanding_policy_counts_and_none_means_rest() -> None:
    policies = [
        make_policy("slow", interval="5m", timeout="20s"),
        make_policy("fast", interval="30s", timeout="5s", selector={"drivers": [DRIVER]}),
        make_policy("other", interval="5s", selector={"drivers": ["other.example.com"]}),
        make_policy("off", interval="5s", suspend=True),
        make_policy("node", interval="5s", checks={"controller": {"enabled": False}}),
    ]

    demand = demand_of(policies, DRIVER, frozenset({"a"}), adverse=frozenset())

    assert demand is not None
    assert (demand.interval, demand.timeout) == (timedelta(seconds=30), timedelta(seconds=20))
    assert demand_of(policies[2:], DRIVER, frozenset({"a"}), adverse=frozenset()) is None


def test_a_migrated_volume_of_which_nobody_knows_the_handle_is_not_asked_about() -> None:
    wanted = demand_of([make_policy()], DRIVER, frozenset({"v-1", ""}), adverse=frozenset())
    assert wanted is not None
    assert wanted.volumes == {"v-1"}


@pytest.mark.parametrize("endpoints", [(), ("unix:///a.sock",), ("a=unix:///a.sock", "b=unix:///b.sock")])
def test_it_is_told_of_exactly_one_driver_by_name(endpoints: Any) -> None:
    with pytest.raises(SettingsError, match="--csi-endpoint"):
        parse_controller_settings({"csi_endpoint": endpoints})


def test_the_longest_name_that_csi_allows_makes_a_name_that_kubernetes_allows() -> None:
    settings = parse_controller_settings({"csi_endpoint": ("D.Example.com=unix:///a.sock",)})

    assert election_lease_name(settings.driver) == "volumehealth-election-controller.d.example.com"
    assert len(election_lease_name("d" * 63)) <= 253
