"""Telling on a real API server: what kubectl shows, what a restart repeats (nothing), what a burst loses (nothing)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from support.health import (
    DRIVER,
    SteppedClock,
    cleared,
    found,
    make_claim,
    make_finding,
    make_health,
    make_policy,
    make_result,
)
from unit.report.scenes import SCENES
from volumehealth.cluster.objects import RawRecord
from volumehealth.judge.result import CheckResult
from volumehealth.kube.api import Api
from volumehealth.kube.writes import Limits
from volumehealth.model.clock import SystemClock
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import at_once
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects

pytestmark = pytest.mark.cluster

Kubectl = Callable[..., str]
COLUMNS = [
    "NAME",
    "HEALTH",
    "STATUS",
    "REASON",
    "SOURCE",
    "NODE",
    "SINCE",
    "DRIVER",
    "POLICY",
    "PODS",
    "MESSAGE",
]


@dataclass
class Telling:
    """A reporter that runs, and what it is told."""

    api: Api
    clock: SteppedClock
    metrics: Metrics = field(default_factory=Metrics)
    pods: list[Pod] = field(default_factory=list)
    reporter: Reporter = field(init=False)

    def start(self) -> None:
        """Start anew, as a process does that remembers nothing."""
        self.reporter = Reporter(
            self.api, clock=self.clock, random=Random(1), metrics=self.metrics, pods_of=self.pods_of
        )

    def pods_of(self, ref: ClaimRef) -> Sequence[Pod]:
        return [pod for pod in self.pods if pod.namespace == ref.namespace and ref.name in pod.claims]

    async def check(self, *healths: tuple[Claim, ClaimHealth], **changes: Any) -> None:
        await self.show(make_result(healths, now=self.clock.now(), **changes))

    async def show(self, result: CheckResult, *, seconds: float = 60) -> None:
        """Report, and wait until it is written."""
        task = asyncio.create_task(self.reporter.run())
        self.reporter.report(result)
        left = await self.reporter.drain(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert left == 0


@asynccontextmanager
async def telling_to(plane: ControlPlane) -> AsyncIterator[Telling]:
    async with await Api.connect(str(plane.kubeconfig)) as api:
        telling = Telling(api, SteppedClock(SystemClock().now().replace(microsecond=0)))
        telling.start()
        yield telling


@pytest.fixture
async def telling(control_plane: ControlPlane, cluster_objects: ClusterObjects) -> AsyncIterator[Telling]:
    async with telling_to(control_plane) as one:
        yield one


@pytest.fixture
async def claim(cluster_objects: ClusterObjects, namespace: str, telling: Telling) -> Claim:
    """A bound claim that two Pods use."""
    made = await cluster_objects.make_claim(namespace, "orders-db", driver=DRIVER, handle="vol-1")
    for name in ("orders-db-0", "orders-db-1"):
        pod = await cluster_objects.make_pod(namespace, name, ["orders-db"], node="worker-2")
        telling.pods.append(
            Pod(namespace, name, pod["metadata"]["uid"], "worker-2", "Running", ("orders-db",))
        )
    return replace(make_claim("orders-db", namespace=namespace), uid=made["metadata"]["uid"])


def events(kubectl: Kubectl, namespace: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(kubectl("get", "events", "-n", namespace, "-o", "json"))[
        "items"
    ]
    return listed


def bad(claim: Claim, telling: Telling, **changes: Any) -> tuple[Claim, ClaimHealth]:
    return (
        claim,
        make_health(claim, make_finding(since=telling.clock.now(), confirmed=telling.clock.now(), **changes)),
    )


async def test_kubectl_describe_tells_of_the_finding_and_of_its_end(
    telling: Telling, claim: Claim, namespace: str, kubectl: Kubectl
) -> None:
    finding = make_finding(since=telling.clock.now())
    await telling.check((claim, make_health(claim, finding)), turns=[found(claim, finding)])
    for kind, name in (("pvc", "orders-db"), ("pod", "orders-db-0"), ("pod", "orders-db-1")):
        page = kubectl("describe", kind, name, "-n", namespace)
        assert "Warning  VolumeConditionAbnormal" in page
        assert "volumehealth  Inaccessible/VolumeNotFound (Controller): " in page
        assert f"see: kubectl describe vh orders-db -n {namespace}" in page
    over = telling.clock.advance(minutes=10)
    health = make_health(claim, recovered=over)
    await telling.check((claim, health), turns=[cleared(claim, finding, at=over)])
    for kind, name in (("pvc", "orders-db"), ("pod", "orders-db-0")):
        assert "Normal   VolumeConditionNormal" in kubectl("describe", kind, name, "-n", namespace)


async def test_a_reminder_raises_the_count_and_an_expired_event_is_made_again(
    telling: Telling, claim: Claim, namespace: str, kubectl: Kubectl
) -> None:
    health = bad(claim, telling)
    await telling.check(health)
    telling.clock.advance(minutes=31)
    await telling.check(health)
    assert [event["count"] for event in events(kubectl, namespace)] == [2, 2, 2]
    kubectl("delete", "events", "--all", "-n", namespace)
    telling.clock.advance(minutes=31)
    await telling.check(health)
    assert [event["count"] for event in events(kubectl, namespace)] == [3, 3, 3]


async def test_a_restart_repeats_no_event_and_no_record_and_goes_on_from_the_record(
    telling: Telling, claim: Claim, namespace: str, kubectl: Kubectl
) -> None:
    await telling.check(bad(claim, telling))
    before = json.loads(kubectl("get", "vh", "orders-db", "-n", namespace, "-o", "json"))
    telling.start()
    telling.clock.advance(minutes=5)
    metadata = before["metadata"]
    record = RawRecord(
        claim.ref,
        metadata["uid"],
        metadata["ownerReferences"][0]["uid"],
        metadata["labels"],
        json.dumps(before["status"]).encode(),
    )
    resumed = at_once(telling.reporter.resume({claim.ref: record}))["storage"]
    (finding,) = resumed[claim.ref].findings
    assert finding.last_notified_at is not None
    await telling.check((claim, resumed[claim.ref]))
    after = json.loads(kubectl("get", "vh", "orders-db", "-n", namespace, "-o", "json"))
    assert after["metadata"]["resourceVersion"] == metadata["resourceVersion"]
    assert [event["count"] for event in events(kubectl, namespace)] == [1, 1, 1]


async def test_kubectl_get_shows_the_record(
    telling: Telling, claim: Claim, namespace: str, kubectl: Kubectl
) -> None:
    await telling.check(bad(claim, telling))
    head, row = kubectl("get", "vh", "-n", namespace, "-o", "wide").splitlines()
    assert head.split() == COLUMNS
    for cell in (
        "Unhealthy",
        "Inaccessible",
        "VolumeNotFound",
        "Controller",
        "storage",
        "orders-db-0, orders-db-1",
    ):
        assert cell in row
    health = make_health(claim, recovered=telling.clock.advance(minutes=10))
    await telling.check((claim, health))
    assert "Recovered" in kubectl("get", "vh", "-n", namespace)


async def test_an_event_in_a_namespace_that_is_going_is_let_go(
    telling: Telling, claim: Claim, namespace: str, kubectl: Kubectl
) -> None:
    kubectl("delete", "namespace", namespace, "--wait=false")
    await telling.check(bad(claim, telling))
    assert events(kubectl, namespace) == []
    assert b'result="Gone"' in at_once(telling.metrics.render())


async def test_a_burst_of_a_thousand_loses_none(telling: Telling, namespace: str, kubectl: Kubectl) -> None:
    claims = [make_claim(f"claim-{number}", namespace=namespace) for number in range(1000)]
    await telling.check(*(bad(claim, telling) for claim in claims), healthy=9000)
    assert len(events(kubectl, namespace)) == 1000
    assert len(kubectl("get", "vh", "-n", namespace, "-o", "name").splitlines()) == 1000


async def test_an_api_server_that_restarts_in_a_burst_loses_none_and_gets_none_twice(
    fresh_control_plane: Callable[..., ControlPlane], crds: list[dict[str, Any]]
) -> None:
    plane = fresh_control_plane()
    async with ClusterObjects(plane.kubeconfig) as objects:
        await objects.install_crds(crds)
        await objects.make_namespace("burst")
    claims = [make_claim(f"claim-{number}", namespace="burst") for number in range(1000)]
    async with telling_to(plane) as telling:
        result = make_result([bad(claim, telling) for claim in claims], healthy=9000)
        running = asyncio.create_task(telling.show(replace(result, now=telling.clock.now()), seconds=90))
        await asyncio.sleep(0.5)
        plane.kill_apiserver()
        written = len(at_once(telling.metrics.render()))
        await asyncio.sleep(2)
        await asyncio.to_thread(plane.start_apiserver)
        await running
    listed = events(plane.kubectl, "burst")
    assert written > 0
    assert len(listed) == 1000
    assert {event["count"] for event in listed} == {1}
    assert len(plane.kubectl("get", "vh", "-n", "burst", "-o", "name").splitlines()) == 1000


def policy_on(kubectl: Kubectl, name: str, spec: str = "{}") -> Policy:
    # Not in one pair of braces: kubectl 1.30 takes that for JSON.
    manifest = f"apiVersion: volumehealth.dev/v1alpha1\nkind: VolumeHealthPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    kubectl("apply", "-f", "-", input=manifest)
    made = json.loads(kubectl("get", "vhp", name, "-o", "json"))
    return replace(make_policy(name), uid=made["metadata"]["uid"], generation=made["metadata"]["generation"])


@pytest.mark.parametrize("scene", SCENES)
async def test_the_front_page_is_bounded(telling: Telling, kubectl: Kubectl, scene: str) -> None:
    policy = policy_on(kubectl, f"page-{scene.replace('_', '-')}")
    result = SCENES[scene]()
    if result.judgement is not None:
        turns = [
            found(result.claims[ref], health.findings[0])
            for ref, health in result.judgement.healths.items()
            if health.findings
        ]
        result = replace(result, judgement=replace(result.judgement, transitions=tuple(turns)))
    spec = replace(policy.spec, suspend=result.policy.spec.suspend)
    silent = SilentClaims(telling.api)
    reporter = Reporter(
        silent,
        clock=telling.clock,
        random=Random(1),
        metrics=telling.metrics,
        pods_of=lambda _: (),
        limits=Limits(paced_per_second=10_000),
    )
    task = asyncio.create_task(reporter.run())
    reporter.report(replace(result, policy=replace(policy, spec=spec), now=telling.clock.now()))
    assert await reporter.drain(60) == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    page = kubectl("describe", "vhp", policy.name)
    assert len(page.splitlines()) <= (170 if scene == "three_thousand_bad" else 110)


@dataclass
class SilentClaims:
    """The API server for policies only: these tests have no claims of their own."""

    api: Api

    async def request(self, method: str, path: str, **how: Any) -> bytes:
        if "/namespaces/" in path and "/namespaces/default/" not in path:
            return b"{}"
        return await self.api.request(method, path, **how)


async def test_the_status_is_written_once_and_then_only_as_a_heartbeat(
    telling: Telling, kubectl: Kubectl
) -> None:
    policy = policy_on(kubectl, "heartbeat")

    def version() -> tuple[str, str]:
        read = json.loads(kubectl("get", "vhp", policy.name, "-o", "json"))
        return read["metadata"]["resourceVersion"], read["status"]["lastCheckTime"]

    async def check() -> tuple[str, str]:
        result = replace(SCENES["all_healthy"](), policy=policy, now=telling.clock.now())
        await telling.show(result)
        return version()

    first = await check()
    telling.clock.advance(minutes=4)
    assert await check() == first
    telling.clock.advance(minutes=2)
    assert await check() != first
