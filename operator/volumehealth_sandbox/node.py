"""A real node on this machine: containerd and a kubelet, in a directory of their own. Needs root."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from volumehealth.errors import SandboxError
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.network import ApiServerService
from volumehealth_sandbox.node_files import (
    CNI_PLUGINS,
    IMAGE,
    NodeLayout,
    containerd_command,
    containerd_toml,
    kubelet_command,
    kubelet_configuration,
    network_conflist,
)
from volumehealth_sandbox.node_image import build_workload, write_image
from volumehealth_sandbox.node_mounts import overlay_works
from volumehealth_sandbox.node_remains import claim_home, remove_remains
from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program
from volumehealth_sandbox.tools import Say, find_or_build

_PROGRAMS = ("containerd", "ctr", "containerd-shim-runc-v2", "runc", "mount", "umount", "ip")
PACKAGES = "containerd runc containernetworking-plugins iproute2"
"""Debian's names of what must be installed."""
_CGROUPS = Path("/sys/fs/cgroup")
_SYS_ADMIN = 21  # CAP_SYS_ADMIN, capabilities(7)
_CONTAINERD_WITHIN = 30.0
_READY_WITHIN = 120.0
_POLL = 0.2


def obstacles() -> list[str]:
    """Say why no real node can run here, one reason an entry; empty if it can."""
    if os.geteuid() != 0:
        return ["only root can run a kubelet"]
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not (CNI_PLUGINS / "ptp").exists():
        missing.append(str(CNI_PLUGINS / "ptp"))
    reasons = [f"missing: {', '.join(missing)} (Debian: apt-get install {PACKAGES})"] if missing else []
    if not may_mount(Path("/proc/self/status").read_text()):
        reasons.append("this root may not mount (CAP_SYS_ADMIN)")
    if not any(os.access(group, os.W_OK) for group in (_CGROUPS, *_CGROUPS.glob("*/"))):
        reasons.append(f"{_CGROUPS} cannot be written to")
    return reasons


def may_mount(status: str) -> bool:
    """Tell from `/proc/<pid>/status` whether a process has CAP_SYS_ADMIN."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> _SYS_ADMIN & 1)


class NodeSandbox:
    """One node of a control plane; a context manager that leaves neither process nor mount behind.

    Args:
        home: its directory, at most 40 characters because sockets are below it. What an earlier node that was killed
            left there is removed first.
        plane: a running control plane.
        name: of the Node.
        feature_gates: of the kubelet.
        say: is told what takes long.
    """

    def __init__(
        self,
        home: Path,
        plane: ControlPlane,
        *,
        name: str = "real-node",
        feature_gates: Mapping[str, bool] | None = None,
        say: Say = lambda line: None,
    ) -> None:
        self.plane = plane
        self.layout = NodeLayout(home.absolute(), name, free_ports(1)[0])
        self._feature_gates = dict(feature_gates or {})
        self._say = say
        self.containerd = Program("containerd", self._containerd_command, home=self.layout.home)
        """Runs the containers; they go on without it."""
        self.kubelet = Program("kubelet", self._kubelet_command, home=self.layout.home)
        """Stop and start it at will: what it mounted and started stays."""
        self.api_service = ApiServerService(plane.network, plane.port, home=self.layout.home)
        """Where Pods find the API server."""

    @property
    def name(self) -> str:
        """Name of the Node."""
        return self.layout.name

    # Life.

    def start(self) -> None:
        """Start everything and return when the node is Ready.

        Raises:
            SandboxError: if this machine cannot run it, or something does not start; the message holds the log's end.
        """
        if reasons := obstacles():
            raise SandboxError(f"no real node can run here: {'; '.join(reasons)}")
        claim_home(self.layout)
        try:
            self._write_files()
            self.api_service.start()
            self.containerd.start()
            self._import_workload()
            self.kubelet.start()
            self.await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, unmount what is left, and remove the directory; safe at any time."""
        self.kubelet.stop()
        self.containerd.stop()
        self.api_service.stop()
        remove_remains(self.layout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def await_ready(self) -> None:
        """Return when the API server says that the node is Ready.

        Raises:
            SandboxError: if a program ends, or it takes longer than two minutes.
        """
        deadline = time.monotonic() + _READY_WITHIN
        while self.ready_status() != "True":
            for program in (self.containerd, self.kubelet):
                program.check_alive()
            if time.monotonic() > deadline:
                raise SandboxError(f"the node is not Ready. The end of its log:\n{self.kubelet.tail()}")
            time.sleep(_POLL)

    def ready_status(self) -> str:
        """Return the status of the node's condition Ready: True, False, Unknown, or nothing if it has none."""
        found = json.loads(self.plane.kubectl("get", "nodes", "-o", "json"))["items"]
        conditions = [
            one["status"]
            for node in found
            if node["metadata"]["name"] == self.name
            for one in node.get("status", {}).get("conditions", ())
            if one["type"] == "Ready"
        ]
        return "".join(conditions)

    def drivers(self) -> set[str]:
        """Return the CSI drivers that the kubelet lists in the node's CSINode."""
        found = json.loads(self.plane.kubectl("get", "csinode", self.name, "-o", "json"))
        return {one["name"] for one in found["spec"].get("drivers") or ()}

    # Steps.

    def _write_files(self) -> None:
        layout = self.layout
        layout.network.mkdir()
        layout.registry.mkdir(parents=True)
        layout.containerd_config.write_text(containerd_toml(layout, snapshotter=self._snapshotter))
        (layout.network / "10-sandbox.conflist").write_text(network_conflist(layout, self.plane.network))
        layout.kubelet_config.write_text(kubelet_configuration(layout, self._feature_gates))

    @property
    def _snapshotter(self) -> str:
        """Overlays share what containers of one image have in common; where none can be mounted, each has a copy."""
        return "overlayfs" if overlay_works(self.layout.home) else "native"

    def _import_workload(self) -> None:
        program = build_workload(self.layout.home / "workload", self._say)
        image = write_image(self.layout.home / "image.tar", program, name=IMAGE)
        deadline = time.monotonic() + _CONTAINERD_WITHIN
        while not self.layout.containerd_socket.exists():
            self.containerd.check_alive()
            if time.monotonic() > deadline:
                raise SandboxError(f"containerd does not answer\n{self.containerd.tail()}")
            time.sleep(0.05)
        self.import_image(image)

    def import_image(self, archive: Path) -> None:
        """Make an image known to the node, from an archive as `docker save` writes it.

        Raises:
            SandboxError: if containerd does not take it.
        """
        self.ctr("images", "import", f"--snapshotter={self._snapshotter}", str(archive))

    def ctr(self, *arguments: str) -> str:
        """Run containerd's own client in the namespace of Kubernetes, and give its output.

        Raises:
            SandboxError: if it fails; the message is what it said.
        """
        command = ["ctr", f"--address={self.layout.containerd_socket}", "--namespace=k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode != 0:
            raise SandboxError(f"ctr {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _containerd_command(self) -> tuple[str | Path, ...]:
        return containerd_command(Path(shutil.which("containerd") or "containerd"), self.layout)

    def _kubelet_command(self) -> tuple[str | Path, ...]:
        program = find_or_build("kubelet", self._say)
        return kubelet_command(program, self.layout, kubeconfig=self.plane.kubeconfig)
