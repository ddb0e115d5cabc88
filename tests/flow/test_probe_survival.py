"""Drivers that hang, crash, restart, answer garbage or are not there: the prober goes on, and invents nothing.

In: a simulated driver in trouble. Out: its state, what is told of its volumes, and when it is asked again.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from random import Random
from types import TracebackType
from typing import Self

import pytest

from support.clock import ManualClock
from support.probing import CallLog, ProberRig
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.types import GET_VOLUME, LIST_VOLUMES, VOLUME_CONDITION
from volumehealth.model.clock import date_and_time
from volumehealth.probing.prober import ControllerProber, Probers
from volumehealth.probing.spec import ProbeSpec
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import Generation

GET_ONLY = {GET_VOLUME, VOLUME_CONDITION}
LIST_ONLY = {LIST_VOLUMES, VOLUME_CONDITION}
LIST, GET = "ListVolumes", "ControllerGetVolume"
SHORT = 0.1  # real seconds that a hanging call may take


async def test_a_driver_that_hangs_from_the_start_is_unreachable_and_nothing_is_healthy() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.HANGS, Params(methods=(LIST, GET)))
        await rig.want(timeout=SHORT)
        assert rig.state.state == "Unreachable"
        assert rig.state.message == "has not answered since 24 Nov 03:00Z (DEADLINE_EXCEEDED)"
        assert rig.says("vol-1") == "DriverUnreachable"
        assert rig.answers.healthy == frozenset()


async def test_one_list_that_fails_takes_nothing_back_while_the_last_one_is_fresh() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        await rig.want(timeout=SHORT)
        news = rig.news
        driver.misbehave(Quirk.HANGS, Params(methods=(LIST,)))
        await rig.next_turn()
        assert driver.calls[LIST] == 2
        driver.behave()
        await rig.next_turn()
        assert rig.answers.healthy == set(driver.volumes)
        assert rig.news == news


async def test_a_driver_that_hangs_later_is_unreachable_once_its_last_word_is_two_rounds_old() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.IO_ERRORS)
        await rig.want(timeout=SHORT)
        driver.misbehave(Quirk.HANGS)
        news = rig.news
        await rig.after(120)
        assert rig.state.state == "Answering"
        assert rig.news == news
        await rig.after(7)
        assert rig.state.state == "Unreachable"
        assert rig.answers.healthy == frozenset()
        assert {rig.says(handle) for handle in driver.volumes} == {"DriverUnreachable"}
        assert rig.news == news + 1


async def test_the_circuit_opens_after_three_failed_lists_and_closes_when_one_succeeds() -> None:
    async with SimulatedDriver(capabilities=LIST_ONLY) as driver, ProberRig(driver) as rig:
        await rig.want(timeout=SHORT)
        driver.misbehave(Quirk.ERRORS, Params(methods=(LIST,), message="array login failed"))
        while rig.state.state != "CircuitOpen":
            await rig.next_turn()
        assert driver.calls[LIST] == 1 + 3
        assert rig.state.next_try is not None
        assert "INTERNAL: array login failed" in rig.state.message
        assert f"next try {date_and_time(rig.state.next_try)}" in rig.state.message
        pauses = []
        for _ in range(6):
            before = rig.clock.monotonic()
            await rig.next_turn()
            pauses.append(rig.clock.monotonic() - before)
        assert driver.calls[LIST] == 1 + 3 + 6
        assert pauses == sorted(pauses) or max(pauses) > 300
        assert all(60 <= pause <= 330 for pause in pauses)
        driver.behave()
        await rig.next_turn()
        assert rig.state.state == "Answering"
        assert rig.state.next_try is None
        assert rig.answers.healthy == set(driver.volumes)


@pytest.mark.parametrize("quirk", [Quirk.ERRORS, Quirk.HANGS, Quirk.GARBAGE])
@pytest.mark.parametrize("from_start", [True, False])
async def test_while_its_list_fails_a_driver_is_asked_volume_by_volume(
    quirk: Quirk, from_start: bool
) -> None:
    """One array of two is down: csi-powerstore fails the list of all, and answers for the other's volumes."""
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        if not from_start:
            await rig.want(timeout=SHORT)
        driver.misbehave(quirk, Params(methods=(LIST,), message="array B is away"))
        driver.fault("vol-1", Fault.IO_ERRORS)
        if from_start:
            await rig.want(timeout=SHORT)
        await rig.after(400)
        assert rig.state.state == "Answering"
        assert rig.answers.healthy == set(driver.volumes) - {"vol-1"}
        assert rig.says("vol-1") == "Degraded/VolumeConditionAbnormal"
        assert rig.state.message.startswith("ListVolumes fails (")
        driver.behave()
        driver.clear("vol-1")
        gets = driver.calls[GET]
        await rig.after(700)
        assert rig.answers.healthy == set(driver.volumes)
        assert rig.state.message == ""
        settled = driver.calls[GET]
        await rig.after(700)
        assert driver.calls[GET] == settled > gets, "the list tells again"


