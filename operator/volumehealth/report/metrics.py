"""Everything that the operator exports at `/metrics`; no other module knows Prometheus' library.

`docs/metrics.md` lists every name with its labels; a test compares the two. What describes objects is built from
the newest check when somebody asks, so a series vanishes with what it was about.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from volumehealth import __version__
from volumehealth.judge.result import Agents, CheckResult
from volumehealth.model.cluster import Pod, ViewState
from volumehealth.model.health import ClaimHealth, DriverState, Finding, SourceState, urgency
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Steps, at_once, in_parts
from volumehealth.report.phrases import clearest
from volumehealth.report.text import clean, fit
from volumehealth.report.workloads import names

_SERIES = 1000
"""Unhealthy claims that have a series of their own, worst first: a burst must not overrun the one who scrapes."""
_PART = 1_000
"""Claims that are looked at in one step."""
_WRITTEN = 200
"""Series of a claim that are written in one step."""
_WORKLOADS = 3
_LABEL = 100
_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
_CHECK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_VERDICTS = ("healthy", "unhealthy", "unknown", "unmonitored")
_COUNTS = ("selected", *_VERDICTS, "ignored", "overridden", "not_csi")

_BAD = ("namespace", "persistentvolumeclaim", "driver", "policy", "source", "node", "status", "reason")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is exported of a policy.

    Attributes:
        result: its newest check.
        newest: that check, or what was reported instead of one since.
        conditions: type and status of each of its conditions.
        pods_of: the Pods that use a claim.
        owner_of: the name of the policy that owns a claim now.
    """

    result: CheckResult
    newest: CheckResult
    conditions: tuple[tuple[str, str], ...]
    pods_of: Callable[[ClaimRef], Sequence[Pod]]
    owner_of: Callable[[ClaimRef], str | None]

    @property
    def checked(self) -> bool:
        """Whether it is checked now; what it found before it was suspended may not be so any more."""
        return self.newest.judgement is not None

    @property
    def healths(self) -> Mapping[ClaimRef, ClaimHealth]:
        """What is known of its claims."""
        return self.newest.healths if self.checked else self.newest.remembered


class Metrics:
    """The process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        process = ProcessCollector(registry=self.registry)
        self._calls = Histogram(
            "volumehealth_csi_call_duration_seconds",
            "CSI calls by driver, method and gRPC status code, and how long they took.",
            ("driver", "method", "code"),
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )
        self._checks = Histogram(
            "volumehealth_check_duration_seconds",
            "Checks of a policy, and how long they took.",
            ("policy",),
            buckets=_CHECK_SECONDS,
            registry=self.registry,
        )
        self._events = Counter(
            "volumehealth_events",
            "Events written, by their reason and what came of it.",
            ("reason", "result"),
            registry=self.registry,
        )
        self._writes = Counter(
            "volumehealth_writes",
            "Requests that write to the API server, by what they write and what came of them.",
            ("kind", "result"),
            registry=self.registry,
        )
        self._skipped = Counter(
            "volumehealth_objects_skipped",
            "Objects of the API that could not be read and were skipped, each time one came.",
            ("resource",),
            registry=self.registry,
        )
        self._failed = Counter(
            "volumehealth_output_errors",
            "Objects that an output could not handle because of an error of the operator.",
            ("output",),
            registry=self.registry,
        )
        self._state = _State()
        self.registry.register(self._state)
        self._claims = _Claims(self._state)
        self.registry.register(self._claims)
        self._small: tuple[Collector, ...] = (
            process,
            self._calls,
            self._checks,
            self._events,
            self._writes,
            self._skipped,
            self._failed,
            self._state,
        )

    def observe_call(self, driver: str, method: str, code: str, seconds: float) -> None:
        """Count a CSI call: the method (`ListVolumes`), the gRPC status name (`OK`), how long it took."""
        self._calls.labels(driver, method, code).observe(seconds)

    def check_finished(self, policy: str, seconds: float, at: datetime) -> None:
        """Count a check of a policy and how long it took."""
        self._checks.labels(policy).observe(seconds)
        self._state.checked[policy] = at.timestamp()

    def publish(
        self,
        result: CheckResult,
        conditions: Iterable[tuple[str, str]],
        pods_of: Callable[[ClaimRef], Sequence[Pod]] = lambda _: (),
        owner_of: Callable[[ClaimRef], str | None] = lambda _: None,
    ) -> None:
        """Show a policy's newest check; what it no longer says vanishes.

        Args:
            result: the check.
            conditions: type and status of each condition.
            pods_of: the Pods that use a claim.
            owner_of: the name of the policy that owns a claim now; None if none does, or it is not known.
        """
        name, newest = result.policy.name, result
        before = self._state.policies.get(name)
        if result.policy.spec.suspend:
            self._state.checked.pop(name, None)  # it is not late: no check is due
        if result.judgement is None and before is not None:
            result = before.result
        self._state.policies[name] = _Shown(result, newest, tuple(conditions), pods_of, owner_of)

    def forget(self, policy: str) -> None:
        """Let every series of a policy vanish."""
        self._state.policies.pop(policy, None)
        self._state.checked.pop(policy, None)
        self._checks.remove_by_labels({"policy": policy})

    def forget_driver(self, driver: str) -> None:
        """Let the calls to a driver vanish that nobody is connected to any more."""
        self._calls.remove_by_labels({"driver": driver})

    def event_written(self, reason: str, result: str) -> None:
        """Count an Event by its reason and what came of it."""
        self._events.labels(reason, result).inc()

    def write_done(self, kind: str, result: str) -> None:
        """Count a try to write: `status`, `record`, `event` or `driver`."""
        self._writes.labels(kind, result).inc()

    def object_skipped(self, resource: str) -> None:
        """Count an object that could not be read, by its resource (`pods`)."""
        self._skipped.labels(resource).inc()

    def output_failed(self, output: str) -> None:
        """Count an object that an output (`Records`) could not handle."""
        self._failed.labels(output).inc()

    def waiting(self, writes: int) -> None:
        """Show how many writes wait or are on their way."""
        self._state.waiting = writes

    def view(self, state: ViewState) -> None:
        """Show how far the view of the cluster can be trusted."""
        self._state.view = state

    def render(self) -> Steps[bytes]:
        """Write all of them in Prometheus' text format, some series in each step."""
        pages = []
        for collector in self._small:
            pages.append(generate_latest(collector))
            yield
        for family in (yield from self._claims.in_steps()):
            pages.append((yield from _written(family)))
            yield
        return b"".join(pages)


