"""A check as JUnit XML: a failure for each finding, an error for each driver that does not answer."""

from pathlib import Path
from xml.etree import ElementTree as Xml

import click
import pytest

from support.health import make_claim, make_driver, make_finding, make_health, make_result
from volumehealth.cli.junit import write_junit
from volumehealth.model.health import SourceState

CLAIM = make_claim()


def test_findings_fail_silent_drivers_are_errors_and_the_numbers_add_up(tmp_path: Path) -> None:
    drivers = [
        make_driver("good.example.com"),
        make_driver("gone.example.com", SourceState.UNREACHABLE, message="DEADLINE_EXCEEDED"),
    ]
    bad = make_health(CLAIM, make_finding(message="not <found> & \x07 gone"))
    result = make_result([(CLAIM, bad)], drivers=drivers, healthy=9, unmonitored={"mute.example.com": 2})
    write_junit(result, str(tmp_path / "out.xml"))
    suite = Xml.parse(tmp_path / "out.xml").getroot()[0]  # noqa: S314 - written by us
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "not <found> &" in str(failure.get("message"))
    assert any(case.get("name") == "9 claims healthy" and len(case) == 0 for case in suite)


def test_a_policy_that_selects_nothing_fails(tmp_path: Path) -> None:
    write_junit(make_result(), str(tmp_path / "out.xml"))
    suite = Xml.parse(tmp_path / "out.xml").getroot()[0]  # noqa: S314 - written by us
    assert suite.get("failures") == "1"


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="cannot be written: No such file or directory"):
        write_junit(make_result(), str(tmp_path / "no" / "out.xml"))


def test_an_endpoint_that_never_answered_is_an_error(tmp_path: Path) -> None:
    """Nobody knows its driver's name, so its claims are only not monitored."""
    result = make_result(healthy=9, unmonitored={"mute.example.com": 2}, unresolved=("unix:///dead.sock",))
    write_junit(result, str(tmp_path / "out.xml"))
    suite = Xml.parse(tmp_path / "out.xml").getroot()[0]  # noqa: S314 - written by us
    assert suite.get("errors") == "1"
    assert "unix:///dead.sock answers" in [case.get("name") for case in suite]
