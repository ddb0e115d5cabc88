"""What rules make of statements: a policy's own, and what is known of drivers' texts."""

from datetime import timedelta
from pathlib import Path

import pytest

from volumehealth.errors import InvalidSpec
from volumehealth.judge.builtin import BUILT_IN, BuiltIn
from volumehealth.judge.rules import compile_rules
from volumehealth.model.health import Condition, Source
from volumehealth.model.policy import Rule, RuleMatch, RuleSet

NONE = compile_rules(())
PAGE = Path(__file__).resolve().parents[3] / "docs" / "judging.md"
POWERSTORE = "csi-powerstore.dellemc.com"
POWERSCALE = "csi-isilon.dellemc.com"
POWERFLEX = "csi-vxflexos.dellemc.com"
HOSTPATH = "hostpath.csi.k8s.io"
LINODE = "linodebs.csi.linode.com"
CEPHFS = "rook-ceph.cephfs.csi.ceph.com"
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)


def legacy(message: str) -> Condition:
    return Condition("Degraded", "VolumeConditionAbnormal", message)


TEXTS: dict[str, tuple[str, str, str, timedelta | None]] = {
    "hostpath: the directory is gone": (
        HOSTPATH,
        "The source path of the volume doesn't exist",
        "Inaccessible/VolumeNotFound",
        None,
    ),
    "hostpath: an unknown id is abnormal and not NOT_FOUND": (
        HOSTPATH,
        "rpc error: code = NotFound desc = volume id 3f does not exist in the volumes list",
        "Inaccessible/VolumeNotFound",
        None,
    ),
    "hostpath: larger than the disk": (
        HOSTPATH,
        "The capacity of volume is greater than actual storage",
        "Degraded/OutOfCapacity",
        None,
    ),
    "hostpath: full": (
        HOSTPATH,
        "The free space of the volume is insufficient",
        "Degraded/OutOfCapacity",
        None,
    ),
    "hostpath: unmounted": (HOSTPATH, "The volume isn't mounted", "Inaccessible/VolumeUnmounted", None),
    "ceph-csi: its check hangs, older text": (
        CEPHFS,
        "health-check has not responded for 135.040921 seconds",
        "Inaccessible/HealthCheckStuck",
        None,
    ),
    "ceph-csi: its check hangs, newer text": (
        CEPHFS,
        "health-check has not responded for too long",
        "Inaccessible/HealthCheckStuck",
        None,
    ),
    "ceph-csi: a dead mount": (
        CEPHFS,
        "stat /var/lib/kubelet/x: transport endpoint is not connected",
        "Inaccessible/BackendError",
        None,
    ),
    "ceph-csi: a stale handle": (CEPHFS, "open f: stale NFS file handle", "Inaccessible/BackendError", None),
    "PowerStore: deleted": (POWERSTORE, "Volume 6f-a2 is not found", "Inaccessible/VolumeNotFound", None),
    "PowerStore: offline": (POWERSTORE, "Volume 6f is in Offline state", "Inaccessible/BackendError", None),
    "PowerStore: initializing": (
        POWERSTORE,
        "Volume 6f is in Initializing state",
        "Degraded/BackendError",
        HOUR,
    ),
    "PowerStore: detached, as while a Pod moves": (
        POWERSTORE,
        "host csi-node-4 is not attached to volume 6f",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "PowerStore: no path": (
        POWERSTORE,
        "host csi-node-4 has no active initiator connection",
        "Inaccessible/NotAttached",
        None,
    ),
    "PowerStore: not staged": (
        POWERSTORE,
        "staging target path /var/lib/kubelet/plugins/x not mounted for volume 6f",
        "Inaccessible/VolumeUnmounted",
        None,
    ),
    "PowerScale: the directory is gone": (
        POWERSCALE,
        "volume does not exists at this path /ifs/data/csi",
        "Inaccessible/VolumeNotFound",
        None,
    ),
    "PowerScale: the API fails": (
        POWERSCALE,
        "error in getting 'k8s-1' volume 'timeout'",
        "Degraded/BackendError",
        QUARTER,
    ),
    "PowerScale: no exports": (POWERSCALE, "unable to fetch export list", "Degraded/BackendError", QUARTER),
    "PowerFlex: deleted, with a time in the text": (
        POWERFLEX,
        "Volume is not found by controller at 2021-11-03 20:31:04",
        "Inaccessible/VolumeNotFound",
        None,
    ),
    "PowerFlex: not mapped": (
        POWERFLEX,
        "volume: 9b was not mapped to host: no such device",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "PowerFlex: unreadable": (
        POWERFLEX,
        "volume path: /mnt/x is not accessible: permission denied",
        "Inaccessible/BackendError",
        None,
    ),
    "PowerFlex: unmounted": (
        POWERFLEX,
        "volPath: /mnt/x is not mounted: <nil>",
        "Inaccessible/VolumeUnmounted",
        None,
    ),
    "any driver: no mount point": (
        "csi.example.com",
        "rpc error: code = Internal desc = /var/lib/kubelet/x/mount is not a mountpoint",
        "Inaccessible/VolumeUnmounted",
        None,
    ),
    "any driver: unmounted for now": (
        "csi.example.com",
        "Volume is not currently mounted at /x",
        "Inaccessible/VolumeUnmounted",
        None,
    ),
    "Unity: the file system is gone": (
        "csi-unity.dellemc.com",
        "Filesystem not found",
        "Inaccessible/VolumeNotFound",
        None,
    ),
    "Linode: creating is normal life": (LINODE, "creating", "Degraded/BackendError", HOUR),
    "Linode: resizing is normal life": (LINODE, "resizing", "Degraded/BackendError", HOUR),
    "Linode: a ticket is needed": (LINODE, "contact_support", "Inaccessible/BackendError", None),
    "Linode: EIO on the node": (
        LINODE,
        "failed to get stats: input/output error",
        "Inaccessible/BackendError",
        None,
    ),
    "LINSTOR: a faulty replica": (
        "linstor.csi.linbit.com",
        "Resource with issues on node(s): worker-1,worker-2",
        "Degraded/BackendError",
        None,
    ),
    "any driver: a corrupted file system": (
        "csi.example.com",
        "mount failed: Structure needs cleaning",
        "Inaccessible/FilesystemCorrupted",
        None,
    ),
    "any driver: read-only": (
        "csi.example.com",
        "write t: read-only file system",
        "Degraded/FilesystemReadOnly",
        None,
    ),
    "any driver: full": (
        "csi.example.com",
        "write t: no space left on device",
        "Degraded/OutOfCapacity",
        None,
    ),
    "an evicted client": (CEPHFS, "stat /var/lib/x: permission denied", "Inaccessible/BackendError", None),
    "a stuck client": (
        CEPHFS,
        "stat /var/lib/x: resource temporarily unavailable",
        "Inaccessible/BackendError",
        None,
    ),
    "a device that left": (
        "csi.example.com",
        "stat /var/x y: no such device",
        "Inaccessible/BackendError",
        None,
    ),
    "a device that left, said by a read": (
        "csi.example.com",
        "readdirent /x: no such device or address",
        "Inaccessible/BackendError",
        None,
    ),
    "a server that is away": (
        "csi.example.com",
        "statfs /x: connection timed out",
        "Inaccessible/BackendError",
        None,
    ),
    "permission that is no path's": (
        "csi.example.com",
        "login to the array: permission denied",
        "Degraded/VolumeConditionAbnormal",
        None,
    ),
    "a text that nobody knows stays as it is": (
        "csi.example.com",
        "something is wrong",
        "Degraded/VolumeConditionAbnormal",
        None,
    ),
    "another driver's word `resizing` is not Linode's": (
        "csi.example.com",
        "resizing",
        "Degraded/VolumeConditionAbnormal",
        None,
    ),
}


@pytest.mark.parametrize(("driver", "text", "expected", "after"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_of_a_driver(driver: str, text: str, expected: str, after: timedelta | None) -> None:
    ruled = NONE.apply(driver, Source.CONTROLLER, legacy(text))
    assert f"{ruled.condition.status}/{ruled.condition.reason}" == expected
    assert ruled.unhealthy_after == after
    assert ruled.condition.message == text
    assert not ruled.ignored


@pytest.mark.parametrize("known", BUILT_IN, ids=[known.name for known in BUILT_IN])
def test_no_built_in_rule_is_out_of_reach_because_of_an_earlier_one(known: BuiltIn) -> None:
    match = known.rule.match
    source = Source(match.source) if match.source else Source.CONTROLLER
    ruled = NONE.apply(match.driver or "csi.example.com", source, legacy(known.example))
    assert ruled.rule == f"built-in {known.name}"
    assert known.source


NODE_TEXTS: dict[str, tuple[str, str, str, timedelta | None]] = {
    "PowerStore NFS: not exported to the node, as while a Pod moves": (
        POWERSTORE,
        "host csi-node-4 is not attached to NFS export for filesystem 6f",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "PowerStore NFS: no export": (
        POWERSTORE,
        "NFS export for volume 6f is not found",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "PowerStore: not found by the node": (
        POWERSTORE,
        "Volume 6f is not found",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "PowerScale: not found by the node": (
        POWERSCALE,
        "volume does not exists at this path /ifs/x",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "PowerFlex: not found by the node": (
        POWERFLEX,
        "Volume is not found by node driver at 2021-11-11 02:04:49",
        "Inaccessible/NotAttached",
        QUARTER,
    ),
    "any driver": ("csi.example.com", "volume x was not found", "Inaccessible/NotAttached", QUARTER),
}


@pytest.mark.parametrize(("driver", "text", "expected", "after"), NODE_TEXTS.values(), ids=NODE_TEXTS.keys())
def test_what_a_node_does_not_find_is_not_gone_for_that(
    driver: str, text: str, expected: str, after: timedelta | None
) -> None:
    ruled = NONE.apply(driver, Source.NODE, legacy(text))
    assert f"{ruled.condition.status}/{ruled.condition.reason}" == expected
    assert ruled.unhealthy_after == after


def test_powerflex_cannot_look_into_a_raw_block_volume_and_that_is_no_fault() -> None:
    text = "volume path: /var/lib/kubelet/p is not accessible: readdirent /var/lib/kubelet/p: not a directory"
    assert NONE.apply(POWERFLEX, Source.NODE, legacy(text)).ignored
    other = "volume path: /var/lib/kubelet/p is not accessible: stat /var/lib/kubelet/p: input/output error"
    assert not NONE.apply(POWERFLEX, Source.NODE, legacy(other)).ignored


def test_what_a_driver_of_csi_1_13_says_with_a_reason_of_its_own_is_left_as_it_is() -> None:
    said = Condition("Degraded", "ReplicaLost", "Volume 6f is not found")
    assert NONE.apply(POWERSTORE, Source.CONTROLLER, said).condition == said


@pytest.mark.parametrize("status", ["DataLoss", "Inaccessible", "UnknownHealthType7"])
def test_what_a_driver_of_csi_1_13_says_without_a_reason_is_made_no_milder(status: str) -> None:
    """It must give a reason, and one that does not has said with the status how bad it is."""
    for known in BUILT_IN:
        source = Source(known.rule.match.source or "Controller")
        said = Condition(status, "VolumeConditionAbnormal", known.example)
        ruled = NONE.apply(known.rule.match.driver or "csi.example.com", source, said)
        assert (ruled.condition, ruled.ignored, ruled.unhealthy_after) == (said, False, None)


FIELDS = {
    "an empty match matches anything": (RuleMatch(), True),
    "driver": (RuleMatch(driver="csi.example.com"), True),
    "another driver": (RuleMatch(driver="csi.example.org"), False),
    "source": (RuleMatch(source="Controller"), True),
    "another source": (RuleMatch(source="Node"), False),
    "status": (RuleMatch(status="Degraded"), True),
    "another status": (RuleMatch(status="DataLoss"), False),
    "reason": (RuleMatch(reason="Slow"), True),
    "another reason": (RuleMatch(reason="slow"), False),
    "message, anywhere in the text": (RuleMatch(message="take [a-z]ong"), True),
    "message, anchored by the user": (RuleMatch(message="^take"), False),
    "all that is given must match": (RuleMatch(reason="Slow", message="never"), False),
}


@pytest.mark.parametrize(("match", "matches"), FIELDS.values(), ids=FIELDS.keys())
def test_a_match(match: RuleMatch, matches: bool) -> None:
    rules = compile_rules((Rule(match, ignore=True),))
    ruled = rules.apply(
        "csi.example.com", Source.CONTROLLER, Condition("Degraded", "Slow", "reads take long")
    )
    assert ruled.ignored is matches
    assert ruled.rule == ("spec.rules[0]" if matches else "")


def test_the_first_rule_that_matches_decides_and_a_policys_own_come_first() -> None:
    rules = compile_rules(
        (
            Rule(RuleMatch(message="^creating$"), unhealthy_after=timedelta(hours=3)),
            Rule(RuleMatch(driver=LINODE), ignore=True),
        )
    )
    ruled = rules.apply(LINODE, Source.CONTROLLER, legacy("creating"))
    assert (ruled.rule, ruled.unhealthy_after, ruled.ignored) == ("spec.rules[0]", timedelta(hours=3), False)
    assert ruled.condition == legacy("creating")


def test_a_rule_sets_what_it_names_and_leaves_the_rest() -> None:
    rules = compile_rules((Rule(set=RuleSet(reason="OutOfCapacity")),))
    ruled = rules.apply("csi.example.com", Source.NODE, Condition("Sleepy", "New", "text"))
    assert ruled.condition == Condition("Sleepy", "OutOfCapacity", "text")


def test_every_pattern_that_is_no_re2_is_named_with_its_path() -> None:
    bad = [Rule(RuleMatch(message=pattern)) for pattern in ("(", "fine", r"(?=ahead)", "\ud800")]
    with pytest.raises(InvalidSpec) as caught:
        compile_rules(tuple(bad))
    assert [str(error) for error in caught.value.errors] == [
        "spec.rules[0].match.message: invalid RE2: missing ): (",
        "spec.rules[2].match.message: invalid RE2: invalid perl operator: (?=",
        "spec.rules[3].match.message: invalid RE2: it is not valid UTF-8",
    ]


def test_the_documentation_shows_every_built_in_rule_as_it_is() -> None:
    """docs/judging.md: name, driver, pattern, what it becomes, its delay, in the order in which they apply."""
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    assert rows == [built_in_row(number) for number in range(len(BUILT_IN))]


def built_in_row(number: int) -> str:
    known = BUILT_IN[number]
    rule = known.rule
    pattern = rule.match.message.replace("|", "\\|")
    after = f"{int(rule.unhealthy_after.total_seconds() // 60)}m" if rule.unhealthy_after else ""
    driver = f"`{rule.match.driver}`" if rule.match.driver else "any"
    cells = (
        f"`{known.name}`",
        known.meaning,
        driver,
        rule.match.source or "any",
        f"`{pattern}`",
        f"{rule.set.status}/{rule.set.reason}" if rule.set is not None else "ignored",
        after,
        known.source,
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")
