"""The product's processes under simulation: started, ended, killed, frozen, and started again by their Deployment."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from simulation.history import History
from simulation.loop import PROCESS, Process, SimLoop
from simulation.network import Network, SimTransport, SimWire
from volumehealth.app.assembly import LeaderWork
from volumehealth.errors import LeaseLost
from volumehealth.kube.access import Access
from volumehealth.kube.api import Api
from volumehealth.kube.lease import LeaseElector
from volumehealth.report.metrics import Metrics
from volumehealth.settings import EndpointSetting, Settings

EPOCH = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
NAMESPACE = "volumehealth-system"
_KOPF_TICK = 0.1
"""Seconds between two turns of a policy (`app.handlers.TICK_SECONDS`; importing it would load Kopf)."""
_KOPF_RETRY = 5.0
"""Seconds after which Kopf makes a turn again that failed (`settings.execution.default_backoff`)."""


class Host:
    """A machine, with a wall clock that may be set."""

    def __init__(self, name: str, loop: SimLoop) -> None:
        self.name = name
        self._loop = loop
        self.offset = 0.0
        self._last = (0.0, EPOCH)

    def now(self) -> datetime:
        """Return its wall clock."""
        at = self._loop.now + self.offset
        if at != self._last[0]:
            self._last = (at, EPOCH + timedelta(seconds=at))
        return self._last[1]

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return 1000.0 + self._loop.now


class SimCredentials:
    """Credentials that are always there (`kube.api.Credentials`)."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def load(self) -> Access:
        """Return them."""
        return Access("https://api.simulated:6443", authorization=f"Bearer {self._user}")

    async def refresh(self) -> Access:
        """Return them."""
        return await self.load()


