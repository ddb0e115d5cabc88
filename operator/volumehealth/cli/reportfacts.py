"""From objects of the API to what the pages of a report show: tiles, incidents, problems; pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from volumehealth.model.clock import date, date_and_time, moment_of
from volumehealth.model.health import WIDE_CLAIMS, severity, urgency
from volumehealth.oneshot.evidence import Evidence
from volumehealth.oneshot.overview import Overview, urgency_of
from volumehealth.oneshot.reading import Object

MOST_CLAIMS = 2000
"""Claims that the table lists at most, worst first."""
MOST_TILES = 200
"""Tiles of a map at most, worst first."""
MOST_INCIDENTS = 40
_LONGEST = timedelta(days=7)
"""The timeline begins at most so long ago; what began earlier is cut there."""
_SHORT = timedelta(minutes=8)
"""Below it four marks of a timeline would name the same minutes."""
_WORSE = {"DataLoss": "dataloss", "Inaccessible": "inaccessible", "Degraded": "degraded"}
_ORDER = ("dataloss", "inaccessible", "other", "degraded", "unknown", "unmonitored", "quiet", "fine")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Tile:
    """One driver, node, class or namespace.

    Attributes:
        name: of it.
        level: `dataloss`, `inaccessible`, `degraded`, `other`, `unknown` or `unmonitored`: the worst of its claims; `fine` if
            all are healthy, `quiet` if nothing bad is said of any, which need not mean that they are.
        text: how many of how many, in words.
        detail: a second line; empty if there is nothing to add.
    """

    name: str
    level: str
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Map:
    """The tiles of one kind, worst first; `left_out` of them are not shown."""

    kind: str
    title: str
    tiles: tuple[Tile, ...]
    left_out: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class BadClaim:
    """One claim with a finding."""

    namespace: str
    name: str
    driver: str
    storage_class: str
    node: str
    level: str
    health: str
    status: str
    reason: str
    message: str
    since: str
    workloads: str


@dataclass(frozen=True, slots=True)
class Incident:
    """The same thing at one driver, from its first claim to its last.

    Attributes:
        what: status and reason.
        spans: (start, end) in percent of the timeline; an end of 100 of an open incident is now.
        open_claims: how many claims have it now.
        claims: how many had it in all.
    """

    driver: str
    what: str
    level: str
    began: str
    ended: str
    claims: int
    open_claims: int
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One group of findings, as the policy's status tells it.

    Attributes:
        of: how many claims the driver has; 0 if that is not known.
        wide: whether it is the driver's problem, not one of single volumes.
    """

    driver: str
    status: str
    reason: str
    level: str
    claims: int
    since: str
    example: str
    message: str
    users: str
    nodes: str
    of: int = 0
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the template shows."""

    counts: Mapping[str, int]
    problems: tuple[Problem, ...]
    maps: tuple[Map, ...]
    claims: tuple[BadClaim, ...]
    left_out: int
    incidents: tuple[Incident, ...]
    more_incidents: int
    ticks: tuple[tuple[float, str], ...]
    loud: tuple[str, ...]
    silent: tuple[Tile, ...]
    hidden: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What is counted of one tile."""

    bad: int = 0
    unknown: int = 0
    worst: int = -1
    level: str = "quiet"

    def add(self, claim: BadClaim) -> None:
        if claim.level == "unknown":
            self.unknown += 1
            return
        self.bad += 1
        if severity(claim.status) > self.worst:
            self.worst, self.level = severity(claim.status), claim.level


