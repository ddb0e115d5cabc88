"""Where rows of nodes, attachments and Leases are kept: as little of them as is needed."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from volumehealth.cluster.nodeobjects import AgentPod, LeaseRow
from volumehealth.model.clock import Clock, moment_of
from volumehealth.model.cluster import Attachment, Node
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import AGENT_SILENT_SECONDS

_MOST_GONE = 4096
"""Nodes come and go under ever new names where a cluster is scaled; those that are long gone are forgotten."""

Key = TypeVar("Key")
Row = TypeVar("Row")


class Table(Generic[Key, Row]):
    """Rows in a dict."""

    def __init__(self, rows: dict[Key, Row], key: Callable[[Row], Key]) -> None:
        self._rows = rows
        self._key = key

    def put(self, row: Row, /) -> None:
        """Take a row as it is now; an equal one changes nothing."""
        key = self._key(row)
        if self._rows.get(key) != row:
            self._rows[key] = row

    def drop(self, key: Key, /) -> None:
        """A row is gone."""
        self._rows.pop(key, None)

    def known(self) -> Collection[Key]:
        """Return the keys of all rows."""
        return self._rows.keys()


class NodeTable(Table[str, Node]):
    """Nodes, and since when (monotonic seconds) those are gone that were deleted before our eyes."""

    def __init__(self, rows: dict[str, Node], gone: dict[str, float], clock: Clock) -> None:
        super().__init__(rows, lambda node: node.name)
        self._gone = gone
        self._clock = clock

    def put(self, row: Node, /) -> None:
        """Take a node as it is now."""
        self._gone.pop(row.name, None)
        super().put(row)

    def drop(self, key: str, /) -> None:
        """A node was deleted."""
        if key in self._rows:
            if len(self._gone) >= _MOST_GONE:
                del self._gone[next(iter(self._gone))]
            self._gone[key] = self._clock.monotonic()
        super().drop(key)


class ErrorTable(Table[str, Attachment]):
    """Attachments with an error, or on their way: neither attached nor gone. The others are not kept."""

    def __init__(self, rows: dict[str, Attachment]) -> None:
        super().__init__(rows, lambda attachment: attachment.name)

    def put(self, row: Attachment, /) -> None:
        """Take an attachment as it is now."""
        if row.attach_error or row.detach_error or not row.attached or row.deleted is not None:
            super().put(row)
        else:
            self.drop(row.name)


@dataclass(frozen=True, slots=True)
class LeaseLiveness:
    """How long a Lease's holder counts as alive.

    Attributes:
        renewed: what its holder wrote last.
        until: monotonic seconds, of our own clock.
    """

    renewed: str
    until: float


class LeaseTable:
    """Leases by what was seen of them: a Lease is alive for its duration after each change that we see.

    Holders' clocks are not compared with ours, with one exception: a Lease that is seen for the first time counts as
    old as it says, so that an agent that died long ago is not alive for an operator that starts, nor a live one dead.
    """

    def __init__(self, seen: dict[str, LeaseLiveness], clock: Clock) -> None:
        self._seen = seen
        self._clock = clock

    def put(self, row: LeaseRow, /) -> None:
        """Take a Lease as it is now."""
        before = self._seen.get(row.name)
        if before is not None and before.renewed == row.renewed:
            return
        lasts = float(row.duration or AGENT_SILENT_SECONDS)
        now, age = self._clock.monotonic(), self._age(row.renewed)
        if age is None:  # nobody renewed it: whoever took the time out of it shows no life of its holder
            until = before.until if before is not None else now
        else:
            until = now + lasts - (0.0 if before is not None else age)
        self._seen[row.name] = LeaseLiveness(row.renewed, until)

    def drop(self, key: Any, /) -> None:
        """A Lease was deleted."""
        self._seen.pop(key, None)

    def known(self) -> Collection[str]:
        """Return the names of all Leases."""
        return self._seen.keys()

    def _age(self, renewed: str) -> float | None:
        """Return how old a Lease says that it is; None if it was never renewed."""
        moment = moment_of(renewed, again=False)
        return max(0.0, (self._clock.now() - moment).total_seconds()) if moment is not None else None


class AgentPodTable(Table[ClaimRef, AgentPod]):
    """The agents' Pods, which also counts them by node.

    Args:
        nodes: how many Pods are on each node; kept up to date.
    """

    def __init__(self, nodes: dict[str, int]) -> None:
        super().__init__({}, lambda pod: ClaimRef(pod.namespace, pod.name))
        self._nodes = nodes

    def put(self, row: AgentPod, /) -> None:
        """Take a Pod as it is now."""
        self.drop(self._key(row))
        super().put(row)
        self._nodes[row.node] = self._nodes.get(row.node, 0) + 1

    def drop(self, key: ClaimRef, /) -> None:
        """A Pod is gone."""
        before = self._rows.get(key)
        super().drop(key)
        if before is not None:
            self._nodes[before.node] -= 1
            if not self._nodes[before.node]:
                del self._nodes[before.node]
