"""deploy/ on the real API server: it installs, gives exactly its rights, and goes away again."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from volumehealth.errors import SandboxError
from volumehealth_sandbox.controlplane import COLLECTORS, ControlPlane

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
DEPLOY = str(ROOT / "deploy")
OPERATOR = "system:serviceaccount:volumehealth-system:volumehealth-operator"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own, with the controllers that an uninstallation needs."""
    controllers = (*COLLECTORS, "clusterrole-aggregation-controller")
    with ControlPlane(tmp_path_factory.mktemp("deploy"), controllers=controllers) as plane:
        yield plane


@pytest.fixture
def deployed(cluster: ControlPlane) -> ControlPlane:
    """The same with deploy/ applied."""
    cluster.kubectl("apply", "-k", DEPLOY)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return cluster


def allowed(plane: ControlPlane, *question: str, who: str = OPERATOR, groups: tuple[str, ...] = ()) -> bool:
    """Ask the API server whether somebody may do something."""
    try:
        answer = plane.kubectl(
            "auth", "can-i", *question, f"--as={who}", *(f"--as-group={one}" for one in groups)
        )
    except SandboxError:  # kubectl's exit status for no
        return False
    return answer.strip() == "yes"


def test_a_second_apply_changes_nothing(deployed: ControlPlane) -> None:
    """Of a budget's selector kubectl always sends a patch, which changes nothing either."""
    budget = ("get", "pdb", "volumehealth-operator", "-n", "volumehealth-system", "-o")
    version = (*budget, "jsonpath={.metadata.resourceVersion}")
    before = deployed.kubectl(*version)
    lines = deployed.kubectl("apply", "-k", DEPLOY).splitlines()
    assert len(lines) == 15
    changed = [line for line in lines if not line.endswith(" unchanged")]
    assert [line for line in changed if not line.startswith("poddisruptionbudget")] == []
    assert deployed.kubectl(*version) == before


MAY = [
    *(f"{verb} {kind} -A" for verb in ("list", "watch") for kind in ("pv", "pvc", "pods", "namespaces")),
    *(f"{verb} {kind}" for verb in ("list", "watch") for kind in ("nodes", "csinodes", "volumeattachments")),
    *(f"{verb} volumehealthreports" for verb in ("list", "watch")),
    *(f"{verb} leases.coordination.k8s.io -n volumehealth-system" for verb in ("list", "watch")),
    "list volumehealthpolicies",
    "watch volumehealthpolicies",
    "patch volumehealthpolicies --subresource=status",
    *(f"{verb} volumehealths -n shop" for verb in ("list", "watch", "create", "patch", "delete")),
    *(f"{verb} events -n shop" for verb in ("get", "create", "patch")),
    "create events -n default",
    "create leases.coordination.k8s.io -n volumehealth-system",
    "get leases.coordination.k8s.io/volumehealth-operator -n volumehealth-system",
    "update leases.coordination.k8s.io/volumehealth-operator -n volumehealth-system",
]
MAY_NOT = [
    "get secrets -n volumehealth-system",
    "list secrets -A",
    "get nodes --subresource=proxy",
    "get nodes",
    "patch nodes --subresource=status",
    "patch csinodes",
    "delete volumeattachments",
    "patch volumehealthreports",
    "list leases.coordination.k8s.io -n kube-system",
    *(f"{verb} pv" for verb in ("delete", "update", "patch", "create")),
    *(f"{verb} pvc -n shop" for verb in ("delete", "update", "patch", "create")),
    *(f"{verb} pods -n shop" for verb in ("delete", "update", "patch", "create")),
    "create pods --subresource=exec -n shop",
    "create pods --subresource=eviction -n shop",
    "update volumehealthpolicies",
    "delete volumehealthpolicies",
    "delete events -n shop",
    "delete namespaces",
    "get leases.coordination.k8s.io/kube-scheduler -n volumehealth-system",
    "update leases.coordination.k8s.io/volumehealth-operator -n kube-system",
    "create leases.coordination.k8s.io -n kube-system",
    "create serviceaccounts --subresource=token -n volumehealth-system",
    "update customresourcedefinitions",
    "escalate clusterroles",
]


def test_the_operator_may_do_what_it_does(deployed: ControlPlane) -> None:
    assert [question for question in MAY if not allowed(deployed, *question.split())] == []


def test_the_operator_may_do_nothing_else(deployed: ControlPlane) -> None:
    assert [question for question in MAY_NOT if allowed(deployed, *question.split())] == []


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_a_namespaces_own_users_read_its_records_and_no_policies(deployed: ControlPlane, role: str) -> None:
    namespace, user = f"team-{role}", f"user-{role}"
    deployed.kubectl("create", "namespace", namespace)
    deployed.kubectl(
        "create", "rolebinding", "team", f"--clusterrole={role}", f"--user={user}", "-n", namespace
    )
    for _ in range(100):  # the roles are put together by a controller
        if allowed(deployed, "list", "volumehealths", "-n", namespace, who=user):
            break
        time.sleep(0.1)
    assert allowed(deployed, "get", "volumehealths", "-n", namespace, who=user)
    assert not allowed(deployed, "list", "volumehealths", "-n", "default", who=user)
    assert not allowed(deployed, "list", "volumehealthpolicies", who=user)
    assert not allowed(deployed, "delete", "volumehealths", "-n", namespace, who=user)


