"""The APIs on the real API server: what is refused, with which words; what kubectl shows; how writes merge."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_specs import ACCEPTED, REFUSED
from volumehealth_sandbox.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
INVALID = re.compile(r'"(case-\d+)" is invalid: (.*?)(?=\nError from server|\Z)', re.DOTALL)

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(control_plane: ControlPlane) -> Kubectl:
    """Run kubectl on a server with the CRDs; its failure is an answer, too."""

    def kubectl(*args: str, documents: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [control_plane.kubectl_path, *args],
            input=None if documents is None else yaml.safe_dump_all(documents),
            env=os.environ | control_plane.kubectl_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    applied = kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
    assert applied.returncode == 0, applied.stderr
    for name in ("volumehealthpolicies", "volumehealths"):
        waited = kubectl(
            "wait", "--for=condition=Established", f"crd/{name}.volumehealth.dev", "--timeout=30s"
        )
        assert waited.returncode == 0, waited.stderr
    return kubectl


@pytest.fixture
def policies(run: Kubectl) -> Iterator[None]:
    """Remove what a test made."""
    yield
    run("delete", "vhp", "--all", "--wait=true")


@pytest.fixture
def namespace(run: Kubectl) -> str:
    """A namespace that no other test uses."""
    created = run(
        "create", "-f", "-", "-o", "name", documents=[{**NAMESPACE, "metadata": {"generateName": "crds-"}}]
    )
    assert created.returncode == 0, created.stderr
    return created.stdout.strip().removeprefix("namespace/")


def policy(name: str, spec: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {"apiVersion": "volumehealth.dev/v1alpha1", "kind": "VolumeHealthPolicy"}
    return raw | {"metadata": {"name": name}} | ({} if spec is None else {"spec": spec})


def record(namespace: str, name: str, status: Mapping[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {"apiVersion": "volumehealth.dev/v1alpha1", "kind": "VolumeHealth"}
    return raw | {"metadata": {"namespace": namespace, "name": name}, "status": dict(status)}


@pytest.fixture(scope="module")
def refusals(run: Kubectl) -> Mapping[str, str]:
    """Give the server every bad spec at once; return what it says of each, by its sentence."""
    cases = [policy(f"case-{number}", case.spec) for number, case in enumerate(REFUSED.values())]
    answer = run("create", "--dry-run=server", "--validate=false", "-f", "-", documents=cases)
    said: dict[str, str] = dict(INVALID.findall(answer.stderr))
    return {sentence: said.get(f"case-{number}", "") for number, sentence in enumerate(REFUSED)}


@pytest.mark.parametrize("sentence", REFUSED)
def test_refused(sentence: str, refusals: Mapping[str, str]) -> None:
    """Every bad spec is refused, at its path, with a sentence that says what to do."""
    case = REFUSED[sentence]
    said = " ".join(refusals[sentence].split())
    said = re.sub(r"matchLabels\.(\w+)", r"matchLabels[\1]", said)  # the server writes it either way
    said = said.replace("may not be longer than", "may not be more than")  # so does Kubernetes 1.30
    assert f"{case.path}: " in said
    assert case.says in said


def test_all_faults_are_told_at_once(run: Kubectl) -> None:
    bad = {"interval": "1s", "timeout": "1h", "rules": [{"match": {"message": "("}}]}
    said = run("create", "--dry-run=server", "-f", "-", documents=[policy("a", bad)]).stderr
    paths = {line.split(":")[0].removeprefix("* ") for line in said.splitlines() if line.startswith("* ")}
    assert paths == {"spec.interval", "spec.timeout", "spec.rules[0]", "spec.rules[0].match.message"}


def test_a_bad_pattern_is_told_with_its_cause(refusals: Mapping[str, str]) -> None:
    assert "missing closing ): `(full`" in refusals["a pattern with an open bracket"]


@pytest.mark.usefixtures("policies")
def test_good_specs_are_accepted_as_they_are(run: Kubectl) -> None:
    """Every one of the good specs, really created; no default is written into it."""
    documents = [policy(f"case-{number}", spec) for number, spec in enumerate(ACCEPTED.values())]
    created = run("create", "-f", "-", documents=documents)
    assert created.returncode == 0, created.stderr
    items = json.loads(run("get", "vhp", "-o", "json").stdout)["items"]
    kept = {item["metadata"]["name"]: item["spec"] for item in items}
    assert kept == {f"case-{number}": spec for number, spec in enumerate(ACCEPTED.values())}


@pytest.mark.parametrize(
    "typo", [{"inteval": "1m"}, {"selector": {"driver": "a.example"}}, {"checks": {"disk": {}}}]
)
def test_a_misspelt_field_is_refused_by_name(run: Kubectl, typo: Mapping[str, Any]) -> None:
    said = run("apply", "-f", "-", documents=[policy("typo", typo)])
    assert said.returncode != 0
    assert "unknown field" in said.stderr


def test_a_name_that_no_label_can_hold_is_refused(run: Kubectl) -> None:
    said = run("create", "--dry-run=server", "-f", "-", documents=[policy("n" * 64, {})])
    assert "metadata.name must be 63 characters at most" in said.stderr
    assert run("create", "--dry-run=server", "-f", "-", documents=[policy("n" * 63, {})]).returncode == 0


def test_explain_teaches_every_field(run: Kubectl) -> None:
    """`kubectl explain --recursive` names every field, and each alone has its description."""
    for plural in ("volumehealthpolicies", "volumehealths"):
        crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
        root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        told = run("explain", plural, "--recursive")
        assert told.returncode == 0, told.stderr
        names = set(re.findall(r"^ +(\w+)\t<", told.stdout, re.MULTILINE))
        assert names >= set(_names(root)) - {"metadata"}
    words = run("explain", "vhp.spec.rules.match.message").stdout.split()
    assert "Regular expression in RE2 syntax" in " ".join(words)
    assert "Default: 1m." in run("explain", "vhp.spec.interval").stdout


def _names(schema: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield name
        yield from _names(field)
        yield from _names(field.get("items", {}))


STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": name,
            "status": status,
            "reason": "R",
            "message": "m",
            "lastTransitionTime": "2026-11-23T03:02:11Z",
        }
        for name, status in (("Ready", "True"), ("SourcesAvailable", "True"), ("VolumesHealthy", "False"))
    ],
    "claims": {"selected": 3412, "healthy": 273, "unhealthy": 3, "unknown": 21, "unmonitored": 3115},
    "summary": ["UNHEALTHY  3 of 297 monitored claims"],
    "lastCheckTime": "2026-11-23T03:12:11Z",
}


@pytest.mark.usefixtures("policies")
def test_the_policy_shows_its_columns(run: Kubectl) -> None:
    run("create", "-f", "-", documents=[policy("storage", {}), policy("new", {})])
    patched = run(
        "patch",
        "vhp",
        "storage",
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": STATUS}),
    )
    assert patched.returncode == 0, patched.stderr
    head, *rows = [re.split(r"\s{2,}", line) for line in run("get", "vhp").stdout.splitlines()]
    assert [name for name in head if name] == [
        "NAME",
        "HEALTHY",
        "READY",
        "CLAIMS",
        "UNHEALTHY",
        "UNKNOWN",
        "UNMONITORED",
        "LAST-CHECK",
        "AGE",
    ]
    assert rows[0][0] == "new"
    assert rows[1][:7] == ["storage", "False", "True", "3412", "3", "21", "3115"]


@pytest.mark.usefixtures("policies")
def test_the_status_cannot_be_written_with_the_spec(run: Kubectl) -> None:
    run("create", "-f", "-", documents=[policy("storage", {}) | {"status": STATUS}])
    found = json.loads(run("get", "vhp", "storage", "-o", "json").stdout)
    assert found["status"] == {"observedGeneration": -1}  # so that kstatus calls it in progress


FINDING = {
    "source": "Controller",
    "via": "Operator",
    "status": "Inaccessible",
    "reason": "VolumeNotFound",
    "message": "the volume is gone",
    "since": "2026-11-23T03:02:11Z",
    "confirmed": "2026-11-23T03:04:11Z",
    "episode": 1,
}
UNHEALTHY = {
    "health": "Unhealthy",
    "since": "2026-11-23T03:02:11Z",
    "policy": "storage",
    "driver": "csi.example.com",
    "volume": "pv-1",
    "volumeHandle": "vol-1",
    "findings": [FINDING],
    "pods": ["orders-db-0"],
    "podSummary": "orders-db-0",
    "history": [{"time": "2026-11-23T03:04:11Z", "what": "Inaccessible/VolumeNotFound (Controller)"}],
}
RECOVERED = {
    "health": "Recovered",
    "since": "2026-11-23T03:02:11Z",
    "recovered": "2026-11-23T03:02:11Z",
    "policy": "storage",
}


def test_the_record_shows_its_columns_and_blanks_once_recovered(run: Kubectl, namespace: str) -> None:
    documents = [record(namespace, "orders-db", UNHEALTHY), record(namespace, "cache-1", RECOVERED)]
    created = run("create", "-f", "-", documents=documents)
    assert created.returncode == 0, created.stderr
    head, recovered, unhealthy = run("get", "volumehealth", "-n", namespace, "-o", "wide").stdout.splitlines()
    assert head.split() == [
        "NAME",
        "HEALTH",
        "STATUS",
        "REASON",
        "SOURCE",
        "NODE",
        "SINCE",
        "DRIVER",
        "POLICY",
        "PODS",
        "MESSAGE",
    ]
    assert unhealthy.split()[:5] == ["orders-db", "Unhealthy", "Inaccessible", "VolumeNotFound", "Controller"]
    assert unhealthy.split()[6:] == [
        "csi.example.com",
        "storage",
        "orders-db-0",
        "the",
        "volume",
        "is",
        "gone",
    ]
    assert "none" not in recovered
    assert recovered.split()[:2] == ["cache-1", "Recovered"]
    assert recovered.split()[3:] == ["storage"]


def test_kubectl_get_volumehealth_means_the_records_alone(run: Kubectl) -> None:
    """A category of that name would show the policies as well."""
    assert run("get", "volumehealth", "-A", "-o", "name").stderr == ""
    for words in ("vh", "vhp", "volumehealthpolicy", "storage"):
        assert run("get", words, "-A").returncode == 0
    named = run("api-resources", "--categories=storage", "-o", "name").stdout.split()
    assert {"volumehealthpolicies.volumehealth.dev", "volumehealths.volumehealth.dev"} <= set(named)
    assert run("api-resources", "--categories=volumehealth", "-o", "name").stdout == ""


def test_a_record_is_applied_in_one_write_and_an_equal_one_changes_nothing(
    run: Kubectl, namespace: str
) -> None:
    def apply(status: Mapping[str, Any]) -> dict[str, Any]:
        args = (
            "apply",
            "--server-side",
            "--field-manager=volumehealth",
            "--force-conflicts",
            "-o",
            "json",
            "-f",
            "-",
        )
        answer = run(*args, documents=[record(namespace, "orders-db", status)])
        assert answer.returncode == 0, answer.stderr
        applied: dict[str, Any] = json.loads(answer.stdout)
        return applied

    first = apply(UNHEALTHY)
    assert first["status"] == UNHEALTHY
    assert apply(UNHEALTHY)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert apply(RECOVERED)["status"] == RECOVERED


@pytest.mark.usefixtures("policies")
def test_two_owners_may_apply_parts_of_one_policy(run: Kubectl) -> None:
    """Server-side apply: lists of names are sets and merge, rules are one value."""

    def apply(manager: str, spec: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        return run(
            "apply",
            "--server-side",
            f"--field-manager={manager}",
            "-f",
            "-",
            documents=[policy("shared", spec)],
        )

    rules = [{"match": {"message": "a"}, "ignore": True}]
    assert apply("gitops", {"selector": {"drivers": ["a.example"]}, "rules": rules}).returncode == 0
    assert apply("team", {"selector": {"drivers": ["b.example"]}, "interval": "30s"}).returncode == 0
    spec = json.loads(run("get", "vhp", "shared", "-o", "json").stdout)["spec"]
    assert spec == {"selector": {"drivers": ["a.example", "b.example"]}, "interval": "30s", "rules": rules}
    conflict = apply("team", {"rules": [{"match": {"message": "b"}, "ignore": True}]})
    assert 'conflict with "gitops"' in conflict.stderr
