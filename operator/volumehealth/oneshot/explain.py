"""What `volumehealth explain` shows: the operator's own state where it can be had, else what stands on the API server.

Three ways, the best first. The operator is asked through the API server (the Service proxy), with the claim's uid as
the key. Where that is refused or nobody answers, the claim is judged once by the objects that concern it. Where
policies and volumes are out of sight, as for the role `view` of one namespace, its record speaks alone.
"""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from volumehealth.errors import ApiError, ApiUnreachable, Forbidden, NotFound, NotServed
from volumehealth.kube.api import Api
from volumehealth.kube.bodies import UNREADABLE, reason_of
from volumehealth.model.clock import LONG_AGO, Clock, moment_of
from volumehealth.model.explanation import Explanation, Known, Turn
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Source
from volumehealth.model.runbooks import page_of
from volumehealth.oneshot.reading import Object, claims_of, read_one, read_record
from volumehealth.oneshot.standing import judge_standing, read_own_policies, read_standing

SERVICE = "volumehealth-operator:metrics"
_WITHIN = 10.0
"""Seconds that the operator has for its answer."""
_TRIES = 8
"""Of two operators one stands by, and the Service chooses by chance."""


async def explain_claim(api: Api, ref: ClaimRef, *, operator_in: str, clock: Clock) -> Explanation:
    """Return all that is known of a claim.

    Args:
        api: a connection.
        ref: the claim.
        operator_in: the operator's namespace.
        clock: time.

    Raises:
        NotFound: if the claim does not exist.
        ApiError: if the API server cannot be reached, or the claim may not be read.
    """
    claim = await read_one(api, f"/api/v1/namespaces/{ref.namespace}/persistentvolumeclaims/{ref.name}")
    if claim is None:
        raise NotFound(f"the claim {ref} does not exist; see: kubectl get pvc -n {ref.namespace}")
    uid = claim["metadata"]["uid"]
    try:
        return await ask_operator(api, ref, uid, operator_in=operator_in)
    except ApiError as error:
        why = f"what waits to be confirmed, and for how long, only the operator knows: {_reason(error)}"
    rest: tuple[str, ...] = ()
    try:
        record = _of_this_claim(await read_record(api, ref), uid)
    except NotFound as error:
        record, rest = None, (str(error),)
    try:
        standing = await read_standing(api, ref, claim, operator_in=operator_in)
        told = await judge_standing(
            standing,
            ref,
            await read_own_policies(api, standing.not_known),
            record,
            operator_in=operator_in,
            clock=clock,
        )
    except (Forbidden, NotFound) as error:
        told = from_record(claim, record, clock.now())
        told = replace(told, not_known=(f"the policy that owns it, and who says what: {error}",))
    page = page_of(((record or {}).get("status") or {}).get("runbook"))
    return replace(told, not_known=(why, *rest, *told.not_known), runbooks=page)


def _of_this_claim(record: Object | None, uid: str) -> Object | None:
    """Return a record if the claim with this uid owns it; one that had the name before may have left it there."""
    owners = record["metadata"].get("ownerReferences") or () if record is not None else ()
    return record if any(owner.get("uid") == uid for owner in owners) else None


