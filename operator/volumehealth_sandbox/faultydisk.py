"""A disk that breaks on demand: a loop device on a file of a FUSE filesystem, whose reads and writes obey.

It runs as a process of its own (`python -m volumehealth_sandbox.faultydisk MOUNTPOINT MEBIBYTES`), because the kernel
waits for it. Next to the file `disk` lies `faults`, to which words are written: `reads=fail writes=hang`, each one of
`work`, `fail`, `full` (writes only), `hang`, or seconds such as `0.5` that a request takes.
"""

import errno
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfusepy

_MEBIBYTE = 1024 * 1024
_BLOCK = 65536
_DISK, _FAULTS = "/disk", "/faults"


@dataclass(slots=True)
class Behaviour:
    """How requests of one kind are served; hanging ones wait until it changes."""

    word: str = "work"
    changed: threading.Condition = field(default_factory=threading.Condition)

    def set(self, word: str) -> None:
        """Change it, and let what hangs go on."""
        with self.changed:
            self.word = word
            self.changed.notify_all()

    def obey(self) -> None:
        """Return when a request may be served.

        Raises:
            FuseOSError: if it fails.
        """
        with self.changed:
            while self.word == "hang":
                self.changed.wait()
            word = self.word
        if word == "fail":
            raise mfusepy.FuseOSError(errno.EIO)
        if word == "full":
            raise mfusepy.FuseOSError(errno.ENOSPC)
        if word != "work":
            time.sleep(float(word))


class Files(mfusepy.Operations):  # type: ignore[misc]  # the library has no types
    """The two files.

    Args:
        size: of the disk in bytes; only what was written takes memory.
    """

    use_ns = True

    def __init__(self, size: int) -> None:
        self._size = size
        self._blocks: dict[int, bytearray] = {}
        self._lock = threading.Lock()
        self._kinds = {"reads": Behaviour(), "writes": Behaviour()}

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Describe a file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == _DISK:
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._size}
        if path == _FAULTS:
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": 0}
        raise mfusepy.FuseOSError(errno.ENOENT)

    def readdir(self, path: str, fh: int) -> list[str]:
        """Name the files."""
        return [".", "..", _DISK[1:], _FAULTS[1:]]

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Read from the disk."""
        if path != _DISK:
            return b""
        self._kinds["reads"].obey()
        size = max(0, min(size, self._size - offset))
        parts = []
        with self._lock:
            while size:
                number, inner = divmod(offset, _BLOCK)
                count = min(size, _BLOCK - inner)
                block = self._blocks.get(number)
                parts.append(bytes(block[inner : inner + count]) if block is not None else bytes(count))
                offset, size = offset + count, size - count
        return b"".join(parts)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Write to the disk, or change how it behaves."""
        if path == _FAULTS:
            for word in data.decode().split():
                kind, _, how = word.partition("=")
                self._kinds[kind].set(how)
            return len(data)
        self._kinds["writes"].obey()
        with self._lock:
            done = 0
            while done < len(data):
                number, inner = divmod(offset + done, _BLOCK)
                count = min(len(data) - done, _BLOCK - inner)
                block = self._blocks.setdefault(number, bytearray(_BLOCK))
                block[inner : inner + count] = data[done : done + count]
                done += count
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Keep the size."""
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """Everything is in memory."""
        self._kinds["writes"].obey()
        return 0


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
            [sys.executable, "-m", __name__, str(place), str(mebibytes)], stderr=subprocess.DEVNULL
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


def main() -> None:
    """Serve the files until they are unmounted."""
    place, mebibytes = sys.argv[1], int(sys.argv[2])
    with suppress(RuntimeError):  # that is how it ends when it is told to
        mfusepy.FUSE(Files(mebibytes * _MEBIBYTE), place, foreground=True, nothreads=False, direct_io=True)


if __name__ == "__main__":
    main()
