"""Who uses which claim where, and since when: kept up by what changed."""

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from support.health import DRIVER, SteppedClock, make_claim
from support.planes import PlainCluster
from volumehealth.model.cluster import Pod
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import at_once
from volumehealth.sources.usage import Place, Usage

DB = ClaimRef("shop", "db")


def pod(name: str = "p", node: str = "a", phase: str = "Running", claim: str = "db") -> Pod:
    return Pod("shop", name, f"uid-{name}", node, phase, (claim,))


class World:
    """A cluster with two claims, and who uses them."""

    def __init__(self) -> None:
        self.cluster = PlainCluster(SteppedClock())
        self.changes = self.cluster.subscribe(), self.cluster.subscribe_pods()
        self.usage = Usage(self.cluster.claims, self.cluster.pods_of)
        self.cluster.add(make_claim("db"), make_claim("wal"))

    def look(self, now: float = 0.0) -> None:
        claims, pods = (changes.take() for changes in self.changes)
        at_once(self.usage.update(None if claims is None or pods is None else claims | pods, now))


def test_a_claim_is_used_where_a_pod_is_bound_that_is_not_finished() -> None:
    world = World()
    world.cluster.run(pod("p"), pod("q", node="b", phase="Pending"), pod("r", node="c", phase="Succeeded"))
    world.cluster.run(pod("s", node=""))
    world.look()
    assert world.usage.nodes_of(DB) == ("a", "b")
    assert set(world.usage.on("a")[DRIVER]) == {DB}
    assert world.usage.runs("a", DB)
    assert not world.usage.runs("b", DB)
    assert "c" not in world.usage.nodes


def test_what_runs_at_the_start_has_run_for_long_enough_and_what_starts_later_has_not() -> None:
    world = World()
    world.cluster.run(pod("old"), pod("waiting", node="b", phase="Pending"))
    world.look(0.0)
    assert world.usage.fresh == {Place("b", DB): inf}
    world.cluster.run(pod("waiting", node="b"), pod("new", node="c"))
    world.look(10.0)
    assert world.usage.fresh == {Place("b", DB): 10.0, Place("c", DB): 10.0}
    world.usage.forget_fresh(11.0)
    assert world.usage.fresh == {}


def test_a_pod_that_moves_takes_its_claim_along() -> None:
    world = World()
    world.cluster.run(pod())
    world.look()
    world.cluster.end(pod())
    world.cluster.run(pod(node="b"))
    world.look(5.0)
    assert world.usage.nodes_of(DB) == ("b",)
    assert list(world.usage.nodes) == ["b"]


def test_nothing_changes_while_nothing_changes() -> None:
    world = World()
    world.cluster.run(pod())
    world.look()
    version = world.usage.version
    world.cluster.run(replace(pod(), deleting=True))
    world.look(1.0)
    assert world.usage.version == version


def test_a_claim_that_comes_after_its_pod_is_found() -> None:
    world = World()
    world.cluster.run(pod(claim="late"))
    world.look()
    world.cluster.add(make_claim("late"))
    world.look()
    assert world.usage.nodes_of(ClaimRef("shop", "late")) == ("a",)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("run", "end", "look")),
        st.sampled_from(("p", "q", "r")),
        st.sampled_from(("", "a", "b")),
        st.sampled_from(("Pending", "Running", "Failed")),
        st.sampled_from(("db", "wal")),
    ),
    max_size=25,
)


@given(STEPS)
def test_any_history_ends_as_a_first_look_would(steps: list[tuple[str, str, str, str, str]]) -> None:
    world = World()
    for what, name, node, phase, claim in steps:
        if what == "run":
            world.cluster.run(pod(name, node, phase, claim))
        elif what == "end":
            world.cluster.end(pod(name))
        else:
            world.look()
    world.look()
    anew = Usage(world.cluster.claims, world.cluster.pods_of)
    at_once(anew.update(None, 0.0))
    assert {n: {d: set(r) for d, r in drivers.items()} for n, drivers in world.usage.nodes.items()} == {
        n: {d: set(r) for d, r in drivers.items()} for n, drivers in anew.nodes.items()
    }
