"""Many volumes turn bad at once."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.bench import Bench, Driver, Operator, Request
from benchmarks.bulkdriver import Order
from benchmarks.table import Line, spread
from benchmarks.watched import Step


def most_at_once(requests: Sequence[Request]) -> int:
    """Return how many of these requests were under way at one time, at most."""
    edges = sorted([(one.begun, 1) for one in requests] + [(one.ended, -1) for one in requests])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


async def _collect(bench: Bench, *, events: int, records: int, within: float) -> list[Request]:
    """Gather the operator's writes until so many Events and records were made, or time is up."""
    seen: list[Request] = []
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        await asyncio.sleep(0.25)
        seen += (one for one in bench.audited() if one.writes)
        made = Counter(one.resource for one in seen if one.code < 300)
        if made["events"] >= events and made["volumehealths"] >= records:
            break
    await asyncio.sleep(3.0)  # what comes now is too much
    return seen + [one for one in bench.audited() if one.writes]


async def thousand(bench: Bench, driver: Driver, *, bad: int, times: int) -> list[Line]:
    """Let 1,000 of the volumes turn bad, each with a claim and a Pod; several times, each between two floors."""
    bursts = [await _burst(bench, driver, bad) for _ in range(times)]
    floor = min(number for one in bursts for number in one.floors)
    claims, rest = (median(getattr(one, name) for one in bursts) for name in ("claims", "rest"))
    exact = all(one.exact for one in bursts)
    step = max(one.step for one in bursts)
    return [
        Line(
            f"{bad:,} volumes turn bad at once: every PVC event",
            f"at most 1.75 x {bad:,} bare records and their events",
            f"{floor:.2f} s",
            f"{claims:.2f} s",
            claims / floor,
            claims <= 1.75 * floor,
            {"bursts": [one.detail for one in bursts]},
        ),
        Line(
            f"{bad:,} volumes turn bad at once: records, Pod events, status",
            "within 6 s; none lost, none repeated",
            "",
            f"{rest:.2f} s; {'each told once' if exact else 'NOT each told once'}, "
            f"{max(one.at_once for one in bursts)} requests at once at most",
            rest / 6,
            rest <= 6 and exact,
            {"claims": spread([one.claims for one in bursts]), "rest": spread([one.rest for one in bursts])},
        ),
        Line(
            f"event loop while {bad:,} turn bad",
            "longest step under 50 ms",
            "",
            f"{step:.0f} ms of processor",
            step / 50,
            step < 50,
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Burst:
    """What one burst took. Seconds from the end of the driver's answer; the longest step in milliseconds."""

    floors: list[float]
    claims: float
    rest: float
    exact: bool
    at_once: int
    step: float
    detail: dict[str, object]


async def _burst(bench: Bench, driver: Driver, bad: int) -> _Burst:
    await bench.policy("all", interval="5s", unhealthyAfter="0s", healthyAfter="0s")
    floors = [(await bench.floor("record_and_tell", *bench.server, bad, n))[0] for n in (16, 32)]
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(2)
        await operator.watch("reset")
        bench.skip_audit()
        await bench.tell(driver, Order(bad=bad))
        seen = await _collect(bench, events=2 * bad, records=bad, within=120)
        told = (await bench.tell(driver, Order())).heard
        watch = await operator.watch()
        await _back_to_health(bench, driver, operator)
    floors += [(await bench.floor("record_and_tell", *bench.server, bad, 16))[0]]
    made = [one for one in seen if one.code < 300]
    on_claims, on_pods = _events(made, "data-"), _events(made, "app-")
    written = [one for one in made if one.resource == "volumehealths"]
    records = list(
        {one.name: one for one in reversed(written)}.values()
    )  # the second write of each is a receipt
    statuses = [one for one in made if one.resource == "volumehealthpolicies/status"]
    ends = [max((one.ended for one in part), default=0.0) - told for part in (on_pods, records, statuses)]
    named = [{one.name for one in part} for part in (on_claims, on_pods, records)]
    return _Burst(
        floors,
        claims=max((one.ended for one in on_claims), default=0.0) - told,
        rest=max(ends),
        exact=len(on_claims) == len(on_pods) == bad and all(len(names) == bad for names in named),
        at_once=most_at_once([one for one in seen if one.resource != "leases"]),
        step=_worst(watch.longest),
        detail={
            "floors": floors,
            "made": [len(on_claims), len(on_pods), len(records), len(statuses)],
            "receipts": len(written) - len(records),
            "codes": dict(Counter(str(one.code) for one in seen)),
            "first_event": min((one.begun for one in on_claims), default=0.0) - told,
            "pods_records_status": ends,
            "longest_steps": [[step.cpu, step.seconds, step.what] for step in watch.longest[:5]],
        },
    )


async def gone(bench: Bench, driver: Driver, *, claims: int, seconds: float) -> list[Line]:
    """Let the driver say that all is bad, then nothing at all."""
    await bench.policy("all", interval="5s", unhealthyAfter="0s", healthyAfter="0s")
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(2)
        await operator.watch("reset")
        bench.skip_audit()
        await bench.tell(driver, Order(bad=claims))
        slowest, seen = await _observe(bench, operator, seconds)
        watch = await operator.watch()
        told = (await bench.tell(driver, Order())).heard
        status = await bench.status("all")
        await _back_to_health(bench, driver, operator)
    await bench.policy("all", interval="5s", unhealthyAfter="0s", healthyAfter="0s")
    lines = [_wide(claims, seconds, told, slowest, seen=seen, status=status, steps=watch.longest[:5])]
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(2)
        await operator.watch("reset")
        bench.skip_audit()
        await bench.tell(driver, Order(hang=True))
        silent = asyncio.get_running_loop().time()
        while (await bench.status("all"))["claims"]["unknown"] != claims:
            await asyncio.sleep(0.5)
            assert asyncio.get_running_loop().time() < silent + 120, await bench.status("all")
        silent = asyncio.get_running_loop().time() - silent
        await asyncio.sleep(3)
        seen = [one for one in bench.audited() if one.writes and one.resource != "leases"]
        watch = await operator.watch()
    await bench.no_policies()
    written = Counter(one.resource for one in seen)
    few = written["volumehealths"] == 0 and written["events"] <= 3
    lines.append(
        Line(
            f"the driver of {claims:,} volumes falls silent",
            "one story, frozen, no storm",
            "",
            f"{len(seen)} writes in all; Unknown after {silent:.0f} s; longest step {_worst(watch.longest):.0f} ms",
            None,
            few and _worst(watch.longest) < 50,
            {"writes": dict(written), "steps": [[s.cpu, s.seconds, s.what] for s in watch.longest[:5]]},
        )
    )
    return lines


def _wide(
    claims: int,
    seconds: float,
    told: float,
    slowest: float,
    *,
    seen: Sequence[Request],
    status: dict[str, object],
    steps: Sequence[Step],
) -> Line:
    step = _worst(steps)
    made = [one for one in seen if one.code < 300]
    on_claims, on_pods = _events(made, "data-"), _events(made, "app-")
    conditions = status["conditions"]
    assert isinstance(conditions, list)
    reason = next(one["reason"] for one in conditions if one["type"] == "VolumesHealthy")
    statuses = [one.ended - told for one in made if one.resource == "volumehealthpolicies/status"]
    pace = len(on_claims) / seconds
    return Line(
        f"{claims:,} volumes turn bad at once (the array is gone)",
        "one problem, PVC events paced, no Pod events, responsive",
        "",
        f"{reason} after {min(statuses, default=0.0):.1f} s; {pace:.0f} PVC events/s, {len(on_pods)} Pod events; "
        f"longest step {step:.0f} ms",
        step / 50,
        reason == "DriverWideProblem" and not on_pods and pace < 60 and step < 50,
        {
            "slowest_answer_of_the_watch": slowest,
            "at_once": most_at_once([one for one in seen if one.resource != "leases"]),
            "records": sum(one.resource == "volumehealths" for one in made),
            "steps": [[one.cpu, one.seconds, one.what] for one in steps],
            "codes": dict(Counter(str(one.code) for one in seen)),
        },
    )


async def _observe(bench: Bench, operator: Operator, seconds: float) -> tuple[float, list[Request]]:
    """Gather the operator's writes for a while, and see how fast its watch answers meanwhile."""
    slowest, seen = 0.0, list[Request]()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        begun = time.monotonic()
        await operator.watch()
        slowest = max(slowest, time.monotonic() - begun)
        seen += (one for one in bench.audited() if one.writes)
        await asyncio.sleep(0.5)
    return slowest, seen


async def _back_to_health(bench: Bench, driver: Driver, operator: Operator) -> None:
    """Heal everything and stop caring: the next operator finds records and policies gone."""
    await bench.no_policies()
    await bench.no_records()
    await bench.no_events()
    await bench.tell(driver, Order(bad=0))
    await operator.watch("reset")


def _events(requests: Sequence[Request], prefix: str) -> list[Request]:
    """Return the Events that were made about objects named so."""
    return [
        one
        for one in requests
        if one.verb == "create" and one.resource == "events" and one.name.startswith(prefix)
    ]


def _worst(longest: Sequence[Step]) -> float:
    """Return milliseconds of processor time of the longest step."""
    return max((step.cpu * 1000 for step in longest), default=0.0)
