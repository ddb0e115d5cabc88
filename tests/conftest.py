"""What every test stands on."""

import asyncio

from hypothesis import settings


def pytest_configure() -> None:
    """Say that there is no event loop: Python 3.11 would make one when pytest-asyncio asks, and nobody closes it."""
    asyncio.set_event_loop(None)
    # How long an example takes says nothing on a machine that is shared.
    settings.register_profile("shared", deadline=None)
    settings.load_profile("shared")
