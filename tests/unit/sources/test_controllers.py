"""A controller agent's report read as answers: who is healthy, who is not known, and whom nobody vouches for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from support.clock import ManualClock
from volumehealth.cluster.tables import LeaseLiveness
from volumehealth.model.cluster import ViewState
from volumehealth.model.health import DriverAnswers, HealthAPI, Outcome, SourceState
from volumehealth.model.origin import Observer
from volumehealth.model.report import (
    Coverage,
    Omitted,
    Plane,
    ReportedCondition,
    ReportedDriver,
    ReportedVolume,
    SilentVolume,
    VolumeHealthReport,
    agent_lease_name,
    controller_report_name,
    coverage_digest,
)
from volumehealth.probing.spec import ProbeSpec
from volumehealth.sources.controllers import GRACE, SETTLED, ReportedControllers

DRIVER = "d.example.com"
NAME = controller_report_name(DRIVER)
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HEARD = ReportedDriver(DRIVER, SourceState.ANSWERING, NOW, HealthAPI.VOLUME_CONDITION, ("ListVolumes",))
BAD = ReportedVolume(DRIVER, "bad", conditions=(ReportedCondition("Degraded", "Slow", "it is", NOW),))
REPORT = VolumeHealthReport(
    NAME,
    Plane.CONTROLLER,
    drivers=(HEARD,),
    coverage=(Coverage.of(Observer.DRIVER, ["well", "bad"]),),
    volumes=(BAD,),
    silent=(SilentVolume(DRIVER, "mute", "NoCondition", "", NOW),),
)


@dataclass
class FakeView:
    """What the cluster view knows of agents."""

    reports: dict[str, VolumeHealthReport] = field(default_factory=dict)
    leases: dict[str, LeaseLiveness] = field(default_factory=dict)
    handles: frozenset[str] = frozenset({"well", "bad", "mute"})

    def handles_of(self, driver: str) -> frozenset[str]:
        return self.handles

    def state(self) -> ViewState:
        return ViewState(complete=True, age=0.0)


class Scene:
    """An operator that wants four volumes, and an agent that reports on them."""

    def __init__(self, report: VolumeHealthReport | None = REPORT) -> None:
        self.clock = ManualClock()
        self.view = FakeView()
        if report is not None:
            self.view.reports[NAME] = report
        self.own: dict[str, DriverAnswers] = {}
        self.renew()
        self.controllers = ReportedControllers(self.view, clock=self.clock)
        self.want("well", "bad", "mute")

    def renew(self) -> None:
        self.view.leases[agent_lease_name(NAME)] = LeaseLiveness("now", self.clock.monotonic() + 180)

    def want(self, *handles: str) -> None:
        demand = ProbeSpec(frozenset(handles), timedelta(seconds=60), timedelta(seconds=5))
        self.controllers.demand({DRIVER: demand})

    def answers(self) -> Mapping[str, DriverAnswers]:
        """What counts: of the operator's own endpoints, and of what the agent reports."""
        return {**self.own, **self.controllers.answers(self.own)}

    def outcomes(self, *handles: str) -> list[Outcome]:
        said = self.answers()[DRIVER]
        return [said.about(handle).outcome for handle in handles]


def test_who_is_covered_and_not_named_is_healthy() -> None:
    scene = Scene()

    assert scene.outcomes("well", "bad", "mute") == [Outcome.HEALTHY, Outcome.ADVERSE, Outcome.SILENT]
    driver = scene.answers()[DRIVER].driver
    assert (driver.state, driver.methods) == (SourceState.ANSWERING, ("ListVolumes",))


def test_what_an_agent_reports_is_one_answer_until_it_has_asked_again() -> None:
    """Faults B5: looked at in between, it is no second one."""
    scene = Scene()
    first = scene.answers()[DRIVER].at
    scene.clock.advance(45)
    assert scene.answers()[DRIVER].at == first
    scene.clock.advance(25)  # a round later, but what it changed may be on its way
    assert scene.answers()[DRIVER].at == first
    scene.clock.advance(3)
    assert scene.answers()[DRIVER].at == first + timedelta(seconds=60)
    scene.clock.advance(30)
    scene.view.reports[NAME] = replace(REPORT, volumes=())  # it has heard something new
    assert scene.answers()[DRIVER].at == first + timedelta(seconds=103)


def test_a_silent_lease_takes_everything_back() -> None:
    scene = Scene()

    scene.clock.advance(181)

    assert scene.outcomes("well", "bad") == [Outcome.SILENT, Outcome.SILENT]
    assert scene.answers()[DRIVER].driver.state is SourceState.UNREACHABLE
    scene.renew()
    assert scene.outcomes("well", "bad") == [Outcome.HEALTHY, Outcome.ADVERSE]


