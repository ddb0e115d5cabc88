"""The Events of Pods that wait to begin: read Pod by Pod, never watched.

The API server keeps no cache for Events, so a watch of all of them is dear. What a Pod waits for is in its Events only,
and few Pods wait for long.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Protocol

import msgspec

from volumehealth import errors
from volumehealth.kube.bodies import read_body
from volumehealth.model.clock import Clock, moment_of
from volumehealth.model.cluster import Pod, PodEvent
from volumehealth.model.ids import ClaimRef
from volumehealth.model.text import clean_message

log = logging.getLogger(__name__)

BEGIN = 20.0
"""Seconds that a Pod may wait before its Events are read: nearly every Pod has begun by then."""
_AGAIN, _LONGEST = 20.0, 300.0
"""Seconds until they are read again, and at most: twice as long each time."""
_TICK = 5.0
_AT_ONCE = 20
"""Pods whose Events are read in one tick at most."""
_REFUSED = 300.0
"""Seconds until it is tried again where Events may not be listed."""
_MOST = 100


class Requests(Protocol):
    """What is needed of `kube.api.Api`."""

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        """Send one request and return the body of a 2xx answer."""


class _Series(msgspec.Struct, rename="camel"):
    last_observed_time: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    reason: str = ""
    message: str = ""
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: _Series | None = None

    def read(self) -> PodEvent:
        series = self.series.last_observed_time if self.series is not None else None
        times = (series, self.last_timestamp, self.event_time, self.first_timestamp)
        last = next((moment for text in times if (moment := moment_of(text)) is not None), None)
        return PodEvent(self.reason[:128], clean_message(self.message), last)


class _Events(msgspec.Struct):
    items: list[_Event] | None


@dataclass(slots=True)
class _Turn:
    due: float
    pause: float = _AGAIN


class PodEvents:
    """Reads while `run` runs.

    Args:
        api: a connection.
        waiting: Pods that wait to begin, by namespace and name; a live view.
        clock: time.
        random: spreads reading.

    Attributes:
        events: by the Pod's uid; a Pod that is not in here was not asked about yet. What was said of a volume stays
            until the Pod has begun or something later was said: Events are few once there were many, and expire.
        refused: why Events may not be listed; empty if they may.
    """

    def __init__(
        self, api: Requests, waiting: Mapping[ClaimRef, Pod], *, clock: Clock, random: Random
    ) -> None:
        self._api = api
        self._waiting = waiting
        self._clock = clock
        self._random = random
        self._turns: dict[str, _Turn] = {}
        self._events: dict[str, tuple[PodEvent, ...]] = {}
        self.events: Mapping[str, tuple[PodEvent, ...]] = MappingProxyType(self._events)
        self.refused = ""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._look()
            except errors.Forbidden as error:
                if not self.refused:
                    log.warning("Events of Pods cannot be listed", extra={"error": str(error)})
                self.refused = str(error)
                await asyncio.sleep(_REFUSED)
            except errors.ApiError as error:
                log.info("Events of Pods not read", extra={"error": str(error)})

    async def _look(self) -> None:
        now = self._clock.monotonic()
        pods = {pod.uid: pod for pod in self._waiting.values()}
        for uid in self._turns.keys() - pods.keys():
            del self._turns[uid]
            self._events.pop(uid, None)
        for uid in pods.keys() - self._turns.keys():
            self._turns[uid] = _Turn(now + BEGIN)
        due = sorted(
            (uid for uid in pods if self._turns[uid].due <= now), key=lambda uid: self._turns[uid].due
        )
        for uid in due[:_AT_ONCE]:
            try:
                await self._read(pods[uid])
            finally:  # a Pod whose Events cannot be read keeps nobody waiting for theirs
                turn = self._turns[uid]
                turn.due = self._clock.monotonic() + turn.pause * self._random.uniform(0.8, 1.2)
                turn.pause = min(_LONGEST, 2 * turn.pause)
            self.refused = ""

    async def _read(self, pod: Pod) -> None:
        body = await self._api.request(
            "GET",
            f"/api/v1/namespaces/{pod.namespace}/events",
            query={"fieldSelector": f"involvedObject.uid={pod.uid}", "limit": str(_MOST)},
        )
        found = read_body(body, _Events, what=f"the list of Events of {pod.namespace}/{pod.name}")
        events = tuple(event.read() for event in found.items or ())
        told = {(event.reason, event.message) for event in events}
        expired = (one for one in self._events.get(pod.uid, ()) if (one.reason, one.message) not in told)
        self._events[pod.uid] = (*events, *expired)[:_MOST]
