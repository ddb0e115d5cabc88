"""The list of sources: each origin has one source that answers for it, and the view keeps what they read."""

from collections.abc import Mapping

import pytest

from support.health import START, SteppedClock, make_claim, make_pod
from support.planes import PlainCluster
from volumehealth.model.health import DriverAnswers, Outcome, Source
from volumehealth.model.origin import ON_NODES, Observer, Origin
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Selection
from volumehealth.probing.spec import ProbeSpec
from volumehealth.sources.source import Asked, HealthSource
from volumehealth.sources.sourcelist import ANNOTATIONS, make_sources

POLICY = Policy("storage", "uid-storage", 1, START, PolicySpec())


class NoDrivers:
    """No controller is connected."""

    unresolved = ()

    def demand(self, wanted: Mapping[str, ProbeSpec], /) -> None:
        pass

    def answers(self) -> dict[str, DriverAnswers]:
        return {}


def sources(cluster: PlainCluster) -> tuple[HealthSource, ...]:
    return make_sources(cluster, NoDrivers(), clock=cluster.clock).sources.all


def test_no_two_sources_bring_the_same_observers_word() -> None:
    owned = [owner for source in sources(PlainCluster(SteppedClock())) for owner in source.observers]
    assert len(owned) == len(set(owned))
    assert {(Source.NODE, one) for one in ON_NODES} < set(owned)


def test_every_source_has_a_name_of_its_own() -> None:
    names = [source.name for source in sources(PlainCluster(SteppedClock()))]
    assert len(names) == len(set(names))


def test_the_view_keeps_the_annotations_that_sources_read() -> None:
    read = {key for source in sources(PlainCluster(SteppedClock())) for key in source.annotations}
    assert read == ANNOTATIONS


@pytest.mark.parametrize("source", list(Source))
@pytest.mark.parametrize("observer", list(Observer))
def test_every_origin_is_answered_for_even_one_that_no_release_of_today_has(
    source: Source, observer: Observer
) -> None:
    """A record of another release may name any; what it found must not be forgotten."""
    cluster, claim = PlainCluster(SteppedClock()), make_claim("db")
    cluster.add(claim)
    cluster.run(make_pod("db-0", node="a", claim="db"))
    selection = Selection()
    at_once(selection.update({POLICY.uid: POLICY}, cluster.claims, {}, None))
    made = make_sources(cluster, NoDrivers(), clock=cluster.clock).sources
    gathered = at_once(made.gather(Asked(POLICY, selection.members(POLICY.uid), START), ""))
    assert gathered.origins is not None
    state = gathered.origins.state_of(claim.ref, Origin(source, observer, "a"), "Any")
    assert (state.source, state.observer) == (source, observer)
    assert state.outcome in (Outcome.HEALTHY, Outcome.SILENT, Outcome.ENDED)