def test_a_driver_without_a_report_is_nobodys() -> None:
    scene = Scene(None)
    scene.view.leases.clear()
    assert scene.answers() == {}


def test_an_agent_whose_report_somebody_deleted_is_silent_and_not_gone() -> None:
    """Faults C8: it lives, and writes its report again; what it had found is not closed for that."""
    scene = Scene()
    scene.view.reports.clear()
    driver = scene.answers()[DRIVER].driver
    assert (driver.state, driver.controller) == (SourceState.UNREACHABLE, "Agent")
    assert scene.outcomes("well", "bad") == [Outcome.SILENT, Outcome.SILENT]
    scene.clock.advance(181)
    assert scene.answers() == {}, "nobody is there any more"


def test_an_empty_report_makes_nobody_healthy() -> None:
    assert Scene(VolumeHealthReport(NAME)).outcomes("well") == [Outcome.SILENT]


def test_a_report_that_left_something_out_makes_nobody_healthy() -> None:
    scene = Scene(replace(REPORT, omitted=Omitted(volumes=1)))

    assert scene.outcomes("well", "bad") == [Outcome.SILENT, Outcome.ADVERSE]


def test_a_driver_that_is_down_or_mute_makes_nobody_healthy() -> None:
    for driver in (
        replace(HEARD, state=SourceState.UNREACHABLE),
        replace(HEARD, health_api=HealthAPI.NONE),
    ):
        assert Scene(replace(REPORT, drivers=(driver,))).outcomes("well") == [Outcome.SILENT]


def test_a_volume_is_not_healthy_before_its_agent_covers_it() -> None:
    scene = Scene()

    scene.want("well", "bad", "mute", "new")

    scene.clock.advance(GRACE + 1)
    assert scene.outcomes("well", "new") == [Outcome.HEALTHY, Outcome.SILENT]
    scene.view.reports[NAME] = replace(
        REPORT, coverage=(Coverage.of(Observer.DRIVER, ["well", "bad", "new"]),)
    )
    assert scene.outcomes("new") == [Outcome.HEALTHY]


def test_an_agent_that_asked_nobody_makes_no_volume_healthy() -> None:
    for coverage in ((), (Coverage.of(Observer.DRIVER, ()),)):
        assert Scene(replace(REPORT, coverage=coverage)).outcomes("well") == [Outcome.SILENT]


def digested(*handles: str) -> VolumeHealthReport:
    """Return a report that covers so many volumes that only their digest is told."""
    many = Coverage(Observer.DRIVER, count=100_000, digest=coverage_digest(handles))
    return replace(REPORT, coverage=(many,))


def test_of_volumes_too_many_to_be_listed_all_are_covered_if_their_digest_is_that_of_all() -> None:
    scene = Scene(digested("well", "bad"))  # it was not answered about the third, and says so
    assert scene.outcomes("well", "bad", "mute") == [Outcome.HEALTHY, Outcome.ADVERSE, Outcome.SILENT]


def test_a_new_one_of_these_is_healthy_as_soon_as_the_digest_covers_it_and_not_before() -> None:
    """Faults A2: also where volumes come and go, so that the digest is never that of all."""
    scene = Scene(digested("well", "bad"))
    scene.clock.advance(GRACE + 1)
    scene.outcomes("well")
    scene.view.handles |= {"new"}
    scene.want("well", "bad", "mute", "new")
    assert scene.outcomes("well", "new") == [Outcome.HEALTHY, Outcome.SILENT]
    scene.view.reports[NAME] = digested("well", "bad", "new")
    assert scene.outcomes("well", "new") == [Outcome.HEALTHY, Outcome.HEALTHY]


def test_an_operator_that_starts_takes_no_digest_of_other_volumes_for_an_answer_about_its_own() -> None:
    scene = Scene(digested("others", "of", "yesterday"))
    assert scene.outcomes("well", "bad") == [Outcome.SILENT, Outcome.ADVERSE]


def test_a_digest_that_stays_another_than_that_of_all_covers_nobody() -> None:
    scene = Scene(digested("well", "bad"))
    assert scene.outcomes("well") == [Outcome.HEALTHY]
    scene.view.handles |= {"forgotten"}
    scene.want("well", "bad", "mute", "forgotten")
    scene.outcomes("well")
    scene.clock.advance(GRACE + 1)
    assert scene.outcomes("well", "forgotten") == [Outcome.HEALTHY, Outcome.SILENT], (
        "it may only just have come"
    )
    scene.clock.advance(SETTLED)
    assert scene.outcomes("well", "forgotten") == [Outcome.SILENT, Outcome.SILENT]
    assert scene.answers()[DRIVER].silence.reason == "ListIncomplete"


