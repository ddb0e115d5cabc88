"""What lists say of each volume, absence included: it means different things in the two generations (facts C2).

A legacy list names every volume: who is absent may be missing, and must be confirmed. A CSI 1.13 list names bad
volumes: who is absent and was never bad is healthy; who was bad must be confirmed to have recovered.
"""

from collections.abc import Mapping, Set

from volumehealth.model.health import Condition
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.probing.moment import Moment
from volumehealth.probing.results import ListResult

ENOUGH_LISTS = 2
"""Whole lists in a row that confirm an absence where no get can."""
_NONE: frozenset[str] = frozenset()


class ListResults:
    """The newest list of a driver, and what is remembered of earlier ones.

    Attributes:
        healthy: volumes that are healthy by it.
        adverse: volumes that are bad by it, with their conditions.
        presumed: of the healthy ones those that are so because a CSI 1.13 list does not name them.
        missing: volumes that are confirmed not to be in it any more: a legacy list, and no get to ask.
        open: volumes that it leaves open, with the reason.
        named: how many entries it had.
        whole: whether it was read to its end.
        read: when; None if there is none, or it became too old.
    """

    def __init__(self, *, legacy: bool) -> None:
        self._legacy = legacy
        self._absences: dict[str, int] = {}
        self._accused: set[str] = set()
        self._acquitted: set[str] = set()
        self._findings: frozenset[str] = _NONE
        self._clear()

    def _clear(self) -> None:
        self.healthy: frozenset[str] = _NONE
        self.presumed: frozenset[str] = _NONE
        self.adverse: Mapping[str, tuple[Condition, ...]] = {}
        self.missing: frozenset[str] = _NONE
        self.open: dict[str, SilenceReason] = {}
        self.named = 0
        self.whole = False
        self.why = ""
        self.read: Moment | None = None

    def want(self, volumes: frozenset[str], findings: frozenset[str]) -> None:
        """Forget whoever is not wanted any more; `findings` are volumes with live findings."""
        self._findings = findings
        self.healthy = self.healthy if self.healthy <= volumes else self.healthy & volumes
        self.presumed &= volumes
        self.missing &= volumes
        self.adverse = {handle: said for handle, said in self.adverse.items() if handle in volumes}
        self.open = {handle: why for handle, why in self.open.items() if handle in volumes}
        self._absences = {handle: count for handle, count in self._absences.items() if handle in volumes}
        self._accused &= volumes
        self._acquitted &= volumes

    def take(self, reading: ListResult, now: Moment, *, confirmable: bool) -> None:
        """Take a new list.

        Args:
            reading: what it says.
            now: when it ended.
            confirmable: whether single volumes can be asked about what it leaves open.
        """
        self._speak(reading)
        doubtful = reading.absent if self._legacy else reading.absent & self._suspects()
        # An incomplete list says nothing of who is absent, so the row of whole lists starts anew.
        counts = {handle: self._absences.get(handle, 0) + 1 for handle in doubtful} if reading.whole else {}
        self._absences = counts
        confirmed = (
            _NONE
            if confirmable
            else frozenset(handle for handle, count in counts.items() if count >= ENOUGH_LISTS)
        )
        if self._legacy:
            self.healthy, self.missing = reading.healthy, confirmed
        else:
            absent = reading.absent - (doubtful - confirmed) if reading.whole else _NONE
            self.healthy, self.presumed, self.missing = reading.healthy | absent, absent, _NONE
            self._acquit(confirmed)
        self.adverse = reading.adverse
        self.open = dict.fromkeys(reading.silent, SilenceReason.NO_CONDITION)
        if reading.whole:
            self.open.update(dict.fromkeys(doubtful - confirmed, SilenceReason.NOT_LISTED))
        else:
            self.open.update(dict.fromkeys(reading.absent, SilenceReason.LIST_INCOMPLETE))
        self.named, self.whole, self.why, self.read = reading.named, reading.whole, reading.why, now

    def accuse(self, handle: str) -> None:
        """Remember that a volume was bad."""
        self._accused.add(handle)
        self._acquitted.discard(handle)

    def acquit(self, handle: str) -> None:
        """Take a get's word that a volume is healthy.

        It is not bad any more, although a finding about it may live on for a while; and what a CSI 1.13 list left
        open about it is settled.
        """
        self._acquit((handle,))
        if not self._legacy and self.open.pop(handle, None) is not None:
            self.healthy |= {handle}

    def expire(self) -> None:
        """Forget the list, which is too old; what was learnt of volumes that were bad stays."""
        self._clear()

    def _suspects(self) -> Set[str]:
        return (self._accused | self._findings) - self._acquitted

    def _speak(self, reading: ListResult) -> None:
        self._acquit(reading.healthy & (self._accused | self._findings))
        self._accused |= reading.adverse.keys()
        self._acquitted -= reading.adverse.keys()

    def _acquit(self, handles: "Set[str] | tuple[str, ...]") -> None:
        self._accused.difference_update(handles)
        self._acquitted.update(handles)
