"""The product as its users install it: `deploy/` and `deploy/agent` applied, everything in Pods of a real node."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from support.process import scrape
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.node import NodeSandbox
from volumehealth_sandbox.objects import Object

OPERATOR_SPACE = "volumehealth-system"
AGENT_SPACE = "volumehealth-agent"
OPERATOR = "deployment/volumehealth-operator"
AGENT = "daemonset/volumehealth-agent"
_ROLLED_OUT = 180.0
_POLL = 0.3


def agent_overlay(home: Path, kubelet_dir: Path) -> Path:
    """Write the only change that the real node makes to what is shipped: where its kubelet lives.

    The operator is applied from `deploy/` as it is.
    """
    home.mkdir()
    add = {
        "op": "add",
        "path": "/spec/template/spec/containers/0/args/-",
        "value": f"--kubelet-dir={kubelet_dir}",
    }
    replace = [
        {"op": "replace", "path": f"/spec/template/spec/{path}", "value": f"{kubelet_dir}/{name}"}
        for index, name in enumerate(("plugins_registry", "plugins", "csi-plugins"))
        for path in (f"containers/0/volumeMounts/{index}/mountPath", f"volumes/{index}/hostPath/path")
    ]
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(asset("deploy") / "agent", home)],
        "patches": [{"target": {"kind": "DaemonSet"}, "patch": yaml.safe_dump([add, *replace])}],
    }
    (home / "kustomization.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
    return home


class Product:
    """The operator's Deployment and the agents' DaemonSet on a real node.

    Args:
        plane: the control plane.
        node: its node.
        home: directory for the overlay.
    """

    def __init__(self, plane: ControlPlane, node: NodeSandbox, home: Path) -> None:
        self._plane = plane
        self._node = node
        self.home = home

    # Life.

    def install(self) -> None:
        """Apply both, and wait for both rollouts, as docs/install.md says; what is there already stays."""
        if not self._overlay.exists():
            agent_overlay(self._overlay, self._node.layout.kubelet_dir)
        self._plane.kubectl("apply", "-k", str(asset("deploy")))
        self._plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self._plane.kubectl("apply", "-k", str(self._overlay))
        self.await_rollout(OPERATOR, OPERATOR_SPACE)
        self.await_rollout(AGENT, AGENT_SPACE)

    def remove_agent(self) -> None:
        """Delete deploy/agent, and return when all of it is gone."""
        self._plane.kubectl("delete", "-k", str(self._overlay), "--timeout=90s")

    def remove_operator(self) -> None:
        """Delete deploy/, and return when all of it is gone."""
        self._plane.kubectl("delete", "-k", str(asset("deploy")), "--timeout=90s")

    @property
    def _overlay(self) -> Path:
        return self.home / "agent"

    def await_rollout(self, what: str, namespace: str) -> float:
        """Wait for `kubectl rollout status`; return how many seconds that took.

        Raises:
            AssertionError: if it does not end in time; with what the Pods logged.
        """
        before = time.monotonic()
        while not self._rolled_out(what, namespace):
            if time.monotonic() - before > _ROLLED_OUT:
                raise AssertionError(f"{what} does not roll out\n{self.logs(namespace)}")
            time.sleep(_POLL)
        return time.monotonic() - before

    def _rolled_out(self, what: str, namespace: str) -> bool:
        said = self._plane.kubectl("rollout", "status", what, f"--namespace={namespace}", "--watch=false")
        return not said.lower().startswith("waiting")

    # Its Pods.

    def pods(self, namespace: str) -> list[Object]:
        """Return the Pods of a namespace that are not being deleted."""
        items = json.loads(self._plane.kubectl("get", "pods", f"--namespace={namespace}", "-o", "json"))[
            "items"
        ]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """Return the name of the operator's Pod that holds the Lease; empty if none does."""
        lease = json.loads(
            self._plane.kubectl(
                "get", "lease", "volumehealth-operator", f"--namespace={OPERATOR_SPACE}", "-o", "json"
            )
        )
        holder: str = lease["spec"].get("holderIdentity") or ""
        return next((name for name in self.names(OPERATOR_SPACE) if name in holder), "")

    def names(self, namespace: str) -> list[str]:
        """Return the names of a namespace's Pods."""
        return [pod["metadata"]["name"] for pod in self.pods(namespace)]

    def running(self, namespace: str) -> list[str]:
        """Return the names of a namespace's Pods that run."""
        return [
            pod["metadata"]["name"] for pod in self.pods(namespace) if pod["status"]["phase"] == "Running"
        ]

    def agent(self) -> Object:
        """Return the node's agent."""
        (pod,) = self.pods(AGENT_SPACE)
        return pod

    def crash(self, namespace: str, name: str) -> None:
        """Kill a Pod's first container with SIGKILL, and return when the kubelet knows."""
        before = _restarts(self._pod(namespace, name))
        identity = self._pod(namespace, name)["status"]["containerStatuses"][0]["containerID"]
        self._node.ctr("tasks", "kill", "--signal", "SIGKILL", identity.removeprefix("containerd://"))
        _wait(lambda: _restarts(self._pod(namespace, name)) > before, f"the kubelet starts {name} again")

    def is_ready(self, namespace: str, name: str) -> bool:
        """Tell whether a Pod is Ready."""
        conditions = self._pod(namespace, name)["status"].get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _pod(self, namespace: str, name: str) -> Object:
        pod: Object = json.loads(
            self._plane.kubectl("get", "pod", name, f"--namespace={namespace}", "-o", "json")
        )
        return pod

    # What it says.

    def metrics(self) -> Mapping[str, float]:
        """Read /metrics of the operator that works."""
        return asyncio.run(scrape(f"http://{self._address(OPERATOR_SPACE, self.leader())}:8080/metrics"))

    def _address(self, namespace: str, name: str) -> str:
        address: str = self._pod(namespace, name)["status"]["podIP"]
        return address

    def memory(self, namespace: str, *, container: str = "") -> dict[str, float]:
        """Return the resident megabytes of the first process of each running Pod's container: the first one, or of a name."""
        return {
            pod["metadata"]["name"]: _resident(self.process(pod, container=container))
            for pod in self.pods(namespace)
            if pod["status"]["phase"] == "Running"
        }

    def process(self, pod: Mapping[str, Any], *, container: str = "") -> int:
        """Return the number of the first process of a Pod's container: of the first one, or of a name."""
        statuses = pod["status"]["containerStatuses"]
        wanted = next(one for one in statuses if container in ("", one["name"]))
        identity = wanted["containerID"].removeprefix("containerd://")
        rows = (line.split() for line in self._node.ctr("tasks", "ls").splitlines())
        return next(int(row[1]) for row in rows if row[0] == identity)

    def logs(self, namespace: str, *, lines: int = 12) -> str:
        """Return a namespace's Pods and Events, and the end of all its containers' logs, also of those that are gone."""
        listing = self._plane.kubectl("get", "pods,events", f"--namespace={namespace}")
        logs = sorted(self._node.layout.pod_logs.glob(f"{namespace}_*/*/*.log"))
        return listing + "\n".join(
            f"{log.parts[-3]} {log.name}:\n" + "\n".join(_end(log.read_text(errors="replace"), lines))
            for log in logs
        )


class NotInstalled(Product):
    """Nothing, until the test installs it."""

    def install(self) -> None:
        """Install nothing."""


def _end(text: str, lines: int) -> list[str]:
    return [line[:600] for line in text.splitlines()[-lines:]]


def _restarts(pod: Object) -> int:
    statuses = pod["status"].get("containerStatuses") or [{"restartCount": 0}]
    return int(statuses[0]["restartCount"])


def _resident(pid: int) -> float:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS:"))


def _wait(condition: Callable[[], object], what: str, *, within: float = 60.0) -> None:
    before = time.monotonic()
    while not condition():
        if time.monotonic() - before > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(_POLL)
