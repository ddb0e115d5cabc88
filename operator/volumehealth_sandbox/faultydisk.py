"""A disk that breaks on demand: a loop device on a file of a FUSE filesystem (`faultyfiles`)."""

import os
import subprocess
import sys
import time
from pathlib import Path

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_SERVER = "volumehealth_sandbox.faultyfiles"


class FaultyDisk:
    """The disk, from outside: started, attached to a loop device, broken, ended.

    Args:
        place: an empty directory for the FUSE filesystem.
        mebibytes: its size.

    Attributes:
        device: the loop device, such as `/dev/loop0`.
    """

    def __init__(self, place: Path, mebibytes: int) -> None:
        self._place = place
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
        found = subprocess.run(
            ["losetup", "--find", "--show", str(place / "disk")], check=True, capture_output=True, text=True
        )
        self.device = found.stdout.strip()

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
        (self._place / "faults").write_text(f"reads={reads} writes={writes}")

    def close(self) -> None:
        """Detach and end it; what hangs is let go first."""
        self.behave()
        subprocess.run(["losetup", "--detach", self.device], check=False)
        subprocess.run(["fusermount3", "-u", "-z", str(self._place)], check=False)
        self._process.terminate()
        self._process.wait(10)