@dataclass(eq=False)
class Replica:
    """A Pod of a Deployment or DaemonSet: its process is started again whenever it has ended.

    Attributes:
        name: of the Pod.
        user: whose rights it has.
        host: where it runs.
        main: the process's main coroutine.
        metrics: what its process exports; None before an operator leads.
        stuck: uids of policies whose timers come to a stand before their next turn.
        hung: since when timers of its process stand still, by the uid of the policy.
    """

    name: str
    user: str
    host: Host
    main: Callable[["Replica", Process, Random], Any]
    network: Network
    history: History
    process: Process | None = None
    starts: int = 0
    wanted: bool = True
    metrics: Metrics | None = None
    stuck: set[str] = field(default_factory=set)
    hung: dict[str, float] = field(default_factory=dict)
    ended: list[tuple[float, str]] = field(default_factory=list)

    def start(self) -> None:
        """Start it, unless it runs or is not wanted."""
        if self.process is not None or not self.wanted:
            return
        self.starts += 1
        self.stuck, self.hung = set(), {}
        process = self.process = Process(self.name)
        random = Random(self.network.random.getrandbits(64))
        self.history.note(self.name, f"starts ({self.starts})")
        loop = self.network.loop
        task = loop.spawn(process, self.main(self, process, random))
        task.add_done_callback(partial(self._done, process), context=loop.world_context)

    def kill(self) -> None:
        """Kill it between two steps; it comes back."""
        process, self.process = self.process, None
        if process is not None:
            self.network.loop.kill(process)
            self.history.note(self.name, "is killed")
            self._again()

    def stop(self) -> None:
        """Kill it for good."""
        self.wanted = False
        self.kill()

    def freeze(self, seconds: float) -> None:
        """Let it stand still for a while."""
        process = self.process
        if process is not None and not process.frozen:
            process.frozen = True
            self.history.note(self.name, f"is frozen for {seconds:.0f} s")
            self.network.loop.in_world(seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        if process.frozen and not process.dead:
            self.history.note(self.name, "is thawed")
            self.network.loop.thaw(process)

    def thaw(self) -> None:
        """Let it go on at once."""
        if self.process is not None:
            self._thaw(self.process)

    def _done(self, process: Process, task: "asyncio.Task[Any]") -> None:
        if self.process is not process:
            return
        self.process = None
        self.network.loop.kill(process)
        error = None if task.cancelled() else task.exception()
        why = (
            "was cancelled" if task.cancelled() else _sentence(error) if error else f"ended: {task.result()}"
        )
        self.ended.append((self.network.loop.time(), why))
        self.history.note(self.name, f"process {why}")
        if error is not None and not _is_lease_lost(error):
            self.history.violate("6 nothing ends a process", f"{self.name}: {why}")
        self._again()

    def _again(self) -> None:
        if self.wanted:
            self.network.loop.in_world(self.network.random.uniform(0.5, 5.0), self.start)


def _is_lease_lost(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_lease_lost(one) for one in error.exceptions)
    return isinstance(error, LeaseLost)


def _sentence(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" at {where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}" if where else ""
    return f"{type(error).__name__}: {error}{place}"


# ---- the operator ----


async def operator_main(
    replica: Replica,
    process: Process,
    random: Random,
    *,
    endpoints: tuple[EndpointSetting, ...],
    leads: Callable[[Replica, LeaderWork], None],
    elect: bool = True,
) -> str:
    """Run an operator as `app.operator.run` does, with its Kopf handlers driven by `_Timers`."""
    network, host = replica.network, replica.host
    settings = Settings(csi_endpoints=endpoints, namespace=NAMESPACE, leader_elect=elect)
    api = Api(
        SimCredentials(replica.user),
        clock=host,
        connect=lambda _: SimTransport(network, process, replica.user),
    )
    await api.open()
    elector = LeaseElector(
        api,
        namespace=NAMESPACE,
        name="volumehealth-operator",
        identity=f"{replica.name}-{replica.starts}",
        clock=host,
        random=random,
    )
    if elect:
        await elector.acquire()
    replica.metrics = metrics = _Counting(replica.history)
    async with asyncio.TaskGroup() as group:
        if elect:
            group.create_task(_hold(elector, replica, process))
        work = LeaderWork(
            api,
            settings,
            clock=host,
            random=random,
            metrics=metrics,
            dial=partial(SimWire, network, process),
            leads=partial(_leads_surely, elector, replica.history) if elect else lambda: True,
        )
        leads(replica, work)
        for one in work.coroutines():
            group.create_task(one)
        await work.engine.started()
        group.create_task(_Timers(work, replica, random).run())
    return "all work ended"


def _leads_surely(elector: LeaseElector, history: History) -> bool:
    if elector.holds():
        return True
    history.reach("a write was held back: another process may lead")
    return False


class _Counting(Metrics):
    """Metrics that also count the checks of the whole run."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def check_finished(self, policy: str, seconds: float, now: datetime) -> None:
        """See `Metrics.check_finished`."""
        self._history.checks += 1
        super().check_finished(policy, seconds, now)


async def _hold(elector: LeaseElector, replica: Replica, process: Process) -> None:
    """Hold the Lease; a process that lost it is gone 4 seconds later, whatever it does (`app.operator._hold`)."""
    try:
        await elector.hold()
    except LeaseLost:
        replica.history.reach("a Lease was lost")
        replica.network.loop.in_world(4.0, _alarm, replica, process)
        raise


def _alarm(replica: Replica, process: Process) -> None:
    if replica.process is process:
        replica.history.note(replica.name, "SIGALRM")
        replica.kill()


class _Timers:
    """What Kopf does for the operator: a timer for each policy that it sees.

    Kopf follows policies by a watch of its own, so what it sees is some time behind; a deleted object's timer goes on
    until it ends itself.
    """

    def __init__(self, work: LeaderWork, replica: Replica, random: Random) -> None:
        self._work = work
        self._replica = replica
        self._network = replica.network
        self._random = random
        self._timers: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow policies."""
        async with asyncio.TaskGroup() as group:
            while True:
                for policy in self._network.server.objects("volumehealthpolicies"):
                    uid = policy["metadata"]["uid"]
                    if uid not in self._timers:
                        self._timers[uid] = group.create_task(self._tick(uid))
                await asyncio.sleep(self._random.uniform(0.05, 3.0))

    async def _tick(self, uid: str) -> None:
        log = logging.getLogger("simulation.kopf")
        while True:
            try:
                if uid in self._replica.stuck:
                    self._replica.hung[uid] = self._network.loop.time()
                    await asyncio.Event().wait()
                if not await self._work.engine.turn(uid):
                    return
                await asyncio.sleep(_KOPF_TICK)
            except Exception:
                log.exception("turn failed")
                await asyncio.sleep(_KOPF_RETRY)


def current_process() -> Process:
    """Return the process whose step this is."""
    return PROCESS.get()
