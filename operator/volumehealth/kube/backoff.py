"""How long a key waits after its requests failed: ever longer, whatever is put under it meanwhile.

The back-off belongs to the key (an object), not to one request for it: a caller that wants the same thing again at
every check must not start it from the beginning each time.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random


@dataclass(frozen=True, slots=True)
class Growth:
    """Seconds after the first failure, the factor of each further one, and seconds at most."""

    first: float
    factor: float
    last: float

    def after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row, one at least."""
        return min(self.last, self.first * self.factor ** min(failures - 1, 16))


class Cause(Enum):
    """Why a key waits. Another cause starts from the beginning."""

    SERVER = "the server failed"
    FORBIDDEN = "a right is missing"
    REFUSED = "the server does not take this"


@dataclass(slots=True)
class _Wait:
    cause: Cause
    kind: str
    failures: int
    until: float


_MANY = 4_096
"""From this many keys on, those whose time is long over are forgotten."""


class Backoffs:
    """Remembers, for each key that failed, why, how often in a row, and until when it waits.

    Args:
        growths: how each cause's waiting time grows.
        random: jitter.
    """

    def __init__(self, growths: Mapping[Cause, Growth], *, random: Random) -> None:
        self._growths = growths
        self._random = random
        self._waits: dict[Hashable, _Wait] = {}
        self._waiting: dict[tuple[str, Cause], set[Hashable]] = {}

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._waits)

    def failed(self, key: Hashable, cause: Cause, *, kind: str, now: float, at_least: float = 0.0) -> float:
        """Note a failure.

        Args:
            key: what failed.
            cause: why.
            kind: what sort of write it is.
            now: monotonic seconds.
            at_least: seconds that the server asked for.

        Returns:
            Seconds to wait.
        """
        before = self._waits.get(key)
        failures = before.failures + 1 if before is not None and before.cause is cause else 1
        wait = max(at_least, self._growths[cause].after(failures) * self._random.uniform(0.8, 1.2))
        if before is None and len(self._waits) >= _MANY:
            self._prune(now)
        self._leave(key, before)
        self._waits[key] = _Wait(cause, kind, failures, now + wait)
        self._waiting.setdefault((kind, cause), set()).add(key)
        return wait

    def succeeded(self, key: Hashable) -> Cause | None:
        """Forget a key's failures; return what their cause was."""
        wait = self._waits.pop(key, None)
        self._leave(key, wait)
        return wait.cause if wait is not None else None

    def left(self, key: Hashable, now: float) -> float:
        """Return the seconds that a key still has to wait."""
        wait = self._waits.get(key)
        return max(0.0, wait.until - now) if wait is not None else 0.0

    def end_waits(self, kind: str, cause: Cause, now: float) -> list[Hashable]:
        """Let all keys of a kind that wait for this cause be tried at once; return them.

        How often they failed stays: one that fails again waits as long as it would have waited.
        """
        waiting = self._waiting.pop((kind, cause), set())
        ended = [key for key in waiting if self._waits_for(key, cause) and self.left(key, now) > 0]
        for key in ended:
            self._waits[key].until = now
        return ended

    def _waits_for(self, key: Hashable, cause: Cause) -> bool:
        wait = self._waits.get(key)
        return wait is not None and wait.cause is cause

    def _prune(self, now: float) -> None:
        """Forget keys that could have been tried again an hour ago and were not: nobody wants them any more."""
        for key in [key for key, wait in self._waits.items() if now - wait.until > 3600]:
            self._leave(key, self._waits.pop(key))

    def _leave(self, key: Hashable, wait: _Wait | None) -> None:
        """Take a key out of those that wait for a cause: it has ended, or another one has come."""
        if wait is not None:
            self._waiting.get((wait.kind, wait.cause), set()).discard(key)
