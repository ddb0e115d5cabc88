"""Whether the right disk is mounted, where the kernel can tell."""

import pytest

from support.nodetree import Node, said

UUID = "8f3b2c1d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
OTHER = "11111111-4e5f-4a6b-8c7d-9e0f1a2b3c4d"


def ebs(serial: str) -> Node:
    node = Node()
    path = node.files.disk("nvme1n1", "259:1", place="/sys/devices/pci0000:00/nvme/nvme1")
    node.files.write("/sys/devices/pci0000:00/nvme/nvme1/state", "live")
    node.files.write(f"{path}/device/serial", serial)
    node.files.ext4("nvme1n1")
    node.volume(number="259:1", handle="vol-0123456789abcdef0")
    return node


def cinder(serial: str) -> Node:
    node = Node()
    path = node.files.disk("vdb", "253:16")
    node.files.write(f"{path}/serial", serial)
    node.files.ext4("vdb")
    node.volume(number="253:16", handle=UUID)
    return node


def rbd(image: str) -> Node:
    node = Node()
    node.files.disk("rbd0", "252:0")
    node.files.write("/sys/bus/rbd/devices/0/name", image)
    node.files.ext4("rbd0")
    node.volume(number="252:0", handle=f"0001-0009-rook-ceph-0000000000000001-{UUID}")
    return node


def mapped(kind: str, *, serial: str) -> Node:
    """A device of the device mapper on a virtual disk that has a serial of its own."""
    node = Node()
    disk = node.files.disk("vdb", "253:16")
    node.files.write(f"{disk}/serial", serial)
    path = node.files.disk("dm-0", "252:0", below=["vdb"])
    node.files.write(f"{path}/dm/uuid", kind)
    node.files.ext4("dm-0")
    node.volume(number="252:0", handle=UUID)
    return node


def test_the_disk_below_a_local_logical_volume_is_not_its_volume() -> None:
    """TopoLVM on OpenStack: the handle is a UUID, and so is what the serial is cut from; all its volumes were accused."""
    assert said(mapped("LVM-abcdef", serial=OTHER[:20]).look(2)["data"]) == []


def test_another_volumes_disk_below_luks_is_told() -> None:
    assert said(mapped("CRYPT-LUKS2-0123-luks", serial=OTHER[:20]).look(2)["data"]) == [
        "Inaccessible/WrongMount"
    ]


@pytest.mark.parametrize(
    "node",
    [ebs("vol0fffffffffffffff0"), cinder(OTHER[:20]), rbd(f"csi-vol-{OTHER}")],
    ids=["EBS", "Cinder", "RBD"],
)
def test_another_volumes_device_is_told(node: Node) -> None:
    assert said(node.look(2)["data"]) == ["Inaccessible/WrongMount"]


@pytest.mark.parametrize(
    "node",
    [
        ebs("vol0123456789abcdef0"),
        ebs("AWS6AAE0B2C7DDA7A0D1"),
        cinder(UUID[:20]),
        cinder("some-other-serial"),
        rbd(f"csi-vol-{UUID}"),
        rbd("an-image-of-somebody"),
    ],
)
def test_the_right_device_and_names_that_say_nothing_are_quiet(node: Node) -> None:
    assert said(node.look(2)["data"]) == []
