"""What is explained of a claim is what is told of it."""

from datetime import timedelta

from support.health import START, make_claim, make_finding, make_health, make_policy
from volumehealth.judge.explain import explain_waiting
from volumehealth.judge.judge import Judge
from volumehealth.model.cluster import Node, SilenceAsked
from volumehealth.model.health import Answer, Condition, Outcome, Pending, Source
from volumehealth.model.origin import Observer
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Selection
from volumehealth.policy.silence import Silences

CLAIM, POLICY = make_claim(), make_policy()
HERE = make_finding(source=Source.NODE, node="worker-1")
THERE = make_finding(source=Source.NODE, node="worker-2")


def silenced(*nodes: str) -> str:
    """Return what is explained of a claim that is bad on two nodes, some of which are silenced for an hour or more."""
    judge = Judge({CLAIM.ref: CLAIM})
    at_once(judge.resume({POLICY.uid: {CLAIM.ref: make_health(CLAIM, HERE, THERE)}}, {}, START))
    asked = {
        name: Node(name, "True", START, silence=SilenceAsked(f"2026-11-23T0{4 + number}:00Z", "", name))
        for number, name in enumerate(nodes)
    }
    silences = Silences({}, {CLAIM.ref: CLAIM}, {}, asked)
    return judge.explain(CLAIM, POLICY, Selection(), silences, START).silenced


def test_a_claim_is_silenced_only_if_people_are_told_of_none_of_its_findings() -> None:
    """Faults H26: the record and the policy's page say so, too."""
    assert silenced("worker-1") == ""
    assert silenced("worker-1", "worker-2").startswith("until 23 Nov 04:00Z, by the node worker-1")


def test_what_one_observer_said_waits_though_another_on_its_node_says_something() -> None:
    wait = Pending(
        source=Source.NODE,
        status="Inaccessible",
        reason="VolumeUnmounted",
        message="it is not mounted",
        since=START,
        node="worker-1",
        after=timedelta(minutes=2),
        observer=Observer.MOUNT_TABLE,
    )
    other = Answer(
        Source.NODE, Outcome.ADVERSE, START, "worker-1", conditions=(Condition("Degraded", "Slow", ""),)
    )
    (heard,) = explain_waiting(make_health(CLAIM, pending=(wait,)), (other,))
    assert heard.reason == "VolumeUnmounted"
