"""Asks one driver about its volumes, in the one way that its plan names: lists, gets, and what confirms them.

Each call has a deadline and is counted, whatever the driver's generation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Protocol, TypeVar

from volumehealth.csi.types import DriverInfo, VolumePage
from volumehealth.errors import CallNotSupported, CsiError, DriverUnreachable, VolumeNotFound
from volumehealth.model.clock import Clock
from volumehealth.model.health import Condition
from volumehealth.probing.lists import ListReader, ListResult
from volumehealth.probing.pace import NEVER, AgeLimit, GetQueue, ListTimer, RoundMeter
from volumehealth.probing.plan import Plan
from volumehealth.probing.session import IDLE_INTERVAL, UNAVAILABLE, DriverSession
from volumehealth.probing.spec import ProbeLimits, ProbeSpec
from volumehealth.probing.store import VolumeStore

IDENTIFY = "Identify"
"""Name under which the up to four calls that identify a driver are counted as one."""
PROBE = "Probe"
OK = "OK"
ENOUGH_VOLUMES = 3
"""Calls about so many volumes must fail before a driver that is asked by get counts as unreachable."""
_FAILING_LISTS = 2
"""So many lists in a row must fail before volumes are asked one by one, if a list ever worked."""
_LIST_RESTS = 5
"""So many intervals lie between two tries of a list that fails."""
_MORE = 500
"""Further calls in one turn while all goes well, if the driver need not be left in peace."""
_TOGETHER = 0.25
"""Answers to gets that come within so many seconds of each other are told together."""
_T = TypeVar("_T")


class ProbeMetrics(Protocol):
    """Who counts calls."""

    def observe_call(self, driver: str, method: str, *, code: str, seconds: float) -> None:
        """Count one call: the CSI method's name, the gRPC status' name, and how long it took."""


class DriverCalls(Protocol):
    """What of `csi.client.CsiClient` a prober uses."""

    @property
    def connected(self) -> bool:
        """See CsiClient."""

    async def identify(self, timeout: float) -> DriverInfo:
        """See CsiClient."""

    async def probe(self, timeout: float) -> bool:
        """See CsiClient."""

    async def list_volumes(self, max_entries: int, token: str, *, timeout: float) -> VolumePage:
        """See CsiClient."""

    async def get_volume(self, handle: str, timeout: float) -> tuple[Condition, ...] | None:
        """See CsiClient."""

    async def list_volume_health(
        self, max_entries: int, token: str, *, secrets: Mapping[str, str], timeout: float
    ) -> VolumePage:
        """See CsiClient."""

    async def get_volume_health(
        self, handle: str, *, secrets: Mapping[str, str], timeout: float
    ) -> tuple[Condition, ...] | None:
        """See CsiClient."""


class Calls:
    """One driver's calls. All raise CsiError only.

    Attributes:
        timeout: seconds that one call may take.
        secrets: what CSI 1.13's health calls take along.
    """

    def __init__(
        self, driver: DriverCalls, clock: Clock, *, observe: Callable[[str, str, float], None]
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._observe = observe
        self.timeout = 15.0
        self.secrets: Mapping[str, str] = MappingProxyType({})

    @property
    def connected(self) -> bool:
        """Whether the connection of the last call still stands."""
        return self._driver.connected

    async def identify(self) -> DriverInfo:
        """Ask who the driver is and what it can do."""
        return await self._counted(IDENTIFY, self._driver.identify(self.timeout))

    async def probe(self) -> bool:
        """Ask whether the driver is ready."""
        return await self._counted(PROBE, self._driver.probe(self.timeout))

    async def page(self, plan: Plan, max_entries: int, token: str) -> VolumePage:
        """Ask for a page of the list that the plan names."""
        if plan.legacy:
            pages: Awaitable[VolumePage] = self._driver.list_volumes(max_entries, token, timeout=self.timeout)
        else:
            pages = self._driver.list_volume_health(
                max_entries, token, secrets=self.secrets, timeout=self.timeout
            )
        return await self._counted(plan.list_call, pages)

    async def volume(self, plan: Plan, handle: str) -> tuple[Condition, ...] | None:
        """Ask about one volume: its adverse conditions, none if it is healthy, None if the driver does not say."""
        if plan.legacy:
            asked = self._driver.get_volume(handle, timeout=self.timeout)
        else:
            asked = self._driver.get_volume_health(handle, secrets=self.secrets, timeout=self.timeout)
        return await self._counted(plan.get_call, asked)

    async def _counted(self, method: str, call: Awaitable[_T]) -> _T:
        start = self._clock.monotonic()
        try:
            answer = await call
        except CsiError as error:
            self._observe(method, error.code, self._clock.monotonic() - start)
            raise
        self._observe(method, OK, self._clock.monotonic() - start)
        return answer


class Poller:
    """The calls of one plan, one list or one handful of gets at a time, and what was learnt by them.

    Args:
        plan: how the driver is asked; another plan needs another Poller.
        standing: respected by every call, told of every outcome.
        clock: the time.
        random: for jitter.
        limits: how much the driver may be burdened.
        publish: called when an answer came while other calls are still under way.

    Attributes:
        list_trouble: why the list fails, while volumes are asked one by one for that.
    """

    def __init__(
        self,
        plan: Plan,
        standing: DriverSession,
        *,
        clock: Clock,
        random: Random,
        limits: ProbeLimits,
        publish: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.board = VolumeStore(plan, limits)
        self._standing = standing
        self._clock = clock
        self._limits = limits
        self._publish = publish
        self._reader = ListReader(limits, clock.monotonic)
        self._timer = ListTimer(random, jitter=limits.jitter)
        self._queue = GetQueue(random, jitter=limits.jitter)
        self._meter = RoundMeter(in_flight=limits.gets_in_flight, duty=limits.duty)
        self._interval = IDLE_INTERVAL
        self._timeout = limits.identify_timeout
        self._list_seconds = 0.0
        self._list_age = AgeLimit()
        self._get_age = AgeLimit()
        self._failed_lists = 0
        self._gets_served = False
        self._gets_refused: set[str] = set()
        self.list_trouble = ""
        self._more = 0

    @property
    def asking(self) -> bool:
        """Whether there is anything to ask, and a way to."""
        return self.plan.able and bool(self.board.wanted)

    # ---- when ----

    def want(self, demand: ProbeSpec | None) -> None:
        """Set what is wanted; None is nothing."""
        slept = not self.board.wanted
        if demand is None:
            self.board.want(frozenset(), frozenset())
        else:
            self.board.want(demand.volumes, demand.adverse, demand.topology)
        self._queue.retarget(self.board.targets)
        if demand is None:
            return
        interval, self._interval = self._interval, demand.interval.total_seconds()
        self._timeout = demand.timeout.total_seconds()
        if slept:
            self._list_age, self._get_age = AgeLimit(), AgeLimit()  # nothing was heard at another pace
            self._timer.at_once()
        elif self._interval < interval:
            self._timer.shorten_interval(self._interval)
            self._queue.shorten_interval(self._clock.monotonic(), self._interval)

    def due(self) -> float:
        """Return the monotonic time of the next call; infinity if there is nothing to ask."""
        if not self.asking:
            return NEVER
        call = min(
            self._timer.due if self.plan.lists else NEVER,
            self._queue.next_due() if self.plan.gets else NEVER,
        )
        return max(self._standing.duty.rest_until, call)

    def try_now(self) -> None:
        """Find out at once whether a driver that is back tells anything: by a list, or by one volume.

        Unless it was back before and told nothing: then it has to wait for its turn.
        """
        if self._failed_lists > 1 and not self._standing.breaker.open:
            return
        self._timer.at_once()
        for handle in self.board.targets:
            self._queue.soon(handle, self._clock.monotonic())
            break

    async def turn(self, calls: Calls) -> None:
        """Make the call that is due."""
        if self.plan.lists and self._clock.monotonic() >= self._timer.due:
            await self._list(calls)
        elif self.plan.gets:
            await self._get(calls)

    # ---- how old an answer may be ----

    @property
    def list_age(self) -> float:
        """Two rounds and a call, in seconds: one list that fails is not yet missed."""
        min_gap = self._list_seconds / self._limits.duty
        age = 2 * max(self._longest_interval, min_gap) + self._timeout
        return self._list_age.seconds(age, self._clock.monotonic())

    @property
    def get_age(self) -> float:
        """Two rounds and a call, in seconds."""
        age = 2 * self._meter.seconds(len(self._queue), self._longest_interval) + self._timeout
        return self._get_age.seconds(age, self._clock.monotonic())

    @property
    def ages_change(self) -> float:
        """When the next of these ages becomes shorter, in monotonic seconds; infinity if none waits to."""
        return min(self._list_age.changes_at, self._get_age.changes_at)

    @property
    def delay(self) -> float:
        """Seconds for which a failing driver that told something is not yet called unreachable."""
        return self.list_age if self.plan.lists else 2 * self._longest_interval + self._timeout

    @property
    def enough_failures(self) -> int:
        """How many failed calls it takes besides."""
        return 1 if self.plan.lists else min(ENOUGH_VOLUMES, len(self._queue))

    @property
    def round_seconds(self) -> float:
        """How long a round over all volumes takes by get; 0 for lists."""
        if self.plan.lists or not self.asking:
            return 0.0
        return self._meter.shown(len(self._queue), self._interval)

    @property
    def _longest_interval(self) -> float:
        return self._interval * (1 + self._limits.jitter)

    # ---- list ----

    async def _list(self, calls: Calls) -> None:
        start = self._clock.monotonic()
        self._timer.started(start, self._interval * (1 if self.board.by_list else _LIST_RESTS))
        ask = partial(calls.page, self.plan)
        try:
            reading = await self._reader.read(ask, wanted=self.board.wanted, legacy=self.plan.legacy)
            await asyncio.sleep(0)
        except CallNotSupported:
            self._standing.lacks(self.plan.list_call)
        except CsiError as error:
            self._standing.worked(start)
            self._failed_lists += 1
            self._list_failed(error, broken=_is_broken(failure(error), calls))
        else:
            self._listed(reading, start)
            if _is_broken(reading.code, calls):
                self._standing.lost()
        finally:
            self._standing.worked(start)
        await asyncio.sleep(0)
        self._queue.retarget(self.board.targets)

    def _list_failed(self, error: CsiError, *, broken: bool) -> None:
        """Ask volume by volume while the list fails: one array of several may be down.

        One list that fails is not yet missed. A driver that answers with an error is there, also if that is UNAVAILABLE.
        """
        gets = self.plan.gets and not broken
        gets = gets and (self._failed_lists >= _FAILING_LISTS or self.board.heard is None)
        answered = failure(error) == UNAVAILABLE or not isinstance(error, DriverUnreachable)
        if not gets or not answered:
            self._standing.failed(failure(error), opens_at=self._limits.failed_passes, broken=broken)
        if gets:
            self.list_trouble = failure(error)
            self.board.list_failed()

    def _listed(self, reading: ListResult, start: float) -> None:
        now = self._standing.now()
        if self.list_trouble:
            self._timer.started(start, self._interval)
        self._failed_lists = 0
        self.list_trouble = ""
        self._list_seconds = now.mono - start
        self._standing.ok()
        self.board.listed(reading, now)

    # ---- get ----

    async def _get(self, calls: Calls) -> None:
        start = self._clock.monotonic()
        handles = self._queue.take(start, self._limits.gets_in_flight)
        if not handles:
            return
        for handle in handles:
            self._queue.asked(handle, start, interval=self._interval)
        # A driver that need not be left in peace is asked on: one slow answer keeps no others waiting.
        self._more = more = _MORE if self._limits.duty >= 1.0 else 0
        try:
            async with asyncio.TaskGroup() as group:
                asks = [group.create_task(self._ask_on(calls, handle)) for handle in handles]
                _, late = await asyncio.wait(asks, timeout=_TOGETHER)
                if late:
                    self._publish()
                for ask in late:
                    ask.add_done_callback(lambda _: self._publish())
        finally:
            self._standing.worked(start)
            asked = len(handles) + more - self._more
            self._meter.batch((self._clock.monotonic() - start) * len(handles) / asked)
        if len(self._queue) != len(self.board.targets):  # an answer settled what a list had left open
            self._queue.retarget(self.board.targets)

    async def _ask_on(self, calls: Calls, handle: str) -> None:
        """Ask about one volume, then about others while there may be more and all goes well."""
        await self._ask(calls, handle)
        while self._more and self._standing.breaker.failing_since is None:
            now = self._clock.monotonic()
            due = self._queue.take(now, 1)
            if not due:
                return
            self._more -= 1
            self._queue.asked(due[0], now, interval=self._interval)
            await self._ask(calls, due[0])

    async def _ask(self, calls: Calls, handle: str) -> None:
        start = self._clock.monotonic()
        try:
            conditions = await calls.volume(self.plan, handle)
        except VolumeNotFound as error:
            self._answered()
            await self._not_found(calls, handle, words(error))
        except CsiError as error:
            if isinstance(error, CallNotSupported) and self._is_missing(handle):
                self._standing.lacks(self.plan.get_call)
                return
            self._standing.worked(start)
            heard = self.board.gets
            (heard.unheard if isinstance(error, DriverUnreachable) else heard.failed)(
                handle, self._standing.now(), failure(error)
            )
            self._failed_get(failure(error), broken=_is_broken(failure(error), calls))
        else:
            self._answered()
            self.board.got(handle, conditions, self._standing.now())

    def _is_missing(self, handle: str) -> bool:
        """Tell whether the driver lacks the get that it refused of a volume: some know it for a kind of volumes only."""
        self._gets_refused.add(handle)
        return not self._gets_served and len(self._gets_refused) >= min(ENOUGH_VOLUMES, len(self._queue))

    def _answered(self) -> None:
        self._gets_served = True
        if not self.board.by_list:  # else the list decides whether the driver answers
            self._standing.ok()

    def _failed_get(self, code: str, *, broken: bool) -> None:
        if not self.board.by_list:
            opens_at = min(self._limits.failing_calls, self._limits.failed_passes * len(self._queue))
            self._standing.failed(code, opens_at=opens_at, broken=broken)
        elif broken:
            self._standing.lost()

    async def _not_found(self, calls: Calls, handle: str, text: str) -> None:
        """NOT_FOUND means five things (facts D6): ask again, then see whether the driver answers otherwise."""
        limits, now, board = self._limits, self._standing.now(), self.board
        asks = board.gets.not_found(handle, now, text, enough=limits.confirm_asks)
        if asks < limits.confirm_asks:
            self._queue.soon(handle, now.mono + limits.confirm_backoff * 2 ** (asks - 1))
            return
        if board.is_vouched(handle, board.gets.others[handle].doubted or now):
            return
        witness = board.witness(handle)
        if witness is not None:
            self._queue.soon(witness, now.mono)
        elif len(board.wanted) == 1 and await _probes_well(calls):
            board.probed(self._standing.now())


def _is_broken(code: str, calls: Calls) -> bool:
    """Tell whether a connection broke. While it stands, UNAVAILABLE is what the driver says: of what is behind it."""
    return code == UNAVAILABLE and not calls.connected


async def _probes_well(calls: Calls) -> bool:
    try:
        return await calls.probe()
    except CsiError:
        return False


def failure(error: CsiError) -> str:
    """Return what a call failed with: the gRPC status, and the driver's words if it answered at all."""
    return error.code if isinstance(error, DriverUnreachable) else f"{error.code}: {words(error)}"


def words(error: CsiError) -> str:
    """Return the driver's words, without the method's name before them."""
    return str(error).partition(": ")[2] or str(error)
