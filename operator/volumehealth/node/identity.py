"""Whether a device is the volume that it should be, where the kernel shows a name that the handle contains; pure.

| driver | the device shows | the handle |
|---|---|---|
| EBS | NVMe serial `vol0123456789abcdef0` | `vol-0123456789abcdef0` |
| Cinder and other virtio disks of OpenStack | serial: the first 20 characters of the volume's UUID | the UUID |
| Ceph RBD | image `csi-vol-<uuid>` | `0001-...-<uuid>` |

Of all others nothing is said; nor of disks that a volume only has a part of, as one of LVM or of an array has: a driver of
local volumes (TopoLVM) has UUIDs for handles, too, and lies on disks with serials of their own.
"""

import re
from collections.abc import Iterator

from volumehealth.node.devices import Block, Stack

_EBS_HANDLE = re.compile(r"vol-([0-9a-f]{8,17})")
_EBS_SERIAL = re.compile(r"vol-?([0-9a-f]{8,17})")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CUT_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]")
_WHOLE = ("CRYPT-", "mpath-", "part")
"""How the uuids of device mapper devices begin that hold what is on the device below them, and nothing else."""
_IMAGE = re.compile(rf"csi-vol-({_UUID.pattern})")


def other_volume(handle: str, stack: Stack) -> str:
    """Return the sentence that another volume's device is here; empty if it is the right one, or nobody can tell.

    Args:
        handle: of the volume.
        stack: the devices that it lies on.
    """
    for block in _same_data(stack):
        for name in (block.serial, block.image):
            if name and _differs(handle, name, block):
                return f"the device {block.name} is {name}, not the volume {handle}"
    return ""


def _same_data(stack: Stack) -> Iterator[Block]:
    """Yield a volume's device, and what holds the same data below it: the disk of a partition, of LUKS, of several paths."""
    layer, seen = [stack.top], set[str]()
    while layer:
        block = layer.pop()
        seen.add(block.name)
        yield block
        partition = block.name != block.disk
        if partition or block.dm_uuid.startswith(_WHOLE):
            lower = (stack.block(name) for name in block.below if name not in seen)
            layer += [one for one in lower if one is not None]


def _differs(handle: str, name: str, block: Block) -> bool:
    ebs, serial = _EBS_HANDLE.fullmatch(handle), _EBS_SERIAL.fullmatch(name)
    if ebs and serial:
        return ebs[1] != serial[1]
    if name == block.image and (image := _IMAGE.fullmatch(name)):
        return _UUID.search(handle) is not None and not handle.endswith(image[1])
    if block.name.startswith("vd") and _UUID.fullmatch(handle) and _CUT_UUID.fullmatch(name):
        return not handle.startswith(name)
    return False
