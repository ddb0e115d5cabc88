"""What is read of a node's Pods."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from volumehealth import errors
from volumehealth.agent.pods import NodePodObject, node_pod, pods_that_run
from volumehealth.kube.bodies import read_body

LABELS = {
    '"kubevirt.io": "virt-launcher"': True,
    '"kubevirt.io": "hotplug-disk"': True,
    '"cdi.kubevirt.io": "importer"': True,
    '"kubevirt.io": "virt-handler"': False,
    '"app": "backup"': False,
}


@pytest.mark.parametrize(("label", "holds"), LABELS.items(), ids=LABELS.keys())
def test_pods_whose_volumes_hold_disk_images(label: str, holds: bool) -> None:
    body = (
        f'{{"metadata": {{"name": "hp-volume-x", "namespace": "vm", "labels": {{{label}}}}}, "spec": {{"volumes": '
        '[{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]}}'
    )
    pod = node_pod(read_body(body.encode(), NodePodObject, what="a Pod"))
    assert pod is not None
    assert pod.virtual_machine is holds


class Server:
    """Answers a list of Pods, or that nobody is there."""

    def __init__(self, *pods: dict[str, Any], away: bool = False) -> None:
        self.pods = pods
        self.away = away

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        if self.away:
            raise errors.ApiUnreachable("nobody is there")
        return json.dumps({"metadata": {"resourceVersion": "7"}, "items": self.pods}).encode()

    async def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[bytes, None]:
        yield b""


def pod(uid: str, phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": uid, "namespace": "shop", "uid": uid, **metadata},
        "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": {"phase": phase, "containerStatuses": [{"state": {"running": {}}}]},
    }


async def test_pods_that_run_and_stay_are_those_that_the_api_server_names() -> None:
    leaving = pod("leaves", deletionTimestamp="2026-11-24T03:00:00Z")
    server = Server(pod("runs"), pod("ended", "Succeeded"), leaving, {"metadata": {"name": 7}})
    assert await pods_that_run(server) == frozenset({"runs"})
    assert await pods_that_run(Server()) == frozenset()


async def test_which_pods_run_is_not_known_while_the_api_server_is_away() -> None:
    assert await pods_that_run(Server(away=True)) is None
