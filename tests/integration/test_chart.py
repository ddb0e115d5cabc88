"""The chart on the real API server: presets, Pod Security, quotas, and the life of a release with helm 3 and 4."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import CHART, NAMESPACE, RELEASE, Helm, HelmError, named, preset, previous_chart
from support.releases import INJECTION, serves
from volumehealth.errors import SandboxError
from volumehealth_sandbox.controlplane import COLLECTORS, ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PRESETS = ("plain", "gke", "eks", "openshift")
AGENTS = "volumehealth-agent"
STANDINS = Path(__file__).with_name("standins.yaml")
POLICY = {"name": "all", "spec": {"interval": "1m"}}
DRIVER = {
    "driver": "ebs.csi.example.com",
    "namespace": "kube-system",
    "serviceAccount": "ebs-controller",
    "inject": True,
    "socketVolume": "socket-dir",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that has what a preset may ask for, and both namespaces with their Pod Security levels."""
    with ControlPlane(tmp_path_factory.mktemp("chart"), controllers=COLLECTORS, say=print) as plane:
        plane.kubectl("apply", "-f", str(STANDINS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        for name, level in ((NAMESPACE, "restricted"), (AGENTS, "privileged"), ("baseline", "baseline")):
            plane.kubectl("create", "namespace", name)
            plane.kubectl("label", "namespace", name, f"pod-security.kubernetes.io/enforce={level}")
        yield plane


@pytest.fixture
def release(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ControlPlane, Helm]]:
    """An empty cluster of its own, and helm for it."""
    home = tmp_path_factory.mktemp("release")
    with ControlPlane(home / "plane", controllers=COLLECTORS, say=print) as plane:
        yield plane, Helm(request.param, home, plane)


each_helm = pytest.mark.parametrize("release", ["helm3", "helm4"], indirect=True)


def as_pod(objects: list[dict[str, Any]], kind: str, namespace: str) -> str:
    """Write the Pod that the one Deployment or DaemonSet would make."""
    spec = dict(named(objects, kind)["spec"]["template"]["spec"])
    meta = {"name": "try", "namespace": namespace}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


@pytest.mark.parametrize("name", PRESETS)
def test_the_api_server_takes_a_preset(cluster: ControlPlane, tmp_path: Path, name: str) -> None:
    helm = Helm("helm3", tmp_path, cluster)
    objects = helm.render(f"--values={preset(name)}", "--no-hooks")
    said = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(objects))
    assert len(said.splitlines()) == len(objects)


@pytest.mark.parametrize("name", PRESETS)
def test_its_pods_pass_the_pod_security_levels_that_they_claim(
    cluster: ControlPlane, tmp_path: Path, name: str
) -> None:
    """The operator and the test of the installation are restricted; agents need privileged, as baseline shows."""
    objects = Helm("helm3", tmp_path).render(f"--values={preset(name)}")
    for pod in (as_pod(objects, "Deployment", NAMESPACE), as_pod(objects, "DaemonSet", AGENTS)):
        cluster.kubectl("create", "--dry-run=server", "-f", "-", input=pod)
    cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(named(objects, "Pod")))
    with pytest.raises(SandboxError, match=r'violates PodSecurity "baseline.*hostPID=true'):
        cluster.kubectl(
            "create", "--dry-run=server", "-f", "-", input=as_pod(objects, "DaemonSet", "baseline")
        )


