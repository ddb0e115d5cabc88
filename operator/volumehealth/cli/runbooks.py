"""The runbooks of reasons as the command line shows them: made from docs/runbooks.md by docs/runbooks.py."""

import json
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("runbooks.json")
OWN_WORD = {
    "First": "Read the message: it is the driver's own word. Look at what the storage system says of the volume.",
    "Do not": "delete the claim or its volume.",
}
"""Of a reason that a driver chose, so that no runbook can be about it."""
WIDE = {
    "First": "Look at the storage system, its network and its credentials, not at single volumes: it is one incident.",
    "Do not": "restart Pods or delete claims one by one.",
}
"""Of a problem of half of a driver's claims, whatever the reason."""


def read_runbooks() -> Mapping[str, Mapping[str, str]]:
    """Return, by reason, the parts of its runbook by their names."""
    books: Mapping[str, Mapping[str, str]] = json.loads(FILE.read_text())
    return books


def first_step(reason: str, *, wide: bool) -> str:
    """Say what to do first.

    Args:
        reason: of the problem.
        wide: whether it is the driver's problem.
    """
    book = WIDE if wide else read_runbooks().get(reason, OWN_WORD)
    return book["First"]
