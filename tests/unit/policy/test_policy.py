"""Reading policies: every default filled in, every fault named with its path."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policy_specs import ACCEPTED, REFUSED
from volumehealth.errors import InvalidSpec
from volumehealth.model.policy import LabelExpression, Policy, PolicySpec, RuleMatch, RuleSet
from volumehealth.policy.files import policy_from_file
from volumehealth.policy.parse import parse_policy


def policy(spec: Any, **metadata: Any) -> dict[str, Any]:
    raw = {"apiVersion": "volumehealth.dev/v1alpha1", "kind": "VolumeHealthPolicy"}
    return raw | {"metadata": {"name": "storage"} | metadata} | ({} if spec is None else {"spec": spec})


def faults(spec: Any, **metadata: Any) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        parse_policy(policy(spec, **metadata))
    return {fault.path: fault.message for fault in caught.value.errors}


def test_an_empty_spec_has_every_default() -> None:
    assert parse_policy(policy({})).spec == PolicySpec()


def test_an_object_of_the_api_server_keeps_its_identity() -> None:
    read = parse_policy(policy({}, uid="u-1", generation=7, creationTimestamp="2026-11-23T03:02:11Z"))
    created = datetime(2026, 11, 23, 3, 2, 11, tzinfo=UTC)
    assert read == Policy(name="storage", uid="u-1", generation=7, created=created, spec=PolicySpec())


def test_every_kind_of_field_is_read() -> None:
    spec = parse_policy(
        policy(
            {
                "priority": 5,
                "suspend": True,
                "selector": {
                    "drivers": ["a.example"],
                    "storageClassNames": ["fast"],
                    "namespaceSelector": {"matchLabels": {"tier": "prod"}},
                    "claimSelector": {"matchExpressions": [{"key": "x", "operator": "In", "values": ["1"]}]},
                },
                "interval": "30s",
                "checks": {"node": {"enabled": False}, "capacity": {"warningPercentFree": 10}},
                "rules": [
                    {
                        "match": {"driver": "a.example", "message": "full"},
                        "set": {"status": "Degraded", "reason": "OutOfCapacity"},
                        "unhealthyAfter": "15m",
                    }
                ],
                "events": {"remindEvery": "10m"},
            }
        )
    ).spec
    assert (spec.priority, spec.suspend, spec.interval) == (5, True, timedelta(seconds=30))
    assert (spec.selector.drivers, spec.selector.storage_class_names) == (("a.example",), ("fast",))
    assert dict(spec.selector.namespace_selector.match_labels) == {"tier": "prod"}
    assert spec.selector.claim_selector.match_expressions == (LabelExpression("x", "In", ("1",)),)
    assert (spec.checks.node.enabled, spec.checks.controller.enabled) == (False, True)
    assert (spec.checks.capacity.warning_percent_free, spec.checks.capacity.critical_percent_free) == (10, 3)
    assert spec.rules[0].match == RuleMatch(driver="a.example", message="full")
    assert spec.rules[0].set == RuleSet("Degraded", "OutOfCapacity")
    assert spec.rules[0].unhealthy_after == timedelta(minutes=15)
    assert spec.events.remind_every == timedelta(minutes=10)


def test_fields_of_a_newer_schema_are_skipped() -> None:
    spec = {
        "remediation": {"enabled": True},
        "selector": {"zones": ["a"]},
        "rules": [{"match": {"message": "x"}, "ignore": True, "say": 1}],
    }
    assert len(parse_policy(policy(spec)).spec.rules) == 1


def test_null_means_not_given() -> None:
    assert parse_policy(policy({"selector": None, "interval": None, "rules": None})).spec == PolicySpec()


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused(sentence: str) -> None:
    """What the API server refuses is refused here, at the same path."""
    case = REFUSED[sentence]
    found = faults(case.spec)
    assert case.path in found, found
    assert (case.ours or case.says) in found[case.path]


@pytest.mark.parametrize("sentence", ACCEPTED)
def test_accepted(sentence: str) -> None:
    """What the API server accepts is accepted here."""
    parse_policy(policy(ACCEPTED[sentence]))


def test_all_faults_are_told_at_once() -> None:
    assert set(
        faults({"interval": "1s", "rules": [{"match": {"message": "("}}], "priority": "x"}, name="")
    ) == {
        "metadata.name",
        "spec.interval",
        "spec.priority",
        "spec.rules[0]",
        "spec.rules[0].match.message",
    }


def test_a_fault_is_told_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_policy(policy({"interval": 60, "selector": {"claimSelector": {"matchExpressions": [{}]}}}))
    paths = [fault.path for fault in caught.value.errors]
    at = "spec.selector.claimSelector.matchExpressions[0]"
    assert paths == [f"{at}.key", f"{at}.operator", "spec.interval"]


def test_a_bad_pattern_is_told_with_its_cause(capfd: pytest.CaptureFixture[str]) -> None:
    spec = {"rules": [{"match": {"message": "(full"}, "ignore": True}]}
    assert faults(spec)["spec.rules[0].match.message"].endswith("missing ): (full")
    assert capfd.readouterr().err == ""


def test_a_name_that_no_label_can_hold_is_refused() -> None:
    assert "63 characters" in faults({}, name="n" * 64)["metadata.name"]


def test_a_creation_time_that_is_none_is_refused() -> None:
    assert "metadata.creationTimestamp" in faults({}, creationTimestamp="yesterday")


GOOD = "apiVersion: volumehealth.dev/v1alpha1\nkind: VolumeHealthPolicy\nmetadata: {name: a}\nspec: {interval: 10s}\n"

BAD_FILES = {
    "an empty file": ("", "must hold exactly one VolumeHealthPolicy, but holds 0 objects"),
    "two policies": (f"{GOOD}---\n{GOOD}", "must hold exactly one VolumeHealthPolicy, but holds 2 objects"),
    "no YAML": ("a: [", "is not YAML: "),
    "a list": ("- a", "must hold a VolumeHealthPolicy of volumehealth.dev/v1alpha1, but holds None of None"),
    "another kind": ("apiVersion: v1\nkind: Pod", "but holds Pod of v1"),
    "another group's policy": (GOOD.replace("volumehealth.dev", "example.com"), "of example.com/v1alpha1"),
    "a newer version": (
        GOOD.replace("v1alpha1", "v2"),
        "holds version volumehealth.dev/v2, but this program reads",
    ),
    "a tag that would run code": ("!!python/object/apply:os.getpid []", "is not YAML: "),
    "a day that there is not": (
        GOOD.replace("interval: 10s", "suspendUntil: 2026-02-30T00:00:00Z"),
        "is not YAML: day is out of range",
    ),
    "a number without an end": (GOOD.replace("interval: 10s", f"priority: {'9' * 5000}"), "is not YAML: "),
    "lists without an end": (GOOD.replace("interval: 10s", f"rules: {'[' * 5000}"), "is not YAML: "),
    "a time that no calendar of ours has": (
        GOOD.replace("interval: 10s", "suspendUntil: 0001-01-01T00:00:00+05:00"),
        "spec.suspendUntil: must be a time with a zone",
    ),
    "a bad spec": (GOOD.replace("10s", "10"), "spec.interval: must be a duration"),
    "a selector that is misspelt, and would select all": (
        GOOD.replace("interval: 10s", "selektor: {drivers: [a]}"),
        "spec.selektor: there is no such field; did you mean selector?",
    ),
    "a check that is misspelt, and would stay on": (
        GOOD.replace("interval: 10s", "checks: {nodes: {enabled: false}}"),
        "spec.checks.nodes: there is no such field; did you mean node?",
    ),
    "half a character, of which no pattern can be made": (
        GOOD.replace("interval: 10s", r'rules: [{match: {message: "\ud800"}, ignore: true}]'),
        "it holds half of a surrogate pair, which stands for nothing",
    ),
    "a rule that is misspelt": (
        GOOD.replace("interval: 10s", "rules: [{match: {driver: a, plane: Node}, ignore: true}]"),
        "spec.rules[0].match.plane: there is no such field; known are driver, message, reason, source, status",
    ),
}


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f"---\n{GOOD}---\n# nothing more\n")
    read = policy_from_file(file)
    assert (read.name, read.uid, read.spec.interval) == ("a", "", timedelta(seconds=10))


@pytest.mark.parametrize("sentence", BAD_FILES)
def test_a_file_that_is_no_policy(sentence: str, tmp_path: Path) -> None:
    """Whatever is wrong with a file is told in a sentence."""
    text, says = BAD_FILES[sentence]
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(InvalidSpec, match=r".") as caught:
        policy_from_file(file)
    assert says in str(caught.value)


def test_a_character_that_json_writes_as_two_escapes_is_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        GOOD.replace("interval: 10s", r'rules: [{match: {message: "\ud83d\ude00"}, ignore: true}]')
    )
    assert policy_from_file(file).spec.rules[0].match.message == "\U0001f600"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="cannot be read: No such file"):
        policy_from_file(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InvalidSpec, match="is not YAML"):
        policy_from_file(tmp_path / "latin.yaml")
