"""Pods that wait because of their volumes: what is told, of whom, and what is not the volume's fault."""

from datetime import timedelta

import pytest

from support.health import START, make_claim
from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import Attachment, Pod, PodEvent, PodWait
from volumehealth.model.health import Answer, Condition
from volumehealth.model.ids import ClaimRef
from volumehealth.sources.waiting import (
    attachments_that_hang,
    is_undecided,
    names_of,
    pods_that_cannot_mount,
    slow_conditions,
)

NOW = START + timedelta(days=4)
CLAIM = make_claim("orders-db")
PV = CLAIM.volume
WAITING = Pod(
    "shop",
    "db-1",
    "uid-1",
    "worker-1",
    "Pending",
    ("orders-db",),
    waits=PodWait(START, (("data", "orders-db"),)),
)
HOLDER = Pod("shop", "db-0", "uid-0", "worker-2", "Running", ("orders-db",))


def event(reason: str, message: str, minutes_ago: float = 1.0) -> PodEvent:
    return PodEvent(reason, message, NOW - timedelta(minutes=minutes_ago))


def told(
    *events: PodEvent, pod: Pod = WAITING, users: tuple[Pod, ...] = (WAITING,), **options: object
) -> list[Answer]:
    found = pods_that_cannot_mount(
        [pod],
        {pod.uid: events},
        {CLAIM.ref: CLAIM},
        lambda _: users,
        troubled=options.get("troubled", ()),  # type: ignore[arg-type]  # names
        now=NOW,
    )
    return [answer for _, answer in found]


MOUNT = f'MountVolume.SetUp failed for volume "{PV}" : rpc error: code = Internal desc = no such device'
MULTI = f'Multi-Attach error for volume "{PV}" Volume is already used by pod(s) db-0'
CANNOT = {
    "SetUp": ("FailedMount", MOUNT),
    "MountDevice": ("FailedMount", f'MountVolume.MountDevice failed for volume "{PV}" : timed out'),
    "the sum": (
        "FailedMount",
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data x]: timed out",
    ),
    "attach": ("FailedAttachVolume", f'AttachVolume.Attach failed for volume "{PV}" : quota'),
    "raw block": ("FailedMapVolume", f'MapVolume.SetUpDevice failed for volume "{PV}" : no'),
    "combined": ("FailedMount", f"(combined from similar events): {MOUNT}"),
}


@pytest.mark.parametrize(("reason", "message"), CANNOT.values(), ids=CANNOT.keys())
def test_a_volume_that_cannot_be_mounted(reason: str, message: str) -> None:
    [answer] = told(event("Scheduled", "Successfully assigned", 5000), event(reason, message))
    [condition] = answer.conditions
    assert (condition.status, condition.reason, answer.node) == ("Inaccessible", "CannotMount", "worker-1")
    assert answer.since == START
    assert condition.message.startswith(f"the Pod db-1 waits on worker-1 since {rfc3339(START)}: ")
    assert condition.message.endswith(message.removeprefix("(combined from similar events): "))


HELD = {
    "up to 1.36, another Pod": ("FailedAttachVolume", MULTI),
    "up to 1.36, another node": (
        "FailedAttachVolume",
        f'Multi-Attach error for volume "{PV}" Volume is already exclusively attached to one node',
    ),
    "1.37": ("FailedAttachVolume", f'Waiting for detach for volume "{PV}": already exclusively attached'),
}


@pytest.mark.parametrize(("reason", "message"), HELD.values(), ids=HELD.keys())
def test_a_volume_that_is_held_elsewhere_names_who_holds_it(reason: str, message: str) -> None:
    [answer] = told(event(reason, message), users=(WAITING, HOLDER))
    [condition] = answer.conditions
    assert condition.reason == "MultiAttach"
    assert "the volume is used by db-0 on worker-2" in condition.message


