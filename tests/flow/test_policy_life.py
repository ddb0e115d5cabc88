"""A policy's timer and /healthz: no one-way decision on a view that may lag, no restart for a fault outside.

In: an engine on virtual time, a view that a test changes, timers as Kopf drives them. Out: checks, health, records.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Any

import pytest

from support.fakeapi import FakeApi
from support.health import make_claim
from support.pipeline import controllers_only
from volumehealth.app.engine import GRACE, Engine
from volumehealth.cluster.changes import Changes
from volumehealth.cluster.objects import RawDriver, RawPolicy, RawRecord
from volumehealth.cluster.view import Listener, Part
from volumehealth.model.cluster import Claim, Namespace, SilenceAsked, ViewState
from volumehealth.model.health import DriverAnswers
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps, at_once
from volumehealth.pipeline import Pipeline
from volumehealth.policy.silence import Silences
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter

pytestmark = pytest.mark.looptime

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


class LoopClock:
    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Cluster:
    """Policies without claims, as the view shows them."""

    claims: dict[ClaimRef, Claim] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    policies: dict[str, RawPolicy] = field(default_factory=dict)
    records: dict[ClaimRef, RawRecord] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    drivers: dict[str, RawDriver] = field(default_factory=dict)
    stale: str = ""
    listeners: list[Listener] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    def show(
        self,
        name: str,
        interval: str = "5s",
        *,
        generation: int = 1,
        suspend: bool = False,
        **more: object,
    ) -> None:
        metadata = {"name": name, "uid": name, "generation": generation}
        spec = {"interval": interval, "suspend": suspend, **more}
        self.policies[name] = RawPolicy(name, name, generation, {"metadata": metadata, "spec": spec}, {})
        self.tell(Part.POLICIES)

    def hide(self, name: str) -> None:
        del self.policies[name]
        self.tell(Part.POLICIES)

    def tell(self, part: Part) -> None:
        for listener in self.listeners:
            listener(part)

    def state(self) -> ViewState:
        return ViewState(complete=True, age=0.0, stale=self.stale)

    async def complete(self) -> None:
        pass

    def subscribe(self) -> Changes:
        return self.changes

    def put(self, claim: Claim) -> None:
        self.claims[claim.ref] = claim
        self.changes.add(claim.ref)

    def listen(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        pass

    def answers(self) -> Mapping[str, DriverAnswers]:
        return {}


class Turns(Metrics):
    def __init__(self) -> None:
        super().__init__()
        self.finished: Counter[str] = Counter()

    def check_finished(self, policy: str, seconds: float, at: datetime) -> None:
        self.finished[policy] += 1
        super().check_finished(policy, seconds, at)


class Told(Reporter):
    def __init__(self, *args: Any, owner_of: Callable[[ClaimRef], str | None], **more: Any) -> None:
        super().__init__(*args, owner_of=owner_of, **more)
        self._asked = owner_of
        self.owners: list[str | None] = []

    def forget(self, policy: Policy) -> Steps[None]:
        self.owners.append(self._asked(make_claim("db").ref))
        yield from super().forget(policy)


class World:
    """An engine, and the timers that Kopf would run."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.turns, self.api = cluster, Turns(), FakeApi()
        self.reporter = Told(
            self.api,
            clock=LoopClock(),
            random=Random(1),
            metrics=self.turns,
            pods_of=lambda _: (),
            limits=None,
            owner_of=lambda ref: self.engine.owner_of(ref),
        )
        made = controllers_only(cluster, cluster)
        silences = Silences({}, cluster.claims, cluster.namespaces, {})
        self.engine = Engine(
            view=cluster,
            pipeline=Pipeline(cluster, made.sources, LoopClock(), silences),
            controllers=made.controllers,
            reporter=self.reporter,
            metrics=self.turns,
            clock=LoopClock(),
        )
        self.timers: dict[str, asyncio.Task[None]] = {}

    def kopf_shows(self, uid: str) -> None:
        self.timers[uid] = asyncio.create_task(self._timer(uid))

    async def _timer(self, uid: str) -> None:
        while await self.engine.turn(uid):  # noqa: ASYNC110 - a turn is what it waits for
            await asyncio.sleep(0.1)

    async def checks_in(self, seconds: float, name: str) -> int:
        before = self.turns.finished[name]
        await asyncio.sleep(seconds)
        return self.turns.finished[name] - before


@asynccontextmanager
async def working(cluster: Cluster | None = None) -> AsyncIterator[World]:
    world = World(cluster or Cluster())
    run = asyncio.create_task(world.engine.run())
    await world.engine.started()
    try:
        yield world
    finally:
        for task in (run, *world.timers.values()):
            task.cancel()


