"""A cluster without the gate CSIVolumeHealth, and a driver of the older generation, which its kubelet does not hear.

In: a node of its own. Out: the same story as with the gate and a newer driver.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.scenes import Scene, driver_says, mount_again, play, unmount_one
from support.realnode import SPACE, NodeDriver, RealNode, obstacles
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_state import Generation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

LEGACY = NodeDriver("legacy.csi.volumehealth.test", Generation.LEGACY, ("plain", "condition", "unmounted"))


@pytest.fixture(scope="module")
def gateless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node whose kubelet and API server do not know of volume health."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    policy = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
    home = Path(tempfile.gettempdir(), "vh-node-plain")
    with RealNode(
        tmp_path_factory.mktemp("gateless"),
        home,
        drivers=(LEGACY,),
        pods=("first", "second"),
        policy=policy,
        gate=False,
        network=2,
    ) as node:
        yield node


def test_an_older_driver_is_heard_though_the_kubelet_does_not(gateless: RealNode) -> None:
    """Its condition, which no rule knows, is one finding of the node; the kubelet says nothing."""
    spoil, heal = driver_says(Fault.IO_ERRORS, Plane.NODE)
    play(gateless, Scene("condition", spoil, heal, "Degraded", "VolumeConditionAbnormal", "Node"))
    for pod in gateless.get("pods", namespace=SPACE)["items"]:
        assert "volumeHealth" not in pod["status"]


def test_an_unmounted_volume_is_the_same_story_as_with_the_gate(gateless: RealNode) -> None:
    """The finding is that of test_faults, word for word."""
    play(
        gateless,
        Scene("unmounted", unmount_one, mount_again, "Inaccessible", "VolumeUnmounted", "Node"),
    )
