"""All looks at all volumes of a node, put together: what is wrong with each, and how much of it was seen; pure."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from volumehealth.model.health import DEGRADED, INACCESSIBLE
from volumehealth.model.vocabulary import Reason
from volumehealth.node.counters import COUNTED, CounterWatch
from volumehealth.node.devices import Block, Stack
from volumehealth.node.faults import Fault, Incident, Look, incidents
from volumehealth.node.gather import NFS_KINDS, DeviceFacts, Request
from volumehealth.node.identity import other_volume
from volumehealth.node.klog import News
from volumehealth.node.lines import About
from volumehealth.node.logbook import EXPIRY, Logbook
from volumehealth.node.logfaults import LATCHED, Below, failed_paths, log_faults, quoted_faults, quoted_signs
from volumehealth.node.mountinfo import Mount, MountTable
from volumehealth.node.mounts import MountSight, MountWatch
from volumehealth.node.nfs import NfsMount, Replies, ServerWatch, server_of
from volumehealth.node.stalls import Counted, Kind, StallWatch
from volumehealth.node.states import StateWatch
from volumehealth.node.uses import VolumeUse

_EXT = frozenset({"ext2", "ext3", "ext4"})
_BY_DRIVER = frozenset({"ceph", "cifs", "smb3", "zfs", "lustre", "glusterfs", "9p", "virtiofs"})
"""Filesystems of which only the driver's own statfs shows whether they work."""
_CIFS_KINDS = frozenset({"cifs", "smb3"})
_ANY_LOG = frozenset({"xfs"})
_SHOW_READ_ONLY = frozenset({"btrfs"})
"""Of these the mount table always shows that the kernel made them read-only: it is not latched by a line."""
_COUNTED = frozenset({Reason.IO_STALLED, Reason.SLOW_IO})
"""What only two looks at a device's counters show."""
_LATE = 2.0
"""A round that comes after so many intervals says nothing of the time between: the node was paused."""
_MOST_INSTANCES = 1024
"""Mountings that are remembered whether they are in use or not."""
_MOST_IDENTITIES = 8192
"""As many devices and paths are recognised; no node has so many."""
_NOT_STARTED = 3600.0
"""Seconds after which a counter of a kernel before 5.0 that does not move is the kernel's mistake."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What this agent reported of a volume before it was started anew."""

    look: Look
    status: str
    reason: str
    message: str
    instance: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read in one round.

    Attributes:
        table: the mount table; None if it could not be read.
        devices: what sysfs shows, by request. One that hangs is not in it.
        requests: which request each volume leads to, by its key.
        nfs: traffic of NFS mounts by mount point.
        log: what is new in the kernel log; None if it could not be read.
        problems: why something could not be read, by what it was.
    """

    table: MountTable | None
    devices: Mapping[Request, DeviceFacts] = field(default_factory=dict)
    requests: Mapping[str, Request] = field(default_factory=dict)
    nfs: Mapping[str, NfsMount] = field(default_factory=dict)
    log: News | None = None
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is counted for a volume; for metrics.

    Attributes:
        device: the kernel's name of its device; empty if it has none.
        stalled: seconds that I/O has stood.
        latency: average seconds of the requests since the last look; None if too few ended.
        filesystem_errors: as the filesystem counts them; None if it does not.
        warnings: the same for warnings (ext4).
        io_errors: lines of the log that told of I/O errors of its disks.
        working: whether all its devices are in a good state.
    """

    device: str = ""
    stalled: float = 0.0
    latency: float | None = None
    filesystem_errors: int | None = None
    warnings: int | None = None
    io_errors: int = 0
    working: bool = True


@dataclass(frozen=True, slots=True)
class Sight:
    """What the looks say of one volume.

    Attributes:
        incidents: what is wrong.
        complete: the looks that were completed.
        required: every look that is required for this kind of volume was completed.
        missing: why that cannot be said, for people; empty if it can, or only takes another look.
        kind: of filesystem, or `block`; empty if not known.
        instance: which mounting of it this is; empty if not known.
        note: what the looks do not see although nothing is missing; may be empty.
        numbers: for metrics.
        undecided: reasons that have to last until they are given, and may: what was said before is not over for that.
    """

    incidents: tuple[Incident, ...] = ()
    complete: frozenset[Look] = frozenset()
    required: bool = False
    missing: str = ""
    kind: str = ""
    instance: str = ""
    note: str = ""
    numbers: Numbers = Numbers()
    undecided: frozenset[Reason] = frozenset()

    @property
    def healthy(self) -> bool:
        """Whether the volume is healthy on the node's word."""
        return self.required and not self.incidents


