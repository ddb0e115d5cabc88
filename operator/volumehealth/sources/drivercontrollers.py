"""The drivers' controllers, asked from here or by an agent beside them: answers about each volume."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from volumehealth.model.cluster import Claim
from volumehealth.model.health import (
    Answer,
    ControllerConnection,
    DriverAnswers,
    DriverState,
    Outcome,
    Source,
    SourceState,
)
from volumehealth.model.ids import NO_CSI_DRIVERS, ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members
from volumehealth.probing.spec import ProbeSpec
from volumehealth.sources import origins
from volumehealth.sources.drivers import NOT_CONNECTED, SWITCHED_OFF, no_csi_driver
from volumehealth.sources.source import Asked, HealthSource, Observed, Wanted

NOT_ASKED = frozenset((SilenceReason.NOT_YET_ASKED,))


class Drivers(Protocol):
    """What asks the drivers (`sources.controllers.ControllerAnswers`, `probing.probers.Probers`)."""

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
        drivers: what asks them.
        claims: the view's rows.
        reads_agents: tells whether agents may be read now, which may stand beside drivers that nothing else reaches.
    """

    name = "DriverControllers"
    observers = frozenset(((Source.CONTROLLER, Observer.DRIVER),))

    def __init__(
        self,
        drivers: Drivers,
        claims: Mapping[ClaimRef, Claim],
        reads_agents: Callable[[], bool] = lambda: True,
    ) -> None:
        self._drivers = drivers
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
        self._drivers.demand(wanted.volumes)

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return the answers of each driver whose claims the policy selects."""
        on = asked.policy.spec.checks.controller.enabled
        known, hint = (self._drivers.answers(), NOT_CONNECTED) if on else ({}, SWITCHED_OFF)
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
        known = self._drivers.answers()
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
        return self._drivers.answers().get(driver)

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
