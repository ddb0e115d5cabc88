"""What every source says of one claim, after the rules, sorted by the place it speaks from.

A place is a source and a node: what two carriers bring from one place (agent and kubelet) is one voice, and of two
that differ the worse is heard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from volumehealth.judge.rules import CompiledRules, Ruled
from volumehealth.judge.text import normalise
from volumehealth.model.health import DATA_LOSS, Answer, Identity, Outcome, Place, Via, severity
from volumehealth.model.vocabulary import Reason

MOST_CONDITIONS = 16
"""Kubernetes' bound of health conditions of one volume (facts C3). Who says so many may have left some out."""

_NO_WAIT = timedelta(0)
_VIAS = tuple(Via)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a place says now.

    Attributes:
        message: of the carrier that comes first in `Via`.
        via: that carrier.
        first: when it was first heard, by the wall clock.
        credit: for how long it had been said when it was last heard, as the source knows.
        stamp: when it was last said, as the answer says itself.
        after: how long it must last before it is confirmed.
    """

    message: str
    via: Via
    first: datetime
    credit: timedelta
    stamp: datetime
    after: timedelta


@dataclass(slots=True)
class PlaceStatements:
    """What one source on one node says now.

    Attributes:
        stamp: when it said the newest of it, as the answers say themselves.
        said: its adverse statements by identity.
        clear_at: when it last spoke of the volume in such a way that what it did not say is gone; None if its
            not saying something proves nothing.
        ignored_texts: normalised texts that a rule ignored, and when they were last heard.
        can_clear: True if a driver says from here that the volume is healthy, or says only what a rule ignores.
    """

    stamp: datetime
    said: dict[Identity, Statement] = field(default_factory=dict)
    clear_at: datetime | None = None
    ignored_texts: dict[str, datetime] = field(default_factory=dict)
    can_clear: bool = False

    def gone_at(self, identity: Identity, message: str) -> datetime | None:
        """Return when this place last made clear that something it said before is no longer so; None if it did not.

        A statement that a rule has begun to ignore is gone as well.
        """
        if identity in self.said:
            return None
        if self.clear_at is None and self.ignored_texts:
            return self.ignored_texts.get(normalise(message))
        return self.clear_at


@dataclass(slots=True)
class Statements:
    """What is said of one claim now.

    Attributes:
        places: by source and node, those that are not silent.
        answerable: True if a driver could say that the volume is healthy.
        positive: True if a driver says so from a place where nothing adverse is said.
        silence: of the drivers' sources that should speak and do not, the first.
        ignored: True if a rule ignored a statement.
    """

    places: dict[Place, PlaceStatements] = field(default_factory=dict)
    answerable: bool = False
    positive: bool = False
    silence: Answer | None = None
    ignored: bool = False

    def says_anything(self, place: Place) -> bool:
        """Tell whether a place says something adverse now."""
        heard = self.places.get(place)
        return heard is not None and bool(heard.said)

    def worst_of(self, place: Place) -> tuple[Identity, Statement]:
        """Return the worst that a place says now; it must say something."""
        return min(self.places[place].said.items(), key=lambda item: order(item[0]))


def order(identity: Identity) -> tuple[int, str, str, str, str]:
    """Sort the worst first; equals by name."""
    return (-severity(identity.status), identity.status, identity.reason, identity.source, identity.node)


def hear(
    answers: Sequence[Answer], *, driver: str, rules: CompiledRules, delay: timedelta, now: datetime
) -> Statements:
    """Sort what every source says of one claim.

    Args:
        answers: in any order; the order changes nothing.
        driver: of the claim's volume, for the rules.
        rules: what is made of each statement.
        delay: the policy's `unhealthyAfter`.
        now: answers from the future were heard now.
    """
    hearing = Statements()
    silent = [answer for answer in answers if answer.outcome is Outcome.SILENT]
    silent_places = {(answer.source, answer.node) for answer in silent}
    hearing.answerable = any(answer.can_clear for answer in answers)
    should_speak = [answer for answer in silent if answer.can_clear]
    hearing.silence = first_silence(should_speak) if should_speak else None
    for answer in answers:
        if answer.outcome is Outcome.SILENT:
            continue
        key = Place(answer.source, answer.node)
        place = hearing.places.get(key)
        if place is None:
            place = hearing.places[key] = PlaceStatements(answer.at)
        place.stamp = max(place.stamp, answer.at)
        at = min(answer.at, now)
        ruled = [rules.apply(driver, answer.source, condition) for condition in answer.conditions]
        _note(place, answer, ruled, at=at, delay=delay)
        ignored_texts = [rule for rule in ruled if rule.ignored]
        hearing.ignored = hearing.ignored or bool(ignored_texts)
        if answer.can_clear and len(ignored_texts) == len(ruled):
            place.can_clear = True
        # One text of a legacy driver may hide another, and a full answer may have left some out. Who may not
        # acquit speaks for itself only: while the driver is silent there, nothing of the driver's is gone.
        if (
            (answer.can_clear or key not in silent_places)
            and len(ruled) < MOST_CONDITIONS
            and not _hides(answer, ruled)
            and (place.clear_at is None or at > place.clear_at)
        ):
            place.clear_at = at
    hearing.positive = any(place.can_clear and not place.said for place in hearing.places.values())
    return hearing


def _note(
    place: PlaceStatements, answer: Answer, ruled: Iterable[Ruled], *, at: datetime, delay: timedelta
) -> None:
    """Write down what one answer says."""
    for rule in ruled:
        condition = rule.condition
        if rule.ignored:
            text = normalise(condition.message)
            place.ignored_texts[text] = max(at, place.ignored_texts.get(text, at))
            continue
        identity = Identity(answer.source, answer.node, condition.status, condition.reason)
        new = Statement(
            condition.message,
            answer.via,
            min(at, answer.since or at),
            max(_NO_WAIT, answer.at - (answer.since or answer.at)),
            answer.at,
            patience_of(rule, delay if answer.delay is None else answer.delay),
        )
        old = place.said.get(identity)
        place.said[identity] = new if old is None else _merge(old, new)


def _merge(one: Statement, other: Statement) -> Statement:
    """Make one statement of two; which came first changes nothing."""
    leading = min(one, other, key=lambda statement: (_VIAS.index(statement.via), statement.message))
    return Statement(
        leading.message,
        leading.via,
        min(one.first, other.first),
        max(one.credit, other.credit),
        max(one.stamp, other.stamp),
        min(one.after, other.after),
    )


def patience_of(rule: Ruled, delay: timedelta) -> timedelta:
    """Return how long a statement must last: as its rule says, else not at all for a loss of data."""
    if rule.unhealthy_after is not None:
        return rule.unhealthy_after
    return _NO_WAIT if rule.condition.status == DATA_LOSS else delay


def _hides(answer: Answer, ruled: Sequence[Ruled]) -> bool:
    """Tell whether a rule ignored the one text that a legacy driver gives."""
    return any(
        rule.ignored and condition.reason == Reason.VOLUME_CONDITION_ABNORMAL
        for rule, condition in zip(ruled, answer.conditions, strict=True)
    )


def first_silence(silent: Iterable[Answer]) -> Answer:
    """Return the silent answer that says why a claim is Unknown; of several always the same one."""
    return min(silent, key=_silence_order)


def _silence_order(answer: Answer) -> tuple[str, str, str, str]:
    return (answer.source, answer.node, answer.reason, answer.message)
