"""Probers: each asks the controller of the driver at one endpoint in its own rhythm, and publishes what it says.

Demand goes to them by driver name, answers come back by driver name.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.types import DriverInfo
from volumehealth.errors import CsiError
from volumehealth.judge.text import same_text
from volumehealth.model.clock import Clock
from volumehealth.model.health import Answer, DriverAnswers, DriverState, SourceState
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.probing.breaker import Breaker
from volumehealth.probing.identity import Identity
from volumehealth.probing.moment import Moment
from volumehealth.probing.pace import NEVER, DutyCycle
from volumehealth.probing.plan import Plan
from volumehealth.probing.poller import Calls, DriverCalls, Poller, ProbeMetrics, failure
from volumehealth.probing.session import IDLE_INTERVAL, DriverSession
from volumehealth.probing.spec import ProbeLimits, ProbeSpec
from volumehealth.probing.store import VolumeStates, says_the_same, silent

log = logging.getLogger(__name__)

CONNECTING = "connecting"
NOT_READY = "NOT_READY"
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
        on_same: called when the driver answered, and nothing differs but times.
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
        on_same: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._on_news = on_news
        self._on_same = on_same
        self._metrics = metrics
        self._secrets = secrets
        self._random = random
        self._limits = limits = limits or ProbeLimits()
        self._connect = connect
        self._sleep = sleep

        self._wake = asyncio.Event()
        self._demand: ProbeSpec | None = None
        self._identity = Identity(driver_name, limits)
        self._breaker = Breaker(random, max_backoff=limits.max_backoff)
        self._standing = DriverSession(
            self._identity, self._breaker, DutyCycle(limits.duty), clock=clock, limits=limits
        )
        self._asker = self._new_asker(Plan())
        self._answers = self._told = _no_answers(driver_name, self._standing.now())
        self._answered: Moment | None = None

    def _new_asker(self, plan: Plan) -> Poller:
        asker = Poller(
            plan,
            self._standing,
            clock=self._clock,
            random=self._random,
            limits=self._limits,
            publish=self._publish,
        )
        asker.want(self._demand)
        return asker

    # ---- what others see ----

    @property
    def driver_name(self) -> str | None:
        """The driver's name: as given, or as it said; None until it was reached."""
        return self._identity.name or None

    @property
    def reached(self) -> bool:
        """Whether the driver was identified, and answers as far as is known; one that rests is asked now and then."""
        return self._identity.plan is not None and not self._is_down(self._standing.now())

    @property
    def able(self) -> bool:
        """Whether it is reached and has a health call: a node plugin's socket has none, nor has an old version."""
        plan = self._identity.plan
        return plan is not None and plan.able and self.reached

    @property
    def heard(self) -> bool:
        """Whether the driver said anything about a volume."""
        return self._asker.board.heard is not None

    def demand(self, demand: ProbeSpec | None) -> None:
        """Set what is wanted; None, or no volumes, lets the driver rest."""
        if demand != self._demand:
            self._demand = demand
            self._standing.interval = demand.interval.total_seconds() if demand else IDLE_INTERVAL
            self._asker.want(demand)
            self._wake.set()

    def answers(self) -> DriverAnswers:
        """Return what is known now; what became too old since it was published is not."""
        return self._tell()

    async def run(self) -> None:
        """Ask until cancelled. Only cancellation ends it."""
        while True:
            try:
                async with self._connect(self.endpoint) as driver:
                    await self._serve(Calls(driver, self._clock, observe=self._observe))
            except CsiError as error:  # not even a connection could be set up
                self._standing.not_identified(failure(error))
                self._publish()
                await self._pause()

    def _observe(self, method: str, code: str, seconds: float) -> None:
        self._metrics.observe_call(self._identity.name, method, code=code, seconds=seconds)

    # ---- the rhythm ----

    async def _serve(self, calls: Calls) -> None:
        while True:
            try:
                await self._turn(calls)
                await asyncio.sleep(0)  # hearing of thousands of volumes and telling of them are two steps
                self._publish()
            except Exception as error:  # the one boundary: a fault of ours must not stop the others
                log.exception(
                    "probe failed", extra={"driver": self._identity.name, "endpoint": str(self.endpoint)}
                )
                self._standing.at_fault(error)
            await asyncio.sleep(0)
            await self._pause()

    async def _turn(self, calls: Calls) -> None:
        """Do whatever is due: identify, then one list, or one handful of gets."""
        calls.timeout = (
            self._demand.timeout.total_seconds() if self._demand else self._limits.identify_timeout
        )
        now = self._clock.monotonic()
        if self._identity.known and not calls.connected:
            self._identity.lost(
                now
            )  # it ended meanwhile: whoever is there now may be able to do something else
        if now >= self._identity.due():
            await self._identify(calls)
        asker = self._asker
        if self._identity.known and self._clock.monotonic() >= asker.due():
            calls.secrets = {} if asker.plan.legacy else self._secrets(self._identity.name)
            await asker.turn(calls)

    async def _identify(self, calls: Calls) -> None:
        start = self._clock.monotonic()
        try:
            info = await calls.identify()
        except CsiError as error:
            self._standing.worked(start)
            self._standing.not_identified(failure(error))
        else:
            if info.ready:
                self._identified(info)
            else:
                self._standing.not_identified(NOT_READY)

    def _identified(self, info: DriverInfo) -> None:
        returned = not self._identity.known
        if self._standing.identified(info, endpoint=str(self.endpoint)):
            self._asker = self._new_asker(self._identity.plan or Plan())
            log.info("driver identified", extra={"driver": info.name, "methods": self._asker.plan.methods})
        if not self._asker.asking:
            self._standing.ok()
        elif returned:
            self._asker.try_now()

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
        call = self._asker.due() if self._identity.known else NEVER
        return min(self._identity.due(), call, self._expires())

    def _expires(self) -> float:
        """Return when something that was said, or a delay of ours, comes to its end."""
        asker, breaker = self._asker, self._breaker
        ends = [asker.board.expires(list_age=asker.list_age, get_age=asker.get_age), asker.ages_change]
        if breaker.failing_since and breaker.last_ok and not breaker.open:
            ends.append(breaker.last_ok.mono + asker.delay)
        now = self._clock.monotonic()
        return min((end + _A_MOMENT for end in ends if end > now), default=NEVER)

    # ---- publishing ----

    def _publish(self) -> None:
        new, told = self._tell(), self._told
        if not _is_news(told, new):
            if self._asker.board.heard != self._answered:
                self._answered = self._asker.board.heard
                self._on_same()
            return
        self._answered = self._asker.board.heard
        self._told = new
        state = new.driver.state
        if state is not told.driver.state:
            log.log(
                logging.WARNING if state.is_down else logging.INFO,
                "driver state changed",
                extra={"driver": new.driver.name, "state": str(state), "reason": new.driver.message},
            )
        self._on_news()

    def _tell(self) -> DriverAnswers:
        """Return the newest answers; whatever part of the last ones still says the same is kept."""
        now, asker, old = self._standing.now(), self._asker, self._answers
        asker.board.expire(now, list_age=asker.list_age, get_age=asker.get_age)
        down = self._is_down(now)
        view = asker.board.view(now, down=down)
        driver = self._describe(view, now, down=down)
        silence, dated = _silence(driver, view, now), asker.board.dated
        self._answers = DriverAnswers(
            driver=old.driver if driver == old.driver else driver,
            at=dated.wall if dated else old.at,
            healthy=view.healthy,
            others=view.others,
            silence=old.silence if says_the_same(old.silence, silence) else silence,
        )
        return self._answers

    def _describe(self, view: VolumeStates, now: Moment, *, down: bool) -> DriverState:
        """Return the driver's state; its `since` stays while the state does."""
        old, plan = self._answers.driver, self._asker.plan
        state, message = self._state(view, down=down), self._message(view, now, down=down)
        next_try = self._breaker.next_try
        tried = next_try.wall if next_try else None
        if tried == old.next_try and same_text(message, old.message):
            message = old.message
        return DriverState(
            name=self._identity.name,
            state=state,
            since=old.since if old.state is state else now.wall,
            health_api=plan.api,
            methods=plan.methods,
            message=message,
            hint=plan.hint,
            next_try=tried,
            round_seconds=self._asker.round_seconds,
        )

    @property
    def _unable(self) -> bool:
        return self._identity.plan is not None and not self._identity.plan.able

    def _is_down(self, now: Moment) -> bool:
        if self._identity.mismatch:
            return True
        if self._unable:
            return False
        if self._asker.board.heard is None:
            return self._breaker.failing_since is not None
        return self._breaker.is_silent(now, delay=self._asker.delay, enough=self._asker.enough_failures)

    def _state(self, view: VolumeStates, *, down: bool) -> SourceState:
        if down and self._breaker.open:
            return SourceState.CIRCUIT_OPEN
        if down or view.outage:
            return SourceState.UNREACHABLE
        return SourceState.UNSUPPORTED if self._unable else SourceState.ANSWERING

    def _message(self, view: VolumeStates, now: Moment, *, down: bool) -> str:
        if down:
            return self._identity.mismatch or self._breaker.sentence(now)
        if view.outage:
            return view.outage
        if self._identity.plan is None:
            return CONNECTING
        if self._asker.list_trouble and self._breaker.failing_since is None:
            call = self._asker.plan.list_call
            return f"{call} fails ({self._asker.list_trouble}): each volume is asked about by itself"
        if view.unsaid and view.unsaid == len(self._asker.board.wanted):
            return "answers without a condition for every volume, although its capabilities advertise one"
        return self._identity.plan.message


