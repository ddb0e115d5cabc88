"""The rules that real drivers taught, each against a simulated driver over real gRPC (facts C2 and D).

In: a driver with a habit. Out: what is told of its volumes, and how often it was called.
"""

import asyncio
from datetime import timedelta

import pytest

from support.probing import ProberRig
from volumehealth.csi.types import (
    GET_VOLUME,
    GET_VOLUME_HEALTH,
    LIST_VOLUME_HEALTH,
    LIST_VOLUMES,
    VOLUME_CONDITION,
)
from volumehealth.judge.policy import answer_about
from volumehealth.model.health import HealthAPI, Outcome, SourceState
from volumehealth.probing.spec import ProbeLimits
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import Generation

LIST_ONLY = {LIST_VOLUMES, VOLUME_CONDITION}
GET_ONLY = {GET_VOLUME, VOLUME_CONDITION}
HEALTH_LIST_ONLY = {LIST_VOLUME_HEALTH}
HEALTH_GET_ONLY = {GET_VOLUME_HEALTH}
LIST, GET = "ListVolumes", "ControllerGetVolume"
HEALTH_LIST, HEALTH_GET = "ControllerListVolumeHealth", "ControllerGetVolumeHealth"
HEALTH_CALLS = (LIST, GET, HEALTH_LIST, HEALTH_GET)


def volumes(count: int) -> list[str]:
    return [f"vol-{number:03}" for number in range(count)]


def health_calls(driver: SimulatedDriver) -> dict[str, int]:
    return {method: driver.calls[method] for method in HEALTH_CALLS if driver.calls[method]}


# ---- which call ----


@pytest.mark.parametrize(
    ("generation", "capabilities", "calls", "methods"),
    [
        (Generation.LEGACY, None, {LIST: 1}, (LIST,)),
        (Generation.LEGACY, LIST_ONLY, {LIST: 1}, (LIST,)),
        (Generation.LEGACY, GET_ONLY, {GET: 3}, (GET,)),
        (Generation.V1_13, None, {HEALTH_LIST: 1}, (HEALTH_LIST,)),
        (Generation.V1_13, HEALTH_GET_ONLY, {HEALTH_GET: 3}, (HEALTH_GET,)),
        (Generation.LEGACY, {LIST_VOLUMES, GET_VOLUME}, {}, ()),
        (Generation.LEGACY, {VOLUME_CONDITION}, {}, ()),
        (Generation.LEGACY, (), {}, ()),
    ],
    ids=[
        "legacy list and get: list alone",
        "legacy list",
        "legacy get",
        "1.13 list and get: list alone",
        "1.13 get",
        "no condition: no call",
        "a condition and nothing to tell it by: no call",
        "no controller: no call",
    ],
)
async def test_the_right_call_is_made_and_told(
    generation: Generation, capabilities: set[str] | None, calls: dict[str, int], methods: tuple[str, ...]
) -> None:
    async with (
        SimulatedDriver(generation=generation, capabilities=capabilities) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want()
        assert health_calls(driver) == calls
        assert rig.state.methods == methods
        if methods:
            assert rig.state.state is SourceState.ANSWERING
            assert rig.answers.healthy == set(driver.volumes)
        else:
            assert rig.state.state is SourceState.UNSUPPORTED
            assert rig.state.health_api is HealthAPI.NONE
            assert rig.state.hint
            assert not rig.answers.healthy
            assert not rig.answers.others


async def test_a_volume_that_several_claims_share_is_asked_about_once() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=["shared"]) as driver, ProberRig(driver) as rig:
        await rig.want(["shared", "shared"])
        assert driver.calls[GET] == 1


async def test_secrets_go_along_with_the_calls_of_1_13() -> None:
    async with (
        SimulatedDriver(generation=Generation.V1_13) as driver,
        ProberRig(driver, secrets={"user": "monitor"}) as rig,
    ):
        await rig.want()
        assert driver.secrets == {"user": "monitor"}


# ---- C2: absence ----


async def test_c2_a_1_13_list_that_names_only_bad_volumes_leaves_the_others_healthy() -> None:
    async with (
        SimulatedDriver(generation=Generation.V1_13, volumes=volumes(5)) as driver,
        ProberRig(driver) as rig,
    ):
        driver.fault("vol-003", Fault.DISK_FAILURE)
        await rig.want()
        assert rig.says("vol-003") == "DataLoss/DiskFailure"
        assert rig.answers.healthy == set(driver.volumes) - {"vol-003"}
        assert health_calls(driver) == {HEALTH_LIST: 1}


