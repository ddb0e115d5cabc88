"""The CRD of reports and what is written agree, both ways."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.agent import NOW
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
from volumehealth.model.report_json import decode_report, encode_report
from volumehealth.model.vocabulary import REPORT_KIND, REPORTS

CRD = yaml.safe_load((Path(__file__).parents[3] / "crds" / f"{REPORTS}.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
FULL = VolumeHealthReport(
    name="worker-1",
    node="worker-1",
    drivers=(
        ReportedDriver(
            "d", SourceState.ANSWERING, NOW, HealthAPI.NONE, ("M",), "m", "h",
            (StorageProblem("StorageDegraded", "X", "m", NOW, "ReadWriteOnce", "Block"),),
        ),
    ),
    coverage=(Coverage(Observer.DRIVER, frozenset({"uid"}), 1, "digest"),),
    complete=frozenset({"uid"}),
    missing=(MissingLook("d", "shop", "data", "uid", "m"),),
    limits=(LimitedLook("d", "device only"),),
    unseen=(UnseenOrigin(Observer.KERNEL_LOG, "m", off=True),),
    volumes=(
        ReportedVolume("d", "v", "shop", "data", "uid", ("p",), (ReportedCondition("Degraded", "X", "m", NOW, instance="i"),)),
    ),
    silent=(SilentVolume("d", "v", "CallFailed", "m", NOW, "shop", "data", "uid"),),
    capacity_warnings=1,
    omitted=Omitted(1, 1, 1),
)  # fmt: skip


def written(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, list):
        yield from written(value[0], f"{path}[]")
    elif isinstance(value, dict):
        for name, below in value.items():
            yield f"{path}.{name}"
            yield from written(below, f"{path}.{name}")


def described(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if schema["type"] == "array":
        yield from described(schema["items"], f"{path}[]")
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from described(below, f"{path}.{name}")


def test_every_field_that_is_written_is_in_the_schema_and_the_other_way_round() -> None:
    for field in fields(FULL):
        assert getattr(FULL, field.name), f"the test leaves {field.name} empty"
    controllers = replace(FULL, plane=Plane.CONTROLLER)
    everything = {*written(encode_report(FULL)), *written(encode_report(controllers))}
    assert everything == set(described(SCHEMA))


def test_what_the_schema_requires_is_always_written() -> None:
    bare = replace(
        FULL,
        drivers=(ReportedDriver("d", SourceState.UNSUPPORTED, NOW),),
        volumes=(ReportedVolume("d", "v", conditions=(ReportedCondition("Degraded", "X", "", NOW),)),),
        silent=(SilentVolume("d", "v", "CallFailed", "", NOW),),
    )
    status = encode_report(bare)
    for name in ("drivers", "volumes", "silent"):
        assert set(SCHEMA["properties"][name]["items"]["required"]) <= status[name][0].keys()


def test_a_volume_without_a_known_handle_is_written_as_the_schema_wants_it_and_read_back() -> None:
    """Of some migrated volumes nobody knows how their driver calls them; the whole report would be refused for one."""
    volumes = tuple(replace(one, handle="") for one in FULL.volumes)
    report = replace(FULL, volumes=volumes, silent=tuple(replace(one, handle="") for one in FULL.silent))
    encoded = encode_report(report)
    assert all(one["volumeHandle"] == "" for one in (*encoded["volumes"], *encoded["silent"]))
    assert decode_report(report.name, encoded) == report


@pytest.mark.parametrize("status", [" ", "\u200b", 5, None])
def test_an_entry_with_a_blank_status_counts_as_left_out(status: object) -> None:
    """One bad node must not bring about a finding that no record can hold."""
    encoded = encode_report(FULL)
    for volume in encoded["volumes"]:
        for said in volume["conditions"]:
            said["status"] = status
    found = decode_report(FULL.name, encoded)
    assert found.volumes == ()
    assert found.omitted.volumes == FULL.omitted.volumes + len(FULL.volumes)


def test_every_field_has_a_description() -> None:
    def bare(schema: dict[str, Any], path: str) -> Iterator[str]:
        if not schema.get("description"):
            yield path
        for name, below in schema.get("properties", {}).items():
            yield from bare(below, f"{path}.{name}")
        if "items" in schema:
            yield from bare(schema["items"], f"{path}[]")

    assert list(bare(SCHEMA, "status")) == []
    assert CRD["spec"]["names"]["kind"] == REPORT_KIND
    assert "subresources" not in CRD["spec"]["versions"][0]
