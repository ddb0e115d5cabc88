"""One claim, judged once by what stands on the API server: for who cannot ask the operator.

Nothing is written and no driver is called. Only the objects are read that concern this claim, with the rights of
whoever asks; the operator's own pipeline then looks at them as at a cluster that holds nothing else. What was said for
how long is in no object, except for what agents report.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from volumehealth.cluster.view import ClusterView
from volumehealth.errors import ApiError, Forbidden
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import Pace
from volumehealth.model.clock import Clock, moment_of
from volumehealth.model.explanation import DriverWord, Explanation, on_node
from volumehealth.model.health import ClaimHealth, DriverAnswers
from volumehealth.model.ids import ClaimRef, object_name
from volumehealth.model.policy import Policy
from volumehealth.model.report import AGENT_LABEL, AGENT_POD_LABEL, agent_lease_name, controller_report_name
from volumehealth.model.steps import at_once
from volumehealth.model.vocabulary import API_VERSION, DRIVERS, POLICIES, RECORDS, REPORTS
from volumehealth.oneshot.policies import read_policies
from volumehealth.oneshot.reading import Object, claims_of, if_allowed, read_items, read_one
from volumehealth.pipeline import Pipeline
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.records import resume
from volumehealth.sources.reports import missing_looks
from volumehealth.sources.sourcelist import ANNOTATIONS, make_sources

_OURS = f"/apis/{API_VERSION}"
_STORAGE = "/apis/storage.k8s.io/v1"
_AT_ONCE = Pace(first_backoff=0.01, last_backoff=0.05, confirm_absent=0.0)
_WITHIN = 15.0
"""Seconds for reading what is at hand already."""


@dataclass(slots=True)
class Standing:
    """What was read, by the path of its collection; an error where it could not be.

    Attributes:
        lists: the objects.
        not_known: sentences on what could not be read.
        driver: what the operator wrote of the claim's driver last; None if nothing is there.
    """

    lists: dict[str, list[Object] | ApiError] = field(default_factory=dict)
    not_known: list[str] = field(default_factory=list)
    driver: DriverWord | None = None

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        """Answer a list as an API server would that holds nothing else. Raises the error that reading ended in."""
        selector = (query or {}).get("labelSelector", "")
        found = self.lists.get(f"{path}?{selector}" if selector else path, [])
        if isinstance(found, ApiError):
            raise found
        return msgspec.json.encode({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": found})

    async def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[bytes, None]:
        """Nothing changes any more."""
        yield b""
        await asyncio.Event().wait()


class _NoProbers:
    """Nobody calls a driver."""

    unresolved: Sequence[str] = ()

    def demand(self, wanted: Mapping[str, ProbeSpec], /) -> None:
        """Nobody listens."""

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Nobody answers."""
        return {}


async def read_standing(api: Api, ref: ClaimRef, claim: Object, *, operator_in: str) -> Standing:
    """Read what concerns one claim.

    Args:
        api: a connection.
        ref: the claim.
        claim: the object.
        operator_in: the namespace of the agents' Leases.

    Raises:
        Forbidden: if the claim's volume, its namespace or its Pods may not be read: then nothing can be judged.
        ApiError: if the API server cannot be reached.
    """
    standing = Standing()
    lists = standing.lists
    volume = (claim.get("spec") or {}).get("volumeName", "")
    claims, pods = "/api/v1/persistentvolumeclaims", "/api/v1/pods"
    lists[claims] = [claim]
    volumes = [await read_one(api, f"/api/v1/persistentvolumes/{volume}")] if volume else []
    lists["/api/v1/persistentvolumes"] = present = [one for one in volumes if one]
    lists["/api/v1/namespaces"] = [
        one for one in [await read_one(api, f"/api/v1/namespaces/{ref.namespace}")] if one
    ]
    everyone = await read_items(api, f"/api/v1/namespaces/{ref.namespace}/pods")
    lists[pods] = users = [pod for pod in everyone if ref.name in claims_of(pod)]
    nodes = sorted({node for pod in users if (node := (pod.get("spec") or {}).get("nodeName", ""))})
    await _named(api, standing, "/api/v1/nodes", nodes, "whether its nodes are ready")
    await _named(api, standing, f"{_STORAGE}/csinodes", nodes, "which drivers its nodes have")
    await _read(api, standing, f"{_STORAGE}/volumeattachments", "", "whether its volume is attached")
    attachments = lists[f"{_STORAGE}/volumeattachments"]
    if not isinstance(attachments, ApiError):
        lists[f"{_STORAGE}/volumeattachments"] = [
            one
            for one in attachments
            if ((one.get("spec") or {}).get("source") or {}).get("persistentVolumeName") == volume
        ]
    driver = next(((one["spec"].get("csi") or {}).get("driver", "") for one in present), "")
    standing.driver = await _driver(api, driver) if driver else None
    names = [*nodes, *([controller_report_name(driver)] if driver else [])]
    await _named(api, standing, f"{_OURS}/{REPORTS}", names, "what the agents report")
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{operator_in}/leases"
    await _named(
        api, standing, leases, [agent_lease_name(name) for name in names], "whether agents are alive"
    )
    lists[f"{leases}?{AGENT_LABEL}"] = lists[leases]
    await _read(api, standing, pods, AGENT_POD_LABEL, "on which nodes agents are expected")
    return standing


