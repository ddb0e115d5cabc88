"""The two objects an agent writes: its report, when it says something new, and its Lease, to say that it is alive."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

from volumehealth import errors
from volumehealth.kube.bodies import read_body, without_nulls
from volumehealth.kube.discovery import serves
from volumehealth.model.clock import Clock, micro_time
from volumehealth.model.report import (
    AGENT_LABEL,
    AGENT_RENEW_SECONDS,
    AGENT_SILENT_SECONDS,
    Plane,
    VolumeHealthReport,
    agent_lease_name,
)
from volumehealth.model.report_json import decode_report, encode_report, report_manifest
from volumehealth.model.vocabulary import API_VERSION, COMPONENT, REPORTS

log = logging.getLogger(__name__)

_APPLY = "application/apply-patch+yaml"
_QUERY = {"fieldManager": f"{COMPONENT}-agent", "force": "true"}
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
_LAST_LOOK = 15.0
"""Seconds between two tries to read the report at the start, at most: nothing is reported before."""
SETTLE = 1.0
"""Seconds that news wait for more of it."""
GAP = 5.0
"""Seconds between two writes at least."""
VERIFY = 300.0
"""Seconds until the report is looked at on the server: somebody may have deleted it."""
OVERDUE = 120.0
"""Seconds that news may wait for being written; what they change is not confirmed any more after that."""


class Requests(Protocol):
    """What is needed of `kube.api.Api`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object | bytes | None = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> bytes:
        """Send one request and return the body of a 2xx answer."""


