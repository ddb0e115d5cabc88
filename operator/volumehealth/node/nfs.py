"""NFS servers that do not reply, by the transports' counters in `/proc/<pid>/mountstats`; pure.

Counters of operations count a call when it ends, so a server that hangs moves none of them. A transport counts what it
sent and what it received (`xprt:` lines, net/sunrpc: xprt_rdma_print_stats and its like).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from volumehealth.node.files import is_number
from volumehealth.node.mountinfo import unescaped

PATIENCE = 60.0
"""Seconds without a reply that are normal while a server fails over."""

_DEVICE = re.compile(r"device (?P<source>\S+) mounted on (?P<point>\S+) with fstype (?P<kind>nfs4?)(?: |$)")
_COLUMNS = {"tcp": (2, 5, 6), "rdma": (2, 5, 6), "local": (1, 4, 5), "udp": (-1, 2, 3)}
"""Where `xprt: <kind> ...` has its count of connects, what was sent, and what was received."""


@dataclass(frozen=True, slots=True)
class Transport:
    """The traffic of a mount, over all its connections: connects made, requests sent, replies received."""

    connects: int = 0
    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class NfsMount:
    """An NFS mount and its traffic."""

    server: str
    transport: Transport


def server_of(source: str) -> str:
    """Return the server of a mount's source, `server:/export`; an IPv6 address stands in brackets."""
    return source.partition(":/")[0].strip("[]")


def parse_mountstats(text: str) -> dict[str, NfsMount]:
    """Read the NFS mounts, by mount point; what cannot be read is skipped."""
    mounts: dict[str, NfsMount] = {}
    point, server = "", ""
    for line in text.split("\n"):
        if line.startswith("device "):
            found = _DEVICE.match(line)
            point = unescaped(found["point"]) if found else ""
            server = server_of(unescaped(found["source"])) if found else ""
        elif point and line.lstrip().startswith("xprt:"):
            known = mounts.get(point, NfsMount(server, Transport())).transport
            mounts[point] = NfsMount(server, _added(known, line.split()[1:]))
    return mounts


def _added(known: Transport, fields: list[str]) -> Transport:
    columns = _COLUMNS.get(fields[0] if fields else "")
    if columns is None or len(fields) <= max(columns) + 1 or not all(map(is_number, fields[1:])):
        return known
    numbers = [int(one) for one in fields[1:]]
    connects, sent, received = (numbers[column] if column >= 0 else 0 for column in columns)
    return Transport(known.connects + connects, known.sent + sent, known.received + received)


@dataclass(frozen=True, slots=True)
class Replies:
    """What the traffic of one mount says of its server.

    Attributes:
        silent: it was sent requests, or connects were made, and nothing was received for 60 seconds.
        last: when a reply was seen last, in monotonic seconds; None if none was yet.
        undecided: whether it is silent cannot be said yet.
        since: since when the mount is watched, in monotonic seconds; None if it is not.
    """

    silent: bool = False
    last: float | None = None
    undecided: bool = False
    since: float | None = None


@dataclass(slots=True)
class _Watch:
    """One mount: its traffic when the last reply came, and since when it waits.

    Attributes:
        excess: how much more was sent than received at the lowest: requests that were sent twice or given up.
        begun: since when it is watched.
    """

    transport: Transport
    excess: int
    begun: float
    last: float | None = None
    waits_since: float | None = None


class ServerWatch:
    """Compares looks at the mounts of file servers."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    def look(self, mounts: Mapping[str, NfsMount], *, now: float) -> dict[str, Replies]:
        """Say of each mount whether its server replies.

        Args:
            mounts: of this node, by mount point.
            now: monotonic seconds.
        """
        for point in self._watches.keys() - mounts.keys():
            del self._watches[point]
        return {point: self._look(point, mount.transport, now) for point, mount in mounts.items()}

    def restart(self) -> None:
        """Begin anew with how long replies are waited for: nothing is known of the time before."""
        for watch in self._watches.values():
            watch.waits_since = None

    def _look(self, point: str, transport: Transport, now: float) -> Replies:
        excess = max(0, transport.sent - transport.received)
        known = self._watches.get(point)
        if known is None or transport.sent < known.transport.sent:
            self._watches[point] = _Watch(transport, excess, now)
            return Replies(undecided=True, since=now)
        if transport.received != known.transport.received:
            self._watches[point] = _Watch(transport, min(known.excess, excess), known.begun, last=now)
            return Replies(last=now, since=known.begun)
        if excess > known.excess or transport.connects > known.transport.connects:
            known.waits_since = now if known.waits_since is None else known.waits_since
        since = known.waits_since
        silent = since is not None and now - since >= PATIENCE
        undecided = not silent and (since is not None or known.last is None)
        return Replies(silent, known.last, undecided, known.begun)
