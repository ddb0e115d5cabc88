"""Events on claims and Pods: told once for each episode, reminded of rarely, never lost, never repeated."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from support.fakeapi import FakeApi
from support.health import (
    DRIVER,
    START,
    SteppedClock,
    cleared,
    found,
    make_claim,
    make_finding,
    make_health,
    make_pod,
    make_policy,
    make_result,
)
from volumehealth import errors
from volumehealth.cluster.objects import RawRecord
from volumehealth.judge.groups import DriverWide
from volumehealth.judge.policy import DriverCounts
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.cluster import Pod, SilenceAsked
from volumehealth.model.health import INACCESSIBLE, Source
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Events
from volumehealth.model.steps import at_once
from volumehealth.policy.silence import Silences
from volumehealth.report.eventobjects import EventSink
from volumehealth.report.events import EventWriter
from volumehealth.report.outbox import Outbox

pytestmark = pytest.mark.looptime

CLAIM, FINDING = make_claim(), make_finding()
BAD = (CLAIM, make_health(CLAIM, FINDING))
EVENTS = "/api/v1/namespaces/shop/events"
PVC, POD = "PersistentVolumeClaim", "Pod"


class World:
    """An EventWriter, the Pods it sees, and the API server it writes to."""

    def __init__(self, api: FakeApi, clock: SteppedClock) -> None:
        self.api = api
        self.clock = clock
        self.pods: list[Pod] = []
        self.outcomes: list[tuple[str, str]] = []
        self.looked_at: list[ClaimRef] = []
        self.restart()

    def restart(self) -> None:
        """Start the operator anew: everything in memory is gone."""
        self.outbox = Outbox(clock=self.clock)
        self.queue = WriteQueue(self.api, random=Random(1), observe=lambda *_: None)
        sink = EventSink(
            self.queue,
            clock=self.clock,
            observe=lambda reason, result: self.outcomes.append((reason, result)),
        )
        self.events = EventWriter(
            sink,
            clock=self.clock,
            pods_of=self.pods_of,
            outbox=self.outbox,
        )

    def pods_of(self, ref: ClaimRef) -> list[Pod]:
        self.looked_at.append(ref)
        return [pod for pod in self.pods if ref.name in pod.claims]

    async def settle(self, *healths: object, **changes: object) -> None:
        """Check three times: the first tells, the second sees that it was told, the third looks at nothing."""
        for _ in range(2):
            await self.check(self.result(*healths, **changes))
        self.looked_at.clear()
        await self.check(self.result(*healths, **changes))
        assert self.looked_at == []

    async def check(self, result: CheckResult, *, seconds: float = 300) -> None:
        """Tell what a check found, and let the writes go out."""
        self.publish(result)
        await self.write(seconds)

    def publish(self, result: CheckResult) -> None:
        """Publish a check whose record is on the server."""
        at_once(self.outbox.enter(result))
        for ref in result.claims:
            self.outbox.unrecordable(ref)
        list(self.events.publish(result))

    async def wait(self, seconds: float) -> None:
        """Let time pass in which writes that were refused are tried again."""
        task = asyncio.create_task(self.queue.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def write(self, seconds: float = 300) -> None:
        task = asyncio.create_task(self.queue.run())
        await self.queue.drain(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def result(self, *healths: object, **changes: object) -> CheckResult:
        return make_result(healths, now=self.clock.now(), **changes)  # type: ignore[arg-type]


@pytest.fixture
async def world(api: FakeApi, clock: SteppedClock) -> World:
    return World(api, clock)


async def test_a_finding_is_told_on_the_claim_and_on_each_of_its_pods(world: World) -> None:
    world.pods = [make_pod("orders-db-0"), make_pod("orders-db-1", node="worker-3")]
    await world.check(world.result(BAD, turns=[found(*BAD[:1], FINDING)]))
    assert len(world.api.events("VolumeConditionAbnormal", about=PVC)) == 1
    pods = world.api.events("VolumeConditionAbnormal", about=POD)
    assert {event["involvedObject"]["name"] for event in pods} == {"orders-db-0", "orders-db-1"}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_an_event_that_meets_a_conflict_and_is_not_there_costs_a_few_requests_an_hour(
    world: World, method: str
) -> None:
    """Faults D11: what answers so is a quota, or something on the way."""
    if method == "PATCH":
        await world.check(world.result(BAD))
    world.api.refuse = lambda asked, _: errors.Conflict("try again", status=409) if asked == method else None
    before = len(world.api.requests)
    world.clock.advance(minutes=31)
    for _ in range(240):
        world.publish(world.result(BAD))
        await world.wait(15)
    assert len(world.api.requests) - before <= 40
    world.api.refuse = lambda *_: None
    await world.wait(720)
    world.publish(world.result(BAD))
    await world.wait(720)
    (event,) = world.api.events()
    assert event["count"] == (2 if method == "PATCH" else 1)


async def test_an_event_is_one_that_kubernetes_takes_and_kubectl_shows_on_the_object(world: World) -> None:
    await world.check(world.result(BAD))
    (event,) = world.api.events()
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event["metadata"]["name"], "namespace": "shop"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": PVC,
            "namespace": "shop",
            "name": "orders-db",
            "uid": "uid-shop-orders-db",
        },
        "type": "Warning",
        "reason": "VolumeConditionAbnormal",
        "message": "Inaccessible/VolumeNotFound (Controller): csi-powerstore.dellemc.com says: the volume is not found "
        "on the array; since 23 Nov 03:02Z; no Pod uses it; see: kubectl describe vh orders-db -n shop",
        "action": "Found",
        "count": 1,
        "firstTimestamp": "2026-11-23T03:02:11Z",
        "lastTimestamp": "2026-11-23T03:02:11Z",
        "source": {"component": "volumehealth"},
        "reportingComponent": "volumehealth",
        "reportingInstance": "volumehealth",
    }


async def test_further_checks_that_say_the_same_write_nothing(world: World) -> None:
    world.pods = [make_pod()]
    for _ in range(10):
        await world.check(world.result(BAD))
        world.clock.advance(minutes=1)
    assert len(world.api.requests) == 2


async def test_what_was_told_is_looked_at_again_once_its_reminder_is_due(world: World) -> None:
    await world.settle(BAD)
    world.clock.advance(minutes=29)
    await world.check(world.result(BAD))
    assert world.looked_at == []
    world.clock.advance(minutes=1)
    await world.check(world.result(BAD))
    assert [event["count"] for event in world.api.events()] == [2]


async def test_what_was_told_is_looked_at_again_when_the_policy_wants_reminders_sooner(world: World) -> None:
    await world.settle(BAD)
    world.clock.advance(minutes=6)
    sooner = make_policy(events=Events(remind_every=timedelta(minutes=5)))
    await world.check(world.result(BAD, policy=sooner))
    assert [event["count"] for event in world.api.events()] == [2]


async def test_what_was_told_is_looked_at_again_after_the_clock_was_set_back(world: World) -> None:
    """Faults B6: else the Event would have expired by the time at which its reminder is due."""
    await world.settle(BAD)
    world.clock.set_wall(timedelta(hours=-1))
    world.clock.advance(minutes=1)
    await world.check(world.result(BAD))
    assert [event["count"] for event in world.api.events()] == [2]


async def test_pods_are_told_when_a_problem_is_not_the_whole_drivers_any_more(world: World) -> None:
    world.pods = [make_pod()]
    await world.settle(BAD, wide=[_wide(100)])
    assert world.api.events(about=POD) == []
    await world.check(world.result(BAD))
    assert len(world.api.events("VolumeConditionAbnormal", about=POD)) == 1


async def test_a_pod_that_comes_to_a_claim_of_which_everything_was_told_is_told(world: World) -> None:
    await world.settle(BAD)
    world.pods.append(make_pod())
    world.events.look_again([CLAIM.ref])
    await world.check(world.result(BAD))
    assert len(world.api.events("VolumeConditionAbnormal", about=POD)) == 1


async def test_a_reminder_raises_the_count_of_the_same_event_with_one_request(world: World) -> None:
    world.pods = [make_pod()]
    for _ in range(65):
        await world.check(world.result(BAD))
        world.clock.advance(minutes=1)
    assert [event["count"] for event in world.api.events()] == [3, 3]
    assert world.api.count("GET") == 0
    assert {event["lastTimestamp"] for event in world.api.events()} == {"2026-11-23T04:02:11Z"}
    assert {event["firstTimestamp"] for event in world.api.events()} == {"2026-11-23T03:02:11Z"}


async def test_a_reminder_makes_an_expired_event_again_and_goes_on_counting(world: World) -> None:
    await world.check(world.result(BAD))
    world.api.objects.clear()
    world.clock.advance(minutes=31)
    await world.check(world.result(BAD))
    (event,) = world.api.events()
    assert event["count"] == 2
    assert event["firstTimestamp"] == "2026-11-23T03:02:11Z"


async def test_a_wall_clock_that_is_set_back_delays_no_word_until_its_event_has_expired(world: World) -> None:
    """Faults B6: neither the first word, where the record cannot be written, nor a reminder."""
    bad = world.result(BAD, turns=[found(CLAIM, FINDING)])
    at_once(world.outbox.enter(bad))
    world.clock.set_wall(timedelta(hours=-1))
    world.clock.advance(seconds=11)
    list(world.events.publish(replace(bad, now=world.clock.now())))
    await world.write()
    assert [event["count"] for event in world.api.events()] == [1]
    world.clock.set_wall(timedelta(hours=-1))
    for _ in range(20):
        world.clock.advance(minutes=1)
        await world.check(world.result(BAD))
    assert [event["count"] for event in world.api.events()] == [2]


async def test_after_a_restart_what_was_told_lately_is_not_asked_about(world: World) -> None:
    await world.check(world.result(BAD))
    world.restart()
    world.api.requests.clear()
    told = (CLAIM, make_health(CLAIM, make_finding(last_notified_at=START)))
    world.clock.advance(minutes=5)
    await world.check(world.result(told))
    assert world.api.requests == []


async def test_after_a_restart_a_pod_that_knows_is_not_told_again(world: World) -> None:
    world.pods = [make_pod()]
    await world.check(world.result(BAD))
    world.restart()
    world.clock.advance(minutes=5)
    await world.check(world.result((CLAIM, make_health(CLAIM, make_finding(last_notified_at=START)))))
    assert [event["count"] for event in world.api.events()] == [1, 1]


async def test_after_a_crash_before_the_record_was_written_nothing_is_told_twice(world: World) -> None:
    await world.check(world.result(BAD))
    world.restart()
    world.clock.advance(minutes=1)
    await world.check(world.result(BAD))
    assert [event["count"] for event in world.api.events()] == [1]
    assert world.outcomes[-1] == ("VolumeConditionAbnormal", "Existing")


async def test_after_a_restart_the_next_reminder_raises_the_count_that_is_there(world: World) -> None:
    await world.check(world.result(BAD))
    world.restart()
    world.clock.advance(minutes=31)
    await world.check(world.result((CLAIM, make_health(CLAIM, make_finding(last_notified_at=START)))))
    assert [event["count"] for event in world.api.events()] == [2]


async def test_an_answer_that_got_lost_makes_no_second_event(world: World) -> None:
    world.api.lose_answers = 1
    await world.check(world.result(BAD))
    assert [event["count"] for event in world.api.events()] == [1]
    assert world.api.count("POST") == 2


async def test_a_reminder_whose_answer_got_lost_counts_once(world: World) -> None:
    await world.check(world.result(BAD))
    world.clock.advance(minutes=31)
    world.api.lose_answers = 1
    await world.check(world.result(BAD))
    assert [event["count"] for event in world.api.events()] == [2]


async def test_recovery_is_told_as_a_normal_event_on_the_claim_and_its_pods(world: World) -> None:
    world.pods = [make_pod()]
    await world.check(world.result(BAD))
    world.clock.advance(minutes=41)
    turn = cleared(CLAIM, FINDING, at=world.clock.now())
    await world.check(world.result((CLAIM, make_health(CLAIM, recovered=world.clock.now())), turns=[turn]))
    normal = world.api.events("VolumeConditionNormal")
    assert {event["involvedObject"]["kind"] for event in normal} == {PVC, POD}
    assert {event["type"] for event in normal} == {"Normal"}
    assert (
        normal[0]["message"]
        == "Inaccessible/VolumeNotFound (Controller): PVC orders-db: not reported any more; lasted "
        "41m, 23 Nov 03:02Z to 23 Nov 03:43Z; no other finding; see: kubectl describe vh orders-db -n shop"
    )


async def test_an_end_that_is_told_while_a_check_is_being_published_is_told_once(world: World) -> None:
    other, others = make_claim("other"), make_finding()
    bad = (other, make_health(other, others))
    await world.check(world.result(BAD, bad, turns=[found(CLAIM, FINDING), found(other, others)]))
    well = world.result(
        (CLAIM, make_health(CLAIM)),
        (other, make_health(other)),
        turns=[cleared(CLAIM, FINDING), cleared(other, others)],
    )
    world.publish(well)
    for _ in world.events.publish(well):
        await world.write()
    assert [event["count"] for event in world.api.events("VolumeConditionNormal", about=PVC)] == [1, 1]


async def test_a_new_episode_is_a_new_event(world: World) -> None:
    await world.check(world.result(BAD))
    gone = make_health(CLAIM, recovered=START)
    await world.check(world.result((CLAIM, gone), turns=[cleared(CLAIM, FINDING)]))
    await world.check(world.result((CLAIM, make_health(CLAIM, make_finding(episode=2)))))
    assert [event["count"] for event in world.api.events("VolumeConditionAbnormal")] == [1, 1]


async def test_an_end_comes_after_its_beginning_however_long_that_takes(world: World) -> None:
    """Each object's last word is the newest, though the beginning could not be told in time."""
    world.pods = [make_pod()]
    refused = errors.ApiError("not now", status=500)
    world.api.refusals = [refused, refused]
    turn = cleared(CLAIM, FINDING)
    world.publish(world.result((CLAIM, make_health(CLAIM, recovered=START)), turns=[turn]))
    await world.wait(60)
    for kind in (PVC, POD):
        reasons = [event["reason"] for event in world.api.events(about=kind)]
        assert reasons == ["VolumeConditionAbnormal", "VolumeConditionNormal"]


