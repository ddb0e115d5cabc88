"""What must hold, seen from outside: what is on the API server and on the wire, against what the world knows."""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from simulation import nodechecks
from simulation.driver import Statement
from simulation.network import Attempt
from simulation.objects import Json
from simulation.observe import RecordState, Told
from simulation.processes import EPOCH
from simulation.regimes import UNOWNED, Regime
from simulation.telling import (
    Mode,
    Patience,
    Segment,
    Spans,
    TellingChecker,
    calm,
    is_abnormal,
    lengthen,
    minutes,
    undisturbed,
    united,
)
from simulation.world import SECRET, SHOP, ClaimLife, World
from volumehealth.kube.backoff import Growth
from volumehealth.kube.writes import Limits
from volumehealth.model.origin import Observer
from volumehealth.model.report import AGENT_RENEW_SECONDS

COUNTS = "1 counts"
TELLING = "2 telling"
SPEAKING = "3 nothing recovers unheard"
RECORDS = "4 records"
REST = "5 rest writes nothing"
SUM = "5 status adds up"
GENTLE = "10 gentleness"
SECRETS = "11 secrets appear nowhere"
BOUNDED = "7 writes are bounded"
LEFTOVERS = "11 a deleted policy leaves nothing"

_TIMES = frozenset(
    [
        "since",
        "time",
        "confirmed",
        "clearSince",
        "recovered",
        "lastNotifiedAt",
        "lastTransitionTime",
        "lastCheckTime",
        "named",
        "resourceVersion",
        "generation",
    ]
)
_CHANGING = re.compile(r"(?<=Changing)\d+")
"""What is different in each answer of some volumes' drivers (`plan.ILLNESSES`)."""
_TIME_IN_TEXT = re.compile(r"^\d+\. |\b\d{1,2} [A-Z][a-z]{2} \d\d:\d\dZ|(?<=kubectl describe vh )\S+ -n \S+")
_OF_EXAMPLE = frozenset(["example", "message"])
"""What a problem says of the claim that has had it for the longest time."""
_PODS_LATER = 600.0
"""Seconds by which a Pod's Event may come before or after its claim's, where the API server is in trouble."""
_PODS_EARLIER = 5.0
_AGENTS_UNKNOWN = AGENT_RENEW_SECONDS + 120.0
_LONGEST = 120.0
"""Seconds between two checks of a policy at most."""
_NUMBERS = 300.0
"""Seconds after which the numbers of a driver are written again at the latest (`report/drivers.py`)."""
"""Seconds after which an operator that was started anew leads, has seen each new agent's Lease renewed, and told so."""
_SILENCE = 180.0
"""Seconds for which an answer counts while its source is silent."""
_EDITED = "since 1 Jan 00:00Z"
"""What an Event says of a record that a user edited (`world.EDITED_SINCE`): that finding may have begun long before."""
_REFUSED = frozenset({400, 403, 405, 413, 415, 422})
"""Answers by which a write is refused: the same write soon after would be, too."""
_HOUR = 3600.0
_SAMPLE = 15.0
"""Seconds between two looks at what a status says."""
_JITTER = 0.8
"""A key waits this part of its back-off at least."""
_NOT_WATCHED = Patience(0.0, 0.0, 60.0, 15.0)


def check_all(world: World) -> None:
    """Check what can be checked after a run has settled."""
    disturbed = world.unrest()
    for life in world.lives:
        _told_by_nodes(world, life, disturbed)
        segments = segments_of(world, life)
        told = _not_by_nodes(told_about(world, life.uid))
        forgotten = _forgotten(world, life, disturbed)
        _telling(world, f"claim {life.name}", segments, told, forgotten, disturbed)
        for pod in life.pods:
            events = _not_by_nodes(told_about(world, pod[0]))
            over = [*forgotten, *(start for start, _ in world.upgraded.get(life.driver, ()))]
            _telling_pod(world, life, pod, _windows(told), events, disturbed, over=over)
        _speaking(world, life, told, disturbed)
        _records(world, life, disturbed)
    _counts(world, disturbed)
    _adds_up(world)
    _follows(world)
    _sum(world)
    _gentle(world)
    _secrets(world)
    _leftovers(world)
    _bounded(world)
    _refused(world)


# ---- what was true ----


