"""A claim's health as an object and back: everything that must survive a restart does."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.health import START, make_claim, make_finding, make_health, make_pod
from volumehealth.model.cluster import Pod
from volumehealth.model.health import Change, ClaimHealth, Finding, Identity, Source, Verdict, Via
from volumehealth.model.origin import Observer
from volumehealth.policy.silence import Silence
from volumehealth.report.outbox import Due, Edge, episode_of
from volumehealth.report.records import deserves_record, label_value, render, resume

CLAIM = make_claim()
seconds = st.integers(0, 10**9).map(
    lambda number: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
words = st.text(min_size=1, max_size=16)


def possible(finding: Finding) -> Finding:
    """Make of any finding one that the judge can have made: times in order, a node where a node speaks."""
    since, *later = sorted(
        (finding.since, finding.confirmed, finding.clear_since or LATER, finding.last_notified_at or LATER)
    )
    return replace(
        finding,
        node=finding.node or ("n" if finding.source is Source.NODE else ""),
        since=since,
        named=finding.named if finding.named is not None and finding.named > since else None,
        confirmed=later[0],
        clear_since=finding.clear_since and later[1],
        last_notified_at=finding.last_notified_at and later[2],
    )


findings = st.builds(
    Finding,
    source=st.sampled_from(Source),
    status=words,
    reason=words,
    message=st.text(max_size=200),
    since=seconds,
    confirmed=seconds,
    node=st.text(max_size=20),
    via=st.sampled_from(Via),
    episode=st.integers(1, 50),
    stale=st.booleans(),
    clear_since=st.none() | seconds,
    named=st.none() | seconds,
    last_notified_at=st.none() | seconds,
    observers=st.lists(st.sampled_from(Observer), min_size=1, unique=True).map(
        lambda some: tuple(sorted(some))
    ),
).map(possible)
identities = st.builds(Identity, st.sampled_from(Source), st.text(max_size=9), words, words)
healths = st.builds(
    ClaimHealth,
    uid=st.just(CLAIM.uid),
    findings=st.lists(findings, min_size=1, max_size=4, unique_by=lambda one: one.identity).map(tuple),
    verdict=st.just(Verdict.UNHEALTHY),
    episodes=st.dictionaries(identities, st.integers(1, 9), max_size=4),
    history=st.lists(st.builds(Change, seconds, words), max_size=10).map(tuple),
)


def written(
    health: ClaimHealth, *pods: Pod, policy: str = "storage", owed: Sequence[Due] = ()
) -> dict[str, Any]:
    """Render a record, and pass it through JSON as the API server does."""
    record = render(
        health,
        claim=CLAIM,
        policy=policy,
        pods=pods,
        notified=lambda finding: finding.last_notified_at,
        owed=owed,
    )
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return decoded


@given(healths)
def test_what_is_written_is_read_back(health: ClaimHealth) -> None:
    read = resume(CLAIM.ref, CLAIM.uid, json.dumps(written(health)["status"]).encode())
    assert read is not None
    assert read.policy == "storage"
    assert read.health == health


def test_an_episode_keeps_its_name_when_the_clock_is_set_back_and_the_operator_starts_anew() -> None:
    told = make_finding()
    status = json.dumps(written(make_health(CLAIM, told))["status"]).encode()
    read = resume(CLAIM.ref, CLAIM.uid, status, now=START - timedelta(hours=1))
    assert read is not None
    (finding,) = read.health.findings
    assert finding.since == START - timedelta(hours=1)
    assert episode_of(CLAIM.uid, finding) == episode_of(CLAIM.uid, told)
    again = json.dumps(written(read.health)["status"]).encode()
    later = resume(CLAIM.ref, CLAIM.uid, again, now=START)
    assert later is not None
    assert episode_of(CLAIM.uid, later.health.findings[0]) == episode_of(CLAIM.uid, told)


def test_a_record_leads_to_the_runbook_of_its_worst_finding_and_to_none_without_one() -> None:
    health = make_health(CLAIM, make_finding(reason="IOError"))
    record = render(
        health, claim=CLAIM, policy="p", pods=(), notified=lambda _: None, runbooks="https://r.example.com"
    )
    assert record["status"]["runbook"] == "https://r.example.com#ioerror"
    assert "runbook" not in written(make_health(CLAIM, recovered=START))["status"]


def test_a_silenced_record_says_until_when_by_what_and_why() -> None:
    silence = Silence(START, "array work", "the claim")
    record = render(
        make_health(CLAIM, make_finding()),
        claim=CLAIM,
        policy="p",
        pods=(),
        notified=lambda _: None,
        silence=silence,
    )
    assert record["status"]["silenced"] == {
        "until": "2026-11-23T03:02:11Z",
        "by": "the claim",
        "reason": "array work",
    }


def test_a_recovered_claim_is_read_back_with_its_past() -> None:
    identity = make_finding().identity
    health = make_health(
        CLAIM,
        recovered=START,
        episodes={identity: 2},
        history=(Change(START, "recovered"),),
        verdict=Verdict.UNKNOWN,
    )
    status = written(health)["status"]
    assert status["health"] == "Recovered"
    assert status["since"] == status["recovered"] == "2026-11-23T03:02:11Z"
    assert resume(CLAIM.ref, CLAIM.uid, json.dumps(status).encode()).health == health  # type: ignore[union-attr]


def test_a_record_that_was_closed_says_so_and_is_read_back_so() -> None:
    status = written(make_health(CLAIM, recovered=START, closed=True))["status"]
    assert status["health"] == "Closed"
    resumed = resume(CLAIM.ref, CLAIM.uid, json.dumps(status).encode())
    assert resumed is not None
    assert resumed.health.closed


def test_a_record_is_owned_by_its_claim_and_never_blocks_its_deletion() -> None:
    metadata = written(make_health(CLAIM, make_finding()))["metadata"]
    assert metadata == {
        "name": "orders-db",
        "namespace": "shop",
        "labels": {"volumehealth.dev/policy": "storage"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "orders-db", "uid": CLAIM.uid}
        ],
    }


def test_a_record_says_what_kubectl_get_shows() -> None:
    pods = [make_pod(f"orders-db-{number}") for number in range(5)]
    status = written(make_health(CLAIM, make_finding(last_notified_at=START)), *pods)["status"]
    assert status == {
        "health": "Unhealthy",
        "since": "2026-11-23T03:02:11Z",
        "policy": "storage",
        "driver": "csi-powerstore.dellemc.com",
        "volume": "pv-orders-db",
        "volumeHandle": "handle-orders-db",
        "runbook": "docs/runbooks.md#volumenotfound",
        "findings": [
            {
                "source": "Controller",
                "origins": ["Driver"],
                "via": "Operator",
                "status": "Inaccessible",
                "reason": "VolumeNotFound",
                "message": "the volume is not found on the array",
                "since": "2026-11-23T03:02:11Z",
                "confirmed": "2026-11-23T03:04:11Z",
                "episode": 1,
                "lastNotifiedAt": "2026-11-23T03:02:11Z",
            }
        ],
        "episodes": [
            {"source": "Controller", "status": "Inaccessible", "reason": "VolumeNotFound", "count": 1}
        ],
        "pods": [f"orders-db-{number}" for number in range(5)],
        "podSummary": "orders-db-0, orders-db-1, orders-db-2, 2 more",
        "workloads": [f"Pod/orders-db-{number}: on worker-2" for number in range(5)],
    }


def test_a_frozen_record_is_unknown_and_says_why() -> None:
    health = make_health(
        CLAIM, make_finding(stale=True), unknown_reason="DriverUnreachable", unknown_message="no answer"
    )
    status = written(health)["status"]
    assert (status["health"], status["reason"], status["message"]) == (
        "Unknown",
        "DriverUnreachable",
        "no answer",
    )


@pytest.mark.parametrize("char", ["x", '"', "😀"])
def test_a_record_stays_below_256_kib_whatever_drivers_say(char: str) -> None:
    huge = tuple(
        make_finding(node=f"n{n}" * 100, status=char * 999, reason=char * 999, message=char * 9999)
        for n in range(500)
    )
    episodes = {finding.identity: 1 for finding in huge}
    history = tuple(Change(START, char * 9999) for _ in range(10))
    pods = [make_pod("p" * 250 + str(number)) for number in range(999)]
    names = tuple("p" * 250 + str(number) for number in range(10))
    owed = [
        Due("Notifications", Edge.NORMAL, CLAIM.uid, finding, START, pods=names, remaining=3)
        for finding in huge
    ]
    record = written(make_health(CLAIM, *huge, episodes=episodes, history=history), *pods, owed=owed)
    assert len(msgspec.json.encode(record)) < 256 * 1024


def test_what_is_found_on_each_of_a_hundred_nodes_survives_a_restart() -> None:
    findings = [make_finding(source=Source.NODE, node=f"worker-{number:03}") for number in range(100)]
    record = written(make_health(CLAIM, *findings))
    read = resume(CLAIM.ref, CLAIM.uid, msgspec.json.encode(record["status"]))
    assert read is not None
    assert [one.node for one in read.health.findings] == [one.node for one in findings]


def test_all_that_two_outputs_owe_of_a_claim_that_is_used_on_many_nodes_survives_a_crash() -> None:
    """Faults E13: an NFS server that is back ends a finding on each node at once."""
    findings = [make_finding(source=Source.NODE, node=f"worker-{number}") for number in range(60)]
    names = tuple(f"web-7d5c9f8b6d-abcd{number}" for number in range(10))
    owed = [
        Due(output, Edge.NORMAL, CLAIM.uid, finding, START + timedelta(hours=1), pods=names)
        for output in ("Events", "Notifications")
        for finding in findings
    ]
    record = written(make_health(CLAIM, recovered=START + timedelta(hours=1)), owed=owed)
    read = resume(CLAIM.ref, CLAIM.uid, msgspec.json.encode(record["status"]))
    assert read is not None
    assert [due.key for due in read.owed] == [due.key for due in owed]
    assert all(due.pods == names or due.all_pods for due in read.owed)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(b"", id="no status"),
        pytest.param(b"{}", id="an empty status"),
        pytest.param(b'{"findings": "none"}', id="findings that are no list"),
        pytest.param(b'{"findings": [{"source": "Moon"}]}', id="a source that does not exist"),
        pytest.param(b'{"recovered": "yesterday"}', id="a time that is none"),
    ],
)
def test_a_record_that_somebody_spoilt_is_passed_over(status: bytes) -> None:
    assert resume(CLAIM.ref, CLAIM.uid, status) is None


def test_unknown_fields_of_a_newer_version_are_passed_over() -> None:
    status = written(make_health(CLAIM, make_finding()))["status"] | {"future": {"field": 1}}
    assert resume(CLAIM.ref, CLAIM.uid, json.dumps(status).encode()) is not None


def test_a_finding_that_a_newer_version_heard_from_somebody_else_is_gone_on_from() -> None:
    """Faults G20: who carried a word is no part of what was found; after a downgrade it must not be told anew."""
    status: dict[str, Any] = written(make_health(CLAIM, make_finding()))["status"]
    status["findings"][0] |= {"via": "Telepathy", "origins": ["Crystal", "Driver"]}
    read = resume(CLAIM.ref, CLAIM.uid, json.dumps(status).encode())
    assert read is not None
    assert read.health.findings == (make_finding(observers=(Observer.DRIVER,)),)


def test_a_claim_deserves_a_record_from_its_first_finding_on() -> None:
    assert not deserves_record(make_health(CLAIM, verdict=Verdict.UNKNOWN))
    assert deserves_record(make_health(CLAIM, make_finding()))
    assert deserves_record(make_health(CLAIM, recovered=START))


@pytest.mark.parametrize("name", ["storage", "a" * 63, "b" * 64, "c" * 45 + "." + "d" * 200])
def test_any_policys_name_becomes_a_label_value_of_its_own(name: str) -> None:
    value = label_value(name)
    assert len(value) <= 63
    assert value[-1].isalnum()
    assert value != label_value(name + "x")
