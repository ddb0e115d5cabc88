"""When a driver may be asked next: spread over the interval, and never more than its share of the time.

Plain numbers: seconds of a monotonic clock go in, seconds come out.
"""

import heapq
import math
from collections import deque
from collections.abc import Set
from random import Random

NEVER = math.inf
_GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples' fractions spread evenly over 0 to 1, however many there will be."""


class DutyCycle:
    """The one-tenth rule: how long a driver is left in peace after it was busy with us (facts D3).

    Attributes:
        rest_until: no call starts before this.
    """

    def __init__(self, share: float) -> None:
        self._rest_factor = (1.0 - share) / share
        self.rest_until = -math.inf

    def worked(self, start: float, end: float) -> None:
        """Tell that calls were in flight from `start` to `end`."""
        self.rest_until = max(self.rest_until, end + self._rest_factor * (end - start))


class AgeLimit:
    """How old an answer may be, in seconds.

    A longer age holds at once. A shorter one (another policy wants to know more often, or fewer volumes are asked about)
    holds once it has passed: until then nothing could be asked anew, and all that was heard at the old pace would be
    outdated at once.

    Attributes:
        changes_at: when a shorter age will hold, in monotonic seconds; infinity if none waits.
    """

    def __init__(self) -> None:
        self._holds = 0.0
        self.changes_at = NEVER

    def seconds(self, age: float, now: float) -> float:
        """Take the age that follows from the pace now; return the one that holds."""
        if age < self._holds and self.changes_at == NEVER:
            self.changes_at = now + age
        if age >= self._holds or now >= self.changes_at:
            self._holds = age
            self.changes_at = NEVER
        return self._holds


class ListTimer:
    """When the next list is due.

    The first one is due at once, the second sooner than an interval by chance: drivers that were first asked at
    one moment, at the start of the process, are then asked at different ones.

    Attributes:
        due: when; the duty rule may defer it further.
    """

    def __init__(self, random: Random, *, jitter: float) -> None:
        self._random = random
        self._jitter = jitter
        self._started: float | None = None
        self.due = -math.inf

    def started(self, now: float, interval: float) -> None:
        """Tell that a list starts."""
        low, high = (0.5, 1.0) if self._started is None else (1.0 - self._jitter, 1.0 + self._jitter)
        self._started = now
        self.due = now + interval * self._random.uniform(low, high)

    def at_once(self) -> None:
        """Make the next list due."""
        self.due = -math.inf

    def shorten_interval(self, interval: float) -> None:
        """Take a new, maybe shorter interval into account."""
        if self._started is not None:
            self.due = min(self.due, self._started + interval)


