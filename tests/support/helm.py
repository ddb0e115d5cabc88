"""Real helm, against a control plane or with none, that touches nothing of its user's."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.tools import find_or_build

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "volumehealth"
NAMESPACE = "volumehealth-system"
RELEASE = "volumehealth"


class HelmError(Exception):
    """Helm ended with an exit status of its own; the message is what it said."""


class Helm:
    """One major version of helm.

    Args:
        name: `helm3` or `helm4`.
        home: directory for its caches.
        plane: the cluster; None for rendering only.
    """

    def __init__(self, name: str, home: Path, plane: ControlPlane | None = None) -> None:
        self._program = find_or_build(name, print)
        self._environment = {
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
            "HELM_DATA_HOME": str(home / "data"),
            "KUBECONFIG": str(plane.kubeconfig) if plane else str(home / "none"),
        }

    def run(self, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """Run helm and return what it prints.

        Args:
            *arguments: of helm.
            values: handed over as a values file.

        Raises:
            HelmError: if it fails.
        """
        done = subprocess.run(
            [self._program, *arguments, *(["--values=-"] if values is not None else [])],
            input=None if values is None else json.dumps(values),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=os.environ | self._environment,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip())
        return done.stdout

    def render(
        self, *arguments: str | Path, values: Mapping[str, Any] | None = None, chart: Path = CHART
    ) -> list[dict[str, Any]]:
        """Return the objects that `helm template` makes.

        Raises:
            HelmError: if it refuses the values.
        """
        text = self.run("template", RELEASE, chart, f"--namespace={NAMESPACE}", *arguments, values=values)
        return [one for one in yaml.safe_load_all(text) if one]


def preset(name: str) -> Path:
    """Return a preset's values file."""
    return CHART / "presets" / f"{name}.yaml"


def named(objects: Sequence[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """Return the one object of a kind, and of a name if that is given.

    Raises:
        ValueError: if it is not exactly one.
    """
    (found,) = (one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"]))
    return found


def kinds(objects: Sequence[dict[str, Any]]) -> set[str]:
    """Return the kinds of some objects."""
    return {one["kind"] for one in objects}


def previous_chart(home: Path) -> Path:
    """Make an older revision of the chart, with CRDs that lack a column and one object that is gone today."""
    old = home / "previous"
    shutil.copytree(CHART, old)
    chart = old / "Chart.yaml"
    chart.write_text(chart.read_text().replace("ersion: 0.1.0", "ersion: 0.0.9"))
    for file in (old / "files" / "crds").glob("volumehealth*.yaml"):
        crd = yaml.safe_load(file.read_text())
        crd["spec"]["versions"][0]["additionalPrinterColumns"].pop()
        file.write_text(yaml.safe_dump(crd))
    gone = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "of-the-past", "namespace": NAMESPACE},
    }
    (old / "templates" / "past.yaml").write_text(yaml.safe_dump(gone))
    return old
