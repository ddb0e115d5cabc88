"""Drivers that can only be asked volume by volume, and drivers that hang."""

import asyncio
from dataclasses import replace
from statistics import median

from benchmarks.bench import Bench, Driver
from benchmarks.bulkdriver import Order
from benchmarks.table import Line, ms, spread

_IN_FLIGHT = 64


async def by_get(bench: Bench, driver: Driver, *, times: int, seconds: float) -> list[Line]:
    """Ask a driver without ListVolumes, with limits lifted and with those that hold by default."""
    slow = replace(driver, lists=False)
    await bench.policy("all", interval="1m")
    lines = [await _lifted(bench, slow, times), await _by_default(bench, slow, seconds)]
    await bench.no_policies()
    return lines


async def _lifted(bench: Bench, driver: Driver, times: int) -> Line:
    """Compare rounds over all volumes with bare loops, one after the other."""
    flags = (f"--csi-gets-in-flight={_IN_FLIGHT}", "--csi-busy-percent=100")
    floors, results = [], []
    for _ in range(times):
        async with bench.running(driver):
            arguments = (bench.endpoint(driver), driver.prefix, driver.volumes, _IN_FLIGHT)
            floors += await bench.floor("get_volumes", *arguments)
        async with bench.running(driver), bench.operator(driver, flags=flags) as operator:
            await operator.settled()
            results.append(driver.volumes / (await bench.tell(driver, Order())).round)
    floor, result = median(floors), median(results)
    return Line(
        f"check by get only, {driver.volumes:,} volumes, limits lifted",
        "at least 80 % of the calls/s of a bare loop",
        f"{floor:,.0f} calls/s",
        f"{result:,.0f} calls/s",
        result / floor,
        result >= 0.8 * floor,
        {"floors": spread(floors), "results": spread(results), "in_flight": _IN_FLIGHT},
    )


async def _by_default(bench: Bench, driver: Driver, seconds: float) -> Line:
    """See in the middle of the first round how evenly calls are spread."""
    rates: list[int] = []
    async with bench.running(driver), bench.operator(driver) as operator:
        await operator.until(lambda watch: watch.checks.get("all"), within=60)
        await asyncio.sleep(3)
        before = await _gets(bench, driver)
        for _ in range(round(seconds)):
            await asyncio.sleep(1)
            now = await _gets(bench, driver)
            rates.append(now - before)
            before = now
        status = await bench.status("all")
    shown = [one.get("roundSeconds") for one in status.get("drivers", ())]
    each_minute = sum(rates) / len(rates) * 60
    return Line(
        f"check by get only, {driver.volumes:,} volumes, default limits",
        "spread evenly, a round's time in the status (the peer: 10 volumes/min)",
        "",
        f"{each_minute:,.0f} volumes/min, {min(rates)} to {max(rates)} in a second; status says "
        f"{shown[0] if shown else None} s a round",
        max(rates) / (sum(rates) / len(rates)),
        bool(shown and shown[0]) and max(rates) <= 2 * median(rates),
        {"rates": rates},
    )


async def _gets(bench: Bench, driver: Driver) -> int:
    return (await bench.tell(driver, Order())).calls.get("ControllerGetVolume", 0)


async def hung(bench: Bench, good: Driver, bad: Driver, *, seconds: float) -> list[Line]:
    """Compare a good driver's checks alone and beside a driver that hangs."""
    await bench.policy("good", interval="5s", selector={"drivers": [good.name]})
    await bench.policy("bad", interval="5s", timeout="5s", selector={"drivers": [bad.name]})
    costs: list[list[float]] = []
    async with bench.running(good, bad):
        for drivers in ((good,), (good, bad)):
            await bench.tell(bad, Order(hang=len(drivers) > 1))
            async with bench.operator(*drivers) as operator:
                await operator.until(lambda watch: watch.checks.get("good"), within=60)
                await asyncio.sleep(6)
                await operator.watch("reset")
                await asyncio.sleep(seconds)
                watch = await operator.watch()
            probes = [one for one in watch.probes if one < 4.0]  # a hung list takes its whole timeout
            costs.append([median(probes), median(watch.checks["good"]), len(probes)])
    await bench.no_policies()
    alone, beside = (probe + check for probe, check, _ in costs)
    return [
        Line(
            f"a hung driver with {bad.volumes:,} volumes beside a good one with {good.volumes:,}",
            "the good one's check within 10 % of alone",
            ms(alone),
            ms(beside),
            beside / alone,
            beside <= 1.1 * alone,
            {"probe_check_probes": costs, "spread": spread([alone, beside])},
        )
    ]
