"""A check from claims to judgement: real selection and judging, a view and drivers made of plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType

import pytest

from support.health import DRIVER, START, SteppedClock, make_claim
from support.pipeline import PlainPipeline
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
    TransitionKind,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Checks, LabelSelector, PlaneCheck, Policy, PolicySpec, Selector
from volumehealth.probing.spec import ProbeSpec
from volumehealth.sources.drivers import NOT_CONNECTED, SWITCHED_OFF

AT_ONCE = PolicySpec(unhealthy_after=timedelta(), healthy_after=timedelta())
BROKEN = Condition("Inaccessible", "DiskFailure", "the disk is gone")


@dataclass
class PlainView:
    """What is in the cluster."""

    claims: Mapping[ClaimRef, Claim] = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    stale: str = ""

    def state(self) -> ViewState:
        return ViewState(complete=True, age=0.0, stale=self.stale)


@dataclass
class PlainDrivers:
    """What drivers say, and what is wanted of them."""

    said: dict[str, DriverAnswers] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    wanted: Mapping[str, ProbeSpec] = field(default_factory=dict)

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        self.wanted = wanted

    def answers(self) -> Mapping[str, DriverAnswers]:
        return self.said


def policy(name: str = "storage", spec: PolicySpec = AT_ONCE, *, age: int = 0) -> Policy:
    return Policy(name, f"uid-{name}", 1, START - timedelta(days=age), spec)


def says(*, healthy: tuple[str, ...] = (), bad: tuple[str, ...] = (), clock: SteppedClock) -> DriverAnswers:
    state = DriverState(DRIVER, SourceState.ANSWERING, START, HealthAPI.VOLUME_HEALTH)
    adverse = {
        handle: Answer(Source.CONTROLLER, Outcome.ADVERSE, clock.now(), conditions=(BROKEN,))
        for handle in bad
    }
    silence = Answer(Source.CONTROLLER, Outcome.SILENT, clock.now(), reason="NotYetAsked")
    return DriverAnswers(state, clock.now(), frozenset(healthy), MappingProxyType(adverse), silence)


class World:
    """A checker and all it sees."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        claims = [make_claim("db"), make_claim("wal"), make_claim("cache", namespace="ci")]
        self.view = PlainView({claim.ref: claim for claim in claims})
        self.drivers = PlainDrivers()
        self.checker = PlainPipeline.of_controllers(self.view, self.drivers, self.clock)

    def follow(self, *policies: Policy) -> None:
        self.checker.follow({one.uid: one for one in policies}, None)

    def says(self, *, healthy: tuple[str, ...] = (), bad: tuple[str, ...] = ()) -> None:
        self.clock.advance(seconds=60)
        self.drivers.said[DRIVER] = says(healthy=healthy, bad=bad, clock=self.clock)


@pytest.fixture
def world() -> World:
    """Three claims of one driver in two namespaces."""
    return World()


def test_a_bad_volume_makes_its_claim_unhealthy_and_the_others_stay_healthy(world: World) -> None:
    world.follow(policy())
    world.says(healthy=("handle-wal", "handle-cache"), bad=("handle-db",))

    checked = world.checker.check(policy())

    assert (checked.counts.healthy, checked.counts.unhealthy) == (2, 1)
    (turn,) = checked.transitions
    assert (turn.kind, turn.claim.name) == (TransitionKind.FOUND, "db")
    assert checked.drivers[DRIVER].state is SourceState.ANSWERING


def test_what_all_policies_want_of_a_driver_is_added_up(world: World) -> None:
    fast = replace(
        AT_ONCE, interval=timedelta(seconds=10), selector=Selector(namespace_selector=labelled("shop"))
    )
    patient = replace(
        AT_ONCE, timeout=timedelta(seconds=40), selector=Selector(namespace_selector=labelled("ci"))
    )
    world.view.namespaces = {name: Namespace(name, {"name": name}) for name in ("shop", "ci")}

    world.follow(policy("fast", fast), policy("patient", patient))

    wanted = world.drivers.wanted[DRIVER]
    assert wanted.volumes == {"handle-db", "handle-wal", "handle-cache"}
    assert wanted.interval == timedelta(seconds=10)
    assert wanted.timeout == timedelta(seconds=40)


