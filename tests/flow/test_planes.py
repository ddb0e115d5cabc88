"""Nodes, agents and Kubernetes in a check: from what is in the cluster to verdicts, transitions and who is told.

In: a cluster in memory with the view's own tables, drivers made of plain values, a stepped clock. Out: judgements of
the real pipeline, with real selection and judging.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from support.health import DRIVER, START, SteppedClock, make_claim, make_driver, make_pod
from support.pipeline import PlainPipeline
from support.planes import PlainCluster, make_entry, make_reported_driver, make_silent
from volumehealth.cluster.resources import AGENT_PODS
from volumehealth.judge.result import CheckResult
from volumehealth.model.cluster import (
    ApiConditions,
    Attachment,
    Claim,
    NodeDrivers,
    Pod,
    PodEvent,
    PodWait,
    StorageStatement,
)
from volumehealth.model.health import (
    Answer,
    Condition,
    DriverAnswers,
    HealthAPI,
    Outcome,
    Source,
    SourceState,
    Via,
)
from volumehealth.model.ids import LOCAL_VOLUMES, LOST_VOLUMES, ClaimRef
from volumehealth.model.origin import ON_NODES, Observer
from volumehealth.model.policy import (
    CapacityCheck,
    Checks,
    LabelSelector,
    NodeCheck,
    NodeFailureCheck,
    PlaneCheck,
    Policy,
    PolicySpec,
    Rule,
    RuleMatch,
    RuleSet,
    Selector,
)
from volumehealth.model.report import (
    Coverage,
    MissingLook,
    Omitted,
    ReportedDriver,
    StorageProblem,
    UnseenOrigin,
)
from volumehealth.probing.spec import ProbeSpec
from volumehealth.report.conditions import conditions

UNMOUNTED = Condition("Inaccessible", "VolumeUnmounted", "the volume is not mounted")
NOT_MOUNTED = PodEvent("FailedMount", 'MountVolume.SetUp failed for volume "pv-db" : timed out', START)
SPEC = PolicySpec(
    interval=timedelta(seconds=30),
    unhealthy_after=timedelta(minutes=2),
    healthy_after=timedelta(minutes=5),
    checks=Checks(node_failure=NodeFailureCheck(after=timedelta(minutes=5))),
)


@dataclass
class PlainDrivers:
    """What controllers say."""

    said: dict[str, DriverAnswers] = field(default_factory=dict)
    wanted: Mapping[str, ProbeSpec] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        self.wanted = wanted

    def answers(self) -> Mapping[str, DriverAnswers]:
        return self.said


class World:
    """A cluster with a policy, checked again and again."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.cluster = PlainCluster(self.clock)
        self.drivers = PlainDrivers()
        self.spec = SPEC
        self.notified: list[str] = []
        self.start()

    def start(self, after: "PlainPipeline | None" = None) -> None:
        """Start the operator; `after` is the one whose records it resumes from."""
        self.checker = PlainPipeline.of_everything(self.cluster, self.drivers, self.clock)
        self._begun = False
        if after is not None:
            remembered = {
                ref: replace(health, pending=())
                for ref, health in after.pipeline.judge.healths(self.policy.uid).items()
                if health.findings or health.recovered
            }
            self.checker.follow({self.policy.uid: self.policy}, None)
            self.checker.resume({self.policy.uid: remembered}, ())

    @property
    def policy(self) -> Policy:
        return Policy("storage", "uid-storage", 1, START, self.spec)

    def claims(self, *names: str, node: str = "a", **changes: object) -> list[Claim]:
        """Make claims, each used by a running Pod on a node that is Ready."""
        if node and node not in self.cluster.nodes:
            self.cluster.set_node(node, since=START - timedelta(days=1))
        made = [replace(make_claim(name), **changes) for name in names]  # type: ignore[arg-type]  # fields by name
        self.cluster.add(*made)
        self.cluster.run(*(make_pod(f"{name}-0", node=node, claim=name) for name in names))
        return made

    def waits(
        self, node: str = "a", *, since: datetime = START, said: tuple[PodEvent, ...] | None = None
    ) -> Pod:
        """Make a Pod that waits on a node for `db` to be mounted; `said` are the Events about it that are known."""
        waits = PodWait(since, (("data", "db"),))
        pod = Pod("shop", "db-1", "uid-db-1", node, "Pending", ("db",), waits=waits)
        self.cluster.run(pod)
        if said is not None:
            self.cluster.pod_events[pod.uid] = said
        return pod

    def controller(self, *healthy: Claim, silent: bool = False) -> None:
        """Let the driver's controller say that these volumes are healthy, or nothing."""
        now = self.clock.now()
        state = make_driver(state=SourceState.UNREACHABLE if silent else SourceState.ANSWERING)
        why = Answer(Source.CONTROLLER, Outcome.SILENT, now, reason="DriverUnreachable", message="it is down")
        handles = frozenset() if silent else frozenset(claim.handle for claim in healthy)
        self.drivers.said[DRIVER] = DriverAnswers(state, now, handles, {}, why)

    def check(self) -> CheckResult:
        self.checker.follow({self.policy.uid: self.policy}, None)
        checked = self.checker.check(self.policy)
        self.notified += [
            f"{turn.kind} {turn.claim.name} {turn.finding.reason} {turn.finding.node}".strip()
            for turn in checked.transitions
        ]
        return checked

    def after(self, *, renew: Iterable[str] = (), **by: float) -> CheckResult:
        """Let time pass, with a check every 30 s; agents on `renew` stay alive."""
        end = self.clock.now() + timedelta(**by)
        while (left := end - self.clock.now()) > timedelta(0):
            self.clock.advance(seconds=min(30.0, left.total_seconds()))
            self.cluster.renew(*renew)
            checked = self.check()
        return checked

    def findings(self, checked: CheckResult, name: str) -> list[str]:
        health = checked.healths.get(ClaimRef("shop", name))
        return [
            f"{finding.headline}{' (stale)' if finding.stale else ''}"
            for finding in (health.findings if health else ())
        ]


@pytest.fixture
def world() -> World:
    return World()


def counts(checked: CheckResult) -> dict[str, int]:
    said = checked.counts
    whole = {name: getattr(said, name) for name in ("healthy", "unhealthy", "unknown", "unmonitored")}
    return {name: number for name, number in whole.items() if number}


# ---- node failures ----


def test_a_node_that_fails_is_told_once_and_its_recovery_once(world: World) -> None:
    world.claims("db", node="a")
    world.claims("elsewhere", node="b")
    world.cluster.set_node("a", "Unknown")
    world.cluster.set_node("b")
    world.after(minutes=4, seconds=59)
    assert world.notified == [], "1 s under"
    checked = world.after(seconds=2)
    assert world.notified == ["Found db NodeFailed a"], "1 s over, and no unhealthyAfter on top"
    assert world.findings(checked, "db") == ["Inaccessible/NodeFailed (Kubernetes a)"]
    world.after(minutes=20)
    world.cluster.set_node("a")
    world.after(minutes=5, seconds=30)
    assert world.notified == ["Found db NodeFailed a", "Recovered db NodeFailed a"]


def test_the_finding_dates_from_the_nodes_own_transition_whenever_the_operator_started(world: World) -> None:
    world.claims("db")
    world.cluster.set_node("a", "False", since=START - timedelta(minutes=6))
    checked = world.check()
    (finding,) = checked.healths[ClaimRef("shop", "db")].findings
    assert finding.since == START - timedelta(minutes=6)
    assert world.notified == ["Found db NodeFailed a"]


def test_a_restart_tells_nothing_again_and_forgets_nothing(world: World) -> None:
    world.claims("db", "gone", node="a")
    world.cluster.set_node("a")
    world.cluster.set_node("b")
    world.claims("lost", node="c")
    world.cluster.set_node("c")
    world.cluster.set_node("a", "Unknown")
    world.cluster.delete_node("c")
    world.after(minutes=6)
    assert sorted(world.notified) == [
        "Found db NodeFailed a",
        "Found gone NodeFailed a",
        "Found lost NodeFailed c",
    ]
    world.notified.clear()
    world.cluster.nodes_gone.clear()  # a new process did not see it go
    world.start(after=world.checker)
    checked = world.after(minutes=10)
    assert world.notified == []
    assert world.findings(checked, "lost") == ["Inaccessible/NodeFailed (Kubernetes c)"]
    world.cluster.set_node("a")
    world.cluster.set_node("c")
    world.after(minutes=6)
    assert sorted(world.notified) == [
        "Recovered db NodeFailed a",
        "Recovered gone NodeFailed a",
        "Recovered lost NodeFailed c",
    ]


def test_a_deleted_node_fails_while_pods_are_bound_to_it_and_is_forgiven_when_they_go(world: World) -> None:
    world.claims("db")
    world.cluster.set_node("a")
    world.check()
    world.cluster.delete_node("a")
    world.after(minutes=4, seconds=59)
    assert world.notified == []
    world.after(seconds=2)
    assert world.notified == ["Found db NodeFailed a"]
    world.cluster.end(make_pod("db-0", node="a", claim="db"))
    world.after(minutes=6)
    assert world.notified[1:] == ["Closed db NodeFailed a"]


def test_a_flapping_node_is_one_failure_until_it_stays_ready(world: World) -> None:
    world.claims("db")
    world.cluster.set_node("a", "Unknown")
    world.after(minutes=6)
    for _ in range(10):
        world.cluster.set_node("a")
        world.after(minutes=2)
        world.cluster.set_node("a", "Unknown")
        world.after(minutes=2)
    assert world.notified == ["Found db NodeFailed a"]
    world.cluster.set_node("a")
    world.after(minutes=6)
    assert world.notified == ["Found db NodeFailed a", "Recovered db NodeFailed a"]


def test_a_node_that_flaps_faster_than_the_limit_is_never_told(world: World) -> None:
    world.claims("db")
    for _ in range(10):
        world.cluster.set_node("a", "False")
        world.after(minutes=4)
        world.cluster.set_node("a")
        world.after(seconds=30)
    assert world.notified == []


