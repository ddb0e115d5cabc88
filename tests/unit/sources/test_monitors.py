"""What other health monitors write into annotations: what makes a claim unhealthy, what clears it, what is only shown.

In: a cluster in memory, its policy checked every 30 s by the real pipeline. Out: what is confirmed, and what is explained.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.health import START, SteppedClock, make_claim
from support.pipeline import PlainPipeline
from support.planes import PlainCluster
from volumehealth.model.health import DriverAnswers, TransitionKind
from volumehealth.model.policy import Checks, PlaneCheck, Policy, PolicySpec

HEALTH = "volumehealth.storage.kubernetes.io/health"
CLAIM = make_claim("db")
MINUTE = timedelta(minutes=1)
SPEC = PolicySpec(unhealthy_after=2 * MINUTE, healthy_after=3 * MINUTE)


class NoDrivers:
    """No controller is connected."""

    unresolved = ()

    def demand(self, wanted: object, /) -> None:
        pass

    def answers(self) -> dict[str, DriverAnswers]:
        return {}


class World:
    """A cluster with one claim and one policy."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.cluster = PlainCluster(self.clock)
        self.cluster.add(CLAIM)
        self.pipeline = PlainPipeline.of_everything(self.cluster, NoDrivers(), self.clock)
        self.spec = SPEC
        self.told: list[TransitionKind] = []

    @property
    def policy(self) -> Policy:
        return Policy("storage", "uid-storage", 1, START, self.spec)

    def written(self, value: str | None, *, key: str = HEALTH, minutes: int = 5) -> list[str]:
        """Let a monitor write a value, and check for a while; return the findings."""
        self.cluster.annotations = {} if value is None else {CLAIM.ref: {key: value}}
        for _ in range(2 * minutes):
            self.clock.advance(seconds=30)
            self.pipeline.follow({self.policy.uid: self.policy}, None)
            result = self.pipeline.check(self.policy)
            self.told += [turn.kind for turn in result.transitions]
        health = result.healths.get(CLAIM.ref)
        findings = health.findings if health is not None else ()
        return [f"{one.headline}{' stale' * one.stale}" for one in findings]

    def verdicts(self) -> tuple[int, int, int, int]:
        counts = self.pipeline.check(self.policy).counts
        return counts.healthy, counts.unhealthy, counts.unknown, counts.unmonitored


@pytest.fixture
def world() -> World:
    return World()


BAD = "Inaccessible/BackendError (Controller)"


@pytest.mark.parametrize("key", [HEALTH, "volumehealth.storage.kubernetes.io/messages"])
@pytest.mark.parametrize("value", ["inaccessible", "Inaccessible", " inaccessible "])
def test_an_inaccessible_volume_makes_its_claim_unhealthy_after_the_policys_delay(
    world: World, key: str, value: str
) -> None:
    assert world.written(value, key=key, minutes=1) == []
    assert world.written(value, key=key, minutes=2) == [BAD]
    assert world.told == [TransitionKind.FOUND]


def test_it_recovers_once_the_monitor_has_written_that_it_is_accessible_for_long_enough(world: World) -> None:
    world.written("inaccessible")
    assert world.written("accessible", minutes=2) == [BAD]
    assert world.written("accessible", minutes=4) == []
    assert world.told == [TransitionKind.FOUND, TransitionKind.RECOVERED]


@pytest.mark.parametrize("value", ["unknown", "degraded", "", "{}", "a value of next year"])
def test_a_value_that_is_not_known_is_shown_makes_no_verdict_and_clears_nothing(
    world: World, value: str
) -> None:
    assert world.written(value) == []
    assert world.verdicts() == (0, 0, 0, 1)
    shown = world.pipeline.pipeline.explain(CLAIM).statements
    assert [(one.reason, repr(value) in one.message) for one in shown][-1] == ("UnknownValue", True)
    world.written("inaccessible")
    assert world.written(value, minutes=60) == [f"{BAD} stale"]
    assert world.told == [TransitionKind.FOUND]


def test_that_it_is_accessible_does_not_make_a_claim_healthy(world: World) -> None:
    world.written("accessible")
    assert world.verdicts() == (0, 0, 0, 1), "only the driver itself can say so"


@pytest.mark.parametrize("end", ["the annotation is removed", "the check is switched off"])
def test_what_is_no_longer_monitored_is_closed_without_a_recovery(world: World, end: str) -> None:
    world.written("inaccessible")
    if end == "the check is switched off":
        world.spec = replace(SPEC, checks=Checks(controller=PlaneCheck(enabled=False)))
        assert world.written("inaccessible") == []
    else:
        assert world.written(None, minutes=10) == []
    assert world.told == [TransitionKind.FOUND, TransitionKind.CLOSED]


@given(st.text(max_size=2000))
def test_no_value_ends_a_check(value: str) -> None:
    World().written(value, minutes=1)
