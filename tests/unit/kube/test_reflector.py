"""How one resource is followed: nothing is lost, nothing is held that is gone, and trouble is waited out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from volumehealth import errors
from volumehealth.cluster.objects import ClaimRow, LabelPool
from volumehealth.cluster.resources import claims
from volumehealth.kube.reflector import Pace, Reflector
from volumehealth.model.clock import Clock

pytestmark = pytest.mark.looptime


class Shelf:
    """A sink that keeps names and phases, and remembers what it was told."""

    def __init__(self) -> None:
        self.rows: dict[Hashable, str] = {}
        self.told: list[str] = []
        self.news = 0

    def put(self, row: ClaimRow, /) -> None:
        self.rows[row.ref] = row.phase
        self.told.append(f"put {row.ref.name}")

    def drop(self, key: Any, /) -> None:
        del self.rows[key]
        self.told.append(f"drop {key.name}")

    def announce(self) -> None:
        self.news += 1

    def known(self) -> set[Any]:
        return set(self.rows)

    @property
    def names(self) -> list[str]:
        return sorted(key.name for key in self.rows)  # type: ignore[attr-defined]  # keys are ClaimRefs


Follow = Callable[..., Any]


@pytest.fixture
def follow(collection: Any, clock: Clock) -> Follow:
    """Start following; gives the shelf and the reflector, and ends with the context."""

    @asynccontextmanager
    async def start(**pace: float) -> AsyncIterator[tuple[Shelf, Reflector[Any, ClaimRow]]]:
        shelf = Shelf()
        resource = claims(LabelPool())
        optional, dispensable = pace.pop("optional", 0), pace.pop("dispensable", 0)
        if optional or dispensable:
            resource = type(resource)(
                resource.name,
                "/apis/example.dev/v1/claims",
                resource.item,
                read=resource.read,
                key=resource.key,
                optional=bool(optional),
                dispensable=bool(dispensable),
                query={"labelSelector": "app"} if dispensable else {},
            )
        reflector = Reflector(
            collection,
            resource,
            shelf,
            clock=clock,
            random=Random(1),
            pace=Pace(**pace),  # type: ignore[arg-type]  # `page` is a whole number
            news=shelf.announce,
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield shelf, reflector
        finally:
            task.cancel()

    return start


async def until(condition: Callable[[], bool], seconds: float = 100.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.02)


async def fill(collection: Any, count: int) -> None:
    for number in range(count):
        await collection.put(f"claim-{number:03}")


async def test_a_list_in_pages_then_changes_as_they_happen(collection: Any, follow: Follow) -> None:
    await fill(collection, 25)
    async with follow(page=10) as (shelf, reflector):
        await until(lambda: reflector.synced)
        assert len(shelf.rows) == 25
        assert [query.get("limit") for query in collection.lists] == ["10"] * 3
        await collection.put("new", status={"phase": "Bound"})
        await collection.delete("claim-007")
        await until(lambda: "new" in shelf.names and "claim-007" not in shelf.names)
        assert len(collection.lists) == 3, "a change needs no list"


async def test_objects_that_come_and_go_between_two_pages_are_right_in_the_end(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 30)
    async with follow(page=5) as (shelf, reflector):
        await until(lambda: len(collection.lists) >= 2)
        await collection.delete("claim-000")  # in a page that was read
        await collection.put("claim-001-and-a-half")
        await collection.delete("claim-029")  # in a page that comes or came
        await until(lambda: reflector.synced)
        await until(lambda: shelf.names == sorted(name for _, name in collection.objects))


async def test_a_watch_that_the_server_ends_goes_on_where_it_was(collection: Any, follow: Follow) -> None:
    await fill(collection, 3)
    async with follow(watch_for=100) as (shelf, reflector):
        await until(lambda: len(collection.watches) == 3, seconds=400)
        await collection.put("late")
        await until(lambda: "late" in shelf.names)
        assert len(collection.lists) == 1
        assert reflector.error == ""


async def test_a_bookmark_moves_the_version_on_so_that_a_quiet_resource_is_never_too_old(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 3)
    async with follow(watch_for=100):
        await until(lambda: len(collection.watches) == 1)
        collection.version = 5000  # other resources change
        await asyncio.sleep(70)
        collection.compacted = 4000
        await until(lambda: len(collection.watches) == 2, seconds=200)
        assert collection.watches[1]["resourceVersion"] == "5000"
        assert len(collection.lists) == 1


async def test_a_version_that_is_too_old_leads_to_a_new_list_and_old_rows_stay_meanwhile(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 20)
    async with follow(page=5) as (shelf, reflector):
        await until(lambda: reflector.synced)
        collection.away = errors.ApiUnreachable("connection refused")
        await collection.cut()
        await asyncio.sleep(5)
        await collection.delete("claim-003")
        await collection.put("new")
        collection.compacted = collection.version + 1
        collection.away = None
        shelf.told.clear()
        await until(lambda: len(collection.lists) > 4)
        assert len(shelf.rows) >= 20
        collection.compacted = 0
        await until(lambda: "new" in shelf.names and "claim-003" not in shelf.names)
        assert [told for told in shelf.told if told.startswith("drop")] == ["drop claim-003"]


async def test_versions_that_are_always_too_old_do_not_make_the_server_list_without_a_pause(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 3)
    collection.compacted = 10**9
    async with follow():
        await asyncio.sleep(120)
        assert len(collection.lists) < 25


async def test_an_expired_continue_token_starts_the_list_again_all_at_once(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 12)
    collection.expire_tokens = 1
    async with follow(page=5) as (shelf, reflector):
        await until(lambda: reflector.synced)
        assert len(shelf.rows) == 12
        assert "limit" not in collection.lists[-1]
        assert "continue" not in collection.lists[-1]


async def test_a_dropped_connection_is_made_again_and_nothing_is_missed(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 3)
    async with follow() as (shelf, reflector):
        await until(lambda: len(collection.watches) == 1)
        await collection.cut()
        await collection.put("missed")
        await until(lambda: "missed" in shelf.names, seconds=2)
        assert len(collection.lists) == 1
        assert reflector.error == ""


async def test_a_server_that_is_away_is_tried_again_and_again_but_not_all_the_time(
    collection: Any, follow: Follow
) -> None:
    collection.away = errors.ApiUnreachable("connection refused")
    async with follow(last_backoff=10) as (shelf, reflector):
        await asyncio.sleep(300)
        assert 25 < len(collection.requests) < 80
        assert reflector.error == "connection refused"
        assert not reflector.synced
        collection.away = None
        await fill(collection, 2)
        await until(lambda: shelf.names == ["claim-000", "claim-001"], seconds=11)


async def test_a_server_that_asks_for_time_gets_it(collection: Any, follow: Follow) -> None:
    collection.away = errors.TooManyRequests("too many requests", status=429, retry_after=20)
    async with follow():
        await asyncio.sleep(100)
        assert len(collection.requests) == 5


async def test_a_silent_watch_is_begun_anew_and_its_changes_are_not_lost(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 3)
    async with follow(idle=75) as (shelf, _):
        await until(lambda: len(collection.watches) == 1)
        collection.frozen = True
        await collection.put("unheard")
        await asyncio.sleep(74)
        collection.frozen = False
        await until(lambda: "unheard" in shelf.names, seconds=3)
        assert len(collection.lists) == 1


async def test_a_resource_that_never_changes_and_gets_no_bookmarks_is_still_confirmed(
    collection: Any, follow: Follow, clock: Clock
) -> None:
    """So it is after a start of the API server: no bookmark comes before the first change."""
    await fill(collection, 3)
    collection.bookmark_every = 10**6
    async with follow(watch_for=300, idle=75) as (_, reflector):
        await until(lambda: reflector.synced)
        for _ in range(600):
            await asyncio.sleep(1)
            assert clock.monotonic() - reflector.confirmed < 77
            assert reflector.error == ""
        assert len(collection.lists) == 1


async def test_being_confirmed_means_that_the_server_said_something(collection: Any, follow: Follow) -> None:
    await fill(collection, 3)
    async with follow() as (_, reflector):
        await until(lambda: len(collection.watches) == 1)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.sleep(59)
        assert reflector.confirmed == pytest.approx(begun, abs=1)
        await asyncio.sleep(2)
        assert reflector.confirmed == pytest.approx(begun + 60, abs=1)
        collection.away = errors.ApiUnreachable("connection refused")
        await collection.cut()
        await asyncio.sleep(100)
        assert reflector.confirmed == pytest.approx(begun + 60, abs=1)


async def test_after_a_long_silence_a_watch_is_not_trusted_to_go_on(collection: Any, follow: Follow) -> None:
    """The server may have been restored from a backup, where versions start again."""
    await fill(collection, 3)
    async with follow(resume=120) as (shelf, reflector):
        await until(lambda: reflector.synced)
        collection.away = errors.ApiUnreachable("connection refused")
        await collection.cut()
        await asyncio.sleep(180)
        collection.log.clear()
        collection.objects.clear()
        collection.version = 50
        await collection.put("restored")
        collection.away = None
        await until(lambda: shelf.names == ["restored"], seconds=15)


async def test_a_crd_that_is_not_installed_means_that_there_is_nothing(
    collection: Any, follow: Follow
) -> None:
    collection.exists = False
    async with follow(optional=1, absent=10) as (shelf, reflector):
        await until(lambda: reflector.synced)
        assert reflector.absent
        assert reflector.error == ""
        await asyncio.sleep(100)
        assert len(collection.requests) < 15
        collection.exists = True
        await fill(collection, 1)
        await until(lambda: shelf.names == ["claim-000"], seconds=13)
        assert not reflector.absent


async def test_a_crd_that_is_removed_takes_its_objects_along(collection: Any, follow: Follow) -> None:
    await fill(collection, 2)
    async with follow(optional=1) as (shelf, reflector):
        await until(lambda: reflector.synced)
        await collection.delete("claim-000")  # as Kubernetes does first
        await collection.delete("claim-001")
        await until(lambda: shelf.names == [])
        collection.exists = False
        await collection.cut()
        await until(lambda: reflector.absent, seconds=10)
        assert shelf.names == []


PROXY_SAYS = {
    "404 in HTML": errors.NotServed("GET /: HTTP 404", status=404),
    "403 in HTML": errors.ApiUnreachable("GET /: HTTP 403", status=403),
    "503 in HTML": errors.ApiError("GET /: HTTP 503", status=503),
    "403 of a server that has just started": errors.Forbidden("claims is forbidden", status=403),
    "404 by Kubernetes' own word": errors.NotFound("the server could not find it", status=404),
}


@pytest.mark.parametrize("said", PROXY_SAYS.values(), ids=PROXY_SAYS.keys())
@pytest.mark.parametrize("minutes", [0.5, 30])
async def test_what_was_read_is_not_gone_because_it_cannot_be_read_now(
    collection: Any, follow: Follow, said: errors.ApiError, minutes: float
) -> None:
    await fill(collection, 3)
    async with follow(optional=1, dispensable=1) as (shelf, reflector):
        await until(lambda: reflector.synced)
        collection.away = said
        await collection.cut()
        await asyncio.sleep(60 * minutes)
        assert shelf.names == ["claim-000", "claim-001", "claim-002"]
        assert not any(word.startswith("drop") for word in shelf.told)
        assert not reflector.absent
        assert str(said) in reflector.error
        collection.away = None
        await collection.delete("claim-001")
        await until(lambda: shelf.names == ["claim-000", "claim-002"])
        assert reflector.error == ""


async def test_a_proxy_that_answers_everything_with_404_does_not_make_a_resource_absent(
    collection: Any, follow: Follow
) -> None:
    collection.away = collection.all_away = errors.NotServed("HTTP 404", status=404)
    async with follow(optional=1, dispensable=1) as (_, reflector):
        await asyncio.sleep(600)
        assert not reflector.synced
        assert not reflector.absent


async def test_a_server_that_refuses_everybody_at_its_start_is_waited_for(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 1)
    collection.away = collection.all_away = errors.Forbidden("everything is forbidden", status=403)
    async with follow(dispensable=1) as (shelf, reflector):
        await asyncio.sleep(8)
        assert not reflector.absent
        collection.away = collection.all_away = None
        await until(lambda: shelf.names == ["claim-000"])


async def test_one_refusal_in_a_moment_does_not_make_a_resource_absent(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 1)
    collection.away = errors.Forbidden("claims is forbidden", status=403)
    async with follow(dispensable=1) as (shelf, reflector):
        await asyncio.sleep(0.1)
        collection.away = None
        await until(lambda: shelf.names == ["claim-000"], seconds=3)
        assert not reflector.absent


async def test_a_resource_that_must_exist_is_not_there_by_mistake(collection: Any, follow: Follow) -> None:
    collection.exists = False
    async with follow() as (_, reflector):
        await asyncio.sleep(5)
        assert not reflector.synced
        assert "HTTP 404" in reflector.error


async def test_an_object_that_cannot_be_read_is_skipped_and_the_rest_is_read(
    collection: Any, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(collection, 3)
    await collection.put("claim-001", spec={"accessModes": "not a list"})
    async with follow() as (shelf, reflector):
        await until(lambda: reflector.synced)
        assert shelf.names == ["claim-000", "claim-002"]
        await collection.put("odd", spec={"accessModes": 7})
        await collection.put("odd", spec={"accessModes": 8})
        await collection.put("well")
        await until(lambda: "well" in shelf.names)
        assert reflector.error == ""
        assert len(collection.lists) == 1, "no object leads to a new list"
    told = [record for record in caplog.records if "skipped" in record.getMessage()]
    assert [record.__dict__["object"] for record in told] == ["shop/claim-001", "shop/odd"], "each once"


async def test_what_was_known_of_an_object_stays_while_it_cannot_be_read_and_goes_with_it(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 2)
    async with follow() as (shelf, reflector):
        await until(lambda: reflector.synced)
        await collection.put("claim-000", spec={"accessModes": 7})
        collection.compacted = collection.version + 1  # a list comes
        await collection.cut()
        await until(lambda: len(collection.lists) == 2)
        assert shelf.names == ["claim-000", "claim-001"]
        collection.compacted = 0
        await until(lambda: reflector.error == "")
        await collection.delete("claim-000")
        await until(lambda: shelf.names == ["claim-001"])


async def test_an_object_that_is_of_no_interest_any_more_is_known_no_more(
    collection: Any, clock: Clock
) -> None:
    every, shelf = claims(LabelPool()), Shelf()
    bound = replace(every, read=lambda item: every.read(item) if item.status.phase == "Bound" else None)
    reflector = Reflector(
        collection, bound, shelf, clock=clock, random=Random(1), pace=Pace(), news=shelf.announce
    )
    following = asyncio.create_task(reflector.run())
    for name in ("a", "b"):
        await collection.put(name, status={"phase": "Bound"})
    await until(lambda: shelf.names == ["a", "b"])
    await collection.put("a", status={"phase": "Pending"})
    await until(lambda: shelf.names == ["b"])
    assert len(collection.lists) == 1
    following.cancel()


async def test_a_null_where_nothing_may_be_null_counts_as_left_out(collection: Any, follow: Follow) -> None:
    await collection.put("a", status={"phase": None, "conditions": [None]}, spec={"volumeName": None})
    async with follow() as (shelf, reflector):
        await until(lambda: reflector.synced)
        assert shelf.names == ["a"]


async def test_a_line_that_cannot_be_read_leads_to_a_new_list(collection: Any, follow: Follow) -> None:
    await fill(collection, 1)
    async with follow() as (shelf, reflector):
        await until(lambda: len(collection.watches) == 1)
        collection.garble = b"<html>"
        await collection.put("odd")
        await until(lambda: "cannot be read" in reflector.error)
        collection.garble = b""
        await until(lambda: shelf.names == ["claim-000", "odd"])


async def test_what_may_not_be_read_is_done_without_until_it_may(collection: Any, follow: Follow) -> None:
    collection.away = errors.Forbidden("nodes is forbidden", status=403)
    await collection.put("a")
    async with follow(dispensable=1, absent=10) as (shelf, reflector):
        await until(lambda: reflector.absent)
        assert reflector.synced, "nobody waits for it"
        assert reflector.refused
        news = shelf.news
        await asyncio.sleep(60)
        assert shelf.news == news, "that it is still not there is no news"
        collection.away = None
        await until(lambda: shelf.names == ["a"])
        assert not reflector.absent


async def test_a_query_goes_with_every_list_and_watch(collection: Any, follow: Follow) -> None:
    async with follow(dispensable=1) as (_, reflector):
        await until(lambda: reflector.synced and collection.watches)
        assert {query.get("labelSelector") for query in collection.requests} == {"app"}


async def test_versions_that_run_backwards_are_noticed_at_once(collection: Any, follow: Follow) -> None:
    await fill(collection, 2)
    backup = collection.version
    async with follow() as (shelf, reflector):
        await until(lambda: reflector.synced)
        await collection.put("after-the-backup")
        await collection.delete("claim-000")
        await until(lambda: shelf.names == ["after-the-backup", "claim-001"])
        await collection.restore(backup)
        await until(lambda: shelf.names == ["claim-000", "claim-001"], seconds=10)


async def test_versions_that_ran_backwards_and_caught_up_are_noticed_within_minutes(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 2)
    backup = collection.version
    async with follow() as (shelf, reflector):
        await until(lambda: reflector.synced)
        await collection.delete("claim-000")
        await until(lambda: shelf.names == ["claim-001"])
        await collection.restore(backup)
        for number in range(9):  # a busy cluster is past the old version before anybody looks
            await collection.put(f"new-{number}")
        await until(lambda: "claim-000" in shelf.names, seconds=180)
        assert len(shelf.names) == 11


async def test_a_quiet_server_is_not_asked_for_everything_again_and_again(
    collection: Any, follow: Follow
) -> None:
    await fill(collection, 2)
    collection.bookmark_every = 1e9
    async with follow() as (_, reflector):
        await until(lambda: reflector.synced)
        await asyncio.sleep(1800)
        assert len(collection.lists) == 1
        assert len(collection.looks) < 40


async def test_everything_is_listed_anew_once_an_hour(collection: Any, follow: Follow) -> None:
    await fill(collection, 2)
    async with follow() as (_, reflector):
        await until(lambda: reflector.synced)
        await asyncio.sleep(10 * 3600)
        assert 8 <= len(collection.lists) <= 14
