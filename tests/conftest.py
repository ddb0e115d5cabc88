"""What every test stands on."""

import asyncio


def pytest_configure() -> None:
    """Say that there is no event loop: Python 3.11 would make one when pytest-asyncio asks, and nobody closes it."""
    asyncio.set_event_loop(None)
