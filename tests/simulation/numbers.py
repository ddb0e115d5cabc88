"""Invariant 9: at rest the numbers that people read are those of the world.

Counts of the status are held to the world elsewhere (invariant 5), and records as well (4). Here conditions, summary,
problems, records' Pods and metrics are held to these.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from simulation.world import SHOP, World

NUMBERS = "9 numbers"
_METRIC_OF = {"notCSI": "not_csi"}
_UNHEALTHY = re.compile(r"(\d+) of (\d+) monitored claims?")
_PODS = 20
"""Names of Pods that a record has."""

Json = Mapping[str, Any]


def check_numbers(world: World) -> None:
    """Check what conditions, summary, problems, records and metrics of a world at rest say."""
    records = [one for one in world.server.objects("volumehealths") if one["status"]["health"] == "Unhealthy"]
    for record in records:
        _pods(world, record)
    metrics = _metrics(world)
    if records and metrics is not None:
        world.history.reach("numbers of a world at rest with unhealthy claims")
    for policy in world.server.objects("volumehealthpolicies"):
        name, status = policy["metadata"]["name"], policy.get("status", {})
        mine = [one for one in records if one["status"].get("policy") == name]
        _words(world, name, status)
        _problems(world, name, status, mine)
        if metrics is not None:
            _exported(world, metrics, name, status, mine)


def _pods(world: World, record: Json) -> None:
    life = next(
        (one for one in world.lives if one.died is None and one.name == record["metadata"]["name"]), None
    )
    if life is None:
        return
    there = sorted(name for _, name, _, died in life.pods if died is None)[:_PODS]
    said = record["status"].get("pods", [])
    if said != there:
        world.history.violate(NUMBERS, f"the record of {life.name} names the Pods {said}, there are {there}")


def _words(world: World, name: str, status: Json) -> None:
    """The condition and the first line say how many of how many are unhealthy."""
    counts = status.get("claims", {})
    unhealthy = counts.get("unhealthy", 0)
    if not unhealthy:
        return
    expected = (unhealthy, counts.get("selected", 0) - counts.get("unmonitored", 0))
    said = [one["message"] for one in status.get("conditions", ()) if one["type"] == "VolumesHealthy"]
    said += [line for line in status.get("summary", ()) if line.startswith("UNHEALTHY ")]
    for text in said:
        found = _UNHEALTHY.search(text)
        numbers = tuple(map(int, found.groups())) if found else None
        if numbers != expected and "DRIVER-WIDE" not in text:
            world.history.violate(NUMBERS, f"{name} says {text!r}, counted are {expected}")


def _problems(world: World, name: str, status: Json, records: Sequence[Json]) -> None:
    """A problem has as many claims as records have its finding; together they have all that are unhealthy."""
    grouped = set()
    for problem in status.get("problems", ()):
        what = (problem["source"], problem["status"], problem["reason"])
        grouped.add((problem["driver"], *what))
        having = [
            one["metadata"]["name"]
            for one in records
            if one["status"].get("driver") == problem["driver"]
            and any(
                (f["source"], f["status"], f["reason"]) == what for f in one["status"].get("findings", ())
            )
        ]
        if problem["claims"] != len(having):
            world.history.violate(
                NUMBERS, f"{name} counts {problem['claims']} claims of {what}, these have it: {having}"
            )
    if status.get("problemsOmitted"):
        return
    for one in records:
        for finding in one["status"].get("findings", ()):
            key = (one["status"].get("driver"), finding["source"], finding["status"], finding["reason"])
            if key not in grouped:
                world.history.violate(
                    NUMBERS, f"no problem of {name} is {key}, {one['metadata']['name']} has it"
                )


def _metrics(world: World) -> dict[tuple[str, frozenset[tuple[str, str]]], float] | None:
    """Return what the process that leads exports; None while none is known to."""
    lease = world.server.find("leases", "volumehealth-operator", "volumehealth-system")
    holder = lease["spec"].get("holderIdentity", "") if lease else ""
    for replica in world.operators.values():
        leads = holder == f"{replica.name}-{replica.starts}" or len(world.operators) == 1
        if leads and replica.process is not None and replica.metrics is not None:
            return {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in replica.metrics.registry.collect()
                for sample in family.samples
                if sample.name.startswith("volumehealth_")
            }
    return None


def _exported(
    world: World,
    metrics: Mapping[tuple[str, frozenset[tuple[str, str]]], float],
    name: str,
    status: Json,
    records: Sequence[Json],
) -> None:
    for state, number in status.get("claims", {}).items():
        if state in ("healthyByNode", "capacityWarning"):
            continue
        labels = {"policy": name, "state": _METRIC_OF.get(state, state)}
        _equal(world, metrics, "volumehealth_policy_claims", labels, number)
    for condition in status.get("conditions", ()):
        if condition["type"] != "Stalled":
            labels = {"policy": name, "type": condition["type"], "status": condition["status"]}
            _equal(world, metrics, "volumehealth_policy_condition", labels, 1)
    told = {
        (found["namespace"], found["persistentvolumeclaim"])
        for (metric, labels) in metrics
        if metric == "volumehealth_claim_unhealthy" and (found := dict(labels))["policy"] == name
    }
    there = {(SHOP, one["metadata"]["name"]) for one in records}
    if told != there:
        world.history.violate(NUMBERS, f"metrics of {name}: unhealthy are {told}, records say {there}")


def _equal(
    world: World,
    metrics: Mapping[tuple[str, frozenset[tuple[str, str]]], float],
    metric: str,
    labels: Mapping[str, str],
    number: float,
) -> None:
    found = metrics.get((metric, frozenset(labels.items())))
    if found != number:
        world.history.violate(NUMBERS, f"{metric}{dict(labels)} is {found}, the status says {number}")
