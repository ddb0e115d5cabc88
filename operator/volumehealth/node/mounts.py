"""What the mount table says of a volume: not mounted, read-only, shut down, something else, replaced; pure.

Not every table can be believed: a kubelet may mount in a namespace of its own, which the node's first process does
not see. So a mount is only missed where the table shows other mounts of its Pod, where it was seen before, or where
most of what is wanted is there; and that is decided at each look anew.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from volumehealth.model.health import DEGRADED, INACCESSIBLE
from volumehealth.model.vocabulary import Reason
from volumehealth.node.faults import Fault, Look
from volumehealth.node.mountinfo import Mount, MountTable
from volumehealth.node.uses import PodUse, VolumeUse

NO_PODS = "the node's mount table shows no mount of any Pod: the kubelet mounts in another namespace, or hostPID is off"
_READ_ONLY_KINDS = frozenset({"iso9660", "squashfs", "erofs", "cramfs", "romfs"})
_KUBELETS_OWN = re.compile(
    r"(?:^|/)(?:plugins/kubernetes\.io/csi/(?:[^/]+/[0-9a-f]{64}|pv/[^/]+)/globalmount"
    r"|plugins/kubernetes\.io/csi/volumeDevices/(?:staging|publish)/[^/]+"
    r"|plugins/kubernetes\.io/local-volume/mounts/[^/]+"
    r"|pods/[^/]+/volumes/(?:kubernetes\.io~csi/[^/]+/mount|kubernetes\.io~local-volume/[^/]+))(?:/|$)"
)
"""Directories that a kubelet makes for a volume to be mounted on, as they look from their own filesystem's root: who
mounts from there has the node's disk, because the volume itself was not mounted."""
_LOCAL_KINDS = frozenset({"btrfs", "tmpfs"})
"""Filesystems without a device number that are the node's own."""
_DEVICE_KINDS = frozenset({"devtmpfs", "tmpfs"})


@dataclass(frozen=True, slots=True)
class MountSight:
    """What a look at the table says of one volume.

    Attributes:
        faults: what is wrong.
        mount: where the volume is, of one of its Pods; None if it is not mounted.
        complete: whether it was seen at two looks, so that nothing remains to be looked at.
        why: why it cannot be judged; empty if it can.
    """

    faults: tuple[Fault, ...] = ()
    mount: Mount | None = None
    complete: bool = False
    why: str = ""


@dataclass(slots=True)
class _Place:
    """What was seen at one Pod's path.

    Attributes:
        held: the device that the Pod's containers see, whatever is mounted there later.
        read_only: it took no writes at first sight.
        replaced: when another device was first seen there instead; None if theirs is there.
        looks: how often something was seen there.
        restored: that it was replaced, an earlier process of this agent saw, and so not which device was held.
    """

    held: tuple[int, int]
    read_only: bool
    replaced: datetime | None = None
    looks: int = 0
    restored: bool = False

    def compare(self, devices: set[tuple[int, int]], pod: PodUse, now: datetime) -> None:
        """Take what is mounted there now: a device that only lies below another one is still there."""
        if self.held in devices and not self.restored:
            self.replaced = None
            return
        self.replaced = now if self.replaced is None else self.replaced
        if pod.containers_since is None or pod.containers_since >= self.replaced:
            self.held, self.replaced, self.restored = next(iter(devices)), None, False


@dataclass(slots=True)
class MountWatch:
    """Remembers what was mounted where.

    Attributes:
        kubelet: its root directory.
        blind: why the table cannot be believed; empty if it can.
    """

    kubelet: str
    blind: str = ""
    _places: dict[str, _Place] = field(default_factory=dict)
    _replaced_before: Mapping[str, datetime] = field(default_factory=dict)

    def look(
        self,
        table: MountTable,
        uses: Sequence[VolumeUse],
        *,
        now: datetime,
        read_only_before: frozenset[str] = frozenset(),
        replaced_before: Mapping[str, datetime] = MappingProxyType({}),
    ) -> dict[str, MountSight]:
        """Compare the table with what there should be.

        Args:
            table: as it is now.
            uses: the volumes in use.
            now: the time by the wall clock.
            read_only_before: keys of volumes that were reported as read-only before this agent was started anew, so
                that being so at first sight is no wish.
            replaced_before: likewise, when mounts of volumes were replaced.

        Returns:
            By key of the volume.
        """
        wanted = [(use, pod) for use in uses for pod in use.pods]
        stay = any(not pod.leaving for _, pod in wanted)
        self.blind = NO_PODS if stay and not table.pods else ""
        self._replaced_before = replaced_before
        trust = self._trust(table, [pod for _, pod in wanted])
        sights = {}
        for use in uses:
            if self.blind:
                sights[use.key] = MountSight(why=self.blind)
            else:
                before = use.key in read_only_before
                sights[use.key] = self._volume(table, use, now, trust, read_only_before=before)
        self._forget({pod.path for _, pod in wanted})
        return sights

    def _trust(self, table: MountTable, pods: Sequence[PodUse]) -> frozenset[str]:
        """Return the paths where a mount can be missed."""
        shown = {pod.path for pod in pods if self._at(table, pod) is not None}
        known = {pod.path for pod in pods if pod.path in self._places}
        most = 2 * len(shown) > len({pod.path for pod in pods})
        collapsed = len(known) > 1 and 2 * len(known & shown) <= len(known)
        return frozenset(
            pod.path for pod in pods if most or pod.uid in table.pods or (pod.path in known and not collapsed)
        )

    def _at(self, table: MountTable, pod: PodUse) -> Mount | None:
        return table.at(table.path_of(pod.path, self.kubelet))

    def _volume(
        self,
        table: MountTable,
        use: VolumeUse,
        now: datetime,
        trust: frozenset[str],
        *,
        read_only_before: bool,
    ) -> MountSight:
        gone: list[str] = []
        frozen: list[str] = []
        replaced: list[str] = []
        wrong: list[str] = []
        seen: list[Mount] = []
        doubted = False
        for pod in use.pods:
            mount = self._at(table, pod)
            if mount is None:
                doubted |= pod.path not in trust
                if pod.path in trust and self._can_be_missed(use, pod):
                    gone.append(pod.pod)
                continue
            replaced_at = self._replaced_before.get(use.key)
            place = self._remember(
                pod, mount, now, read_only_before=read_only_before, replaced_before=replaced_at
            )
            place.compare({one.device for one in table.stacks[mount.point]}, pod, now)
            seen.append(mount)
            if is_wrong(mount, block=use.block):
                wrong.append(pod.pod)
            elif _is_frozen(mount, place, pod) and not use.block:
                frozen.append(pod.pod)
            if place.replaced is not None:
                replaced.append(pod.pod)
        right = [mount for mount in seen if not is_wrong(mount, block=use.block)]
        faults = _faults(use, gone=gone, frozen=frozen, replaced=replaced, wrong=wrong, mounts=right)
        places = [self._places[pod.path] for pod in use.pods if pod.path in self._places]
        why = "its mount is not in the node's table" if doubted and not seen else ""
        complete = bool(gone) or (bool(seen) and all(place.looks > 1 for place in places))
        return MountSight(faults, right[0] if right else None, complete, why)

    def _can_be_missed(self, use: VolumeUse, pod: PodUse) -> bool:
        """Tell whether a mount should be there: a driver may put a device there without one, so only one that was."""
        return not pod.leaving and (not use.block or pod.path in self._places)

    def _remember(
        self,
        pod: PodUse,
        mount: Mount,
        now: datetime,
        *,
        read_only_before: bool,
        replaced_before: datetime | None,
    ) -> _Place:
        place = self._places.get(pod.path)
        if place is None:
            on_purpose = mount.read_only and not read_only_before
            place = self._places[pod.path] = _Place(
                mount.device, on_purpose, replaced_before, restored=replaced_before is not None
            )
        place.looks += 1
        return place

    def _forget(self, paths: set[str]) -> None:
        for path in self._places.keys() - paths:
            del self._places[path]


