"""A mount table as the kernel prints it (`/proc/<pid>/mountinfo`, proc_pid_mountinfo(5)); pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_ESCAPE = re.compile(r"\\([0-7]{3})")
_LEAST_FIELDS = 10
_DELETED = "//deleted"
"""What the kernel puts behind the root of a mount that was removed (d_path; no name of a file has a slash)."""
_OF_KUBELET = "kubernetes.io"
"""Part of every mount point below which a kubelet mounts volumes: `kubernetes.io~csi`, `plugins/kubernetes.io`."""
_POD = re.compile(r"^(?P<root>.*)/pods/(?P<uid>[^/]+)/volume(?:s|Devices|-subpaths)/")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table.

    Attributes:
        id, parent: of the mount and of the one it is mounted on.
        device: major and minor number of the filesystem; major 0 is a filesystem without a block device of its own.
        root: which directory of the filesystem is mounted.
        point: where.
        kind: the filesystem's type, such as `ext4`.
        source: what was mounted, such as `/dev/sda1` or `server:/export`; the mounter's word.
        options: of this mount.
        super_options: of the filesystem below it.
    """

    id: int
    parent: int
    device: tuple[int, int]
    root: str
    point: str
    kind: str
    source: str
    options: frozenset[str]
    super_options: frozenset[str]

    @property
    def number(self) -> str:
        """The device number as /sys/dev/block names it."""
        return f"{self.device[0]}:{self.device[1]}"

    @property
    def deleted(self) -> bool:
        """Whether the directory or file that is mounted was removed: who has it open keeps what was in it."""
        return self.root.endswith(_DELETED)

    @property
    def path(self) -> str:
        """Which directory or file of the filesystem is mounted, or was before it was removed."""
        return self.root.removesuffix(_DELETED)

    @property
    def read_only(self) -> bool:
        """Whether writes are refused, whoever refuses them; an emergency is not always printed as `ro` (6.15+)."""
        return "ro" in self.options or not self.super_options.isdisjoint(("ro", "emergency_ro"))

    @property
    def emergency(self) -> bool:
        """Whether the kernel itself made the filesystem read-only after an error (ext4, Linux 6.15+)."""
        return "emergency_ro" in self.super_options

    @property
    def shut_down(self) -> bool:
        """Whether the filesystem was shut down (ext4 prints it, XFS does not)."""
        return "shutdown" in self.super_options


@dataclass(frozen=True, slots=True)
class MountTable:
    """The mounts that a kubelet made.

    Attributes:
        stacks: by mount point, what is mounted there; the last one covers those before it.
        pods: uids of the Pods that have any mount.
        roots: the kubelet's root directories that the mount points show.
        own: devices of the node's own filesystems: those that the kubelet's directory itself lies on.
    """

    stacks: Mapping[str, tuple[Mount, ...]] = field(default_factory=dict)
    pods: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()
    own: frozenset[tuple[int, int]] = frozenset()

    def at(self, point: str) -> Mount | None:
        """Return what is mounted at a path: of several mounts the uppermost."""
        stack = self.stacks.get(point)
        return stack[-1] if stack else None

    def path_of(self, path: str, kubelet: str) -> str:
        """Return where the table shows a path of the kubelet: elsewhere, if its root directory is a symbolic link.

        Args:
            path: below `kubelet`.
            kubelet: the root directory as it is configured.
        """
        if path in self.stacks or kubelet in self.roots or not path.startswith(kubelet + "/"):
            return path
        shown = [f"{root}{path[len(kubelet) :]}" for root in self.roots]
        return shown[0] if len(shown) == 1 else path


def parse_mountinfo(text: str, kubelet: str = "") -> MountTable:
    """Read a mount table; a line that is none is skipped, and so are mounts that are no kubelet's.

    Args:
        text: lines such as `36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda rw`; blanks and such in
            paths are octal escapes.
        kubelet: its root directory; what it lies on is the node's own.
    """
    stacks: dict[str, list[Mount]] = {}
    pods, roots, own = set(), set(), {}
    above = _above(kubelet)
    for line in text.split("\n"):
        if _OF_KUBELET not in line:
            fields = line.split(" ", 5)
            if len(fields) > 5 and fields[4] in above and (mount := _mount(line.split(" "))) is not None:
                own[mount.point] = mount.device
            continue
        mount = _mount(line.split(" "))
        if mount is None or _OF_KUBELET not in mount.point:
            continue
        stacks.setdefault(mount.point, []).append(mount)
        if found := _POD.match(mount.point):
            pods.add(found["uid"])
            roots.add(found["root"])
    covered = {point: tuple(mounts) for point, mounts in stacks.items()}
    return MountTable(covered, frozenset(pods), frozenset(roots), frozenset(own.values()))


def _above(path: str) -> frozenset[str]:
    """Return a path and all directories above it."""
    parts = path.strip("/").split("/")
    return frozenset(("/", *("/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1))))


def _mount(fields: list[str]) -> Mount | None:
    if len(fields) < _LEAST_FIELDS:
        return None
    try:
        dash = fields.index("-", 6)
        kind, source, super_options = fields[dash + 1], fields[dash + 2], fields[dash + 3]
        major, _, minor = fields[2].partition(":")
        device = (int(major), int(minor))
        number, parent = int(fields[0]), int(fields[1])
    except (ValueError, IndexError):
        return None
    return Mount(
        id=number,
        parent=parent,
        device=device,
        root=unescaped(fields[3]),
        point=unescaped(fields[4]),
        kind=unescaped(kind),
        source=unescaped(source),
        options=frozenset(fields[5].split(",")),
        super_options=frozenset(super_options.split(",")),
    )


def unescaped(text: str) -> str:
    r"""Return a path as it is: the kernel writes a blank as `\040`, a backslash as `\134`."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8) & 0xFF), text) if "\\" in text else text
