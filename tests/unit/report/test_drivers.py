"""VolumeHealthDrivers: one for each driver in use, right over several policies, quiet in a steady cluster."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.fakeapi import FakeApi
from support.health import DRIVER, START, SteppedClock, make_claim, make_driver, make_policy, make_result
from unit.report.test_status import unknown_fields
from volumehealth import errors
from volumehealth.cluster.objects import RawDriver
from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.cluster import Claim, LeftOut, NodeDrivers
from volumehealth.model.health import ControllerConnection, HealthAPI, SourceState
from volumehealth.model.ids import LOCAL_VOLUMES, ClaimRef
from volumehealth.model.report import ReportedDriver, VolumeHealthReport, agent_lease_name
from volumehealth.report.drivers import NUMBERS_EVERY, DriverWriter

PATH = f"/apis/volumehealth.dev/v1alpha1/volumehealthdrivers/{DRIVER}"
CRD = Path(__file__).parents[3] / "crds" / "volumehealthdrivers.yaml"


@dataclass
class View:
    claims: dict[ClaimRef, Claim] = field(default_factory=dict)
    csinodes: dict[str, NodeDrivers] = field(default_factory=dict)
    reports: dict[str, VolumeHealthReport] = field(default_factory=dict)
    drivers: dict[str, RawDriver] = field(default_factory=dict)
    left_out: dict[ClaimRef, LeftOut] = field(default_factory=dict)
    leases: dict[str, LeaseLiveness] = field(default_factory=dict)
    follows_leases: bool = True

    def follows(self, resource: str) -> bool:
        return resource != "leases" or self.follows_leases

    def report(self, node: str, driver: ReportedDriver) -> None:
        """Let the agent of a node report about a driver; it goes on living."""
        self.reports[node] = VolumeHealthReport(node, node=node, drivers=(driver,))
        self.leases[agent_lease_name(node)] = LeaseLiveness("", inf)


@dataclass
class World:
    api: FakeApi
    clock: SteppedClock
    queue: WriteQueue
    view: View = field(default_factory=View)

    def __post_init__(self) -> None:
        self.writer = DriverWriter(self.queue, clock=self.clock, view=self.view)
        claim = make_claim()
        self.view.claims[claim.ref] = claim

    async def settle(self) -> None:
        """Send what waits, and let the view see it."""
        await self.queue.drain(1.0)
        self.view.drivers = {
            path.rpartition("/")[2]: RawDriver(path.rpartition("/")[2], body["status"])
            for path, body in self.api.objects.items()
        }

    async def check(self, *results: CheckResult) -> None:
        for result in results:
            self.writer.publish(result)
        await self.settle()

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[PATH]["status"]
        return found


@pytest.fixture
async def world(api: FakeApi, clock: SteppedClock, queue: WriteQueue) -> AsyncIterator[World]:
    running = asyncio.create_task(queue.run())
    yield World(api, clock, queue)
    running.cancel()


def seen(*, healthy: int = 3, policy: str = "storage", **changes: Any) -> CheckResult:
    return make_result(
        policy=make_policy(policy), healthy=healthy, unmonitored={DRIVER: 2}, drivers=[make_driver(**changes)]
    )


async def test_a_driver_of_a_checked_claim_has_an_object(world: World) -> None:
    await world.check(seen())
    assert world.status["state"] == "Answering"
    assert world.status["methods"] == ["ListVolumes"]
    assert world.status["plugins"] == {"controller": "Endpoint"}


async def test_every_field_is_in_the_crd(world: World) -> None:
    await world.check(
        seen(state=SourceState.CIRCUIT_OPEN, message="m", hint="h", next_try=START, round_seconds=7.2)
    )
    crd = yaml.safe_load(CRD.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert unknown_fields(world.status, schema) == []


async def test_the_same_check_writes_nothing(world: World) -> None:
    await world.check(seen())
    for _ in range(10):
        world.clock.advance(seconds=60)
        await world.check(seen())
    assert world.api.count("PATCH") == 1


async def test_what_waited_through_an_outage_and_is_not_so_any_more_is_not_written(world: World) -> None:
    await world.check(seen())
    world.writer.publish(seen(state=SourceState.CIRCUIT_OPEN))
    world.writer.publish(seen())
    await world.settle()
    assert world.api.count("PATCH") == 1


async def test_a_driver_that_is_used_again_before_it_was_removed_stays(world: World) -> None:
    await world.check(seen())
    claims = dict(world.view.claims)
    world.view.claims.clear()
    world.writer.sweep()
    world.view.claims.update(claims)
    world.writer.publish(seen())
    await world.settle()
    assert world.api.count("DELETE") == 0


async def test_numbers_alone_are_written_every_five_minutes_at_most(world: World) -> None:
    for healthy in range(20):
        await world.check(seen(round_seconds=10.0 + healthy))
        world.clock.advance(seconds=60)
    assert world.api.count("PATCH") == 1 + int(19 * 60 // NUMBERS_EVERY)


async def test_a_change_of_state_is_written_at_once(world: World) -> None:
    await world.check(seen())
    down = seen(state=SourceState.UNREACHABLE, message="has not answered since 23 Nov 03:02Z")
    await world.check(down)
    assert (world.status["state"], world.api.count("PATCH")) == ("Unreachable", 2)


async def test_since_stays_over_a_restart_while_the_state_is_the_same(world: World) -> None:
    await world.check(seen())
    before = world.status["since"]
    again = DriverWriter(world.queue, clock=world.clock, view=world.view)
    later = seen()
    moved = replace(later.drivers[DRIVER], since=START + timedelta(hours=5))
    again.publish(replace(later, drivers={DRIVER: moved}))
    await world.settle()
    assert world.status["since"] == before


async def test_of_two_policies_the_one_that_asks_the_driver_is_told_and_claims_add_up(world: World) -> None:
    off = seen(policy="off", state=SourceState.NOT_CONNECTED, health_api=HealthAPI.NONE)
    await world.check(off, seen(policy="on"))
    assert world.status["state"] == "Answering"
    assert world.status["claims"]["unmonitored"] == 2 + 2


async def test_names_that_differ_in_capitals_share_one_object_that_does_not_change_for_ever(
    world: World,
) -> None:
    odd = DRIVER.upper()
    world.view.claims[ClaimRef("shop", "odd")] = make_claim("odd", driver=odd)
    both = make_result(
        unmonitored={DRIVER: 1, odd: 2}, drivers=[make_driver(), make_driver(odd, SourceState.NOT_CONNECTED)]
    )
    for _ in range(10):
        await world.check(both)
        world.writer.sweep()
        await world.settle()
        world.clock.advance(seconds=60)
    assert world.api.count("PATCH") == 1
    assert world.status["state"] == "Answering"
    assert world.status["claims"]["selected"] == 3


async def test_nodes_that_report_are_counted_beside_those_where_it_is_registered(world: World) -> None:
    nodes = ("n1", "n2", "n3")
    world.view.csinodes = {node: NodeDrivers(node, frozenset([DRIVER])) for node in nodes}
    reported = ReportedDriver(DRIVER, SourceState.ANSWERING, START)
    for node in nodes[:2]:
        world.view.report(node, reported)
    await world.check(seen())
    assert world.status["plugins"]["nodes"] == "2/3"


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("gone", [True, False])
async def test_a_node_whose_agent_died_or_was_removed_is_not_said_to_report(
    world: World, gone: bool, readable: bool
) -> None:
    """What it reported stays there as long as its Node; a Lease that may not be read says nothing."""
    reported = ReportedDriver(DRIVER, SourceState.ANSWERING, START)
    for node in ("n1", "n2"):
        world.view.report(node, reported)
    world.view.follows_leases = readable
    lease = agent_lease_name("n2")
    world.view.leases[lease] = LeaseLiveness("", world.clock.monotonic() + 40)
    await world.check(seen())
    assert world.status["plugins"]["nodes"] == "2/2"
    if gone:
        del world.view.leases[lease]
    world.clock.advance(minutes=11)
    await world.check(seen())
    assert world.status["plugins"]["nodes"] == ("1/1" if readable else "2/2")


MUTE = "mute.example.com"


async def test_a_driver_without_a_health_api_asks_for_the_node_agent_and_then_for_nothing_more(
    world: World,
) -> None:
    mute = make_driver(
        MUTE, SourceState.UNSUPPORTED, health_api=HealthAPI.NONE, hint="its nodes see mounts", methods=()
    )
    result = make_result(unmonitored={MUTE: 2}, drivers=[mute])
    await world.check(result)
    path = PATH.replace(DRIVER, MUTE)
    assert "install the node agent" in world.api.objects[path]["status"]["hint"]
    world.view.csinodes["n1"] = NodeDrivers("n1", frozenset([MUTE]))
    reported = ReportedDriver(MUTE, SourceState.UNSUPPORTED, START)
    world.view.report("n1", reported)
    await world.check(result)
    assert world.api.objects[path]["status"]["hint"] == "its nodes see mounts"
    world.view.leases.clear()  # the agents were uninstalled
    await world.check(result)
    assert "install the node agent" in world.api.objects[path]["status"]["hint"]


async def test_a_known_driver_is_given_its_own_next_step(world: World) -> None:
    await world.check(seen(state=SourceState.NOT_CONNECTED, health_api=HealthAPI.NONE))
    assert world.status["hint"].startswith("first turn on the driver's health monitor")


async def test_what_somebody_else_added_is_taken_away_and_a_steady_driver_writes_nothing(
    world: World,
) -> None:
    """Faults D10: compared by content, field by field, whoever wrote it last."""
    await world.check(seen())
    wanted = dict(world.status)
    world.api.foreign |= {"note", "nextTry"}
    world.api.objects[PATH]["status"] = {**wanted, "note": "by hand", "nextTry": "2026-11-24T04:00:00Z"}
    world.api.objects[PATH]["status"]["claims"] = {**wanted["claims"], "guessed": 7}
    await world.settle()
    await world.check(seen())
    assert world.status == wanted
    writes = world.api.count("PATCH")
    for _ in range(5):
        await world.check(seen())
    assert world.api.count("PATCH") == writes


@pytest.mark.looptime
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.NotFound("the CRD is not there", status=404), id="its CRD is not there"),
        pytest.param(errors.Conflict("something on the way", status=409), id="something says conflict"),
        pytest.param(errors.Forbidden("volumehealthdrivers is forbidden", status=403), id="no right"),
    ],
)
async def test_a_refused_driver_costs_a_few_requests_an_hour_however_often_it_is_checked(
    world: World, error: errors.ApiError
) -> None:
    """Faults D11. Helm upgrades no CRDs: that of drivers may not be there."""
    world.api.refuse = lambda *_: error
    for _ in range(240):
        await world.check(seen())
        await asyncio.sleep(15)
    assert len(world.api.requests) <= 14
    world.api.refuse = lambda *_: None
    for _ in range(50):
        await world.check(seen())
        await asyncio.sleep(15)
    assert PATH in world.api.objects


async def test_the_kubelets_own_plugin_for_local_volumes_has_no_object(world: World) -> None:
    local = replace(make_claim("local"), driver=LOCAL_VOLUMES)
    world.view.claims[local.ref] = local
    state = make_driver(LOCAL_VOLUMES, SourceState.UNSUPPORTED)
    result = seen()
    await world.check(replace(result, drivers={**result.drivers, LOCAL_VOLUMES: state}))
    world.writer.sweep()
    world.writer.sweep()
    await world.settle()
    assert list(world.api.objects) == [PATH]


async def test_a_driver_that_no_claim_uses_any_more_is_removed(world: World) -> None:
    await world.check(seen())
    world.view.claims.clear()
    world.writer.sweep()
    await world.settle()
    assert world.api.objects == {}


async def test_a_driver_whose_claims_no_policy_selects_says_so_once_checks_had_their_time(
    world: World,
) -> None:
    world.writer.sweep()
    await world.settle()
    assert world.api.objects == {}
    world.writer.sweep()
    await world.settle()
    assert (world.status["state"], world.status["hint"]) == ("NotConnected", "no policy selects its claims")


async def test_claims_that_nodes_cannot_judge_are_those_of_all_policies(world: World) -> None:
    """Faults H26."""
    await world.check(
        seen(policy="a", unseen=(("fuse", 2),)), seen(policy="b", unseen=(("fuse", 3), ("overlay", 1)))
    )
    assert "6 claims cannot be judged by their nodes: fuse (1 more reason)" in world.status["message"]


def suspended(policy: str) -> CheckResult:
    return replace(make_result(policy=make_policy(policy, suspend=True)), judgement=None)


async def test_what_a_suspended_policy_saw_last_says_nothing_of_a_driver_that_another_one_hears(
    world: World,
) -> None:
    """Faults H26: the driver did not answer when the policy was suspended, and answers by now."""
    await world.check(seen(policy="a", state=SourceState.UNREACHABLE), seen(policy="b"))
    assert world.status["state"] == "Unreachable"
    await world.check(suspended("a"), seen(policy="b"))
    assert world.status["state"] == "Answering"
    await world.check(seen(policy="a", state=SourceState.UNREACHABLE))
    assert world.status["state"] == "Unreachable"


async def test_while_its_only_policy_is_suspended_a_driver_stays_as_it_is(world: World) -> None:
    await world.check(seen(policy="a", state=SourceState.UNREACHABLE), suspended("a"))
    world.writer.sweep()
    await world.settle()
    assert world.status["state"] == "Unreachable"


async def test_an_operator_that_starts_leaves_the_driver_of_a_suspended_policy_as_it_is(world: World) -> None:
    """Faults H26: nobody can tell whether that policy selects its claims."""
    await world.check(seen(policy="a"))
    world.writer = DriverWriter(world.queue, clock=world.clock, view=world.view)
    await world.check(suspended("a"))
    for _ in range(3):
        world.writer.sweep()
        await world.settle()
    assert world.status["state"] == "Answering"
    world.writer.forget(make_policy("a").uid)
    world.writer.sweep()
    await world.settle()
    assert world.status["hint"] == "no policy selects its claims"


async def test_a_suspended_policy_whose_claims_are_known_keeps_no_driver_of_a_policy_that_is_gone(
    world: World,
) -> None:
    await world.check(replace(seen(policy="a"), drivers={}), suspended("a"), seen(policy="b"))
    world.writer.forget(make_policy("b").uid)
    for _ in range(2):
        world.writer.sweep()
        await world.settle()
    assert world.status["hint"] == "no policy selects its claims"


async def test_what_somebody_changed_by_hand_is_put_right_by_the_next_check(world: World) -> None:
    await world.check(seen())
    world.view.drivers[DRIVER] = RawDriver(DRIVER, {"state": "Broken", "since": "nonsense"})
    world.writer.publish(seen())
    await world.queue.drain(1.0)
    assert world.api.count("PATCH") == 2
    assert world.status["state"] == "Answering"


def test_the_ways_to_reach_a_controller_are_explained_in_the_crd() -> None:
    text = CRD.read_text()
    assert [str(way) for way in ControllerConnection if str(way) not in text] == []


async def test_the_hint_says_what_was_left_out_of_a_controllers_pod_and_why(world: World) -> None:
    """Until it answers: an agent that was added in another way has the last word."""
    pod = ClaimRef("csi", "csi-controller-0")
    world.view.left_out[pod] = LeftOut(pod, DRIVER, "the socket belongs to root")
    await world.check(seen(state=SourceState.NOT_CONNECTED))
    assert (
        world.status["hint"]
        == "the agent was left out of Pod csi/csi-controller-0: the socket belongs to root"
    )
    await world.check(seen())
    assert "hint" not in world.status
