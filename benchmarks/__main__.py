"""`python -m benchmarks [--quick | --soak] [--only WORD] [--json FILE]`."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from benchmarks.bench import Bench, Driver, bench
from benchmarks.lines import agent, burst, nodes, probes, resting, scale, start, steady, steps
from benchmarks.table import Line, as_json, markdown

CLAIMS = 10_000
MAIN = Driver("array.bench.example.com", "vol-", CLAIMS)
GOOD = Driver("good.bench.example.com", "good-", CLAIMS // 2)
HUNG = Driver("hung.bench.example.com", "hung-", CLAIMS // 2)
HUGE = Driver("array.bench.example.com", "vol-", 100_000)
QUICK = ("start", "list", "steady", "thousand", "get")
"""What is measured in two minutes."""
Group = Callable[[Bench], Awaitable[list[Line]]]


def groups(*, quick: bool = False, soak: bool = False) -> dict[str, Group]:
    """Return what can be measured, in the order in which it is."""
    calm = 600 if soak else 20 if quick else 70
    return {
        "start": lambda b: start.start(b, MAIN, claims=CLAIMS, times=2 if quick else 5, memory_goal=120),
        "list": lambda b: steady.check_by_list(b, MAIN, claims=CLAIMS, seconds=12 if quick else 30),
        "steady": lambda b: steady.steady(b, MAIN, claims=CLAIMS, seconds=calm),
        "thousand": lambda b: burst.thousand(b, MAIN, bad=1000, times=1 if quick else 3),
        "gone": lambda b: burst.gone(b, MAIN, claims=CLAIMS, seconds=10 if quick else 20),
        "resting": lambda _: resting.resting(bad=CLAIMS, claims=5 * CLAIMS // 2, times=5 if quick else 20),
        "steps": lambda _: steps.steps(claims=HUGE.volumes, bad=1000 if quick else CLAIMS),
        "get": lambda b: probes.by_get(b, MAIN, times=1 if quick else 3, seconds=20),
        "policies": lambda b: scale.policies(
            b, MAIN, numbers=(1, 100) if quick else (1, 10, 100), seconds=10 if quick else 15
        ),
        "churn": lambda b: scale.churn(b, MAIN, first=CLAIMS, seconds=10 if quick else 20),
        "flat": lambda b: scale.flat(b, MAIN, checks=50 if quick else 200, pause=5 if soak else 1),
        "nodes": lambda b: nodes.nodes(
            b, MAIN, number=1000, claims=CLAIMS, changing=50, rounds=3 if quick else 6
        ),
        "agent": lambda b: agent.agent(b, MAIN, claims=CLAIMS, seconds=30 if quick else 60),
        "hung": lambda b: _hung(b, seconds=12 if quick else 30),
        **({} if quick else {"huge": _huge}),
    }


async def _hung(place: Bench, *, seconds: float) -> list[Line]:
    """Give half of the claims to each of two drivers."""
    half = CLAIMS // 2
    await place.population.put(range(half), driver=GOOD.name, prefix=GOOD.prefix)
    await place.population.put(range(half, CLAIMS), driver=HUNG.name, prefix=HUNG.prefix)
    return await probes.hung(place, GOOD, HUNG, seconds=seconds)


async def _huge(place: Bench) -> list[Line]:
    """Let there be ten times as many claims."""
    await place.population.put(range(HUGE.volumes), driver=HUGE.name, prefix=HUGE.prefix)
    await place.population.served()
    return await start.start(place, HUGE, claims=HUGE.volumes, times=2, memory_goal=380)


async def run(home: Path, lines: list[Line], *, wanted: dict[str, Group], only: Collection[str]) -> None:
    """Measure and add the table's lines; say on standard error what is going on."""
    async with bench(home) as place:
        await place.population.put(range(CLAIMS), driver=MAIN.name, prefix=MAIN.prefix)
        await place.population.served()
        for name, measure in wanted.items():
            if only and name not in only:
                continue
            begun = time.monotonic()
            found = await measure(place)
            lines += found
            print(f"[{name}: {time.monotonic() - begun:.0f} s]", file=sys.stderr)
            for line in found:
                print("   ", " | ".join(filter(None, line.row())), file=sys.stderr)


def machine() -> str:
    """Name the machine in words."""
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"load of the last minute {load:.1f}"
    )


def main() -> None:
    """Print the table; write JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    exclusive = parser.add_mutually_exclusive_group()
    exclusive.add_argument(
        "--quick",
        action="store_true",
        help="fewer repetitions, and unless --only names others: " + ", ".join(QUICK),
    )
    exclusive.add_argument(
        "--soak", action="store_true", help="watch the steady state for ten minutes, and memory for seventeen"
    )
    parser.add_argument("--only", action="append", default=[], choices=groups(), help="repeat for more")
    parser.add_argument("--home", type=Path, help="keep logs and all in this directory")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/results/latest.json"), help="where to write JSON"
    )
    arguments = parser.parse_args()
    before = machine()
    lines: list[Line] = []
    try:
        with tempfile.TemporaryDirectory(prefix="vh-bench-") as temporary:
            home = arguments.home or Path(temporary)
            wanted = groups(quick=arguments.quick, soak=arguments.soak)
            only = arguments.only or (QUICK if arguments.quick else ())
            asyncio.run(run(home, lines, wanted=wanted, only=only))
    finally:
        print(f"\n{before} before, {os.getloadavg()[0]:.1f} after\n")
        print(markdown(lines))
        length = "quick" if arguments.quick else "soak" if arguments.soak else "full"
        report = {"machine": before, "length": length, "lines": as_json(lines)}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
