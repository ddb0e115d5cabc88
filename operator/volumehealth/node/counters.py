"""What a filesystem's error counters mean: which errors are of this mounting, and which are history; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from volumehealth.model.clock import rfc3339
from volumehealth.model.health import DEGRADED
from volumehealth.model.vocabulary import Reason
from volumehealth.node.faults import Fault, Look
from volumehealth.node.filesystems import Btrfs, Ext4, Filesystem

COUNTED = "the kernel counted errors in the filesystem"
"""How the sentence about counted errors begins."""
_NOT_THE_VOLUME = frozenset({3, 6})
"""ext4's codes for memory and space that the node lacks."""
_SILENT_READ_ONLY = ((6, 12), (6, 15))
"""Kernels from the first up to, without, the second make ext4 read-only after an error and print it nowhere."""
_MOST = 1024
"""Filesystems that are remembered whether they are in use or not."""
_REFUSED = "ext4_journal_check_start"


@dataclass(slots=True)
class _Known:
    """A mounting as it was seen first, and whether its counts have grown since."""

    instance: str
    errors: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    grew: frozenset[str] = frozenset()


class CounterWatch:
    """Compares looks at filesystems.

    Args:
        kernel: major and minor number of the running kernel.
    """

    def __init__(self, kernel: tuple[int, int]) -> None:
        self._kernel = kernel
        self._known: dict[str, _Known] = {}

    def look(
        self,
        key: str,
        filesystem: Filesystem,
        *,
        instance: str,
        used_since: datetime,
        reported_before: bool = False,
        replica_lost_before: bool = False,
        remounts_read_only: bool = False,
    ) -> tuple[Fault, ...]:
        """Say what the counters of a filesystem have against it.

        Args:
            key: names the filesystem.
            filesystem: as it is now.
            instance: which mounting it is, of which boot.
            used_since: when the first Pod that uses it came: an error after that is of this mounting.
            reported_before: this agent reported an error of this mounting before it was started anew.
            replica_lost_before: it reported that a device is missing, so what is missing at first sight is not how it
                was mounted.
            remounts_read_only: the filesystem has the option `errors=remount-ro`.
        """
        known = self._known.get(key)
        if known is None or known.instance != instance:
            known = self._known[key] = _first_sight(instance, filesystem)
            if reported_before:
                known.grew = frozenset({"errors"})
            if replica_lost_before:
                known.missing = 0
        if filesystem.ext4 is not None:
            return self._ext4(known, filesystem.ext4, used_since, remounts_read_only)
        return self._btrfs(known, filesystem.btrfs) if filesystem.btrfs is not None else ()

    def keep(self, keys: frozenset[str]) -> None:
        """Forget others than these filesystems once there are many: one that is out of use for a while may still be mounted."""
        if len(self._known) > _MOST:
            for key in self._known.keys() - keys:
                del self._known[key]

    def _ext4(
        self, known: _Known, now: Ext4, used_since: datetime, remounts_read_only: bool
    ) -> tuple[Fault, ...]:
        grew = now.errors > known.errors
        if now.errors < known.errors:
            known.errors = now.errors
        if grew:
            known.grew = frozenset({"errors"})
        recent = now.last_time > 0 and now.last_time >= int(used_since.timestamp())
        if not now.errors or not (known.grew or recent):
            return ()
        faults = []
        if not _lacks_memory_or_space(now, used_since):
            text = (
                f"{COUNTED} (ext4), the last one at {_when(now.last_time)} in "
                f"{now.last_function or 'an unnamed function'}; it must be unmounted and checked with e2fsck"
            )
            faults.append(Fault(Look.FILESYSTEM, DEGRADED, Reason.FILESYSTEM_ERROR, text, known.instance))
        first, end = _SILENT_READ_ONLY
        silently = first <= self._kernel < end
        if silently and (remounts_read_only or now.last_function == _REFUSED):
            text = "the kernel made the filesystem (ext4) read-only after an error, which this kernel shows nowhere"
            faults.append(Fault(Look.FILESYSTEM, DEGRADED, Reason.FILESYSTEM_READ_ONLY, text, known.instance))
        return tuple(faults)

    def _btrfs(self, known: _Known, now: Btrfs) -> tuple[Fault, ...]:
        before = {
            key: known.counts.get(key, count) for key, count in now.counts.items()
        }  # what is new has a past, too
        known.grew |= {key.partition("/")[2] for key, count in now.counts.items() if count > before[key]}
        known.counts = {**known.counts, **{key: min(before[key], count) for key, count in now.counts.items()}}
        faults = []
        if known.grew:
            kinds = ", ".join(sorted(kind.removesuffix("_errs") for kind in known.grew))
            text = f"{COUNTED} (btrfs): {kinds}"
            faults.append(Fault(Look.FILESYSTEM, DEGRADED, Reason.FILESYSTEM_ERROR, text, known.instance))
        if now.missing > known.missing:
            text = "a device of the filesystem (btrfs) is missing"
            faults.append(Fault(Look.FILESYSTEM, DEGRADED, Reason.REPLICA_LOST, text))
        return tuple(faults)


def _first_sight(instance: str, filesystem: Filesystem) -> _Known:
    errors = filesystem.ext4.errors if filesystem.ext4 is not None else 0
    btrfs = filesystem.btrfs
    counts = dict(btrfs.counts) if btrfs is not None else {}
    return _Known(instance, errors, counts, btrfs.missing if btrfs is not None else 0)


def _lacks_memory_or_space(now: Ext4, used_since: datetime) -> bool:
    """Tell whether every error that is known of this mounting is the node's, not the volume's."""
    first_is_ours = now.first_time >= int(used_since.timestamp())
    codes = {now.last_code, now.first_code} if first_is_ours else {now.last_code}
    return codes <= _NOT_THE_VOLUME


def _when(seconds: int) -> str:
    try:
        return rfc3339(datetime.fromtimestamp(seconds, tz=UTC))
    except (OverflowError, OSError, ValueError):
        return "an unknown time"
