"""deploy/ is what the chart makes: `make deploy` was run after the chart was changed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


def test_the_manifests_are_what_the_chart_makes() -> None:
    command = [sys.executable, str(ROOT / "charts" / "deploy.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
