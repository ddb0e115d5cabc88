"""What is made of agents' reports: who vouches, who accuses, and that nothing of the past sticks to it."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from support.health import DRIVER, START, SteppedClock, make_claim, make_pod
from support.planes import PlainCluster, make_entry, make_reported_driver, make_silent
from volumehealth.model.health import Answer, DriverAnswers, HealthAPI, Outcome, Source, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import ON_NODES, Observer, Origin
from volumehealth.model.policy import Checks, NodeFailureCheck, Policy, PolicySpec
from volumehealth.model.report import Omitted, Plane, VolumeHealthReport
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Selection
from volumehealth.sources.gather import Gathered
from volumehealth.sources.reports import (
    Covered,
    NodeAgent,
    adverse_answers,
    covered_by,
    node_reports,
    silences,
)
from volumehealth.sources.source import Asked
from volumehealth.sources.sourcelist import make_sources
from volumehealth.sources.usage import Usage

DB, WAL = make_claim("db"), make_claim("wal")


def agent(cluster: PlainCluster, node: str = "a", *, silent: bool = False) -> NodeAgent:
    return NodeAgent(node, cluster.reports.get(node), START if silent else None)


def scene() -> tuple[PlainCluster, Usage]:
    """Two claims, both used on node a."""
    cluster = PlainCluster(SteppedClock())
    cluster.add(DB, WAL)
    cluster.run(make_pod("p", node="a", claim="db"), make_pod("q", node="a", claim="wal"))
    usage = Usage(cluster.claims, cluster.pods_of)
    at_once(usage.update(None, 0.0))
    return cluster, usage


def test_a_report_is_about_the_node_it_is_named_after() -> None:
    of_node = VolumeHealthReport("a", node="somebody-else")
    of_controller = VolumeHealthReport("controller.x", Plane.CONTROLLER)
    assert node_reports([of_node, of_controller]) == {"a": of_node}


def covered(cluster: PlainCluster, usage: Usage, *, silent: bool = False) -> Covered:
    return covered_by(agent(cluster, silent=silent), cluster.claims, usage)


DRIVER_ON_A = Origin(Source.NODE, Observer.DRIVER, "a")
MOUNTS_ON_A = Origin(Source.NODE, Observer.MOUNT_TABLE, "a")


def test_a_claim_that_is_covered_and_not_named_is_healthy() -> None:
    cluster, usage = scene()
    cluster.report("a", make_entry(DB))
    assert covered(cluster, usage).healthy == {DRIVER: {WAL.ref}}


def test_an_agent_that_asked_nobody_says_nothing_of_any_volume() -> None:
    cluster, usage = scene()
    cluster.report("a", covered=())
    seen = covered(cluster, usage)
    assert (seen.healthy, seen.origins) == ({}, {})
    assert sorted(seen.unasked[DRIVER]) == [(DB.ref, "a"), (WAL.ref, "a")]


def test_what_one_observer_says_takes_nothing_from_the_others() -> None:
    cluster, usage = scene()
    cluster.report("a", make_entry(DB, origin=Observer.MOUNT_TABLE), make_silent(DB))
    origins = covered(cluster, usage).origins[DRIVER][DB.ref]
    assert DRIVER_ON_A not in origins, "it is silent"
    assert MOUNTS_ON_A not in origins, "it says something"
    assert Origin(Source.NODE, Observer.FILESYSTEM, "a") in origins


def test_while_a_driver_does_not_answer_its_node_still_looks() -> None:
    cluster, usage = scene()
    down = make_reported_driver(state=SourceState.UNREACHABLE)
    cluster.report("a", drivers=[down], complete=[DB])
    seen = covered(cluster, usage)
    assert seen.healthy == {}
    assert seen.complete == {DRIVER: {DB.ref}}
    assert MOUNTS_ON_A in seen.origins[DRIVER][DB.ref]
    assert DRIVER_ON_A not in seen.origins[DRIVER][DB.ref]


def test_an_agent_that_cannot_know_says_nothing_of_what_it_does_not_name() -> None:
    cluster, usage = scene()
    cluster.report("a")
    assert covered(cluster, usage, silent=True) == Covered()
    cluster.report("a", omitted=Omitted(silent=1))
    assert covered(cluster, usage) == Covered()
    for driver in (
        make_reported_driver(api=HealthAPI.NONE),
        make_reported_driver(state=SourceState.UNREACHABLE),
        make_reported_driver("other.example.com"),
    ):
        cluster.report("a", drivers=[driver])
        assert covered(cluster, usage).healthy == {}


def said(cluster: PlainCluster, usage: Usage, one: NodeAgent) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {}
    for ref, answer in (
        *adverse_answers([one], cluster.claims, usage, wanted=ON_NODES, now=START),
        *silences([one], usage, drivers=[DRIVER], now=START),
    ):
        answers.setdefault(ref.name, []).append(answer)
    return answers


def test_an_entry_of_a_driver_that_does_not_answer_accuses_beside_its_silence() -> None:
    cluster, usage = scene()
    cluster.report("a", make_entry(DB), drivers=[make_reported_driver(state=SourceState.UNREACHABLE)])
    answers = said(cluster, usage, agent(cluster))
    assert [one.outcome for one in answers["db"]] == [Outcome.ADVERSE, Outcome.SILENT]
    assert [one.reason for one in answers["wal"]] == ["DriverUnreachable"]


def test_why_a_volume_is_silent_is_said_once() -> None:
    cluster, usage = scene()
    cluster.report("a", make_silent(DB), make_entry(WAL), omitted=Omitted(volumes=1))
    answers = said(cluster, usage, agent(cluster))
    assert [one.reason for one in answers["db"]] == ["CallFailed"]
    assert [one.outcome for one in answers["wal"]] == [Outcome.ADVERSE]


def test_of_a_driver_that_a_report_leaves_out_nothing_is_known() -> None:
    """It may be silent, or not answer: the claims that it does not name are not those of a driver without a call."""
    cluster, usage = scene()
    cluster.report("a", make_entry(WAL), drivers=[], omitted=Omitted(drivers=1), complete=[DB])
    answers = said(cluster, usage, agent(cluster))
    assert [one.reason for one in answers["db"]] == ["ListIncomplete"]
    assert [one.outcome for one in answers["wal"]] == [Outcome.ADVERSE]
    cluster.report("a", drivers=[], complete=[DB])
    assert said(cluster, usage, agent(cluster)) == {}


def test_a_silent_agent_is_missed_only_for_drivers_that_could_answer() -> None:
    cluster, usage = scene()
    cluster.report("a", drivers=[make_reported_driver(state=SourceState.UNSUPPORTED, api=HealthAPI.NONE)])
    assert said(cluster, usage, agent(cluster, silent=True)) == {}
    cluster.report("a")
    gone = said(cluster, usage, agent(cluster, silent=True))
    assert {one.reason for answers in gone.values() for one in answers} == {"AgentSilent"}


# ---- any history ----

NODES = ("a", "b")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("run"),
            st.sampled_from(("p", "q", "r")),
            st.sampled_from((*NODES, "")),
            st.sampled_from(("db", "wal")),
        ),
        st.tuples(
            st.just("end"), st.sampled_from(("p", "q", "r")), st.just(""), st.sampled_from(("db", "wal"))
        ),
        st.tuples(
            st.just("report"),
            st.sampled_from(("nothing", "bad", "silent", "down", "short")),
            st.sampled_from(NODES),
            st.sampled_from(("db", "wal")),
        ),
        st.tuples(st.just("unreport"), st.just(""), st.sampled_from(NODES), st.just("db")),
        st.tuples(st.just("check"), st.just(""), st.just(""), st.just("db")),
    ),
    max_size=20,
)
POLICY = Policy(
    "all",
    "uid-all",
    1,
    START,
    PolicySpec(checks=Checks(node_failure=NodeFailureCheck(enabled=False)), interval=timedelta(seconds=5)),
)


def report(cluster: PlainCluster, what: str, node: str, name: str) -> None:
    claim = cluster.claims[ClaimRef("shop", name)]
    if what == "bad":
        cluster.report(node, make_entry(claim))
    elif what == "silent":
        cluster.report(node, make_silent(claim))
    elif what == "down":
        cluster.report(node, drivers=[make_reported_driver(state=SourceState.UNREACHABLE)])
    else:
        cluster.report(node, omitted=Omitted(volumes=1) if what == "short" else None)


class NoDrivers:
    """No controller is connected."""

    unresolved = ()

    def demand(self, wanted: object, /) -> None:
        pass

    def answers(self) -> dict[str, DriverAnswers]:
        return {}


def plain(gathered: Gathered) -> object:
    """Return what matters of what was gathered, in an order of its own."""
    nodes = gathered.healthy_on_nodes
    claims = {ref: sorted(answers, key=repr) for ref, answers in gathered.claims.items()}
    refs = {ref for of_driver in nodes.claims.values() for ref in of_driver}
    healthy_on_nodes = {ref: sorted(nodes.covered[ref]) for ref in refs}
    states = {name: driver.state for name, driver in gathered.states.items()}
    return claims, healthy_on_nodes, gathered.agents.expected, set(gathered.agents.silent), states


@settings(deadline=None)
@given(STEPS)
def test_after_any_history_the_same_is_heard_as_by_one_who_has_just_come(
    steps: list[tuple[str, str, str, str]],
) -> None:
    clock = SteppedClock()
    cluster = PlainCluster(clock)
    cluster.add(DB, replace(WAL, access_modes=("ReadWriteMany",)))
    old, selection = make_sources(cluster, NoDrivers(), clock=clock).sources, Selection()
    at_once(selection.update({POLICY.uid: POLICY}, cluster.claims, {}, None))
    members = selection.members(POLICY.uid)
    for what, name, node, claim in steps:
        clock.advance(seconds=1)
        if what == "run":
            cluster.run(make_pod(name, node=node, claim=claim))
        elif what == "end":
            cluster.end(make_pod(name, claim=claim))
        elif what == "report":
            report(cluster, name, node, claim)
        elif what == "unreport":
            cluster.reports.pop(node, None)
        else:
            at_once(old.gather(Asked(POLICY, members, clock.now()), ""))
    at_once(old.gather(Asked(POLICY, members, clock.now()), ""))
    clock.advance(minutes=2)  # no Pod is fresh any more
    cluster.renew(*NODES)
    asked = Asked(POLICY, members, clock.now())
    new = make_sources(cluster, NoDrivers(), clock=clock).sources
    assert plain(at_once(old.gather(asked, ""))) == plain(at_once(new.gather(asked, "")))
