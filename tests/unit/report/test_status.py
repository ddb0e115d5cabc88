"""A policy's status: honest conditions, nothing cut, and a describe page of bounded length."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.fakeapi import merged
from support.health import (
    DRIVER,
    make_claim,
    make_driver,
    make_finding,
    make_health,
    make_pod,
    make_result,
)
from unit.report.scenes import DRIVERS, SCENES, pods_of, status_of
from volumehealth.judge.groups import UnknownGroup
from volumehealth.judge.policy import Counts
from volumehealth.judge.result import Agents, CheckResult
from volumehealth.model.clock import rfc3339
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.vocabulary import (
    ReadyReason,
    SilenceReason,
    SourcesReason,
    StalledReason,
    VolumesReason,
)
from volumehealth.report.merge import merge_patch
from volumehealth.report.problems import find_problems
from volumehealth.report.records import render
from volumehealth.report.status import differs, printed_lines, render_status

CRDS = Path(__file__).parents[3] / "crds"
AROUND = 13 + 3
"""Lines of kubectl around spec and status: metadata and headings; the heading of the Events."""
SPEC = 8
EVENTS = 10


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in status["conditions"] if one["type"] == kind)
    return found


@pytest.mark.parametrize(
    ("scene", "volumes", "sources", "ready"),
    [
        ("three_bad", "False VolumesUnhealthy", "True AllAvailable", "True Checking"),
        ("driver_wide", "False DriverWideProblem", "True AllAvailable", "True Checking"),
        ("driver_down", "Unknown SomeUnknown", "False DriverUnreachable", "True Checking"),
        ("all_healthy", "True AllHealthy", "True AllAvailable", "True Checking"),
        ("none_monitored", "Unknown NothingMonitored", "Unknown NoSources", "True Checking"),
        ("nothing_selected", "Unknown NothingSelected", "Unknown NoSources", "True Checking"),
        ("all_overridden", "Unknown NothingSelected", "Unknown NoSources", "True Checking"),
        ("suspended", "Unknown Suspended", "Unknown NoSources", "True Suspended"),
        ("never_checked", "Unknown NotYetChecked", "Unknown NoSources", "Unknown NotYetChecked"),
        ("invalid", "True AllHealthy", "True AllAvailable", "False InvalidSpec"),
        ("stale_view", "Unknown SomeUnknown", "False ViewStale", "True Checking"),
    ],
)
def test_conditions_say(scene: str, volumes: str, sources: str, ready: str) -> None:
    status = status_of(SCENES[scene]())
    said = [
        f"{one['type']} {one['status']} {one['reason']}"
        for one in status["conditions"]
        if one["type"] != "Stalled"
    ]
    assert said == [f"VolumesHealthy {volumes}", f"SourcesAvailable {sources}", f"Ready {ready}"]


@pytest.mark.parametrize("scene", SCENES)
def test_every_reason_is_one_of_the_closed_list(scene: str) -> None:
    known = {
        str(reason) for kind in (ReadyReason, SourcesReason, VolumesReason, StalledReason) for reason in kind
    }
    assert {one["reason"] for one in status_of(SCENES[scene]())["conditions"]} <= known


@pytest.mark.parametrize(
    "scene", ["three_bad", "all_healthy", "none_monitored", "driver_down", "driver_wide"]
)
def test_volumes_healthy_always_names_the_unmonitored(scene: str) -> None:
    assert "not monitored" in condition(status_of(SCENES[scene]()), "VolumesHealthy")["message"]


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (
            "three_bad",
            (
                "3 of 297 monitored claims unhealthy, worst Inaccessible/VolumeNotFound "
                "(2 claims of csi-powerstore.dellemc.com)"
            ),
        ),
        ("nothing_selected", "no bound claim of a CSI volume matches spec.selector"),
        (
            "all_overridden",
            "no bound claim of a CSI volume matches spec.selector; 40 matching claims held by other policies",
        ),
    ],
)
def test_volumes_healthy_says_what_is_the_matter(scene: str, words: str) -> None:
    message: str = condition(status_of(SCENES[scene]()), "VolumesHealthy")["message"]
    assert message.partition("; 0 on their nodes' word")[0] == words


def test_volumes_healthy_always_names_how_many_are_healthy_on_their_nodes_word() -> None:
    result = SCENES["all_healthy"]()
    assert "; 0 on their nodes' word; " in condition(status_of(result), "VolumesHealthy")["message"]
    assert result.judgement is not None
    counts = replace(result.judgement.counts, healthy_by_node=290)
    result = replace(result, judgement=replace(result.judgement, counts=counts))
    assert "; 290 on their nodes' word; " in condition(status_of(result), "VolumesHealthy")["message"]


@pytest.mark.parametrize(("healthy", "volumes"), [(40, "True"), (10, "Unknown"), (0, "Unknown")])
def test_new_claims_wait_in_peace_beside_healthy_ones(healthy: int, volumes: str) -> None:
    result = SCENES["all_healthy"]()
    assert result.judgement is not None
    new = UnknownGroup(DRIVER, SilenceReason.NOT_YET_ASKED, "", 2, ())
    counts = Counts(selected=healthy + 2, healthy=healthy, unknown=2)
    judgement = replace(result.judgement, counts=counts, unknown=(new,))

    told = condition(status_of(replace(result, judgement=judgement)), "VolumesHealthy")

    assert told["status"] == volumes
    assert "2" in told["message"]


def test_a_driver_that_was_not_reached_yet_is_not_said_to_answer() -> None:
    drivers = [make_driver("new.example.com", health_api=HealthAPI.NONE, methods=(), message="connecting")]
    status = status_of(make_result(healthy=1, drivers=[make_driver(), *drivers]))
    said = condition(status, "SourcesAvailable")["message"]
    assert said == f"answering: {DRIVER}; connecting: new.example.com"


def test_a_silent_agent_makes_sources_unavailable() -> None:
    result = replace(SCENES["all_healthy"](), agents=Agents(14, 13, ("worker-7",)))
    status = status_of(result)
    assert condition(status, "SourcesAvailable")["reason"] == "AgentSilent"
    assert status["agents"] == {"expected": 14, "reporting": 13, "silent": 1, "silentNames": ["worker-7"]}


SMALL = {name: scene() for name, scene in SCENES.items() if name not in ("three_thousand_bad", "driver_wide")}
scenes = st.sampled_from(sorted(SMALL)).map(SMALL.__getitem__)


@given(scenes, scenes)
def test_a_transition_time_changes_with_the_status_and_with_nothing_else(
    one: CheckResult, two: CheckResult
) -> None:
    before = status_of(one)
    now = one.now + timedelta(minutes=1)
    after = status_of(replace(two, now=now), before)
    kept = {new["type"] for new in after["conditions"]}
    for old in (one for one in before["conditions"] if one["type"] in kept):
        new = condition(after, old["type"])
        same = new["status"] == old["status"]
        assert new["lastTransitionTime"] == (old["lastTransitionTime"] if same else rfc3339(now))


@pytest.mark.parametrize("written", ["2199-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday"])
def test_a_transition_that_has_not_come_yet_is_now(written: str) -> None:
    """A clock that was set back, or somebody who edited the status, left it there."""
    result = SCENES["three_bad"]()
    before = status_of(result)
    for one in before["conditions"]:
        one["lastTransitionTime"] = written
    assert {one["lastTransitionTime"] for one in status_of(result, before)["conditions"]} == {
        rfc3339(result.now)
    }


@given(scenes)
def test_the_same_check_a_minute_later_is_no_news(result: CheckResult) -> None:
    before = status_of(result)
    after = status_of(replace(result, now=result.now + timedelta(minutes=1)), before)
    assert not differs(before, after)


@given(scenes, scenes)
def test_a_merge_patch_makes_the_new_status_of_the_old_one(one: CheckResult, two: CheckResult) -> None:
    before = status_of(one)
    after = status_of(two, before)
    assert merged(before, merge_patch(before, after)) == after


@pytest.mark.parametrize(
    ("scene", "most"), [(scene, 170 if scene == "three_thousand_bad" else 110) for scene in SCENES]
)
def test_the_describe_page_is_short_with_ten_events(scene: str, most: int) -> None:
    """At most 110 lines with three problems on 3,000 claims, 170 with ten problems."""
    assert AROUND + SPEC + printed_lines(status_of(SCENES[scene]())) + EVENTS <= most


@pytest.mark.parametrize("scene", SCENES)
def test_the_last_thirty_lines_hold_the_summary_and_the_events(scene: str) -> None:
    status = status_of(SCENES[scene]())
    assert sorted(status)[-1] == "summary"
    assert 1 + len(status["summary"]) + 2 + EVENTS <= 30


def test_ten_problems_are_listed_and_the_rest_is_counted() -> None:
    status = status_of(SCENES["three_thousand_bad"]())
    assert (len(status["problems"]), status["problemsOmitted"]) == (10, 2)
    assert "problemsOmitted" not in status_of(SCENES["three_bad"]())


def test_each_problem_leads_to_its_runbook_where_people_can_read_it() -> None:
    page = "https://docs.example.com/runbooks.html"
    result = SCENES["three_bad"]()
    status = render_status(result, find_problems(result, pods_of), None, runbooks=page)
    assert [one["runbook"] for one in status["problems"]] == [
        f"{page}#volumenotfound",
        f"{page}#filesystemreadonly",
    ]


def test_four_problems_are_all_listed_however_many_drivers_there_are() -> None:
    claims = [make_claim(f"c{number}") for number in range(4)]
    bad = [
        (claim, make_health(claim, make_finding(reason=f"R{number}"))) for number, claim in enumerate(claims)
    ]
    drivers = [make_driver(f"d{number}.example.com", SourceState.NOT_CONNECTED) for number in range(6)]
    status = status_of(make_result(bad, drivers=drivers))
    assert len(status["problems"]) == 4
    assert len(status["drivers"]) == 6


def test_a_driver_that_needs_a_look_has_a_line_and_others_have_none() -> None:
    down = make_driver("zzz.example.com", SourceState.UNREACHABLE, message="connection refused")
    status = status_of(replace(SCENES["three_bad"](), drivers={one.name: one for one in (*DRIVERS, down)}))
    assert status["drivers"] == ["zzz.example.com: Unreachable since 21 Nov 03:02Z"]


def test_more_drivers_than_ten_are_counted() -> None:
    drivers = [make_driver(f"d{number:02}.example.com", SourceState.UNREACHABLE) for number in range(14)]
    told = status_of(make_result(drivers=drivers))["drivers"]
    assert len(told) == 10
    assert told[-1] == "5 more: kubectl get vhd"


def test_an_endpoint_that_never_answered_makes_sources_unavailable_and_is_named() -> None:
    result = replace(SCENES["all_healthy"](), unresolved=("unix:///csi/dead.sock",))
    status = status_of(result)
    said = condition(status, "SourcesAvailable")
    assert (said["status"], said["reason"]) == ("False", "DriverUnreachable")
    assert "unix:///csi/dead.sock" in said["message"]
    assert status["drivers"] == ["unix:///csi/dead.sock: no answer since the operator started"]


def test_every_condition_names_the_generation_that_it_is_about() -> None:
    for scene in SCENES.values():
        status = status_of(replace(scene(), generation=7))
        assert {one["observedGeneration"] for one in status["conditions"]} == {7}


def test_a_spec_that_cannot_be_used_is_stalled_and_a_usable_one_is_not() -> None:
    bad = status_of(SCENES["invalid"]())
    assert (condition(bad, "Stalled")["status"], condition(bad, "Stalled")["reason"]) == (
        "True",
        "InvalidSpec",
    )
    assert "spec.rules[2].match.message" in condition(bad, "Stalled")["message"]
    assert "Stalled" not in {one["type"] for one in status_of(SCENES["all_healthy"](), bad)["conditions"]}


def test_lines_are_counted_as_kubectl_prints_them() -> None:
    assert printed_lines({"a": 1, "b": {"c": "x", "d": ["y", "z"]}, "e": [{"f": 1, "g": 2}]}) == 1 + 5 + 3


def test_when_the_check_was_is_no_news() -> None:
    old = {"lastCheckTime": "x", "drivers": ["a: Unreachable"]}
    assert not differs(old, {"lastCheckTime": "z", "drivers": ["a: Unreachable"]})
    assert differs(old, {"lastCheckTime": "x", "drivers": ["b: Unreachable"]})


def test_while_suspended_everything_stays_as_it_was() -> None:
    before = status_of(SCENES["three_bad"]())
    after = status_of(SCENES["suspended"](), before)
    for kept in ("claims", "problems", "lastCheckTime"):
        assert after[kept] == before[kept]
    assert after["summary"] == ["SUSPENDED as of 2026-11-23T03:12:11Z", *before["summary"]]
    assert condition(after, "VolumesHealthy")["message"].startswith(
        "not checked since 23 Nov 03:12Z; then False: 3 of 297"
    )
    assert not differs(after, status_of(SCENES["suspended"](), after))


def test_after_suspension_the_summary_is_that_of_the_check() -> None:
    suspended = status_of(SCENES["suspended"](), status_of(SCENES["three_bad"]()))
    assert (
        status_of(SCENES["three_bad"](), suspended)["summary"] == status_of(SCENES["three_bad"]())["summary"]
    )


def test_a_policy_that_was_suspended_while_no_operator_ran_says_since_when_it_was_not_checked() -> None:
    before = status_of(SCENES["all_healthy"]())
    suspended = SCENES["suspended"]()
    after = status_of(replace(suspended, now=suspended.now + timedelta(hours=5)), before)
    message = condition(after, "VolumesHealthy")["message"]
    assert message.startswith("not checked since 23 Nov 03:12Z; then True: ")


@pytest.mark.parametrize("scene", ["invalid", "stale_view"])
def test_what_a_suspended_policy_carries_on_is_what_was_found_and_not_what_was_in_the_way(scene: str) -> None:
    after = status_of(SCENES["suspended"](), status_of(SCENES[scene]()))
    assert after["summary"][0] == "SUSPENDED as of 2026-11-23T03:12:11Z"
    assert not [line for line in after["summary"] if line.startswith(("INVALID SPEC", "STALE VIEW"))]
    assert [line for line in after["summary"] if line.startswith(("HEALTHY", "UNKNOWN"))]


def test_a_policy_that_is_not_checked_says_of_a_faulty_spec_and_of_a_stale_view_what_is_so_now() -> None:
    before = status_of(SCENES["all_healthy"]())
    unchecked = SCENES["suspended"]()
    stale = status_of(replace(unchecked, view=SCENES["stale_view"]().view), before)
    assert stale["summary"][1] == "STALE VIEW PersistentVolumeClaim not confirmed since 23 Nov 03:00Z"
    assert condition(stale, "SourcesAvailable")["reason"] == "ViewStale"

    followed = status_of(unchecked, stale)
    assert followed["summary"] == ["SUSPENDED as of 2026-11-23T03:12:11Z", *before["summary"]]
    said = condition(followed, "SourcesAvailable")
    assert (said["status"], said["reason"]) == ("Unknown", "NoSources")
    assert said["message"] == "no check has finished since the view of the cluster was stale"


def test_a_policy_whose_spec_cannot_be_used_since_the_start_does_not_say_that_its_volumes_are_healthy() -> (
    None
):
    """Faults H22: what the last process found stood there for as long as the spec was not mended."""
    before = status_of(SCENES["all_healthy"]())
    unusable = replace(SCENES["invalid"](), judgement=None)
    after = status_of(unusable, before)
    said = condition(after, "VolumesHealthy")
    assert (said["status"], said["reason"]) == ("Unknown", "NotYetChecked")
    assert said["message"].startswith("not checked since 23 Nov 03:12Z; then True: ")
    sources = condition(after, "SourcesAvailable")
    assert (sources["status"], sources["reason"]) == ("Unknown", "NoSources")
    assert after["summary"][1:] == ["NOT CHECKED since 2026-11-23T03:12:11Z", *before["summary"]]
    assert after["claims"] == before["claims"]
    assert not differs(after, status_of(unusable, after))
    suspended = condition(status_of(SCENES["suspended"](), after), "VolumesHealthy")
    assert (suspended["reason"], suspended["message"]) == ("Suspended", said["message"])
    mended = status_of(SCENES["all_healthy"](), after)
    assert (mended["summary"], condition(mended, "VolumesHealthy")["status"]) == (before["summary"], "True")


def test_the_observed_generation_is_that_of_the_object() -> None:
    assert status_of(SCENES["all_healthy"]())["observedGeneration"] == 3
    assert status_of(replace(SCENES["invalid"](), generation=4))["observedGeneration"] == 4


def test_a_status_stays_below_256_kib_whatever_drivers_say() -> None:
    huge = "😀" * 100_000
    claims = [make_claim(f"{'c' * 240}{number}", driver=f"d{number}" * 50) for number in range(500)]
    bad = [(claim, make_health(claim, make_finding(reason=huge, message=huge))) for claim in claims]
    drivers = [
        make_driver(claim.driver, SourceState.UNREACHABLE, message=huge, hint=huge) for claim in claims
    ]
    status = status_of(make_result(bad, drivers=drivers))
    assert len(msgspec.json.encode(status)) < 256 * 1024


@pytest.mark.parametrize("scene", SCENES)
def test_every_field_of_a_status_is_in_the_crd(scene: str) -> None:
    status = status_of(SCENES[scene](), status_of(SCENES["three_bad"]()))
    assert unknown_fields(status, _schema("volumehealthpolicies")) == []


def test_every_field_of_a_record_is_in_the_crd() -> None:
    claim = make_claim()
    finding = make_finding(stale=True, node="n", clear_since=make_finding().since)
    health = make_health(claim, finding, recovered=finding.since, unknown_reason="R", unknown_message="m")
    record = render(health, claim=claim, policy="p", pods=[make_pod()], notified=lambda one: one.since)
    assert unknown_fields(record["status"], _schema("volumehealths")) == []


def _schema(plural: str) -> Any:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


def unknown_fields(value: Any, schema: Any, path: str = "status") -> list[str]:
    """List what a value has and the schema has not, or has with another type."""
    match value:
        case dict():
            known = schema.get("properties", {})
            faults = [f"{path}.{name} is unknown" for name in value.keys() - known.keys()]
            faults += [f"{path}.{name} is missing" for name in set(schema.get("required", ())) - value.keys()]
            for name in value.keys() & known.keys():
                faults += unknown_fields(value[name], known[name], f"{path}.{name}")
            return faults
        case list():
            return [
                fault for one in value for fault in unknown_fields(one, schema.get("items", {}), f"{path}[]")
            ]
        case _:
            types = {"string": str, "integer": int, "boolean": bool}
            return [] if isinstance(value, types[schema["type"]]) else [f"{path} is of another type"]


def test_claims_that_are_healthy_on_their_nodes_word_are_counted_apart() -> None:
    counts = Counts(selected=5, healthy=5, healthy_by_node=3)
    claims = status_of(make_result(healthy=5, judgement={"counts": counts}))["claims"]
    assert (claims["healthy"], claims["healthyByNode"]) == (5, 3)
    assert "healthyByNode" not in status_of(make_result(healthy=5))["claims"]
