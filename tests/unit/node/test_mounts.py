"""What the mount table alone says of volumes: wrong, gone, read-only, replaced, or not to be believed."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.nodetree import KUBELET, Node, publish_path, remembered, said
from volumehealth.node.files import RealFiles
from volumehealth.node.mountinfo import MountTable, parse_mountinfo
from volumehealth.node.mounts import NO_PODS, MountWatch

SHA = "3f" * 32


def mounted(**how: object) -> Node:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    node.files.disk("nvme0n1", "259:1")
    node.files.ext4("nvme0n1")
    node.volume(**how)  # type: ignore[arg-type]  # as named
    return node


def test_a_mount_that_was_made_many_thousand_times_over_costs_no_more_than_as_many_others() -> None:
    """Drivers that mount again at each try leave such piles, and each round reads them."""
    line = "900 30 253:3 / {} rw,relatime shared:1 - ext4 /dev/dm-3 rw\n"
    path = f"{KUBELET}/pods/u/volumes/kubernetes.io~csi/pvc-{{}}/mount"
    tables = {
        "one pile": line.format(path.format(0)) * 25_000,
        "side by side": "".join(line.format(path.format(number)) for number in range(25_000)),
    }
    seconds = {}
    for name, text in tables.items():
        begun = time.process_time()
        table = parse_mountinfo(text)
        seconds[name] = time.process_time() - begun
        assert sum(map(len, table.stacks.values())) == 25_000
    assert seconds["one pile"] < 2 * seconds["side by side"] + 0.1


def test_a_file_that_is_too_large_is_not_read_in_part(tmp_path: Path) -> None:
    """Half a mount table would show volumes as gone that are in the other half."""
    file = tmp_path / "mountinfo"
    file.write_bytes(b"x" * (4 * 1024 * 1024))
    assert len(RealFiles().read(str(file))) == 4 * 1024 * 1024
    file.write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    with pytest.raises(OSError, match="File too large"):
        RealFiles().read(str(file))


def test_fields_and_escapes_are_read() -> None:
    point = f"{KUBELET}/pods/u/volumes/kubernetes.io~csi/a\\040b\\134/mount"
    table = parse_mountinfo(
        f"900 30 253:3 /x {point} rw,relatime shared:1 master:2 - ext4 /dev/dm-3 rw,errors=remount-ro"
    )
    mount = table.at(f"{KUBELET}/pods/u/volumes/kubernetes.io~csi/a b\\/mount")
    assert mount is not None
    assert (mount.id, mount.parent, mount.device, mount.root, mount.kind, mount.source) == (
        900,
        30,
        (253, 3),
        "/x",
        "ext4",
        "/dev/dm-3",
    )
    assert sorted(mount.options) == ["relatime", "rw"]
    assert sorted(mount.super_options) == ["errors=remount-ro", "rw"]
    assert (sorted(table.pods), sorted(table.roots)) == (["u"], [KUBELET])


@given(st.text(max_size=300))
def test_no_text_makes_reading_fail(text: str) -> None:
    parse_mountinfo(text)
    parse_mountinfo(f"1 2 3:4 / /kubernetes.io {text}")


# -- read-only --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "super_options", "expected"),
    {
        "the mount": ("ro,relatime", "rw", ["Degraded/FilesystemReadOnly"]),
        "the filesystem": ("rw", "ro,errors=remount-ro", ["Degraded/FilesystemReadOnly"]),
        "an emergency": ("rw", "rw,errors=remount-ro,emergency_ro", ["Degraded/FilesystemReadOnly"]),
        "a shutdown": ("rw", "rw,shutdown", ["Inaccessible/FilesystemShutdown"]),
        "a shutdown after an emergency": (
            "rw",
            "rw,emergency_ro,shutdown",
            ["Inaccessible/FilesystemShutdown"],
        ),
        "words that only begin like it": ("rw", "rw,rootcontext=x", []),
    }.values(),
)
def test_a_mount_that_takes_no_writes_any_more_is_told(
    options: str, super_options: str, expected: list[str]
) -> None:
    node = mounted()
    node.look(2)
    node.mount("data", options=options, super_options=super_options)
    assert said(node.look()["data"]) == expected


def test_what_was_read_only_from_the_first_sight_is_meant_so() -> None:
    node = mounted(options="ro,relatime")
    assert said(node.look(3)["data"]) == []


@pytest.mark.parametrize("super_options", ["rw,emergency_ro", "ro,errors=remount-ro"])
def test_a_filesystem_that_the_kernel_made_read_only_is_told_even_at_the_first_sight(
    super_options: str,
) -> None:
    node = mounted(super_options=super_options)
    assert said(node.look(2)["data"]) == ["Degraded/FilesystemReadOnly"]


def test_who_asks_for_reading_only_gets_no_warning() -> None:
    node = mounted(read_only=True)
    node.look(2)
    node.mount("data", options="ro")
    assert said(node.look()["data"]) == []


@pytest.mark.parametrize("kind", ["iso9660", "squashfs", "erofs"])
def test_filesystems_that_take_no_writes_are_meant_so(kind: str) -> None:
    node = mounted()
    node.look()
    node.mount("data", kind=kind, options="ro")
    assert said(node.look()["data"]) == []


def test_a_mount_that_was_told_before_the_agent_started_is_told_by_the_next_one_too() -> None:
    node = mounted()
    table = parse_mountinfo(f"46 30 8:0 / {publish_path('data')} ro - ext4 /dev/sda rw")
    sights = MountWatch(KUBELET).look(table, node.uses, now=node.now, read_only_before=frozenset({"data"}))
    assert [fault.reason for fault in sights["data"].faults] == ["FilesystemReadOnly"]


def test_a_directory_that_was_removed_under_its_pod_is_told() -> None:
    node = mounted(number="259:1", root="/csi-hostpath-data/1-2")
    node.look(2)
    node.mount("data", number="259:1", root="/csi-hostpath-data/1-2//deleted")
    assert said(node.look()["data"]) == ["Inaccessible/DeviceGone"]


@pytest.mark.parametrize("kind", ["nfs4", "ceph", "fuse.s3fs"])
def test_a_directory_that_a_server_must_be_asked_for_again_is_not_removed(kind: str) -> None:
    node = mounted(number="0:50", kind=kind, root="/exports/1", source="s:/exports")
    node.look()
    node.mount("data", number="0:50", kind=kind, root="/exports/1//deleted", source="s:/exports")
    assert said(node.look()["data"]) == []


# -- something else is mounted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "root",
    [
        f"{KUBELET}/plugins/kubernetes.io/csi/ebs.csi.aws.com/{SHA}/globalmount",
        f"{KUBELET}/plugins/kubernetes.io/csi/ebs.csi.aws.com/{SHA}/globalmount//deleted",
        f"{KUBELET}/plugins/kubernetes.io/csi/ebs.csi.aws.com/{SHA}/globalmount/vol-1",
        f"/plugins/kubernetes.io/csi/ebs.csi.aws.com/{SHA}/globalmount",
        "/var/lib/kubelet/plugins/kubernetes.io/csi/pv/pvc-data/globalmount",
        f"{KUBELET}/plugins/kubernetes.io/local-volume/mounts/pv-1",
        f"{KUBELET}/pods/1-2/volumes/kubernetes.io~local-volume/pv-1",
        f"/mnt/docker/volumes/x/_data{KUBELET}/plugins/kubernetes.io/csi/d/{SHA}/globalmount",
    ],
)
def test_a_directory_of_the_kubelet_is_no_volume(root: str) -> None:
    node = mounted(number="259:1", root=root, source="/dev/root")
    sight = node.look(2)["data"]
    assert said(sight) == ["Inaccessible/WrongMount"]
    assert not sight.healthy


@pytest.mark.parametrize(
    "root",
    [
        "/",
        "/subdir",
        "/csi-hostpath-data/1a2b",
        "/var/lib/kata-storage/x",
        "/globalmount",
        "/data/plugins/kubernetes.io",
        "/mnt/disks/local-volume/mounts/pv-1",
    ],
)
def test_other_directories_are_what_the_driver_wants(root: str) -> None:
    node = mounted(number="259:1", root=root, source="/dev/root")
    assert said(node.look(2)["data"]) == []


def test_a_directory_of_the_nodes_own_disk_is_never_accused_of_what_is_wrong_with_the_disk() -> None:
    node = mounted(number="259:1", root="/csi-hostpath-data/1a2b", source="/dev/root")
    node.mounts["/"] = "20 1 259:1 / / rw - ext4 /dev/root rw"
    node.look(2)
    node.print("I/O error, dev nvme0n1, sector 99999 op 0x1:(WRITE) flags 0x0")
    sight = node.look()["data"]
    assert (said(sight), sight.healthy) == ([], False)
    assert "own disk" in sight.missing


def test_a_file_of_the_kubelet_is_no_device() -> None:
    node = Node()
    staging = f"{KUBELET}/plugins/kubernetes.io/csi/volumeDevices/staging/pvc-data/vol-1"
    node.volume(number="259:1", kind="ext4", source="/dev/root", root=staging, block=True)
    assert said(node.look(2)["data"]) == ["Inaccessible/WrongMount"]


# -- replaced ---------------------------------------------------------------------------------------------------


def test_a_mount_that_was_replaced_is_told_until_the_containers_are_started_anew() -> None:
    node = mounted(number="0:341", kind="fuse.mount-s3", source="mountpoint-s3")
    node.look(2)
    node.mount("data", number="0:371", kind="fuse.mount-s3", source="mountpoint-s3")
    assert said(node.look(2)["data"]) == ["Degraded/MountReplaced"]
    node.pass_(60)
    (pod,) = node.uses[0].pods
    node.uses[0] = replace(node.uses[0], pods=(replace(pod, containers_since=node.now),))
    assert said(node.look()["data"]) == []


def test_a_mount_that_was_replaced_is_told_by_the_next_agent_too() -> None:
    node = mounted(number="0:341", kind="fuse.mount-s3", source="mountpoint-s3")
    node.look(2)
    node.mount("data", number="0:371", kind="fuse.mount-s3", source="mountpoint-s3")
    node.restart(remembered(node.look(), node.uses, node.now))
    assert said(node.look(2)["data"]) == ["Degraded/MountReplaced"]


def test_what_lies_on_top_of_a_mount_for_a_while_replaces_nothing() -> None:
    node = mounted()
    node.look(2)
    node.mounts["on top"] = node.mounts[publish_path("data")].replace("8:0", "0:371")
    assert said(node.look(2)["data"]) == []
    del node.mounts["on top"]
    assert said(node.look(2)["data"]) == []


def test_a_mount_that_comes_back_is_the_one_that_the_containers_see() -> None:
    node = mounted(number="0:341", kind="fuse.mount-s3", source="mountpoint-s3")
    node.look(2)
    node.mount("data", number="0:371", kind="fuse.mount-s3", source="mountpoint-s3")
    assert said(node.look()["data"]) == ["Degraded/MountReplaced"]
    node.mount("data", number="0:341", kind="fuse.mount-s3", source="mountpoint-s3")
    assert said(node.look()["data"]) == []


def test_a_new_pod_has_a_mount_of_its_own() -> None:
    node = mounted(number="0:341", kind="fuse.mount-s3", source="mountpoint-s3")
    node.look(2)
    (pod,) = node.uses[0].pods
    path = pod.path.replace("uid-data", "uid-new")
    node.uses[0] = replace(node.uses[0], pods=(replace(pod, uid="uid-new", path=path),))
    node.mounts = {path: f"47 30 0:371 / {path} rw - fuse.mount-s3 mountpoint-s3 rw"}
    assert said(node.look(2)["data"]) == []


# -- gone, or not to be seen ------------------------------------------------------------------------------------


def test_a_mount_that_is_gone_is_told() -> None:
    node = mounted()
    node.look(2)
    node.umount("data")
    sight = node.look()["data"]
    assert said(sight) == ["Inaccessible/VolumeUnmounted"]
    assert "Pod data-0" in sight.incidents[0].message


def test_a_pod_that_is_leaving_misses_nothing() -> None:
    node = mounted()
    node.look(2)
    node.umount("data")
    (pod,) = node.uses[0].pods
    node.uses[0] = replace(node.uses[0], pods=(replace(pod, leaving=True),))
    assert said(node.look()["data"]) == []


def five_volumes() -> Node:
    node = Node()
    for number in range(5):
        node.files.disk(f"sd{number}", f"8:{number}")
        node.files.ext4(f"sd{number}")
        node.volume(f"v{number}", number=f"8:{number}")
    return node


def look_at(watch: MountWatch, node: Node, *lines: str) -> dict[str, list[str]]:
    sights = watch.look(parse_mountinfo("\n".join(lines)), node.uses, now=node.now)
    return {key: [str(fault.reason) for fault in sight.faults] for key, sight in sights.items()}


def test_a_table_without_any_pod_accuses_nobody_and_says_so() -> None:
    node, watch = five_volumes(), MountWatch(KUBELET)
    assert look_at(watch, node, "1 2 8:1 / / rw - ext4 /dev/root rw") == {use.key: [] for use in node.uses}
    assert watch.blind == NO_PODS


def test_one_mount_that_is_left_over_makes_no_table_to_be_believed() -> None:
    node, watch = five_volumes(), MountWatch(KUBELET)
    left = node.mounts[publish_path("v0")]
    assert look_at(watch, node, left) == {use.key: [] for use in node.uses}
    sights = watch.look(parse_mountinfo(left), node.uses, now=node.now)
    assert "not in the node's table" in sights["v3"].why


def test_a_table_that_was_right_once_is_not_believed_for_ever() -> None:
    node, watch = five_volumes(), MountWatch(KUBELET)
    look_at(watch, node, *node.mounts.values())
    left = node.mounts[publish_path("v0")]
    assert look_at(watch, node, left) == {use.key: [] for use in node.uses}
    assert look_at(watch, node) == {use.key: [] for use in node.uses}


def test_one_mount_of_many_that_is_missing_is_told() -> None:
    node, watch = five_volumes(), MountWatch(KUBELET)
    del node.mounts[publish_path("v3")]
    assert look_at(watch, node, *node.mounts.values())["v3"] == ["VolumeUnmounted"]


def test_a_kubelet_directory_that_is_a_link_is_followed() -> None:
    node, watch = five_volumes(), MountWatch(KUBELET)
    lines = [line.replace(KUBELET, "/mnt/disk/kubelet") for line in node.mounts.values()]
    sights = watch.look(parse_mountinfo("\n".join(lines)), node.uses, now=node.now)
    assert all(sight.mount is not None and not sight.faults for sight in sights.values())


def test_a_device_that_was_never_mounted_is_not_missed() -> None:
    node = Node()
    node.volume(block=True, kind="devtmpfs", root="/sda", number="0:5")
    node.mounts.clear()
    assert said(node.look(2)["data"]) == []


def test_an_empty_table_has_nothing() -> None:
    assert MountTable().at("/x") is None
