"""Long computations in small steps: whoever drives one may let others have a turn between any two.

A step is a generator's way to the next `yield`. What a computation reads must not change meanwhile, or it says
how it copes.
"""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]


def at_once(steps: Steps[Result]) -> Result:
    """Take all steps and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
