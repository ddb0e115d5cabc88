"""Answers for origins that gave none of their own, so that nothing that was found is forgotten.

An origin speaks and is clean, or should speak and is silent, or has ended: it is switched off, was uninstalled, lost its
health call, or has nothing to look at any more. What ended closes its findings without a recovery.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from volumehealth.model.health import Answer, Outcome, Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Origin
from volumehealth.model.vocabulary import SilenceReason

NO_LONGER = "no longer monitored"


def speaks(origin: Origin, now: datetime) -> Answer:
    """It would say again what it said, and does not."""
    return Answer(origin.source, Outcome.HEALTHY, now, origin.node, observer=origin.observer)


def silent(origin: Origin, now: datetime, reason: SilenceReason, message: str) -> Answer:
    """It should speak and does not."""
    return Answer(
        origin.source,
        Outcome.SILENT,
        now,
        origin.node,
        Via.AGENT if origin.source is Source.NODE else Via.OPERATOR,
        reason=str(reason),
        message=message,
        observer=origin.observer,
    )


def ended(origin: Origin, now: datetime, why: str, *, delay: timedelta | None = None) -> Answer:
    """It will not speak any more."""
    return Answer(
        origin.source, Outcome.ENDED, now, origin.node, message=why, observer=origin.observer, delay=delay
    )


def switched_off(origin: Origin, now: datetime, check: str) -> Answer:
    """The policy does not want it."""
    why = f"{NO_LONGER}: spec.checks.{check}.enabled is false"
    return ended(origin, now, why, delay=timedelta(0))


def unused(origin: Origin, now: datetime) -> Answer:
    """It spoke of a claim because the claim was in use on its node."""
    return ended(origin, now, f"no longer in use on {origin.node}")


@dataclass(frozen=True, slots=True)
class NotObserved:
    """Nothing here observes these origins."""

    now: datetime

    def state_of(self, _claim: ClaimRef, origin: Origin, _reason: str) -> Answer:
        """Say that an origin is silent; see `model.health.Origins`."""
        return silent(origin, self.now, SilenceReason.NOT_YET_ASKED, "nothing observes it")


@dataclass(frozen=True, slots=True)
class Clean:
    """Origins that always speak: what they do not say is not so.

    Attributes:
        now: the moment.
        check: the field of `spec.checks` that the policy switched off; empty if it wants them.
    """

    now: datetime
    check: str = ""

    def state_of(self, _claim: ClaimRef, origin: Origin, _reason: str) -> Answer:
        """Say that an origin is clean, or switched off; see `model.health.Origins`."""
        return switched_off(origin, self.now, self.check) if self.check else speaks(origin, self.now)
