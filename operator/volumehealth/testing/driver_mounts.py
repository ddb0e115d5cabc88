"""How the simulated driver makes a volume appear on its node."""

from pathlib import Path
from typing import Protocol


class Mounts(Protocol):
    """A way to stage and publish; every method may be called again for what is done already."""

    def stage(self, handle: str, path: Path, *, block: bool) -> None:
        """Make a volume ready below its staging path."""

    def unstage(self, path: Path) -> None:
        """Undo `stage`."""

    def publish(self, staging: Path | None, target: Path, *, block: bool, readonly: bool) -> None:
        """Make a staged volume appear at the path that a Pod sees."""

    def unpublish(self, target: Path) -> None:
        """Undo `publish` and remove the target."""


class Markers:
    """Needs no root: an empty directory (a file for a block volume) stands for the mount."""

    def stage(self, handle: str, path: Path, *, block: bool) -> None:
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
