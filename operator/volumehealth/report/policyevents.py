"""Events on a policy: its own turns, grouped, never one for each claim."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from volumehealth.judge.problem import Group, Problem
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import date_and_time
from volumehealth.model.health import (
    ControllerConnection,
    DriverState,
    HealthAPI,
    Source,
    SourceState,
    TransitionKind,
)
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps
from volumehealth.model.text import count
from volumehealth.model.vocabulary import API_VERSION, POLICY_KIND, EventReason
from volumehealth.report.eventobjects import About, EventDraft, EventSink
from volumehealth.report.output import Output
from volumehealth.report.phrases import headline, monitored, named, where
from volumehealth.report.priorities import Priority
from volumehealth.report.problems import group_of
from volumehealth.report.storagestate import STORAGE_NODES
from volumehealth.report.text import clean, fit

_SEPARATE = 3
"""This many problems have an Event of their own within an hour; further ones share one, so that the page stays short."""
_GROWING = 60.0
"""Seconds after which a problem that has grown is told again at the earliest."""
_AT_ONCE = timedelta(0)
_NEVER = timedelta.max
_HOUR = 3600.0
_FIRST_CHECKS = timedelta(minutes=1)
"""Around the first check of a process, in which it notices what was missing before."""
_SILENT = "has not answered since"
"""How a driver's own message begins while it is silent (`probing.breaker`)."""


@dataclass(eq=False, slots=True)
class _Story:
    """What was told of a problem.

    Attributes:
        claims: of how many claims.
        own: it has an Event of its own.
        notified: when, in monotonic seconds; None if this process has told nothing of it.
        grown: claims were found of which nobody was told yet.
    """

    claims: int
    own: bool
    notified: float | None = None
    grown: bool = False

    def look(self, claims: int, *, found: bool) -> None:
        """Take how many claims there are now, and whether some were found in this check."""
        self.grown = (self.grown or found) and claims > self.claims
        if not self.grown:
            self.claims = min(self.claims, claims)

    def told(self, claims: int, now: float) -> None:
        """It was told."""
        self.claims, self.notified, self.grown = claims, now, False


@dataclass(eq=False, slots=True)
class _Known:
    """What a policy's readers know.

    Attributes:
        aggregates, silent, agents, storage: what was told.
        shared: when problems without an Event of their own were told, in monotonic seconds; None if they were not.
        answered: when drivers answered last, of those that have in this process.
        begun: when this process told of the policy first.
        missed_drivers, missed_agents: those that were silent by the word of the process before this one.
    """

    aggregates: dict[Group, _Story]
    silent: set[str]
    agents: set[str]
    storage: dict[Group, frozenset[str]]
    shared: float | None = None
    answered: dict[str, datetime] = field(default_factory=dict)
    begun: datetime | None = None
    missed_drivers: set[str] = field(default_factory=set)
    missed_agents: set[str] = field(default_factory=set)


