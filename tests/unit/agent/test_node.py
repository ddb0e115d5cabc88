"""What a node's agent reports of drivers that are in use on its node and cannot be asked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from volumehealth.agent.node import gone_driver
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.report import ReportedDriver

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
WELL = ReportedDriver(
    "d.example.com",
    SourceState.ANSWERING,
    NOW - timedelta(days=1),
    HealthAPI.VOLUME_HEALTH,
    ("NodeGetVolumeHealth",),
)


def test_what_a_driver_could_tell_is_not_lost_because_it_does_not_register() -> None:
    gone = gone_driver(WELL.name, "not registered", WELL, NOW)
    assert gone == replace(WELL, state=SourceState.UNREACHABLE, since=NOW, message="not registered")
    later = gone_driver(WELL.name, "the registry cannot be read", gone, NOW + timedelta(hours=1))
    assert later == replace(gone, message="the registry cannot be read")


def test_of_a_driver_that_never_registered_it_is_not_known_what_it_can_tell() -> None:
    never = gone_driver("d.example.com", "not registered", None, NOW)
    assert (never.state, never.health_api, never.since) == ("Unreachable", HealthAPI.NONE, NOW)
