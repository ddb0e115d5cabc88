"""What follows from all that was heard: answers, doubted where the source itself looks broken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from volumehealth.judge.text import same_text
from volumehealth.model.health import INACCESSIBLE, Answer, Condition, Outcome, Source
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.probing.gets import GetOutcome, GetResults, Record
from volumehealth.probing.lists import ENOUGH_LISTS, ListResults, merged
from volumehealth.probing.moment import Moment
from volumehealth.probing.plan import Plan
from volumehealth.probing.spec import ProbeLimits

OTHER_NODES = "the controller that was asked knows the volumes of its own node only, and this one is reached from another node"
NO_ANSWERS: Mapping[str, Answer] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class VolumeStates:
    """What is known of a driver's volumes.

    Attributes:
        healthy: volumes with a fresh healthy answer.
        others: adverse and silent answers, and healthy ones that have a time of their own.
        silence: why a volume in neither is silent.
        outage: why the source itself is not confirmed; empty if it is.
        unsaid: how many volumes the driver answers about without a condition.
    """

    healthy: frozenset[str] = frozenset()
    others: Mapping[str, Answer] = field(default_factory=lambda: NO_ANSWERS)
    silence: SilenceReason = SilenceReason.NOT_YET_ASKED
    outage: str = ""
    unsaid: int = 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a view is made of.

    Attributes:
        plan: how the driver is asked.
        limits: when it is confirmed.
        wanted: the volumes.
        findings: those of them with live findings.
        lists, gets: what it said.
        list_expired: whether its last list became too old.
        healthy_on_nodes: whether it answers otherwise than about this volume, since then.
        speaks_for: whether its word that this volume is not there counts.
        unsure: volumes that its list leaves out, and of which it may know nothing.
    """

    plan: Plan
    limits: ProbeLimits
    wanted: frozenset[str]
    findings: frozenset[str]
    lists: ListResults
    gets: GetResults
    list_expired: bool
    healthy_on_nodes: Callable[[str, Moment], bool]
    speaks_for: Callable[[str], bool]
    unsure: frozenset[str] = frozenset()