def segments_of(world: World, life: ClaimLife) -> list[Segment]:
    """Return what was true of a claim's volume, and how it was watched."""
    truth = world.volume(life.handle).truth if world.drivers[life.driver].controller_tells else []
    end = life.died if life.died is not None else world.loop.time()
    borders = [at for span in world.upgraded.get(life.driver, ()) for at in span]
    moments = sorted(
        {0.0, end, *(at for at in (*borders, *(at for at, _ in (*truth, *life.regimes))) if at < end)}
    )
    legacy = world.drivers[life.driver].legacy
    found: list[Segment] = []
    for start, until in pairwise(moments):
        illness = next((one for at, one in reversed(truth) if at <= start), None)
        regime = _regime(life, start)
        patience = regime.patience or _NOT_WATCHED
        if illness is not None and illness.status == "DataLoss" and not legacy:
            patience = replace(patience, ill=0.0)  # confirmed at once; the legacy text says no such thing
        # While a spec cannot be used a process that never knew it leaves the claim to another policy, with its delays.
        mode = _mode(regime)
        if mode in (Mode.ON, Mode.UNUSABLE) and world.is_upgraded(life.driver, start, until):
            mode = Mode.UNSURE  # what was told ends without a word once the driver has no health call
        new = Segment(start, until, illness is not None, patience, mode, joins=regime.unsure)
        lengthen(found, new)
    return found


def _regime(life: ClaimLife, at: float) -> Regime:
    """Return how a claim was watched at a moment."""
    return next((one for moment, one in reversed(life.regimes) if moment <= at), UNOWNED)


def _mode(regime: Regime) -> Mode:
    if not regime.policy:
        return Mode.OFF
    if regime.paused:
        return Mode.PAUSED
    return Mode.UNUSABLE if regime.unsure else Mode.ON


def _forgotten(world: World, life: ClaimLife, disturbed: Any) -> list[float]:
    """Return when a user changed a record and nothing may have been there to put it right."""
    return [
        at
        for at in world.meddled.get(life.name, ())
        if not any(start <= at and end >= at + 90.0 for start, end in calm(at - 1.0, at + 90.0, disturbed))
    ]


# ---- telling ----


def told_about(world: World, uid: str) -> list[Told]:
    """Return the Events on an object."""
    return [one for one in world.seen.told if one.about == uid]


def _telling(
    world: World,
    what: str,
    segments: list[Segment],
    told: list[Told],
    forgotten: list[float],
    disturbed: Spans,
) -> None:
    checker = TellingChecker(segments, told, disturbed, forgotten, clocks_set=world.jumped)
    complaint = checker.complaint()
    if complaint:
        world.history.violate(TELLING, f"{what}: {complaint}")


def _windows(told: list[Told]) -> list[tuple[float, float]]:
    """Return from when to when people were told that a claim is unhealthy, as its own Events say it."""
    windows: list[tuple[float, float]] = []
    for event in told:
        is_open = bool(windows) and windows[-1][1] == math.inf
        if is_abnormal(event):
            if is_open and event.again:
                continue
            if is_open:  # nobody watched it meanwhile
                windows[-1] = (windows[-1][0], event.at)
            windows.append((event.at, math.inf))
        elif is_open:
            windows[-1] = (windows[-1][0], event.at)
    return windows


def _nearest(windows: list[tuple[float, float]], at: float) -> tuple[float, float]:
    """Return the window that a moment is in, or the nearest to it; of two the later.

    A Pod may be told a moment before its claim, so a window begins that much earlier.
    """
    return min(reversed(windows), key=lambda one: max(one[0] - _PODS_EARLIER - at, at - one[1], 0.0))


def _telling_pod(
    world: World,
    life: ClaimLife,
    pod: tuple[str, str, float, float | None],
    windows: list[tuple[float, float]],
    events: list[Told],
    disturbed: Any,
    patience: Patience | None = None,
    over: Sequence[float] = (),
) -> None:
    """A Pod is told what its claim is told, once for each episode.

    Args:
        world: after a run.
        life: the claim.
        pod: its uid, name, birth and death.
        windows: from when to when people were told that the claim is unhealthy.
        events: on the Pod.
        disturbed: when the product could not work as it should.
        patience: the delays, if they are others than those of the claim's policy.
        over: when what was told may have ended without a word.
    """
    _, name, born, died = pod
    end = died if died is not None else world.loop.time()
    events = [one for one in events if not one.again]
    for start, until in windows:
        abnormal = [one for one in events if is_abnormal(one) and _nearest(windows, one.at) == (start, until)]
        calmly = [one for one in abnormal if undisturbed(one.at - 1.0, one.at, disturbed)]
        if len(calmly) > 1:
            at = ", ".join(minutes(one.at) for one in calmly)
            world.history.violate(TELLING, f"Pod {name} is told {len(calmly)} times of one episode: {at}")
        ended = min((at for at in over if at > start), default=math.inf)
        lived = max(start, born), min(until, end, ended, world.plan.until)
        regimes = [one for at, one in life.regimes if at <= lived[1]] or [UNOWNED]
        delays = patience or regimes[-1].patience or _NOT_WATCHED
        watched = len({_mode(one) for one in regimes}) == 1 and _mode(regimes[-1]) is Mode.ON
        needed = 2.1 * delays.interval + delays.slack
        free = calm(lived[0], lived[1], disturbed) if lived[1] > lived[0] else []
        if not abnormal and watched and any(b - a > needed for a, b in free):
            world.history.violate(TELLING, f"Pod {name} is never told of the episode from {minutes(start)}")
    normal = [one for one in events if not is_abnormal(one)]
    ends = [until for _, until in windows]
    for one in normal:
        # What was owed on the claim is lost with its record.
        lost = any(one.at <= at <= one.at + _PODS_LATER for at in over)
        if not lost and not any(abs(one.at - until) <= _PODS_LATER for until in ends):
            world.history.violate(
                TELLING, f"Pod {name} is told of an end at {minutes(one.at)}, its claim is not"
            )


