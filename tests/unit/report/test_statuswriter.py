"""The status is written when it says something new, as a heartbeat, and never besides."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from support.fakeapi import FakeApi
from support.health import SteppedClock
from unit.report.scenes import SCENES, status_of
from volumehealth import errors
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.report.statuswriter import StatusWriter

pytestmark = pytest.mark.looptime

PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"


class World:
    """A StatusWriter and the API server that holds the policy."""

    def __init__(self, api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> None:
        self.api, self.queue, self.clock = api, queue, clock
        api.objects[PATH] = {"metadata": {"name": "storage", "uid": "uid-storage"}}
        self.restart()

    def restart(self) -> None:
        self.statuses = StatusWriter(self.queue, clock=self.clock)

    async def check(self, scene: str | CheckResult) -> None:
        result = SCENES[scene]() if isinstance(scene, str) else scene
        self.statuses.learn(result.policy, self.stored())
        result = replace(result, now=self.clock.now())
        self.statuses.publish(result.policy, status_of(result, dict(self.statuses.newest(result.policy))))
        task = asyncio.create_task(self.queue.run())
        await self.queue.drain(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def stored(self) -> dict[str, Any] | None:
        return self.api.objects[PATH].get("status")


@pytest.fixture
async def world(api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> World:
    return World(api, queue, clock)


async def test_what_is_new_is_written_to_the_status_subresource_of_that_very_object(world: World) -> None:
    await world.check("all_healthy")
    assert world.api.requests == [("PATCH", f"{PATH}/status")]
    assert world.api.objects[PATH]["metadata"]["uid"] == "uid-storage"
    await world.check("three_bad")
    assert len(world.api.requests) == 2


async def test_ten_equal_checks_write_nothing_but_the_heartbeat(world: World) -> None:
    for _ in range(11):
        await world.check("three_bad")
        world.clock.advance(minutes=1)
    assert len(world.api.requests) == 3
    assert world.stored()["lastCheckTime"] == "2026-11-23T03:12:11Z"  # type: ignore[index]


async def test_a_restart_writes_no_equal_status_again(world: World) -> None:
    await world.check("three_bad")
    world.restart()
    world.clock.advance(minutes=1)
    await world.check("three_bad")
    assert len(world.api.requests) == 1


async def test_what_is_no_longer_said_is_removed(world: World) -> None:
    await world.check("three_bad")
    await world.check("all_healthy")
    assert "problems" not in world.stored()  # type: ignore[operator]
    assert world.stored() == status_of(
        replace(SCENES["all_healthy"](), now=world.clock.now()), status_of(SCENES["three_bad"]())
    ) | {"conditions": world.stored()["conditions"]}  # type: ignore[index]


async def test_a_suspended_policy_has_no_heartbeat(world: World) -> None:
    await world.check("all_healthy")
    for _ in range(20):
        world.clock.advance(minutes=1)
        await world.check("suspended")
    assert len(world.api.requests) == 2


async def test_a_policy_that_was_deleted_meanwhile_is_let_go(world: World) -> None:
    world.api.refusals = [errors.NotFound("gone", status=404)]
    await world.check("all_healthy")
    world.statuses.forget("uid-storage")
    assert len(world.api.requests) == 1


async def test_while_the_server_is_away_only_the_newest_status_waits(world: World) -> None:
    world.api.away = True
    await world.check("all_healthy")
    await world.check("three_bad")
    world.api.away = False
    await world.check("driver_down")
    assert len(world.api.requests) == 1
    assert world.stored()["claims"]["unknown"] == 3000  # type: ignore[index]


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_status_whose_answer_got_lost_leaves_nothing_behind(world: World, lost: int) -> None:
    """Faults D10: problems stayed for ever beside conditions that said that all was well."""
    world.api.lose_answers = lost
    await world.check("three_bad")
    world.clock.advance(minutes=1)
    world.api.lose_answers = lost
    await world.check("all_healthy")
    world.clock.advance(minutes=1)
    await world.check("all_healthy")
    stored = world.stored()
    assert stored is not None
    assert "problems" not in stored
    assert {one["type"]: one["status"] for one in stored["conditions"]}["VolumesHealthy"] == "True"


async def test_a_status_that_is_replaced_before_its_lost_answer_is_made_up_for_leaves_nothing_behind(
    world: World,
) -> None:
    """Faults D10: the server has what was never confirmed, and the view does not show it yet."""
    world.api.lose_answers = 1
    world.api.refusals = [None, *(errors.ApiUnreachable("connection refused") for _ in range(99))]
    await world.check("three_bad")
    stored = world.stored()
    assert stored is not None
    assert "problems" in stored
    world.api.refusals = []
    world.clock.advance(minutes=1)
    await world.check("all_healthy")
    stored = world.stored()
    assert stored is not None
    assert "problems" not in stored


async def test_a_status_that_somebody_else_edits_is_put_right_by_the_next_check(world: World) -> None:
    await world.check("three_bad")
    (edited := world.api.objects[PATH]["status"])["claims"] = {"unhealthy": 0}
    world.statuses.learn(SCENES["three_bad"]().policy, edited, version=99)
    world.clock.advance(seconds=15)
    await world.check("three_bad")
    stored = world.stored()
    assert stored is not None
    assert stored["claims"]["unhealthy"] == 3
