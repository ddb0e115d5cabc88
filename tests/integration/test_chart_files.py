"""The chart without a cluster: what each preset renders, what the values do, and which values are refused.

Real helm 3 and 4 render; the schemas are those of Kubernetes 1.30 and 1.37.
"""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.helm import CHART, Helm, HelmError, kinds, named, preset
from volumehealth import __version__

pytestmark = pytest.mark.cluster

PRESETS = ("plain", "gke", "eks", "openshift")
OTHER_GROUPS = (
    "volumehealth.dev",
    "monitoring.coreos.com",
    "security.openshift.io",
    "apiextensions.k8s.io",
)
"""Groups that are not Kubernetes' own, and CRDs, whose schema's schema kubernetes-validate does not have."""
EVERYTHING: dict[str, Any] = {
    "image": {
        "registry": "registry.example.com/team",
        "digest": f"sha256:{'a' * 64}",
        "pullPolicy": "Always",
        "pullSecrets": ["pull"],
    },
    "namespace": {"create": True},
    "commonLabels": {"team": "storage"},
    "kubeletDir": "/var/lib/k0s/kubelet",
    "runbooks": "https://docs.example.com/runbooks.html",
    "operator": {
        "csiEndpoints": ["hostpath.csi.k8s.io=unix:///csi/csi.sock"],
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
        "extraVolumes": [{"name": "csi", "hostPath": {"path": "/csi"}}],
        "extraVolumeMounts": [{"name": "csi", "mountPath": "/csi"}],
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
        "affinity": {"podAntiAffinity": {}},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "hostNetwork": True,
        "ports": {"metrics": 18080, "health": 18081},
    },
    "agent": {
        "csiEndpoints": ["unix:///csi/node.sock"],
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraVolumes": [{"name": "csi", "hostPath": {"path": "/csi"}}],
        "extraVolumeMounts": [{"name": "csi", "mountPath": "/csi"}],
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
        "hostNetwork": True,
        "ports": {"health": 18083},
    },
    "controllerAgents": [
        {
            "driver": "ebs.csi.example.com",
            "namespace": "kube-system",
            "serviceAccount": "ebs-controller",
            "inject": True,
            "socketVolume": "socket-dir",
        }
    ],
    "policies": [{"name": "all", "spec": {"interval": "1m"}}, {"name": "bare"}],
    "service": {"annotations": {"prometheus.io/scrape": "true"}},
    "monitoring": {
        "podMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
        "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
        "prometheusRule": {
            "enabled": True,
            "extraGroups": [{"name": "own", "rules": [{"alert": "A", "expr": "up == 0"}]}],
        },
        "dashboards": {"enabled": True, "labels": {"grafana_dashboard": "1"}, "annotations": {"folder": "f"}},
    },
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
    "openshift": {"securityContextConstraints": True},
}
"""Every value set to something."""
SERVED = (
    "--api-versions=volumehealth.dev/v1alpha1",
    "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
)