def _speaking(world: World, life: ClaimLife, told: list[Told], disturbed: Any) -> None:
    """Nothing is found and nothing recovers unless its source has said so, for as long as it takes."""
    driver = world.drivers[life.driver]
    statements = driver.statements.get(life.handle, [])
    for event in told:
        ill = is_abnormal(event)
        if ill and (event.again or _EDITED in event.message):
            continue
        late = 10.0 if undisturbed(event.at - 10.0, event.at, disturbed) else 900.0
        patiences = [one.patience for at, one in life.regimes if at <= event.at and one.patience is not None]
        least = min((one.after(ill=ill) for one in patiences), default=0.0)
        stands = max((one.interval + one.timeout for one in patiences), default=0.0)
        regime = _regime(life, event.at)
        if regime.unsure:
            continue  # a process that never knew the last good spec lets another policy hold the claim
        if ill and not driver.legacy and any(_is_loss(one) for one in statements if one.heard_at <= event.at):
            continue  # confirmed at once
        # A CSI 1.13 list names bad volumes only: a volume that is absent from one may be well; it is if a get says so, too,
        # or if it is absent from the next list.
        contradicted = 2 if ill and driver.lists and not driver.legacy else 1
        span = _longest_said(
            statements, event.at - late, event.at, stands, ill=ill, contradicted=contradicted
        )
        if span < least - 1.0:
            what, answers = ("unhealthy", "adverse") if ill else ("recovered", "healthy")
            world.history.violate(
                SPEAKING,
                f"{life.name} is told as {what} at {minutes(event.at)}, after {span:.1f} s of {answers} answers",
            )


def _is_loss(one: Statement) -> bool:
    return one.illness is not None and one.illness.status == "DataLoss"


def _longest_said(
    statements: list[Statement], earliest: float, at: float, stands: float, *, ill: bool, contradicted: int
) -> float:
    """Return for how long a source said that a volume is ill, or well, and nothing else, up to some moment in a span.

    An answer stands until the next one is due; what lies between two that are far apart is silence, which does not count.
    So many answers in a row to the contrary begin it anew.
    """
    longest, said, last, others = 0.0, 0.0, -math.inf, 0
    for one in statements:
        if one.heard_at > at:
            break
        if (one.illness is not None) is not ill:
            others += 1
            if one.heard_at >= earliest:
                longest = max(longest, said + min(one.heard_at - last, stands))
            if others >= contradicted:
                said, last = 0.0, -math.inf
            continue
        gap = one.heard_at - one.said_at if last == -math.inf else one.heard_at - last
        said += gap if gap <= _SILENCE + 3.0 * stands else 0.0
        last, others = one.heard_at, 0
    return max(longest, said + min(at - last, stands)) if last > -math.inf else longest


# ---- what nodes see ----


def _not_by_nodes(told: list[Told]) -> list[Told]:
    return [one for one in told if nodechecks.sighting_of(one) is None]


