"""What many claims have in common, so that it is told once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from itertools import chain

from volumehealth.judge.partition import EXAMPLES, Silence, Silent
from volumehealth.judge.text import normalise
from volumehealth.model.health import WIDE_CLAIMS, ClaimHealth, Finding, Source, urgency
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import Reason


@dataclass(frozen=True, slots=True)
class UnknownGroup:
    """Claims that are Unknown for one reason.

    Attributes:
        driver: of the claims.
        reason: as the source's silence named it.
        message: one of the messages; messages that differ only in numbers and names are one group.
        claims: how many.
        examples: the first three by name.
    """

    driver: str
    reason: str
    message: str
    claims: int
    examples: tuple[ClaimRef, ...]


@dataclass(frozen=True, slots=True)
class DriverWide:
    """One story for at least 20 claims and half of a driver's claims.

    Attributes:
        driver, source, status, reason: what they have in common.
        claims: how many have it.
        of: how many claims of the driver the policy owns.
        namespaces: in how many namespaces.
        since: when the first of them was first heard.
        message: of that first one.
    """

    driver: str
    source: Source
    status: str
    reason: str
    claims: int
    of: int
    namespaces: int
    since: datetime
    message: str


def group_unknown(silent: Mapping[str, Iterable[tuple[Silence, Silent]]]) -> tuple[UnknownGroup, ...]:
    """Group the Unknown claims of each driver by reason and by message; the largest group first."""
    grouped: dict[tuple[str, str, str], list[tuple[Silent, str]]] = {}
    for driver, said in silent.items():
        for (reason, message), claims in said:
            grouped.setdefault((driver, reason, normalise(message)), []).append((claims, message))
    groups = (
        UnknownGroup(
            driver=driver,
            reason=reason,
            message=min(parts, key=lambda part: part[0].first[0])[1],
            claims=sum(len(claims.claims) for claims, _ in parts),
            examples=tuple(nsmallest(EXAMPLES, (ref for claims, _ in parts for ref in claims.first))),
        )
        for (driver, reason, _), parts in grouped.items()
    )
    return tuple(sorted(groups, key=lambda group: (-group.claims, group.driver, group.reason, group.message)))


def driver_wide(driver: str, healths: Mapping[ClaimRef, ClaimHealth], claims: int) -> tuple[DriverWide, ...]:
    """Return what at least 20 claims and half of a driver's claims have in common.

    Args:
        driver: its name.
        healths: what is remembered of its claims.
        claims: how many it has.
    """
    return tuple(_stories(driver, healths, claims)) if len(healths) >= WIDE_CLAIMS else ()


def worst_first(aggregates: Iterable[Iterable[DriverWide]]) -> tuple[DriverWide, ...]:
    """Put the aggregates of several drivers in order."""
    return tuple(
        sorted(
            chain.from_iterable(aggregates),
            key=lambda story: (
                -urgency(story.status, story.reason),
                -story.claims,
                story.driver,
                story.reason,
            ),
        )
    )


def _stories(driver: str, known: Mapping[ClaimRef, ClaimHealth], of: int) -> Iterator[DriverWide]:
    shared: dict[tuple[Source, str, str], dict[ClaimRef, Finding]] = {}
    for ref, health in known.items():
        for finding in health.findings:
            if finding.reason == Reason.NODE_FAILED and finding.source is Source.KUBERNETES:
                continue  # a story of nodes, whatever drivers their Pods use
            shared.setdefault((finding.source, finding.status, finding.reason), {}).setdefault(ref, finding)
    for (source, status, reason), found in shared.items():
        if len(found) >= WIDE_CLAIMS and 2 * len(found) >= of:
            _, finding = min(found.items(), key=lambda item: (item[1].since, item[0]))
            yield DriverWide(
                driver=driver,
                source=source,
                status=status,
                reason=reason,
                claims=len(found),
                of=of,
                namespaces=len({ref.namespace for ref in found}),
                since=finding.since,
                message=finding.message,
            )
