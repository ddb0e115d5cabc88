"""Tells who wrote a silence that cannot be read, on the object that bears it."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from volumehealth.judge.result import CheckResult
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import SILENCE_UNTIL, EventReason
from volumehealth.policy.silence import BadSilence
from volumehealth.report.eventobjects import About, EventDraft, EventSink, Receipt
from volumehealth.report.output import Output
from volumehealth.report.priorities import Priority
from volumehealth.report.text import clean, fit

_QUOTED = 60
_NEVER = timedelta(days=36500)


class SilenceOutput(Output):
    """Writes one Event for each value that cannot be read.

    Args:
        sink: makes Events be there.
    """

    name = "Silences"

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._told: set[BadSilence] = set()

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Tell of values that were not told of yet; whichever policy is checked first does."""
        bad = set(result.silences.bad(result.now))
        self._told &= bad
        for one in sorted(bad - self._told, key=lambda one: (one.kind, one.namespace, one.name)):
            self._told.add(one)
            self._sink.ensure(
                _draft(one),
                policy=result.policy.name,
                seen=None,
                older_than=_NEVER,
                priority=Priority.CLAIM_EVENT,
                on_end=partial(self._ended, one),
            )
            yield

    def forget(self, policy: Policy) -> Steps[None]:
        """A policy has no silences of its own."""
        yield

    def _ended(self, one: BadSilence, receipt: Receipt) -> None:
        if not receipt.settled:
            self._told.discard(one)


def _draft(one: BadSilence) -> EventDraft:
    quoted = fit(clean(one.text), _QUOTED)
    words = f"{SILENCE_UNTIL} is {quoted!r}: {one.why}; nothing is silenced"
    return EventDraft(
        About(one.kind, one.namespace, one.name, one.uid),
        EventReason.SILENCE_INVALID,
        one.text,
        lambda: words,
        action="Silence",
    )
