"""Claims, volumes and namespaces, read one by one as this node needs them; never a watch of them all."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from volumehealth import errors
from volumehealth.agent.targets import KnownClaim
from volumehealth.agent.wishes import wants_read_only
from volumehealth.cluster.joins import join
from volumehealth.cluster.objects import (
    LabelPool,
    NamespaceObject,
    PersistentVolume,
    PersistentVolumeClaim,
    VolumeRow,
    claim_row,
    namespace_row,
    volume_row,
)
from volumehealth.kube.api import Api
from volumehealth.kube.bodies import UNREADABLE, read_body, reason_of
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Namespace
from volumehealth.model.ids import ClaimRef

log = logging.getLogger(__name__)

AT_ONCE = 4
RETRY = 10.0
"""Seconds until something that could not be read is tried again."""
REFRESH = 600.0
"""Seconds until labels are read again, where a policy selects by labels."""

T = TypeVar("T")


class _CsiAccess(msgspec.Struct, rename="camel"):
    read_only: bool = False
    volume_attributes: dict[str, str] | None = None


class _Access(msgspec.Struct, rename="camel"):
    csi: _CsiAccess | None = None
    mount_options: tuple[str, ...] | None = None


class ClaimLookup:
    """Reads what is wanted and keeps it while it is wanted.

    Args:
        api: a connection.
        clock: time.
        random: spreads refreshing, so that a thousand agents do not ask at one moment.
        news: called when something was read that is new.

    Attributes:
        claims: bound claims with their volumes.
        namespaces: by name, as far as they are wanted.
    """

    def __init__(self, api: Api, *, clock: Clock, random: Random, news: Callable[[], None]) -> None:
        self._api = api
        self._clock = clock
        self._random = random
        self._news = news
        self._wanted: dict[ClaimRef, frozenset[str]] = {}
        self._spaces: frozenset[str] = frozenset()
        self._labels = False
        self._claims: dict[ClaimRef, KnownClaim] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._due: dict[ClaimRef | str, float] = {}
        self._pool = LabelPool()
        self._woken = asyncio.Event()
        self.claims: Mapping[ClaimRef, KnownClaim] = MappingProxyType(self._claims)
        self.namespaces: Mapping[str, Namespace] = MappingProxyType(self._namespaces)

    def want(self, claims: Mapping[ClaimRef, Collection[str]], *, labels: bool, namespaces: bool) -> None:
        """Say what is wanted from now on.

        Args:
            claims: those in use on this node, with the uids of the Pods that use them. With another Pod a claim is read
                again: it may have been deleted and made anew in between.
            labels: some policy selects by labels: they are read again from time to time, and soon if none did before.
            namespaces: some policy selects by the labels of namespaces.
        """
        wanted = {ref: frozenset(pods) for ref, pods in claims.items()}
        spaces = frozenset(ref.namespace for ref in wanted) if namespaces else frozenset[str]()
        if (wanted, spaces, labels) == (self._wanted, self._spaces, self._labels):
            return
        now = self._clock.monotonic()
        for ref, pods in wanted.items():
            if ref in self._due and pods - self._wanted.get(ref, pods):
                self._due[ref] = now
        if labels and not self._labels:
            for key, due in self._due.items():
                self._due[key] = min(due, now + self._random.uniform(0.0, RETRY))
        self._wanted, self._spaces, self._labels = wanted, spaces, labels
        for ref in self._claims.keys() - wanted.keys():
            del self._claims[ref]
        for name in self._namespaces.keys() - spaces:
            del self._namespaces[name]
        for key in self._due.keys() - wanted.keys() - spaces:
            del self._due[key]
        self._woken.set()

    @property
    def unread(self) -> Collection[ClaimRef]:
        """The claims in use of which nothing could be read yet."""
        return self._wanted.keys() - self._claims.keys()

    def settled(self) -> bool:
        """Tell whether everything that is wanted was asked for at least once."""
        return all(key in self._due for key in self._keys())

    async def run(self) -> None:
        """Read what is due until cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)
        while True:
            self._woken.clear()
            now = self._clock.monotonic()
            due = [key for key in self._keys() if self._due.get(key, now) <= now]
            before = (dict(self._claims), dict(self._namespaces))
            await asyncio.gather(*(self._read(key, slots) for key in due))
            if due and (before != (self._claims, self._namespaces) or self.settled()):
                self._news()
            await _sleep(self._woken, self._until_next())

    def _keys(self) -> list[ClaimRef | str]:
        return [*self._spaces, *self._wanted]

    def _until_next(self) -> float | None:
        waiting = [self._due.get(key, 0.0) for key in self._keys()]
        finite = [due for due in waiting if due != float("inf")]
        return max(0.0, min(finite) - self._clock.monotonic()) if finite else None

    async def _read(self, key: ClaimRef | str, slots: asyncio.Semaphore) -> None:
        async with slots:
            if not self._is_wanted(key):
                return
            if isinstance(key, ClaimRef):
                found = await self._asked(key, self._read_claim(key))
                if found is not None and key in self._wanted:
                    self._claims[key] = found
            else:
                space = await self._asked(key, self._read_namespace(key))
                if space is not None and key in self._spaces:
                    self._namespaces[key] = space

    def _is_wanted(self, key: ClaimRef | str) -> bool:
        return key in self._wanted or key in self._spaces

    async def _asked(self, key: ClaimRef | str, work: Coroutine[Any, Any, T | None]) -> T | None:
        """Read, and say when to read again: at once if another Pod came to use it meanwhile."""
        pods = self._wanted.get(key) if isinstance(key, ClaimRef) else None
        try:
            found = await work
        except (errors.ApiError, *UNREADABLE) as error:
            log.info("not read", extra={"what": str(key), "error": reason_of(error)})
            found = None
        if not self._is_wanted(key):
            return None  # and if it is wanted once more, it is due: nothing was kept of it
        again = REFRESH if self._labels else float("inf")
        wait = RETRY if found is None else again
        if isinstance(key, ClaimRef) and self._wanted.get(key) != pods:
            wait = 0.0
        self._due[key] = self._clock.monotonic() + wait * self._random.uniform(0.8, 1.2)
        return found

    async def _read_claim(self, ref: ClaimRef) -> KnownClaim | None:
        """Read a claim and its volume; None while they are not bound to each other."""
        path = f"/api/v1/namespaces/{ref.namespace}/persistentvolumeclaims/{ref.name}"
        row = claim_row(await self._get(path, PersistentVolumeClaim), self._pool)
        if row.phase != "Bound" or not row.volume:
            return None
        volume, read_only = await self._read_volume(row.volume)
        claim = join(row, volume)
        return KnownClaim(claim, read_only=read_only) if claim.volume else None

    async def _read_volume(self, name: str) -> tuple[VolumeRow, bool]:
        volume = await self._get(f"/api/v1/persistentvolumes/{name}", PersistentVolume)
        access = read_body(bytes(volume.spec), _Access, what=f"the volume {name}")
        attributes = access.csi.volume_attributes if access.csi is not None else None
        asked = wants_read_only(access.mount_options or (), attributes or {})
        read_only = asked or (access.csi is not None and access.csi.read_only)
        return volume_row(volume), read_only

    async def _read_namespace(self, name: str) -> Namespace | None:
        return namespace_row(await self._get(f"/api/v1/namespaces/{name}", NamespaceObject), self._pool)

    async def _get(self, path: str, kind: type[T]) -> T:
        return read_body(await self._api.request("GET", path), kind, what=path)


async def _sleep(woken: asyncio.Event, seconds: float | None) -> None:
    """Sleep until woken, or until so many seconds are over."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