async def test_what_came_back_is_told_after_its_last_end(world: World) -> None:
    world.pods = [make_pod()]
    await world.check(world.result(BAD))
    refused = errors.ApiError("not now", status=500)
    world.api.refusals = [refused, refused]
    world.publish(world.result((CLAIM, make_health(CLAIM, recovered=START)), turns=[cleared(CLAIM, FINDING)]))
    again = make_health(CLAIM, make_finding(episode=2))
    world.publish(world.result((CLAIM, again)))
    await world.wait(60)
    for kind in (PVC, POD):
        reasons = [event["reason"] for event in world.api.events(about=kind)]
        assert reasons == ["VolumeConditionAbnormal", "VolumeConditionNormal", "VolumeConditionAbnormal"]


async def test_a_claim_made_anew_under_the_old_name_is_told_anew(world: World) -> None:
    await world.check(world.result(BAD))
    anew = replace(CLAIM, uid="another-uid")
    await world.check(world.result((anew, make_health(anew, FINDING))))
    assert len(world.api.events(about=PVC)) == 2


async def test_a_pod_that_comes_to_an_unhealthy_claim_later_is_told_once(world: World) -> None:
    await world.check(world.result(BAD))
    world.pods = [make_pod("late")]
    world.clock.advance(minutes=3)
    for _ in range(3):
        await world.check(world.result(BAD))
    assert [event["involvedObject"]["name"] for event in world.api.events(about=POD)] == ["late"]


