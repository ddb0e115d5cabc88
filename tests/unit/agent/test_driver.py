"""One driver on a node, asked over a real connection: what it can, what it cannot, and what it does when it misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from support.agent import make_claim, make_policy, make_target
from volumehealth.agent.calls import make_plan
from volumehealth.agent.driver import DriverPace, DriverWatch
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import KnownClaim, Target
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.types import NodeInfo
from volumehealth.csi.wire import Dial, GrpcWire
from volumehealth.model.clock import SystemClock
from volumehealth.model.health import HealthAPI, SourceState
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import Generation

PACE = DriverPace(identify=0.3, first_retry=0.05, last_retry=0.1, outage=0.15, again=0.05, delay=0.05)
INTERVAL = 0.3


class Asked:
    """A DriverWatch that runs against a simulated driver."""

    def __init__(self, driver: SimulatedDriver, watch: DriverWatch, ledger: ReportState) -> None:
        self.driver = driver
        self.watch = watch
        self.ledger = ledger

    def said(self, name: str) -> list[str]:
        return [one.reason for one in self.ledger.accused(ClaimRef("shop", name))]

    def silence(self, name: str) -> str:
        found = self.ledger.silence_of(ClaimRef("shop", name))
        return found.reason if found else ""

    async def until(self, holds: Callable[[], Any], within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110 - several things may bring it about
                await asyncio.sleep(0.01)


def targets(driver: SimulatedDriver, **spec: Any) -> dict[str, Target]:
    """A target for each volume of a driver, asked very often."""
    policy = make_policy(**spec)
    found = {}
    for handle in driver.volumes:
        claim = make_claim(handle, driver=driver.name, handle=handle)
        target = make_target(known=KnownClaim(claim), policy=policy)
        driver.volumes[handle].targets[target.paths.publish] = 1
        driver.volumes[handle].used = 1
        found[target.key] = replace(target, interval=INTERVAL, timeout=0.2)
    return found


@asynccontextmanager
async def asked(
    driver: SimulatedDriver, *, pace: DriverPace = PACE, dial: Dial = GrpcWire, **spec: Any
) -> AsyncIterator[Asked]:
    ledger = ReportState()
    watch = DriverWatch(
        driver.name,
        parse_endpoint(driver.endpoint),
        ledger=ledger,
        clock=SystemClock(),
        random=Random(1),
        news=lambda: None,
        pace=pace,
        dial=dial,
    )
    watch.demand(targets(driver, **spec))
    task = asyncio.create_task(watch.run())
    try:
        yield Asked(driver, watch, ledger)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("generation", Generation)
async def test_a_nodes_view_of_a_volume_is_heard_in_both_generations(generation: Generation) -> None:
    async with SimulatedDriver(generation=generation) as driver:
        driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
        async with asked(driver) as found:
            await found.until(lambda: found.watch.settled)
            legacy = generation is Generation.LEGACY
            assert found.said("vol-1") == ["VolumeConditionAbnormal" if legacy else "IOError"]
            assert found.said("vol-2") == []
            assert found.watch.status.state is SourceState.ANSWERING
            driver.clear("vol-1")
            await found.until(lambda: not found.said("vol-1"))


async def test_capacity_is_read_in_both_generations_and_only_where_it_is_wanted() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver) as found:
            await found.until(lambda: found.said("vol-1") == ["OutOfCapacity"])
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        async with asked(driver, checks={"capacity": {"enabled": False}}) as found:
            await found.until(lambda: found.watch.settled)
        assert driver.calls["NodeGetVolumeStats"] == 0
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        async with asked(driver, checks={"node": {"enabled": False}}) as found:
            await found.until(lambda: found.watch.settled)
        assert driver.calls["NodeGetVolumeHealth"] == driver.calls["NodeGetStorageHealth"] == 0


@pytest.mark.parametrize("counted", ["0 of 0", "nothing at all", "all of it free"])
async def test_a_volume_that_is_not_counted_any_more_stays_full(counted: str) -> None:
    """Faults A3: an abnormal answer with a usage of 0/0/0 is no word about free space."""
    async with SimulatedDriver() as driver:
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver) as found:
            await found.until(lambda: "OutOfCapacity" in found.said("vol-1"))
            driver.clear("vol-1")
            driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
            driver.volumes["vol-1"].used = 0
            if counted == "0 of 0":
                driver.volumes["vol-1"].capacity = 0
            elif counted == "nothing at all":
                driver.misbehave(Quirk.NO_USAGE)
            calls = driver.calls["NodeGetVolumeStats"]
            await found.until(lambda: driver.calls["NodeGetVolumeStats"] > calls + 12)
            assert "OutOfCapacity" in found.said("vol-1")


@pytest.mark.parametrize("generation", Generation)
async def test_a_volume_that_was_emptied_is_full_no_more(generation: Generation) -> None:
    """Of a quota, as of CephFS, nothing is in use then; it stayed full until something was written."""
    async with SimulatedDriver(generation=generation) as driver:
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver) as found:
            await found.until(lambda: "OutOfCapacity" in found.said("vol-1"))
            driver.clear("vol-1")
            driver.volumes["vol-1"].used = 0
            await found.until(lambda: found.said("vol-1") == [])


@pytest.mark.parametrize("word", ["none, ever", "abnormal, by a call of its own"])
async def test_a_volume_that_its_driver_does_not_call_well_is_not_known_to_be_emptied(word: str) -> None:
    """A driver may count a directory on which nothing is mounted any more."""
    none = word == "none, ever"
    capabilities = {"GET_VOLUME_STATS"} if none else {"GET_VOLUME_STATS", "GET_VOLUME_HEALTH"}
    async with SimulatedDriver(node_capabilities=capabilities) as driver:
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver) as found:
            await found.until(lambda: "OutOfCapacity" in found.said("vol-1"))
            driver.clear("vol-1")
            if not none:
                driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
            driver.volumes["vol-1"].used = 0
            calls = driver.calls["NodeGetVolumeStats"]
            await found.until(lambda: driver.calls["NodeGetVolumeStats"] > calls + 12)
            assert "OutOfCapacity" in found.said("vol-1")


async def test_volumes_whose_calls_hang_keep_no_other_waiting() -> None:
    """Facts D10: a dead mount hangs a driver's call; the driver's other volumes keep their interval."""
    handles = [f"vol-{number}" for number in range(20)]
    stuck, well = tuple(handles[:12]), handles[12:]
    async with SimulatedDriver(volumes=handles) as driver:
        driver.misbehave(Quirk.HANGS, Params(methods=("NodeGetVolumeStats",), volumes=stuck))
        async with asked(driver) as found:
            await found.until(lambda: all(found.silence(handle) == "CallFailed" for handle in stuck))
            assert [found.silence(handle) for handle in well] == [""] * len(well)
            driver.fault("vol-19", Fault.IO_ERRORS, plane=Plane.NODE)
            await found.until(lambda: found.said("vol-19"), within=3 * INTERVAL)
            assert found.watch.status.state is SourceState.ANSWERING
            driver.behave()
            await found.until(lambda: not any(map(found.silence, stuck)), within=20)


async def test_a_volume_that_stays_stuck_is_asked_ever_more_rarely() -> None:
    """Each ask may leave a process of the driver stuck in the kernel for good."""
    async with SimulatedDriver(volumes=["vol-1"]) as driver:
        driver.misbehave(Quirk.HANGS, Params(methods=("NodeGetVolumeStats",)))
        async with asked(driver) as found:
            await found.until(lambda: found.silence("vol-1"))
            before = driver.calls["NodeGetVolumeStats"]
            await asyncio.sleep(4 * INTERVAL)
            assert driver.calls["NodeGetVolumeStats"] <= before + 1


async def test_a_driver_that_hangs_as_a_whole_is_unreachable_and_comes_back() -> None:
    async with SimulatedDriver() as driver, asked(driver) as found:
        await found.until(lambda: found.watch.settled)
        driver.misbehave(Quirk.HANGS)
        await found.until(lambda: found.watch.status.state is SourceState.UNREACHABLE)
        driver.behave()
        await found.until(lambda: found.watch.status.state is SourceState.ANSWERING)


async def test_a_driver_that_is_replaced_quickly_was_never_gone() -> None:
    async with SimulatedDriver() as driver:
        states = set()
        async with asked(driver, pace=replace(PACE, outage=30.0)) as found:
            await found.until(lambda: found.watch.settled)
            calls = driver.calls["NodeGetVolumeStats"]
            await driver.crash()
            for _ in range(20):
                states.add(found.watch.status.state)
                await asyncio.sleep(0.02)
            await driver.restart()
            await driver.called("NodeGetVolumeStats", times=calls + 3)
        assert states == {SourceState.ANSWERING}


@pytest.mark.parametrize(
    ("habit", "params", "reason"),
    {
        "a nil condition is no health": (
            Quirk.NIL_CONDITION,
            Params(methods=("NodeGetVolumeStats",)),
            "NoCondition",
        ),
        "NOT_FOUND means five things": (
            Quirk.ERRORS,
            Params(methods=("NodeGetVolumeStats",), code="NOT_FOUND"),
            "NotMounted",
        ),
        "an error": (Quirk.ERRORS, Params(methods=("NodeGetVolumeStats",)), "CallFailed"),
        "garbage": (Quirk.GARBAGE, Params(methods=("NodeGetVolumeStats",)), "CallFailed"),
    }.values(),
)
async def test_no_answer_is_silence(habit: Quirk, params: Params, reason: str) -> None:
    async with SimulatedDriver() as driver:
        driver.misbehave(habit, params)
        async with asked(driver) as found:
            await found.until(lambda: found.silence("vol-1") == reason)
            driver.behave()
            await found.until(lambda: not found.silence("vol-1"))


async def test_one_failure_alone_is_no_silence() -> None:
    async with SimulatedDriver() as driver, asked(driver) as found:
        await found.until(lambda: found.watch.settled)
        driver.misbehave(Quirk.ERRORS, Params(methods=("NodeGetVolumeStats",)))
        calls = driver.calls["NodeGetVolumeStats"]
        await driver.called("NodeGetVolumeStats", times=calls + 1)
        driver.behave()
        await driver.called("NodeGetVolumeStats", times=calls + 6)
        assert [found.silence(handle) for handle in driver.volumes] == ["", "", ""]


async def test_a_driver_that_says_unavailable_about_one_volume_is_silent_about_that_one() -> None:
    """Drivers pass on UNAVAILABLE of what is behind them: it is one volume's, and no end of the connection."""
    async with SimulatedDriver() as driver, asked(driver) as found:
        await found.until(lambda: found.watch.settled)
        params = Params(
            methods=("NodeGetVolumeStats",), volumes=("vol-1",), code="UNAVAILABLE", message="array"
        )
        driver.misbehave(Quirk.ERRORS, params)
        await found.until(lambda: found.silence("vol-1") == "CallFailed")
        assert not found.silence("vol-2")
        before, info = driver.calls["NodeGetVolumeStats"], driver.calls["NodeGetCapabilities"]
        await asyncio.sleep(5 * INTERVAL)
        assert driver.calls["NodeGetVolumeStats"] <= before + 3 * 6  # a turn in each interval, and no more
        assert driver.calls["NodeGetCapabilities"] <= info + 6
        assert found.watch.status.state is SourceState.ANSWERING
        driver.behave()
        await found.until(lambda: not found.silence("vol-1"))


