"""Looks at the node again and again, and writes down what it shows of the volumes in use, whatever their drivers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import Target
from volumehealth.model.clock import Clock
from volumehealth.model.health import Condition
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.report import ReportedCondition, UnseenOrigin, VolumeHealthReport, names_mounting
from volumehealth.model.text import clean_message, whole_number
from volumehealth.node.eyes import Earlier, Eyes, Sight, Snapshot
from volumehealth.node.faults import Incident, Look
from volumehealth.node.files import NodeFiles, RealFiles, read_or
from volumehealth.node.gather import NFS_KINDS, DeviceFacts, Request, gather_btrfs, gather_device, requests_of
from volumehealth.node.klog import LogTail, News, read_kernel_log
from volumehealth.node.mountinfo import MountTable, parse_mountinfo
from volumehealth.node.nfs import NfsMount, parse_mountstats
from volumehealth.node.uses import VolumeUse
from volumehealth.node.workers import PATIENCE, HangsError, Workers, in_thread

log = logging.getLogger(__name__)

MOUNT_TABLE = "/proc/1/mountinfo"
"""The node's own mounts, as its first process sees them; needs the node's process ids (`hostPID`) and no right."""
EVERY = 15.0
"""Seconds between two rounds at most: four looks in the minute that I/O may stand."""
AGAIN = 5.0
"""Seconds until a new suspicion about a mount is looked at again; only then it is written down, since the kubelet may
have unmounted the volume of a Pod whose end the API does not show yet, or that a watch which stands still shows here."""

_SETTLE = 1.0
"""Seconds that a change of what is wanted waits for more of it."""
_OBSERVERS = {look: Observer(look.value) for look in Look}
_KERNEL_LOG_OFF = "the agent was told not to read the kernel log"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSights:
    """The ways to see a node; a simulation and tests have their own.

    Attributes:
        files: its /proc and /sys.
        kernel_log: returns the whole kernel log; raises OSError if it may not be read.
        start: has reads that may hang done beside the event loop.
    """

    files: NodeFiles = field(default_factory=RealFiles)
    kernel_log: Callable[[], str] = read_kernel_log
    start: Callable[[Callable[[], None]], None] = in_thread


class NodeLooks:
    """Looks at the volumes in use while `run` runs.

    Args:
        node: its name.
        kubelet: the kubelet's root directory.
        mount_table: path of a `mountinfo` file; `mountstats` lies beside it.
        ledger: where findings are written down.
        clock: time.
        news: called when something changed.
        sights: the ways to see the node.
        kernel_log: whether the kernel log is read.
        earlier: this agent's own last report.
        patience: seconds that one read may take.
        pods_that_run: asks the API server for the uids of the Pods that run here and stay; None if it cannot be asked.
            Without it what is wanted is believed.

    Attributes:
        seen: what the last round says of each volume.
        problems: why something cannot be read, by what it is; empty if all is well.
    """

    def __init__(
        self,
        *,
        node: str,
        kubelet: str,
        mount_table: str,
        ledger: ReportState,
        clock: Clock,
        news: Callable[[], None],
        sights: NodeSights | None = None,
        kernel_log: bool = True,
        earlier: VolumeHealthReport | None = None,
        patience: float = PATIENCE,
        pods_that_run: Callable[[], Awaitable[frozenset[str] | None]] | None = None,
    ) -> None:
        self._pods_that_run = pods_that_run
        self._node = node
        self._kubelet = kubelet
        self._table_path = mount_table
        self._ledger = ledger
        self._clock = clock
        self._news = news
        self._sights = sights or NodeSights()
        self._reads_log = kernel_log
        self._earlier = _earlier(earlier)
        self._workers = Workers(patience, start=self._sights.start)
        self._tail = LogTail()
        self._eyes: Eyes | None = None
        self._targets: tuple[Target, ...] = ()
        self._suspected: dict[ClaimRef, frozenset[str]] = {}
        self._woken = asyncio.Event()
        self._demanded = asyncio.Event()
        self._interval = EVERY
        self._again = False
        self._rounds = 0
        self.seen: Mapping[ClaimRef, Sight] = {}
        self.problems: dict[str, str] = {}

    def demand(self, targets: Iterable[Target]) -> None:
        """Say which claims to look at."""
        wanted = tuple(one for one in targets if not one.suspended)
        self._demanded.set()
        if wanted != self._targets:
            self._targets = wanted
            self._rounds = 0
            self._woken.set()

    @property
    def log_gaps(self) -> int:
        """How often lines of the kernel log were suppressed, or overwritten before they were seen."""
        return self._eyes.book.gaps if self._eyes is not None else 0

    @property
    def settled(self) -> bool:
        """Whether everything that is wanted was looked at, twice where it takes two looks."""
        return self._rounds > 0 and not self._again

    async def run(self) -> None:
        """Look until cancelled, from when it is known at what: a claim that is not in use loses what was reported of it."""
        await self._demanded.wait()
        while True:
            self._woken.clear()
            await self.look()
            self._interval = min((EVERY, *(one.interval for one in self._targets if one.expected)))
            try:
                async with asyncio.timeout(min(AGAIN, self._interval) if self._again else self._interval):
                    await self._woken.wait()
                    await asyncio.sleep(_SETTLE)
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Look once at everything; return whether a mount is suspected for the first time."""
        if self._eyes is None:
            self._eyes = await self._open()
        targets = {one.key: one for one in self._targets if one.expected and one.health}
        uses = [self._use(one) for one in targets.values()]
        snapshot = await self._read(uses)
        sights = self._eyes.look(
            snapshot,
            uses,
            now=self._clock.now(),
            monotonic=self._clock.monotonic(),
            uptime=self._clock.monotonic(),
            interval=self._interval,
            unread=self._ledger.unread,
        )
        self._note_problems(dict(snapshot.problems), uses)
        suspected, unseen = {}, self._unseen()
        news, self._ledger.unseen = unseen != self._ledger.unseen, unseen
        vague = await self._vague(targets, sights)
        ended = {key for key, sight in sights.items() if self._has_left(targets[key], sight)}
        for key, sight in sights.items():
            target = targets[key]
            if key in ended:
                continue
            doubtful = vague.get(key) or self._doubtful(target, sight)
            if doubtful:
                suspected[target.claim.ref] = doubtful
            news |= self._write_down(target, sight, doubtful)
            if doubtful:
                continue
            news |= self._ledger.look(
                target.claim,
                wanted=frozenset(_OBSERVERS.values()),
                seen=frozenset(_OBSERVERS[look] for look in sight.complete),
                complete=sight.required,
                missing=sight.missing,
                note=sight.note,
            )
        for one in self._targets:
            if not one.health:
                for observer in _OBSERVERS.values():
                    news |= self._ledger.drop(one.claim, observer)
                # What was seen before the check was switched off is no answer once it is on again.
                everyone = frozenset(_OBSERVERS.values())
                news |= self._ledger.look(
                    one.claim, wanted=everyone, seen=frozenset(), complete=False, missing=""
                )
        fresh = suspected.keys() - self._suspected.keys()
        self._suspected = suspected
        self._rounds += 1
        self.seen = {targets[key].claim.ref: sight for key, sight in sights.items()}
        self._again = bool(fresh) or any(
            not sight.required and not sight.missing for key, sight in sights.items() if key not in ended
        )
        if news:
            self._news()
        return bool(fresh)

    # -- reading ------------------------------------------------------------------------------------------------

    async def _open(self) -> Eyes:
        """Find out which boot of which kernel this is."""
        files = self._sights.files
        found = await self._workers.run(
            {
                "boot": lambda: read_or(files, "/proc/sys/kernel/random/boot_id"),
                "kernel": lambda: read_or(files, "/proc/sys/kernel/osrelease"),
            }
        )
        boot, kernel = (
            str(found[key]) if not isinstance(found[key], Exception) else "" for key in ("boot", "kernel")
        )
        return Eyes(
            node=self._node,
            kubelet=self._kubelet,
            boot=boot,
            kernel=kernel_version(kernel),
            earlier=self._earlier,
        )

    def _use(self, target: Target) -> VolumeUse:
        return replace(target.use, statfs=self._ledger.counts(target.claim.ref))

    async def _read(self, uses: Sequence[VolumeUse]) -> Snapshot:
        """Read a round: the table and the log, then what the table leads to, every file once."""
        files, problems = self._sights.files, {}
        jobs: dict[str, Callable[[], Any]] = {
            "mountinfo": lambda: parse_mountinfo(files.read(self._table_path), self._kubelet),
        }
        if self._reads_log:
            jobs["klog"] = self._sights.kernel_log
        first = await self._workers.run(jobs)
        table, news = first["mountinfo"], first.get("klog")
        for key, result in first.items():
            if isinstance(result, Exception):
                problems[key] = _why(key, result)
        if not self._reads_log:
            problems["klog"] = _KERNEL_LOG_OFF
        log_news = self._tail.take(news) if isinstance(news, str) else None
        if not isinstance(table, MountTable):
            return Snapshot(None, log=log_news, problems=problems)
        return await self._read_devices(table, uses, log_news, problems)

    async def _read_devices(
        self, table: MountTable, uses: Sequence[VolumeUse], news: News | None, problems: dict[str, str]
    ) -> Snapshot:
        files = self._sights.files
        requests = requests_of(table, uses, self._kubelet)
        wanted = tuple(dict.fromkeys(requests.values()))
        found = await self._workers.run({"btrfs": lambda: gather_btrfs(files, wanted)})
        btrfs = found["btrfs"] if not isinstance(found["btrfs"], Exception) else {}
        jobs: dict[Request | str, Callable[[], Any]] = {
            one: partial(gather_device, files, one, btrfs) for one in wanted
        }
        if any(stack[-1].kind in NFS_KINDS for stack in table.stacks.values()):
            path = self._table_path.rpartition("/")[0] + "/mountstats"
            jobs["mountstats"] = lambda: parse_mountstats(files.read(path))
        devices: dict[Request, DeviceFacts] = {}
        nfs: dict[str, NfsMount] = {}
        for key, result in (await self._workers.run(jobs)).items():
            if isinstance(result, DeviceFacts) and isinstance(key, Request):
                devices[key] = result
            elif isinstance(result, dict):
                nfs = result
            elif isinstance(result, Exception):
                name = key if isinstance(key, str) else key.number or key.name
                problems[name] = _why(name, result)
        return Snapshot(table, devices, requests, nfs, news, problems)

    # -- what is said -------------------------------------------------------------------------------------------

    async def _vague(
        self, targets: Mapping[str, Target], sights: Mapping[str, Sight]
    ) -> Mapping[str, frozenset[str]]:
        """Return what is about to be said of mounts for Pods of which the API server does not say that they run here.

        Out: reasons by key. It is asked only if there is something to be said.
        """
        about = {
            key: reasons
            for key, sight in sights.items()
            if (reasons := _of_mounts(sight)) - self._said_of_mounts(targets[key])
            and not self._doubtful(targets[key], sight)
        }
        if self._pods_that_run is None or not about:
            return {}
        run = await self._pods_that_run()
        return {
            key: reasons
            for key, reasons in about.items()
            if run is None or any(pod.uid not in run for pod in targets[key].expected if not pod.leaving)
        }

    def _has_left(self, target: Target, sight: Sight) -> bool:
        """Tell whether a volume's Pods are all being deleted, and have lost it: what was seen last stays until they go."""
        leaving = all(pod.leaving for pod in target.expected) and not self.problems.get("mountinfo")
        return leaving and Look.MOUNTS not in sight.complete and not sight.incidents

    def _doubtful(self, target: Target, sight: Sight) -> frozenset[str]:
        """Return what is said of a mount for the first time: it is only written down if the next look says it, too."""
        reasons = _of_mounts(sight)
        known = self._suspected.get(target.claim.ref, frozenset()) | self._said_of_mounts(target)
        return reasons if reasons - known else frozenset()

    def _said_of_mounts(self, target: Target) -> frozenset[str]:
        return frozenset(one.reason for one in self._ledger.said(target.claim.ref, Observer.MOUNT_TABLE))

    def _write_down(self, target: Target, sight: Sight, doubtful: frozenset[str]) -> bool:
        """Hand over what each look says; one that is not complete takes nothing back."""
        news = False
        unseen = {one.observer for one in self._ledger.unseen if not one.off}
        for look, observer in _OBSERVERS.items():
            said = [one for one in sight.incidents if one.fault.look is look]
            if look is Look.MOUNTS and doubtful:
                continue
            if look is Look.KERNEL_LOG and not said and not self._reads_log:
                # It was switched off, and is never seen again.
                news |= self._ledger.drop(target.claim, observer)
                continue
            if observer in unseen or (not said and look not in sight.complete):
                # What was not seen takes nothing back, but for what held until a mounting ended that is over.
                if sight.instance and not _holds(sight, look):
                    news |= self._ledger.release(target.claim, observer)
                continue
            conditions = [
                Condition(one.fault.status, one.fault.reason.value, clean_message(one.message))
                for one in said
            ]
            instances = {
                (one.fault.status, one.fault.reason.value): one.instance for one in said if one.instance
            }
            if look is Look.DEVICE:
                if self._is_open(target, sight, said):
                    continue
                for one in self._kept(target, sight, said):
                    conditions.append(Condition(one.status, one.reason, one.message))
                    instances[one.status, one.reason] = one.instance
            news |= self._ledger.hear(
                target.claim, observer, conditions, now=self._clock.now(), instances=instances
            )
        return news

    def _is_open(self, target: Target, sight: Sight, said: Sequence[Incident]) -> bool:
        """Tell whether an agent that knows nothing of a device yet cannot say either that it is well: that has to last, too.

        Another agent may have found something before, whose report went with its Node.
        """
        heard = Observer.BLOCK_DEVICE in self._ledger.covered(target.claim.ref)
        return bool(sight.undecided) and not (
            heard or said or self._ledger.said(target.claim.ref, Observer.BLOCK_DEVICE)
        )

    def _kept(self, target: Target, sight: Sight, said: Sequence[Incident]) -> Iterator[ReportedCondition]:
        """Yield what was said of a device before and may still be so: it has to last until it is said again."""
        now = {(one.fault.status, one.fault.reason.value) for one in said}
        for one in self._ledger.said(target.claim.ref, Observer.BLOCK_DEVICE):
            if one.reason in sight.undecided and (one.status, one.reason) not in now:
                yield one

    def _unseen(self) -> tuple[UnseenOrigin, ...]:
        """Return the observers that cannot look now: without the mount table none can."""
        table, kernel_log = self.problems.get("mountinfo", ""), self.problems.get("klog", "")
        found = {observer: UnseenOrigin(observer, table) for observer in _OBSERVERS.values() if table}
        if kernel_log:
            one = UnseenOrigin(Observer.KERNEL_LOG, kernel_log, off=not self._reads_log)
            found[Observer.KERNEL_LOG] = one
        return tuple(found.values())

    def _note_problems(self, problems: dict[str, str], uses: Sequence[VolumeUse]) -> None:
        """Log once for each reason why something cannot be seen."""
        if uses and self._eyes is not None and self._eyes.blind:
            problems["mountinfo"] = self._eyes.blind
        for what, why in problems.items():
            if self.problems.get(what) != why:
                log.warning("not seen", extra={"what": what, "why": why})
        if problems.keys() != self.problems.keys():
            self._news()
        self.problems = problems


