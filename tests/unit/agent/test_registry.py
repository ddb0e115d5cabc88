"""The drivers of a node as they come, go and restart; and what else registers with the kubelet."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clock import ManualClock
from volumehealth.agent.registry import PluginRegistry, RegistryPace
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_registration import Registration

NAME = "d.example.com"


@pytest.fixture
def kubelet() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vh-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Looking:
    """A registry that looks when the test says so."""

    def __init__(self, kubelet: Path, **fixed: str) -> None:
        self.clock = ManualClock()
        self.news = 0
        self.registry = PluginRegistry(
            str(kubelet),
            fixed=[(parse_endpoint(address), name) for name, address in fixed.items()],
            clock=self.clock,
            news=self._count,
            pace=RegistryPace(ask=1.0, gone=60.0),
        )

    def _count(self) -> None:
        self.news += 1

    async def look(self) -> dict[str, str]:
        await self.registry.look()
        return {name: str(endpoint) for name, endpoint in self.registry.drivers.items()}


async def test_a_node_without_a_registry_has_no_drivers(kubelet: Path) -> None:
    assert await Looking(kubelet).look() == {}


async def test_a_driver_that_registers_is_found_and_asked_once(kubelet: Path) -> None:
    looking = Looking(kubelet)
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/csi.sock") as registration:
        for _ in range(3):
            assert await looking.look() == {NAME: "unix:///csi/csi.sock"}
        assert registration.asked == 1
    assert looking.news == 1


async def test_a_driver_that_moves_to_another_socket_is_followed(kubelet: Path) -> None:
    looking = Looking(kubelet)
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/old.sock"):
        await looking.look()
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/new.sock"):
        assert await looking.look() == {NAME: "unix:///csi/new.sock"}


async def test_a_driver_that_is_being_replaced_is_not_forgotten_at_once(kubelet: Path) -> None:
    looking = Looking(kubelet)
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/csi.sock"):
        await looking.look()
    looking.clock.advance(59)
    assert NAME in await looking.look()
    looking.clock.advance(2)
    assert await looking.look() == {}


async def test_other_plugins_hidden_ones_and_dead_sockets_are_none_of_ours(kubelet: Path) -> None:
    looking = Looking(kubelet)
    async with (
        Registration(kubelet, name="gpu", endpoint="/gpu.sock", kind="DevicePlugin") as other,
        Registration(kubelet, name=".hidden", endpoint="/csi.sock") as hidden,
    ):
        (kubelet / "plugins_registry" / "file").touch()
        assert await looking.look() == {}
        assert await looking.look() == {}
    assert other.asked == 1
    assert hidden.asked == 0


async def test_a_socket_in_a_subdirectory_is_found_as_the_kubelet_does(kubelet: Path) -> None:
    looking = Looking(kubelet)
    inner = kubelet / "plugins_registry"
    async with Registration(inner, name=NAME, endpoint="unix:///csi/csi.sock"):
        assert NAME in await looking.look()


async def test_a_plugin_without_an_endpoint_answers_at_its_own_socket(kubelet: Path) -> None:
    looking = Looking(kubelet)
    async with Registration(kubelet, name=NAME, endpoint="") as registration:
        assert await looking.look() == {NAME: f"unix://{registration.socket}"}


@pytest.mark.parametrize("directory", ["plugins", "csi-plugins"])
async def test_a_socket_that_is_named_by_a_link_to_the_kubelets_directory_is_found(
    kubelet: Path, directory: str
) -> None:
    """MicroK8s has /var/lib/kubelet as a link, which drivers' manifests name and the agent does not have."""
    place = kubelet / directory / NAME
    place.mkdir(parents=True)
    (place / "csi.sock").touch()
    named = f"/nowhere/var/lib/kubelet/{directory}/{NAME}/csi.sock"
    async with Registration(kubelet, name=NAME, endpoint=named):
        assert await Looking(kubelet).look() == {NAME: f"unix://{place}/csi.sock"}


async def test_a_socket_that_is_not_there_at_that_moment_is_found_by_its_directory(kubelet: Path) -> None:
    """A driver may be starting anew while its registrar answers, and where its socket is is asked once."""
    (kubelet / "plugins" / NAME).mkdir(parents=True)
    (kubelet / "csi-plugins" / NAME).mkdir(parents=True)
    linked = f"/nowhere/var/lib/kubelet/plugins/{NAME}/csi.sock"
    async with Registration(kubelet, name=NAME, endpoint=linked):
        assert await Looking(kubelet).look() == {NAME: f"unix://{kubelet}/plugins/{NAME}/csi.sock"}
    direct = f"unix://{kubelet}/csi-plugins/{NAME}/csi.sock"
    async with Registration(kubelet, name=NAME, endpoint=direct):
        assert await Looking(kubelet).look() == {NAME: direct}


