"""The cluster view where claims come and go all the time: read in pages, and exact when all is quiet again."""

import asyncio
from random import Random

import pytest

from volumehealth.cluster.view import ClusterView
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import Pace
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects

pytestmark = pytest.mark.cluster


async def test_lists_in_small_pages_while_claims_come_and_go_end_in_what_is_there(
    control_plane: ControlPlane, cluster_objects: ClusterObjects, namespace: str
) -> None:
    """Half of 60 claims go and 30 others come while a view with pages of 5 is filled; it must miss none of it."""

    def spec(number: int) -> ClaimSpec:
        handle = f"{namespace}-{number}"
        return ClaimSpec(namespace, f"c-{number:03}", VolumeId("churn.example.com", handle))

    async def churn() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(cluster_objects.delete_claim(namespace, spec(number).name))
                group.create_task(cluster_objects.make(spec(60 + number)))

    await cluster_objects.make_claims(spec(number) for number in range(60))
    expected = {ClaimRef(namespace, spec(number).name) for number in range(30, 90)}
    async with await Api.connect(str(control_plane.kubeconfig)) as api, asyncio.TaskGroup() as group:
        view = ClusterView(api, clock=SystemClock(), random=Random(), pace=Pace(page=5))
        following = group.create_task(view.run())
        await asyncio.gather(churn(), view.complete())
        async with asyncio.timeout(20):
            while not (  # noqa: ASYNC110 - the view is what is looked at
                {ref for ref in view.claims if ref.namespace == namespace} == expected
                and all(view.claims[ref].driver and view.claims[ref].phase == "Bound" for ref in expected)
            ):
                await asyncio.sleep(0.05)
        following.cancel()
