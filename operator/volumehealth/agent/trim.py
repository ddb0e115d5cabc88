"""Keeps out of the agent's memory what it never uses of a library."""

import sys
from importlib.util import find_spec, module_from_spec


def without_synchronous_client() -> None:
    """Let `kubernetes.aio` be imported without the rest of its package.

    `kubernetes/__init__` loads the synchronous client, websockets and OAuth, 7 MB that no part of us uses. A package
    whose `__init__` was not run still finds its modules. Call it before anything of the library is imported; once
    something is, it does nothing.
    """
    spec = find_spec("kubernetes")
    if spec is not None and "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = module_from_spec(spec)
