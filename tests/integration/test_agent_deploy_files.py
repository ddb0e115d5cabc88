"""What deploy/agent asks for, read without a server: the rights, the Pod's limits, and what docs/agent.md says of them."""

import re
from pathlib import Path
from typing import Any

import yaml

from volumehealth import __version__
from volumehealth.agent.paths import DEFAULT_KUBELET_DIR
from volumehealth.agent.registry import REGISTRY
from volumehealth.cli.agent import agent, node
from volumehealth.settings import DEFAULT_NAMESPACE, Settings

ROOT = Path(__file__).parents[2]
HOME = ROOT / "deploy" / "agent"
DOCUMENTS = [one for file in sorted(HOME.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
PAGE = (ROOT / "docs" / "agent.md").read_text()


def the(kind: str) -> dict[str, Any]:
    (found,) = (one for one in DOCUMENTS if one["kind"] == kind)
    return dict(found)


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = the("DaemonSet")["spec"]["template"]["spec"]
    return spec


def rules() -> list[dict[str, Any]]:
    return [*the("ClusterRole")["rules"], *the("Role")["rules"]]


def test_the_page_explains_exactly_the_rights_that_are_given() -> None:
    told = set()
    for names, verbs in re.findall(
        r"^\| ([a-z, ]+?)(?: \(in [a-z-]+\))? \| ([a-z, ]+) \| .+\|$", PAGE, re.MULTILINE
    ):
        told |= {(verb, name) for verb in verbs.split(", ") for name in names.split(", ")}
    assert told == {
        (verb, resource) for rule in rules() for verb in rule["verbs"] for resource in rule["resources"]
    }


def test_nothing_but_its_report_and_its_lease_can_be_changed() -> None:
    changing = {"create", "update", "patch", "delete", "deletecollection", "*"}
    changed = {name for rule in rules() for name in rule["resources"] if changing & set(rule["verbs"])}
    assert changed == {"volumehealthreports", "leases"}
    assert "*" not in str(rules())
    assert the("Role")["metadata"]["namespace"] == DEFAULT_NAMESPACE


def test_what_it_writes_is_what_the_admission_policy_looks_at() -> None:
    policy = the("ValidatingAdmissionPolicy")["spec"]
    looked_at = {name for rule in policy["matchConstraints"]["resourceRules"] for name in rule["resources"]}
    assert looked_at == {"volumehealthreports", "leases"}
    for rule in policy["matchConstraints"]["resourceRules"]:
        assert rule["operations"] == ["CREATE", "UPDATE", "DELETE"]
    account = the("ServiceAccount")["metadata"]
    user = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    assert user in policy["matchConditions"][0]["expression"]
    assert policy["failurePolicy"] == "Fail"
    assert the("ValidatingAdmissionPolicyBinding")["spec"]["validationActions"] == ["Deny"]


def test_its_pod_has_the_least_that_works() -> None:
    (container,) = pod()["containers"]
    assert container["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["SYSLOG"]},
    }
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {key for key in pod() if key.startswith("host")} == {"hostPID"}
    assert set(container["resources"]) == {"requests", "limits"}


def test_it_sees_the_registry_and_the_sockets_and_no_pods_volume() -> None:
    (container,) = pod()["containers"]
    mounts = {one["name"]: one for one in container["volumeMounts"]}
    paths = {one["name"]: one["hostPath"]["path"] for one in pod()["volumes"]}
    assert paths == {
        "registry": f"{DEFAULT_KUBELET_DIR}/{REGISTRY}",
        "plugins": f"{DEFAULT_KUBELET_DIR}/plugins",
        "csi-plugins": f"{DEFAULT_KUBELET_DIR}/csi-plugins",
    }
    assert {name: one["mountPath"] for name, one in mounts.items()} == paths
    assert all(one["readOnly"] for one in mounts.values())
    for name in ("plugins", "csi-plugins"):
        assert mounts[name]["mountPropagation"] == "HostToContainer"


def test_the_command_line_and_the_environment_are_ones_that_the_agent_takes() -> None:
    (container,) = pod()["containers"]
    group, command, *flags = container["args"]
    assert (group, command) == (agent.name, node.name)
    assert {flag.partition("=")[0] for flag in flags} <= {name for one in node.params for name in one.opts}
    taken = {getattr(one, "envvar", "") for one in node.params}
    given = {one["name"] for one in container["env"] if one["name"].startswith("VOLUMEHEALTH_")}
    assert given <= taken
    address = Settings().health_address
    assert address is not None
    assert container["ports"] == [{"name": "health", "containerPort": address.port}]


def test_its_namespace_says_that_it_needs_more_than_the_operators() -> None:
    labels = the("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_image_has_the_version_of_the_package() -> None:
    assert [image["newTag"] for image in the("Kustomization")["images"]] == [__version__]
