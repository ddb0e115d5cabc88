"""Events on a policy: its own turns, grouped, never one for each claim."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.model.clock import date_and_time
from volumehealth.model.health import DriverState, TransitionKind
from volumehealth.model.policy import Policy
from volumehealth.model.vocabulary import API_VERSION, POLICY_KIND, EventReason
from volumehealth.report.eventobjects import About, EventDraft, EventSink
from volumehealth.report.output import Output
from volumehealth.report.phrases import headline, monitored, named, where
from volumehealth.report.picture import Picture
from volumehealth.report.priorities import Priority
from volumehealth.report.problems import Group, Problem, group_of
from volumehealth.report.text import clean, count, fit

_SEPARATE = 3
"""This many problems have an Event of their own within an hour; further ones share one, so that the page stays short."""
_GROWING = timedelta(minutes=1)
"""A problem that grows is told again after this long at the earliest."""
_AT_ONCE = timedelta(0)
_HOUR = timedelta(hours=1)
_SILENT = "has not answered since"
"""How a driver's own message begins while it is silent (`probing.breaker`)."""


@dataclass(eq=False, slots=True)
class _Story:
    """What was told of a problem: of how many claims, and when; `own` if it has an Event of its own."""

    claims: int
    notified: datetime | None
    own: bool = True


@dataclass(eq=False, slots=True)
class _Known:
    """What a policy's readers know."""

    aggregates: dict[Group, _Story]
    silent: set[str]
    agents: set[str]
    storage: dict[Group, frozenset[str]]


class PolicyEventOutput(Output):
    """Tells a policy's own turns by Events on it.

    Args:
        writer: remembers what was told.
    """

    name = "PolicyEvents"

    def __init__(self, writer: "PolicyEventWriter") -> None:
        self._writer = writer

    def publish(self, result: Picture) -> Iterator[None]:
        """Tell what turned in a check."""
        self._writer.tell(result, result.problems)
        yield

    def forget(self, policy: Policy) -> None:
        """The policy is gone."""
        self._writer.forget(policy.uid)


