"""`/explain/NAMESPACE/CLAIM/UID`: what the operator alone knows of one claim, for who may read the claim.

Only the operator knows what waits to be confirmed, and which origin said what last: neither is written anywhere, since
a statement that passes is not worth a write. The page is read-only. The API server asks for it on a user's behalf (the
Service proxy) and does not say for whom, so the address holds the claim's uid: who can read the claim knows it, and
nobody can guess it. To everybody else the page does not exist.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hmac import compare_digest
from typing import Protocol

import msgspec

from volumehealth.app.engine import Engine
from volumehealth.cluster.objects import RawRecord
from volumehealth.model.cluster import Claim, Pod, ViewState
from volumehealth.model.explanation import Explanation, Known, on_node
from volumehealth.model.health import Identity
from volumehealth.model.ids import ClaimRef
from volumehealth.model.report import VolumeHealthReport
from volumehealth.report.http import Page
from volumehealth.report.records import resume
from volumehealth.sources.reports import missing_looks

JSON = "application/json"
Explain = Callable[[ClaimRef], Explanation | None]


class View(Protocol):
    """What is needed of `cluster.view.ClusterView`."""

    @property
    def claims(self) -> Mapping[ClaimRef, Claim]:
        """See there."""

    @property
    def reports(self) -> Mapping[str, VolumeHealthReport]:
        """See there."""

    @property
    def records(self) -> Mapping[ClaimRef, RawRecord]:
        """See there."""

    def pods_of(self, ref: ClaimRef) -> Sequence[Pod]:
        """See there."""

    def state(self) -> ViewState:
        """See there."""


def explain(ref: ClaimRef, *, view: View, engine: Engine, runbooks: str) -> Explanation | None:
    """Return all that is known of a claim; None if it is not known, or nothing was checked yet.

    Args:
        ref: the claim.
        view: the cluster view.
        engine: knows what is confirmed, and what waits.
        runbooks: the address of the page of runbooks.
    """
    claim = view.claims.get(ref)
    told = engine.explain(claim) if claim is not None else None
    if claim is None or told is None:
        return None
    pods = [pod for pod in view.pods_of(ref) if not pod.finished]
    stale = view.state().stale
    return replace(
        told,
        findings=_with_told(told.findings, view.records.get(ref)),
        pods=tuple(map(on_node, pods)),
        runbooks=runbooks,
        not_known=(
            *missing_looks(claim, pods, view.reports),
            *([f"the operator's view of the cluster is stale: {stale}"] if stale else ()),
        ),
    )


def _with_told(findings: tuple[Known, ...], record: RawRecord | None) -> tuple[Known, ...]:
    """Say when people were told of each finding, as its record does: receipts are written there."""
    if record is None:
        return findings
    read = resume(record.ref, record.owner_uid, record.status)
    told = {one.identity: one.last_notified_at for one in read.health.findings} if read is not None else {}
    return tuple(
        replace(one, told=told.get(Identity(one.source, one.node, one.status, one.reason)))
        for one in findings
    )


class ExplainPages:
    """Serves explanations once this process leads."""

    def __init__(self) -> None:
        self._explain: Explain | None = None

    def working(self, explain: Explain) -> None:
        """We lead."""
        self._explain = explain

    def __call__(self, path: str) -> Page | None:
        """Return the page of `NAMESPACE/CLAIM/UID`; None if there is no such claim, or its uid is another."""
        if self._explain is None:
            return Page(b"standing by: another process holds the Lease\n", ok=False)
        namespace, _, rest = path.partition("/")
        name, _, uid = rest.partition("/")
        told = self._explain(ClaimRef(namespace, name)) if uid else None
        if told is None or not compare_digest(told.uid.encode(), uid.encode()):
            return None
        return Page(msgspec.json.encode(told), content_type=JSON)
