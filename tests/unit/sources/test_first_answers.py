"""Whether the drivers have said enough for a first check."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from support.health import START
from volumehealth.model.health import (
    Answer,
    Condition,
    DriverAnswers,
    DriverState,
    Outcome,
    Source,
    SourceState,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members
from volumehealth.probing.spec import ProbeSpec
from volumehealth.sources.controllers import NOT_ASKED, DriverControllers

DRIVER = "d.example.com"
HANDLES = ("", "v1", "v2", "v3")
REASONS = st.sampled_from([SilenceReason.NOT_YET_ASKED, SilenceReason.NO_CONDITION])


def silent(reason: str) -> Answer:
    return Answer(Source.CONTROLLER, Outcome.SILENT, START, reason=reason)


ADVERSE = Answer(
    Source.CONTROLLER, Outcome.ADVERSE, START, conditions=(Condition("Inaccessible", "IOError"),)
)
ANSWERS = st.builds(
    DriverAnswers,
    driver=st.just(DriverState(DRIVER, SourceState.ANSWERING, START)),
    at=st.just(START),
    healthy=st.frozensets(st.sampled_from(HANDLES[1:])),
    others=st.dictionaries(st.sampled_from(HANDLES[1:]), st.just(ADVERSE) | REASONS.map(silent)),
    silence=REASONS.map(silent),
)


class Saying:
    """Drivers that have said something."""

    unresolved = ()

    def __init__(self, answers: DriverAnswers) -> None:
        self._answers = answers

    def demand(self, wanted: Mapping[str, ProbeSpec], /) -> None:
        """Ask nobody."""

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Return what was given."""
        return {DRIVER: self._answers}


@given(ANSWERS, st.sets(st.sampled_from(HANDLES), min_size=1))
def test_drivers_are_settled_once_no_volume_waits_to_be_asked_for_the_first_time(
    answers: DriverAnswers, handles: set[str]
) -> None:
    members = Members({DRIVER: {handle: (ClaimRef("shop", handle or "lost"),) for handle in handles}})
    waits = [handle for handle in handles - {""} if answers.about(handle).reason in NOT_ASKED]
    assert DriverControllers(Saying(answers), {}).settled(members) is not bool(waits)