def find_facts(evidence: Evidence, now: datetime) -> Facts:
    """Sort out what was read.

    Args:
        evidence: what was read; a field of it may be missing.
        now: the moment of the report.
    """
    classes = _classes(evidence.claims or ())
    claims = tuple(_bad_claims(evidence.overview.unhealthy, classes))
    incidents, ticks = _timeline(evidence.overview.records, now)
    return Facts(
        counts=_counts(evidence, claims),
        problems=find_problems(evidence.overview),
        maps=tuple(_maps(evidence, claims, classes)),
        claims=claims[:MOST_CLAIMS],
        left_out=max(0, len(claims) - MOST_CLAIMS),
        incidents=incidents[:MOST_INCIDENTS],
        more_incidents=max(0, len(incidents) - MOST_INCIDENTS),
        ticks=ticks,
        loud=evidence.overview.loud,
        silent=tuple(_hints(evidence)),
        hidden=tuple(_hidden(evidence)),
    )


def _status(one: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = one.get("status") or {}
    return found


def _counts(evidence: Evidence, claims: Sequence[BadClaim]) -> dict[str, int]:
    if evidence.overview.policies is None or evidence.overview.namespace:  # policies count all namespaces
        unknown = sum(claim.level == "unknown" for claim in claims)
        return {"unhealthy": len(claims) - unknown, "unknown": unknown}
    states = ("selected", "healthy", "unhealthy", "unknown", "unmonitored")
    told = [_status(policy).get("claims") or {} for policy in evidence.overview.policies]
    return {state: sum(int(one.get(state) or 0) for one in told) for state in states}


def _classes(claims: Iterable[Object]) -> dict[Key, str]:
    return {
        (str(one["metadata"]["namespace"]), str(one["metadata"]["name"])): str(
            (one.get("spec") or {}).get("storageClassName") or "(no class)"
        )
        for one in claims
    }


def _bad_claims(records: Iterable[Object], classes: Mapping[Key, str]) -> Iterable[BadClaim]:
    for record in records:
        metadata, status = record["metadata"], _status(record)
        findings: Sequence[Mapping[str, Any]] = status.get("findings") or ({},)
        worst = max(findings, key=urgency_of)
        word = str(worst.get("status", ""))
        health = str(status.get("health", ""))
        nodes = dict.fromkeys(str(one["node"]) for one in findings if one.get("node"))
        yield BadClaim(
            namespace=str(metadata["namespace"]),
            name=str(metadata["name"]),
            driver=str(status.get("driver", "")),
            storage_class=classes.get((str(metadata["namespace"]), str(metadata["name"])), ""),
            node=", ".join(nodes),
            level="unknown" if health == "Unknown" else _WORSE.get(word, "other"),
            health=health,
            status=word,
            reason=str(worst.get("reason", "")),
            message=str(worst.get("message", "")),
            since=_shown(str(status.get("since", ""))),
            workloads="; ".join(map(str, status.get("workloads") or ())),
        )


# Maps.


def _maps(evidence: Evidence, claims: Sequence[BadClaim], classes: Mapping[Key, str]) -> Iterable[Map]:
    yield _driver_map(evidence, claims)
    yield _node_map(evidence, claims)
    hidden = (
        ""
        if evidence.claims is not None
        else "Claims are out of your sight: only those with a finding are counted."
    )
    spaces: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for (namespace, _), name in classes.items():
        spaces[namespace] += 1
        sizes[name] += 1
    by_class = _tallies((claim.storage_class, claim) for claim in claims if claim.storage_class)
    yield _map("class", "Storage classes", _plain_tiles(by_class, sizes), hidden)
    by_space = _tallies((claim.namespace, claim) for claim in claims)
    yield _map("namespace", "Namespaces", _plain_tiles(by_space, spaces), hidden)


def _tallies(pairs: Iterable[tuple[str, BadClaim]]) -> dict[str, _Tally]:
    found: dict[str, _Tally] = defaultdict(_Tally)
    for name, claim in pairs:
        found[name].add(claim)
    return found


def _plain_tiles(tallies: Mapping[str, _Tally], totals: Mapping[str, int]) -> Iterable[Tile]:
    """Yield a tile for each name: what has no finding may be healthy, or not monitored."""
    for name in tallies.keys() | totals.keys():
        tally = tallies.get(name, _Tally())
        total = max(totals.get(name, 0), tally.bad + tally.unknown)
        yield Tile(name, _level(tally), _words(tally.bad, tally.unknown, total, "no finding"))


def _driver_map(evidence: Evidence, claims: Sequence[BadClaim]) -> Map:
    tallies = _tallies((claim.driver, claim) for claim in claims)
    if evidence.overview.drivers is None:
        return _map("driver", "Drivers", _plain_tiles(tallies, {}), "Drivers are out of your sight.")
    if evidence.overview.namespace:
        note = "Drivers of claims with a finding; what drivers are counted for is of all namespaces."
        return _map("driver", "Drivers", _plain_tiles(tallies, {}), note)
    named = {str(driver["metadata"]["name"]) for driver in evidence.overview.drivers}
    tiles = list(_plain_tiles({name: one for name, one in tallies.items() if name not in named}, {}))
    for driver in evidence.overview.drivers:
        name, status = str(driver["metadata"]["name"]), _status(driver)
        counts = status.get("claims") or {}
        tally = tallies.get(name, _Tally())
        total, unmonitored = int(counts.get("selected") or 0), int(counts.get("unmonitored") or 0)
        unknown = max(tally.unknown, int(counts.get("unknown") or 0))
        bad = max(tally.bad, int(counts.get("unhealthy") or 0))
        level = _level(tally)
        if level == "quiet":
            level = "other" if bad else _level_of_driver(total, unknown, unmonitored)
        healthy = total - bad - unknown - unmonitored
        text = _words(bad, unknown, total, "healthy" if healthy == total else "claims")
        if unmonitored:
            text += f", {unmonitored} not monitored"
        tiles.append(Tile(name, level, text, str(status.get("state", ""))))
    return _map("driver", "Drivers", tiles)


def _level_of_driver(total: int, unknown: int, unmonitored: int) -> str:
    if unknown:
        return "unknown"
    if not total:
        return "quiet"
    return "unmonitored" if unmonitored == total else "fine" if not unmonitored else "quiet"


def _node_map(evidence: Evidence, claims: Sequence[BadClaim]) -> Map:
    tallies = _tallies((node, claim) for claim in claims for node in claim.node.split(", ") if node)
    silent = {
        str(name)
        for policy in evidence.overview.policies or ()
        for name in (_status(policy).get("agents") or {}).get("silentNames") or ()
    }
    reporting = {
        str(_status(one).get("node") or one["metadata"]["name"])
        for one in evidence.reports or ()
        if _status(one).get("plane", "Node") == "Node"
    }
    tiles = []
    for name in tallies.keys() | silent | reporting:
        tally = tallies.get(name, _Tally())
        level = _level(tally)
        if level == "quiet" and name in silent:
            level = "unknown"
        bad = tally.bad + tally.unknown
        text = f"{bad} with a finding" if bad else "no finding"
        tiles.append(Tile(name, level, text, "agent does not report" if name in silent else ""))
    unseen = "No node agent reports: mounts, devices and space are not seen."
    if evidence.reports is None:
        unseen = "Agents' reports are out of your sight."
    note = "" if tiles else unseen
    return _map("node", "Nodes", tiles, note)


def _map(kind: str, title: str, tiles: Iterable[Tile], note: str = "") -> Map:
    found = sorted(tiles, key=lambda tile: (_ORDER.index(tile.level), _natural(tile.name)))
    return Map(kind, title, tuple(found[:MOST_TILES]), max(0, len(found) - MOST_TILES), note)


def _natural(name: str) -> list[tuple[str, int]]:
    """Sort worker-2 before worker-10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def _level(tally: _Tally) -> str:
    if tally.bad:
        return tally.level
    return "unknown" if tally.unknown else "quiet"


def _words(bad: int, unknown: int, total: int, rest: str) -> str:
    parts = [f"{count} {word}" for count, word in ((bad, "unhealthy"), (unknown, "unknown")) if count]
    if not parts:
        return f"{total} {rest}"
    return f"{', '.join(parts)} of {total}" if total else ", ".join(parts)


# Problems and what is not watched.


def find_problems(overview: Overview) -> tuple[Problem, ...]:
    """Return the problems in the order of the policy; those of several policies by what is worst.

    Args:
        overview: what was read; without policies, and of one namespace, the records are grouped.
    """
    claims = tuple(_bad_claims(overview.unhealthy, {}))
    if overview.policies is None or overview.namespace:
        return tuple(sorted(_grouped(claims), key=_worst_first))
    totals = {
        str(one["metadata"]["name"]): int((_status(one).get("claims") or {}).get("selected") or 0)
        for one in overview.drivers or ()
    }
    found = tuple(
        _with_nodes(_problem(one, totals), claims)
        for policy in overview.policies
        for one in _status(policy).get("problems") or ()
    )
    return found if len(overview.policies) == 1 else tuple(sorted(found, key=_worst_first))


def _with_nodes(problem: Problem, claims: Iterable[BadClaim]) -> Problem:
    """Name the nodes of a problem that is no driver's, as its claims name them."""
    if problem.driver or problem.nodes:
        return problem
    same = (one.node for one in claims if (one.status, one.reason) == (problem.status, problem.reason))
    return replace(problem, nodes=", ".join(dict.fromkeys(same)))


def _worst_first(one: Problem) -> tuple[bool, int, int, str]:
    return (not one.wide, -urgency(one.status, one.reason), -one.claims, one.since)


def _problem(one: Mapping[str, Any], totals: Mapping[str, int]) -> Problem:
    word, claims = str(one.get("status", "")), int(one.get("claims") or 0)
    of = totals.get(str(one.get("driver", "")), 0)
    return Problem(
        driver=str(one.get("driver", "")),
        status=word,
        reason=str(one.get("reason", "")),
        level=_WORSE.get(word, "other"),
        claims=claims,
        since=_shown(str(one.get("since", ""))),
        example=str(one.get("example", "")),
        message=str(one.get("message", "")),
        users=", ".join(map(str, one.get("workloads") or ())),
        nodes=", ".join(map(str, one.get("nodes") or ())),
        of=of,
        wide=claims >= WIDE_CLAIMS and 2 * claims >= of > 0,
    )


def _grouped(claims: Iterable[BadClaim]) -> Iterable[Problem]:
    groups: dict[tuple[str, str, str], list[BadClaim]] = defaultdict(list)
    for claim in claims:
        groups[claim.driver, claim.status, claim.reason].append(claim)
    for (driver, status, reason), members in groups.items():
        first = min(members, key=lambda claim: claim.since)
        yield Problem(
            driver=driver,
            status=status,
            reason=reason,
            level=_WORSE.get(status, "other"),
            claims=len(members),
            since=first.since,
            example=f"{first.namespace}/{first.name}",
            message=first.message,
            users=first.workloads,
            nodes=first.node,
        )


def _hints(evidence: Evidence) -> Iterable[Tile]:
    for driver in evidence.overview.drivers or ():
        status = _status(driver)
        said = [str(status[what]) for what in ("message", "hint") if status.get(what)]
        if said:
            yield Tile(
                str(driver["metadata"]["name"]), "unmonitored", str(status.get("state", "")), " ".join(said)
            )


def _hidden(evidence: Evidence) -> Iterable[str]:
    seen = {
        "policies": evidence.overview.policies,
        "drivers": evidence.overview.drivers,
        "claims": evidence.claims,
        "agents' reports": evidence.reports,
    }
    return (name for name, objects in seen.items() if objects is None)


# The timeline.


@dataclass(slots=True)
class _Group:
    """Spans of the claims of one driver with one status and reason."""

    spans: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    claims: set[Key] = field(default_factory=set)
    open: set[Key] = field(default_factory=set)


def _timeline(
    records: Iterable[Object], now: datetime
) -> tuple[tuple[Incident, ...], tuple[tuple[float, str], ...]]:
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    for record in records:
        key = (str(record["metadata"]["namespace"]), str(record["metadata"]["name"]))
        for what, began, ended in _spans(record):
            group = groups[str(_status(record).get("driver", "")), what]
            group.spans.append((began, ended))
            group.claims.add(key)
            if ended is None:
                group.open.add(key)
    if not groups:
        return (), ()
    first = min(began for group in groups.values() for began, _ in group.spans)
    start = max(first, now - _LONGEST)
    length = max((now - start).total_seconds(), 60.0)
    incidents = [_incident(*name, group, start, length) for name, group in groups.items()]
    shown = [one for one in incidents if one.spans]
    ordered = sorted(
        shown, key=lambda one: (not one.open_claims, -severity(one.what.partition("/")[0]), one.spans[0])
    )
    return tuple(ordered), _ticks(start, now)


def _spans(record: Object) -> Iterable[tuple[str, datetime, datetime | None]]:
    """Yield what a record tells: status and reason, when it came, and when it went (None: it is there)."""
    status = _status(record)
    there: dict[str, datetime] = {}
    for finding in status.get("findings") or ():
        since = moment_of(finding.get("since"))
        if since is not None:
            name = f"{finding.get('status', '')}/{finding.get('reason', '')}"
            there[name] = min(since, there.get(name, since))
    came: dict[str, datetime] = {}
    for change in status.get("history") or ():
        moment, said = moment_of(change.get("time")), str(change.get("what", ""))
        headline, bracket, rest = said.partition(")")
        name = headline.partition(" (")[0]
        if moment is None or not bracket or "/" not in name:
            continue
        if rest.startswith((" recovered", " closed")):
            yield name, came.pop(name, moment), moment
        else:
            came.setdefault(name, moment)
    for name, since in there.items():
        yield name, since, None


def _incident(driver: str, what: str, group: _Group, start: datetime, length: float) -> Incident:
    spans = _merged(group.spans)
    now = start + timedelta(seconds=length)
    visible = tuple(
        (_percent(max(began, start), start, length), _percent(ended or now, start, length))
        for began, ended in spans
        if ended is None or ended >= start
    )
    ended = None if group.open else max((end for _, end in spans if end is not None), default=None)
    return Incident(
        driver=driver,
        what=what,
        level=_WORSE.get(what.partition("/")[0], "other"),
        began=date_and_time(min(began for began, _ in spans)),
        ended="" if ended is None else date_and_time(ended),
        claims=len(group.claims),
        open_claims=len(group.open),
        spans=visible,
    )


def _merged(spans: Iterable[tuple[datetime, datetime | None]]) -> list[tuple[datetime, datetime | None]]:
    """Join what overlaps; an end of None is later than any."""
    merged: list[tuple[datetime, datetime | None]] = []
    for began, ended in sorted(spans, key=lambda span: span[0]):
        if merged and (merged[-1][1] is None or began <= merged[-1][1]):
            last = merged[-1][1]
            later = None if last is None or ended is None else max(last, ended)
            merged[-1] = (merged[-1][0], later)
        else:
            merged.append((began, ended))
    return merged


def _ticks(start: datetime, now: datetime) -> tuple[tuple[float, str], ...]:
    length = now - start
    marks = ((percent, start + length * percent / 100) for percent in (0.0, 25.0, 50.0, 75.0))
    if length > timedelta(days=2):
        return tuple((percent, date(when)) for percent, when in marks)
    form = "%H:%MZ" if length > _SHORT else "%H:%M:%SZ"
    return tuple((percent, when.strftime(form)) for percent, when in marks)


def _percent(moment: datetime, start: datetime, length: float) -> float:
    return round(min(100.0, 100.0 * (moment - start).total_seconds() / length), 2)


def _shown(text: str) -> str:
    moment = moment_of(text)
    return text if moment is None else date_and_time(moment)
