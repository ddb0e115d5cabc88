"""What must hold, seen from outside: what is on the API server and on the wire, against what the world knows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from simulation.driver import SimVolume, Statement
from simulation.observe import Told
from simulation.telling import Patience, Segment, TellingChecker, united
from simulation.world import POLICY, SHOP, World
from volumehealth.policy.durations import parse_duration

TELLING = "2 telling"
SPEAKING = "3 nothing recovers unheard"
REST = "5 rest writes nothing"
SUM = "5 status adds up"
GENTLE = "10 gentleness"


def check_all(world: World) -> None:
    """Check what can be checked after a run has settled."""
    patience = patience_of(world)
    for claim in world.server.objects("persistentvolumeclaims"):
        volume = world.driver.volumes[claim["spec"]["volumeName"].removeprefix("pv-")]
        name = claim["metadata"]["name"]
        told = told_about(world, claim["metadata"]["uid"])
        _telling(world, f"claim {name}", volume, told, patience)
        for pod in world.server.objects("pods"):
            if pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == name:
                about_pod = told_about(world, pod["metadata"]["uid"])
                _telling(world, f"Pod {pod['metadata']['name']}", volume, about_pod, patience)
        _speaking(world, name, volume, told, patience)
    _sum(world)
    _gentle(world)


def patience_of(world: World) -> Patience:
    """Read the policy's delays."""
    spec = world.plan.spec
    ill, well, interval, timeout = (
        parse_duration(spec[name]).total_seconds()
        for name in ("unhealthyAfter", "healthyAfter", "interval", "timeout")
    )
    return Patience(ill, well, interval * 1.05, timeout)


def segments_of(world: World, volume: SimVolume) -> list[Segment]:
    """Return what was true of a volume."""
    found, start, ill = [], 0.0, False
    for at, illness in volume.truth:
        if (illness is not None) != ill:
            found.append(Segment(start, at, ill))
            start, ill = at, illness is not None
    return [*found, Segment(start, world.loop.time(), ill)]


def told_about(world: World, uid: str) -> list[Told]:
    """Return the Events on an object."""
    return [one for one in world.seen.told if one.about == uid]


def _telling(world: World, what: str, volume: SimVolume, told: list[Told], patience: Patience) -> None:
    losses = [illness is not None and illness.status == "DataLoss" for _, illness in volume.truth]
    if any(losses) and not world.driver.legacy:  # the legacy text says no such thing
        patience = replace(patience, ill=0.0)  # confirmed at once
    segments = segments_of(world, volume)
    complaint = TellingChecker(segments, told, united(world.disturbed), patience).complaint()
    if complaint:
        world.history.violate(TELLING, f"{what}: {complaint}")


def _speaking(world: World, name: str, volume: SimVolume, told: list[Told], patience: Patience) -> None:
    """Nothing recovers unless its source has said so, for as long as it takes."""
    statements = world.driver.statements.get(volume.handle, [])
    for event in told:
        if event.reason != "VolumeConditionNormal":
            continue
        good = _good_before(statements, event.at)
        span = good[-1].heard_at - good[0].said_at if good else 0.0
        if span < patience.well - 1.0:
            world.history.violate(
                SPEAKING,
                f"{name} is told as recovered at {event.at:.1f} s, after {span:.1f} s of healthy answers",
            )


def _good_before(statements: list[Statement], at: float) -> list[Statement]:
    """Return the healthy statements since the last adverse one that was heard before a moment."""
    good: list[Statement] = []
    for one in statements:
        if one.heard_at > at:
            break
        good = [] if one.illness is not None else [*good, one]
    return good


def _sum(world: World) -> None:
    policy = world.server.find("volumehealthpolicies", POLICY)
    counts: dict[str, Any] = (policy or {}).get("status", {}).get("claims", {})
    expected = {
        "selected": len(world.driver.volumes),
        "unhealthy": sum(volume.illness is not None for volume in world.driver.volumes.values()),
        "unknown": 0,
    }
    expected["healthy"] = expected["selected"] - expected["unhealthy"]
    found = {name: counts.get(name, 0) for name in expected}
    if found != expected:
        world.history.violate(SUM, f"status.claims is {found}, the world is {expected}")
    for name, volume in _claims(world):
        record = world.server.find("volumehealths", name, SHOP)
        health = (record or {}).get("status", {}).get("health")
        if volume.illness is not None and health != "Unhealthy":
            world.history.violate(
                "4 records", f"the record of {name} says {health}, its volume is {volume.illness}"
            )
        if volume.illness is None and health not in (None, "Recovered"):
            world.history.violate("4 records", f"the record of {name} says {health}, its volume is well")


def _claims(world: World) -> Iterator[tuple[str, SimVolume]]:
    for claim in world.server.objects("persistentvolumeclaims"):
        yield claim["metadata"]["name"], world.driver.volumes[claim["spec"]["volumeName"].removeprefix("pv-")]


def check_rest(world: World, since: float) -> None:
    """After a fresh operator took over a world at rest: it wrote nothing but the heartbeat and due reminders."""
    for at, user, plural, method, old, new in world.seen.writes:
        if at < since or user == "admin" or plural == "leases":
            continue
        if plural == "volumehealthpolicies" and _without_beat(old) == _without_beat(new):
            continue
        if plural == "events" and method == "PATCH":
            continue
        world.history.violate(REST, f"{method} {plural} at rest: {_difference(old, new)}")


def _without_beat(value: Any) -> Any:
    if value is None:
        return None
    status = {name: one for name, one in value.get("status", {}).items() if name != "lastCheckTime"}
    return {**value, "metadata": None, "status": status}


def _difference(old: Any, new: Any) -> str:
    if old is None or new is None:
        return str((new or old)["metadata"]["name"])
    before, after = old.get("status", {}), new.get("status", {})
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(f"{name}: {before.get(name)} -> {after.get(name)}" for name in names)


def _gentle(world: World) -> None:
    most = world.driver.most_in_flight
    for method, limit in (
        ("ListVolumes", 1),
        ("ControllerListVolumeHealth", 1),
        ("ControllerGetVolume", 4),
        ("ControllerGetVolumeHealth", 4),
    ):
        if most.get(method, 0) > limit:
            world.history.violate(GENTLE, f"{most[method]} calls of {method} at once")