async def test_while_list_and_gets_fail_the_driver_is_unreachable() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        await rig.want(timeout=SHORT)
        driver.misbehave(Quirk.ERRORS, Params(methods=(LIST, GET)))
        await rig.after(1200)
        assert rig.state.state in ("Unreachable", "CircuitOpen")
        assert rig.answers.healthy == frozenset()


async def test_the_circuit_of_a_get_driver_opens_after_calls_that_all_fail() -> None:
    handles = [f"vol-{number}" for number in range(30)]
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=handles) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.ERRORS, Params(methods=(GET,)))
        await rig.want()
        assert rig.state.state == "CircuitOpen"
        assert 10 <= driver.calls[GET] < 14
        driver.behave()
        await rig.next_turn()
        await rig.after(1)
        assert rig.state.state == "Answering"
        assert len(rig.answers.healthy) == 30


async def test_a_get_that_fails_for_one_volume_makes_only_that_one_silent() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.ERRORS, Params(methods=(GET,), volumes=("vol-1",)))
        await rig.want()
        await rig.after(300)
        assert rig.says("vol-1") == "CallFailed"
        assert rig.about("vol-1").message == "INTERNAL: the storage says no"
        assert rig.answers.healthy == {"vol-2", "vol-3"}
        assert rig.state.state == "Answering"


async def test_a_get_driver_that_hangs_is_unreachable_and_its_old_answers_are_not_believed() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        await rig.want(timeout=SHORT)
        driver.misbehave(Quirk.HANGS, Params(methods=(GET,)))
        await rig.after(200)
        assert rig.state.state in ("Unreachable", "CircuitOpen")
        assert rig.answers.healthy == frozenset()
        assert rig.says("vol-1") == "DriverUnreachable"


async def test_an_answer_that_is_not_renewed_becomes_outdated() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        await rig.want(timeout=SHORT)
        rig.clock.oversleep(127)
        assert rig.answers.healthy == frozenset()
        assert {rig.says(handle) for handle in driver.volumes} == {"AnswerOutdated"}


@pytest.mark.parametrize("method", ["GetPluginInfo", LIST])
async def test_garbage_is_a_failure_like_any_other(method: str) -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.GARBAGE, Params(methods=(method, GET)))
        await rig.after(301)
        await rig.want()
        await rig.after(400)
        assert rig.state.state == "CircuitOpen"
        assert rig.answers.healthy == frozenset()
        driver.behave()
        await rig.after(400)
        assert rig.answers.healthy == set(driver.volumes)


async def test_a_driver_that_crashed_and_came_back_is_identified_anew_and_asked_at_once() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        await rig.want(timeout=2)
        await driver.crash()
        await rig.next_turn()
        assert rig.log.calls[-1][2] == "UNAVAILABLE"
        driver.controller = frozenset(GET_ONLY)  # another version, with other capabilities
        await driver.restart()
        for _ in range(40):
            if rig.state.methods == (GET,):
                break
            await asyncio.sleep(0.05)  # gRPC's own back-off passes in real time
            await rig.after(1)
        assert rig.state.methods == (GET,)
        await rig.after(1)
        assert rig.answers.healthy == set(driver.volumes)


