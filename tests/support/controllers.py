"""Controllers of CSI drivers as their vendors ship them, with the agent beside them: real Pods of a real node."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.image import NAME
from volumehealth_sandbox.node_files import IMAGE

Manifest = dict[str, Any]
SYSTEM = "volumehealth-system"
ACCOUNT = "csi-controller"
COMPONENTS = ("controller-agent", "controller-agent-rights")
"""Both components of docs/controller-agent.md."""


def settings(driver: str, namespace: str, **data: str) -> Manifest:
    """Describe a driver for the components, as docs/controller-agent.md says."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "volumehealth-controller-agent",
            "namespace": SYSTEM,
            "annotations": {"config.kubernetes.io/local-config": "true"},
        },
        "data": {
            "driver": driver,
            "namespace": namespace,
            "serviceAccount": ACCOUNT,
            "socketVolume": "socket-dir",
            "socketFile": "csi.sock",
            "runAsUser": "0",
            "runAsNonRoot": "false",
            "image": NAME,
            **data,
        },
    }


def rights_of_a_provisioner(namespace: str) -> list[Manifest]:
    """Make the controller's ServiceAccount, with the right on volumes that every external-provisioner has."""
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": f"{namespace}-provisioner"}}
    account = {"name": ACCOUNT, "namespace": namespace}
    rule = {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch"]}
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": f"{namespace}-provisioner",
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {**rbac, "kind": "ClusterRole", "rules": [rule]},
        {
            **rbac,
            "kind": "ClusterRoleBinding",
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    ]


def controller_on_host(kind: str, namespace: str, socket_dir: Path) -> Manifest:
    """Write the controller of a driver whose socket is in a directory of the node, as csi-driver-host-path has it."""
    container = {
        "name": "csi-driver",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "socket-dir", "mountPath": "/csi"}],
    }
    pod = {
        "serviceAccountName": ACCOUNT,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "socket-dir", "hostPath": {"path": str(socket_dir), "type": "Directory"}}],
    }
    return workload(kind, namespace, pod)


def workload(kind: str, namespace: str, pod: Mapping[str, Any], *, replicas: int = 1) -> Manifest:
    """Write a Deployment or a StatefulSet named csi-controller."""
    labels = {"app": ACCOUNT}
    spec: Manifest = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": dict(pod)},
    }
    if kind == "StatefulSet":
        spec["serviceName"] = ACCOUNT
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": ACCOUNT, "namespace": namespace},
        "spec": spec,
    }


def write_kustomization(
    home: Path, resources: Iterable[Manifest], components: Iterable[str] = COMPONENTS
) -> Path:
    """Write a user's kustomization with the components beside it; kustomize takes relative paths only."""
    home.mkdir(parents=True)
    (home / "resources.yaml").write_text(yaml.safe_dump_all(resources))
    names = list(components)
    for name in names:
        shutil.copytree(asset("deploy") / "components" / name, home / name)
    kustomization = {"resources": ["resources.yaml"], "components": names}
    (home / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return home
