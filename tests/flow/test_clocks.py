"""A check through time: silence counts for nothing, and a wall clock that is set changes nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flow.test_check import World, policy
from support.health import DRIVER
from volumehealth.model.health import TransitionKind
from volumehealth.model.policy import PolicySpec
from volumehealth.report.outbox import episode_of

PATIENT = policy(spec=PolicySpec(unhealthy_after=timedelta(minutes=2), healthy_after=timedelta(minutes=5)))
ALL = ("handle-db", "handle-wal", "handle-cache")
OTHERS = ALL[1:]


@pytest.fixture
def world() -> World:
    """Three claims of one driver, watched by a patient policy."""
    world = World()
    world.follow(PATIENT)
    world.says(healthy=ALL)
    world.checker.check(PATIENT)
    return world


def minutes_until(world: World, kind: TransitionKind, *, bad: bool) -> int:
    """Let the driver say the same every minute until something is told; return after how many answers."""
    for minute in range(1, 100):
        world.says(healthy=OTHERS if bad else ALL, bad=ALL[:1] if bad else ())
        turns = world.checker.check(PATIENT).transitions
        if any(turn.kind is kind for turn in turns):
            return minute
    raise AssertionError(f"no {kind} in 99 minutes")


@pytest.mark.parametrize("hours", [-1, 1, 24])
def test_a_wall_clock_that_is_set_delays_and_hastens_nothing(world: World, hours: int) -> None:
    world.says(healthy=OTHERS, bad=ALL[:1])
    world.checker.check(PATIENT)
    world.clock.set_wall(timedelta(hours=hours))
    assert minutes_until(world, TransitionKind.FOUND, bad=True) == 2
    world.says(healthy=ALL)
    world.checker.check(PATIENT)
    world.clock.set_wall(timedelta(hours=-hours))
    assert minutes_until(world, TransitionKind.RECOVERED, bad=False) == 5


@pytest.mark.parametrize("hours", [-1, 1, 24])
def test_a_claim_that_is_judged_for_the_first_time_after_the_clock_was_set_waits_as_long_as_any(
    hours: int,
) -> None:
    """The driver has said it before: to another policy, or before the first check. Such an answer keeps its time."""
    world = World()
    world.follow(PATIENT)
    world.says(healthy=OTHERS, bad=ALL[:1])
    first = world.drivers.said[DRIVER].others
    world.clock.set_wall(timedelta(hours=hours))
    found = []
    for _ in range(4):
        world.says(healthy=OTHERS, bad=ALL[:1])
        world.drivers.said[DRIVER] = replace(world.drivers.said[DRIVER], others=first)
        found.append(len(world.checker.check(PATIENT).transitions))
    assert found == [0, 0, 1, 0]


@pytest.mark.parametrize("ours", [True, False])
def test_no_driver_is_in_its_state_since_a_moment_that_has_not_come(world: World, *, ours: bool) -> None:
    """Our own clock was set back, or an agent that tells of a driver has one that is ahead: told an hour late."""
    said = world.drivers.said[DRIVER]
    if ours:
        world.clock.set_wall(timedelta(hours=-1))
    else:
        ahead = replace(said.driver, since=world.clock.now() + timedelta(hours=1))
        world.drivers.said[DRIVER] = replace(said, driver=ahead)
    first = world.checker.check(PATIENT).drivers[DRIVER].since
    assert first == world.clock.now()
    for _ in range(10):
        world.clock.advance(minutes=20)
        assert world.checker.check(PATIENT).drivers[DRIVER].since == first


def test_an_hour_in_which_a_policy_was_suspended_is_no_hour_of_trouble(world: World) -> None:
    world.says(healthy=OTHERS, bad=ALL[:1])
    world.checker.check(PATIENT)
    world.clock.advance(hours=1)
    assert minutes_until(world, TransitionKind.FOUND, bad=True) == 3


def test_a_policy_that_is_given_a_shorter_interval_was_not_away_for_as_long_as_the_old_one(
    world: World,
) -> None:
    """Its last check was as long ago as the old interval lets it be."""
    old = policy(spec=replace(PATIENT.spec, interval=timedelta(minutes=10)))
    new = policy(spec=replace(PATIENT.spec, interval=timedelta(minutes=1)))
    world.follow(old)
    world.says(healthy=OTHERS, bad=ALL[:1])
    assert world.checker.check(old).counts.healthy == 3
    world.clock.advance(minutes=8)
    world.says(healthy=OTHERS, bad=ALL[:1])
    world.follow(new)
    turns = world.checker.check(new).transitions
    assert [turn.kind for turn in turns] == [TransitionKind.FOUND]
    world.clock.advance(minutes=8)
    world.says(healthy=OTHERS, bad=ALL[:1])
    assert world.checker.check(new).counts.unhealthy == 1
    world.says(healthy=ALL)
    world.checker.check(new)
    world.clock.advance(minutes=8)
    world.says(healthy=ALL)
    assert world.checker.check(new).transitions == (), "by its own interval it was away for long"


@pytest.mark.parametrize("doubted", [False, True], ids=["it was well", "it was in doubt"])
def test_a_volume_is_not_healthy_by_what_was_said_of_it_before_the_policy_was_suspended(
    world: World, *, doubted: bool
) -> None:
    """Faults B: it says something adverse when it is asked again, and nobody has heard anything good for a day."""
    if doubted:
        world.says(healthy=OTHERS, bad=ALL[:1])
        assert world.checker.check(PATIENT).counts.healthy == 3
    world.clock.advance(days=1)
    world.says(healthy=OTHERS, bad=ALL[:1])
    checked = world.checker.check(PATIENT)
    assert (checked.counts.healthy, checked.counts.unknown) == (2, 1)
    assert checked.unknown[0].reason == "NotYetConfirmed"


def test_an_hour_of_silence_between_two_answers_is_no_hour_of_trouble(world: World) -> None:
    world.says(healthy=OTHERS, bad=ALL[:1])
    world.checker.check(PATIENT)
    for _ in range(60):
        world.says(healthy=OTHERS)
        world.checker.check(PATIENT)
    assert minutes_until(world, TransitionKind.FOUND, bad=True) == 3


def test_a_claim_that_changes_hands_is_looked_at_before_it_recovers(world: World) -> None:
    assert minutes_until(world, TransitionKind.FOUND, bad=True) == 3
    world.says(healthy=ALL)
    world.checker.check(PATIENT)
    heir = policy("heir", replace(PATIENT.spec, priority=10))
    world.follow(PATIENT, heir)
    world.clock.advance(hours=1)
    world.says(healthy=ALL)
    assert world.checker.check(heir).transitions == ()
    assert world.checker.check(heir).drivers[DRIVER].name == DRIVER


def test_an_episode_keeps_its_name_when_the_wall_clock_is_set_back(world: World) -> None:
    minutes_until(world, TransitionKind.FOUND, bad=True)
    (health,) = (one for one in world.checker.check(PATIENT).healths.values() if one.findings)
    before = episode_of(health.uid, health.findings[0])
    world.clock.set_wall(timedelta(hours=-1))
    world.says(healthy=OTHERS, bad=ALL[:1])
    (health,) = (one for one in world.checker.check(PATIENT).healths.values() if one.findings)
    assert health.findings[0].since <= world.clock.now()
    assert episode_of(health.uid, health.findings[0]) == before