async def test_a_driver_that_was_replaced_between_two_calls_is_identified_before_the_next() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        await rig.want(timeout=2)
        await driver.crash()
        driver.controller = frozenset(GET_ONLY)
        await driver.restart()
        await asyncio.sleep(SHORT)  # the connection's end is noticed in real time
        await rig.next_turn()
        await rig.after(2)
        assert rig.state.methods == (GET,)
        assert driver.calls[LIST] == 1
        assert rig.answers.healthy == set(driver.volumes)


async def test_a_driver_that_is_missing_at_start_is_tried_until_it_comes() -> None:
    driver = SimulatedDriver()
    async with driver:
        await driver.crash()
        async with ProberRig(driver) as rig:
            await rig.want(timeout=2)
            assert rig.state.state == "Unreachable"
            assert rig.prober.driver_name is None
            before = len(rig.log.calls)
            await rig.after(120)
            assert 5 <= len(rig.log.calls) - before <= 10  # 1 s, 2 s, 4 s ... 30 s
            assert rig.state.state == "Unreachable"
            await driver.restart()
            for _ in range(40):
                if rig.prober.driver_name:
                    break
                await asyncio.sleep(0.05)
                await rig.after(30)
            assert rig.prober.driver_name == driver.name
            assert rig.answers.healthy == set(driver.volumes)


async def test_a_driver_that_is_not_ready_is_not_asked() -> None:
    async with SimulatedDriver() as driver:
        driver.misbehave(Quirk.NOT_READY)
        async with ProberRig(driver) as rig:
            await rig.want()
            assert driver.calls[LIST] == 0
            assert "NOT_READY" in rig.state.message
            driver.behave()
            await rig.after(60)
            assert rig.answers.healthy == set(driver.volumes)


async def test_a_name_that_is_not_the_drivers_is_told_and_nothing_is_asked() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver, driver_name="other.example.com") as rig:
        await rig.want()
        assert driver.calls[LIST] == 0
        assert rig.prober.driver_name == "other.example.com"
        assert rig.state.state == "Unreachable"
        assert f"is the endpoint of {driver.name}, not of other.example.com" in rig.state.message