def test_twenty_nodes_at_once_are_one_story_with_an_event_for_each_claim(world: World) -> None:
    for number in range(20):
        world.claims(f"db-{number}", node=f"n-{number}")
        world.cluster.set_node(f"n-{number}", "Unknown")
    checked = world.after(minutes=6)
    assert sorted(world.notified) == sorted(f"Found db-{n} NodeFailed n-{n}" for n in range(20))
    assert checked.judgement is not None
    assert checked.judgement.driver_wide == (), "a story of nodes is no driver's"


def test_a_stale_view_declares_no_node_failed_and_forgives_none(world: World) -> None:
    world.claims("db", "wal", node="a")
    world.cluster.set_node("a", "Unknown")
    world.after(minutes=4)
    outage = world.clock.now()
    for _ in range(20):
        world.clock.advance(seconds=60)
        world.cluster.stale = ("watches are silent", (world.clock.now() - outage).total_seconds())
        world.check()
    assert world.notified == [], "nobody knows whether it came back"
    world.cluster.stale = ("", 0.0)
    world.cluster.set_node("a", since=outage)
    world.after(minutes=10)
    assert world.notified == []


def test_nodes_that_may_not_be_read_have_not_failed(world: World) -> None:
    world.claims("db")
    world.cluster.unread.add("nodes")
    checked = world.after(minutes=30)
    assert world.notified == []
    assert counts(checked) == {"unmonitored": 1}


def test_a_clock_that_is_an_hour_ahead_makes_no_trouble_an_hour_old(world: World) -> None:
    """Faults B6: a node, a Pod, an attachment and a resize have their times by other clocks than the operator's."""
    (claim,) = world.claims("db", "wal")[:1]
    world.check()
    world.clock.advance(seconds=90)  # since the last look without these
    ours, theirs = world.clock.now() + timedelta(hours=1), world.clock.now()
    world.clock.set_wall(ours - theirs)
    world.cluster.set_node("a", "Unknown", since=theirs)
    world.cluster.set_node("b")
    world.waits("b", since=theirs, said=())
    world.cluster.attach(Attachment("va", claim.volume, "b", attached=False, created=theirs))
    resizing = Condition("Degraded", "ResizeStuck", "Resizing")
    world.cluster.api_conditions[claim.ref] = ApiConditions(slow=((resizing, theirs),))
    world.after(minutes=4)
    assert world.notified == []
    world.after(minutes=2)
    assert world.notified == ["Found db NodeFailed a", "Found wal NodeFailed a"]
    world.after(minutes=8)
    assert world.notified[2:] == []
    world.after(minutes=6)
    assert sorted(world.notified[2:]) == ["Found db AttachStuck b", "Found db CannotMount b"]
    world.after(minutes=38)
    assert world.notified[4:] == []
    world.after(minutes=4)
    assert world.notified[4:] == ["Found db ResizeStuck"]


@pytest.mark.parametrize("observer", [Observer.DRIVER, Observer.CAPACITY])
def test_one_answer_of_a_driver_that_an_agent_reports_is_one_until_it_is_asked_again(
    world: World, observer: Observer
) -> None:
    """Faults B5: with an interval that is longer than the delays, what was said once neither lasts nor is over."""
    world.spec = replace(SPEC, interval=timedelta(minutes=10))
    db, wal = world.claims("db", "wal")
    world.cluster.report("a")
    world.check()
    world.cluster.report("a", make_entry(db, origin=observer))
    world.after(minutes=5, renew=("a",))
    assert world.notified == []
    world.cluster.report(
        "a", make_entry(db, origin=observer), make_silent(wal)
    )  # it is another volume's turn
    world.after(minutes=4, renew=("a",))
    assert world.notified == []
    world.after(minutes=3, renew=("a",))
    assert world.notified == ["Found db VolumeUnmounted a"]
    world.cluster.report("a", make_silent(wal))
    world.after(minutes=8, renew=("a",))
    assert world.notified[1:] == []
    world.after(minutes=4, renew=("a",))
    assert world.notified[1:] == ["Recovered db VolumeUnmounted a"]


def test_a_driver_on_a_node_with_another_reason_in_each_answer_is_told_of_once(world: World) -> None:
    """Faults B4: its agent asks again a little later than the interval says, and then the last answer was no second one."""
    world.spec = replace(SPEC, interval=timedelta(minutes=1), unhealthy_after=timedelta(minutes=1))
    (db,) = world.claims("db")
    for number in range(8):
        world.cluster.report("a", make_entry(db, reason=f"Changing{number}"))
        world.check()
        world.after(seconds=62, renew=("a",))
    assert world.notified == ["Found db Changing1 a"]


def test_what_a_node_sees_itself_needs_no_second_ask(world: World) -> None:
    """The agent looks at mounts every 15 seconds, whatever the interval."""
    world.spec = replace(SPEC, interval=timedelta(minutes=10))
    (db,) = world.claims("db")
    world.cluster.report("a", make_entry(db, origin=Observer.MOUNT_TABLE))
    world.after(minutes=3, renew=("a",))
    assert world.notified == ["Found db VolumeUnmounted a"]


@pytest.mark.parametrize("hours", [1, -1])
def test_what_a_pod_waits_for_lately_is_so_whatever_clock_is_an_hour_off(world: World, hours: int) -> None:
    """Faults B6: what is said of the Pod now and then explains why it waits, until it has not been said for long."""
    world.claims("db")
    world.check()
    theirs = world.clock.now()
    world.clock.set_wall(timedelta(hours=hours))
    pod = world.waits("a", since=theirs, said=())
    for minutes in range(0, 60, 4):
        again = theirs + timedelta(minutes=minutes)
        world.cluster.pod_events[pod.uid] = (PodEvent("ImageQuotaWait", "the registry is busy", again),)
        world.after(minutes=4)
    assert world.notified == []
    world.after(minutes=24)
    assert world.notified == ["Found db CannotMount a"]


def test_a_clock_that_is_set_back_keeps_no_trouble_young(world: World) -> None:
    """Faults B6: what was seen to hang for 15 minutes hangs for 15 minutes, whatever the clock says now."""
    (claim,) = world.claims("db", "wal")[:1]
    world.cluster.set_node("b")
    world.check()
    begun = world.clock.now()
    world.waits("b", since=begun, said=())
    world.cluster.attach(Attachment("va", claim.volume, "b", attached=False, created=begun))
    resizing = Condition("Degraded", "ResizeStuck", "Resizing")
    world.cluster.api_conditions[claim.ref] = ApiConditions(slow=((resizing, begun),))
    world.after(minutes=1)
    world.clock.set_wall(timedelta(hours=-1))
    world.after(minutes=13)
    assert world.notified == []
    world.after(minutes=5)
    assert sorted(world.notified) == ["Found db AttachStuck b", "Found db CannotMount b"]
    world.after(minutes=40)
    assert world.notified[2:] == []
    world.after(minutes=6)
    assert world.notified[2:] == ["Found db ResizeStuck"]


@pytest.mark.parametrize("checked", [True, False], ids=["after a check", "before the first one"])
def test_a_node_that_was_deleted_is_gone_for_no_longer_because_the_clock_is_set_ahead(
    world: World, *, checked: bool
) -> None:
    world.claims("db")
    world.cluster.set_node("a")
    if checked:
        world.check()
    world.cluster.delete_node("a")
    world.clock.set_wall(timedelta(hours=1))
    world.after(minutes=4)
    assert world.notified == []
    world.after(minutes=2)
    assert world.notified == ["Found db NodeFailed a"]


@pytest.mark.parametrize("name", ["NodeFailed", "RackIsDark"])
def test_a_node_has_not_come_back_because_it_says_nothing_of_its_readiness(world: World, name: str) -> None:
    """Faults F: its Node was deleted and made anew by the cloud, and no kubelet has reported there yet."""
    world.spec = replace(SPEC, rules=(Rule(RuleMatch(reason="NodeFailed"), set=RuleSet(reason=name)),))
    world.claims("db")
    world.cluster.set_node("a", "Unknown")
    world.after(minutes=6)
    world.cluster.set_node("a", "")
    checked = world.after(minutes=10)
    assert world.notified == [f"Found db {name} a"]
    assert world.findings(checked, "db") == [f"Inaccessible/{name} (Kubernetes a) (stale)"]
    world.cluster.set_node("a")
    world.after(minutes=6)
    assert world.notified == [f"Found db {name} a", f"Recovered db {name} a"]


def test_node_failures_can_be_switched_off(world: World) -> None:
    world.spec = replace(SPEC, checks=Checks(node_failure=NodeFailureCheck(enabled=False)))
    world.claims("db")
    world.cluster.set_node("a", "Unknown")
    world.after(minutes=30)
    assert world.notified == []


def test_a_node_failure_that_a_rule_gave_another_name_has_not_recovered_with_its_check_switched_off(
    world: World,
) -> None:
    """Faults C8: whatever a rule of the policy calls it, the node is still not Ready."""
    rule = Rule(RuleMatch(reason="NodeFailed"), set=RuleSet(reason="HostAway"))
    world.spec = replace(SPEC, rules=(rule,))
    world.claims("db")
    world.cluster.set_node("a", "Unknown")
    world.after(minutes=6)
    world.spec = replace(world.spec, checks=Checks(node_failure=NodeFailureCheck(enabled=False)))
    world.after(minutes=6)
    assert world.notified == ["Found db HostAway a", "Closed db HostAway a"]


