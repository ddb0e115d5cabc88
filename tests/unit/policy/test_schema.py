"""The CRDs and the dataclasses say the same, both ways; every field teaches whoever runs `kubectl explain`."""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import yaml

from support.script import load
from volumehealth.judge.policy import Counts
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import (
    DATA_LOSS,
    DEGRADED,
    INACCESSIBLE,
    Change,
    ClaimHealth,
    DriverState,
    Finding,
    HealthAPI,
    Identity,
    Source,
    SourceState,
    Via,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import PolicySpec
from volumehealth.model.vocabulary import (
    DRIVER_KIND,
    DRIVERS,
    GROUP,
    POLICIES,
    POLICY_KIND,
    RECORD_KIND,
    RECORDS,
    VERSION,
    ConditionType,
)
from volumehealth.policy.decode import camel_case
from volumehealth.policy.durations import format_duration
from volumehealth.policy.silence import Silence
from volumehealth.report.outbox import Due, Edge
from volumehealth.report.records import render

CRDS = Path(__file__).parents[3] / "crds"
Schema = dict[str, Any]


def crd(plural: str) -> Schema:
    loaded: Schema = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return loaded


def schema(plural: str) -> Schema:
    (version,) = crd(plural)["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def at(plural: str, path: str) -> Schema:
    """Return the schema of a field such as `spec.rules[].match`."""
    found = schema(plural)
    for name in path.split("."):
        found = found["properties"][name.removesuffix("[]")]
        found = found["items"] if name.endswith("[]") else found
    return found


def walk(found: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every schema with its path."""
    yield path, found
    for name, child in found.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}".removeprefix("."))
    for inner in ("items", "additionalProperties"):
        if inner in found:
            yield from walk(found[inner], f"{path}[]")


EVERY_FIELD = {
    f"{plural}:{path}": found
    for plural in (POLICIES, RECORDS, DRIVERS)
    for path, found in walk(schema(plural))
    if path != "metadata"
}
SPEC_FIELDS = dict(walk(at(POLICIES, "spec"), "spec"))


def test_every_field_is_described_in_sentences() -> None:
    sentence = re.compile(r"([A-Z0-9]|true|false).{7,}\.", re.DOTALL)
    assert [
        path for path, found in EVERY_FIELD.items() if not sentence.fullmatch(found.get("description", ""))
    ] == []


def test_no_default_is_written_into_objects_and_no_unknown_field_is_kept() -> None:
    unwanted = ("default", "x-kubernetes-preserve-unknown-fields")
    found = [path for path, one in EVERY_FIELD.items() if any(key in one for key in unwanted)]
    assert found == [
        f"{POLICIES}:status"
    ]  # `observedGeneration: -1`, so that kstatus calls an unread object in progress


def test_every_list_says_how_it_is_merged() -> None:
    lists = {path: found for path, found in EVERY_FIELD.items() if found["type"] == "array"}
    ways = ("atomic", "set", "map")
    assert [path for path, found in lists.items() if found.get("x-kubernetes-list-type") not in ways] == []


def test_every_rule_says_what_to_do() -> None:
    rules = [rule for found in EVERY_FIELD.values() for rule in found.get("x-kubernetes-validations", ())]
    assert len(rules) > 40
    assert [rule for rule in rules if len(rule["message"]) < 15] == []


def spec_pairs() -> Iterator[tuple[str, Field[Any], Any, Schema]]:
    """Yield path, dataclass field, type and schema of every field of spec, from the dataclasses."""
    yield from _pairs(PolicySpec, "spec")


def _pairs(kind: type[Any], path: str) -> Iterator[tuple[str, Field[Any], Any, Schema]]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint, below = hints[field.name], f"{path}.{camel_case(field.name)}"
        if get_origin(hint) in (types.UnionType, Union):
            hint = get_args(hint)[0]
        yield below, field, hint, SPEC_FIELDS.get(below, {})
        inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if is_dataclass(inner):
            yield from _pairs(inner, f"{below}[]" if get_origin(hint) is tuple else below)  # type: ignore[arg-type]  # a class


PAIRS = [pytest.param(*pair, id=pair[0]) for pair in spec_pairs()]


def test_spec_and_dataclasses_have_the_same_fields() -> None:
    described = {path for path in SPEC_FIELDS if not path.endswith("[]") and path != "spec"}
    assert described == {path for path, *_ in spec_pairs()}


@pytest.mark.parametrize(("path", "field", "hint", "found"), PAIRS)
def test_types_agree(path: str, field: Field[Any], hint: Any, found: Schema) -> None:
    kinds: Mapping[Any, str] = {str: "string", bool: "boolean", int: "integer", timedelta: "string"}
    kinds = {**kinds, datetime: "string"}
    origin = get_origin(hint)
    if origin is tuple:
        assert found["type"] == "array"
        assert "maxItems" in found
    else:
        assert found["type"] == kinds.get(hint, "object")
    if hint is str:
        assert "maxLength" in found or "enum" in found


@pytest.mark.parametrize(("path", "field", "hint", "found"), PAIRS)
def test_required_in_the_schema_is_required_in_the_code(
    path: str, field: Field[Any], hint: Any, found: Schema
) -> None:
    parent, _, name = path.rpartition(".")
    required = name in SPEC_FIELDS[parent].get("required", ())
    in_code = field.default is MISSING and field.default_factory is MISSING
    # a rule's match may not be empty, so that leaving it out is refused at a better place by the schema
    assert required == (in_code or path == "spec.rules[].match")


@pytest.mark.parametrize(("path", "field", "hint", "found"), PAIRS)
def test_every_default_is_named(path: str, field: Field[Any], hint: Any, found: Schema) -> None:
    description = found["description"]
    match field.default:
        case bool():
            assert description.endswith(f"Default: {str(field.default).lower()}.")
        case int():
            assert description.endswith(f"Default: {field.default}.")
        case timedelta():
            assert description.endswith(f"Default: {format_duration(field.default)}.")
        case _ if path.endswith((".key", ".operator", ".match")):
            assert "Default:" not in description
        case _:
            assert "Default: " in description


@pytest.mark.parametrize(("path", "field", "hint", "found"), PAIRS)
def test_every_bound_is_named(path: str, field: Field[Any], hint: Any, found: Schema) -> None:
    if hint is timedelta:
        (_, bounds) = found["x-kubernetes-validations"]
        words = bounds["message"].removeprefix("must be from ")
        least, most = words.split(" to ")
        assert (
            f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')" in bounds["rule"]
        )
        named = found["description"]
        assert re.search(rf"From {least} to {most}\.", named)
    if "Percent" in path:
        assert f"From {found['minimum']} to {found['maximum']}." in found["description"]


def test_the_rule_about_thresholds_knows_the_default() -> None:
    (rule,) = at(POLICIES, "spec.checks.capacity")["x-kubernetes-validations"]
    default = PolicySpec().checks.capacity.critical_percent_free
    assert f": {default})" in rule["rule"]
    assert f"which is {default} if" in rule["message"]


def test_words_from_closed_lists_are_the_same() -> None:
    assert at(POLICIES, "spec.rules[].match.source")["enum"] == list(Source)
    assert at(POLICIES, "spec.rules[].set.status")["enum"] == [DATA_LOSS, INACCESSIBLE, DEGRADED]


def test_the_page_about_the_api_is_up_to_date() -> None:
    """If not: `.venv/bin/python docs/reference.py`."""
    reference = load(CRDS.parent / "docs" / "reference.py")
    page = (CRDS.parent / "docs" / "api.md").read_text()
    assert reference.render(page) == page


STATUS_WORDS: Mapping[tuple[str, str], Sequence[str]] = {
    (DRIVERS, "status.state"): list(SourceState),
    (DRIVERS, "status.healthAPI"): list(HealthAPI),
    (POLICIES, "status.conditions"): list(ConditionType),
    (POLICIES, "status.problems[].source"): list(Source),
    (RECORDS, "status.findings[].source"): list(Source),
    (RECORDS, "status.findings[].via"): list(Via),
    (RECORDS, "status.health"): ["Unhealthy", "Unknown", "Recovered"],
}


@pytest.mark.parametrize(("plural", "path"), STATUS_WORDS)
def test_words_of_the_status_are_explained_and_not_enforced(plural: str, path: str) -> None:
    """An enum there would make an older CRD refuse what a newer operator found."""
    found = at(plural, path)
    assert "enum" not in found
    assert [word for word in STATUS_WORDS[plural, path] if word not in found["description"]] == []


API_NAMES = {
    "health_api": "healthAPI",
    "not_csi": "notCSI",
    "observers": "origins",
    "unknown_reason": "reason",
    "unknown_message": "message",
}


def api_names(kind: type[Any]) -> set[str]:
    return {API_NAMES.get(name) or camel_case(name) for name in get_type_hints(kind)}


def properties(plural: str, path: str) -> set[str]:
    return set(at(plural, path)["properties"])


def test_the_status_counts_what_is_counted() -> None:
    beside = {"silenced"}  # follows from the findings and the annotations, not from the judgement
    assert properties(POLICIES, "status.claims") == api_names(Counts) | beside


def test_a_record_holds_what_a_restart_needs() -> None:
    kept = api_names(Finding) - {"clear", "ending"}  # what each process counts for itself
    assert properties(RECORDS, "status.findings[]") == kept
    assert properties(RECORDS, "status.episodes[]") == api_names(Identity) | {"count"}
    assert properties(RECORDS, "status.history[]") == api_names(Change)
    not_written = {
        "uid",
        "pending",
        "confirmedOrigins",
        "closed",
        "verdict",
        "ignored",
    }  # the owner's, memory only, and what follows from the rest
    told_apart = {
        "health",
        "since",
        "policy",
        "driver",
        "volume",
        "volumeHandle",
        "pods",
        "podSummary",
        "owed",
        "workloads",
        "runbook",
        "silenced",
    }
    assert properties(RECORDS, "status") == (api_names(ClaimHealth) - not_written) | told_apart


def test_no_field_of_a_written_record_is_unknown_to_the_schema() -> None:
    """The API server drops what it does not know, without a word."""
    now = datetime(2026, 11, 23, 3, 2, 11, tzinfo=UTC)
    finding = Finding(
        Source.NODE,
        "Inaccessible",
        "VolumeUnmounted",
        "gone",
        now,
        now,
        node="n",
        stale=True,
        clear_since=now,
        named=now + timedelta(hours=1),
    )
    health = ClaimHealth(
        uid="u",
        findings=(finding,),
        episodes={finding.identity: 1},
        history=(Change(now, "came"),),
        recovered=now,
        unknown_reason="AgentSilent",
        unknown_message="the agent is silent",
    )
    claim = Claim(ClaimRef("shop", "db"), "u", {}, "fast", "Bound", "pv", "csi.example.com", "vol")
    due = Due(
        "Events",
        Edge.NORMAL,
        "u",
        replace(finding, last_notified_at=now),
        now,
        pods=("db-0",),
        all_pods=True,
        remaining=1,
    )
    pod = Pod("shop", "db-0", "u", "n", "Running", ("db",))
    written = render(
        health,
        claim=claim,
        policy="storage",
        pods=(pod,),
        notified=lambda finding: now,
        owed=(due,),
        silence=Silence(now, "array work", "the claim"),
    )
    assert sorted(paths(written["status"], "status")) == sorted(
        f"status.{path}" for path, _ in walk(at(RECORDS, "status")) if path and not path.endswith("[]")
    )


def paths(value: object, path: str) -> set[str]:
    """Return the path of every field in a value."""
    found: set[str] = set()
    if isinstance(value, Mapping):
        for name, inner in value.items():
            found |= {f"{path}.{name}"} | paths(inner, f"{path}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            found |= paths(item, f"{path}[]")
    return found


@pytest.mark.parametrize("kind", [Finding, DriverState, Change])
def test_times_are_times(kind: type[Any]) -> None:
    plural, path = {Finding: (RECORDS, "status.findings[]"), Change: (RECORDS, "status.history[]")}.get(
        kind, (DRIVERS, "status")
    )
    for name, hint in get_type_hints(kind).items():
        if name in {
            DriverState: ("name", "controller", "unseen", "limits"),
            Finding: ("clear", "ending"),
        }.get(kind, ()):
            continue  # the object's own name, below `plugins`, parts of the message; not stored
        found = at(plural, f"{path}.{API_NAMES.get(name) or camel_case(name)}")
        assert (found.get("format") == "date-time") == (datetime in (hint, *get_args(hint)))


COLUMNS = {
    POLICIES: ["Healthy", "Ready", "Claims", "Unhealthy", "Unknown", "Unmonitored", "Last-Check", "Age"],
    DRIVERS: ["State", "Health-API", "Claims", "Basis", "Nodes", "Since", "Methods", "Hint"],
    RECORDS: ["Health", "Status", "Reason", "Source", "Node", "Since", "Driver", "Policy", "Pods", "Message"],
}


@pytest.mark.parametrize("plural", COLUMNS)
def test_the_columns_are_those_of_the_design(plural: str) -> None:
    columns = crd(plural)["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns] == COLUMNS[plural]
    assert [column["name"] for column in columns if column.get("priority")] == (
        {RECORDS: ["Driver", "Policy", "Pods", "Message"], DRIVERS: ["Methods", "Hint"]}.get(plural, [])
    )
    for column in columns:
        path = re.sub(r"\[[^]]*\]", "[]", column["jsonPath"].removeprefix("."))
        if not path.startswith("metadata."):
            assert at(plural, path)


@pytest.mark.parametrize(
    ("plural", "kind", "short"),
    [(POLICIES, POLICY_KIND, "vhp"), (RECORDS, RECORD_KIND, "vh"), (DRIVERS, DRIVER_KIND, "vhd")],
)
def test_names_are_those_of_the_vocabulary(plural: str, kind: str, short: str) -> None:
    found = crd(plural)
    names = found["spec"]["names"]
    assert found["metadata"]["name"] == f"{plural}.{GROUP}"
    assert (found["spec"]["group"], names["plural"], names["kind"], names["shortNames"]) == (
        GROUP,
        plural,
        kind,
        [short],
    )
    (version,) = found["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == (VERSION, True, True)
    assert ("subresources" in version) == (plural == POLICIES)