async def test_a_nodes_finding_is_told_to_the_pods_on_that_node_only(world: World) -> None:
    world.pods = [make_pod("here", node="worker-2"), make_pod("there", node="worker-3")]
    finding = make_finding(source=Source.NODE, node="worker-2")
    await world.check(world.result((CLAIM, make_health(CLAIM, finding))))
    (event,) = world.api.events(about=POD)
    assert event["involvedObject"]["name"] == "here"
    assert event["message"].startswith("Inaccessible/VolumeNotFound (Node worker-2): ")


async def test_a_finished_pod_is_told_nothing(world: World) -> None:
    world.pods = [replace(make_pod(), phase="Succeeded")]
    await world.check(world.result(BAD))
    assert world.api.events(about=POD) == []


async def test_two_policies_that_hand_a_claim_over_tell_it_once(world: World) -> None:
    await world.check(world.result(BAD))
    await world.check(world.result(BAD, policy=make_policy("other")))
    assert len(world.api.requests) == 1


async def test_an_event_whose_namespace_is_going_is_let_go(world: World) -> None:
    world.api.refusals = [errors.Forbidden("because it is being terminated", status=403)]
    for _ in range(3):
        await world.check(world.result(BAD))
    assert len(world.api.requests) == 1


async def test_a_burst_over_an_api_server_that_is_away_loses_no_event_and_repeats_none(world: World) -> None:
    claims = [make_claim(f"claim-{number}") for number in range(1000)]
    bad = [(claim, make_health(claim, FINDING)) for claim in claims]
    world.api.away = True
    asyncio.get_running_loop().call_later(40, setattr, world.api, "away", False)
    for _ in range(5):
        await world.check(world.result(*bad, healthy=9000), seconds=10)
        world.clock.advance(seconds=10)
    await world.write()
    assert len(world.api.events(about=PVC)) == 1000
    assert len(world.api.requests) == 1000