def kernel_version(release: str) -> tuple[int, int]:
    """Read major and minor number of `6.18.44-generic`; a kernel that cannot be read counts as a new one."""
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    numbers = whole_number(major), whole_number(minor)
    return (numbers[0], numbers[1]) if numbers[0] is not None and numbers[1] is not None else (99, 0)


def _holds(sight: Sight, look: Look) -> bool:
    """Tell whether anything that a look said once of this mounting is still in force."""
    return any(
        one.look is look and names_mounting(one.instance)
        for found in sight.incidents
        for one in (found.fault, *found.details)
    )


def _of_mounts(sight: Sight) -> frozenset[str]:
    """Return the reasons that the mount table gives against a volume."""
    found = (one.fault for one in sight.incidents)
    return frozenset(fault.reason.value for fault in found if fault.look is Look.MOUNTS)


def _why(what: str, error: Exception) -> str:
    if isinstance(error, HangsError):
        return f"reading {what} hangs"
    if isinstance(error, OSError):
        name = {"klog": "the kernel log"}.get(what, what)
        deed = "may not" if isinstance(error, PermissionError) else "cannot"
        return f"the agent {deed} read {name} ({error.strerror})"
    return f"{what} cannot be read: {error}"


def _earlier(report: VolumeHealthReport | None) -> dict[str, list[Earlier]]:
    """Return what the looks said of each claim in a report, by the claim's uid."""
    found: dict[str, list[Earlier]] = {}
    looks = {observer: look for look, observer in _OBSERVERS.items()}
    for volume in report.volumes if report is not None else ():
        for one in volume.conditions:
            if one.origin in looks:
                found.setdefault(volume.claim_uid, []).append(
                    Earlier(looks[one.origin], one.status, one.reason, one.message, one.instance, one.since)
                )
    return found
