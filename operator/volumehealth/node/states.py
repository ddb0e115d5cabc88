"""States of devices below a volume: gone, offline, a path or a replica lost; pure, time is an argument."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from volumehealth.model.health import DEGRADED, INACCESSIBLE
from volumehealth.model.vocabulary import Reason
from volumehealth.node.devices import Block, Part, Raid, Stack
from volumehealth.node.faults import Fault, Look

PATIENCE = 60.0
"""Seconds that a bad state must last: error handling, failover, a controller's reset take as long."""
SUSPENDED = 600.0
"""Seconds after which a suspended device mapper device was not only resized."""
_MOST_ARRAYS = 1024
"""Arrays that are remembered whether they are in use or not."""
_OF_STATES = frozenset({Reason.DEVICE_OFFLINE, Reason.DEVICE_GONE, Reason.PATH_DOWN, Reason.REPLICA_LOST})


@dataclass(frozen=True, slots=True)
class _Down:
    """What does not work below a device.

    Attributes:
        dead: why no I/O goes through it; empty if some does.
        lost: ways that are down while others work.
        members: what members of arrays of LVM lack, while others work.
    """

    dead: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Array:
    """An array at its best: which one it was, how few members it lacked, and how many worked."""

    inode: int
    lacking: int
    working: int


@dataclass(slots=True)
class StateWatch:
    """Remembers since when states are bad, and how many members an array lacked at first sight."""

    _bad: dict[str, float] = field(default_factory=dict)
    _arrays_seen: dict[str, "_Array"] = field(default_factory=dict)
    _suspended: dict[str, float] = field(default_factory=dict)

    def look(
        self,
        stack: Stack,
        *,
        now: float,
        failed_paths: frozenset[str] = frozenset(),
        replica_lost_before: bool = False,
    ) -> tuple[Fault, ...]:
        """Say what is wrong with the devices below a volume.

        Args:
            stack: as they are now.
            now: monotonic seconds.
            failed_paths: numbers of devices that the kernel log says multipath does not use any more.
            replica_lost_before: this agent reported a lost replica before it was started anew, so what an array lacks
                at first sight is not how it was made.
        """
        gone = _without_capacity(stack)
        if gone:
            return (Fault(Look.DEVICE, INACCESSIBLE, Reason.DEVICE_GONE, gone),)
        faults = []
        down = self._down(stack, stack.top, now, failed_paths)
        if down.dead:
            text = f"the device {stack.top.name} takes no I/O: {_listed(down.dead)}"
            reason = Reason.DEVICE_GONE if stack.gone else Reason.DEVICE_OFFLINE
            faults.append(Fault(Look.DEVICE, INACCESSIBLE, reason, text))
        elif down.lost:
            text = f"a path to the device {stack.top.name} is down: {_listed(down.lost)}"
            faults.append(Fault(Look.DEVICE, DEGRADED, Reason.PATH_DOWN, text))
        if down.members:
            text = f"an array below the device {stack.top.name} has lost a member: {_listed(down.members)}"
            faults.append(Fault(Look.DEVICE, DEGRADED, Reason.REPLICA_LOST, text))
        faults += self._arrays(stack, replica_lost_before)
        return (*faults, *self._suspensions(stack, now))

    def suspended(self, stack: Stack) -> bool:
        """Tell whether a device of the stack is suspended, so that I/O rightly waits."""
        return any(block.suspended for block in stack.blocks)

    def undecided(self, stack: Stack, now: float) -> frozenset[Reason]:
        """Return the reasons of states below a device that are bad, but not for so long that it counts."""
        names = frozenset(block.name for block in stack.blocks)
        bad = (since for key, since in self._bad.items() if key.partition(" ")[0] in names)
        suspended = (since for name, since in self._suspended.items() if name in names)
        states = _OF_STATES if any(now - since < PATIENCE for since in bad) else frozenset[Reason]()
        return states | (
            {Reason.IO_STALLED} if any(now - since < SUSPENDED for since in suspended) else set()
        )

    def restart(self) -> None:
        """Begin anew with how long states have been bad: nothing is known of the time before."""
        self._bad.clear()
        self._suspended.clear()

    def keep(self, names: frozenset[str]) -> None:
        """Forget others than these devices; arrays once there are many: one that is out of use for a while is still there."""
        if len(self._arrays_seen) > _MOST_ARRAYS:
            for name in self._arrays_seen.keys() - names:
                del self._arrays_seen[name]
        for name in self._suspended.keys() - names:
            del self._suspended[name]
        for key in [key for key in self._bad if key.partition(" ")[0] not in names]:
            del self._bad[key]

    def _down(
        self, stack: Stack, block: Block, now: float, failed: frozenset[str], above: tuple[str, ...] = ()
    ) -> _Down:
        """Judge a device by what it consists of; one that seems to consist of itself is a misreading."""
        ways = [self._way(block, part, now) for part in block.parts]
        bad = (*_capacity_lost(block), *(why for why in ways if why))
        if block.parts and block.parts[0].what == "NVMe controller":
            return _Down(dead=bad) if len(bad) >= len(ways) else _Down(lost=bad)
        pairs = [
            (lower, self._down(stack, lower, now, failed, (*above, block.name)))
            for name in block.below
            if name not in above and (lower := stack.block(name))
        ]
        gone = self._gone(stack, block, now)
        if block.multipath:
            return _of_paths(pairs, gone, failed)
        dead = (*gone, *(why for _, one in pairs for why in one.dead))
        if block.raid is not None and block.raid.redundant:
            # What it lacks it counts itself; but md never gives the last member up.
            nothing_left = dead and len(gone) + sum(bool(one.dead) for _, one in pairs) >= len(block.below)
            return _Down(dead=(*bad, *dead) if nothing_left else bad)
        lost = tuple(why for _, one in pairs for why in one.lost)
        members = tuple(why for _, one in pairs for why in one.members)
        legs = stack.legs(block)
        if any(lower.name in legs and not one.dead for lower, one in pairs):
            return _Down(dead=bad, lost=lost, members=(*members, *dead))
        return _Down(dead=(*bad, *dead), lost=lost, members=members)

    def _gone(self, stack: Stack, block: Block, now: float) -> tuple[str, ...]:
        """Name the devices that a device consists of and that have not been there for long."""
        found = []
        for name in block.below:
            key = f"{block.name} below {name}"
            if name not in stack.gone:
                self._bad.pop(key, None)
            elif now - self._bad.setdefault(key, now) >= PATIENCE:
                found.append(f"{name} is not there any more ({block.name})")
        return tuple(found)

    def _way(self, block: Block, part: Part, now: float) -> str:
        """Say why nothing goes through a part; empty if it does, or has not been bad for long."""
        key = f"{block.name} {part.what} {part.name}"
        if part.good:
            self._bad.pop(key, None)
            return ""
        since = self._bad.setdefault(key, now)
        return f"{part.what} {part.name} is {part.state} ({block.name})" if now - since >= PATIENCE else ""

    def _arrays(self, stack: Stack, lost_before: bool) -> Iterable[Fault]:
        for block in stack.blocks:
            if block.raid is None:
                continue
            best = self._best(block, block.raid, lost_before)
            # A member that is added only now lacks until it is in step, and one that is given up on purpose lacks no more.
            if block.raid.degraded > best.lacking and block.raid.working < best.working:
                text = f"the array {block.name} ({block.raid.level}) has lost a member"
                yield Fault(Look.DEVICE, DEGRADED, Reason.REPLICA_LOST, text)
            if block.raid.state == "broken":
                text = f"the array {block.name} ({block.raid.level}) is broken"
                yield Fault(Look.DEVICE, INACCESSIBLE, Reason.DEVICE_OFFLINE, text)

    def _best(self, block: Block, raid: Raid, lost_before: bool) -> _Array:
        """Note how well an array is; return how well it was at its best."""
        known = self._arrays_seen.get(block.name)
        if known is None or known.inode != block.inode:
            whole = known is None and lost_before
            known = _Array(
                block.inode, 0 if whole else raid.degraded, raid.members if whole else raid.working
            )
        best = _Array(block.inode, min(known.lacking, raid.degraded), max(known.working, raid.working))
        self._arrays_seen[block.name] = best
        return best

    def _suspensions(self, stack: Stack, now: float) -> Iterable[Fault]:
        for block in stack.blocks:
            if not block.suspended:
                self._suspended.pop(block.name, None)
            elif now - self._suspended.setdefault(block.name, now) >= SUSPENDED:
                text = f"the device {block.name} was suspended more than 10 minutes ago and not resumed"
                yield Fault(Look.DEVICE, INACCESSIBLE, Reason.IO_STALLED, text)