class Probers:
    """The probers of all endpoints; each runs for itself, so that a driver that hangs delays nobody else.

    Of several endpoints of one driver one is asked: the first that answers and has a health call, in the order they were
    given, and as long as it does. While none answers it stays with the one that did last.

    Args:
        endpoints: each with the driver's name if that was given.
        clock: the time.
        on_news: called with the name of a driver whose answers differ materially from before.
        on_same: called with the name of a driver that said the same again.
        metrics: counts calls.
        secrets: by driver name, for CSI 1.13's calls.
        random: for jitter.
        limits: how much a driver may be burdened.
        options: further arguments of each ControllerProber.
    """

    def __init__(
        self,
        endpoints: Iterable[tuple[Endpoint, str]],
        *,
        clock: Clock,
        on_news: Callable[[str], None],
        metrics: ProbeMetrics,
        secrets: Callable[[str], Mapping[str, str]],
        random: Random,
        limits: ProbeLimits | None = None,
        on_same: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> None:
        self._on_news = on_news
        self._on_same = on_same
        self._wanted: Mapping[str, ProbeSpec] = {}
        self._chosen: dict[str, ControllerProber] = {}
        self._probers: Sequence[ControllerProber] = [
            ControllerProber(
                endpoint,
                clock=clock,
                on_news=partial(self._news, number),
                on_same=partial(self._same, number),
                metrics=metrics,
                secrets=secrets,
                random=random,
                limits=limits,
                driver_name=name,
                **options,
            )
            for number, (endpoint, name) in enumerate(endpoints)
        ]

    async def run(self) -> None:
        """Run all probers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for prober in self._probers:
                group.create_task(prober.run())

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        """Set what is wanted, by driver name; a driver that is not named rests. Unknown names are kept for later."""
        self._wanted = wanted
        self._choose()
        self._spread()

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Return the newest answers by driver name; a driver that no endpoint is known for is missing."""
        self._choose()
        others = self._others()
        return {
            name: _with_note(prober.answers(), others.get(name, ())) for name, prober in self._chosen.items()
        }

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Addresses of endpoints whose driver is not known yet."""
        return tuple(str(prober.endpoint) for prober in self._probers if prober.driver_name is None)

    def _news(self, number: int) -> None:
        prober = self._probers[number]
        name = prober.driver_name
        before = self._chosen.get(name or "")
        self._choose()  # the name may have become known with this news, or the driver may have stopped answering
        if name is not None and prober in (before, self._chosen[name]):
            self._on_news(name)

    def _same(self, number: int) -> None:
        name = self._probers[number].driver_name
        if name is not None and self._chosen.get(name) is self._probers[number]:
            self._on_same(name)

    def _choose(self) -> None:
        """Choose of each driver's probers the one that is asked, and tell all what is wanted of them."""
        chosen = {name: self._best(name, probers) for name, probers in self._by_driver().items()}
        if chosen != self._chosen:
            self._chosen = chosen
            self._spread()

    def _best(self, name: str, probers: Sequence[ControllerProber]) -> ControllerProber:
        chosen = self._chosen.get(name)
        current = chosen if chosen is not None and chosen in probers else probers[0]
        if len(probers) == 1 or (current.able and current.heard):
            return current
        reached = next((prober for prober in probers if prober.reached), current)
        return next((prober for prober in probers if prober.able), reached)

    def _spread(self) -> None:
        for prober in self._probers:
            name = prober.driver_name
            asked = name is not None and self._chosen.get(name) is prober
            prober.demand(self._wanted.get(name) if asked and name is not None else None)

    def _by_driver(self) -> dict[str, list[ControllerProber]]:
        found: dict[str, list[ControllerProber]] = {}
        for prober in self._probers:
            if prober.driver_name is not None:
                found.setdefault(prober.driver_name, []).append(prober)
        return found

    def _others(self) -> dict[str, list[str]]:
        return {
            name: [str(prober.endpoint) for prober in probers if prober is not self._chosen[name]]
            for name, probers in self._by_driver().items()
            if len(probers) > 1
        }


def _with_note(answers: DriverAnswers, others: Sequence[str]) -> DriverAnswers:
    if not others:
        return answers
    note = f"not asked, being of the same driver: {', '.join(others)}"
    message = "; ".join(text for text in (answers.driver.message, note) if text)
    return replace(answers, driver=replace(answers.driver, message=message))


def _no_answers(name: str, now: Moment) -> DriverAnswers:
    """Return what is known of a driver before anything was asked."""
    state = DriverState(name, SourceState.ANSWERING, now.wall, message=CONNECTING)
    silence = silent(SilenceReason.NOT_YET_ASKED, now)
    return DriverAnswers(state, now.wall, frozenset(), VolumeStates().others, silence)


def _silence(driver: DriverState, view: VolumeStates, now: Moment) -> Answer:
    if view.outage:
        return silent(SilenceReason.SOURCE_DOWN, now, view.outage)
    if driver.state.is_down:
        return silent(SilenceReason.DRIVER_UNREACHABLE, now, driver.message)
    return silent(view.silence, now)


def _is_news(old: DriverAnswers, new: DriverAnswers) -> bool:
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