INNOCENT: dict[str, tuple[PodEvent, ...]] = {
    "a Secret": (event("FailedMount", 'MountVolume.SetUp failed for volume "creds" : secret "x" not found'),),
    "another claim": (event("FailedMount", 'MountVolume.SetUp failed for volume "pv-other" : no'),),
    "another volume in the sum": (
        event(
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[creds], unattached volumes=[data]",
        ),
    ),
    "a sandbox": (event("FailedCreatePodSandBox", "network plugin is not ready"),),
    "a sandbox, after the volume came": (
        event("FailedMount", MOUNT, 30),
        event("FailedCreatePodSandBox", "cni", 1),
    ),
    "an image": (event("FailedMount", MOUNT, 9), event("Pulling", "Pulling image", 3)),
}


@pytest.mark.parametrize("events", INNOCENT.values(), ids=INNOCENT.keys())
def test_what_is_not_the_volumes_fault(events: tuple[PodEvent, ...]) -> None:
    assert told(*events) == []


NO_RECOVERY = {
    "what this operator tells": "VolumeConditionAbnormal",
    "what a monitor tells of another volume": "VolumeConditionNormal",
    "a node that failed and came back": "NodeNotReady",
    "an autoscaler": "NotTriggerScaleUp",
    "an eviction that was put off": "EvictionBlocked",
    "a word that nobody knows": "SomethingNew",
}


@pytest.mark.parametrize("reason", NO_RECOVERY.values(), ids=NO_RECOVERY.keys())
def test_what_anybody_else_tells_of_the_pod_later_does_not_say_that_its_volume_came(reason: str) -> None:
    """Field case 4: Multi-Attach is told once, and an Event of ours comes right after it."""
    said = event("FailedAttachVolume", MULTI, 30), event(reason, "whatever", 1)
    [answer] = told(*said)
    assert answer.conditions[0].reason == "MultiAttach"


def test_a_volume_that_the_sum_leaves_out_has_come() -> None:
    summed = "Unable to attach or mount volumes: unmounted volumes=[wal], unattached volumes=[]: timed out"
    assert told(event("FailedMount", MOUNT, 9), event("FailedMount", summed, 3)) == []
    assert len(told(event("FailedMount", MOUNT, 3), event("FailedMount", summed, 9))) == 1


