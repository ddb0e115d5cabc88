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
from volumehealth.kube.bodies import UNREADABLE, reason_of, repaired, version_number
from volumehealth.kube.discovery import DISCOVERY, serves
from volumehealth.kube.lists import WatchLine
from volumehealth.kube.reading import ObjectPage, ObjectReader, Skipped
from volumehealth.model.clock import Clock
from volumehealth.model.steps import in_parts

log = logging.getLogger(__name__)

_SHORT, _LONG = 1.0, 5.0
"""Seconds: a watch that ends sooner is a failure, one that lasts longer has proved that the server is well."""
_LONGEST_WAIT = 60.0
"""Seconds that a server may ask us to stay away."""
_PART = 1_000
"""Objects that are known, or gone, that are looked at in one step after one another."""
_EARLY = 10.0
"""Seconds: a server ends a watch a little before or after the time that was asked for."""
_NAMELESS: tuple[Hashable, ...] = (None,)
"""The key of an object that cannot be read, not even its name."""

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
        confirm_absent: the server must say for so long that a resource does not exist, or is not ours to read.
        roles_read: after its start a server has read its roles by then.
        relist: a watch that ended before its time may have lost its server, and that may have been restored from a
            backup: after so long everything is listed anew (at once, if versions have run backwards).
        whole: everything is listed anew so often in any case.
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
    confirm_absent: float = 1.0
    roles_read: float = 30.0
    resume: float = 120.0
    relist: float = 120.0
    whole: float = 3600.0