def is_wrong(mount: Mount, *, block: bool) -> bool:
    """Tell whether what is mounted is a directory that the kubelet made, on the node's own disk."""
    if block and mount.kind in _DEVICE_KINDS:
        return False
    return _KUBELETS_OWN.search(mount.path) is not None


def _is_removed(mount: Mount) -> bool:
    """Tell whether the directory that is mounted was removed.

    Of network filesystems and FUSE the kernel also says so of a directory that it only has to look up again.
    """
    return mount.deleted and (mount.device[0] > 0 or mount.kind in _LOCAL_KINDS)


def _is_frozen(mount: Mount, place: _Place, pod: PodUse) -> bool:
    """Tell whether a mount takes no writes against the Pod's wish.

    Who mounts read-only on purpose makes the mount so, and the filesystem with it. Where the filesystem alone is
    read-only, the kernel made it so.
    """
    if mount.read_only and "ro" not in mount.options:
        return not pod.read_only and mount.kind not in _READ_ONLY_KINDS
    wished = pod.read_only or place.read_only or mount.kind in _READ_ONLY_KINDS
    return mount.read_only and not wished


def _faults(
    use: VolumeUse,
    *,
    gone: list[str],
    frozen: list[str],
    replaced: list[str],
    wrong: list[str],
    mounts: list[Mount],
) -> tuple[Fault, ...]:
    found = []
    if gone:
        text = f"the volume is not mounted on this node, but should be for {_pods(gone)}"
        found.append(Fault(Look.MOUNTS, INACCESSIBLE, Reason.VOLUME_UNMOUNTED, text))
    if wrong:
        text = (
            f"not the volume but a directory of the node's own disk is mounted for {_pods(wrong)}: what is written "
            "there does not reach the volume; delete the Pod so that the volume is mounted anew"
        )
        found.append(Fault(Look.MOUNTS, INACCESSIBLE, Reason.WRONG_MOUNT, text))
    if replaced:
        text = (
            f"the volume was mounted anew under {_pods(replaced)}, which still sees the old mount; restart it"
        )
        found.append(Fault(Look.MOUNTS, DEGRADED, Reason.MOUNT_REPLACED, text))
    if not use.block and any(_is_removed(mount) for mount in mounts):
        text = (
            f"the directory that is mounted ({mounts[0].path}) was removed from its filesystem: the volume was deleted under "
            "its Pods"
        )
        found.append(Fault(Look.MOUNTS, INACCESSIBLE, Reason.DEVICE_GONE, text))
    if any(mount.shut_down for mount in mounts):
        text = f"the filesystem ({mounts[0].kind}) was shut down; all access fails until it is mounted anew"
        found.append(Fault(Look.MOUNTS, INACCESSIBLE, Reason.FILESYSTEM_SHUTDOWN, text))
    elif frozen:
        text = f"the volume is mounted read-only on this node, but should take writes of {_pods(frozen)}"
        if any(mount.emergency for mount in mounts):
            text += (
                f". The kernel made the filesystem ({mounts[0].kind}) read-only after an error. It cannot be remounted: "
                "stop all Pods of this volume on the node, so that it is unmounted, checked and mounted anew"
            )
        found.append(Fault(Look.MOUNTS, DEGRADED, Reason.FILESYSTEM_READ_ONLY, text))
    return tuple(found)


def _pods(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"Pod {shown}" if len(names) == 1 else f"{len(names)} Pods ({shown})"
