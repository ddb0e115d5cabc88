"""Drivers that can only be asked volume by volume, and drivers that hang."""

import asyncio
from dataclasses import replace
from statistics import median

from benchmarks.bench import Bench, Driver
from benchmarks.bulkdriver import Order
from benchmarks.table import Line, ms, spread

_IN_FLIGHT = 64


async def by_get(bench: Bench, driver: Driver, *, seconds: float) -> list[Line]:
    """Ask a driver without ListVolumes, with limits lifted and with those that hold by default."""
    slow = replace(driver, lists=False)
    await bench.policy("all", interval="1m")
    async with bench.running(slow):
        floors = [
            await bench.floor("get_volumes", bench.endpoint(slow), slow.prefix, slow.volumes, _IN_FLIGHT)
            for _ in range(2)
        ]
    lifted = (f"--csi-gets-in-flight={_IN_FLIGHT}", "--csi-busy-percent=100")
    async with bench.running(slow), bench.operator(slow, flags=lifted) as operator:
        await operator.settled()
        told = await bench.tell(slow, Order())
    floor, result = max(one[0] for one in floors), slow.volumes / told.round
    lines = [
        Line(
            f"check by get only, {slow.volumes:,} volumes, limits lifted",
            "at least 60 % of the calls/s of a bare loop",
            f"{floor:,.0f} calls/s",
            f"{result:,.0f} calls/s",
            result / floor,
            result >= 0.6 * floor,
            {"floors": [one[0] for one in floors], "in_flight": _IN_FLIGHT},
        )
    ]
    async with bench.running(slow), bench.operator(slow) as operator:
        await operator.watch()
        await asyncio.sleep(5)
        before = (await bench.tell(slow, Order())).calls.get("ControllerGetVolume", 0)
        await asyncio.sleep(seconds)
        calls = (await bench.tell(slow, Order())).calls.get("ControllerGetVolume", 0) - before
        status = await bench.status("all")
    await bench.no_policies()
    shown = [one.get("roundSeconds") for one in status.get("drivers", ())]
    return [
        *lines,
        Line(
            f"check by get only, {slow.volumes:,} volumes, default limits",
            "a round is told in the status (the peer: 10 volumes/min)",
            "",
            f"{calls / seconds * 60:,.0f} volumes/min; status says {shown[0] if shown else None} s a round",
            None,
            bool(shown and shown[0]) or calls / seconds * 60 >= slow.volumes,
            {"calls": calls, "seconds": seconds},
        ),
    ]


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