class PolicyEventOutput(Output):
    """Tells a policy's own turns by Events on it.

    Args:
        writer: remembers what was told.
    """

    name = "PolicyEvents"

    def __init__(self, writer: "PolicyEventWriter") -> None:
        self._writer = writer

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Tell what turned in a check."""
        self._writer.tell(result, result.problems)
        yield

    def forget(self, policy: Policy) -> Steps[None]:
        """The policy is gone."""
        self._writer.forget(policy.uid)
        yield


class PolicyEventWriter:
    """Tells a policy's readers of problems and of silent drivers. One for the process.

    Args:
        sink: makes Events be there.
    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._known: dict[str, _Known] = {}

    def learn(self, policy: Policy, status: Mapping[str, Any] | None) -> None:
        """Take from a policy's status, before it is written anew, who was silent for as long as it takes to be told.

        Args:
            policy: the policy.
            status: as an earlier process wrote it, and anybody may have edited it; None if it is not known.
        """
        if policy.uid not in self._known:
            known = self._known[policy.uid] = _Known({}, set(), set(), {})
            known.missed_drivers, known.missed_agents = _missed(status or {})

    def tell(self, result: CheckResult, problems: Sequence[Problem]) -> None:
        """Tell what turned in this check. What was there before the process started is not told again."""
        if result.judgement is None:
            return
        known = self._known.setdefault(result.policy.uid, _Known({}, set(), set(), {}))
        known.begun = known.begun or result.now
        self._tell_problems(result, [problem for problem in problems if not problem.storage], known)
        self._tell_storage(result, [problem for problem in problems if problem.storage], known)
        self._tell_drivers(result, known)
        self._tell_agents(result, known)

    def forget(self, policy_uid: str) -> None:
        """The policy is gone."""
        self._known.pop(policy_uid, None)

    def _tell_problems(self, result: CheckResult, problems: Sequence[Problem], known: _Known) -> None:
        now, told = _monotonic(result), known.aggregates
        found = _turned(result, TransitionKind.FOUND)
        recovered = _turned(result, TransitionKind.RECOVERED)
        # Of what began and ended within a silence nobody has heard.
        over = [
            group for group, heard in recovered.items() if heard or (group in told and told[group].claims)
        ]
        for group in told.keys() - {problem.group for problem in problems}:
            del told[group]
        for problem in problems:
            story = told.get(problem.group)
            if story is None:
                new = problem.group in found
                story = _Story(0 if new else problem.claims, _has_room(told.values(), now))
                told[problem.group] = story
            story.look(problem.claims, found=problem.group in found)
        grown = [problem for problem in problems if told[problem.group].grown]
        if grown:
            heard = _heard(result, problems)
            self._tell_grown(result, [problem for problem in grown if problem.group in heard], known)
            if any(not told[problem.group].own and problem.group in heard for problem in grown):
                self._tell_shared(result, [one for one in problems if one.group in heard], known)
        if not problems and over:
            self._write(result.policy, EventReason.VOLUMES_HEALTHY, "", _recovered(result), _AT_ONCE)

    def _tell_grown(self, result: CheckResult, grown: Sequence[Problem], known: _Known) -> None:
        """Tell problems that are new or have grown, each by its own Event."""
        now = _monotonic(result)
        for problem in grown:
            story = known.aggregates[problem.group]
            if story.own and (story.notified is None or now - story.notified >= _GROWING):
                story.told(problem.claims, now)
                identity, words = "|".join(problem.group), _unhealthy(result, problem)
                self._write(result.policy, EventReason.VOLUMES_UNHEALTHY, identity, words, _AT_ONCE)

    def _tell_shared(self, result: CheckResult, problems: Sequence[Problem], known: _Known) -> None:
        """Tell all problems that share an Event, because some of them are new or have grown."""
        now, others = _monotonic(result), [one for one in problems if not known.aggregates[one.group].own]
        if known.shared is not None and now - known.shared < _GROWING:
            return  # a later check tells it
        known.shared = now
        for problem in others:
            known.aggregates[problem.group].told(problem.claims, now)
        claims = sum(problem.claims for problem in others)
        words = (
            f"{count(len(others), 'more problem')} on {count(claims, 'claim')}, worst {headline(others[0])} of "
            f"{where(others[0])}; see: kubectl describe vhp {result.policy.name}"
        )
        self._write(result.policy, EventReason.VOLUMES_UNHEALTHY, "more", words, _AT_ONCE)

    def _tell_storage(self, result: CheckResult, problems: Sequence[Problem], known: _Known) -> None:
        """Tell of the storage behind drivers: once for each driver and statement, and again when nodes are added."""
        new = {group_of(one.backend.driver, one.finding) for one in result.storage.problems if one.new}
        for problem in problems:
            told = known.storage.get(problem.group, frozenset())
            # A process that goes on from the status knows no more nodes than that names: those that come to so many are no news.
            if problem.group in new and not problem.nodes <= told and len(told) < STORAGE_NODES:
                identity = "|".join((*problem.group, ""))
                words = _storage(result, problem)
                self._write(result.policy, EventReason.STORAGE_UNHEALTHY, identity, words, _AT_ONCE)
            known.storage[problem.group] = problem.nodes
        recovered = {group_of(backend.driver, finding) for backend, finding in result.storage.recovered}
        for group in known.storage.keys() - {problem.group for problem in problems}:
            del known.storage[group]
            if group not in recovered:
                continue  # it is no longer monitored; nobody says that it is well
            words = (
                f"{group.driver}: {fit(clean(f'{group.status}/{group.reason}'), 80)} is not reported any more"
            )
            self._write(result.policy, EventReason.STORAGE_HEALTHY, "|".join(group), words, _AT_ONCE)

    def _tell_agents(self, result: CheckResult, known: _Known) -> None:
        """Tell of agents that are silent for as long as it takes to believe a statement, and when they are back.

        All of them share an Event: many fall silent together, but never in the same second. It is told again when it
        is older than the newest silence, so that a restart repeats nothing.
        """
        wait, silent = result.policy.spec.unhealthy_after, result.agents.since
        new = {
            name for name, since in silent.items() if name not in known.agents and result.now - since >= wait
        }
        back = (known.agents | known.missed_agents) - silent.keys()
        known.agents = (known.agents | new) - back
        known.missed_agents -= back
        if new:
            # Those that were missing as this process began may have been told of by the one before.
            fresh = [silent[name] for name in new if not _since_start(silent[name], known, result)]
            age = result.now - max(fresh) if fresh else _NEVER
            words = _silent_agents(result, sorted(known.agents))
            self._write(result.policy, EventReason.AGENT_SILENT, "", words, age)
        if back:
            rest = f"; {count(len(known.agents), 'agent')} still silent" if known.agents else ""
            words = f"{named(sorted(back), 'agent')}: reporting again, or not expected any more{rest}"
            self._write(result.policy, EventReason.AGENT_REPORTING, "", words, _AT_ONCE)

    def _tell_drivers(self, result: CheckResult, known: _Known) -> None:
        """Tell of drivers that are silent for as long as it takes to believe a statement, and when they are back."""
        silent = {driver.name: driver for driver in result.silent_drivers}
        wait = result.policy.spec.unhealthy_after
        known.answered |= {
            name: result.now
            for name, driver in result.drivers.items()
            if driver.state is SourceState.ANSWERING and not _connecting(driver)
        }
        for name, driver in silent.items():
            if name not in known.silent and result.now - driver.since >= wait:
                known.silent.add(name)
                words = _silent(result, driver)
                # An Event from before it answered last is about another silence. One that has not answered in this process
                # may have been silent before that began: what was told of that is not told again.
                answered = known.answered.get(name)
                older = result.now - answered if answered is not None else _NEVER
                self._write(result.policy, EventReason.SOURCE_SILENT, name, words, older)
        for name in (known.silent | known.missed_drivers) - silent.keys():
            back = result.drivers.get(name)
            if back is not None and _connecting(back):
                continue  # it is asked again, and has not answered yet
            known.silent.discard(name)
            known.missed_drivers.discard(name)
            # One that nobody asks any more, because its check is off or its endpoint is gone, has not come back.
            if back is not None and back.controller is not ControllerConnection.NOT_CONNECTED:
                words = f"{name} answers again"
                self._write(result.policy, EventReason.SOURCE_ANSWERING, name, words, _AT_ONCE)

    def _write(
        self, policy: Policy, reason: EventReason, identity: str, words: str, older_than: timedelta
    ) -> None:
        about = About(POLICY_KIND, "", policy.name, policy.uid, API_VERSION)
        notice = EventDraft(about, reason, identity, lambda: fit(words, 1024), "Checked")
        self._sink.ensure(
            notice,
            policy=policy.name,
            seen=None,
            older_than=older_than,
            priority=Priority.STATUS,
            on_end=lambda _: None,
        )


