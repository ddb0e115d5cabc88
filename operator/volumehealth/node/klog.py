"""The kernel log: how it is read, and which of its lines are new.

It is read with klogctl(3), that is syslog(2) with SYSLOG_ACTION_READ_ALL, which takes nothing away from other readers
and needs CAP_SYSLOG alone. `/proc/kmsg` would need the same and consumes what it gives: it is never opened.
"""

import ctypes
import os
import re
from dataclasses import dataclass

_READ_ALL = 3
_SIZE_BUFFER = 10
_LEAST, _MOST = 64 * 1024, 16 * 1024 * 1024
_KERNEL_LEVELS = 8
"""Of `<n>` at a line's head; from 8 on a process wrote the line to /dev/kmsg, where anything can be claimed."""
_CONTEXT = 8
"""Lines that are remembered to find the place again."""
_HEAD = re.compile(
    r"<(?P<n>[0-9]{1,9})>(?:\[ *(?P<stamp>[0-9]{1,12}\.[0-9]{1,9})\])?(?: ?\[ *[TC][0-9]+\])? ?(?P<text>.*)",
    re.DOTALL,
)
_AT_BOOT = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line that the kernel itself wrote.

    Attributes:
        text: without its head.
        stamp: seconds since boot; None where the kernel prints no time.
    """

    text: str
    stamp: float | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What a look at the log brought.

    Attributes:
        lines: the new ones, oldest first.
        first: nothing was known before: these are all the lines there are.
        lost: lines may have been overwritten before they were seen.
    """

    lines: tuple[Line, ...] = ()
    first: bool = False
    lost: bool = False


def read_kernel_log() -> str:
    """Return the whole log.

    Raises:
        OSError: EPERM without CAP_SYSLOG, or in a user namespace; ENOSYS where the runtime forbids the call.
    """
    library = ctypes.CDLL(None, use_errno=True)
    size = library.klogctl(_SIZE_BUFFER, None, 0)
    if size < 0:
        raise _error()
    # The heads of the lines are not in the kernel's buffer, so the text is longer than that.
    buffer = ctypes.create_string_buffer(max(_LEAST, min(2 * size, _MOST)))
    count = library.klogctl(_READ_ALL, buffer, len(buffer))
    if count < 0:
        raise _error()
    return buffer.raw[:count].decode(errors="replace")


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def parse_line(raw: str) -> Line | None:
    """Read one line; None if it is not the kernel's own, or has no head (the rest of a line that was cut)."""
    found = _HEAD.fullmatch(raw)
    if found is None or int(found["n"]) >= _KERNEL_LEVELS:
        return None
    return Line(found["text"], float(found["stamp"]) if found["stamp"] else None)


class LogTail:
    """Finds what is new in a log that is always read whole.

    The place is found by the last lines' whole text: many lines share a time stamp, and some kernels print none.
    """

    def __init__(self) -> None:
        self._context: tuple[str, ...] | None = None

    def take(self, text: str) -> News:
        """Return the lines that came since the last call.

        Args:
            text: the whole log as it is now. An empty one is a log that was cleared: nothing was lost then that the
                next lines could not show.
        """
        raw = text.split("\n")
        while raw and not raw[-1]:
            raw.pop()
        known, self._context = self._context, tuple(raw[-_CONTEXT:])
        if known is None:
            return News(_parsed(raw), first=True, lost=not _from_boot(raw))
        if not known:
            return News(_parsed(raw))
        place = _place(raw, known)
        if place is None:
            return News(_parsed(raw), lost=True)
        return News(_parsed(raw[place:]))


def _place(raw: list[str], context: tuple[str, ...]) -> int | None:
    """Return the index behind the known lines: the longest context that is still there decides."""
    for begin in range(len(context)):
        known = list(context[begin:])
        for end in range(len(raw), len(known) - 1, -1):
            if raw[end - 1] == known[-1] and raw[end - len(known) : end] == known:
                return end
    return None


def _parsed(raw: list[str]) -> tuple[Line, ...]:
    return tuple(line for one in raw if (line := parse_line(one)) is not None)


def _from_boot(raw: list[str]) -> bool:
    """Tell whether the log reaches back to the kernel's start."""
    first = next((line for one in raw if (line := parse_line(one)) is not None), None)
    return first is not None and first.stamp is not None and first.stamp < _AT_BOOT