@pytest.mark.parametrize("minutes", [0.2, 2, 30])
async def test_a_policy_that_kopf_shows_before_the_view_does_is_checked_once_it_is_there(
    minutes: float,
) -> None:
    async with working() as world:
        world.kopf_shows("a")
        await asyncio.sleep(60 * minutes)
        assert world.engine.advancing()[0]
        world.cluster.show("a")
        assert await world.checks_in(60, "a") >= 10


@pytest.mark.parametrize("seconds", [0.1, 2.5, 20, 1800])
async def test_a_policy_that_the_view_loses_for_a_moment_is_checked_again(seconds: float) -> None:
    async with working() as world:
        world.cluster.show("a")
        world.kopf_shows("a")
        await asyncio.sleep(60)
        world.cluster.hide("a")
        await asyncio.sleep(seconds)
        world.cluster.show("a")
        assert await world.checks_in(60, "a") >= 10
        assert world.engine.advancing() == (True, "checks advance")


async def test_a_policy_that_is_gone_is_not_checked_and_its_timer_ends_in_the_end() -> None:
    async with working() as world:
        world.cluster.show("a")
        world.kopf_shows("a")
        await asyncio.sleep(60)
        world.cluster.hide("a")
        await asyncio.sleep(10)
        assert await world.checks_in(600, "a") == 0
        assert world.engine.advancing()[0]
        await asyncio.sleep(3700)
        assert world.timers["a"].done()


async def test_no_timer_ends_while_the_view_is_stale() -> None:
    async with working() as world:
        world.kopf_shows("a")
        world.cluster.stale = "policies not confirmed"
        await asyncio.sleep(24 * 3600)
        assert not world.timers["a"].done()
        world.cluster.stale = ""
        world.cluster.show("a")
        assert await world.checks_in(60, "a") >= 10


async def test_who_owns_a_claim_now_is_known_before_records_of_a_deleted_policy_go() -> None:
    """To forget thousands takes turns, and the time after which a record goes without an owner runs meanwhile."""
    cluster, claim = Cluster(), make_claim("db")
    cluster.claims[claim.ref] = claim
    cluster.show("a", priority=1)
    cluster.show("b")
    async with working(cluster) as world:
        assert world.engine.owner_of(claim.ref) == "a"
        cluster.hide("a")
        await asyncio.sleep(600)
        assert world.reporter.owners == ["b"]


async def test_a_new_policy_in_an_old_process_is_not_late() -> None:
    async with working() as world:
        await asyncio.sleep(7 * 24 * 3600)
        world.cluster.show("a", interval="10m")
        for _ in range(60):
            await asyncio.sleep(10)
            assert world.engine.advancing()[0]


async def test_a_policy_that_is_never_checked_is_late_after_its_interval_and_a_minute() -> None:
    async with working() as world:
        world.cluster.show("a", interval="5m")
        await asyncio.sleep(5 * 60 + GRACE - 1)
        assert world.engine.advancing()[0]
        await asyncio.sleep(2)
        well, why = world.engine.advancing()
        assert not well
        assert "a by" in why


async def test_while_the_api_server_is_away_nobody_is_late_and_afterwards_everybody_has_time() -> None:
    async with working() as world:
        world.cluster.show("a")
        await asyncio.sleep(10)
        world.cluster.stale = "pods not confirmed"
        world.cluster.tell(Part.STATE)
        for _ in range(100):
            await asyncio.sleep(60)
            assert world.engine.advancing()[0]
        world.cluster.stale = ""
        world.cluster.tell(Part.STATE)
        await asyncio.sleep(GRACE)
        assert world.engine.advancing()[0], "Kopf may be back a moment later"


def put_sick(
    cluster: Cluster, claim: Claim, *, labels: Mapping[str, str] = MappingProxyType({}), **status: object
) -> None:
    """Put a claim there, and the record that policy a has written of it."""
    finding = {
        "source": "Controller",
        "status": "Inaccessible",
        "reason": "DiskFailure",
        "message": "the disk is gone",
        "since": "2026-11-24T01:00:00Z",
    }
    told = {"health": "Unhealthy", "policy": "a", "findings": [finding], **status}
    cluster.claims[claim.ref] = claim
    cluster.records[claim.ref] = RawRecord(claim.ref, "record", claim.uid, labels, json.dumps(told).encode())