class ReportWriter:
    """Keeps one node's report on the server as it should be.

    Args:
        api: a connection.
        node: the node's name.
        clock: time.
        random: spreads retries.
        gap: seconds between two writes at least.

    Attributes:
        owner: the Node as an owner reference; None while it is not known.
        written: set once a report is on the server.
    """

    def __init__(self, api: Requests, node: str, *, clock: Clock, random: Random, gap: float = GAP) -> None:
        self._api = api
        self._node = node
        self._clock = clock
        self._random = random
        self._gap = gap
        self._path = f"/apis/{API_VERSION}/{REPORTS}/{node}"
        self._wanted: VolumeHealthReport | None = None
        self._stored: dict[str, Any] | None = None
        self._owing_since: float | None = None
        self._woken = asyncio.Event()
        self.owner: dict[str, str] | None = None
        self.written = asyncio.Event()

    async def load(self) -> VolumeHealthReport | None:
        """Read what is on the server; waits until the server can be asked. None if there is none."""
        wait = _FIRST_RETRY
        while True:
            try:
                return await self._read()
            except errors.ApiError as error:
                log.warning("report not read yet", extra={"error": str(error)})
            await asyncio.sleep(wait * self._random.uniform(0.5, 1.0))
            wait = min(_LAST_LOOK, wait * 2)

    def want(self, report: VolumeHealthReport) -> None:
        """Say what the report should say."""
        self._wanted = report
        if encode_report(report) != self._stored:
            if self._owing_since is None:
                self._owing_since = self._clock.monotonic()
            self._woken.set()
        else:
            self._owing_since = None
            self.written.set()

    @property
    def believable(self) -> bool:
        """Whether what is on the server may be taken for what we know: it lacks nothing that was to be told for long."""
        owing = self._owing_since
        return owing is None or self._clock.monotonic() - owing < OVERDUE

    async def run(self) -> None:
        """Write what is new until cancelled."""
        wait = _FIRST_RETRY
        while True:
            try:
                async with asyncio.timeout(VERIFY * self._random.uniform(0.8, 1.2)):
                    await self._woken.wait()
            except TimeoutError:
                pass
            try:
                if self._woken.is_set():
                    await asyncio.sleep(SETTLE)
                    await self._write()
                    await asyncio.sleep(self._gap)
                elif self._wanted is not None:
                    await self._verify()
                wait = _FIRST_RETRY
            except errors.ApiError as error:
                log.warning("report not written", extra={"error": str(error)})
                self._stored = None
                if self._owing_since is None:
                    self._owing_since = self._clock.monotonic()
                self._woken.set()
                await asyncio.sleep(max(wait * self._random.uniform(0.5, 1.0), error.retry_after or 0.0))
                wait = min(_LAST_RETRY, wait * 2)

    async def _read(self) -> VolumeHealthReport | None:
        self.owner = await self._find_owner()
        try:
            found = await self._get(self._path)
        except (errors.NotFound, errors.NotServed) as error:
            if isinstance(error, errors.NotServed) and await serves(self._api, self._path.rpartition("/")[0]):
                raise  # something answers in the API server's place: what was reported before is not forgotten for that
            self._stored = None
            return None
        if not self._owned(found):
            self._stored = None  # of a Node that was made anew: this report goes with the old one
        else:
            self._stored = found.get("status")
        return decode_report(self._node, found.get("status"))

    async def _write(self) -> None:
        self._woken.clear()
        report = self._wanted
        if report is None:
            return
        status = encode_report(report)
        if status != self._stored:
            uid = self.owner["uid"] if self.owner else ""
            body = report_manifest(report, node_uid=uid)
            await self._api.request("PATCH", self._path, query=_QUERY, body=body, content_type=_APPLY)
            self._stored = status
            log.info("report written", extra={"volumes": len(report.volumes), "silent": len(report.silent)})
        self._owing_since = None
        self.written.set()
        newest = self._wanted
        if newest is not None and newest is not report:
            self.want(newest)  # what was there before may have been wanted again while this was on its way

    async def _verify(self) -> None:
        """Write again if it is not there, or not ours any more."""
        await self._read()
        if self._wanted is not None and encode_report(self._wanted) != self._stored:
            await self._write()

    def _owned(self, found: Mapping[str, Any]) -> bool:
        owners = found.get("metadata", {}).get("ownerReferences", ())
        return self.owner is None or any(one.get("uid") == self.owner["uid"] for one in owners)

    async def _find_owner(self) -> dict[str, str] | None:
        """Read who the Node is; without it the report has no owner, and somebody else must clean up."""
        try:
            found = await self._get(f"/api/v1/nodes/{self._node}")
        except errors.NotFound:
            return None
        metadata = found.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if not isinstance(uid, str):
            return None
        return {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": uid}

    async def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = without_nulls(
            read_body(await self._api.request("GET", path), dict[str, Any], what=path)
        )
        return found


class AgentLease:
    """Says that the agent is alive, and that its report can be confirmed.

    Args:
        api: a connection.
        namespace: of the Lease: the operator's.
        report: name of the report that it stands for.
        identity: who we are, for people.
        clock: time.
        random: spreads renewals.
        owner: the Node as an owner reference, if it is known.
        every: seconds between two renewals.
        plane: what the report is about.
    """

    def __init__(
        self,
        api: Requests,
        *,
        namespace: str,
        report: str,
        identity: str,
        clock: Clock,
        random: Random,
        owner: Callable[[], Mapping[str, str] | None],
        every: float = AGENT_RENEW_SECONDS,
        plane: Plane = Plane.NODE,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = agent_lease_name(report)
        self._identity = identity
        self._clock = clock
        self._random = random
        self._owner = owner
        self._every = every
        self._plane = plane
        self._told = ""

    async def run(self, alive: Callable[[], bool]) -> None:
        """Renew until cancelled, as long as `alive` says so."""
        while True:
            wait = self._every * self._random.uniform(0.9, 1.0)
            if alive():
                try:
                    await self.renew()
                    self._told = ""
                except errors.ApiError as error:
                    wait = min(wait, 10.0)
                    if str(error) != self._told:
                        self._told = str(error)
                        log.warning("lease not renewed", extra={"error": str(error)})
            await asyncio.sleep(wait)

    async def renew(self) -> None:
        """Renew once; makes the Lease if there is none. Raises ApiError."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/{self._name}"
        metadata: dict[str, Any] = {
            "name": self._name,
            "namespace": self._namespace,
            "labels": {AGENT_LABEL: self._plane.lower()},
        }
        owner = self._owner()
        if owner is not None:
            metadata["ownerReferences"] = [dict(owner)]
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": AGENT_SILENT_SECONDS,
            "renewTime": micro_time(self._clock.now()),
        }
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }
        await self._api.request("PATCH", path, query=_QUERY, body=body, content_type=_APPLY, timeout=15.0)
