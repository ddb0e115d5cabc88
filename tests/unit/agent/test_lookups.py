"""Single objects read as a node needs them: once, again while they cannot be used, and labels from time to time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from random import Random
from typing import Any, cast

import pytest

from volumehealth.agent.lookups import REFRESH, Lookups
from volumehealth.cluster.api import Api
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef
from volumehealth.testing.fakeapi import FakeApi

pytestmark = pytest.mark.looptime

REF = ClaimRef("shop", "data")
CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data"
VOLUME = "/api/v1/persistentvolumes/pv-1"
SPACE = "/api/v1/namespaces/shop"


class LoopClock:
    """The time of the event loop, which the tests let pass."""

    def now(self) -> datetime:
        return SystemClock().now()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.objects[CLAIM] = {
        "metadata": {"namespace": "shop", "name": "data", "uid": "claim-1", "labels": {"tier": "gold"}},
        "spec": {"volumeName": "pv-1", "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound"},
    }
    api.objects[VOLUME] = {
        "metadata": {"name": "pv-1"},
        "spec": {
            "csi": {"driver": "d.example.com", "volumeHandle": "vol-1"},
            "claimRef": {"namespace": "shop", "name": "data", "uid": "claim-1"},
            "storageClassName": "fast",
        },
    }
    api.objects[SPACE] = {"metadata": {"name": "shop", "labels": {"team": "a"}}}
    return api


@pytest.fixture
async def lookups(api: FakeApi) -> AsyncIterator[Lookups]:
    lookups = Lookups(cast("Api", api), clock=LoopClock(), random=Random(1), news=lambda: None)
    task = asyncio.create_task(lookups.run())
    yield lookups
    assert not task.done()
    task.cancel()


async def want(lookups: Lookups, *refs: ClaimRef, labels: bool = False, namespaces: bool = False) -> None:
    lookups.want(refs, labels=labels, namespaces=namespaces)
    await asyncio.sleep(1)


async def test_a_claim_is_read_once_with_its_volume(api: FakeApi, lookups: Lookups) -> None:
    for _ in range(3):
        await want(lookups, REF)
    claim = lookups.claims[REF].claim
    assert (claim.driver, claim.handle, claim.storage_class) == ("d.example.com", "vol-1", "fast")
    await asyncio.sleep(100_000)
    assert api.requests == [("GET", CLAIM), ("GET", VOLUME)]
    assert lookups.settled()


@pytest.mark.parametrize(
    "spec",
    [{"mountOptions": ["noatime", "ro"]}, {"csi": {"driver": "d", "volumeHandle": "v", "readOnly": True}}],
)
async def test_a_volume_may_be_read_only_for_everybody(
    api: FakeApi, lookups: Lookups, spec: dict[str, Any]
) -> None:
    api.objects[VOLUME]["spec"] |= spec
    await want(lookups, REF)
    assert lookups.claims[REF].read_only


async def test_a_claim_that_is_not_bound_yet_is_looked_at_again(api: FakeApi, lookups: Lookups) -> None:
    api.objects[CLAIM]["status"]["phase"] = "Pending"
    await want(lookups, REF)
    assert REF not in lookups.claims
    assert lookups.settled()
    api.objects[CLAIM]["status"]["phase"] = "Bound"
    await asyncio.sleep(15)
    assert REF in lookups.claims


async def test_a_server_that_is_away_is_asked_again(api: FakeApi, lookups: Lookups) -> None:
    api.away = True
    await want(lookups, REF)
    api.away = False
    await asyncio.sleep(15)
    assert REF in lookups.claims


async def test_labels_are_read_again_only_where_a_policy_minds_them(api: FakeApi, lookups: Lookups) -> None:
    await want(lookups, REF, labels=True, namespaces=True)
    assert lookups.namespaces["shop"].labels == {"team": "a"}
    api.objects[CLAIM]["metadata"]["labels"] = {"tier": "iron"}
    api.objects[SPACE]["metadata"]["labels"] = {"team": "b"}
    await asyncio.sleep(REFRESH * 1.3)
    assert lookups.claims[REF].claim.labels == {"tier": "iron"}
    assert lookups.namespaces["shop"].labels == {"team": "b"}


async def test_what_is_not_wanted_any_more_is_forgotten(api: FakeApi, lookups: Lookups) -> None:
    await want(lookups, REF, namespaces=True)
    await want(lookups)
    assert not lookups.claims
    assert not lookups.namespaces
    await want(lookups, REF)
    assert api.count("GET", CLAIM) == 2