class _State(Collector):
    """Gauges of what is, built when somebody asks."""

    def __init__(self) -> None:
        self.policies: dict[str, _Shown] = {}
        self.checked: dict[str, float] = {}
        self.waiting = 0
        self.view = ViewState(complete=False, age=0.0)

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge."""
        yield from self._process()
        yield from self._policy_gauges()
        yield from self._driver_gauges()

    def _process(self) -> Iterator[Metric]:
        yield _gauge(
            "build_info", "1, with the version of this program.", ("version",), [((__version__,), 1)]
        )
        yield _gauge("writes_waiting", "Writes that wait or are on their way.", (), [((), self.waiting)])
        age = "Seconds since the view of the cluster was last known to be current."
        yield _gauge("view_age_seconds", age, (), [((), self.view.age)])
        trusted = self.view.complete and not self.view.stale
        yield _gauge("view_trusted", "1 if the view is complete and current.", (), [((), trusted)])

    def _policy_gauges(self) -> Iterator[Metric]:
        yield _gauge(
            "policy_claims",
            "Claims of a policy by state; the four verdicts add up to selected.",
            ("policy", "state"),
            (
                ((name, state), getattr(shown.result.judgement.counts, state))
                for name, shown in self.policies.items()
                if shown.result.judgement is not None
                for state in _COUNTS
            ),
        )
        yield _gauge(
            "policy_claims_silenced",
            "Unhealthy claims of a policy of which people are not told, because somebody silenced them.",
            ("policy",),
            (
                ((name,), len(shown.result.silenced))
                for name, shown in self.policies.items()
                if shown.result.judgement is not None
            ),
        )
        yield _gauge(
            "policy_agents",
            "Node agents that a policy's claims need, by state.",
            ("policy", "state"),
            (
                ((name, state), count)
                for name, shown in self.policies.items()
                for state, count in _agents(shown.result.agents)
            ),
        )
        yield _gauge(
            "policy_condition",
            "1 for the status that a condition of a policy has, 0 for the others.",
            ("policy", "type", "status"),
            (
                ((name, kind, status), status == is_now)
                for name, shown in self.policies.items()
                for kind, is_now in shown.conditions
                for status in ("True", "False", "Unknown")
            ),
        )
        yield _gauge(
            "policy_last_check_timestamp_seconds",
            "When the last check of a policy finished.",
            ("policy",),
            (((name,), at) for name, at in self.checked.items()),
        )
        yield _gauge(
            "policy_interval_seconds",
            "How often a policy is to be checked.",
            ("policy",),
            (
                ((name,), shown.result.policy.spec.interval.total_seconds())
                for name, shown in self.policies.items()
            ),
        )

    def _driver_gauges(self) -> Iterator[Metric]:
        yield _gauge(
            "driver_claims",
            "Claims of a policy by driver and verdict.",
            ("policy", "driver", "verdict"),
            (
                ((name, driver, verdict), getattr(counts, verdict))
                for name, shown in self.policies.items()
                if shown.result.judgement is not None
                for driver, counts in shown.result.judgement.drivers.items()
                for verdict in _VERDICTS
            ),
        )
        seen: dict[str, list[tuple[DriverState, bool]]] = {}
        for shown in self.policies.values():
            for name, driver in shown.result.drivers.items():
                seen.setdefault(name, []).append((driver, shown.checked))
        drivers = {name: clearest(states) for name, states in seen.items()}
        yield _gauge(
            "driver_state",
            "1 for the state that a driver is in, 0 for the others.",
            ("driver", "state"),
            (((name, s), driver.state is s) for name, driver in drivers.items() for s in SourceState),
        )
        yield _gauge(
            "driver_round_seconds",
            "How long it takes to ask about each volume of a driver once; 0 if they are listed.",
            ("driver",),
            (((name,), driver.round_seconds) for name, driver in drivers.items()),
        )


_Row = tuple[int, ClaimRef, str, int, str, Finding]
"""A finding, with what puts it in order first: urgency, claim, policy, place among its findings; then the driver."""


class _Claims(Collector):
    """Gauges of unhealthy claims, built when somebody asks; of a hundred thousand in steps.

    Args:
        state: knows the newest check of each policy.
    """

    def __init__(self, state: _State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge."""
        yield from at_once(self.in_steps())

    def in_steps(self) -> Steps[tuple[Metric, ...]]:
        """Return every gauge."""
        policies = dict(self._state.policies)
        shown, found = yield from _worst(policies)
        unhealthy = _gauge(
            "claim_unhealthy",
            f"1 for every finding of an unhealthy claim that is not silenced; {_SERIES} at most, worst first.",
            _BAD,
            (((*ref, driver, policy, *_of(finding)), 1) for _, ref, policy, _, driver, finding in shown),
        )
        yield
        workloads: list[tuple[tuple[str, ...], float]] = []
        for ref, policy in {ref: policy for _, ref, policy, *_ in shown}.items():
            used_by = names(policies[policy].pods_of(ref))[:_WORKLOADS]
            workloads += (((*ref, workload), 1) for workload in used_by)
            yield
        return (
            unhealthy,
            _gauge(
                "claim_workload",
                f"1 for what runs the Pods that use a claim of claim_unhealthy; {_WORKLOADS} of a claim at most.",
                ("namespace", "persistentvolumeclaim", "workload"),
                workloads,
            ),
            _gauge(
                "claim_unhealthy_truncated",
                "Findings left out of claim_unhealthy.",
                (),
                [((), found - len(shown))],
            ),
        )


