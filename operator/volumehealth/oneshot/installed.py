"""How volumehealth was installed, so that `preflight` names commands that fit: a Helm release, or kustomize's manifests.

Helm writes the release on each of its objects; what has no such annotation was not made by Helm, and `helm upgrade` would
refuse to touch it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from volumehealth.model.text import count
from volumehealth.oneshot.reading import Object
from volumehealth.oneshot.workloads import Controller

_CHART = "charts/volumehealth"
_SOCKET = "csi.sock"
"""The socket's name that the chart and the component have if none is given."""
_BOTTLEROCKET = f"{_CHART}/presets/eks.yaml"
_ENFORCING = {"Bottlerocket": "super_t", "Red Hat Enterprise Linux CoreOS": "spc_t"}
"""Node systems on which SELinux always enforces, by how their image's name begins, and the type that lets the node agent
connect to drivers. Of other systems the API does not tell whether SELinux enforces."""


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release, or none.

    Attributes:
        name, namespace: of the release.
        helm: whether Helm made it, or will make it.
    """

    name: str = "volumehealth"
    namespace: str = "volumehealth-system"
    helm: bool = True

    @classmethod
    def of(cls, workloads: Sequence[Object]) -> "Release":
        """Return how these were installed; if there are none, how it will be installed.

        Args:
            workloads: the operator's Deployments and the agents' DaemonSets.
        """
        for one in workloads:
            notes = one["metadata"].get("annotations") or {}
            if name := notes.get("meta.helm.sh/release-name"):
                return cls(name, notes.get("meta.helm.sh/release-namespace", one["metadata"]["namespace"]))
        return cls(helm=not workloads)

    def install(self, *, openshift: bool, nodes: Iterable[Object]) -> str:
        """Write the command that installs it, with the preset of a platform that is recognised."""
        preset = f" -f {_CHART}/presets/openshift.yaml" if openshift else ""
        if not openshift and _systems(nodes)["Bottlerocket"]:
            preset = f" -f {_BOTTLEROCKET}"
        return f"helm install {self.name} {_CHART} --namespace {self.namespace} --create-namespace{preset}"

    def add_agents(self) -> str:
        """Write the command that installs the node agents."""
        return self._upgrade("--set agent.enabled=true") if self.helm else "kubectl apply -k deploy/agent"

    def connect(
        self,
        wanting: Sequence[tuple[str, Controller]],
        kept: Sequence[tuple[str, Controller]],
        *,
        inject: bool,
    ) -> list[str]:
        """Write the commands that give each driver its rights, and, with the admission policy, its agent.

        Args:
            wanting: the drivers and their controllers.
            kept: those that have an agent already: Helm replaces a list as a whole, and would take theirs away.
            inject: whether the admission policy is served.
        """
        if self.helm:
            each = [
                *({**_settings(name, one), "inject": inject and not one.agent} for name, one in kept),
                *({**_settings(name, one), "inject": inject} for name, one in wanting),
            ]
            written = json.dumps(each, separators=(",", ":"))
            command = self._upgrade(f"--set-json 'controllerAgents={written}'")
            note = f"  # it replaces the list: compare with helm get values {self.name} -n {self.namespace}"
            return [command + (note if kept else "")]
        agents = [_settings(name, one) for name, one in wanting]
        settings = [" ".join(f"{name}={value}" for name, value in one.items()) for one in agents]
        return [
            f"kubectl apply -k DIRECTORY  # as in docs/controller-agent.md, with {one}" for one in settings
        ]

    def relabel(self, kind: str, agent: Object) -> str:
        """Write the command that gives the node agents an SELinux type."""
        if self.helm and kind == _ENFORCING["Bottlerocket"]:
            return self._upgrade(f"-f {_BOTTLEROCKET}")
        if self.helm:
            return self._upgrade(f"--set agent.seLinuxOptions.type={kind}")
        options = {"user": "system_u", "role": "system_r", "type": kind, "level": "s0"}
        patch = {"spec": {"template": {"spec": {"securityContext": {"seLinuxOptions": options}}}}}
        where = f"{agent['metadata']['name']} -n {agent['metadata']['namespace']}"
        return f"kubectl patch daemonset {where} -p '{json.dumps(patch, separators=(',', ':'))}'"

    def _upgrade(self, change: str) -> str:
        return f"helm upgrade {self.name} {_CHART} --namespace {self.namespace} --reuse-values {change}"


def _settings(name: str, one: Controller) -> dict[str, str]:
    return {
        "driver": name.lower(),
        "namespace": one.namespace,
        "serviceAccount": one.account,
        "socketVolume": one.socket_volume or "SOCKET-VOLUME",
    } | ({"socketFile": one.socket_file} if one.socket_file not in ("", _SOCKET) else {})


def refused_by_selinux(nodes: Iterable[Object], agent: Object) -> Iterable[tuple[str, str]]:
    """Say on which nodes SELinux is known to keep a node agent from the drivers.

    Args:
        nodes: of the cluster.
        agent: its DaemonSet.

    Yields:
        A sentence, and the SELinux type that the agent needs.
    """
    pod = agent["spec"].get("template", {}).get("spec", {})
    options = (pod.get("securityContext") or {}).get("seLinuxOptions") or {}
    kind = options.get("type", "")
    for system, number in sorted(_systems(nodes).items()):
        needed = _ENFORCING[system]
        if kind != needed:
            has = f"has {kind}" if kind else "names none"
            yield (
                (
                    f"{count(number, 'node')} {'runs' if number == 1 else 'run'} {system}, where SELinux enforces: the node agent needs the type {needed} to connect "
                    f"to drivers, and {has}"
                ),
                needed,
            )


def _systems(nodes: Iterable[Object]) -> Counter[str]:
    """Count the nodes of each system on which SELinux is known to enforce."""
    images = [str(((one.get("status") or {}).get("nodeInfo") or {}).get("osImage", "")) for one in nodes]
    return Counter(system for image in images for system in _ENFORCING if image.startswith(system))