def test_where_system_priority_classes_need_a_quota_the_chart_brings_it(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """GKE configures its API server like this: no Pod of these classes outside kube-system without a quota."""
    limited = {
        "resource": "pods",
        "matchScopes": [
            {
                "scopeName": "PriorityClass",
                "operator": "In",
                "values": ["system-node-critical", "system-cluster-critical"],
            }
        ],
    }
    quota = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "ResourceQuotaConfiguration",
        "limitedResources": [limited],
    }
    plugins = [{"name": "ResourceQuota", "configuration": quota}]
    settings = tmp_path / "admission.json"
    settings.write_text(
        json.dumps(
            {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "AdmissionConfiguration",
                "plugins": plugins,
            }
        )
    )
    plane = fresh_control_plane(
        apiserver_arguments=[f"--admission-control-config-file={settings}"],
        controllers=("resourcequota-controller",),
    )
    helm = Helm("helm3", tmp_path, plane)
    plane.kubectl("create", "namespace", "bare")
    objects = helm.render(f"--values={preset('gke')}")
    for kind in ("Deployment", "DaemonSet"):
        with pytest.raises(SandboxError, match="insufficient quota to match these scopes"):
            plane.kubectl("create", "--dry-run=server", "-f", "-", input=as_pod(objects, kind, "bare"))
    helm.run("install", RELEASE, CHART, f"--namespace={NAMESPACE}", "--create-namespace")
    for kind, namespace in (("Deployment", NAMESPACE), ("DaemonSet", AGENTS)):
        counted = "--for=jsonpath={.status.hard.pods}=1G"
        plane.kubectl("wait", counted, "resourcequota", "--all", "-n", namespace, "--timeout=30s")
        pod = as_pod(objects, kind, namespace)
        plane.kubectl("create", "--dry-run=server", "-f", "-", input=pod)


def columns(plane: ControlPlane) -> int:
    """Count the columns that `kubectl get` shows of policies."""
    crd = json.loads(plane.kubectl("get", "crd", "volumehealthpolicies.volumehealth.dev", "-o", "json"))
    return len(crd["spec"]["versions"][0]["additionalPrinterColumns"])


def identity(plane: ControlPlane, *what: str) -> str:
    """Return an object's uid, or nothing if it is not there."""
    try:
        return plane.kubectl("get", *what, "-o", "jsonpath={.metadata.uid}")
    except SandboxError:
        return ""


def record_of_a_sick_volume(plane: ControlPlane) -> str:
    """Make the record of a claim that is unhealthy, and return its uid."""
    plane.kubectl("create", "namespace", "shop")
    record = {
        "apiVersion": "volumehealth.dev/v1alpha1",
        "kind": "VolumeHealth",
        "metadata": {"name": "orders", "namespace": "shop"},
        "status": {"health": "Unhealthy"},
    }
    plane.kubectl("create", "-f", "-", input=json.dumps(record))
    return identity(plane, "volumehealth", "orders", "-n", "shop")


@each_helm
def test_a_release_lives_from_install_to_uninstall(
    release: tuple[ControlPlane, Helm], tmp_path: Path
) -> None:
    """One install brings APIs, policies and rights; upgrade and rollback touch no policy, report or record."""
    plane, helm = release
    where = f"--namespace={NAMESPACE}"
    values = {"policies": [POLICY], "controllerAgents": [DRIVER]}
    helm.run("install", RELEASE, previous_chart(tmp_path), where, "--create-namespace", values=values)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    kept = {
        what: identity(plane, *what.split())
        for what in ("vhp all", "vhr controller.ebs.csi.example.com", "crd volumehealths.volumehealth.dev")
    }
    assert all(kept.values())
    if serves(INJECTION):
        assert identity(plane, "mutatingadmissionpolicy", "volumehealth-controller-agent.ebs.csi.example.com")
    record = record_of_a_sick_volume(plane)
    before = columns(plane)

    helm.run("upgrade", RELEASE, CHART, where, values=values)
    assert columns(plane) == before + 1
    assert identity(plane, "configmap", "of-the-past", "-n", NAMESPACE) == ""
    assert {what: identity(plane, *what.split()) for what in kept} == kept

    for spec, now in (
        ({"interval": "2m"}, '{"interval":"2m"}'),
        ({}, '{"suspend":false}'),
        (POLICY["spec"], '{"interval":"1m"}'),
    ):
        helm.run(
            "upgrade", RELEASE, CHART, where, values={**values, "policies": [{"name": "all", "spec": spec}]}
        )
        assert plane.kubectl("get", "vhp", "all", "-o", "jsonpath={.spec}") == now

    helm.run("rollback", RELEASE, "1", where)
    assert columns(plane) == before
    assert identity(plane, "configmap", "of-the-past", "-n", NAMESPACE)
    assert {what: identity(plane, *what.split()) for what in kept} == kept

    helm.run("upgrade", RELEASE, CHART, where, values=values)
    helm.run("uninstall", RELEASE, where)
    assert {what: identity(plane, *what.split()) for what in kept} == kept
    assert identity(plane, "volumehealth", "orders", "-n", "shop") == record
    objects = "clusterrole,clusterrolebinding,validatingadmissionpolicy,deployment,daemonset,lease"
    left = plane.kubectl(
        "get",
        f"{objects},mutatingadmissionpolicy" if serves(INJECTION) else objects,
        "-A",
        "-o",
        "name",
    )
    assert "volumehealth" not in left


