"""The list of outputs: who is told what a check found. A new one is registered here, and nowhere else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Pod
from volumehealth.model.health import Finding
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.runbooks import PAGE
from volumehealth.model.steps import Steps
from volumehealth.report.conditions import conditions
from volumehealth.report.drivers import DriverOutput, DriversView, DriverWriter
from volumehealth.report.eventobjects import EventSink
from volumehealth.report.events import EventWriter
from volumehealth.report.metrics import Metrics
from volumehealth.report.outbox import Outbox
from volumehealth.report.output import Output
from volumehealth.report.policyevents import PolicyEventOutput, PolicyEventWriter
from volumehealth.report.recordwriter import RecordWriter
from volumehealth.report.silences import SilenceOutput
from volumehealth.report.statuswriter import StatusOutput, StatusWriter

Notified = Callable[[ClaimRef, str, Finding], datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What outputs are made with.

    Attributes:
        queue: writes to the API server.
        clock: time.
        metrics: what counts.
        outbox: what is owed.
        pods_of: the Pods that use a claim.
        owner_of: the name of the policy that owns a claim now.
        view: the cluster view; None in a process that shows no drivers.
        random: jitter.
        files: a directory with one for each output that needs configuration; None if there is none.
        runbooks: the address of the page of runbooks.
    """

    queue: WriteQueue
    clock: Clock
    metrics: Metrics
    outbox: Outbox
    pods_of: Callable[[ClaimRef], Sequence[Pod]]
    owner_of: Callable[[ClaimRef], str | None]
    view: DriversView | None = None
    random: Random
    files: Path | None = None
    runbooks: str = PAGE


@dataclass(frozen=True, slots=True)
class Outputs:
    """All outputs, and those that the reporter also speaks to."""

    all: tuple[Output, ...]
    statuses: StatusWriter
    records: RecordWriter
    policy_events: PolicyEventWriter


class MetricsOutput(Output):
    """Shows each check at `/metrics`."""

    name = "Metrics"

    def __init__(
        self,
        metrics: Metrics,
        queue: WriteQueue,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        owner_of: Callable[[ClaimRef], str | None],
        statuses: StatusWriter,
    ) -> None:
        self._statuses = statuses
        self._metrics = metrics
        self._pods_of = pods_of
        self._owner_of = owner_of
        self._queue = queue

    def publish(self, result: CheckResult) -> Iterator[None]:
        """Show a policy's newest check; what a status carries on while no check runs is carried on here, too."""
        there = self._statuses.newest(result.policy).get("conditions") or []
        before = {str(one.get("type")): one for one in there}
        shown = conditions(result, result.problems, before)
        statuses = [(str(one["type"]), str(one["status"])) for one in shown]
        self._metrics.publish(result, statuses, self._pods_of, self._owner_of)
        self._metrics.waiting(len(self._queue))
        yield

    def forget(self, policy: Policy) -> Steps[None]:
        """Let every series of a policy vanish."""
        self._metrics.forget(policy.name)
        yield


def _notifications(tools: Tools) -> tuple[Output, ...]:
    """Return the output that sends notifications, if there are files that say where to."""
    directory = tools.files / "notifications" if tools.files is not None else None
    if directory is None or not directory.is_dir():
        return ()
    from volumehealth.report.chat import AppriseSession
    from volumehealth.report.notifications import HttpSession, Notifications, Targets  # only where it is used

    targets = Targets(directory)
    return (
        Notifications(
            targets,
            outbox=tools.outbox,
            random=tools.random,
            send=HttpSession(),
            say=AppriseSession(),
            runbooks=tools.runbooks,
        ),
    )


def make_outputs(tools: Tools) -> Outputs:
    """Return the outputs of a process."""
    queue, clock, metrics = tools.queue, tools.clock, tools.metrics
    sink = EventSink(queue, clock=clock, observe=metrics.event_written)
    statuses = StatusWriter(queue, clock=clock)
    events = EventWriter(
        sink, clock=clock, pods_of=tools.pods_of, outbox=tools.outbox, on_error=metrics.output_failed
    )
    records = RecordWriter(
        queue,
        clock=clock,
        outbox=tools.outbox,
        notified=events.last_notified,
        pods_of=tools.pods_of,
        owner_of=tools.owner_of,
        on_error=metrics.output_failed,
        runbooks=tools.runbooks,
    )
    policy_events = PolicyEventWriter(sink)
    drivers = (DriverOutput(DriverWriter(queue, clock=clock, view=tools.view)),) if tools.view else ()
    return Outputs(
        (
            StatusOutput(statuses, tools.runbooks),
            *drivers,
            PolicyEventOutput(policy_events),
            SilenceOutput(sink),
            events,
            records,
            MetricsOutput(metrics, queue, tools.pods_of, tools.owner_of, statuses),
            *_notifications(tools),
        ),
        statuses,
        records,
        policy_events,
    )
