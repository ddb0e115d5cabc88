"""What is known of a driver's volumes now: lists and gets combined, doubted where the source itself looks broken.

Pure bookkeeping: what was heard goes in with its time, answers come out. An answer that says the same as before
stays the same object, so that a steady driver costs its readers an identity check.
"""

import math
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from types import MappingProxyType

from volumehealth.judge.text import same_text
from volumehealth.model.health import INACCESSIBLE, Answer, Condition, Outcome, Source
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.probing.gets import GetOutcome, GetResults, Record
from volumehealth.probing.lists import ENOUGH_LISTS, ListResult, ListResults, merged
from volumehealth.probing.moment import Moment
from volumehealth.probing.plan import Plan
from volumehealth.probing.spec import FROM_ANYWHERE, ProbeLimits, Topology

_WIDE = re.compile(r"(?:[^;]*/(?:zone|region) [^;]*(?:; )?)+")
"""A place of which no controller is local to a node of it: every label names a zone or a region."""
_WITNESSES = 2
"""Volumes of each place that a controller is asked about, to find out whether it knows those of that place."""
_PLACES = 2
"""Who knows volumes of so many places knows those of all."""
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


class VolumeStore:
    """The answers about the volumes of one driver that are wanted.

    Attributes:
        plan: how the driver is asked.
        limits: when it is confirmed.
        wanted: the volumes asked about.
        findings: those of them with live findings.
        lists, gets: what it said.
        list_expired: whether its last list became too old.
        heard: when anything was last heard; None if nothing was.
    """

    def __init__(self, plan: Plan, limits: ProbeLimits) -> None:
        self.plan = plan
        self.limits = limits
        self.wanted: frozenset[str] = frozenset()
        self.findings: frozenset[str] = frozenset()
        self._topology: Topology = FROM_ANYWHERE
        self.lists = ListResults(legacy=plan.legacy)
        self.gets = GetResults()
        self.list_expired = False
        self.heard: Moment | None = None
        self._list_fails = False
        self._probed: Moment | None = None
        self._placed: frozenset[str] = frozenset()
        self._known_places: dict[str, float] = {}
        self._heard_places: tuple[int, frozenset[str]] = (-1, frozenset())
        self._changes = 0
        self._built = (-1, False)
        self._view = VolumeStates()

    @property
    def targets(self) -> Set[str]:
        """The volumes to ask about by get: all without a list, or while it fails; else those that it leaves open."""
        if not self.plan.gets:
            return frozenset()
        if not self.by_list:
            return self.wanted
        witnesses = self._witnesses() if self._placed else set[str]()
        return self.lists.open.keys() | witnesses | self._presumed_witnesses()

    @property
    def by_list(self) -> bool:
        """Whether the driver is asked by list: it has one, and it does not fail."""
        return self.plan.lists and not self._list_fails

    @property
    def dated(self) -> Moment | None:
        """When all was heard that has no time of its own; None if nothing was.

        A list says it of all volumes at once. What single volumes answer between two lists says nothing of the others.
        """
        return (self.lists.read if self.by_list else None) or self.heard

    def want(
        self, volumes: frozenset[str], findings: frozenset[str], topology: Topology = FROM_ANYWHERE
    ) -> None:
        """Set which volumes are wanted, which of them have live findings, and from which nodes they can be reached."""
        self._changes += 1
        if volumes is not self.wanted or topology is not self._topology:
            self._placed = volumes.intersection(topology)
        self._topology = topology
        self.wanted = volumes
        self.findings = findings & volumes
        self.lists.want(volumes, self.findings)
        self.gets.keep(volumes)
        self.gets.suspect(self.findings)

    # ---- what was heard ----

    def listed(self, reading: ListResult, now: Moment) -> None:
        """Take a list; what is wanted may have changed while it was read."""
        self._changes += 1
        self.list_expired = self._list_fails = False
        self.lists.take(reading, now, confirmable=self.plan.gets)
        for place in self._places_of(reading):
            self._known_places[place] = now.mono
        self.lists.want(self.wanted, self.findings)
        self.gets.keep(self.targets)
        self.heard = now

    def _places_of(self, reading: ListResult) -> set[str]:
        """Return the places of volumes that a list knows something of."""
        found: set[str] = set()
        for handle in self._placed:
            place = self._from(handle)
            if place not in found and (handle in reading.healthy or handle in reading.adverse):
                found.add(place)
        return found

    def list_failed(self) -> None:
        """Take gets' word for all volumes until a list works again: one array of several may be down.

        What the last list said stays until it is too old, or a volume answers by itself.
        """
        if self.plan.gets and not self._list_fails:
            self._changes += 1
            self._list_fails = True

    def got(self, handle: str, conditions: tuple[Condition, ...] | None, now: Moment) -> None:
        """Take the answer about one volume; None is an answer without any health (facts D4)."""
        self.heard = now
        if conditions is not None and handle in self._placed:
            self._changes += 1
            self._known_places[self._from(handle)] = now.mono
        if handle not in self.targets:
            return
        if conditions is None:
            self.gets.nothing_now(handle, now)
        elif conditions:
            self.lists.accuse(handle)
            self.gets.adverse_now(handle, now, conditions)
        else:
            self._changes += self.plan.lists
            self.lists.acquit(handle)
            self.gets.healthy_now(handle, now, suspect=handle in self.findings)

    def probed(self, now: Moment) -> None:
        """Take a good Probe, which speaks for the driver when there is no other volume that could (facts D6)."""
        self._changes += 1
        self._probed = now

    def expire(self, now: Moment, *, list_age: float, get_age: float) -> None:
        """Stop confirming what is older than this, in seconds."""
        self.gets.expire(now, get_age)
        if self.lists.read is not None and now.mono - self.lists.read.mono > list_age:
            self._changes += 1
            self.lists.expire()
            self.list_expired = True

    def expires(self, *, list_age: float, get_age: float) -> float:
        """Return the monotonic time at which `expire` has something to do; infinity if never."""
        oldest = self.gets.oldest()
        ends = [oldest + get_age] if oldest is not None else []
        if self.lists.read is not None:
            ends.append(self.lists.read.mono + list_age)
        return min(ends, default=math.inf)

    # ---- what follows ----

    def is_vouched(self, handle: str, since: Moment) -> bool:
        """Tell whether the driver answers otherwise, so that its NOT_FOUND can be confirmed (facts D6).

        Another volume's answer since the doubt began does, or a list that tells of another, or a whole list that
        names any; for a driver's only volume the whole list, or a Probe, must do.
        """
        if not self.speaks_for(handle):
            return False
        alone = len(self.wanted) == 1
        lists = self.lists
        lists_tell = (
            self.by_list
            and lists.read is not None
            # another volume is said to be healthy, or it is whole and names any; an only volume has no other
            and (len(lists.healthy) > len(lists.presumed) or (lists.whole and (lists.named or alone)))
        )
        if lists_tell:
            return True
        if self.gets.answered_since(since.mono, other_than=handle):
            return True
        return alone and self._probed is not None and self._probed.mono >= since.mono

    def speaks_for(self, handle: str) -> bool:
        """Tell whether the driver's word that a volume is not there counts.

        A controller that is local to a node knows the volumes of that node only. So it must know another volume that
        can be reached from the same nodes, or volumes of different ones, which shows that it is not local. Of an only
        volume it must have known something before, unless that can be reached from a whole zone.
        """
        here = self._from(handle)
        if not here:
            return True
        if len(self.wanted) == 1:
            return here in self._known_places or _WIDE.fullmatch(here) is not None
        known = self._heard_of()
        return here in known or len(known) > 1

    def _from(self, handle: str) -> str:
        """Return from which nodes a volume can be reached; empty if from all."""
        return self._topology.get(handle, "")

    def _heard_of(self) -> frozenset[str]:
        """Return the places of volumes that the driver knows something of: all if there is one, else two of them."""
        changes = self._changes + self.gets.changes
        if self._heard_places[0] != changes:
            places: set[str] = set()
            for handle in self._known():
                places.add(self._from(handle))
                if len(places) > 1:
                    break
            self._heard_places = (changes, frozenset(places))
        return self._heard_places[1]

    def _known(self) -> Iterator[str]:
        """Yield the volumes that the driver knows something of."""
        yield from self.gets.healthy
        for handle, record in self.gets.others.items():
            if record.said in (GetOutcome.ADVERSE, GetOutcome.NOTHING):
                yield handle
        yield from self.lists.healthy - self.lists.presumed
        yield from self.lists.adverse

    # ---- whether a CSI 1.13 list that leaves a volume out speaks of it ----

    def unsure(self) -> frozenset[str]:
        """Return volumes that a list leaves out, and of which the driver may know nothing.

        A list of CSI 1.13 names what is bad. A controller that is local to a node leaves out the volumes of all other
        nodes as well; so it speaks for those only that are reached from where it is known to know a volume, or for all if
        it knows volumes of different places. Nor does it speak of any volume if the driver knows none that it is asked
        about.
        """
        if self.lists.presumed and self.plan.gets and self._denied_witness() and not any(self._known()):
            return self.lists.presumed
        presumed = self.lists.presumed & self._placed
        if not (presumed and self.plan.gets):
            return frozenset()
        known = self._places()
        if len(known) > 1:
            return frozenset()
        return frozenset(handle for handle in presumed if self._from(handle) not in known)

    def _places(self) -> set[str]:
        """Return the places of which the driver is known to know a volume; what it denies to know takes that back."""
        denied = {
            self._from(handle)
            for handle, record in self.gets.others.items()
            if record.said is GetOutcome.NOT_FOUND and handle in self.lists.presumed
        }
        confirmed = {self._from(handle) for handle in self.gets.healthy}
        return self._known_places.keys() - (denied - confirmed)

    def _witnesses(self) -> set[str]:
        """Return a few volumes of each place to ask about: whether the driver knows them still, or at all."""
        if not self.lists.presumed or self.lists.read is None:
            return set()
        unsure, known = self.unsure(), self._places()
        stale = {place for place in known if self._known_places[place] < self.lists.read.mono}
        ask = unsure or frozenset[str]()
        if stale and len(known) <= _PLACES:
            ask |= {one for one in self.lists.presumed & self._placed if self._from(one) in stale}
        found: dict[str, list[str]] = {}
        for handle in sorted(ask):
            chosen = found.setdefault(self._from(handle), [])
            if len(chosen) < _WITNESSES:
                chosen.append(handle)
        return {handle for chosen in found.values() for handle in chosen}

    def _presumed_witnesses(self) -> frozenset[str]:
        """Return a few volumes that are healthy only because a list leaves them out, if the driver denies to know another.

        What they answer tells whether it knows any.
        """
        if self.lists.presumed and self.gets.denied():
            return frozenset(nsmallest(_WITNESSES, self.lists.presumed))
        return frozenset()

    def _denied_witness(self) -> bool:
        return any(handle in self.lists.presumed for handle in self.gets.denied())

    def witness(self, handle: str) -> str | None:
        """Return another volume that should answer if the driver does; None if none is known to."""
        here = self._from(handle)
        others = [other for other in self.gets.healthy if other != handle]
        near = (other for other in others if self._from(other) == here)
        return next(near, others[0] if others else None)

    def view(self, now: Moment, *, down: bool = False) -> VolumeStates:
        """Return what is known; the same object if nothing changed.

        Args:
            now: to date new answers with.
            down: whether the driver does not answer: then only what it explicitly said against volumes is left.
        """
        built = (self._changes + self.gets.changes, down)
        if self._built != built:
            self._built = built
            self._view = _StatesBuilder(self, self._view, now).build(down=down)
        return self._view