def _worst(policies: Mapping[str, _Shown]) -> Steps[tuple[list[_Row], int]]:
    """Return the worst findings in order, as many as are shown, and how many there are; some claims in each step."""
    by_age = sorted(policies.items(), key=lambda item: item[1].result.now)
    # A claim that changed hands is its new policy's at once, whenever the other one is checked again.
    holders: dict[ClaimRef, str] = {}
    for name, shown in by_age:
        for refs in in_parts(shown.healths, _PART):
            holders.update(dict.fromkeys(refs, name))
            yield
    worst: list[_Row] = []
    count = 0
    for name, shown in by_age:
        for part in in_parts(shown.healths.items(), _PART):
            found = [
                row
                for ref, health in part
                if health.findings and _shows(policies, name, ref, holders)
                for row in _bad(name, shown, ref, health)
            ]
            count += len(found)
            worst = heapq.nsmallest(_SERIES, chain(worst, found))
            yield
    return worst, count


def _bad(policy: str, shown: _Shown, ref: ClaimRef, health: ClaimHealth) -> Iterator[_Row]:
    """Yield every finding of a claim of which people are told."""
    newest = shown.newest
    claim = newest.claims.get(ref)
    if claim is None or claim.uid != health.uid:
        return
    for number, finding in enumerate(health.findings):
        if not (newest.silences.any and newest.silence(ref, finding) is not None):
            yield -urgency(finding.status, finding.reason), ref, policy, number, claim.driver, finding


class _Families(Collector):
    """Families that are written by themselves."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._families


def _written(family: Metric) -> Steps[bytes]:
    """Write a family, some series in each step."""
    samples = family.samples
    family.samples = samples[:_WRITTEN]
    pages = [generate_latest(_Families(family))]
    for start in range(_WRITTEN, len(samples), _WRITTEN):
        yield
        family.samples = samples[start : start + _WRITTEN]
        pages.append(generate_latest(_Families(family)).split(b"\n", 2)[2])  # without its help and type
    return b"".join(pages)


def _shows(policies: Mapping[str, _Shown], name: str, ref: ClaimRef, holders: Mapping[ClaimRef, str]) -> bool:
    """Tell whether a policy is the one that says how a claim is.

    Once another policy owns the claim and is checked, that one knows all there is to know of it.
    """
    owner = policies[name].owner_of(ref)
    shown = policies.get(owner) if owner is not None else None
    return name == (owner if shown is not None and shown.checked else holders[ref])


def _agents(agents: Agents) -> tuple[tuple[str, int], ...]:
    return (
        ("expected", agents.expected),
        ("reporting", agents.reporting),
        ("silent", len(agents.silent)),
    )


def _of(finding: Finding) -> tuple[str, str, str, str]:
    status, reason = (fit(clean(text), _LABEL) for text in (finding.status, finding.reason))
    return (str(finding.source), finding.node, status, reason)


def _gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    samples: Iterable[tuple[tuple[str, ...], float]],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"volumehealth_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, float(number))
    return family
