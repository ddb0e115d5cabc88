"""The examples as a user applies them."""

from pathlib import Path

import pytest

from volumehealth_sandbox.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


def test_every_example_is_applied_twice_and_deleted(control_plane: ControlPlane) -> None:
    """One `kubectl apply` takes them all; the second changes nothing; nothing holds up their deletion."""
    kubectl = control_plane.kubectl
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
    kubectl(
        "wait", "--for=condition=Established", "crd/volumehealthpolicies.volumehealth.dev", "--timeout=30s"
    )
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    first = kubectl("apply", "-R", "-f", str(ROOT / "examples")).splitlines()
    assert [line.split()[-1] for line in first] == ["created"] * len(files)
    second = kubectl("apply", "-R", "-f", str(ROOT / "examples")).splitlines()
    assert [line.split()[-1] for line in second] == ["unchanged"] * len(files)
    kubectl("delete", "-R", "-f", str(ROOT / "examples"), "--wait=true", "--timeout=20s")
    assert "volumehealth.dev" not in kubectl("get", "vhp", "-o", "name")
