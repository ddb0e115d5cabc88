"""Ports, access files, assets and what the demo waits for."""

import socket
import stat
from itertools import count
from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.access import Access, write_private
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.demo_objects import CLAIMS, DRIVERS, PODS
from volumehealth_sandbox.flags import Layout
from volumehealth_sandbox.ports import free_ports, kept_ports
from volumehealth_sandbox.wait import first_missing
from volumehealth_sandbox.world import Sandbox


def test_free_ports_differ_and_can_be_listened_on() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_ports_lie_below_those_that_the_kernel_gives_to_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_ports(20)) < first


def test_ports_are_chosen_once_for_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "ports.json"
    assert kept_ports(file, 3) == kept_ports(file, 3)


def test_tokens_and_kubeconfigs_can_be_read_by_their_owner_alone(tmp_path: Path) -> None:
    access = Access(Layout(tmp_path, 1, 2, 3))
    access.write_tokens({"admin": ("system:masters",), "eve": ("a", "b")})
    access.write_kubeconfig(tmp_path / "kubeconfig", access.token_of("admin"), user="admin")

    assert access.token_of("admin") != access.token_of("eve")
    for name in ("tokens.csv", "kubeconfig"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert (tmp_path / "tokens.csv").read_text().splitlines()[1].endswith(',eve,eve,"a,b"')


def test_tokens_stay_as_they_are_when_the_control_plane_starts_again(tmp_path: Path) -> None:
    access = Access(Layout(tmp_path, 1, 2, 3))
    access.write_tokens({"admin": ()})
    before = access.token_of("admin")
    access.write_tokens({"admin": ()})
    assert access.token_of("admin") == before


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["crds", "deploy", "examples"])
def test_assets_are_found(name: str) -> None:
    assert list(asset(name).glob("*.yaml"))


def test_a_missing_asset_is_told() -> None:
    with pytest.raises(SandboxError, match="nothing-like-it"):
        asset("nothing-like-it")


def test_every_claim_of_the_shop_is_a_volume_that_its_driver_has() -> None:
    volumes = {driver.volume(number) for driver in DRIVERS for number in range(1, driver.volumes + 1)}
    classes = {driver.name: driver.storage_class for driver in DRIVERS}
    assert {claim.volume for claim in CLAIMS} == volumes
    assert all(classes[claim.volume.driver] == claim.storage_class for claim in CLAIMS)


def test_every_pod_of_the_shop_uses_claims_that_exist() -> None:
    assert {name for pod in PODS for name in pod.claims} == {claim.name for claim in CLAIMS}


def test_a_directory_that_is_no_sandbox_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    sandbox = Sandbox(tmp_path)
    with pytest.raises(SandboxError, match="no sandbox; nothing is done to it"):
        sandbox.start()
    sandbox.stop()
    assert (tmp_path / "precious").exists()


def test_a_path_too_long_for_a_socket_is_refused_with_a_word(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="too long a path"):
        Sandbox(tmp_path / ("x" * 120)).start()


def test_checks_in_a_row_tell_the_first_that_misses_something() -> None:
    asked = count()

    def later() -> str:
        next(asked)
        return "not asked before the first is content"

    assert first_missing(lambda: "a is missing", later)() == "a is missing"
    assert next(asked) == 0
    assert first_missing(lambda: "", lambda: "")() == ""