def _told_by_nodes(world: World, life: ClaimLife, disturbed: Any) -> None:
    """What a node sees is told once for each episode, on the claim and on its Pods there, and so is its end."""
    every = told_about(world, life.uid)
    modes = [(at, regime, _mode(regime)) for at, regime in life.regimes] or [(0.0, UNOWNED, Mode.OFF)]
    every_sighting = list(nodechecks.sightings(world, life))
    known = {(one.node, one.fault.reason) for one in every_sighting}
    for event in every:
        sighting = nodechecks.sighting_of(event)
        if sighting is not None and sighting not in known:
            world.history.violate(TELLING, f"nothing like this ever broke: {event.message}")
    for one in every_sighting:
        key = (one.node, one.fault.reason)
        told = [event for event in every if nodechecks.sighting_of(event) == key]
        segments = nodechecks.segments(world, life, one, modes)
        what = f"claim {life.name}, {one.fault.reason} on {one.node}"
        forgotten = _forgotten(world, life, disturbed)
        of_driver = one.fault.observer is Observer.DRIVER
        unrest = world.nodes.unrest(one.node, life.driver) if of_driver else disturbed
        refused = world.nodes.refusing.get((one.node, life.driver), ()) if of_driver else ()
        _telling(world, what, segments, told, forgotten, unrest)
        places = [place for place in world.nodes.places_of(life.uid) if place.node == one.node]
        for pod in life.pods:
            mine = next((place for place in places if place.pod == pod[0]), None)
            events = [event for event in told_about(world, pod[0]) if nodechecks.sighting_of(event) == key]
            if mine is not None:
                regime = _regime(life, mine.until if mine.until is not None else world.loop.time())
                patience = nodechecks.on_node(regime, _NOT_WATCHED, one.fault)
                over = [*forgotten, *(place.until for place in places if place.until is not None)]
                over += [start for start, _ in refused]
                _telling_pod(world, life, pod, _windows(told), events, unrest, patience, over)
            elif events:
                world.history.violate(TELLING, f"Pod {pod[1]} is told of {key}, and was not there")
        for event in told:
            _node_spoke(world, life, event, unrest)


def _node_spoke(world: World, life: ClaimLife, event: Told, disturbed: Any) -> None:
    """Nothing is told of a node unless its agent lived and said so for as long as it takes."""
    ill = is_abnormal(event)
    regime = _regime(life, event.at)
    if (ill and (event.again or event.message.startswith("DataLoss/"))) or regime.unsure:
        return
    if event.reason in ("NodeFailed", "NodeRecovered"):
        return  # Kubernetes says it, not the node
    late = 10.0 if undisturbed(event.at - 10.0, event.at, disturbed) else 900.0
    patiences = [one.patience for at, one in life.regimes if at <= event.at and one.patience is not None]
    least = min((one.after(ill=ill) for one in patiences), default=0.0)
    seen = max((1.1 * one.interval + 2.0 for one in patiences), default=0.0)
    span = nodechecks.said_for(world, life, event, late, seen)
    if span < least - 1.0:
        what = "unhealthy" if ill else "recovered"
        world.history.violate(
            SPEAKING,
            f"{life.name} is told as {what} at {minutes(event.at)}, after {span:.1f} s: {event.message}",
        )


# ---- records ----


def _records(world: World, life: ClaimLife, disturbed: Any) -> None:
    """The record of a live finding is there at every instant, and says since when, once and for all."""
    before: RecordState | None = None
    for state in world.seen.records.get((SHOP, life.name), []):
        if state.at < life.born or (life.died is not None and state.at > life.died):
            continue
        if state.claim != life.uid:  # it is of the claim that had this name before
            continue
        if state.by != "admin" and before is not None and before.by != "admin":
            _step(world, life, before, state)
        before = state
    _put_back(world, life, disturbed)


def _step(world: World, life: ClaimLife, before: RecordState, after: RecordState) -> None:
    findings = (before.status or {}).get("findings") or []
    regime = _regime(life, after.at)
    if not findings or not regime.policy:
        return
    if after.status is None:
        if _was_owned(world, life, after.at):
            world.history.violate(
                RECORDS, f"the record of {life.name} is removed at {minutes(after.at)} while it has a finding"
            )
        return
    if world.jumped or _may_be_another(world, life, before.at, after.at):
        return  # times in the future are set to now
    known = {_identity(one): one["since"] for one in findings}
    for one in after.status.get("findings") or []:
        if one["since"] != known.get(_identity(one), one["since"]):
            was = known[_identity(one)]
            world.history.violate(
                RECORDS, f"{life.name}: since of {_identity(one)} becomes {one['since']}, it was {was}"
            )
    history = [(one["time"], one["what"]) for one in after.status.get("history") or []]
    if len(set(history)) != len(history):
        world.history.violate(RECORDS, f"{life.name}: its history has a change twice: {history}")


def _may_be_another(world: World, life: ClaimLife, start: float, end: float) -> bool:
    """Tell whether what a record says at two moments may be two episodes, although it looks like one."""
    held = [one for at, one in life.regimes if start <= at <= end] + [_regime(life, start)]
    truth = world.volume(life.handle).truth
    return len({one.policy for one in held}) > 1 or any(start - _SILENCE <= at <= end for at, _ in truth)


