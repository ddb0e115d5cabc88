"""Whatever goes wrong comes out as a CsiError that says what to do about it."""

import asyncio
import logging

import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.wire import RpcFailed
from volumehealth.errors import (
    CallNotSupported,
    CsiError,
    DriverUnreachable,
    GarbledAnswer,
    TokenRejected,
    VolumeNotFound,
)
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Params, Quirk

LISTING = Params(methods=("ListVolumes",))

TRANSLATED: dict[str, tuple[str, type[CsiError]]] = {
    "no connection": ("UNAVAILABLE", DriverUnreachable),
    "not found": ("NOT_FOUND", VolumeNotFound),
    "a token that is no longer good": ("ABORTED", TokenRejected),
    "a call it does not have": ("UNIMPLEMENTED", CallNotSupported),
    "an error of its own": ("INTERNAL", CsiError),
    "a refusal": ("PERMISSION_DENIED", CsiError),
    "too busy": ("RESOURCE_EXHAUSTED", CsiError),
    "its own cancellation": ("CANCELLED", CsiError),
}


@pytest.mark.parametrize(("code", "kind"), TRANSLATED.values(), ids=TRANSLATED.keys())
async def test_a_status_becomes_an_error(
    code: str, kind: type[CsiError], legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    legacy.misbehave(Quirk.ERRORS, Params(code=code, message="because\nof this"))
    with pytest.raises(CsiError) as caught:
        await to_legacy.list_volumes(0, "", timeout=1.0)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert str(caught.value) == "ListVolumes: because of this"
    assert isinstance(caught.value.__cause__, RpcFailed)


async def test_a_driver_that_hangs_is_unreachable_after_the_timeout(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    legacy.misbehave(Quirk.HANGS, LISTING)
    with pytest.raises(DriverUnreachable, match=r"ListVolumes: no answer within 0\.05 s") as caught:
        await to_legacy.list_volumes(0, "", timeout=0.05)
    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_a_driver_that_hangs_in_one_call_answers_others(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    legacy.misbehave(Quirk.HANGS, LISTING)
    stuck = asyncio.create_task(to_legacy.list_volumes(0, "", timeout=5.0))
    assert await to_legacy.get_volume("vol-1", 1.0) is not None
    stuck.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stuck


async def test_garbage_is_garbled_and_leaves_no_traceback_in_the_log(
    legacy: SimulatedDriver, to_legacy: CsiClient, caplog: pytest.LogCaptureFixture
) -> None:
    legacy.misbehave(Quirk.GARBAGE, LISTING)
    with caplog.at_level(logging.WARNING), pytest.raises(GarbledAnswer, match="no ListVolumesResponse"):
        await to_legacy.list_volumes(0, "", timeout=1.0)
    assert not caplog.records


async def test_a_driver_that_was_never_there_is_unreachable() -> None:
    async with CsiClient(parse_endpoint("unix:///nonexistent/csi.sock")) as client:
        with pytest.raises(
            DriverUnreachable, match=r"^Probe: no connection: No such file or directory$"
        ) as caught:
            await client.probe(1.0)
    assert caught.value.code == "UNAVAILABLE"


async def test_a_crash_is_noticed_at_once_and_a_restart_within_two_seconds(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    assert await to_legacy.probe(1.0)
    await legacy.crash()
    with pytest.raises(DriverUnreachable):
        await to_legacy.probe(5.0)
    await legacy.restart()
    async with asyncio.timeout(2.0):
        assert await reconnected(to_legacy)


async def reconnected(client: CsiClient) -> bool:
    """Ask until the driver is reachable again."""
    while True:
        try:
            return await client.probe(1.0)
        except DriverUnreachable:
            await asyncio.sleep(0.01)


async def test_a_crash_breaks_off_a_call_under_way(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    legacy.misbehave(Quirk.HANGS, LISTING)
    call = asyncio.create_task(to_legacy.list_volumes(0, "", timeout=30.0))
    await legacy.called("ListVolumes")
    await legacy.crash()
    with pytest.raises(CsiError):
        await call


async def test_closing_the_client_ends_its_calls_with_an_error_and_not_with_a_cancellation(
    legacy: SimulatedDriver,
) -> None:
    """A task that nobody cancelled must not end as if somebody had."""
    legacy.misbehave(Quirk.HANGS, LISTING)
    async with CsiClient(parse_endpoint(legacy.endpoint)) as client:
        call = asyncio.create_task(client.list_volumes(0, "", timeout=30.0))
        await legacy.called("ListVolumes")
    with pytest.raises(DriverUnreachable, match="the connection was closed"):
        await call


async def test_a_closed_client_is_unreachable(legacy: SimulatedDriver) -> None:
    async with CsiClient(parse_endpoint(legacy.endpoint)) as client:
        pass
    with pytest.raises(DriverUnreachable, match="closed"):
        await client.probe(1.0)


async def test_a_cancelled_caller_is_cancelled(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    legacy.misbehave(Quirk.HANGS, LISTING)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await to_legacy.list_volumes(0, "", timeout=30.0)


async def test_an_error_text_of_any_length_arrives_bounded(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    """By default gRPC gives up on error texts of 8 KiB and reports its own trouble instead."""
    legacy.misbehave(Quirk.ERRORS, Params(message="y" * 100_000))
    with pytest.raises(CsiError) as caught:
        await to_legacy.list_volumes(0, "", timeout=1.0)
    assert caught.value.code == "INTERNAL"
    assert len(str(caught.value)) < 1100


async def test_an_answer_beyond_64_mebibytes_is_refused_with_the_code_that_means_too_large() -> None:
    volumes = [f"vol-{number}" for number in range(65)]
    async with (
        SimulatedDriver(volumes=volumes) as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        driver.misbehave(Quirk.HUGE_ENTRIES, Params(count=1024**2))
        with pytest.raises(CsiError) as caught:
            await client.list_volumes(0, "", timeout=20.0)
    assert caught.value.code == "RESOURCE_EXHAUSTED"


async def test_two_clients_of_one_driver_have_a_connection_each(legacy: SimulatedDriver) -> None:
    legacy.fault("vol-1", Fault.DISK_FAILURE)
    async with (
        CsiClient(parse_endpoint(legacy.endpoint)) as one,
        CsiClient(parse_endpoint(legacy.endpoint)) as other,
    ):
        await one.probe(1.0)
        await other.aclose()
        assert await one.probe(1.0)