OF_MANY = Pace(relist=float("inf"), whole=float("inf"))
"""For processes of which there are thousands: their lists would come all at once when an API server starts."""


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
        optional: it may not exist (its CRD may not be installed), which is no failure.
        dispensable: nor is it one if we may not read it: what it would tell stays unknown.
        query: selectors, for lists and watches alike (`labelSelector`, `fieldSelector`).
    """

    name: str
    path: str
    item: type[Item]
    read: Callable[[Item], Row | None]
    key: Callable[[Row], Hashable]
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
        on_skip: told the resource's name for each object that cannot be read.

    Attributes:
        synced: the whole list was read at least once, or the resource does not exist.
        absent: the resource does not exist (its CRD is not installed), or we may not read it and can do without.
        refused: when it was last absent, we were not allowed to read it.
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
        on_skip: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api = api
        self._resource = resource
        self._sink = sink
        self._clock = clock
        self._random = random
        self._pace = pace
        self._news = news
        self._reader = ObjectReader(resource.name, resource.item, resource.read, on_skip)
        self._line: msgspec.json.Decoder[WatchLine[msgspec.Raw]] = msgspec.json.Decoder(
            WatchLine[msgspec.Raw]
        )
        self._status = msgspec.json.Decoder(Status)
        self._read_version = msgspec.json.Decoder(_Version)
        self._version = ""
        self._failures = 0
        self._whole = False
        self._doubted = False
        self._relist_at = float("inf")
        self._read_once = False
        self._missing_since: float | None = None
        self.synced = False
        self.absent = False
        self.refused = False
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
                if not self._version or self._clock.monotonic() >= self._relist_at:
                    await self._list()
                elif self._doubted:
                    await self._look_back()
                await self._watch()
            except errors.Gone as error:
                log.info("list again", extra={"resource": self.name, "why": str(error)})
                self._version = ""
                await self._pause_after(error)
            except errors.ApiError as error:
                if await self._is_missing(error):
                    await self._not_there(error)
                else:
                    await self._pause_after(error)

    # -- list ---------------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        """Read everything, page by page; what was not in any page is gone.

        Rows are put as pages come: nothing that is known is lost meanwhile, and the loop is never held for long.
        """
        missing: dict[Hashable, None] = {}
        for part in in_parts(self._sink.known(), _PART):  # nobody else changes what is known
            missing.update(dict.fromkeys(part))
            await asyncio.sleep(0)
        token, version, nameless, count = "", "", False, 0
        while True:
            page = await self._read_page(token)
            for item in page.items:
                keys = self._take_item(item)
                for key in keys:
                    missing.pop(key, None)
                nameless |= keys == _NAMELESS
            count += len(page.items)
            version = page.metadata.resource_version or ""
            token = page.metadata.token or ""
            self._news()
            if not token:
                break
        if not nameless:  # else any of those that were not seen may be the one without a name
            for part in in_parts(missing, _PART):
                for key in part:
                    self._sink.drop(key)
                await asyncio.sleep(0)
        self._version, self._whole, self._doubted = version, False, False
        self._relist_at = self._clock.monotonic() + self._pace.whole * self._random.uniform(0.8, 1.2)
        self._confirm(listed=True)
        log.debug("listed", extra={"resource": self.name, "objects": count, "version": version})

    def _take_item(self, item: Item | msgspec.Raw) -> tuple[Hashable, ...]:
        """Put an object's row; return what it is known by."""
        row = self._reader.row(item)
        if isinstance(row, Skipped):
            return row.keys or _NAMELESS
        return (self._put(row),) if row is not None else ()

    def _put(self, row: Row) -> Hashable:
        key = self._resource.key(row)
        try:
            self._sink.put(row)
        except Exception as error:  # noqa: BLE001 - whatever an object holds, it ends nothing
            self._reader.skip(row, error)
        return key

    async def _read_page(self, token: str) -> ObjectPage[Item]:
        query = {**self._resource.query} | ({} if self._whole else {"limit": str(self._pace.page)})
        if token:
            query["continue"] = token
        try:
            body = await self._api.request(
                "GET", self._resource.path, query=query, timeout=self._pace.list_timeout
            )
            return self._reader.page(body)
        except errors.Gone:
            # The server offers to go on from now, with a gap between the pages. Rather all at once than with a gap.
            self._whole = bool(token)
            raise

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
        begun = heard = self._clock.monotonic()
        seconds = min(seconds, max(1.0, self._relist_at - begun))
        query["timeoutSeconds"] = str(max(1, round(seconds)))
        lines = self._api.stream(self._resource.path, query=query, idle_timeout=self._pace.idle)
        try:
            async with aclosing(lines) as stream:
                async for line in stream:
                    if line:
                        self._take(line)
                        self._failures = 0
                    heard = self._clock.monotonic()
                    self._confirm()
        finally:
            if self._clock.monotonic() - begun > _LONG:
                self._failures = 0
            if self._clock.monotonic() - begun < seconds - _EARLY:
                self._doubt(silent=self._clock.monotonic() - heard >= self._pace.idle - 1)
        if self._clock.monotonic() - begun < _SHORT:
            raise errors.ApiError("the watch ended as soon as it had begun")

    def _take(self, raw: bytes) -> None:
        try:
            line = self._decoded(raw)
            version = self._read_version.decode(line.object).metadata.resource_version
            if line.type == "ERROR":
                raise error_of_status(self._status.decode(line.object))
        except UNREADABLE as error:
            self._version = ""  # what it said is lost to us: a list will tell
            raise errors.ApiUnreachable(
                f"the watch of {self.name} cannot be read: {reason_of(error)}"
            ) from error
        if line.type != "BOOKMARK":
            self._change(line.object, deleted=line.type == "DELETED")
        self._version = version or self._version

    def _decoded(self, raw: bytes) -> WatchLine[msgspec.Raw]:
        try:
            return self._line.decode(raw)
        except UNREADABLE:
            return self._line.decode(repaired(raw))

    def _change(self, item: msgspec.Raw, *, deleted: bool) -> None:
        row = self._reader.row(item)
        if row is None:  # it is of no interest; what was known of it may have been
            row, deleted = self._reader.identify(item), True
        if not deleted:
            if not isinstance(row, Skipped):
                self._put(row)
        else:
            known = self._sink.known()
            keys = row.keys if isinstance(row, Skipped) else (self._resource.key(row),)
            gone = [key for key in keys if key in known]
            for key in gone:
                self._sink.drop(key)
            if not gone:
                return
        self._news()

    # -- a server that was restored ------------------------------------------------------------------------------

    def _doubt(self, *, silent: bool) -> None:
        """A watch ended before its time: the server may be another one, and may know less than the last one did.

        Versions of a restored etcd run backwards, and a watch from a version of the future is accepted and silent
        (kubernetes/kubernetes 107457). Where versions have caught up meanwhile, only a whole list shows what differs.

        Args:
            silent: it was ended from here because nothing came; where nothing changes, that is nothing new.
        """
        self._doubted = self._pace.relist != float("inf")
        if silent:
            return
        spread = self._pace.relist * self._random.uniform(0.8, 1.2)
        self._relist_at = min(self._relist_at, self._clock.monotonic() + spread)

    async def _look_back(self) -> None:
        """Compare the server's version with ours; if it is below ours everything is listed anew."""
        query = {**self._resource.query, "limit": "1"}
        body = await self._api.request(
            "GET", self._resource.path, query=query, timeout=self._pace.list_timeout
        )
        newest = self._reader.page(body).metadata.resource_version or ""
        self._doubted = False
        if version_number(newest) < version_number(self._version):
            raise errors.Gone(f"versions have run backwards, from {self._version} to {newest}")

    # -- state --------------------------------------------------------------------------------------------------

    def _confirm(self, *, listed: bool = False, absent: bool = False) -> None:
        """The server has just said how things are, or that nothing has changed."""
        if self.error and self.synced:
            log.info("followed again", extra={"resource": self.name})
        changed = bool(self.error) or self.absent is not absent or (listed and not self.synced)
        self.synced = self.synced or listed
        self._read_once = self._read_once or (listed and not absent)
        self._missing_since = None
        self.absent, self.error = absent, ""
        self.confirmed, self.confirmed_at = self._clock.monotonic(), self._clock.now()
        if changed:
            self._news()

    async def _is_missing(self, error: errors.ApiError) -> bool:
        """Tell whether there are no such objects for us, by Kubernetes' own word, which it gives twice.

        What was read before may be out of reach now; it is not missing for that.
        """
        if not await self._seems_missing(error):
            self._missing_since = None
            return False
        now = self._clock.monotonic()
        if self._missing_since is None:
            self._missing_since = now
        return self.absent or now - self._missing_since >= self._pace.confirm_absent

    async def _seems_missing(self, error: errors.ApiError) -> bool:
        if isinstance(error, errors.Forbidden):
            return self._resource.dispensable and not self._read_once and await self._others_may_be_read()
        not_served = isinstance(error, errors.NotFound | errors.NotServed)
        if not (not_served and self._resource.optional) or self._sink.known():
            return False
        try:
            return not await serves(self._api, self._resource.path)
        except errors.ApiError:
            return False

    async def _others_may_be_read(self) -> bool:
        """Tell whether the server has read its roles: one that has just started refuses everybody everything.

        Where even the list of API groups is kept from us, that shows in time only.
        """
        try:
            await self._api.request("GET", DISCOVERY)
        except errors.Forbidden:
            return self._clock.monotonic() - self.confirmed >= self._pace.roles_read
        except errors.ApiError:
            return False
        return True

    async def _not_there(self, error: errors.ApiError) -> None:
        """There are no such objects for us, and that is no failure."""
        self._version = ""
        self.refused = isinstance(error, errors.Forbidden)
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