def test_who_may_edit_a_namespace_silences_its_claims_and_nothing_else(
    deployed: ControlPlane, tmp_path: Path
) -> None:
    """As somebody with the role `edit` as the cluster puts it together, by the command itself."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    for space in ("mine", "theirs"):
        deployed.kubectl("create", "namespace", space)
        deployed.kubectl("create", "-f", "-", "-n", space, input=json.dumps(claim))
    deployed.kubectl("create", "serviceaccount", "editor", "-n", "mine")
    deployed.kubectl(
        *("create", "rolebinding", "editor", "-n", "mine", "--clusterrole=edit"),
        "--serviceaccount=mine:editor",
    )
    who = "system:serviceaccount:mine:editor"
    for _ in range(100):  # the roles are put together by a controller
        if allowed(deployed, "list", "volumehealths", "-n", "mine", who=who):
            break
        time.sleep(0.1)
    for question in (
        *(f"{verb} volumehealths -n mine" for verb in ("create", "patch", "update", "delete")),
        *(f"{verb} volumehealths/status -n mine" for verb in ("patch", "update")),
        *(f"{verb} {kind}" for verb in ("patch", "delete") for kind in ("volumehealthpolicies", "nodes")),
        "patch namespaces/mine",
        "patch pvc -n theirs",
    ):
        assert not allowed(deployed, *question.split(), who=who), question
    config = deployed.write_kubeconfig(
        tmp_path / "editor", deployed.create_token("mine", "editor"), user="editor"
    )

    def silence(*target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "volumehealth",
                "silence",
                *target,
                "--for=1h",
                f"--kubeconfig={config}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    done = silence("mine/data")
    assert done.returncode == 0, done.stderr
    for target in (("theirs/data",), ("namespace", "mine"), ("node", "worker-1")):
        refused = silence(*target)
        assert refused.returncode == 2
        assert "takes the right to patch it" in refused.stderr
    silenced = ("get", "pvc", "data", "-o", "jsonpath={.metadata.annotations}", "-n")
    assert "volumehealth.dev/silence-until" in deployed.kubectl(*silenced, "mine")
    assert "volumehealth.dev" not in deployed.kubectl(*silenced, "theirs")


def pod(plane: ControlPlane) -> dict[str, object]:
    """Return the Pod that the Deployment would make."""
    template = json.loads(
        plane.kubectl("get", "deployment", "volumehealth-operator", "-n", "volumehealth-system", "-o", "json")
    )["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "volumehealth:0.1.0"
    meta = {"name": "try", "namespace": "volumehealth-system"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


def test_its_pod_passes_the_restricted_pod_security_standard(deployed: ControlPlane) -> None:
    wanted = pod(deployed)
    deployed.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(wanted))
    worse = json.loads(json.dumps(wanted))
    worse["spec"]["containers"][0]["securityContext"]["capabilities"] = {}
    with pytest.raises(SandboxError, match='violates PodSecurity "restricted'):
        deployed.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(worse))


def test_the_kustomization_of_the_page_about_installing_works(deployed: ControlPlane, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    base = os.path.relpath(DEPLOY, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(text.replace("volumehealth/deploy", base))
    rendered = {one["kind"]: one for one in yaml.safe_load_all(deployed.kubectl("kustomize", str(tmp_path)))}
    spec = rendered["Deployment"]["spec"]["template"]["spec"]
    assert spec["containers"][0]["args"][-1] == "--csi-endpoint=hostpath.csi.k8s.io=unix:///csi/csi.sock"
    assert spec["securityContext"]["runAsUser"] == 0
    deployed.kubectl("apply", "--dry-run=server", "-k", str(tmp_path))


def test_everything_is_deleted_within_a_minute_with_policies_and_records_there(
    deployed: ControlPlane,
) -> None:
    """`kubectl delete -k` returns, and nothing of ours is left, whether an operator runs or not."""
    names = itertools.count()
    for file in sorted((ROOT / "examples").rglob("*.yaml")):
        deployed.kubectl("apply", "-f", str(file))
    deployed.kubectl("create", "namespace", "shop")
    records = [
        {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealth",
            "metadata": {"name": f"claim-{next(names)}", "namespace": "shop"},
            "status": {"health": "Unhealthy"},
        }
        for _ in range(50)
    ]
    deployed.kubectl("create", "-f", "-", input=yaml.safe_dump_all(records))
    before = time.monotonic()
    deployed.kubectl("delete", "-k", DEPLOY, "--timeout=60s")
    assert time.monotonic() - before < 60
    left = deployed.kubectl("get", "crd,clusterrole,clusterrolebinding,namespace", "-o", "name")
    assert "volumehealth" not in left
