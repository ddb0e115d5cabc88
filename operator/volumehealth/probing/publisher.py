"""What is published of a driver: its state, and the answers that follow from it."""

from collections.abc import Mapping

from volumehealth.judge.text import same_text
from volumehealth.model.health import Answer, DriverAnswers, DriverState, SourceState
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.probing.moment import Moment
from volumehealth.probing.plan import Plan
from volumehealth.probing.store import VolumeStates, says_the_same, silent

CONNECTING = "connecting"


class Publisher:
    """Makes DriverAnswers, and keeps whatever part of the last ones still says the same.

    Attributes:
        answers: the newest.
    """

    def __init__(self, name: str, now: Moment) -> None:
        state = DriverState(name, SourceState.ANSWERING, now.wall, message=CONNECTING)
        silence = silent(SilenceReason.NOT_YET_ASKED, now)
        self.answers = DriverAnswers(state, now.wall, frozenset(), VolumeStates().others, silence)

    def tell(
        self, driver: DriverState, view: VolumeStates, *, heard: Moment | None, now: Moment
    ) -> DriverAnswers:
        """Return the newest answers.

        Args:
            driver: its state, as `describe` made it.
            view: what is known of its volumes.
            heard: when what has no time of its own was heard last.
            now: the time.
        """
        old = self.answers
        silence = self._silence(driver, view, now)
        self.answers = DriverAnswers(
            driver=old.driver if driver == old.driver else driver,
            at=heard.wall if heard else old.at,
            healthy=view.healthy,
            others=view.others,
            silence=old.silence if says_the_same(old.silence, silence) else silence,
        )
        return self.answers

    def _silence(self, driver: DriverState, view: VolumeStates, now: Moment) -> Answer:
        if view.outage:
            return silent(SilenceReason.SOURCE_DOWN, now, view.outage)
        if driver.state.is_down:
            return silent(SilenceReason.DRIVER_UNREACHABLE, now, driver.message)
        return silent(view.silence, now)

    def describe(
        self,
        name: str,
        state: SourceState,
        *,
        plan: Plan,
        message: str,
        next_try: Moment | None,
        round_seconds: float,
        now: Moment,
    ) -> DriverState:
        """Return a driver's state; its `since` stays while the state does.

        Args:
            name: the driver's.
            state: how it answers.
            plan: how it is asked.
            message: for people.
            next_try: when an open circuit is tried.
            round_seconds: of one round of gets; 0 for lists.
            now: the time.
        """
        old = self.answers.driver
        tried = next_try.wall if next_try else None
        if tried == old.next_try and same_text(message, old.message):
            message = old.message
        return DriverState(
            name=name,
            state=state,
            since=old.since if old.state is state else now.wall,
            health_api=plan.api,
            methods=plan.methods,
            message=message,
            hint=plan.hint,
            next_try=tried,
            round_seconds=round_seconds,
        )


def is_news(old: DriverAnswers, new: DriverAnswers) -> bool:
    """Tell whether answers differ in more than times and changing numbers."""
    return (
        old.healthy is not new.healthy
        or not _same_others(old.others, new.others)
        or old.silence is not new.silence
        or not _same_state(old.driver, new.driver)
    )


def _same_others(old: Mapping[str, Answer], new: Mapping[str, Answer]) -> bool:
    return old is new or (
        old.keys() == new.keys()
        and all(answer is old[handle] or says_the_same(answer, old[handle]) for handle, answer in new.items())
    )


def _same_state(old: DriverState, new: DriverState) -> bool:
    return old is new or (
        (old.name, old.state, old.health_api, old.methods, old.hint)
        == (new.name, new.state, new.health_api, new.methods, new.hint)
        and same_text(old.message, new.message)
    )
