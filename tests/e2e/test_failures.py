"""What is not the volume's fault: a driver that dies, a node that does not answer, storage in trouble."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.scenes import await_recovery, dead_mount, driver_says
from support.product import AGENT_SPACE
from support.realnode import RealNode
from support.releases import HEALTH_FIELDS
from volumehealth_sandbox.driver_faults import Fault, Plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

FOUND_WITHIN = 12.0
"""Seconds: the agent's interval and the operator's, 5 s each, and what they need to tell."""
NEW = "new.csi.volumehealth.test"


@pytest.fixture
def well(real_node: RealNode) -> Iterator[RealNode]:
    """The node, with every claim healthy before and after."""
    real_node.until(lambda: real_node.all_healthy(), "all is well before", within=60.0)
    yield real_node
    real_node.until(lambda: real_node.all_healthy(), "all is well afterwards", within=90.0)


def _told(node: RealNode) -> dict[str, int]:
    """Return the Events on health, by name, and how often each was told."""
    reasons = ("VolumeConditionAbnormal", "VolumeConditionNormal")
    return {event["metadata"]["name"]: event["count"] for reason in reasons for event in node.events(reason)}


def test_a_driver_that_is_killed_and_comes_back_leaves_no_event(well: RealNode) -> None:
    """Its claims become Unknown, none becomes unhealthy, the other driver's stay; back, all are healthy."""
    before = _told(well)
    claims, others = (len(driver.claims) for driver in well.drivers.values())
    well.driver(NEW).kill()
    try:
        well.until(lambda: well.count("unknown") == claims, "its claims are Unknown", within=90.0)
        assert well.count("healthy") == others
        assert well.count("unhealthy") == 0
        sources = well.condition("SourcesAvailable")
        assert sources["status"] == "False"
        assert NEW in sources["message"]
    finally:
        well.driver(NEW).start()
    well.until(well.all_healthy, "all are healthy again", within=90.0)
    assert well.node.drivers() == set(well.drivers)
    assert _told(well) == before


def test_an_agent_that_is_killed_and_comes_back_tells_nothing_twice(well: RealNode) -> None:
    """What it found before is still so, since when it was; its end is told once."""
    claim = "corrupt"
    spoil, heal = driver_says(Fault.FILESYSTEM_CORRUPTED, Plane.NODE)
    spoil(well, claim)
    try:
        well.until(lambda: _reported(well, claim), "the agent reports it")
        well.until(
            lambda: len(well.told("VolumeConditionAbnormal", claim)) == 1 + len(well.pods), "it is told"
        )
        before, since = _told(well), _since(well, claim)
        agent = well.product.agent()["metadata"]["name"]
        well.product.crash(AGENT_SPACE, agent)
        well.until(lambda: well.product.is_ready(AGENT_SPACE, agent), "it is back", within=60.0)
        seen = well.checks()
        well.until(lambda: well.checks() >= seen + 3, "three checks later")
        assert _told(well) == before
        assert _since(well, claim) == since
    finally:
        heal(well, claim)
    await_recovery(well, claim)
    well.until(lambda: well.told("VolumeConditionNormal", claim), "all is well again")


def _since(node: RealNode, claim: str) -> list[str]:
    """Return since when things are wrong with a claim, as its record and the agent's report say."""
    return [finding["since"] for finding in node.findings(claim)] + _reported(node, claim)


def _reported(node: RealNode, claim: str) -> list[str]:
    """Return since when the agent's report says that things are wrong with a claim."""
    volumes = node.get("vhr", node.node.name)["status"].get("volumes") or ()
    return [one["since"] for volume in volumes if volume["claim"] == claim for one in volume["conditions"]]


def test_a_stopped_kubelet_is_a_failed_node_and_back_it_has_recovered(well: RealNode) -> None:
    """Once the node is not Ready for long enough, each claim and each Pod is told; and told that it is back."""
    claims = {claim for driver in well.drivers.values() for claim in driver.claims}
    everybody = {f"PersistentVolumeClaim/{claim}" for claim in claims} | {f"Pod/{pod}" for pod in well.pods}
    well.node.kubelet.stop()
    try:
        well.until(lambda: well.node.ready_status() == "Unknown", "the node is not Ready", within=60.0)
        well.until(lambda: _about(well, "NodeFailed") == everybody, "everybody is told", within=60.0)
        assert well.condition("VolumesHealthy")["status"] == "False"
        found = well.findings("mounted")
        assert [(one["source"], one["reason"], one["node"]) for one in found] == [
            ("Kubernetes", "NodeFailed", well.node.name)
        ]
    finally:
        well.node.kubelet.start()
        well.node.await_ready()
    well.until(lambda: _about(well, "NodeRecovered") == everybody, "everybody is told", within=60.0)
    assert {event["count"] for event in well.events("NodeFailed")} == {1}


@pytest.mark.kubernetes(HEALTH_FIELDS)
def test_storage_in_trouble_behind_a_node_is_one_story(well: RealNode) -> None:
    """The kubelet writes csinode.status.storageHealth, the agent reports it; claims get no alarm each."""
    before = _told(well)
    trouble = {"StorageDegraded": "one of two paths to the array is down"}
    well.tell(NEW, lambda control: control.backend(trouble))
    try:
        well.until(lambda: _csinode_says(well) == ["StorageDegraded"], "the kubelet says so", within=40.0)
        well.until(lambda: _storage_story(well), "the policy says so", within=60.0)
        assert _told(well) == before
    finally:
        well.tell(NEW, lambda control: control.backend({}))
    well.until(lambda: not _storage_story(well), "it is over", within=60.0)


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="this kernel has no FUSE")
def test_a_mount_that_never_answers_delays_no_other_driver(well: RealNode) -> None:
    """One driver hangs in a dead mount; a fault of the other is found in its time, and nothing else is told."""
    dead, claim = "old-unmounted", "ioerror"
    before = _told(well)
    spoil, heal = driver_says(Fault.IO_ERRORS, Plane.NODE)
    with dead_mount(well.path(dead, well.pods[0])):
        hung = len(well.driver_of(dead).claims)
        well.until(lambda: well.count("unknown") == hung, "the driver's claims are Unknown", within=90.0)
        spoil(well, claim)
        try:
            assert well.until(lambda: well.findings(claim), "the fault is found") < FOUND_WITHIN
        finally:
            heal(well, claim)
        await_recovery(well, claim)
        well.until(lambda: well.told("VolumeConditionNormal", claim), "all is well again")
        assert well.findings(dead) == []
    others = {name for name in _told(well).keys() - before.keys() if not name.startswith((claim, *well.pods))}
    assert others == set()


def _about(node: RealNode, reason: str) -> set[str]:
    return {
        f"{event['involvedObject']['kind']}/{event['involvedObject']['name']}"
        for event in node.events(reason)
    }


def _csinode_says(node: RealNode) -> list[str]:
    status = node.get("csinode", node.node.name).get("status") or {}
    return [
        one["status"]
        for driver in status.get("storageHealth") or ()
        if driver["name"] == NEW
        for one in driver.get("healthConditions") or ()
    ]


def _storage_story(node: RealNode) -> bool:
    """Tell whether the policy's summary speaks of the storage behind the node."""
    return any("one of two paths" in str(part) for part in node.status().values())
