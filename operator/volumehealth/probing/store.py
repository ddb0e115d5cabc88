"""What is known of a driver's volumes now: lists and gets combined, doubted where the source itself looks broken.

Pure bookkeeping: what was heard goes in with its time, answers come out. An answer that says the same as before
stays the same object, so that a steady driver costs its readers an identity check.
"""

import math
import re
from collections.abc import Iterator, Set
from dataclasses import replace
from heapq import nsmallest

from volumehealth.model.health import Condition
from volumehealth.probing.gets import GetOutcome, GetResults
from volumehealth.probing.lists import ListResult, ListResults
from volumehealth.probing.moment import Moment
from volumehealth.probing.plan import Plan
from volumehealth.probing.spec import FROM_ANYWHERE, ProbeLimits, Topology
from volumehealth.probing.states import Inputs, VolumeStates, VolumeStatesBuilder

_WIDE = re.compile(r"(?:[^;]*/(?:zone|region) [^;]*(?:; )?)+")
"""A place of which no controller is local to a node of it: every label names a zone or a region."""
_WITNESSES = 2
"""Volumes of each place that a controller is asked about, to find out whether it knows those of that place."""
_PLACES = 2
"""Who knows volumes of so many places knows those of all."""


class VolumeStore:
    """The answers about the volumes of one driver that are wanted.

    Attributes:
        gets: what single volumes answered.
        heard: when anything was last heard; None if nothing was.
    """

    def __init__(self, plan: Plan, limits: ProbeLimits) -> None:
        self._plan = plan
        self._limits = limits
        self._wanted: frozenset[str] = frozenset()
        self._findings: frozenset[str] = frozenset()
        self._topology: Topology = FROM_ANYWHERE
        self._lists = ListResults(legacy=plan.legacy)
        self._list_expired = False
        self._list_fails = False
        self._probed: Moment | None = None
        self._placed: frozenset[str] = frozenset()
        self._known_places: dict[str, float] = {}
        self._heard_places: tuple[int, frozenset[str]] = (-1, frozenset())
        self._changes = 0
        self._built = (-1, False)
        self._view = VolumeStates()
        self.gets = GetResults()
        self.heard: Moment | None = None

    @property
    def wanted(self) -> frozenset[str]:
        """The volumes asked about."""
        return self._wanted

    @property
    def targets(self) -> Set[str]:
        """The volumes to ask about by get: all without a list, or while it fails; else those that it leaves open."""
        if not self._plan.gets:
            return frozenset()
        if not self.by_list:
            return self._wanted
        witnesses = self._witnesses() if self._placed else set[str]()
        return self._lists.open.keys() | witnesses | self._presumed_witnesses()

    @property
    def by_list(self) -> bool:
        """Whether the driver is asked by list: it has one, and it does not fail."""
        return self._plan.lists and not self._list_fails

    @property
    def dated(self) -> Moment | None:
        """When all was heard that has no time of its own; None if nothing was.

        A list says it of all volumes at once. What single volumes answer between two lists says nothing of the others.
        """
        return (self._lists.read if self.by_list else None) or self.heard

    def want(
        self, volumes: frozenset[str], findings: frozenset[str], topology: Topology = FROM_ANYWHERE
    ) -> None:
        """Set which volumes are wanted, which of them have live findings, and from which nodes they can be reached."""
        self._changes += 1
        if volumes is not self._wanted or topology is not self._topology:
            self._placed = frozenset(volumes & topology.keys())
        self._topology = topology
        self._wanted = volumes
        self._findings = findings & volumes
        self._lists.want(volumes, self._findings)
        self.gets.keep(volumes)
        self.gets.suspect(self._findings)

    # ---- what was heard ----

    def listed(self, reading: ListResult, now: Moment) -> None:
        """Take a list; what is wanted may have changed while it was read."""
        self._changes += 1
        self._list_expired = self._list_fails = False
        self._lists.take(reading, now, confirmable=self._plan.gets)
        for handle in self._placed & (reading.healthy | reading.adverse.keys()):
            self._known_places[self._from(handle)] = now.mono
        self._lists.want(self._wanted, self._findings)
        self.gets.keep(self.targets)
        self.heard = now

    def list_failed(self) -> None:
        """Take gets' word for all volumes until a list works again: one array of several may be down.

        What the last list said stays until it is too old, or a volume answers by itself.
        """
        if self._plan.gets and not self._list_fails:
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
            self._lists.accuse(handle)
            self.gets.adverse_now(handle, now, conditions)
        else:
            self._changes += self._plan.lists
            self._lists.acquit(handle)
            self.gets.healthy_now(handle, now, suspect=handle in self._findings)

    def probed(self, now: Moment) -> None:
        """Take a good Probe, which speaks for the driver when there is no other volume that could (facts D6)."""
        self._changes += 1
        self._probed = now

    def expire(self, now: Moment, *, list_age: float, get_age: float) -> None:
        """Stop confirming what is older than this, in seconds."""
        self.gets.expire(now, get_age)
        if self._lists.read is not None and now.mono - self._lists.read.mono > list_age:
            self._changes += 1
            self._lists.expire()
            self._list_expired = True

    def expires(self, *, list_age: float, get_age: float) -> float:
        """Return the monotonic time at which `expire` has something to do; infinity if never."""
        oldest = self.gets.oldest()
        ends = [oldest + get_age] if oldest is not None else []
        if self._lists.read is not None:
            ends.append(self._lists.read.mono + list_age)
        return min(ends, default=math.inf)

    # ---- what follows ----

    def is_vouched(self, handle: str, since: Moment) -> bool:
        """Tell whether the driver answers otherwise, so that its NOT_FOUND can be confirmed (facts D6).

        Another volume's answer since the doubt began does, or a list that tells of another, or a whole list that
        names any; for a driver's only volume the whole list, or a Probe, must do.
        """
        if not self.speaks_for(handle):
            return False
        alone = len(self._wanted) == 1
        lists = self._lists
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
        if len(self._wanted) == 1:
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
        yield from self._lists.healthy - self._lists.presumed
        yield from self._lists.adverse

    # ---- whether a CSI 1.13 list that leaves a volume out speaks of it ----

    def unsure(self) -> frozenset[str]:
        """Return volumes that a list leaves out, and of which the driver may know nothing.

        A list of CSI 1.13 names what is bad. A controller that is local to a node leaves out the volumes of all other
        nodes as well; so it speaks for those only that are reached from where it is known to know a volume, or for all if
        it knows volumes of different places. Nor does it speak of any volume if the driver knows none that it is asked
        about.
        """
        if self._lists.presumed and self._plan.gets and self._denied_witness() and not any(self._known()):
            return self._lists.presumed
        presumed = self._lists.presumed & self._placed
        if not (presumed and self._plan.gets):
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
            if record.said is GetOutcome.NOT_FOUND and handle in self._lists.presumed
        }
        confirmed = {self._from(handle) for handle in self.gets.healthy}
        return self._known_places.keys() - (denied - confirmed)

    def _witnesses(self) -> set[str]:
        """Return a few volumes of each place to ask about: whether the driver knows them still, or at all."""
        if not self._lists.presumed or self._lists.read is None:
            return set()
        unsure, known = self.unsure(), self._places()
        stale = {place for place in known if self._known_places[place] < self._lists.read.mono}
        ask = unsure or frozenset[str]()
        if stale and len(known) <= _PLACES:
            ask |= {one for one in self._lists.presumed & self._placed if self._from(one) in stale}
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
        if self._lists.presumed and self.gets.denied():
            return frozenset(nsmallest(_WITNESSES, self._lists.presumed))
        return frozenset()

    def _denied_witness(self) -> bool:
        return any(handle in self._lists.presumed for handle in self.gets.denied())

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
            self._view = VolumeStatesBuilder(self._all_heard(), self._view, now).build(down=down)
        return self._view

    def _all_heard(self) -> Inputs:
        return Inputs(
            plan=self._plan if self.by_list else replace(self._plan, lists=False),
            limits=self._limits,
            wanted=self._wanted,
            findings=self._findings,
            lists=self._lists,
            gets=self.gets,
            list_expired=self._list_expired,
            healthy_on_nodes=self.is_vouched,
            speaks_for=self.speaks_for,
            unsure=self.unsure() if self.by_list else frozenset(),
        )