def test_a_local_volume_is_lost_with_its_node_and_is_no_business_of_any_driver(world: World) -> None:
    """Field case 19: node loss is exactly the risk of `local` volumes; no CSINode ever lists the kubelet's own plugin."""
    (claim,) = world.claims("db", driver=LOCAL_VOLUMES, handle="pv-db")
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset())
    checked = world.after(minutes=10)
    assert (counts(checked), world.notified) == ({"unmonitored": 1}, [])
    assert checked.drivers[LOCAL_VOLUMES].state is SourceState.UNSUPPORTED
    world.cluster.report("a", drivers=[], complete=[claim])
    assert counts(world.after(minutes=1, renew=("a",))) == {"healthy": 1}
    world.cluster.set_node("a", "Unknown")
    world.after(minutes=6, renew=("a",))
    assert world.notified == ["Found db NodeFailed a"]


# ---- what the API says ----


def test_an_unregistered_driver_is_believed_after_unhealthy_after_and_taken_back(world: World) -> None:
    world.claims("db")
    world.cluster.set_node("a")
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset())
    world.after(minutes=1)
    assert world.notified == []
    world.after(minutes=2)
    assert world.notified == ["Found db DriverNotRegistered a"]
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]))
    world.after(minutes=6)
    assert world.notified[1:] == ["Recovered db DriverNotRegistered a"]


def test_an_attachment_that_hangs_on_has_not_recovered_because_its_pod_was_deleted(world: World) -> None:
    """Field case 16."""
    (claim,) = world.claims("db", node="")
    world.cluster.set_node("a", since=START - timedelta(days=1))
    waiting = world.waits()
    old = START - timedelta(hours=2)
    world.cluster.attach(Attachment("va", claim.volume, "a", attached=False, created=old))
    world.after(minutes=1)
    assert world.notified == ["Found db AttachStuck a"]
    world.cluster.end(waiting)
    world.after(minutes=10)
    assert world.notified[1:] == ["Closed db AttachStuck a"]


@pytest.mark.parametrize("name", ["DriverNotRegistered", "PluginAway"])
def test_a_driver_has_not_come_back_because_its_node_failed_as_well(world: World, name: str) -> None:
    """Faults C8: while a node is not Ready, it is told of itself; what else was found there stays, stale."""
    rule = Rule(RuleMatch(reason="DriverNotRegistered"), set=RuleSet(reason=name))
    world.spec = replace(SPEC, rules=(rule,))
    world.claims("db")
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset())
    world.after(minutes=3)
    world.cluster.set_node("a", "Unknown")
    checked = world.after(minutes=15)
    assert world.notified == [f"Found db {name} a", "Found db NodeFailed a"]
    assert world.findings(checked, "db") == [
        "Inaccessible/NodeFailed (Kubernetes a)",
        f"Degraded/{name} (Kubernetes a) (stale)",
    ]
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]))
    world.after(minutes=6)
    assert world.notified[2:] == [f"Recovered db {name} a"], "its node is not Ready still"


def test_a_pod_that_waits_on_has_not_got_its_volume_because_its_events_have_expired(world: World) -> None:
    """Faults F17, in a whole check: one origin is silent about one thing and would speak of others."""
    world.claims("db", node="")
    world.cluster.set_node("a", since=START - timedelta(days=1))
    waiting = world.waits(said=(NOT_MOUNTED,))
    world.after(minutes=3)
    world.cluster.pod_events[waiting.uid] = ()
    checked = world.after(minutes=11)
    assert world.notified == ["Found db CannotMount a"]
    assert world.findings(checked, "db") == ["Inaccessible/CannotMount (Kubernetes a) (stale)"]


@pytest.mark.parametrize("ignored", [False, True], ids=["", "which a rule ignores"])
def test_a_pod_has_not_got_its_volume_because_its_node_failed_or_its_check_is_off(
    world: World, *, ignored: bool
) -> None:
    """Faults A1 and C8: what Kubernetes says of one object clears nothing that it said of another."""
    rules = (Rule(RuleMatch(reason="NodeFailed"), ignore=True),) if ignored else ()
    world.spec = replace(SPEC, rules=rules)
    world.claims("db", node="")
    world.cluster.set_node("a", since=START - timedelta(days=1))
    world.waits(said=(NOT_MOUNTED,))
    world.after(minutes=3)
    world.cluster.set_node("a", "Unknown")
    checked = world.after(minutes=15)
    failed = [] if ignored else ["Found db NodeFailed a"]
    assert world.notified == ["Found db CannotMount a", *failed]
    assert world.findings(checked, "db")[0].endswith("(stale)")
    world.spec = replace(world.spec, checks=replace(SPEC.checks, mount=PlaneCheck(enabled=False)))
    world.after(minutes=1)
    assert world.notified[1:] == [*failed, "Closed db CannotMount a"]


@pytest.mark.parametrize("name", ["AttachFailed", "ArrayIsBusy"])
def test_an_attachment_that_failed_has_not_recovered_because_its_pod_was_deleted(
    world: World, name: str
) -> None:
    """Whatever a rule of the policy calls it."""
    rule = Rule(RuleMatch(reason="AttachFailed"), set=RuleSet(reason=name))
    world.spec = replace(SPEC, rules=(rule,))
    world.claims("db")
    world.cluster.attach(Attachment("va", "pv-db", "a", attach_error="no path to the array"))
    world.after(minutes=3)
    world.cluster.end(make_pod("db-0", node="a", claim="db"))
    world.cluster.attachments.clear()
    world.after(minutes=6)
    assert world.notified == [f"Found db {name} a", f"Closed db {name} a"]


def test_a_failed_attachment_comes_and_goes(world: World) -> None:
    world.claims("db")
    world.cluster.attach(Attachment("va", "pv-db", "a", attach_error="no path to the array"))
    world.after(minutes=3)
    assert world.notified == ["Found db AttachFailed a"]
    world.cluster.attach(Attachment("va", "pv-db", "a"))
    world.after(minutes=6)
    assert world.notified[1:] == ["Recovered db AttachFailed a"]


def test_an_attachment_that_failed_has_not_recovered_while_it_is_tried_anew(world: World) -> None:
    """Faults F: the attachment was made anew, has no error yet, and is not attached either."""
    world.claims("db")
    world.cluster.attach(Attachment("va", "pv-db", "a", attach_error="no path", attached=False))
    world.after(minutes=3)
    world.cluster.attach(Attachment("va", "pv-db", "a", attached=False, created=world.clock.now()))
    checked = world.after(minutes=10)
    assert world.findings(checked, "db") == ["Inaccessible/AttachFailed (Kubernetes a) (stale)"]
    world.cluster.attach(Attachment("va", "pv-db", "a"))
    world.after(minutes=6)
    assert world.notified == ["Found db AttachFailed a", "Recovered db AttachFailed a"]


def test_a_volume_that_could_not_be_detached_is_still_there_while_that_is_tried_anew(world: World) -> None:
    world.claims("db")
    deleted = world.clock.now()
    world.cluster.attach(Attachment("va", "pv-db", "b", detach_error="it is busy", deleted=deleted))
    world.after(minutes=3)
    world.cluster.attach(Attachment("va", "pv-db", "b", deleted=deleted))
    checked = world.after(minutes=10)
    assert world.findings(checked, "db") == ["Degraded/DetachFailed (Kubernetes b) (stale)"]
    world.cluster.attachments.clear()
    world.after(minutes=6)
    assert world.notified == ["Found db DetachFailed b", "Recovered db DetachFailed b"]


def test_a_lost_claim_is_unhealthy_with_or_without_a_driver_that_knows_it(world: World) -> None:
    (claim,) = world.claims("db", phase="Lost")
    lost = Condition("Inaccessible", "ClaimLost", "the PersistentVolume is gone")
    world.cluster.api_conditions[claim.ref] = ApiConditions(own=(lost,))
    (orphan,) = world.claims("orphan", phase="Lost", handle="", volume="")
    world.cluster.api_conditions[orphan.ref] = ApiConditions(own=(lost,))
    checked = world.after(minutes=3)
    assert sorted(world.notified) == ["Found db ClaimLost", "Found orphan ClaimLost"]
    assert counts(checked) == {"unhealthy": 2}
    assert world.drivers.wanted[DRIVER].volumes == {"handle-db"}, (
        "nobody is asked about a volume without a name"
    )


def test_a_lost_claim_is_told_although_nobody_knows_its_driver(world: World) -> None:
    """There was no annotation and no record, so no policy selected it and it was in no number."""
    (claim,) = world.claims("db", phase="Lost", driver=LOST_VOLUMES, handle="", volume="")
    lost = Condition("Inaccessible", "ClaimLost", "the PersistentVolume is gone")
    world.cluster.api_conditions[claim.ref] = ApiConditions(own=(lost,))
    checked = world.after(minutes=3)
    assert world.notified == ["Found db ClaimLost"]
    assert counts(checked) == {"unhealthy": 1}
    assert checked.drivers[LOST_VOLUMES].state is SourceState.UNSUPPORTED, "nothing asks to connect it"


def test_what_another_monitor_wrote_is_heard_without_a_driver_and_taken_back_when_it_is_gone(
    world: World,
) -> None:
    (claim,) = world.claims("db")
    newer = Condition("Wobbling", "SomethingNew", "of a version to come")
    world.cluster.api_conditions[claim.ref] = ApiConditions(health=(newer,))
    checked = world.after(minutes=3)
    assert world.findings(checked, "db") == ["Wobbling/SomethingNew (Controller)"]
    del world.cluster.api_conditions[claim.ref]
    checked = world.after(minutes=6)
    assert world.notified[-1] == "Recovered db SomethingNew"
    assert counts(checked) == {"unmonitored": 1}, "a monitor that says nothing does not say that all is well"


def test_a_claim_stays_healthy_while_the_api_accuses_it_of_nothing(world: World) -> None:
    world.controller(*world.claims("db", "wal"))
    checked = world.after(minutes=3)
    assert counts(checked) == {"healthy": 2}
    assert checked.healths == {}
    assert checked.judgement is not None
    assert checked.judgement.evidence.claims == {}, "a steady check hears nothing of claims that are well"


# ---- agents ----


