"""The policies: their metadata is watched, and a policy is read when its generation changed.

A policy's status is written far more often than its spec; a thousand agents must not be sent every one of them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec

from volumehealth import errors
from volumehealth.kube.api import Api
from volumehealth.kube.bodies import read_body
from volumehealth.kube.reflector import OF_MANY, Reflector, Resource
from volumehealth.kube.scoped import ScopedApi
from volumehealth.model.clock import Clock
from volumehealth.model.policy import Policy
from volumehealth.model.vocabulary import API_VERSION, POLICIES
from volumehealth.policy.parse import parse_policy

log = logging.getLogger(__name__)

_SPREAD = 2.0
"""Seconds over which the agents of a cluster spread their reading of a changed policy."""
_RETRY = 10.0
_PATH = f"/apis/{API_VERSION}/{POLICIES}"


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    generation: int = 0


class PolicyMetadata(msgspec.Struct):
    """A PartialObjectMetadata."""

    metadata: _Meta


@dataclass(frozen=True, slots=True)
class Version:
    """Which spec of which policy."""

    name: str
    uid: str
    generation: int


def policy_metadata() -> Resource[PolicyMetadata, Version]:
    """Return policies, to be followed through a connection that is narrowed to metadata."""

    def read(item: PolicyMetadata) -> Version:
        return Version(item.metadata.name, item.metadata.uid, item.metadata.generation)

    def key(row: Version) -> str:
        return row.name

    return Resource(POLICIES, _PATH, PolicyMetadata, read=read, key=key, optional=True)


class PolicyStore:
    """The usable policies while `run` runs.

    Args:
        api: a connection.
        clock: time.
        random: spreads reading.
        news: called when a policy came, changed or went.

    Attributes:
        policies: the last good spec of each, by uid.
    """

    def __init__(self, api: Api, *, clock: Clock, random: Random, news: Callable[[], None]) -> None:
        self._api = api
        self._random = random
        self._news = news
        self._versions: dict[str, Version] = {}
        self._read: dict[str, Version] = {}
        self._policies: dict[str, Policy] = {}
        self._woken = asyncio.Event()
        self.policies: Mapping[str, Policy] = MappingProxyType(self._policies)
        self.reflector: Reflector[PolicyMetadata, Version] = Reflector(
            ScopedApi(api, metadata_only=True),
            policy_metadata(),
            self,
            clock=clock,
            random=random,
            pace=OF_MANY,
            news=self._woken.set,
        )

    # What the reflector tells.

    def put(self, row: Version) -> None:
        """Take a policy's metadata."""
        self._versions[row.name] = row

    def drop(self, key: str) -> None:
        """A policy is gone."""
        self._versions.pop(key, None)

    def known(self) -> set[str]:
        """Return the names that are known."""
        return set(self._versions)

    @property
    def settled(self) -> bool:
        """Whether every policy that there is was read."""
        return self.reflector.synced and self._versions == self._read

    @property
    def unknown(self) -> bool:
        """Whether there is a policy whose spec cannot be used, and of which no earlier one is known: which claims it wants is not known."""
        return any(version.uid not in self._policies for version in self._read.values())

    async def run(self) -> None:
        """Keep up until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.reflector.run())
            group.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        first = True
        while True:
            failed = not await self._catch_up()
            if first and self.reflector.synced:
                first = False
                self._news()  # that there are none may be what somebody waits for
            try:
                async with asyncio.timeout(_RETRY if failed else None):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            if not first:
                await asyncio.sleep(self._random.uniform(0.0, _SPREAD))

    async def _catch_up(self) -> bool:
        """Read what changed; return whether all of it could be read."""
        changed = False
        for name in self._read.keys() - self._versions.keys():
            changed |= self._policies.pop(self._read.pop(name).uid, None) is not None
        whole = True
        for name, version in list(self._versions.items()):
            before = self._read.get(name)
            if before == version:
                continue
            try:
                policy = await self._fetch(name)
            except errors.ApiError as error:
                log.info("policy not read", extra={"policy": name, "error": str(error)})
                whole = False
                continue
            if before is not None and before.uid != version.uid:
                self._policies.pop(before.uid, None)
            if policy is not None:
                self._policies[policy.uid] = policy
            self._read[name] = version
            changed = True
        if changed:
            self._news()
        return whole

    async def _fetch(self, name: str) -> Policy | None:
        """Read a policy; None if it cannot be used: then the last good one stays in force."""
        body = await self._api.request("GET", f"{_PATH}/{name}")
        try:
            return parse_policy(read_body(body, dict[str, Any], what=f"the policy {name}"))
        except errors.InvalidSpec as error:
            log.warning("policy not usable", extra={"policy": name, "error": str(error)})
            return None
