"""What the operator relies on in Kopf, on the real API server: see `app/handlers.py`.

In: the registry of the operator with turns that only count. Out: policies without a finalizer, timers that end.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import kopf
import pytest

from support.installation import policy_path, until
from volumehealth.app.handlers import make_registry
from volumehealth.app.kopfsession import session_of
from volumehealth.kube.access import Access
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects

pytestmark = pytest.mark.cluster

POLICIES = policy_path("x").rpartition("/")[0]


class CountedTurns:
    """Turns that take no time; a policy is gone for good once its uid is in `gone`."""

    def __init__(self) -> None:
        self.turns: Counter[str] = Counter()
        self.gone: set[str] = set()

    async def turn(self, uid: str, /) -> bool:
        """Count."""
        self.turns[uid] += 1
        return uid not in self.gone

    def reached(self, uid: str, times: int) -> Callable[[], Awaitable[bool]]:
        """Make a condition: so many turns."""

        async def condition() -> bool:
            return self.turns[uid] >= times

        return condition


@asynccontextmanager
async def kopf_running(plane: ControlPlane, turns: CountedTurns) -> AsyncIterator[None]:
    """Run Kopf as the operator does: started last, stopped by its flag."""
    access = Access(plane.url, authorization=f"Bearer {plane.admin_token}", ca_file=str(plane.ca_file))

    async def served(_: str) -> bool:
        return True

    ready, stop = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        kopf.operator(
            registry=make_registry(turns, lambda: session_of(access, served)),
            clusterwide=True,
            standalone=True,
            ready_flag=ready,
            stop_flag=stop,
        )
    )
    await ready.wait()
    yield
    stop.set()
    await asyncio.wait_for(task, 10)


async def make_policy(objects: ClusterObjects, name: str) -> str:
    """Make a policy and return its uid."""
    manifest = {"apiVersion": "volumehealth.dev/v1alpha1", "kind": "VolumeHealthPolicy"}
    made = await objects.post(POLICIES, manifest | {"metadata": {"name": name}, "spec": {"suspend": True}})
    return str(made["metadata"]["uid"])


async def test_a_timer_leaves_no_trace_on_its_policy_and_ends_with_it(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, caplog: pytest.LogCaptureFixture
) -> None:
    """No finalizer, no annotation, no Event; after the policy is gone its timer ticks once more and never again."""
    turns = CountedTurns()
    caplog.set_level(logging.WARNING)
    async with kopf_running(control_plane, turns):
        uid = await make_policy(cluster_objects, "kopf-timer")
        await until(turns.reached(uid, 3), "the timer ticks again and again")
        policy = await cluster_objects.get(policy_path("kopf-timer"))
        assert policy["metadata"].keys().isdisjoint({"finalizers", "annotations"})
        assert policy.get("status", {}).keys() <= {"observedGeneration"}, "that is the default of the schema"
        await cluster_objects.patch(policy_path("kopf-timer"), {"spec": {"interval": "1h"}})
        await until(turns.reached(uid, turns.turns[uid] + 3), "the timer ticks on after a change")
        policy = await cluster_objects.get(policy_path("kopf-timer"))
        assert policy["metadata"].keys().isdisjoint({"finalizers", "annotations"})

        await cluster_objects.delete(policy_path("kopf-timer"))
        turns.gone.add(uid)
        ended = turns.turns[uid] + 2
        again = await make_policy(cluster_objects, "kopf-timer")
        await until(turns.reached(again, 10), "a new policy of the same name has a timer of its own")
        assert turns.turns[uid] <= ended
        await cluster_objects.delete(policy_path("kopf-timer"))
        turns.gone.add(again)
    events = (await cluster_objects.get("/api/v1/namespaces/default/events"))["items"]
    assert [one["message"] for one in events if one["involvedObject"].get("name") == "kopf-timer"] == []
    assert [one.getMessage() for one in caplog.records if one.name == "kopf.objects"] == []
