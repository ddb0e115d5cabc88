"""Reads that hang: they delay no other, and are not begun again before they returned."""

import threading
from time import monotonic

from volumehealth.node.workers import HangsError, Workers


async def test_every_job_is_done_and_failures_are_handed_over() -> None:
    def fail() -> int:
        raise PermissionError(13, "Permission denied")

    done = await Workers().run({"a": lambda: 1, "b": fail, "c": lambda: 3})
    assert (done["a"], done["c"]) == (1, 3)
    assert isinstance(done["b"], PermissionError)


async def test_one_that_hangs_delays_the_others_by_no_more_than_its_patience() -> None:
    gate = threading.Event()
    workers = Workers(patience=0.05)
    begun = monotonic()
    done = await workers.run(
        {"a": lambda: 1, "stuck": gate.wait, "c": lambda: 3, "also stuck": gate.wait, "e": lambda: 5}
    )
    assert monotonic() - begun < 2
    assert (done["a"], done["c"], done["e"]) == (1, 3, 5)
    assert isinstance(done["stuck"], HangsError)
    assert workers.hanging == {"stuck", "also stuck"}
    gate.set()


async def test_one_that_hangs_is_not_begun_again_before_it_returned() -> None:
    gate, begun = threading.Event(), []

    def stuck() -> bool:
        begun.append(1)
        return gate.wait()

    workers = Workers(patience=0.05)
    for _ in range(3):
        assert isinstance((await workers.run({"stuck": stuck}))["stuck"], HangsError)
    assert len(begun) == 1
    gate.set()
    while workers.hanging:
        await workers.run({"other": lambda: 1})
    assert (await workers.run({"stuck": stuck}))["stuck"] is True


async def test_a_round_without_jobs_is_done() -> None:
    assert await Workers().run({}) == {}
