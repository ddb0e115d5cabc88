"""What every origin says of one claim, after the rules.

What two carriers bring from one origin is one voice, and of two that differ the worse counts. An origin speaks for
itself: what it has nothing against clears what it said before, and nothing of another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce

from volumehealth.judge.rules import CompiledRules, Ruled
from volumehealth.judge.text import normalise
from volumehealth.model.health import (
    DATA_LOSS,
    DEGRADED,
    Answer,
    Condition,
    Finding,
    Identity,
    Outcome,
    Source,
    Via,
    severity,
)
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.vocabulary import Reason

MOST_CONDITIONS = 16
"""Kubernetes' bound of health conditions of one volume (facts C3). Who says so many may have left some out."""

_NO_WAIT = timedelta(0)
_VIAS = tuple(Via)
_LEGACY = (DEGRADED, Reason.VOLUME_CONDITION_ABNORMAL.value)
"""Status and reason of a legacy text before the rules."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that an origin says now.

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
class OriginStatements:
    """What one origin says now.

    Attributes:
        stamp: when it said the newest of it, as the answers say themselves.
        said: its adverse statements by identity.
        clear_at: when it last spoke of the volume in such a way that what it did not say is gone; None if its
            not saying something proves nothing.
        positive: True if this is a driver that says that the volume is healthy, or says only what a rule ignores.
        ignored: statements that a rule ignored, as status, reason and normalised text before the rules, and when they were
            last heard.
        legacy_texts: normalised texts of a legacy driver that no rule ignored.
    """

    stamp: datetime
    said: dict[Identity, Statement] = field(default_factory=dict)
    clear_at: datetime | None = None
    positive: bool = False
    ignored: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    legacy_texts: set[str] = field(default_factory=set)

    def gone_at(self, identity: Identity, message: str) -> datetime | None:
        """Return when this origin last made clear that something it said before is no longer so; None if it did not.

        A statement that a rule has begun to ignore is gone as well.
        """
        if identity in self.said:
            return None
        if self.clear_at is None and self.ignored:
            text = normalise(message)
            return max((at for (*_, ignored), at in self.ignored.items() if ignored == text), default=None)
        return self.clear_at


@dataclass(slots=True)
class Statements:
    """What is said of one claim now.

    Attributes:
        driver, rules: of the claim, and what makes of its words what is said.
        origins: those that are not silent.
        observers: who says what, by identity.
        answerable: True if something here could say that the volume is healthy.
        positive: True if a driver says so, and from the same origin nothing adverse is said.
        silence: of those that should speak and do not, the first.
        ignored: True if a rule ignored a statement.
    """

    driver: str
    rules: CompiledRules
    origins: dict[Origin, OriginStatements] = field(default_factory=dict)
    observers: dict[Identity, tuple[Observer, ...]] = field(default_factory=dict)
    answerable: bool = False
    positive: bool = False
    silence: Answer | None = None
    ignored: bool = False

    def said(self, identity: Identity) -> Statement | None:
        """Return what is said now of an identity, by whichever observer; None if nobody says it."""
        return self.spoken(identity) if identity in self.observers else None

    def spoken(self, identity: Identity) -> Statement:
        """Return what is said now of an identity that somebody speaks of."""
        return reduce(
            _merge,
            (
                self.origins[Origin(identity.source, observer, identity.node)].said[identity]
                for observer in self.observers[identity]
            ),
        )

    def renamed(self, origin: Origin, finding: Finding) -> Identity | None:
        """Return what the rules make now of a finding that its origin goes on saying as a legacy text.

        None if it is not said, or if the rules make the same of it as before: texts that differ only in their numbers count
        as one, and rules may tell those numbers apart, so the finding's own text decides.
        """
        heard = self.origins.get(origin)
        if heard is None or not finding.message or normalise(finding.message) not in heard.legacy_texts:
            return None
        ruled = self._ruled(origin, _LEGACY, finding.message)
        named = Identity(finding.source, finding.node, ruled.condition.status, ruled.condition.reason)
        return None if ruled.ignored or named == finding.identity else named

    def begun_to_ignore(self, origin: Origin, finding: Finding) -> bool:
        """Tell whether an origin goes on saying a finding that the rules as they are now ignore."""
        heard = self.origins.get(origin)
        if heard is None or not finding.message:
            return False
        text = normalise(finding.message)
        return any(
            (*called, text) in heard.ignored and self._ruled(origin, called, finding.message).ignored
            for called in ((finding.status, finding.reason), _LEGACY)
        )

    def _ruled(self, origin: Origin, called: tuple[str, str], message: str) -> Ruled:
        return self.rules.apply(self.driver, origin.source, Condition(*called, message))

    def says_anything(self, origin: Origin) -> bool:
        """Tell whether an origin says something adverse now."""
        heard = self.origins.get(origin)
        return heard is not None and bool(heard.said)

    def is_clean(self, origin: Origin) -> bool:
        """Tell whether an origin looked at the volume and has nothing against it."""
        heard = self.origins.get(origin)
        return heard is not None and not heard.said and heard.clear_at is not None

    def worst_of(self, origin: Origin) -> tuple[Identity, Statement]:
        """Return the worst that an origin says now; it must say something."""
        return min(self.origins[origin].said.items(), key=lambda item: order(item[0]))


def order(identity: Identity) -> tuple[int, str, str, str, str]:
    """Sort the worst first; equals by name."""
    return (-severity(identity.status), identity.status, identity.reason, identity.source, identity.node)


def hear(
    answers: Sequence[Answer],
    stand_ins: Iterable[Answer] = (),
    *,
    driver: str,
    rules: CompiledRules,
    delay: timedelta,
    now: datetime,
    clock_set: datetime | None = None,
) -> Statements:
    """Sort what every source says of one claim.

    Args:
        answers: in any order; the order changes nothing.
        stand_ins: what origins are that gave no answer. One that is clean clears what it said, and has said nothing
            good of the volume.
        driver: of the claim's volume, for the rules.
        rules: what is made of each statement.
        delay: the policy's `unhealthyAfter`.
        now: answers from the future were heard now.
        clock_set: when it was noticed that this process's wall clock had been set; None if it never was.
    """
    hearing = Statements(driver, rules)
    told = (*answers, *stand_ins)
    should_speak = [one for one in told if one.outcome is Outcome.SILENT and could_answer(one)]
    hearing.answerable = bool(should_speak) or any(map(could_answer, answers))
    hearing.silence = first_silence(should_speak) if should_speak else None
    for number, answer in enumerate(told):
        if answer.outcome not in (Outcome.HEALTHY, Outcome.ADVERSE):
            continue
        heard = hearing.origins.setdefault(answer.origin, OriginStatements(answer.at))
        heard.stamp = max(heard.stamp, answer.at)
        at = min(answer.at, now)
        ruled = [rules.apply(driver, answer.source, condition) for condition in answer.conditions]
        _note(heard, answer, ruled, at=at, delay=delay, clock_set=clock_set)
        every_one_ignored = all(rule.ignored for rule in ruled)
        hearing.ignored = hearing.ignored or any(rule.ignored for rule in ruled)
        by_driver = answer.observer is Observer.DRIVER and number < len(answers)
        heard.positive = heard.positive or (by_driver and every_one_ignored)
        if _tells_all(answer, ruled):
            heard.clear_at = at if heard.clear_at is None else max(at, heard.clear_at)
    hearing.positive = any(heard.positive and not heard.said for heard in hearing.origins.values())
    for origin in sorted(hearing.origins):
        for identity in hearing.origins[origin].said:
            hearing.observers[identity] = (*hearing.observers.get(identity, ()), origin.observer)
    return hearing


def could_answer(answer: Answer) -> bool:
    """Tell whether an answer comes from one who can say that the volume is healthy, or should."""
    if answer.observer is Observer.DRIVER:
        return answer.outcome is not Outcome.ENDED
    return answer.source is Source.NODE and answer.outcome is Outcome.SILENT


def _tells_all(answer: Answer, ruled: Sequence[Ruled]) -> bool:
    """Tell whether what an answer does not say is not so."""
    return (
        len(ruled) < MOST_CONDITIONS  # a full answer may have left some out
        and not _hides(answer, ruled)  # one text of a legacy driver may hide another
    )


def _note(
    place: OriginStatements,
    answer: Answer,
    ruled: Iterable[Ruled],
    *,
    at: datetime,
    delay: timedelta,
    clock_set: datetime | None,
) -> None:
    """Write down what one answer says."""
    credit = max(_NO_WAIT, answer.at - _counted_from(answer, clock_set))
    for rule, said in zip(ruled, answer.conditions, strict=True):
        condition = rule.condition
        if rule.ignored:
            key = said.status, said.reason, normalise(said.message)
            place.ignored[key] = max(at, place.ignored.get(key, at))
            continue
        identity = Identity(answer.source, answer.node, condition.status, condition.reason)
        new = Statement(
            condition.message,
            answer.via,
            min(at, answer.since or at),
            credit,
            answer.at,
            patience_of(rule, delay if answer.delay is None else answer.delay),
        )
        if said.reason == Reason.VOLUME_CONDITION_ABNORMAL:
            place.legacy_texts.add(normalise(said.message))
        old = place.said.get(identity)
        place.said[identity] = new if old is None else _merge(old, new)


def _counted_from(answer: Answer, clock_set: datetime | None) -> datetime:
    """Return from when on it is known how long an answer has been given.

    What this process heard itself is dated by its own wall clock: before that was set, times were other ones.
    """
    since = answer.since or answer.at
    by_our_clock = answer.source is Source.CONTROLLER
    return max(since, clock_set) if by_our_clock and clock_set is not None else since


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