def _without_capacity(stack: Stack) -> str:
    """Name a disk that lost its capacity: that is how a driver takes a disk away that is still in use.

    One of several paths, or one member of an array, is none that all I/O goes to.
    """
    layer, seen = [stack.top], set[str]()
    while layer:
        block = layer.pop()
        seen.add(block.name)
        if _capacity_lost(block):
            return f"the device {block.name} has no capacity any more: it was removed under the volume"
        if not block.multipath and not stack.redundant(block):
            lower = (stack.block(name) for name in block.below if name not in seen)
            layer += [one for one in lower if one is not None]
    return ""


def _capacity_lost(block: Block) -> tuple[str, ...]:
    return (f"{block.name} has no capacity any more",) if block.size == 0 and block.stat else ()


def _of_paths(paths: Sequence[tuple[Block, _Down]], gone: tuple[str, ...], failed: frozenset[str]) -> _Down:
    """Judge a multipath device: it works while one path does."""
    lost, alive = list(gone), False
    for path, down in paths:
        if down.dead:
            lost += down.dead
        elif path.number in failed:
            lost.append(f"path {path.number} is failing ({path.name})")
        else:
            alive = True
    return _Down(lost=tuple(lost)) if alive or not (paths or lost) else _Down(dead=tuple(lost))


def _listed(reasons: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))
