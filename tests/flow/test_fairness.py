"""Policies share one process: none of them waits for ever because others have more to do than there is time for.

In: an engine over claims in memory, and a clock by which every step of a check costs time. Out: who had how many turns.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType

import pytest

from support.fakeapi import FakeApi
from support.health import START, make_claim
from support.pipeline import PlainPipeline
from volumehealth.app.engine import Engine
from volumehealth.cluster.changes import Changes
from volumehealth.cluster.objects import RawDriver, RawPolicy, RawRecord
from volumehealth.cluster.view import Listener
from volumehealth.model.cluster import Claim, Namespace, ViewState
from volumehealth.model.health import (
    Answer,
    Condition,
    DriverAnswers,
    DriverState,
    HealthAPI,
    Outcome,
    Source,
    SourceState,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter

pytestmark = pytest.mark.looptime

STEP = 0.01
"""Seconds that each look at the clock costs: about one claim's judgement here."""
CLAIMS = 200


class BusyClock:
    """The event loop's time, and what was worked besides: whoever looks at it has worked for a step."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.worked = 0.0

    def now(self) -> datetime:
        return START.astimezone(UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        self.worked += self.step
        return asyncio.get_running_loop().time() + self.worked


@dataclass
class Cluster:
    """Policies with a driver each, every volume of which is bad; a view and drivers for an engine."""

    claims: dict[ClaimRef, Claim] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    policies: dict[str, RawPolicy] = field(default_factory=dict)
    records: dict[ClaimRef, RawRecord] = field(default_factory=dict)
    drivers: dict[str, RawDriver] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    said: dict[str, DriverAnswers] = field(default_factory=dict)

    def add(self, name: str, *, interval: str = "5s") -> None:
        """Add a policy over a driver of its name."""
        claims = [make_claim(f"{name}-{number}", driver=name) for number in range(CLAIMS)]
        self.claims |= {claim.ref: claim for claim in claims}
        metadata = {"name": name, "uid": name, "generation": 1}
        spec = {"interval": interval, "selector": {"drivers": [name]}}
        self.policies[name] = RawPolicy(name, name, 1, {"metadata": metadata, "spec": spec}, {})
        self.said[name] = DriverAnswers(
            DriverState(name, SourceState.ANSWERING, START, HealthAPI.VOLUME_HEALTH),
            START,
            frozenset(),
            MappingProxyType({}),
            Answer(Source.CONTROLLER, Outcome.SILENT, START, reason="NotYetAsked"),
        )
        self.accuses(name, "slow")

    def accuses(self, driver: str, what: str) -> None:
        """Let a driver say something of all of its volumes."""
        bad = Answer(
            Source.CONTROLLER, Outcome.ADVERSE, START, conditions=(Condition("Degraded", "Slow", what),)
        )
        handles = [claim.handle for claim in self.claims.values() if claim.driver == driver]
        self.said[driver] = replace(self.said[driver], others=dict.fromkeys(handles, bad))

    def answers_again(self, driver: str) -> None:
        """Let a driver say the same again now."""
        now = START + timedelta(seconds=asyncio.get_running_loop().time())
        self.said[driver] = replace(self.said[driver], at=now)

    def state(self) -> ViewState:
        return ViewState(complete=True, age=0.0)

    async def complete(self) -> None:
        pass

    def subscribe(self) -> Changes:
        return Changes()

    def listen(self, listener: Listener) -> None:
        pass

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        pass

    def answers(self) -> Mapping[str, DriverAnswers]:
        return self.said


class Turns(Metrics):
    """Counts finished checks."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: Counter[str] = Counter()

    def check_finished(self, policy: str, seconds: float, at: datetime) -> None:
        self.finished[policy] += 1
        super().check_finished(policy, seconds, at)