async def test_a_fault_of_ours_is_logged_and_does_not_end_the_prober(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = iter([OSError("the file is gone")])

    def secrets(name: str) -> Mapping[str, str]:
        for failure in failures:
            raise failure
        return {}

    clock = ManualClock()
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        prober = ControllerProber(
            parse_endpoint(driver.endpoint),
            clock=clock,
            on_news=lambda: None,
            metrics=CallLog(),
            secrets=secrets,
            random=Random(1),
            sleep=clock.sleep,
        )
        prober.demand(ProbeSpec(frozenset({"vol-1"}), timedelta(seconds=5), timedelta(seconds=5)))
        task = asyncio.create_task(prober.run())
        async with asyncio.timeout(10):
            while not prober.answers().healthy:
                await asyncio.sleep(0.001)
                clock.advance(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert "the file is gone" in caplog.text


async def test_cancelling_breaks_off_a_call_under_way_and_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with SimulatedDriver(capabilities=GET_ONLY) as driver:
        rig = ProberRig(driver)
        async with rig:
            driver.misbehave(Quirk.HANGS, Params(methods=(GET,)))
            rig.prober.demand(
                ProbeSpec(frozenset(driver.volumes), timedelta(seconds=5), timedelta(seconds=60))
            )
            await driver.called(GET, times=3)
    assert {task for task in asyncio.all_tasks() - before if "prober" in repr(task)} == set()


# ---- several drivers ----


class Several:
    """Running Probers, with a fast clock of their own; an asynchronous context manager."""

    def __init__(self, *endpoints: tuple[str, str]) -> None:
        self.news: list[str] = []
        self.log = CallLog()
        self.clock = ManualClock()
        self.probers = Probers(
            [(parse_endpoint(address), name) for address, name in endpoints],
            clock=self.clock,
            on_news=self.news.append,
            metrics=self.log,
            secrets=lambda name: {},
            random=Random(1),
            sleep=self.clock.sleep,
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.probers.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let time pass, a hundred times as fast as it does, until something is so."""
        async with asyncio.timeout(10):
            while not reached():
                await asyncio.sleep(0.005)
                self.clock.advance(0.5)


def demand(*handles: str, timeout: float = 5.0) -> ProbeSpec:
    return ProbeSpec(frozenset(handles), timedelta(seconds=10), timedelta(seconds=timeout))


async def test_a_driver_that_hangs_delays_nobody_else() -> None:
    async with SimulatedDriver(name="good") as good, SimulatedDriver(name="hung") as hung:
        hung.misbehave(Quirk.HANGS, Params(methods=(LIST,)))
        async with Several((good.endpoint, ""), (hung.endpoint, "")) as several:
            several.probers.demand({"good": demand("vol-1"), "hung": demand("vol-1", timeout=60)})
            await hung.called(LIST)
            before = several.clock.monotonic()
            calls = good.calls[LIST]
            await several.until(lambda: good.calls[LIST] == calls + 5)
            assert several.clock.monotonic() - before < 5 * 11
            assert hung.calls[LIST] == 1
            answers = several.probers.answers()
            assert answers["good"].healthy == {"vol-1"}
            assert answers["hung"].healthy == frozenset()
            assert "good" in several.news


async def test_an_endpoint_that_nobody_answers_at_is_unresolved() -> None:
    async with SimulatedDriver(name="good") as good:
        missing = f"{good.endpoint}.missing"
        async with Several((missing, ""), (good.endpoint, "")) as several:
            assert set(several.probers.unresolved) == {missing, good.endpoint}
            several.probers.demand({"good": demand("vol-1")})
            await several.until(lambda: "good" in several.probers.answers())
            await several.until(lambda: several.probers.answers()["good"].healthy == {"vol-1"})
            assert several.probers.unresolved == (missing,)


async def test_an_endpoint_given_with_its_drivers_name_has_answers_before_it_is_reached() -> None:
    async with Several(("unix:///nonexistent/csi.sock", "given")) as several:
        answers = several.probers.answers()["given"]
        assert answers.about("vol-1").reason == "NotYetAsked"
        several.probers.demand({"given": demand("vol-1")})
        await several.until(
            lambda: several.probers.answers()["given"].about("vol-1").reason == "DriverUnreachable"
        )
        assert several.probers.unresolved == ()


async def test_a_volume_about_which_a_driver_says_unavailable_multiplies_no_calls() -> None:
    """Drivers pass on UNAVAILABLE of what is behind them: the connection stands, and they are the same as before."""
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NIL_CONDITION, Params(methods=(LIST,), volumes=("vol-1",)))
        driver.misbehave(Quirk.ERRORS, Params(methods=(GET,), volumes=("vol-1",), code="UNAVAILABLE"))
        await rig.want(interval=60)
        await rig.after(1200)
        assert driver.calls[LIST] <= 24
        assert driver.calls[GET] <= 24
        assert driver.calls["GetPluginInfo"] <= 8
        assert rig.state.state == "Answering"
        assert rig.says("vol-1") == "CallFailed"
        assert rig.answers.healthy == {"vol-2", "vol-3"}


async def test_a_driver_that_says_unavailable_to_its_list_is_asked_volume_by_volume() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.ERRORS, Params(methods=(LIST,), code="UNAVAILABLE", message="array B is away"))
        driver.fault("vol-1", Fault.IO_ERRORS)
        await rig.want(interval=60)
        await rig.after(400)
        assert rig.says("vol-1") == "Degraded/VolumeConditionAbnormal"
        assert rig.answers.healthy == {"vol-2", "vol-3"}
        assert driver.calls[LIST] <= 8


async def test_one_volume_about_which_a_driver_says_unavailable_closes_no_other_out() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.ERRORS, Params(methods=(GET,), volumes=("vol-1",), code="UNAVAILABLE"))
        await rig.want(interval=60)
        await rig.after(1200)
        assert driver.calls[GET] <= 3 * 24
        assert driver.calls["GetPluginInfo"] <= 8
        assert rig.state.state == "Answering"
        assert rig.says("vol-1") == "CallFailed"
        assert rig.answers.healthy == {"vol-2", "vol-3"}


async def test_of_two_endpoints_of_one_driver_the_one_that_answers_is_asked() -> None:
    async with SimulatedDriver(name="same") as two:
        dead = f"{two.endpoint}.dead"
        async with Several((dead, "same"), (two.endpoint, "")) as several:
            several.probers.demand({"same": demand("vol-1")})
            await several.until(lambda: several.probers.answers()["same"].healthy == {"vol-1"})
            assert dead in several.probers.answers()["same"].driver.message


async def test_of_two_endpoints_of_one_driver_the_one_that_can_tell_is_asked() -> None:
    """The first may be a node plugin's socket, or of a version without a health call."""
    async with (
        SimulatedDriver(name="same", capabilities=()) as one,
        SimulatedDriver(name="same") as two,
        Several((one.endpoint, ""), (two.endpoint, "")) as several,
    ):
        await several.until(lambda: not several.probers.unresolved)
        several.probers.demand({"same": demand("vol-1")})
        await several.until(lambda: several.probers.answers()["same"].healthy == {"vol-1"})
        assert one.endpoint in several.probers.answers()["same"].driver.message


async def test_when_the_endpoint_that_is_asked_dies_the_other_is_asked_and_stays_so() -> None:
    async with (
        SimulatedDriver(name="same") as two,
        AsyncExitStack() as life,
    ):
        one = await life.enter_async_context(SimulatedDriver(name="same"))
        async with Several((one.endpoint, ""), (two.endpoint, "")) as several:
            await several.until(lambda: not several.probers.unresolved)
            several.probers.demand({"same": demand("vol-1")})
            await several.until(lambda: one.calls[LIST] > 1)
            several.news.clear()

            await life.aclose()

            await several.until(
                lambda: several.probers.answers()["same"].healthy == {"vol-1"} and two.calls[LIST] > 1
            )
            assert "same" in several.news
            async with SimulatedDriver(name="same", endpoint=one.endpoint) as again:
                calls = two.calls[LIST]
                await several.until(lambda: two.calls[LIST] > calls + 3)
                assert again.calls[LIST] == 0


async def test_while_no_endpoint_of_a_driver_answers_it_is_unreachable_and_both_are_tried() -> None:
    async with SimulatedDriver(name="same") as two:
        dead = f"{two.endpoint}.dead"
        two.misbehave(Quirk.ERRORS, Params(code="UNAVAILABLE"))
        async with Several((dead, "same"), (two.endpoint, "same")) as several:
            several.probers.demand({"same": demand("vol-1")})
            await several.until(
                lambda: several.probers.answers()["same"].about("vol-1").reason == "DriverUnreachable"
            )
            two.behave()
            await several.until(lambda: several.probers.answers()["same"].healthy == {"vol-1"})


async def test_of_two_endpoints_of_one_driver_that_answer_the_first_is_asked_and_the_other_is_told() -> None:
    async with (
        SimulatedDriver(name="same") as one,
        SimulatedDriver(name="same") as two,
        Several((one.endpoint, ""), (two.endpoint, "")) as several,
    ):
        await several.until(lambda: not several.probers.unresolved)
        several.probers.demand({"same": demand("vol-1")})
        await several.until(lambda: one.calls[LIST] > 3)
        assert two.calls[LIST] == 0
        assert two.endpoint in several.probers.answers()["same"].driver.message
