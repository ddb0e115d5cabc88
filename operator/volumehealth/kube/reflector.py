"""One resource followed for ever: a list in pages, then a watch that goes on from it, and again.

What it relies on is said in the Kubernetes API concepts: a watch from a resource version gets every change after it;
bookmarks move that version on and come about once a minute; 410 means the version is too old, and a list is due.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from volumehealth import errors
from volumehealth.kube.answers import Status, error_of_status
from volumehealth.kube.lists import Page, WatchLine
from volumehealth.model.clock import Clock

log = logging.getLogger(__name__)

_SHORT, _LONG = 1.0, 5.0
"""Seconds: a watch that ends sooner is a failure, one that lasts longer has proved that the server is well."""
_LONGEST_WAIT = 60.0
"""Seconds that a server may ask us to stay away."""

Item = TypeVar("Item")
Row = TypeVar("Row")
Row_contra = TypeVar("Row_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a resource is followed. Times in seconds.

    Attributes:
        page: objects in one page of a list; one page is decoded without a pause.
        list_timeout: of one page.
        watch_for: the server ends a watch after this long, somewhat spread, so that watches move between servers.
        idle: a watch is begun anew if nothing came for so long. Bookmarks come each minute, but a resource that has
            not changed since the API server started gets none, so silence proves nothing either way.
        first_backoff, last_backoff: waiting time after the first failure, doubled up to the last; spread by half.
        absent: until a resource that does not exist (its CRD is not installed) is looked for again.
        resume: after a failure, a watch that was not confirmed for longer than this is not resumed but listed anew:
            the server may have been restored from a backup, where versions start again.
    """

    page: int = 500
    list_timeout: float = 60.0
    watch_for: float = 300.0
    idle: float = 75.0
    first_backoff: float = 0.5
    last_backoff: float = 10.0
    absent: float = 10.0
    resume: float = 120.0


class Requests(Protocol):
    """What a reflector needs of `kube.api.Api`."""

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        """Send one request and return the body of a 2xx answer."""

    def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[bytes, None]:
        """GET a stream of lines; the first, empty one says that it was accepted."""


