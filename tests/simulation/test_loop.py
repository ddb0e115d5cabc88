"""The loop of the simulation: time that nobody waits for, processes that are killed and frozen, one order for a seed."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import pytest

from simulation.loop import Livelock, Process, SimLoop

Work = Callable[[SimLoop, list[str]], Awaitable[None]]


def simulated(work: Work, seed: int = 1) -> list[str]:
    """Run something on virtual time and return what it wrote down."""
    loop, said = SimLoop(Random(seed)), list[str]()
    loop.run_until_complete(work(loop, said))
    loop.close()
    return said


async def counts(said: list[str], name: str) -> None:
    try:
        while True:
            await asyncio.sleep(1.0)
            said.append(name)
    finally:
        said.append(f"{name} cleans up")


def test_an_hour_takes_no_time() -> None:
    async def work(loop: SimLoop, said: list[str]) -> None:
        await asyncio.sleep(3600.0)
        said.append(f"{loop.time():.0f}")

    assert simulated(work) == ["3600"]


def test_a_killed_process_never_runs_again_and_cleans_nothing_up() -> None:
    async def work(loop: SimLoop, said: list[str]) -> None:
        process = Process("victim")
        _ = loop.spawn(process, counts(said, "victim"))
        await asyncio.sleep(2.5)
        loop.kill(process)
        await asyncio.sleep(10.0)
        said.append("end")

    assert simulated(work) == ["victim", "victim", "end"]


def test_a_frozen_process_goes_on_where_it_was() -> None:
    async def work(loop: SimLoop, said: list[str]) -> None:
        process = Process("sleeper")
        task = loop.spawn(process, counts(said, "sleeper"))
        await asyncio.sleep(1.5)
        process.frozen = True
        await asyncio.sleep(10.0)
        said.append("thaws")
        loop.thaw(process)
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.sleep(0.1)

    assert simulated(work) == ["sleeper", "thaws", "sleeper", "sleeper", "sleeper cleans up"]


async def three_processes(loop: SimLoop, said: list[str]) -> None:
    tasks = [loop.spawn(Process(name), counts(said, name)) for name in "abc"]
    await asyncio.sleep(5.5)
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0.1)


def test_one_seed_is_one_order() -> None:
    assert simulated(three_processes, seed=7) == simulated(three_processes, seed=7)


def test_another_seed_is_another_order() -> None:
    assert len({tuple(simulated(three_processes, seed=seed)) for seed in range(5)}) > 1


def test_a_thread_is_done_at_once() -> None:
    async def work(loop: SimLoop, said: list[str]) -> None:
        said.append(await asyncio.to_thread(str, 5))

    assert simulated(work) == ["5"]


def test_what_does_not_come_in_time_fails_at_that_moment() -> None:
    async def work(loop: SimLoop, said: list[str]) -> None:
        answer: asyncio.Future[str] = loop.create_future()
        loop.in_world(5.0, answer.set_result, "an answer")
        said.append(await loop.within(5.5, answer))
        try:
            await loop.within(5.5, loop.create_future())
        except TimeoutError:
            said.append(f"{loop.time():g}")

    assert simulated(work) == ["an answer", "10.5"]


def test_what_was_cancelled_does_not_run() -> None:
    async def work(loop: SimLoop, said: list[str]) -> None:
        for moment in ("soon", "later"):
            schedule = loop.call_soon if moment == "soon" else partial(loop.call_later, 1.0)
            handle = schedule(said.append, moment)
            handle.cancel()
            assert handle.cancelled()
        await asyncio.sleep(2.0)

    assert simulated(work) == []


def test_what_fails_is_told_and_the_loop_goes_on() -> None:
    loop, said = SimLoop(Random(1)), list[str]()
    loop.set_exception_handler(
        lambda _, context: said.append(f"{context['message']}: {context['exception']!r}")
    )
    loop.call_soon(said.index, "nothing")
    loop.run_until_complete(asyncio.sleep(1.0))
    loop.close()
    assert said == ["Exception in callback list.index: ValueError(\"'nothing' is not in list\")"]


def test_what_spins_without_an_end_is_found() -> None:
    loop = SimLoop(Random(1), most=1000)

    def spin() -> None:
        loop.call_soon(spin)

    spin()
    with pytest.raises(Livelock):
        loop.run_forever()
    loop.close()