class VolumeStatesBuilder:
    """Makes a view. Answers that say the same as in the last one stay the same objects."""

    def __init__(self, heard: Inputs, old: VolumeStates, now: Moment) -> None:
        self._heard = heard
        self._lists = heard.lists
        self._gets = heard.gets
        self._old = old
        self._now = now
        self._others: dict[str, Answer] = {}
        self._accusations: dict[int, Answer] = {}
        self._unsaid = 0

    def build(self, *, down: bool) -> VolumeStates:
        """Return the view; equal parts are those of the last one.

        Args:
            down: whether the driver does not answer: then only what it explicitly said against volumes is left.
        """
        failing, asked = self._failing(), self._asked()
        limits = self._heard.limits
        outage = ""
        healthy: frozenset[str] = frozenset()
        self._explicit()
        if limits.is_outage(failing, asked):
            outage = f"{failing} of {asked} volumes failed or were not found at once: that is not confirmed"
        elif not down:
            healthy = self._healthy()
            self._acquit()
            self._open(healthy, hold=limits.is_outage(failing + self._unresolved(), asked))
        return VolumeStates(
            healthy=self._old.healthy if healthy == self._old.healthy else healthy,
            others=self._old.others if self._others == self._old.others else MappingProxyType(self._others),
            silence=self._default(outage),
            outage=self._old.outage if same_text(outage, self._old.outage) else outage,
            unsaid=self._unsaid,
        )

    def _default(self, outage: str) -> SilenceReason:
        if outage:
            return SilenceReason.SOURCE_DOWN
        return SilenceReason.ANSWER_OUTDATED if self._heard.list_expired else SilenceReason.NOT_YET_ASKED

    # ---- is the source well? ----

    def _asked(self) -> int:
        return len(self._heard.wanted) if self._heard.plan.lists else self._gets.known

    def _failing(self) -> int:
        failed = sum(record.said is GetOutcome.FAILED for record in self._gets.others.values())
        denied = [
            handle for handle, record in self._gets.others.items() if record.said is GetOutcome.NOT_FOUND
        ]
        # What it cannot know speaks neither against the volumes nor against the source.
        lost = sum(map(self._heard.speaks_for, (*denied, *self._lists.missing)))
        return failed + lost + (0 if self._heard.plan.gets else self._unresolved())

    def _unresolved(self) -> int:
        """Count absences from a legacy list that are not confirmed either way."""
        if not self._heard.plan.legacy:
            return 0
        resolved = self._gets.others.keys() | self._gets.healthy
        return sum(
            reason is SilenceReason.NOT_LISTED and handle not in resolved and self._heard.speaks_for(handle)
            for handle, reason in self._lists.open.items()
        )

    # ---- what it says ----

    def _healthy(self) -> frozenset[str]:
        if not self._heard.plan.lists:
            return frozenset(self._gets.healthy) | self._healthy_by_last_list()
        unsure = self._heard.unsure
        confirmed = (self._lists.open.keys() | unsure) & self._gets.healthy
        listed = self._lists.healthy - unsure if unsure else self._lists.healthy
        # What it presumes of a volume does not count that the driver itself says it does not know.
        denied = self._lists.presumed.intersection(self._gets.denied())
        listed = listed - denied if denied else listed
        return listed | confirmed if confirmed else listed

    def _healthy_by_last_list(self) -> frozenset[str]:
        """Return what a list that fails now said last; until it is too old, no answer to a get changes nothing."""
        if not self._lists.healthy:
            return self._lists.healthy
        spoken = {
            handle
            for handle, record in self._gets.others.items()
            if record.said is not GetOutcome.FAILED and record.said is not GetOutcome.OUTDATED
        }
        return self._lists.healthy - spoken

    def _explicit(self) -> None:
        """Take what the driver explicitly said against a volume: that counts even in an outage."""
        newer = frozenset[str]() if self._heard.plan.lists else self._gets.healthy
        # While the list fails, what other volumes answer by themselves says nothing of what it said last.
        read = None if self._heard.plan.lists else self._lists.read
        for handle, conditions in self._lists.adverse.items():
            if handle not in newer:
                self._accuse(handle, conditions, heard=read)
        for handle, record in self._gets.others.items():
            if record.said is GetOutcome.ADVERSE and handle not in self._lists.adverse:
                self._accuse(handle, merged(record.conditions), heard=record.heard)

    def _acquit(self) -> None:
        """Date what single volumes with findings said of themselves: `healthyAfter` counts from there to there.

        While the list fails, what it said last of such a volume is as old as the list.
        """
        dated = dict(self._gets.acquitted)
        if not self._heard.plan.lists and self._lists.read is not None:
            for handle in self._heard.findings & self._healthy_by_last_list() - self._gets.healthy:
                dated[handle] = self._lists.read
        for handle, heard in dated.items():
            old = self._old.others.get(handle)
            new = Answer(Source.CONTROLLER, Outcome.HEALTHY, heard.wall)
            self._others[handle] = old if old is not None and old == new else new

    def _open(self, healthy: frozenset[str], *, hold: bool) -> None:
        for handle in self._lists.missing - self._gets.healthy:
            self._missing(handle)
        for handle, record in self._gets.others.items():
            if record.said is not GetOutcome.ADVERSE and handle not in healthy and handle not in self._others:
                self._record(handle, record, hold=hold)
        for handle in self._lists.open.keys() - self._gets.healthy - self._others.keys():
            self._leave_open(handle, self._lists.open[handle])
        for handle in self._heard.unsure - self._gets.healthy - self._others.keys():
            self._leave_open(handle, SilenceReason.NOT_LISTED)

    def _missing(self, handle: str) -> None:
        if self._heard.healthy_on_nodes(handle, self._now):
            text = f"it is not in the driver's list, {ENOUGH_LISTS} times in a row"
            self._not_found(handle, f"{text} ({self._voucher()})")
        elif not self._heard.speaks_for(handle):
            self._silence(handle, SilenceReason.NOT_LISTED, OTHER_NODES)
        else:
            self._silence(handle, SilenceReason.NOT_LISTED, "the driver's list names no volume at all")

    def _record(self, handle: str, record: Record, *, hold: bool) -> None:
        if record.said is GetOutcome.NOTHING:
            self._unsaid += 1
            self._silence(handle, SilenceReason.NO_CONDITION)
        elif record.said is GetOutcome.OUTDATED:
            self._silence(handle, SilenceReason.ANSWER_OUTDATED)
        elif record.said is GetOutcome.FAILED:
            self._silence(handle, SilenceReason.CALL_FAILED, record.text)
        else:
            self._asked_in_vain(handle, record, hold=hold)

    def _asked_in_vain(self, handle: str, record: Record, *, hold: bool) -> None:
        asked = f"asked {self._heard.limits.confirm_asks} times"
        if not hold and self._heard.healthy_on_nodes(handle, record.doubted or record.heard):
            self._not_found(handle, f"{record.text} ({asked}; {self._voucher()})", heard=record.heard)
        elif not self._heard.speaks_for(handle):
            self._silence(handle, SilenceReason.NOT_LISTED, OTHER_NODES)
        else:
            doubt = f"{record.text} ({asked}; not confirmed while no other volume of this driver answers)"
            self._silence(handle, SilenceReason.CALL_FAILED, doubt)

    def _leave_open(self, handle: str, reason: SilenceReason) -> None:
        self._unsaid += reason is SilenceReason.NO_CONDITION
        # A driver may leave thousands of volumes open: an answer that stays is found without making a new one.
        old = self._old.others.get(handle)
        if old is not None and old.outcome is Outcome.SILENT and old.reason == reason.value:
            self._others[handle] = old
        else:
            text = f": {self._lists.why}" if reason is SilenceReason.LIST_INCOMPLETE else ""
            self._silence(handle, reason, f"{reason.description.rstrip('.')}{text}")

    def _voucher(self) -> str:
        if self._heard.plan.lists:
            count = max(self._lists.named, len(self._lists.healthy))
        else:
            spoke = sum(record.said is GetOutcome.ADVERSE for record in self._gets.others.values())
            count = len(self._gets.healthy) + spoke
        if not count:
            return "the driver itself answers"
        return f"{count} other volume{'s' * (count > 1)} of this driver answer{'s' * (count == 1)}"

    # ---- answers ----

    def _not_found(self, handle: str, message: str, *, heard: Moment | None = None) -> None:
        condition = Condition(INACCESSIBLE, Reason.VOLUME_NOT_FOUND.value, clean_message(message))
        self._accuse(handle, (condition,), heard=heard)

    def _accuse(self, handle: str, conditions: tuple[Condition, ...], *, heard: Moment | None = None) -> None:
        """Tell what was said against a volume.

        A list says it of all volumes at once: its time is that of all answers, and an answer that stays is the same
        object, dated when it was first given. A get says it of one volume: the answer has its own time, `heard`.
        What a get said first and a list goes on saying is the list's from then on.
        """
        old = self._old.others.get(handle)
        if heard is None and old is not None and old.since is not None:
            self._accuse_on(handle, replace(old, at=old.since, since=None), conditions)
            return
        if heard is None and old is not None and old.conditions and old.conditions == conditions:
            self._others[handle] = old
            return
        new = self._accusation(conditions)
        if heard is None:
            self._put(handle, new)
            return
        stays = old is not None and says_the_same(old, new)
        first, conditions = (
            (old.since or old.at, old.conditions) if old and stays else (heard.wall, conditions)
        )
        new = replace(new, at=heard.wall, since=first, conditions=conditions)
        self._others[handle] = old if old is not None and old == new else new

    def _accuse_on(self, handle: str, by_get: Answer, conditions: tuple[Condition, ...]) -> None:
        """Let a list take over from a get: the time is that of all its answers, `since` stays."""
        new = self._accusation(conditions)
        self._others[handle] = by_get if says_the_same(by_get, new) else new

    def _accusation(self, conditions: tuple[Condition, ...]) -> Answer:
        """Return one Answer for all volumes of which the same is said: an array that is gone has thousands."""
        known = self._accusations.get(id(conditions))
        if known is None:
            known = Answer(Source.CONTROLLER, Outcome.ADVERSE, self._now.wall, conditions=conditions)
            self._accusations[id(conditions)] = known  # it keeps the conditions, so their id stays theirs
        return known

    def _silence(self, handle: str, reason: SilenceReason, message: str = "") -> None:
        self._put(handle, silent(reason, self._now, message))

    def _put(self, handle: str, answer: Answer) -> None:
        old = self._old.others.get(handle)
        self._others[handle] = old if old is not None and says_the_same(old, answer) else answer


def silent(reason: SilenceReason, now: Moment, message: str = "") -> Answer:
    """Return the answer of a source that should speak and does not."""
    return Answer(
        Source.CONTROLLER,
        Outcome.SILENT,
        now.wall,
        reason=reason.value,
        message=clean_message(message) or reason.description,
    )


def says_the_same(one: Answer, other: Answer) -> bool:
    """Tell whether two answers differ at most in their time, and in what changes in texts from poll to poll."""
    return (
        one.outcome is other.outcome
        and one.reason == other.reason
        and len(one.conditions) == len(other.conditions)
        and all(map(_same_condition, one.conditions, other.conditions))
        and same_text(one.message, other.message)
    )


def _same_condition(one: Condition, other: Condition) -> bool:
    return one.status == other.status and one.reason == other.reason and same_text(one.message, other.message)