class Sink(Protocol[Row_contra]):
    """Where rows go."""

    def put(self, row: Row_contra, /) -> None:
        """Take an object as it is now."""

    def drop(self, key: Any, /) -> None:
        """An object is gone."""

    def known(self) -> Collection[Any]:
        """Return the keys of all objects that are known."""


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Version(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


@dataclass(frozen=True, slots=True)
class Resource(Generic[Item, Row]):
    """What is followed.

    Attributes:
        name: plural, as in messages: `persistentvolumeclaims`.
        path: of the whole collection, in all namespaces.
        item: the struct that one object is decoded into.
        read: makes the row; None if the object is of no interest.
        key: what a row is known by.
        version: `metadata.resourceVersion` of an object.
        optional: it may not exist (its CRD may not be installed), which is no failure.
        dispensable: nor is it one if we may not read it: what it would tell stays unknown.
        query: selectors, for lists and watches alike (`labelSelector`, `fieldSelector`).
    """

    name: str
    path: str
    item: type[Item]
    read: Callable[[Item], Row | None]
    key: Callable[[Row], Hashable]
    version: Callable[[Item], str]
    optional: bool = False
    dispensable: bool = False
    query: Mapping[str, str] = field(default_factory=dict)


class Reflector(Generic[Item, Row]):
    """Follows one resource and tells its sink.

    Args:
        api: where from.
        resource: what.
        sink: where to.
        clock: time.
        random: spreads waiting times.
        pace: how.
        news: called after every batch of changes.

    Attributes:
        synced: the whole list was read at least once, or the resource does not exist.
        absent: the resource does not exist (its CRD is not installed), or we may not read it and can do without.
        confirmed, confirmed_at: when it was last known to be current, by the monotonic and by the wall clock;
            before it is synced, when following began.
        error: what went wrong last; empty while it is followed.
    """

    def __init__(
        self,
        api: Requests,
        resource: Resource[Item, Row],
        sink: Sink[Row],
        *,
        clock: Clock,
        random: Random,
        pace: Pace,
        news: Callable[[], None],
    ) -> None:
        self._api = api
        self._resource = resource
        self._sink = sink
        self._clock = clock
        self._random = random
        self._pace = pace
        self._news = news
        self._page: msgspec.json.Decoder[Page[Item]] = msgspec.json.Decoder(Page[resource.item])  # type: ignore[name-defined]  # a type made at run time
        self._line: msgspec.json.Decoder[WatchLine[msgspec.Raw]] = msgspec.json.Decoder(
            WatchLine[msgspec.Raw]
        )
        self._item: msgspec.json.Decoder[Item] = msgspec.json.Decoder(resource.item)
        self._status = msgspec.json.Decoder(Status)
        self._bookmark = msgspec.json.Decoder(_Version)
        self._version = ""
        self._failures = 0
        self._whole = False
        self.synced = False
        self.absent = False
        self.confirmed = clock.monotonic()
        self.confirmed_at = clock.now()
        self.error = ""

    @property
    def name(self) -> str:
        """Of the resource, plural."""
        return self._resource.name

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except errors.Gone as error:
                log.info("list again", extra={"resource": self.name, "why": str(error)})
                self._version = ""
                await self._pause_after(error)
            except errors.ApiError as error:
                if self._does_without(error):
                    await self._not_there(error)
                else:
                    await self._pause_after(error)

    # -- list ---------------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        """Read everything, page by page; what was not in any page is gone.

        Rows are put as pages come: nothing that is known is lost meanwhile, and the loop is never held for long.
        """
        seen: set[Hashable] = set()
        token, version = "", ""
        while True:
            page = await self._read_page(token)
            for item in page.items:
                row = self._resource.read(item)
                if row is not None:
                    seen.add(self._resource.key(row))
                    self._sink.put(row)
            version = page.metadata.resource_version or version
            token = page.metadata.token
            self._news()
            if not token:
                break
        for key in [key for key in self._sink.known() if key not in seen]:
            self._sink.drop(key)
        self._version, self._whole = version, False
        self._confirm(listed=True)
        log.debug("listed", extra={"resource": self.name, "objects": len(seen), "version": version})

    async def _read_page(self, token: str) -> Page[Item]:
        query = {**self._resource.query} | ({} if self._whole else {"limit": str(self._pace.page)})
        if token:
            query["continue"] = token
        try:
            body = await self._api.request(
                "GET", self._resource.path, query=query, timeout=self._pace.list_timeout
            )
            return self._page.decode(body)
        except errors.Gone:
            # The server offers to go on from now, with a gap between the pages. Rather all at once than with a gap.
            self._whole = bool(token)
            raise
        except msgspec.MsgspecError as error:
            raise errors.ApiError(f"the list of {self.name} cannot be read: {error}") from error

    # -- watch --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow changes until the server ends the watch, as it does after `watch_for`."""
        seconds = self._pace.watch_for * self._random.uniform(0.8, 1.2)
        query = {
            **self._resource.query,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        begun = self._clock.monotonic()
        lines = self._api.stream(self._resource.path, query=query, idle_timeout=self._pace.idle)
        try:
            async with aclosing(lines) as stream:
                async for line in stream:
                    if line:
                        self._take(line)
                        self._failures = 0
                    self._confirm()
        finally:
            if self._clock.monotonic() - begun > _LONG:
                self._failures = 0
        if self._clock.monotonic() - begun < _SHORT:
            raise errors.ApiError("the watch ended as soon as it had begun")

    def _take(self, raw: bytes) -> None:
        try:
            line = self._line.decode(raw)
            match line.type:
                case "BOOKMARK":
                    self._version = (
                        self._bookmark.decode(line.object).metadata.resource_version or self._version
                    )
                case "ERROR":
                    raise error_of_status(self._status.decode(line.object))
                case kind:
                    self._change(kind, self._item.decode(line.object))
        except msgspec.MsgspecError as error:
            self._version = ""  # what it said is lost to us: a list will tell
            raise errors.ApiError(f"the watch of {self.name} cannot be read: {error}") from error

    def _change(self, kind: str, item: Item) -> None:
        row = self._resource.read(item)
        if row is not None:
            if kind == "DELETED":
                self._sink.drop(self._resource.key(row))
            else:
                self._sink.put(row)
            self._news()
        self._version = self._resource.version(item) or self._version

    # -- state --------------------------------------------------------------------------------------------------

    def _confirm(self, *, listed: bool = False, absent: bool = False) -> None:
        """The server has just said how things are, or that nothing has changed."""
        if self.error and self.synced:
            log.info("followed again", extra={"resource": self.name})
        changed = bool(self.error) or self.absent is not absent or (listed and not self.synced)
        self.synced = self.synced or listed
        self.absent, self.error = absent, ""
        self.confirmed, self.confirmed_at = self._clock.monotonic(), self._clock.now()
        if changed:
            self._news()

    def _does_without(self, error: errors.ApiError) -> bool:
        if isinstance(error, errors.Forbidden):
            return self._resource.dispensable
        return self._resource.optional and isinstance(error, errors.NotFound)

    async def _not_there(self, error: errors.ApiError) -> None:
        """There are no such objects for us, and that is no failure."""
        for key in list(self._sink.known()):
            self._sink.drop(key)
        self._version = ""
        if not self.absent:
            log.info("not there", extra={"resource": self.name, "why": str(error)})
        self._confirm(listed=True, absent=True)
        await asyncio.sleep(self._pace.absent * self._random.uniform(0.8, 1.2))

    async def _pause_after(self, error: errors.ApiError) -> None:
        """Wait before the next try, longer each time; a watch that has worked is tried again at once."""
        if self._clock.monotonic() - self.confirmed > self._pace.resume:
            self._version = ""
        if str(error) != self.error:
            log.info("not followed", extra={"resource": self.name, "why": str(error)})
        self.error = str(error)
        wait = min(self._pace.first_backoff * 2**self._failures, self._pace.last_backoff)
        self._failures = min(self._failures + 1, 30)
        asked = min(error.retry_after or 0.0, _LONGEST_WAIT)
        await asyncio.sleep(max(wait * self._random.uniform(0.5, 1.0), asked))
