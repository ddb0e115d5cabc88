"""A quiet cluster: what a check costs, and what is written."""

import asyncio
from statistics import median

from benchmarks.bench import Bench, Driver
from benchmarks.table import Line, ms, spread


async def check_by_list(bench: Bench, driver: Driver, *, claims: int, seconds: float) -> list[Line]:
    """Check every 5 seconds; nothing changes."""
    await bench.policy("all", interval="5s")
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(6)
        await operator.watch("reset")
        floors, _ = await asyncio.gather(
            bench.floor("list_volumes", bench.endpoint(driver), int(seconds / 2), 2.0), asyncio.sleep(seconds)
        )
        watch = await operator.watch()
    await bench.no_policies()
    floor, result = median(floors), median(watch.probes) + median(watch.checks["all"])
    return [
        Line(
            f"check by list, {claims:,} volumes, nothing changed",
            "at most 2.5 x a bare ListVolumes loop beside it",
            ms(floor),
            f"{ms(result)} ({ms(median(watch.probes))} of it the probe)",
            result / floor,
            result <= 2.5 * floor,
            {"floor": spread(floors), "probe": spread(watch.probes), "check": spread(watch.checks["all"])},
        )
    ]


async def steady(bench: Bench, driver: Driver, *, claims: int, seconds: float) -> list[Line]:
    """Leave it alone at an interval of a minute."""
    await bench.policy("all", interval="1m")
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(3)
        before = await operator.watch("reset")
        writes = await bench.writes_within(seconds)
        after = await operator.watch()
    await bench.no_policies()
    share = (after.cpu - before.cpu) / (after.now - before.now)
    leases = writes.pop("leases", 0)
    allowed = int(seconds // 300) + 1
    return [
        Line(
            f"steady state, {claims:,} claims, interval 1 min: processor",
            "under 0.5 % of one core",
            "",
            f"{share:.2%} over {seconds:.0f} s",
            share / 0.005,
            share < 0.005,
            {
                "cpu_seconds": after.cpu - before.cpu,
                "checks": len(after.checks.get("all", ())),
                "probes": len(after.probes),
            },
        ),
        Line(
            f"steady state, {claims:,} claims, interval 1 min: writes",
            "none but the heartbeat (1 in 5 min)",
            "",
            f"{sum(writes.values())} in {seconds:.0f} s ({leases} renewals of the Lease apart)",
            None,
            sum(writes.values()) <= allowed,
            {"writes": dict(writes), "lease": leases},
        ),
    ]
