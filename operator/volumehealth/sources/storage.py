"""What is said of the storage behind drivers, with the claims that it touches."""

from collections.abc import Iterable

from volumehealth.judge.storage import Backend
from volumehealth.model.cluster import StorageStatement
from volumehealth.model.health import Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.sources.context import Context, InUse
from volumehealth.sources.kubernetes import accusation
from volumehealth.sources.source import OF_STORAGE


def observed_storage(
    context: Context,
    in_use: InUse,
    said: Iterable[tuple[Backend, StorageStatement]],
    *,
    via: Via,
    observer: Observer,
) -> dict[Backend, OF_STORAGE]:
    """Return the statements about nodes that use the storage for a claim of the policy.

    Args:
        context: what sources share.
        in_use: the policy's claims.
        said: the statements.
        via: who carried them.
        observer: whose they are.
    """
    statements: dict[Backend, list[StorageStatement]] = {}
    for backend, statement in said:
        statements.setdefault(backend, []).append(statement)
    found = {}
    for backend, of_backend in statements.items():
        touched = {one: _touched(context, in_use, backend, one) for one in of_backend}
        now = context.moment.wall
        answers = tuple(
            accusation(Source.NODE, (one.condition,), now, node=backend.node, via=via, observer=observer)
            for one in of_backend
            if touched[one]
        )
        if answers:
            found[backend] = (answers, tuple(sorted(set().union(*touched.values()))))
    return found


def _touched(
    context: Context, in_use: InUse, backend: Backend, statement: StorageStatement
) -> frozenset[ClaimRef]:
    claims, used = context.view.claims, context.usage.on(backend.node).get(backend.driver, {})
    return frozenset(
        ref
        for ref in used
        if ref in in_use.claims.get(backend.driver, ()) and ref in claims and statement.touches(claims[ref])
    )


def is_said_still(statements: Iterable[StorageStatement], reason: str) -> bool:
    """Tell whether something is said still of storage that touches no claim of the policy."""
    return reason in {statement.condition.reason for statement in statements}


def is_used(context: Context, in_use: InUse, backend: Backend) -> bool:
    """Tell whether a policy's claims use the storage behind a driver from a node."""
    used = context.usage.on(backend.node).get(backend.driver, {})
    return not in_use.claims.get(backend.driver, frozenset()).isdisjoint(used)
