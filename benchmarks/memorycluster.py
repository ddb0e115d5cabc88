"""A cluster of 100,000 claims in this process: an API server that keeps objects as bytes, and the wire to a driver.

Both cost next to nothing, so that a step of the event loop is the product's own work.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import grpc
import msgspec

from benchmarks.bulkdriver import BulkDriver
from benchmarks.etcd import NAMESPACES, NODES, Placed
from support.fakeapi import merged
from volumehealth.csi.wire import RpcFailed
from volumehealth.kube.access import Access
from volumehealth.kube.transport import HttpRequest

Object = dict[str, Any]
_PATH = re.compile(
    r"(?P<base>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<space>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+?))?(?:/status)?"
)
_COLD = "1"
"""The resourceVersion of what was there at the start."""


class MemoryCluster:
    """Objects by collection; a transport (`kube.transport.Transport`)."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, bytes]] = defaultdict(dict)
        self._pages: dict[str, tuple[str, ...]] = {}
        self._watches: dict[str, list[asyncio.Queue[bytes]]] = defaultdict(list)
        self._version = 1

    # ---- for who measures ----

    def populate(self, count: int, *, driver: str, prefix: str) -> None:
        """Let so many claims be there, each with a volume and a Pod."""
        for number in range(NAMESPACES):
            name = f"bench-{number:02}"
            meta = {"name": name, "uid": f"uid-{name}", "labels": {"kubernetes.io/metadata.name": name}}
            self._keep("/api/v1/namespaces", name, {"metadata": meta})
        for number in range(NODES):
            name = f"node-{number:03}"
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:00Z"}
            meta = {"name": name, "uid": f"uid-{name}"}
            self._keep("/api/v1/nodes", name, {"metadata": meta, "status": {"conditions": [ready]}})
        for number in range(count):
            for path, key, value in _placed(Placed(number), driver, f"{prefix}{number + 1}"):
                self._keep(path, key, value)

    def put(self, path: str, name: str, value: Object) -> None:
        """Let an object be there, and whoever watches know of it."""
        self._write(path, name, value)

    def remove(self, path: str, name: str) -> None:
        """Let an object be gone."""
        self._delete(path, name)

    def find(self, path: str, name: str) -> Object:
        """Return an object."""
        value: Object = msgspec.json.decode(self.collections[path][name])
        return value

    def expire(self) -> None:
        """End all watches: what they go on from is too old, so that everything is listed anew."""
        gone = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
        for queues in self._watches.values():
            for queue in queues:
                queue.put_nowait(msgspec.json.encode({"type": "ERROR", "object": gone}) + b"\n")

    # ---- the transport ----

    async def send(self, request: HttpRequest, access: Access) -> "_Answer":
        """Answer one request; see `Transport.send`."""
        await asyncio.sleep(0)
        found = _PATH.fullmatch(request.path)
        if found is None:
            return _status(404, "NotFound")
        path, name = f"{found['base']}/{found['plural']}", found["name"] or ""
        key = f"{found['space']}/{name}" if found["space"] else name
        query = request.query or {}
        if request.method == "GET" and not name:
            return self._watch(path) if query.get("watch") == "true" else self._list(path, query)
        body = msgspec.json.decode(request.body) if request.body else {}
        if request.method == "POST":
            return self._stored(path, f"{found['space']}/{body['metadata']['name']}", body)
        there = self.collections[path].get(key)
        applied = request.headers.get("Content-Type", "").startswith("application/apply-patch")
        if there is None and not applied:
            return _status(404, "NotFound")
        if request.method == "DELETE":
            self._delete(path, key)
            return _status(200, "Success")
        if request.method == "PATCH":
            return self._stored(
                path, key, body if applied or there is None else merged(msgspec.json.decode(there), body)
            )
        return _Answer(200, there or b"")

    async def aclose(self) -> None:
        """See `Transport.aclose`."""

    def _list(self, path: str, query: Mapping[str, str]) -> "_Answer":
        objects = {} if "labelSelector" in query else self.collections[path]
        token = query.get("continue", "")
        keys = self._pages.pop(path, ()) if token else tuple(objects)
        first, limit = int(token or 0), int(query.get("limit", len(keys) or 1))
        items = b",".join(objects[key] for key in islice(keys, first, first + limit) if key in objects)
        meta = {"resourceVersion": str(self._version)}
        if first + limit < len(keys):
            meta["continue"] = str(first + limit)
            self._pages[path] = keys
        return _Answer(
            200, b'{"kind":"List","metadata":%s,"items":[%s]}' % (msgspec.json.encode(meta), items)
        )

    def _watch(self, path: str) -> "_Answer":
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watches[path].append(queue)
        return _Answer(200, b"", queue, self._watches[path])

    def _stored(self, path: str, key: str, value: Object) -> "_Answer":
        return _Answer(200, self._write(path, key, value))

    def _write(self, path: str, key: str, value: Object) -> bytes:
        self._version += 1
        kind = "MODIFIED" if key in self.collections[path] else "ADDED"
        metadata = {"uid": f"uid-{key}", **value["metadata"], "resourceVersion": str(self._version)}
        body = self._keep(path, key, {**value, "metadata": metadata})
        self._tell(path, kind, body)
        return body

    def _delete(self, path: str, key: str) -> None:
        self._tell(path, "DELETED", self.collections[path].pop(key))

    def _keep(self, path: str, key: str, value: Object) -> bytes:
        value["metadata"].setdefault("resourceVersion", _COLD)
        body = self.collections[path][key] = msgspec.json.encode(value)
        return body

    def _tell(self, path: str, kind: str, body: bytes) -> None:
        for queue in self._watches[path]:
            queue.put_nowait(b'{"type":"%s","object":%s}\n' % (kind.encode(), body))


