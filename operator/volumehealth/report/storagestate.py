"""What a policy's status says of the storage behind drivers, read back after a restart.

Such a problem has no record of its own: without this its `since` would be lost, and it would be told once more at each
restart.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from volumehealth.judge.storage import Backend
from volumehealth.model.clock import moment_of
from volumehealth.model.health import (
    STORAGE_DEGRADED,
    STORAGE_UNREACHABLE,
    ClaimHealth,
    Finding,
    Source,
    Verdict,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.report.text import fit

_STATUSES = (STORAGE_UNREACHABLE, STORAGE_DEGRADED)
STORAGE_NODES = 50
"""Nodes that a status names of one problem with storage, at most."""
_TEXT = 256


def read_storage(
    status: Mapping[str, Any], *, now: datetime
) -> dict[Backend, tuple[ClaimHealth, tuple[ClaimRef, ...]]]:
    """Return what was confirmed of each backend, and a claim that it touches. Anybody may have edited the status."""
    found: dict[Backend, tuple[ClaimHealth, tuple[ClaimRef, ...]]] = {}
    for problem in _mappings(status.get("problems")):
        driver, since = problem.get("driver"), moment_of(problem.get("since"))
        if problem.get("status") not in _STATUSES or not isinstance(driver, str) or since is None:
            continue
        for node in _texts(problem.get("nodes")):
            finding = Finding(
                source=Source.NODE,
                status=str(problem["status"]),
                reason=fit(str(problem.get("reason", "")), _TEXT),
                message=fit(str(problem.get("message", "")), _TEXT),
                since=min(since, now),
                confirmed=min(since, now),
                node=node,
                stale=True,
                observers=(),  # the status does not say who said it
            )
            known, example = found.get(Backend(driver, node), (None, ()))
            others = known.findings if known is not None else ()
            health = ClaimHealth(uid=node, findings=_with(finding, others), verdict=Verdict.UNHEALTHY)
            found[Backend(driver, node)] = (health, example or _example(problem.get("example")))
    return found


def _with(finding: Finding, others: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Add a finding to others of the same backend; one that is there twice counts once."""
    return others if any(one.identity == finding.identity for one in others) else (*others, finding)


def _mappings(items: object) -> Iterator[Mapping[str, Any]]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            yield item


def _texts(items: object) -> list[str]:
    texts = [item for item in items if isinstance(item, str)] if isinstance(items, list) else []
    return texts[:STORAGE_NODES]


def _example(text: object) -> tuple[ClaimRef, ...]:
    namespace, _, name = text.partition("/") if isinstance(text, str) else ("", "", "")
    return (ClaimRef(namespace, name),) if name else ()
