"""Silences: a claim's, a namespace's, a node's; over by themselves; a value that cannot be read silences nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from support.health import START, make_claim
from volumehealth.cluster.nodeobjects import NodeObject, node_row
from volumehealth.cluster.objects import (
    LabelPool,
    NamespaceObject,
    PersistentVolumeClaim,
    claim_row,
    namespace_row,
)
from volumehealth.model.cluster import Namespace, Node, SilenceAsked
from volumehealth.model.ids import ClaimRef
from volumehealth.policy.silence import Silences, annotations, parse_until

CLAIM = make_claim()
REF = CLAIM.ref
TONIGHT = "2026-11-23T06:00Z"
UNTIL = datetime(2026, 11, 23, 6, tzinfo=UTC)


def asked(until: str = TONIGHT, reason: str = "array work") -> SilenceAsked:
    return SilenceAsked(until, reason, "uid-1")


def silences(
    claim: SilenceAsked | None = None, space: SilenceAsked | None = None, node: SilenceAsked | None = None
) -> Silences:
    claims: Mapping[ClaimRef, SilenceAsked] = {REF: claim} if claim is not None else {}
    return Silences(
        claims,
        {REF: CLAIM},
        {"shop": Namespace("shop", {}, space)},
        {"worker-2": Node("worker-2", "True", None, silence=node)},
    )


def test_a_claims_silence_holds_until_its_end_and_no_longer() -> None:
    given = silences(claim=asked())
    found = given.of(REF, "", START)
    assert found is not None
    assert found.text == "until 23 Nov 06:00Z, by the claim: array work"
    assert given.of(REF, "", UNTIL - timedelta(seconds=1)) is not None
    assert given.of(REF, "", UNTIL) is None
    assert given.of(ClaimRef("shop", "other"), "", START) is None


def test_a_namespaces_silence_holds_for_its_claims_and_a_nodes_for_what_is_wrong_there() -> None:
    assert silences(space=asked()).of(ClaimRef("shop", "any"), "", START) is not None
    assert silences(space=asked()).of(ClaimRef("ci", "any"), "", START) is None
    assert silences(node=asked()).of(REF, "worker-2", START) is not None
    assert silences(node=asked()).of(REF, "worker-3", START) is None
    assert silences(node=asked()).of(REF, "", START) is None


def test_of_several_silences_the_one_that_ends_last_holds() -> None:
    found = silences(claim=asked(), space=asked("2026-11-24T06:00Z")).of(REF, "", START)
    assert found is not None
    assert found.by == "the namespace shop"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-23",
        "2026-11-23T06:00",
        "2026-13-01T06:00Z",
        "4h",
        "true",
        "2199-01-01T00:00Z",
        "9" * 300,
        "\x00",
    ],
)
def test_a_value_that_is_no_end_silences_nothing_and_is_told(text: str) -> None:
    given = silences(claim=asked(text), node=asked(text))
    assert given.of(REF, "worker-2", START) is None
    assert {(one.kind, one.name) for one in given.bad(START)} == {
        ("PersistentVolumeClaim", "orders-db"),
        ("Node", "worker-2"),
    }


def test_an_end_in_the_past_is_over_and_no_mistake() -> None:
    given = silences(claim=asked("2026-11-20T06:00Z"))
    assert given.of(REF, "", START) is None
    assert list(given.bad(START)) == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T06:00Z", UNTIL),
        ("2026-11-23T06:00:00Z", UNTIL),
        (" 2026-11-23T08:00+02:00 ", UNTIL),
        ("2026-11-23t06:00:00.5z", UNTIL + timedelta(milliseconds=500)),
    ],
)
def test_an_end_may_leave_out_its_seconds_and_be_of_any_zone(text: str, moment: datetime) -> None:
    assert parse_until(text, START) == moment


def test_what_the_command_writes_is_read_back() -> None:
    written = annotations(UNTIL, "array work")
    assert parse_until(str(written["volumehealth.dev/silence-until"]), START) == UNTIL
    assert set(annotations(None, "").values()) == {None}


NOTES = {"volumehealth.dev/silence-until": TONIGHT, "volumehealth.dev/silence-reason": "array\nwork"}


def test_the_annotations_are_read_from_claims_namespaces_and_nodes() -> None:
    claim = {"metadata": {"namespace": "shop", "name": "a", "uid": "u", "annotations": NOTES}}
    row = claim_row(msgspec.json.decode(msgspec.json.encode(claim), type=PersistentVolumeClaim), LabelPool())
    assert row.silence == SilenceAsked(TONIGHT, "array work", "u")
    space = {"metadata": {"name": "shop", "uid": "u", "annotations": NOTES}}
    found = namespace_row(msgspec.convert(space, NamespaceObject), LabelPool())
    assert found.silence == SilenceAsked(TONIGHT, "array work", "u")
    node = {"metadata": {"name": "worker-2", "uid": "u", "annotations": NOTES}}
    assert node_row(msgspec.convert(node, NodeObject)).silence == SilenceAsked(TONIGHT, "array work", "u")


def test_an_empty_annotation_is_a_mistake_and_a_missing_one_is_not() -> None:
    def of(notes: dict[str, str]) -> SilenceAsked | None:
        space = {"metadata": {"name": "shop", "uid": "u", "annotations": notes}}
        return namespace_row(msgspec.convert(space, NamespaceObject), LabelPool()).silence

    assert of({"volumehealth.dev/silence-until": ""}) == SilenceAsked("", "", "u")
    assert of({"volumehealth.dev/silence-reason": "array work"}) is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"unschedulable": True}, "it is cordoned: planned work"),
        (
            {
                "unschedulable": True,
                "taints": [{"key": "node.kubernetes.io/unschedulable", "timeAdded": "2026-11-23T03:00:00Z"}],
            },
            "it is cordoned since 2026-11-23T03:00:00Z",
        ),
        ({"taints": [{"key": "node.kubernetes.io/out-of-service"}]}, "taken out of service by hand"),
        ({"taints": [{"key": "node.kubernetes.io/not-ready"}]}, ""),
        ({}, ""),
    ],
)
def test_planned_work_on_a_node_is_recognised(spec: dict[str, object], words: str) -> None:
    node = {"metadata": {"name": "worker-2"}, "spec": spec}
    planned = node_row(msgspec.convert(node, NodeObject)).planned
    assert words in planned
    assert bool(planned) == bool(words)
