"""What grows with what: policies, changes, time, and ten times as many claims."""

import asyncio
from collections.abc import Sequence

from benchmarks.bench import Bench, Driver
from benchmarks.table import Line

_STAY = 100
"""How many of the claims that come and go are there at a time."""
_WARM = 180
"""Seconds in which memory grows to what it stays at while claims come and go: 5 MB."""


async def policies(bench: Bench, driver: Driver, *, numbers: Sequence[int], seconds: float) -> list[Line]:
    """Let more and more policies select the same claims."""
    shares: dict[int, float] = {}
    probes: dict[int, int] = {}
    for number in numbers:
        for index in range(number):
            await bench.policy(f"all-{index:03}", interval="5s")
        async with bench.running(driver), bench.operator(driver) as operator:
            await operator.settled()
            await asyncio.sleep(5 + number / 20)
            before = await operator.watch("reset")
            await asyncio.sleep(seconds)
            after = await operator.watch()
        await bench.no_policies()
        shares[number] = (after.cpu - before.cpu) / (after.now - before.now)
        probes[number] = len(after.probes)
    first, last = min(numbers), max(numbers)
    return [
        Line(
            f"policies over the same {driver.volumes:,} claims, checks every 5 s",
            "cost not with policies x claims, probes not multiplied",
            f"{shares[first]:.1%} of a core with {first}",
            ", ".join(f"{share:.1%} with {number}" for number, share in shares.items() if number != first),
            shares[last] / shares[first],
            shares[last] < shares[first] * last / 5 and probes[last] <= probes[first] + 1,
            {
                "shares": {str(n): s for n, s in shares.items()},
                "probes": {str(n): p for n, p in probes.items()},
            },
        )
    ]


async def churn(bench: Bench, driver: Driver, *, first: int, seconds: float) -> list[Line]:
    """Let 50 claims with volumes and Pods come or go in each second."""
    await bench.policy("all", interval="5s")
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        await asyncio.sleep(3)
        before = await operator.watch("reset")
        bench.skip_audit()
        end = asyncio.get_running_loop().time() + seconds
        number = 0
        while (now := asyncio.get_running_loop().time()) < end:
            group = range(first + number % 500, first + number % 500 + 5)
            if number // 500 % 2 == 0:
                await bench.population.put(group, driver=driver.name, prefix="new-", first=number)
            else:
                await bench.population.remove(group)
            number += 5
            await asyncio.sleep(max(0.0, now + 0.1 - asyncio.get_running_loop().time()))
        after = await operator.watch()
        written = [one for one in bench.audited() if one.writes and one.resource != "leases"]
        await bench.population.remove(range(first, first + 500))
        await asyncio.sleep(2)
        settled = await operator.watch("collect")
    await bench.no_policies()
    share = (after.cpu - before.cpu) / (after.now - before.now)
    worst = max((step.cpu for step in after.longest), default=0.0)
    return [
        Line(
            f"{number / seconds:.0f} claims come or go in each second beside {driver.volumes:,}",
            "followed, memory returned, no step over 50 ms",
            "",
            f"{share:.1%} of a core, {len(written)} writes in {seconds:.0f} s, longest step {worst * 1000:.0f} ms, "
            f"{settled.rss - before.rss:+.1f} MB",
            worst / 0.05,
            worst < 0.05 and settled.rss - before.rss < 10,
            {"writes": [f"{one.verb} {one.resource}" for one in written][:20]},
        )
    ]


async def flat(bench: Bench, driver: Driver, *, checks: int, pause: int) -> list[Line]:
    """Check every few seconds while 10 claims come and 10 go in each second; memory must stay."""
    await bench.policy("all", interval="5s")
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.settled()
        first = await _come_and_go(bench, driver, driver.volumes, seconds=_WARM)
        before = await operator.watch("collect")
        begun = done = len(before.checks["all"])
        while done - begun < checks:
            first = await _come_and_go(bench, driver, first, seconds=pause)
            done = len((await operator.watch("check")).checks["all"])
        after = await operator.watch("collect")
    await bench.population.remove(range(first - _STAY, first))
    await bench.no_policies()
    grown = after.rss - before.rss
    return [
        Line(
            f"memory over {done - begun} checks, {driver.volumes:,} claims and {first - driver.volumes:,} that come and go",
            "flat",
            f"{before.rss:.0f} MB",
            f"{after.rss:.0f} MB",
            after.rss / before.rss,
            grown < 5,
            {"probes": len(after.probes), "claims": first - driver.volumes},
        )
    ]


async def _come_and_go(bench: Bench, driver: Driver, first: int, *, seconds: int) -> int:
    """Let 10 new claims come in each second, and those go that came 10 seconds before; return the next one's number."""
    time = asyncio.get_running_loop().time
    for _ in range(seconds):
        end = time() + 1.0
        await bench.population.put(range(first, first + 10), driver=driver.name, prefix="new-", first=first)
        await bench.population.remove(
            range(max(driver.volumes, first - _STAY), max(driver.volumes, first + 10 - _STAY))
        )
        first += 10
        await asyncio.sleep(max(0.0, end - time()))
    return first
