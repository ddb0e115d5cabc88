"""A turn that fails loses nothing: what changed is taken up by the next one."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import suppress
from random import Random

import pytest

from flow.test_policy_life import Cluster, LoopClock, Turns
from support.fakeapi import FakeApi
from support.health import make_claim
from support.pipeline import controllers_only
from volumehealth.app.engine import Engine
from volumehealth.cluster.changes import Changes
from volumehealth.model.ids import ClaimRef
from volumehealth.pipeline import Pipeline
from volumehealth.report.reporter import Reporter

pytestmark = pytest.mark.looptime


class ChangingCluster(Cluster):
    """A cluster whose changes can be seen."""

    changes: Changes

    def subscribe(self) -> Changes:
        self.changes = Changes()
        return self.changes


class FailingPipeline(Pipeline):
    """Fails when it is told to, in the middle of following what changed."""

    fails = False

    def follow(self, *told: object, **how: object) -> Iterator[None]:  # type: ignore[override]
        yield
        if self.fails:
            raise OverflowError("date value out of range")
        yield from super().follow(*told, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("failures", [1, 3])
async def test_what_changed_in_a_turn_that_failed_is_followed_by_the_next(failures: int) -> None:
    cluster, clock = ChangingCluster(), LoopClock()
    reporter = Reporter(FakeApi(), clock=clock, random=Random(1), metrics=Turns(), pods_of=lambda _: ())
    made = controllers_only(cluster, cluster)
    pipeline = FailingPipeline(cluster, made.sources, clock)
    engine = Engine(
        view=cluster,
        pipeline=pipeline,
        controllers=made.controllers,
        reporter=reporter,
        metrics=Turns(),
        clock=clock,
    )
    cluster.show("a")
    running = asyncio.create_task(engine.run())
    await engine.started()
    await engine.turn("a")
    claim = make_claim()
    cluster.claims[claim.ref] = claim
    cluster.changes.add(claim.ref)
    pipeline.fails = True
    for _ in range(failures):
        with pytest.raises(OverflowError):
            await engine.turn("a")
    pipeline.fails = False
    await engine.turn("a")
    assert pipeline.selection.owner(claim.ref) == "a"
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("changed", [None, (), (ClaimRef("a", "b"),)])
def test_what_is_put_back_comes_again(changed: Collection[ClaimRef] | None) -> None:
    changes = Changes()
    changes.take()
    changes.put_back(changed)
    assert changes.take() == (None if changed is None else frozenset(changed))
