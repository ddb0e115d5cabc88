"""Controllers of CSI drivers as their vendors ship them, with the agent beside them: real Pods of a real node."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import volumehealth_sandbox
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.image import NAME
from volumehealth_sandbox.node_files import IMAGE

Manifest = dict[str, Any]
SYSTEM = "volumehealth-system"
ACCOUNT = "csi-controller"
SOURCE = Path(volumehealth_sandbox.__file__).parent
"""The simulated driver, which is not in the image."""
SOURCE_MAP = "source"
"""Name of the ConfigMap with it."""
COMPONENTS = ("controller-agent", "controller-agent-rights")
"""The sidecar, and its rights: components of docs/controller-agent.md."""
INJECTING = ("controller-agent-injection", "controller-agent-rights")
"""The sidecar by admission, and its rights."""


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


def driver_pod(
    driver: str, *, user: int | None = 0, volumes: int = 2, resources: Manifest | None = None
) -> Manifest:
    """Write the Pod of a controller that serves its socket in an emptyDir, as most vendors ship it.

    Args:
        driver: its name.
        user: its `runAsUser`; None if its image decides.
        volumes: how many it has.
        resources: of its container.
    """
    as_user = {"runAsUser": user} if user is not None else {}
    nonroot = {} if user == 0 else {"runAsNonRoot": True}
    container: Manifest = {
        "name": "csi-driver",
        "image": NAME,
        "args": [
            "sandbox",
            "driver",
            "--endpoint=unix:///csi/csi.sock",
            f"--name={driver}",
            f"--volumes={volumes}",
        ],
        "env": [{"name": "PYTHONPATH", "value": "/source"}],
        "resources": resources or {},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "socket-dir", "mountPath": "/csi"},
            {"name": "source", "mountPath": "/source/volumehealth_sandbox"},
        ],
    }
    return {
        "serviceAccountName": ACCOUNT,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {**as_user, **nonroot, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "socket-dir", "emptyDir": {}},
            {"name": "source", "configMap": {"name": SOURCE_MAP}},
        ],
    }


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
