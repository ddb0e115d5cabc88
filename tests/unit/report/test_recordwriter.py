"""Records on the server are as they should be: made, changed and removed when needed, and never without need."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from support.fakeapi import FakeApi
from support.health import (
    START,
    SteppedClock,
    make_claim,
    make_finding,
    make_health,
    make_picture,
    make_pod,
    make_policy,
)
from volumehealth import errors
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.cluster import Pod
from volumehealth.model.health import Finding
from volumehealth.model.ids import ClaimRef
from volumehealth.report.picture import Picture
from volumehealth.report.recordwriter import RecordWriter

pytestmark = pytest.mark.looptime

CLAIM, FINDING = make_claim(), make_finding()
HEALTH = make_health(CLAIM, FINDING)
BAD = (CLAIM, HEALTH)
PATH = "/apis/volumehealth.dev/v1alpha1/namespaces/shop/volumehealths/orders-db"


@dataclass
class Publisher:
    """What people were told, as the test says."""

    told: datetime | None = START
    busy: bool = False

    def first_told(self, claim: ClaimRef, uid: str, finding: Finding) -> datetime | None:
        return self.told

    def unsettled(self, claim: ClaimRef) -> bool:
        return self.busy


@dataclass
class Stored:
    """A record as the view has it."""

    labels: dict[str, str]
    owner_uid: str
    status: bytes


class World:
    """A RecordWriter and the API server it writes to."""

    def __init__(self, api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> None:
        self.api, self.queue, self.clock = api, queue, clock
        self.teller = Publisher()
        self.pods: list[Pod] = []
        self.restart()

    def restart(self) -> None:
        self.records = RecordWriter(
            self.queue, clock=self.clock, telling=self.teller, pods_of=lambda _: tuple(self.pods)
        )

    def view(self) -> dict[ClaimRef, Stored]:
        """What the view shows of the server."""
        return {
            ClaimRef(one["metadata"]["namespace"], one["metadata"]["name"]): Stored(
                one["metadata"]["labels"],
                one["metadata"]["ownerReferences"][0]["uid"],
                msgspec.json.encode(one["status"]),
            )
            for one in self.api.of_kind("VolumeHealth")
        }

    async def keep(self, picture: Picture, *, seconds: float = 1) -> None:
        list(self.records.keep(picture))
        await self.write(seconds)

    async def write(self, seconds: float = 1) -> None:
        task = asyncio.create_task(self.queue.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world(api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> World:
    return World(api, queue, clock)


async def test_the_first_finding_makes_a_record(world: World) -> None:
    await world.keep(make_picture([BAD]))
    assert world.api.objects[PATH]["status"]["health"] == "Unhealthy"


async def test_a_check_that_finds_the_same_writes_nothing(world: World) -> None:
    for _ in range(5):
        await world.keep(make_picture([(CLAIM, replace(HEALTH))]))
    assert world.api.count("PATCH") == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"findings": (make_finding(message="another text"),)}, id="another message"),
        pytest.param({"findings": (make_finding(stale=True),)}, id="its source fell silent"),
        pytest.param({"findings": (), "recovered": START}, id="recovery"),
    ],
)
async def test_what_is_new_is_written(world: World, change: dict[str, Any]) -> None:
    await world.keep(make_picture([BAD]))
    await world.keep(make_picture([(CLAIM, replace(HEALTH, **change))]))
    assert world.api.count("PATCH") == 2


async def test_a_change_that_the_record_does_not_show_is_not_written(world: World) -> None:
    await world.keep(make_picture([BAD]))
    await world.keep(make_picture([(CLAIM, replace(HEALTH, ignored=True))]))
    assert world.api.count("PATCH") == 1


async def test_pods_that_come_and_go_are_written(world: World) -> None:
    await world.keep(make_picture([BAD]))
    world.pods = [make_pod()]
    await world.keep(make_picture([BAD]))
    assert world.api.objects[PATH]["status"]["pods"] == ["orders-db-0"]


async def test_a_record_waits_for_its_event_so_that_one_write_tells_both(world: World) -> None:
    world.teller.busy, world.teller.told = True, None
    await world.keep(make_picture([BAD]))
    assert world.api.requests == []
    world.teller.busy, world.teller.told = False, START
    world.records.told(CLAIM.ref)
    await world.write()
    assert world.api.count("PATCH") == 1
    assert "lastNotifiedAt" in world.api.objects[PATH]["status"]["findings"][0]


async def test_a_record_whose_event_does_not_come_is_written_by_the_next_check(world: World) -> None:
    world.teller.busy = True
    await world.keep(make_picture([BAD]))
    world.teller.busy = False
    await world.keep(make_picture([BAD]))
    assert world.api.count("PATCH") == 1


async def test_when_retention_is_over_the_record_goes(world: World) -> None:
    await world.keep(make_picture([BAD]))
    await world.keep(make_picture([], others=[CLAIM]), seconds=20)
    assert PATH not in world.api.objects


async def test_the_record_of_a_claim_that_is_gone_goes_at_once(world: World) -> None:
    await world.keep(make_picture([BAD]))
    await world.keep(make_picture([]))
    assert PATH not in world.api.objects


async def test_a_hand_over_between_policies_keeps_the_record(world: World) -> None:
    other = make_policy("other")
    await world.keep(make_picture([BAD]))
    await world.keep(make_picture([], others=[CLAIM]))
    await world.keep(make_picture([BAD], policy=other), seconds=60)
    assert world.api.count("DELETE") == 0
    assert world.api.objects[PATH]["status"]["policy"] == "other"


async def test_a_deleted_policy_takes_its_records_back(world: World) -> None:
    await world.keep(make_picture([BAD]))
    world.records.forget("storage")
    await world.write(seconds=3)
    assert PATH not in world.api.objects


async def test_a_deleted_policy_whose_claims_another_takes_over_leaves_their_records(world: World) -> None:
    await world.keep(make_picture([BAD]))
    world.records.forget("storage")
    await world.write()
    await world.keep(make_picture([BAD], policy=make_policy("other")), seconds=60)
    assert world.api.count("DELETE") == 0
    assert world.api.objects[PATH]["status"]["policy"] == "other"


async def test_a_policy_deleted_while_the_operator_was_down_takes_its_records_back_too(world: World) -> None:
    await world.keep(make_picture([BAD]))
    world.restart()
    world.records.learn(world.view())
    world.records.sweep(world.view(), {"other"})
    await world.write()
    assert PATH not in world.api.objects


async def test_a_restart_writes_no_equal_record_again(world: World) -> None:
    await world.keep(make_picture([BAD]))
    world.restart()
    resumed = world.records.learn(world.view())
    health = resumed[CLAIM.ref].health
    assert health.findings == (make_finding(last_notified_at=START),)
    await world.keep(make_picture([(CLAIM, health)]))
    assert world.api.count("PATCH") == 1


async def test_a_record_that_somebody_deleted_is_written_again(world: World) -> None:
    await world.keep(make_picture([BAD]))
    del world.api.objects[PATH]
    world.records.sweep(world.view(), {"storage"})
    await world.write()
    assert PATH not in world.api.objects, "the view may only be a little late"
    world.clock.advance(minutes=2)
    world.records.sweep(world.view(), {"storage"})
    await world.write()
    assert PATH in world.api.objects


async def test_records_wait_for_a_crd_that_is_not_there(world: World) -> None:
    world.api.refuse = lambda *_: errors.NotFound("no such resource", status=404)
    await world.keep(make_picture([BAD]), seconds=130)
    assert 2 <= len(world.api.requests) <= 4
    world.api.refuse = lambda *_: None
    await world.write(70)
    assert PATH in world.api.objects


async def test_a_check_without_a_judgement_changes_nothing(world: World) -> None:
    await world.keep(make_picture([BAD]))
    await world.keep(replace(make_picture([]), judgement=None))
    assert PATH in world.api.objects
    assert len(world.api.requests) == 1
