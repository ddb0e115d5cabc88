"""What must hold of the node plane: what agents reported and people were told, against what the world knows."""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from simulation.machines import BY_REASON, NODE_FAILED, NODE_FAULTS, NodeFault, Place
from simulation.objects import Json
from simulation.observe import Told
from simulation.regimes import Regime
from simulation.telling import CLOSING, Mode, Patience, Segment, calm, is_abnormal, lengthen
from simulation.world import ClaimLife, World
from volumehealth.agent.looks import AGAIN, EVERY
from volumehealth.model.origin import Observer
from volumehealth.model.report import AGENT_SILENT_SECONDS, VolumeHealthReport, agent_lease_name

_ROUND = EVERY + AGAIN + 1.0
"""Seconds from a change on a node until a look sees it: what has just ended may still be told for so long."""
LOOKING = 60.0
"""Seconds from a change on a node until it is in the report: a round of looks, one more, and the gaps between writes."""
_HEAD = re.compile(r"(?P<status>\w+)/(?P<reason>\w+) \((?:Node|Kubernetes) (?P<node>\S+)\): ")
_CHANGING = re.compile(r"(?<=Changing)\d+$")
"""What is different in each answer of some volumes' drivers (`plan.ILLNESSES`)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a node can say of a claim: the key under which people are told."""

    node: str
    fault: NodeFault


def fault_of(reason: str) -> NodeFault:
    """Return what is called by a reason: what a node sees by itself, or what the driver says there."""
    return BY_REASON.get(reason) or NodeFault("", reason, Observer.DRIVER)


def sighting_of(event: Told) -> tuple[str, str] | None:
    """Return the node and the reason that an Event is about; None if no node said it."""
    found = _HEAD.match(event.message)
    return (found["node"], _plain(found["reason"])) if found else None


def _plain(reason: str) -> str:
    """Return a reason as it is called in the plan; of one that changes with each answer every word is the same."""
    return _CHANGING.sub("*", reason)


def sightings(world: World, life: ClaimLife) -> Iterator[Sighting]:
    """Yield all that nodes can say of a claim."""
    driver = world.drivers[life.driver]
    illnesses = [one for _, one in world.volume(life.handle).truth if one is not None]
    said = {driver.named(one) for one in illnesses}
    for node in world.nodes.machines:
        for fault in (*NODE_FAULTS.values(), NODE_FAILED):
            yield Sighting(node, fault)
        for status, reason in sorted(said) if driver.node_health else ():
            yield Sighting(node, NodeFault(status, reason, Observer.DRIVER))


def on_node(regime: Regime, default: Patience, fault: NodeFault) -> Patience:
    """Return a policy's delays for what a node sees."""
    patience = regime.patience or default
    if fault.observer is Observer.API:
        return replace(patience, ill=fault.delay, confirming=0.0, unseen=2.0)  # the node dates it
    asking = patience.interval + patience.timeout if fault.observer is Observer.DRIVER else 0.0
    at_once = fault.status == "DataLoss"
    return replace(
        patience,
        ill=0.0 if at_once else patience.ill + fault.delay,
        timeout=LOOKING + fault.delay + asking,
        slack=patience.slack + LOOKING + asking,
        confirming=0.0,
        unseen=_ROUND,
    )


def segments(
    world: World, life: ClaimLife, sighting: Sighting, modes: Sequence[tuple[float, Regime, Mode]]
) -> list[Segment]:
    """Return when a node saw a fault of a claim's volume, and how that was watched.

    Args:
        world: after a run.
        life: the claim.
        sighting: which fault on which node.
        modes: how the claim was watched, with the moments since when; the first is its birth.
    """
    places = [place for place in world.nodes.places_of(life.uid) if place.node == sighting.node]
    end = life.died if life.died is not None else world.loop.time()
    changes = [at for place in places for at, _ in place.truth]
    if sighting.fault.observer is Observer.API:
        failures = world.nodes.failures.get(sighting.node, ())
        changes = [at for one in failures for at in (one.start, one.end)]
    of_driver = sighting.fault.observer is Observer.DRIVER
    refusing = world.nodes.refusing.get((sighting.node, life.driver), ())
    if of_driver:
        changes = [at for at, _ in world.volume(life.handle).truth]
        changes += [at for span in refusing for at in span]
    borders = [at for place in places for at in (place.since, place.until) if at is not None]
    away = [at for span in world.nodes.removed.get(sighting.node, ()) for at in span]
    turns = [at for at, *_ in modes]
    left = [span for one in places if (span := _left_behind(world, one, sighting.fault)) is not None]
    ends = [until for _, until in left]
    moments = sorted({0.0, end, *(at for at in (*changes, *borders, *away, *turns, *ends) if at < end)})
    default = Patience(0.0, 0.0, 60.0, 15.0)
    delayed = [(at, regime, mode, on_node(regime, default, sighting.fault)) for at, regime, mode in modes]
    found: list[Segment] = []
    for start, until in pairwise(moments):
        _, regime, mode, patience = next((one for one in reversed(delayed) if one[0] <= start), delayed[0])
        place = next((one for one in reversed(places) if _covers(one, start)), None)
        failure, at_its_word = world.nodes.failure_of(sighting.node, start), False
        if sighting.fault.observer is Observer.API and failure is not None and place is not None:
            began = max(place.since - failure.start, 0.0)  # the node itself says since when it is not Ready
            again = failure.gone * sighting.fault.delay  # an operator that did not see it go begins to count
            ill_after = max(sighting.fault.delay - began, 0.0)
            # What was there at a process's first look is taken at its word, by whatever clock: maybe at once.
            at_its_word = bool(world.jumped) and any(failure.start < at < until for at in world.led)
            patience = replace(patience, ill=ill_after, slack=patience.slack + again)
        closing = CLOSING
        gone = sighting.fault.observer is not Observer.API and any(
            first <= start < last for first, last in world.nodes.removed.get(sighting.node, ())
        )
        refused = of_driver and any(first <= start < last for first, last in refusing)
        if place is None and mode in (Mode.ON, Mode.UNUSABLE):
            closing = patience.sure(ill=False)
            mode = Mode.OFF if mode is Mode.ON else Mode.UNSURE
        elif (gone or refused) and mode in (Mode.ON, Mode.UNUSABLE):
            mode = Mode.UNSURE
        elif place is not None and _is_hidden(place, start, sighting.fault) and mode is Mode.ON:
            mode = Mode.PAUSED
        accused = any(first <= start < last for first, last in left)
        ill = place is not None and (accused or _is(world, place, start, sighting.fault))
        joins = ill and (
            at_its_word or regime.unsure or _was_adverse(world, places, sighting, start, patience)
        )
        # Which policy holds it, and so how long it must last, is not sure where a spec cannot be used.
        new = Segment(start, until, ill, patience, mode, closing, joins)
        lengthen(found, new)
    return found


