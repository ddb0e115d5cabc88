"""A Kubernetes API server in memory: requests go in as they are on the wire, answers come out as they are on the wire.

It is compared with the real one by `tests/integration/test_simulated_apiserver.py`.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from simulation.objects import (
    KINDS,
    Json,
    Kind,
    Path,
    changed_leaves,
    copied,
    gone_leaves,
    leaves,
    merge_patched,
    put_at,
    remove_at,
    value_at,
)

_SYSTEM = ("apiVersion", "kind", "metadata")
_IDENTITY = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the server
    """The server answers with a Status."""

    def __init__(self, code: int, message: str, reason: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": more.pop("metadata", {}),
            "status": "Failure",
            "message": message,
            "reason": reason or _REASONS.get(code, "Unknown"),
            **more,
            "code": code,
        }


class Reply(NamedTuple):
    """An answer that is whole."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = MappingProxyType({})


class Change(NamedTuple):
    """An entry of a resource's log."""

    version: int
    type: str
    stored: "Stored"
    before: "Stored | None"


class Stored(NamedTuple):
    """One version of an object; never changed."""

    version: int
    value: Json
    body: bytes

    @property
    def key(self) -> tuple[str, str]:
        metadata = self.value["metadata"]
        return metadata.get("namespace", ""), metadata["name"]


@dataclass(slots=True)
class _Table:
    """The objects of a resource."""

    kind: Kind
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    owned: dict[tuple[str, str], dict[str, frozenset[Path]]] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    watches: "dict[int, Watch]" = field(default_factory=dict)
    installed: bool = True


_Route = tuple[_Table, str, str, str]
"""A table, namespace, name and subresource."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list or a watch selects."""

    namespace: str
    labels: tuple[tuple[str, str | None], ...]
    fields: tuple[tuple[str, str], ...]
    metadata_only: bool

    def takes(self, value: Json) -> bool:
        """Tell whether an object is selected."""
        if not (self.namespace or self.labels or self.fields):
            return True
        metadata = value["metadata"]
        if self.namespace and metadata.get("namespace", "") != self.namespace:
            return False
        labels = metadata.get("labels") or {}
        if any(name not in labels or (one is not None and labels[name] != one) for name, one in self.labels):
            return False
        return all(
            str(value_at(value, tuple(path.split("."))) or "") == wanted for path, wanted in self.fields
        )

    def body(self, stored: Stored) -> bytes:
        """Return an object as it is shown."""
        if not self.metadata_only:
            return stored.body
        return _dump(_partial(stored.value))


class Watch:
    """A watch that is open: `send` is called for each line."""

    def __init__(self, wanted: Wanted, bookmarks: bool, seconds: float) -> None:
        self.wanted = wanted
        self.bookmarks = bookmarks
        self.seconds = seconds
        self.backlog: list[bytes] = []
        self.send: Callable[[bytes], None] = self.backlog.append
        self.close: Callable[[], None] = lambda: None

    def take(self, change: Change) -> None:
        """Tell of a change, if it concerns what is watched."""
        after = change.type != "DELETED" and self.wanted.takes(change.stored.value)
        before = change.before is not None and self.wanted.takes(change.before.value)
        if after:
            kind = "MODIFIED" if before else "ADDED"
        elif before:
            kind = "DELETED"
        else:
            return
        self.send(b'{"type":"%s","object":%s}\n' % (kind.encode(), self.wanted.body(change.stored)))


