"""In: a simulated driver of each generation on a socket of its own. Out: what the client makes of its answers."""

from collections.abc import AsyncIterator

import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_state import Generation


@pytest.fixture
async def legacy() -> AsyncIterator[SimulatedDriver]:
    """A driver up to CSI 1.12 with vol-1, vol-2 and vol-3."""
    async with SimulatedDriver(generation=Generation.LEGACY) as driver:
        yield driver


@pytest.fixture
async def modern() -> AsyncIterator[SimulatedDriver]:
    """A driver of CSI 1.13 with vol-1, vol-2 and vol-3."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        yield driver


@pytest.fixture
async def to_legacy(legacy: SimulatedDriver) -> AsyncIterator[CsiClient]:
    """A client of the legacy driver."""
    async with CsiClient(parse_endpoint(legacy.endpoint)) as client:
        yield client


@pytest.fixture
async def to_modern(modern: SimulatedDriver) -> AsyncIterator[CsiClient]:
    """A client of the 1.13 driver."""
    async with CsiClient(parse_endpoint(modern.endpoint)) as client:
        yield client
