"""The API server's audit log, read back: who asked for what, and was it allowed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        user: who sent it.
        verb: as RBAC names it.
        group, resource: of the API; the resource with its subresource, as RBAC writes it. Empty for a path.
        namespace, name: of the object; empty if the request names none.
        code: HTTP status of the answer; 0 if it was never written.
    """

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int

    @property
    def writes(self) -> bool:
        """Whether it would change something."""
        return self.verb in _WRITES

    def __str__(self) -> str:
        return f"{self.code} {self.verb} {self.resource} {self.namespace}/{self.name}"


class AuditLog:
    """Reads an audit log on, from where it was read last.

    Args:
        path: `ControlPlane.audit_log`.
        user: whose requests are wanted.
    """

    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user
        self._offset = path.stat().st_size if path.exists() else 0
        self._seen: set[str] = set()
        self._requests: list[Request] = []

    def all(self) -> list[Request]:
        """Return every request since this object was made."""
        self.news()
        return self._requests

    def news(self) -> list[Request]:
        """Return the requests that were logged since the last call, or since this object was made.

        A watch is logged when it starts and again when it ends; it is returned once.
        """
        news = list(self._read())
        self._requests += news
        return news

    def _read(self) -> Iterator[Request]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # the rest of it is being written
                self._offset += len(line)
                if self._user.encode() in line:
                    entry = json.loads(line)
                    if entry["user"]["username"] == self._user and entry["auditID"] not in self._seen:
                        self._seen.add(entry["auditID"])
                        yield _request(entry)


def _request(entry: dict[str, Any]) -> Request:
    about = entry.get("objectRef", {})
    resource, subresource = about.get("resource", ""), about.get("subresource", "")
    return Request(
        user=entry["user"]["username"],
        verb=entry["verb"],
        group=about.get("apiGroup", ""),
        resource=f"{resource}/{subresource}" if subresource else resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
    )
