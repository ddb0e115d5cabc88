"""A Kubernetes API server in memory, below the transport: what an agent reads and writes, as JSON over "HTTP".

Everything above the transport is the product's own code: credentials, errors, reflectors, decoding.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from volumehealth.kube.access import Access
from volumehealth.kube.api import Api
from volumehealth.kube.transport import HttpRequest
from volumehealth.model.clock import Clock

Object = dict[str, Any]


class MemoryServer:
    """Keeps objects by path; a transport (`kube.transport.Transport`).

    Attributes:
        objects: what is stored, by path.
        collections: paths of collections that exist; lists of others are 404.
        away: nobody can connect.
        refused: starts of `METHOD path` that are answered with 403.
        news: events that the next watch of a collection begins with.
        requests: method and path of everything that arrived.
    """

    def __init__(self, *collections: str) -> None:
        self.objects: dict[str, Object] = {}
        self.collections = set(collections)
        self.away = False
        self.refused: set[str] = set()
        self.news: dict[str, Object] = {}
        self.requests: list[tuple[str, str]] = []

    async def send(self, request: HttpRequest, access: Access) -> "_Answer":
        """Answer one request; see `Transport.send`."""
        await asyncio.sleep(0.01)
        if self.away:
            raise ConnectionRefusedError("Connect call failed")
        self.requests.append((request.method, request.path))
        if any(f"{request.method} {request.path}".startswith(one) for one in self.refused):
            return _status(403, "Forbidden")
        if request.query and request.query.get("watch") == "true":
            event = self.news.pop(request.path, None)
            body = msgspec.json.encode(event) + b"\n" if event is not None else b""
            return _Answer(200, body, ends_after=float(request.query["timeoutSeconds"]))
        if request.path == "/apis":
            return _Answer(200, b'{"kind": "APIGroupList", "groups": null}')
        match request.method:
            case "GET" if request.path in self.collections:
                return _Answer(200, msgspec.json.encode(self._list(request.path)))
            case "PATCH" | "PUT" | "POST" if request.body is not None:
                return self._store(request)
        found = self.objects.get(request.path)
        return _Answer(200, msgspec.json.encode(found)) if found is not None else _status(404, "NotFound")

    async def aclose(self) -> None:
        """See `Transport.aclose`."""

    def _list(self, path: str) -> Object:
        held = [one for at, one in self.objects.items() if at.rpartition("/")[0] == path]
        # As the API server writes an empty list of metadata.
        return {"kind": "List", "metadata": {"resourceVersion": "100"}, "items": held or None}

    def _store(self, request: HttpRequest) -> "_Answer":
        sent: Object = msgspec.json.decode(request.body or b"{}")
        path = request.path
        if request.method == "POST":
            path = f"{path}/{sent['metadata']['name']}"
        sent["metadata"] = {**sent.get("metadata", {}), "resourceVersion": str(len(self.requests))}
        self.objects[path] = sent
        return _Answer(200, msgspec.json.encode(sent))


class _Answer:
    """See `kube.transport.HttpAnswer`."""

    def __init__(self, status: int, body: bytes, *, ends_after: float = 0.0) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._body = body
        self._ends_after = ends_after

    async def chunk(self) -> bytes:
        body, self._body = self._body, b""
        if not body and self._ends_after:
            await asyncio.sleep(self._ends_after)
        return body

    def abort(self) -> None:
        self._body = b""


class _NoSecrets:
    """Credentials of nobody."""

    async def load(self) -> Access:
        return Access("https://api.example:6443")

    async def refresh(self) -> Access:
        return Access("https://api.example:6443")


async def connected(server: MemoryServer, clock: Clock) -> Api:
    """Return a connection to the server."""
    api = Api(_NoSecrets(), clock=clock, connect=lambda _: server)
    await api.open()
    return api


def _status(code: int, reason: str) -> _Answer:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}
    return _Answer(code, msgspec.json.encode(body))
