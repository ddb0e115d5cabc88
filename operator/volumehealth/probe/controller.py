"""The prober of one endpoint: asks the driver's controller in its own rhythm, and publishes what it says."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.types import DriverInfo
from volumehealth.errors import CallNotSupported, CsiError, DriverUnreachable, VolumeNotFound
from volumehealth.model.clock import Clock
from volumehealth.model.health import DriverAnswers, SourceState
from volumehealth.probe.board import Board
from volumehealth.probe.breaker import Breaker
from volumehealth.probe.calls import Calls, DriverCalls, ProbeMetrics
from volumehealth.probe.demand import Demand, ProbeLimits
from volumehealth.probe.identity import Identity
from volumehealth.probe.moment import Moment, moment
from volumehealth.probe.pace import NEVER, Duty, GetQueue, ListTimer, RoundMeter
from volumehealth.probe.pages import ListReader
from volumehealth.probe.plan import Plan
from volumehealth.probe.reading import Reading
from volumehealth.probe.teller import CONNECTING, DOWN, Teller, is_news
from volumehealth.probe.view import View

log = logging.getLogger(__name__)

UNAVAILABLE = "UNAVAILABLE"
NOT_READY = "NOT_READY"
FAULT = "INTERNAL_FAULT"
"""Stands for a gRPC status where the fault is ours."""
_ENOUGH_VOLUMES = 3
"""Calls about so many volumes must fail before a driver that is asked by get counts as unreachable."""
_IDLE_INTERVAL = 60.0
_A_MOMENT = 0.001
"""What is older than its age, not as old, is outdated."""

Connect = Callable[[Endpoint], AbstractAsyncContextManager[DriverCalls]]


class ControllerProber:
    """Asks one driver's controller plugin, as often as is demanded and no more than it can bear.

    One task, `run`, makes all calls, one list or a few gets at a time. Whatever the driver does ends in
    `answers`, never in an exception.

    Args:
        endpoint: where the driver answers.
        clock: the time.
        on_news: called when the answers differ materially from those it was last called for.
        metrics: counts calls.
        secrets: by driver name, for CSI 1.13's calls; asked before each use, so that a rotated file is read.
        random: for jitter.
        limits: how much the driver may be burdened.
        driver_name: if it was given with the endpoint; the driver must bear it.
        connect: makes the connection.
        sleep: waits for seconds of `clock`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Clock,
        on_news: Callable[[], None],
        metrics: ProbeMetrics,
        secrets: Callable[[str], Mapping[str, str]],
        random: Random,
        limits: ProbeLimits | None = None,
        driver_name: str = "",
        connect: Connect = CsiClient,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._on_news = on_news
        self._metrics = metrics
        self._secrets = secrets
        self._random = random
        self._limits = limits or ProbeLimits()
        self._connect = connect
        self._sleep = sleep

        self._wake = asyncio.Event()
        self._demand: Demand | None = None
        self._identity = Identity(driver_name, self._limits)
        self._failed_lists = 0
        self._list_seconds = 0.0

        self._breaker = Breaker(random, max_backoff=self._limits.max_backoff)
        self._duty = Duty(self._limits.duty)
        self._teller = Teller(driver_name, moment(clock))
        self._told = self._teller.answers
        self._start_over(Plan())

    def _start_over(self, plan: Plan) -> None:
        """Forget what was heard in another way than this plan's."""
        limits = self._limits
        self._board = Board(plan, limits)
        self._reader = ListReader(limits, self._clock.monotonic)
        self._timer = ListTimer(self._random, jitter=limits.jitter)
        self._queue = GetQueue(self._random, jitter=limits.jitter)
        self._meter = RoundMeter(in_flight=limits.gets_in_flight, duty=limits.duty)
        self._list_seconds = 0.0
        self._failed_lists = 0
        self._want()

    # ---- what others see ----

    @property
    def driver_name(self) -> str | None:
        """The driver's name: as given, or as it said; None until it was reached."""
        return self._identity.name or None

    def demand(self, demand: Demand | None) -> None:
        """Set what is wanted; None, or no volumes, lets the driver rest."""
        old = self._demand
        if demand == old:
            return
        self._demand = demand
        self._want()
        if demand is not None:
            if old is None or not old.volumes:
                self._timer.at_once()
            if old is not None and demand.interval < old.interval:
                self._timer.hurry(self._interval)
                self._queue.hurry(self._clock.monotonic(), self._interval)
        self._wake.set()

    def answers(self) -> DriverAnswers:
        """Return what is known now; what became too old since it was published is not."""
        return self._tell()

    async def run(self) -> None:
        """Ask until cancelled. Only cancellation ends it."""
        while True:
            try:
                async with self._connect(self.endpoint) as driver:
                    await self._serve(self._counted(driver))
            except CsiError as error:  # not even a connection could be set up
                self._not_identified(_code(error))
                self._publish()
                await self._pause()

    def _counted(self, driver: DriverCalls) -> Calls:
        def observe(method: str, code: str, seconds: float) -> None:
            self._metrics.observe_call(self.driver_name or "", method, code=code, seconds=seconds)

        return Calls(driver, self._clock, observe=observe)

    # ---- the rhythm ----

    async def _serve(self, calls: Calls) -> None:
        while True:
            try:
                await self._turn(calls)
                self._publish()
            except Exception as error:  # the one boundary: a fault of ours must not stop the others
                log.exception(
                    "probe failed", extra={"driver": self.driver_name, "endpoint": str(self.endpoint)}
                )
                self._fault(error)
            await self._pause()

    async def _turn(self, calls: Calls) -> None:
        """Do whatever is due: identify, then one list, or one handful of gets."""
        calls.timeout = self._timeout
        if self._clock.monotonic() >= self._identity.due():
            await self._identify(calls)
        plan = self._identity.plan
        now = self._clock.monotonic()
        if plan is None or not self._identity.known or not self._asking or now < self._duty.rest_until:
            return
        calls.secrets = {} if plan.legacy else self._secrets(self._identity.name)
        if plan.lists and now >= self._timer.due:
            await self._list(calls, plan)
        elif plan.gets:
            await self._get(calls, plan)

    async def _pause(self) -> None:
        """Wait until something is due or wanted; let others run even if something already is."""
        seconds = self._next_due() - self._clock.monotonic()
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            waits = [asyncio.create_task(self._woken())]
            if seconds != NEVER:
                waits.append(asyncio.create_task(self._slept(seconds)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
        self._wake.clear()

    async def _woken(self) -> None:
        await self._wake.wait()

    async def _slept(self, seconds: float) -> None:
        await self._sleep(seconds)

    def _next_due(self) -> float:
        ends = [self._identity.due(), self._expires()]
        plan = self._identity.plan
        if plan is not None and self._identity.known and self._asking:
            due = min(
                self._timer.due if plan.lists else NEVER,
                self._queue.next_due() if plan.gets else NEVER,
            )
            ends.append(max(self._duty.rest_until, due))
        return min(ends)

    def _expires(self) -> float:
        """Return when something that was said, or patience, comes to its end."""
        ends = [self._board.expires(list_age=self._list_age, get_age=self._get_age)]
        if self._breaker.failing_since and self._breaker.last_ok and not self._breaker.open:
            ends.append(self._breaker.last_ok.mono + self._patience)
        now = self._clock.monotonic()
        return min((end + _A_MOMENT for end in ends if end > now), default=NEVER)

    # ---- identify ----

    async def _identify(self, calls: Calls) -> None:
        start = self._clock.monotonic()
        try:
            info = await calls.identify()
        except CsiError as error:
            self._worked(start)
            self._not_identified(_code(error))
        else:
            if info.ready:
                self._identified(info)
            else:
                self._not_identified(NOT_READY)

    def _not_identified(self, code: str) -> None:
        """The driver is missing, starting, or does not answer."""
        now = self._now()
        # Where nobody is, nobody can be burdened: the circuit need not open for that.
        opens_at = sys.maxsize if code == UNAVAILABLE else self._limits.failed_passes
        self._breaker.failed(now, code, opens_at=opens_at, least=self._least_rest(now))
        rest = self._breaker.next_try.mono if self._breaker.next_try else self._duty.rest_until
        self._identity.missed(now.mono, rest=rest)
        log.debug("driver not identified", extra={"endpoint": str(self.endpoint), "code": code})

    def _identified(self, info: DriverInfo) -> None:
        now = self._now()
        returned = not self._identity.known
        if self._identity.found(info, endpoint=str(self.endpoint), now=now.mono):
            plan = self._identity.plan or Plan()
            self._start_over(plan)
            log.info("driver identified", extra={"driver": info.name, "methods": plan.methods})
        if not self._asking:
            self._breaker.ok(now)
        elif returned and (self._breaker.open or self._failed_lists <= 1):
            self._try_now(now)

    def _try_now(self, now: Moment) -> None:
        """Find out at once whether a driver that is back tells anything: by a list, or by one volume."""
        self._timer.at_once()
        for handle in self._board.targets:
            self._queue.soon(handle, now.mono)
            break

    # ---- list ----

    async def _list(self, calls: Calls, plan: Plan) -> None:
        start = self._now()
        self._timer.started(start.mono, self._interval)
        ask = partial(calls.page, plan)
        try:
            reading = await self._reader.read(ask, wanted=self._board.wanted, legacy=plan.legacy)
        except CallNotSupported:
            self._lacks(plan.list_call)
        except CsiError as error:
            self._worked(start.mono)
            self._failed_lists += 1
            self._failed(_code(error), opens_at=self._limits.failed_passes)
        else:
            self._listed(reading, start.mono)
        finally:
            self._worked(start.mono)

    def _listed(self, reading: Reading, start: float) -> None:
        now = self._now()
        self._failed_lists = 0
        self._list_seconds = now.mono - start
        self._breaker.ok(now)
        self._board.listed(reading, now)
        self._queue.retarget(self._board.targets)
        if reading.code == UNAVAILABLE:
            self._identity.lost(now.mono + self._limits.first_retry)

    # ---- get ----

    async def _get(self, calls: Calls, plan: Plan) -> None:
        start = self._now()
        handles = self._queue.take(start.mono, self._limits.gets_in_flight)
        if not handles:
            return
        for handle in handles:
            self._queue.asked(handle, start.mono, interval=self._interval)
        try:
            async with asyncio.TaskGroup() as group:
                for handle in handles:
                    group.create_task(self._ask(calls, plan, handle))
        finally:
            self._worked(start.mono)
            self._meter.batch(self._clock.monotonic() - start.mono)
        if len(self._queue) != len(self._board.targets):  # an answer settled what a list had left open
            self._queue.retarget(self._board.targets)

    async def _ask(self, calls: Calls, plan: Plan, handle: str) -> None:
        start = self._clock.monotonic()
        board = self._board
        try:
            conditions = await calls.volume(plan, handle)
        except VolumeNotFound as error:
            self._answered(plan)
            await self._not_found(calls, handle, _text(error))
        except CallNotSupported:
            self._lacks(plan.get_call)
        except CsiError as error:
            self._worked(start)
            take = board.gets.unheard if isinstance(error, DriverUnreachable) else board.gets.failed
            take(handle, self._now(), _code(error))
            self._failed_get(_code(error), plan)
        else:
            self._answered(plan)
            board.got(handle, conditions, self._now())
        self._publish()

    def _answered(self, plan: Plan) -> None:
        if not plan.lists:  # else the list decides whether the driver answers
            self._breaker.ok(self._now())

    async def _not_found(self, calls: Calls, handle: str, text: str) -> None:
        """NOT_FOUND means five things (facts D6): ask again, then see whether the driver answers otherwise."""
        limits, now, board = self._limits, self._now(), self._board
        asks = board.gets.not_found(handle, now, text, enough=limits.confirm_asks)
        if asks < limits.confirm_asks:
            self._queue.soon(handle, now.mono + limits.confirm_backoff * 2 ** (asks - 1))
            return
        if board.is_vouched(handle, board.gets.others[handle].doubted or now):
            return
        witness = board.witness(handle)
        if witness is not None:
            self._queue.soon(witness, now.mono)
        elif len(board.wanted) == 1 and await self._probes_well(calls):
            board.probed(self._now())

    async def _probes_well(self, calls: Calls) -> bool:
        try:
            return await calls.probe()
        except CsiError:
            return False

    def _failed_get(self, code: str, plan: Plan) -> None:
        if not plan.lists:
            opens_at = min(self._limits.failing_calls, self._limits.failed_passes * len(self._queue))
            self._failed(code, opens_at=opens_at)
        elif code == UNAVAILABLE:
            self._identity.lost(self._clock.monotonic() + self._limits.first_retry)

    # ---- failures ----

    def _failed(self, code: str, *, opens_at: int) -> None:
        now = self._now()
        self._breaker.failed(now, code, opens_at=opens_at, least=self._least_rest(now))
        if self._breaker.next_try is not None:
            self._identity.lost(self._breaker.next_try.mono)
        elif code == UNAVAILABLE:
            self._identity.lost(now.mono + self._limits.first_retry)
        log.debug("call failed", extra={"driver": self.driver_name, "code": code})

    def _lacks(self, method: str) -> None:
        self._identity.lacks(method)
        log.info("driver lacks a method it promises", extra={"driver": self.driver_name, "method": method})

    def _fault(self, error: Exception) -> None:
        """Go on after a fault of ours, with a pause: whatever it is, it is likely to happen again."""
        self._failed(f"{FAULT}: {type(error).__name__}", opens_at=self._limits.failed_passes)
        if not self._breaker.open:
            self._identity.lost(self._clock.monotonic() + self._interval)

    def _worked(self, start: float) -> None:
        self._duty.worked(start, self._clock.monotonic())

    def _least_rest(self, now: Moment) -> float:
        return max(self._interval, self._duty.rest_until - now.mono)

    # ---- what is wanted ----

    def _want(self) -> None:
        demand = self._demand
        volumes = demand.volumes if demand else frozenset[str]()
        self._board.want(volumes, demand.adverse if demand else frozenset())
        self._queue.retarget(self._board.targets)

    @property
    def _asking(self) -> bool:
        plan = self._identity.plan
        return bool(self._board.wanted) and plan is not None and plan.able

    @property
    def _interval(self) -> float:
        return self._demand.interval.total_seconds() if self._demand else _IDLE_INTERVAL

    @property
    def _timeout(self) -> float:
        return self._demand.timeout.total_seconds() if self._demand else self._limits.identify_timeout

    # ---- how old an answer may be ----

    @property
    def _list_age(self) -> float:
        """Two rounds and a call: a list that failed once is not yet missed."""
        peace = self._list_seconds / self._limits.duty
        return 2 * max(self._interval * (1 + self._limits.jitter), peace) + self._timeout

    @property
    def _get_age(self) -> float:
        interval = self._interval * (1 + self._limits.jitter)
        return 2 * self._meter.seconds(len(self._queue), interval) + self._timeout

    @property
    def _patience(self) -> float:
        """How long a failing driver that told something is not yet called unreachable."""
        plan = self._identity.plan
        if plan is not None and plan.lists:
            return self._list_age
        return 2 * self._interval * (1 + self._limits.jitter) + self._timeout

    # ---- publishing ----

    def _publish(self) -> None:
        new, told = self._tell(), self._told
        if not is_news(told, new):
            return
        self._told = new
        if new.driver.state is not told.driver.state:
            level = logging.WARNING if new.driver.state in DOWN else logging.INFO
            log.log(
                level,
                "driver state changed",
                extra={
                    "driver": new.driver.name,
                    "state": str(new.driver.state),
                    "reason": new.driver.message,
                },
            )
        self._on_news()

    def _tell(self) -> DriverAnswers:
        now = self._now()
        self._board.expire(now, list_age=self._list_age, get_age=self._get_age)
        down = self._is_down(now)
        view = self._board.view(now, down=down)
        driver = self._teller.describe(
            self._identity.name,
            self._state(view, down=down),
            plan=self._identity.plan or Plan(),
            message=self._message(view, now, down=down),
            next_try=self._breaker.next_try,
            round_seconds=self._round(),
            now=now,
        )
        return self._teller.tell(driver, view, heard=self._board.heard, now=now)

    def _is_down(self, now: Moment) -> bool:
        if self._identity.mismatch:
            return True
        if self._identity.plan is not None and not self._identity.plan.able:
            return False
        if self._board.heard is None:
            return self._breaker.failing_since is not None
        enough = 1
        if self._identity.plan is not None and not self._identity.plan.lists:
            enough = min(_ENOUGH_VOLUMES, len(self._queue))
        return self._breaker.is_silent(now, patience=self._patience, enough=enough)

    def _state(self, view: View, *, down: bool) -> SourceState:
        if down and self._breaker.open:
            return SourceState.CIRCUIT_OPEN
        if down or view.outage:
            return SourceState.UNREACHABLE
        if self._identity.plan is not None and not self._identity.plan.able:
            return SourceState.NOT_ABLE
        return SourceState.ANSWERING

    def _message(self, view: View, now: Moment, *, down: bool) -> str:
        if down:
            return self._identity.mismatch or self._breaker.sentence(now)
        if view.outage:
            return view.outage
        if self._identity.plan is None:
            return CONNECTING
        if view.unsaid and view.unsaid == len(self._board.wanted):
            return "answers without a condition for every volume, although its capabilities promise one"
        return self._identity.plan.message

    def _round(self) -> float:
        plan = self._identity.plan
        if plan is None or plan.lists or not self._asking:
            return 0.0
        return self._meter.shown(len(self._queue), self._interval)

    def _now(self) -> Moment:
        return moment(self._clock)


def _code(error: CsiError) -> str:
    """Return what a call failed with: the gRPC status, and the driver's words if it answered at all."""
    return error.code if isinstance(error, DriverUnreachable) else f"{error.code}: {_text(error)}"


def _text(error: CsiError) -> str:
    """Return the driver's words, without the method's name before them."""
    return str(error).partition(": ")[2] or str(error)