async def test_a_method_that_is_promised_and_missing_is_done_without() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.misbehave(Quirk.UNIMPLEMENTED, Params(methods=("NodeGetVolumeHealth",)))
        async with asked(driver) as found:
            left = ("NodeGetVolumeStats", "NodeGetStorageHealth")
            await found.until(lambda: found.watch.status.methods == left)
            assert found.watch.status.health_api is HealthAPI.NONE
            assert found.watch.status.hint


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_method_that_was_missing_is_tried_again_once_the_driver_was_started_anew(
    noticed: bool,
) -> None:
    """It is the same driver in the same version, started with another flag; and its end may have gone unnoticed."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.misbehave(Quirk.UNIMPLEMENTED, Params(methods=("NodeGetVolumeHealth",)))
        async with asked(driver) as found:
            await found.until(lambda: found.watch.status.health_api is HealthAPI.NONE and found.watch.settled)
            await driver.crash()
            driver.behave()
            driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
            if noticed:
                await asyncio.sleep(2 * INTERVAL)
            await driver.restart()
            await found.until(lambda: found.said("vol-1") == ["IOError"])
            assert found.watch.status.health_api is HealthAPI.VOLUME_HEALTH


class _Unsteady(GrpcWire):
    """A driver that closes each connection after an answer."""

    @property
    def connected(self) -> bool:
        return False


async def test_a_driver_that_closes_its_connections_is_not_identified_all_the_time() -> None:
    """Nor is what it promises and lacks believed anew each time: each belief is a write of the report."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.misbehave(Quirk.UNIMPLEMENTED, Params(methods=("NodeGetVolumeHealth",)))
        async with asked(driver, dial=_Unsteady) as found:
            await found.until(lambda: found.watch.status.health_api is HealthAPI.NONE and found.watch.settled)
            before = driver.calls["NodeGetVolumeHealth"]
            await asyncio.sleep(5 * INTERVAL)
            assert driver.calls["GetPluginInfo"] <= 10
            assert driver.calls["NodeGetVolumeHealth"] - before <= 8
            assert found.watch.status.state is SourceState.ANSWERING