def test_agents_make_claims_healthy_that_no_controller_speaks_of(world: World) -> None:
    world.claims("db", "wal", node="a")
    world.claims("far", node="b")
    world.cluster.report("a")
    checked = world.check()
    assert counts(checked) == {"healthy": 2, "unknown": 1}, "where no agent reports, nobody knows"
    assert (checked.agents.expected, checked.agents.reporting, checked.agents.silent) == (2, 1, ("b",))
    assert [group.examples for group in checked.unknown] == [(ClaimRef("shop", "far"),)]
    driver = checked.drivers[DRIVER]
    assert (driver.state, driver.health_api, driver.methods) == (
        SourceState.ANSWERING,
        HealthAPI.VOLUME_HEALTH,
        ("NodeGetVolumeHealth", "NodeGetVolumeStats"),
    )


def test_without_any_agent_none_is_expected(world: World) -> None:
    world.claims("db")
    checked = world.check()
    assert checked.agents.expected == 0
    assert counts(checked) == {"unmonitored": 1}


def test_one_claim_on_two_nodes_is_bad_on_one_of_them_only(world: World) -> None:
    (claim,) = world.claims("shared", node="a")
    world.cluster.set_node("b")
    world.cluster.run(
        make_pod("shared-1", node="a", claim="shared"), make_pod("shared-2", node="b", claim="shared")
    )
    world.cluster.report("a")
    world.cluster.report("b", make_entry(claim))
    checked = world.after(minutes=3, renew=("a", "b"))
    assert world.findings(checked, "shared") == ["Inaccessible/VolumeUnmounted (Node b)"]
    world.cluster.report("b")
    checked = world.after(minutes=6, renew=("a", "b"))
    assert world.notified == ["Found shared VolumeUnmounted b", "Recovered shared VolumeUnmounted b"]
    assert counts(checked) == {"healthy": 1}


def test_a_silent_agent_freezes_its_findings_and_leaves_the_rest_unknown(world: World) -> None:
    bad, *_ = world.claims("bad", "well")
    world.cluster.report("a", make_entry(bad))
    checked = world.after(minutes=3, renew=("a",))
    assert counts(checked) == {"healthy": 1, "unhealthy": 1}
    checked = world.after(minutes=2, seconds=59)
    assert counts(checked) == {"healthy": 1, "unhealthy": 1}, "1 s under the Lease's time"
    checked = world.after(minutes=20)
    assert counts(checked) == {"unhealthy": 1, "unknown": 1}
    assert world.findings(checked, "bad") == ["Inaccessible/VolumeUnmounted (Node a) (stale)"]
    assert checked.unknown[0].reason == "AgentSilent"
    assert checked.agents.silent == ("a",)
    world.cluster.renew("a")
    checked = world.after(minutes=1, renew=("a",))
    assert counts(checked) == {"healthy": 1, "unhealthy": 1}
    assert world.notified == ["Found bad VolumeUnmounted a"], "nothing was told twice"


def test_agents_that_are_removed_leave_no_alarm_once_their_leases_have_ended(world: World) -> None:
    world.cluster.unread.discard(AGENT_PODS)
    world.cluster.agent_nodes["a"] = 1
    world.claims("db")
    world.cluster.report("a")
    checked = world.after(minutes=1, renew=("a",))
    assert (checked.agents.expected, checked.agents.reporting) == (1, 1)
    del world.cluster.agent_nodes["a"]
    checked = world.after(minutes=20)
    assert (checked.agents.expected, checked.agents.silent) == (0, ())
    assert counts(checked).get("healthy", 0) == 0, "what they said last is no proof of health"


def test_an_agent_is_expected_where_the_daemonset_wants_one_and_where_one_is_alive(world: World) -> None:
    world.cluster.unread.discard(AGENT_PODS)
    world.cluster.agent_nodes.update({"a": 1, "wanted": 1})
    world.claims("db", node="a")
    world.claims("wal", node="wanted")
    world.claims("serverless", node="fargate")
    world.claims("by-hand", node="without-a-pod")
    for node in ("a", "without-a-pod"):
        world.cluster.report(node)
    checked = world.after(minutes=1, renew=("a", "without-a-pod"))
    assert (checked.agents.expected, checked.agents.reporting) == (3, 2)
    assert checked.agents.silent == ("wanted",)


def test_where_looks_alone_judge_a_node_whose_agent_never_came_is_unknown(world: World) -> None:
    """Faults H22: its driver has no health call, but an agent that is wanted there would judge its volumes."""
    world.cluster.unread.discard(AGENT_PODS)
    world.cluster.agent_nodes.update({"a": 1, "b": 1})
    (db,) = world.claims("db", node="a")
    world.claims("wal", node="b")
    mute = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)
    world.cluster.report("a", drivers=[mute], complete=[db])
    checked = world.after(minutes=10, renew=("a",))
    assert counts(checked) == {"healthy": 1, "unknown": 1}
    assert checked.unknown[0].reason == "AgentSilent"


def test_a_silent_agent_is_no_matter_where_the_controller_speaks(world: World) -> None:
    claims = world.claims("db")
    world.controller(*claims)
    world.cluster.report("a")
    world.after(minutes=1, renew=("a",))
    checked = world.after(minutes=20)
    assert counts(checked) == {"healthy": 1}
    assert checked.agents.silent == ("a",)


def test_agents_speak_for_claims_whose_controller_is_down(world: World) -> None:
    world.claims("db", "wal")
    world.controller(silent=True)
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 2}


def test_an_agents_clock_decides_nothing(world: World) -> None:
    world.claims("db")
    world.cluster.report("a")
    world.check()
    for minute in range(10):
        world.clock.advance(seconds=60)
        world.cluster.renew("a", at=START - timedelta(days=400) + timedelta(minutes=minute))
        assert counts(world.check()) == {"healthy": 1}


def test_an_agent_that_died_long_ago_is_not_alive_for_an_operator_that_starts(world: World) -> None:
    world.claims("db")
    world.cluster.report("a")
    world.cluster.leases.clear()
    world.cluster.renew("a", at=START - timedelta(minutes=4))
    assert counts(world.check()) == {"unknown": 1}


def test_an_outage_of_the_api_server_makes_no_agent_silent(world: World) -> None:
    world.claims("db")
    world.cluster.report("a")
    world.check()
    outage = world.clock.now()
    for _ in range(10):
        world.clock.advance(seconds=60)
        world.cluster.stale = ("watches are silent", (world.clock.now() - outage).total_seconds())
        checked = world.check()
        assert checked.agents.silent == ()
        assert counts(checked) == {"unknown": 1}, "what is known is old"
    world.cluster.stale = ("", 0.0)
    assert counts(world.check()) == {"healthy": 1}, "its Lease could not be renewed while nobody could"
    checked = world.after(minutes=5)
    assert checked.agents.silent == ("a",), "but it has to be, soon"


def test_a_pod_that_has_just_begun_to_run_is_healthy_once_its_agent_covers_it(world: World) -> None:
    world.claims("old")
    world.cluster.report("a")
    world.check()
    world.claims("new")
    checked = world.check()
    assert counts(checked) == {"healthy": 1, "unknown": 1}
    assert checked.unknown[0].reason == "NotYetAsked"
    assert counts(world.after(minutes=60, renew=("a",))) == {"healthy": 1, "unknown": 1}
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 2}


def test_a_new_pod_of_a_claim_is_not_covered_by_what_was_written_before_it_ran(world: World) -> None:
    world.claims("db")
    world.cluster.report("a")
    world.check()
    world.cluster.end(make_pod("db-0", node="a", claim="db"))
    world.check()
    world.claims("db")
    checked = world.check()
    assert counts(checked) == {"unknown": 1}
    assert checked.unknown[0].reason == "NotYetAsked"
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 1}


def test_a_pod_that_took_anothers_place_between_two_checks_is_not_covered_by_what_was_said_of_the_first(
    world: World,
) -> None:
    """Faults A2: whoever looked at the mounts of the first has not seen those of the second, nor of the third."""
    world.claims("db")
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 1}
    for uid in ("second", "third"):
        world.cluster.end(make_pod("db-0", node="a", claim="db"))
        world.cluster.run(replace(make_pod("db-0", node="a", claim="db"), uid=uid))
        checked = world.after(seconds=5)
        assert counts(checked) == {"unknown": 1}
        assert checked.unknown[0].reason == "NotYetAsked"
        world.cluster.report("a")
        assert counts(world.check()) == {"healthy": 1}


@pytest.mark.parametrize("reported", [False, True], ids=["as it was", "anew"])
def test_a_claim_whose_pod_does_not_begin_for_hours_is_not_in_use(world: World, *, reported: bool) -> None:
    """Faults H28: its image could not be pulled; it was new for days, and all volumes healthy."""
    db, other = world.claims("db", "other")
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 2}
    world.cluster.run(replace(make_pod("db-0", node="a", claim="db"), phase="Pending"))
    if reported:
        world.cluster.report("a", covered=(other,))
    assert counts(world.after(seconds=30, renew=("a",))) == {"healthy": 1, "unknown": 1}
    assert counts(world.after(minutes=5, renew=("a",))) == {"healthy": 1, "unmonitored": 1}
    world.cluster.run(make_pod("db-0", node="a", claim="db"))
    checked = world.after(seconds=30, renew=("a",))
    assert [(group.reason, group.claims) for group in checked.unknown] == [("NotYetAsked", 1)]
    world.cluster.report("a", covered=(db, other))
    assert counts(world.after(seconds=30, renew=("a",))) == {"healthy": 2}


def test_a_claim_that_is_not_asked_about_for_long_is_no_new_one(world: World) -> None:
    """Faults A2, H22: beside healthy claims it was new for days, and all volumes healthy."""
    claims = world.claims("new", *(f"db-{number}" for number in range(30)))
    world.cluster.report("a", covered=claims[1:])
    checked = world.after(minutes=9, renew=("a",))
    assert condition(checked) == ("True", "31 monitored claims, 1 of them new and not asked about yet")
    checked = world.after(minutes=3, renew=("a",))
    assert condition(checked) == (
        "Unknown",
        "1 of 31 monitored claims unknown: the driver was not asked about it on a since it was wanted",
    )
    world.cluster.report("a", covered=claims)
    assert condition(world.check()) == ("True", "31 monitored claims")


