"""What other programs make of a policy: Argo CD by the script that we ship, Flux and Helm by kstatus' rules.

kstatus (sigs.k8s.io/cli-utils, pkg/kstatus/status, generic.go): an older observedGeneration is in progress; Stalled is
failed; Ready that is not True is in progress; all else is current.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import LuaRuntime  # type: ignore[import-untyped] # it has no stubs

from support.health import START, make_claim, make_finding, make_health, make_policy, make_result
from volumehealth.judge.result import CheckResult
from volumehealth.model.policy import FieldError, in_force
from volumehealth.report.status import render_status

ROOT = Path(__file__).parents[3]
SCRIPT = (ROOT / "examples" / "argocd-health.lua").read_text()
CLAIM = make_claim()
BAD = (CLAIM, make_health(CLAIM, make_finding()))
GENERATION = make_policy().generation


def policy(result: CheckResult | None, *, generation: int = GENERATION) -> dict[str, Any]:
    """Return the object that the API server holds; before anything was looked at with the CRD's default status."""
    status = render_status(result, (), None) if result is not None else {"observedGeneration": -1}
    suspend = result is not None and result.policy.spec.suspend
    return {
        "metadata": {"name": "storage", "generation": generation},
        "spec": {"suspend": suspend},
        "status": status,
    }


def argo(policy: Mapping[str, Any]) -> str:
    """Return what Argo CD shows."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(policy, recursive=True)
    answer = lua.execute(SCRIPT)
    assert answer["message"]
    return str(answer["status"])


def kstatus(policy: Mapping[str, Any]) -> str:
    """Return what tools with kstatus show."""
    status = policy["status"]
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    if status["observedGeneration"] != policy["metadata"]["generation"]:
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"


def suspended(**spec: Any) -> CheckResult:
    paused = in_force(make_policy(**spec), START)
    return replace(make_result(policy=paused), judgement=None)


CASES = {
    "nobody has looked at it": (policy(None), "Progressing", "InProgress"),
    "all is well": (policy(make_result(healthy=3)), "Healthy", "Current"),
    "volumes are bad, which is no fault of the policy": (policy(make_result([BAD])), "Healthy", "Current"),
    "the newest spec was not looked at": (
        policy(make_result(healthy=3), generation=GENERATION + 1),
        "Progressing",
        "InProgress",
    ),
    "the spec cannot be used": (
        policy(make_result(healthy=3, invalid=(FieldError("spec.rules[0]", "is no RE2"),))),
        "Degraded",
        "Failed",
    ),
    "it is suspended": (policy(suspended(suspend=True)), "Suspended", "Current"),
    "it is suspended for an hour": (
        policy(suspended(suspend_until=START + timedelta(hours=1))),
        "Suspended",
        "Current",
    ),
}


@pytest.mark.parametrize(("held", "in_argo", "in_kstatus"), CASES.values(), ids=CASES.keys())
def test_a_policy_is_read_right_by_argo_cd_and_by_kstatus(
    held: dict[str, Any], in_argo: str, in_kstatus: str
) -> None:
    assert (argo(held), kstatus(held)) == (in_argo, in_kstatus)


def fields_of(kind: str) -> set[str]:
    """Return the dotted fields of a CRD's status."""
    crd = yaml.safe_load((ROOT / "crds" / f"{kind}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]

    def walk(node: Mapping[str, Any], path: str) -> set[str]:
        inner = node.get("items", node)
        found = {path}
        for name, one in inner.get("properties", {}).items():
            found |= walk(one, f"{path}.{name}")
        return found

    return walk(schema["status"], "status")


def test_every_promised_field_is_in_the_crds() -> None:
    page = (ROOT / "docs" / "for-programs.md").read_text()
    promised = {
        re.sub(r"\[[^]]*\]", "", field)
        for line in page.splitlines()
        if line.startswith("| `")
        for field in re.findall(r"`(status[.\w\[\]=]*)`", line.split("|")[1])
    }
    known = fields_of("volumehealths") | fields_of("volumehealthpolicies")
    assert promised
    assert promised <= known