class _Answer:
    """See `kube.transport.HttpAnswer`."""

    def __init__(
        self,
        status: int,
        body: bytes,
        lines: asyncio.Queue[bytes] | None = None,
        watches: list[asyncio.Queue[bytes]] | None = None,
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._body = body
        self._lines, self._watches = lines, watches

    async def chunk(self) -> bytes:
        if self._lines is not None:
            return await self._lines.get()
        body, self._body = self._body, b""
        return body

    def abort(self) -> None:
        if self._watches is not None and self._lines in self._watches:
            self._watches.remove(self._lines)


class Nobody:
    """Credentials of nobody (`kube.api.Credentials`)."""

    async def load(self) -> Access:
        """Return them."""
        return Access("https://api.example:6443")

    async def refresh(self) -> Access:
        """Return them."""
        return await self.load()


class DriverWire:
    """The wire to a bulk driver in this process (`csi.wire.Wire`)."""

    connected = True

    def __init__(self, driver: BulkDriver) -> None:
        self._driver = driver

    async def call(self, path: str, request: bytes, timeout: float) -> bytes:
        """See `Wire.call`."""
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(timeout):
                answer = await self._driver.answer(path, request)
        except TimeoutError as error:
            raise RpcFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from error
        if answer is None:
            raise RpcFailed(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        await asyncio.sleep(0)
        return answer

    async def aclose(self) -> None:
        """See `Wire.aclose`."""


def _placed(placed: Placed, driver: str, handle: str) -> Iterator[tuple[str, str, Object]]:
    space, name, volume = placed.namespace, placed.claim, placed.volume
    labels = {"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": "shop-1"}
    bound = {"namespace": space, "name": name, "uid": placed.claim_uid}
    yield "/api/v1/persistentvolumes", volume, {
        "metadata": {"name": volume, "uid": f"uid-{volume}"},
        "spec": {
            "csi": {"driver": driver, "volumeHandle": handle},
            "claimRef": bound,
            "storageClassName": "fast",
            "accessModes": ["ReadWriteOnce"],
        },
        "status": {"phase": "Bound"},
    }  # fmt: skip
    yield "/api/v1/persistentvolumeclaims", f"{space}/{name}", {
        "metadata": {"name": name, "namespace": space, "uid": placed.claim_uid, "labels": labels},
        "spec": {"volumeName": volume, "storageClassName": "fast", "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound"},
    }  # fmt: skip
    yield "/api/v1/pods", f"{space}/{placed.pod}", {
        "metadata": {"name": placed.pod, "namespace": space, "uid": f"pod-{placed.number}", "labels": labels},
        "spec": {
            "nodeName": f"node-{placed.number % NODES:03}",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
        },
        "status": {"phase": "Running"},
    }  # fmt: skip


def _status(code: int, reason: str) -> _Answer:
    word = "Success" if code == 200 else "Failure"
    body = {"kind": "Status", "status": word, "code": code, "reason": reason, "message": reason}
    return _Answer(code, msgspec.json.encode(body))