def condition(checked: CheckResult) -> tuple[str, str]:
    """Return status and first words of VolumesHealthy."""
    shown = {str(one["type"]): one for one in conditions(checked, (), {})}["VolumesHealthy"]
    return str(shown["status"]), str(shown["message"]).partition(";")[0]


def test_a_pod_that_begins_beside_one_that_runs_on_takes_nothing_from_it(world: World) -> None:
    world.claims("db")
    world.cluster.report("a")
    world.check()
    world.cluster.run(replace(make_pod("reader", node="a", claim="db"), uid="reader"))
    assert counts(world.after(seconds=5)) == {"healthy": 1}


def test_a_claim_that_was_made_anew_between_two_checks_is_not_covered_by_what_was_said_of_the_old_one(
    world: World,
) -> None:
    """A StatefulSet is scaled down and up, and its Pod is on the same node again before anything is checked."""
    world.claims("db")
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 1}
    world.cluster.end(make_pod("db-0", node="a", claim="db"))
    world.claims("db", uid="uid-of-the-new-one")
    checked = world.check()
    assert counts(checked) == {"unknown": 1}
    assert checked.unknown[0].reason == "NotYetAsked"
    world.cluster.report("a")
    assert counts(world.check()) == {"healthy": 1}


def test_a_claim_that_leaves_a_node_leaves_its_findings_there(world: World) -> None:
    (claim,) = world.claims("db")
    world.cluster.set_node("b")
    world.cluster.report("a", make_entry(claim))
    world.cluster.report("b")
    world.after(minutes=3, renew=("a", "b"))
    world.cluster.run(replace(make_pod("db-0", node="b", claim="db")))
    world.after(minutes=6, renew=("a", "b"))
    assert world.notified == ["Found db VolumeUnmounted a", "Closed db VolumeUnmounted a"]


def test_a_report_is_no_word_about_another_claim_of_that_name(world: World) -> None:
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(replace(claim, uid="uid-of-an-earlier-db")))
    world.after(minutes=3, renew=("a",))
    assert world.notified == []


def test_a_volume_that_gave_no_answer_is_unknown_and_others_are_not(world: World) -> None:
    silent, _ = world.claims("silent", "well")
    world.cluster.report("a", make_silent(silent))
    checked = world.check()
    assert counts(checked) == {"healthy": 1, "unknown": 1}
    assert checked.unknown[0].reason == "CallFailed"


def test_a_report_that_left_something_out_vouches_for_nobody(world: World) -> None:
    world.claims("db")
    world.cluster.report("a", omitted=Omitted(volumes=3))
    checked = world.check()
    assert counts(checked) == {"unknown": 1}
    assert checked.unknown[0].reason == "ListIncomplete"


def test_a_driver_that_does_not_answer_on_a_node_is_silent_there(world: World) -> None:
    world.claims("db")
    world.cluster.report("a", drivers=[make_reported_driver(state=SourceState.UNREACHABLE)])
    checked = world.check()
    assert counts(checked) == {"unknown": 1}
    assert checked.unknown[0].reason == "DriverUnreachable"


def test_the_mount_table_accuses_for_a_driver_without_a_health_call_and_acquits_nobody(world: World) -> None:
    (claim,) = world.claims("db")
    silent_places = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)
    world.cluster.report("a", make_entry(claim, origin=Observer.MOUNT_TABLE), drivers=[silent_places])
    checked = world.after(minutes=3, renew=("a",))
    assert counts(checked) == {"unhealthy": 1}
    world.cluster.report("a", drivers=[silent_places])
    checked = world.after(minutes=6, renew=("a",))
    assert world.notified[-1] == "Recovered db VolumeUnmounted a"
    assert counts(checked) == {"unmonitored": 1}


def test_capacity_is_heard_only_if_the_policy_wants_it(world: World) -> None:
    (claim,) = world.claims("db")
    full = make_entry(claim, status="Degraded", reason="OutOfCapacity", origin=Observer.CAPACITY)
    world.cluster.report("a", full)
    world.spec = replace(SPEC, checks=Checks(capacity=replace(SPEC.checks.capacity, enabled=False)))
    assert counts(world.after(minutes=3, renew=("a",))) == {"healthy": 1}
    world.spec = SPEC
    assert counts(world.after(minutes=3, renew=("a",))) == {"unhealthy": 1}


def test_a_volume_that_is_said_to_be_full_on_purpose_is_unhealthy_no_more(world: World) -> None:
    """Faults C8: its agent compares it no more, and would never say that it has space again."""
    (claim,) = world.claims("db")
    low = make_entry(claim, status="Degraded", reason="OutOfCapacity", origin=Observer.CAPACITY)
    world.cluster.report("a", low)
    world.after(minutes=3, renew=("a",))
    world.cluster.add(replace(claim, labels={"excluded_from_alerts": "true"}))
    said = world.cluster.reports["a"]
    others = tuple(one for one in said.coverage if one.observer is not Observer.CAPACITY)
    world.cluster.reports["a"] = replace(said, volumes=(), coverage=others)
    checked = world.after(minutes=6, renew=("a",))
    assert world.notified == ["Found db OutOfCapacity a", "Closed db OutOfCapacity a"]
    assert counts(checked) == {"healthy": 1}


@pytest.mark.parametrize(("api", "asked"), [(HealthAPI.NONE, True), (HealthAPI.VOLUME_HEALTH, False)])
def test_a_dead_volume_whose_space_means_nothing_is_not_closed_because_its_driver_hangs(
    world: World, api: HealthAPI, asked: bool
) -> None:
    """Block volumes and those that many only read: the call that failed with an errno is still made, but by CSI 1.13."""
    (claim,) = world.claims("db")
    world.cluster.add(replace(claim, block=True))
    methods = ("NodeGetVolumeStats",) if asked else ("NodeGetVolumeHealth", "NodeGetVolumeStats")
    driver = replace(make_reported_driver(api=api), methods=methods)
    dead = make_entry(claim, reason="BackendError", origin=Observer.CAPACITY)
    world.cluster.report("a", dead, drivers=[driver])
    world.after(minutes=3, renew=("a",))
    assert world.notified == ["Found db BackendError a"]
    said = world.cluster.reports["a"]
    others = tuple(one for one in said.coverage if one.observer is not Observer.CAPACITY)
    world.cluster.reports["a"] = replace(said, volumes=(), coverage=others)
    checked = world.after(minutes=6, renew=("a",))
    assert world.notified[1:] == ([] if asked else ["Closed db BackendError a"])
    if asked:
        (finding,) = checked.healths[claim.ref].findings
        assert finding.stale


def test_the_node_plane_can_be_switched_off(world: World) -> None:
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim))
    off = CapacityCheck(enabled=False)
    world.spec = replace(SPEC, checks=Checks(node=NodeCheck(enabled=False), capacity=off))
    checked = world.after(minutes=3, renew=("a",))
    assert counts(checked) == {"unmonitored": 1}
    assert checked.agents.expected == 0


def test_how_full_volumes_are_is_heard_while_the_rest_of_the_node_plane_is_switched_off(world: World) -> None:
    """Faults C8: each check is switched off by itself, and what one hears clears nothing of the others."""
    full, bad = world.claims("full", "bad")
    low = make_entry(full, status="Degraded", reason="OutOfCapacity", origin=Observer.CAPACITY)
    world.cluster.report("a", low, make_entry(bad))
    world.after(minutes=3, renew=("a",))
    assert sorted(world.notified) == ["Found bad VolumeUnmounted a", "Found full OutOfCapacity a"]
    world.spec = replace(SPEC, checks=Checks(node=NodeCheck(enabled=False)))
    checked = world.after(minutes=10, renew=("a",))
    assert world.notified[2:] == ["Closed bad VolumeUnmounted a"]
    assert counts(checked) == {"unhealthy": 1, "unmonitored": 1}
    assert checked.agents.expected == 1
    world.cluster.report("a")
    checked = world.after(minutes=6, renew=("a",))
    assert world.notified[3:] == ["Recovered full OutOfCapacity a"]
    assert counts(checked) == {"unmonitored": 2}


# ---- the same fault heard twice ----


def test_what_agent_and_kubelet_say_alike_is_one_finding(world: World) -> None:
    (claim,) = world.claims("db")
    told_by_kubelet = Pod("shop", "db-0", "uid-db-0", "a", "Running", ("db",), health=(("db", (UNMOUNTED,)),))
    world.cluster.run(told_by_kubelet)
    world.cluster.report("a", make_entry(claim))
    checked = world.after(minutes=3, renew=("a",))
    (finding,) = checked.healths[claim.ref].findings
    assert (finding.reason, finding.node, finding.via) == ("VolumeUnmounted", "a", Via.AGENT)
    assert world.notified == ["Found db VolumeUnmounted a"]


def test_a_kubelet_is_heard_where_there_is_no_agent_and_taken_at_its_silence(world: World) -> None:
    world.claims("db")
    plain = make_pod("db-0", node="a", claim="db")
    world.cluster.run(replace(plain, health=(("db", (UNMOUNTED,)),)))
    checked = world.after(minutes=3)
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a)"]
    world.cluster.run(plain)
    checked = world.after(minutes=6)
    assert world.notified == ["Found db VolumeUnmounted a", "Recovered db VolumeUnmounted a"]
    assert counts(checked) == {"unmonitored": 1}


