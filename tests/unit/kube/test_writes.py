"""The write queue: the newest write of each key goes out, in order, whatever the API server does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from support.fakeapi import FakeApi
from volumehealth import errors
from volumehealth.kube.writes import Limits, Outcome, Result, Write, WriteQueue

pytestmark = pytest.mark.looptime

Counted = list[tuple[str, str]]


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def counted() -> Counted:
    """What was observed of writes."""
    return []


@pytest.fixture
async def queue(api: FakeApi, counted: Counted) -> WriteQueue:
    return WriteQueue(api, random=Random(1), observe=lambda *what: counted.append(what))


@asynccontextmanager
async def running(queue: WriteQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def an_object(name: str) -> Write:
    return Write("POST", "/things", {"kind": "Thing", "metadata": {"name": name}})


def put(queue: WriteQueue, name: str, **how: Any) -> bool:
    how = {"kind": "thing", "priority": 2, **how}
    return queue.put(name, how.pop("make", lambda: an_object(name)), **how)


async def test_a_write_is_sent_and_its_end_is_told(api: FakeApi, queue: WriteQueue, counted: Counted) -> None:
    ends: list[Outcome] = []
    async with running(queue):
        put(queue, "a", on_done=ends.append)
        assert await queue.drain(5) == 0
    assert api.count("POST") == 1
    assert [end.result for end in ends] == [Result.DONE]
    assert counted == [("thing", "Done")]


async def test_only_the_newest_write_of_a_key_is_sent(api: FakeApi, queue: WriteQueue) -> None:
    put(queue, "key", make=lambda: an_object("old"))
    put(queue, "key", make=lambda: an_object("new"))
    async with running(queue):
        await queue.drain(5)
    assert list(api.objects) == ["/things/new"]


async def test_the_body_is_built_when_it_is_sent_and_may_say_that_nothing_is_wanted(
    api: FakeApi, queue: WriteQueue
) -> None:
    ends: list[Outcome] = []
    put(queue, "a", make=lambda: None, on_done=ends.append)
    async with running(queue):
        await queue.drain(5)
    assert api.requests == []
    assert ends == [Outcome(Result.DROPPED)]


async def test_a_key_never_has_two_requests_at_once_and_the_newest_still_goes_out(
    api: FakeApi, queue: WriteQueue
) -> None:
    async with running(queue):
        put(queue, "key", make=lambda: an_object("first"))
        await asyncio.sleep(0.005)
        put(queue, "key", make=lambda: an_object("second"))
        put(queue, "key", make=lambda: an_object("third"))
        await queue.drain(5)
    assert api.most_in_flight == 1
    assert list(api.objects) == ["/things/first", "/things/third"]


async def test_a_leader_that_wakes_up_late_sends_no_write_until_it_surely_leads(api: FakeApi) -> None:
    leads = False
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, leads=lambda: leads)
    put(queue, "a")
    async with running(queue):
        await asyncio.sleep(60)
        assert api.requests == []
        leads = True
        await asyncio.sleep(60)
    assert list(api.objects) == ["/things/a"]


async def test_one_that_may_not_lead_any_more_may_still_look(api: FakeApi) -> None:
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, leads=lambda: False)
    api.objects["/things/a"] = {"kind": "Thing"}
    ends: list[Outcome] = []
    put(queue, "a", make=lambda: Write("GET", "/things/a"), on_done=ends.append)
    async with running(queue):
        await queue.drain(5)
    assert [end.result for end in ends] == [Result.DONE]


class _Login(FakeApi):
    """Something before the API server that answers the first looks with its login page."""

    pages = 2

    async def request(self, method: str, path: str, **rest: Any) -> bytes:
        answer = await super().request(method, path, **rest)
        self.pages -= method == "GET"
        return answer if self.pages < 0 else b"<html>please log in</html>"


async def test_a_page_in_the_place_of_an_object_that_was_looked_at_is_no_object() -> None:
    """Faults F16: the Event of a recovery was taken for one that is there, and nobody was told."""
    api = _Login()
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    ends: list[Outcome] = []
    put(queue, "a", make=lambda: Write("GET", "/things/a"), on_done=ends.append)
    api.objects["/things/a"] = {"kind": "Thing"}
    async with running(queue):
        await queue.drain(30)
    assert [end.result for end in ends] == [Result.DONE]
    assert len(api.requests) == 3


async def test_more_important_writes_go_first_and_equal_ones_in_order(api: FakeApi) -> None:
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, limits=Limits(in_flight=1))
    for priority in (3, 2, 1, 0):
        for turn in "12":
            put(queue, f"{priority}-{turn}", priority=priority)
    async with running(queue):
        await queue.drain(5)
    names = [name.removeprefix("/things/") for name in api.objects]
    assert names == [f"{priority}-{turn}" for priority in range(4) for turn in "12"]


async def test_a_flow_with_one_thing_to_tell_does_not_wait_for_another_s_thousands(api: FakeApi) -> None:
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, limits=Limits(in_flight=1))
    for number in range(2000):
        put(queue, f"many-{number:04}", flow="many")
    async with running(queue):
        while api.count("POST") < 100:  # noqa: ASYNC110 - the middle of the burst
            await asyncio.sleep(0.001)
        for number in range(3):
            put(queue, f"few-{number}", flow="few")
        await queue.drain(60)
    order = [path.removeprefix("/things/") for path in api.objects]
    assert max(order.index(f"few-{number}") for number in range(3)) < 110
    assert len(order) == 2003


async def test_a_write_without_pace_costs_paced_ones_of_others_nothing(api: FakeApi) -> None:
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None)
    for number in range(500):
        put(queue, f"many-{number:03}", flow="many", paced=True)
    put(queue, "at-once", flow="many")
    async with running(queue):
        await asyncio.sleep(1)
        put(queue, "few", flow="few", paced=True)
        await queue.drain(60)
    order = [path.removeprefix("/things/") for path in api.objects]
    assert order.index("few") < 110


async def test_flows_with_much_to_tell_take_turns_within_a_priority(api: FakeApi) -> None:
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, limits=Limits(in_flight=1))
    for flow in ("a", "b", "c"):
        for number in range(4):
            put(queue, f"{flow}{number}", flow=flow)
    put(queue, "first", flow="a", priority=0)
    put(queue, "a0", flow="a")  # wanted anew: it keeps its turn
    async with running(queue):
        await queue.drain(5)
    order = [path.removeprefix("/things/") for path in api.objects]
    assert order[0] == "first"
    assert [sorted(order[at : at + 3]) for at in (1, 4, 7, 10)] == [
        [f"a{number}", f"b{number}", f"c{number}"] for number in range(4)
    ]


async def test_ten_thousand_writes_all_arrive_with_sixteen_at_once(api: FakeApi, queue: WriteQueue) -> None:
    for number in range(10_000):
        put(queue, str(number))
    async with running(queue):
        assert await queue.drain(60) == 0
    assert len(api.objects) == 10_000
    assert api.most_in_flight == 16


async def test_an_api_server_that_goes_away_in_a_burst_loses_nothing_and_gets_nothing_twice(
    api: FakeApi, queue: WriteQueue
) -> None:
    for number in range(500):
        put(queue, str(number))
    async with running(queue):
        await asyncio.sleep(0.1)
        api.away = True
        await asyncio.sleep(60)
        api.away = False
        assert await queue.drain(120) == 0
    assert len(api.objects) == 500
    assert len(api.requests) == 500


async def test_an_api_server_that_is_away_is_tried_ever_more_rarely_by_one_request_at_a_time(
    api: FakeApi, queue: WriteQueue, counted: Counted
) -> None:
    api.away = True
    for number in range(50):
        put(queue, str(number))
    async with running(queue):
        await asyncio.sleep(1)
        counted.clear()
        await asyncio.sleep(300)
    assert 5 <= len(counted) <= 20
    assert set(counted) == {("thing", "Retried")}


async def test_after_a_short_outage_writes_go_on_soon_however_many_failed_together(
    api: FakeApi, queue: WriteQueue
) -> None:
    for number in range(500):
        put(queue, str(number))
    async with running(queue):
        await asyncio.sleep(0.1)
        api.away = True
        await asyncio.sleep(2)
        api.away = False
        await asyncio.sleep(3)
    assert len(api.objects) == 500


async def test_retry_after_is_honoured(api: FakeApi, queue: WriteQueue) -> None:
    api.refusals = [errors.TooManyRequests("slow down", status=429, retry_after=20.0)]
    loop = asyncio.get_running_loop()
    async with running(queue):
        put(queue, "a")
        start = loop.time()
        await queue.drain(60)
    assert loop.time() - start >= 20


async def test_too_many_of_one_kind_hold_up_no_other_kind(api: FakeApi, queue: WriteQueue) -> None:
    """The admission plugin EventRateLimit limits Events, and nothing else."""
    pressed = errors.TooManyRequests("limit reached on type Server for key server", status=429)
    api.refuse = lambda _, path: pressed if path == "/events" else None
    async with running(queue):
        for number in range(200):
            how = {"kind": "event", "priority": 1}
            put(queue, f"event{number}", make=lambda: Write("POST", "/events"), **how)
        await asyncio.sleep(1)
        for number in range(100):
            put(queue, f"record{number}", kind="record", priority=2)
        await asyncio.sleep(2)
        assert len(api.objects) == 100
        tried = sum(path == "/events" for _, path in api.requests)
        await asyncio.sleep(60)
        assert sum(path == "/events" for _, path in api.requests) - tried <= 80
        assert len(queue) == 200


async def test_too_many_events_of_one_namespace_hold_up_no_other_namespace_for_long(
    api: FakeApi, queue: WriteQueue
) -> None:
    pressed = errors.TooManyRequests("limit reached on type Namespace for key noisy", status=429)
    api.refuse = lambda _, path: pressed if path == "/noisy" else None
    async with running(queue):
        for number in range(20):
            put(queue, f"noisy{number}", make=lambda: Write("POST", "/noisy"), kind="event", priority=1)
        await asyncio.sleep(60)
        for number in range(100):
            put(queue, f"event{number}", kind="event", priority=1)
        put(queue, "of a pod", kind="event", priority=3)
        await asyncio.sleep(60)
        assert len(api.objects) == 101


async def test_one_write_that_the_server_chokes_on_does_not_hold_up_the_others(
    api: FakeApi, queue: WriteQueue
) -> None:
    api.refuse = lambda _, path: errors.ApiError("internal", status=500) if path == "/choke" else None
    async with running(queue):
        put(queue, "bad", make=lambda: Write("POST", "/choke"))
        await asyncio.sleep(5)
        put(queue, "good")
        await asyncio.sleep(0.1)
        assert "/things/good" in api.objects
        assert "bad" in queue


@pytest.mark.parametrize(
    ("method", "error", "result"),
    [
        pytest.param("POST", errors.Conflict("exists", status=409), Result.CONFLICT, id="it exists already"),
        pytest.param("PATCH", errors.NotFound("no", status=404), Result.NOT_FOUND, id="it is not there"),
        pytest.param("POST", errors.NotFound("no", status=404), Result.GONE, id="its namespace is not there"),
        pytest.param(
            "POST",
            errors.Forbidden("namespace shop because it is being terminated", status=403),
            Result.GONE,
            id="its namespace is going",
        ),
        pytest.param("POST", errors.Invalid("bad", status=422), Result.INVALID, id="it is not valid"),
        pytest.param("POST", errors.ApiError("too large", status=413), Result.INVALID, id="it is too large"),
    ],
)
async def test_what_another_try_would_not_change_is_told_at_once(
    api: FakeApi, queue: WriteQueue, method: str, error: errors.ApiError, result: Result
) -> None:
    api.refusals = [error]
    ends: list[Outcome] = []
    async with running(queue):
        put(queue, "a", make=lambda: Write(method, "/things/a", {}), on_done=ends.append)
        assert await queue.drain(5) == 0
    assert ends == [Outcome(result)]
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [402, 408, 410, 418, 425, 500])
async def test_an_answer_that_may_be_another_one_next_time_is_waited_out(
    api: FakeApi, queue: WriteQueue, status: int
) -> None:
    """Such as 410, which a write has no use for: something on the way said it."""
    api.refusals = [errors.ApiError("not now", status=status)]
    ends: list[Outcome] = []
    async with running(queue):
        put(queue, "a", on_done=ends.append)
        await asyncio.sleep(60)
    assert [end.result for end in ends] == [Result.DONE]


async def test_a_missing_right_is_tried_again_slowly_and_logged_rarely(
    api: FakeApi, queue: WriteQueue, caplog: pytest.LogCaptureFixture, counted: Counted
) -> None:
    forbidden = errors.Forbidden("events is forbidden", status=403)
    api.refuse = lambda *_: forbidden
    async with running(queue):
        for number in range(20):
            put(queue, str(number))
        await asyncio.sleep(3600)
        assert len(api.requests) <= 20 * 12
        api.refuse = lambda *_: None
        await asyncio.sleep(720)
    assert len(api.objects) == 20
    assert counted.count(("thing", "Forbidden")) <= 20 * 12
    assert {record.message for record in caplog.records} == {"refused for now; trying again later"}
    assert len(caplog.records) <= 7  # in more than an hour


async def test_a_server_that_refuses_everybody_while_it_starts_is_tried_again_within_seconds(
    api: FakeApi, queue: WriteQueue
) -> None:
    """However long it was away before: only refusals count for how long the next try waits."""
    api.refuse = lambda *_: errors.ApiUnreachable("connection refused")
    async with running(queue):
        put(queue, "a")
        await asyncio.sleep(300)
        api.refuse = lambda *_: errors.Forbidden("not allowed yet", status=403)
        await asyncio.sleep(40)
        api.refuse = lambda *_: None
        await asyncio.sleep(60)
    assert len(api.objects) == 1


async def test_paced_writes_wait_for_others_of_their_priority_and_keep_their_rate(api: FakeApi) -> None:
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, limits=Limits(paced_per_second=10))
    for number in range(100):
        put(queue, f"paced{number}", priority=1, paced=True)
    put(queue, "other", priority=1)
    async with running(queue):
        await asyncio.sleep(3)
        assert next(iter(api.objects)) == "/things/other"
        assert 25 <= len(api.objects) <= 45
        assert await queue.drain(20) == 0


async def test_paced_writes_are_not_held_up_by_thousands_of_lower_priority(api: FakeApi) -> None:
    """An array that is gone: 10,000 records must not keep its claims' Events waiting until all are written."""
    api.latency = 0.1
    queue = WriteQueue(api, random=Random(1), observe=lambda *_: None, limits=Limits(paced_per_second=10))
    for number in range(2000):
        put(queue, f"record{number}", priority=2)
        put(queue, f"paced{number}", priority=1, paced=True)
    async with running(queue):
        await asyncio.sleep(5)
    told = sum("paced" in path for path in api.objects)
    assert 45 <= told <= 70
    assert len(api.objects) > 5 * told


