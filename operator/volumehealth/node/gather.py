"""Which files a round of looks reads, and reading them; what reads may hang with the kernel."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from volumehealth.node.devices import Stack, device_path, gather_stack, name_of
from volumehealth.node.files import NodeFiles
from volumehealth.node.filesystems import Filesystem, find_btrfs, gather_filesystem
from volumehealth.node.mountinfo import Mount, MountTable
from volumehealth.node.mounts import is_wrong
from volumehealth.node.uses import VolumeUse

NFS_KINDS = frozenset({"nfs", "nfs4"})
_DEVICE_FILESYSTEM = "devtmpfs"
_BTRFS = "btrfs"


@dataclass(frozen=True, slots=True)
class Request:
    """A device, or the filesystem of several, to be read once, however many volumes lie on it.

    Attributes:
        number: of the device, if the mount table gives one.
        name: below /dev, if that is known instead.
        kind: of the filesystem; empty for a device that is used as such.
        removed: the kernel removed the file below /dev, and the device with it: the name may be another one's by now.
    """

    number: str = ""
    name: str = ""
    kind: str = ""
    removed: bool = False


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What sysfs shows of a request.

    Attributes:
        stacks: its devices with what lies below; several for btrfs.
        filesystem: what is counted for it; None for a device that is used as such.
        gone: the device that is not there; empty if all are.
        error: why it could not be read; empty if it could.
    """

    stacks: tuple[Stack, ...] = ()
    filesystem: Filesystem | None = None
    gone: str = ""
    error: str = ""


def mount_of(table: MountTable, use: VolumeUse, kubelet: str) -> Mount | None:
    """Return where a volume is mounted for one of its Pods; None if it is not, or something else is."""
    for pod in use.pods:
        mount = table.at(table.path_of(pod.path, kubelet))
        if mount is not None and not is_wrong(mount, block=use.block):
            return mount
    return None


def request_for(mount: Mount, *, block: bool) -> Request | None:
    """Return what to read for a mount; None for one without a device."""
    if block:
        name = mount.path.strip("/")
        if mount.kind != _DEVICE_FILESYSTEM or not name:
            return None
        return Request(name=name, removed=mount.deleted)
    if mount.device[0] > 0:
        return Request(number=mount.number, kind=mount.kind)
    if mount.kind == _BTRFS and mount.source.startswith("/dev/"):
        return Request(name=mount.source.removeprefix("/dev/"), kind=_BTRFS)
    return None


def requests_of(table: MountTable, uses: Iterable[VolumeUse], kubelet: str) -> dict[str, Request]:
    """Return what to read for each volume, by its key."""
    found = {}
    for use in uses:
        mount = mount_of(table, use, kubelet)
        if mount is None or (mount.device in table.own and not use.block):
            continue  # a directory of the node's own disk: what is wrong with that disk is no volume's fault
        request = request_for(mount, block=use.block)
        if request is not None:
            found[use.key] = request
    return found


def gather_device(files: NodeFiles, request: Request, btrfs: Mapping[str, str]) -> DeviceFacts:
    """Read one device or filesystem.

    Args:
        files: of the node.
        request: which.
        btrfs: uuids of mounted btrfs filesystems by device, as `find_btrfs` returns them.
    """
    name, place = request.name or request.number, ""
    if request.removed:
        return DeviceFacts(gone=name)
    try:
        if request.kind == _BTRFS:
            return _gather_btrfs(files, request.name, btrfs)
        if request.number:
            place = device_path(files, request.number)
            name = name_of(place)
        stack = gather_stack(files, name, path=place, number=request.number)
    except FileNotFoundError:
        # The kernel removes a file below /dev with its device. One that is still there a driver made, under its own name.
        why = f"no device in sysfs is called {name}: the driver made that file below /dev itself"
        return DeviceFacts(gone=name) if request.number else DeviceFacts(error=why)
    except OSError as error:
        return DeviceFacts(error=f"sysfs cannot be read: {error.strerror}")
    filesystem = gather_filesystem(files, request.kind, name) if request.kind else None
    return DeviceFacts((stack,), filesystem)


def gather_btrfs(files: NodeFiles, requests: Iterable[Request]) -> dict[str, str]:
    """Return the btrfs filesystems of the node, if any request needs them."""
    return find_btrfs(files) if any(request.kind == _BTRFS for request in requests) else {}


def _gather_btrfs(files: NodeFiles, name: str, btrfs: Mapping[str, str]) -> DeviceFacts:
    uuid = btrfs.get(name)
    if uuid is None:
        return DeviceFacts(error=f"no btrfs filesystem in sysfs lies on {name}")
    filesystem = gather_filesystem(files, _BTRFS, name, uuid=uuid)
    devices = filesystem.btrfs.devices if filesystem.btrfs is not None else ()
    stacks, gone = [], ""
    for device in devices:
        try:
            stacks.append(gather_stack(files, device))
        except FileNotFoundError:
            gone = device
    if not stacks and not gone:
        return DeviceFacts(error=f"no device of the btrfs filesystem on {name} is in sysfs")
    return DeviceFacts(tuple(stacks), filesystem, gone)