def labelled(name: str) -> LabelSelector:
    return LabelSelector(match_labels={"name": name})


def test_a_relabelled_namespace_changes_who_is_selected(world: World) -> None:
    picky = policy(spec=replace(AT_ONCE, selector=Selector(namespace_selector=labelled("ci"))))
    world.view.namespaces = {"ci": Namespace("ci", {}), "shop": Namespace("shop", {})}
    world.follow(picky)
    assert world.checker.check(picky).counts.selected == 0

    world.view.namespaces = {**world.view.namespaces, "ci": Namespace("ci", {"name": "ci"})}
    world.checker.follow({picky.uid: picky}, (), relabelled=True)

    assert world.checker.check(picky).counts.selected == 1


def test_a_suspended_policy_wants_nothing(world: World) -> None:
    world.follow(policy(spec=replace(AT_ONCE, suspend=True)))

    assert world.drivers.wanted == {}


def test_without_the_controller_plane_nothing_is_asked_and_the_hint_says_why(world: World) -> None:
    off = policy(spec=replace(AT_ONCE, checks=Checks(controller=PlaneCheck(enabled=False))))
    world.says(healthy=("handle-db",))
    world.follow(off)

    checked = world.checker.check(off)

    assert world.drivers.wanted == {}
    assert checked.counts.unmonitored == 3
    assert checked.drivers[DRIVER].hint == SWITCHED_OFF


def test_a_driver_that_nobody_hears_is_inventory_and_no_alarm(world: World) -> None:
    world.follow(policy())

    first = world.checker.check(policy())
    world.clock.advance(seconds=60)
    second = world.checker.check(policy())

    assert first.counts.unmonitored == 3
    assert first.drivers[DRIVER].hint == NOT_CONNECTED
    assert second.drivers[DRIVER] is first.drivers[DRIVER], "a state that stays must not be written again"


def test_a_driver_that_was_heard_before_the_restart_is_missed_while_an_endpoint_is_silent(
    world: World,
) -> None:
    world.drivers.unresolved = ("unix:///run/csi.sock",)
    world.checker.resume({}, [DRIVER])
    world.follow(policy())

    checked = world.checker.check(policy())

    assert checked.counts.unknown == 3
    assert checked.drivers[DRIVER].state is SourceState.UNREACHABLE
    assert "unix:///run/csi.sock" in checked.drivers[DRIVER].message


def test_a_stale_view_makes_nobody_healthy(world: World) -> None:
    world.follow(policy())
    world.says(healthy=("handle-db", "handle-wal", "handle-cache"))
    world.view.stale = "pods not confirmed since 03:02Z"

    assert world.checker.check(policy()).counts.unknown == 3


def test_a_claim_that_changes_hands_keeps_its_finding_and_nobody_is_told(world: World) -> None:
    world.follow(policy("old"))
    world.says(bad=("handle-db",))
    since = world.checker.check(policy("old")).now
    strong = policy("strong", replace(AT_ONCE, priority=10))

    world.follow(policy("old"), strong)
    world.clock.advance(seconds=60)
    checked = world.checker.check(strong)

    assert checked.transitions == ()
    health = checked.healths[ClaimRef("shop", "db")]
    assert health.findings[0].since <= since
    assert "strong" in health.history[-1].what
    assert world.checker.check(policy("old")).counts.overridden == 3


def test_a_live_finding_is_told_to_the_prober(world: World) -> None:
    world.follow(policy())
    world.says(healthy=("handle-wal",), bad=("handle-db",))
    world.checker.check(policy())

    world.checker.follow({"uid-storage": policy()}, ())

    assert world.drivers.wanted[DRIVER].adverse == {"handle-db"}


def test_a_deleted_policy_is_forgotten(world: World) -> None:
    world.follow(policy())
    world.says(bad=("handle-db",))
    world.checker.check(policy())

    world.follow()
    world.follow(policy())

    (turn,) = world.checker.check(policy()).transitions
    assert turn.kind is TransitionKind.FOUND