async def test_c2_a_volume_that_was_bad_and_left_the_1_13_list_is_healthy_once_get_says_so() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.DISK_FAILURE)
        await rig.want()
        driver.clear("vol-1")
        await rig.after(70)
        assert rig.says("vol-1") == "Healthy"
        assert health_calls(driver) == {HEALTH_LIST: 2, HEALTH_GET: 1}
        await rig.after(60)
        assert rig.says("vol-1") == "Healthy"
        assert driver.calls[HEALTH_GET] == 1


async def test_c2_without_get_two_whole_lists_in_a_row_confirm_a_recovery() -> None:
    async with (
        SimulatedDriver(generation=Generation.V1_13, capabilities=HEALTH_LIST_ONLY) as driver,
        ProberRig(driver) as rig,
    ):
        driver.fault("vol-1", Fault.DISK_FAILURE)
        await rig.want()
        driver.clear("vol-1")
        await rig.next_turn()
        assert rig.says("vol-1") == "NotListed"
        await rig.next_turn()
        assert rig.says("vol-1") == "Healthy"


async def test_c2_a_restarted_prober_confirms_the_recovery_of_what_has_a_finding() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        await rig.want(adverse=["vol-1"])
        assert rig.says("vol-1") == "Healthy"
        assert health_calls(driver) == {HEALTH_LIST: 1, HEALTH_GET: 1}
        await rig.after(120)
        assert (
            driver.calls[HEALTH_GET] == 1
        )  # the finding lives on until healthyAfter; it is asked about once


async def test_c2_a_1_13_list_may_name_healthy_volumes() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.LISTS_HEALTHY)
        await rig.want(adverse=["vol-1"])
        assert rig.answers.healthy == set(driver.volumes)
        assert driver.calls[HEALTH_GET] == 0


async def test_c2_a_volume_missing_in_a_legacy_list_is_confirmed_by_get() -> None:
    async with SimulatedDriver(volumes=volumes(5)) as driver, ProberRig(driver) as rig:
        driver.fault("vol-001", Fault.VOLUME_GONE)
        await rig.want()
        assert rig.says("vol-001") == "NotListed"
        await rig.after(5)
        assert rig.says("vol-001") == "Inaccessible/VolumeNotFound"
        assert health_calls(driver) == {LIST: 1, GET: 3}


async def test_c2_a_volume_missing_in_a_legacy_list_that_get_knows_is_healthy() -> None:
    async with SimulatedDriver(volumes=volumes(5)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NOT_LISTED, Params(volumes=("vol-001",)))
        await rig.want()
        assert rig.answers.healthy == set(driver.volumes)


