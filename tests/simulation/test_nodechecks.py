"""What the simulator takes for true of a volume on a node: the judge of the judge."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from random import Random

import pytest

from simulation.loop import SimLoop
from simulation.machines import NODE_FAULTS, Place
from simulation.nodechecks import Sighting, segments
from simulation.observe import ReportState
from simulation.plan import Plan
from simulation.regimes import Regime
from simulation.telling import Mode, Patience, Segment
from simulation.world import ClaimLife, World
from volumehealth.model.report import (
    ReportedCondition,
    ReportedVolume,
    VolumeHealthReport,
    agent_lease_name,
)

PATIENCE = Patience(ill=10.0, well=60.0, interval=5.0, timeout=2.0)
LIFE = ClaimLife("uid", "data-0", "vol-0", "drv0.csi.example.com", 0.0, died=1000.0)


@pytest.fixture
def world() -> Iterator[World]:
    """A world of one driver in which nothing happens."""
    driver = {"name": LIFE.driver, "legacy": False, "lists": False, "gets": False, "pages": 0}
    plan = Plan(1, 1000.0, 0.0, 1, drivers=(driver,), policies=(), claims=(), actions=())
    with closing(SimLoop(Random(1))) as loop:
        yield World(plan, loop)


def mounted(since: float, until: float | None, *truth: tuple[float, str]) -> Place:
    place = Place("node-0", LIFE.uid, f"pod-{since}", LIFE.handle, "pv-vol-0", LIFE.driver, since, until)
    place.truth.extend(truth)
    return place


def seen(world: World, kind: str) -> list[tuple[float, float, bool, Mode]]:
    regime = Regime("policy", "policy-0", PATIENCE)
    sighting = Sighting("node-0", NODE_FAULTS[kind])
    found: list[Segment] = segments(world, LIFE, sighting, [(0.0, regime, Mode.ON)])
    return [(one.start, one.end, one.ill, one.mode) for one in found]


@pytest.mark.parametrize("kind", ["counted", "shut_down"])
def test_a_device_that_is_gone_hides_what_is_called_by_it(world: World, kind: str) -> None:
    world.nodes.places.append(mounted(0.0, None, (100.0, "gone"), (200.0, "")))
    assert seen(world, kind) == [
        (0.0, 100.0, False, Mode.ON),
        (100.0, 200.0, False, Mode.PAUSED),
        (200.0, 1000.0, False, Mode.ON),
    ]


def says(world: World, at: float, *kinds: str) -> None:
    """Let the agent write a report."""
    faults = [NODE_FAULTS[kind] for kind in kinds]
    conditions = [
        ReportedCondition(one.status, one.reason, "", datetime(2026, 1, 1, tzinfo=UTC), one.observer)
        for one in faults
    ]
    volume = ReportedVolume(LIFE.driver, LIFE.handle, claim_uid=LIFE.uid, conditions=tuple(conditions))
    report = VolumeHealthReport("node-0", volumes=(volume,) if kinds else ())
    world.seen.reports.setdefault("node-0", []).append(ReportState(at, report))


def renews(world: World, *moments: float) -> None:
    """Let the agent renew its Lease."""
    world.seen.renewals[agent_lease_name("node-0")] = list(moments)


@pytest.fixture
def moved(world: World) -> World:
    """A Pod moves to a new mounting at 300 s, which mends what its agent said at 110 s."""
    world.nodes.places += [mounted(0.0, 300.0, (100.0, "counted")), mounted(300.0, None)]
    says(world, 110.0, "counted")
    return world


def test_the_last_report_of_a_dead_agent_accuses_the_next_mounting_while_its_lease_is_valid(
    moved: World,
) -> None:
    renews(moved, 110.0, 170.0, 230.0)
    says(moved, 600.0)
    assert seen(moved, "counted") == [
        (0.0, 100.0, False, Mode.ON),
        (100.0, 410.0, True, Mode.ON),
        (410.0, 1000.0, False, Mode.ON),
    ]


def test_the_report_of_an_agent_that_lives_ends_with_the_mounting(moved: World) -> None:
    renews(moved, 110.0, 170.0, 230.0, 290.0, 350.0)
    says(moved, 308.0)
    assert [ill for *_, ill, _ in seen(moved, "counted")] == [False, True, False]
    assert seen(moved, "counted")[1][1] == 300.0
