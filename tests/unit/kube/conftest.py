"""A collection of a Kubernetes API server in memory: lists in pages, watches, and all the ways in which they end.

In: objects put and deleted, faults. Out: `Collection`, which has the methods of `kube.api.Api` that a reflector
uses. Time is virtual (`looptime`), so that minutes of silence take no time.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
import pytest

from support.clock import LoopClock
from volumehealth import errors


class Collection:
    """Objects of one resource, with versions, and the log of changes that watches are fed from.

    Attributes:
        requests: the query of every list and watch that arrived.
        exists: False while the CRD is not installed.
        away: an error for every request of the collection, while set.
        all_away: an error for the discovery of what is served, while set.
        compacted: versions up to this one are too old for a watch.
        bookmark_every: seconds between bookmarks.
        frozen: True while watches are silent: their connections are dead and nobody knows.
        garble: what comes in place of each change in a watch, while set.
        expire_tokens: so many continue tokens are refused with 410.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.version = 100
        self.requests: list[dict[str, str]] = []
        self.exists = True
        self.away: errors.ApiError | None = None
        self.all_away: errors.ApiError | None = None
        self.compacted = 0
        self.bookmark_every = 60.0
        self.frozen = False
        self.expire_tokens = 0
        self.garble = b""
        self._changed = asyncio.Condition()
        self._cut = 0

    @property
    def lists(self) -> list[dict[str, str]]:
        """The lists that arrived, each page on its own."""
        return [query for query in self.requests if "watch" not in query and query.get("limit") != "1"]

    @property
    def looks(self) -> list[dict[str, str]]:
        """The lists that only look at the version."""
        return [query for query in self.requests if query.get("limit") == "1"]

    @property
    def watches(self) -> list[dict[str, str]]:
        """The watches that arrived."""
        return [query for query in self.requests if "watch" in query]

    async def put(self, name: str, namespace: str = "shop", **fields: Any) -> None:
        """Make or change an object."""
        key = (namespace, name)
        await self._happen("MODIFIED" if key in self.objects else "ADDED", key, fields)

    async def restore(self, version: int) -> None:
        """Put a backup back: what happened after a version never happened, and every connection breaks."""
        async with self._changed:
            self.objects = self._as_of(version)
            self.log = [entry for entry in self.log if entry[0] <= version]
            self.version = version
            self._cut += 1
            self._changed.notify_all()

    async def delete(self, name: str, namespace: str = "shop") -> None:
        """Delete an object."""
        await self._happen("DELETED", (namespace, name), {})

    async def cut(self) -> None:
        """Break every connection."""
        async with self._changed:
            self._cut += 1
            self._changed.notify_all()

    async def _happen(self, kind: str, key: tuple[str, str], fields: Mapping[str, Any]) -> None:
        async with self._changed:
            self.version += 1
            before = self.objects.get(key, {})
            made = {**before, **fields}
            made["metadata"] = {
                "name": key[1],
                "namespace": key[0],
                "uid": f"uid-{key[1]}",
                "resourceVersion": str(self.version),
            }
            self.log.append((self.version, kind, made))
            if kind == "DELETED":
                del self.objects[key]
            else:
                self.objects[key] = made
            self._changed.notify_all()

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        """Answer a list, or one page of it: all pages show the collection as it was at the first."""
        assert method == "GET"
        if path.startswith("/apis") and path.count("/") < 4:
            return self._discovery(path)
        query = dict(query or {})
        self.requests.append(query)
        await asyncio.sleep(0.01)
        self._check()
        after, version = ("", ""), self.version
        if token := query.get("continue"):
            if self.expire_tokens:
                self.expire_tokens -= 1
                raise errors.Gone("The provided continue parameter is too old", status=410)
            version_text, *after_parts = token.split("/")
            version, after = int(version_text), (after_parts[0], after_parts[1])
        snapshot = self._as_of(version)
        keys = sorted(key for key in snapshot if key > after)
        page = keys[: int(query.get("limit", "100000"))]
        metadata = {"resourceVersion": str(version)}
        if len(page) < len(keys):
            metadata["continue"] = f"{version}/{page[-1][0]}/{page[-1][1]}"
        return msgspec.json.encode({"metadata": metadata, "items": [snapshot[key] for key in page]})

    async def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[bytes, None]:
        """Answer a watch."""
        self.requests.append(dict(query))
        cut = self._cut
        await asyncio.sleep(0.01)
        self._check()
        yield b""
        since, ends = int(query["resourceVersion"]), _time() + float(query["timeoutSeconds"])
        if since < self.compacted:
            yield _line("ERROR", {"code": 410, "message": "too old resource version"})
            return
        bookmark, heard = _time() + self.bookmark_every, _time()
        while True:
            if self._cut != cut:
                raise errors.ApiUnreachable("connection reset by peer")
            for version, kind, made in list(self.log):
                if version > since and not self.frozen:
                    since, heard = version, _time()
                    yield self.garble or _line(kind, made)
            if _time() >= bookmark and not self.frozen:
                bookmark, heard, since = _time() + self.bookmark_every, _time(), self.version
                yield _line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
            if _time() >= ends and not self.frozen:
                return
            if _time() - heard >= idle_timeout:
                return
            await self._wait(min(bookmark, ends, heard + idle_timeout) - _time())

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.5)), self._changed:
                await self._changed.wait()
        except TimeoutError:
            return

    def _check(self) -> None:
        if self.away is not None:
            raise self.away
        if not self.exists:
            raise errors.NotServed("GET /apis/example.dev/v1/claims: HTTP 404", status=404)

    def _discovery(self, path: str) -> bytes:
        """Answer what is served; a proxy in front of all answers it as it does everything."""
        if self.all_away is not None:
            raise self.all_away
        if path == "/apis":
            groups = [{"name": "example.dev", "versions": [{"groupVersion": "example.dev/v1"}]}]
            return msgspec.json.encode({"kind": "APIGroupList", "groups": groups})
        resources = [{"name": "claims"}] if self.exists else []
        return msgspec.json.encode({"kind": "APIResourceList", "resources": resources})

    def _as_of(self, version: int) -> dict[tuple[str, str], dict[str, Any]]:
        snapshot: dict[tuple[str, str], dict[str, Any]] = {}
        for changed, kind, made in self.log:
            key = (made["metadata"]["namespace"], made["metadata"]["name"])
            if changed <= version and kind == "DELETED":
                snapshot.pop(key, None)
            elif changed <= version:
                snapshot[key] = made
        return snapshot


def _line(kind: str, made: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, "object": made})


def _time() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def clock() -> LoopClock:
    """The time of the loop."""
    return LoopClock()


@pytest.fixture
def collection() -> Collection:
    """An empty collection."""
    return Collection()
