"""A thousand node agents: what following and merging their reports and Leases costs the operator."""

import asyncio
import json
from collections.abc import Iterable, Sequence

from benchmarks.bench import NAMESPACE, Bench, Driver, Object
from benchmarks.etcd import NODES, Placed
from benchmarks.table import Line, spread
from volumehealth.model.clock import SystemClock, rfc3339
from volumehealth.model.report import AGENT_LABEL, AGENT_RENEW_SECONDS, AGENT_SILENT_SECONDS, agent_lease_name

_INTERVAL = 5.0
_REPORTS = "/apis/volumehealth.dev/v1alpha1/volumehealthreports"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
_CLOCK = SystemClock()


def _report(node: str, here: Sequence[Placed], driver: Driver, *, bad: bool) -> Object:
    """Write a report as an agent does that has asked about every claim of its node; of the first it may say something."""
    placed = here[0]
    covered = sorted(one.claim_uid for one in here)
    now = rfc3339(_CLOCK.now())
    condition = {
        "status": "Degraded",
        "reason": "Slow",
        "message": f"the path is slow, as of {now}",
        "since": now,
        "origin": "Driver",
    }
    volume = {
        "driver": driver.name,
        "volumeHandle": f"{driver.prefix}{placed.number + 1}",
        "namespace": placed.namespace,
        "claim": placed.claim,
        "claimUID": placed.claim_uid,
        "pods": [placed.pod],
        "conditions": [condition],
    }
    told = {
        "name": driver.name,
        "state": "Answering",
        "since": now,
        "healthAPI": "VolumeCondition",
        "methods": ["NodeGetVolumeStats"],
    }
    return {
        "apiVersion": "volumehealth.dev/v1alpha1",
        "kind": "VolumeHealthReport",
        "metadata": {"name": node},
        "status": {
            "plane": "Node",
            "node": node,
            "drivers": [told],
            "coverage": [{"origin": "Driver", "claims": covered, "count": len(covered)}],
            "volumes": [volume] if bad else [],
        },
    }


def _lease(node: str) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": agent_lease_name(node),
            "namespace": NAMESPACE,
            "labels": {AGENT_LABEL: "node"},
        },
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": AGENT_SILENT_SECONDS,
            "renewTime": _CLOCK.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


async def _apply(bench: Bench, path: str, bodies: Iterable[Object]) -> int:
    """Apply objects; return their bytes."""
    made = list(bodies)
    await bench.objects.all_of(bench.apply(path, body) for body in made)
    return sum(len(json.dumps(body)) for body in made)


async def nodes(
    bench: Bench, driver: Driver, *, number: int, claims: int, changing: int, rounds: int
) -> list[Line]:
    """Let so many of the nodes' reports change in each interval of 5 seconds, and Leases be renewed as agents do."""
    names = [f"node-{index:03}" for index in range(number)]
    await bench.objects.all_of(bench.ensure_node(name) for name in names)
    placed = {name: [Placed(one) for one in range(index, claims, NODES)] for index, name in enumerate(names)}
    await _apply(bench, _REPORTS, (_report(name, placed[name], driver, bad=False) for name in names))
    await _apply(bench, _LEASES, map(_lease, names))
    await bench.policy("all", interval=f"{_INTERVAL:.0f}s")
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(6)
        quiet = await operator.watch("reset")
        await asyncio.sleep(2 * _INTERVAL)
        before = await operator.watch("reset")
        bench.skip_audit()
        size = 0
        renewing = round(number * _INTERVAL / AGENT_RENEW_SECONDS)
        for turn in range(rounds):
            begun = asyncio.get_running_loop().time()
            chosen = [names[(turn * changing + index) % number] for index in range(changing)]
            size += await _apply(
                bench, _REPORTS, (_report(name, placed[name], driver, bad=True) for name in chosen)
            )
            due = [names[(turn * renewing + index) % number] for index in range(renewing)]
            await _apply(bench, _LEASES, map(_lease, due))
            await asyncio.sleep(max(0.0, begun + _INTERVAL - asyncio.get_running_loop().time()))
        after = await operator.watch()
        written = [one for one in bench.audited() if one.writes and one.resource != "leases"]
        status = await bench.status("all")
    await bench.no_policies()
    for path, made in ((_REPORTS, names), (_LEASES, [agent_lease_name(name) for name in names])):
        await bench.objects.all_of(bench.removed(f"{path}/{name}") for name in made)
    idle = (before.cpu - quiet.cpu) / (before.now - quiet.now)
    share = (after.cpu - before.cpu) / (after.now - before.now)
    worst = max((step.cpu for step in after.longest), default=0.0)
    return [
        Line(
            f"{number:,} nodes' reports, {changing} changing in each interval of 5 s",
            "under 2 % of a core",
            f"{idle:.1%} while none changes",
            f"{share:.1%}; {size / rounds / 1024:.0f} KiB and {changing} writes of agents an interval, "
            f"{len(written) / rounds:.1f} of the operator; an agent renews its Lease once a minute",
            share / 0.02,
            share < 0.02,
            {
                "checks": spread(after.checks["all"]),
                "idle": idle,
                "longest_step": worst,
                "agents": status.get("agents"),
                "claims": status.get("claims"),
            },
        )
    ]
