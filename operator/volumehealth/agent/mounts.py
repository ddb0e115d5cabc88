"""The node's mount table, read from `/proc/<pid>/mountinfo` (proc(5)), and what it says of a volume; pure.

Nothing here touches a path: a dead mount would hang whoever does (facts D10).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from volumehealth.agent.paths import pods_dir
from volumehealth.model.health import DEGRADED, INACCESSIBLE, Condition
from volumehealth.model.vocabulary import Reason

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_LEAST_FIELDS = 10


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount, as far as it is used.

    Attributes:
        read_only: the mount itself, or the filesystem below it, takes no writes.
        kind: the filesystem's type, such as `ext4`.
    """

    read_only: bool
    kind: str


@dataclass(frozen=True, slots=True)
class MountTable:
    """The mounts below the kubelet's directory, by mount point; of several on one point the uppermost."""

    mounts: Mapping[str, Mount]

    def shows_pods(self, kubelet: str) -> bool:
        """Tell whether any Pod has a mount here; if none has, this may be the table of another mount namespace."""
        return any(point.startswith(pods_dir(kubelet)) for point in self.mounts)


@dataclass(frozen=True, slots=True)
class Expected:
    """What should be mounted.

    Attributes:
        path: the mount point, as the kubelet publishes it.
        pod: name of the Pod that sees it there.
        read_only: it is all right if it takes no writes.
        block: it is a device; a driver may put it there without a mount, so only one that was mounted can be gone.
    """

    path: str
    pod: str
    read_only: bool = False
    block: bool = False


def parse_mountinfo(text: bytes, kubelet: str) -> MountTable:
    """Read a mount table; a line that is none is skipped.

    Args:
        text: content of a `mountinfo` file: `36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda rw`.
            Blanks and such in paths are octal escapes.
        kubelet: only mounts below this directory are kept.
    """
    prefix = kubelet.encode() + b"/"
    mounts: dict[str, Mount] = {}
    for line in text.splitlines():
        fields = line.split(b" ")
        if len(fields) < _LEAST_FIELDS or not fields[4].startswith(prefix):
            continue
        try:
            dash = fields.index(b"-", 6)
            kind, options = fields[dash + 1], fields[dash + 3]
        except (ValueError, IndexError):
            continue
        read_only = b"ro" in fields[5].split(b",") or b"ro" in options.split(b",")
        mounts[_unescaped(fields[4])] = Mount(read_only, _unescaped(kind))
    return MountTable(mounts)


def judge_mounts(table: MountTable, expected: Iterable[Expected]) -> tuple[Condition, ...]:
    """Say what is wrong with the mounts of one claim: each kind of fault once, naming the Pods it is seen by."""
    gone: list[str] = []
    frozen: list[str] = []
    for one in expected:
        mount = table.mounts.get(one.path)
        if mount is None:
            gone.append(one.pod)
        elif mount.read_only and not (one.read_only or one.block):
            frozen.append(one.pod)
    found = []
    if gone:
        text = f"the volume is not mounted on this node, but should be for {_pods(gone)}"
        found.append(Condition(INACCESSIBLE, Reason.VOLUME_UNMOUNTED.value, text))
    if frozen:
        text = f"the volume is mounted read-only on this node, but should take writes of {_pods(frozen)}"
        found.append(Condition(DEGRADED, Reason.FILESYSTEM_READ_ONLY.value, text))
    return tuple(found)


def _pods(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"Pod {shown}" if len(names) == 1 else f"{len(names)} Pods ({shown})"


def _unescaped(field: bytes) -> str:
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field) if b"\\" in field else field
    return plain.decode(errors="replace")
