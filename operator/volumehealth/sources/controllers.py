"""The drivers' controllers, asked from here or by an agent beside them: answers about each volume.

A driver whose socket the operator was given itself is asked directly. Of others, and of one whose socket does not answer
or has no health call, the report of an agent beside the driver is read as a prober's answers.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, Protocol

from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.model.clock import Clock, rfc3339
from volumehealth.model.cluster import Claim, ViewState
from volumehealth.model.health import (
    Answer,
    Condition,
    ControllerConnection,
    DriverAnswers,
    DriverState,
    HealthAPI,
    Outcome,
    Source,
    SourceState,
    Via,
)
from volumehealth.model.ids import NO_CSI_DRIVERS, ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.report import (
    Plane,
    ReportedDriver,
    VolumeHealthReport,
    agent_lease_name,
    controller_report_name,
    coverage_digest,
)
from volumehealth.model.steps import Steps
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members
from volumehealth.probing.spec import ProbeSpec
from volumehealth.sources import origins
from volumehealth.sources.drivers import NOT_CONNECTED, SWITCHED_OFF, no_csi_driver
from volumehealth.sources.moments import Moment, Moments, last_round
from volumehealth.sources.reports import AgentLiveness, NodeAgent
from volumehealth.sources.source import Asked, HealthSource, Observed, Wanted

NOT_ASKED = frozenset((SilenceReason.NOT_YET_ASKED,))
GRACE = 30.0
"""Seconds that an agent has to ask about a volume that somebody began to want, and to write what it heard."""
SETTLED = 60.0
"""Seconds after a volume came or went in which the digest of what an agent covers may be of another set than ours."""
_OTHERS = "the agent's report covers other volumes of this driver than there are"


class Drivers(Protocol):
    """What asks the drivers of the endpoints that the operator was given (`probing.prober.Probers`)."""

    def demand(self, wanted: Mapping[str, ProbeSpec], /) -> None:
        """Say which volumes of which driver are wanted, and how often."""

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Return the newest answers, by driver."""

    @property
    def unresolved(self) -> Sequence[str]:
        """Endpoints that never answered, so that nobody knows their driver's name."""