async def test_c2_without_get_two_whole_legacy_lists_in_a_row_confirm_a_loss() -> None:
    async with (
        SimulatedDriver(capabilities=LIST_ONLY, volumes=volumes(5)) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want()
        driver.fault("vol-001", Fault.VOLUME_GONE)
        await rig.next_turn()
        assert rig.says("vol-001") == "NotListed"
        await rig.next_turn()
        assert rig.says("vol-001") == "Inaccessible/VolumeNotFound"
        assert "4 other volumes of this driver answer" in rig.about("vol-001").conditions[0].message
        driver.clear("vol-001")
        await rig.next_turn()
        assert rig.says("vol-001") == "Healthy"


# ---- D1, D2: pages ----


async def test_d1_a_driver_that_never_sends_a_token_is_not_given_a_limit() -> None:
    async with SimulatedDriver(volumes=volumes(7)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NO_TOKEN)
        await rig.want()
        assert rig.answers.healthy == set(driver.volumes)


async def test_d1_a_list_that_ends_at_the_limit_without_a_token_proves_no_absence() -> None:
    limits = ProbeLimits(page_size=5)
    async with (
        SimulatedDriver(capabilities=LIST_ONLY, volumes=volumes(7)) as driver,
        ProberRig(driver, limits=limits) as rig,
    ):
        driver.misbehave(Quirk.NO_TOKEN)
        driver.misbehave(Quirk.ERRORS, Params(methods=(LIST,), code="RESOURCE_EXHAUSTED"))
        await rig.want()
        driver.behave(Quirk.ERRORS)
        for _ in range(4):
            await rig.next_turn()
        assert len(rig.answers.healthy) == 5
        assert rig.says("vol-006") == "ListIncomplete"


async def test_d2_a_server_side_page_cap_with_tokens_is_followed() -> None:
    async with SimulatedDriver(volumes=volumes(25)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.CAPS_PAGES, Params(count=10))
        await rig.want()
        assert rig.answers.healthy == set(driver.volumes)
        assert health_calls(driver) == {LIST: 3}


async def test_d2_a_server_side_page_cap_without_tokens_proves_no_absence() -> None:
    async with (
        SimulatedDriver(capabilities=LIST_ONLY, volumes=volumes(105)) as driver,
        ProberRig(driver) as rig,
    ):
        driver.misbehave(Quirk.CAPS_PAGES, Params(count=100))
        driver.misbehave(Quirk.NO_TOKEN)
        await rig.want()
        await rig.after(300)
        assert len(rig.answers.healthy) == 100
        assert rig.says("vol-104") == "ListIncomplete"


@pytest.mark.parametrize("habit", [Quirk.REPEATS_TOKEN, Quirk.ENDLESS_PAGES])
async def test_d2_a_list_without_end_is_given_up_and_proves_no_absence(habit: Quirk) -> None:
    limits = ProbeLimits(max_pages=10)
    async with SimulatedDriver(capabilities=LIST_ONLY) as driver, ProberRig(driver, limits=limits) as rig:
        driver.misbehave(habit)
        driver.misbehave(Quirk.NOT_LISTED, Params(volumes=("vol-1",)))
        await rig.want()
        assert rig.answers.healthy == {"vol-2", "vol-3"}
        assert rig.says("vol-1") == "ListIncomplete"
        assert driver.calls[LIST] <= 10


async def test_d2_tokens_that_drift_lose_no_volume_for_good() -> None:
    async with SimulatedDriver(volumes=volumes(25)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.CAPS_PAGES, Params(count=10))
        driver.misbehave(Quirk.DRIFTS, Params(count=1))
        await rig.want()
        await rig.after(5)
        assert rig.answers.healthy == set(driver.volumes)
        assert health_calls(driver) == {LIST: 3, GET: 2}


async def test_d2_of_duplicates_the_worst_counts() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.DUPLICATES)
        driver.fault("vol-1", Fault.IO_ERRORS)
        await rig.want()
        assert rig.says("vol-1") == "Degraded/VolumeConditionAbnormal"
        assert rig.answers.healthy == {"vol-2", "vol-3"}


async def test_c2_an_aborted_token_starts_the_list_again_once() -> None:
    async with SimulatedDriver(volumes=volumes(25)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.CAPS_PAGES, Params(count=10))
        driver.misbehave(Quirk.ABORTS_TOKENS, Params(count=1))
        await rig.want()
        assert rig.answers.healthy == set(driver.volumes)
        assert health_calls(driver) == {LIST: 5}


async def test_c2_tokens_that_are_always_refused_make_the_list_incomplete() -> None:
    async with (
        SimulatedDriver(capabilities=LIST_ONLY, volumes=volumes(25)) as driver,
        ProberRig(driver) as rig,
    ):
        driver.misbehave(Quirk.CAPS_PAGES, Params(count=10))
        driver.misbehave(Quirk.ABORTS_TOKENS)
        await rig.want()
        assert len(rig.answers.healthy) == 10
        assert rig.says("vol-020") == "ListIncomplete"
        assert health_calls(driver) == {LIST: 4}


async def test_c2_a_list_too_large_to_be_sent_is_read_in_pages_from_then_on() -> None:
    limits = ProbeLimits(page_size=10)
    async with SimulatedDriver(volumes=volumes(25)) as driver, ProberRig(driver, limits=limits) as rig:
        driver.misbehave(Quirk.HUGE_ENTRIES, Params(count=3 * 1024 * 1024))  # 75 MiB in all
        await rig.want(timeout=60)  # a busy machine needs longer than usual for so much
        assert rig.answers.healthy == set(driver.volumes)
        assert health_calls(driver) == {LIST: 4}
        await rig.next_turn()
        assert health_calls(driver) == {LIST: 7}


# ---- D3: how much a driver is burdened ----


async def test_d3_a_slow_list_is_followed_by_nine_times_as_much_rest() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.SLOW, Params(methods=(LIST,), seconds=0.05))
        task = asyncio.create_task(rig.want(interval=5))
        await driver.called(LIST)
        rig.clock.advance(20)  # the list takes 20 s of the prober's time
        await task
        driver.behave()
        await rig.after(179)
        assert driver.calls[LIST] == 1
        await rig.after(2)
        assert driver.calls[LIST] == 2