def _put_back(world: World, life: ClaimLife, disturbed: Any) -> None:
    """What a user deleted is there again within one check, as long as the volume is ill."""
    states = [one for one in world.seen.records.get((SHOP, life.name), []) if one.claim == life.uid]
    for before, after in pairwise(states):
        if after.status is not None or after.by != "admin" or not (before.status or {}).get("findings"):
            continue
        regime = _regime(life, after.at)
        patience = regime.patience or _NOT_WATCHED
        end = after.at + patience.sure(ill=True)
        until = life.died if life.died is not None else world.loop.time()
        truth = [one for at, one in world.volume(life.handle).truth if at <= after.at][-1:]
        changed = any(after.at < at <= end for at, _ in (*world.volume(life.handle).truth, *life.regimes))
        free = undisturbed(after.at - 1.0, end, disturbed) and not world.is_upgraded(
            life.driver, after.at, end
        )
        watched = _mode(regime) is Mode.ON and not changed and truth not in ([None], [])
        there = any(after.at < one.at <= end and one.status is not None for one in states)
        if watched and free and end < until and not there:
            world.history.violate(
                RECORDS, f"the record of {life.name} is not put back from {minutes(after.at)} on"
            )


def _was_owned(world: World, life: ClaimLife, at: float) -> bool:
    """Tell whether some policy owned a claim all the time before a moment: then nobody may remove its record.

    Where something was in the way, a removal may come long after it was decided.
    """
    start = at - (60.0 if undisturbed(at - 60.0, at, united(world.disturbed_but_by_policies)) else 1000.0)
    before = [one for moment, one in life.regimes if moment <= start][-1:]
    lately = [one for moment, one in life.regimes if start < moment <= at]
    if world.is_upgraded(life.driver, start, at):
        return False  # its findings are closed
    return bool(before) and all(one.policy and not one.unsure for one in (*before, *lately))


def _identity(finding: Any) -> tuple[str, str, str, str, int]:
    return (
        finding["source"],
        finding.get("node", ""),
        finding["status"],
        finding["reason"],
        finding.get("episode", 1),
    )


# ---- counts ----


def _counts(world: World, disturbed: Any) -> None:
    """No more claims count as healthy than have been answered about, and none that is accused all the time."""
    for state in world.seen.statuses:
        if not undisturbed(state.at - 180.0, state.at, disturbed):
            continue
        owned = list(_owned(world, state.policy, state.at))
        if any(regime.paused for _, regime in owned):
            continue  # its status says what was true when it was suspended
        healthy = state.status.get("claims", {}).get("healthy", 0)
        answered = [life for life, regime in owned if _answered(world, life, regime, state.at)]
        if healthy > len(answered):
            world.history.violate(
                COUNTS,
                f"{state.policy} counts {healthy} healthy claims at {minutes(state.at)}, only {len(answered)} were"
                " answered about",
            )


def _adds_up(world: World) -> None:
    """In each status that was written the four verdicts add up, and what is unhealthy is among the problems."""
    for state in world.seen.statuses:
        counts = state.status.get("claims", {})
        verdicts = [counts.get(one, 0) for one in ("healthy", "unhealthy", "unknown", "unmonitored")]
        if sum(verdicts) != counts.get("selected", 0):
            world.history.violate(SUM, f"status.claims of {state.policy} at {minutes(state.at)} is {counts}")
        if bool(verdicts[1]) is not bool(state.status.get("problems")):
            world.history.violate(
                SUM, f"{state.policy} at {minutes(state.at)}: {counts}, {state.status.get('problems')}"
            )


def _follows(world: World) -> None:
    """A status has the number of unhealthy claims one check after it is known, and one check after a user edits it."""
    if world.plan.agents:
        return  # what nodes see is held to that at rest
    segments = {life.uid: segments_of(world, life) for life in world.lives}
    for policy, shown in world.seen.shown.items():
        for at, since in _samples(world):
            state = shown[bisect_right(shown, at, key=lambda one: one.at) - 1]
            known = _known(world, policy, at, since, segments)
            if known is None or state.at > at or not state.status or _is_suspended(state.status):
                continue
            late = [one for one in world.edited.get(policy, ()) if one <= at < one + known[2]]
            told = state.status.get("claims", {}).get("unhealthy", 0)
            if not late and not known[0] <= told <= known[1]:
                world.history.violate(
                    SUM,
                    f"{policy} counts {told} unhealthy claims at {minutes(at)}, they are {known[0]} to {known[1]}",
                )
                break