def _wide(number: int) -> DriverWide:
    return DriverWide(
        DRIVER,
        Source.CONTROLLER,
        INACCESSIBLE,
        "VolumeNotFound",
        number,
        number,
        1,
        START,
        "the array is gone",
    )


async def test_a_driver_wide_problem_leaves_pods_alone_and_paces_the_claims(world: World) -> None:
    claims = [make_claim(f"claim-{number}") for number in range(100)]
    world.pods = [make_pod(f"pod-{number}", claim=f"claim-{number}") for number in range(100)]
    bad = [(claim, make_health(claim, FINDING)) for claim in claims]
    start = asyncio.get_running_loop().time()
    await world.check(world.result(*bad, wide=[_wide(100)]))
    assert len(world.api.events(about=PVC)) == 100
    assert world.api.events(about=POD) == []
    assert asyncio.get_running_loop().time() - start > 1


async def test_when_it_is_over_for_the_whole_driver_pods_are_left_alone_too(world: World) -> None:
    claims = [make_claim(f"claim-{number}") for number in range(100)]
    world.pods = [make_pod(f"pod-{number}", claim=f"claim-{number}") for number in range(100)]
    turns = [cleared(claim, FINDING) for claim in claims]
    counts = {DRIVER: DriverCounts(claims=100, healthy=100)}
    await world.check(world.result(others=claims, turns=turns, judgement={"drivers": counts}))
    assert len(world.api.events("VolumeConditionNormal", about=PVC)) == 100
    assert world.api.events(about=POD) == []


