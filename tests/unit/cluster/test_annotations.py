"""Which annotations of claims and volumes are kept: those that a source reads, and no others."""

from typing import Any

import msgspec
import pytest

from volumehealth.cluster.joins import ClaimJoin
from volumehealth.cluster.objects import (
    Annotations,
    ClaimRow,
    LabelPool,
    PersistentVolume,
    PersistentVolumeClaim,
    VolumeRow,
    claim_row,
    volume_row,
)
from volumehealth.model.ids import ClaimRef

KEY, OTHER = "storage.example.com/health", "storage.example.com/health-timestamp"
DB = ClaimRef("shop", "db")


def of_claim(annotations: Any, kept: Annotations) -> ClaimRow:
    metadata = {"name": "db", "namespace": "shop", "uid": "uid-db", "annotations": annotations}
    raw = {"metadata": metadata, "spec": {"volumeName": "pv-1"}, "status": {"phase": "Bound"}}
    body = msgspec.json.encode(raw)
    return claim_row(msgspec.json.decode(body, type=PersistentVolumeClaim), LabelPool(), kept)


def of_volume(annotations: Any, kept: Annotations, *, uid: str = "uid-db") -> VolumeRow:
    spec = {
        "csi": {"driver": "d", "volumeHandle": "h"},
        "claimRef": {"namespace": "shop", "name": "db", "uid": uid},
    }
    raw = {"metadata": {"name": "pv-1", "annotations": annotations}, "spec": spec}
    return volume_row(msgspec.json.decode(msgspec.json.encode(raw), type=PersistentVolume), kept)


@pytest.mark.parametrize(
    ("annotations", "kept"),
    [
        (None, {}),
        ({}, {}),
        ({"some": "thing"}, {}),
        ({OTHER: "now"}, {}),
        ({KEY: "accessible", OTHER: "now"}, {KEY: "accessible"}),
        ({KEY: 5, OTHER: "now"}, {}),
        ({KEY: None}, {}),
    ],
)
def test_only_what_a_source_reads_is_kept(annotations: Any, kept: dict[str, str]) -> None:
    reads = Annotations([KEY], LabelPool())
    assert of_claim(annotations, reads).annotations == kept
    assert of_volume(annotations, reads).annotations == kept


def test_where_no_source_reads_any_nothing_is_kept() -> None:
    assert of_claim({KEY: "accessible"}, Annotations((), LabelPool())).annotations == {}


def test_equal_annotations_are_one_object() -> None:
    reads = Annotations([KEY], LabelPool())
    one, two = (of_claim({KEY: "accessible", OTHER: time}, reads).annotations for time in ("1", "2"))
    assert one is two


def test_a_claim_shows_its_own_and_those_of_the_volume_that_is_bound_to_it() -> None:
    reads = Annotations([KEY, OTHER], LabelPool())
    join = ClaimJoin(lambda _: None)
    join.put_volume(of_volume({KEY: "degraded", OTHER: "now"}, reads))
    assert join.annotations == {}
    join.put_claim(of_claim({KEY: "accessible"}, reads))
    assert join.annotations == {DB: {KEY: "accessible", OTHER: "now"}}
    join.put_volume(of_volume({KEY: "degraded"}, reads, uid="uid-of-another"))
    assert join.annotations == {DB: {KEY: "accessible"}}
    join.put_claim(of_claim(None, reads))
    assert join.annotations == {}
    join.put_claim(of_claim({KEY: "accessible"}, reads))
    join.drop_claim(DB)
    assert join.annotations == {}