async def test_what_a_driver_counted_is_no_word_of_now_once_it_is_asked_no_more() -> None:
    """What it told before is no word of now, neither that it does nor that it does not."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        wanted = targets(driver)
        ref = ClaimRef("shop", "vol-1")
        async with asked(driver) as found:
            await found.until(lambda: found.ledger.counts(ref) is True)
            without = {key: replace(one, capacity=None, counted=False) for key, one in wanted.items()}
            found.watch.demand(without)
            await found.until(lambda: found.ledger.counts(ref) is None)
            found.watch.demand(wanted)
            await found.until(lambda: found.ledger.counts(ref) is True)


async def test_what_a_driver_counted_before_it_was_replaced_is_no_word_of_its_successor() -> None:
    """It counts no inodes: nothing could ever end that they ran out."""
    async with SimulatedDriver() as driver, asked(driver) as found:
        volume = driver.volumes["vol-1"]
        volume.capacity = 16384  # room for one inode
        await found.until(lambda: found.said("vol-1") == ["OutOfCapacity"])
        volume.block = True
        calls = driver.calls["NodeGetVolumeStats"]
        await driver.called("NodeGetVolumeStats", times=calls + 6)
        assert found.said("vol-1") == ["OutOfCapacity"], "left out once, it is not over"
        await driver.crash()
        await driver.restart()
        await found.until(lambda: found.said("vol-1") == [])


async def test_a_driver_that_can_do_more_than_it_says_is_believed() -> None:
    """Facts D15: DirectPV fills in the condition without the capability."""
    async with SimulatedDriver() as driver:
        driver.misbehave(Quirk.HIDES_CAPABILITIES)
        driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
        async with asked(driver) as found:
            await found.until(lambda: found.said("vol-1") == ["VolumeConditionAbnormal"])
            assert found.watch.status.health_api is HealthAPI.VOLUME_CONDITION
            assert "without the capability" in found.watch.status.message


async def test_a_driver_without_any_call_is_not_able() -> None:
    async with SimulatedDriver(node_capabilities=()) as driver, asked(driver) as found:
        await found.until(lambda: found.watch.settled)
        assert found.watch.status.state is SourceState.UNSUPPORTED
        assert driver.calls["NodeGetVolumeStats"] == 0


async def test_the_storage_behind_the_driver_is_asked_once_for_all_its_volumes() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.backend = {"StorageDegraded": "one path is down", "StorageUnreachable": "no path is left"}
        async with asked(driver) as found:
            await found.until(lambda: found.watch.status.storage)
            told = found.watch.status.storage
            assert [one.status for one in told] == ["StorageUnreachable", "StorageDegraded"]
            driver.backend = {"StorageDegraded": "one path is down"}
            await found.until(lambda: found.watch.status.storage == told[1:])


@pytest.mark.parametrize(
    ("capabilities", "api"),
    {
        "CSI 1.13": ({"GET_VOLUME_HEALTH", "GET_VOLUME_STATS"}, HealthAPI.VOLUME_HEALTH),
        "legacy": ({"VOLUME_CONDITION", "GET_VOLUME_STATS"}, HealthAPI.VOLUME_CONDITION),
        "a condition with no call that could carry it": ({"VOLUME_CONDITION"}, HealthAPI.NONE),
        "numbers only": ({"GET_VOLUME_STATS"}, HealthAPI.NONE),
    }.values(),
)
def test_capabilities_decide_what_is_called(capabilities: set[str], api: HealthAPI) -> None:
    assert make_plan(NodeInfo("d", "", frozenset(capabilities))).api is api


async def test_an_errno_of_a_driver_without_a_health_call_is_told_until_the_call_works_again() -> None:
    async with SimulatedDriver(node_capabilities={"GET_VOLUME_STATS"}) as driver, asked(driver) as found:
        await found.until(lambda: found.watch.settled)
        assert found.said("vol-1") == []
        params = Params(methods=("NodeGetVolumeStats",), message="failed to get stats: input/output error")
        driver.misbehave(Quirk.ERRORS, params)
        await found.until(lambda: found.said("vol-1") == ["BackendError"])
        assert found.silence("vol-1") == ""
        driver.behave()
        await found.until(lambda: found.said("vol-1") == [])


async def test_an_errno_ends_when_the_call_works_again_though_nothing_is_counted() -> None:
    async with SimulatedDriver(node_capabilities={"GET_VOLUME_STATS"}) as driver, asked(driver) as found:
        params = Params(methods=("NodeGetVolumeStats",), message="failed to get stats: input/output error")
        driver.misbehave(Quirk.ERRORS, params)
        await found.until(lambda: found.said("vol-1") == ["BackendError"])
        driver.behave()
        driver.volumes["vol-1"].used = driver.volumes["vol-1"].capacity = 0
        await found.until(lambda: found.said("vol-1") == [])


async def test_an_errno_of_a_health_call_is_told_until_the_call_works_again() -> None:
    """A driver of CSI 1.13 that looks at the volume itself passes the kernel's words on as well."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver, asked(driver) as found:
        await found.until(lambda: found.watch.settled)
        message = "stat /a/mount: stale NFS file handle"
        driver.misbehave(
            Quirk.ERRORS, Params(methods=("NodeGetVolumeHealth",), volumes=("vol-1",), message=message)
        )
        await found.until(lambda: found.said("vol-1") == ["BackendError"])
        assert found.silence("vol-1") == ""
        driver.behave()
        await found.until(lambda: found.said("vol-1") == [])