class DriverControllers(HealthSource):
    """What drivers' controllers say.

    Args:
        drivers: what asks those that can be asked from here.
        claims: the view's rows.
        reads_agents: tells whether agents may be read now, which may stand beside drivers that nothing else reaches.
        reported: what agents report of others; None if nobody reads that.
    """

    name = "DriverControllers"
    observers = frozenset(((Source.CONTROLLER, Observer.DRIVER),))

    def __init__(
        self,
        drivers: Drivers,
        claims: Mapping[ClaimRef, Claim],
        reads_agents: Callable[[], bool] = lambda: True,
        *,
        reported: "ReportedControllers | None" = None,
    ) -> None:
        self._drivers = drivers
        self._reported = reported
        self._claims = claims
        self._reads_agents = reads_agents
        self._answered_before: frozenset[str] = frozenset()
        self._stand_ins: dict[tuple[str, str], DriverAnswers] = {}

    def resume(self, answered: Iterable[str]) -> None:
        """Take up which drivers answered an earlier process.

        While an endpoint has not told its driver's name, the claims of these are Unknown, not Unmonitored.
        """
        self._answered_before = frozenset(answered)

    def want(self, wanted: Wanted) -> None:
        """Have the drivers asked."""
        for key in [key for key in self._stand_ins if key[0] not in wanted.drivers]:
            del self._stand_ins[key]
        if self._reported is not None:
            self._reported.demand(wanted.volumes)
        self._drivers.demand(wanted.volumes)

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return the answers of each driver whose claims the policy selects."""
        on = asked.policy.spec.checks.controller.enabled
        known, hint = (self._answers(), NOT_CONNECTED) if on else ({}, SWITCHED_OFF)
        answers = {
            name: known.get(name) or self._stand_in(name, hint, asked.now) for name in asked.members.by_driver
        }
        yield
        return Observed(
            drivers=answers,
            unresolved=tuple(sorted(self._drivers.unresolved)) if on else (),
            origins=_Controllers(
                on,
                {name: one.driver for name, one in answers.items()},
                self._driver_of,
                self._reads_agents(),
                asked.now,
            ),
        )

    def settled(self, members: Members, unsettled: Collection[str] = NOT_ASKED) -> bool:
        """Tell whether every endpoint named its driver, and no volume of a policy is silent for one of these reasons."""
        known = self._answers()
        return not any(
            _is_unsettled(known[driver], handles.keys(), unsettled)
            for driver, handles in members.by_driver.items()
            if driver in known
        )

    @property
    def named(self) -> bool:
        """Whether every endpoint named its driver."""
        return not self._drivers.unresolved

    def answers_of(self, driver: str) -> DriverAnswers | None:
        """Return a driver's newest answers; None if nobody asks it."""
        return self._answers().get(driver)

    def _answers(self) -> Mapping[str, DriverAnswers]:
        """Return the newest answers by driver name; a driver that nobody asks is missing."""
        own = self._drivers.answers()
        reported = self._reported.answers(own) if self._reported is not None else None
        return {**own, **reported} if reported else own

    def _driver_of(self, ref: ClaimRef) -> str:
        claim = self._claims.get(ref)
        return claim.driver if claim is not None else ""

    def _nobody(self, name: str, now: datetime) -> DriverAnswers:
        known = self._stand_ins.get((name, ""))
        if known is None:
            silence = Answer(Source.CONTROLLER, Outcome.SILENT, now, reason=SilenceReason.DRIVER_UNREACHABLE)
            known = DriverAnswers(no_csi_driver(name, now), now, frozenset(), {}, silence)
            self._stand_ins[name, ""] = known
        return known

    def _stand_in(self, driver: str, hint: str, now: datetime) -> DriverAnswers:
        """Answer for a driver that no endpoint is known to belong to."""
        if driver in NO_CSI_DRIVERS:
            return self._nobody(driver, now)
        unnamed = hint is NOT_CONNECTED and driver in self._answered_before and self._drivers.unresolved
        endpoints = ", ".join(sorted(self._drivers.unresolved)) if unnamed else ""
        message = f"{endpoints} has not answered since the operator started" if unnamed else ""
        known = self._stand_ins.get((driver, hint))
        if known is None or known.driver.message != message:
            known = self._stand_ins[driver, hint] = _stand_in(driver, "" if unnamed else hint, message, now)
        return known


def _stand_in(driver: str, hint: str, message: str, now: datetime) -> DriverAnswers:
    silence = Answer(
        Source.CONTROLLER,
        Outcome.SILENT,
        now,
        reason=SilenceReason.DRIVER_UNREACHABLE,
        message=message,
    )
    state = DriverState(
        driver,
        SourceState.UNREACHABLE if message else SourceState.NOT_CONNECTED,
        now,
        message=message,
        hint=hint,
        controller=ControllerConnection.NOT_CONNECTED,
    )
    return DriverAnswers(state, now, frozenset(), {}, silence)


