"""The control plane ends, crashes and comes back as the tests of others need it to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


def test_objects_survive_a_restart_and_a_crash_of_the_api_server_on_the_same_port(
    fresh_control_plane: Callable[..., ControlPlane],
) -> None:
    control_plane = fresh_control_plane()
    before = control_plane.url
    control_plane.kubectl("create", "configmap", "kept")
    control_plane.restart_apiserver()
    control_plane.kubectl("get", "configmap", "kept")
    control_plane.kill_apiserver()
    control_plane.start_apiserver()

    assert control_plane.kubectl("get", "configmap", "kept", "-o", "name") == "configmap/kept\n"
    assert control_plane.url == before


def test_a_service_account_has_the_rights_it_was_given_and_no_more(
    control_plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    control_plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    in_it = ("-n", namespace)
    control_plane.kubectl("create", "role", "reader", "--verb=list", "--resource=pods", *in_it)
    control_plane.kubectl(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader", *in_it
    )
    token = control_plane.create_token(namespace, "reader")
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", token, user="reader")

    control_plane.kubectl("get", "pods", "-n", namespace, kubeconfig=kubeconfig)
    with pytest.raises(SandboxError, match="Forbidden"):
        control_plane.kubectl("get", "nodes", kubeconfig=kubeconfig)


def test_the_audit_log_names_who_did_what(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "audited", "-n", namespace)
    events = map(json.loads, control_plane.audit_log.read_text().splitlines())
    verbs = {
        (one["user"]["username"], one["verb"])
        for one in events
        if one.get("objectRef", {}).get("namespace") == namespace
        and one["objectRef"].get("name") == "audited"
    }
    assert ("sandbox-admin", "create") in verbs


def test_another_user_comes_with_groups(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    control_plane = fresh_control_plane(users={"eve": ("team-a", "team-b")})
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "eve", control_plane.token_of("eve"), user="eve")
    told = json.loads(control_plane.kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig))
    assert {"team-a", "team-b"} <= set(told["status"]["userInfo"]["groups"])


def test_a_feature_gate_is_passed_on_and_a_wrong_one_is_told_with_the_log(
    fresh_control_plane: Callable[..., ControlPlane],
) -> None:
    with pytest.raises(SandboxError, match=r"(?s)kube-apiserver ended by itself.*NoSuchGate"):
        fresh_control_plane(feature_gates=["NoSuchGate=true"])
    metrics = fresh_control_plane(feature_gates=["CSIVolumeHealth=true"]).kubectl("get", "--raw", "/metrics")
    assert 'kubernetes_feature_enabled{name="CSIVolumeHealth",stage="ALPHA"} 1' in metrics
