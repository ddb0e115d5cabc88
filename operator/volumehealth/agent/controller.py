"""The controller agent: one driver's controller plugin, asked from beside it by one of its replicas, and reported.

It lists the volumes of its driver itself, as the driver's own sidecars do, and asks about them as often as the most
demanding policy wants. Without a policy for the driver nobody is asked.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import Random

from volumehealth.agent.compose import bounded
from volumehealth.agent.controller_settings import ControllerSettings
from volumehealth.agent.policies import PolicyStore
from volumehealth.agent.writer import AgentLease, ReportWriter
from volumehealth.app.secrets import SecretFiles
from volumehealth.cluster.objects import PersistentVolume, VolumeRow
from volumehealth.cluster.resources import volumes
from volumehealth.cluster.tables import Table
from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.wire import Dial, GrpcWire
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import OF_MANY, Reflector
from volumehealth.model.clock import Clock
from volumehealth.model.health import Answer, DriverAnswers, Outcome, SourceState, severity
from volumehealth.model.origin import Observer
from volumehealth.model.policy import Policy
from volumehealth.model.report import (
    Coverage,
    Plane,
    ReportedCondition,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    VolumeHealthReport,
    controller_report_name,
)
from volumehealth.probing.prober import ControllerProber
from volumehealth.probing.spec import FROM_ANYWHERE, ProbeLimits, ProbeSpec, Topology
from volumehealth.settings import identity

log = logging.getLogger(__name__)

_TICK = 5.0
"""Seconds after which is looked without news: an answer may have become too old to be trusted."""
_FIRST_ROUND = 45.0
"""Seconds that the first report waits for every volume to be asked."""
_COVERAGE_EVERY = 10.0
"""Seconds between two reports at least if nothing changed but what was looked at."""
_STALLED = 150.0
"""Seconds without a sign of life after which this process does not say any more that it is alive."""


class NoMetrics:
    """Nobody counts calls here."""

    def observe_call(self, driver: str, method: str, *, code: str, seconds: float) -> None:
        """Forget it."""


class OwnerlessWriter(ReportWriter):
    """Writes a report that belongs to no Node: it was made, and is removed, with the rights to write it."""

    async def _find_owner(self) -> dict[str, str] | None:
        return None


class ControllerAgent:
    """Watches one driver's controller while `run` runs; the caller holds the Lease among the replicas.

    Args:
        api: a connection, under the driver's ServiceAccount.
        settings: as they are.
        clock: time.
        random: spreads what many agents do.
        dial: makes the connection to the driver.
        holder: who this process is to its Lease.
    """

    def __init__(
        self,
        api: Api,
        settings: ControllerSettings,
        *,
        clock: Clock,
        random: Random,
        dial: Dial = GrpcWire,
        holder: str = "",
    ) -> None:
        self._driver = settings.driver
        self._clock = clock
        self._changed = asyncio.Event()
        self._started = clock.monotonic()
        self._looked: float | None = None
        self._read = False
        self._rows: dict[str, VolumeRow] = {}
        self._wanted: ProbeSpec | None = None
        self._earlier: VolumeHealthReport | None = None
        self._written: VolumeHealthReport | None = None
        self._written_at = 0.0
        self._refused = ""
        self._policies = PolicyStore(api, clock=clock, random=random, news=self._changed.set)
        self._reflector: Reflector[PersistentVolume, VolumeRow] = Reflector(
            api,
            volumes(),
            _OfDriver(self._rows, settings.driver),
            clock=clock,
            random=random,
            pace=OF_MANY,
            news=self._changed.set,
        )
        common = settings.common
        self._prober = ControllerProber(
            parse_endpoint(settings.endpoint, common.csi_tls),
            clock=clock,
            on_news=self._changed.set,
            metrics=NoMetrics(),
            secrets=SecretFiles(common.csi_secrets_dir),
            random=random,
            limits=ProbeLimits(gets_in_flight=common.csi_gets_in_flight, duty=common.csi_busy_percent / 100),
            driver_name=settings.driver,
            connect=partial(CsiClient, dial=dial),
        )
        name = controller_report_name(settings.driver)
        self._writer = OwnerlessWriter(api, name, clock=clock, random=random)
        self._lease = AgentLease(
            api,
            namespace=common.namespace,
            report=name,
            identity=holder or identity(),
            clock=clock,
            random=random,
            owner=lambda: None,
            plane=Plane.CONTROLLER,
        )

    def alive(self) -> bool:
        """Tell whether the report can be confirmed: we look at the driver, know the volumes, and write what is new."""
        current = self._clock.monotonic() - self._reflector.confirmed < _STALLED
        looks = self._looked is not None and not self._stalled()
        return looks and (current or bool(self._refused)) and self._writer.believable

    def health(self) -> tuple[bool, str]:
        """Say whether this process should go on; to wait for the API server is no reason to start it again."""
        if self._looked is None:
            return True, "waiting for the API server"
        if self._stalled():
            return False, "stalled"
        return True, f"{len(self._rows)} volumes of {self._driver}"

    def _stalled(self) -> bool:
        return self._looked is not None and self._clock.monotonic() - self._looked >= _STALLED

    def ready(self) -> tuple[bool, str]:
        """Say whether the API server was read: volumes and policies. There may be nothing to ask."""
        if not self._read:
            return False, "the API server was not read yet"
        return True, "reporting" if self._writer.written.is_set() else "no report written yet"

    async def run(self) -> None:
        """Work until cancelled."""
        self._earlier = await self._writer.load()
        self._started = self._clock.monotonic()  # we may have stood by, or waited, for long
        async with asyncio.TaskGroup() as group:
            for work in (
                self._reflector.run(),
                self._policies.run(),
                self._prober.run(),
                self._follow(),
                self._writer.run(),
                self._live(),
            ):
                group.create_task(work)

    async def _live(self) -> None:
        await self._writer.written.wait()
        await self._lease.run(self.alive)

    async def _follow(self) -> None:
        """Keep what is asked, and what is reported, in step with the cluster and the driver."""
        while True:
            self._looked = self._clock.monotonic()
            self._refused = "" if self._reflector.synced else self._reflector.error
            # Later a policy that cannot be read keeps nobody from reporting: the last good ones are in force.
            if (self._reflector.synced or self._refused) and (self._read or self._policies.settled):
                self._read = True
                self._demand()
                answers = self._prober.answers()
                if self._settled(answers):
                    self._write(self._report(answers))
            try:
                async with asyncio.timeout(_TICK):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    def _demand(self) -> None:
        handles = frozenset(row.handle for row in self._rows.values())
        earlier = self._earlier.volumes if self._earlier is not None else ()
        adverse = frozenset(volume.handle for volume in earlier) & handles
        wanted = demand_of(
            self._policies.policies.values(),
            self._driver,
            handles,
            adverse=adverse,
            topology={row.handle: row.topology for row in self._rows.values() if row.topology},
        )
        if wanted != self._wanted:
            self._wanted = wanted
            self._prober.demand(wanted)

    def _settled(self, answers: DriverAnswers) -> bool:
        """Tell whether every volume was asked once, or could have been."""
        if self._writer.written.is_set() or self._clock.monotonic() - self._started > _FIRST_ROUND:
            return True
        if answers.driver.state is not SourceState.ANSWERING:
            return answers.driver.state is not SourceState.NOT_CONNECTED
        wanted = self._wanted.volumes if self._wanted is not None else frozenset()
        return bool(answers.driver.methods) and wanted <= answers.healthy | answers.others.keys()

    def _report(self, answers: DriverAnswers) -> VolumeHealthReport:
        wanted = self._wanted.volumes if self._wanted is not None else frozenset()
        refused = ""
        if self._refused:
            refused = f"its PersistentVolumes cannot be listed from beside it: {self._refused}"
        report = report_of(self._driver, answers, wanted, earlier=self._earlier, unable=refused)
        there = frozenset(row.handle for row in self._rows.values()) if not self._refused else None
        self._earlier = remembered(report, answers, there, earlier=self._earlier)
        return bounded(report)

    def _write(self, report: VolumeHealthReport) -> None:
        """Write what changed; what changed in coverage only, at most every ten seconds."""
        now, old = self._clock.monotonic(), self._written
        same = old is not None and old == replace(report, coverage=old.coverage)
        if same and (old == report or now - self._written_at < _COVERAGE_EVERY):
            return
        self._written, self._written_at = report, now
        self._writer.want(report)


def demand_of(
    policies: Iterable[Policy],
    driver: str,
    handles: frozenset[str],
    *,
    adverse: frozenset[str],
    topology: Topology = FROM_ANYWHERE,
) -> ProbeSpec | None:
    """Return what the policies that may select a driver want of it together; None if none does.

    Args:
        policies: all usable ones.
        driver: its name.
        handles: all its volumes; an empty one stands for migrated ones of which nobody knows how the driver calls them.
        adverse: those that were bad when last heard of.
        topology: from which nodes they can be reached.
    """
    specs = [
        policy.spec
        for policy in policies
        if not policy.spec.suspend
        and policy.spec.checks.controller.enabled
        and (not policy.spec.selector.drivers or driver in policy.spec.selector.drivers)
    ]
    if not specs:
        return None
    interval: timedelta = min(spec.interval for spec in specs)
    return ProbeSpec(handles - {""}, interval, max(spec.timeout for spec in specs), adverse, topology)


def report_of(
    driver: str,
    answers: DriverAnswers,
    wanted: frozenset[str],
    *,
    earlier: VolumeHealthReport | None,
    unable: str = "",
) -> VolumeHealthReport:
    """Write what a prober knows as a report; adverse and silent volumes only.

    Args:
        driver: its name.
        answers: the prober's.
        wanted: the volumes that were asked about.
        earlier: what was reported last: what is said still keeps its `since`.
        unable: why nothing can be asked; empty if it can.
    """
    told = answers.driver
    state = SourceState.UNREACHABLE if told.state is SourceState.CIRCUIT_OPEN or unable else told.state
    before = {one.name: one for one in earlier.drivers} if earlier is not None else {}
    since = told.since.replace(microsecond=0)
    if driver in before and before[driver].state is state:
        since = before[driver].since
    reported = ReportedDriver(
        driver,
        state,
        since,
        told.health_api,
        tuple(told.methods),
        message=unable or told.message,
        hint=told.hint,
    )
    known = {volume.handle: volume for volume in earlier.volumes} if earlier is not None else {}
    quiet = {volume.handle: volume for volume in earlier.silent} if earlier is not None else {}
    bad, silent = [], []
    answered = set(wanted & answers.healthy)
    for handle in sorted(wanted - answers.healthy):
        answer = answers.about(handle)
        if answer.outcome is not Outcome.SILENT:
            answered.add(handle)
        if answer.outcome is Outcome.ADVERSE:
            bad.append(_adverse(driver, handle, answer, known.get(handle)))
        elif answer.outcome is Outcome.SILENT and state is SourceState.ANSWERING:
            old = quiet.get(handle)
            moment = (answer.since or answer.at).replace(microsecond=0)
            kept = old.since if old is not None and old.reason == answer.reason else moment
            silent.append(SilentVolume(driver, handle, answer.reason, answer.message, kept))
    return VolumeHealthReport(
        name=controller_report_name(driver),
        plane=Plane.CONTROLLER,
        drivers=(reported,),
        coverage=(Coverage.of(Observer.DRIVER, answered),),
        volumes=tuple(sorted(bad, key=_worst_first)),
        silent=tuple(silent),
    )


def remembered(
    report: VolumeHealthReport,
    answers: DriverAnswers,
    there: frozenset[str] | None,
    *,
    earlier: VolumeHealthReport | None,
) -> VolumeHealthReport:
    """Return what the next report goes on from: also what was said of volumes that the driver says nothing of now.

    An agent is often started anew together with its driver. That a volume was bad must not be forgotten until the driver
    answers: a list of CSI 1.13 that leaves it out means something else then (facts C2).

    Args:
        report: the newest.
        answers: what it was made of.
        there: the driver's volumes, whether anybody asks about them now or not; None if they cannot be read.
        earlier: what was gone on from before.
    """
    said = {volume.handle for volume in report.volumes}
    kept = tuple(
        volume
        for volume in (earlier.volumes if earlier is not None else ())
        if volume.handle not in said
        and (there is None or volume.handle in there)
        and volume.handle not in answers.healthy
        and answers.about(volume.handle).outcome in (Outcome.SILENT, Outcome.ADVERSE)
    )
    return replace(report, volumes=report.volumes + kept) if kept else report


def _adverse(driver: str, handle: str, answer: Answer, old: ReportedVolume | None) -> ReportedVolume:
    since: Mapping[tuple[str, str], ReportedCondition] = {
        (one.status, one.reason): one for one in (old.conditions if old is not None else ())
    }
    moment = (answer.since or answer.at).replace(microsecond=0)
    conditions = []
    for one in answer.conditions:
        before = since.get((one.status, one.reason))
        conditions.append(
            ReportedCondition(
                one.status, one.reason, one.message, before.since if before is not None else moment
            )
        )
    conditions.sort(key=lambda one: -severity(one.status))
    return ReportedVolume(driver, handle, conditions=tuple(conditions))


def _worst_first(volume: ReportedVolume) -> tuple[int, str]:
    return (-severity(volume.conditions[0].status), volume.handle)


class _OfDriver(Table[str, VolumeRow]):
    """The volumes of one driver that a claim is bound to."""

    def __init__(self, rows: dict[str, VolumeRow], driver: str) -> None:
        super().__init__(rows, lambda row: row.name)
        self._driver = driver

    def put(self, row: VolumeRow, /) -> None:
        """Take a volume as it is now."""
        if row.driver == self._driver and row.claim is not None:
            super().put(row)
        else:
            self.drop(row.name)