async def explain_pod(api: Api, pod: ClaimRef, *, operator_in: str, clock: Clock) -> list[Explanation]:
    """Return what is known of each claim that a Pod uses; the arguments and errors are those of `explain_claim`.

    A claim that does not exist keeps nobody from reading of the others.
    """
    found = await read_one(api, f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
    if found is None:
        raise NotFound(f"the Pod {pod} does not exist; see: kubectl get pods -n {pod.namespace}")
    refs = [ClaimRef(pod.namespace, name) for name in claims_of(found)]
    told = []
    for ref in refs:
        try:
            told.append(await explain_claim(api, ref, operator_in=operator_in, clock=clock))
        except NotFound:
            why = "the claim does not exist, and the Pod waits for it"
            told.append(
                Explanation(str(ref), "", clock.now(), told_by="", phase="missing", why=why, pods=(pod.name,))
            )
    return told


async def explain_volume(api: Api, name: str, *, operator_in: str, clock: Clock) -> Explanation:
    """Return what is known of the claim that a PersistentVolume is bound to; else as `explain_claim`."""
    volume = await read_one(api, f"/api/v1/persistentvolumes/{name}")
    if volume is None:
        raise NotFound(f"the volume {name} does not exist; see: kubectl get pv")
    claim = (volume.get("spec") or {}).get("claimRef") or {}
    if not claim.get("name"):
        raise NotFound(f"the volume {name} is bound to no claim, and only claims are checked")
    ref = ClaimRef(str(claim.get("namespace", "")), str(claim["name"]))
    bound = await read_one(api, f"/api/v1/namespaces/{ref.namespace}/persistentvolumeclaims/{ref.name}")
    if bound is not None and claim.get("uid") and bound["metadata"].get("uid") != claim["uid"]:
        raise NotFound(
            f"the volume {name} was bound to a claim that is gone; {ref} is another one, made later"
        )
    return await explain_claim(api, ref, operator_in=operator_in, clock=clock)


async def ask_operator(api: Api, ref: ClaimRef, uid: str, *, operator_in: str) -> Explanation:
    """Return what the operator says of a claim.

    Raises:
        ApiError: if it cannot be asked, or does not know the claim.
    """
    path = f"/api/v1/namespaces/{operator_in}/services/{SERVICE}/proxy/explain/{ref}/{uid}"
    try:
        async with asyncio.timeout(_WITHIN):
            return msgspec.json.decode(await _page(api, path), type=Explanation)
    except TimeoutError:
        raise ApiUnreachable(f"no answer within {_WITHIN:g} s") from None
    except UNREADABLE as error:
        raise ApiError(f"it is of another version: {reason_of(error)}") from None


async def _page(api: Api, path: str) -> bytes:
    for tries_left in reversed(range(_TRIES)):
        try:
            return await api.request("GET", path)
        except ApiError as error:
            if error.status != 503 or not tries_left:
                raise
    raise ApiError("not tried")


def from_record(claim: Object, record: Object | None, now: datetime) -> Explanation:
    """Return what a record says of a claim by itself; without one all that can be said is that it has none."""
    metadata, spec = claim["metadata"], claim.get("spec") or {}
    status: Any = (record or {}).get("status") or {}
    health = str(status.get("health", ""))
    findings = tuple(_finding(one) for one in status.get("findings") or ())
    words = {
        "": "it has no record: it is healthy, not monitored, or not selected by a policy",
        "Unknown": "its findings are stale: their source does not answer",
    }
    return Explanation(
        f"{metadata['namespace']}/{metadata['name']}",
        metadata["uid"],
        now,
        told_by="Record",
        phase=str((claim.get("status") or {}).get("phase", "")),
        volume=str(spec.get("volumeName", "")),
        handle=str(status.get("volumeHandle", "")),
        policy=str(status.get("policy", "")),
        verdict="Unhealthy" if findings else "",
        unknown_message=words.get(health, "" if findings else f"its record says {health}"),
        pods=tuple(str(one) for one in status.get("pods") or ()),
        findings=findings,
        history=tuple(
            Turn(when, str(one.get("what", "")))
            for one in status.get("history") or ()
            if (when := moment_of(one.get("time"))) is not None
        ),
    )


def _finding(one: Any) -> Known:
    return Known(
        next((each for each in Source if each == one.get("source")), Source.KUBERNETES),
        tuple(Observer(name) for name in one.get("origins") or () if name in set(Observer)),
        str(one.get("node", "")),
        str(one.get("status", "")),
        str(one.get("reason", "")),
        str(one.get("message", "")),
        moment_of(one.get("since")) or LONG_AGO,
        None,
        bool(one.get("stale")),
        told=moment_of(one.get("lastNotifiedAt")),
    )


def _reason(error: ApiError) -> str:
    if isinstance(error, Forbidden):
        return "your rights do not reach it (get services/proxy; docs/explain.md says how to grant it)"
    if isinstance(error, NotFound):
        return "it has no Service, or does not know the claim yet; is it installed? kubectl get pods -A -l app.kubernetes.io/name=volumehealth-operator"
    if isinstance(error, NotServed):
        return "it does not know the claim yet, or its version has no such page"
    return f"it does not answer ({error})"
