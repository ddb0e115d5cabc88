"""What Kubernetes' objects say against volumes: when a node has failed, and who is accused of what."""

from datetime import datetime, timedelta

import pytest

from support.health import (
    DRIVER,
    START,
    SteppedClock,
    make_claim,
    make_pod,
)
from support.planes import PlainCluster
from volumehealth.model.cluster import ApiConditions, Attachment, Node, NodeDrivers, Pod
from volumehealth.model.health import Answer, Condition, Outcome, Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.policy import Checks, PlaneCheck, Policy, PolicySpec
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Members
from volumehealth.sources.claimhealth import ClaimHealthStatus
from volumehealth.sources.clusterobjects import ClusterObjects
from volumehealth.sources.context import Context
from volumehealth.sources.kubernetes import (
    Missing,
    NodeTrouble,
    api_conditions_of_pods,
    failed_attachments,
    node_failures,
    troubled_nodes,
    unregistered_drivers,
)
from volumehealth.sources.moments import Moment
from volumehealth.sources.source import Asked
from volumehealth.sources.usage import Usage

AFTER = timedelta(minutes=5)
NOW = START + timedelta(hours=1)
SECOND = timedelta(seconds=1)
BROKEN = Condition("Degraded", "PathDown", "one path is down")


def used(*pods: Pod, claims: int = 1) -> Usage:
    """Who uses what, in a cluster of `claims` claims named db-0, db-1, ..."""
    cluster = PlainCluster(SteppedClock())
    cluster.add(*(make_claim(f"db-{number}") for number in range(claims)))
    for pod in pods:
        cluster.run(pod)
    usage = Usage(cluster.claims, cluster.pods_of)
    at_once(usage.update(None, 0.0))
    return usage


READINESS: dict[str, tuple[Node, bool | None]] = {
    "Ready": (Node("a", "True", NOW - AFTER), None),
    "not Ready for 1 s less than it takes": (Node("a", "False", NOW - AFTER + SECOND), False),
    "not Ready for just as long as it takes": (Node("a", "False", NOW - AFTER), True),
    "not Ready for 1 s longer": (Node("a", "False", NOW - AFTER - SECOND), True),
    "Unknown for 1 s less than it takes": (Node("a", "Unknown", NOW - AFTER + SECOND), False),
    "Unknown for 1 s longer": (Node("a", "Unknown", NOW - AFTER - SECOND), True),
    "not Ready since a time that is still to come": (Node("a", "False", NOW + timedelta(days=1)), False),
    "not Ready since nobody knows when": (Node("a", "False", None), False),
    "no Ready condition yet": (Node("a", "", None), None),
}


@pytest.mark.parametrize(("node", "failed"), READINESS.values(), ids=READINESS.keys())
def test_a_node_has_failed_once_it_was_not_ready_for_long_enough(node: Node, failed: bool | None) -> None:
    troubles = troubled_nodes([node], {}, now=NOW)
    lasted = [NOW - trouble.since >= AFTER for trouble in troubles.values()]
    assert lasted == ([] if failed is None else [failed])
    assert all(trouble.since <= NOW for trouble in troubles.values())


def at(seconds: float, *, wall: datetime | None = None) -> Moment:
    return Moment(wall or NOW + timedelta(seconds=seconds), 1000.0 + seconds)


def test_a_node_that_is_gone_counts_from_its_deletion_or_from_the_first_look() -> None:
    missing = Missing()
    kept = {"kept": Node("kept", "True", START)}
    first = missing.since(["kept", "seen", "found"], kept, {"seen": 760.0}, at(0))
    assert first == {"seen": NOW - timedelta(minutes=4), "found": NOW}
    later = missing.since(["found"], {}, {}, at(300))
    assert later == {"found": NOW}, "the first look is remembered"
    assert troubled_nodes([], later, now=NOW + AFTER)["found"].since == NOW


def test_a_node_that_is_back_is_not_missing_any_more_and_starts_anew() -> None:
    missing = Missing()
    missing.since(["a"], {}, {}, at(0))
    assert missing.since(["a"], {"a": Node("a", "True", NOW)}, {}, at(1)) == {}
    assert missing.since(["a"], {}, {}, at(300)) == {"a": NOW + AFTER}


def test_our_own_clock_that_is_set_ahead_makes_no_deletion_older() -> None:
    tomorrow = NOW + timedelta(days=1)
    assert Missing().since(["a"], {}, {"a": 990.0}, at(0, wall=tomorrow)) == {"a": tomorrow - 10 * SECOND}


def failures(troubles: dict[str, NodeTrouble], usage: Usage) -> list[tuple[str, Answer]]:
    said = node_failures(troubles, usage, drivers=[DRIVER], after=AFTER, now=NOW)
    return [(ref.name, answer) for ref, answer in said]


def test_a_failed_node_is_told_at_once_and_since_its_own_transition() -> None:
    usage = used(make_pod("p", node="a", claim="db-0"))
    since = NOW - timedelta(minutes=6)
    ((name, answer),) = failures({"a": NodeTrouble(since, "gone dark")}, usage)
    assert name == "db-0"
    assert (answer.source, answer.node, answer.since, answer.delay) == (
        Source.KUBERNETES,
        "a",
        since,
        AFTER,
    )
    assert answer.observer is Observer.API
    assert [(said.status, said.reason) for said in answer.conditions] == [("Inaccessible", "NodeFailed")]


