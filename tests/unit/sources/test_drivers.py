"""What people are told of a driver that is reached through its nodes, and of claims that these cannot judge."""

from collections.abc import Mapping

import pytest

from support.health import START
from volumehealth.model.health import DriverState, HealthAPI, SourceState
from volumehealth.report.phrases import unseen
from volumehealth.sources.drivers import SEEN_BY_NODES, through_agents
from volumehealth.sources.source import ObservedDriver

BLIND = "the node's mount table shows no mount of any Pod"
OVERLAY = "overlay: nothing on the node shows whether it works"


def told(reasons: Mapping[str, int], *, health_api: HealthAPI = HealthAPI.NONE) -> DriverState:
    driver = DriverState("d.example.com", SourceState.NOT_CONNECTED, START)
    return through_agents(driver, ObservedDriver(2, health_api, (), START, unseen=reasons))


@pytest.mark.parametrize(
    ("reasons", "sentence"),
    [
        ({}, ""),
        ({BLIND: 1}, f"1 claim cannot be judged by its node: {BLIND}"),
        ({OVERLAY: 1, BLIND: 4}, f"5 claims cannot be judged by their nodes: {BLIND} (1 more reason)"),
    ],
)
def test_claims_that_nodes_cannot_judge_are_counted_with_the_commonest_reason(
    reasons: Mapping[str, int], sentence: str
) -> None:
    assert unseen(reasons.items()) == sentence


def test_the_hint_of_a_mute_driver_says_what_its_nodes_do_not_see_without_a_number_that_changes() -> None:
    assert told({}).hint == SEEN_BY_NODES
    assert (
        told({BLIND: 3}).hint == told({BLIND: 4}).hint == f"no health API; its nodes do not see all: {BLIND}"
    )


def test_what_nodes_do_not_see_of_claims_that_they_can_judge_is_named() -> None:
    observed = ObservedDriver(1, HealthAPI.NONE, (), START, limits=frozenset({"device only", "lost writes"}))
    driver = through_agents(DriverState("d.example.com", SourceState.NOT_CONNECTED, START), observed)
    assert driver.limits == "device only; lost writes"


def test_of_a_driver_that_never_answered_on_any_node_nobody_knows_whether_it_has_a_health_call() -> None:
    driver = DriverState("d.example.com", SourceState.NOT_CONNECTED, START)
    observed = ObservedDriver(1, HealthAPI.NONE, (), START, identified=False)
    assert through_agents(driver, observed) == driver


def test_a_driver_that_answers_on_its_nodes_says_it_too() -> None:
    driver = told({BLIND: 1}, health_api=HealthAPI.VOLUME_CONDITION)
    assert (driver.state, driver.unseen) == (
        SourceState.ANSWERING,
        ((BLIND, 1),),
    )