async def test_what_a_record_says_is_gone_on_from_once_a_spec_that_was_invalid_at_the_start_is_mended() -> (
    None
):
    """Faults C9: since when a claim is unhealthy, and its history, were lost with a start beside such a spec."""
    cluster, claim = Cluster(), make_claim("db")
    turn = {"time": "2026-11-24T01:02:00Z", "what": "became unhealthy"}
    put_sick(cluster, claim, history=[turn])
    cluster.show("a", interval="never")
    async with working(cluster) as world:
        world.kopf_shows("a")
        await asyncio.sleep(60)
        cluster.show("a", generation=2)
        assert await world.checks_in(60, "a") >= 10
        explained = world.engine.explain(claim)
        assert explained is not None
        assert [(one.reason, one.since) for one in explained.findings] == [
            ("DiskFailure", datetime(2026, 11, 24, 1, 0, tzinfo=UTC))
        ]
        assert [one.what for one in explained.history] == ["became unhealthy"]


async def test_a_policy_that_takes_over_a_sick_claim_is_checked_at_once_however_long_its_interval() -> None:
    """Faults C7: between the two checks the claim was in nobody's status and metrics: an alert ended and fired anew."""
    cluster, claim = Cluster(), make_claim("db")
    put_sick(cluster, claim)
    cluster.show("a")
    cluster.show("b", "10m", priority=1, selector={"claimSelector": {"matchLabels": {"tier": "gold"}}})
    async with working(cluster) as world:
        for name in ("a", "b"):
            world.kopf_shows(name)
        await asyncio.sleep(100)
        assert await world.checks_in(100, "b") == 0
        cluster.put(replace(claim, labels={"tier": "gold"}))
        assert await world.checks_in(6, "b") == 1


@pytest.mark.parametrize("why", ["it is suspended", "its spec cannot be used"])
async def test_an_unhealthy_claim_has_its_series_though_its_policy_is_not_checked_since_the_start(
    why: str,
) -> None:
    """Faults H26: its record said Unhealthy, and its alert ended because the operator was started anew."""
    cluster, claim = Cluster(), make_claim("db")
    put_sick(cluster, claim, labels={"volumehealth.dev/policy": "a"})
    if why == "it is suspended":
        cluster.show("a", suspend=True)
    else:
        cluster.show("a", "never")
    cluster.show("b", selector={"claimSelector": {"matchLabels": {"tier": "gold"}}})
    async with working(cluster) as world:
        writes = asyncio.create_task(world.reporter.run())
        for name in ("a", "b"):
            world.kopf_shows(name)
        await asyncio.sleep(60)
        writes.cancel()
        shown = at_once(world.turns.render()).decode()
    assert 'volumehealth_claim_unhealthy{driver="csi-powerstore.dellemc.com",namespace="shop"' in shown
    assert shown.count("volumehealth_claim_unhealthy{") == 1


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ({"state": "Answering", "healthAPI": "VolumeHealth"}, "Unknown"),
        # as the last process wrote it, to which the endpoint did not even tell its driver's name
        ({"state": "Unreachable", "healthAPI": "None"}, "Unknown"),
        ({"state": "Answering", "healthAPI": "None"}, "Unmonitored"),
        ({"state": "NotConnected", "healthAPI": "None"}, "Unmonitored"),
    ],
)
async def test_a_driver_that_answered_once_is_missed_however_often_the_operator_starts_meanwhile(
    status: dict[str, str], verdict: str
) -> None:
    """Faults A2, H22: after a second start its claims were Unmonitored, which is no alarm."""
    cluster, claim = Cluster(unresolved=("unix:///csi/dead.sock",)), make_claim("db")
    cluster.claims[claim.ref] = claim
    cluster.drivers[claim.driver] = RawDriver(claim.driver, status)
    cluster.show("a")
    async with working(cluster) as world:
        world.kopf_shows("a")
        await asyncio.sleep(60)
        explained = world.engine.explain(claim)
        assert explained is not None
        assert explained.verdict == verdict


async def test_a_stop_lets_a_timer_go_that_waits_for_its_policy() -> None:
    async with working() as world:
        turn = asyncio.create_task(world.engine.turn("nobody"))
        await asyncio.sleep(1)
        world.engine.stop()
        await asyncio.sleep(0.1)
        assert turn.done()
        assert turn.result(), "the timer does not end for good"


async def test_a_silence_that_cannot_be_read_is_told_once_beside_a_policy_that_is_suspended() -> None:
    cluster = Cluster(namespaces={"shop": Namespace("shop", {}, SilenceAsked("tonight", "", "uid-shop"))})
    async with working(cluster) as world:
        writes = asyncio.create_task(world.reporter.run())
        for name, suspend in (("a", False), ("b", True)):
            cluster.show(name, suspend=suspend)
            world.kopf_shows(name)
        await asyncio.sleep(600)
        writes.cancel()
    asked = [path for _, path in world.api.requests if "/events" in path]
    assert len(asked) == 1