@pytest.mark.parametrize("why", ["its Pod waits", "its Pod has begun", "its node failed"])
def test_a_kubelet_takes_nothing_back_by_saying_nothing_of_a_pod_that_it_does_not_run(
    world: World, why: str
) -> None:
    """Faults F: the Pod that it spoke of is gone, and nobody has looked at the volume of the next one."""
    world.spec = replace(SPEC, healthy_after=timedelta(0))
    world.claims("db")
    plain = make_pod("db-0", node="a", claim="db")
    world.cluster.run(replace(plain, health=(("db", (UNMOUNTED,)),)))
    world.after(minutes=3)
    world.cluster.end(plain)
    if why == "its Pod waits":
        world.waits("a", since=world.clock.now(), said=())
        checked = world.after(minutes=10)
    elif why == "its Pod has begun":
        world.cluster.run(replace(plain, uid="next"))
        checked = world.after(minutes=1)
    else:
        world.cluster.set_node("a", "Unknown")
        world.cluster.run(replace(plain, uid="next"))
        checked = world.after(minutes=10)
    assert "Recovered db VolumeUnmounted a" not in world.notified
    assert "Inaccessible/VolumeUnmounted (Node a) (stale)" in world.findings(checked, "db")
    world.cluster.set_node("a")
    world.cluster.run(replace(plain, uid="next"))
    world.after(minutes=3)
    assert "Recovered db VolumeUnmounted a" in world.notified


def test_what_a_kubelet_said_of_a_pod_that_is_finished_is_no_word_about_the_next_one(world: World) -> None:
    """Faults C8 and A2: its status stays as it is for as long as the object does, and nobody would ever take it back."""
    world.claims("db")
    job = make_pod("db-job", node="a", claim="db")
    world.cluster.run(replace(job, health=(("db", (UNMOUNTED,)),)))
    checked = world.after(minutes=3)
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a)"]
    world.cluster.run(replace(job, phase="Failed", health=(("db", (UNMOUNTED,)),)))
    world.after(minutes=6)
    assert world.notified == ["Found db VolumeUnmounted a", "Recovered db VolumeUnmounted a"]


@pytest.mark.parametrize("gone", [False, True])
def test_what_a_kubelet_wrote_before_it_went_silent_is_one_word_and_no_hour_of_trouble(
    world: World, gone: bool
) -> None:
    """Faults B5: only answered time counts; the status of a Pod stays as it was while nobody writes it."""
    world.claims("db")
    plain = make_pod("db-0", node="a", claim="db")
    world.cluster.run(replace(plain, health=(("db", (UNMOUNTED,)),)))
    world.check()
    if gone:
        world.cluster.delete_node("a")
    else:
        world.cluster.set_node("a", "Unknown")
    world.after(minutes=10)
    assert world.notified == ["Found db NodeFailed a"]
    world.cluster.set_node("a")
    world.after(minutes=3)
    assert world.notified[1:] == ["Found db VolumeUnmounted a"]


def test_a_kubelet_that_says_that_its_node_is_not_ready_is_heard(world: World) -> None:
    world.claims("db")
    plain = make_pod("db-0", node="a", claim="db")
    world.cluster.run(replace(plain, health=(("db", (UNMOUNTED,)),)))
    world.cluster.set_node("a", "False")
    world.after(minutes=3)
    assert world.notified == ["Found db VolumeUnmounted a"]


def test_a_kubelet_is_taken_at_its_silence_after_the_interval_of_the_policy_and_of_no_other(
    world: World,
) -> None:
    """Faults C8: a policy that looks once a day, or did, keeps no finding of another stale for a day."""
    world.claims("db")
    slow = replace(world.policy, name="slow", uid="uid-slow", spec=replace(SPEC, interval=timedelta(days=1)))
    world.checker.follow({slow.uid: slow}, None)
    world.checker.check(slow)
    plain = make_pod("db-0", node="a", claim="db")
    world.cluster.run(replace(plain, health=(("db", (UNMOUNTED,)),)))
    world.after(minutes=3)
    world.cluster.end(plain)
    world.cluster.run(replace(plain, uid="next"))
    world.after(minutes=9)
    assert world.notified == ["Found db VolumeUnmounted a", "Recovered db VolumeUnmounted a"]


def test_controller_and_node_may_disagree_and_the_worse_counts(world: World) -> None:
    (claim,) = world.claims("db")
    world.controller(claim)
    world.cluster.report("a", make_entry(claim))
    checked = world.after(minutes=3, renew=("a",))
    assert counts(checked) == {"unhealthy": 1}
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a)"]


def test_claims_that_nodes_cannot_judge_are_counted_once_and_by_their_own_policy(world: World) -> None:
    """Faults H26: a claim used on two nodes was two, and those of another policy were in the number, too."""
    (claim,) = world.claims("db", labels={"tier": "gold"})
    (other,) = world.claims("other")
    world.cluster.set_node("b")
    world.cluster.run(make_pod("db-1", node="b", claim="db"))
    world.spec = replace(SPEC, selector=Selector(claim_selector=LabelSelector({"tier": "gold"})))
    mute = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE, methods=())
    for node in ("a", "b"):
        blind = [MissingLook(one.driver, *one.ref, one.uid, "fuse") for one in (claim, other)]
        world.cluster.report(node, drivers=[mute], missing=blind)
    assert world.check().drivers[DRIVER].unseen == (("fuse", 1),)


# ---- the storage behind drivers ----


UNREACHABLE = Condition("StorageUnreachable", "NoPath", "no path to the array")


def test_unwell_storage_is_one_story_of_driver_and_node_and_no_claims_finding(world: World) -> None:
    world.claims("db", "wal", node="a")
    world.claims("far", node="b")
    world.cluster.csinodes["a"] = NodeDrivers(
        "a", frozenset([DRIVER]), ((DRIVER, StorageStatement(UNREACHABLE)),)
    )
    said = StorageProblem("StorageUnreachable", "NoPath", "no path to the array", START)
    world.cluster.report("a", drivers=[make_reported_driver(storage=(said,))])
    world.cluster.report("b")
    assert world.after(minutes=1, renew=("a", "b")).storage.problems == ()
    checked = world.after(minutes=2, renew=("a", "b"))
    (problem,) = checked.storage.problems
    assert (problem.backend.driver, problem.backend.node) == (DRIVER, "a")
    assert [claim.name for claim in problem.claims] == ["db", "wal"]
    assert problem.finding.reason == "NoPath"
    assert counts(checked) == {"healthy": 3}
    assert world.notified == []
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]))
    world.cluster.report("a")
    assert world.after(minutes=6, renew=("a", "b")).storage.problems == ()


def test_unwell_storage_touches_only_volumes_of_its_kind(world: World) -> None:
    world.claims("file", access_modes=("ReadWriteOnce",))
    world.claims("disk", access_modes=("ReadWriteOnce",), block=True)
    statement = StorageStatement(UNREACHABLE, "ReadWriteOnce", "Block")
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]), ((DRIVER, statement),))
    (problem,) = world.after(minutes=3).storage.problems
    assert [claim.name for claim in problem.claims] == ["disk"]


def _storage_is_found(world: World) -> StorageProblem:
    """Let an agent report unwell storage until it is confirmed."""
    world.claims("db")
    said = StorageProblem("StorageUnreachable", "NoPath", "no path to the array", START)
    methods = ("NodeGetVolumeHealth", "NodeGetStorageHealth")
    world.cluster.report("a", drivers=[make_reported_driver(storage=(said,), methods=methods)])
    assert world.after(minutes=3, renew=("a",)).storage.problems != ()
    return said


def test_unwell_storage_stays_stale_while_the_driver_that_said_so_does_not_answer(world: World) -> None:
    """Faults A1, of storage: silence clears nothing, and what an agent repeats of a silent driver is old."""
    said = _storage_is_found(world)
    for repeated in ((), (said,)):
        silent = make_reported_driver(state=SourceState.UNREACHABLE, storage=repeated)
        world.cluster.report("a", drivers=[silent])
        (problem,) = world.after(minutes=30, renew=("a",)).storage.problems
        assert problem.finding.stale


def test_an_hour_in_which_nobody_looked_is_no_hour_of_trouble_of_storage_nor_of_its_recovery(
    world: World,
) -> None:
    """Faults B5, of storage: the policy was suspended, or the process stood still."""
    world.claims("db")
    methods = ("NodeGetVolumeHealth", "NodeGetStorageHealth")
    said = StorageProblem("StorageUnreachable", "NoPath", "no path to the array", START)
    world.cluster.report("a", drivers=[make_reported_driver(storage=(said,), methods=methods)])
    world.check()
    world.clock.advance(hours=1)
    world.cluster.renew("a")
    assert world.check().storage.problems == ()
    assert world.after(minutes=2, seconds=30, renew=("a",)).storage.problems != ()
    world.cluster.report("a", drivers=[make_reported_driver(methods=methods)])
    world.check()
    world.clock.advance(hours=1)
    world.cluster.renew("a")
    assert world.check().storage.problems != ()
    assert world.after(minutes=5, renew=("a",)).storage.problems == ()


def test_unwell_storage_stays_stale_while_its_agent_is_silent(world: World) -> None:
    _storage_is_found(world)
    (problem,) = world.after(minutes=30).storage.problems
    assert problem.finding.stale


def test_unwell_storage_stays_stale_while_csinodes_may_not_be_read(world: World) -> None:
    """Faults F17, of storage."""
    world.claims("db")
    world.cluster.csinodes["a"] = NodeDrivers(
        "a", frozenset([DRIVER]), ((DRIVER, StorageStatement(UNREACHABLE)),)
    )
    assert world.after(minutes=3).storage.problems != ()
    world.cluster.csinodes.clear()
    world.cluster.unread.add("csinodes")
    (problem,) = world.after(minutes=30).storage.problems
    assert problem.finding.stale


@pytest.mark.parametrize("cleared", [True, False])
def test_unwell_storage_stays_stale_while_the_kubelet_that_said_so_does_not_run(
    world: World, cleared: bool
) -> None:
    """Faults A1, of storage: a CSINode stays as it is while nobody writes it."""
    world.claims("db")
    said = ((DRIVER, StorageStatement(UNREACHABLE)),)
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]), said)
    assert world.after(minutes=3).storage.problems != ()
    if cleared:
        world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]))
    world.cluster.set_node("a", "Unknown")
    (problem,) = world.after(minutes=30).storage.problems
    assert problem.finding.stale


