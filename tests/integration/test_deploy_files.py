"""What deploy/ asks for, read without a server: the rights, the Pod's limits, and what docs/install.md says of them."""

import re
from pathlib import Path
from typing import Any

import yaml

from volumehealth import __version__
from volumehealth.cli.operator import operator
from volumehealth.model.vocabulary import API_VERSION, GROUP
from volumehealth.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    document
    for name in ("namespace", "rbac", "operator")
    for document in yaml.safe_load_all((ROOT / "deploy" / f"{name}.yaml").read_text())
]
PAGE = (ROOT / "docs" / "install.md").read_text()


def the(kind: str, name: str = "volumehealth-operator") -> dict[str, Any]:
    (found,) = (one for one in DOCUMENTS if one["kind"] == kind and one["metadata"]["name"] == name)
    return dict(found)


def rules() -> list[dict[str, Any]]:
    return [*the("ClusterRole")["rules"], *the("Role")["rules"]]


def granted() -> set[tuple[str, str]]:
    """Return every (verb, resource)."""
    return {(verb, resource) for rule in rules() for verb in rule["verbs"] for resource in rule["resources"]}


def test_no_right_is_a_wildcard() -> None:
    assert "*" not in str(rules())


def test_there_is_no_right_to_secrets_or_to_change_what_is_watched() -> None:
    resources = {resource for _, resource in granted()}
    assert resources.isdisjoint(
        {"secrets", "nodes/proxy", "configmaps", "serviceaccounts/token", "pods/exec"}
    )
    changing = {"create", "update", "patch", "delete", "deletecollection"}
    watched = {resource for verb, resource in granted() if verb == "watch"} - {
        "volumehealths",
        "volumehealthdrivers",
        "leases",
    }
    assert {"persistentvolumes", "persistentvolumeclaims", "pods", "nodes", "volumehealthreports"} < watched
    assert {
        (verb, resource) for verb, resource in granted() if verb in changing and resource in watched
    } == set()


def test_the_page_explains_exactly_the_rights_that_are_given() -> None:
    told = set()
    for names, verbs in re.findall(
        r"^\| ([a-z/, -]+?)(?: \(in [a-z-]+\))? \| ([a-z, ]+) \| .+\|$", PAGE, re.MULTILINE
    ):
        named = [name.removesuffix("/volumehealth-operator") for name in names.split(", ")]
        told |= {(verb, name) for verb in verbs.split(", ") for name in named}
    assert told == granted()


def test_the_lease_is_limited_to_its_name_and_namespace() -> None:
    changing = {"update", "patch", "delete"}
    by_name = [rule for rule in rules() if "leases" in rule["resources"] and changing & set(rule["verbs"])]
    assert [rule["resourceNames"] for rule in by_name] == [["volumehealth-operator"]]
    assert by_name[0] in the("Role")["rules"]
    assert the("Role")["metadata"]["namespace"] == "volumehealth-system"


def test_records_are_readable_with_the_role_view_and_policies_are_not() -> None:
    role = the("ClusterRole", "volumehealth-view")
    assert role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert role["rules"] == [
        {"apiGroups": [GROUP], "resources": ["volumehealths"], "verbs": ["get", "list", "watch"]}
    ]


def test_the_container_has_no_more_than_it_needs() -> None:
    pod = the("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]) == {"requests", "limits"}
    assert {probe for probe in container if probe.endswith("Probe")} == {
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
    }
    assert not any(key.startswith("host") for key in pod)


def test_ports_are_those_of_the_settings() -> None:
    (container,) = the("Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    settings = Settings()
    assert settings.metrics_address is not None
    assert settings.health_address is not None
    assert ports == {"metrics": settings.metrics_address.port, "health": settings.health_address.port}


def test_the_command_line_is_one_that_the_operator_takes() -> None:
    (container,) = the("Deployment")["spec"]["template"]["spec"]["containers"]
    command, *flags = container["args"]
    names = {name for parameter in operator.params for name in parameter.opts}
    assert command == operator.name
    assert {flag.partition("=")[0] for flag in flags} <= names
    text = (ROOT / "deploy" / "operator.yaml").read_text() + PAGE
    assert set(re.findall(r"--csi-[a-z-]+", text)) <= names


def test_the_pod_has_the_images_user_or_one_that_the_platform_gives_it_and_never_root() -> None:
    """OpenShift refuses a fixed user; and the kubelet must see in the image that its user is not root."""
    security = the("Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security.keys().isdisjoint({"runAsUser", "runAsGroup", "fsGroup"})
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.MULTILINE)
    assert 'ENTRYPOINT ["volumehealth"]' in dockerfile


def test_the_image_has_the_version_of_the_package() -> None:
    kustomization = yaml.safe_load((ROOT / "deploy" / "kustomization.yaml").read_text())
    assert [image["newTag"] for image in kustomization["images"]] == [__version__]


def test_nothing_has_a_finalizer() -> None:
    files = [
        *(ROOT / "deploy").rglob("*.yaml"),
        *(ROOT / "crds").rglob("*.yaml"),
        *(ROOT / "examples").rglob("*.yaml"),
    ]
    assert [file.name for file in files if "finalizers" in file.read_text()] == []
    assert API_VERSION in "".join(file.read_text() for file in files)
