"""Who said something once and says it no more: the HEALTHY that clears findings and is no driver's word.

Judging freezes what nobody speaks of. So whoever can only accuse has to say when a thing is over, and so has he who
knows that a node has nothing to do with a claim any more. Pure; costs what is remembered.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from volumehealth.model.health import Answer, ClaimHealth, Finding, Outcome, Pending, Source, Via
from volumehealth.model.ids import ClaimRef

Place = tuple[Source, str]
Item = Finding | Pending

Over = Callable[[ClaimRef, str, str], bool]
"""Tell of a claim, a node and the carrier (empty if there are several) whether what was said there is over."""


def resolved(
    healths: Mapping[ClaimRef, ClaimHealth],
    heard: Callable[[ClaimRef], set[Place]],
    *,
    kubernetes: Callable[[str], bool],
    node: Over,
    now: datetime,
) -> Iterator[tuple[ClaimRef, Answer]]:
    """Return an answer for each place that something is remembered of, that is silent, and whose silence means: over.

    Args:
        healths: what is remembered of claims.
        heard: the places that say anything of a claim now.
        kubernetes: tells of a node (empty: of none) whether the Kubernetes source can be confirmed in its silence.
        node: tells whether what a node's plane said is over.
        now: the moment.
    """
    for ref, health in healths.items():
        if not health.findings and not health.pending:
            continue
        speaking = heard(ref)
        for place, vias in _places(health).items():
            if place in speaking:
                continue
            source, name = place
            carrier = str(vias[0]) if len(set(vias)) == 1 else ""
            over = (
                kubernetes(name)
                if source is Source.KUBERNETES
                else node(ref, name, carrier)
                if source is Source.NODE
                else carrier == Via.MONITOR
            )
            if over:
                via = Via(carrier) if carrier else Via.OPERATOR
                yield ref, Answer(source, Outcome.HEALTHY, now, node=name, via=via, can_clear=False)


def _places(health: ClaimHealth) -> dict[Place, list[Via]]:
    places: dict[Place, list[Via]] = {}
    items: tuple[Item, ...] = (*health.findings, *health.pending)
    for item in items:
        places.setdefault((item.source, item.node), []).append(item.via)
    return places