def test_a_volume_that_could_be_attached_after_all_is_held_no_more() -> None:
    attached = event("SuccessfulAttachVolume", f'AttachVolume.Attach succeeded for volume "{PV}" ', 3)
    other = event("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "pv-other" ', 3)
    assert [one.conditions[0].reason for one in told(event("FailedAttachVolume", MULTI, 9), other)] == [
        "MultiAttach"
    ]
    assert told(event("FailedAttachVolume", MULTI, 9), attached) == []
    assert len(told(event("FailedMount", MOUNT, 9), attached)) == 1, "it is attached, and not mounted"


def undecided(
    *events: PodEvent, pod: Pod = WAITING, read: bool = True, troubled: tuple[str, ...] = ()
) -> bool:
    said = {pod.uid: events} if read else {}
    return is_undecided(pod, CLAIM.ref, said, {CLAIM.ref: CLAIM}, troubled=troubled)


def test_a_pod_that_waits_has_not_got_its_volume_until_an_event_says_so() -> None:
    """Faults F17: what was not read, or has expired, is no recovery."""
    assert undecided(read=False)
    assert undecided(event("Scheduled", "Successfully assigned"))
    assert undecided(event("VolumeConditionAbnormal", "ours"))
    assert undecided(event("Pulling", "image"), troubled=("worker-1",))
    assert not undecided(event("Pulling", "image"))
    assert not undecided(event("FailedCreatePodSandBox", "cni"))
    assert not undecided(pod=HOLDER)


def test_silence_after_a_burst_is_no_recovery() -> None:
    assert len(told(event("FailedMount", MOUNT, 14))) == 1
    assert len(told(event("FailedMount", MOUNT, 55))) == 1


def test_a_pod_that_nobody_asked_about_yet_says_nothing() -> None:
    assert (
        list(pods_that_cannot_mount([WAITING], {}, {CLAIM.ref: CLAIM}, lambda _: (), troubled=(), now=NOW))
        == []
    )


def test_a_pod_that_waits_for_long_without_any_event_waits_for_its_volumes() -> None:
    [answer] = told()
    assert answer.conditions[0].reason == "CannotMount"
    assert answer.conditions[0].message.endswith("no Event says why")
    young = Pod(
        "shop",
        "db-1",
        "uid-1",
        "worker-1",
        "Pending",
        ("orders-db",),
        waits=PodWait(NOW - timedelta(minutes=14), (("data", "orders-db"),)),
    )
    assert told(pod=young) == []


TOLD_ONCE = {
    "the scheduler, before it was bound": "FailedScheduling",
    "an autoscaler": "TriggeredScaleUp",
    "a node that was away": "NodeNotReady",
    "a word that is not known": "SomethingNew",
}


@pytest.mark.parametrize("reason", TOLD_ONCE.values(), ids=TOLD_ONCE.keys())
def test_what_others_told_once_long_ago_does_not_say_why_a_pod_waits_now(reason: str) -> None:
    """Field case 4: a Pod that had to wait for a node first, and waits for its volume since."""
    [answer] = told(event(reason, "0/3 nodes are available", 5800), event("Scheduled", "assigned", 5760))
    assert answer.conditions[0].message.endswith("no Event says why")


def test_what_is_told_again_and_again_says_why_a_pod_waits() -> None:
    assert told(event("NetworkNotReady", "network is not ready", 4)) == []
    assert told(event("Pulling", "an image of 80 GiB", 400)) == []


def test_a_node_that_is_not_ready_is_told_of_itself() -> None:
    assert told(event("FailedMount", MOUNT), troubled={"worker-1"}) == []


def test_the_cause_is_told_rather_than_the_sum() -> None:
    text = "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data]: timed out"
    [answer] = told(event("FailedMount", MOUNT, 4), event("FailedMount", text, 1))
    assert answer.conditions[0].message.endswith("no such device")


def test_names_in_a_text_of_any_size() -> None:
    assert names_of("") == set()
    assert names_of('volume "' * 500 + "unmounted volumes=[" * 500) is not None


def hanging(attachment: Attachment, *users: Pod) -> list[str]:
    found = attachments_that_hang([attachment], lambda _: [CLAIM.ref], lambda _: users, now=NOW)
    return [
        f"{answer.node}: {answer.conditions[0].status}/{answer.conditions[0].reason}" for _, answer in found
    ]


def test_an_attachment_that_hangs_is_told_while_a_pod_waits() -> None:
    old, young = NOW - timedelta(hours=3), NOW - timedelta(minutes=14)
    attaching = Attachment("a", PV, "worker-1", attached=False, created=old)
    detaching = Attachment("a", PV, "worker-2", attached=True, created=START, deleted=old)
    assert hanging(attaching, WAITING) == ["worker-1: Degraded/AttachStuck"]
    assert hanging(detaching, WAITING) == ["worker-2: Degraded/AttachStuck"]
    assert hanging(attaching, HOLDER) == []
    assert hanging(Attachment("a", PV, "worker-1", attached=False, created=young), WAITING) == []
    assert hanging(Attachment("a", PV, "worker-1", attached=True, created=old), WAITING) == []
    assert hanging(Attachment("a", PV, "n", attach_error="no", attached=False, created=old), WAITING) == []


def test_a_pod_that_waits_elsewhere_waits_for_no_attachment_to_another_node() -> None:
    """Faults H26: of a volume that several nodes share, an attachment to a dead one keeps nobody waiting elsewhere."""
    elsewhere = Attachment("a", PV, "worker-9", attached=False, created=NOW - timedelta(hours=3))
    assert hanging(elsewhere, WAITING) == []


def test_a_resize_is_stuck_after_an_hour() -> None:
    condition = Condition("Degraded", "ResizeStuck", "x")
    for hours, count in ((0.9, 0), (1, 1), (3, 1)):
        said = (ClaimRef("shop", "orders-db"), condition, NOW - timedelta(hours=hours))
        assert len(list(slow_conditions([said], now=NOW))) == count
