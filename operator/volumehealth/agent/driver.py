"""One driver on this node, asked in its own rhythm, so that one that hangs delays nobody else."""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from volumehealth.agent.calls import HEALTH, STATS, STORAGE, NodePlan, make_plan
from volumehealth.agent.capacity import is_counted, is_empty, judge_capacity
from volumehealth.agent.errnos import backend_error
from volumehealth.agent.slots import PATIENCE, QUICK, CallSlots
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import Target
from volumehealth.agent.usage import UsageBook
from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import Endpoint
from volumehealth.csi.types import NodeInfo, StorageCondition, Unit, Usage, VolumeStats
from volumehealth.csi.wire import Dial, GrpcWire
from volumehealth.errors import CallNotSupported, CsiError, VolumeNotFound
from volumehealth.judge.text import same_text
from volumehealth.model.clock import Clock
from volumehealth.model.health import Condition, HealthAPI, SourceState
from volumehealth.model.origin import Observer
from volumehealth.model.report import ReportedDriver, StorageProblem
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.probing.lists import MAX_CONDITIONS
from volumehealth.probing.pace import NEVER, GetQueue, RoundMeter

log = logging.getLogger(__name__)

_UNAVAILABLE = "UNAVAILABLE"
_DEADLINE = "DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPace:
    """Seconds, unless said otherwise.

    Attributes:
        identify: of one call that finds out who the driver is.
        reidentify: until its capabilities are read anew.
        first_retry, last_retry: between tries to reach it; doubled up to the last.
        outage: it must have failed for so long, and twice, until it counts as unreachable: one that is replaced by a
            newer one is back before.
        again: until a volume that gave no answer is asked once more; only then it counts as silent.
        longest: between two asks of a volume whose calls get stuck; doubled up to this.
        delay: after which a call counts as stuck.
        share: of the time that our calls may keep it busy (facts D3).
        jitter: by which share an interval varies.
    """

    identify: float = 15.0
    reidentify: float = 300.0
    first_retry: float = 1.0
    last_retry: float = 30.0
    outage: float = 30.0
    again: float = 5.0
    longest: float = 600.0
    delay: float = PATIENCE
    share: float = 0.1
    jitter: float = 0.05


