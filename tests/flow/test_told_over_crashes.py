"""An operator that is killed after any single write: nothing that people were to be told is lost, nothing repeated.

In: a driver whose volumes go bad and recover, judged by the real Checker. Out: what the real Reporter wrote to an API
server in memory, that stops answering after the n-th write: as after SIGKILL the write is done, and nobody knows.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from support.fakeapi import FakeApi
from support.health import DRIVER, START, SteppedClock, make_claim, make_driver, make_pod
from support.pipeline import PlainPipeline
from support.planes import PlainCluster
from volumehealth import errors
from volumehealth.cluster.objects import RawRecord
from volumehealth.judge.result import CheckResult
from volumehealth.model.health import Answer, Condition, DriverAnswers, Outcome, Source
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import at_once
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter

pytestmark = pytest.mark.looptime

PATH = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/storage"
BAD = Condition("Inaccessible", "VolumeOffline", "the array says no")


class MortalApi(FakeApi):
    """An API server whose client is killed: after so many writes none is answered, and none more arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None
        self.client_is_dead = False
        self.told: list[tuple[str, bool]] = []
        """Claims in the order in which they were told, and whether there was a record."""

    async def request(self, method: str, path: str, **how: Any) -> bytes:
        if self.client_is_dead:
            await asyncio.Event().wait()
        if method != "GET" and self.writes_left is not None:
            self.writes_left -= 1
            self.client_is_dead = self.writes_left < 0
        answer = await super().request(method, path, **how)
        about = how["body"].get("involvedObject", {}) if method == "POST" else {}
        if about.get("kind") == "PersistentVolumeClaim":
            records = {one["metadata"]["name"] for one in self.of_kind("VolumeHealth")}
            self.told.append((about["name"], about["name"] in records))
        if self.client_is_dead:
            await asyncio.Event().wait()
        return answer


class OneDriver:
    """A driver that lists its volumes: those in `bad` are bad."""

    unresolved: tuple[str, ...] = ()

    def __init__(self, clock: SteppedClock, handles: Collection[str]) -> None:
        self.clock = clock
        self.handles = frozenset(handles)
        self.bad: frozenset[str] = frozenset()

    def demand(self, wanted: dict[str, ProbeSpec]) -> None:
        """It is asked about everything."""

    def answers(self) -> dict[str, DriverAnswers]:
        now = self.clock.now()
        adverse = Answer(Source.CONTROLLER, Outcome.ADVERSE, now, conditions=(BAD,))
        silence = Answer(Source.CONTROLLER, Outcome.SILENT, now, reason="NotYetAsked")
        others = dict.fromkeys(self.bad, adverse)
        return {DRIVER: DriverAnswers(make_driver(), now, self.handles - self.bad, others, silence)}


