"""A silence on the policy's page, in metrics, and as an Event where it cannot be read."""

import asyncio
from datetime import timedelta

import pytest

from support.fakeapi import FakeApi
from support.health import START, SteppedClock, make_claim, make_finding, make_health, make_result
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.cluster import Namespace, SilenceAsked
from volumehealth.model.steps import at_once
from volumehealth.policy.silence import Silences
from volumehealth.report.eventobjects import EventSink
from volumehealth.report.metrics import Metrics
from volumehealth.report.silences import SilenceOutput
from volumehealth.report.status import render_status

A, B = make_claim("a"), make_claim("b")
FINDING = make_finding()


def result(text: str = "2026-11-23T06:00Z", *, reason: str = "array work") -> CheckResult:
    """Two unhealthy claims, one of them silenced."""
    asked = {A.ref: SilenceAsked(text, reason, A.uid)}
    bad = [(one, make_health(one, FINDING)) for one in (A, B)]
    return make_result(bad, silences=Silences(asked, {A.ref: A, B.ref: B}, {}, {}))


def test_the_page_counts_the_silenced_and_says_until_when_and_why() -> None:
    status = render_status(result(), (), None)
    assert status["claims"]["silenced"] == 1
    assert status["claims"]["unhealthy"] == 2
    (line,) = [line for line in status["summary"] if line.startswith("SILENCED")]
    assert "1 unhealthy claim, until 23 Nov 06:00Z, by the claim: array work" in line


def test_a_page_without_silences_does_not_mention_them() -> None:
    status = render_status(result("2026-11-20T06:00Z"), (), None)
    assert "silenced" not in status["claims"]
    assert not any("SILENCED" in line for line in status["summary"])


def test_a_silenced_finding_is_in_no_series_that_alerts_read() -> None:
    metrics = Metrics()
    metrics.publish(result(), [])
    page = at_once(metrics.render()).decode()
    unhealthy = [line for line in page.splitlines() if line.startswith("volumehealth_claim_unhealthy{")]
    assert len(unhealthy) == 1
    assert 'persistentvolumeclaim="b"' in unhealthy[0]
    assert 'volumehealth_policy_claims_silenced{policy="storage"} 1.0' in page


@pytest.mark.looptime
async def test_a_value_that_cannot_be_read_is_an_event_on_its_object_once(
    api: FakeApi, clock: SteppedClock, queue: WriteQueue
) -> None:
    output = SilenceOutput(EventSink(queue, clock=clock, observe=lambda *_: None))
    space = {"shop": Namespace("shop", {}, SilenceAsked("4h", "", "uid-shop"))}
    asked = {A.ref: SilenceAsked("to\tnight", "", A.uid)}
    bad = make_result([], silences=Silences(asked, {A.ref: A}, space, {}), now=START)
    task = asyncio.create_task(queue.run())
    for _ in range(3):
        list(output.publish(bad))
        await queue.drain(60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    events = {event["involvedObject"]["kind"]: event for event in api.events("SilenceInvalid")}
    assert set(events) == {"PersistentVolumeClaim", "Namespace"}
    assert {event["count"] for event in events.values()} == {1}
    assert events["Namespace"]["metadata"]["namespace"] == "default"
    words = "volumehealth.dev/silence-until is 'to night': it is not a time with a zone, such as 2026-12-01T06:00Z"
    assert events["PersistentVolumeClaim"]["message"] == f"{words}; nothing is silenced"


def test_a_claim_is_silenced_as_a_whole_only_if_every_finding_is() -> None:
    there = make_finding(node="worker-2", reason="IOError")
    silences = Silences({}, {A.ref: A}, {}, {})
    both = make_result([(A, make_health(A, FINDING, there))], silences=silences, now=START + timedelta(0))
    assert both.silenced == {}