def _is_suspended(status: Json) -> bool:
    """Tell whether a status says so of its policy: then it keeps the numbers of that moment, whoever holds the claims since."""
    return any(one.get("reason") == "Suspended" for one in status.get("conditions", ()))


def _samples(world: World) -> Iterator[tuple[float, float]]:
    """Yield moments, each with the one since when nothing disturbed the product."""
    for start, end in calm(0.0, world.loop.time(), world.unrest()):
        at = start
        while at < end:
            yield at, start
            at += _SAMPLE


def _known(
    world: World, policy: str, at: float, since: float, segments: Mapping[str, list[Segment]]
) -> tuple[int, int, float] | None:
    """Return between which numbers the unhealthy claims of a policy are, and how long a check may take to say so.

    None if the policy does not check, or nobody is sure that it does.
    """
    least, most, needed = 0, 0, 0.0
    for life in world.lives:
        if not life.born <= at < (life.died if life.died is not None else math.inf):
            continue
        regime = _regime(life, at)
        if regime.name != policy:
            # A process that never knew that spec gave the claim to this policy.
            most += regime.unsure or _left_lately(world, life, policy, at)
            continue
        if _mode(regime) is not Mode.ON:
            return None
        mine = segments[life.uid]
        segment = mine[bisect_right(mine, at, key=lambda one: one.start) - 1]
        patience = segment.patience
        needed = max(needed, patience.interval + patience.timeout + patience.slack)
        sure = segment.mode is Mode.ON
        known = sure and at - max(segment.start, since) >= patience.sure(ill=segment.ill) + patience.timeout
        least += known and segment.ill
        most += not known or segment.ill
    return least, most, needed


def _left_lately(world: World, life: ClaimLife, policy: str, at: float) -> bool:
    """Tell whether a claim left a policy so lately that the policy may not have been checked since.

    A policy that held it because the spec of its own could not be used had it as well.
    """
    patiences = [one.patience for each in world.lives for _, one in each.regimes if one.name == policy]
    check = max(
        (one.interval + one.timeout + one.slack for one in patiences if one is not None), default=_LONGEST
    )
    return any(
        end <= at < end + check
        for (_, before), (end, _) in pairwise(life.regimes)
        if before.name == policy or before.unsure
    )


def _owned(world: World, policy: str, at: float) -> Iterator[tuple[ClaimLife, Regime]]:
    for life in world.lives:
        if life.born - 5.0 > at or (life.died is not None and life.died < at - 5.0):
            continue
        lately = [one for moment, one in life.regimes if at - 30.0 <= moment <= at]
        before = [one for moment, one in life.regimes if moment < at - 30.0][-1:]
        mine = [one for one in (*before, *lately) if one.name == policy or one.unsure]
        if mine:
            yield life, mine[-1]


def _answered(world: World, life: ClaimLife, regime: Regime, at: float) -> bool:
    """Tell whether the driver, or the node, said that a volume is well, not too long ago."""
    patience = regime.patience or _NOT_WATCHED
    if nodechecks.surely_seen(world, life, regime, at, world.unrest()):
        return False
    oldest = at - patience.ill - 3.0 * patience.interval - patience.timeout - 60.0
    statements = world.drivers[life.driver].statements.get(life.handle, [])
    if any(one.illness is None and oldest <= one.heard_at <= at for one in reversed(statements)):
        return True
    return nodechecks.completed(world, life, oldest - nodechecks.LOOKING, at)


# ---- secrets and leftovers ----


def _secrets(world: World) -> None:
    """What looks like a password in a driver's words is in no object and no line of the log."""
    for at, user, plural, method, _, new in world.seen.writes:
        if user != "admin" and new is not None and SECRET.encode() in msgspec.json.encode(new):
            world.history.violate(SECRETS, f"{method} {plural} at {minutes(at)}")
    if any(SECRET in line.what and " LOG " in str(line) for line in world.history.lines):
        world.history.violate(SECRETS, "it is in a line of the log")


def _leftovers(world: World) -> None:
    """At rest each record is of a claim that is there, and names a policy that is there."""
    policies = {policy["metadata"]["name"] for policy in world.server.objects("volumehealthpolicies")}
    alive = {life.uid for life in world.lives if life.died is None}
    for record in world.server.objects("volumehealths"):
        name, policy = record["metadata"]["name"], record["status"].get("policy")
        owners = {owner["uid"] for owner in record["metadata"].get("ownerReferences") or ()}
        if policy not in policies or not owners <= alive:
            world.history.violate(LEFTOVERS, f"the record of {name} names {policy}, owners {sorted(owners)}")


