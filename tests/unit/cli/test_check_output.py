"""What `volumehealth check` prints of one check, and how it exits."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from support.health import START, make_claim, make_driver, make_finding, make_health, make_result
from unit.report.scenes import SCENES, status_of
from volumehealth.cli.check import check
from volumehealth.cli.checkoutput import show
from volumehealth.judge.result import CheckResult
from volumehealth.model.health import Pending
from volumehealth.model.origin import Source
from volumehealth.oneshot.check import OneCheck, Question
from volumehealth.settings import Settings

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


def test_what_may_not_be_read_is_named() -> None:
    """Agents' reports that were out of sight made every claim as healthy as its driver said."""
    found = replace(check_of(SCENES["all_healthy"]()), not_read=("volumehealthreports", "leases"))
    assert "NOT READ  your rights do not show volumehealthreports, leases" in show(found, "table")
    assert json.loads(show(found, "json"))["notRead"] == ["volumehealthreports", "leases"]
    assert "NOT READ" not in show(check_of(SCENES["all_healthy"]()), "table")


def test_what_a_rule_waits_for_is_shown() -> None:
    """A driver's word that a built-in rule believes after 15 minutes was nowhere: a check has no 15 minutes."""
    wait = Pending(
        Source.CONTROLLER,
        "Inaccessible",
        "NotAttached",
        "host a is not attached",
        START,
        after=timedelta(minutes=15),
    )
    found = check_of(make_result([(CLAIM, make_health(CLAIM, pending=(wait,)))]))
    assert json.loads(show(found, "json"))["unhealthy"] == []
    words = "shop/orders-db: Inaccessible/NotAttached (Controller): host a is not attached; a rule waits 15m"
    assert words in show(found, "table")
    (row,) = json.loads(show(found, "json"))["waiting"]
    assert (row["name"], row["reason"], row["confirmedAfterSeconds"]) == ("orders-db", "NotAttached", 900)


def test_no_name_of_an_unhealthy_claim_is_cut() -> None:
    claim = make_claim("data-" * 40 + "0", namespace="team-" * 12 + "a")
    found = check_of(make_result([(claim, make_health(claim, make_finding()))]))
    assert "…" not in show(found, "table")


def test_the_agents_are_looked_for_where_the_operator_is_said_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked for their Leases where it ran itself: all were dead, and the claims not monitored."""
    asked: list[Settings] = []

    async def run(settings: Settings, _: Question) -> OneCheck:
        asked.append(settings)
        return check_of(SCENES["all_healthy"]())

    monkeypatch.setattr("volumehealth.oneshot.check.run", run)
    monkeypatch.setattr("volumehealth.cli.check.configure_logs", lambda **_: None)
    assert CliRunner().invoke(check, ["--operator-namespace=ops"]).exit_code == 0
    assert CliRunner().invoke(check, ["--junit=/nonexistent/x"]).output.startswith("driver ")
    assert [one.namespace for one in asked] == ["ops", "volumehealth-system"]


def test_an_endpoint_that_never_answered_hides_no_unhealthy_claim() -> None:
    found = check_of(replace(SCENES["three_bad"](), unresolved=(DEAD,)))
    assert found.exit_status == 1