@dataclass(slots=True)
class _Instance:
    """A filesystem's mounting, as it is followed."""

    name: str
    seen_from: int
    """Number of the last line when another mounting was seen last, before this one; 0 if none was."""
    seen: int = 0
    """Number of the last line when it was seen last."""


@dataclass(frozen=True, slots=True)
class _Moment:
    now: datetime
    monotonic: float
    interval: float


class Eyes:
    """Looks at volumes again and again.

    Args:
        node: its name.
        kubelet: the kubelet's root directory.
        boot: names the boot, so that what is remembered of an earlier one does not count.
        kernel: major and minor number of the running kernel.
        earlier: what this agent reported before, by the claims' uids.
    """

    def __init__(
        self,
        *,
        node: str,
        kubelet: str,
        boot: str,
        kernel: tuple[int, int],
        earlier: Mapping[str, Sequence[Earlier]] | None = None,
    ) -> None:
        self._node = node
        self._boot = boot
        self._kernel = kernel
        self._earlier = {uid: tuple(said) for uid, said in (earlier or {}).items()}
        self._mounts = MountWatch(kubelet)
        self._stalls = StallWatch(kernel)
        self._states = StateWatch()
        self._counters = CounterWatch(kernel)
        self._servers = ServerWatch()
        self._instances: dict[str, _Instance] = {}
        self._identities: dict[str, tuple[int, str]] = {}
        self._answered: set[str] = set()
        self._wrote: dict[tuple[str, int, str], float] = {}
        self._counted_lines = 0
        self._rounds = 0
        self._began = -math.inf
        self._looked_at = -math.inf
        self.book = Logbook()

    @property
    def blind(self) -> str:
        """Why the mount table cannot be believed; empty if it can."""
        return self._mounts.blind

    def look(
        self,
        snapshot: Snapshot,
        uses: Sequence[VolumeUse],
        *,
        now: datetime,
        monotonic: float,
        uptime: float,
        interval: float,
        unread: Collection[str] = (),
    ) -> dict[str, Sight]:
        """Compare a round of looks with the rounds before.

        Args:
            snapshot: what was read.
            uses: the volumes in use.
            now: the time by the wall clock.
            monotonic: the same by a clock that never jumps.
            uptime: the same by the clock that the kernel stamps its log with.
            interval: seconds between rounds as they are planned.
            unread: uids of claims that may be in use, and could not be read yet: what was said of them is not forgotten.

        Returns:
            By key of the volume. Without a mount table nothing is said of any.
        """
        moment = _Moment(now, monotonic, interval)
        if not self._rounds:
            self._began = monotonic
            self._remember_lines(monotonic)
        self._rounds += 1
        if snapshot.log is not None:
            self.book.take(snapshot.log, now=monotonic, uptime=uptime)
        else:
            self.book.missed()
        if snapshot.table is None:
            why = snapshot.problems.get("mountinfo", "the node's mount table was not read")
            return {use.key: Sight(missing=why) for use in uses}
        if monotonic - self._looked_at > _LATE * interval:
            self._states.restart()
            self._servers.restart()
        self._looked_at = monotonic
        frozen = frozenset(use.key for use in uses if self._said_before(use, Reason.FILESYSTEM_READ_ONLY))
        replaced = {
            use.key: since
            for use in uses
            if (since := self._since_before(use, Reason.MOUNT_REPLACED)) is not None
        }
        sights = self._mounts.look(
            snapshot.table, uses, now=now, read_only_before=frozen, replaced_before=replaced
        )
        replies = self._servers.look(snapshot.nfs, now=monotonic)
        counted = self._count(snapshot, moment)
        found = {}
        for use in uses:
            try:
                found[use.key] = self._volume(use, sights[use.key], snapshot, replies, counted, moment)
            except Exception as error:  # noqa: BLE001 - what nobody thought of, of one volume, must not end all looks
                found[use.key] = Sight(missing=f"its device cannot be understood: {error!r}")
        self._forget(uses, snapshot, unread)
        return found

    # -- one volume ---------------------------------------------------------------------------------------------

    def _volume(
        self,
        use: VolumeUse,
        mounted: MountSight,
        snapshot: Snapshot,
        replies: Mapping[str, Replies],
        counted: Mapping[str, Counted],
        moment: _Moment,
    ) -> Sight:
        mount = mounted.mount
        if mount is None:
            complete = {Look.MOUNTS} if mounted.complete else set[Look]()
            return Sight(
                incidents(mounted.faults), frozenset(complete), missing=mounted.why or "it is not mounted"
            )
        complete = {Look.MOUNTS} if mounted.complete else set[Look]()
        faults = list(mounted.faults)
        kind = "block" if use.block else mount.kind
        if mount.kind in NFS_KINDS and not use.block:
            below = self._of_server(mount, replies, faults)
            reply = replies.get(mount.point, Replies(undecided=True))
            undecided = frozenset({Reason.SERVER_NOT_RESPONDING} if reply.undecided else ())
            looked, missing, numbers = self._served(use, mount, snapshot, Numbers())
        else:
            request = snapshot.requests.get(use.key)
            facts = snapshot.devices.get(request) if request is not None else None
            below, numbers = self._of_device(use, mount, facts, counted, faults, moment)
            undecided = self._undecided(facts, counted, moment)
            looked, missing = self._seen(use, mount, request, facts, counted, snapshot)
        faults += self._of_log(use, mount, below, faults, moment)
        complete |= looked
        followed = self.book.complete and (self.book.reaches_back or self._whole(below))
        if followed and (below.stacks or use.key not in snapshot.requests):
            complete.add(Look.KERNEL_LOG)  # else nobody knows which devices the log would name
        missing = missing or self._log_missing(kind, below, snapshot)
        found = incidents(self._unrepeated(faults))
        required = Look.MOUNTS in complete and not missing and not mounted.why
        return Sight(
            incidents=found,
            complete=frozenset(complete),
            required=required,
            missing=mounted.why or missing,
            kind=kind,
            instance=below.instance,
            note=self._note(kind, below, snapshot),
            numbers=numbers,
            undecided=undecided,
        )

    def _of_server(self, mount: Mount, replies: Mapping[str, Replies], faults: list[Fault]) -> Below:
        server = server_of(mount.source)
        reply = replies.get(mount.point, Replies())
        if reply.silent:
            text = f"the file server {server} does not respond"
            faults.append(Fault(Look.DEVICE, INACCESSIBLE, Reason.SERVER_NOT_RESPONDING, text))
        return Below(boot=self._boot, server=server, replied=reply.last, watched=reply.since)

    def _of_share(self, use: VolumeUse, mount: Mount, moment: _Moment) -> Below:
        """Return what a share of CIFS lies on. No line says that its server is back, but it answers the driver then."""
        if use.statfs:
            self._answered.add(use.uid)
        asked = use.uid in self._answered or self._said_before(use, Reason.SERVER_NOT_RESPONDING)
        answers = use.statfs if asked else None
        server = server_of(mount.source.lstrip("/").partition("/")[0])
        for entry in self.book.about(About.SERVER, server) if answers is not False else ():
            if moment.monotonic - entry.last >= EXPIRY:
                self.book.forget(About.SERVER, server, until=entry.number)
        return Below(boot=self._boot, server=server, answers=answers)

    def _of_device(
        self,
        use: VolumeUse,
        mount: Mount,
        facts: DeviceFacts | None,
        counted: Mapping[str, Counted],
        faults: list[Fault],
        moment: _Moment,
    ) -> tuple[Below, Numbers]:
        if mount.kind in _CIFS_KINDS and not use.block:
            return self._of_share(use, mount, moment), Numbers()
        if facts is None or facts.error:
            return Below(boot=self._boot, resource=use.volume), Numbers()
        if facts.gone:
            text = f"the device {facts.gone} of the volume is not there any more"
            faults.append(Fault(Look.DEVICE, INACCESSIBLE, Reason.DEVICE_GONE, text))
            return Below(resource=use.volume), Numbers(device=facts.gone, working=False)
        others = filter(None, (other_volume(use.handle, stack) for stack in facts.stacks))
        faults += [Fault(Look.DEVICE, INACCESSIBLE, Reason.WRONG_MOUNT, other) for other in others]
        before = len(faults)
        for stack in facts.stacks:
            faults += self._of_states(use, stack, moment)
        bad = len(faults) > before
        for stack in facts.stacks:
            faults += self._of_counters(use, stack, counted.get(stack.top.name), moment)
        instance, after = self._instance(mount, facts)
        if facts.filesystem is not None:
            faults += self._counters.look(
                _key_of(facts),
                facts.filesystem,
                instance=instance,
                used_since=use.since,
                reported_before=self._counted_before(use, instance),
                replica_lost_before=self._said_before(use, Reason.REPLICA_LOST),
                remounts_read_only="errors=remount-ro" in mount.super_options,
            )
        known = [one for stack in facts.stacks if (one := counted.get(stack.top.name)) is not None]
        wrote = self._written(facts, counted)
        if wrote is None and self._said_before(use, Reason.RESERVATION_CONFLICT):
            wrote = self._began  # else this node would not have been said to meet a reservation
        below = Below(
            stacks=facts.stacks,
            instance=instance,
            after=after,
            counted=_counts_errors(facts),
            block=use.block,
            bad=bad,
            since=_monotonic(use.since, moment) if use.block else -math.inf,
            wrote=wrote,
            boot=self._boot,
            resource=use.volume,
        )
        return below, self._numbers(facts, known, moment, working=not bad)

    def _written(self, facts: DeviceFacts, counted: Mapping[str, Counted]) -> float | None:
        """Return when a write was seen to complete last, also before the counters were watched anew."""
        found = []
        for top in (stack.top for stack in facts.stacks):
            place = (top.name, top.inode, top.sequence)
            one = counted.get(top.name)
            if one is not None and one.wrote is not None:
                self._wrote[place] = one.wrote
            if place in self._wrote:
                found.append(self._wrote[place])
        return max(found, default=None)

    def _recognise(self, stack: Stack) -> None:
        """Forget what the log said of devices, and of paths, that are others by now, or paths no more.

        Numbers are given again; and a path that is added anew is used without any line that says so.
        """
        for block in stack.blocks:
            if self._is_another(block.number, block):
                self.book.forget(About.NUMBER, block.number, until=self._counted_lines)
                self.book.forget(About.DISK, block.name, until=self._counted_lines)
            if not block.multipath:
                continue
            paths = [one for name in block.below if (one := stack.block(name)) is not None]
            until = {path.number: self.book.boundary(path.name, About.DISK) or -1 for path in paths}
            until |= {
                path.number: self._counted_lines
                for path in paths
                if self._is_another(f"{block.number} {path.number}", path)
            }
            for name in ("", block.number):
                for number in {entry.sign.path for entry in self.book.about(About.NUMBER, name)}:
                    if number in until or (name and not stack.gone.intersection(block.below)):
                        last = until.get(number, self._counted_lines)
                        self.book.forget(About.NUMBER, name, until=last, path=number)

    def _is_another(self, place: str, block: Block) -> bool:
        """Tell whether a device came to a place of another one since that was seen there."""
        identity = (block.inode, block.sequence)
        known = self._identities.setdefault(place, identity)
        self._identities[place] = identity
        return known != identity

    def _of_states(self, use: VolumeUse, stack: Stack, moment: _Moment) -> list[Fault]:
        self._recognise(stack)
        failed = failed_paths(self.book, stack)
        found = self._states.look(
            stack,
            now=moment.monotonic,
            failed_paths=failed,
            replica_lost_before=self._said_before(use, Reason.REPLICA_LOST),
        )
        return [replace(one, instance=self._boot) if failed else one for one in found]

    def _of_counters(
        self, use: VolumeUse, stack: Stack, counted: Counted | None, moment: _Moment
    ) -> list[Fault]:
        if counted is None:
            return []
        name, found = stack.top.name, []
        stood = moment.monotonic - counted.since if counted.since is not None else 0.0
        if counted.since is not None and stood >= use.io_stalled_after:
            found += self._stalled(name, counted, stood)
        limit = use.max_latency
        if limit is not None and counted.latency is not None and counted.latency > limit:
            text = f"requests to the device {name} take {counted.latency:.1f} s on average, more than {limit:g} s"
            found.append(Fault(Look.DEVICE, DEGRADED, Reason.SLOW_IO, text))
        return found

    def _undecided(
        self, facts: DeviceFacts | None, counted: Mapping[str, Counted], moment: _Moment
    ) -> frozenset[Reason]:
        """Return what may be wrong with the devices of a volume, and has to last until it is said.

        Who has only begun to look, or was paused, cannot say that it is over.
        """
        found: set[Reason] = set()
        for stack in facts.stacks if facts is not None else ():
            known = counted.get(stack.top.name, Counted())
            stands = known.since is not None and known.since < moment.monotonic
            if known.first or stands:
                found |= _COUNTED
            found |= self._states.undecided(stack, moment.monotonic)
        return frozenset(found)

    def _stalled(self, name: str, counted: Counted, stood: float) -> list[Fault]:
        """Judge I/O that stands: before Linux 5.0 the count of what waits may be wrong, but not what was begun."""
        if self._kernel >= (5, 0) or counted.begun:
            what = counted.kind.value if counted.kind is not Kind.ALL else "I/O"
            text = f"{what} of the device {name} waits and does not end"
            return [Fault(Look.DEVICE, INACCESSIBLE, Reason.IO_STALLED, text)]
        if stood < _NOT_STARTED:
            return []
        text = f"the counters of the device {name} do not move although something seems to wait"
        return [Fault(Look.DEVICE, DEGRADED, Reason.IO_STALLED, text)]

    def _of_log(
        self, use: VolumeUse, mount: Mount, below: Below, faults: list[Fault], moment: _Moment
    ) -> list[Fault]:
        """Return what the log says, and what it said before this agent was started anew of the same mounting."""
        shown = mount.kind in _SHOW_READ_ONLY
        found = list(log_faults(self.book, below, now=moment.monotonic))
        if all(pod.read_only for pod in use.pods) or shown:
            found = [one for one in found if one.reason is not Reason.FILESYSTEM_READ_ONLY]
        for said in self._earlier.get(use.uid, ()):
            if said.look is Look.KERNEL_LOG and said.instance and said.instance == below.instance:
                reason = _reason_of(said.reason)
                lasting = quoted_faults(said.message, said.instance)
                if not lasting and reason in LATCHED:
                    lasting = (Fault(Look.KERNEL_LOG, said.status, reason, said.message, said.instance),)
                known = {one.reason for one in (*found, *faults)}
                found += [one for one in lasting if one.reason not in known]
        return found

    def _unrepeated(self, faults: list[Fault]) -> list[Fault]:
        """Keep one fault of each status and reason: that of the look which can see it again."""
        kept: dict[tuple[str, Reason], Fault] = {}
        for fault in faults:
            kept.setdefault((fault.status, fault.reason), fault)
        return list(kept.values())

    # -- what was seen ------------------------------------------------------------------------------------------

    def _seen(
        self,
        use: VolumeUse,
        mount: Mount,
        request: Request | None,
        facts: DeviceFacts | None,
        counted: Mapping[str, Counted],
        snapshot: Snapshot,
    ) -> tuple[set[Look], str]:
        """Return which looks below the mount are complete, and what is missing."""
        kind = "block" if use.block else mount.kind
        if request is None:
            if kind in _BY_DRIVER or kind.startswith("fuse"):
                return (
                    set(),
                    ""
                    if use.statfs
                    else f"{kind}: only the driver can tell whether it works, and it does not",
                )
            return set(), self._unseen(mount, kind, snapshot)
        if facts is None:
            return set(), snapshot.problems.get(request.number or request.name, "its device was not read yet")
        if facts.error or facts.gone:
            return (set(), facts.error) if facts.error else ({Look.DEVICE}, "")
        looked = {Look.DEVICE}
        counts = [counted.get(stack.top.name, Counted(blind=True)) for stack in facts.stacks]
        if any(one.blind for one in counts):
            return set(), f"the kernel does not count I/O of {facts.stacks[0].top.name} (queue/iostats)"
        if facts.filesystem is None or _counts_errors(facts):
            return looked | {Look.FILESYSTEM}, ""
        if kind in _EXT or kind == "btrfs":
            return looked, f"the error counters of {kind} cannot be read"
        return looked, "" if kind in _ANY_LOG else f"{kind}: nothing on the node shows whether it works"

    def _unseen(self, mount: Mount, kind: str, snapshot: Snapshot) -> str:
        if snapshot.table is not None and mount.device in snapshot.table.own:
            return (
                "the volume is a directory of the node's own disk: nothing on the node shows whether it works"
            )
        return f"{kind}: nothing on the node shows whether it works"

    def _served(
        self, use: VolumeUse, mount: Mount, snapshot: Snapshot, numbers: Numbers
    ) -> tuple[set[Look], str, Numbers]:
        if mount.point not in snapshot.nfs:
            why = snapshot.problems.get("mountstats", "its traffic is not in the node's mountstats")
            return set(), why, numbers
        missing = "" if use.statfs else "NFS: the driver does not ask the server how full the volume is"
        return {Look.DEVICE}, missing, numbers

    def _log_missing(self, kind: str, below: Below, snapshot: Snapshot) -> str:
        """Say whether a filesystem that shows errors only in the log was followed there since it was mounted."""
        if kind not in _ANY_LOG or not below.stacks:
            return ""
        where = f"XFS on {self._node} cannot be judged"
        if snapshot.log is None:
            why = snapshot.problems.get("klog", "the agent may not read the kernel log")
            return f"{where}: {why}"
        if self._whole(below):
            return ""
        return f"{where}: the kernel log does not reach back to when it was mounted"

    def _whole(self, below: Below) -> bool:
        """Tell whether all was seen that the log said since a volume was mounted."""
        begun = max((self.book.boundary(stack.top.name) for stack in below.stacks), default=0)
        return max(begun, below.after) >= self.book.whole_since

    def _note(self, kind: str, below: Below, snapshot: Snapshot) -> str:
        """Say what cannot be seen of this kind of volume on this node."""
        if snapshot.log is None and any(block.multipath for stack in below.stacks for block in stack.blocks):
            return "paths that multipath gave up are not seen"
        if kind == "block":
            return "device only"
        if kind in _EXT and snapshot.log is None:
            return "lost writes are seen as warnings only"
        if kind == "btrfs" and snapshot.log is None:
            return "damaged metadata is not seen"
        return ""

    # -- instances ----------------------------------------------------------------------------------------------

    def _instance(self, mount: Mount, facts: DeviceFacts) -> tuple[str, int]:
        """Return which mounting of a filesystem this is, and the number of the last line that is of an earlier one."""
        shown = facts.filesystem.instance if facts.filesystem is not None else ""
        top = facts.stacks[0].top
        name = f"{self._boot}/{shown or f'{mount.kind}/{top.name}/{top.inode}/{top.sequence}'}"
        key = _key_of(facts)
        known = self._instances.get(key)
        if known is None:
            known = self._instances[key] = _Instance(name, 0)
        elif known.name != name:
            known = self._instances[key] = _Instance(name, known.seen)
        known.seen = self.book.count
        boundary = max(self.book.boundary(stack.top.name) for stack in facts.stacks)
        return name, max(boundary, known.seen_from)

    # -- counters -----------------------------------------------------------------------------------------------

    def _count(self, snapshot: Snapshot, moment: _Moment) -> dict[str, Counted]:
        """Take the counters of every device once, however many volumes lie on it."""
        counted: dict[str, Counted] = {}
        for facts in snapshot.devices.values():
            for stack in facts.stacks:
                top = stack.top
                if top.name in counted:
                    continue
                if self._states.suspended(stack):
                    self._stalls.pause(top.name)
                    counted[top.name] = Counted()
                else:
                    counted[top.name] = self._stalls.look(top, now=moment.monotonic, interval=moment.interval)
        return counted

    def _numbers(
        self, facts: DeviceFacts, counted: Sequence[Counted], moment: _Moment, *, working: bool
    ) -> Numbers:
        filesystem = facts.filesystem
        ext4 = filesystem.ext4 if filesystem is not None else None
        btrfs = filesystem.btrfs if filesystem is not None else None
        errors = (
            ext4.errors
            if ext4 is not None
            else sum(btrfs.counts.values())
            if btrfs is not None and btrfs.counts
            else None
        )
        disks = {block.name for stack in facts.stacks for block in stack.blocks}
        return Numbers(
            device=facts.stacks[0].top.name,
            stalled=max(
                (moment.monotonic - one.since for one in counted if one.since is not None), default=0.0
            ),
            latency=max((one.latency for one in counted if one.latency is not None), default=None),
            filesystem_errors=errors,
            warnings=ext4.warnings if ext4 is not None else None,
            io_errors=sum(self.book.errors.get(disk, 0) for disk in disks),
            working=working,
        )

    # -- memory -------------------------------------------------------------------------------------------------

    def _remember_lines(self, now: float) -> None:
        """Take the terminal lines over that earlier statements of this boot quote: the log may have lost them."""
        for said in (one for every in self._earlier.values() for one in every):
            if said.instance.partition("/")[0] == self._boot:
                for sign in quoted_signs(said.message):
                    self.book.remember(sign, now=now)

    def _since_before(self, use: VolumeUse, reason: Reason) -> datetime | None:
        said = self._earlier.get(use.uid, ())
        return next((one.since for one in said if one.reason == reason), None)

    def _said_before(self, use: VolumeUse, reason: Reason) -> bool:
        return any(one.reason == reason for one in self._earlier.get(use.uid, ()))

    def _counted_before(self, use: VolumeUse, instance: str) -> bool:
        """Tell whether errors of a mounting were reported that the filesystem counted, alone or beside another fault."""
        said = (one for one in self._earlier.get(use.uid, ()) if one.instance == instance)
        return any(one.look is Look.FILESYSTEM or COUNTED in one.message for one in said)

    def _forget(self, uses: Sequence[VolumeUse], snapshot: Snapshot, unread: Collection[str]) -> None:
        """Forget what no volume lies on; what a device that was not read this time showed stays."""
        in_use = {use.uid for use in uses}
        self._answered &= in_use
        for uid in self._earlier.keys() - in_use - set(unread):
            del self._earlier[uid]
        self._counted_lines = self.book.count
        if len(self._identities) > _MOST_IDENTITIES:
            self._identities.clear()
        if len(self._wrote) > _MOST_IDENTITIES:
            self._wrote.clear()
        if len(snapshot.devices) < len(set(snapshot.requests.values())):
            return
        stacks = [stack for facts in snapshot.devices.values() for stack in facts.stacks]
        names = frozenset(block.name for stack in stacks for block in stack.blocks)
        self._stalls.keep(names)
        self._states.keep(names)
        keys = frozenset(_key_of(facts) for facts in snapshot.devices.values() if facts.stacks)
        self._counters.keep(keys)
        if len(self._instances) > _MOST_INSTANCES:
            for key in self._instances.keys() - keys:
                del self._instances[key]


def _monotonic(at: datetime, moment: _Moment) -> float:
    """Return a time by the wall clock as one by the monotonic clock."""
    return moment.monotonic - (moment.now - at).total_seconds()


def _key_of(facts: DeviceFacts) -> str:
    """Name the filesystem or device that facts are about."""
    filesystem = facts.filesystem
    if filesystem is not None and filesystem.btrfs is not None:
        return f"btrfs/{filesystem.btrfs.uuid}"
    return facts.stacks[0].top.name


def _counts_errors(facts: DeviceFacts) -> bool:
    filesystem = facts.filesystem
    if filesystem is None:
        return False
    return filesystem.ext4 is not None or (filesystem.btrfs is not None and bool(filesystem.btrfs.counts))


def _reason_of(name: str) -> Reason | None:
    return next((reason for reason in Reason if reason.value == name), None)