def _bounded(world: World) -> None:
    """Once everything has settled, a cluster costs a heartbeat of each policy and reminders of each finding."""
    began = max(end for _, end in world.disturbed)
    hours = (world.loop.time() - began) / 3600.0
    writes = [
        one
        for one in world.seen.writes
        if one[0] > began
        and one[1] != "admin"
        and one[2] != "leases"
        and not _in_other_words(one[2], *one[4:])
    ]
    policies, claims = len(world.plan.policies), len(world.plan.claims)
    most = (hours + 0.2) * (30.0 * policies + 12.0 * claims + 6.0 * len(world.drivers))
    if hours > 0.0 and len(writes) > most:
        world.history.violate(
            BOUNDED, f"{len(writes)} writes in {hours:.1f} hours at rest, {most:.0f} are enough"
        )


def _refused(world: World) -> None:
    """However long writes of an object are refused, each process sends so many in an hour, and no more.

    Those are `_most` for each time that the back-off may begin anew, which is after any other answer than a refusal,
    and one for each write of the same resource that was done: then what waits for a right is tried at once.
    """
    limits = Limits()
    most = max(_most(limits.refused), _most(limits.forbidden))
    done: dict[tuple[int, str], list[float]] = {}
    sent: dict[tuple[int, tuple[str, str, str]], list[Attempt]] = {}
    for one in world.network.attempts:
        sent.setdefault((id(one.process), one.what), []).append(one)
        if 200 <= one.status < 300:
            done.setdefault((id(one.process), one.plural), []).append(one.at)
    for (process, what), attempts in sent.items():
        attempts.sort(key=lambda one: one.at)
        refused = [one.at for one in attempts if one.status in _REFUSED]
        others = [one.at for one in attempts if one.status not in _REFUSED]
        returns = sorted(done.get((process, attempts[0].plural), ()))
        for number, at in enumerate(refused):
            span = at - _HOUR, at
            count = number + 1 - bisect_left(refused, span[0])
            if count <= most:
                continue
            allowed = most * (1 + _within(others, *span)) + _within(returns, *span)
            if count > allowed:
                world.history.violate(
                    BOUNDED,
                    f"{count} writes of {what[0]} are refused in the hour before {minutes(at)}, {allowed} are enough",
                )
                break


def _most(growth: Growth) -> int:
    """Return how many requests of one key are sent in an hour in which all are refused."""
    at, count = 0.0, 0
    while at <= _HOUR:
        count += 1
        at += _JITTER * growth.after(count)
    return count


def _within(moments: Sequence[float], start: float, end: float) -> int:
    return bisect_right(moments, end) - bisect_left(moments, start)


# ---- rest ----


def _sum(world: World) -> None:
    alive = [life for life in world.lives if life.died is None]
    for policy in world.server.objects("volumehealthpolicies"):
        name = policy["metadata"]["name"]
        mine = [life for life in alive if life.regimes[-1][1].name == name]
        ill = [life for life in mine if _is_ill(world, life)]
        expected = {
            "selected": len(mine),
            "healthy": len(mine) - len(ill),
            "unhealthy": len(ill),
            "unknown": 0,
        }
        counts = policy.get("status", {}).get("claims", {})
        found = {one: counts.get(one, 0) for one in expected}
        if found != expected:
            world.history.violate(SUM, f"status.claims of {name} is {found}, the world is {expected}")
    for life in alive:
        _record_at_rest(world, life)


def _is_ill(world: World, life: ClaimLife) -> bool:
    """Tell whether a claim's driver or its node has something against it now."""
    return world.volume(life.handle).illness is not None or bool(world.nodes.fault_of(life.uid))


def _record_at_rest(world: World, life: ClaimLife) -> None:
    record = world.server.find("volumehealths", life.name, SHOP)
    health = (record or {}).get("status", {}).get("health")
    illness = world.volume(life.handle).illness
    if not life.regimes[-1][1].policy:
        if record is not None and health != "Recovered":
            world.history.violate(
                RECORDS, f"the record of {life.name} says {health}, no policy selects the claim"
            )
    elif _is_ill(world, life) and health != "Unhealthy":
        wrong = illness or world.nodes.fault_of(life.uid)
        world.history.violate(RECORDS, f"the record of {life.name} says {health}, its volume is {wrong}")
    elif not _is_ill(world, life) and health not in (None, "Recovered", "Closed"):
        world.history.violate(RECORDS, f"the record of {life.name} says {health}, its volume is well")
    elif illness is not None and not world.jumped and record is not None:
        _since_at_rest(world, life, record)


