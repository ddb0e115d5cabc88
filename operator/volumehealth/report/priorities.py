"""Which write goes first."""

from enum import IntEnum


class Priority(IntEnum):
    """Which write goes first."""

    STATUS = 0
    """A policy's status and its own Events: few, and the front page."""
    CLAIM_EVENT = 1
    RECORD = 2
    POD_EVENT = 3
