"""How the agent writes down what it sees of its node, and what it takes back."""

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from support.agent import KUBELET, make_claim, make_pod, make_policy, make_target
from support.clock import ManualClock
from support.nodetree import FakeFiles
from volumehealth.agent.looks import NodeLooks, NodeSights, kernel_version
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import KnownClaim
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.report import ReportedVolume, UnseenOrigin, VolumeHealthReport

REF = ClaimRef("shop", "data")
TABLE = "/proc/1/mountinfo"
SHUT = "<1>[    9.000000] XFS (sda): Filesystem has been shut down due to log error (0x2)."


class Looking:
    """NodeLooks at one volume on a disk of a tree."""

    def __init__(
        self,
        *,
        kind: str = "ext4",
        earlier: VolumeHealthReport | None = None,
        demanded: bool = True,
        reads_log: bool = True,
        **changes: Any,
    ) -> None:
        self.files = FakeFiles()
        self.files.write("/proc/sys/kernel/random/boot_id", "b1")
        self.files.write("/proc/sys/kernel/osrelease", "6.18.44")
        self.files.disk("sda", "8:0")
        self.files.ext4("sda")
        self.files.write("/sys/fs/xfs/sda/log/x", "")
        self.files.renumber("/sys/fs/xfs/sda", 23074)
        self.log = "<5>[    0.000000] Linux version 6.18\n"
        self.log_error = 0
        self.clock = ManualClock()
        self.ledger = ReportState(earlier)
        self.news = 0
        self.run: frozenset[str] | None = frozenset({"uid-app-0"})
        self.asked = 0
        self.heard = asyncio.Event()
        self.target = make_target(known=KnownClaim(make_claim(**changes)))
        self.kind = kind
        self.looks = NodeLooks(
            node="n1",
            kubelet=KUBELET,
            mount_table=TABLE,
            ledger=self.ledger,
            clock=self.clock,
            news=self._count,
            sights=NodeSights(files=self.files, kernel_log=self._kernel_log),
            earlier=earlier,
            kernel_log=reads_log,
            patience=0.05,
            pods_that_run=self._pods_that_run,
        )
        if demanded:
            self.looks.demand([self.target])
        self.mount()

    def _count(self) -> None:
        self.news += 1
        self.heard.set()

    async def _pods_that_run(self) -> frozenset[str] | None:
        self.asked += 1
        return self.run

    def _kernel_log(self) -> str:
        if self.log_error:
            raise OSError(self.log_error, os.strerror(self.log_error))
        return self.log

    def mount(self, options: str = "rw", *, super_options: str = "rw", there: bool = True) -> None:
        (pod,) = self.target.expected
        token = (
            f"1 2 0:9 / {KUBELET}/pods/{pod.uid}/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw"
        )
        line = f"46 30 8:0 / {pod.path} {options} - {self.kind} /dev/sda {super_options}"
        self.files.write(TABLE, "\n".join([token, line] if there else [token]))

    async def look(self, looks: int = 1) -> bool:
        suspicion = False
        for _ in range(looks):
            self.clock.advance(15)
            suspicion = await self.looks.look()
        return suspicion

    @property
    def said(self) -> list[str]:
        return [f"{one.origin}:{one.reason}" for one in self.ledger.accused(REF)]

    @property
    def report(self) -> VolumeHealthReport:
        claim = self.target.claim
        volume = ReportedVolume(
            claim.driver,
            claim.handle,
            claim.ref.namespace,
            claim.ref.name,
            claim.uid,
            conditions=self.ledger.accused(REF),
        )
        return VolumeHealthReport("n1", node="n1", volumes=(volume,))


async def test_a_new_suspicion_about_a_mount_is_looked_at_twice() -> None:
    """The kubelet unmounts a finished Pod's volume before the API shows that it has finished."""
    looking = Looking()
    await looking.look(2)
    looking.mount(there=False)
    assert await looking.look()
    assert looking.said == []
    assert not await looking.look()
    assert looking.said == ["MountTable:VolumeUnmounted"]
    looking.mount()
    await looking.look()
    assert looking.said == []


async def test_a_worse_suspicion_about_a_mount_is_looked_at_twice_as_well() -> None:
    """A Pod on a read-only filesystem ends: people were told at once that its volume is not mounted."""
    looking = Looking()
    await looking.look(2)
    looking.mount(super_options="ro")
    await looking.look(2)
    assert looking.said == ["MountTable:FilesystemReadOnly"]
    looking.mount(there=False)
    assert await looking.look()
    assert looking.said == ["MountTable:FilesystemReadOnly"]
    await looking.look()
    assert looking.said == ["MountTable:VolumeUnmounted"]


