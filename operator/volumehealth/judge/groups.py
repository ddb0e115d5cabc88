"""What many claims have in common, so that it is told once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest

from volumehealth.judge.text import normalise
from volumehealth.model.health import ClaimHealth, Finding, Source, Verdict, severity
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import Reason

_EXAMPLES = 3
_WIDE_CLAIMS = 20
"""So many claims at least, and half of the driver's, make one story (vocabulary: DriverWideProblem)."""

_Healths = Mapping[str, Mapping[ClaimRef, ClaimHealth]]


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


def group_unknown(healths: _Healths) -> tuple[UnknownGroup, ...]:
    """Group the Unknown claims of each driver by reason and by message; the largest group first."""
    grouped: dict[tuple[str, str, str], list[ClaimRef]] = {}
    texts: dict[str, str] = {}  # nearly all claims of a driver that is down share one message
    for driver, known in healths.items():
        for ref, health in known.items():
            if health.verdict is Verdict.UNKNOWN:
                message = health.unknown_message
                text = texts.get(message)
                if text is None:
                    text = texts[message] = normalise(message)
                grouped.setdefault((driver, health.unknown_reason, text), []).append(ref)
    groups = (
        UnknownGroup(
            driver=driver,
            reason=reason,
            message=healths[driver][examples[0]].unknown_message,
            claims=len(refs),
            examples=examples,
        )
        for (driver, reason, _), refs in grouped.items()
        for examples in [tuple(nsmallest(_EXAMPLES, refs))]
    )
    return tuple(sorted(groups, key=lambda group: (-group.claims, group.driver, group.reason, group.message)))


def driver_wide(healths: _Healths, claims_of: Mapping[str, int]) -> tuple[DriverWide, ...]:
    """Return what at least 20 claims and half of a driver's claims have in common, the worst first.

    Args:
        healths: what is remembered of each driver's claims.
        claims_of: how many claims each driver has.
    """
    stories = (
        story
        for driver, known in healths.items()
        if len(known) >= _WIDE_CLAIMS
        for story in _stories(driver, known, claims_of[driver])
    )
    return tuple(
        sorted(
            stories, key=lambda story: (-severity(story.status), -story.claims, story.driver, story.reason)
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
        if len(found) >= _WIDE_CLAIMS and 2 * len(found) >= of:
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
