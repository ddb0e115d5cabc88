"""Ending in order when somebody wants us to end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first of Ctrl-C, SIGTERM and a closed terminal into KeyboardInterrupt, and ignore what follows.

    So clean-up is not cut off by an impatient second Ctrl-C. Only in the main thread.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        for one in _ENDS:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in _ENDS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