async def test_what_was_said_of_a_volumes_space_ends_once_that_means_nothing_and_is_not_asked() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        wanted = targets(driver)
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver) as found:
            await found.until(lambda: found.said("vol-1") == ["OutOfCapacity"])
            found.watch.demand({key: replace(one, capacity=None) for key, one in wanted.items()})
            await found.until(lambda: found.said("vol-1") == [])


@pytest.mark.parametrize("was_full", [False, True])
async def test_an_errno_is_told_of_a_volume_whose_free_space_means_nothing(was_full: bool) -> None:
    """Virtual machines' disks, volumes that many only read: the kernel's word that they are dead counts as of others."""
    async with SimulatedDriver(node_capabilities={"GET_VOLUME_STATS"}) as driver:
        wanted = targets(driver)
        if was_full:
            driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver) as found:
            if was_full:
                await found.until(lambda: found.said("vol-1") == ["OutOfCapacity"])
            found.watch.demand({key: replace(one, capacity=None) for key, one in wanted.items()})
            await found.until(lambda: found.watch.settled and found.said("vol-1") == [])
            params = Params(
                methods=("NodeGetVolumeStats",), message="failed to get stats: input/output error"
            )
            driver.misbehave(Quirk.ERRORS, params)
            await found.until(lambda: found.said("vol-1") == ["BackendError"])
            assert found.silence("vol-1") == ""
            driver.behave()
            await found.until(lambda: found.said("vol-1") == [])
            assert Observer.CAPACITY in found.ledger.covered(ClaimRef("shop", "vol-1")), (
                "else nothing recovers"
            )