async def test_d3_gets_are_spread_over_the_interval_and_never_more_than_four_at_once() -> None:
    async with (
        SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(60)) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want()
        assert driver.calls[GET] == 60  # volumes never asked do not wait for their turn
        await rig.after(60)
        per_quarter = []
        for _ in range(4):
            before = driver.calls[GET]
            await rig.after(15)
            per_quarter.append(driver.calls[GET] - before)
        assert sum(per_quarter) == pytest.approx(60, abs=4)
        assert all(10 <= count <= 20 for count in per_quarter)


async def test_d3_a_round_of_slow_gets_takes_as_long_as_the_duty_rule_says() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(8)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.SLOW, Params(methods=(GET,), seconds=0.05))
        task = asyncio.create_task(rig.want(interval=10))
        await driver.called(GET, times=4)
        assert driver.calls[GET] == 4
        rig.clock.advance(5)  # four gets at once take 5 s of the prober's time
        await task
        assert driver.calls[GET] == 4
        assert rig.state.round_seconds == 100  # two handfuls of 5 s, and nine times as much rest
        await rig.after(44)
        assert driver.calls[GET] == 4
        driver.behave()
        await rig.after(2)
        assert rig.answers.healthy == set(driver.volumes)


async def test_volumes_newly_wanted_are_asked_before_those_whose_turn_it_is() -> None:
    async with (
        SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(20)) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want(volumes(10))
        assert driver.calls[GET] == 10
        await rig.want(volumes(20))
        assert driver.calls[GET] == 20
        assert rig.answers.healthy == set(driver.volumes)


async def test_a_driver_that_nobody_asks_about_rests() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        await rig.after(600)
        assert health_calls(driver) == {}
        await rig.want()
        assert health_calls(driver) == {LIST: 1}
        rig.prober.demand(None)
        await rig.after(600)
        assert health_calls(driver) == {LIST: 1}
        assert rig.answers.healthy == frozenset()


# ---- D4, D5: what an answer is about ----


async def test_d4_a_list_entry_without_a_condition_is_unknown_until_get_tells() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NIL_CONDITION)
        driver.misbehave(Quirk.HANGS, Params(methods=(GET,)))
        await rig.want(timeout=0.1)
        assert rig.answers.healthy == frozenset()
        assert rig.about("vol-1").outcome is Outcome.SILENT
        driver.behave(Quirk.HANGS)
        await rig.after(60)
        assert rig.answers.healthy == set(driver.volumes)


async def test_what_a_list_said_grows_no_older_by_what_other_volumes_answer_before_the_next_list() -> None:
    """Faults B5: a volume that the list leaves open is asked about by itself, and speaks for itself only."""
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NIL_CONDITION, Params(methods=(LIST,), volumes=("vol-1",)))
        driver.fault("vol-2", Fault.IO_ERRORS)
        await rig.want(interval=600, adverse=["vol-3"])
        listed, asked = rig.clock.now(), driver.calls[GET]
        await rig.after(500)
        assert driver.calls[GET] > asked, "vol-1 was asked again"
        assert driver.calls[LIST] == 1
        assert rig.same > 0, "and people who wait for a delay are told of its answer"
        said = {handle: answer_about(handle, rig.answers) for handle in driver.volumes}
        assert (said["vol-2"].outcome, said["vol-2"].at) == (Outcome.ADVERSE, listed)
        assert (said["vol-3"].outcome, said["vol-3"].at) == (Outcome.HEALTHY, listed)
        await rig.after(200)
        assert driver.calls[LIST] == 2
        assert answer_about("vol-2", rig.answers).at > listed
        assert answer_about("vol-3", rig.answers).at > listed


async def test_d4_without_get_a_missing_condition_stays_unknown_and_the_contradiction_is_told() -> None:
    async with SimulatedDriver(capabilities=LIST_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NIL_CONDITION)
        await rig.want()
        await rig.after(300)
        assert {rig.says(handle) for handle in driver.volumes} == {"NoCondition"}
        assert "without a condition" in rig.state.message


async def test_d4_a_get_without_a_condition_is_unknown() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NIL_CONDITION, Params(methods=(GET,), volumes=("vol-1",)))
        await rig.want()
        assert rig.says("vol-1") == "NoCondition"
        assert rig.answers.healthy == {"vol-2", "vol-3"}