def test_only_claims_in_use_there_are_touched() -> None:
    usage = used(
        make_pod("p", node="a", claim="db-0"),
        make_pod("q", node="b", claim="db-1"),
        make_pod("r", node="", claim="db-2"),
        claims=4,
    )
    names = [name for name, _ in failures({"a": NodeTrouble(START, "")}, usage)]
    assert names == ["db-0"]


def test_twenty_nodes_at_once_accuse_each_its_own_claims() -> None:
    pods = [make_pod(f"p-{number}", node=f"n-{number}", claim=f"db-{number}") for number in range(30)]
    usage = used(*pods, claims=30)
    troubles = {f"n-{number}": NodeTrouble(START, "") for number in range(20)}
    assert sorted(name for name, _ in failures(troubles, usage)) == sorted(f"db-{n}" for n in range(20))


def unregistered(usage: Usage, *registered: str, failed: bool = False) -> list[tuple[str, str]]:
    csinodes = {"a": NodeDrivers("a", frozenset(registered))}
    troubles = {"a": NodeTrouble(START, "")} if failed else {}
    said = unregistered_drivers(csinodes, usage, drivers=[DRIVER], troubles=troubles, now=NOW)
    return [(ref.name, answer.conditions[0].reason) for ref, answer in said]


def test_a_driver_that_is_not_registered_where_its_volumes_are_used_is_told() -> None:
    usage = used(make_pod("p", node="a", claim="db-0"))
    assert unregistered(usage, "other.example.com") == [("db-0", "DriverNotRegistered")]
    assert unregistered(usage, DRIVER) == []
    assert unregistered(usage, failed=True) == [], "a node that failed has a story of its own"


def test_a_pod_that_still_waits_for_its_driver_is_no_news() -> None:
    waiting = make_pod("p", node="a", claim="db-0")
    usage = used(type(waiting)("shop", "p", "u", "a", "Pending", ("db-0",)))
    assert unregistered(usage) == []


def test_attachments_tell_which_way_they_failed() -> None:
    ref = ClaimRef("shop", "db-0")
    both = Attachment("va", "pv-db-0", "a", attach_error="no path", detach_error="still mounted")
    said = list(failed_attachments([both], lambda volume: [ref] if volume == "pv-db-0" else [], NOW))
    assert [
        (claim, answer.node, answer.conditions[0].status, answer.conditions[0].reason)
        for claim, answer in said
    ] == [
        (ref, "a", "Inaccessible", "AttachFailed"),
        (ref, "a", "Degraded", "DetachFailed"),
    ]
    assert "no path" in said[0][1].conditions[0].message


def test_what_another_monitor_wrote_is_a_controllers_word_as_far_as_controllers_are_wanted() -> None:
    cluster, claim = PlainCluster(SteppedClock()), make_claim("db-0")
    cluster.add(claim)
    cluster.api_conditions[claim.ref] = ApiConditions(
        health=(BROKEN,), own=(Condition("Inaccessible", "ClaimLost"),)
    )
    context = Context(cluster, cluster.clock)

    def said(checks: Checks) -> list[tuple[Source, Via, Observer]]:
        asked = Asked(Policy("p", "u", 1, NOW, PolicySpec(checks=checks)), Members(), NOW)
        sources = (ClusterObjects(context), ClaimHealthStatus(context))
        statements = [one for source in sources for one in at_once(source.observe(asked)).statements]
        assert {ref for ref, _ in statements} == {claim.ref}
        return [(answer.source, answer.via, answer.observer) for _, answer in statements]

    own, monitor = (Source.KUBERNETES, Via.OPERATOR), (Source.CONTROLLER, Via.MONITOR)
    assert said(Checks()) == [(*own, Observer.API), (*monitor, Observer.API)]
    assert said(Checks(controller=PlaneCheck(enabled=False))) == [(*own, Observer.API)]


def test_what_a_kubelet_wrote_is_its_nodes_word_while_the_pod_is_there() -> None:
    pod = make_pod("p", node="a", claim="db-0")
    unwell = type(pod)("shop", "p", "u", "a", "Running", ("db-0",), health=(("db-0", (BROKEN,)),))
    ((ref, answer),) = api_conditions_of_pods([unwell], used(unwell), NOW)
    assert (ref.name, answer.source, answer.node, answer.via) == ("db-0", Source.NODE, "a", Via.KUBELET)
    assert (answer.outcome, answer.observer) == (Outcome.ADVERSE, Observer.API)
    assert list(api_conditions_of_pods([unwell], used(), NOW)) == [], "nobody uses it there any more"


def test_times_are_not_taken_from_the_future() -> None:
    tomorrow = NOW + timedelta(days=1)
    troubles = troubled_nodes([Node("a", "False", tomorrow)], {"b": tomorrow}, now=NOW)
    assert {trouble.since for trouble in troubles.values()} == {NOW}