@pytest.mark.parametrize("generation", Generation)
async def test_a_driver_that_cannot_look_into_block_volumes_still_tells_of_the_others(
    generation: Generation,
) -> None:
    """UNIMPLEMENTED about one volume is a word about that volume, and not about the driver."""
    method = "NodeGetVolumeStats" if generation is Generation.LEGACY else "NodeGetVolumeHealth"
    async with SimulatedDriver(generation=generation) as driver:
        wanted = targets(driver)
        raw = wanted["shop/vol-1"]
        wanted["shop/vol-1"] = replace(raw, claim=replace(raw.claim, block=True))
        driver.misbehave(
            Quirk.ERRORS, Params(methods=(method,), volumes=("vol-1",), code="UNIMPLEMENTED", message="block")
        )
        driver.fault("vol-2", Fault.IO_ERRORS, plane=Plane.NODE)
        async with asked(driver) as found:
            found.watch.demand(wanted)
            await found.until(lambda: found.silence("vol-1") == "CallFailed" and found.said("vol-2"))
            assert found.watch.status.state is SourceState.ANSWERING
            assert found.watch.status.health_api is not HealthAPI.NONE
            driver.clear("vol-2")
            await found.until(lambda: not found.said("vol-2"))
            assert method in found.watch.status.methods


