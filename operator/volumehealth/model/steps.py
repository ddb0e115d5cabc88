"""Long computations in small steps: whoever drives one may let others have a turn between any two.

A step is a generator's way to the next `yield`. What a computation reads must not change meanwhile, or it says
how it copes.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")

Result = TypeVar("Result")
Steps = Generator[None, None, Result]

SLICE = 0.01
"""Seconds after which a long computation lets others have a turn."""


def in_parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut many items into lists of `size`, the last one may be shorter: each is looked at in one step."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def at_once(steps: Steps[Result]) -> Result:
    """Take all steps and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


async def in_slices(steps: Steps[Result], time: Callable[[], float] | None = None) -> Result:
    """Take all steps and return the result; whenever a slice of time is over, others have a turn.

    Args:
        steps: of the computation.
        time: in seconds; the event loop's by default.
    """
    time = time or asyncio.get_running_loop().time
    until = time() + SLICE
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if time() >= until:
            await asyncio.sleep(0)
            until = time() + SLICE