def _since_at_rest(world: World, life: ClaimLife, record: Any) -> None:
    """Since when a claim is ill is known to an interval, if nothing was in the way when it fell ill."""
    segments = segments_of(world, life)
    regime = life.regimes[-1][1]
    patience = regime.patience or _NOT_WATCHED
    fell, before = segments[-1].start, segments[-2] if len(segments) > 1 else None
    rested = patience.sure(ill=False)
    if before is None or before.end - before.start < rested:
        return
    span = (fell - rested, fell + patience.sure(ill=True) + patience.timeout)
    if not undisturbed(*span, world.unrest()) or world.is_upgraded(life.driver, span[0], world.loop.time()):
        return
    of_driver = [one for one in record["status"]["findings"] if one["source"] != "Node"]
    if not of_driver:
        return  # only its node plugins tell
    said = datetime.fromisoformat(of_driver[0]["since"])
    late = (said - EPOCH).total_seconds() - fell
    latest = 2.0 * patience.interval + patience.timeout + patience.slack
    if any(at > fell for at in _forgotten(world, life, world.unrest())):
        latest = math.inf  # the only process that knew it may have ended before it put the record back
    if not -1.0 <= late <= latest:
        world.history.violate(RECORDS, f"{life.name}: since is {late:.0f} s off")


def check_rest(world: World, since: float) -> None:
    """After a fresh operator took over a world at rest: it wrote nothing but the heartbeat and due reminders."""
    known = {one.name for one in world.seen.told if one.at < since}
    for at, user, plural, method, old, new in world.seen.writes:
        if at < since or user == "admin" or plural == "leases":
            continue
        if plural == "volumehealthpolicies" and _without_beat(old) == _without_beat(new):
            continue
        if plural == "events" and (
            method == "PATCH" or (new is not None and new["metadata"]["name"] in known)
        ):
            continue  # a reminder; a user may have deleted the Event
        if plural == "volumehealths" and _without_reminder(old) == _without_reminder(new):
            continue
        if _in_other_words(plural, old, new):
            continue
        if world.jumped and _timeless(old) == _timeless(new):
            continue  # times that lie in the future by the new clock are set to now
        unknown = _AGENTS_UNKNOWN + (_NUMBERS if plural == "volumehealthdrivers" else 0.0)
        if world.jumped and at < since + unknown and nodechecks.is_of_silence(world, plural, new):
            continue  # a Lease that is seen for the first time is as old as it says; by another clock that is too old
        world.history.violate(REST, f"{method} {plural} at rest: {_difference(old, new)}")


def _in_other_words(plural: str, old: Any, new: Any) -> bool:
    """Tell whether a report only says what it said, since the driver gives another reason in each answer."""
    if plural != "volumehealthreports" or old is None or new is None:
        return False
    before, after = (_CHANGING.sub("", repr(_timeless(one))) for one in (old, new))
    return before == after


def _without_beat(value: Any) -> Any:
    if value is None:
        return None
    status = {name: one for name, one in value.get("status", {}).items() if name != "lastCheckTime"}
    return {**value, "metadata": None, "status": status}


def _without_reminder(value: Any) -> Any:
    if value is None:
        return None
    findings = [
        {name: one for name, one in finding.items() if name != "lastNotifiedAt"}
        for finding in value["status"].get("findings") or ()
    ]
    return {**value, "metadata": None, "status": {**value["status"], "findings": findings}}


def _timeless(value: Any) -> Any:
    """Return an object without its times and versions, and without the order that follows from times."""
    if isinstance(value, dict):
        dropped = _TIMES | _OF_EXAMPLE if "example" in value else _TIMES
        return {name: _timeless(one) for name, one in value.items() if name not in dropped}
    if isinstance(value, list):
        return sorted(map(_timeless, value), key=repr)
    return sorted(_TIME_IN_TEXT.sub("", value).replace(",", " ").split()) if isinstance(value, str) else value


def _difference(old: Any, new: Any) -> str:
    if old is None or new is None:
        return str((new or old)["metadata"]["name"])
    return f"{new['metadata']['name']}: " + "; ".join(
        _differences(old.get("status"), new.get("status"), "status")
    )


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield what differs, with its path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _differences(old.get(name), new.get(name), f"{path}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{path}[{number}]")
    elif old != new:
        yield f"{path}: {old} -> {new}"


def _gentle(world: World) -> None:
    limits = {
        "ListVolumes": 1,
        "ControllerListVolumeHealth": 1,
        "ControllerGetVolume": 4,
        "ControllerGetVolumeHealth": 4,
    }
    for driver in world.drivers.values():
        for method, limit in limits.items():
            most = driver.most_in_flight.get(method, 0)
            if most > limit:
                world.history.violate(GENTLE, f"{most} calls of {method} at once")
