"""Volumes on real block devices that break on demand: what the simulated driver mounts beside tmpfs. Needs root."""

import atexit
import subprocess
from collections.abc import Sequence
from pathlib import Path

from volumehealth_sandbox.driver_mounts import Filesystems, Space
from volumehealth_sandbox.faultydisk import FaultyDisk
from volumehealth_sandbox.node_mounts import mount

_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-E", "root_owner=0:0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
KINDS = tuple(_MAKE)
_MEBIBYTE = 1024 * 1024
_LEAST = {"ext4": 64, "xfs": 320, "btrfs": 256}


class Disks:
    """A disk for each volume, with a filesystem that is made when it is staged for the first time.

    A volume's disk obeys what is written to the file `<home>/<handle>/faults` (`faultyfiles`).

    Args:
        home: an empty directory.
        kinds: of filesystems; the volumes take turns.
    """

    def __init__(self, home: Path, kinds: Sequence[str]) -> None:
        self._home = home
        self._kinds = tuple(kinds)
        self._disks: dict[str, FaultyDisk] = {}
        self._staged: dict[str, str] = {}
        self._below = Filesystems()
        atexit.register(self.close)

    def close(self) -> None:
        """Detach all disks."""
        for disk in self._disks.values():
            disk.close()
        self._disks.clear()

    def stage(self, handle: str, path: Path, *, size: int, block: bool) -> None:
        """Mount the volume's filesystem; a device only gets ready."""
        kind = self._kind(handle)
        disk = self._disks.get(handle)
        if disk is None:
            place = self._home / handle
            place.mkdir(parents=True, exist_ok=True)
            disk = self._disks[handle] = FaultyDisk(place, max(size // _MEBIBYTE, _LEAST[kind]))
            if not block:
                subprocess.run([*_MAKE[kind], disk.device], check=True, capture_output=True)
        self._staged[str(path)] = handle
        path.mkdir(parents=True, exist_ok=True)
        if not block and not self.mounted(path):
            mount(disk.device, path)
            path.chmod(0o777)

    def unstage(self, path: Path) -> None:
        """Unmount it; what is on it stays."""
        self._staged.pop(str(path), None)
        self._below.unstage(path)

    def publish(self, staging: Path | None, target: Path, *, block: bool, readonly: bool) -> None:
        """Bind the filesystem, or the device, to where a Pod sees it."""
        if not block:
            self._below.publish(staging, target, block=False, readonly=readonly)
            return
        handle = self._staged.get(str(staging))
        if handle is None:
            raise OSError(f"not staged: {staging}")
        if not self.mounted(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            mount("--bind", self._disks[handle].device, target)

    def unpublish(self, target: Path) -> None:
        """Unmount it from there, and remove the directory or the file."""
        self._below.unstage(target)  # first: a filesystem that is shut down cannot be looked at
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)

    def mounted(self, path: Path) -> bool | None:
        """Look into the mount table."""
        return self._below.mounted(path)

    def space(self, path: Path) -> Space | None:
        """Ask the filesystem itself; OSError is what it says if it is broken."""
        return self._below.space(path)

    def _kind(self, handle: str) -> str:
        number = "".join(filter(str.isdigit, handle))
        return self._kinds[(int(number or 1) - 1) % len(self._kinds)]