@pytest.fixture(scope="module", params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm of each major version, with no cluster."""
    return Helm(request.param, tmp_path_factory.mktemp("helm"))


def pod_of(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the Pod template's spec of the one Deployment or DaemonSet."""
    spec: dict[str, Any] = named(objects, kind)["spec"]["template"]["spec"]
    return spec


def faults(objects: list[dict[str, Any]], version: str) -> list[str]:
    """Validate Kubernetes' own kinds strictly against one version's schemas."""
    found = []
    for one in objects:
        if one["apiVersion"].partition("/")[0] in OTHER_GROUPS:
            continue
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as fault:
            found.append(f"{one['kind']} {one['metadata']['name']}: {fault.message}")
    return found


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_the_schemas_of_the_oldest_and_the_newest_kubernetes(
    helm: Helm, name: str, version: str
) -> None:
    objects = helm.render(f"--values={preset(name)}", f"--kube-version={version}.0")
    assert {"Deployment", "DaemonSet", "CustomResourceDefinition"} < kinds(objects)
    assert faults(objects, version) == []


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_every_value_at_once_fits_the_schemas(helm: Helm, version: str) -> None:
    objects = helm.render(f"--kube-version={version}.0", values=EVERYTHING)
    assert {"PodMonitor", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"} < kinds(objects)
    dashboards = [one for one in objects if "dashboard" in one["metadata"]["name"]]
    assert {json.loads(text)["uid"] for one in dashboards for text in one["data"].values()} == {
        f"volumehealth-{name}" for name in ("fleet", "cluster", "driver", "claim")
    }
    assert faults(objects, version) == []


def test_both_helms_render_the_same(tmp_path: Path) -> None:
    three, four = (
        Helm(name, tmp_path).render(*SERVED, "--kube-version=1.37.0", values=EVERYTHING)
        for name in ("helm3", "helm4")
    )

    def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        return {(one["kind"], one["metadata"]["name"]): one for one in objects}

    assert by_name(three) == by_name(four)


def test_every_object_says_that_it_is_part_of_the_product(helm: Helm) -> None:
    objects = helm.render(*SERVED, values=EVERYTHING)
    for one in objects:
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "volumehealth"
        assert one["metadata"]["labels"]["team"] == "storage"


def test_the_image_is_named_once(helm: Helm) -> None:
    wanted = f"registry.example.com/team/volumehealth@sha256:{'a' * 64}"
    text = helm.run("template", "x", CHART, *SERVED, values=EVERYTHING)
    objects = [one for one in yaml.safe_load_all(text) if one]
    pods = [pod_of(objects, "Deployment"), pod_of(objects, "DaemonSet"), named(objects, "Pod")["spec"]]
    for pod in pods:
        (container,) = pod["containers"]
        assert (container["image"], container["imagePullPolicy"]) == (wanted, "Always")
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
    injected = {one["name"]: one for one in named(objects, "MutatingAdmissionPolicy")["spec"]["variables"]}
    assert injected["image"]["expression"] == f"'{wanted}'"
    assert "volumehealth:0" not in text


def test_a_tag_is_the_charts_version_unless_another_is_given(helm: Helm) -> None:
    assert pod_of(helm.render(), "Deployment")["containers"][0]["image"] == f"volumehealth:{__version__}"
    other = helm.render("--set=image.tag=1.2.3")
    assert pod_of(other, "DaemonSet")["containers"][0]["image"] == "volumehealth:1.2.3"


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("name", PRESETS)
def test_agents_run_on_linux_nodes_with_a_kubelet_of_their_own(helm: Helm, name: str) -> None:
    pod = pod_of(helm.render(f"--values={preset(name)}"), "DaemonSet")
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]},
        {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_gives_the_operator_a_fixed_user(helm: Helm, name: str) -> None:
    security = pod_of(helm.render(f"--values={preset(name)}"), "Deployment")["securityContext"]
    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.mark.parametrize("name", PRESETS)
def test_each_system_priority_class_has_its_quota_in_its_namespace(helm: Helm, name: str) -> None:
    objects = helm.render(f"--values={preset(name)}")
    quotas = {
        one["metadata"]["namespace"]: one["spec"]["scopeSelector"]["matchExpressions"][0]["values"]
        for one in objects
        if one["kind"] == "ResourceQuota"
    }
    assert quotas == {
        named(objects, kind)["metadata"]["namespace"]: [pod_of(objects, kind)["priorityClassName"]]
        for kind in ("Deployment", "DaemonSet")
    }


def test_on_openshift_the_agents_may_have_what_they_ask_for_and_no_more(helm: Helm) -> None:
    for kernel_log in ("true", "false"):
        objects = helm.render(f"--values={preset('openshift')}", f"--set=agent.kernelLog={kernel_log}")
        allowed = named(objects, "SecurityContextConstraints")
        pod = pod_of(objects, "DaemonSet")
        asked = pod["containers"][0]["securityContext"]["capabilities"].get("add", [])
        assert allowed["allowedCapabilities"] == asked
        assert allowed["allowHostPID"] == pod["hostPID"]
        assert {kind for one in pod["volumes"] for kind in one if kind != "name"} <= set(allowed["volumes"])


def test_what_the_network_of_a_node_takes_is_allowed_where_it_is_asked_for(helm: Helm) -> None:
    for host_network in (True, False):
        allowed = named(
            helm.render(
                f"--values={preset('openshift')}", f"--set=agent.hostNetwork={str(host_network).lower()}"
            ),
            "SecurityContextConstraints",
        )
        assert (allowed["allowHostNetwork"], allowed["allowHostPorts"]) == (host_network, host_network)


@pytest.mark.parametrize(
    ("operator", "standard"),
    [
        ({}, "restricted"),
        ({"hostNetwork": True}, "privileged"),
        ({"extraVolumes": [{"name": "csi", "hostPath": {"path": "/csi"}}]}, "privileged"),
        ({"extraVolumes": [{"name": "tls", "secret": {"secretName": "tls"}}]}, "restricted"),
    ],
)
def test_the_operators_namespace_enforces_no_standard_that_refuses_its_pods(
    helm: Helm, operator: dict[str, Any], standard: str
) -> None:
    objects = helm.render(values={"namespace": {"create": True}, "operator": operator})
    (space,) = (
        one
        for one in objects
        if one["kind"] == "Namespace" and one["metadata"]["name"] == "volumehealth-system"
    )
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == standard


@pytest.mark.parametrize("path", ["/var/lib/kubelet/csi-plugins", "/var/lib/kubelet/csi-plugins/"])
def test_a_directory_that_was_mounted_by_hand_is_not_mounted_twice(helm: Helm, path: str) -> None:
    """The API server refuses two mounts at one path; before the chart had it, this was how to reach such drivers."""
    own = {
        "extraVolumes": [{"name": "csi-plugins", "hostPath": {"path": path}}],
        "extraVolumeMounts": [{"name": "csi-plugins", "mountPath": path}],
    }
    pod = pod_of(helm.render(values={"agent": own}), "DaemonSet")
    (agent,) = pod["containers"]
    assert [one["mountPath"] for one in agent["volumeMounts"] if "csi-plugins" in one["mountPath"]] == [path]
    assert [one["name"] for one in pod["volumes"]].count("csi-plugins") == 1


def test_names_that_yaml_takes_for_numbers_stay_names(helm: Helm) -> None:
    agent = {"driver": "d", "namespace": "1e3", "serviceAccount": "0"}
    values = EVERYTHING | {"controllerAgents": [agent], "policies": [{"name": "42"}]}
    values |= {"agent": EVERYTHING["agent"] | {"namespace": {"name": "007"}, "priorityClassName": "1"}}
    values |= {"image": EVERYTHING["image"] | {"pullSecrets": ["5"]}}
    text = helm.run("template", "12", CHART, "--namespace=123", *SERVED, values=values)
    objects = [one for one in yaml.safe_load_all(text) if one]

    def names(value: Any) -> list[Any]:
        if isinstance(value, list):
            return [one for each in value for one in names(each)]
        if not isinstance(value, dict):
            return []
        kinds_of_names = ("name", "namespace", "priorityClassName", "app.kubernetes.io/instance")
        own = [value[key] for key in kinds_of_names if key in value and not isinstance(value[key], dict)]
        return own + [one for each in value.values() for one in names(each)]

    assert {
        type(one) for each in objects for one in names(each) if each["kind"] != "CustomResourceDefinition"
    } == {str}


@pytest.mark.parametrize(
    "value",
    [
        "operator.priorityClassName",
        "agent.priorityClassName",
        "agent.enabled",
        "agent.hostNetwork",
        "operator.hostNetwork",
    ],
)
def test_a_value_that_is_taken_away_with_null_is_no_error_of_a_template(helm: Helm, value: str) -> None:
    objects = helm.render(
        f"--set={value}=null,namespace.create=true,openshift.securityContextConstraints=true"
    )
    assert ("DaemonSet" in kinds(objects)) is (value != "agent.enabled")


def test_selinux_types_are_those_of_the_platforms(helm: Helm) -> None:
    types = {
        name: pod_of(helm.render(f"--values={preset(name)}"), "DaemonSet")["securityContext"]
        .get("seLinuxOptions", {})
        .get("type")
        for name in PRESETS
    }
    assert types == {"plain": "spc_t", "gke": None, "eks": "super_t", "openshift": "spc_t"}


def test_the_kubelets_directory_is_set_everywhere(helm: Helm) -> None:
    pod = pod_of(helm.render(values=EVERYTHING), "DaemonSet")
    (container,) = pod["containers"]
    assert "--kubelet-dir=/var/lib/k0s/kubelet" in container["args"]
    assert "/var/lib/kubelet" not in str(pod)


def test_the_agent_reaches_sockets_where_drivers_are_known_to_have_them(helm: Helm) -> None:
    """JuiceFS, Fluid and the drivers of Alibaba Cloud register sockets below `csi-plugins`."""
    pod = pod_of(helm.render(), "DaemonSet")
    (container,) = pod["containers"]
    places = {one["name"]: one["hostPath"]["path"] for one in pod["volumes"]}
    assert set(places.values()) == {
        f"/var/lib/kubelet/{name}" for name in ("plugins_registry", "plugins", "csi-plugins")
    }
    assert all(one["mountPath"] == places[one["name"]] for one in container["volumeMounts"])
    assert all(one["readOnly"] for one in container["volumeMounts"])


def test_another_namespace_of_the_release_reaches_rights_agents_and_sidecars(helm: Helm) -> None:
    text = helm.run(
        "template",
        "x",
        CHART,
        "--namespace=storage",
        *SERVED,
        values={**EVERYTHING, "crds": {"install": False}},
    )
    objects = [one for one in yaml.safe_load_all(text) if one]
    assert "--namespace=storage" in pod_of(objects, "DaemonSet")["containers"][0]["args"]
    assert "--namespace=storage" in str(named(objects, "MutatingAdmissionPolicy"))
    assert "volumehealth-system" not in text


def test_another_namespace_of_the_agents_is_the_one_whose_account_admission_looks_at(helm: Helm) -> None:
    objects = helm.render("--set=agent.namespace.name=node-agents")
    (condition,) = named(objects, "ValidatingAdmissionPolicy")["spec"]["matchConditions"]
    assert "'system:serviceaccount:node-agents:volumehealth-agent'" in condition["expression"]


def test_alerts_and_operator_lead_to_the_runbooks_where_people_read_them(helm: Helm) -> None:
    values = {"monitoring": {"prometheusRule": {"enabled": True}}}
    objects = helm.render(values=values | {"runbooks": "https://docs.example.com/runbooks.html"})
    rules = [one for group in named(objects, "PrometheusRule")["spec"]["groups"] for one in group["rules"]]
    assert {one["annotations"]["runbook_url"].partition("#")[0] for one in rules} == {
        "https://docs.example.com/runbooks.html"
    }
    (container,) = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "--runbooks=https://docs.example.com/runbooks.html" in container["args"]
    shipped = yaml.safe_load((CHART / "files/alerts/volumehealth.yaml").read_text())["groups"]
    assert named(helm.render(values=values), "PrometheusRule")["spec"]["groups"] == shipped


def test_without_agents_nothing_of_theirs_is_there(helm: Helm) -> None:
    objects = helm.render("--set=agent.enabled=false", "--set=networkPolicy.enabled=true")
    assert kinds(objects).isdisjoint({"DaemonSet", "ValidatingAdmissionPolicy", "Namespace"})
    assert not [one for one in objects if "volumehealth-agent" in one["metadata"].get("namespace", "")]


def test_injection_is_rendered_only_where_its_api_is_served(helm: Helm) -> None:
    injecting = {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}
    assert injecting < kinds(helm.render(*SERVED, values=EVERYTHING))
    without = helm.render("--kube-version=1.30.0", values=EVERYTHING)
    assert kinds(without).isdisjoint(injecting)
    assert named(without, "ClusterRole", "volumehealth-controller.ebs.csi.example.com")


def test_injection_is_opt_in_for_each_driver(helm: Helm) -> None:
    quiet = {"driver": "nfs.csi.example.com", "namespace": "kube-system", "serviceAccount": "nfs"}
    values = {"controllerAgents": [*EVERYTHING["controllerAgents"], quiet]}
    objects = helm.render(*SERVED, values=values)
    assert named(objects, "MutatingAdmissionPolicy", "volumehealth-controller-agent.ebs.csi.example.com")
    assert named(objects, "MutatingAdmissionPolicy")
    assert named(objects, "ClusterRole", "volumehealth-controller.nfs.csi.example.com")
    alone = helm.render(*SERVED, values={"controllerAgents": [quiet]})
    assert "MutatingAdmissionPolicy" not in kinds(alone)


def test_crds_are_kept_when_the_release_goes_unless_told_otherwise(helm: Helm) -> None:
    def kept(*arguments: str) -> set[bool]:
        return {
            one["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
            for one in helm.render(*arguments)
            if one["kind"] == "CustomResourceDefinition"
        }

    assert kept() == {True}
    assert kept("--set=crds.keep=false") == {False}
    assert kept("--set=crds.install=false") == set()


def test_crds_are_those_of_the_project(helm: Helm, crds: list[dict[str, Any]]) -> None:
    rendered = {
        one["metadata"]["name"]: one["spec"]
        for one in helm.render()
        if one["kind"] == "CustomResourceDefinition"
    }
    assert rendered == {one["metadata"]["name"]: one["spec"] for one in crds}


REFUSED = {
    "operator.replica=3": "/operator.*'replica' not allowed",
    "operator.replicas=many": "/operator/replicas.*got string, want integer",
    "image.pullPolicy=Sometimes": "/image/pullPolicy.*must be one of",
    "image.digest=abc": "/image/digest.*does not match pattern",
    "kubeletDir=var/lib/kubelet": "/kubeletDir.*does not match pattern",
    "agents.enabled=true": "'agents' not allowed",
    "agent.seLinuxOptions.typ=spc_t": "/agent/seLinuxOptions.*'typ' not allowed",
    "operator.resources.limit.cpu=1": "/operator/resources.*'limit' not allowed",
    "controllerAgents[0].driver=a": "/controllerAgents/0.*missing propert.*'namespace'",
    "policies[0].spec.interval=1m": "/policies/0.*missing property 'name'",
    f"policies[0].name={'p' * 64}": "/policies/0/name.*maxLength",  # the API server would refuse it in the middle
    "operator.csiEndpoints[0]=/csi/csi.sock": "/operator/csiEndpoints/0.*does not match pattern",
    "monitoring.podMonitor.enable=true": "/monitoring/podMonitor.*'enable' not allowed",
    r"operator.podLabels.app\.kubernetes\.io/name=x": "/operator/podLabels",
    r"agent.podLabels.app\.kubernetes\.io/name=x": "/agent/podLabels",
    r"commonLabels.app\.kubernetes\.io/part-of=x": "/commonLabels",
    "operator.ports.health=8080": "must be two ports",
    "agent.hostNetwork=true,operator.hostNetwork=true": "agent.ports.health 8081 is a port of the operator",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_typo_is_refused_with_a_sentence_that_names_its_place(helm: Helm, setting: str) -> None:
    with pytest.raises(HelmError, match=REFUSED[setting]):
        helm.render(f"--set={setting}")


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.30\.0-0"):
        helm.render("--kube-version=1.29.9")


@pytest.mark.parametrize("version", ["v1.30.14-gke.1234", "v1.33.4-eks-99d6cc0", "v1.30.4+k3s1"])
def test_the_versions_of_vendors_are_taken(helm: Helm, version: str) -> None:
    assert helm.render(f"--kube-version={version}")


def test_every_value_of_the_file_is_known_to_the_schema_and_the_other_way_round() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def paths(known: dict[str, Any], given: Any, at: str = "") -> list[str]:
        if "properties" not in known or not isinstance(given, dict):
            return []
        wrong = [f"{at}/{name}" for name in known["properties"].keys() ^ given.keys()]
        for name in known["properties"].keys() & given.keys():
            wrong += paths(known["properties"][name], given[name], f"{at}/{name}")
        return wrong

    optional = {"/global", "/operator/resources/claims", "/agent/resources/claims", "/agent/resources/limits"}
    optional |= {f"/agent/seLinuxOptions/{name}" for name in ("user", "role", "level")}
    assert set(paths(schema, values)) - optional == set()
