"""What one list says of the volumes that are wanted: entries of many pages, sorted by what they mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from volumehealth.model.health import Condition, severity

MAX_CONDITIONS = 16
"""As many as Kubernetes keeps of one volume (facts D12)."""


@dataclass(frozen=True, slots=True)
class ListResult:
    """One list of a driver, restricted to the volumes that are wanted.

    Attributes:
        healthy: explicitly healthy.
        adverse: with conditions.
        silent: named without a condition (facts D4).
        absent: not named.
        named: how many entries there were, wanted or not.
        whole: whether the list was read to its end. If not, absence means nothing.
        why: why it is not whole.
        code: the gRPC status that ended it early; empty if none did.
    """

    healthy: frozenset[str]
    adverse: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    named: int = 0
    whole: bool = True
    why: str = ""
    code: str = ""


class ListAccumulator:
    """Sorts the entries of a list, page by page. Of entries for the same volume the worst counts (facts D2).

    A volume that is not wanted is ignored; it only shows that the list is not empty.
    """

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted
        self._seen: set[str] = set()
        self._silent: set[str] = set()
        self._adverse: dict[str, tuple[Condition, ...]] = {}
        self.named = 0

    def add(self, entries: Iterable[tuple[str, tuple[Condition, ...] | None]]) -> None:
        """Take the entries of a page of either generation (`csi.types.VolumePage`)."""
        wanted, seen = self._wanted, self._seen
        for handle, conditions in entries:
            self.named += 1
            if handle not in wanted:
                continue
            seen.add(handle)
            if conditions:
                self._accuse(handle, conditions)
            elif conditions is None:
                self._silent.add(handle)

    def _accuse(self, handle: str, conditions: tuple[Condition, ...]) -> None:
        before = self._adverse.get(handle)
        alone = before is None and len(conditions) == 1
        self._adverse[handle] = conditions if alone else merged((*(before or ()), *conditions))

    def missing_any(self) -> bool:
        """Tell whether a wanted volume was not named so far."""
        return len(self._seen) < len(self._wanted)

    def reading(self, why: str = "", *, code: str = "") -> ListResult:
        """Return what the pages say.

        Args:
            why: why the list is incomplete; empty if it is whole.
            code: the gRPC status that ended it.
        """
        silent = self._silent - self._adverse.keys()
        healthy = self._seen.difference(self._adverse, silent)
        return ListResult(
            # the one set that is kept of all volumes anyway, where it is equal
            healthy=self._wanted if len(healthy) == len(self._wanted) else frozenset(healthy),
            adverse=self._adverse,
            silent=frozenset(silent),
            absent=self._wanted - self._seen,
            named=self.named,
            whole=not why,
            why=why,
            code=code,
        )


def merged(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return each (status, reason) once, its different messages joined, worst first, 16 at most (facts D12)."""
    messages: dict[tuple[str, str], list[str]] = {}
    for condition in conditions:
        texts = messages.setdefault((condition.status, condition.reason), [])
        if condition.message and condition.message not in texts:
            texts.append(condition.message)
    unique = [Condition(status, reason, "; ".join(texts)) for (status, reason), texts in messages.items()]
    unique.sort(key=lambda condition: (-severity(condition.status), condition.status, condition.reason))
    return tuple(unique[:MAX_CONDITIONS])
