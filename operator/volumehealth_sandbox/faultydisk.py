"""A disk that breaks on demand: a loop device on a file of a FUSE filesystem (`faultyfiles`)."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_SERVER = "volumehealth_sandbox.faultyfiles"


@dataclass(frozen=True, slots=True)
class Faults:
    """What can be wrong with such a disk, also for who did not start it.

    Attributes:
        place: where its FUSE filesystem is.
    """

    place: Path

    @property
    def device(self) -> str:
        """The loop device, such as `/dev/loop0`."""
        found = _losetup("--associated", str(self.place / "disk"), "--output=NAME", "--noheadings")
        return found.splitlines()[0].strip()

    def behave(self, *, reads: str = "work", writes: str = "work") -> None:
        """Break or heal it: `work`, `fail`, `full`, `hang`, or seconds a request takes."""
        self._tell(f"reads={reads} writes={writes}")

    def take_away(self) -> None:
        """Take its capacity away while it is in use, as a driver does when a disk is pulled out."""
        self._tell("disk=gone")
        _losetup("--set-capacity", self.device)

    def give_back(self) -> None:
        """Give its capacity back."""
        self._tell("disk=there")
        _losetup("--set-capacity", self.device)

    def damage(self, text: str) -> None:
        """Change a text wherever it is on the disk, behind the back of the filesystem."""
        self._tell(f"damage={text}")

    def _tell(self, words: str) -> None:
        (self.place / "faults").write_text(words)


def _losetup(*arguments: str) -> str:
    return subprocess.run(["losetup", *arguments], check=True, capture_output=True, text=True).stdout


class FaultyDisk:
    """The disk, from outside: started, attached to a loop device, broken, ended.

    Args:
        place: an empty directory for the FUSE filesystem.
        mebibytes: its size.

    Attributes:
        faults: what can be wrong with it.
        device: the loop device, such as `/dev/loop0`.
    """

    def __init__(self, place: Path, mebibytes: int) -> None:
        self._place = place
        self.faults = Faults(place)
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(_DIE_WITH_PARENT),
                str(os.getpid()),
                sys.executable,
                "-m",
                _SERVER,
                str(place),
                str(mebibytes),
            ],
            stderr=subprocess.DEVNULL,
        )
        self._await()
        self.device = _losetup("--find", "--show", str(place / "disk")).strip()

    @property
    def name(self) -> str:
        """The kernel's name of the device."""
        return self.device.removeprefix("/dev/")

    def _await(self) -> None:
        for _ in range(200):
            if (self._place / "disk").exists():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(
            "the FUSE filesystem did not start: are /dev/fuse and libfuse3 there, and is this root?"
        )

    def behave(self, *, reads: str = "work", writes: str = "work") -> None:
        """Break or heal it: `work`, `fail`, `full`, `hang`, or seconds a request takes."""
        self.faults.behave(reads=reads, writes=writes)

    def close(self) -> None:
        """Detach and end it; what hangs is let go first."""
        self.behave()
        subprocess.run(["losetup", "--detach", self.device], check=False)
        subprocess.run(["fusermount3", "-u", "-z", str(self._place)], check=False)
        self._process.terminate()
        self._process.wait(10)