async def test_a_delayed_write_may_be_replaced_before_its_time(api: FakeApi, queue: WriteQueue) -> None:
    async with running(queue):
        put(queue, "key", make=lambda: an_object("delayed"), delay=15)
        await asyncio.sleep(10)
        assert api.requests == []
        put(queue, "key", make=lambda: an_object("instead"))
        await asyncio.sleep(20)
    assert list(api.objects) == ["/things/instead"]


async def test_what_is_discarded_is_not_sent(api: FakeApi, queue: WriteQueue) -> None:
    put(queue, "a")
    queue.discard("a")
    async with running(queue):
        assert await queue.drain(5) == 0
    assert api.requests == []


async def test_what_may_be_refused_is_when_too_much_waits_and_nothing_else_is(
    api: FakeApi, counted: Counted
) -> None:
    queue = WriteQueue(
        api, random=Random(1), observe=lambda *what: counted.append(what), limits=Limits(refusable=3)
    )
    accepted = [put(queue, str(number), refusable=True) for number in range(5)]
    assert accepted == [True, True, True, False, False]
    assert put(queue, "claim")
    assert counted == [("thing", "Refused")] * 2


async def test_the_end_of_a_write_may_put_the_next_one(api: FakeApi, queue: WriteQueue) -> None:
    def then(_: Outcome) -> None:
        put(queue, "a", make=lambda: an_object("second"))

    async with running(queue):
        put(queue, "a", make=lambda: an_object("first"), on_done=then)
        assert await queue.drain(5) == 0
    assert list(api.objects) == ["/things/first", "/things/second"]


async def test_draining_gives_up_in_time_and_says_what_is_left(api: FakeApi, queue: WriteQueue) -> None:
    api.away = True
    async with running(queue):
        put(queue, "a")
        assert await queue.drain(3) == 1


async def test_an_idle_queue_does_not_wake_up(queue: WriteQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    wakes = 0
    sleep: Callable[[], Any] = queue._sleep

    async def counting() -> None:
        nonlocal wakes
        wakes += 1
        await sleep()

    monkeypatch.setattr(queue, "_sleep", counting)
    async with running(queue):
        put(queue, "a")
        await asyncio.sleep(3600)
    assert wakes <= 4
