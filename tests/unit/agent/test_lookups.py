"""Single objects read as a node needs them: once, again while they cannot be used, and labels from time to time."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any, cast

import pytest

from support.clock import LoopClock
from support.fakeapi import FakeApi
from volumehealth.agent.lookups import AT_ONCE, REFRESH, ClaimLookup
from volumehealth.kube.api import Api
from volumehealth.model.ids import ClaimRef

pytestmark = pytest.mark.looptime

REF = ClaimRef("shop", "data")
CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data"
VOLUME = "/api/v1/persistentvolumes/pv-1"
SPACE = "/api/v1/namespaces/shop"


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
async def lookup(api: FakeApi) -> AsyncIterator[ClaimLookup]:
    lookup = ClaimLookup(cast("Api", api), clock=LoopClock(), random=Random(1), news=lambda: None)
    task = asyncio.create_task(lookup.run())
    yield lookup
    assert not task.done()
    task.cancel()


async def want(
    lookup: ClaimLookup,
    *refs: ClaimRef,
    labels: bool = False,
    namespaces: bool = False,
    pods: tuple[str, ...] = ("uid-1",),
) -> None:
    lookup.want(dict.fromkeys(refs, pods), labels=labels, namespaces=namespaces)
    await asyncio.sleep(1)


async def test_a_claim_is_read_once_with_its_volume(api: FakeApi, lookup: ClaimLookup) -> None:
    for _ in range(3):
        await want(lookup, REF)
    claim = lookup.claims[REF].claim
    assert (claim.driver, claim.handle, claim.storage_class) == ("d.example.com", "vol-1", "fast")
    await asyncio.sleep(100_000)
    assert api.requests == [("GET", CLAIM), ("GET", VOLUME)]
    assert lookup.settled()


@pytest.mark.parametrize(
    "spec",
    [{"mountOptions": ["noatime", "ro"]}, {"csi": {"driver": "d", "volumeHandle": "v", "readOnly": True}}],
)
async def test_a_volume_may_be_read_only_for_everybody(
    api: FakeApi, lookup: ClaimLookup, spec: dict[str, Any]
) -> None:
    api.objects[VOLUME]["spec"] |= spec
    await want(lookup, REF)
    assert lookup.claims[REF].read_only


async def test_a_claim_that_is_not_bound_yet_is_looked_at_again(api: FakeApi, lookup: ClaimLookup) -> None:
    api.objects[CLAIM]["status"]["phase"] = "Pending"
    await want(lookup, REF)
    assert REF not in lookup.claims
    assert lookup.settled()
    api.objects[CLAIM]["status"]["phase"] = "Bound"
    await asyncio.sleep(15)
    assert REF in lookup.claims


async def test_a_server_that_is_away_is_asked_again(api: FakeApi, lookup: ClaimLookup) -> None:
    api.away = True
    await want(lookup, REF)
    api.away = False
    await asyncio.sleep(15)
    assert REF in lookup.claims


async def test_labels_are_read_again_only_where_a_policy_minds_them(
    api: FakeApi, lookup: ClaimLookup
) -> None:
    await want(lookup, REF, labels=True, namespaces=True)
    assert lookup.namespaces["shop"].labels == {"team": "a"}
    api.objects[CLAIM]["metadata"]["labels"] = {"tier": "iron"}
    api.objects[SPACE]["metadata"]["labels"] = {"team": "b"}
    await asyncio.sleep(REFRESH * 1.3)
    assert lookup.claims[REF].claim.labels == {"tier": "iron"}
    assert lookup.namespaces["shop"].labels == {"team": "b"}


async def test_labels_are_read_again_once_a_policy_minds_them_that_none_minded_before(
    api: FakeApi, lookup: ClaimLookup
) -> None:
    """A claim that was relabelled before the policy came was never looked at for it."""
    await want(lookup, REF)
    api.objects[CLAIM]["metadata"]["labels"] = {"tier": "iron"}
    await want(lookup, REF, labels=True)
    await asyncio.sleep(15)
    assert lookup.claims[REF].claim.labels == {"tier": "iron"}


async def test_a_claim_is_read_again_with_another_pod(api: FakeApi, lookup: ClaimLookup) -> None:
    """It was deleted and made anew with the same name while the watch of Pods stood still: nobody saw it unused."""
    await want(lookup, REF)
    api.objects[CLAIM]["metadata"]["uid"] = "claim-2"
    api.objects[VOLUME]["spec"]["claimRef"]["uid"] = "claim-2"
    await want(lookup, REF)
    assert lookup.claims[REF].claim.uid == "claim-1"
    await want(lookup, REF, pods=("uid-2",))
    assert lookup.claims[REF].claim.uid == "claim-2"
    await want(lookup, REF, pods=("uid-2",))
    assert api.count("GET", CLAIM) == 2


async def test_what_is_not_wanted_any_more_is_forgotten(api: FakeApi, lookup: ClaimLookup) -> None:
    await want(lookup, REF, namespaces=True)
    await want(lookup)
    assert not lookup.claims
    assert not lookup.namespaces
    await want(lookup, REF)
    assert api.count("GET", CLAIM) == 2


@pytest.mark.parametrize("before", [0.005, 0.015, 0.025, 0.045])
async def test_what_was_wanted_while_it_was_read_and_is_wanted_again_is_read_again(
    api: FakeApi, lookup: ClaimLookup, before: float
) -> None:
    """Pods were replaced while the agent read: what waited for its turn was taken for read, and never looked at again."""
    refs = [ClaimRef("shop", f"data-{number}") for number in range(3 * AT_ONCE)]
    for ref in refs:
        volume = f"pv-{ref.name}"
        bound = {"namespace": "shop", "name": ref.name, "uid": f"uid-{ref.name}"}
        path = f"/api/v1/namespaces/shop/persistentvolumeclaims/{ref.name}"
        api.objects[path] = api.objects[CLAIM] | {"metadata": bound, "spec": {"volumeName": volume}}
        csi = {"driver": "d.example.com", "volumeHandle": volume}
        api.objects[f"/api/v1/persistentvolumes/{volume}"] = {
            "metadata": {"name": volume},
            "spec": {"csi": csi, "claimRef": bound},
        }
    lookup.want(dict.fromkeys(refs, ("uid-1",)), labels=False, namespaces=True)
    await asyncio.sleep(before)
    lookup.want({}, labels=False, namespaces=True)
    await asyncio.sleep(1)
    await want(lookup, *refs, namespaces=True, pods=("uid-2",))
    assert lookup.claims.keys() == set(refs)
    assert lookup.namespaces.keys() == {"shop"}
