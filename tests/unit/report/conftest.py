"""What tests of `report` share: a fake API server, a clock that is stepped by hand, a queue on virtual time."""

from random import Random

import pytest

from support.fakeapi import FakeApi
from support.health import SteppedClock
from volumehealth.kube.writes import WriteQueue


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def counted() -> list[tuple[str, str]]:
    """What was observed of writes and Events."""
    return []


@pytest.fixture
async def queue(api: FakeApi, counted: list[tuple[str, str]]) -> WriteQueue:
    return WriteQueue(api, random=Random(1), observe=lambda *what: counted.append(what))
