"""What every test stands on."""

import asyncio

import pytest
from hypothesis import settings

from support.releases import serves


def pytest_configure() -> None:
    """Say that there is no event loop: Python 3.11 would make one when pytest-asyncio asks, and nobody closes it."""
    asyncio.set_event_loop(None)
    # How long an example takes says nothing on a machine that is shared.
    settings.register_profile("shared", deadline=None, derandomize=True)  # new inputs: `make fuzz`
    settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a later Kubernetes than the one that is tested with."""
    for item in items:
        needed = item.get_closest_marker("kubernetes")
        if needed and not serves(needed.args[0]):
            item.add_marker(pytest.mark.skip(reason=f"Kubernetes {needed.args[0]} and later"))