class _StatesBuilder:
    """Makes a view of a store. Answers that say the same as in the last one stay the same objects."""

    def __init__(self, store: VolumeStore, old: VolumeStates, now: Moment) -> None:
        self._store = store
        self._unsure = store.unsure() if store.by_list else frozenset[str]()
        self._lists = store.lists
        self._gets = store.gets
        self._old = old
        self._now = now
        self._others: dict[str, Answer] = {}
        self._accusations: dict[int, Answer] = {}
        self._unsaid = 0

    def build(self, *, down: bool) -> VolumeStates:
        """Return the view, see `VolumeStore.view`; equal parts are those of the last one."""
        failing, asked = self._failing(), self._asked()
        limits = self._store.limits
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
        return SilenceReason.ANSWER_OUTDATED if self._store.list_expired else SilenceReason.NOT_YET_ASKED

    # ---- is the source well? ----

    def _asked(self) -> int:
        return len(self._store.wanted) if self._store.by_list else self._gets.known

    def _failing(self) -> int:
        failed = sum(record.said is GetOutcome.FAILED for record in self._gets.others.values())
        denied = [
            handle for handle, record in self._gets.others.items() if record.said is GetOutcome.NOT_FOUND
        ]
        # What it cannot know speaks neither against the volumes nor against the source.
        lost = sum(map(self._store.speaks_for, (*denied, *self._lists.missing)))
        return failed + lost + (0 if self._store.plan.gets else self._unresolved())

    def _unresolved(self) -> int:
        """Count absences from a legacy list that are not confirmed either way."""
        if not self._store.plan.legacy:
            return 0
        resolved = self._gets.others.keys() | self._gets.healthy
        return sum(
            reason is SilenceReason.NOT_LISTED and handle not in resolved and self._store.speaks_for(handle)
            for handle, reason in self._lists.open.items()
        )

    # ---- what it says ----

    def _healthy(self) -> frozenset[str]:
        if not self._store.by_list:
            by_list = self._healthy_by_last_list()
            return by_list.union(self._gets.healthy) if by_list else frozenset(self._gets.healthy)
        unsure = self._unsure
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
        return self._lists.healthy - spoken if spoken else self._lists.healthy

    def _explicit(self) -> None:
        """Take what the driver explicitly said against a volume: that counts even in an outage."""
        newer = frozenset[str]() if self._store.by_list else self._gets.healthy
        # While the list fails, what other volumes answer by themselves says nothing of what it said last.
        read = None if self._store.by_list else self._lists.read
        before, others = self._old.others, self._others
        same = _SameConditions()
        for handle, conditions in self._lists.adverse.items():
            if handle in newer:
                continue
            # A list may accuse all volumes: an answer of a list that stays is found without any ado.
            old = before.get(handle)
            if (
                read is None
                and old is not None
                and old.since is None
                and same.are(old.conditions, conditions)
            ):
                others[handle] = old
            else:
                self._accuse(handle, conditions, heard=read)
        for handle, record in self._gets.others.items():
            if record.said is GetOutcome.ADVERSE and handle not in self._lists.adverse:
                self._accuse(handle, merged(record.conditions), heard=record.heard)

    def _acquit(self) -> None:
        """Date what single volumes with findings said of themselves: `healthyAfter` counts from there to there.

        While the list fails, what it said last of such a volume is as old as the list.
        """
        dated = dict(self._gets.acquitted)
        if not self._store.by_list and self._lists.read is not None:
            for handle in (self._store.findings & self._healthy_by_last_list()) - self._gets.healthy:
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
        for handle in self._unsure - self._gets.healthy - self._others.keys():
            self._leave_open(handle, SilenceReason.NOT_LISTED)

    def _missing(self, handle: str) -> None:
        if self._store.is_vouched(handle, self._now):
            text = f"it is not in the driver's list, {ENOUGH_LISTS} times in a row"
            self._not_found(handle, f"{text} ({self._voucher()})")
        elif not self._store.speaks_for(handle):
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
        asked = f"asked {self._store.limits.confirm_asks} times"
        if not hold and self._store.is_vouched(handle, record.doubted or record.heard):
            self._not_found(handle, f"{record.text} ({asked}; {self._voucher()})", heard=record.heard)
        elif not self._store.speaks_for(handle):
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
        if self._store.by_list:
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


class _SameConditions:
    """Compares conditions; those of many volumes are one object, which is compared once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def are(self, some: tuple[Condition, ...], others: tuple[Condition, ...]) -> bool:
        """Tell whether conditions are equal, and any; who calls keeps both as long as this lives."""
        key = (id(some), id(others))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = bool(some) and some == others
        return known


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
