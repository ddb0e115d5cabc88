"""What is said of each claim on this node, and since when; pure, time is an argument.

A statement keeps its `since` as long as it is not denied: silence, a restart of the agent and a text that differs only
in its numbers (facts D11) do not end it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from volumehealth.judge.text import same_text
from volumehealth.model.cluster import Claim
from volumehealth.model.health import Condition, severity
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.report import ReportedCondition, UnseenOrigin, VolumeHealthReport
from volumehealth.model.vocabulary import Reason
from volumehealth.probing.lists import merged


@dataclass(frozen=True, slots=True)
class Silence:
    """Why the driver gives no answer about a claim's volume, and since when."""

    reason: str
    message: str
    since: datetime


@dataclass(slots=True)
class _Page:
    """What is said of one claim."""

    uid: str
    said: dict[Observer, tuple[ReportedCondition, ...]] = field(default_factory=dict)
    silence: Silence | None = None
    warning: bool = False
    counted: bool | None = False
    covered: frozenset[Observer] = frozenset()
    complete: bool = False
    missing: str = ""
    note: str = ""


class ReportState:
    """The statements in force.

    Args:
        earlier: this agent's own last report, which it goes on from; None if there is none.

    Attributes:
        unseen: observers that cannot look now at all. What they said is kept, and the report says so.
        unread: uids of claims of which something was said, and which could not be read since.
    """

    def __init__(self, earlier: VolumeHealthReport | None = None) -> None:
        self._pages: dict[ClaimRef, _Page] = {}
        self.unseen: tuple[UnseenOrigin, ...] = ()
        self.unread: frozenset[str] = frozenset()
        for volume in earlier.volumes if earlier else ():
            said: dict[Observer, tuple[ReportedCondition, ...]] = {}
            for condition in volume.conditions:
                said[condition.origin] = (*said.get(condition.origin, ()), condition)
            self._pages[ClaimRef(volume.namespace, volume.claim)] = _Page(volume.claim_uid, said)
        for silent in earlier.silent if earlier else ():
            page = self._pages.setdefault(ClaimRef(silent.namespace, silent.claim), _Page(silent.claim_uid))
            page.silence = Silence(silent.reason, silent.message, silent.since)

    def keep(self, claims: Mapping[ClaimRef, Claim], unread: Collection[ClaimRef] = ()) -> bool:
        """Forget all but these claims, and one that was made anew.

        Args:
            claims: those that are looked at.
            unread: those that are in use and could not be read: which they are, and whether they are wanted, is not known.

        Returns:
            Whether there was anything to forget.
        """
        lost = [
            ref
            for ref, page in self._pages.items()
            if (claims[ref].uid != page.uid if ref in claims else ref not in unread)
        ]
        for ref in lost:
            del self._pages[ref]
        self.unread = frozenset(page.uid for ref, page in self._pages.items() if ref not in claims)
        return bool(lost)

    def uncover(self, claim: Claim) -> None:
        """Note that what was answered about a claim does not count any more: another Pod uses it."""
        page = self._page(claim)
        page.covered, page.complete = frozenset(), False

    def hear(
        self,
        claim: Claim,
        origin: Observer,
        conditions: Iterable[Condition],
        *,
        now: datetime,
        instances: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> bool:
        """Take what one origin says of a claim now; nothing adverse ends what it said before.

        Args:
            claim: of which it is said.
            origin: who says it.
            conditions: what is said.
            now: the moment.
            instances: by status and reason, which mounting a condition was seen in, if it holds until that ends.

        Returns:
            Whether that is news. A driver that speaks is silent no longer.
        """
        page = self._page(claim)
        before = page.said.get(origin, ())
        after = tuple(
            replace(
                _since(condition, before, origin, now),
                instance=instances.get((condition.status, condition.reason), ""),
            )
            for condition in merged(conditions)
        )
        news = after != before or origin not in page.covered
        page.covered |= {origin}
        if after:
            page.said[origin] = after
        else:
            page.said.pop(origin, None)
        if origin is Observer.DRIVER and page.silence is not None:
            page.silence, news = None, True
        return news

    def drop(self, claim: Claim, origin: Observer) -> bool:
        """Forget what one origin said, because it is not asked any more; return whether there was anything."""
        page = self._pages.get(claim.ref)
        if page is None:
            return False
        news = page.said.pop(origin, None) is not None or origin in page.covered
        page.covered -= {origin}
        if origin is Observer.DRIVER:
            news, page.silence = news or page.silence is not None, None
        elif origin is Observer.CAPACITY:
            news, page.warning = news or page.warning, False
        return news

    def reached(self, claim: Claim, *, now: datetime) -> bool:
        """Note that the call that tells how full a volume is works, where free space itself means nothing.

        What was said of its space ends for that. That it cannot be reached is taken back.

        Returns:
            Whether that is news.
        """
        page = self._page(claim)
        if any(one.reason != Reason.BACKEND_ERROR for one in page.said.get(Observer.CAPACITY, ())):
            return self.drop(claim, Observer.CAPACITY)
        news = page.warning
        page.warning = False
        if Observer.CAPACITY in page.said:
            news |= self.hear(claim, Observer.CAPACITY, (), now=now)
        return news

    def release(self, claim: Claim, origin: Observer) -> bool:
        """Note that what one origin said holds no longer by itself: the mounting that it was seen in has ended."""
        page = self._page(claim)
        before = page.said.get(origin, ())
        after = tuple(replace(one, instance="") if one.holds else one for one in before)
        if after:
            page.said[origin] = after
        return after != before

    def silent(self, claim: Claim, reason: str, message: str, *, now: datetime) -> bool:
        """Note that the driver gives no answer about a claim; return whether that is news."""
        page = self._page(claim)
        before = page.silence
        if before is not None and before.reason == reason and same_text(before.message, message):
            return False
        page.silence = Silence(reason, message, before.since if before else now)
        return True

    def warn(self, claim: Claim, low: bool) -> bool:
        """Note whether a claim has less free than the warning threshold; return whether that is news."""
        page = self._page(claim)
        news = page.warning is not low
        page.warning = low
        return news

    def accused(self, ref: ClaimRef, *, heard: bool = True) -> tuple[ReportedCondition, ...]:
        """Return the adverse statements about a claim, worst first.

        A driver that is silent about the claim, or is not heard at all, says nothing; its statements keep their time.
        """
        page = self._pages.get(ref)
        if page is None:
            return ()
        silenced = () if heard and page.silence is None else (Observer.DRIVER, Observer.CAPACITY)
        found = [one for origin, said in page.said.items() if origin not in silenced for one in said]
        return tuple(
            sorted(found, key=lambda one: (-severity(one.status), one.since, one.reason, one.origin))
        )

    def look(
        self,
        claim: Claim,
        *,
        wanted: frozenset[Observer],
        seen: frozenset[Observer],
        complete: bool,
        missing: str,
        note: str = "",
    ) -> bool:
        """Note how much of a claim's volume the node's own looks saw in the last round.

        Args:
            claim: whose volume it is.
            wanted: the observers that look.
            seen: those of them that completed their look.
            complete: whether every look that this kind of volume requires was completed.
            missing: why that will not be so, for people; empty if it is, or takes only another round.
            note: what is not seen although nothing is missing; may be empty.

        Returns:
            Whether that is news.
        """
        page = self._page(claim)
        covered = page.covered - (wanted - seen)
        now = (covered, complete, missing, note)
        news = now != (page.covered, page.complete, page.missing, page.note)
        page.covered, page.complete, page.missing, page.note = now
        return news

    def covered(self, ref: ClaimRef, *, heard: bool = True) -> frozenset[Observer]:
        """Return who has answered about a claim since it was wanted; a driver that is silent has not."""
        page = self._pages.get(ref)
        if page is None:
            return frozenset()
        speaks = heard and page.silence is None
        return page.covered if speaks else page.covered - {Observer.DRIVER, Observer.CAPACITY}

    def complete(self, ref: ClaimRef) -> bool:
        """Tell whether every look that a claim's kind of volume requires was completed."""
        page = self._pages.get(ref)
        return page is not None and page.complete

    def missing(self, ref: ClaimRef) -> str:
        """Return which look is missing for that; empty if none is."""
        page = self._pages.get(ref)
        return page.missing if page is not None else ""

    def note(self, ref: ClaimRef) -> str:
        """Return what is not seen of a claim's volume although nothing is missing; may be empty."""
        page = self._pages.get(ref)
        return page.note if page is not None else ""

    def count(self, claim: Claim, *, counted: bool | None) -> None:
        """Note whether the driver told how full a volume is when it was asked last; None if it is not asked."""
        self._page(claim).counted = counted

    def counts(self, ref: ClaimRef) -> bool | None:
        """Tell whether the driver told how full a volume is when it was asked last; None if it is not asked."""
        page = self._pages.get(ref)
        return page.counted if page is not None else False

    def said(self, ref: ClaimRef, origin: Observer) -> tuple[ReportedCondition, ...]:
        """Return what one origin says against a claim."""
        page = self._pages.get(ref)
        return page.said.get(origin, ()) if page is not None else ()

    def silence_of(self, ref: ClaimRef) -> Silence | None:
        """Return why the driver is silent about a claim; None if it is not."""
        page = self._pages.get(ref)
        return page.silence if page else None

    @property
    def warnings(self) -> int:
        """How many claims have less free than their warning threshold."""
        return sum(page.warning for page in self._pages.values())

    def _page(self, claim: Claim) -> _Page:
        page = self._pages.get(claim.ref)
        if page is None or page.uid != claim.uid:
            page = self._pages[claim.ref] = _Page(claim.uid)
        return page


def _since(
    condition: Condition, before: Iterable[ReportedCondition], origin: Observer, now: datetime
) -> ReportedCondition:
    """Write a statement down, with the time and the words of the same one before."""
    new = ReportedCondition(
        condition.status, condition.reason, condition.message, now.replace(microsecond=0), origin
    )
    for old in before:
        if (old.status, old.reason) == (new.status, new.reason):
            text = old.message if same_text(old.message, new.message) else new.message
            return replace(new, since=min(old.since, new.since), message=text)
    return new