def _was_adverse(
    world: World, places: Sequence[Place], sighting: Sighting, at: float, patience: Patience
) -> bool:
    """Tell whether the same look saw something else there, not long before: it goes on, in other words."""
    earliest = at - patience.sure(ill=False) - AGENT_SILENT_SECONDS
    others = (
        moment
        for place in places
        for moment, kind in _spans(place)
        if kind
        and NODE_FAULTS[kind].observer is sighting.fault.observer
        and NODE_FAULTS[kind] != sighting.fault
    )
    latest = max(others, default=-math.inf)
    if latest == -math.inf or latest > earliest:
        return latest > earliest
    return latest > earliest - sum(
        end - start for start, end in world.unrest() if start < at and end > earliest
    )


def _spans(place: Place) -> Iterator[tuple[float, str]]:
    """Yield until when something was wrong."""
    last = place.until if place.until is not None else math.inf
    for number, (_, kind) in enumerate(place.truth):
        yield (place.truth[number + 1][0] if number + 1 < len(place.truth) else last), kind


def _covers(place: Place, at: float) -> bool:
    return place.since <= at and (place.until is None or at < place.until)


def _is_hidden(place: Place, at: float, fault: NodeFault) -> bool:
    """Tell whether what is wrong now keeps another look from being done: then nothing that it said is over."""
    kind = place.fault_at(at)
    if fault.observer in (Observer.DRIVER, Observer.MOUNT_TABLE, Observer.API):
        return False
    of_device = fault.observer in (Observer.FILESYSTEM, Observer.KERNEL_LOG)  # the log calls it by its device
    return kind == "unmounted" or (kind == "gone" and of_device)


def _left_behind(world: World, place: Place, fault: NodeFault) -> tuple[float, float] | None:
    """Return while a mounting is accused by a report from before it: its agent died, and its Lease is still valid."""
    states = world.seen.reports.get(place.node, [])
    report = next((one.report for one in reversed(states) if one.at <= place.since), None)
    if fault.observer in (Observer.DRIVER, Observer.API) or not _says(report, place.claim, fault):
        return None  # those two speak of no mounting
    renewals = world.seen.renewals.get(agent_lease_name(place.node), [])
    valid = max((at for at in renewals if at <= place.since), default=-math.inf) + AGENT_SILENT_SECONDS
    signs = [at for at in (*renewals, *(one.at for one in states)) if at > place.since]
    until = min(valid, *signs) if signs else valid
    return (place.since, until) if until > place.since + LOOKING else None


def _is(world: World, place: Place, at: float, fault: NodeFault) -> bool:
    if fault.observer is Observer.API:
        return world.nodes.failure_of(place.node, at) is not None
    if fault.observer is Observer.DRIVER:
        truth = world.volume(place.handle).truth
        illness = next((one for moment, one in reversed(truth) if moment <= at), None)
        named = world.drivers[place.driver].named
        return illness is not None and named(illness) == (fault.status, fault.reason)
    kind = place.fault_at(at)
    return bool(kind) and NODE_FAULTS[kind] == fault


# ---- what agents said ----


