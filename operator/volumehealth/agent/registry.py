"""Which CSI drivers this node has: what registers in the kubelet's plugin registry, and what was named by hand."""

import asyncio
import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.registration import CSI_PLUGIN, plugin_info
from volumehealth.csi.wire import Dial, GrpcWire
from volumehealth.errors import CsiError
from volumehealth.model.clock import Clock

log = logging.getLogger(__name__)

Stamp = tuple[int, int]
"""Inode and time of a socket."""

REGISTRY = "plugins_registry"
_OF_SOCKETS = ("plugins", "csi-plugins")
"""Directories of the kubelet where drivers have their sockets."""
_REFUSED = os.strerror(errno.EACCES)
"""Stands in gRPC's own words when the kernel does not let this process connect."""
_UNAVAILABLE = "UNAVAILABLE"
_AT_EVERY_LOOK = 3
"""Times that a socket is asked again at the next look; its plugin may only be starting."""
_DEEPEST = 3
"""The kubelet looks into subdirectories, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPace:
    """Seconds.

    Attributes:
        look: between two looks at the directory; a few entries of a local filesystem.
        ask: of one call.
        gone: until a driver whose socket vanished is forgotten; one that is being replaced comes back sooner.
        shared: between two asks of one of several sockets with the same driver's name, at most: any may die.
        refused: between two asks of a socket that gave no answer of use, at most. One that is made anew is asked at once, one
            behind which nobody is at every look.
    """

    look: float = 5.0
    ask: float = 5.0
    gone: float = 60.0
    shared: float = 30.0
    refused: float = 60.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a socket turned out to be; an empty name is nothing that we ask."""

    stamp: Stamp
    name: str = ""
    endpoint: Endpoint | None = None


@dataclass(slots=True)
class _Asked:
    """How often a socket was asked without anything new, and when it may be asked again."""

    stamp: Stamp | None
    times: int = 0
    due: float = 0.0

    def note(self, now: float, pace: float, most: float) -> None:
        """Ask ever more rarely: the first times at every look."""
        self.times += 1
        doubled = pace * 2.0 ** min(self.times - _AT_EVERY_LOOK, 16)
        self.due = now + min(most, doubled) if self.times >= _AT_EVERY_LOOK else now