@pytest.mark.parametrize("habit", [Quirk.OTHER_IDS, Quirk.NIL_VOLUME])
async def test_d5_a_get_is_keyed_by_what_was_asked(habit: Quirk) -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(habit)
        driver.fault("vol-2", Fault.IO_ERRORS)
        await rig.want()
        assert rig.says("vol-2") == "Degraded/VolumeConditionAbnormal"
        assert rig.answers.healthy == {"vol-1", "vol-3"}


# ---- D6: NOT_FOUND ----


async def test_d6_not_found_is_believed_after_three_asks_while_others_answer() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(5)) as driver, ProberRig(driver) as rig:
        await rig.want()
        driver.fault("vol-001", Fault.VOLUME_GONE)
        await rig.after(66)
        answer = rig.about("vol-001")
        assert rig.says("vol-001") == "Inaccessible/VolumeNotFound"
        assert answer.conditions[0].message == (
            "volume vol-001 does not exist (asked 3 times; 4 other volumes of this driver answer)"
        )
        driver.clear("vol-001")
        await rig.after(64)
        assert rig.says("vol-001") == "Healthy"


async def test_d6_a_single_not_found_changes_nothing() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(5)) as driver, ProberRig(driver) as rig:
        await rig.want()
        news = rig.news
        driver.fault("vol-001", Fault.VOLUME_GONE)
        while rig.log.calls[-1][2] != "NOT_FOUND":
            await rig.next_turn()
        driver.clear("vol-001")
        await rig.after(70)
        assert rig.says("vol-001") == "Healthy"
        assert rig.news == news


async def test_d6_not_found_is_not_believed_while_no_other_volume_answers() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(5)) as driver, ProberRig(driver) as rig:
        await rig.want()
        driver.misbehave(Quirk.NOT_FOUND)
        await rig.after(180)
        assert {rig.says(handle) for handle in driver.volumes} == {"CallFailed"}
        assert "no other volume" in rig.about("vol-001").message


async def test_d6_of_a_drivers_only_volume_not_found_is_believed_if_probe_is_well() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=["vol-1"]) as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.VOLUME_GONE)
        await rig.want()
        await rig.after(5)
        assert rig.says("vol-1") == "Inaccessible/VolumeNotFound"


async def test_d6_of_a_drivers_only_volume_not_found_is_not_believed_if_probe_is_not_well() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY, volumes=["vol-1"]) as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.VOLUME_GONE)
        await rig.want()
        driver.misbehave(Quirk.PROBE_FAILS)
        await rig.after(5)
        assert rig.says("vol-1") == "CallFailed"


async def test_d6_an_empty_legacy_list_speaks_for_the_only_volume_but_not_for_several() -> None:
    for count, told in ((1, "Inaccessible/VolumeNotFound"), (2, "NotListed")):
        async with (
            SimulatedDriver(capabilities=LIST_ONLY, volumes=volumes(count)) as driver,
            ProberRig(driver) as rig,
        ):
            driver.misbehave(Quirk.NOT_LISTED)
            await rig.want()
            await rig.after(130)
            assert rig.says("vol-000") == told


# ---- rule 4 of the design, D17: the source itself ----


