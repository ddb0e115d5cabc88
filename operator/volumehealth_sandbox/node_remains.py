"""What a node leaves behind when its programs are gone: containers, mounts, directories. All of it is removed here.

Containers outlive containerd by design, so a test session that was killed leaves them, and their mounts, to the next.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from volumehealth.errors import SandboxError
from volumehealth_sandbox.node_files import NodeLayout
from volumehealth_sandbox.node_mounts import mounts_below, unmount
from volumehealth_sandbox.processes import Running, running_process

_MARK = ".volumehealth-node"
"""A file that says: this directory is ours to remove."""
_RUNC = Path("/run/containerd/runc/k8s.io")
_SHIM_SOCKETS = "/run/containerd/s/"
_CGROUPS = Path("/sys/fs/cgroup")
_NETWORK_RESULTS = Path("/var/lib/cni/results")
_CONTAINER_LOGS = Path("/var/log/containers")


def claim_home(layout: NodeLayout) -> None:
    """Make a node's directory, after what an earlier node left there was removed.

    Raises:
        SandboxError: if it holds anything else; nothing is done to it.
    """
    remove_remains(layout)
    layout.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(layout.home.iterdir()):
        raise SandboxError(f"{layout.home} is not empty and no node's; nothing is done to it")
    (layout.home / _MARK).touch()


def remove_remains(layout: NodeLayout) -> None:
    """End every container of a node, unmount everything below its directory, and remove it; safe at any time."""
    if not (layout.home / _MARK).exists():
        return
    containers = list(layout.tasks.iterdir()) if layout.tasks.is_dir() else []
    for shim in list(_shims(layout.containerd_socket)):
        for process in (*_descendants(shim.pid), shim):
            process.end(grace=0.0)
    for path in sorted(mounts_below(layout.home), key=len, reverse=True):
        unmount(path)
    for container in containers:
        shutil.rmtree(_RUNC / container.name, ignore_errors=True)
        _remove_cgroups(container.name)
        _remove_shim_socket(container)
    for result in _NETWORK_RESULTS.glob(f"{layout.network_name}-*"):
        result.unlink(missing_ok=True)
    for link in _CONTAINER_LOGS.glob("*.log") if _CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.home}/"):
            link.unlink(missing_ok=True)
    shutil.rmtree(layout.home, ignore_errors=True)


def _shims(socket: Path) -> Iterator[Running]:
    """Find containerd's helpers that hold this node's containers."""
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            arguments = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "shim" in Path(arguments[0]).name and str(socket) in arguments:
                found = running_process(int(directory.name))
                if found is not None:
                    yield found


def _descendants(pid: int) -> Iterable[Running]:
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield from _descendants(child)
                found = running_process(child)
                if found is not None:
                    yield found


def _remove_cgroups(container: str) -> None:
    """Remove a container's empty groups, with one hierarchy (v2) or many (v1)."""
    for group in (*_CGROUPS.glob(f"k8s.io/{container}"), *_CGROUPS.glob(f"*/k8s.io/{container}")):
        with suppress(OSError):
            group.rmdir()


def _remove_shim_socket(container: Path) -> None:
    """Remove the socket of a shim that was killed; containerd wrote down where it is."""
    with suppress(FileNotFoundError):
        address = (container / "address").read_text().strip().removeprefix("unix://")
        if address.startswith(_SHIM_SOCKETS):
            Path(address).unlink(missing_ok=True)