class GetQueue:
    """Who is asked next by get: first what must be confirmed, then volumes never asked, then whose turn it is.

    Each volume has its own phase within the interval, so that the calls are spread evenly over it.
    """

    def __init__(self, random: Random, *, jitter: float) -> None:
        self._random = random
        self._jitter = jitter
        self._new: deque[list[str]] = deque()  # heaps, of which those that came first are asked first
        self._unordered: list[
            list[str]
        ] = []  # no heaps yet: that is done when somebody asks for the first of them
        self._soon: list[tuple[float, str]] = []
        self._turns: list[tuple[float, str]] = []
        self._all: frozenset[str] | None = None
        self._due: dict[str, float] = {}
        self._planned: dict[str, float] = {}
        self._phases = random.random()

    def __len__(self) -> int:
        return len(self._due)

    def retarget(self, handles: Set[str]) -> None:
        """Set which volumes are asked. One that is new here is asked before those whose turn it is."""
        if handles is self._all:
            return
        self._all = handles if isinstance(handles, frozenset) else None  # another set may change
        before = len(self._due)
        if before > len(handles):
            self._due = {handle: self._due[handle] for handle in handles if handle in self._due}
        else:
            for handle in [handle for handle in self._due if handle not in handles]:
                del self._due[handle]
        if len(self._due) < before:  # while the driver does not answer, nobody takes them out
            groups = (*self._new, *self._unordered)
            left = ([handle for handle in group if handle in self._due] for group in groups)
            self._new, self._unordered = deque(), [group for group in left if group]
        # Of 100,000 volumes the one that is first by name is found in a fifth of the time that sorting them takes.
        if self._due:
            new = [*(handles - self._due.keys())]
            self._due.update(dict.fromkeys(new, -math.inf))
        else:
            new = [*handles]
            self._due = dict.fromkeys(handles, -math.inf)
        if new:
            self._unordered.append(new)

    def take(self, now: float, most: int) -> list[str]:
        """Return up to `most` volumes to ask now. Each is in flight until `asked` is called for it."""
        taken: list[str] = []
        while len(taken) < most:
            handle = self._pop(self._soon, now) or self._pop_new() or self._pop(self._turns, now)
            if handle is None:
                break
            self._planned[handle] = self._due[handle]
            self._due[handle] = NEVER
            taken.append(handle)
        return taken

    def asked(self, handle: str, now: float, *, interval: float) -> None:
        """Give a volume its next turn, an interval after this one was due.

        Args:
            handle: one that `take` returned.
            now: when it was asked.
            interval: seconds between turns.
        """
        planned = self._planned.pop(handle, -math.inf)
        if handle not in self._due:
            return
        if planned == -math.inf:
            due = now + interval * self._next_phase()
        else:
            due = max(now, planned + interval * self._random.uniform(1 - self._jitter, 1 + self._jitter))
        self._set(self._turns, handle, due)

    def soon(self, handle: str, at: float) -> None:
        """Ask a volume out of turn, at `at`, before all others."""
        if handle in self._due:
            self._set(self._soon, handle, at)

    def shorten_interval(self, now: float, interval: float) -> None:
        """Take a shorter interval into account: nobody's turn is further off than one interval."""
        for handle, due in list(self._due.items()):
            if now + interval < due < NEVER:
                self._set(self._turns, handle, now + interval * self._next_phase())

    def next_due(self) -> float:
        """Return when the next volume is due; infinity if none is waiting."""
        if self._peek_new() is not None:
            return -math.inf
        return min(self._peek(self._soon), self._peek(self._turns))

    def _next_phase(self) -> float:
        self._phases = (self._phases + _GOLDEN) % 1.0
        return self._phases

    def _set(self, heap: list[tuple[float, str]], handle: str, due: float) -> None:
        self._due[handle] = due
        heapq.heappush(heap, (due, handle))

    def _peek(self, heap: list[tuple[float, str]]) -> float:
        # Entries that were replaced or whose volume left are dropped when they come up.
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def _pop(self, heap: list[tuple[float, str]], now: float) -> str | None:
        return heapq.heappop(heap)[1] if self._peek(heap) <= now else None

    def _peek_new(self) -> str | None:
        for group in self._unordered:
            heapq.heapify(group)
        self._new += self._unordered
        self._unordered.clear()
        while self._new:
            group = self._new[0]
            while group and self._due.get(group[0]) != -math.inf:
                heapq.heappop(group)
            if group:
                return group[0]
            self._new.popleft()
        return None

    def _pop_new(self) -> str | None:
        return heapq.heappop(self._new[0]) if self._peek_new() is not None else None


class RoundMeter:
    """How long one round over all volumes takes by get, given how long calls take and how long it is left alone."""

    _WEIGHT = 0.2

    def __init__(self, *, in_flight: int, duty: float) -> None:
        self._in_flight = in_flight
        self._duty = duty
        self._mean: float | None = None
        self._shown = 0.0

    def batch(self, seconds: float) -> None:
        """Tell how long the calls of one batch took."""
        mean = seconds if self._mean is None else self._mean
        self._mean = mean + self._WEIGHT * (seconds - mean)

    def seconds(self, volumes: int, interval: float) -> float:
        """Return the time of one round; the interval if there is time enough."""
        batches = math.ceil(volumes / self._in_flight)
        return max(interval, batches * (self._mean or 0.0) / self._duty)

    def shown(self, volumes: int, interval: float) -> float:
        """Return `seconds` for people: whole, and steady while it changes by less than a quarter."""
        exact = self.seconds(volumes, interval)
        if not 0.75 * self._shown <= exact <= 1.25 * self._shown or (exact == interval != self._shown):
            self._shown = float(round(exact))
        return self._shown