def test_news_of_a_driver_concern_the_policies_that_own_its_claims(world: World) -> None:
    world.follow(
        policy("mine"), policy("none", replace(AT_ONCE, selector=Selector(drivers=("other.example.com",))))
    )

    assert world.checker.pipeline.users_of(DRIVER) == ["uid-mine"]


def test_what_was_found_is_gone_on_from_once_an_invalid_spec_is_mended(world: World) -> None:
    """Faults C9: at start the policy's spec cannot be used, so that no policy owns the claim for a while."""
    db = ClaimRef("shop", "db")
    world.follow(policy())
    world.says(healthy=("handle-wal", "handle-cache"), bad=("handle-db",))
    before = world.checker.check(policy()).healths[db]

    world.checker = PlainPipeline.of_controllers(world.view, world.drivers, world.clock)
    world.follow()
    world.checker.resume({}, (), {db: before})
    world.checker.pipeline.judge.keep_unowned({db})
    world.follow(policy())
    world.says(healthy=("handle-wal", "handle-cache"), bad=("handle-db",))
    checked = world.checker.check(policy())

    assert checked.transitions == ()
    after = checked.healths[db]
    assert (after.findings, after.episodes, after.history) == (
        before.findings,
        before.episodes,
        before.history,
    )


def test_what_was_found_is_forgotten_with_its_record(world: World) -> None:
    db = ClaimRef("shop", "db")
    world.follow(policy())
    world.says(bad=("handle-db",))
    before = world.checker.check(policy()).healths[db]
    world.checker = PlainPipeline.of_controllers(world.view, world.drivers, world.clock)
    world.follow()
    world.checker.resume({}, (), {db: before})
    world.checker.pipeline.judge.keep_unowned(())
    world.follow(policy())
    world.says(healthy=("handle-db",))
    assert world.checker.check(policy()).healths == {}


def _picky(world: World) -> tuple[Policy, Claim]:
    """Return a policy that selects one claim by its label, and that claim."""
    (db,) = [claim for claim in world.view.claims.values() if claim.ref.name == "db"]
    return policy(spec=replace(AT_ONCE, selector=Selector(claim_selector=labelled("db")))), db


def _relabel(world: World, picky: Policy, claim: Claim, labels: Mapping[str, str]) -> None:
    world.view.claims = {**world.view.claims, claim.ref: replace(claim, labels=labels)}
    world.checker.follow({picky.uid: picky}, [claim.ref])


@pytest.mark.parametrize(("away", "stays"), [(1, True), (14, True), (16, False), (600, False)])
def test_a_claim_that_no_policy_holds_for_a_moment_keeps_its_finding(
    world: World, away: int, stays: bool
) -> None:
    """Faults C7: relabelled away and back again, before its record was removed; nobody is told again."""
    picky, db = _picky(world)
    _relabel(world, picky, db, {"name": "db"})
    world.says(bad=("handle-db",))
    before = world.checker.check(picky).healths[db.ref]
    _relabel(world, picky, db, {})
    assert world.checker.check(picky).healths == {}
    world.clock.advance(seconds=away)
    world.clock.set_wall(timedelta(hours=1 if stays else 0))
    _relabel(world, picky, db, {"name": "db"})
    checked = world.checker.check(picky)
    if stays:
        assert checked.healths[db.ref].findings == before.findings
        assert checked.transitions == ()
    else:
        assert [turn.kind for turn in checked.transitions] == [TransitionKind.FOUND]


def test_a_claim_that_is_back_before_its_policy_has_looked_keeps_its_finding(world: World) -> None:
    """Faults C7: its record is still there; only the checks of others saw that it was away."""
    picky, db = _picky(world)
    _relabel(world, picky, db, {"name": "db"})
    world.says(bad=("handle-db",))
    before = world.checker.check(picky).healths[db.ref]
    _relabel(world, picky, db, {})
    world.clock.advance(seconds=300)
    _relabel(world, picky, db, {})
    world.clock.advance(seconds=200)
    _relabel(world, picky, db, {"name": "db"})
    checked = world.checker.check(picky)
    assert checked.healths[db.ref].findings == before.findings
    assert checked.transitions == ()