async def test_an_endpoint_given_by_hand_works_with_and_without_the_drivers_name(kubelet: Path) -> None:
    async with SimulatedDriver(name=NAME) as driver:
        looking = Looking(kubelet, **{"": driver.endpoint})
        assert await looking.look() == {NAME: driver.endpoint}
        await driver.crash()
        named = Looking(kubelet, **{NAME: driver.endpoint})
        assert NAME in await named.look()
        unnamed = Looking(kubelet, **{"": driver.endpoint})
        assert await unnamed.look() == {}
        await driver.restart()
        assert NAME in await unnamed.look()


@contextmanager
def as_uid(uid: int) -> Iterator[None]:
    """Be somebody else for a while, as an agent that does not run as root is."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_of_two_sockets_of_one_driver_the_one_that_answers_counts(kubelet: Path) -> None:
    looking, registry = Looking(kubelet), kubelet / "plugins_registry"
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/old.sock") as first:
        first.socket.rename(registry / "old-reg.sock")
        async with Registration(kubelet, name=NAME, endpoint="unix:///csi/new.sock") as second:
            second.socket.rename(registry / "new-reg.sock")
            os.utime(registry / "old-reg.sock", (0, 0))  # both may be of one tick of the clock of files
            assert await looking.look() == {NAME: "unix:///csi/new.sock"}
        assert await looking.look() == {NAME: "unix:///csi/old.sock"}, "the newer is dead and left its socket"


async def look_for(looking: Looking, seconds: int) -> dict[str, str]:
    """Look as often as the agent does."""
    found: dict[str, str] = {}
    for _ in range(0, seconds, 5):
        found = await looking.look()
        looking.clock.advance(5)
    return found


async def test_two_sockets_that_both_answer_for_one_driver_are_not_asked_at_every_look(kubelet: Path) -> None:
    looking, registry = Looking(kubelet), kubelet / "plugins_registry"
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/old.sock") as first:
        first.socket.rename(registry / "old-reg.sock")
        async with Registration(kubelet, name=NAME, endpoint="unix:///csi/new.sock") as second:
            second.socket.rename(registry / "new-reg.sock")
            assert NAME in await look_for(looking, 600)
            assert first.asked <= 27
            assert second.asked <= 27
        assert await look_for(looking, 40) == {NAME: "unix:///csi/old.sock"}, "the newer is dead"


async def test_a_plugin_that_answers_nothing_of_use_is_left_in_peace_until_its_socket_is_made_anew(
    kubelet: Path,
) -> None:
    looking = Looking(kubelet)
    async with Registration(kubelet, name=NAME, endpoint="/" + "x" * 200) as registration:
        assert await look_for(looking, 600) == {}
        assert registration.asked <= 16
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/csi.sock"):
        assert NAME in await looking.look()


async def test_an_endpoint_behind_which_nobody_is_yet_is_found_at_the_next_look_however_late(
    kubelet: Path,
) -> None:
    async with SimulatedDriver(name=NAME) as driver:
        await driver.crash()
        looking = Looking(kubelet, **{"": driver.endpoint})
        assert await look_for(looking, 600) == {}
        await driver.restart()
        assert await looking.look() == {NAME: driver.endpoint}


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another uid")


@needs_root
async def test_a_registry_that_this_uid_may_not_read_is_told(
    kubelet: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (kubelet / "plugins_registry").mkdir(mode=0o700)
    looking = Looking(kubelet)
    with as_uid(12345), caplog.at_level("WARNING"):
        assert await looking.look() == {}
        await looking.look()
    told = f"this agent runs as uid 12345 and may not read {kubelet}/plugins_registry: run it as uid 0"
    assert looking.registry.obstacle == told
    assert [getattr(record, "why", "") for record in caplog.records] == [told]
    assert looking.news == 1


@needs_root
async def test_a_socket_that_this_uid_may_not_connect_to_is_told_until_it_may(kubelet: Path) -> None:
    looking = Looking(kubelet)
    async with Registration(kubelet, name=NAME, endpoint="unix:///csi/csi.sock") as registration:
        registration.socket.parent.chmod(0o755)
        registration.socket.chmod(0o755)
        with as_uid(12345):
            assert await looking.look() == {}
            assert looking.registry.obstacle == (
                f"this agent runs as uid 12345 and may not connect to {registration.socket}: run it as uid 0"
            )
        assert await looking.look() == {NAME: "unix:///csi/csi.sock"}
        assert looking.registry.obstacle == ""


@needs_root
async def test_a_directory_that_this_uid_may_not_search_ends_nothing(kubelet: Path) -> None:
    place = kubelet / "plugins" / NAME
    place.mkdir(parents=True)
    place.chmod(0o700)
    for named in (str(place), f"/nowhere/plugins/{NAME}"):
        async with Registration(kubelet, name=NAME, endpoint=f"{named}/csi.sock") as registration:
            registration.socket.parent.chmod(0o755)
            registration.socket.chmod(0o777)
            with as_uid(12345):
                assert await Looking(kubelet).look() == {NAME: f"unix://{place}/csi.sock"}


async def test_a_node_without_a_registry_has_no_obstacle(kubelet: Path) -> None:
    looking = Looking(kubelet)
    await looking.look()
    assert looking.registry.obstacle == ""
