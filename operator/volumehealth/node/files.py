"""The node's files, as far as the looks need them: small texts in /proc and /sys, directories, links, inode numbers."""

import errno
import os
from typing import Protocol

_MOST = 4 * 1024 * 1024
"""Bytes that are read of one file at most; a mount table of 20,000 lines has about as many."""

_PAGE = 65536


class NodeFiles(Protocol):
    """Reads files of the node. Every method raises OSError as the kernel gives it, and may hang with the kernel."""

    def read(self, path: str) -> str:
        """Return the text of a file; bytes that are no UTF-8 are replaced."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, in order."""

    def target(self, path: str) -> str:
        """Return where a symbolic link leads, as an absolute path; one step only."""

    def inode(self, path: str) -> int:
        """Return the inode number of a file or directory."""


class RealFiles:
    """The files of this machine. A path that begins with /proc or /sys is never a volume's path."""

    def read(self, path: str) -> str:
        """Return the text of a file. Raises OSError if it is too large: half a mount table shows half of the mounts."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if path.startswith("/sys/"):  # an attribute is a page at most and comes whole
                return os.read(handle, _PAGE).decode(errors="replace")
            parts = []
            left = _MOST
            while part := os.read(handle, 65536):
                parts.append(part)
                left -= len(part)
                if left < 0:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        finally:
            os.close(handle)
        return b"".join(parts).decode(errors="replace")

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        return tuple(sorted(os.listdir(path)))

    def target(self, path: str) -> str:
        """Return where a link leads."""
        return os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))

    def inode(self, path: str) -> int:
        """Return the inode number."""
        return os.stat(path).st_ino


def read_or(files: NodeFiles, path: str, default: str = "") -> str:
    """Return the stripped text of a file, or a default where there is none or it cannot be read."""
    try:
        return files.read(path).strip()
    except OSError:
        return default


def number_or(files: NodeFiles, path: str, default: int = 0) -> int:
    """Return the number in a file, or a default."""
    try:
        return int(read_or(files, path))
    except ValueError:
        return default


def is_number(text: str) -> bool:
    """Tell whether a text is a number as the kernel prints one: `²` is a digit to Python, too, and no number.

    It has 20 digits at most, as 64 bits have; Python refuses to read one of thousands.
    """
    return text.isascii() and text.isdigit() and len(text) <= 20


def names_or(files: NodeFiles, path: str) -> tuple[str, ...]:
    """Return the names in a directory, or none where there is no such directory."""
    try:
        return files.names(path)
    except OSError:
        return ()