class World:
    """A cluster whose claims each have two Pods, an operator, and the API server that it writes to."""

    def __init__(self, claims: int, **spec: Any) -> None:
        self.clock = SteppedClock()
        self.policy = Policy("storage", "uid-storage", 1, START, PolicySpec(**spec))
        self.cluster = PlainCluster(self.clock)
        self.claims = [make_claim(f"c{number}") for number in range(claims)]
        for claim in self.claims:
            self.cluster.add(claim)
            for pod in "ab":
                self.cluster.run(make_pod(f"{claim.ref.name}-{pod}", claim=claim.ref.name))
        self.driver = OneDriver(self.clock, [claim.handle for claim in self.claims])
        self.api = MortalApi()
        self.restarts = 0
        self.writes_in_a_life: int | None = None
        self.running: asyncio.Task[None] | None = None
        self.policy_exists()

    def policy_exists(self, uid: str = "uid-storage") -> None:
        self.api.objects[PATH] = {"metadata": {"name": "storage", "uid": uid}}

    def records(self) -> dict[ClaimRef, RawRecord]:
        """What the view shows."""
        return {
            ClaimRef(one["metadata"]["namespace"], one["metadata"]["name"]): RawRecord(
                ClaimRef(one["metadata"]["namespace"], one["metadata"]["name"]),
                "uid",
                one["metadata"]["ownerReferences"][0]["uid"],
                one["metadata"]["labels"],
                msgspec.json.encode(one["status"]),
                version=int(one["metadata"]["resourceVersion"]),
            )
            for one in self.api.of_kind("VolumeHealth")
        }

    def start(self) -> None:
        """Start an operator that remembers nothing but what the server has."""
        self.api.client_is_dead = False
        self.checker = PlainPipeline.of_controllers(self.cluster, self.driver, self.clock)  # type: ignore[arg-type]
        self.reporter = Reporter(
            self.api, clock=self.clock, random=Random(1), metrics=Metrics(), pods_of=self.cluster.pods_of
        )
        self.checker.follow({self.policy.uid: self.policy}, None)
        healths = at_once(self.reporter.resume(self.records())).get("storage", {})
        self.checker.resume({self.policy.uid: healths}, [DRIVER])
        at_once(self.reporter.sweep(self.records(), {"storage"}))
        self.running = asyncio.create_task(self.reporter.run())

    async def kill(self) -> None:
        assert self.running is not None
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running

    async def check(self) -> None:
        """Check once, and live for thirty seconds; an operator that died is started again first."""
        if self.running is None:
            self.start()
        elif self.api.client_is_dead:
            self.restarts += 1
            await self.kill()
            self.api.writes_left = self.writes_in_a_life
            self.start()
        self.clock.advance(seconds=30)
        self.checker.follow({self.policy.uid: self.policy}, None)
        checked = self.checker.check(self.policy)
        at_once(self.reporter.sweep(self.records(), {"storage"}))
        raw = self.api.objects[PATH]
        self.reporter.report(
            checked,
            previous_status=raw.get("status"),
            version=int(raw["metadata"].get("resourceVersion", 0)),
        )
        await asyncio.sleep(30)

    async def checks(self, number: int) -> None:
        for _ in range(number):
            await self.check()

    async def story(self, bad: Sequence[int]) -> None:
        """All is well, some volumes go bad, and recover."""
        await self.checks(2)
        self.driver.bad = frozenset(self.claims[number].handle for number in bad)
        await self.checks(8)
        self.driver.bad = frozenset()
        await self.checks(8)

    def told(self) -> Counter[tuple[str, str]]:
        """Return what was told on claims and Pods, as (reason, `Kind/name`), counted with Events' own counts."""
        told: Counter[tuple[str, str]] = Counter()
        for event in self.api.of_kind("Event"):
            about = event["involvedObject"]
            if about["kind"] != "VolumeHealthPolicy":
                told[event["reason"], f"{about['kind']}/{about['name']}"] += event["count"]
        return told


def once_each(claims: Sequence[int], *, pods: bool = True) -> Counter[tuple[str, str]]:
    names = [f"PersistentVolumeClaim/c{number}" for number in claims]
    names += [f"Pod/c{number}-{pod}" for number in claims for pod in "ab" if pods]
    return Counter({(f"VolumeCondition{edge}", name): 1 for edge in ("Abnormal", "Normal") for name in names})


AT_ONCE = {"unhealthy_after": timedelta(0), "healthy_after": timedelta(0)}
SLOWLY = {"unhealthy_after": timedelta(seconds=60), "healthy_after": timedelta(seconds=60)}


@pytest.mark.parametrize("spec", [pytest.param(AT_ONCE, id="at once"), pytest.param(SLOWLY, id="slowly")])
async def test_nothing_is_lost_and_nothing_repeated_whatever_write_was_the_last(spec: dict[str, Any]) -> None:
    bad = (0, 1, 2)
    for last in range(60):
        world = World(12, **spec)
        world.api.writes_left = last
        await world.story(bad)
        await world.kill()
        assert world.told() == once_each(bad), f"killed after write {last}"
        for record in world.api.of_kind("VolumeHealth"):
            assert record["status"]["health"] == "Recovered"
            assert "owed" not in record["status"]
        if world.restarts == 0:
            return
    raise AssertionError("the story has more writes than expected")