class DriverWatch:
    """Asks one driver's node plugin about its volumes while `run` runs.

    Args:
        name: of the driver.
        endpoint: of its node plugin.
        ledger: where answers are written down.
        clock: time.
        random: spreads asks.
        news: called when something changed that belongs into the report.
        secrets: what CSI 1.13's storage health call takes, by driver.
        earlier: what was reported of it before this agent was started.
        usage: where is noted how full volumes are.
        pace: as named.
        dial: makes the connection.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        ledger: ReportState,
        clock: Clock,
        random: Random,
        news: Callable[[], None],
        secrets: Callable[[str], Mapping[str, str]] = lambda driver: {},
        earlier: ReportedDriver | None = None,
        usage: UsageBook | None = None,
        pace: DriverPace | None = None,
        dial: Dial = GrpcWire,
    ) -> None:
        self.name = name
        self._dial = dial
        self.endpoint = endpoint
        self._ledger = ledger
        self._usage = usage if usage is not None else UsageBook()
        self._clock = clock
        self._news = news
        self._secrets = secrets
        self._pace = pace or DriverPace()
        self._woken = asyncio.Event()
        self._lanes = CallSlots(self._woken.set, delay=self._pace.delay)
        self._queue = GetQueue(random, jitter=self._pace.jitter)
        self._meter = RoundMeter(in_flight=QUICK, duty=self._pace.share)
        self._targets: dict[str, Target] = {}
        self._asked: set[str] = set()
        self._failures: dict[str, int] = {}
        self._stuck: dict[str, int] = {}
        self._counted: dict[str, dict[Unit, Usage]] = {}
        self._interval = math.inf
        self._plan = NodePlan()
        self._info: NodeInfo | None = None
        self._lacking: frozenset[str] = frozenset()
        self._served: set[str] = set()
        self._refused: dict[str, set[bool]] = {}
        self._identify_at = -math.inf
        self._identifying = False
        self._ended = False
        self._anew_at = -math.inf
        self._rest = self._retry = self._pace.first_retry
        self._storage_at = -math.inf
        self._storage_busy = False
        self._storage: tuple[StorageProblem, ...] = earlier.storage if earlier else ()
        self._failing_since: float | None = None
        self._failed = 0
        self._error = ""
        now = clock.now().replace(microsecond=0)
        self._status = earlier or ReportedDriver(
            name, SourceState.UNREACHABLE, now, message="not asked yet by this agent"
        )

    # -- what is wanted, and what is known ----------------------------------------------------------------------

    def demand(self, targets: Mapping[str, Target]) -> None:
        """Say which volumes to ask about from now on, by key."""
        self._targets = dict(targets)
        active = {key: one for key, one in targets.items() if not one.suspended}
        self._queue.retarget(active.keys())
        for table in (self._failures, self._stuck):
            for key in table.keys() - active.keys():
                del table[key]
        self._asked &= active.keys()
        for uid in self._counted.keys() - {one.claim.uid for one in active.values()}:
            del self._counted[uid]
        shortest = min((one.interval for one in active.values()), default=math.inf)
        if shortest < self._interval < math.inf:
            self._queue.shorten_interval(self._clock.monotonic(), shortest)
        self._interval = shortest
        self._woken.set()

    @property
    def settled(self) -> bool:
        """Whether there is an answer, or none to be had, for everything that is wanted."""
        if self._status.state is not SourceState.ANSWERING or self._info is None:
            return self._info is not None or self._failed > 0
        return all(key in self._asked for key, one in self._targets.items() if not one.suspended)

    @property
    def status(self) -> ReportedDriver:
        """What is reported of the driver."""
        return self._status

    @property
    def _able(self) -> bool:
        """Whether it is worth asking anything but who it is."""
        return self._info is not None and self._failing_since is None and bool(self._plan.methods)

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask until cancelled."""
        async with CsiClient(self.endpoint, dial=self._dial) as client, asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                self._start_due(client, group)
                await self._sleep()

    def _start_due(self, client: CsiClient, group: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        if self._info is not None and self._failing_since is None and not client.connected:
            self._connection_ended(now)
        if not self._identifying and self._identify_at <= now and self._interval < math.inf:
            if self._ended:
                self._begin_anew()
                self._anew_at = now
            self._identifying = True
            group.create_task(self._identify(client))
        if not self._able:
            return
        for key in self._queue.take(now, self._lanes.free):
            group.create_task(self._ask(client, key))
        wanted = STORAGE in self._plan.methods and any(one.health for one in self._targets.values())
        if wanted and not self._storage_busy and self._storage_at <= now:
            self._storage_busy = True
            group.create_task(self._ask_storage(client))

    async def _sleep(self) -> None:
        due = NEVER if self._identifying else self._identify_at
        if self._able:
            if self._lanes.free:
                due = min(due, self._queue.next_due())
            if STORAGE in self._plan.methods and not self._storage_busy:
                due = min(due, self._storage_at)
        if self._interval == math.inf:
            due = NEVER
        seconds = max(0.0, due - self._clock.monotonic())
        try:
            async with asyncio.timeout(None if seconds == NEVER else seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    # -- the driver ---------------------------------------------------------------------------------------------

    async def _identify(self, client: CsiClient) -> None:
        try:
            info = await client.identify_node(self._pace.identify)
        except CsiError as error:
            self._failing(str(error))
        else:
            if info.name == self.name:
                self._found(info)
            else:
                self._failing(f"{self.endpoint} is the endpoint of {info.name}, not of {self.name}")
        finally:
            self._identifying = False
            self._woken.set()

    def _found(self, info: NodeInfo) -> None:
        if self._info != info:  # whoever comes back may be able to do more, or less
            self._begin_anew()
            self._plan = replace(self._plan, hidden=False)
        self._info = info
        self._ended = False
        self._identify_at = self._clock.monotonic() + self._pace.reidentify
        self._retry = self._pace.first_retry
        self._replan()
        self._well()

    def _connection_ended(self, now: float) -> None:
        """Identify the driver anew: whoever is there now may be able to do something else.

        One that closes its connections all the time is identified ever more rarely.
        """
        if self._ended:
            return
        self._ended = True
        steady = now - self._anew_at >= 2 * self._pace.reidentify
        self._rest = self._pace.first_retry if steady else min(self._pace.reidentify, 2 * self._rest)
        self._identify_at = min(self._identify_at, max(now, self._anew_at + self._rest))

    def _begin_anew(self) -> None:
        """Believe again in what the driver promises, since it may have been started anew with other flags.

        What it counted before is no word of the one that counts now: it may not count inodes, and could never end that
        they ran out.
        """
        self._counted.clear()
        self._lacking = frozenset()
        self._served.clear()
        self._refused.clear()

    def _replan(self) -> None:
        if self._info is not None:
            self._plan = make_plan(self._info, self._lacking, hidden=self._plan.hidden)
            if STORAGE not in self._plan.methods:
                self._storage = ()  # it can never take back what it said of it
            for target in self._targets.values():
                if not target.suspended:
                    self._end_lost(target)
            self._say()

    def _end_lost(self, target: Target, *, heard: bool = False) -> None:
        """End what was said of a volume by a call that the driver has no more: it can never take that back.

        Args:
            target: the volume.
            heard: its usage came without a condition. Before that a driver may send one without saying that it can.
        """
        counts = STATS in self._plan.methods
        if not counts:
            self._ledger.count(target.claim, counted=None)
        silent = self._plan.api is HealthAPI.NONE and (heard or not counts)
        news = silent and self._ledger.drop(target.claim, Observer.DRIVER)
        if (not counts and self._ledger.drop(target.claim, Observer.CAPACITY)) or news:
            self._news()

    def _well(self) -> None:
        """The driver answered."""
        self._failing_since, self._failed, self._error = None, 0, ""
        self._say()

    def _failing(self, why: str) -> None:
        """The driver itself does not answer, or is another one: nothing else is asked until it does."""
        now = self._clock.monotonic()
        self._begin_anew()
        self._failing_since = now if self._failing_since is None else self._failing_since
        self._failed += 1
        self._error = why
        self._identify_at = now + self._retry
        self._retry = min(self._pace.last_retry, self._retry * 2)
        self._say()
        self._woken.set()

    def _say(self) -> None:
        """Write down how the driver is; tell if that changed."""
        before = self._status
        plan, since = self._plan, self._failing_since
        down = since is not None and (
            self._info is None or (self._failed > 1 and self._clock.monotonic() - since >= self._pace.outage)
        )
        if down:
            after = replace(before, state=SourceState.UNREACHABLE, message=self._error)
        elif self._info is None:
            after = before
        else:
            after = replace(
                before,
                state=plan.state,
                health_api=plan.api,
                methods=plan.methods,
                message=plan.message,
                hint=plan.hint,
            )
        after = replace(after, storage=self._storage)
        if after.state is not before.state:
            after = replace(after, since=self._now())
            log.info("driver", extra={"driver": self.name, "state": after.state.value, "why": after.message})
        if same_text(after.message, before.message):
            after = replace(after, message=before.message)
        if after != before:
            self._status = after
            self._news()

    # -- the storage behind it ----------------------------------------------------------------------------------

    async def _ask_storage(self, client: CsiClient) -> None:
        interval = self._interval if self._interval < math.inf else self._pace.reidentify
        timeout = self._timeout()
        try:
            found = await client.node_get_storage_health(secrets=self._secrets(self.name), timeout=timeout)
        except CallNotSupported:
            self._lacks(STORAGE)
        except CsiError as error:  # what it said last stands; whether it is there, the other calls tell
            log.debug("no storage health", extra={"driver": self.name, "error": str(error)})
        else:
            self._storage = self._problems(found)
            self._say()
        finally:
            self._storage_at = self._clock.monotonic() + interval
            self._storage_busy = False
            self._woken.set()

    def _problems(self, found: tuple[StorageCondition, ...]) -> tuple[StorageProblem, ...]:
        before = {_sort_key(one): one for one in self._storage}
        problems: dict[tuple[bool, str, str, str, str], StorageProblem] = {}
        for one in found:
            new = StorageProblem(
                one.status, one.reason, one.message, self._now(), one.access_mode, one.volume_mode
            )
            old = before.get(_sort_key(new))
            if old is not None:
                text = old.message if same_text(old.message, new.message) else new.message
                new = replace(new, since=old.since, message=text)
            problems.setdefault(_sort_key(new), new)
        return tuple(problems[key] for key in sorted(problems))[:MAX_CONDITIONS]

    # -- one volume ---------------------------------------------------------------------------------------------

    async def _ask(self, client: CsiClient, key: str) -> None:
        target = self._targets.get(key)
        if target is None:
            return
        begun = self._clock.monotonic()
        try:
            with self._lanes.call():
                await self._ask_driver(client, target)
        except CallNotSupported as error:
            method = str(error).partition(":")[0]
            if self._is_missing(method, target):
                self._lacks(method)
                self._done(key, target, begun, again=True)
            else:
                self._no_answer(key, target, error, begun=begun)
        except CsiError as error:
            self._no_answer(key, target, error, begun=begun, broken=not client.connected)
        else:
            self._failures.pop(key, None)
            self._stuck.pop(key, None)
            self._well()
            self._done(key, target, begun, again=not self._wanted(target))

    def _done(self, key: str, target: Target, begun: float, *, again: bool = False) -> None:
        """Plan the next ask; `again` asks once more soon."""
        now = self._clock.monotonic()
        if (
            now - begun < self._pace.delay
        ):  # what is stuck says nothing of how busy the others keep the driver
            self._meter.batch(now - begun)
        interval = self._meter.seconds(len(self._queue), target.interval)
        stuck = self._stuck.get(key, 0)
        if stuck:
            interval = max(interval, min(self._pace.longest, interval * 2.0**stuck))
        self._queue.asked(key, now, interval=interval)
        if again:
            self._queue.soon(key, now + min(self._pace.again, target.interval))
        if key in self._targets and not again:
            first = key not in self._asked
            self._asked.add(key)
            if first and self.settled:
                self._news()
        self._woken.set()

    def _no_answer(
        self, key: str, target: Target, error: CsiError, *, begun: float, broken: bool = False
    ) -> None:
        """Nothing was learnt of a volume; only if that happens twice it is silent.

        Args:
            key: of the volume.
            target: what was asked about.
            error: what came instead of an answer.
            begun: when it was asked.
            broken: the connection does not stand any more. Else UNAVAILABLE is what the driver says of this volume.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if error.code == _UNAVAILABLE and broken:
            if self._failing_since is None:  # of many calls that break at once, one counts
                self._failing(str(error))
        elif error.code in (_DEADLINE, _UNAVAILABLE):
            if error.code == _DEADLINE:
                self._stuck[key] = min(self._stuck.get(key, 0) + 1, 30)
            if self._failing_since is None:
                self._identify_at = self._clock.monotonic()  # is it the volume or the driver?
        else:
            self._stuck.pop(key, None)
            self._well()
        if failures > 1 and target.health and self._wanted(target):
            missing = isinstance(error, VolumeNotFound)  # what that means here, nobody knows (facts D6)
            reason = SilenceReason.NOT_MOUNTED if missing else SilenceReason.CALL_FAILED
            if self._ledger.silent(target.claim, reason.value, str(error), now=self._now()):
                self._news()
        self._done(key, target, begun, again=failures == 1)

    async def _ask_driver(self, client: CsiClient, target: Target) -> None:
        """Make the calls for one volume and write down what they say.

        Raises:
            CsiError: if there is no answer about its health, or about its usage where that is all that is asked.
        """
        if not target.claim.handle:
            self._leave_unasked(target)
            return
        api = self._plan.api if target.health else HealthAPI.NONE
        said: tuple[Condition, ...] | None = None
        if not target.health and self._ledger.drop(target.claim, Observer.DRIVER):
            self._news()
        if not target.counted and self._ledger.drop(target.claim, Observer.CAPACITY):
            self._news()
        if api is HealthAPI.VOLUME_HEALTH:
            try:
                said = await self._health(client, target)
                self._hear(target, said)
            except CsiError as error:
                condition = backend_error(error, wanted="how the volume is") if target.mounted else None
                if condition is None or not self._wanted(target):
                    raise
                self._hear(target, (condition,))
                return
        legacy = target.health and target.mounted and api is not HealthAPI.VOLUME_HEALTH
        if STATS not in self._plan.methods or not (legacy or target.capacity is not None):
            self._ledger.count(target.claim, counted=None)
            if target.capacity is None and self._ledger.drop(target.claim, Observer.CAPACITY):
                self._news()  # nothing asks how full it is any more
            return
        try:
            stats = await self._stats(client, target)
        except CsiError as error:
            self._ledger.count(target.claim, counted=False)
            if self._take_errno(target, error):
                return
            if api is HealthAPI.VOLUME_HEALTH and error.code not in (_UNAVAILABLE, _DEADLINE):
                return  # its health is known; how full it is stays as it was
            raise
        self._ledger.count(target.claim, counted=True)
        self._usage.note(target.claim.ref, stats.usage, now=self._clock.monotonic(), check=target.capacity)
        if api is not HealthAPI.VOLUME_HEALTH:
            said = stats.conditions
        self._take_stats(target, stats, legacy=legacy, well=said == ())

    def _leave_unasked(self, target: Target) -> None:
        """Nobody knows how the driver calls a migrated volume: a call without a handle would fail at each ask."""
        if self._plan.api is not HealthAPI.NONE and target.health:
            text = "its handle is not known, as it was made by an in-tree plugin: the driver cannot be asked about it"
            if self._ledger.silent(target.claim, SilenceReason.NOT_YET_ASKED.value, text, now=self._now()):
                self._news()

    def _take_errno(self, target: Target, error: CsiError) -> bool:
        """Write down what a failed call says of the volume itself; return whether it says anything."""
        condition = backend_error(error)
        if condition is None or not self._wanted(target):
            return False
        if self._plan.api is HealthAPI.VOLUME_CONDITION:
            self._hear(target, (condition,))
        elif target.counted:
            if self._ledger.hear(target.claim, Observer.CAPACITY, (condition,), now=self._now()):
                self._news()
        else:
            return False
        return True

    def _take_back_errno(self, target: Target) -> None:
        """The call works again, though nothing was counted: how full the volume is stays as it was."""
        said = self._ledger.said(target.claim.ref, Observer.CAPACITY)
        left = [one for one in said if one.reason != Reason.BACKEND_ERROR]
        if len(left) < len(said):
            conditions = [Condition(one.status, one.reason, one.message) for one in left]
            self._ledger.hear(target.claim, Observer.CAPACITY, conditions, now=self._now())
            self._news()

    async def _health(self, client: CsiClient, target: Target) -> tuple[Condition, ...] | None:
        found = await client.node_get_volume_health(
            target.claim.handle,
            publish_path=target.paths.publish if target.mounted else "",
            staging_path=target.paths.staging if target.mounted and self._plan.stages else "",
            timeout=target.timeout,
        )
        self._served.add(HEALTH)
        return found

    async def _stats(self, client: CsiClient, target: Target) -> VolumeStats:
        found = await client.node_get_volume_stats(
            target.claim.handle,
            target.paths.publish,
            staging_path=target.paths.staging if self._plan.stages else "",
            timeout=target.timeout,
        )
        self._served.add(STATS)
        return found

    def _take_stats(self, target: Target, stats: VolumeStats, *, legacy: bool, well: bool) -> None:
        if legacy:
            if stats.conditions is not None and self._plan.api is HealthAPI.NONE:
                self._plan = replace(self._plan, hidden=True)
                self._replan()
            if self._plan.api is HealthAPI.VOLUME_CONDITION:
                self._hear(target, stats.conditions)
            self._end_lost(target, heard=True)
        if target.capacity is None:
            if self._wanted(target) and self._ledger.reached(target.claim, now=self._now()):
                self._news()
            return
        counted = self._count(target, stats, well=well)
        full = judge_capacity(counted, target.capacity)
        if not self._wanted(target):
            return
        if counted:
            news = self._ledger.hear(target.claim, Observer.CAPACITY, full.conditions, now=self._now())
            if self._ledger.warn(target.claim, full.warning) or news:
                self._news()
        else:
            self._take_back_errno(target)

    def _count(self, target: Target, stats: VolumeStats, *, well: bool) -> tuple[Usage, ...]:
        """Return how full a volume is in each unit, as it was really counted last; missing is not zero (facts D8).

        An abnormal volume often has no usage, or nothing in use: that says nothing, and takes nothing back. One that the driver
        calls well may have been emptied.
        """
        known = self._counted.setdefault(target.claim.uid, {})
        counted = [one for one in stats.usage if is_counted(one) or (well and is_empty(one))]
        if not counted:
            return ()
        known.update((one.unit, one) for one in counted)
        return tuple(known[unit] for unit in sorted(known))

    def _hear(self, target: Target, conditions: tuple[Condition, ...] | None) -> None:
        if not self._wanted(target):
            return
        if conditions is not None:
            news = self._ledger.hear(target.claim, Observer.DRIVER, conditions, now=self._now())
        else:
            reason = SilenceReason.NO_CONDITION
            news = self._ledger.silent(target.claim, reason.value, reason.description, now=self._now())
        if news:
            self._news()

    def _wanted(self, target: Target) -> bool:
        """Tell whether an answer still counts: the claim is the one that was asked about, and in use by the same Pod."""
        now = self._targets.get(target.key)
        return now is not None and now.claim.uid == target.claim.uid and now.paths == target.paths

    def _is_missing(self, method: str, target: Target) -> bool:
        """Tell whether the driver lacks a method that it refused of one volume: some know it for filesystems only.

        It lacks what it never answered, and refused of a volume of each mode that is in use.
        """
        if method in self._served:
            return False
        refused = self._refused.setdefault(method, set())
        refused.add(target.claim.block)
        active = (one for one in self._targets.values() if not one.suspended)
        return refused >= {one.claim.block for one in active if one.mounted or method == HEALTH}

    def _lacks(self, method: str) -> None:
        if method in (HEALTH, STATS, STORAGE):
            self._lacking |= {method}
            self._replan()

    def _timeout(self) -> float:
        return max((one.timeout for one in self._targets.values()), default=self._pace.identify)

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)


def _sort_key(problem: StorageProblem) -> tuple[bool, str, str, str, str]:
    """Order problems worst first; equal keys are the same problem."""
    mild = problem.status == "StorageDegraded"
    return (mild, problem.status, problem.reason, problem.access_mode, problem.volume_mode)
