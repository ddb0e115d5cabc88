"""The alerts against promtool: each fires on its fault, not on its neighbour, and clears."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/volumehealth/files/alerts/volumehealth.yaml"
CASES = ROOT / "tests/alerts/alerts_test.yaml"
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool (Debian: apt-get install prometheus)"
)


def rules() -> list[dict[str, object]]:
    """Return every alerting rule."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@needs_promtool
def test_every_alert_fires_and_clears_as_promtool_sees_it() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", str(CASES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    fired = {
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert {rule["alert"] for rule in rules()} == fired


def test_every_alert_has_a_runbook() -> None:
    for rule in rules():
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations["runbook_url"] == f"docs/runbooks.md#{str(rule['alert']).lower()}"
        assert f"### {rule['alert']}\n" in RUNBOOKS


def test_alerts_use_no_metric_that_is_not_documented() -> None:
    used = set(re.findall(r"volumehealth_[a-z_]+", " ".join(str(rule["expr"]) for rule in rules())))
    assert {name for name in used if f"`{name}`" not in METRICS} == set()