@pytest.mark.parametrize("run", [frozenset(), None])
async def test_a_mount_is_not_missed_for_a_pod_that_the_api_server_does_not_say_runs(
    run: frozenset[str] | None,
) -> None:
    """The watch stood still for a minute, and others were told that the volume of a Pod that had gone was not mounted."""
    looking = Looking()
    looking.run = run
    await looking.look(2)
    assert looking.asked == 0
    looking.mount(there=False)
    await looking.look(4)
    assert looking.said == []
    assert looking.asked == 3
    looking.run = frozenset({"uid-app-0"})
    await looking.look()
    assert looking.said == ["MountTable:VolumeUnmounted"]
    await looking.look(5)
    assert looking.asked == 4


async def test_a_suspicion_that_was_wrong_leaves_no_trace() -> None:
    looking = Looking()
    await looking.look(2)
    news = looking.news
    looking.mount(there=False)
    await looking.look()
    looking.mount()
    await looking.look()
    looking.mount(there=False)
    await looking.look()
    assert looking.said == []
    assert looking.news == news


async def test_what_a_look_finds_is_written_down_under_its_origin() -> None:
    looking = Looking()
    await looking.look(2)
    looking.files.ext4("sda", errors=1, at=int(looking.clock.now().timestamp()))
    await looking.look()
    assert looking.said == ["Filesystem:FilesystemError"]


async def test_nothing_that_is_wrong_is_written_twice() -> None:
    looking = Looking()
    await looking.look(2)
    news = looking.news
    await looking.look(3)
    assert looking.news == news


async def test_pods_that_are_being_deleted_leave_everything_as_it_was_once_their_mounts_are_gone() -> None:
    looking = Looking()
    await looking.look(2)
    looking.log = SHUT
    looking.looks.demand([make_target(make_pod(deleting=True))])
    looking.mount(there=False)
    await looking.look(3)
    assert looking.said == []
    assert looking.ledger.complete(REF)
    assert Observer.MOUNT_TABLE in looking.ledger.covered(REF)
    assert not looking.looks.problems


async def test_a_volume_is_looked_at_while_its_pod_is_being_deleted() -> None:
    """A process that hangs on a dead disk keeps its Pod from ending, for days: what was seen before is no answer."""
    looking = Looking()
    await looking.look(2)
    assert looking.ledger.complete(REF)
    looking.run = frozenset()
    looking.looks.demand([make_target(make_pod(deleting=True))])
    looking.mount(super_options="ro")
    await looking.look(2)
    assert looking.said == ["MountTable:FilesystemReadOnly"]


async def test_what_was_seen_before_the_check_was_switched_off_is_no_answer() -> None:
    """Faults A2: it is on again, and nobody has looked since."""
    looking = Looking()
    await looking.look(2)
    assert looking.ledger.complete(REF)
    looking.looks.demand([make_target(policy=make_policy(checks={"node": {"enabled": False}}))])
    await looking.look()
    assert not looking.ledger.complete(REF)
    looking.looks.demand([looking.target])
    await looking.look()
    assert not looking.ledger.complete(REF)
    await looking.look()
    assert looking.ledger.complete(REF)


async def test_a_table_that_cannot_be_read_takes_nothing_back() -> None:
    looking = Looking()
    await looking.look(2)
    looking.mount(there=False)
    await looking.look(2)
    looking.files.fail(TABLE, errno.EACCES)
    await looking.look(2)
    assert looking.said == ["MountTable:VolumeUnmounted"]
    assert looking.looks.problems["mountinfo"] == "the agent may not read mountinfo (Permission denied)"


async def test_what_the_kernel_log_said_ends_when_it_is_switched_off_and_stays_when_it_cannot_be_read() -> (
    None
):
    """Faults C8: it would be said for ever, as if it were seen."""
    before = Looking()
    await before.look(2)
    before.log += "<3>[   20.0] Buffer I/O error on dev sda, logical block 7777, lost async page write\n"
    await before.look()
    assert before.said == ["KernelLog:IOError"]
    forbidden = Looking(earlier=before.report)
    forbidden.log_error = errno.EPERM
    await forbidden.look(3)
    assert forbidden.said == ["KernelLog:IOError"]
    why = "the agent may not read the kernel log (Operation not permitted)"
    assert forbidden.ledger.unseen == (UnseenOrigin(Observer.KERNEL_LOG, why),)
    off = Looking(earlier=before.report, reads_log=False)
    await off.look(3)
    assert off.said == []
    assert Observer.KERNEL_LOG not in off.ledger.covered(REF)
    why = "the agent was told not to read the kernel log"
    assert off.ledger.unseen == (UnseenOrigin(Observer.KERNEL_LOG, why, off=True),)


