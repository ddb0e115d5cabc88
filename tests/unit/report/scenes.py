"""Scenes that several tests look at."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.health import (
    DRIVER,
    START,
    make_claim,
    make_driver,
    make_finding,
    make_health,
    make_pod,
    make_policy,
    make_result,
)
from volumehealth.judge.groups import DriverWide, UnknownGroup
from volumehealth.judge.policy import Counts
from volumehealth.judge.result import CheckResult
from volumehealth.model.cluster import Pod, ViewState
from volumehealth.model.health import Source, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import FieldError
from volumehealth.report.problems import find_problems
from volumehealth.report.status import render_status
from volumehealth.report.summary import summarize

EBS, RBD = "ebs.csi.aws.com", "rook-ceph.rbd.csi.ceph.com"
DRIVERS = (
    make_driver(),
    make_driver(RBD),
    make_driver(EBS, SourceState.UNSUPPORTED, hint="it has no health API"),
)
ASIDE = {EBS: 3115}
SILENT = f"{DRIVER} has not answered since 23 Nov 03:02Z (DEADLINE_EXCEEDED), next try 23 Nov 03:20Z"
REASONS = (
    "VolumeNotFound",
    "NotAttached",
    "OutOfCapacity",
    "BackendError",
    "FilesystemCorrupted",
    "DiskFailure",
)


def pods_of(ref: ClaimRef) -> Sequence[Pod]:
    return (make_pod(node=f"node-{sum(map(ord, ref.name)) % 14}"),)


def status_of(result: CheckResult, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    return render_status(result, find_problems(result, pods_of), previous)


def summary_of(result: CheckResult) -> list[str]:
    return summarize(result, find_problems(result, pods_of))


def three_bad() -> CheckResult:
    one, two, three = (
        make_claim(),
        make_claim("orders-wal"),
        make_claim("cache-3", namespace="ci", driver=RBD),
    )
    later, earlier = START + timedelta(seconds=9), START - timedelta(minutes=22)
    read_only = make_finding(
        source=Source.NODE, node="worker-2", status="Degraded", reason="FilesystemReadOnly", since=earlier
    )
    return make_result(
        [
            (one, make_health(one, make_finding())),
            (two, make_health(two, make_finding(since=later))),
            (three, make_health(three, read_only)),
        ],
        healthy=294,
        unmonitored=ASIDE,
        drivers=DRIVERS,
    )


def three_thousand_bad() -> CheckResult:
    drivers = (DRIVER, RBD, "hostpath.csi.k8s.io", "linodebs.csi.linode.com")
    bad = []
    for number in range(3000):
        claim = make_claim(f"c{number}", namespace=f"ns{number % 212}", driver=drivers[number % 4])
        finding = make_finding(
            reason=REASONS[number % 6],
            status=("DataLoss", "Inaccessible", "Degraded")[number % 3],
            message=f"in the driver's words: {REASONS[number % 6]}",
            since=START - timedelta(minutes=number % 6),
        )
        bad.append((claim, make_health(claim, finding)))
    return make_result(bad, healthy=297, unmonitored=ASIDE, drivers=[*map(make_driver, drivers), DRIVERS[2]])


def three_thousand_in_three() -> CheckResult:
    drivers = (DRIVER, RBD, "hostpath.csi.k8s.io")
    claims = [make_claim(f"c{number}", driver=drivers[number % 3]) for number in range(3000)]
    bad = [(claim, make_health(claim, make_finding(reason="BackendError"))) for claim in claims]
    return make_result(bad, healthy=297, unmonitored=ASIDE, drivers=[*map(make_driver, drivers), DRIVERS[2]])


def driver_wide() -> CheckResult:
    claims = [make_claim(f"c{number}", namespace=f"ns{number % 212}") for number in range(3000)]
    finding = make_finding(reason="VolumeOffline")
    wide = DriverWide(
        DRIVER, Source.CONTROLLER, finding.status, finding.reason, 3000, 3000, 212, START, finding.message
    )
    return make_result(
        [(claim, make_health(claim, finding)) for claim in claims],
        wide=[wide],
        unmonitored={EBS: 115},
        drivers=[make_driver(), DRIVERS[2]],
    )


def driver_down() -> CheckResult:
    group = UnknownGroup(DRIVER, "DriverUnreachable", SILENT, 3000, (ClaimRef("shop", "orders-db"),))
    counts = Counts(selected=3115, unknown=3000, unmonitored=115)
    return make_result(
        drivers=[make_driver(state=SourceState.CIRCUIT_OPEN, message=SILENT), DRIVERS[2]],
        judgement={"counts": counts, "unknown": (group,), "unmonitored": {EBS: 115}},
    )


def all_healthy() -> CheckResult:
    return make_result(healthy=297, unmonitored=ASIDE, drivers=DRIVERS)


def none_monitored() -> CheckResult:
    return make_result(unmonitored=ASIDE, drivers=[DRIVERS[2]])


def nothing_selected() -> CheckResult:
    return make_result()


def all_overridden() -> CheckResult:
    return make_result(judgement={"counts": Counts(overridden=40)})


def suspended() -> CheckResult:
    return replace(make_result(policy=make_policy(suspend=True)), judgement=None)


def never_checked() -> CheckResult:
    return replace(make_result(), judgement=None)


def invalid() -> CheckResult:
    return replace(
        all_healthy(), invalid=(FieldError("spec.rules[2].match.message", "invalid RE2: missing )"),)
    )


def stale_view() -> CheckResult:
    counts = Counts(selected=297, unknown=297)
    group = UnknownGroup(
        DRIVER, "ViewStale", "the API server cannot be followed since 23 Nov 03:00Z", 297, ()
    )
    view = ViewState(
        complete=True,
        age=90,
        stale="PersistentVolumeClaim not confirmed since 23 Nov 03:00Z",
        stale_since=START,
    )
    return replace(
        make_result(judgement={"counts": counts, "unknown": (group,)}, drivers=DRIVERS[:1]), view=view
    )


SCENES = {
    scene.__name__: scene
    for scene in (
        three_bad,
        three_thousand_bad,
        three_thousand_in_three,
        driver_wide,
        driver_down,
        all_healthy,
        none_monitored,
        nothing_selected,
        all_overridden,
        suspended,
        never_checked,
        invalid,
        stale_view,
    )
}
