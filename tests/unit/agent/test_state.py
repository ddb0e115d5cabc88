"""What is said of a claim keeps its time until it is denied; and a report that never gets too big."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.agent import NOW, make_claim, make_pod, make_target, make_targets
from volumehealth.agent.compose import compose
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import KnownClaim, Target
from volumehealth.model.health import Condition, HealthAPI, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.report import (
    Omitted,
    ReportedDriver,
    SilentVolume,
    StorageProblem,
    VolumeHealthReport,
    agent_lease_name,
    controller_report_name,
)
from volumehealth.model.report_json import decode_report, encode_report, report_manifest

CLAIM = make_claim()
REF = CLAIM.ref
BAD = Condition("Inaccessible", "IOError", "read and write I/O errors")
LATER = NOW + timedelta(minutes=5)


UP = ReportedDriver(CLAIM.driver, SourceState.ANSWERING, NOW, HealthAPI.VOLUME_HEALTH)


def composed(ledger: ReportState, driver: ReportedDriver = UP) -> VolumeHealthReport:
    return compose("worker-1", [driver], ledger, {REF: make_target()})


def test_a_statement_keeps_its_time_while_it_is_repeated() -> None:
    ledger = ReportState()
    assert ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    assert not ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=LATER)
    assert [one.since for one in ledger.accused(REF)] == [NOW]


def test_a_text_that_differs_in_its_numbers_is_no_news() -> None:
    """Facts D11: a driver whose message counts seconds would be written at every poll."""
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [replace(BAD, message="no answer for 12 s")], now=NOW)
    assert not ledger.hear(CLAIM, Observer.DRIVER, [replace(BAD, message="no answer for 72 s")], now=LATER)
    assert [one.message for one in ledger.accused(REF)] == ["no answer for 12 s"]
    assert ledger.hear(CLAIM, Observer.DRIVER, [replace(BAD, message="something else")], now=LATER)


def test_a_denial_ends_it_and_its_return_is_new() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    assert ledger.hear(CLAIM, Observer.DRIVER, [], now=NOW)
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=LATER)
    assert [one.since for one in ledger.accused(REF)] == [LATER]


def test_silence_hides_what_the_driver_said_and_keeps_its_time() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    ledger.hear(CLAIM, Observer.MOUNT_TABLE, [Condition("Inaccessible", "VolumeUnmounted")], now=NOW)
    assert ledger.silent(CLAIM, "CallFailed", "no answer within 15 s", now=LATER)
    assert not ledger.silent(CLAIM, "CallFailed", "no answer within 16 s", now=LATER)
    report = composed(ledger)
    assert [one.reason for one in report.volumes[0].conditions] == ["VolumeUnmounted"]
    assert [one.since for one in report.silent] == [LATER]
    assert ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=LATER)
    assert {one.since for one in ledger.accused(REF)} == {NOW}
    assert composed(ledger).silent == ()


def test_a_driver_that_is_not_heard_says_nothing_until_it_is_back() -> None:
    """Else what it said before it fell silent would count as heard now, and be confirmed at last."""
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    ledger.hear(CLAIM, Observer.MOUNT_TABLE, [Condition("Inaccessible", "VolumeUnmounted")], now=NOW)
    down = composed(ledger, replace(UP, state=SourceState.UNREACHABLE))
    assert [one.reason for one in down.volumes[0].conditions] == ["VolumeUnmounted"]
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=LATER)
    assert {one.since for one in composed(ledger).volumes[0].conditions} == {NOW}


def test_a_restarted_agent_goes_on_from_its_own_report() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    ledger.hear(CLAIM, Observer.CAPACITY, [Condition("Degraded", "OutOfCapacity", "0% free")], now=NOW)
    before = composed(ledger)
    again = ReportState(decode_report("worker-1", json.loads(json.dumps(encode_report(before)))))
    assert composed(again) == replace(before, coverage=())  # nobody was asked yet
    again.hear(CLAIM, Observer.DRIVER, [BAD], now=LATER)
    again.hear(CLAIM, Observer.CAPACITY, [Condition("Degraded", "OutOfCapacity", "0% free")], now=LATER)
    assert composed(again) == before
    again.hear(CLAIM, Observer.CAPACITY, [], now=LATER)
    assert [one.reason for one in again.accused(REF)] == ["IOError"]


def test_a_claim_that_was_made_anew_starts_with_a_clean_page() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    assert ledger.keep({REF: make_claim(uid="another")})
    assert ledger.accused(REF) == ()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    assert not ledger.keep({REF: CLAIM})
    assert ledger.keep({})


def test_what_was_said_of_a_claim_stays_while_the_claim_in_use_cannot_be_read() -> None:
    """An agent that was started amid an outage took what has to last for over, and the operator told so."""
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    assert not ledger.keep({}, unread={REF})
    assert ledger.unread == {CLAIM.uid}
    assert not ledger.keep({REF: CLAIM})
    assert (len(ledger.accused(REF)), ledger.unread) == (1, frozenset())
    assert ledger.keep({REF: make_claim(uid="another")})


def test_the_worst_comes_first() -> None:
    ledger = ReportState()
    conditions = [Condition("Degraded", "Slow"), Condition("DataLoss", "DiskFailure"), Condition("New", "X")]
    ledger.hear(CLAIM, Observer.DRIVER, conditions, now=NOW)
    assert [one.status for one in ledger.accused(REF)] == ["DataLoss", "New", "Degraded"]


def test_what_is_not_asked_any_more_is_dropped() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.CAPACITY, [], now=NOW)
    assert ledger.warn(CLAIM, True)
    assert ledger.warnings == 1
    assert ledger.drop(CLAIM, Observer.CAPACITY)
    assert ledger.warnings == 0
    ledger.silent(CLAIM, "CallFailed", "", now=NOW)
    assert ledger.drop(CLAIM, Observer.DRIVER)
    assert ledger.silence_of(REF) is None
    assert not ledger.drop(CLAIM, Observer.DRIVER)


# -- size -------------------------------------------------------------------------------------------------------

MOST = 256 * 1024


@pytest.mark.parametrize("char", ["x", '"', "€"], ids=["plain", "escaped", "wide"])
def test_a_report_stays_under_256_kib_and_says_what_it_left_out(char: str) -> None:
    ledger, targets = ReportState(), dict[ClaimRef, Target]()
    for number in range(2000):
        claim = make_claim(f"claim-{number}")
        pods = [make_pod(f"pod-{number}-{one}", claim.ref.name) for one in range(30)]
        targets |= make_targets(*pods, known=KnownClaim(claim))
        worst = number == 1999
        status = "DataLoss" if worst else "Degraded"
        ledger.hear(claim, Observer.DRIVER, [Condition(status, "Reason", char * 300)], now=NOW)
        ledger.hear(claim, Observer.MOUNT_TABLE, [Condition("Degraded", "Other", char * 300)], now=NOW)
        if number < 1000:
            ledger.silent(claim, "CallFailed", char * 300, now=NOW)
    drivers = [UP] + [
        ReportedDriver(f"d{one}.example.com", SourceState.UNREACHABLE, NOW, message=char * 300)
        for one in range(499)
    ]
    report = compose("worker-1", drivers, ledger, targets)
    size = len(json.dumps(report_manifest(report, node_uid="u"), ensure_ascii=False).encode())
    assert MOST / 2 < size < MOST - 4096  # room for what the server adds
    assert report.volumes[0].claim == "claim-1999"
    assert len(report.volumes[0].pods) == 20
    assert len(report.volumes) + report.omitted.volumes == 2000
    assert len(report.silent) + report.omitted.silent == 1000
    assert len(report.drivers) + report.omitted.drivers == 500
    assert report.omitted


# -- wire -------------------------------------------------------------------------------------------------------

WHOLE = VolumeHealthReport(
    name="worker-1",
    node="worker-1",
    drivers=(
        ReportedDriver(
            name="d.example.com",
            state=SourceState.ANSWERING,
            since=NOW,
            health_api=HealthAPI.VOLUME_HEALTH,
            methods=("NodeGetVolumeHealth",),
            message="m",
            hint="h",
            storage=(StorageProblem("StorageDegraded", "X", "m", NOW, "ReadWriteOnce", "Block"),),
        ),
    ),
    silent=(SilentVolume("d.example.com", "v", "CallFailed", "m", NOW, "shop", "data", "uid"),),
    capacity_warnings=2,
    omitted=Omitted(drivers=1, volumes=2, silent=3),
)


def test_a_report_is_read_as_it_was_written() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    whole = replace(WHOLE, volumes=composed(ledger).volumes)
    assert decode_report("worker-1", json.loads(json.dumps(encode_report(whole)))) == whole


def test_fields_of_a_newer_agent_are_skipped() -> None:
    status = encode_report(WHOLE)
    status["future"] = {"a": 1}
    status["drivers"][0]["future"] = [1]
    assert decode_report("worker-1", status) == WHOLE


def test_what_is_not_understood_acquits_nobody() -> None:
    status = encode_report(WHOLE)
    status["drivers"][0] |= {"state": "Sleeping", "healthAPI": "VolumeHealth2"}
    status["volumes"] = [{"driver": "d"}, "garbage", {"driver": "d", "volumeHandle": "v", "conditions": [{}]}]
    read = decode_report("worker-1", status)
    assert (read.drivers[0].state, read.drivers[0].health_api) == (SourceState.UNREACHABLE, HealthAPI.NONE)
    assert read.volumes == ()
    assert read.omitted.volumes == WHOLE.omitted.volumes + 3


def test_of_an_entry_that_is_read_in_part_the_rest_is_left_out_and_acquits_nobody() -> None:
    known = {"status": "Degraded", "reason": "FilesystemReadOnly", "origin": "MountTable"}
    odd = {"reason": "X", "origin": "Driver"}
    volume = {"driver": "d.example.com", "volumeHandle": "v", "conditions": [known, odd]}
    read = decode_report("worker-1", {"volumes": [volume]})
    assert [one.reason for (entry,) in [read.volumes] for one in entry.conditions] == ["FilesystemReadOnly"]
    assert read.omitted.volumes == 1
    assert decode_report("worker-1", {"volumes": {"d.example.com": volume}}).omitted.volumes == 1


def test_a_report_counts_one_of_a_kind_as_people_do() -> None:
    ledger = ReportState()
    ledger.hear(CLAIM, Observer.DRIVER, [BAD], now=NOW)
    one = VolumeHealthReport("worker-1", drivers=WHOLE.drivers, volumes=composed(ledger).volumes)
    assert encode_report(one)["summary"] == "1 of 1 driver answering; 1 volume in trouble, 0 silent"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["plane", "node", "drivers", "volumes", "silent", "capacityWarnings", "omitted", "name", "conditions"]
)


@given(st.dictionaries(KEYS, JSON) | JSON)
def test_any_json_can_be_read(status: object) -> None:
    decode_report("worker-1", status)


def test_names() -> None:
    assert agent_lease_name("worker-1") == "volumehealth-agent-worker-1"
    assert len(agent_lease_name("n" * 234)) == 253
    long = agent_lease_name("n" * 235)
    assert len(long) <= 253
    assert long.startswith("volumehealth-agent-" + "n" * 220 + "-")
    assert long != agent_lease_name("n" * 236)
    assert controller_report_name("CSI.Example.com") == "controller.csi.example.com"
