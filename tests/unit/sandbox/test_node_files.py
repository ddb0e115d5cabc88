"""The real node's files, its image, and what may run it: all that can be said without root."""

import hashlib
import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.network import ClusterNetwork
from volumehealth_sandbox.node import may_mount
from volumehealth_sandbox.node_files import (
    IMAGE,
    NodeLayout,
    containerd_toml,
    kubelet_command,
    kubelet_configuration,
    network_conflist,
)
from volumehealth_sandbox.node_image import write_image
from volumehealth_sandbox.node_mounts import mounts_below
from volumehealth_sandbox.node_remains import claim_home, remove_remains


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path / "node", "real-node", 20250)


def test_containerd_keeps_everything_in_the_nodes_directory(layout: NodeLayout) -> None:
    config = tomllib.loads(containerd_toml(layout, snapshotter="native"))
    home = str(layout.home)
    for path in (config["root"], config["state"], config["grpc"]["address"]):
        assert path.startswith(home)
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["sandbox_image"] == IMAGE


def test_the_kubelet_is_on_loopback_and_has_the_gates_it_was_given(layout: NodeLayout) -> None:
    config = json.loads(kubelet_configuration(layout, {"CSIVolumeHealth": True}))
    assert config["address"] == "127.0.0.1"
    assert config["featureGates"] == {"CSIVolumeHealth": True}
    assert config["containerRuntimeEndpoint"] == f"unix://{layout.containerd_socket}"
    command = kubelet_command(Path("kubelet"), layout, kubeconfig=Path("admin"))
    assert f"--root-dir={layout.kubelet_dir}" in command
    assert "--hostname-override=real-node" in command


def test_the_pods_network_keeps_its_addresses_in_the_nodes_directory(layout: NodeLayout) -> None:
    (plugin,) = json.loads(network_conflist(layout, ClusterNetwork(7)))["plugins"]
    assert plugin["ipam"]["subnet"] == "198.19.7.0/24"
    assert plugin["ipam"]["dataDir"].startswith(str(layout.home))


def test_an_image_holds_the_program_and_names_its_layer_by_content(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    image = write_image(tmp_path / "image.tar", program, name=IMAGE)
    with tarfile.open(image) as tar:
        parts = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]  # all are files
    manifest = json.loads(parts["manifest.json"])[0]
    config = json.loads(parts[manifest["Config"]])
    layer = parts[manifest["Layers"][0]]
    assert manifest["RepoTags"] == [IMAGE]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]


def test_a_directory_that_is_no_nodes_is_left_alone(layout: NodeLayout) -> None:
    layout.home.mkdir()
    (layout.home / "precious").touch()
    remove_remains(layout)
    with pytest.raises(SandboxError, match="nothing is done to it"):
        claim_home(layout)
    assert (layout.home / "precious").exists()


def test_what_an_earlier_node_left_is_removed(layout: NodeLayout) -> None:
    claim_home(layout)
    (layout.home / "kubelet").mkdir()
    claim_home(layout)
    assert not (layout.home / "kubelet").exists()
    remove_remains(layout)
    assert not layout.home.exists()


def test_mounts_are_found_by_directory_not_by_prefix() -> None:
    assert "/proc" in mounts_below(Path("/proc"))
    assert mounts_below(Path("/pro")) == []


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("CapPrm:\t0\nCapEff:\t000001ffffffffff\n", True),
        ("CapEff:\t00000000a80425fb\n", False),  # root in a container
        ("", False),
    ],
)
def test_root_may_mount_only_with_its_capability(status: str, may: bool) -> None:
    assert may_mount(status) is may
