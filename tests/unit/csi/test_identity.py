"""Finding out who a driver is and what it can do."""

import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import CsiError, GarbledAnswer
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_quirks import Params, Quirk


async def test_a_legacy_driver_names_itself_and_the_old_capability(to_legacy: CsiClient) -> None:
    info = await to_legacy.identify(1.0)
    assert info.name == "sim.volumehealth.dev"
    assert info.vendor_version
    assert info.ready
    assert info.controller_service
    assert {"LIST_VOLUMES", "GET_VOLUME", "VOLUME_CONDITION"} <= info.controller
    assert "LIST_VOLUME_HEALTH" not in info.controller


async def test_a_new_driver_names_the_new_capabilities(to_modern: CsiClient) -> None:
    info = await to_modern.identify(1.0)
    assert {"LIST_VOLUME_HEALTH", "GET_VOLUME_HEALTH"} <= info.controller
    assert "VOLUME_CONDITION" not in info.controller


async def test_node_plugins_name_theirs(to_legacy: CsiClient, to_modern: CsiClient) -> None:
    legacy, modern = await to_legacy.identify_node(1.0), await to_modern.identify_node(1.0)
    assert legacy.name == modern.name == "sim.volumehealth.dev"
    assert {"GET_VOLUME_STATS", "VOLUME_CONDITION"} <= legacy.node
    assert {"GET_VOLUME_HEALTH", "GET_STORAGE_HEALTH"} <= modern.node


async def test_a_capability_of_the_future_is_kept_by_its_number(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    legacy.misbehave(Quirk.UNKNOWN_CAPABILITY)
    assert "UNKNOWN_99" in (await to_legacy.identify(1.0)).controller
    assert "UNKNOWN_99" in (await to_legacy.identify_node(1.0)).node


async def test_a_driver_without_controller_service_is_not_asked_for_its_capabilities() -> None:
    async with (
        SimulatedDriver(capabilities=()) as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        info = await client.identify(1.0)
    assert not info.controller_service
    assert info.controller == frozenset()
    assert driver.calls["ControllerGetCapabilities"] == 0


async def test_a_controller_that_is_announced_but_not_served_here_is_none(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    """That is what the socket of a node plugin looks like."""
    legacy.misbehave(Quirk.UNIMPLEMENTED, Params(methods=("ControllerGetCapabilities",)))
    info = await to_legacy.identify(1.0)
    assert not info.controller_service
    assert info.controller == frozenset()


async def test_not_ready_is_no_error(legacy: SimulatedDriver, to_legacy: CsiClient) -> None:
    legacy.misbehave(Quirk.NOT_READY)
    assert await to_legacy.probe(1.0) is False
    assert (await to_legacy.identify(1.0)).ready is False


async def test_a_probe_that_fails_its_precondition_is_not_ready(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    legacy.misbehave(Quirk.PROBE_FAILS)
    assert await to_legacy.probe(1.0) is False


async def test_a_probe_that_fails_otherwise_is_an_error(
    legacy: SimulatedDriver, to_legacy: CsiClient
) -> None:
    legacy.misbehave(Quirk.ERRORS, Params(methods=("Probe",)))
    with pytest.raises(CsiError, match="Probe: the storage says no") as caught:
        await to_legacy.probe(1.0)
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize("name", ["", "a/b", "x" * 64, "two words", "\x1b[31m"])
async def test_a_name_that_no_volume_can_carry_is_garbled(name: str) -> None:
    async with SimulatedDriver(name=name) as driver, CsiClient(parse_endpoint(driver.endpoint)) as client:
        with pytest.raises(GarbledAnswer, match="is not a CSI driver name"):
            await client.identify(1.0)
