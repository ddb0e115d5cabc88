"""What `volumehealth check` prints of one check, and how it exits."""

import json
from dataclasses import replace

import pytest

from support.health import make_claim, make_driver, make_finding, make_health, make_result
from unit.report.scenes import SCENES, status_of
from volumehealth.cli.checkoutput import show
from volumehealth.judge.result import CheckResult
from volumehealth.oneshot.check import OneCheck

CLAIM = make_claim()
DEAD = "unix:///run/dead.sock"


def check_of(result: CheckResult) -> OneCheck:
    return OneCheck(result, status_of(result), None)


@pytest.mark.parametrize(
    "message",
    ["cannot read [/dev/sdb]: I/O error", "replica [1] of [red] is lost", "state is :key: and :warning:"],
)
def test_a_drivers_text_is_printed_as_it_is_whatever_it_looks_like(message: str) -> None:
    """A path in square brackets was taken for markup that is closed and never opened, and ended the command."""
    bad = make_health(CLAIM, make_finding(message=message))
    result = make_result([(CLAIM, bad)], drivers=[make_driver(message=message)])
    assert show(check_of(result), "table").count(message) == 2


def test_an_endpoint_that_never_answered_is_printed_and_is_not_healthy() -> None:
    healthy = SCENES["all_healthy"]()
    assert check_of(healthy).exit_status == 0
    found = check_of(replace(healthy, unresolved=(DEAD,)))
    assert f"endpoint {DEAD}: no answer" in show(found, "table")
    assert any(DEAD in one["message"] for one in json.loads(show(found, "json"))["status"]["conditions"])
    assert found.exit_status == 3


def test_an_endpoint_that_never_answered_hides_no_unhealthy_claim() -> None:
    found = check_of(replace(SCENES["three_bad"](), unresolved=(DEAD,)))
    assert found.exit_status == 1