class PolicyEventWriter:
    """Tells a policy's readers of problems and of silent drivers. One for the process.

    Args:
        sink: makes Events be there.
    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._known: dict[str, _Known] = {}

    def tell(self, picture: Picture, problems: Sequence[Problem]) -> None:
        """Tell what turned in this check. What was there before the process started is not told again."""
        if picture.judgement is None:
            return
        known = self._known.setdefault(picture.policy.uid, _Known({}, set(), set(), {}))
        self._tell_problems(picture, [problem for problem in problems if not problem.storage], known)
        self._tell_storage(picture, [problem for problem in problems if problem.storage], known)
        self._tell_drivers(picture, known)
        self._tell_agents(picture, known)

    def forget(self, policy_uid: str) -> None:
        """The policy is gone."""
        self._known.pop(policy_uid, None)

    def _tell_problems(self, picture: Picture, problems: Sequence[Problem], known: _Known) -> None:
        turns = picture.judgement.transitions if picture.judgement is not None else ()
        found = {
            group_of(claim.driver, turn.finding)
            for turn in turns
            if turn.kind is TransitionKind.FOUND and (claim := picture.claims.get(turn.claim)) is not None
        }
        for group in known.aggregates.keys() - {problem.group for problem in problems}:
            del known.aggregates[group]
        others = [problem for problem in problems if self._shares(picture, problem, known, found)]
        if others:
            claims = sum(problem.claims for problem in others)
            words = (
                f"{count(len(others), 'more problem')} on {count(claims, 'claim')}, worst {headline(others[0])} of "
                f"{where(others[0])}; see: kubectl describe vhp {picture.policy.name}"
            )
            self._write(picture.policy, EventReason.VOLUMES_UNHEALTHY, "more", words, _GROWING)
        if not problems and any(turn.kind is TransitionKind.RECOVERED for turn in turns):
            self._write(picture.policy, EventReason.VOLUMES_HEALTHY, "", _recovered(picture), _AT_ONCE)

    def _shares(self, picture: Picture, problem: Problem, known: _Known, found: set[Group]) -> bool:
        """Tell a problem if it is new or has grown; return True if it has to share an Event and is to be told."""
        now, story = picture.now, known.aggregates.get(problem.group)
        if story is None:
            recent = sum(
                1
                for one in known.aggregates.values()
                if one.own and one.notified is not None and now - one.notified < _HOUR
            )
            story = _Story(problem.claims, None, own=recent < _SEPARATE)
            known.aggregates[problem.group] = story
            if problem.group not in found:
                return False
        elif problem.claims <= story.claims or problem.group not in found:
            story.claims = min(story.claims, problem.claims)
            return False
        elif story.notified is not None and now - story.notified < _GROWING:
            return False
        story.notified, story.claims = now, problem.claims
        if story.own:
            identity = "|".join(problem.group)
            self._write(
                picture.policy,
                EventReason.VOLUMES_UNHEALTHY,
                identity,
                _unhealthy(picture, problem),
                _AT_ONCE,
            )
        return not story.own

    def _tell_storage(self, picture: Picture, problems: Sequence[Problem], known: _Known) -> None:
        """Tell of the storage behind drivers: once for each driver and statement, and again when nodes are added."""
        new = {one.finding.identity[2:] for one in picture.storage if one.new}
        for problem in problems:
            told = known.storage.get(problem.group, frozenset())
            if problem.group[2:] in new and not problem.nodes <= told:
                identity = "|".join((*problem.group, ""))
                words = _storage(picture, problem)
                self._write(picture.policy, EventReason.STORAGE_UNHEALTHY, identity, words, _AT_ONCE)
            known.storage[problem.group] = problem.nodes
        for group in known.storage.keys() - {problem.group for problem in problems}:
            del known.storage[group]
            words = (
                f"{group.driver}: {fit(clean(f'{group.status}/{group.reason}'), 80)} is not reported any more"
            )
            self._write(picture.policy, EventReason.STORAGE_HEALTHY, "|".join(group), words, _AT_ONCE)

    def _tell_agents(self, picture: Picture, known: _Known) -> None:
        """Tell of agents that are silent for as long as it takes to believe a statement, and when they are back.

        All of them share an Event: many fall silent together, but never in the same second. It is told again when it
        is older than the newest silence, so that a restart repeats nothing.
        """
        wait, silent = picture.policy.spec.unhealthy_after, picture.agents.since
        new = {
            name for name, since in silent.items() if name not in known.agents and picture.now - since >= wait
        }
        back = known.agents - silent.keys()
        known.agents = (known.agents | new) - back
        if new:
            age = picture.now - max(silent[name] for name in new)
            words = _silent_agents(picture, sorted(known.agents))
            self._write(picture.policy, EventReason.AGENT_SILENT, "", words, age)
        if back:
            rest = f"; {count(len(known.agents), 'agent')} still silent" if known.agents else ""
            words = f"{named(sorted(back), 'agent')}: reporting again, or not expected any more{rest}"
            self._write(picture.policy, EventReason.AGENT_REPORTING, "", words, _AT_ONCE)

    def _tell_drivers(self, picture: Picture, known: _Known) -> None:
        """Tell of drivers that are silent for as long as it takes to believe a statement, and when they are back."""
        silent = {driver.name: driver for driver in picture.silent_drivers}
        wait = picture.policy.spec.unhealthy_after
        for name, driver in silent.items():
            if name not in known.silent and picture.now - driver.since >= wait:
                known.silent.add(name)
                words = _silent(picture, driver)
                self._write(picture.policy, EventReason.SOURCE_SILENT, name, words, _HOUR / 2)
        for name in known.silent - silent.keys():
            known.silent.discard(name)
            if name in picture.drivers:
                words = f"{name} answers again"
                self._write(picture.policy, EventReason.SOURCE_ANSWERING, name, words, _AT_ONCE)

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


def _unhealthy(picture: Picture, problem: Problem) -> str:
    number = count(problem.claims, "claim")
    if problem.wide_of:
        number = f"DRIVER-WIDE: {problem.claims} of {problem.wide_of} claims"
    since = date_and_time(problem.since)
    whose = f"of {problem.group.driver}" if problem.group.driver else f"on {where(problem)}"
    return f"{number} {whose}: {headline(problem)} ({problem.group.source}) since {since}"


def _storage(picture: Picture, problem: Problem) -> str:
    said = f": {fit(clean(problem.message), 300)}" if problem.message else ""
    touched = ", ".join(map(str, problem.examples)) + (
        "..." if problem.claims > len(problem.examples) else ""
    )
    return (
        f"{where(problem)}: {headline(problem)} (Node) since {date_and_time(problem.since)}{said}; "
        f"{count(problem.claims, 'claim')} may be touched: {touched}"
    )


def _silent_agents(picture: Picture, names: Sequence[str]) -> str:
    since = min(picture.agents.since[name] for name in names)
    verb = "has" if len(names) == 1 else "have"
    unknown = picture.judgement.counts.unknown if picture.judgement is not None else 0
    return (
        f"{named(names, 'agent')} {verb} not reported since {date_and_time(since)}; "
        f"{count(unknown, 'claim')} Unknown, findings there are stale"
    )


def _recovered(picture: Picture) -> str:
    unknown = picture.judgement.counts.unknown if picture.judgement is not None else 0
    rest = f"; {unknown} unknown" if unknown else ""
    return f"none of {count(monitored(picture), 'monitored claim')} is unhealthy any more{rest}"


def _silent(picture: Picture, driver: DriverState) -> str:
    said = fit(clean(driver.message), 300)
    if not said.startswith(_SILENT):
        said = f"{_SILENT} {date_and_time(driver.since)}" + (f" ({said})" if said else "")
    counts = picture.judgement.drivers.get(driver.name) if picture.judgement is not None else None
    unknown = f"; {count(counts.unknown, 'claim')} Unknown" if counts is not None and counts.unknown else ""
    stale = (
        f"; findings on {count(counts.unhealthy, 'claim')} are stale" if counts and counts.unhealthy else ""
    )
    return f"{driver.name} {said}{unknown}{stale}"