async def test_what_was_said_of_the_storage_ends_with_the_call_that_said_it() -> None:
    """A driver that is replaced by one without NodeGetStorageHealth can never take it back."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.backend = {"StorageDegraded": "one path is down"}
        async with asked(driver, pace=replace(PACE, reidentify=0.1)) as found:
            await found.until(lambda: found.watch.status.storage)
            driver.node = frozenset({"GET_VOLUME_HEALTH", "GET_VOLUME_STATS"})
            await found.until(lambda: "NodeGetStorageHealth" not in found.watch.status.methods)
            assert found.watch.status.storage == ()


@pytest.mark.parametrize("left", [{"GET_VOLUME_STATS"}, set()], ids=["it counts only", "it has no call"])
@pytest.mark.parametrize("word", ["adverse", "silent"])
async def test_what_a_driver_said_of_volumes_ends_with_its_health_call(word: str, left: set[str]) -> None:
    """A driver that is replaced by one without a health call can never take it back (faults C8)."""
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        if word == "adverse":
            driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
        else:
            driver.misbehave(Quirk.ERRORS, Params(methods=("NodeGetVolumeHealth",)))
        async with asked(driver, pace=replace(PACE, reidentify=0.1)) as found:
            await found.until(lambda: found.said("vol-1") or found.silence("vol-1"))
            driver.behave()
            driver.node = frozenset(left)
            await found.until(lambda: not found.said("vol-1") and not found.silence("vol-1"))


async def test_how_full_volumes_are_ends_with_the_call_that_tells_it() -> None:
    async with SimulatedDriver(generation=Generation.V1_13) as driver:
        driver.fault("vol-1", Fault.OUT_OF_CAPACITY, plane=Plane.CONTROLLER)
        async with asked(driver, pace=replace(PACE, reidentify=0.1)) as found:
            await found.until(lambda: found.said("vol-1") == ["OutOfCapacity"])
            driver.node = frozenset({"GET_VOLUME_HEALTH"})
            await found.until(lambda: not found.said("vol-1"))


async def test_a_driver_that_is_replaced_by_one_that_sends_no_condition_is_not_waited_for() -> None:
    """Facts D15: that it was sent without the capability once says nothing of a newer driver."""
    async with SimulatedDriver(node_capabilities={"GET_VOLUME_STATS", "VOLUME_CONDITION"}) as driver:
        driver.misbehave(Quirk.HIDES_CAPABILITIES)
        async with asked(driver, pace=replace(PACE, reidentify=0.1)) as found:
            await found.until(lambda: found.watch.status.health_api is HealthAPI.VOLUME_CONDITION)
            driver.misbehave(Quirk.NIL_CONDITION, Params(methods=("NodeGetVolumeStats",)))
            driver.node |= {"EXPAND_VOLUME"}
            await found.until(lambda: found.watch.status.health_api is HealthAPI.NONE)


async def test_an_answer_about_the_mount_of_a_pod_that_was_replaced_is_none_about_the_next() -> None:
    async with SimulatedDriver() as driver:
        driver.fault("vol-1", Fault.IO_ERRORS, plane=Plane.NODE)
        driver.misbehave(Quirk.SLOW, Params(methods=("NodeGetVolumeStats",), seconds=0.1))
        async with asked(driver) as found:
            await driver.called("NodeGetVolumeStats", times=3)  # they are under way
            wanted = targets(driver)
            one = wanted["shop/vol-1"]
            publish = one.paths.publish.replace("uid-", "uid-next-")
            driver.volumes["vol-1"].targets[publish] = 1
            wanted["shop/vol-1"] = replace(one, paths=replace(one.paths, publish=publish))
            found.watch.demand(wanted)
            await driver.called("NodeGetVolumeStats", times=4)  # all three were answered
            assert found.said("vol-1") == []
            await found.until(lambda: found.said("vol-1"))


@pytest.mark.parametrize("can_tell", [True, False])
async def test_a_migrated_volume_of_which_nobody_knows_the_handle_is_not_asked_about(can_tell: bool) -> None:
    """In-tree azureFile volumes: each call with an empty handle failed, and the claim was Unknown for ever."""
    capabilities = {"GET_VOLUME_STATS"} | ({"VOLUME_CONDITION"} if can_tell else set())
    async with SimulatedDriver(node_capabilities=capabilities) as driver:
        known = targets(driver)
        one = known["shop/vol-1"]
        known["shop/vol-1"] = replace(one, claim=replace(one.claim, handle=""))
        async with asked(driver) as found:
            found.watch.demand(known)
            await found.until(lambda: found.watch.settled)
            calls = driver.calls["NodeGetVolumeStats"]
            await found.until(lambda: driver.calls["NodeGetVolumeStats"] >= calls + 2 * len(known))
            assert found.said("vol-1") == []
            assert found.silence("vol-1") == ("NotYetAsked" if can_tell else "")
