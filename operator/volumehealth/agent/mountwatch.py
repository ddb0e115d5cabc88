"""Reads the node's mount table again and again, and writes down what it says of the volumes in use."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from volumehealth.agent.mounts import Expected, MountTable, judge_mounts, parse_mountinfo
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import Target
from volumehealth.model.clock import Clock
from volumehealth.model.health import Condition
from volumehealth.model.origin import Observer

log = logging.getLogger(__name__)

MOUNT_TABLE = "/proc/1/mountinfo"
"""The node's own mounts, as its first process sees them; needs the node's process ids (`hostPID`) and no right."""
AGAIN = 5.0
"""Seconds until a new suspicion is looked at again; only then it is written down, since the kubelet may have
unmounted the volume of a Pod whose end the API does not show yet."""

_SETTLE = 1.0
"""Seconds that a change of what is wanted waits for more of it."""


class MountWatch:
    """Looks at the mount table while `run` runs.

    Args:
        path: of a `mountinfo` file.
        kubelet: the kubelet's root directory.
        ledger: where findings are written down.
        clock: time.
        news: called when something changed.
        again: seconds until a new suspicion is looked at again.
        read: reads a file; OSError if it cannot.

    Attributes:
        looked: whether the table was read once; without it nothing is said.
    """

    def __init__(
        self,
        path: str,
        kubelet: str,
        *,
        ledger: ReportState,
        clock: Clock,
        news: Callable[[], None],
        again: float = AGAIN,
        read: Callable[[Path], bytes] = Path.read_bytes,
    ) -> None:
        self._read = read
        self._path = Path(path)
        self._kubelet = kubelet
        self._ledger = ledger
        self._clock = clock
        self._news = news
        self._again = again
        self._targets: tuple[Target, ...] = ()
        self._seen: set[str] = set()
        self._suspected: dict[str, tuple[Condition, ...]] = {}
        self._trusted = False
        self._told = ""
        self._woken = asyncio.Event()
        self.looked = False

    def demand(self, targets: Iterable[Target]) -> None:
        """Say which claims' mounts to look at."""
        self._targets = tuple(one for one in targets if not one.suspended)
        self._seen &= {expected.path for one in self._targets for expected in one.expected}
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._woken.clear()
            soon = await self._look()
            wait = min((one.interval for one in self._targets if one.expected), default=None)
            if soon:
                wait = self._again
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
                    await asyncio.sleep(_SETTLE)
            except TimeoutError:
                continue

    async def _look(self) -> bool:
        """Look once; return whether something is suspected."""
        try:
            # In a thread: while another process is stuck in a mount call, the kernel may keep a reader waiting.
            text = await asyncio.to_thread(self._read, self._path)
        except OSError as error:
            self._tell(f"{self._path}: {error.strerror}")
            return False
        return self.judge(parse_mountinfo(text, self._kubelet))

    def judge(self, table: MountTable) -> bool:
        """Compare a table with what there should be; return whether something is suspected for the first time."""
        self.looked = True
        self._trusted = self._trusted or table.shows_pods(self._kubelet)
        if not self._trusted:
            if self._targets:
                self._tell(f"{self._path} shows no Pod's mounts: is it the node's own table (hostPID)?")
            return False
        self._tell("")
        news, suspected = False, {}
        for target in self._targets:
            if not target.mounted or not (target.expected or self._ended(target)):
                continue
            found = judge_mounts(table, self._due(target))
            self._seen.update(one.path for one in target.expected if one.path in table.mounts)
            if found and not self._known(target, found):
                suspected[target.key] = found
                continue
            news |= self._ledger.hear(target.claim, Observer.MOUNT_TABLE, found, now=self._clock.now())
        fresh = suspected.keys() - self._suspected.keys()
        self._suspected = suspected
        if news:
            self._news()
        return bool(fresh)

    def _known(self, target: Target, found: tuple[Condition, ...]) -> bool:
        """Tell whether it was seen before: in the last look, or written down already."""
        if self._ledger.says(target.claim.ref, Observer.MOUNT_TABLE):
            return True
        before = {condition.reason for condition in self._suspected.get(target.key, ())}
        return before.issuperset(condition.reason for condition in found)

    def _ended(self, target: Target) -> bool:
        """Tell whether a policy does not ask for this any more; Pods that are being deleted leave all as it is."""
        return not target.health

    def _due(self, target: Target) -> list[Expected]:
        """Return the mounts that can be missed."""
        accused = self._ledger.says(target.claim.ref, Observer.MOUNT_TABLE)
        return [one for one in target.expected if not one.block or accused or one.path in self._seen]

    def _tell(self, why: str) -> None:
        """Log once for each reason."""
        if why != self._told:
            self._told = why
            if why:
                log.warning("mounts not checked", extra={"why": why})