def test_unwell_storage_that_a_kubelet_told_of_is_closed_with_its_node(world: World) -> None:
    """Faults C8, of storage: the node was deleted, and its CSINode with it."""
    world.claims("db")
    said = ((DRIVER, StorageStatement(UNREACHABLE)),)
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]), said)
    assert world.after(minutes=3).storage.problems != ()
    world.cluster.delete_node("a")
    world.cluster.csinodes.clear()
    assert world.after(minutes=6).storage.problems == ()


def test_each_statement_about_storage_is_told_of_the_volumes_that_it_touches(world: World) -> None:
    """Faults H26: what is said of another access mode is nothing of a policy that has no such volume."""
    world.claims("db", access_modes=("ReadWriteOnce",))
    other = Condition("StorageUnreachable", "ExportGone", "no export answers")
    slow = Condition("StorageDegraded", "PathLost", "one path is left")
    world.cluster.csinodes["a"] = NodeDrivers(
        "a",
        frozenset([DRIVER]),
        (
            (DRIVER, StorageStatement(slow, "ReadWriteOnce")),
            (DRIVER, StorageStatement(other, "ReadWriteMany")),
        ),
    )
    (problem,) = world.after(minutes=3).storage.problems
    assert problem.finding.reason == "PathLost"


def test_unwell_storage_stays_stale_while_its_report_has_no_room_for_the_driver(world: World) -> None:
    """Faults F: what was left out is not gone."""
    _storage_is_found(world)
    world.cluster.report("a", drivers=[], omitted=Omitted(drivers=1))
    (problem,) = world.after(minutes=30, renew=("a",)).storage.problems
    assert problem.finding.stale


@pytest.mark.parametrize("carrier", ["an agent", "a kubelet"])
def test_unwell_storage_that_no_claim_uses_any_more_is_closed_though_nobody_speaks_there(
    world: World, carrier: str
) -> None:
    """Faults C8, of storage: it was stale for as long as the node was silent, while another driver's Pods run there."""
    world.claims("other", driver="other.csi.example.com")
    _storage_is_found(world)
    if carrier == "a kubelet":
        said = ((DRIVER, StorageStatement(UNREACHABLE)),)
        world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]), said)
        world.after(minutes=3, renew=("a",))
        world.cluster.set_node("a", "Unknown")
    world.cluster.end(make_pod("db-0", node="a", claim="db"))
    assert world.after(minutes=9).storage.problems == ()


def test_unwell_storage_touches_no_claim_that_is_gone_or_anothers(world: World) -> None:
    """Faults H26: while its agent was silent, claims stood there that had been deleted long ago."""
    world.claims("wal", "new")
    _storage_is_found(world)
    world.after(minutes=5)
    del world.cluster.claims[ClaimRef("shop", "wal")]
    world.spec = replace(SPEC, selector=Selector(claim_selector=LabelSelector({"tier": "gold"})))
    world.cluster.add(replace(world.cluster.claims[ClaimRef("shop", "new")], labels={"tier": "gold"}))
    (problem,) = world.after(minutes=1).storage.problems
    assert problem.finding.stale
    assert [claim.name for claim in problem.claims] == ["new"]


def test_unwell_storage_is_closed_once_its_driver_is_not_registered_any_more(world: World) -> None:
    """Faults C8, of storage: nobody takes back what stands in a CSINode of a driver that was removed."""
    world.claims("db")
    said = ((DRIVER, StorageStatement(UNREACHABLE)),)
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset([DRIVER]), said)
    assert world.after(minutes=3).storage.problems != ()
    world.cluster.csinodes["a"] = NodeDrivers("a", frozenset(), said)
    assert world.after(minutes=6).storage.problems == ()


def test_unwell_storage_is_closed_with_the_check_the_agent_or_the_call_that_it_came_from(
    world: World,
) -> None:
    """Faults C8, of storage."""
    _storage_is_found(world)
    without_call = make_reported_driver(methods=("NodeGetVolumeHealth",))
    world.cluster.report("a", drivers=[without_call])
    assert world.after(minutes=6, renew=("a",)).storage.problems == ()

    _storage_is_found(world)
    world.cluster.reports.clear()
    assert world.after(minutes=9).storage.problems == ()

    _storage_is_found(world)
    world.spec = replace(SPEC, checks=Checks(node=NodeCheck(enabled=False)))
    assert world.after(seconds=30, renew=("a",)).storage.problems == ()


# ---- origins: whose word it is ----

READ_ONLY = {"status": "Degraded", "reason": "FilesystemReadOnly", "message": "mounted read-only"}


def test_a_mount_table_entry_clears_nothing_of_a_driver_that_is_silent(world: World) -> None:
    """Faults A1: the finding stays, stale, and nothing is told."""
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim, reason="BackendError"))
    world.after(minutes=3, renew=("a",))
    assert world.notified == ["Found db BackendError a"]
    world.cluster.report("a", make_entry(claim, origin=Observer.MOUNT_TABLE, **READ_ONLY), make_silent(claim))
    checked = world.after(minutes=60, renew=("a",))
    assert world.notified == ["Found db BackendError a", "Found db FilesystemReadOnly a"]
    assert "Inaccessible/BackendError (Node a) (stale)" in world.findings(checked, "db")


def test_an_ignored_entry_of_the_mount_table_makes_no_claim_healthy_whose_driver_is_silent(
    world: World,
) -> None:
    (claim,) = world.claims("db")
    world.spec = replace(SPEC, rules=(Rule(RuleMatch(reason="FilesystemReadOnly"), ignore=True),))
    world.cluster.report("a", make_entry(claim, origin=Observer.MOUNT_TABLE, **READ_ONLY), make_silent(claim))
    assert counts(world.after(minutes=3, renew=("a",))) == {"unknown": 1}


@pytest.mark.parametrize("observer", ON_NODES)
@pytest.mark.parametrize("other", ON_NODES)
def test_an_observer_clears_what_it_said_itself_and_nothing_of_another(
    world: World, observer: Observer, other: Observer
) -> None:
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim, origin=observer))
    world.after(minutes=3, renew=("a",))
    world.cluster.report("a", covered=())
    report = world.cluster.reports["a"]
    world.cluster.reports["a"] = replace(report, coverage=(Coverage.of(other, [claim.uid]),))
    world.after(minutes=10, renew=("a",))
    recovered = ["Recovered db VolumeUnmounted a"] if observer is other else []
    assert world.notified[1:] == recovered


def test_an_agent_that_asked_nobody_makes_no_volume_healthy(world: World) -> None:
    """Faults A2: five volumes are gone, and the agent's driver is Answering."""
    world.claims("a", "b", "c", "d", "e")
    world.cluster.report("a", covered=())
    checked = world.after(minutes=10, renew=("a",))
    assert counts(checked) == {"unknown": 5}
    assert checked.unknown[0].reason == "NotYetAsked"
    assert checked.unknown[0].claims == 5


def test_a_claim_is_healthy_on_its_nodes_word_and_counted_so(world: World) -> None:
    db, wal = world.claims("db", "wal")
    mute = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)
    world.cluster.report("a", drivers=[mute], complete=[db])
    checked = world.check()
    assert counts(checked) == {"healthy": 1, "unmonitored": 1}
    assert checked.counts.healthy_by_node == 1
    world.cluster.report("a", make_entry(db, origin=Observer.FILESYSTEM), drivers=[mute], complete=[db, wal])
    checked = world.after(minutes=3, renew=("a",))
    assert counts(checked) == {"healthy": 1, "unhealthy": 1}
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a)"]


def test_a_driver_that_never_answered_on_its_nodes_is_not_said_to_have_no_health_api(world: World) -> None:
    (db,) = world.claims("db")
    never = make_reported_driver(state=SourceState.UNREACHABLE, api=HealthAPI.NONE, methods=())
    world.cluster.report("a", drivers=[never], complete=[db])
    checked = world.check()
    assert checked.counts.healthy_by_node == 1
    assert checked.drivers[DRIVER].state is SourceState.NOT_CONNECTED
    known = replace(never, methods=("NodeGetVolumeStats",))  # it was asked once, and is down
    world.cluster.report("a", drivers=[known], complete=[db])
    assert world.check().drivers[DRIVER].state is SourceState.UNSUPPORTED


def test_a_claim_that_was_healthy_on_its_nodes_word_is_unknown_without_its_agent(world: World) -> None:
    (db,) = world.claims("db")
    mute = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)
    world.cluster.report("a", drivers=[mute], complete=[db])
    world.check()
    checked = world.after(minutes=10)
    assert counts(checked) == {"unknown": 1}
    assert checked.unknown[0].reason == "AgentSilent"


# ---- the end of a source ----


SWITCHED_OFF = {
    "node": Checks(node=NodeCheck(enabled=False)),
    "capacity": replace(SPEC.checks, capacity=replace(SPEC.checks.capacity, enabled=False)),
    "nodeFailure": replace(SPEC.checks, node_failure=NodeFailureCheck(enabled=False)),
    "controller": replace(SPEC.checks, controller=PlaneCheck(enabled=False)),
}


