"""What the Kopf timers drive: when a policy is due, and what happens in its turn."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from volumehealth.app.policies import GONE_AFTER, Entry, PolicyBook
from volumehealth.cluster.changes import Changes
from volumehealth.cluster.objects import RawDriver, RawPolicy, RawRecord
from volumehealth.cluster.view import Listener, Part
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim
from volumehealth.model.explanation import Explanation
from volumehealth.model.health import ClaimHealth, HealthAPI, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Result, Steps, in_slices
from volumehealth.pipeline import Pipeline
from volumehealth.policy.select import Members
from volumehealth.report.metrics import Metrics
from volumehealth.report.records import POLICY_LABEL, label_value
from volumehealth.report.reporter import Reporter
from volumehealth.report.storagestate import read_storage
from volumehealth.sources.controllers import DriverControllers
from volumehealth.sources.view import ClaimsView

log = logging.getLogger(__name__)

GRACE = 60.0
"""Seconds by which a check may be late before /healthz says that checks do not advance."""
SWEEP = 60.0
"""Seconds between two looks for records that belong to no policy."""
_FORGOTTEN = 3600.0
"""Seconds for which a current view must lack a policy before its timer ends, which cannot be taken back: Kopf may know a
policy before the view does, and the view may lose one for a moment. Until then the timer costs a task that sleeps."""
_REST = 4.0
"""So many times as long as its last turn took a policy rests before news may call it again: a driver that changes its
word all the time must not keep the process from anything else."""
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0
"""Seconds that it rests at least; twice as many each time while news never ends, so that a driver that is asked volume
by volume, or a thousand agents, do not have each word checked and written by itself."""
_CALM = 2.0
"""Seconds without a turn after which news is acted on at once again."""
_RETRY = 5.0
"""Seconds after which a turn that failed is tried again."""
_SETTLE = 0.05
"""Seconds in which changes of the view are taken together."""
_LONGEST_WAIT = 30.0
"""Seconds after the start that drivers have to answer before a first check says what is not known."""


class View(ClaimsView, Protocol):
    """What is needed of `cluster.view.ClusterView`."""

    @property
    def policies(self) -> Mapping[str, RawPolicy]:
        """See there."""

    @property
    def records(self) -> Mapping[ClaimRef, RawRecord]:
        """See there."""

    @property
    def drivers(self) -> Mapping[str, RawDriver]:
        """See there."""

    async def complete(self) -> None:
        """See there."""

    def subscribe(self) -> Changes:
        """See there."""

    def listen(self, listener: Listener, /) -> None:
        """See there."""


@dataclass(slots=True)
class _Slot:
    """When a policy's turn comes. Times are monotonic seconds.

    Attributes:
        seen: when the policy was first seen.
    """

    seen: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    due: float = 0.0
    rest_until: float = 0.0
    pause: float = 0.0
    turned: float | None = None

    def rest(self, started: float, ended: float) -> None:
        """Note a turn, and how long to rest after it."""
        busy = self.turned is not None and started - self.turned < _CALM
        self.pause = min(_LAST_PAUSE, 2 * self.pause) if busy else _FIRST_PAUSE
        self.turned = ended
        self.rest_until = ended + max(self.pause, _REST * (ended - started))


class Engine:
    """Knows the policies, wakes them, and runs their turns.

    Args:
        view: the cluster view.
        pipeline: what checks.
        controllers: the drivers' controllers, to which the first check gives time to answer.
        reporter: what tells.
        metrics: what counts.
        clock: time.
    """

    def __init__(
        self,
        *,
        view: View,
        pipeline: Pipeline,
        controllers: DriverControllers,
        reporter: Reporter,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._view = view
        self._pipeline = pipeline
        self._controllers = controllers
        self._reporter = reporter
        self._metrics = metrics
        self._clock = clock
        self._changes = view.subscribe()
        self._changed = asyncio.Event()
        view.listen(self._view_news)
        self._book = PolicyBook()
        self._slots: dict[str, _Slot] = {}
        self._following = asyncio.Event()
        self._led = float("inf")
        self._turning = asyncio.Lock()
        self._relabelled = False
        self._arrival = asyncio.Event()
        self._distrusted = float("-inf")
        self._stopping = False

    async def run(self) -> None:
        """Follow policies until cancelled; takes up what an earlier process wrote once the view is complete."""
        await self._view.complete()
        await self._start()
        swept = self._clock.monotonic()
        while True:
            await self._change()
            async with self._turning:
                await self._follow_policies()
            if self._clock.monotonic() - swept >= SWEEP:
                swept = self._clock.monotonic()
                await self._sweep()

    async def started(self) -> None:
        """Wait until the policies are known and earlier records were taken up."""
        await self._following.wait()

    def stop(self) -> None:
        """Let every turn end; no check starts after this."""
        self._stopping = True
        self._arrival.set()
        for slot in self._slots.values():
            slot.wake.set()

    def owner_of(self, ref: ClaimRef) -> str | None:
        """Return the name of the policy that owns a claim now; None if none does."""
        uid = self._pipeline.selection.owner(ref)
        return self._book[uid].raw.name if uid is not None and uid in self._book else None

    def explain(self, claim: Claim) -> Explanation | None:
        """Return what is known of a claim as of its policy's last check; None before the policies are known."""
        return self._pipeline.explain(claim) if self._following.is_set() else None

    def driver_news(self, driver: str) -> None:
        """A driver said something new: the policies that select it are due."""
        for uid in self._pipeline.users_of(driver):
            self._wake(uid)

    def driver_answered(self, driver: str) -> None:
        """A driver said the same again: the policies of which that may complete a delay are due."""
        judge, now = self._pipeline.judge, self._clock.monotonic()
        waiting = [
            uid
            for uid in self._pipeline.users_of(driver)
            if uid in self._book and self._book[uid].checks and judge.waits_for(uid, driver, now)
        ]
        # A driver that is asked volume by volume answers many times a second, and hardly ever is anything due.
        answers = self._controllers.answers_of(driver) if waiting else None
        if answers is None:
            return
        for uid in waiting:
            if judge.may_complete(uid, answers, now):
                self._wake(uid)

    async def turn(self, uid: str, /) -> bool:
        """Wait until the policy is due and check it once; False if the policy is gone for good."""
        if self._stopping:
            return True
        if not await self._appears(uid):
            return self._stopping
        slot = self._slot(uid)
        await self._until_heard(uid, slot)
        await self._until_due(slot)
        if self._stopping:
            return True
        async with self._turning:
            if self._shows(uid):
                await self._check(self._book[uid], slot)
        return True

    def advancing(self) -> tuple[bool, str]:
        """Whether every policy was checked as its interval demands since it was first seen (/healthz).

        Time in which the API server cannot be followed does not count: starting this process anew would not help.
        """
        now = self._clock.monotonic()
        if self._view.state().stale:
            self._distrusted = now
        late = []
        for entry in self._book.entries():
            slot = self._slot(entry.raw.uid)
            last = max(slot.seen if slot.turned is None else slot.turned, self._distrusted)
            overdue = now - last - _interval(entry)
            if overdue > GRACE and self._shows(entry.raw.uid):
                late.append(f"{entry.raw.name} by {overdue:.0f} s")
        if late:
            return False, f"checks do not advance: {', '.join(sorted(late))}"
        return True, "checks advance"

    def ready(self) -> tuple[bool, str]:
        """Whether the view is complete (/readyz)."""
        if self._following.is_set():
            return True, "the cluster view is complete"
        return False, "the cluster view is not complete yet"

    # ---- policies ----

    def _view_news(self, part: Part) -> None:
        if part is Part.POLICIES:
            self._changed.set()
        elif part is Part.NAMESPACES:
            self._relabelled = True
        elif part in (Part.STATE, Part.REPORTS):
            if part is Part.STATE:
                self._distrusted = self._clock.monotonic()
            for uid in self._slots:
                self._wake(uid)

    async def _change(self) -> None:
        """Wait for a change of policies, and a moment more: changes come in swarms."""
        try:
            async with asyncio.timeout(GONE_AFTER if self._book.missing else SWEEP):
                await self._changed.wait()
            await asyncio.sleep(_SETTLE)
        except TimeoutError:
            pass
        self._changed.clear()

    async def _start(self) -> None:
        await self._follow_policies()
        self._changes.take()
        await self._in_turns(self._pipeline.follow(self._book.usable(), None))
        await self._in_turns(self._resume())
        for entry in self._book.entries():
            storage = read_storage(entry.raw.status, now=self._clock.now())
            self._pipeline.judge.resume_storage(entry.raw.uid, storage)
        await self._sweep()
        log.info("view complete", extra={"claims": len(self._view.claims), "policies": len(self._book)})
        self._led = self._clock.monotonic()
        self._following.set()

    def _resume(self) -> Steps[None]:
        """Take up what the records of an earlier process say, one in each step."""
        # A record shows that its driver answered once, as its VolumeHealthDriver does.
        answered: set[str] = set()
        for ref in list(self._view.records):
            claim = self._view.claims.get(ref)
            if claim is not None:
                answered.add(claim.driver)
        self._controllers.resume(_connected(self._view.drivers.values()) | answered)
        yield
        owned: dict[str, dict[ClaimRef, ClaimHealth]] = {}
        unowned: dict[ClaimRef, ClaimHealth] = {}
        for healths in (yield from self._reporter.resume(self._view.records)).values():
            for ref, health in healths.items():
                uid, claim = self._pipeline.selection.owner(ref), self._view.claims.get(ref)
                if claim is None or claim.uid != health.uid:
                    continue
                if uid is not None:
                    owned.setdefault(uid, {})[ref] = health
                else:  # its policy's spec cannot be used now
                    unowned[ref] = health
                yield
        yield from self._pipeline.judge.resume(owned, unowned, self._clock.now())

    async def _follow_policies(self) -> None:
        """Take the policies that exist now; a changed spec acts at once, a deleted policy takes back what it told."""
        changed, gone = self._book.refresh(
            self._view.policies.values(),
            now=self._clock.monotonic(),
            trusted=not self._view.state().stale,
            wall=self._clock.now(),
        )
        for uid in changed:
            self._wake(uid)
        arrival, self._arrival = self._arrival, asyncio.Event()
        arrival.set()
        for entry in gone:
            slot = self._slots.pop(entry.raw.uid, None)
            if slot is not None:
                slot.wake.set()
            log.info("policy deleted", extra={"policy": entry.raw.name})
        if gone:
            uids = [entry.raw.uid for entry in gone]
            await self._in_turns(self._pipeline.follow(self._book.usable(), (), gone=uids))
            # A record is deleted if nobody owns its claim when the time has come: who owns it now must be known before.
            for entry in gone:
                await self._in_turns(self._reporter.forget(entry.shown))
            for uid in self._slots:  # the claims it leaves may be another's now
                self._wake(uid)

    async def _sweep(self) -> None:
        self._pipeline.judge.keep_unowned(self._view.records)
        names = {entry.raw.name for entry in self._book.entries()}
        await self._in_turns(self._reporter.sweep(self._view.records, names))

    def _wake(self, uid: str) -> None:
        slot = self._slot(uid)
        slot.due = 0.0
        slot.wake.set()

    # ---- turns ----

    def _slot(self, uid: str) -> _Slot:
        return self._slots.setdefault(uid, _Slot(self._clock.monotonic()))

    def _shows(self, uid: str) -> bool:
        """Tell whether the view shows a policy now."""
        return uid in self._book and uid not in self._book.missing

    async def _appears(self, uid: str) -> bool:
        """Wait until the view shows a policy; False if we stop, or if it has not been there for very long."""
        since = self._clock.monotonic()
        while not self._shows(uid) and not self._stopping:
            if self._view.state().stale:
                since = self._clock.monotonic()
            if self._clock.monotonic() - since >= _FORGOTTEN:
                return False
            try:
                async with asyncio.timeout(SWEEP):
                    await self._arrival.wait()
            except TimeoutError:
                pass
        return not self._stopping

    async def _until_heard(self, uid: str, slot: _Slot) -> None:
        """After the start, let drivers answer once: what is known must not turn Unknown and back with each restart."""
        while not self._stopping and uid in self._book:
            left = self._led + _first_answers(self._book[uid]) - self._clock.monotonic()
            if left <= 0 or (self._controllers.named and self._controllers.settled(self._members(uid))):
                return
            slot.wake.clear()
            try:
                async with asyncio.timeout(left):
                    await slot.wake.wait()
            except TimeoutError:
                return

    async def _until_due(self, slot: _Slot) -> None:
        wait = slot.due - self._clock.monotonic()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await slot.wake.wait()
            except TimeoutError:
                pass
        rest = slot.rest_until - self._clock.monotonic()
        if rest > 0:
            await asyncio.sleep(rest)
        slot.wake.clear()

    async def _check(self, entry: Entry, slot: _Slot) -> None:
        started = self._clock.monotonic()
        slot.due = started + _interval(entry)
        relabelled, self._relabelled = self._relabelled, False
        changed = self._changes.take()
        try:
            await self._in_turns(self._pipeline.follow(self._book.usable(), changed, relabelled=relabelled))
            # What was found of a claim stays in all numbers if the policy that holds it now is checked in this moment, too.
            for heir in self._pipeline.judge.take_heirs() - {entry.raw.uid}:
                self._wake(heir)
            result = await self._result(entry)
        except BaseException:  # what changed must not be lost with the turn
            self._changes.put_back(changed)
            self._relabelled = self._relabelled or relabelled
            slot.due = started + min(_RETRY, _interval(entry))
            raise
        self._reporter.report(result, previous_status=entry.raw.status, version=entry.raw.version)
        ended = self._clock.monotonic()
        slot.rest(started, ended)
        if entry.checks:
            slot.due = min(slot.due, self._pipeline.judge.next_complete(entry.raw.uid, ended))
            self._metrics.check_finished(entry.raw.name, ended - started, self._clock.now())

    async def _in_turns(self, steps: Steps[Result]) -> Result:
        return await in_slices(steps, self._clock.monotonic)

    async def _result(self, entry: Entry) -> CheckResult:
        if not entry.checks:
            view, now = self._view, self._clock.now()
            return CheckResult.unjudged(
                entry.shown,
                now,
                claims=view.claims,
                view=view.state(),
                silences=self._pipeline.silences,
                remembered=self._remembered(entry),
                invalid=entry.faults,
            )
        result = await self._in_turns(self._pipeline.check(entry.shown))
        return replace(result, invalid=entry.faults) if entry.faults else result

    def _remembered(self, entry: Entry) -> dict[ClaimRef, ClaimHealth]:
        """Return what was found of the claims of a policy that is not checked now; of one without a spec, its records say it."""
        judge, records = self._pipeline.judge, self._view.records
        if entry.policy is not None:
            return dict(judge.healths(entry.policy.uid))
        label = label_value(entry.raw.name)
        return {
            ref: health
            for ref, health in judge.unowned.items()
            if (record := records.get(ref)) is not None and record.labels.get(POLICY_LABEL) == label
        }

    def _members(self, uid: str) -> Members:
        return self._pipeline.selection.members(uid)


def _first_answers(entry: Entry) -> float:
    """Return how many seconds after the start a policy's drivers have to answer: who they are, and how all is."""
    return min(_LONGEST_WAIT, 2 * entry.shown.spec.timeout.total_seconds() + _SETTLE)


def _interval(entry: Entry) -> float:
    return entry.shown.spec.interval.total_seconds()


def _connected(drivers: Iterable[RawDriver]) -> set[str]:
    """Return the drivers that were connected when their objects were written, or were missed.

    Of one that did not answer since the start of the process that wrote it, that one knew no health call either.
    """
    apart = {SourceState.NOT_CONNECTED.value, SourceState.UNSUPPORTED.value}
    missed = {state.value for state in SourceState if state.is_down}
    return {
        driver.name
        for driver in drivers
        if driver.status.get("state") in missed
        or (
            driver.status.get("state") not in apart and driver.status.get("healthAPI") != HealthAPI.NONE.value
        )
    }
