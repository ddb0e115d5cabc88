"""The page of `volumehealth report`: what it says first, what it does not claim, and that a driver's text stays text."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from support.script import load
from unit.cli.report_scenes import (
    EBS,
    NOW,
    POWERSTORE,
    ago,
    driver,
    evidence,
    nothing_bad,
    policy,
    record,
    tenant,
    thousand_bad,
    three_bad,
)
from volumehealth.cli.reportfacts import Facts, find_facts
from volumehealth.cli.reportpage import render_report
from volumehealth.cli.runbooks import FILE
from volumehealth.model.clock import date
from volumehealth.oneshot.evidence import Evidence

DOCS = Path(__file__).parents[3] / "docs"


def page(seen: Evidence) -> str:
    return render_report(seen, now=NOW, cluster="https://10.0.0.1:6443")


def facts(*records: dict[str, object]) -> Facts:
    return find_facts(evidence([], [], records, []), NOW)


def test_the_runbooks_are_those_of_the_page() -> None:
    """If not: `.venv/bin/python docs/runbooks.py`."""
    module = load(DOCS / "runbooks.py")
    assert FILE.read_text() == module.render()


def test_it_says_first_how_many_are_unhealthy_and_what_to_do() -> None:
    text = page(three_bad())
    assert "3 of 3412 claims, and 21 unknown" in text
    assert text.index("Find out who deleted it.") < text.index("Where it is")


def test_a_driver_whose_claims_are_all_bad_has_one_incident() -> None:
    text = page(thousand_bad())
    assert "Look at the storage system, its network and its credentials" in text
    assert "985 of 985 claims" in text


def test_a_text_of_a_driver_stays_text() -> None:
    text = page(thousand_bad())
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "scene", [three_bad, thousand_bad, nothing_bad, tenant], ids=lambda scene: scene.__name__
)
def test_it_fetches_nothing(scene: object) -> None:
    assert callable(scene)
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)|url\(|@import""", page(scene())) == []


def test_it_never_calls_a_claim_healthy_because_nothing_is_said_of_it() -> None:
    (namespaces,) = (one for one in find_facts(three_bad(), NOW).maps if one.kind == "namespace")
    assert {tile.level for tile in namespaces.tiles} == {"inaccessible", "degraded", "quiet"}
    assert "33 no finding" in {tile.text for tile in namespaces.tiles}


def test_a_node_whose_agent_is_silent_is_not_quiet() -> None:
    (nodes,) = (one for one in find_facts(three_bad(), NOW).maps if one.kind == "node")
    levels = {tile.name: (tile.level, tile.detail) for tile in nodes.tiles}
    assert levels["worker-7"] == ("unknown", "agent does not report")
    assert [tile.name for tile in nodes.tiles][2:4] == ["worker-1", "worker-3"]


def test_a_tenant_is_told_what_is_out_of_sight() -> None:
    text = page(tenant())
    assert "Out of your sight, for lack of rights: policies, drivers, claims, agents&#39; reports." in text
    assert "1 claim of csi-powerstore.dellemc.com" in text


def test_without_a_problem_it_says_healthy_and_with_a_silent_source_it_does_not() -> None:
    assert "Healthy:</span> no claim is unhealthy" in page(nothing_bad())
    silent = evidence([], [], [], [])
    assert "not everything is watched" in page(silent)


def test_of_one_namespace_nothing_is_counted_that_is_of_others() -> None:
    seen = three_bad()
    mine = replace(seen, overview=replace(seen.overview, namespace="calm", records=()))
    found = find_facts(mine, NOW)
    assert (found.counts["unhealthy"], found.problems) == (0, ())
    assert "fine" not in {tile.level for one in found.maps for tile in one.tiles}
    assert "Unhealthy:" not in page(mine)


def test_a_driver_with_unhealthy_claims_is_never_green_whatever_records_there_are() -> None:
    """Its tile counts three, and was green; claims of what is no CSI driver had no tile."""
    bare = evidence([], [driver(POWERSTORE, selected=3, unhealthy=3)], [], [])
    (tile,) = find_facts(bare, NOW).maps[0].tiles
    assert (tile.level, tile.text) == ("other", "3 unhealthy of 3")
    local = evidence([], [], [record("shop", "db", "kubernetes.io/local-volume")], [])
    assert [tile.name for tile in find_facts(local, NOW).maps[0].tiles] == ["kubernetes.io/local-volume"]


def test_reports_that_may_not_be_read_are_not_said_to_be_missing() -> None:
    (nodes,) = (one for one in find_facts(tenant(), NOW).maps if one.kind == "node")
    assert nodes.note == "Agents' reports are out of your sight."


def test_one_claim_is_no_claims() -> None:
    one = evidence([policy([], selected=1, unknown=1)], [], [record("shop", "db", EBS)], [])
    assert "1 claims" not in page(one)
    assert "1 unhealthy claims" not in page(one)


def test_the_timeline_knows_incidents_that_ended_and_those_that_go_on() -> None:
    ended, again = find_facts(three_bad(), NOW).incidents[-1], find_facts(three_bad(), NOW).incidents[0]
    assert (ended.what, len(ended.spans), ended.open_claims) == ("Inaccessible/IOStalled", 2, 0)
    assert (again.what, again.claims, again.spans[-1][1]) == ("Inaccessible/VolumeNotFound", 2, 100.0)


def test_what_began_before_the_timeline_is_cut_at_its_edge() -> None:
    (one,) = facts(record("shop", "db", POWERSTORE, since=ago(days=60))).incidents
    assert one.spans == ((0.0, 100.0),)
    assert one.began.startswith(date(NOW - timedelta(days=60)))


def test_a_finding_that_is_there_since_its_last_change_is_one_span() -> None:
    came = "Inaccessible/VolumeNotFound (Controller): gone"
    history = [(ago(hours=3), came), (ago(hours=2), "Inaccessible/VolumeNotFound (Controller) recovered")]
    (one,) = facts(record("shop", "db", POWERSTORE, since=ago(hours=1), history=history)).incidents
    assert [round(edge) for span in one.spans for edge in span] == [0, 33, 67, 100]


def test_a_history_that_somebody_wrote_by_hand_breaks_nothing() -> None:
    history = [
        ("never", "x/y (Controller) recovered"),
        (ago(hours=1), "handed over to policy b"),
        (ago(hours=1), ""),
    ]
    assert len(facts(record("shop", "db", POWERSTORE, history=history)).incidents) == 1
