"""A release of the chart on a real node: installed, upgraded from its previous revision, rolled back, uninstalled.

In: a node of its own, with a driver of the older generation. Out: one volume is sick all the while, and told once.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from e2e.scenes import driver_says
from support.helmproduct import HelmProduct
from support.product import AGENT_SPACE, OPERATOR_SPACE
from support.realnode import SPACE, NodeDriver, RealNode, obstacles
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_state import Generation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DRIVER = NodeDriver("helm.csi.volumehealth.test", Generation.LEGACY, ("well", "sick"))
POLICY = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}


@pytest.fixture
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node on which helm installed the chart's previous revision; the policy is `kubectl apply`'s."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    with RealNode(
        tmp_path_factory.mktemp("released"),
        Path(tempfile.gettempdir(), "vh-node-helm"),
        drivers=(DRIVER,),
        pods=("first",),
        policy=POLICY,
        gate=False,
        network=4,
        product=HelmProduct,
    ) as node:
        yield node


def _told(node: RealNode) -> dict[str, int]:
    """Return the Events on health, by name, and how often each was told."""
    reasons = ("VolumeConditionAbnormal", "VolumeConditionNormal")
    return {event["metadata"]["name"]: event["count"] for reason in reasons for event in node.events(reason)}


def _pods(product: HelmProduct) -> set[str]:
    """Return the names of the operator's and the agents' Pods."""
    return {*product.names(OPERATOR_SPACE), *product.names(AGENT_SPACE)} - {"volumehealth-test"}


def _checked(node: RealNode) -> bool:
    """Tell whether the operator that leads now has made three checks."""
    try:
        return bool(node.product.leader()) and node.checks() >= 3
    except (OSError, KeyError):  # it has just begun, or ended
        return False


def test_a_sick_volume_is_told_once_through_upgrade_and_rollback(released: RealNode) -> None:
    """Neither makes an Event, changes a `since`, or loses the record; uninstalling leaves the records."""
    node, product = released, cast("HelmProduct", released.product)
    assert "OK: operator:" in product.test()
    restricted = "pod-security.kubernetes.io/enforce=restricted"
    node.kubectl("label", "namespace", OPERATOR_SPACE, restricted)
    spoil, heal = driver_says(Fault.IO_ERRORS, Plane.NODE)
    spoil(node, "sick")
    node.until(lambda: len(node.told("VolumeConditionAbnormal", "sick")) == 2, "claim and Pod are told")
    told, since = _told(node), [finding["since"] for finding in node.findings("sick")]
    before = _pods(product)

    for change in (product.upgrade, product.rollback):
        change()
        now = _pods(product)
        assert now.isdisjoint(before)
        before = now
        node.until(lambda: _checked(node), "the new operator checks", within=60.0)
        node.until(lambda: node.agents("reporting") == 1, "the new agent reports", within=60.0)
        assert _told(node) == told
        assert [finding["since"] for finding in node.findings("sick")] == since

    heal(node, "sick")
    node.until(lambda: len(node.told("VolumeConditionNormal", "sick")) == 2, "the recovery is told")
    assert "OK: operator:" in product.test()
    product.uninstall()
    node.until(lambda: not _pods(product), "the operator's Pods are gone", within=60.0)
    assert node.health("sick") == "Recovered"
    assert node.get("vhp", "e2e")
    assert _told(node).items() >= told.items()
    assert node.get("pods", namespace=SPACE)["items"]