@pytest.mark.parametrize("check", SWITCHED_OFF)
def test_a_check_that_is_switched_off_closes_its_findings_and_tells_nobody_that_they_recovered(
    world: World, check: str
) -> None:
    """Faults C8: gone from the counts, a line in the history, no recovery."""
    (claim,) = world.claims("db")
    if check == "node":
        world.cluster.report("a", make_entry(claim))
    elif check == "capacity":
        world.cluster.report("a", make_entry(claim, reason="OutOfCapacity", origin=Observer.CAPACITY))
    elif check == "nodeFailure":
        world.cluster.set_node("a", "False")
    else:
        broken = ApiConditions(health=(Condition("Inaccessible", "BackendError", "gone"),))
        world.cluster.api_conditions[claim.ref] = broken
    world.after(minutes=6, renew=("a",))
    assert [word.split()[0] for word in world.notified] == ["Found"]
    world.spec = replace(SPEC, checks=SWITCHED_OFF[check])
    checked = world.after(minutes=1, renew=("a",))
    assert [word.split()[0] for word in world.notified] == ["Found", "Closed"]
    assert checked.counts.unhealthy == 0
    health = checked.healths[claim.ref]
    assert health.closed
    assert health.history[-1].what.endswith(f"no longer monitored: spec.checks.{check}.enabled is false")
    world.after(minutes=60, renew=("a",))
    assert len(world.notified) == 2


def test_agents_that_were_uninstalled_close_what_they_found(world: World) -> None:
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim))
    world.after(minutes=3, renew=("a",))
    world.cluster.reports.clear()
    checked = world.after(minutes=9)
    assert world.notified == ["Found db VolumeUnmounted a", "Closed db VolumeUnmounted a"]
    assert counts(checked) == {"unmonitored": 1}


def test_agents_whose_reports_somebody_deleted_are_silent_and_not_gone(world: World) -> None:
    """Their findings were closed, and told anew when the agents had written their reports again."""
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim))
    world.after(minutes=3, renew=("a",))
    world.cluster.reports.clear()
    checked = world.after(minutes=6, renew=("a",))
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a) (stale)"]
    world.cluster.report("a", make_entry(claim))
    world.after(minutes=6, renew=("a",))
    assert world.notified == ["Found db VolumeUnmounted a"]


def test_a_driver_that_lost_its_health_call_closes_its_findings_after_a_while(world: World) -> None:
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim))
    world.after(minutes=3, renew=("a",))
    mute = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)
    world.cluster.report("a", drivers=[mute], covered=())
    checked = world.after(minutes=4, renew=("a",))
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a) (stale)"]
    world.after(minutes=2, renew=("a",))
    assert world.notified == ["Found db VolumeUnmounted a", "Closed db VolumeUnmounted a"]


def test_the_time_in_which_a_driver_had_no_health_call_is_none_in_which_it_said_well(world: World) -> None:
    """Another version of it runs for four minutes; then it says well for less than healthyAfter."""
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim, origin=Observer.DRIVER))
    world.after(minutes=3, renew=("a",))
    mute = make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)
    world.cluster.report("a", drivers=[mute], covered=())
    world.after(minutes=4, renew=("a",))
    world.cluster.report("a", covered=[claim])
    world.after(minutes=4, renew=("a",))
    assert world.notified == ["Found db VolumeUnmounted a"]
    world.after(minutes=2, renew=("a",))
    assert world.notified == ["Found db VolumeUnmounted a", "Recovered db VolumeUnmounted a"]


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(
            make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE, methods=()), id="none"
        ),
        pytest.param(make_reported_driver(methods=("NodeGetVolumeHealth",)), id="its health call"),
    ],
)
def test_a_driver_that_lost_its_call_for_usage_closes_what_was_found_of_how_full_volumes_are(
    world: World, left: ReportedDriver
) -> None:
    (claim,) = world.claims("db")
    counts_too = make_reported_driver(methods=("NodeGetVolumeHealth", "NodeGetVolumeStats"))
    full = make_entry(claim, status="Degraded", reason="OutOfCapacity", origin=Observer.CAPACITY)
    world.cluster.report("a", full, drivers=[counts_too])
    world.after(minutes=3, renew=("a",))
    world.cluster.report("a", drivers=[left], covered=())
    world.after(minutes=6, renew=("a",))
    assert world.notified == ["Found db OutOfCapacity a", "Closed db OutOfCapacity a"]


def test_a_driver_has_not_lost_its_health_call_because_it_does_not_say_what_it_can(world: World) -> None:
    """Faults C8: it hangs while its agent is started for the first time, or does not register with the kubelet."""
    (claim,) = world.claims("db")
    world.claims("wal")
    world.claims("else", node="b")
    world.cluster.report("a", make_entry(claim))
    world.cluster.report("b")
    world.after(minutes=3, renew=("a", "b"))
    away = make_reported_driver(state=SourceState.UNREACHABLE, api=HealthAPI.NONE, methods=())
    world.cluster.report("a", drivers=[away], covered=())
    checked = world.after(minutes=20, renew=("a", "b"))
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a) (stale)"]
    assert counts(checked) == {"healthy": 1, "unhealthy": 1, "unknown": 1}
    assert checked.unknown[0].reason == "DriverUnreachable"
    assert world.notified == ["Found db VolumeUnmounted a"]


def test_a_kernel_log_that_is_switched_off_on_its_agent_closes_what_it_said(world: World) -> None:
    """Faults C8: it would be stale for ever, and nobody could take it back."""
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim, reason="IOError", origin=Observer.KERNEL_LOG))
    world.after(minutes=6, renew=("a",))
    why = "the agent was told not to read the kernel log"
    world.cluster.report("a", unseen=[UnseenOrigin(Observer.KERNEL_LOG, why, off=True)])
    checked = world.after(minutes=1, renew=("a",))
    assert world.notified == ["Found db IOError a", "Closed db IOError a"]
    assert checked.counts.unhealthy == 0
    assert checked.healths[claim.ref].history[-1].what.endswith(f"no longer monitored: {why}")


def test_what_a_kernel_log_said_that_may_not_be_read_any_more_is_stale(world: World) -> None:
    """It would be told as if it were seen, for ever."""
    (claim,) = world.claims("db")
    entry = make_entry(claim, reason="IOError", origin=Observer.KERNEL_LOG)
    world.cluster.report("a", entry)
    world.after(minutes=6, renew=("a",))
    why = "the agent may not read the kernel log (Operation not permitted)"
    world.cluster.report("a", entry, unseen=[UnseenOrigin(Observer.KERNEL_LOG, why)])
    checked = world.after(minutes=60, renew=("a",))
    assert world.findings(checked, "db") == ["Inaccessible/IOError (Node a) (stale)"]
    assert world.notified == ["Found db IOError a"]
    world.cluster.report("a")
    world.after(minutes=6, renew=("a",))
    assert world.notified == ["Found db IOError a", "Recovered db IOError a"]


def test_what_holds_until_a_line_of_the_log_ends_it_is_stale_without_the_log(world: World) -> None:
    (claim,) = world.claims("db")
    entry = make_entry(claim, reason="PathDown", origin=Observer.KERNEL_LOG, instance="b1")
    world.cluster.report("a", entry)
    world.after(minutes=6, renew=("a",))
    world.cluster.report("a", entry, unseen=[UnseenOrigin(Observer.KERNEL_LOG, "it may not be read")])
    checked = world.after(minutes=60, renew=("a",))
    assert world.findings(checked, "db") == ["Inaccessible/PathDown (Node a) (stale)"]


def test_what_holds_until_a_filesystem_is_mounted_anew_is_no_less_so_without_the_kernel_log(
    world: World,
) -> None:
    (claim,) = world.claims("db")
    entry = make_entry(claim, reason="FilesystemShutdown", origin=Observer.KERNEL_LOG, instance="b1/xfs/1")
    world.cluster.report("a", entry, unseen=[UnseenOrigin(Observer.KERNEL_LOG, "it may not be read")])
    checked = world.after(minutes=6, renew=("a",))
    assert world.findings(checked, "db") == ["Inaccessible/FilesystemShutdown (Node a)"]


def test_a_silent_agent_whose_report_was_the_only_one_and_was_deleted_is_not_gone_while_its_pod_is_there(
    world: World,
) -> None:
    world.cluster.unread.discard(AGENT_PODS)
    world.cluster.agent_nodes["a"] = 1
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim))
    world.after(minutes=3, renew=("a",))
    world.after(minutes=10)
    world.cluster.reports.clear()
    checked = world.after(minutes=20)
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a) (stale)"]
    assert world.notified == ["Found db VolumeUnmounted a"]


def test_agents_that_may_not_be_read_any_more_end_nothing(world: World) -> None:
    (claim,) = world.claims("db")
    world.cluster.report("a", make_entry(claim))
    world.after(minutes=3, renew=("a",))
    world.cluster.unread.add("leases")
    checked = world.after(minutes=60)
    assert world.notified == ["Found db VolumeUnmounted a"]
    assert world.findings(checked, "db") == ["Inaccessible/VolumeUnmounted (Node a) (stale)"]


def test_agents_of_controllers_that_may_not_be_read_end_nothing_either(world: World) -> None:
    """Faults F17: an operator that starts, and is refused, does not know which drivers an agent stands beside."""
    (claim,) = world.claims("db")
    world.controller()
    broken = Condition("Inaccessible", "BackendError", "gone")
    said = Answer(Source.CONTROLLER, Outcome.ADVERSE, START, via=Via.AGENT, conditions=(broken,))
    for _ in range(8):
        heard = world.drivers.said[DRIVER]
        world.drivers.said[DRIVER] = replace(heard, others={claim.handle: said}, at=world.clock.now())
        world.check()
        world.clock.advance(seconds=30)
    assert world.notified == ["Found db BackendError"]
    world.drivers.said.clear()
    world.cluster.unread.add("leases")
    world.start(after=world.checker)
    checked = world.after(minutes=60)
    assert world.findings(checked, "db") == ["Inaccessible/BackendError (Controller) (stale)"]
    world.cluster.unread.discard("leases")
    world.after(minutes=6)
    assert world.notified == ["Found db BackendError", "Closed db BackendError"]


def test_a_node_that_flaps_is_not_forgiven_in_between(world: World) -> None:
    world.claims("db")
    world.cluster.set_node("a", "False")
    world.after(minutes=6)
    for _ in range(10):
        world.cluster.set_node("a")
        world.after(minutes=4)
        world.cluster.set_node("a", "False")
        world.after(minutes=1)
    assert world.notified == ["Found db NodeFailed a"]
