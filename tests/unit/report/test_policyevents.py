"""Events on a policy: its own turns, grouped, few."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from support.fakeapi import FakeApi
from support.health import (
    DRIVER,
    START,
    SteppedClock,
    cleared,
    found,
    make_claim,
    make_driver,
    make_finding,
    make_health,
    make_policy,
    make_result,
)
from unit.report.scenes import pods_of, three_thousand_bad
from volumehealth.judge.partition import Silence
from volumehealth.judge.policy import Counts, DriverCounts
from volumehealth.judge.result import Agents, CheckResult
from volumehealth.judge.storage import Backend, StorageJudgement, StorageProblem
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.clock import date_and_time, rfc3339
from volumehealth.model.cluster import Claim, Namespace, SilenceAsked
from volumehealth.model.health import (
    STORAGE_DEGRADED,
    STORAGE_UNREACHABLE,
    ClaimHealth,
    ControllerConnection,
    HealthAPI,
    Source,
    SourceState,
)
from volumehealth.policy.silence import Silences
from volumehealth.report.eventobjects import EventSink
from volumehealth.report.policyevents import PolicyEventWriter
from volumehealth.report.problems import find_problems
from volumehealth.report.status import render_status
from volumehealth.report.storagestate import read_storage

pytestmark = pytest.mark.looptime

FINDING = make_finding()
CLAIMS = [make_claim(f"claim-{number}") for number in range(10)]


class World:
    """A PolicyEventWriter and the API server it writes to."""

    def __init__(self, api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> None:
        self.api, self.queue, self.clock = api, queue, clock
        self.restart()

    def restart(self) -> None:
        self.writer = PolicyEventWriter(EventSink(self.queue, clock=self.clock, observe=lambda *_: None))

    async def check(self, result: CheckResult) -> None:
        judgement = result.judgement
        if judgement is not None:
            judgement = replace(judgement, monotonic=self.clock.monotonic())
        result = replace(result, now=self.clock.now(), judgement=judgement)
        self.writer.tell(result, find_problems(result, pods_of))
        task = asyncio.create_task(self.queue.run())
        await self.queue.drain(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def messages(self, reason: str) -> list[str]:
        return [event["message"] for event in self.api.events(reason)]


@pytest.fixture
async def world(api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> World:
    return World(api, queue, clock)


def bad(number: int, *, new: int = 0) -> CheckResult:
    claims = CLAIMS[:number]
    return make_result(
        [(claim, make_health(claim, FINDING)) for claim in claims],
        turns=[found(claim, FINDING) for claim in claims[number - new :]],
        healthy=100,
    )


async def test_claims_that_become_unhealthy_together_are_one_event(world: World) -> None:
    await world.check(bad(2, new=2))
    (event,) = world.api.events()
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {
        "apiVersion": "volumehealth.dev/v1alpha1",
        "kind": "VolumeHealthPolicy",
        "name": "storage",
        "uid": "uid-storage",
    }
    assert (event["type"], event["reason"]) == ("Warning", "VolumesUnhealthy")
    assert event["message"] == (
        "2 claims of csi-powerstore.dellemc.com: Inaccessible/VolumeNotFound (Controller) since 23 Nov 03:02Z"
    )


async def test_a_problem_that_grows_raises_the_same_event_once_a_minute_at_most(world: World) -> None:
    await world.check(bad(1, new=1))
    for number in range(2, 10):
        world.clock.advance(seconds=10)
        await world.check(bad(number, new=1))
    (event,) = world.api.events()
    assert event["count"] == 2
    assert event["message"].startswith("7 claims of ")


async def test_what_grew_within_a_minute_is_told_after_it_though_nothing_more_is_found(world: World) -> None:
    await world.check(bad(1, new=1))
    world.clock.advance(seconds=20)
    await world.check(bad(9, new=8))
    for _ in range(20):
        world.clock.advance(seconds=20)
        await world.check(bad(9))
    (event,) = world.api.events()
    assert event["count"] == 2
    assert event["message"].startswith("9 claims of ")


async def test_a_wall_clock_that_is_set_back_keeps_no_growth_from_being_told(world: World) -> None:
    await world.check(bad(1, new=1))
    world.clock.set_wall(-timedelta(hours=5))
    world.clock.advance(seconds=70)
    await world.check(bad(9, new=8))
    (event,) = world.api.events()
    assert event["message"].startswith("9 claims of ")


async def test_problems_that_share_an_event_are_all_in_it(world: World) -> None:
    bad_ones: list[tuple[Claim, ClaimHealth]] = []
    for number, claim in enumerate(CLAIMS[:7]):
        finding = make_finding(reason=f"Reason{number}")
        bad_ones.append((claim, make_health(claim, finding)))
        await world.check(make_result(bad_ones, turns=[found(claim, finding)], healthy=100))
        world.clock.advance(seconds=10)
    world.clock.advance(seconds=60)
    await world.check(make_result(bad_ones, healthy=100))
    (shared,) = [words for words in world.messages("VolumesUnhealthy") if "more problem" in words]
    assert shared.startswith("4 more problems on 4 claims, worst ")


def silenced(result: CheckResult, *, minutes: float) -> CheckResult:
    """Return a check while its namespace is silenced."""
    until = rfc3339(START + timedelta(minutes=minutes))
    space = {"shop": Namespace("shop", {}, SilenceAsked(until, "", "uid-shop"))}
    return replace(result, silences=Silences({}, result.claims, space, {}))


async def test_what_is_still_wrong_at_the_end_of_a_silence_is_told_once(world: World) -> None:
    await world.check(silenced(bad(2, new=2), minutes=10))
    world.clock.advance(minutes=5)
    await world.check(silenced(bad(2), minutes=10))
    assert world.api.requests == []
    for _ in range(3):
        world.clock.advance(minutes=5)
        await world.check(silenced(bad(2), minutes=10))
    assert [event["count"] for event in world.api.events("VolumesUnhealthy")] == [1]


async def test_what_began_and_ended_within_a_silence_is_never_told(world: World) -> None:
    await world.check(silenced(bad(1, new=1), minutes=60))
    over = make_result(turns=[cleared(CLAIMS[0], FINDING)], others=CLAIMS, healthy=101)
    await world.check(silenced(over, minutes=60))
    assert world.api.requests == []


async def test_an_end_within_a_silence_of_what_was_told_before_it_is_told(world: World) -> None:
    await world.check(bad(1, new=1))
    over = make_result(turns=[cleared(CLAIMS[0], FINDING)], others=CLAIMS, healthy=101)
    await world.check(silenced(over, minutes=60))
    assert len(world.messages("VolumesHealthy")) == 1


async def test_a_problem_that_is_still_there_is_not_told_again(world: World) -> None:
    await world.check(bad(2, new=2))
    for _ in range(100):
        world.clock.advance(minutes=1)
        await world.check(bad(2))
    assert world.api.count("POST") == 1
    assert world.api.count("PATCH") == 0


async def test_what_was_there_before_a_restart_is_not_told_again(world: World) -> None:
    await world.check(bad(2, new=2))
    world.restart()
    await world.check(bad(2))
    assert len(world.api.requests) == 1


async def test_a_problem_that_comes_back_raises_its_event(world: World) -> None:
    await world.check(bad(1, new=1))
    world.clock.advance(minutes=5)
    await world.check(make_result(healthy=101))
    await world.check(bad(1, new=1))
    assert [event["count"] for event in world.api.events("VolumesUnhealthy")] == [2]


async def test_when_no_claim_is_unhealthy_any_more_it_is_told(world: World) -> None:
    await world.check(bad(1, new=1))
    turns = [cleared(CLAIMS[0], FINDING)]
    await world.check(make_result(turns=turns, others=CLAIMS, healthy=101))
    assert world.messages("VolumesHealthy") == ["none of 101 monitored claims is unhealthy any more"]


async def test_where_nothing_is_monitored_no_claim_is_said_to_be_one_of_none(world: World) -> None:
    """Faults H26: a Pod could not mount the volume of a driver without a health call, and can now."""
    await world.check(bad(1, new=1))
    over = make_result(
        [(CLAIMS[0], make_health(CLAIMS[0]))],
        turns=[cleared(CLAIMS[0], FINDING)],
        unmonitored={DRIVER: 1},
    )
    await world.check(over)
    assert world.messages("VolumesHealthy") == ["no claim is unhealthy any more; 1 not monitored"]


async def test_while_others_are_unhealthy_a_recovery_is_not_told_on_the_policy(world: World) -> None:
    await world.check(bad(2, new=2))
    result = bad(1)
    assert result.judgement is not None
    turns = (cleared(CLAIMS[1], FINDING),)
    await world.check(replace(result, judgement=replace(result.judgement, transitions=turns)))
    assert world.messages("VolumesHealthy") == []


async def test_many_problems_at_once_make_four_events(world: World) -> None:
    result = three_thousand_bad()
    assert result.judgement is not None
    turns = tuple(
        found(result.claims[ref], health.findings[0]) for ref, health in result.judgement.healths.items()
    )
    await world.check(replace(result, judgement=replace(result.judgement, transitions=turns)))
    assert len(world.api.events()) == 4
    said = world.messages("VolumesUnhealthy")
    assert any(words.startswith("9 more problems on 2250 claims, worst ") for words in said)


async def test_the_storage_of_one_driver_is_no_news_because_that_of_another_has_failed(world: World) -> None:
    """Faults E15: after a restart what was told before was told again with what was new."""
    finding = make_finding(
        source=Source.NODE, node="worker-1", status=STORAGE_UNREACHABLE, reason="StorageUnreachable"
    )
    old = StorageProblem(Backend("old.example.com", "worker-1"), finding, (), new=False)
    new = StorageProblem(Backend("new.example.com", "worker-1"), finding, (), new=True)
    await world.check(make_result(storage=StorageJudgement((old, new))))
    (message,) = world.messages("StorageUnhealthy")
    assert message.startswith("new.example.com on worker-1: ")


async def test_storage_that_many_nodes_see_is_told_once_however_often_the_operator_restarts(
    world: World,
) -> None:
    """Faults E15: a status names fifty nodes; the others were new to each process."""
    finding = make_finding(
        source=Source.NODE, node="worker-1", status=STORAGE_UNREACHABLE, reason="StorageUnreachable"
    )
    nodes = [f"worker-{number:03}" for number in range(140)]

    def seen(known: int, new: int) -> CheckResult:
        problems = (
            StorageProblem(Backend(DRIVER, node), replace(finding, node=node), (), new=place >= known)
            for place, node in enumerate(nodes[: known + new])
        )
        return make_result(storage=StorageJudgement(tuple(problems)))

    await world.check(seen(0, 140))
    for _ in range(3):
        world.restart()
        status = render_status(seen(140, 0), find_problems(seen(140, 0), pods_of), None)
        resumed = len(read_storage(status, now=world.clock.now()))
        await world.check(seen(resumed, 0))
        world.clock.advance(minutes=2)
        await world.check(seen(resumed, 140 - resumed))
    assert [event["count"] for event in world.api.events("StorageUnhealthy")] == [1]


def test_a_node_that_says_two_things_of_storage_is_gone_on_from_with_both() -> None:
    finding = make_finding(
        source=Source.NODE, node="worker-1", status=STORAGE_UNREACHABLE, reason="StorageUnreachable"
    )
    found = [finding, replace(finding, status=STORAGE_DEGRADED, reason="PathLost")]
    result = make_result(
        storage=StorageJudgement(
            tuple(StorageProblem(Backend(DRIVER, "worker-1"), one, (), new=False) for one in found)
        )
    )
    status = render_status(result, find_problems(result, pods_of), None)
    ((health, _),) = read_storage(status, now=START).values()
    assert {one.identity for one in health.findings} == {one.identity for one in found}


def silent(claim: Claim = CLAIMS[0]) -> CheckResult:
    since = SteppedClock().now()
    driver = replace(make_driver(state=SourceState.CIRCUIT_OPEN, message="DEADLINE_EXCEEDED"), since=since)
    counts = {DRIVER: DriverCounts(claims=3000, unknown=3000)}
    return make_result(drivers=[driver], judgement={"drivers": counts})


async def test_a_driver_that_fell_silent_is_told_after_unhealthy_after_and_its_return_at_once(
    world: World,
) -> None:
    for _ in range(5):
        await world.check(silent())
        world.clock.advance(seconds=45)
    assert world.messages("SourceSilent") == [
        "csi-powerstore.dellemc.com has not answered since 23 Nov 03:02Z (DEADLINE_EXCEEDED); 3000 claims Unknown"
    ]
    assert len(world.api.requests) == 1
    await world.check(make_result(drivers=[make_driver()]))
    assert world.messages("SourceAnswering") == ["csi-powerstore.dellemc.com answers again"]


@pytest.mark.parametrize("state", [SourceState.NOT_CONNECTED, SourceState.UNSUPPORTED, SourceState.ANSWERING])
async def test_a_silent_driver_that_nobody_asks_any_more_has_not_come_back(
    world: World, state: SourceState
) -> None:
    """Its check was switched off, or its endpoint is gone; what its nodes tell is no answer of its controller."""
    world.clock.advance(minutes=3)
    await world.check(silent())
    gone = make_driver(state=state, controller=ControllerConnection.NOT_CONNECTED)
    await world.check(make_result(drivers=[gone]))
    assert world.messages("SourceAnswering") == []


async def test_a_silent_driver_that_is_connected_anew_is_back_when_it_answers(world: World) -> None:
    world.clock.advance(minutes=3)
    await world.check(silent())
    await world.check(make_result(drivers=[make_driver(health_api=HealthAPI.NONE)]))
    assert world.messages("SourceAnswering") == []
    await world.check(make_result(drivers=[make_driver()]))
    assert world.messages("SourceAnswering") == ["csi-powerstore.dellemc.com answers again"]


async def test_what_a_prober_says_of_a_silent_driver_is_not_said_twice(world: World) -> None:
    said = "has not answered since 23 Nov 03:02Z (DEADLINE_EXCEEDED), next try 23 Nov 03:20Z"
    driver = replace(make_driver(state=SourceState.CIRCUIT_OPEN, message=said), since=world.clock.now())
    counts = {DRIVER: DriverCounts(claims=3000, unknown=2997, unhealthy=3)}
    bad = [
        (claim, make_health(claim, replace(FINDING, source=source, node=node, stale=stale)))
        for claim, (source, node, stale) in zip(
            CLAIMS,
            (
                (Source.CONTROLLER, "", True),
                (Source.CONTROLLER, "", False),  # an explicit answer still counts
                (Source.NODE, "worker-1", True),  # its agent is silent, too
            ),
            strict=False,
        )
    ]
    result = make_result(bad, drivers=[driver], judgement={"drivers": counts})
    for _ in range(5):
        await world.check(result)
        world.clock.advance(seconds=45)
    assert world.messages("SourceSilent") == [
        f"{DRIVER} {said}; 2997 claims Unknown; findings on 1 claim are stale"
    ]


async def test_a_driver_that_was_silent_for_a_moment_is_not_told(world: World) -> None:
    await world.check(silent())
    world.clock.advance(seconds=45)
    await world.check(make_result(drivers=[make_driver()]))
    assert world.api.requests == []


async def test_a_driver_that_is_still_silent_after_a_restart_is_not_told_again(world: World) -> None:
    world.clock.advance(minutes=3)
    await world.check(silent())
    world.restart()
    await world.check(silent())
    assert [event["count"] for event in world.api.events()] == [1]


@pytest.mark.parametrize("minutes", [3, 29, 45, 600])
async def test_a_driver_that_stays_silent_is_told_once_however_often_the_operator_restarts(
    world: World, minutes: int
) -> None:
    """Faults E15: what was silent before a process began is no news of it."""
    world.clock.advance(minutes=3)
    await world.check(silent())
    for _ in range(3):
        world.restart()
        world.clock.advance(minutes=minutes)
        since = world.clock.now()  # a process that begins anew does not know since when
        for _ in range(4):
            again = silent()
            driver = replace(again.drivers[DRIVER], since=since)
            await world.check(replace(again, drivers={DRIVER: driver}))
            world.clock.advance(seconds=60)
    assert [event["count"] for event in world.api.events("SourceSilent")] == [1]


async def test_a_driver_that_falls_silent_again_after_it_was_said_to_answer_is_told_again(
    world: World,
) -> None:
    """A live silence was told as over: the second one within half an hour was not told."""
    world.clock.advance(minutes=3)
    await world.check(silent())
    world.clock.advance(minutes=2)
    await world.check(make_result(drivers=[make_driver()]))
    world.clock.advance(minutes=2)
    again = silent()
    since = world.clock.now()
    again = replace(again, drivers={DRIVER: replace(again.drivers[DRIVER], since=since)})
    for _ in range(5):
        await world.check(again)
        world.clock.advance(minutes=1)
    assert [event["count"] for event in world.api.events("SourceSilent")] == [2]
    (last,) = world.messages("SourceSilent")
    assert date_and_time(since) in last


@pytest.mark.parametrize(
    "status",
    [
        {"drivers": "all", "agents": ["worker-1"]},
        {"drivers": [7, "x"], "agents": {"silentNames": 7}},
        {"drivers": None},
        None,
    ],
)
async def test_whatever_a_status_says_nobody_is_back_who_was_not_missed(
    world: World, status: dict[str, Any] | None
) -> None:
    world.writer.learn(make_policy(), status)
    await world.check(make_result(drivers=[make_driver()]))
    assert world.api.requests == []


async def test_what_was_silent_before_a_restart_is_told_when_it_is_back(world: World) -> None:
    """Faults E13: the last word on the policy was that it does not answer."""
    down = replace(silent(), agents=Agents(2, 1, ("worker-1",), {"worker-1": world.clock.now()}))
    world.clock.advance(minutes=3)
    await world.check(down)
    status = render_status(down, find_problems(down, pods_of), None)
    world.restart()
    world.writer.learn(make_policy(), status)
    world.writer.learn(make_policy(), {})  # what this process wrote since
    well = make_result(drivers=[make_driver()], agents=Agents(2, 2))
    for _ in range(3):
        await world.check(well)
    assert world.messages("SourceAnswering") == ["csi-powerstore.dellemc.com answers again"]
    assert world.messages("AgentReporting") == ["worker-1: reporting again, or not expected any more"]
    assert [event["count"] for event in world.api.events("SourceAnswering")] == [1]


async def test_a_driver_that_answered_in_between_is_told_again(world: World) -> None:
    world.clock.advance(minutes=3)
    await world.check(silent())
    world.restart()
    await world.check(make_result(drivers=[make_driver()]))
    world.clock.advance(minutes=45)
    await world.check(silent())
    assert [event["count"] for event in world.api.events("SourceSilent")] == [2]


async def test_an_agent_that_stays_missing_is_told_once_however_often_the_operator_restarts(
    world: World,
) -> None:
    for _ in range(4):
        world.restart()
        since = world.clock.now()  # of an agent that never reported nothing older is known
        for _ in range(5):
            missing = Agents(2, 1, ("worker-1",), {"worker-1": since})
            await world.check(make_result(agents=missing))
            world.clock.advance(minutes=1)
    assert [event["count"] for event in world.api.events("AgentSilent")] == [1]


async def test_an_agent_that_falls_silent_after_a_restart_is_told_beside_one_that_was_silent(
    world: World,
) -> None:
    long_ago = world.clock.now()
    world.clock.advance(minutes=10)
    await world.check(make_result(agents=Agents(2, 1, ("worker-1",), {"worker-1": long_ago})))
    world.restart()
    await world.check(make_result(agents=Agents(2, 1, ("worker-1",), {"worker-1": long_ago})))
    world.clock.advance(minutes=10)
    now_silent = {"worker-1": long_ago, "worker-2": world.clock.now()}
    world.clock.advance(minutes=3)
    await world.check(make_result(agents=Agents(2, 0, tuple(now_silent), now_silent)))
    assert [event["count"] for event in world.api.events("AgentSilent")] == [2]


async def test_a_silent_agent_is_told_with_its_own_claims_and_not_with_those_of_others(world: World) -> None:
    """Faults H26: numbers are those of the sentence."""
    mine, others = "the agent on worker-1 has not reported", "the controller agent has not reported"
    silences = {
        Silence("NotYetAsked", ""): 20,
        Silence("AgentSilent", mine): 2,
        Silence("AgentSilent", others): 7,
    }
    since = world.clock.now()
    world.clock.advance(minutes=10)
    counts = Counts(selected=37, healthy=8, unknown=29)
    silent_agent = Agents(2, 1, ("worker-1",), {"worker-1": since}, {"worker-1": mine})
    await world.check(make_result(judgement={"silences": silences, "counts": counts}, agents=silent_agent))
    (message,) = world.messages("AgentSilent")
    assert "; 2 claims Unknown" in message
