"""The report: what is in force, sorted, and cut to a size that the API server takes; pure."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import Target
from volumehealth.model.health import SourceState, severity
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.report import (
    Coverage,
    LimitedLook,
    MissingLook,
    Omitted,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    VolumeHealthReport,
)
from volumehealth.model.report_json import encode_report

LIMIT_BYTES = 16 * 1024
PODS = 20
"""As many Pods are named with a volume."""
DRIVER_BYTES, VOLUME_BYTES, SILENT_BYTES, MISSING_BYTES = 40 * 1024, 112 * 1024, 32 * 1024, 32 * 1024
"""Bounds of the lists; together they keep the object under 256 KiB. A claim whose missing look has no room is still not
among those of which the looks are complete."""

T = TypeVar("T")


def compose(
    node: str, drivers: Iterable[ReportedDriver], ledger: ReportState, targets: Mapping[ClaimRef, Target]
) -> VolumeHealthReport:
    """Write the report of a node.

    Args:
        node: its name.
        drivers: those that are asked here.
        ledger: what is said of each claim.
        targets: the claims that are asked about, and those that are kept as they are.
    """
    known = tuple(drivers)
    heard = {driver.name for driver in known if driver.state is SourceState.ANSWERING}
    volumes, silent = [], []
    missing: list[MissingLook] = []
    limits: set[LimitedLook] = set()
    complete: set[str] = set()
    covered: dict[Observer, set[str]] = {}
    for ref, target in targets.items():
        claim = target.claim
        for observer in ledger.covered(ref, heard=claim.driver in heard):
            covered.setdefault(observer, set()).add(claim.uid)
        if ledger.complete(ref):
            complete.add(claim.uid)
            if note := ledger.note(ref):
                limits.add(LimitedLook(claim.driver, note))
        elif why := ledger.missing(ref):
            missing.append(MissingLook(claim.driver, ref.namespace, ref.name, claim.uid, why))
        conditions = ledger.accused(ref, heard=claim.driver in heard)
        if conditions:
            volumes.append(
                ReportedVolume(
                    driver=claim.driver,
                    handle=claim.handle,
                    namespace=ref.namespace,
                    claim=ref.name,
                    claim_uid=claim.uid,
                    pods=target.pods[:PODS],
                    conditions=conditions,
                )
            )
        silence = ledger.silence_of(ref)
        if silence is not None and target.mounted:
            silent.append(
                SilentVolume(
                    driver=claim.driver,
                    handle=claim.handle,
                    reason=silence.reason,
                    message=silence.message,
                    since=silence.since,
                    namespace=ref.namespace,
                    claim=ref.name,
                    claim_uid=claim.uid,
                )
            )
    report = VolumeHealthReport(
        name=node,
        node=node,
        drivers=tuple(sorted(known, key=lambda driver: driver.name)),
        coverage=tuple(Coverage.of(observer, covered[observer]) for observer in sorted(covered)),
        complete=frozenset(complete),
        missing=tuple(sorted(missing, key=lambda one: (one.namespace, one.claim))),
        limits=tuple(sorted(limits)),
        unseen=ledger.unseen,
        volumes=tuple(sorted(volumes, key=_worst_first)),
        silent=tuple(sorted(silent, key=lambda one: (one.since, one.namespace, one.claim))),
        capacity_warnings=ledger.warnings,
    )
    return bounded(report)


def bounded(report: VolumeHealthReport) -> VolumeHealthReport:
    """Leave out the last entries of lists that are too long, and say how many."""
    whole = encode_report(report)
    drivers = _fitting(report.drivers, whole.get("drivers", ()), DRIVER_BYTES)
    volumes = _fitting(report.volumes, whole.get("volumes", ()), VOLUME_BYTES)
    silent = _fitting(report.silent, whole.get("silent", ()), SILENT_BYTES)
    return replace(
        report,
        drivers=drivers,
        missing=_fitting(report.missing, whole.get("missing", ()), MISSING_BYTES),
        limits=_fitting(report.limits, whole.get("limits", ()), LIMIT_BYTES),
        volumes=volumes,
        silent=silent,
        omitted=Omitted(
            drivers=len(report.drivers) - len(drivers),
            volumes=len(report.volumes) - len(volumes),
            silent=len(report.silent) - len(silent),
        ),
    )


def _worst_first(volume: ReportedVolume) -> tuple[int, datetime, str, str]:
    worst = volume.conditions[0]
    return (-severity(worst.status), worst.since, volume.namespace, volume.claim)


def _fitting(entries: tuple[T, ...], encoded: Collection[Mapping[str, Any]], size: int) -> tuple[T, ...]:
    """Return as many of the first entries as have room."""
    room = size
    for count, one in enumerate(encoded):
        room -= len(json.dumps(one, ensure_ascii=False).encode()) + 1
        if room < 0:
            return entries[:count]
    return entries
