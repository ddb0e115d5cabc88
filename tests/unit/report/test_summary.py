"""The summary: what a person reads at 3 a.m., line for line."""

from dataclasses import replace
from datetime import timedelta

import pytest

from support.health import START, make_claim, make_finding, make_health, make_result
from unit.report.scenes import SCENES, summary_of

DRIVER, OFFLINE = "csi-powerstore.dellemc.com", "Inaccessible/VolumeOffline"
NOTHING = "no bound claim of a CSI volume matches spec.selector"
GOLDEN = {
    "three_bad": [
        "UNHEALTHY 3 of 297 monitored claims (3115 not monitored: ebs.csi.aws.com has no health API)",
        f"1. Inaccessible/VolumeNotFound  2 claims  {DRIVER}              since 23 Nov 03:02Z  shop/orders-db, shop/orders-wal",
        "2. Degraded/FilesystemReadOnly  1 claim   rook-ceph.rbd.csi.ceph.com on worker-2  since 23 Nov 02:40Z  ci/cache-3",
        "All: kubectl get vh -A    One: kubectl describe vh orders-db -n shop",
    ],
    "driver_wide": [
        f"UNHEALTHY DRIVER-WIDE: 3000 of 3000 claims of {DRIVER} since 23 Nov 03:02Z, {OFFLINE}, 212 namespaces, 14 nodes",
        "NOT MONITORED 115 claims: ebs.csi.aws.com has no health API",
        "All: kubectl get vh -A    One: kubectl describe vh c0 -n ns0",
    ],
    "driver_down": [
        f"UNKNOWN   3000 claims: {DRIVER} has not answered since 23 Nov 03:02Z (DEADLINE_EXCEEDED), next try 23 Nov 03:20Z",
        "NOT MONITORED 115 claims: ebs.csi.aws.com has no health API",
    ],
    "all_healthy": [
        "HEALTHY   all of 297 monitored claims (3115 not monitored: ebs.csi.aws.com has no health API)",
    ],
    "none_monitored": ["NOT MONITORED 3115 claims: ebs.csi.aws.com has no health API"],
    "nothing_selected": [f"NOTHING SELECTED {NOTHING}"],
    "all_overridden": [
        f"NOTHING SELECTED {NOTHING}; 40 matching claims held by other policies",
    ],
    "never_checked": ["NOT YET CHECKED"],
    "invalid": [
        "INVALID SPEC spec.rules[2].match.message: invalid RE2: missing )",
        "HEALTHY   all of 297 monitored claims (3115 not monitored: ebs.csi.aws.com has no health API)",
    ],
    "stale_view": [
        "STALE VIEW PersistentVolumeClaim not confirmed since 23 Nov 03:00Z",
        "UNKNOWN   297 claims: csi-powerstore.dellemc.com: the API server cannot be followed since 23 Nov 03:00Z",
    ],
}


@pytest.mark.parametrize("scene", GOLDEN)
def test_the_summary_reads(scene: str) -> None:
    assert summary_of(SCENES[scene]()) == GOLDEN[scene]


def test_three_thousand_bad_claims_take_twelve_lines() -> None:
    lines = summary_of(SCENES["three_thousand_bad"]())
    assert len(lines) == 12
    assert lines[0].startswith("UNHEALTHY 3000 of 3297 monitored claims")
    assert lines[1].startswith("1. DataLoss/")
    assert lines[-2] == "10. 3 more problems on 750 claims"
    assert lines[-1].startswith("All: kubectl get vh -A")


@pytest.mark.parametrize("scene", SCENES)
def test_no_summary_has_more_than_twelve_lines_or_overlong_ones(scene: str) -> None:
    lines = summary_of(SCENES[scene]())
    assert 1 <= len(lines) <= 12
    assert all(len(line) <= (150 if "DRIVER-WIDE" in line else 140) for line in lines)


def test_what_a_driver_says_cannot_break_a_line() -> None:
    claim = make_claim()
    finding = make_finding(status="Odd\nStatus", reason="R" * 300 + "\n\x1b[31m")
    lines = summary_of(make_result([(claim, make_health(claim, finding))]))
    assert not any("\n" in line or "\x1b" in line for line in lines)
    assert all(len(line) <= 140 for line in lines)


def test_a_moment_of_another_day_bears_its_date() -> None:
    claim = make_claim()
    finding = make_finding(since=START - timedelta(days=2))
    lines = summary_of(make_result([(claim, make_health(claim, finding))]))
    assert "since 21 Nov 03:02Z" in lines[1]


def test_stale_findings_are_said_to_be_stale() -> None:
    claim = make_claim()
    lines = summary_of(make_result([(claim, make_health(claim, make_finding(stale=True)))]))
    assert "1 claim (stale)" in lines[1]


def test_the_summary_does_not_change_with_the_time_of_day() -> None:
    result = SCENES["three_bad"]()
    assert summary_of(result) == summary_of(replace(result, now=result.now + timedelta(hours=50)))


def test_what_matched_beside_is_told_in_one_line() -> None:
    result = SCENES["all_healthy"]()
    assert result.judgement is not None
    counts = replace(result.judgement.counts, overridden=40, not_csi=12, ignored=1)
    lines = summary_of(replace(result, judgement=replace(result.judgement, counts=counts)))
    assert lines[-1] == (
        "ALSO      40 more held by other policies, 12 more not CSI, 1 claim with statements ignored by a rule"
    )