class PluginRegistry:
    """Keeps the list of drivers while `run` runs.

    Args:
        kubelet: the kubelet's root directory.
        fixed: endpoints that were given by hand, with the driver's name if that was given too.
        clock: time.
        news: called when the list changed.
        pace: how often.
        dial: makes connections to plugins.
        sockets: looks below the registry's directory; returns the sockets with what changes when one is made anew.

    Attributes:
        drivers: where each driver's node plugin answers, by name. A live view.
        looked: whether the whole directory was looked at once.
        obstacle: why drivers may be here that are not found: this process may not read the directory, or may not
            connect to a socket. Empty if nothing is in the way.
    """

    def __init__(
        self,
        kubelet: str,
        *,
        fixed: Iterable[tuple[Endpoint, str]] = (),
        clock: Clock,
        news: Callable[[], None],
        pace: RegistryPace | None = None,
        dial: Dial = GrpcWire,
        sockets: Callable[[Path], Mapping[str, Stamp]] | None = None,
    ) -> None:
        self._directory = Path(kubelet) / REGISTRY
        self._dial = dial
        self._find = sockets or sockets_below
        self._unnamed = [endpoint for endpoint, name in fixed if not name]
        self._fixed = {name: endpoint for endpoint, name in fixed if name}
        self._clock = clock
        self._news = news
        self._pace = pace or RegistryPace()
        self._sockets: dict[str, _Found] = {}
        self._seen: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._asked: dict[str, _Asked] = {}
        self._seen_sockets: set[str] = set()
        self._barred: set[str] = set()
        self._drivers: dict[str, Endpoint] = {}
        self.drivers: Mapping[str, Endpoint] = MappingProxyType(self._drivers)
        self.looked = False
        self.obstacle = ""

    async def run(self) -> None:
        """Keep up until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._pace.look)

    async def look(self) -> None:
        """Look once."""
        await self._name_fixed()
        sockets = self._find(self._directory)
        for path in self._seen_sockets - sockets.keys():
            self._sockets.pop(path, None)
            self._told.pop(path, None)
            self._asked.pop(path, None)
            self._barred.discard(path)
        self._seen_sockets = set(sockets)
        contested = self._contested()
        changed = [path for path, stamp in sockets.items() if self._stamp(path) != stamp or path in contested]
        due = [path for path in changed if self._may_ask(path, sockets[path])]
        await asyncio.gather(*(self._ask(path, sockets[path]) for path in due))
        self._note_obstacle()
        self._update()
        self.looked = True

    def _stamp(self, path: str) -> Stamp | None:
        found = self._sockets.get(path)
        return found.stamp if found else None

    def _contested(self) -> set[str]:
        """Return the sockets whose driver is registered at another one, too: of these one may be dead."""
        names = Counter(found.name for found in self._sockets.values() if found.name)
        return {path for path, found in self._sockets.items() if names[found.name] > 1}

    def _may_ask(self, where: str, stamp: Stamp | None = None) -> bool:
        """Tell whether a socket, or an endpoint given by hand, is to be asked now; one that was made anew is."""
        known = self._asked.get(where)
        if known is None or known.stamp != stamp:
            self._asked[where] = _Asked(stamp)
            return True
        return self._clock.monotonic() >= known.due

    def _note_asked(self, where: str, most: float) -> None:
        self._asked[where].note(self._clock.monotonic(), self._pace.look, most)

    def _note_refused(self, where: str, error: Exception) -> None:
        if not isinstance(error, CsiError) or error.code != _UNAVAILABLE:
            self._note_asked(where, self._pace.refused)

    async def _ask(self, path: str, stamp: Stamp) -> None:
        answered = path in self._sockets
        try:
            info = await plugin_info(path, timeout=self._pace.ask, dial=self._dial)
        except (CsiError, ValueError) as error:
            self._tell(path, str(error))
            self._note_refused(path, error)
            if path in self._contested():
                del self._sockets[path]  # the other one of that name answers, or neither does
            return
        self._barred.discard(path)
        if answered:
            self._note_asked(path, self._pace.shared)
        if info.kind == CSI_PLUGIN:
            self._sockets[path] = _Found(stamp, info.name, self._as_seen_here(info.endpoint))
        else:
            self._sockets[path] = _Found(stamp)

    async def _name_fixed(self) -> None:
        for endpoint in [one for one in self._unnamed if self._may_ask(str(one))]:
            try:
                async with CsiClient(endpoint, dial=self._dial) as client:
                    info = await client.identify_node(self._pace.ask)
            except CsiError as error:
                self._tell(str(endpoint), str(error))
                self._note_refused(str(endpoint), error)
            else:
                self._unnamed.remove(endpoint)
                self._barred.discard(str(endpoint))
                self._fixed[info.name] = endpoint

    def _as_seen_here(self, endpoint: Endpoint) -> Endpoint:
        """Return where a plugin's socket is for this process.

        A driver may name it by a symbolic link to the kubelet's directory (`/var/lib/kubelet` of MicroK8s, k0s and IBM Cloud),
        which this process does not have. This is asked once: while a driver restarts there is only its socket's directory.
        """
        path = endpoint.target.removeprefix("unix://")
        if os.path.exists(path):
            return endpoint
        for name in (*_OF_SOCKETS, REGISTRY):
            _, found, rest = path.partition(f"/{name}/")
            here = os.path.join(self._directory.with_name(name), rest)
            if found and (os.path.exists(here) or _is_here_alone(here, path)):
                return Endpoint(f"unix://{here}")
        return endpoint

    def _note_obstacle(self) -> None:
        if _is_closed(self._directory):
            found = _obstacle(f"read {self._directory}")
        elif self._barred:
            found = _obstacle(f"connect to {min(self._barred)}")
        else:
            found = ""
        if found != self.obstacle:
            self.obstacle = found
            if found:
                log.warning("drivers cannot be reached", extra={"why": found})
            self._news()

    def _update(self) -> None:
        now = self._clock.monotonic()
        current = dict(self._fixed)
        for path in sorted(self._sockets, key=lambda path: self._sockets[path].stamp[1]):
            found = self._sockets[path]
            if found.endpoint is not None:
                current[found.name] = found.endpoint  # of two sockets with one name the newer counts
        self._seen.update(dict.fromkeys(current, now))
        lost = {name for name in self._drivers if now - self._seen[name] > self._pace.gone}
        after = {name: at for name, at in self._drivers.items() if name not in lost} | current
        if after != self._drivers:
            for name in after.keys() - self._drivers.keys():
                log.info("driver found", extra={"driver": name, "endpoint": str(after[name])})
            for name in lost:
                log.info("driver gone", extra={"driver": name})
            self._drivers.clear()
            self._drivers.update(after)
            self._news()

    def _tell(self, where: str, why: str) -> None:
        """Log once for each reason; remember what this process may not connect to."""
        if _REFUSED in why:
            self._barred.add(where)
        if self._told.get(where) != why:
            self._told[where] = why
            log.info("plugin not asked", extra={"socket": where, "error": why})


def _is_here_alone(here: str, elsewhere: str) -> bool:
    """Tell whether of the directories of two files only the first one exists."""
    return os.path.isdir(os.path.dirname(here)) and not os.path.isdir(os.path.dirname(elsewhere))


def _is_closed(directory: Path) -> bool:
    try:
        with os.scandir(directory):
            return False
    except PermissionError:
        return True
    except OSError:
        return False


def _obstacle(deed: str) -> str:
    """Say what this process may not do, and what the usual cause is."""
    uid = os.geteuid()
    cause = "run it as uid 0" if uid else "a security module (SELinux, AppArmor) may forbid it"
    return f"this agent runs as uid {uid} and may not {deed}: {cause}"


def sockets_below(directory: Path) -> Mapping[str, Stamp]:
    """Return the sockets below a directory with what changes when one is made anew; hidden ones are not plugins."""
    return dict(_sockets(directory))


def _sockets(directory: Path, depth: int = 1) -> Iterator[tuple[str, Stamp]]:
    try:
        entries = [entry for entry in os.scandir(directory) if not entry.name.startswith(".")]
    except OSError:
        return
    for entry in entries:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISSOCK(found.st_mode):
            yield entry.path, (found.st_ino, found.st_mtime_ns)
        elif stat.S_ISDIR(found.st_mode) and depth < _DEEPEST:
            yield from _sockets(Path(entry.path), depth + 1)