async def judge_standing(
    standing: Standing,
    ref: ClaimRef,
    policies: Iterable[Policy],
    record: Object | None,
    *,
    operator_in: str,
    clock: Clock,
) -> Explanation:
    """Judge the claim once.

    Args:
        standing: what was read.
        ref: the claim.
        policies: the cluster's.
        record: the claim's; None if it has none.
        operator_in: the namespace of the agents' Leases.
        clock: time.

    Raises:
        ApiError: if what was read cannot be understood.
    """
    # Of a claim whose volume is gone only its record knows which volume it was.
    standing.lists[f"{_OURS}/{RECORDS}"] = [record] if record is not None else []
    reports = isinstance(standing.lists[f"{_OURS}/{REPORTS}"], list)
    view = ClusterView(
        standing,
        clock=clock,
        random=Random(0),
        pace=_AT_ONCE,
        with_nodes=True,
        annotations=ANNOTATIONS,
        agents_in=operator_in if reports else "",
    )
    run = asyncio.create_task(view.run())
    try:
        await _complete(view)
        made = make_sources(view, _NoProbers(), clock=clock)
        pipeline = Pipeline(view, made.sources, clock)
        usable = {one.uid: one for one in policies}
        at_once(pipeline.follow(usable, None))
        claim, owner = view.claims[ref], pipeline.selection.owner(ref)
        if owner is not None:
            health = _remembered(ref, claim.uid, record, clock)
            healths = {owner: {ref: health}} if health is not None else {}
            at_once(pipeline.judge.resume(healths, {}, clock.now()))
            at_once(pipeline.check(usable[owner]))
        pods = [pod for pod in view.pods_of(ref) if not pod.finished]
        told = pipeline.explain(claim)
    finally:
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
    return replace(
        told,
        told_by="Objects",
        pods=tuple(map(on_node, pods)),
        # It was looked at for a moment only: how long something is said, or is not, cannot be told.
        findings=tuple(replace(one, clearing_since=None, clears_in_seconds=None) for one in told.findings),
        driver=standing.driver or told.driver,
        statements=tuple(
            replace(said, conditions=tuple(replace(one, left_seconds=None) for one in said.conditions))
            for said in told.statements
        ),
        not_known=(*standing.not_known, *missing_looks(claim, pods, view.reports)),
    )


async def read_own_policies(api: Api, unusable: list[str]) -> list[Policy]:
    """Return the cluster's policies, as `read_policies` does. Raises Forbidden if they may not be read."""
    found = await read_policies(api, unusable)
    if found is None:
        raise Forbidden(f"your rights do not show {POLICIES}, or they are not installed here")
    return found


async def _complete(view: ClusterView) -> None:
    try:
        async with asyncio.timeout(_WITHIN):
            await view.complete()
    except TimeoutError:
        raise ApiError(f"what was read cannot be judged: {view.state().stale}") from None


def _remembered(ref: ClaimRef, uid: str, record: Object | None, clock: Clock) -> ClaimHealth | None:
    if record is None:
        return None
    read = resume(ref, uid, msgspec.json.encode(record.get("status") or {}), now=clock.now())
    return read.health if read is not None else None


async def _driver(api: Api, name: str) -> DriverWord | None:
    """Return what the VolumeHealthDriver says; None if it may not be read, or is not there."""
    found = await if_allowed(read_one(api, f"{_OURS}/{DRIVERS}/{object_name(name)}"))
    status: Any = (found or {}).get("status") or {}
    if not status:
        return None
    return DriverWord(
        name,
        str(status.get("state", "")),
        moment_of(status.get("since")),
        str(status.get("healthAPI", "")),
        tuple(status.get("methods") or ()),
        str(status.get("message", "")),
        str(status.get("hint", "")),
    )


async def _named(api: Api, standing: Standing, path: str, names: Sequence[str], what: str) -> None:
    """Read single objects of a collection; those that are not there are left out."""
    try:
        found = [await read_one(api, f"{path}/{name}") for name in names]
    except ApiError as error:
        standing.lists[path] = error
        standing.not_known.append(f"{what}: {error}")
    else:
        standing.lists[path] = [one for one in found if one is not None]


async def _read(api: Api, standing: Standing, path: str, selector: str, what: str) -> None:
    key = f"{path}?{selector}" if selector else path
    try:
        standing.lists[key] = await read_items(api, path, {"labelSelector": selector} if selector else {})
    except ApiError as error:
        standing.lists[key] = error
        standing.not_known.append(f"{what}: {error}")