def _missed(status: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the drivers and the agents that a status says are silent."""
    agents = status.get("agents")
    names = _texts(agents.get("silentNames")) if isinstance(agents, Mapping) else []
    told = [line.partition(": ") for line in _texts(status.get("drivers"))]
    down = tuple(str(state) for state in SourceState if state.is_down)
    return {name for name, _, state in told if state.startswith(down)}, set(names)


def _texts(raw: object) -> list[str]:
    """Return the texts of a list that anybody may have edited."""
    return [one for one in raw if isinstance(one, str)] if isinstance(raw, list) else []


def _monotonic(result: CheckResult) -> float:
    return result.judgement.monotonic if result.judgement is not None else 0.0


def _turned(result: CheckResult, kind: TransitionKind) -> dict[Group, bool]:
    """Return the groups of findings that came, or went, and whether people are to hear of any of these now."""
    turned: dict[Group, bool] = {}
    for turn in result.transitions:
        claim = result.claims.get(turn.claim) if turn.kind is kind else None
        if claim is not None:
            group = group_of(claim.driver, turn.finding)
            turned[group] = turned.get(group, False) or result.silence(turn.claim, turn.finding) is None
    return turned


def _heard(result: CheckResult, problems: Iterable[Problem]) -> frozenset[Group]:
    """Return the groups with a finding that is not silenced."""
    if not result.silences.any:
        return frozenset(problem.group for problem in problems)
    return frozenset(
        group_of(claim.driver, finding)
        for ref, health in result.healths.items()
        if (claim := result.claims.get(ref)) is not None
        for finding in health.findings
        if result.silence(ref, finding) is None
    )


def _has_room(stories: Iterable[_Story], now: float) -> bool:
    """Tell whether another problem may have an Event of its own."""
    own = (story for story in stories if story.own)
    lately = (one for one in own if one.grown or (one.notified is not None and now - one.notified < _HOUR))
    return sum(1 for _ in lately) < _SEPARATE


def _connecting(driver: DriverState) -> bool:
    """Tell whether a driver is asked and has not told yet what it can tell."""
    return driver.state is SourceState.ANSWERING and driver.health_api is HealthAPI.NONE


def _unhealthy(result: CheckResult, problem: Problem) -> str:
    number = count(problem.claims, "claim")
    if problem.wide_of:
        number = f"DRIVER-WIDE: {problem.claims} of {problem.wide_of} claims"
    since = date_and_time(problem.since)
    whose = f"of {problem.group.driver}" if problem.group.driver else f"on {where(problem)}"
    return f"{number} {whose}: {headline(problem)} ({problem.group.source}) since {since}"


def _storage(result: CheckResult, problem: Problem) -> str:
    said = f": {fit(clean(problem.message), 300)}" if problem.message else ""
    touched = ", ".join(map(str, problem.examples)) + (
        "..." if problem.claims > len(problem.examples) else ""
    )
    return (
        f"{where(problem)}: {headline(problem)} (Node) since {date_and_time(problem.since)}{said}; "
        f"{count(problem.claims, 'claim')} may be touched: {touched}"
    )


def _silent_agents(result: CheckResult, names: Sequence[str]) -> str:
    since = min(result.agents.since[name] for name in names)
    verb = "has" if len(names) == 1 else "have"
    # An agent beside a driver's controller may be silent, too, and others that are not told of yet.
    words = {result.agents.words.get(name) for name in names}
    silences = result.judgement.silences.items() if result.judgement is not None else ()
    unknown = sum(claims for why, claims in silences if why.message in words)
    return (
        f"{named(names, 'agent')} {verb} not reported since {date_and_time(since)}; "
        f"{count(unknown, 'claim')} Unknown, findings there are stale"
    )


def _since_start(silent_since: datetime, known: _Known, result: CheckResult) -> bool:
    """Tell whether an agent's silence counts from the start of this process, because nothing older is known of it."""
    begun = known.begun or result.now
    return abs(silent_since - begun) <= _FIRST_CHECKS


def _recovered(result: CheckResult) -> str:
    unknown = result.counts.unknown
    rest = f"; {unknown} unknown" if unknown else ""
    if not monitored(result):
        return f"no claim is unhealthy any more; {result.counts.unmonitored} not monitored{rest}"
    return f"none of {count(monitored(result), 'monitored claim')} is unhealthy any more{rest}"


def _stale_findings(result: CheckResult, driver: str) -> int:
    """Count the claims with a finding of a driver's controller that nobody confirms now."""
    return sum(
        any(one.stale and one.source is Source.CONTROLLER for one in health.findings)
        for ref, health in result.healths.items()
        if (claim := result.claims.get(ref)) is not None and claim.driver == driver
    )


def _silent(result: CheckResult, driver: DriverState) -> str:
    said = fit(clean(driver.message), 300)
    if not said.startswith(_SILENT):
        said = f"{_SILENT} {date_and_time(driver.since)}" + (f" ({said})" if said else "")
    counts = result.driver_counts.get(driver.name)
    unknown = f"; {count(counts.unknown, 'claim')} Unknown" if counts is not None and counts.unknown else ""
    frozen = _stale_findings(result, driver.name)
    stale = f"; findings on {count(frozen, 'claim')} are stale" if frozen else ""
    return f"{driver.name} {said}{unknown}{stale}"
