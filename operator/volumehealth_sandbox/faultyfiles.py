"""A FUSE filesystem with a file whose reads and writes obey: what a disk that breaks on demand is made of.

It runs as a process of its own (`python -m volumehealth_sandbox.faultyfiles MOUNTPOINT MEBIBYTES`), because the kernel
waits for it. Next to the file `disk` lies `faults`, to which words are written: `reads=fail writes=hang`, each one of
`work`, `fail`, `full` (writes only), `hang`, or seconds such as `0.5` that a request takes; `disk=gone` leaves a file of no
size, `disk=there` gives it back; `damage=TEXT` changes a text wherever it is on the disk.
"""

import errno
import stat
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
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
        self._gone = False
        self._blocks: dict[int, bytearray] = {}
        self._lock = threading.Lock()
        self._kinds = {"reads": Behaviour(), "writes": Behaviour()}

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Describe a file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == _DISK:
            return {
                "st_mode": stat.S_IFREG | 0o600,
                "st_nlink": 1,
                "st_size": 0 if self._gone else self._size,
            }
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
                if kind == "disk":
                    self._gone = how == "gone"
                elif kind == "damage":
                    self._damage(how.encode())
                else:
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

    def _damage(self, text: bytes) -> None:
        with self._lock:
            for number, block in self._blocks.items():
                self._blocks[number] = block.replace(text, text.swapcase())

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Keep the size."""
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """Everything is in memory."""
        self._kinds["writes"].obey()
        return 0


def main() -> None:
    """Serve the files until they are unmounted."""
    place, mebibytes = sys.argv[1], int(sys.argv[2])
    with suppress(RuntimeError):  # that is how it ends when it is told to
        mfusepy.FUSE(
            Files(mebibytes * _MEBIBYTE),
            place,
            foreground=True,
            nothreads=False,
            direct_io=True,
            attr_timeout=0,  # the kernel sees at once that the disk is gone
        )


if __name__ == "__main__":
    main()