async def test_the_record_learns_when_people_were_told_last(world: World) -> None:
    assert world.events.last_notified(CLAIM.ref, CLAIM.uid, FINDING) is None
    await world.check(world.result(BAD))
    assert world.events.last_notified(CLAIM.ref, CLAIM.uid, FINDING) == START
    for _ in range(40):
        world.clock.advance(minutes=1)
        await world.check(world.result(BAD))
    assert world.events.last_notified(CLAIM.ref, CLAIM.uid, FINDING) == START + timedelta(minutes=30)


async def test_a_deleted_policys_claims_are_forgotten_in_silence(world: World) -> None:
    await world.check(world.result(BAD))
    at_once(world.events.forget(make_policy()))
    await world.write()
    assert len(world.api.requests) == 1
    world.events.sweep({}, [])  # their records are gone
    assert world.events.last_notified(CLAIM.ref, CLAIM.uid, FINDING) is None


LATER = Events(remind_every=timedelta(hours=6))


@pytest.mark.parametrize("left", ["deleted", "relabelled"])
@pytest.mark.parametrize("holder", ["storage", "next"])
async def test_a_claim_that_goes_to_a_policy_is_not_told_again_though_its_event_has_expired(
    world: World, left: str, holder: str
) -> None:
    """Faults C7: a hand-over makes no Event, and its record goes on saying when people were told."""
    world.pods = [make_pod()]
    policy = make_policy(events=LATER)
    await world.check(world.result(BAD, policy=policy))
    told = world.events.last_notified(CLAIM.ref, CLAIM.uid, FINDING)
    assert told is not None
    world.clock.advance(hours=2)
    world.api.objects.clear()
    if left == "deleted":
        at_once(world.events.forget(policy))
    else:
        await world.check(world.result(others=[CLAIM], policy=policy))
    world.events.sweep({CLAIM.ref: RawRecord(CLAIM.ref, "", CLAIM.uid, {}, b"")}, [])
    assert world.events.last_notified(CLAIM.ref, CLAIM.uid, FINDING) == told
    await world.check(world.result(BAD, policy=make_policy(holder, events=LATER)))
    assert world.api.events() == []
    world.clock.advance(hours=5)
    await world.check(world.result(BAD, policy=make_policy(holder, events=LATER)))
    assert [event["count"] for event in world.api.events()] == [2, 2]