@pytest.mark.parametrize("release", ["helm3"], indirect=True)
def test_helm_3_says_that_its_first_upgrade_cannot_change_a_policy(
    release: tuple[ControlPlane, Helm],
) -> None:
    """It takes up what the installation's hook made as if it were what the upgrade wants."""
    _, helm = release
    where = f"--namespace={NAMESPACE}"
    helm.run("install", RELEASE, CHART, where, "--create-namespace", values={"policies": [POLICY]})
    changed = {"policies": [{"name": "all", "spec": {"interval": "2m"}}]}
    with pytest.raises(HelmError, match="Upgrade once with the policies of the installation"):
        helm.run("upgrade", RELEASE, CHART, where, values=changed)
    helm.run("upgrade", RELEASE, CHART, where, values={"policies": [POLICY]})
    helm.run("upgrade", RELEASE, CHART, where, values=changed)


@each_helm
def test_what_was_kept_is_taken_up_by_the_next_installation(release: tuple[ControlPlane, Helm]) -> None:
    plane, helm = release
    where = f"--namespace={NAMESPACE}"
    helm.run("install", RELEASE, CHART, where, "--create-namespace", values={"policies": [POLICY]})
    policy = identity(plane, "vhp", "all")
    record = record_of_a_sick_volume(plane)
    helm.run("uninstall", RELEASE, where)
    wait_until_gone(plane, AGENTS)
    helm.run("install", RELEASE, CHART, where, values={"policies": [POLICY]})
    assert identity(plane, "vhp", "all") == policy
    assert identity(plane, "volumehealth", "orders", "-n", "shop") == record


@each_helm
def test_without_keep_nothing_of_the_product_is_left(release: tuple[ControlPlane, Helm]) -> None:
    plane, helm = release
    where = f"--namespace={NAMESPACE}"
    values = {"crds": {"keep": False}, "policies": [POLICY]}
    helm.run("install", RELEASE, CHART, where, "--create-namespace", values=values)
    record_of_a_sick_volume(plane)
    helm.run("uninstall", RELEASE, where)
    wait_until_gone(plane, AGENTS)
    left = plane.kubectl("get", "crd,clusterrole,clusterrolebinding", "-o", "name")
    assert "volumehealth" not in left


@each_helm
def test_crds_that_kubectl_applied_are_not_taken_over_silently(release: tuple[ControlPlane, Helm]) -> None:
    """Someone who changes from deploy/ to the chart is told what to do, and crds.install=false leaves them alone."""
    plane, helm = release
    where = f"--namespace={NAMESPACE}"
    plane.kubectl("apply", "-k", str(CHART.parents[1] / "crds"))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        helm.run("install", RELEASE, CHART, where, "--create-namespace")
    helm.run("upgrade", "--install", RELEASE, CHART, where, "--create-namespace", "--set=crds.install=false")
    assert identity(plane, "deployment", "volumehealth-operator", "-n", NAMESPACE)


def wait_until_gone(plane: ControlPlane, namespace: str) -> None:
    """Wait until a namespace that is being deleted is gone."""
    plane.kubectl("wait", "--for=delete", f"namespace/{namespace}", "--timeout=60s")
