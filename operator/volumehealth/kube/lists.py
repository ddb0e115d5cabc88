"""The envelopes of the Kubernetes API: a page of a list, a line of a watch."""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion", "token": "continue"}, gc=False):
    """`metadata` of a list; `token` asks for the next page."""

    resource_version: str | None = ""
    token: str | None = ""


class Page(msgspec.Struct, Generic[Item], gc=False):
    """One page of a list. The API server writes null for an empty list of metadata."""

    items: list[Item] | None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class WatchLine(msgspec.Struct, Generic[Item], gc=False):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: Item