@dataclass(frozen=True, slots=True)
class _Controllers:
    """What drivers' controllers are that gave no answer, for one policy at one moment.

    Attributes:
        on: whether the policy wants them.
        drivers: how they answer, by driver.
        driver_of: the driver of a claim; empty if there is none.
        reads_agents: whether agents may be read now.
        now: the moment.
    """

    on: bool
    drivers: Mapping[str, DriverState]
    driver_of: Callable[[ClaimRef], str]
    reads_agents: bool
    now: datetime

    def state_of(self, claim: ClaimRef, origin: Origin, _reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if not self.on:
            return origins.switched_off(origin, self.now, "controller")
        name = self.driver_of(claim)
        driver = self.drivers.get(name)
        if driver is not None and driver.state is SourceState.UNSUPPORTED:
            return origins.ended(origin, self.now, f"{origins.NO_LONGER}: {name} has no health call")
        if driver is None or driver.state is SourceState.NOT_CONNECTED:
            if not self.reads_agents and name not in NO_CSI_DRIVERS:
                return origins.silent(origin, self.now, SilenceReason.VIEW_STALE, "agents may not be read")
            why = f"{origins.NO_LONGER}: the controller of {name} is not connected"
            return origins.ended(origin, self.now, why)
        return origins.silent(origin, self.now, SilenceReason.DRIVER_UNREACHABLE, driver.message)


def _is_unsettled(answers: DriverAnswers, handles: Set[str], unsettled: Collection[str]) -> bool:
    """Tell whether a driver is silent of any of these volumes for one of these reasons."""
    silent = (
        one for handle, one in answers.others.items() if one.outcome is Outcome.SILENT and handle in handles
    )
    if any(one.reason in unsettled for one in silent):
        return True
    # Nearly all are healthy, and 100,000 are looked up in no time that way.
    if answers.silence.reason not in unsettled or handles <= answers.healthy:
        return False
    return bool(handles - answers.healthy - answers.others.keys() - {""})


# ---- those that agents report on ----


class AgentView(Protocol):
    """What is needed of `cluster.view.ClusterView`."""

    @property
    def reports(self) -> Mapping[str, VolumeHealthReport]:
        """See there."""

    @property
    def leases(self) -> Mapping[str, LeaseLiveness]:
        """See there."""

    def handles_of(self, driver: str) -> frozenset[str]:
        """See there."""

    def state(self) -> ViewState:
        """See there."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was made of a report, of what, and when the report was seen first, in monotonic seconds."""

    report: VolumeHealthReport
    volumes: frozenset[str]
    covered: frozenset[str] | None
    answers: DriverAnswers
    heard: float


@dataclass(slots=True)
class _Digested:
    """All volumes of a driver, and whether a report covers just these.

    Attributes:
        handles: of the volumes.
        since: monotonic seconds since when they are these.
        report: that was compared.
        same: whether its digest is theirs.
    """

    handles: frozenset[str]
    since: float
    report: VolumeHealthReport | None = None
    same: bool = False


class ReportedControllers:
    """What agents report of the controllers beside them.

    Args:
        view: follows reports and agents' Leases.
        clock: time.
    """

    def __init__(self, view: AgentView, *, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._moments = Moments(view, clock)
        self._liveness = AgentLiveness(self._moments)
        self._wanted: Mapping[str, ProbeSpec] = {}
        self._fresh: dict[str, dict[str, float]] = {}
        self._read: dict[str, _Read] = {}
        self._digested: dict[str, _Digested] = {}
        self._arrived: dict[str, tuple[VolumeHealthReport, float]] = {}
        self._silences: dict[str, tuple[NodeAgent, DriverAnswers]] = {}

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        """Set what is wanted, by driver name; an agent finds out by itself, and is given a while for that."""
        now = self._clock.monotonic()
        for driver, demand in wanted.items():
            before = self._wanted.get(driver)
            known = before.volumes if before is not None else frozenset[str]()
            if known is not demand.volumes:
                if not known:  # nothing to compare with: 100,000 handles take a third of the time
                    self._fresh[driver] = dict.fromkeys(demand.volumes, now)
                    continue
                fresh = self._fresh.setdefault(driver, {})
                fresh.update(dict.fromkeys(demand.volumes - known, now))
                for handle in known - demand.volumes:
                    fresh.pop(handle, None)
        memories: tuple[dict[str, Any], ...] = (
            self._fresh,
            self._read,
            self._digested,
            self._arrived,
            self._silences,
        )
        for memory in memories:
            for driver in memory.keys() - wanted.keys():
                del memory[driver]
        self._wanted = wanted

    def answers(self, own: Mapping[str, DriverAnswers]) -> Mapping[str, DriverAnswers]:
        """Return what counts of what agents report, by driver name; `own` are the drivers that are asked from here."""
        reports = self._view.reports
        # Names that differ in capitals only share a report, which is about one of them.
        names = {
            driver: controller_report_name(driver)
            for driver in self._wanted
            if driver not in own or not _is_heard(own[driver])
        }
        moment = self._moments.at(self._clock.now())
        expected = {
            driver: name for driver, name in names.items() if name in reports or self._lives(name, moment)
        }
        if not expected:
            return {}
        agents = self._liveness.evaluate(set(expected.values()), reports, self._view.leases, moment)
        reported = {driver: self._answers(driver, agents[name], moment) for driver, name in expected.items()}
        return {name: one for name, one in reported.items() if _counts(one, own.get(name))}

    def _lives(self, name: str, moment: Moment) -> bool:
        """Tell whether an agent is alive: then it has reported, though somebody may have deleted what it wrote."""
        lease = self._view.leases.get(agent_lease_name(name))
        return lease is not None and self._liveness.alive(lease, moment.monotonic)

    def _answers(self, driver: str, agent: NodeAgent, moment: Moment) -> DriverAnswers:
        report, now = agent.live, moment.wall
        told = agent.driver(driver)
        if report is None or report.plane is not Plane.CONTROLLER or told is None:
            return self._silence_of(driver, agent, told, now)
        volumes, covered = self._wanted[driver].volumes, self._covered(driver, report)
        known = self._read.get(driver)
        if (
            known is None
            or known.report is not report
            or known.volumes is not volumes
            or known.covered != covered
        ):
            before = known.answers if known is not None else None
            answers = _read(report, told, volumes, covered=covered, before=before, now=now)
            heard = known.heard if known is not None and known.report is report else moment.monotonic
            known = self._read[driver] = _Read(report, volumes, covered, answers, heard)
        return replace(known.answers, at=last_round(known.heard, self._wanted[driver].interval, moment))

    def _silence_of(
        self, driver: str, agent: NodeAgent, told: ReportedDriver | None, now: datetime
    ) -> DriverAnswers:
        """Answer for an agent that should speak and does not; the same object while it is the same silence."""
        known = self._silences.get(driver)
        if known is not None and known[0].report is agent.report and _same_moment(known[0], agent):
            return known[1]
        answers = _silent(driver, agent, told, now)
        self._silences[driver] = (agent, answers)
        return answers

    def _covered(self, driver: str, report: VolumeHealthReport) -> frozenset[str] | None:
        """Return the volumes that the driver has answered about since they were wanted; None if nobody can tell which.

        Where they are too many to be listed by name, their digest tells whether they are the volumes that there are.
        While volumes come and go it may be of others for a moment: then an agent that goes on reporting has answered about
        all that it was told of for long enough.
        """
        coverage = next((one for one in report.coverage if one.observer is Observer.DRIVER), None)
        if coverage is None:
            return frozenset()
        if not coverage.digest:
            return coverage.names
        every = self._digested_now(driver)
        if self._arrived.get(driver, (None, 0.0))[0] is not report:
            # What was there at the first look may have been written at any time.
            first = driver not in self._arrived
            self._arrived[driver] = report, -inf if first else self._clock.monotonic()
        if every.report is not report:
            silent = {one.handle for one in report.silent if one.driver == driver}
            every.report, every.same = report, coverage.digest == coverage_digest(every.handles - silent)
        if every.same:
            self._fresh.pop(driver, None)
            return every.handles
        if self._clock.monotonic() - every.since >= SETTLED:
            return None
        return every.handles - self._unasked(driver)

    def _digested_now(self, driver: str) -> _Digested:
        handles, known = self._view.handles_of(driver), self._digested.get(driver)
        if known is None or (known.handles is not handles and known.handles != handles):
            known = self._digested[driver] = _Digested(handles, self._clock.monotonic())
        return known

    def _unasked(self, driver: str) -> frozenset[str]:
        """Return the volumes that its agent may not have heard of yet, or has written nothing since they were wanted."""
        fresh = self._fresh.get(driver)
        if not fresh:
            return frozenset()
        since, arrived = self._clock.monotonic() - GRACE, self._arrived[driver][1]
        self._fresh[driver] = left = {
            handle: at for handle, at in fresh.items() if at > since or at >= arrived
        }
        return frozenset(left)


def _is_heard(own: DriverAnswers) -> bool:
    """Tell whether an endpoint of the operator's own answers and has a health call."""
    return not (own.driver.state.is_down or own.driver.state is SourceState.UNSUPPORTED)


def _counts(reported: DriverAnswers, own: DriverAnswers | None) -> bool:
    """Tell whether a report counts beside an endpoint of the operator's own that is not heard.

    Beside one that cannot tell, an agent that could is missed when it is silent.
    """
    state = reported.driver.state
    if own is not None and own.driver.state is SourceState.UNSUPPORTED:
        return state is not SourceState.UNSUPPORTED
    return own is None or state is SourceState.ANSWERING


def _silent(driver: str, agent: NodeAgent, told: ReportedDriver | None, now: datetime) -> DriverAnswers:
    """Answer for an agent that should speak and does not."""
    since = agent.silent_since or now
    words = (
        f"the controller agent has not reported since {rfc3339(since)}"
        if told is not None
        else "the controller agent has not reported yet"
    )
    state = DriverState(
        driver,
        SourceState.UNREACHABLE,
        since,
        told.health_api if told is not None else HealthAPI.NONE,
        told.methods if told is not None else (),
        message=words,
        controller=ControllerConnection.AGENT,
    )
    silence = _silence(SilenceReason.AGENT_SILENT, words, since)
    return DriverAnswers(state, since, frozenset(), {}, silence)


def _read(
    report: VolumeHealthReport,
    told: ReportedDriver,
    wanted: frozenset[str],
    *,
    covered: frozenset[str] | None,
    before: DriverAnswers | None,
    now: datetime,
) -> DriverAnswers:
    """Read a live report as answers: who is not named is healthy, if the driver can say so and nothing was left out."""
    state = DriverState(
        told.name,
        told.state,
        told.since,
        told.health_api,
        told.methods,
        message=clean_message(told.message),
        hint=clean_message(told.hint),
        controller=ControllerConnection.AGENT,
    )
    others: dict[str, Answer] = {}
    for silent in report.silent:
        if silent.driver == told.name and silent.handle in wanted:
            others[silent.handle] = _silence(silent.reason, silent.message, now)
    for volume in report.volumes:
        if volume.driver == told.name and volume.handle in wanted:
            conditions = tuple(
                Condition(one.status, one.reason, clean_message(one.message)) for one in volume.conditions
            )
            others[volume.handle] = Answer(
                Source.CONTROLLER, Outcome.ADVERSE, now, via=Via.AGENT, conditions=conditions
            )
    others = {handle: _same(answer, before, handle) for handle, answer in others.items()}
    healthy: frozenset[str] = frozenset()
    if told.state is not SourceState.ANSWERING:
        silence = _silence(SilenceReason.DRIVER_UNREACHABLE, told.message, now)
    elif report.omitted:
        words = (
            "the agent's report is too long: it leaves volumes out, and those it does not name are unknown"
        )
        silence = _silence(SilenceReason.LIST_INCOMPLETE, words, now)
    elif covered is None:
        silence = _silence(SilenceReason.LIST_INCOMPLETE, _OTHERS, now)
    else:
        silence = _silence(
            SilenceReason.NOT_YET_ASKED,
            "the controller agent has not been asked about it for long enough",
            now,
        )
        if told.health_api is not HealthAPI.NONE:
            healthy = (wanted & covered) - others.keys()
            if before is not None and before.healthy == healthy:
                healthy = before.healthy
    return DriverAnswers(state, now, healthy, others, silence)


def _same_moment(one: NodeAgent, other: NodeAgent) -> bool:
    """Tell whether two agents fell silent at the same time, give or take the reading of two clocks."""
    if one.silent_since is None or other.silent_since is None:
        return one.silent_since is other.silent_since
    return abs(one.silent_since - other.silent_since) < timedelta(seconds=1)


def _same(answer: Answer, before: DriverAnswers | None, handle: str) -> Answer:
    """Return the answer as it was given before, if it says the same: when it was heard first counts."""
    old = before.others.get(handle) if before is not None else None
    return old if old is not None and replace(answer, at=old.at) == old else answer


def _silence(reason: str, message: str, at: datetime) -> Answer:
    words = clean_message(message)
    return Answer(Source.CONTROLLER, Outcome.SILENT, at, via=Via.AGENT, reason=str(reason), message=words)
