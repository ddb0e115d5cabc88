"""Start to the first complete verdict, the longest step of the event loop in it, and memory after it."""

from benchmarks.bench import Bench, Driver
from benchmarks.table import Line, spread

_GOAL_CLAIMS = 10_000
"""The event loop's goal is for so many claims; beyond it is only told."""


_WARMINGS = 5


async def _warm(bench: Bench) -> None:
    """Fill the API server's cache. Until then it may answer a page of 100,000 objects with 504."""
    for attempt in range(_WARMINGS):
        try:
            await bench.floor("list_and_decode", *bench.server)
            return
        except RuntimeError:
            if attempt == _WARMINGS - 1:
                raise


async def start(bench: Bench, driver: Driver, *, claims: int, times: int, memory_goal: float) -> list[Line]:
    """Start the operator several times, each time beside the floor."""
    await bench.policy("all", interval="1m")
    floors, results, cpus, views, imports, memories, peaks, steps = [], [], [], [], [], [], [], []
    async with bench.running(driver):
        await _warm(bench)
        for _ in range(times):
            floors.append(await bench.floor("list_and_decode", *bench.server))
            async with bench.operator(driver) as operator:
                await operator.settled()
                watch = await operator.watch("collect")
            results.append(watch.verdict - watch.begun)
            views.append(watch.view - watch.begun)
            cpus.append(watch.cpu)
            imports.append(watch.imports)
            memories.append(watch.rss)
            peaks.append(watch.peak)
            steps.append(watch.longest[:3])
    await bench.no_policies()
    floor, result = min(one[0] for one in floors), min(results)
    worst = min(steps, key=lambda step: step[0].cpu)[0]
    return [
        Line(
            f"start to first complete verdict, {claims:,} claims",
            "at most 2 x bare list and decode",
            f"{floor:.2f} s",
            f"{result:.2f} s, and {min(imports):.2f} s of imports",
            result / floor,
            result <= 2 * floor,
            {
                "floor": spread([one[0] for one in floors]),
                "floor_cpu": spread([one[1] for one in floors]),
                "result": spread(results),
                "view": spread(views),
                "cpu_with_imports": spread(cpus),
            },
        ),
        Line(
            f"event loop at start, {claims:,} claims",
            "longest step under 50 ms",
            "",
            f"{worst.cpu * 1000:.0f} ms of processor, {worst.seconds * 1000:.0f} ms by the clock",
            worst.cpu / 0.05,
            worst.cpu < 0.05 if claims <= _GOAL_CLAIMS else None,
            {"steps": [[step.cpu, step.seconds, step.what] for one in steps for step in one]},
        ),
        Line(
            f"memory after start, {claims:,} claims",
            f"at most {memory_goal:.0f} MB",
            "",
            f"{min(memories):.0f} MB, peak {min(peaks):.0f} MB",
            min(memories) / memory_goal,
            min(memories) <= memory_goal,
            {"rss": spread(memories), "peak": spread(peaks)},
        ),
    ]