async def test_an_end_that_a_deleted_policy_owed_is_told_by_the_policy_that_holds_the_claim_next(
    world: World,
) -> None:
    """Faults C7 and E13: a mass recovery is told over minutes, and the policy may be replaced meanwhile."""
    await world.check(world.result(BAD, turns=[found(CLAIM, FINDING)]))
    well = (CLAIM, make_health(CLAIM, recovered=START))
    world.publish(world.result(well, turns=[cleared(CLAIM, FINDING)]))
    at_once(world.events.forget(make_policy()))
    await world.write()
    assert world.api.events("VolumeConditionNormal") == []
    await world.check(world.result(well, policy=make_policy("next")))
    assert len(world.api.events("VolumeConditionNormal")) == 1


async def test_a_frozen_finding_says_in_its_reminder_that_it_is_not_confirmed(world: World) -> None:
    await world.check(world.result(BAD))
    world.clock.advance(minutes=31)
    await world.check(world.result((CLAIM, make_health(CLAIM, make_finding(stale=True)))))
    (event,) = world.api.events()
    assert "(not confirmed now: this source does not respond)" in event["message"]


def test_reminders_are_shorter_than_the_life_of_an_event() -> None:
    assert make_result().policy.spec.events.remind_every < timedelta(hours=1)


def silenced(hours: float = 1.0) -> Silences:
    """Have the claim silenced for a while."""
    until = START + timedelta(hours=hours)
    asked = SilenceAsked(f"{until:%Y-%m-%dT%H:%M:%SZ}", "array work", "uid")
    return Silences({CLAIM.ref: asked}, {CLAIM.ref: CLAIM}, {}, {})


async def test_a_silenced_claim_has_no_event_and_what_is_still_wrong_at_the_end_is_told_once(
    world: World,
) -> None:
    world.pods = [make_pod()]
    quiet = silenced()
    for _ in range(3):
        world.clock.advance(minutes=15)
        await world.check(world.result(BAD, turns=[found(*BAD[:1], FINDING)], silences=quiet))
    assert world.api.events() == []
    for _ in range(3):
        world.clock.advance(minutes=9)
        await world.check(world.result(BAD, silences=quiet))
    assert len(world.api.events("VolumeConditionAbnormal", about=PVC)) == 1
    assert len(world.api.events("VolumeConditionAbnormal", about=POD)) == 1
    assert {event["count"] for event in world.api.events()} == {1}


