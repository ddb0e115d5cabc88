"""An API server in memory, with the behaviour that writers must cope with: it is slow, away, full, or forgets."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from volumehealth import errors


class FakeApi:
    """Keeps objects by path and answers as a Kubernetes API server does, as far as `report` uses it.

    Attributes:
        objects: what is stored, by path.
        requests: every request that arrived, as `(method, path)`.
        latency: seconds that each takes.
        away: True while nobody can connect.
        refusals: errors to answer the next requests with; `None` lets one through.
        refuse: called with method and path; returns an error to answer with.
        foreign: fields of a status that another manager owns: a server-side apply leaves them there.
        lose_answers: so many requests are carried out while the answer gets lost.
        most_in_flight: the most requests that were there at once.
    """

    def __init__(self, *, latency: float = 0.01) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.latency = latency
        self.away = False
        self.refusals: list[errors.ApiError | None] = []
        self.refuse: Callable[[str, str], errors.ApiError | None] = lambda method, path: None
        self.lose_answers = 0
        self.foreign: set[str] = set()
        self.most_in_flight = 0
        self._in_flight = 0
        self._version = 0

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> bytes:
        """Answer one request; raises an `errors.ApiError` as `kube.api.Api` does."""
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self.latency)
            return self._answer(method, path, body, content_type)
        finally:
            self._in_flight -= 1

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the stored objects of a kind."""
        return [one for one in self.objects.values() if one.get("kind") == kind]

    def events(self, reason: str = "", *, about: str = "") -> list[dict[str, Any]]:
        """Return the stored Events, of a reason and about a kind of object if given."""
        return [
            event
            for event in self.of_kind("Event")
            if reason in ("", event["reason"]) and about in ("", event["involvedObject"]["kind"])
        ]

    def count(self, method: str, part: str = "") -> int:
        """Count the requests of a method whose path contains a part."""
        return sum(1 for one, path in self.requests if one == method and part in path)

    def _answer(self, method: str, path: str, body: object, content_type: str) -> bytes:
        if self.away:
            raise errors.ApiUnreachable("connection refused")
        self.requests.append((method, path))
        refusal = (self.refusals.pop(0) if self.refusals else None) or self.refuse(method, path)
        if refusal is not None:
            raise refusal
        answer = self._carry_out(method, path, msgspec.json.decode(msgspec.json.encode(body)), content_type)
        if self.lose_answers:
            self.lose_answers -= 1
            raise errors.ApiUnreachable("no answer in time")
        return json.dumps(answer).encode()

    def _carry_out(self, method: str, path: str, body: Any, content_type: str) -> dict[str, Any]:
        match method:
            case "POST":
                path = f"{path}/{body['metadata']['name']}"
                if path in self.objects:
                    raise errors.Conflict("already exists", status=409)
                self.objects[path] = self._new(body)
            case "PATCH" if content_type.startswith("application/apply-patch"):
                self.objects[path] = self._new(self._applied(path, body))
            case "PATCH":
                target = path.removesuffix("/status")
                self.objects[target] = self._new(merged(self._find(target), body))
                return self.objects[target]
            case "DELETE":
                self._find(path)
                return self.objects.pop(path)
        return self._find(path)

    def _new(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give a changed object a version; Events are left as they were written."""
        if body.get("kind") == "Event":
            return body
        self._version += 1
        return {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": str(self._version)}}

    def _applied(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Apply on the server's side: what others added to the status stays."""
        added = {
            name: value
            for name, value in self.objects.get(path, {}).get("status", {}).items()
            if name in self.foreign and name not in body.get("status", {})
        }
        return {**body, "status": {**body.get("status", {}), **added}} if added else body

    def _find(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise errors.NotFound(f"{path} not found", status=404)
        return self.objects[path]


def merged(old: Any, patch: Any) -> Any:
    """Apply an RFC 7386 patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
