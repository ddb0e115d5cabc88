"""The Lease on a real API server: one holder at a time, and a quick change of holders. Numbers are shortened."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from support.proxy import TcpProxy
from volumehealth import errors
from volumehealth.kube.api import Api
from volumehealth.kube.lease import LeaseElector, LeaseTiming
from volumehealth.model.clock import Clock, SystemClock
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects

pytestmark = pytest.mark.cluster

QUICK = LeaseTiming(duration=3, renew_deadline=2, retry=0.4, request=1)


class SkewedClock:
    """A wall clock that is wrong by a constant."""

    def __init__(self, wrong_by: timedelta) -> None:
        self._wrong_by = wrong_by
        self._real = SystemClock()

    def now(self) -> datetime:
        return self._real.now() + self._wrong_by

    def monotonic(self) -> float:
        return self._real.monotonic()


Elect = Callable[..., LeaseElector]


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    async with await Api.connect(str(control_plane.kubeconfig)) as api:
        yield api


@pytest.fixture
def elect(api: Api, namespace: str) -> Elect:
    """Make a candidate for the test's Lease."""

    def make(identity: str, *, clock: Clock | None = None, through: Api | None = None) -> LeaseElector:
        return LeaseElector(
            through or api,
            namespace=namespace,
            name="operator",
            identity=identity,
            clock=clock or SystemClock(),
            random=Random(),
            timing=QUICK,
        )

    return make


async def lease(objects: ClusterObjects, namespace: str) -> dict[str, Any]:
    found = await objects.get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator")
    spec: dict[str, Any] = found["spec"]
    return spec


async def seconds_of(work: Any) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(20):
        await work
    return loop.time() - begun


async def test_the_first_takes_it_and_renews_it(
    elect: Elect, cluster_objects: ClusterObjects, namespace: str
) -> None:
    first = elect("first")
    await first.acquire()
    taken = await lease(cluster_objects, namespace)
    assert taken["holderIdentity"] == "first"
    assert taken["leaseDurationSeconds"] == 3
    assert taken["leaseTransitions"] == 0
    assert len(taken["renewTime"].partition(".")[2]) == len("123456Z")
    holding = asyncio.create_task(first.hold())
    await asyncio.sleep(4)
    assert not holding.done()
    renewed = await lease(cluster_objects, namespace)
    assert renewed["renewTime"] > taken["renewTime"]
    assert renewed["acquireTime"] == taken["acquireTime"]
    holding.cancel()


async def test_after_a_clean_exit_nobody_holds_it(
    elect: Elect, cluster_objects: ClusterObjects, namespace: str
) -> None:
    first = elect("first")
    await first.acquire()
    await first.release()
    assert (await lease(cluster_objects, namespace))["holderIdentity"] == ""


async def test_after_a_clean_exit_the_next_one_need_not_wait(
    elect: Elect, cluster_objects: ClusterObjects, namespace: str
) -> None:
    first, second = elect("first"), elect("second")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(1)
    assert not waiting.done()
    holding.cancel()
    await first.release()
    assert await seconds_of(waiting) < QUICK.duration - 1
    taken = await lease(cluster_objects, namespace)
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("second", 1)


async def test_after_a_sudden_end_the_next_one_waits_until_it_expires(elect: Elect) -> None:
    first, second = elect("first"), elect("second")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(5)
    assert not waiting.done(), "as long as the first one renews, it holds"
    holding.cancel()  # no release: as after SIGKILL
    assert 2 < await seconds_of(waiting) < 4.5


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_wrong_clock_neither_shortens_nor_lengthens_anybodys_turn(elect: Elect, hours: int) -> None:
    first, second = elect("first", clock=SkewedClock(timedelta(hours=hours))), elect("second")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(4.5)
    assert not waiting.done()
    assert not holding.done()
    holding.cancel()
    assert 2 < await seconds_of(waiting) < 4.5


async def test_two_with_the_same_name_do_not_both_hold(elect: Elect) -> None:
    first, second = elect("same"), elect("same")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(4.5)
    assert not waiting.done()
    assert not holding.done()
    holding.cancel()
    waiting.cancel()


async def test_of_many_candidates_one_holds(elect: Elect) -> None:
    candidates = [elect(f"candidate-{number}") for number in range(8)]
    tasks = [asyncio.create_task(one.acquire()) for one in candidates]
    await asyncio.sleep(2)
    assert sum(task.done() for task in tasks) == 1
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("trouble", ["cut", "freeze"])
async def test_a_holder_that_cannot_reach_the_server_gives_up_before_another_may_take_over(
    elect: Elect, control_plane: ControlPlane, tmp_path: Path, trouble: str
) -> None:
    async with TcpProxy(control_plane.port) as proxy:
        config = json.loads(control_plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        async with await Api.connect(str(path)) as far:
            first, second = elect("first", through=far), elect("second")
            await first.acquire()
            holding = asyncio.create_task(first.hold())
            waiting = asyncio.create_task(second.acquire())
            await asyncio.sleep(1)
            if trouble == "cut":
                await proxy.cut()
            else:
                proxy.freeze()
            with pytest.raises(errors.LeaseLost, match="could not be renewed for 2 s"):
                async with asyncio.timeout(5):
                    await holding
            assert not waiting.done()
            assert await seconds_of(waiting) < 3


async def test_a_short_outage_does_not_cost_the_lease(
    elect: Elect, control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with TcpProxy(control_plane.port) as proxy:
        config = json.loads(control_plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        async with await Api.connect(str(path)) as far:
            first = elect("first", through=far)
            await first.acquire()
            holding = asyncio.create_task(first.hold())
            for _ in range(3):
                await proxy.cut()
                await asyncio.sleep(0.8)
                await proxy.open()
                await asyncio.sleep(1.2)
            assert not holding.done()
            holding.cancel()


async def test_who_finds_another_holder_has_lost(
    elect: Elect, cluster_objects: ClusterObjects, namespace: str
) -> None:
    first = elect("first")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"
    await cluster_objects.patch(path, {"spec": {"holderIdentity": "thief"}})
    with pytest.raises(errors.LeaseLost, match="thief holds it now"):
        async with asyncio.timeout(3):
            await holding


async def test_a_label_on_the_lease_does_no_harm_and_stays(
    elect: Elect, cluster_objects: ClusterObjects, namespace: str
) -> None:
    first = elect("first")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"
    await cluster_objects.patch(path, {"metadata": {"labels": {"team": "storage"}}})
    await asyncio.sleep(1.5)
    assert not holding.done()
    assert (await cluster_objects.get(path))["metadata"]["labels"] == {"team": "storage"}
    holding.cancel()


async def test_a_deleted_lease_is_lost(elect: Elect, cluster_objects: ClusterObjects, namespace: str) -> None:
    first = elect("first")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    await cluster_objects.delete(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator")
    with pytest.raises(errors.LeaseLost, match="deleted"):
        async with asyncio.timeout(3):
            await holding


async def test_release_after_a_renewal_that_nobody_saw_finish(
    elect: Elect, cluster_objects: ClusterObjects, namespace: str
) -> None:
    first = elect("first")
    await first.acquire()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"
    await cluster_objects.patch(path, {"metadata": {"labels": {"changed": "yes"}}})
    await first.release()
    assert (await lease(cluster_objects, namespace))["holderIdentity"] == ""