async def test_what_held_until_a_mounting_ended_holds_no_more_when_that_ends_without_the_kernel_log() -> None:
    """It would be told for ever as if it were seen: no line of the log takes it back."""
    looking = Looking(kind="xfs")
    await looking.look(2)
    looking.log += SHUT + "\n"
    await looking.look()
    after = Looking(kind="xfs", earlier=looking.report)
    after.log_error = errno.EPERM
    await after.look(3)
    assert [one.instance for one in after.ledger.accused(REF)] == ["b1/xfs/sda/23074"]
    after.files.renumber("/sys/fs/xfs/sda", 23098)
    await after.look(2)
    assert [one.instance for one in after.ledger.accused(REF)] == [""]


async def test_what_held_until_a_mounting_ended_holds_on_while_nobody_can_tell_which_mounting_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking = Looking(kind="xfs")
    await looking.look(2)
    looking.log += SHUT + "\n"
    await looking.look()
    after = Looking(kind="xfs", earlier=looking.report)
    after.log_error = errno.EPERM

    def fail(path: str) -> str:
        raise OSError(errno.EIO, "I/O error", path)

    monkeypatch.setattr(after.files, "target", fail)
    await after.look(3)
    assert [one.instance for one in after.ledger.accused(REF)] == ["b1/xfs/sda/23074"]


async def test_without_the_mount_table_nobody_sees_anything() -> None:
    looking = Looking()
    await looking.look(2)
    looking.files.fail(TABLE, errno.EACCES)
    news = looking.news
    await looking.look()
    assert {one.observer for one in looking.ledger.unseen} == {
        Observer.MOUNT_TABLE,
        Observer.BLOCK_DEVICE,
        Observer.FILESYSTEM,
        Observer.KERNEL_LOG,
    }
    assert looking.news > news
    looking.mount()
    await looking.look()
    assert looking.ledger.unseen == ()


async def test_without_the_right_to_read_the_kernel_log_the_other_looks_go_on() -> None:
    looking = Looking()
    looking.log_error = errno.EPERM
    await looking.look(2)
    assert looking.looks.problems == {
        "klog": "the agent may not read the kernel log (Operation not permitted)"
    }
    assert looking.looks.seen[REF].healthy
    looking.files.ext4("sda", errors=1, at=int(looking.clock.now().timestamp()))
    await looking.look()
    assert looking.said == ["Filesystem:FilesystemError"]


async def test_an_agent_that_is_started_anew_goes_on_from_its_report() -> None:
    looking = Looking(kind="xfs")
    await looking.look(2)
    looking.log += SHUT + "\n"
    await looking.look()
    assert looking.said == ["KernelLog:FilesystemShutdown"]
    after = Looking(kind="xfs", earlier=looking.report)
    after.log = "<6>[ 9999.000000] the ring has wrapped\n"
    await after.look(3)
    assert after.said == ["KernelLog:FilesystemShutdown"]
    after.files.renumber("/sys/fs/xfs/sda", 23098)
    await after.look(2)
    assert after.said == []


async def test_what_was_reported_is_not_forgotten_while_it_is_not_known_what_is_in_use() -> None:
    looking = Looking(kind="xfs")
    looking.log += SHUT + "\n"
    await looking.look(2)
    after = Looking(kind="xfs", earlier=looking.report, demanded=False)
    after.log = "<6>[ 9999.000000] the ring has wrapped\n"
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(after.looks.run())
        for _ in range(200):  # as long as the Pods and claims take to be read
            await asyncio.sleep(0)
        assert after.files.reads == []
        after.looks.demand([after.target])
        await after.heard.wait()
        running.cancel()
    assert after.said == ["KernelLog:FilesystemShutdown"]
    assert after.looks.seen[REF].incidents


def stall(looking: Looking) -> None:
    looking.files.count("sda", waiting=3, started="1 2")


def go_on(looking: Looking) -> None:
    looking.files.count("sda", reads=99, writes=99, waiting=2, started="1 1")


def take_offline(looking: Looking) -> None:
    looking.files.remove("/sys/class/block/sda")
    looking.files.remove("/sys/dev/block/8:0")
    looking.files.scsi("sda", "8:0", "0:0:0:0", state="offline")


def bring_back(looking: Looking) -> None:
    looking.files.scsi("sda", "8:0", "0:0:0:0", state="running")


