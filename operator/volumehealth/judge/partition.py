"""Claims of which nobody says anything but what their driver's controller says of many at once: healthy, or nothing.

Nearly all claims are like that, healthy ones always and all of a driver's when it is down or was not asked yet, so
they are sets that are compared, not claims that are looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import NamedTuple

from volumehealth.model.health import Answer, DriverAnswers, Outcome
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Steps, in_parts

EXAMPLES = 3
_PART = 5_000
"""Volumes that are looked at in one step; they take a few milliseconds."""
NO_HANDLE = ""
"""The handle of volumes of which nobody knows how their driver calls them: it cannot be asked about them."""
Handles = Mapping[str, tuple[ClaimRef, ...]]


class Silence(NamedTuple):
    """Why claims are Unknown."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Silent:
    """Claims that are silent for one reason.

    Attributes:
        claims: which.
        first: the first few by name.
    """

    claims: frozenset[ClaimRef]
    first: tuple[ClaimRef, ...]

    def without(self, others: frozenset[ClaimRef]) -> "Silent":
        """Return what is left without other claims; itself if none of them is in it."""
        rest = self.claims - others if not self.claims.isdisjoint(others) else self.claims
        return self if rest is self.claims else silent(rest)


@dataclass(frozen=True, slots=True)
class Partition:
    """What one driver's controller says of a policy's claims, sorted.

    Attributes:
        doubtful: those that it says more of: they are judged one by one.
        silent: those that it says nothing of, by reason.
        made_of: claims by handle, and the driver's answers.
    """

    doubtful: frozenset[ClaimRef] = frozenset()
    silent: Mapping[Silence, Silent] = field(default_factory=dict)
    made_of: tuple[Handles, DriverAnswers] | None = None

    def is_of(self, handles: Handles, answers: DriverAnswers) -> bool:
        """Tell whether it would be the same if it were made of these."""
        if self.made_of is None:
            return False
        old_handles, old = self.made_of
        return (
            old_handles is handles
            and old.healthy is answers.healthy
            and old.others is answers.others
            and old.silence is answers.silence
            and old.driver.state is answers.driver.state
        )


def silent(claims: frozenset[ClaimRef]) -> Silent:
    """Make a group of claims."""
    return Silent(claims, tuple(nsmallest(EXAMPLES, claims)))


def partition(handles: Handles, answers: DriverAnswers, last: Partition | None) -> Steps[Partition]:
    """Sort a driver's claims by what it says; `last` comes back if that would be the same.

    Args:
        handles: the policy's claims by volume.
        answers: what the driver says.
        last: what was made of its answers before.
    """
    if last is not None and last.is_of(handles, answers):
        return last
    doubtful: list[ClaimRef] = []
    groups: dict[Silence, _Group] = {}
    unsaid = handles.keys() - answers.healthy
    unsaid -= answers.others.keys()
    unsaid.discard(NO_HANDLE)
    yield
    for part in in_parts(unsaid, _PART):
        _group(groups, answers.silence).add([ref for handle in part for ref in handles[handle]])
        yield
    for number, (handle, answer) in enumerate(answers.others.items()):
        of_volume = handles.get(handle, ())
        if answer.outcome is Outcome.SILENT:
            _group(groups, answer).single += of_volume
        else:
            doubtful += of_volume
        if not number % _PART:
            yield
    quiet: dict[Silence, Silent] = {}
    for silence, group in groups.items():
        for refs in in_parts(group.single, _PART):
            group.add(refs)
            yield
        if group.claims:
            quiet[silence] = Silent(frozenset(group.claims), tuple(group.first))
            yield
    return Partition(frozenset(doubtful), quiet, (handles, answers))


class _Group:
    """Claims that are silent for one reason, put together in parts: hashing and comparing them all is a long step."""

    def __init__(self) -> None:
        self.claims: set[ClaimRef] = set()
        self.first: list[ClaimRef] = []
        self.single: list[ClaimRef] = []

    def add(self, refs: Sequence[ClaimRef]) -> None:
        self.claims.update(refs)
        self.first = nsmallest(EXAMPLES, (*self.first, *refs))


def _group(groups: dict[Silence, _Group], answer: Answer) -> _Group:
    return groups.setdefault(Silence(answer.reason, answer.message), _Group())
