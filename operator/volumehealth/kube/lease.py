"""One active operator in a cluster: a Lease held, or waited for.

The rules are those of client-go's leader election. Nobody's clock is compared with ours: a lease has expired when we
have not seen it change for as long as it says it lasts. A holder gives up well before others may take over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

import msgspec

from volumehealth import errors
from volumehealth.kube.bodies import read_body
from volumehealth.model.clock import Clock, micro_time

log = logging.getLogger(__name__)

_API = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Seconds, client-go's defaults.

    Attributes:
        duration: others wait so long without a sign of life before they take over.
        renew_deadline: a holder that could not renew for so long gives up; below `duration`.
        retry: between two tries to renew or to acquire.
        request: of one request; below `renew_deadline`.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0
    request: float = 5.0


class Requests(Protocol):
    """What the elector needs of `kube.api.Api`."""

    async def request(
        self, method: str, path: str, *, body: object | bytes | None = None, timeout: float = 30.0
    ) -> bytes:
        """Send one request and return the body of a 2xx answer."""


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: dict[str, Any]
    """As it is: labels that somebody put on the Lease are not ours to lose."""
    spec: _Spec = msgspec.field(default_factory=_Spec)

    @property
    def version(self) -> str:
        return str(self.metadata.get("resourceVersion", ""))


class LeaseElector:
    """Holds one Lease for this process.

    Args:
        api: a connection.
        namespace, name: of the Lease.
        identity: who we are, for people; two processes may carry the same one by mistake and still never both hold.
        clock: time.
        random: spreads waiting times.
        timing: as named.

    Attributes:
        held_elsewhere: another process was seen to hold it, so there is nothing to do but to wait.
    """

    def __init__(
        self,
        api: Requests,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        random: Random,
        timing: LeaseTiming | None = None,
    ) -> None:
        self._api = api
        self._collection = f"/apis/{_API}/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._metadata = {"namespace": namespace, "name": name}
        self._identity = identity
        self._clock = clock
        self._random = random
        self._timing = timing or LeaseTiming()
        self._mine: _Lease | None = None
        self._renewed = 0.0
        self._seen: tuple[str | None, str | None, str] | None = None
        self._expires = 0.0
        self._told = ""
        self.held_elsewhere = False

    async def acquire(self) -> None:
        """Wait until the Lease is ours, however long that takes; trouble with the API server is waited out."""
        while True:
            try:
                if await self._try_acquire():
                    log.info("lease acquired", extra={"identity": self._identity})
                    return
            except errors.Conflict:
                pass  # somebody was faster: look again
            except errors.ApiError as error:
                self._tell("lease cannot be acquired yet", str(error))
            await asyncio.sleep(self._until_next_look())

    async def hold(self) -> None:
        """Renew the Lease until it is lost. Everything that needs it must end with this.

        Raises:
            LeaseLost: another process took it, it was deleted, or it could not be renewed in time.
        """
        while True:
            left = self._renewed + self._timing.renew_deadline - self._clock.monotonic()
            if left <= 0:
                raise self._lost(f"it could not be renewed for {self._timing.renew_deadline:g} s")
            await asyncio.sleep(min(self._timing.retry, left))
            left = self._renewed + self._timing.renew_deadline - self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._try_renew()

    def holds(self) -> bool:
        """Tell whether the Lease is surely ours: nobody else can have taken it since it was renewed last."""
        return self._mine is not None and (
            self._clock.monotonic() < self._renewed + self._timing.renew_deadline
        )

    async def release(self) -> None:
        """Give the Lease back, so that another process need not wait; call it when all work has ended."""
        try:
            for _ in range(2):
                mine = self._mine
                if mine is None:
                    return
                with contextlib.suppress(errors.Conflict):
                    spec = self._spec(mine, acquired=None)
                    await self._put(mine, spec | {"holderIdentity": "", "leaseDurationSeconds": 1})
                    log.info("lease released", extra={"identity": self._identity})
                    return
                await self._look_again(mine)  # a renewal that was cancelled may have been done
        except (errors.ApiError, errors.LeaseLost) as error:
            log.warning("lease not released; others wait until it expires", extra={"error": str(error)})
        finally:
            self._mine = None

    # -- acquire ------------------------------------------------------------------------------------------------

    async def _try_acquire(self) -> bool:
        asked = self._clock.monotonic()
        try:
            found = _decode(await self._api.request("GET", self._path, timeout=self._timing.request))
        except errors.NotFound:
            return self._took(await self._post(self._spec(None, acquired=self._clock.now())), asked)
        holder = found.spec.holder_identity
        if holder and not self._expired(found):
            self._tell("lease is held by another process", holder)
            self.held_elsewhere = True
            return False
        asked = self._clock.monotonic()
        return self._took(await self._put(found, self._spec(found, acquired=self._clock.now())), asked)

    def _expired(self, found: _Lease) -> bool:
        """Tell whether the lease was seen unchanged for as long as it lasts."""
        now = self._clock.monotonic()
        seen = (found.spec.holder_identity, found.spec.renew_time, found.version)
        if seen != self._seen:
            self._seen = seen
            self._expires = now + (found.spec.lease_duration_seconds or self._timing.duration)
        return now > self._expires

    def _until_next_look(self) -> float:
        """Return seconds: the usual pause, or less if the lease expires before that."""
        usual = self._timing.retry * self._random.uniform(1.0, 1.2)
        left = self._expires - self._clock.monotonic()
        return min(usual, left + 0.01) if left > 0 else usual

    def _took(self, lease: _Lease, asked: float) -> bool:
        self._mine, self._renewed = lease, asked
        return True

    # -- hold ---------------------------------------------------------------------------------------------------

    async def _try_renew(self) -> None:
        """Renew once; what goes wrong and may still come right is left to the next try."""
        mine = self._mine
        if mine is None:
            raise self._lost("it was given back")
        asked = self._clock.monotonic()
        try:
            self._took(await self._put(mine, self._spec(mine, acquired=None)), asked)
        except errors.Conflict:
            await self._look_again(mine)
        except errors.NotFound as error:
            raise self._lost("it was deleted") from error
        except errors.ApiError as error:
            log.warning("lease not renewed", extra={"error": str(error)})

    async def _look_again(self, mine: _Lease) -> None:
        """Somebody wrote the Lease: go on if it is still ours (a renewal whose answer we never saw, a label)."""
        try:
            found = _decode(await self._api.request("GET", self._path, timeout=self._timing.request))
        except errors.NotFound as error:
            raise self._lost("it was deleted") from error
        except errors.ApiError as error:
            log.warning("lease not renewed", extra={"error": str(error)})
            return
        same = (found.spec.holder_identity, found.spec.acquire_time)
        if same != (mine.spec.holder_identity, mine.spec.acquire_time):
            raise self._lost(f"{found.spec.holder_identity or 'another process'} holds it now")
        self._mine = found  # when it was renewed counts from our own last success

    def _lost(self, why: str) -> errors.LeaseLost:
        self._mine = None
        return errors.LeaseLost(f"the lease {self._path.rpartition('/')[2]} is lost: {why}")

    # -- wire ---------------------------------------------------------------------------------------------------

    def _spec(self, before: _Lease | None, *, acquired: datetime | None) -> dict[str, Any]:
        """Write the spec with which we hold the Lease; `acquired` is None if we hold it already."""
        old = before.spec if before else _Spec()
        passed_on = acquired is not None and before is not None
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._timing.duration)),
            "acquireTime": micro_time(acquired) if acquired else old.acquire_time,
            "renewTime": micro_time(self._clock.now()),
            "leaseTransitions": (old.lease_transitions or 0) + (1 if passed_on else 0),
        }

    async def _put(self, before: _Lease, spec: Mapping[str, Any]) -> _Lease:
        """Replace the Lease if nobody wrote it since. Raises Conflict if somebody did."""
        return await self._send("PUT", self._path, before.metadata, spec)

    async def _post(self, spec: Mapping[str, Any]) -> _Lease:
        return await self._send("POST", self._collection, self._metadata, spec)

    async def _send(
        self, method: str, path: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> _Lease:
        body = {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": spec}
        return _decode(await self._api.request(method, path, body=body, timeout=self._timing.request))

    def _tell(self, what: str, detail: str) -> None:
        """Log while waiting, once for each reason."""
        if self._told != what + detail:
            self._told = what + detail
            log.info(what, extra={"detail": detail})


def _decode(body: bytes) -> _Lease:
    return read_body(body, _Lease, what="the Lease")
