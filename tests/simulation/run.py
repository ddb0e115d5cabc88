"""Running one plan from its beginning to its end, in this process."""

import gc
import logging
from dataclasses import dataclass
from random import Random

from simulation.history import History
from simulation.invariants import check_all, check_rest
from simulation.leaks import check_leaks, held_by_all
from simulation.loop import Livelock, SimLoop
from simulation.numbers import check_numbers
from simulation.plan import Plan
from simulation.world import LogLines, World

SETTLE = 1800.0
"""Seconds after the last fault in which everything must be as it should: the longest back-off is 12 minutes."""
REST = 400.0
"""Seconds for which a fresh operator is watched."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a run.

    Attributes:
        history: what happened.
        digest: of it.
        steps: of the loop.
        seconds: of virtual time.
        world: as it is at the end.
    """

    history: History
    digest: str
    steps: int
    seconds: float
    world: World


def run(plan: Plan) -> Result:
    """Run a plan. What it leaves behind is never cleaned up: the interpreter has to end without that."""
    gc.collect()
    gc.disable()
    loop = SimLoop(Random(plan.seed), drag=plan.drag)
    world = World(plan, loop)
    history = world.history
    handler = LogLines(history)
    product = logging.getLogger("volumehealth")
    simulation = logging.getLogger("simulation")
    for logger in (product, simulation):
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger("asyncio").addHandler(handler)
    loop.set_exception_handler(lambda _, context: _unhandled(history, context))
    try:
        loop.run_until_complete(_whole(world))
    except Livelock as error:
        history.violate("11 no livelock", str(error))
    finally:
        for logger in (product, simulation, logging.getLogger("asyncio")):
            logger.removeHandler(handler)
        gc.enable()
    return Result(history, history.digest(), loop.steps, loop.time(), world)


async def _whole(world: World) -> None:
    await world.run(settle=SETTLE)
    check_all(world)
    check_numbers(world)
    since, held = world.loop.time(), held_by_all(world)
    world.restart_all()
    await world.until(since + REST)
    check_rest(world, since)
    check_leaks(world, held)


def _unhandled(history: History, context: dict[str, object]) -> None:
    history.violate("6 nothing fails inside", f"{context.get('message')}: {context.get('exception')!r}")
