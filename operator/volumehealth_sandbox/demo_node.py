"""A node of the demo whose disk really breaks: a filesystem on a disk that obeys, and a node agent that looks at it."""

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from volumehealth.agent.paths import volume_paths
from volumehealth.errors import SandboxError
from volumehealth_sandbox.demo_objects import INVOICES, NODES
from volumehealth_sandbox.faultydisk import FaultyDisk
from volumehealth_sandbox.node_mounts import mount, unmount
from volumehealth_sandbox.ports import kept_ports
from volumehealth_sandbox.processes import Program
from volumehealth_sandbox.world import OPERATOR_NAMESPACE, VOLUMEHEALTH, Sandbox

_MEBIBYTES = 64


def why_no_disk() -> str:
    """Say why no disk can be broken on this machine; empty if one can."""
    if os.geteuid() != 0:
        return "that takes root"
    missing = [path for path in ("/dev/fuse", "/dev/loop-control") if not Path(path).exists()]
    missing += [program for program in ("mkfs.ext4", "losetup", "fusermount3") if not shutil.which(program)]
    try:
        import mfusepy  # noqa: F401 - it loads libfuse3
    except (ImportError, OSError):
        missing.append("libfuse3")
    return f"{', '.join(missing)} is missing" if missing else ""


class BreakableNode:
    """The last of the demo's nodes: the claim of the driver that tells nothing is an ext4 there. A context manager.

    Args:
        sandbox: it runs already.
        pod_uid: of the Pod that uses the claim.

    Attributes:
        disk: directory of the files `disk` and `faults`; what is written to `faults`, the disk obeys.
        path: where the kubelet would have mounted the claim's volume for the Pod.
    """

    def __init__(self, sandbox: Sandbox, pod_uid: str) -> None:
        self._sandbox = sandbox
        self._kubelet = sandbox.home / "kubelet"
        self._agent = Program("agent", self._command, home=sandbox.home)
        self._disk: FaultyDisk | None = None
        self.disk = sandbox.home / "disk"
        self.path = Path(
            volume_paths(
                str(self._kubelet),
                volume=INVOICES.persistent_volume,
                driver=INVOICES.volume.driver,
                handle=INVOICES.volume.handle,
                pod_uid=pod_uid,
                block=False,
            ).publish
        )

    def __enter__(self) -> Self:
        try:
            for directory in (
                self.disk,
                self.path,
                self._kubelet / "plugins_registry",
                self._kubelet / "plugins",
            ):
                directory.mkdir(parents=True)
            self._disk = FaultyDisk(self.disk, _MEBIBYTES)
            subprocess.run(["mkfs.ext4", "-q", self._disk.device], check=True, capture_output=True)
            mount(self._disk.device, self.path)
            self._agent.start()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self._close()
            raise SandboxError(f"no disk could be made: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._agent.stop()
        if self._disk is not None:
            self._disk.behave()
        unmount(self.path)
        if self._disk is not None:
            self._disk.close()

    def _command(self) -> tuple[str | Path, ...]:
        (health,) = kept_ports(self._sandbox.home / "agent-ports.json", 1)
        return (
            *VOLUMEHEALTH,
            "agent",
            "node",
            f"--kubeconfig={self._sandbox.control_plane.kubeconfig}",
            f"--node-name={NODES[-1]}",
            f"--kubelet-dir={self._kubelet}",
            "--mount-table=/proc/self/mountinfo",
            f"--health-address=127.0.0.1:{health}",
            f"--namespace={OPERATOR_NAMESPACE}",
        )