class ApiServer:
    """The server.

    Args:
        random: makes uids.
        now: its wall clock.

    Attributes:
        version: the newest resourceVersion.
        compacted: versions up to this one are forgotten.
        on_write: told every write that took effect: user, method, resource, object before and after.
        allowed: tells whether a user may do something: user, verb, kind, subresource, namespace, name.
        answered: told every write and what became of it: user, method, path, query, body, headers, HTTP status.
        checked: looks at every object that is to be stored, and raises Refused.
    """

    def __init__(self, random: Random, now: Callable[[], datetime]) -> None:
        self._rng = random
        self._now = now
        self._tables = {kind.plural: _Table(kind) for kind in KINDS}
        self._routes = {(kind.prefix, kind.plural): self._tables[kind.plural] for kind in KINDS}
        self._known_routes: dict[str, _Route] = {}
        self._pages: dict[str, tuple[int, Wanted, list[Stored]]] = {}
        self._tokens = itertools.count(1)
        self._watch_ids = itertools.count(1)
        self.version = 1000
        self.compacted = 0
        self.on_write: Callable[[str, str, Kind, Json | None, Json | None], None] = lambda *_: None
        self.allowed: Callable[[str, str, Kind, str, str, str], bool] = lambda *_: True
        self.answered: Callable[
            [str, str, str, Mapping[str, str], bytes | None, Mapping[str, str], int], None
        ] = lambda *_: None
        self.checked: Callable[[Kind, Json, Json | None], None] = lambda *_: None

    # ---- for the world ----

    def objects(self, plural: str) -> list[Json]:
        """Return all objects of a resource; they must not be changed."""
        return [stored.value for stored in self._tables[plural].objects.values()]

    def find(self, plural: str, name: str, namespace: str = "") -> Json | None:
        """Return an object; None if it is not there."""
        stored = self._tables[plural].objects.get((namespace, name))
        return stored.value if stored is not None else None

    def install(self, plural: str, *, there: bool) -> None:
        """Install or remove a CRD."""
        self._tables[plural].installed = there

    def compact(self) -> None:
        """Forget all changes up to now, as etcd does: older watches and pages end with 410."""
        self.compacted = self.version
        for table in self._tables.values():
            table.log.clear()
        self._pages.clear()

    def bookmark(self, watch: Watch, plural: str) -> None:
        """Send a bookmark."""
        table = self._tables[plural]
        value = {
            "kind": table.kind.kind,
            "apiVersion": table.kind.api_version,
            "metadata": {"resourceVersion": str(self.version), "creationTimestamp": None},
        }
        watch.send(_dump({"type": "BOOKMARK", "object": value}) + b"\n")

    def copy(self) -> "ApiServer":
        """Return a server with the same objects and no watches."""
        other = ApiServer(self._rng, self._now)
        for name, table in self._tables.items():
            other._tables[name].objects = dict(table.objects)
            other._tables[name].owned = {key: dict(owners) for key, owners in table.owned.items()}
            other._tables[name].installed = table.installed
        other.version = self.version
        other.compacted = self.version
        return other

    # ---- requests ----

    def answer(
        self,
        user: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply | Watch:
        """Answer one request; a Watch is an answer without an end."""
        try:
            answer = self._answer(user, method, path, query, body, headers)
        except Refused as refused:
            answer = Reply(refused.code, _dump(refused.body))
        if method != "GET" and isinstance(answer, Reply):
            self.answered(user, method, path, query, body, headers, answer.status)
        return answer

    def _answer(
        self,
        user: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply | Watch:
        table, namespace, name, sub = self._route(path)
        kind = table.kind
        verb = _verb(method, name, query)
        if not self.allowed(user, verb, kind, sub, namespace, name):
            resource = f"{kind.plural}/{sub}" if sub else kind.plural
            raise Refused(
                403,
                f'{kind.plural} "{name}" is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group'
                f' "{kind.group}"',
            )
        if not table.installed:
            raise Refused(404, "the server could not find the requested resource")
        if verb in ("list", "watch"):
            wanted = _wanted(namespace, query, headers)
            return self._watch(table, wanted, query) if verb == "watch" else self._list(table, wanted, query)
        if verb == "get":
            return Reply(200, self._existing(table, namespace, name).body)
        data = msgspec.json.decode(body) if body else {}
        if verb == "create":
            return self._create(user, table, namespace, data)
        if verb == "update":
            return self._update(user, table, namespace, name, data)
        if verb == "patch":
            return self._patch(user, table, namespace, name, sub, data, query, headers)
        return self._delete(user, table, namespace, name, data)

    def _route(self, path: str) -> _Route:
        known = self._known_routes.get(path)
        if known is None:
            known = self._known_routes[path] = self._route_anew(path)
        return known

    def _route_anew(self, path: str) -> _Route:
        parts = path.strip("/").split("/")
        size = 2 if parts[0] == "api" else 3
        prefix, rest = "/" + "/".join(parts[:size]), parts[size:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and (prefix, rest[2]) in self._routes:
            namespace, rest = rest[1], rest[2:]
        table = self._routes.get((prefix, rest[0])) if rest else None
        if table is None:
            raise Refused(404, "the server could not find the requested resource")
        name = rest[1] if len(rest) > 1 else ""
        return table, namespace, name, rest[2] if len(rest) > 2 else ""

    # ---- reading ----

    def _existing(self, table: _Table, namespace: str, name: str) -> Stored:
        stored = table.objects.get((namespace, name))
        if stored is None:
            kind = table.kind
            title = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            raise Refused(
                404,
                f'{title} "{name}" not found',
                details={"name": name, "group": kind.group, "kind": kind.plural},
            )
        return stored

    def _list(self, table: _Table, wanted: Wanted, query: Mapping[str, str]) -> Reply:
        limit, token = int(query.get("limit", "0")), query.get("continue", "")
        if token:
            if token not in self._pages:
                raise Refused(
                    410,
                    "The provided continue parameter is too old to display a consistent list result.",
                    metadata={"continue": "inconsistent"},
                )
            version, wanted, items = self._pages.pop(token)
        else:
            version = self.version
            items = [
                table.objects[key] for key in sorted(table.objects) if wanted.takes(table.objects[key].value)
            ]
        rest: list[Stored] = []
        if limit and len(items) > limit:
            items, rest = items[:limit], items[limit:]
        meta: Json = {"resourceVersion": str(version)}
        if rest:
            token = f"page-{next(self._tokens)}"
            self._pages[token] = (version, wanted, rest)
            meta |= {"continue": token, "remainingItemCount": len(rest)}
        kind = table.kind
        inside = b"[%s]" % b",".join(wanted.body(one) for one in items)
        title, group = f"{kind.kind}List", kind.api_version
        if wanted.metadata_only:
            title, group = "PartialObjectMetadataList", "meta.k8s.io/v1"
            inside = inside if items else b"null"  # as the real one answers
        head = f'{{"kind":"{title}","apiVersion":"{group}","metadata":'.encode()
        return Reply(200, b'%s%s,"items":%s}' % (head, _dump(meta), inside))

    def _watch(self, table: _Table, wanted: Wanted, query: Mapping[str, str]) -> Watch:
        since = int(query.get("resourceVersion", "0") or "0")
        bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        watch = Watch(wanted, bookmarks, float(query.get("timeoutSeconds", "1800")))
        if since < self.compacted:
            refused = Refused(410, f"too old resource version: {since} ({self.compacted})")
            watch.send(_dump({"type": "ERROR", "object": refused.body}) + b"\n")
            watch.seconds = 0.0
            return watch
        for change in table.log:
            if change.version > since:
                watch.take(change)
        number = next(self._watch_ids)
        table.watches[number] = watch
        watch.close = lambda: table.watches.pop(number, None)  # type: ignore[assignment]  # for its effect
        return watch

    # ---- writing ----

    def _create(self, user: str, table: _Table, namespace: str, data: Json) -> Reply:
        kind = table.kind
        value = copied(data)
        metadata = value.setdefault("metadata", {})
        name = metadata.get("name", "")
        if not name:
            raise Refused(422, f"{kind.kind} is invalid: metadata.name: Required value")
        self._check_namespace(kind, namespace, metadata, name)
        if (namespace, name) in table.objects:
            raise Refused(
                409,
                f'{kind.plural} "{name}" already exists',
                "AlreadyExists",
                details={"name": name, "kind": kind.plural},
            )
        if metadata.get("resourceVersion"):
            raise Refused(500, "resourceVersion should not be set on objects to be created")
        if kind.namespaced:
            metadata["namespace"] = namespace
        stored = self._store_new(user, table, value)
        return Reply(201, stored.body)

    def _check_namespace(self, kind: Kind, namespace: str, metadata: Json, name: str) -> None:
        if not kind.namespaced:
            return
        if metadata.get("namespace", namespace) != namespace:
            raise Refused(
                400, "the namespace of the provided object does not match the namespace sent on the request"
            )
        home = self.find("namespaces", namespace)
        if home is None:
            raise Refused(
                404, f'namespaces "{namespace}" not found', details={"name": namespace, "kind": "namespaces"}
            )
        if home["metadata"].get("deletionTimestamp"):
            raise Refused(
                403,
                f'{kind.plural} "{name}" is forbidden: unable to create new content in namespace {namespace} because it'
                " is being terminated",
                details={"causes": [{"reason": "NamespaceTerminating"}]},
            )

    def _store_new(self, user: str, table: _Table, value: Json) -> Stored:
        kind = table.kind
        metadata = value["metadata"]
        metadata["uid"] = self.new_uid()
        metadata["creationTimestamp"] = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        if kind.counts_generations:
            metadata["generation"] = 1
        if kind.has_status and kind.counts_generations:
            value.pop("status", None)  # it is a subresource
        value = merge_patched(kind.default, value)
        return self._store(user, "POST", table, value, None)

    def new_uid(self) -> str:
        """Return a uid that nobody has."""
        text = f"{self._rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def _update(self, user: str, table: _Table, namespace: str, name: str, data: Json) -> Reply:
        old = table.objects.get((namespace, name))
        metadata = data.get("metadata", {})
        if old is None:
            if not table.kind.create_on_update:
                self._existing(table, namespace, name)
            if metadata.get("uid"):
                raise Refused(
                    409,
                    f'Operation cannot be fulfilled on {table.kind.plural} "{name}": Precondition failed: UID in'
                    f" precondition: {metadata['uid']}, UID in object meta: ",
                )
            fresh = {**data, "metadata": {**metadata, "resourceVersion": ""}}
            return self._create(user, table, namespace, fresh)
        self._preconditions(table.kind, name, old, metadata)
        value = merge_patched(data, {})
        value = self._kept(table.kind, old, value, sub="")
        stored = self._store(user, "PUT", table, value, old)
        return Reply(200, stored.body)

    def _patch(
        self,
        user: str,
        table: _Table,
        namespace: str,
        name: str,
        sub: str,
        data: Json,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Reply:
        form = headers.get("Content-Type", "")
        if form.startswith("application/apply-patch"):
            return self._apply(user, table, namespace, name, sub, data, query)
        if not form.startswith("application/merge-patch"):
            raise Refused(415, f"the body of the request was in an unknown format - {form}")
        old = self._existing(table, namespace, name)
        self._preconditions(table.kind, name, old, data.get("metadata") or {})
        value = self._kept(table.kind, old, merge_patched(old.value, data), sub)
        self._edited(table, old, value, query.get("fieldManager", user))
        stored = self._store(user, "PATCH", table, value, old)
        return Reply(200, stored.body)

    def _edited(self, table: _Table, old: Stored, value: Json, manager: str) -> None:
        """Fields that somebody changes are his from now on, and those that he removes are nobody's."""
        owners = table.owned.setdefault(old.key, {})
        changed, gone = set(changed_leaves(value, old.value)), set(gone_leaves(old.value, value))
        for one, paths in owners.items():
            owners[one] = paths - changed - gone
        owners[f"update:{manager}"] = owners.get(f"update:{manager}", frozenset()) | changed

    def _apply(
        self,
        user: str,
        table: _Table,
        namespace: str,
        name: str,
        sub: str,
        data: Json,
        query: Mapping[str, str],
    ) -> Reply:
        manager, key = query.get("fieldManager", ""), (namespace, name)
        if not manager:
            raise Refused(400, "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
        old = table.objects.get(key)
        metadata = data.get("metadata", {})
        if old is None:
            if metadata.get("uid"):
                raise Refused(
                    409,
                    f'Operation cannot be fulfilled on {table.kind.plural} "{name}": uid mismatch: the provided object'
                    f" specified uid {metadata['uid']}, and no existing object was found",
                )
            self._check_namespace(table.kind, namespace, metadata, name)
            value = copied(data)
            value["metadata"]["name"] = name
            if table.kind.namespaced:
                value["metadata"]["namespace"] = namespace
            table.owned[key] = {manager: frozenset(leaves(data)) - _IDENTITY}
            return Reply(201, self._store_new(user, table, value).body)
        self._preconditions(table.kind, name, old, metadata)
        owners = table.owned.setdefault(key, {})
        fields = frozenset(leaves(data)) - _IDENTITY
        conflicts = [
            path
            for path in sorted(fields)
            for one, paths in owners.items()
            if one != manager and path in paths and value_at(old.value, path) != value_at(data, path)
        ]
        if conflicts and query.get("force") != "true":
            raise Refused(409, f"Apply failed with {len(conflicts)} conflicts")
        value = copied(old.value)
        for path in owners.get(manager, frozenset()) - fields:
            if not any(path in paths for one, paths in owners.items() if one != manager):
                remove_at(value, path)
        for path in fields:
            put_at(value, path, value_at(data, path))
        for one, paths in owners.items():
            if one != manager:
                owners[one] = frozenset(
                    path
                    for path in paths
                    if path not in fields or value_at(old.value, path) == value_at(data, path)
                )
        owners[manager] = fields
        stored = self._store(user, "APPLY", table, self._kept(table.kind, old, value, sub), old)
        return Reply(200, stored.body)

    def _preconditions(self, kind: Kind, name: str, old: Stored, metadata: Json) -> None:
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        mine = old.value["metadata"]
        if uid and uid != mine["uid"]:
            raise Refused(
                409,
                f'Operation cannot be fulfilled on {kind.plural} "{name}": Precondition failed: UID in precondition:'
                f" {uid}, UID in object meta: {mine['uid']}",
            )
        if version and version != mine["resourceVersion"]:
            raise Refused(
                409,
                f'Operation cannot be fulfilled on {kind.plural} "{name}": the object has been modified; please apply'
                " your changes to the latest version and try again",
            )

    def _kept(self, kind: Kind, old: Stored, value: Json, sub: str) -> Json:
        """Put back what a write cannot change."""
        before = old.value["metadata"]
        for name in (
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "deletionTimestamp",
            "name",
        ):
            if name in before:
                value["metadata"][name] = before[name]
            else:
                value["metadata"].pop(name, None)
        if kind.namespaced:
            value["metadata"]["namespace"] = before["namespace"]
        if not kind.has_status:
            return value
        if sub == "status":
            return {**old.value, **({"status": value["status"]} if "status" in value else {})}
        value.pop("status", None)
        return {**value, **({"status": old.value["status"]} if "status" in old.value else {})}

    def _store(self, user: str, method: str, table: _Table, value: Json, old: Stored | None) -> Stored:
        kind = table.kind
        value["apiVersion"], value["kind"] = kind.api_version, kind.kind
        if old is not None:
            if kind.counts_generations and _spec_of(kind, old.value) != _spec_of(kind, value):
                value["metadata"] = {
                    **value["metadata"],
                    "generation": old.value["metadata"].get("generation", 1) + 1,
                }
            if value == old.value:
                return old  # nothing changed, so nothing is written
        self.checked(kind, value, old.value if old is not None else None)
        self.version += 1
        value["metadata"] = {**value["metadata"], "resourceVersion": str(self.version)}
        stored = Stored(self.version, value, _dump(value))
        table.objects[stored.key] = stored
        self._log(table, Change(self.version, "MODIFIED" if old else "ADDED", stored, old))
        self.on_write(user, method, kind, old.value if old is not None else None, value)
        return stored

    def _delete(self, user: str, table: _Table, namespace: str, name: str, data: Json) -> Reply:
        old = self._existing(table, namespace, name)
        self._preconditions(table.kind, name, old, data.get("preconditions") or {})
        self._remove(user, table, old)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Reply(200, _dump(status))

    def _remove(self, user: str, table: _Table, old: Stored) -> None:
        self.version += 1
        last = copied(old.value)
        last["metadata"]["resourceVersion"] = str(self.version)
        del table.objects[old.key]
        table.owned.pop(old.key, None)
        stored = Stored(self.version, last, _dump(last))
        self._log(table, Change(self.version, "DELETED", stored, old))
        self.on_write(user, "DELETE", table.kind, old.value, None)

    def _log(self, table: _Table, change: Change) -> None:
        table.log.append(change)
        for watch in list(table.watches.values()):
            watch.take(change)


def _spec_of(kind: Kind, value: Json) -> Json:
    hidden = {*_SYSTEM, "status"} if kind.has_status else set(_SYSTEM)
    return {name: inner for name, inner in value.items() if name not in hidden}


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method == "GET":
        if name:
            return "get"
        return "watch" if query.get("watch") in ("true", "1") else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


def _wanted(namespace: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Wanted:
    labels = []
    for part in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, value = part.partition("=")
        labels.append((name, value.lstrip("=") if equals else None))
    fields = []
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        name, _, value = part.partition("=")
        fields.append((name, value))
    metadata_only = "as=PartialObjectMetadata" in headers.get("Accept", "")
    return Wanted(namespace, tuple(labels), tuple(fields), metadata_only)


def _partial(value: Json) -> Json:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": value["metadata"],
    }


def _dump(value: Any) -> bytes:
    return msgspec.json.encode(value)


def path_of(plural: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Return the path of a collection or an object."""
    kind = next(one for one in KINDS if one.plural == plural)
    home = f"/namespaces/{quote(namespace)}" if namespace else ""
    return f"{kind.prefix}{home}/{plural}" + (f"/{quote(name)}" if name else "") + (f"/{sub}" if sub else "")
