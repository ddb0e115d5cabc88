"""How many calls to one driver are under way: a few quick ones, and a bounded number of those that got stuck."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUICK = 4
"""Calls at once, as the operator makes them (facts D3)."""
STUCK = 16
"""Calls that take too long keep no quick one waiting, up to so many."""
PATIENCE = 2.0
"""Seconds after which a call counts as stuck."""


class CallSlots:
    """Counts calls.

    Args:
        freed: called when there is room again.
        delay: seconds after which a call counts as stuck.
    """

    def __init__(self, freed: Callable[[], None], *, delay: float = PATIENCE) -> None:
        self._freed = freed
        self._patience = delay
        self._quick = 0
        self._stuck = 0

    @property
    def free(self) -> int:
        """How many more calls may start now."""
        return max(0, QUICK - self._quick)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Take a place for the time of one call; check `free` before."""
        stuck = False

        def step_aside() -> None:
            nonlocal stuck
            if self._stuck < STUCK:
                stuck = True
                self._quick, self._stuck = self._quick - 1, self._stuck + 1
                self._freed()

        self._quick += 1
        timer = asyncio.get_running_loop().call_later(self._patience, step_aside)
        try:
            yield
        finally:
            timer.cancel()
            if stuck:
                self._stuck -= 1
            else:
                self._quick -= 1
            self._freed()
