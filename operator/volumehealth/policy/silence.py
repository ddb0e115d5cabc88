"""Silences: who asked not to be told of what until when; pure.

An annotation on a claim, a namespace or a node names the moment at which the silence ends. A value that cannot be read
silences nothing: a typo must not hide a loss of data.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.model.clock import date_and_time, parse_rfc3339, rfc3339
from volumehealth.model.cluster import Claim, Namespace, Node, SilenceAsked
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import SILENCE_REASON, SILENCE_UNTIL

LONGEST = timedelta(days=366)
"""A silence that ends later is a mistake: it would hide a fault for longer than anybody remembers it."""
_NO_SECONDS = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d)([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence that goes on.

    Attributes:
        until: when it ends.
        reason: why, in the words of who asked for it; may be empty.
        by: what bears the annotation: `the claim`, `the namespace shop`, `the node worker-2`.
    """

    until: datetime
    reason: str
    by: str

    @property
    def text(self) -> str:
        """Say it to a person: `until 1 Dec 06:00Z, by the claim: array work`."""
        return f"until {date_and_time(self.until)}, by {self.by}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class BadSilence:
    """An annotation that cannot be read.

    Attributes:
        kind, namespace, name, uid: the object that bears it.
        text: the value.
        why: a sentence.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    text: str
    why: str


def parse_until(text: str, now: datetime) -> datetime:
    """Read the end of a silence, such as `2026-12-01T06:00Z`.

    Args:
        text: RFC 3339 with a zone; the seconds may be left out.
        now: the moment.

    Raises:
        ValueError: with a sentence, if it is no such moment, or more than a year away.
    """
    short = _NO_SECONDS.fullmatch(text.strip())
    try:
        until = parse_rfc3339(f"{short[1]}:00{short[2]}" if short else text.strip())
    except ValueError:
        raise ValueError("it is not a time with a zone, such as 2026-12-01T06:00Z") from None
    if until - now > LONGEST:
        raise ValueError("it is more than a year away")
    return until


class Silences:
    """Who is silenced, as the cluster view shows it.

    Args:
        asked: what claims bear; sparse.
        claims: the view's claims.
        namespaces: by name.
        nodes: by name.
    """

    def __init__(
        self,
        asked: Mapping[ClaimRef, SilenceAsked],
        claims: Mapping[ClaimRef, Claim],
        namespaces: Mapping[str, Namespace],
        nodes: Mapping[str, Node],
    ) -> None:
        self._asked = asked
        self._claims = claims
        self._namespaces = namespaces
        self._nodes = nodes

    @property
    def any(self) -> bool:
        """Whether anything bears such an annotation; nearly always nothing does."""
        return (
            bool(self._asked)
            or any(space.silence is not None for space in self._namespaces.values())
            or any(node.silence is not None for node in self._nodes.values())
        )

    def of(self, ref: ClaimRef, node: str, now: datetime) -> Silence | None:
        """Return the silence that ends last of those that hold for a finding.

        Args:
            ref: the claim.
            node: of the finding; empty if it is about no node. A node's silence is about what is wrong there.
            now: the moment; a silence that has ended holds no more.
        """
        space, place = self._namespaces.get(ref.namespace), self._nodes.get(node) if node else None
        of_claim = self._asked.get(ref)
        of_space = space.silence if space is not None else None
        of_node = place.silence if place is not None else None
        if of_claim is of_space is of_node is None:  # nearly always
            return None
        bearers = (
            ("the claim", of_claim),
            (f"the namespace {ref.namespace}", of_space),
            (f"the node {node}", of_node),
        )
        found = [one for by, asked in bearers if asked is not None and (one := _read(asked, by, now))]
        return max(found, key=lambda one: one.until, default=None)

    def bad(self, now: datetime) -> Iterator[BadSilence]:
        """Yield the annotations that cannot be read."""
        for ref, asked in list(self._asked.items()):
            claim = self._claims.get(ref)
            if claim is not None and (why := _fault(asked, now)):
                yield BadSilence(
                    "PersistentVolumeClaim", ref.namespace, ref.name, claim.uid, asked.until, why
                )
        bearers = (
            *(("Namespace", name, space.silence) for name, space in self._namespaces.items()),
            *(("Node", name, node.silence) for name, node in self._nodes.items()),
        )
        for kind, name, asked_there in bearers:
            if asked_there is not None and (why := _fault(asked_there, now)):
                yield BadSilence(kind, "", name, asked_there.uid, asked_there.until, why)


NOBODY = Silences({}, {}, {}, {})


def annotations(until: datetime | None, reason: str) -> dict[str, str | None]:
    """Return the annotations of a silence, for a merge patch; None removes them."""
    if until is None:
        return {SILENCE_UNTIL: None, SILENCE_REASON: None}
    return {SILENCE_UNTIL: rfc3339(until), SILENCE_REASON: reason or None}


def _read(asked: SilenceAsked, by: str, now: datetime) -> Silence | None:
    try:
        until = parse_until(asked.until, now)
    except ValueError:
        return None
    return Silence(until, asked.reason, by) if until > now else None


def _fault(asked: SilenceAsked, now: datetime) -> str:
    try:
        parse_until(asked.until, now)
    except ValueError as error:
        return str(error)
    return ""
