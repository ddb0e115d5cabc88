"""From the bytes of a list or a watch to rows, object by object: whatever one object holds, the others are read.

Objects are written by other programs and other people. One that cannot be read is skipped: what was known of it
stays, it is logged once, and it is counted.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from volumehealth import errors
from volumehealth.kube.bodies import UNREADABLE, reason_of, repaired, without_nulls
from volumehealth.kube.lists import ListMeta, Page

log = logging.getLogger(__name__)

_MOST_TOLD = 1000
"""Skipped objects whose names are remembered, so that each is logged once."""

Item = TypeVar("Item")
Row = TypeVar("Row")


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Identity(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An object that could not be read.

    Attributes:
        name, namespace: of the object; empty if not even they can be read.
        version: its `resourceVersion`.
    """

    name: str = ""
    namespace: str = ""
    version: str = ""

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """What it may be known by: its name, or namespace and name."""
        return (self.name, (self.namespace, self.name)) if self.name else ()


@dataclass(frozen=True, slots=True)
class ObjectPage(Generic[Item]):
    """A page of a list; objects are raw if the page could not be decoded as a whole."""

    items: Sequence[Item | msgspec.Raw]
    metadata: ListMeta


class ObjectReader(Generic[Item, Row]):
    """Reads the objects of one resource.

    Args:
        name: of the resource, for logs and metrics.
        item: the struct that one object is decoded into.
        read: makes the row; None if the object is of no interest.
        on_skip: told the resource's name for each object that is skipped.
    """

    def __init__(
        self,
        name: str,
        item: type[Item],
        read: Callable[[Item], Row | None],
        on_skip: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._read = read
        self._on_skip = on_skip
        self._page: msgspec.json.Decoder[Page[Item]] = msgspec.json.Decoder(Page[item])  # type: ignore[valid-type]  # a type made at run time
        self._raw_page: msgspec.json.Decoder[Page[msgspec.Raw]] = msgspec.json.Decoder(Page[msgspec.Raw])
        self._item: msgspec.json.Decoder[Item] = msgspec.json.Decoder(item)
        self._identity = msgspec.json.Decoder(_Identity)
        self._told: set[tuple[str, str]] = set()

    def page(self, body: bytes) -> ObjectPage[Item]:
        """Decode a page at once; if that fails, only its envelope.

        Raises:
            ApiUnreachable: it is no list of a Kubernetes API server: a proxy answers, or the answer was cut.
        """
        try:
            page = self._page.decode(body)
            found: ObjectPage[Item] = ObjectPage(page.items or (), page.metadata)
        except UNREADABLE:
            found = self._envelope(body)
        if not found.metadata.resource_version:
            raise errors.ApiUnreachable(f"the list of {self._name} has no resourceVersion")
        return found

    def _envelope(self, body: bytes) -> ObjectPage[Item]:
        try:
            raw = self._raw_page.decode(repaired(body))
        except UNREADABLE as error:
            raise errors.ApiUnreachable(
                f"the list of {self._name} cannot be read: {reason_of(error)}"
            ) from error
        return ObjectPage(raw.items or (), raw.metadata)

    def row(self, item: Item | msgspec.Raw) -> Row | Skipped | None:
        """Make the row of an object; None if it is of no interest."""
        try:
            return self._read(self._item.decode(item) if isinstance(item, msgspec.Raw) else item)
        except Exception as strict:  # noqa: BLE001 - whatever an object holds, it ends nothing
            try:
                return self._read(self._without_nulls(item))
            except Exception:  # noqa: BLE001 - the first error says what is wrong
                return self.skip(item, strict)

    def skip(self, item: object, error: Exception) -> Skipped:
        """Log an object that cannot be read, once, and count it."""
        skipped = self.identify(item)
        named = (skipped.namespace, skipped.name)
        if named not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told.add(named)
            log.warning(
                "object skipped: it cannot be read",
                extra={
                    "resource": self._name,
                    "object": f"{skipped.namespace}/{skipped.name}".strip("/")[:600],
                    "error": f"{type(error).__name__}: {reason_of(error)}",
                },
            )
        self._on_skip(self._name)
        return skipped

    def _without_nulls(self, item: Item | msgspec.Raw) -> Item:
        """Decode again what has a null where no null may be, as some clients write them: null is not given."""
        raw = bytes(item) if isinstance(item, msgspec.Raw) else msgspec.json.encode(item)
        return self._item.decode(msgspec.json.encode(without_nulls(msgspec.json.decode(raw))))

    def identify(self, item: object) -> Skipped:
        """Read of an object which one it is, as far as that can be told."""
        try:
            raw = bytes(item) if isinstance(item, msgspec.Raw) else msgspec.json.encode(item)
            found = self._identity.decode(raw).metadata
        except Exception:  # noqa: BLE001 - then nobody knows which object it is
            return Skipped()
        return Skipped(found.name, found.namespace, found.resource_version)
