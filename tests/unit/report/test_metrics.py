"""What is exported: as documented, bounded, and gone with what it was about."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.health import START, SteppedClock, make_claim, make_driver, make_pod, make_policy, make_result
from unit.report.scenes import SCENES, pods_of, status_of, three_bad, three_thousand_bad
from volumehealth.judge.result import Agents, CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import Namespace, SilenceAsked, ViewState
from volumehealth.model.health import SourceState
from volumehealth.model.steps import at_once
from volumehealth.policy.silence import Silences
from volumehealth.report.metrics import Metrics
from volumehealth.report.outputs import MetricsOutput
from volumehealth.report.statuswriter import StatusWriter

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
CONDITIONS = (("Ready", "True"), ("VolumesHealthy", "False"))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def samples(metrics: Metrics, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return a metric's samples by their labels, as a scrape sees them."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(at_once(metrics.render()).decode())
        for sample in family.samples
        if sample.name == f"volumehealth_{name}"
    }


def show(metrics: Metrics, result: CheckResult) -> None:
    metrics.publish(result, CONDITIONS)


def everything() -> Metrics:
    """Metrics with at least one sample of each name."""
    metrics = Metrics()
    metrics.observe_call("a.example.com", "ListVolumes", "OK", 0.1)
    metrics.check_finished("storage", 0.1, START)
    metrics.event_written("VolumeConditionAbnormal", "Created")
    metrics.object_skipped("pods")
    metrics.output_failed("Records")
    metrics.write_done("event", "Done")
    metrics.publish(three_bad(), CONDITIONS, pods_of)
    return metrics


def test_each_unhealthy_claim_has_a_series_and_healthy_ones_have_none(metrics: Metrics) -> None:
    show(metrics, three_bad())
    bad = samples(metrics, "claim_unhealthy")
    assert len(bad) == 3
    assert dict(next(labels for labels in bad if ("persistentvolumeclaim", "cache-3") in labels)) == {
        "namespace": "ci",
        "persistentvolumeclaim": "cache-3",
        "driver": "rook-ceph.rbd.csi.ceph.com",
        "policy": "storage",
        "source": "Node",
        "node": "worker-2",
        "status": "Degraded",
        "reason": "FilesystemReadOnly",
    }


def test_an_unhealthy_claim_names_the_three_workloads_with_the_most_pods(metrics: Metrics) -> None:
    pods = [
        replace(make_pod(f"{name}-{number}"), owner=f"StatefulSet/{name}")
        for name, size in (("one", 1), ("many", 4), ("two", 2), ("three", 3))
        for number in range(size)
    ]
    metrics.publish(three_bad(), CONDITIONS, lambda ref: pods if ref.name == "cache-3" else ())
    assert [dict(labels) for labels in samples(metrics, "claim_workload")] == [
        {"namespace": "ci", "persistentvolumeclaim": "cache-3", "workload": f"StatefulSet/{name}"}
        for name in ("many", "three", "two")
    ]


def test_no_workload_is_named_of_a_claim_that_has_no_series_itself(metrics: Metrics) -> None:
    metrics.publish(three_thousand_bad(), CONDITIONS, lambda ref: [replace(make_pod(), owner="Job/j")])
    unhealthy = {series_claim(labels) for labels in samples(metrics, "claim_unhealthy")}
    assert {series_claim(labels) for labels in samples(metrics, "claim_workload")} == unhealthy


def series_claim(labels: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    named = dict(labels)
    return named["namespace"], named["persistentvolumeclaim"]


def test_counts_of_a_policy_are_those_of_its_status(metrics: Metrics) -> None:
    show(metrics, three_bad())
    claims = samples(metrics, "policy_claims")
    assert claims[("policy", "storage"), ("state", "unhealthy")] == 3
    assert claims[("policy", "storage"), ("state", "unmonitored")] == 3115


def test_a_driver_is_in_the_state_that_tells_most_whichever_policy_was_checked_last(metrics: Metrics) -> None:
    """Faults H26: a policy that switched the controllers off says nothing of how the driver answers the others."""
    answering = make_result(policy=make_policy("all"), drivers=[make_driver()])
    off = make_result(policy=make_policy("off"), drivers=[make_driver(state=SourceState.NOT_CONNECTED)])
    for order in ((answering, off), (off, answering)):
        for result in order:
            show(metrics, result)
        state = {dict(labels)["state"]: value for labels, value in samples(metrics, "driver_state").items()}
        assert (state["Answering"], state["NotConnected"]) == (1, 0)


def test_what_a_suspended_policy_saw_last_says_nothing_of_a_driver_that_another_one_hears(
    metrics: Metrics,
) -> None:
    """Faults H26: the driver did not answer when the policy was suspended, and answers by now."""
    show(metrics, make_result(policy=make_policy("all"), drivers=[make_driver()]))
    down = make_result(policy=make_policy("storage"), drivers=[make_driver(state=SourceState.UNREACHABLE)])
    show(metrics, down)
    show(metrics, SCENES["suspended"]())
    state = {dict(labels)["state"]: value for labels, value in samples(metrics, "driver_state").items()}
    assert (state["Answering"], state["Unreachable"]) == (1, 0)
    metrics.forget("all")
    state = {dict(labels)["state"]: value for labels, value in samples(metrics, "driver_state").items()}
    assert state["Unreachable"] == 1


def test_agents_that_are_silent_are_counted(metrics: Metrics) -> None:
    show(metrics, replace(three_bad(), agents=Agents(14, 12, ("worker-7", "worker-9"))))
    agents = samples(metrics, "policy_agents")
    assert [
        agents[("policy", "storage"), ("state", state)] for state in ("expected", "reporting", "silent")
    ] == [14, 12, 2]


def test_a_condition_is_one_for_the_status_it_has(metrics: Metrics) -> None:
    show(metrics, three_bad())
    condition = samples(metrics, "policy_condition")
    assert condition[("policy", "storage"), ("status", "False"), ("type", "VolumesHealthy")] == 1
    assert condition[("policy", "storage"), ("status", "True"), ("type", "VolumesHealthy")] == 0


def test_three_thousand_bad_claims_show_the_worst_thousand_and_how_many_are_left_out(
    metrics: Metrics,
) -> None:
    show(metrics, three_thousand_bad())
    bad = samples(metrics, "claim_unhealthy")
    assert len(bad) == 1000
    assert {dict(labels)["status"] for labels in bad} == {"DataLoss"}
    assert samples(metrics, "claim_unhealthy_truncated") == {(): 2000}


def test_a_claim_that_changed_hands_has_the_series_of_its_new_policy_only(metrics: Metrics) -> None:
    show(metrics, three_bad())
    taken = replace(three_bad(), policy=make_policy("other"), now=three_bad().now + timedelta(minutes=1))
    show(metrics, taken)
    show(metrics, suspended())
    assert {dict(labels)["policy"] for labels in samples(metrics, "claim_unhealthy")} == {"other"}
    assert samples(metrics, "claim_unhealthy_truncated") == {(): 0}


def test_a_claim_that_a_suspended_policy_held_has_no_series_once_its_next_policy_forgot_it(
    metrics: Metrics,
) -> None:
    """Faults H26: it recovered long ago, and the suspended policy says what it found then."""
    owner_of = {"shop": "other"}
    show(metrics, three_bad())
    metrics.publish(suspended(), CONDITIONS, owner_of=lambda ref: owner_of.get(ref.namespace))
    assert len(samples(metrics, "claim_unhealthy")) == 3
    next_one = make_result(policy=make_policy("other"), now=three_bad().now + timedelta(days=8), healthy=3)
    show(metrics, next_one)
    named = {series_claim(labels) for labels in samples(metrics, "claim_unhealthy")}
    assert named == {("ci", "cache-3")}


def test_a_claim_has_the_series_of_its_owner_while_a_suspended_policy_still_remembers_it(
    metrics: Metrics,
) -> None:
    metrics.publish(replace(three_bad(), policy=make_policy("other")), CONDITIONS, owner_of=lambda _: "other")
    later = replace(suspended(), now=three_bad().now + timedelta(minutes=1))
    metrics.publish(later, CONDITIONS, owner_of=lambda _: "other")
    assert {dict(labels)["policy"] for labels in samples(metrics, "claim_unhealthy")} == {"other"}


def test_another_claim_of_the_same_name_has_no_series(metrics: Metrics) -> None:
    bad = three_bad()
    claims = dict(bad.claims)
    show(metrics, replace(bad, claims=claims))
    ref = make_claim().ref
    claims[ref] = replace(claims[ref], uid="another")
    named = {series_claim(labels) for labels in samples(metrics, "claim_unhealthy")}
    assert named == {("shop", "orders-wal"), ("ci", "cache-3")}


def test_what_recovered_vanishes(metrics: Metrics) -> None:
    show(metrics, three_bad())
    show(metrics, SCENES["all_healthy"]())
    assert samples(metrics, "claim_unhealthy") == {}


def test_every_series_of_a_policy_vanishes_with_it(metrics: Metrics) -> None:
    show(metrics, three_bad())
    show(metrics, replace(three_bad(), policy=make_policy("other")))
    metrics.check_finished("storage", 0.1, START)
    metrics.check_finished("other", 0.1, START)
    metrics.forget("storage")
    assert b'"storage"' not in at_once(metrics.render())
    assert b'"other"' in at_once(metrics.render())


def test_every_series_of_a_driver_vanishes_with_it(metrics: Metrics) -> None:
    metrics.observe_call("a.example.com", "ListVolumes", "OK", 0.1)
    metrics.forget_driver("a.example.com")
    assert b"a.example.com" not in at_once(metrics.render())


def suspended() -> CheckResult:
    """Return what is reported of a suspended policy that had found three claims to be bad."""
    found = three_bad()
    return replace(SCENES["suspended"](), claims=found.claims, remembered=found.healths)


def test_while_a_policy_is_suspended_its_numbers_stay(metrics: Metrics) -> None:
    show(metrics, three_bad())
    show(metrics, suspended())
    assert len(samples(metrics, "claim_unhealthy")) == 3
    assert samples(metrics, "policy_claims")[("policy", "storage"), ("state", "unhealthy")] == 3


def test_what_a_policy_found_that_is_suspended_has_its_series_when_the_operator_starts(
    metrics: Metrics,
) -> None:
    """Faults H26: an alert ended because the operator was started anew."""
    show(metrics, suspended())
    assert len(samples(metrics, "claim_unhealthy")) == 3


def test_a_silence_ends_while_its_policy_is_suspended(metrics: Metrics) -> None:
    """Faults H26: it went on by the time of the last check."""
    asked = Namespace("shop", {}, SilenceAsked(rfc3339(START + timedelta(hours=1)), "", "uid-shop"))
    silences = Silences({}, {}, {"shop": asked}, {})
    show(metrics, replace(three_bad(), silences=silences))
    show(metrics, replace(suspended(), silences=silences))
    assert len(samples(metrics, "claim_unhealthy")) == 1
    show(metrics, replace(suspended(), silences=silences, now=START + timedelta(hours=2)))
    assert len(samples(metrics, "claim_unhealthy")) == 3


async def test_the_conditions_of_a_suspended_policy_are_those_of_its_status(
    metrics: Metrics, queue: WriteQueue, clock: SteppedClock
) -> None:
    """Faults H26: that a driver does not answer was said by the status and by no metric any more."""
    statuses = StatusWriter(queue, clock=clock)
    before, policy = status_of(SCENES["driver_down"]()), SCENES["suspended"]().policy
    statuses.learn(policy, before)
    output = MetricsOutput(metrics, queue, pods_of, lambda _: None, statuses)
    assert list(output.publish(suspended())) == [None]
    shown = samples(metrics, "policy_condition")
    told = {(dict(labels)["type"], dict(labels)["status"]) for labels, value in shown.items() if value}
    there = status_of(SCENES["suspended"](), before)["conditions"]
    assert told == {(one["type"], one["status"]) for one in there}
    assert ("SourcesAvailable", "False") in told


def test_a_suspended_policy_is_not_late(metrics: Metrics) -> None:
    show(metrics, three_bad())
    metrics.check_finished("storage", 0.1, START)
    show(metrics, SCENES["suspended"]())
    assert samples(metrics, "policy_last_check_timestamp_seconds") == {}


def test_calls_are_counted_and_timed_by_driver_method_and_code(metrics: Metrics) -> None:
    metrics.observe_call("a.example.com", "ListVolumes", "OK", 0.1)
    metrics.observe_call("a.example.com", "ListVolumes", "DEADLINE_EXCEEDED", 15)
    labels = (("code", "DEADLINE_EXCEEDED"), ("driver", "a.example.com"), ("method", "ListVolumes"))
    assert samples(metrics, "csi_call_duration_seconds_sum")[labels] == 15


def test_a_view_is_trusted_once_it_is_complete_and_current(metrics: Metrics) -> None:
    trusted = []
    for state in (ViewState(False, 0), ViewState(True, 1), ViewState(True, 99, stale="Pods")):
        metrics.view(state)
        trusted.append(samples(metrics, "view_trusted")[()])
    assert trusted == [0, 1, 0]


def test_no_metric_is_in_the_global_registry() -> None:
    first, second = everything(), Metrics()
    assert b"a.example.com" in at_once(first.render())
    assert b"a.example.com" not in at_once(second.render())


def test_the_page_lists_every_metric_with_its_labels_and_no_other() -> None:
    written = {
        (name, tuple(label for label in re.findall(r"`(\w+)`", labels)), kind)
        for name, kind, labels in re.findall(
            r"^\| `(\w+)` \| (\w+) \| (.*?) \|",
            PAGE.read_text().partition("## Of the node agent")[0],
            re.MULTILINE,
        )
    }
    exported = set()
    for family in everything().registry.collect():
        if family.name.startswith("volumehealth_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            exported.add((name, frozenset(labels), family.type))
    assert {(name, frozenset(labels), kind) for name, labels, kind in written} == exported
