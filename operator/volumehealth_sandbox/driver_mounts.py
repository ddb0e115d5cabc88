"""How the simulated driver makes a volume appear on its node."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from volumehealth_sandbox.node_mounts import mount, mounts_below, unmount


@dataclass(frozen=True, slots=True)
class Space:
    """What statvfs(3) counts of a filesystem; bytes and inodes."""

    total: int
    available: int
    inodes: int
    free_inodes: int


class Mounts(Protocol):
    """A way to stage and publish; every method may be called again for what is done already."""

    def stage(self, handle: str, path: Path, *, size: int, block: bool) -> None:
        """Make a volume of so many bytes ready at its staging path."""

    def unstage(self, path: Path) -> None:
        """Undo `stage`."""

    def publish(self, staging: Path | None, target: Path, *, block: bool, readonly: bool) -> None:
        """Make a staged volume appear at the path that a Pod sees."""

    def unpublish(self, target: Path) -> None:
        """Undo `publish` and remove the target."""

    def mounted(self, path: Path) -> bool | None:
        """Tell whether anything is mounted at a path; None if this way does not mount."""

    def space(self, path: Path) -> Space | None:
        """Count the filesystem that is mounted at a path; None if there is none."""


class Markers:
    """Needs no root: an empty directory (a file for a block volume) stands for the mount."""

    def stage(self, handle: str, path: Path, *, size: int, block: bool) -> None:
        """Take the staging directory as it is."""
        path.mkdir(parents=True, exist_ok=True)

    def unstage(self, path: Path) -> None:
        """Leave the staging directory to whoever made it."""

    def publish(self, staging: Path | None, target: Path, *, block: bool, readonly: bool) -> None:
        """Make the marker."""
        if block:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        else:
            target.mkdir(parents=True, exist_ok=True)

    def unpublish(self, target: Path) -> None:
        """Remove the marker; never what somebody put into it."""
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)

    def mounted(self, path: Path) -> bool | None:
        """Say that nothing is ever mounted here."""
        return None

    def space(self, path: Path) -> Space | None:
        """Count nothing."""
        return None


class Filesystems:
    """Needs root: a tmpfs of the volume's size at its staging path, bound to where it is published.

    Filesystem volumes only, and with a staging path. What is in one is gone when it is unstaged.
    """

    def stage(self, handle: str, path: Path, *, size: int, block: bool) -> None:
        """Mount a fresh filesystem."""
        _refuse(block)
        if not self.mounted(path):
            path.mkdir(parents=True, exist_ok=True)
            mount("-t", "tmpfs", "-o", f"size={size},mode=0777", f"simulated-{handle}", path)

    def unstage(self, path: Path) -> None:
        """Unmount it."""
        _unmount_all(path)

    def publish(self, staging: Path | None, target: Path, *, block: bool, readonly: bool) -> None:
        """Bind the filesystem to where a Pod sees it."""
        _refuse(block)
        if staging is None or not self.mounted(staging):
            raise OSError(f"not staged: {staging}")
        if not self.mounted(target):
            target.mkdir(parents=True, exist_ok=True)
            mount("--bind", staging, target)
            if readonly:
                mount("-o", "remount,bind,ro", target)

    def unpublish(self, target: Path) -> None:
        """Unmount it from there, and remove the directory; never what somebody put into it."""
        _unmount_all(target)
        if target.exists():
            target.rmdir()

    def mounted(self, path: Path) -> bool | None:
        """Look into the mount table."""
        return str(path) in mounts_below(path)

    def space(self, path: Path) -> Space | None:
        """Ask the filesystem itself."""
        if not self.mounted(path):
            return None
        found = os.statvfs(path)
        return Space(
            total=found.f_blocks * found.f_frsize,
            available=found.f_bavail * found.f_frsize,
            inodes=found.f_files,
            free_inodes=found.f_ffree,
        )


def _refuse(block: bool) -> None:
    if block:
        raise OSError("block volumes are not simulated with real mounts")


def _unmount_all(path: Path) -> None:
    while str(path) in mounts_below(path):
        unmount(path)
