"""Files and command lines of a real node, as pure functions of where things are.

Found by trying (the same settings hold under cgroup v1 and v2): the native snapshotter needs no overlay on overlay;
`restrict_oom_score_adj` lets runc start where our own score cannot be lowered, and without cgroups per QOS class the
kubelet leaves the host's cgroups alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volumehealth_sandbox.network import ClusterNetwork

IMAGE = "example.invalid/workload:1"
"""The only image there is; it is never pulled."""
CNI_PLUGINS = Path("/usr/lib/cni")
"""Where Debian's containernetworking-plugins are."""
_LEASE_SECONDS = 4
"""Short, so that a stopped kubelet is noticed within seconds."""


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """Where the parts of one node are.

    Attributes:
        home: its directory; short, because sockets are below it.
        name: of the Node.
        port: of the kubelet on 127.0.0.1.
    """

    home: Path
    name: str
    port: int

    @property
    def kubelet_dir(self) -> Path:
        """The kubelet's root directory."""
        return self.home / "kubelet"

    @property
    def registry(self) -> Path:
        """Where CSI drivers register with the kubelet."""
        return self.kubelet_dir / "plugins_registry"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers."""
        return self.home / "containerd.sock"

    @property
    def tasks(self) -> Path:
        """Containerd keeps one directory here for each container that was started."""
        return self.home / "state" / "io.containerd.runtime.v2.task" / "k8s.io"

    @property
    def containerd_config(self) -> Path:
        """Its configuration file."""
        return self.home / "containerd.toml"

    @property
    def kubelet_config(self) -> Path:
        """Its configuration file."""
        return self.home / "kubelet.json"

    @property
    def network(self) -> Path:
        """Directory of the network's configuration."""
        return self.home / "cni"

    @property
    def network_name(self) -> str:
        """Name of the Pods' network."""
        return self.home.name

    @property
    def pod_logs(self) -> Path:
        """Where the kubelet keeps the containers' logs."""
        return self.home / "pod-logs"


def containerd_toml(layout: NodeLayout, *, snapshotter: str) -> str:
    """Configure containerd: everything below the node's directory, network namespaces included."""
    home, quoted = layout.home, json.dumps  # a JSON string is a TOML string
    return f"""version = 2
root = {quoted(str(home / "root"))}
state = {quoted(str(home / "state"))}
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.internal.v1.opt"]

[grpc]
address = {quoted(str(layout.containerd_socket))}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {quoted(IMAGE)}
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = {quoted(snapshotter)}

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {quoted(str(CNI_PLUGINS))}
conf_dir = {quoted(str(layout.network))}
"""


def network_conflist(layout: NodeLayout, network: ClusterNetwork) -> str:
    """Configure the Pods' network: each has an address of its own and reaches this machine, and nothing beyond."""
    ranges = {
        "type": "host-local",
        "subnet": network.pods,
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.home / "addresses"),
    }
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ranges}
    return json.dumps({"cniVersion": "0.4.0", "name": layout.network_name, "plugins": [plugin]}, indent=2)


def kubelet_configuration(layout: NodeLayout, feature_gates: Mapping[str, bool]) -> str:
    """Configure the kubelet; JSON is YAML."""
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "address": "127.0.0.1",
        "port": layout.port,
        "healthzPort": 0,
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(layout.home / "volume-plugins"),
        "staticPodPath": "",
        "resolvConf": "",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": _LEASE_SECONDS,
        "syncFrequency": "5s",
        "volumeStatsAggPeriod": "2s",
        "featureGates": dict(feature_gates),
    }
    return json.dumps(config, indent=2)


def containerd_command(program: Path, layout: NodeLayout) -> tuple[str | Path, ...]:
    """Containerd in the foreground."""
    return (program, "--config", layout.containerd_config, "--log-level=warn")


def kubelet_command(program: Path, layout: NodeLayout, *, kubeconfig: Path) -> tuple[str | Path, ...]:
    """The kubelet as the admin: who may do what is not what a node is tried for."""
    return (
        program,
        f"--config={layout.kubelet_config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={layout.kubelet_dir}",
        f"--cert-dir={layout.home / 'pki'}",
        f"--hostname-override={layout.name}",
    )