async def test_an_operator_that_dies_again_and_again_tells_all_in_the_end() -> None:
    world = World(12, **AT_ONCE)
    world.api.writes_left = world.writes_in_a_life = 26
    await world.checks(1)
    world.driver.bad = frozenset(claim.handle for claim in world.claims[:4])
    await world.checks(25)
    world.driver.bad = frozenset()
    await world.checks(25)
    await world.kill()
    assert world.restarts >= 2
    assert world.told() == once_each(range(4))


@pytest.mark.parametrize("last", [5, 300, 900, 1500])
async def test_a_mass_recovery_followed_by_a_crash_loses_no_normal_event(last: int) -> None:
    everything = range(1000)
    world = World(1000, **AT_ONCE)
    await world.checks(1)
    world.driver.bad = world.driver.handles
    await world.checks(4)
    world.driver.bad = frozenset()
    world.api.writes_left = last
    await world.checks(6)
    await world.kill()
    assert world.restarts == 1
    told = world.told()
    assert set(told.values()) == {1}, "nothing is told twice"
    assert once_each(everything, pods=False).keys() <= told.keys(), "nothing is lost"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.ApiUnreachable("connection refused"), id="nobody is there"),
        pytest.param(errors.ApiUnreachable("no JSON", status=200), id="a login page"),
        pytest.param(errors.Forbidden("no right", status=403), id="no right for anything"),
    ],
)
async def test_after_an_outage_the_record_comes_before_the_word(error: errors.ApiError) -> None:
    world = World(12, **AT_ONCE)
    await world.checks(2)
    world.api.refuse = lambda method, path: error
    world.driver.bad = frozenset(claim.handle for claim in world.claims[:3])
    await world.checks(5)
    world.api.refuse = lambda method, path: None
    await world.checks(8)
    await world.kill()
    assert {claim for claim, _ in world.api.told} == {"c0", "c1", "c2"}
    assert all(recorded for _, recorded in world.api.told)


async def test_people_are_told_although_records_alone_cannot_be_written() -> None:
    world = World(12, **AT_ONCE)
    await world.checks(2)
    broken = errors.ApiError("a webhook fails", status=500)
    world.api.refuse = lambda method, path: broken if "/volumehealths/" in path else None
    world.driver.bad = frozenset([world.claims[0].handle])
    await world.checks(4)
    await world.kill()
    assert world.told()["VolumeConditionAbnormal", "PersistentVolumeClaim/c0"] == 1


async def test_a_steady_state_of_owed_nothing_writes_nothing() -> None:
    world = World(12, **AT_ONCE)
    await world.story((0, 1, 2))
    world.api.requests.clear()
    await world.checks(8)
    await world.kill()
    assert [path for _, path in world.api.requests if not path.endswith("/status")] == []


async def test_a_new_episode_is_told_even_if_every_record_of_the_first_is_gone() -> None:
    world = World(12, **AT_ONCE)
    await world.story((0,))
    for record in world.records():
        del world.api.objects[
            f"/apis/volumehealth.dev/v1alpha1/namespaces/{record.namespace}/volumehealths/{record.name}"
        ]
    await world.kill()
    world.running = None
    await world.story((0,))
    await world.kill()
    assert world.told() == once_each((0,)) + once_each((0,))


async def test_what_becomes_of_events_of_a_deleted_policy_is_nothing() -> None:
    """No recovery is told because a policy is gone, not even one that was owed."""
    world = World(100, **AT_ONCE)
    await world.checks(1)
    world.driver.bad = world.driver.handles
    await world.checks(4)
    world.driver.bad = frozenset()
    world.clock.advance(seconds=30)
    checked = world.checker.check(world.policy)
    world.reporter.report(
        CheckResult(
            policy=world.policy,
            now=checked.now,
            judgement=checked.judgement,
            claims=world.cluster.claims,
            drivers=checked.drivers,
            view=checked.view,
        )
    )
    at_once(world.reporter.forget(world.policy))
    await asyncio.sleep(60)
    await world.kill()
    assert not [one for one in world.told() if one[0] == "VolumeConditionNormal"]
    assert world.api.of_kind("VolumeHealth") == []