async def test_d6_what_a_1_13_list_leaves_out_does_not_make_not_found_believed() -> None:
    """An array that came back without its inventory lists nothing, and knows nothing of what it is asked."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.DISK_FAILURE)
        await rig.want()
        driver.clear("vol-1")
        driver.misbehave(Quirk.NOT_FOUND)
        await rig.after(75)
        for _ in range(4):
            await rig.after(60)
            assert rig.about("vol-1").reason == "CallFailed"
        assert not rig.answers.healthy
        assert {rig.about(one).outcome for one in ("vol-2", "vol-3")} == {Outcome.SILENT}
        driver.behave()
        await rig.after(120)
        assert rig.answers.healthy == set(driver.volumes)


async def test_d6_of_a_1_13_driver_whose_list_is_empty_not_found_is_believed_if_get_knows_another() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.DISK_FAILURE)
        await rig.want()
        driver.clear("vol-1")
        driver.misbehave(Quirk.NOT_FOUND, Params(volumes=("vol-1",)))
        await rig.after(130)
        assert rig.says("vol-1") == "Inaccessible/VolumeNotFound"
        assert rig.answers.healthy == {"vol-2", "vol-3"}


async def test_d17_half_of_a_drivers_volumes_not_found_at_once_speaks_against_the_source() -> None:
    async with (
        SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(30)) as driver,
        ProberRig(driver) as rig,
    ):
        driver.fault("vol-000", Fault.IO_ERRORS)
        await rig.want()
        assert len(rig.answers.healthy) == 29
        driver.misbehave(Quirk.NOT_FOUND, Params(volumes=tuple(volumes(30)[1:])))
        await rig.after(80)
        assert rig.answers.healthy == frozenset()
        assert rig.says("vol-000") == "Degraded/VolumeConditionAbnormal"
        assert {rig.says(handle) for handle in volumes(30)[1:]} == {"SourceDown"}
        assert rig.state.state is SourceState.UNREACHABLE
        assert "not found at once" in rig.state.message
        driver.behave()
        await rig.after(70)
        assert len(rig.answers.healthy) == 29
        assert str(rig.state.state) == "Answering"


async def test_d17_an_array_that_fails_under_a_round_of_gets_loses_no_volume() -> None:
    async with (
        SimulatedDriver(capabilities=GET_ONLY, volumes=volumes(30)) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want()
        driver.misbehave(Quirk.NOT_FOUND)
        for _ in range(200):
            await rig.next_turn()
            assert "Inaccessible/VolumeNotFound" not in {rig.says(handle) for handle in driver.volumes}


async def test_d17_half_of_the_volumes_missing_in_a_legacy_list_speaks_against_the_list() -> None:
    async with (
        SimulatedDriver(capabilities=LIST_ONLY, volumes=volumes(30)) as driver,
        ProberRig(driver) as rig,
    ):
        driver.fault("vol-029", Fault.IO_ERRORS)
        driver.misbehave(Quirk.NOT_LISTED, Params(volumes=tuple(volumes(20))))
        await rig.want()
        await rig.after(200)
        assert rig.answers.healthy == frozenset()
        assert rig.says("vol-000") == "SourceDown"
        assert rig.says("vol-025") == "SourceDown"
        assert rig.says("vol-029") == "Degraded/VolumeConditionAbnormal"


async def test_d17_a_list_of_one_of_several_arrays_takes_nothing_from_the_others() -> None:
    async with SimulatedDriver(volumes=volumes(30)) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.NOT_LISTED, Params(volumes=tuple(volumes(20))))
        await rig.want()
        await rig.after(5)
        assert rig.answers.healthy == set(driver.volumes)


# ---- D11, D12, D14: what a driver says ----


async def test_d11_a_text_with_changing_numbers_is_told_once() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.CHANGING_TEXTS)
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY)
        await rig.want()
        first, news, same = rig.answers, rig.news, rig.same
        await rig.after(300)
        assert driver.calls[LIST] > 4
        assert rig.news == news
        assert rig.same >= same + 4, "each answer may complete a delay"
        assert rig.answers.others is first.others
        assert rig.answers.healthy is first.healthy
        assert rig.answers.at > first.at


async def test_d11_by_get_such_a_text_is_told_once_and_its_answer_stays_fresh() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.CHANGING_TEXTS)
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY)
        await rig.want()
        first, news = rig.about("vol-1"), rig.news
        await rig.after(300)
        assert rig.news == news
        assert rig.about("vol-1").conditions == first.conditions
        assert rig.about("vol-1").since == first.at
        assert rig.clock.now() - rig.about("vol-1").at < timedelta(seconds=64)


async def test_d11_a_text_that_says_something_else_is_told() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY)
        await rig.want()
        news = rig.news
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, message="now it is read-only, too")
        await rig.after(70)
        assert rig.news == news + 1
        assert rig.about("vol-1").conditions[0].message == "now it is read-only, too"


async def test_d12_texts_are_cleaned_and_bounded_and_statements_of_one_kind_are_merged() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.DIRTY_TEXTS)
        driver.misbehave(Quirk.HUGE_TEXTS, Params(count=100_000))
        driver.fault("vol-1", Fault.IO_ERRORS)
        await rig.want()
        (condition,) = rig.about("vol-1").conditions
        assert condition.reason == "TheReasonIsIOError"
        assert len(condition.message.encode()) <= 1024
        assert condition.message.isprintable()


async def test_d12_of_several_statements_the_worst_comes_first() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.fault("vol-1", Fault.DEGRADED_PERFORMANCE)
        driver.fault("vol-1", Fault.DISK_FAILURE)
        await rig.want()
        assert rig.says("vol-1") == "DataLoss/DiskFailure, Degraded/DegradedPerformance"


async def test_c5_a_status_of_the_future_is_kept_and_never_healthy() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.UNKNOWN_STATUS)
        driver.fault("vol-1", Fault.IO_ERRORS)
        await rig.want()
        assert rig.says("vol-1") == "UnknownHealthType7/IOError"


async def test_d14_both_generations_are_heard_in_one_process() -> None:
    for generation in Generation:
        async with SimulatedDriver(generation=generation) as driver, ProberRig(driver) as rig:
            driver.fault("vol-1", Fault.DISK_FAILURE)
            await rig.want()
            assert rig.about("vol-1").outcome is Outcome.ADVERSE


# ---- D15: capabilities and behaviour ----


async def test_d15_a_1_13_list_without_get_is_used_and_the_mismatch_is_told() -> None:
    async with (
        SimulatedDriver(generation=Generation.V1_13, capabilities=HEALTH_LIST_ONLY) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want()
        assert rig.state.state is SourceState.ANSWERING
        assert "without GET_VOLUME_HEALTH" in rig.state.message


async def test_d15_a_promised_list_that_is_unimplemented_is_replaced_by_get() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.UNIMPLEMENTED, Params(methods=(LIST,)))
        await rig.want()
        assert rig.answers.healthy == set(driver.volumes)
        assert rig.state.methods == (GET,)
        assert "UNIMPLEMENTED to ListVolumes" in rig.state.message
        assert health_calls(driver) == {LIST: 1, GET: 3}
        await rig.after(120)
        assert driver.calls[LIST] == 1


async def test_d15_a_promised_get_that_is_unimplemented_is_not_missed() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.UNIMPLEMENTED, Params(methods=(GET,)))
        driver.fault("vol-1", Fault.VOLUME_GONE)
        await rig.want()
        await rig.after(140)
        assert rig.says("vol-1") == "Inaccessible/VolumeNotFound"
        assert driver.calls[GET] == 1


@pytest.mark.parametrize("refused", ["vol-1", "vol-2", "vol-3"])
async def test_d15_a_get_that_is_unimplemented_for_one_volume_is_one_for_all_others(refused: str) -> None:
    """UNIMPLEMENTED about one volume is a word about that volume, and not about the driver."""
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.ERRORS, Params(methods=(GET,), volumes=(refused,), code="UNIMPLEMENTED"))
        bad = next(one for one in driver.volumes if one != refused)
        driver.fault(bad, Fault.DISK_FAILURE)
        await rig.want()
        for _ in range(3):
            await rig.after(60)
            assert rig.state.state is SourceState.ANSWERING
            assert rig.about(bad).outcome is Outcome.ADVERSE
            assert rig.about(refused).reason == "CallFailed"


async def test_d15_a_get_that_is_unimplemented_for_every_volume_is_done_without() -> None:
    async with SimulatedDriver(capabilities=GET_ONLY) as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.UNIMPLEMENTED, Params(methods=(GET,)))
        await rig.want()
        await rig.after(60)
        assert rig.state.state is SourceState.UNSUPPORTED
        assert driver.calls[GET] <= 4


async def test_d15_a_driver_that_hides_its_capabilities_is_not_called() -> None:
    async with SimulatedDriver() as driver, ProberRig(driver) as rig:
        driver.misbehave(Quirk.HIDES_CAPABILITIES)
        await rig.after(301)  # capabilities are read anew now and then
        await rig.want()
        assert health_calls(driver) == {}
        assert rig.state.state is SourceState.UNSUPPORTED
        assert "VOLUME_CONDITION" in rig.state.hint


NINE = [f"vol-{number}" for number in range(9)]
ON_NODES = {handle: f"kubernetes.io/hostname In n{number // 3}" for number, handle in enumerate(NINE)}


@pytest.mark.parametrize("capabilities", [None, GET_ONLY, LIST_ONLY])
async def test_a_controller_that_is_local_to_a_node_says_nothing_of_other_nodes_volumes(
    capabilities: set[str] | None,
) -> None:
    """Each knows the volumes of its own node only, and answers NOT_FOUND for all others (field case 14)."""
    async with (
        SimulatedDriver(volumes=NINE[:3], capabilities=capabilities) as driver,
        ProberRig(driver) as rig,
    ):
        await rig.want(NINE, topology=ON_NODES)
        await rig.after(600)
        assert rig.answers.healthy == set(NINE[:3])
        assert {rig.says(handle) for handle in NINE[3:]} == {"NotListed"}
        assert rig.state.state == "Answering"


async def test_a_local_controller_of_csi_1_13_makes_no_volume_of_other_nodes_healthy_by_leaving_it_out() -> (
    None
):
    """Field case 14: its list names what is bad on its own node, and leaves out all of the other nodes as well."""
    async with (
        SimulatedDriver(volumes=NINE[:3], generation=Generation.V1_13) as driver,
        ProberRig(driver) as rig,
    ):
        driver.fault("vol-1", Fault.IO_ERRORS)
        await rig.want(NINE, topology=ON_NODES)
        await rig.after(600)
        assert rig.answers.healthy == {"vol-0", "vol-2"}
        assert rig.says("vol-1") == "Inaccessible/IOError"
        assert {rig.says(handle) for handle in NINE[3:]} == {"NotListed"}
        assert rig.state.state == "Answering"


async def test_a_controller_of_csi_1_13_that_knows_volumes_of_several_zones_speaks_for_all() -> None:
    async with SimulatedDriver(volumes=NINE, generation=Generation.V1_13) as driver, ProberRig(driver) as rig:
        zones = {
            handle: f"topology.kubernetes.io/zone In z{number % 3}" for number, handle in enumerate(NINE)
        }
        await rig.want(NINE, topology=zones)
        assert rig.answers.healthy == set(NINE)
        await rig.after(600)
        assert rig.answers.healthy == set(NINE)
        assert driver.calls["ControllerGetVolumeHealth"] <= 60, "a few in each round"


MANY = [f"vol-{number:03}" for number in range(40)]


@pytest.mark.parametrize("generation", list(Generation))
async def test_many_volumes_of_other_nodes_are_no_outage_of_a_local_controller(
    generation: Generation,
) -> None:
    """Field case 14 with more volumes than make an outage."""
    async with SimulatedDriver(volumes=MANY[:4], generation=generation) as driver, ProberRig(driver) as rig:
        nodes = {handle: f"kubernetes.io/hostname In n{number // 4}" for number, handle in enumerate(MANY)}
        await rig.want(MANY, topology=nodes)
        await rig.after(900)
        assert rig.answers.healthy == set(MANY[:4])
        assert {rig.says(handle) for handle in MANY[4:]} == {"NotListed"}
        assert rig.state.state == "Answering"


async def test_a_local_controller_still_tells_of_a_volume_of_its_own_node_that_is_gone() -> None:
    async with SimulatedDriver(volumes=NINE[:2]) as driver, ProberRig(driver) as rig:
        await rig.want(NINE, topology=ON_NODES)
        await rig.after(600)
        assert rig.says("vol-2") == "Inaccessible/VolumeNotFound"
        assert {rig.says(handle) for handle in NINE[3:]} == {"NotListed"}


ONLY_VOLUMES = {
    "of another node": ("kubernetes.io/hostname In n1", False, "NotListed"),
    "of a node, known before": ("kubernetes.io/hostname In n1", True, "Inaccessible/VolumeNotFound"),
    "of a zone": ("topology.ebs.csi.aws.com/zone In z1", False, "Inaccessible/VolumeNotFound"),
}


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize(("place", "known", "said"), ONLY_VOLUMES.values(), ids=ONLY_VOLUMES.keys())
async def test_the_only_volume_that_is_wanted_is_gone_if_the_controller_may_know_it(
    place: str, known: bool, said: str, generation: Generation
) -> None:
    """Field case 14: a controller that is local to a node is asked about the one volume of another node."""
    async with (
        SimulatedDriver(volumes=["vol-0", "vol-1"], generation=generation) as driver,
        ProberRig(driver) as rig,
    ):
        if known:
            driver.fault("vol-1", Fault.IO_ERRORS)
            await rig.want(["vol-1"], topology={"vol-1": place})
            await rig.after(90)
            assert rig.about("vol-1").outcome is Outcome.ADVERSE
        del driver.volumes["vol-1"]
        await rig.want(["vol-1"], topology={"vol-1": place}, adverse={"vol-1"})
        await rig.after(600)
        assert rig.says("vol-1") == said


async def test_a_controller_that_knows_volumes_of_several_nodes_speaks_for_all() -> None:
    async with SimulatedDriver(volumes=NINE[:8]) as driver, ProberRig(driver) as rig:
        zones = {handle: f"topology.kubernetes.io/zone In z{number}" for number, handle in enumerate(NINE)}
        await rig.want(NINE, topology=zones)
        await rig.after(600)
        assert rig.says("vol-8") == "Inaccessible/VolumeNotFound"
