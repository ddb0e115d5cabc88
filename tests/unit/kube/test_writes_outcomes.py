"""Every write ends in exactly one outcome, whatever is put, dropped, refused, cancelled or thrown, in any order."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fakeapi import FakeApi
from volumehealth import errors
from volumehealth.kube.writes import Limits, Outcome, Result, Write, WriteQueue

ANSWERS = (
    None,
    None,
    errors.ApiUnreachable("away"),
    errors.TooManyRequests("slow down", status=429, retry_after=3.0),
    errors.ApiError("internal", status=500),
    errors.Forbidden("no", status=403),
    errors.Forbidden("being terminated", status=403),
    errors.Conflict("exists", status=409),
    errors.NotFound("no", status=404),
    errors.Invalid("bad", status=422),
    RuntimeError("a fault of this program"),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3), st.sampled_from(["fine", "unwanted", "throws"])),
        st.tuples(st.just("put and put again"), st.integers(0, 3), st.just("fine")),
        st.tuples(st.just("put refusable"), st.integers(0, 3), st.just("fine")),
        st.tuples(st.just("discard"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 7, 300]), st.just("")),
        st.tuples(st.just("run anew"), st.just(0), st.just("")),
    ),
    max_size=40,
)


@dataclass
class Job:
    """One put, and the outcomes it was told."""

    key: int
    ends: list[Result] = field(default_factory=list)


class Story:
    """A queue, a server with a mind of its own, and every job that was put."""

    def __init__(self, answers: list[Any]) -> None:
        self.jobs: list[Job] = []
        self.answers = answers
        self.api = FakeApi()
        self.api.refuse = self._refuse
        self.queue = WriteQueue(
            self.api, random=Random(1), observe=lambda *_: None, limits=Limits(refusable=3, in_flight=2)
        )
        self.running = asyncio.create_task(self.queue.run())

    def put(self, key: int, mind: str, *, again: bool = False, refusable: bool = False) -> None:
        job = Job(key)
        self.jobs.append(job)

        def make() -> Write | None:
            if mind == "throws":
                raise ValueError("cannot be built")
            return Write("PUT", f"/things/{key}") if mind == "fine" else None

        def done(outcome: Outcome) -> None:
            job.ends.append(outcome.result)
            if again:
                self.put(key, "fine")
            if mind == "throws":
                raise ValueError("cannot be handled")

        self.queue.put(key, make, kind="thing", priority=key, on_done=done, refusable=refusable)

    async def step(self, what: str, number: int, mind: str) -> None:
        match what:
            case "put":
                self.put(number, mind)
            case "put and put again":
                self.put(number, mind, again=True)
            case "put refusable":
                self.put(number, mind, refusable=True)
            case "discard":
                self.queue.discard(number)
            case "wait":
                await asyncio.sleep(number)
            case "run anew":
                self.running.cancel()
                with suppress(asyncio.CancelledError):
                    await self.running
                self.running = asyncio.create_task(self.queue.run())

    async def end(self) -> None:
        """Let the server be well, and all that waits come to its end."""
        self.answers.clear()
        await asyncio.sleep(4000)
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running

    def _refuse(self, method: str, path: str) -> errors.ApiError | None:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, RuntimeError):
            raise answer
        self.api.objects[path] = {"kind": "Thing"}
        return answer


async def tell(steps: list[tuple[str, int, str]], answers: list[Any]) -> list[Job]:
    story = Story(answers)
    for what, number, mind in steps:
        await story.step(what, number, mind)
    await story.end()
    assert len(story.queue) == 0
    return story.jobs


def at_once(story: Coroutine[Any, Any, list[Job]]) -> list[Job]:
    """Run on a loop whose time is virtual."""
    loop = looptime.new_event_loop()
    try:
        jobs: list[Job] = loop.run_until_complete(story)
        return jobs
    finally:
        loop.close()


@settings(deadline=None, max_examples=150)
@given(STEPS, st.lists(st.sampled_from(ANSWERS), max_size=30))
def test_every_write_ends_exactly_once(steps: list[tuple[str, int, str]], answers: list[Any]) -> None:
    jobs = at_once(tell(steps, answers))
    assert [job.ends for job in jobs if len(job.ends) != 1] == []


@pytest.mark.looptime
async def test_a_follow_up_that_replaces_a_newer_write_tells_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeApi()
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    ends: list[tuple[str, Result]] = []

    def put(name: str) -> None:
        queue.put(
            "event",
            lambda: Write("POST", "/events", {"metadata": {"name": name}}),
            kind="event",
            priority=1,
            on_done=lambda outcome: follow_up(name, outcome),
        )

    def follow_up(name: str, outcome: Outcome) -> None:
        ends.append((name, outcome.result))
        if name == "first":
            put("follow-up")

    running = asyncio.create_task(queue.run())
    put("first")
    await asyncio.sleep(0.001)
    put("newer")
    await asyncio.sleep(1)
    assert ends == [("first", Result.DONE), ("newer", Result.REPLACED), ("follow-up", Result.DONE)]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_an_error_in_one_write_costs_that_write_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeApi()
    counted: list[tuple[str, str]] = []
    queue = WriteQueue(api, random=Random(1), observe=lambda *what: counted.append(what))

    def broken() -> Write:
        raise OverflowError("date value out of range")

    running = asyncio.create_task(queue.run())
    for _ in range(20):
        queue.put("broken", broken, kind="record", priority=0)
        queue.put(
            "fine", lambda: Write("POST", "/things", {"metadata": {"name": "a"}}), kind="record", priority=1
        )
        await asyncio.sleep(5)
    assert not running.done()
    assert "/things/a" in api.objects
    assert 1 <= counted.count(("record", "Failed")) <= 8
    assert [record.message for record in caplog.records].count("a write could not be made") == 1
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_a_conflict_is_no_answer_to_a_look_which_is_tried_again() -> None:
    """A proxy says so, and no API server: a look that counted as done left the word on the other side untold."""
    api = FakeApi()
    api.objects["/things/a"] = {"metadata": {"name": "a"}}
    answers: list[errors.ApiError | None] = [errors.Conflict("exists", status=409), None]
    api.refuse = lambda *_: answers.pop(0)
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    ends: list[Result] = []
    running = asyncio.create_task(queue.run())
    queue.put(
        "event",
        lambda: Write("GET", "/things/a"),
        kind="event",
        priority=1,
        on_done=lambda outcome: ends.append(outcome.result),
    )
    await asyncio.sleep(60)
    assert ends == [Result.DONE]
    assert queue.calm(other_than="record") < 60
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