LASTING = [
    pytest.param(stall, go_on, "BlockDevice:IOStalled", id="stalled"),
    pytest.param(take_offline, bring_back, "BlockDevice:DeviceOffline", id="offline"),
]
"""What has to last for a minute until it is said."""


@pytest.mark.parametrize(("breaks", "heals", "said"), LASTING)
async def test_an_agent_that_is_started_anew_takes_nothing_back_that_takes_a_minute_to_see(
    breaks: Callable[[Looking], None], heals: Callable[[Looking], None], said: str
) -> None:
    """It was told as recovered and found again, wherever `healthyAfter` is shorter than that minute."""
    looking = Looking()
    await looking.look(2)
    breaks(looking)
    await looking.look(7)
    assert looking.said == [said]
    after = Looking(earlier=looking.report)
    breaks(after)
    for _ in range(8):
        await after.look()
        assert after.said == [said]
        assert Observer.BLOCK_DEVICE in after.ledger.covered(REF)
    heals(after)
    await after.look()
    assert after.said == []


@pytest.mark.parametrize(("breaks", "heals", "said"), LASTING)
async def test_an_agent_without_an_earlier_report_says_of_no_device_that_it_is_well_before_it_can_know(
    breaks: Callable[[Looking], None], heals: Callable[[Looking], None], said: str
) -> None:
    """Faults A: what another agent had found was told as recovered; its report had gone with its Node."""
    looking = Looking()
    breaks(looking)
    while not looking.said:
        assert Observer.BLOCK_DEVICE not in looking.ledger.covered(REF)
        await looking.look()
    assert looking.said == [said]
    heals(looking)
    await looking.look()
    assert looking.said == []
    assert Observer.BLOCK_DEVICE in looking.ledger.covered(REF)


@pytest.mark.parametrize(("breaks", "heals", "said"), LASTING)
async def test_an_agent_that_was_paused_takes_nothing_back_that_takes_a_minute_to_see(
    breaks: Callable[[Looking], None], heals: Callable[[Looking], None], said: str
) -> None:
    looking = Looking()
    await looking.look(2)
    breaks(looking)
    await looking.look(7)
    looking.clock.advance(600)
    for _ in range(8):
        await looking.look()
        assert looking.said == [said]
    heals(looking)
    await looking.look()
    assert looking.said == []


async def test_what_the_kernel_log_said_stays_while_the_device_is_gone_that_it_names() -> None:
    """A disk is pulled: XFS shuts down, and the disk is gone. The shutdown was told as recovered."""
    looking = Looking(kind="xfs")
    await looking.look(2)
    looking.log += SHUT + "\n"
    await looking.look()
    for path in ("/sys/devices/virtual/block/sda", "/sys/class/block/sda", "/sys/dev/block/8:0"):
        looking.files.remove(path)
    await looking.look(3)
    assert sorted(looking.said) == ["BlockDevice:DeviceGone", "KernelLog:FilesystemShutdown"]


async def test_another_boot_is_another_instance() -> None:
    looking = Looking(kind="xfs")
    looking.log += SHUT + "\n"
    await looking.look(2)
    after = Looking(kind="xfs", earlier=looking.report)
    after.files.write("/proc/sys/kernel/random/boot_id", "b2")
    await after.look(2)
    assert after.said == []


async def test_a_check_that_is_switched_off_forgets_what_was_seen() -> None:
    looking = Looking()
    await looking.look(2)
    looking.files.ext4("sda", errors=1, at=int(looking.clock.now().timestamp()))
    await looking.look()
    looking.looks.demand([replace(looking.target, health=False, expected=())])
    await looking.look()
    assert looking.said == []


def test_the_version_of_a_kernel_is_read() -> None:
    assert kernel_version("6.18.44-fc-v595") == (6, 18)
    assert kernel_version("4.18.0-553.el8_10.x86_64") == (4, 18)
    assert kernel_version("5.15-rc1") == (5, 15)
    assert kernel_version("") >= (6, 18)


async def test_the_report_says_what_was_seen_and_what_was_not() -> None:
    looking = Looking()
    await looking.look()
    assert not looking.looks.settled
    await looking.look()
    assert looking.looks.settled
    assert looking.ledger.covered(REF) == {
        Observer.MOUNT_TABLE,
        Observer.BLOCK_DEVICE,
        Observer.FILESYSTEM,
        Observer.KERNEL_LOG,
    }
    assert looking.ledger.complete(REF)
    looking.files.fail(TABLE, errno.EACCES)
    await looking.look()
    assert looking.ledger.covered(REF) == frozenset()
    assert looking.ledger.missing(REF) == "the agent may not read mountinfo (Permission denied)"
