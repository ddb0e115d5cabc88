"""A node without a kubelet: its directory, and a mount table that tests write as they like."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from volumehealth.agent.paths import VolumePaths, volume_paths

_LINE = "{number} 1 0:{number} / {point} {options} shared:{number} - {kind} /dev/sd{number} {superblock}"


class SimulatedNode:
    """A context manager.

    Attributes:
        name: of the node.
        kubelet: the kubelet's root directory; short, since sockets lie in it.
        mount_table: a file in the form of `/proc/<pid>/mountinfo`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix="vh-")
        self.kubelet = Path(self._folder.name)
        self.mount_table = self.kubelet / "mountinfo"
        self._mounts: dict[str, tuple[str, str, str]] = {}

    def __enter__(self) -> Self:
        # Nearly every Pod has its token mounted.
        self.mount(f"{self.kubelet}/pods/0/volumes/kubernetes.io~projected/token", kind="tmpfs")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def paths(
        self, *, volume: str, driver: str, handle: str, pod_uid: str, block: bool = False
    ) -> VolumePaths:
        """Return where the kubelet would put a volume."""
        return volume_paths(
            str(self.kubelet), volume=volume, driver=driver, handle=handle, pod_uid=pod_uid, block=block
        )

    def mount(
        self, point: str, *, kind: str = "ext4", options: str = "rw,relatime", superblock: str = "rw"
    ) -> None:
        """Mount something, or mount it again with other options."""
        self._mounts[point] = (kind, options, superblock)
        self._write()

    def unmount(self, point: str) -> None:
        """Unmount it."""
        del self._mounts[point]
        self._write()

    def _write(self) -> None:
        lines = [
            _LINE.format(
                number=number,
                point=point.replace(" ", "\\040"),
                kind=kind,
                options=options,
                superblock=superblock,
            )
            for number, (point, (kind, options, superblock)) in enumerate(self._mounts.items(), start=30)
        ]
        self.mount_table.write_text("\n".join(["21 1 0:21 / /proc rw - proc proc rw", *lines, ""]))