def said_for(world: World, life: ClaimLife, event: Told, late: float, seen: float) -> float:
    """Return for how long a node's agent was alive and said what an Event tells, and nothing else for long.

    Args:
        world: after a run.
        life: the claim.
        event: on it.
        late: the longest that the Event may have been on its way.
        seen: seconds after which a report was surely read; one that is replaced sooner may never be.
    """
    node, reason = sighting_of(event) or ("", "")
    ill, fault = is_abnormal(event), fault_of(reason)
    states = world.seen.reports.get(node, [])
    places = [place for place in world.nodes.places_of(life.uid) if place.node == node]
    borders = [at for place in places for at in (place.since, place.until) if at is not None]
    moments = sorted(
        {0.0, event.at, *(at for at in (*borders, *(one.at for one in states)) if at < event.at)}
    )
    longest, said, disturbed = 0.0, 0.0, world.unrest()
    for start, end in pairwise(moments):
        report = next((one.report for one in reversed(states) if one.at <= start), None)
        says = _says_anything(report, life.uid, fault) if ill else _says(report, life.uid, fault)
        if not any(_covers(place, start) for place in places):
            said += 0.0 if ill else end - start  # the mounting that it was said of has ended
        elif says is ill:
            said += _alive(world, node, start, end)
        elif says is not None and any(last - first > seen for first, last in calm(start, end, disturbed)):
            said = 0.0
        elif says is not None:
            said += _alive(world, node, start, end)  # the operator may have seen the next report only
        if end >= event.at - late:
            longest = max(longest, said)
    return longest


def _says(report: VolumeHealthReport | None, uid: str, fault: NodeFault) -> bool | None:
    """Tell whether a report says something of a claim; None if it says neither that nor that it looked."""
    if report is None:
        return None
    for volume in report.volumes:
        if volume.claim_uid == uid and any(_plain(one.reason) == fault.reason for one in volume.conditions):
            return True
    return _looked(report, uid, fault)


def _says_anything(report: VolumeHealthReport | None, uid: str, fault: NodeFault) -> bool | None:
    """Tell whether a look says anything adverse: who goes on saying that is believed in whatever words."""
    if report is None:
        return None
    for volume in report.volumes:
        if volume.claim_uid == uid and any(one.origin is fault.observer for one in volume.conditions):
            return True
    return _looked(report, uid, fault)


def _looked(report: VolumeHealthReport, uid: str, fault: NodeFault) -> bool | None:
    """Return False if the look that would say it looked at a claim, else None."""
    looked = any(one.observer is fault.observer and uid in one.names for one in report.coverage)
    return False if looked else None


def _alive(world: World, node: str, start: float, end: float) -> float:
    """Return for how much of a time an agent's Lease was valid."""
    total, at = 0.0, start
    renewals = world.seen.renewals.get(agent_lease_name(node), [])
    from_here = bisect_left(renewals, start - AGENT_SILENT_SECONDS - 1.0)
    for renewed in renewals[from_here : bisect_left(renewals, end)]:
        first, last = max(renewed, at), min(renewed + AGENT_SILENT_SECONDS, end)
        if last > first:
            total, at = total + last - first, last
    return total


def completed(world: World, life: ClaimLife, oldest: float, at: float) -> bool:
    """Tell whether some agent that lived had completed every look at a claim, or asked its driver, and found nothing."""
    for node, states in world.seen.reports.items():
        ends = [*(state.at for state in states[1:]), math.inf]
        for state, end in zip(states, ends, strict=True):
            lately = state.at <= at and end >= oldest
            said = lately and _is_complete(state.report, life.uid)
            if said and _alive(world, node, max(state.at, oldest - AGENT_SILENT_SECONDS), min(end, at)) > 0.0:
                return True
    return False


def _is_complete(report: VolumeHealthReport | None, uid: str) -> bool:
    if report is None or any(volume.claim_uid == uid for volume in report.volumes):
        return False
    by_driver = any(one.observer is Observer.DRIVER and uid in one.names for one in report.coverage)
    return uid in report.complete or by_driver


def surely_seen(
    world: World, life: ClaimLife, regime: Regime, at: float, disturbed: Sequence[tuple[float, float]]
) -> bool:
    """Tell whether a node has seen a fault of a claim for so long that it must be a finding."""
    for place in world.nodes.places_of(life.uid):
        kind = place.fault_at(at)
        if kind and _covers(place, at) and regime.patience is not None:
            since = max(moment for moment, fault in place.truth if moment <= at and fault)
            needed = on_node(regime, regime.patience, NODE_FAULTS[kind]).sure(ill=True)
            if any(end - start > needed for start, end in calm(since, at, disturbed)):
                return True
        failure = world.nodes.failure_of(place.node, at) if _covers(place, at) else None
        if failure is not None and regime.patience is not None:
            needed = on_node(regime, regime.patience, NODE_FAILED).sure(ill=True)
            since = max(failure.start, place.since)
            if any(end - start > needed for start, end in calm(since, at, disturbed)):
                return True
    return False


def is_of_silence(world: World, plural: str, new: Json | None) -> bool:
    """Tell whether a write only says that agents are silent, or are not any more: nothing is told of a claim."""
    if not world.nodes.on or new is None:
        return False
    if plural == "events":
        return bool(new["involvedObject"]["kind"] == "VolumeHealthPolicy")
    return plural in ("volumehealths", "volumehealthpolicies", "volumehealthdrivers")
