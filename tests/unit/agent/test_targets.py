"""Which volumes of a node are asked about, and what is looked at (facts D7, D8, D21)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from support.agent import NOW, make_claim, make_pod, make_policy, make_target, make_targets
from volumehealth.agent.pods import NodePod, NodePodObject, PodVolume, node_pod
from volumehealth.agent.targets import MOUNT_GRACE, KnownClaim

ASKED = {
    "it runs": [make_pod()],
    "it runs and another one has finished": [make_pod(), make_pod("old", phase="Succeeded")],
    "it is being deleted and still runs": [make_pod(deleting=True)],
    "a container of it runs, and another's image cannot be pulled": [make_pod(phase="Pending")],
}
NOT_ASKED = {
    "nobody uses it": [],
    "its volumes are being mounted": [make_pod(phase="Pending", started=False)],
    "it has finished": [make_pod(phase="Succeeded")],
    "it has failed": [make_pod(phase="Failed")],
    "it says Running before any container was started": [make_pod(started=False)],
    "it was deleted before its volumes were mounted": [
        make_pod(phase="Pending", started=False, deleting=True, since=NOW - timedelta(hours=1))
    ],
}


@pytest.mark.parametrize("sentence", ASKED)
def test_asked_about_while(sentence: str) -> None:
    assert len(make_targets(*ASKED[sentence])) == 1


@pytest.mark.parametrize("sentence", NOT_ASKED)
def test_not_asked_about_while(sentence: str) -> None:
    assert make_targets(*NOT_ASKED[sentence]) == {}


def test_a_pod_that_waits_for_its_volumes_for_too_long_is_asked_about_without_a_path() -> None:
    waiting = make_pod(phase="Pending", started=False, since=NOW - MOUNT_GRACE - timedelta(seconds=1))
    found = make_target(waiting)
    assert not found.mounted
    assert found.expected == ()
    assert found.capacity is None
    assert make_target(waiting, make_pod("app-1")).pods == ("app-1",)


def test_a_policy_decides_what_is_looked_at() -> None:
    both = make_target(policy=make_policy(interval="30s", timeout="5s"))
    assert (both.interval, both.timeout, both.health) == (30.0, 5.0, True)
    assert both.capacity is not None
    assert len(both.expected) == 1
    room = make_target(policy=make_policy(checks={"node": {"enabled": False}}))
    assert (room.health, room.expected) == (False, ())
    assert room.capacity is not None
    health = make_target(policy=make_policy(checks={"capacity": {"enabled": False}}))
    assert health.health
    assert health.capacity is None
    neither = make_policy(checks={"node": {"enabled": False}, "capacity": {"enabled": False}})
    assert make_targets(make_pod(), policy=neither) == {}
    assert make_targets(make_pod(), policy=make_policy(selector={"drivers": ["other.example.com"]})) == {}


def test_a_suspended_policy_keeps_what_was_said_and_asks_nothing() -> None:
    found = make_target(policy=make_policy(suspend=True))
    assert found.suspended
    assert (found.health, found.capacity, found.expected) == (False, None, ())


def test_a_pod_that_uses_a_claim_twice_uses_it_and_writes_if_it_writes_by_either() -> None:
    once, twice = PodVolume("data"), PodVolume("data", read_only=True)
    target = make_target(make_pod(volumes=(once, twice)))
    assert target.pods == ("app-0",)
    assert [pod.read_only for pod in target.expected] == [False]


def test_what_was_answered_before_a_policy_was_suspended_says_nothing_when_it_goes_on() -> None:
    suspended, asked = make_target(policy=make_policy(suspend=True)), make_target()
    assert asked.is_anew(suspended)
    assert not suspended.is_anew(asked)  # what was said stays
    assert not asked.is_anew(asked)
    assert make_target(make_pod(uid="uid-next")).is_anew(asked)


@pytest.mark.parametrize(
    "known",
    {
        "a block volume": KnownClaim(make_claim(block=True)),
        "a volume that many only read": KnownClaim(make_claim(access_modes=("ReadOnlyMany",))),
        "a volume that is read-only by itself": KnownClaim(make_claim(), read_only=True),
        "one that its owner keeps out of such alerts": KnownClaim(
            make_claim(labels={"excluded_from_alerts": "true"})
        ),
    }.values(),
)
def test_free_space_means_nothing_of(known: KnownClaim) -> None:
    assert make_target(known=known).capacity is None


def test_free_space_means_nothing_of_virtual_machines_disks() -> None:
    assert make_target(make_pod(virtual_machine=True)).capacity is None
    beside = make_target(make_pod(virtual_machine=True), make_pod("backup"))
    assert beside.capacity is None, "the volume still holds a disk image"


def test_each_pod_expects_its_own_mount_as_it_asked_for_it() -> None:
    reader = make_pod("reader", volumes=(PodVolume("data", read_only=True),))
    found = make_target(make_pod("writer"), reader, make_pod("leaving", deleting=True))
    assert [(one.pod, one.read_only) for one in found.expected if not one.leaving] == [
        ("reader", True),
        ("writer", False),
    ]
    assert [one.pod for one in found.expected if one.leaving] == ["leaving"]
    assert found.pods == ("leaving", "reader", "writer")


def test_of_several_pods_the_one_that_stays_and_was_there_first_is_asked_about() -> None:
    """The volume of a Pod that is being deleted is unmounted; and another Pod makes no answer an old one."""
    first = make_pod("web-m", since=NOW - timedelta(hours=1))
    alone = make_target(first)
    assert make_target(first, make_pod("web-a")).paths == alone.paths
    assert not make_target(first, make_pod("web-a")).is_anew(alone)
    leaving = replace(first, deleting=True)
    assert make_target(leaving, make_pod("web-z")).paths == make_target(make_pod("web-z")).paths


def container(name: str, started: str = "2026-11-24T03:00:00Z") -> dict[str, Any]:
    return {"name": name, "state": {"running": {"startedAt": started}}}


def mounts(name: str, *volumes: str) -> dict[str, Any]:
    return {"name": name, "volumeMounts": [{"name": volume, "mountPath": "/x"} for volume in volumes]}


def read(**changes: Any) -> NodePod | None:
    raw = {
        "metadata": {"name": "app-0", "namespace": "shop", "uid": "u"},
        "spec": {
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}}],
            "containers": [mounts("app", "v")],
        },
        "status": {
            "phase": "Running",
            "startTime": "2026-11-24T03:00:00Z",
            "containerStatuses": [container("app")],
        },
    }
    return node_pod(msgspec.json.decode(msgspec.json.encode(raw | changes), type=NodePodObject))


def test_a_pod_is_read() -> None:
    volumes = (PodVolume("data", read_only=True, held_since=NOW),)
    assert read() == make_pod(uid="u", volumes=volumes)


def test_a_mount_is_held_by_the_containers_that_have_it_alone() -> None:
    """One beside them, as a mesh adds it, runs on when these are started anew; one that is a sidecar may have it, too."""
    later, latest = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    spec = {
        "volumes": [
            {"name": name, "persistentVolumeClaim": {"claimName": claim}}
            for name, claim in (("v", "data"), ("w", "logs"), ("raw", "disk"), ("x", "unused"), ("y", "data"))
        ],
        "containers": [
            mounts("app", "v", "w"),
            mounts("mesh"),
            mounts("second", "y") | {"volumeDevices": [{"name": "raw", "devicePath": "/dev/x"}]},
        ],
        "initContainers": [mounts("shipper", "w")],
    }
    status = {
        "phase": "Running",
        "startTime": "2026-11-24T03:00:00Z",
        "containerStatuses": [
            container("app", "2026-11-24T04:00:00Z"),
            container("mesh"),
            container("second", "2026-11-24T05:00:00Z"),
        ],
        "initContainerStatuses": [container("shipper")],
    }
    pod = read(spec=spec, status=status)
    assert pod is not None
    assert [(one.claim, one.held_since) for one in pod.volumes] == [
        ("data", later),
        ("logs", NOW),
        ("disk", latest),
        ("unused", None),
        ("data", latest),
    ]
    assert [one.containers_since for one in make_target(pod).expected] == [later]


def test_a_pod_of_generic_ephemeral_volumes_uses_claims_named_after_it() -> None:
    pod = read(spec={"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}]})
    assert pod is not None
    assert pod.volumes == (PodVolume("app-0-scratch"),)


def test_a_pod_without_claims_is_of_no_interest() -> None:
    assert read(spec={"volumes": [{"name": "tmp", "emptyDir": {}}]}) is None


@pytest.mark.parametrize(
    ("container", "started"),
    {
        "being made": ({"state": {"waiting": {"reason": "ContainerCreating"}}}, False),
        "crashing again and again": (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}},
            },
            True,
        ),
        "ended": ({"state": {"terminated": {"exitCode": 0}}}, True),
        "unknown": ({}, False),
    }.values(),
)
def test_whether_a_container_ever_ran(container: dict[str, Any], started: bool) -> None:
    pod = read(status={"phase": "Running", "containerStatuses": [container]})
    assert pod is not None
    assert pod.runs is started


@pytest.mark.parametrize(
    ("containers", "read_only"),
    {
        "every container only reads": (
            [[{"name": "v", "readOnly": True}], [{"name": "v", "readOnly": True}]],
            True,
        ),
        "one of them writes": ([[{"name": "v", "readOnly": True}], [{"name": "v"}]], False),
        "nobody mounts it": ([[{"name": "other", "readOnly": True}]], False),
    }.values(),
)
def test_a_volume_that_all_containers_mount_for_reading_is_only_read(
    containers: list[list[dict[str, Any]]], read_only: bool
) -> None:
    pod = read(
        spec={
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"volumeMounts": mounts} for mounts in containers],
        }
    )
    assert pod is not None
    assert pod.volumes == (PodVolume("data", read_only=read_only),)


@pytest.mark.parametrize(
    "status",
    {
        "an init container runs": {"initContainerStatuses": [{"state": {"running": {}}}]},
        "an init container ended, and the next waits for its image": {
            "initContainerStatuses": [
                {"state": {"terminated": {"exitCode": 0}}},
                {"state": {"waiting": {"reason": "ImagePullBackOff"}}},
            ],
            "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}],
        },
        "one container runs, another's image cannot be pulled": {
            "containerStatuses": [
                {"state": {"running": {"startedAt": "2026-11-24T03:00:00Z"}}},
                {"state": {"waiting": {"reason": "ImagePullBackOff"}}},
            ]
        },
    }.values(),
)
def test_a_pod_that_is_pending_uses_its_volumes_once_anything_of_it_runs(status: dict[str, Any]) -> None:
    """Containers begin after the volumes are mounted; the phase stays Pending until the last of them has begun."""
    pod = read(status={"phase": "Pending", "startTime": "2026-11-24T03:00:00Z", **status})
    assert pod is not None
    assert pod.runs
    assert not pod.waits
    target = make_target(replace(pod, volumes=(PodVolume("data"),)))
    assert target.mounted
    assert [one.uid for one in target.expected] == ["u"]
