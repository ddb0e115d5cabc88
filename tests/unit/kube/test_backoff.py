"""A key that failed waits ever longer, whatever is put under it; a right that is back ends the wait of all."""

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random

import pytest

from support.fakeapi import FakeApi
from volumehealth import errors
from volumehealth.kube.backoff import Backoffs, Cause, Growth
from volumehealth.kube.writes import Outcome, Result, Write, WriteQueue

GROWTHS = {cause: Growth(2.0, 2.0, 600.0) for cause in Cause}


def record(name: str = "a") -> Write:
    return Write("PATCH", f"/records/{name}", {"kind": "Record"}, content_type="application/apply-patch+yaml")


async def for_an_hour(queue: WriteQueue, check: Callable[[], None], *, every: float) -> None:
    """Run the queue for an hour, with a check at an interval."""
    running = asyncio.create_task(queue.run())
    for _ in range(int(3600 / every)):
        check()
        await asyncio.sleep(every)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.Forbidden("no", status=403), id="a right is missing"),
        pytest.param(errors.Invalid("no", status=422), id="the server does not take it"),
    ],
)
async def test_a_refused_write_that_every_check_puts_again_costs_a_dozen_requests_an_hour(
    error: errors.ApiError,
) -> None:
    api = FakeApi()
    api.refuse = lambda *_: error
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)

    def check() -> None:
        queue.put("record", record, kind="record", priority=2)

    await for_an_hour(queue, check, every=15)
    assert len(api.requests) <= 20


@pytest.mark.looptime
async def test_a_server_that_chokes_on_one_object_is_asked_twice_a_minute_at_most() -> None:
    api = FakeApi()
    api.refuse = lambda *_: errors.ApiError("internal", status=500)
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)

    def check() -> None:
        queue.put("record", record, kind="record", priority=2)

    await for_an_hour(queue, check, every=5)
    assert len(api.requests) <= 160


@pytest.mark.looptime
async def test_an_outcome_that_its_caller_calls_a_failure_makes_the_key_wait_longer_each_time() -> None:
    api = FakeApi()
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    api.refuse = lambda *_: errors.Conflict("another uid", status=409)

    def check() -> None:
        queue.put("record", record, kind="record", priority=2, on_done=done)

    def done(outcome: Outcome) -> None:
        if outcome.result is Result.CONFLICT:
            queue.back_off("record", kind="record")

    await for_an_hour(queue, check, every=5)
    assert len(api.requests) <= 20


@pytest.mark.looptime
async def test_when_the_right_is_back_for_one_the_others_are_tried_at_once() -> None:
    api = FakeApi()
    api.refuse = lambda *_: errors.Forbidden("no", status=403)
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    running = asyncio.create_task(queue.run())
    for number in range(100):
        queue.put(number, partial(record, str(number)), kind="record", priority=2)
    await asyncio.sleep(7200)
    asked = len(api.requests)
    assert asked <= 100 * 20
    api.refuse = lambda *_: None
    await asyncio.sleep(620)
    assert len(api.of_kind("Record")) == 100
    assert len(api.requests) - asked == 100
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_an_object_that_is_refused_holds_up_no_other() -> None:
    api = FakeApi()
    api.refuse = lambda _, path: errors.Forbidden("no", status=403) if path.endswith("/a") else None
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    running = asyncio.create_task(queue.run())
    for _ in range(10):
        queue.put("a", record, kind="record", priority=2)
        queue.put("b", lambda: record("b"), kind="record", priority=2)
        await asyncio.sleep(15)
    assert api.count("PATCH", "/b") == 10
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_another_cause_starts_from_the_beginning_and_success_forgets_all() -> None:
    backoffs = Backoffs(GROWTHS, random=Random(1))
    waits = [backoffs.failed("a", Cause.FORBIDDEN, kind="record", now=0) for _ in range(12)]
    assert waits[0] < 3
    assert waits == sorted(waits[:8]) + waits[8:]
    assert max(waits) <= 720
    assert backoffs.failed("a", Cause.SERVER, kind="record", now=0) < 3
    backoffs.succeeded("a")
    assert backoffs.left("a", 0) == 0
    assert backoffs.failed("a", Cause.SERVER, kind="record", now=0) < 3


def test_keys_that_nobody_wants_any_more_are_forgotten() -> None:
    backoffs = Backoffs(GROWTHS, random=Random(1))
    for number in range(100_000):
        backoffs.failed(number, Cause.REFUSED, kind="record", now=number * 10.0)
    assert len(backoffs) < 5_000


def test_a_key_that_failed_for_several_causes_is_forgotten_of_all_of_them() -> None:
    """Names of claims that come and go stayed for ever, one for each that failed in two ways."""
    backoffs = Backoffs(GROWTHS, random=Random(1))

    class Key:
        pass

    key = Key()
    kept = weakref.ref(key)
    for cause in (Cause.SERVER, Cause.FORBIDDEN, Cause.REFUSED):
        for kind in ("record", "event"):
            backoffs.failed(key, cause, kind=kind, now=0.0)
    backoffs.succeeded(key)
    del key
    assert kept() is None