def test_while_volumes_come_and_go_an_agent_that_writes_nothing_has_answered_about_no_new_one() -> None:
    """Faults A2: its watch stands still, and the others change so often that no digest ever fits."""
    scene = Scene(digested("well", "bad"))
    assert scene.outcomes("well") == [Outcome.HEALTHY]
    wanted = ["well", "bad", "mute"]
    for number in range(10):
        wanted.append(f"new-{number}")
        scene.view.handles = frozenset(wanted)
        scene.want(*wanted)
        scene.renew()
        assert scene.outcomes("well", "new-0") == [Outcome.HEALTHY, Outcome.SILENT]
        scene.clock.advance(20)
    scene.view.reports[NAME] = digested("well", "bad", "new-0", "new-1")
    scene.outcomes("well")
    scene.clock.advance(20)
    assert scene.outcomes("well", "new-0") == [Outcome.HEALTHY, Outcome.HEALTHY]


def test_an_operator_that_starts_waits_for_a_report_if_the_one_that_is_there_is_about_others() -> None:
    scene = Scene(digested("others", "of", "yesterday"))
    assert scene.outcomes("well") == [Outcome.SILENT]
    scene.clock.advance(GRACE + 1)
    assert scene.outcomes("well") == [Outcome.SILENT]


def test_a_silence_stays_the_same_object() -> None:
    scene = Scene()
    scene.clock.advance(181)
    before = scene.answers()[DRIVER]
    for _ in range(5):
        scene.clock.advance(30)
        assert scene.answers()[DRIVER] is before


def test_an_agent_says_nothing_of_another_driver() -> None:
    foreign = replace(BAD, driver="other.example.com", handle="well")

    assert Scene(replace(REPORT, volumes=(foreign,))).outcomes("well") == [Outcome.HEALTHY]


def test_an_endpoint_of_the_operators_own_wins() -> None:
    scene = Scene()
    own = replace(scene.answers()[DRIVER], healthy=frozenset({"bad"}), others={})
    scene.own[DRIVER] = own

    assert scene.answers()[DRIVER] is own


@pytest.mark.parametrize("state", [SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN])
def test_while_the_operators_own_endpoint_is_dead_the_agent_that_hears_the_driver_counts(
    state: SourceState,
) -> None:
    scene = Scene()
    said = scene.answers()[DRIVER]
    dead = replace(said, driver=replace(said.driver, state=state), healthy=frozenset(), others={})
    scene.own[DRIVER] = dead

    assert scene.outcomes("well", "bad") == [Outcome.HEALTHY, Outcome.ADVERSE]

    scene.clock.advance(181)  # the agent has fallen silent, too
    assert scene.answers()[DRIVER] is dead


def test_an_endpoint_without_a_health_call_hides_no_agent_of_the_driver() -> None:
    """Faults I31: of an endpoint and an agent of one driver the one that can tell is heard, and missed when it is silent."""
    scene = Scene()
    said = scene.answers()[DRIVER]
    unable = replace(said.driver, state=SourceState.UNSUPPORTED, health_api=HealthAPI.NONE)
    scene.own[DRIVER] = own = replace(said, driver=unable, healthy=frozenset(), others={})

    assert scene.outcomes("well", "bad") == [Outcome.HEALTHY, Outcome.ADVERSE]

    scene.clock.advance(181)
    assert scene.answers()[DRIVER].driver.state is SourceState.UNREACHABLE, "it has not lost its call"

    scene.renew()
    mute = replace(HEARD, state=SourceState.UNSUPPORTED, health_api=HealthAPI.NONE, methods=())
    scene.view.reports[NAME] = replace(REPORT, drivers=(mute,), volumes=(), silent=())
    assert scene.answers()[DRIVER] is own


def test_of_drivers_that_differ_in_capitals_each_is_read_from_the_report_that_they_share() -> None:
    """Faults C8: one PersistentVolume with the name in capitals took the report from all volumes of the driver."""
    scene = Scene()
    demand = ProbeSpec(frozenset({"well", "bad"}), timedelta(seconds=60), timedelta(seconds=5))
    for order in ((DRIVER, DRIVER.upper()), (DRIVER.upper(), DRIVER)):
        scene.controllers.demand(dict.fromkeys(order, demand))
        assert scene.outcomes("well", "bad") == [Outcome.HEALTHY, Outcome.ADVERSE]
        stray = scene.answers()[DRIVER.upper()]
        assert [stray.about(one).outcome for one in ("well", "bad")] == [Outcome.SILENT, Outcome.SILENT]


def test_what_stays_the_same_stays_the_same_object() -> None:
    scene = Scene()
    before = scene.answers()[DRIVER]
    scene.clock.advance(10)
    scene.view.reports[NAME] = replace(REPORT, silent=())

    after = scene.answers()[DRIVER]

    assert after.others["bad"] is before.others["bad"]
    assert after.at > before.at
