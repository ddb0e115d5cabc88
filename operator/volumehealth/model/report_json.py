"""A report as the API server holds it, and back.

Reading takes whatever it finds: an agent may be newer or older than its reader. An entry that cannot be read counts
as left out, since what is not understood must not look healthy.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from volumehealth.model.clock import LONG_AGO, moment_of, rfc3339
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.origin import Observer
from volumehealth.model.report import (
    Coverage,
    LimitedLook,
    MissingLook,
    Omitted,
    Plane,
    ReportedCondition,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    StorageProblem,
    UnseenOrigin,
    VolumeHealthReport,
)
from volumehealth.model.text import clean_message, clean_reason, clean_status, count
from volumehealth.model.vocabulary import API_VERSION, REPORT_KIND

T = TypeVar("T")
Entry = Mapping[str, Any]

_MOST = 1_000_000_000
"""A number in a report is a count of what is on one node."""
_STATES = {state.value: state for state in SourceState}
_APIS = {api.value: api for api in HealthAPI}
_OBSERVERS = {observer.value: observer for observer in Observer}


def encode_report(report: VolumeHealthReport) -> dict[str, Any]:
    """Write `status`; empty fields are left out, times have whole seconds."""
    return _filled(
        plane=report.plane.value,
        node=report.node,
        summary=_summary(report),
        drivers=[_driver(driver) for driver in report.drivers],
        coverage=[_coverage(one, report.plane) for one in report.coverage],
        complete=sorted(report.complete),
        missing=[_missing(one) for one in report.missing],
        limits=[_filled(driver=one.driver, message=one.what) for one in report.limits],
        unseen=[_unseen(one) for one in report.unseen],
        volumes=[_volume(volume) for volume in report.volumes],
        silent=[_silent(volume) for volume in report.silent],
        capacityWarnings=report.capacity_warnings,
        omitted=_filled(
            drivers=report.omitted.drivers, volumes=report.omitted.volumes, silent=report.omitted.silent
        ),
    )


def report_manifest(report: VolumeHealthReport, *, node_uid: str = "") -> dict[str, Any]:
    """Write the whole object for a server-side apply, owned by its Node if the uid is given."""
    metadata: dict[str, Any] = {"name": report.name}
    if node_uid:
        owner = {"apiVersion": "v1", "kind": "Node", "name": report.node, "uid": node_uid}
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": API_VERSION,
        "kind": REPORT_KIND,
        "metadata": metadata,
        "status": encode_report(report),
    }


def decode_report(name: str, status: object) -> VolumeHealthReport:
    """Read a report.

    Args:
        name: `metadata.name`.
        status: `status` as decoded from JSON; unknown fields are skipped, None is an empty report.
    """
    raw = status if isinstance(status, Mapping) else {}
    drivers, lost_drivers = _each(raw.get("drivers"), _read_driver)
    volumes, lost_volumes = _read_volumes(raw.get("volumes"))
    silent, lost_silent = _each(raw.get("silent"), _read_silent)
    omitted = raw.get("omitted")
    left = omitted if isinstance(omitted, Mapping) else {}
    return VolumeHealthReport(
        name=name,
        plane=Plane.CONTROLLER if raw.get("plane") == Plane.CONTROLLER else Plane.NODE,
        node=_text(raw, "node"),
        drivers=drivers,
        coverage=_each(raw.get("coverage"), _read_coverage)[0],
        complete=frozenset(_texts(raw, "complete")),
        missing=_each(raw.get("missing"), _read_missing)[0],
        limits=_each(raw.get("limits"), _read_limit)[0],
        unseen=_each(raw.get("unseen"), _read_unseen)[0],
        volumes=volumes,
        silent=silent,
        capacity_warnings=_number(raw, "capacityWarnings"),
        omitted=Omitted(
            drivers=_number(left, "drivers") + lost_drivers,
            volumes=_number(left, "volumes") + lost_volumes,
            silent=_number(left, "silent") + lost_silent,
        ),
    )


# -- write ------------------------------------------------------------------------------------------------------


def _filled(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _summary(report: VolumeHealthReport) -> str:
    """Sum up for people: `1 of 2 drivers answering; 3 volumes in trouble, 1 silent`. Derived, so nobody reads it back."""
    answering = sum(driver.state is SourceState.ANSWERING for driver in report.drivers)
    drivers = len(report.drivers) + report.omitted.drivers
    bad = len(report.volumes) + report.omitted.volumes
    silent = len(report.silent) + report.omitted.silent
    asked = f"{answering} of {count(drivers, 'driver')} answering"
    return f"{asked}; {count(bad, 'volume')} in trouble, {silent} silent"


def _driver(driver: ReportedDriver) -> dict[str, Any]:
    return _filled(
        name=driver.name,
        state=driver.state.value,
        since=rfc3339(driver.since),
        healthAPI=driver.health_api.value,
        methods=list(driver.methods),
        message=driver.message,
        hint=driver.hint,
        storage=[_storage(problem) for problem in driver.storage],
    )


def _storage(problem: StorageProblem) -> dict[str, Any]:
    return _filled(
        status=problem.status,
        reason=problem.reason,
        message=problem.message,
        since=rfc3339(problem.since),
        accessMode=problem.access_mode,
        volumeMode=problem.volume_mode,
    )


def _coverage(coverage: Coverage, plane: Plane) -> dict[str, Any]:
    listed = "volumes" if plane is Plane.CONTROLLER else "claims"
    told = _filled(origin=coverage.observer.value, digest=coverage.digest)
    return told | _filled(**{listed: sorted(coverage.names)}) | {"count": coverage.count}


def _missing(missing: MissingLook) -> dict[str, Any]:
    return _filled(
        driver=missing.driver,
        namespace=missing.namespace,
        claim=missing.claim,
        claimUID=missing.claim_uid,
        message=missing.why,
    )


def _unseen(unseen: UnseenOrigin) -> dict[str, Any]:
    return _filled(origin=unseen.observer.value, message=unseen.why, switchedOff=unseen.off)


def _volume(volume: ReportedVolume) -> dict[str, Any]:
    conditions = [
        _filled(
            status=one.status,
            reason=one.reason,
            message=one.message,
            since=rfc3339(one.since),
            origin=one.origin.value,
            instance=one.instance,
        )
        for one in volume.conditions
    ]
    return _claim(volume) | _filled(pods=list(volume.pods), conditions=conditions)


def _silent(volume: SilentVolume) -> dict[str, Any]:
    return _claim(volume) | _filled(reason=volume.reason, message=volume.message, since=rfc3339(volume.since))


def _claim(volume: ReportedVolume | SilentVolume) -> dict[str, Any]:
    # A volume of which nobody knows how its driver calls it has an empty handle, and the schema wants one.
    return {"driver": volume.driver, "volumeHandle": volume.handle} | _filled(
        namespace=volume.namespace, claim=volume.claim, claimUID=volume.claim_uid
    )


# -- read -------------------------------------------------------------------------------------------------------


def _each(raw: object, read: Callable[[Entry], T]) -> tuple[tuple[T, ...], int]:
    """Read a list; return what could be read, and how many could not."""
    items: Iterable[object] = raw if isinstance(raw, list) else ()
    found: list[T] = []
    lost = 0 if raw is None or isinstance(raw, list) else 1
    for item in items:
        try:
            found.append(read(item if isinstance(item, Mapping) else {}))
        except ValueError:
            lost += 1
    return tuple(found), lost


def _read_driver(raw: Entry) -> ReportedDriver:
    return ReportedDriver(
        name=_needed(raw, "name"),
        # A state or a generation that we do not know can clear nothing.
        state=_STATES.get(_text(raw, "state"), SourceState.UNREACHABLE),
        since=_time(raw),
        health_api=_APIS.get(_text(raw, "healthAPI"), HealthAPI.NONE),
        methods=_texts(raw, "methods"),
        message=clean_message(_text(raw, "message")),
        hint=clean_message(_text(raw, "hint")),
        storage=_each(raw.get("storage"), _read_storage)[0],
    )


def _read_status(raw: Entry) -> str:
    status = clean_status(_text(raw, "status"))
    if not status:
        raise ValueError("no status")
    return status


def _read_storage(raw: Entry) -> StorageProblem:
    return StorageProblem(
        status=_read_status(raw),
        reason=clean_reason(_needed(raw, "reason")),
        message=clean_message(_text(raw, "message")),
        since=_time(raw),
        access_mode=_text(raw, "accessMode"),
        volume_mode=_text(raw, "volumeMode"),
    )


def _read_coverage(raw: Entry) -> Coverage:
    """Read what an observer covers; what an observer that is not known covers is of no use."""
    observer = _OBSERVERS.get(_text(raw, "origin"))
    if observer is None:
        raise ValueError("coverage of an unknown observer")
    names = frozenset((*_texts(raw, "claims"), *_texts(raw, "volumes")))
    return Coverage(observer, names, max(_number(raw, "count"), len(names)), _text(raw, "digest"))


def _read_limit(raw: Entry) -> LimitedLook:
    return LimitedLook(driver=_needed(raw, "driver"), what=clean_message(_needed(raw, "message")))


def _read_unseen(raw: Entry) -> UnseenOrigin:
    observer = _OBSERVERS.get(_text(raw, "origin"))
    if observer is None:
        raise ValueError("an unknown observer cannot look")
    return UnseenOrigin(observer, clean_message(_text(raw, "message")), off=raw.get("switchedOff") is True)


def _read_missing(raw: Entry) -> MissingLook:
    return MissingLook(
        driver=_needed(raw, "driver"),
        namespace=_text(raw, "namespace"),
        claim=_needed(raw, "claim"),
        claim_uid=_needed(raw, "claimUID"),
        why=clean_message(_text(raw, "message")),
    )


def _read_volumes(raw: object) -> tuple[tuple[ReportedVolume, ...], int]:
    """Read adverse entries. What is read of one counts; whose condition cannot be read may be the one that is gone."""
    entries, lost = _each(raw, _read_volume)
    return tuple(volume for volume, _ in entries), lost + sum(not whole for _, whole in entries)


def _read_volume(raw: Entry) -> tuple[ReportedVolume, bool]:
    """Read an adverse entry; tell whether all of its conditions could be read."""
    conditions, lost = _each(raw.get("conditions"), _read_condition)
    if not conditions:
        raise ValueError("an adverse entry without a condition")
    volume = ReportedVolume(
        driver=_needed(raw, "driver"),
        handle=_text(raw, "volumeHandle"),
        namespace=_text(raw, "namespace"),
        claim=_text(raw, "claim"),
        claim_uid=_text(raw, "claimUID"),
        pods=_texts(raw, "pods"),
        conditions=conditions,
    )
    return volume, not lost


def _read_condition(raw: Entry) -> ReportedCondition:
    return ReportedCondition(
        status=_read_status(raw),
        reason=clean_reason(_needed(raw, "reason")),
        message=clean_message(_text(raw, "message")),
        since=_time(raw),
        origin=_OBSERVERS.get(_text(raw, "origin"), Observer.DRIVER),
        instance=_text(raw, "instance"),
    )


def _read_silent(raw: Entry) -> SilentVolume:
    return SilentVolume(
        driver=_needed(raw, "driver"),
        handle=_text(raw, "volumeHandle"),
        reason=clean_reason(_needed(raw, "reason")),
        message=clean_message(_text(raw, "message")),
        since=_time(raw),
        namespace=_text(raw, "namespace"),
        claim=_text(raw, "claim"),
        claim_uid=_text(raw, "claimUID"),
    )


def _needed(raw: Entry, name: str) -> str:
    text = _text(raw, name)
    if not text:
        raise ValueError(f"no {name}")
    return text


def _text(raw: Entry, name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _texts(raw: Entry, name: str) -> tuple[str, ...]:
    value = raw.get(name)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _number(raw: Entry, name: str) -> int:
    value = raw.get(name)
    return min(value, _MOST) if isinstance(value, int) and value > 0 else 0


def _time(raw: Entry) -> datetime:
    return moment_of(raw.get("since")) or LONG_AGO
