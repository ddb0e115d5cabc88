"""Mounting and unmounting as root, and what is mounted."""

import ctypes
import errno
import os
import re
import subprocess
import tempfile
from pathlib import Path

_DETACH = 2  # MNT_DETACH: also what is busy


def mounts_below(directory: Path) -> list[str]:
    """List the mount points in and below a directory, as often as something is mounted there."""
    points = (line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    plain = (re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), point) for point in points)
    return [point for point in plain if f"{point}/".startswith(f"{directory}/")]


def unmount(path: str | Path) -> None:
    """Unmount what is on top at a path, busy or not; nothing happens if nothing is mounted there.

    Raises:
        OSError: if it cannot be unmounted.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), _DETACH) != 0:
        number = ctypes.get_errno()
        if number not in (errno.ENOENT, errno.EINVAL):  # not there, or no mount point
            raise OSError(number, os.strerror(number), str(path))


def mount(*arguments: str | Path) -> None:
    """Mount as the program of that name does, with its arguments.

    Raises:
        OSError: with what it said.
    """
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def overlay_works(directory: Path) -> bool:
    """Tell whether an overlay can be mounted on a directory's filesystem; on another overlay it cannot."""
    with tempfile.TemporaryDirectory(prefix=".overlay-", dir=directory) as scratch:
        parts = {name: Path(scratch, name) for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir()
        options = ",".join(f"{name}dir={parts[name]}" for name in ("lower", "upper", "work"))
        try:
            mount("-t", "overlay", "overlay", "-o", options, parts["merged"])
        except OSError:
            return False
        unmount(parts["merged"])
        return True