async def test_what_begins_and_ends_within_a_silence_is_never_told(world: World) -> None:
    quiet = silenced()
    await world.check(world.result(BAD, turns=[found(*BAD[:1], FINDING)], silences=quiet))
    well = (CLAIM, make_health(CLAIM))
    world.clock.advance(minutes=10)
    await world.check(world.result(well, turns=[cleared(CLAIM, FINDING)], silences=quiet))
    world.clock.advance(hours=2)
    await world.check(world.result(well, silences=quiet))
    assert world.api.events() == []
    assert list(world.outbox.dues_of("Events")) == []


async def test_a_recovery_from_what_was_told_before_the_silence_is_told_after_it(world: World) -> None:
    asked: dict[ClaimRef, SilenceAsked] = {}  # a live view, as everywhere
    quiet = Silences(asked, {CLAIM.ref: CLAIM}, {}, {})
    await world.check(world.result(BAD, turns=[found(*BAD[:1], FINDING)], silences=quiet))
    asked[CLAIM.ref] = SilenceAsked("2026-11-23T04:02:11Z", "", "uid")
    well = (CLAIM, make_health(CLAIM))
    world.clock.advance(minutes=10)
    await world.check(world.result(well, turns=[cleared(CLAIM, FINDING)], silences=quiet))
    assert world.api.events("VolumeConditionNormal") == []
    world.clock.advance(hours=1)
    await world.check(world.result(well, silences=quiet))
    assert len(world.api.events("VolumeConditionNormal", about=PVC)) == 1


async def test_a_silence_that_is_written_during_an_outage_reminds_nobody(world: World) -> None:
    await world.check(world.result(BAD, turns=[found(*BAD[:1], FINDING)]))
    for _ in range(4):
        world.clock.advance(minutes=31)
        await world.check(world.result(BAD, silences=silenced(24)))
    (event,) = world.api.events(about=PVC)
    assert event["count"] == 1


@pytest.mark.parametrize("recovers", [False, True])
async def test_what_waits_to_be_written_when_a_silence_begins_is_not_written_while_it_holds(
    world: World, recovers: bool
) -> None:
    """An outage of the API server, or a mass incident, makes Events wait for minutes."""
    asked: dict[ClaimRef, SilenceAsked] = {}
    quiet = Silences(asked, {CLAIM.ref: CLAIM}, {}, {})
    world.pods = [make_pod()]
    if recovers:
        await world.check(world.result(BAD, turns=[found(CLAIM, FINDING)], silences=quiet))
        state = (CLAIM, make_health(CLAIM, recovered=START))
        world.publish(world.result(state, turns=[cleared(CLAIM, FINDING)], silences=quiet))
    else:
        state = BAD
        world.publish(world.result(state, turns=[found(CLAIM, FINDING)], silences=quiet))
    reason = "VolumeConditionNormal" if recovers else "VolumeConditionAbnormal"
    asked[CLAIM.ref] = SilenceAsked("2026-11-23T04:02:11Z", "", "uid")
    for _ in range(3):
        await world.write()
        world.clock.advance(minutes=10)
        world.publish(world.result(state, silences=quiet))
    assert world.api.events(reason) == []
    world.clock.advance(hours=1)
    for _ in range(3):
        await world.check(world.result(state, silences=quiet))
    assert [event["count"] for event in world.api.events(reason)] == [1, 1]


async def test_what_ends_on_many_nodes_is_told_on_each_and_costs_no_more_for_that_than_as_many_claims(
    world: World,
) -> None:
    number = 60
    nodes = [f"worker-{one}" for one in range(number + 1)]
    world.pods = [make_pod(f"web-{node}", node=node) for node in nodes]
    findings = [make_finding(source=Source.NODE, node=node) for node in nodes]
    bad = (CLAIM, make_health(CLAIM, *findings))
    await world.check(world.result(bad, turns=[found(CLAIM, one) for one in findings]))
    world.looked_at.clear()
    left = (CLAIM, make_health(CLAIM, findings[-1]))
    await world.check(world.result(left, turns=[cleared(CLAIM, one) for one in findings[:-1]]))
    await world.check(world.result(left))
    assert len(world.api.events("VolumeConditionNormal", about=POD)) == number
    assert len(world.api.events("VolumeConditionNormal", about=PVC)) == number
    assert len(world.looked_at) < 10 * number