@asynccontextmanager
async def working(cluster: Cluster, turns: Turns, *, step: float = STEP) -> AsyncIterator[Engine]:
    """Run an engine, and for each policy a timer as Kopf does."""
    clock = BusyClock(step)
    reporter = Reporter(
        FakeApi(), clock=clock, random=Random(1), metrics=turns, pods_of=lambda _: (), limits=None
    )
    made = PlainPipeline.of_controllers(cluster, cluster, clock)
    engine = Engine(
        view=cluster,
        pipeline=made.pipeline,
        controllers=made.controllers,
        reporter=reporter,
        metrics=turns,
        clock=clock,
    )

    async def timer(uid: str) -> None:
        while await engine.turn(uid):  # noqa: ASYNC110 - a turn is what it waits for
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(engine.run())]
        await engine.started()
        tasks += [group.create_task(timer(uid)) for uid in cluster.policies]
        try:
            yield engine
        finally:
            for task in tasks:
                task.cancel()


async def test_policies_that_ask_for_more_than_there_is_have_about_as_many_turns_each() -> None:
    """Five checks of two seconds and more each want to happen every five seconds."""
    cluster, turns = Cluster(), Turns()
    for name in "abcde":
        cluster.add(name)
    async with working(cluster, turns):
        while sum(turns.finished.values()) < 50:  # noqa: ASYNC110 - the clock is the engine's own
            await asyncio.sleep(0.1)
    assert min(turns.finished[name] for name in "abcde") >= 7, "ten for each, but for how long each one took"


async def test_news_without_end_is_taken_together_and_news_after_a_calm_is_acted_on_at_once() -> None:
    cluster, turns = Cluster(), Turns()
    cluster.add("trickle", interval="1h")
    async with working(cluster, turns, step=0.0) as engine:
        await asyncio.sleep(10)
        begun = turns.finished["trickle"]
        for _ in range(600):
            engine.driver_news("trickle")
            await asyncio.sleep(0.05)
        assert 25 <= turns.finished["trickle"] - begun <= 40, "30 seconds of news: a check in each"
        await asyncio.sleep(10)
        begun = turns.finished["trickle"]
        engine.driver_news("trickle")
        await asyncio.sleep(0.2)
        assert turns.finished["trickle"] == begun + 1


async def test_a_policy_is_checked_when_an_answer_completes_a_delay_and_not_for_those_before() -> None:
    """Two minutes of `unhealthyAfter`, a driver that says the same every 50 seconds, and a check every hour."""
    cluster, turns = Cluster(), Turns()
    cluster.add("steady", interval="1h")
    async with working(cluster, turns, step=0.0) as engine:
        await asyncio.sleep(1)
        begun = turns.finished["steady"]
        checks = []
        for _ in range(4):
            await asyncio.sleep(50)
            cluster.answers_again("steady")
            engine.driver_answered("steady")
            await asyncio.sleep(1)
            checks.append(turns.finished["steady"] - begun)
    # At 51 s nothing is due; at 120 s the delay runs out, and the answer of 102 s does not complete it.
    assert checks == [0, 0, 2, 2]


async def test_a_policy_is_checked_when_a_delay_runs_out_for_those_whose_answers_hold_on() -> None:
    """What an agent reported holds until it writes anew: no answer comes that could call the policy."""
    cluster, turns = Cluster(), Turns()
    cluster.add("reported", interval="1h")
    async with working(cluster, turns, step=0.0):
        await asyncio.sleep(110)
        begun = turns.finished["reported"]
        await asyncio.sleep(20)
        assert turns.finished["reported"] == begun + 1
        await asyncio.sleep(1000)
        assert turns.finished["reported"] == begun + 1, "one look at it, whatever came of it"


async def test_a_driver_that_changes_its_word_all_the_time_takes_no_turns_from_others() -> None:
    cluster, turns = Cluster(), Turns()
    cluster.add("calm")
    cluster.add("nervous")
    async with working(cluster, turns) as engine:
        for number in range(2000):
            cluster.accuses("nervous", f"slow in {number} ways")
            engine.driver_news("nervous")
            await asyncio.sleep(0.05)
            if turns.finished["calm"] >= 5:
                break
    assert turns.finished["calm"] >= 5
    assert turns.finished["nervous"] <= 4 * turns.finished["calm"]
