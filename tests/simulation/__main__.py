"""Running many seeds: each in a process of its own, whose hash seed is the seed; `make simulate`."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from simulation.plan import Plan, make_plan
from simulation.run import run
from simulation.shrink import shrink
from simulation.story import story

_Made = TypeVar("_Made")
_TESTS = str(Path(__file__).parent.parent)


def child(plan: Plan, history: str, requests: str = "") -> dict[str, Any]:
    """Run a plan in a process of its own and return what became of it.

    Args:
        plan: what to run.
        history: a file for all lines; empty keeps none.
        requests: a file for all writes as they arrived at the API server, one a line; empty keeps none.
    """
    options = ["--history", history] if history else []
    options += ["--requests", requests] if requests else []
    environment = {**os.environ, "PYTHONHASHSEED": str(plan.seed % 2**32), "PYTHONPATH": _TESTS}
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "--child", *options],
        input=plan.dump(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        return {
            "seed": plan.seed,
            "violations": [["0 the simulator itself", done.stderr[-2000:]]],
            "checks": 0,
        }
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_child(history: str, requests: str) -> None:
    """Read a plan, run it, write the result, and end without any clean-up."""
    plan = Plan.load(sys.stdin.read())
    result = run(plan)
    if history:
        Path(history).write_text("\n".join(map(str, result.history.lines)), encoding="utf-8")
    if requests:
        lines = (json.dumps(asdict(one)) for one in result.world.seen.requests)
        Path(requests).write_text("\n".join(lines), encoding="utf-8")
    told = {
        "seed": plan.seed,
        "digest": result.digest,
        "steps": result.steps,
        "seconds": result.seconds,
        "checks": result.history.checks,
        "reached": result.history.reached,
        "violations": [[one.invariant, str(one)] for one in result.history.violations],
    }
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)


def main() -> int:
    """Read the command line; the exit status is 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="simulation")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; fresh ones without it")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--seconds", type=float, default=0.0, help="start no seed after so many seconds")
    parser.add_argument("--minutes", type=float, default=120.0, help="of virtual time with faults")
    parser.add_argument("--agents", action=argparse.BooleanOptionalAction, default=None, help="on every node")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--history", default="", help="write everything that happened to this file")
    parser.add_argument("--requests", default="", help="write all writes to the API server to this file")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--plan", default="", help="run this plan instead of a seed")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        run_child(asked.history, asked.requests)
    return _run_all(_plans(asked), asked)


def _plans(asked: argparse.Namespace) -> Iterator[Plan]:
    if asked.plan:
        yield Plan.load(Path(asked.plan).read_text(encoding="utf-8"))
        return
    first = asked.seed if asked.seed is not None else int.from_bytes(os.urandom(6))
    for number in range(asked.runs):
        yield make_plan(first + number, asked.minutes, agents=asked.agents)


def _run_all(plans: Iterable[Plan], asked: argparse.Namespace) -> int:
    started, failed = time.monotonic(), list[Plan]()
    totals: Counter[str] = Counter()
    reached: Counter[str] = Counter()

    def one(plan: Plan) -> dict[str, Any] | None:
        if asked.seconds and time.monotonic() - started > asked.seconds:
            return None
        return child(plan, asked.history, asked.requests)

    with ThreadPoolExecutor(asked.jobs) as pool:
        for plan, result in _in_order(pool, one, plans, asked.jobs):
            if result is None:
                break
            totals.update(runs=1, checks=result["checks"], virtual_seconds=int(result.get("seconds", 0)))
            reached.update(result.get("reached", {}))
            if result["violations"]:
                failed.append(plan)
                print(f"seed {plan.seed}:")
                for _, text in result["violations"][:5]:
                    print(f"  {text[:600]}")
                sys.stdout.flush()
    seconds = time.monotonic() - started
    faults = sum(count for name, count in reached.items() if name.startswith(("fault: ", "action: ")))
    print(
        f"{totals['runs']} runs, {totals['virtual_seconds'] / 3600:.1f} hours simulated, {totals['checks']} checks and"
        f" {faults} faults in {seconds:.0f} s: {60 * totals['checks'] / seconds:.0f} checks and"
        f" {60 * faults / seconds:.0f} faults a minute; {len(failed)} runs broke an invariant"
    )
    for name, count in sorted(reached.items()):
        print(f"  {count:8d}  {name}")
    if failed and not asked.no_shrink:
        print(story(shrink(failed[0], lambda plan: child(plan, ""))))
    return 1 if failed else 0


def _in_order(
    pool: ThreadPoolExecutor, one: Callable[[Plan], _Made], plans: Iterable[Plan], jobs: int
) -> Iterator[tuple[Plan, _Made]]:
    """Yield what became of each plan. Few are made ahead: a million plans are more than there is memory."""
    waiting: deque[tuple[Plan, Future[_Made]]] = deque()
    for plan in plans:
        waiting.append((plan, pool.submit(one, plan)))
        if len(waiting) > 2 * jobs:
            made, future = waiting.popleft()
            yield made, future.result()
    for made, future in waiting:
        yield made, future.result()


if __name__ == "__main__":
    sys.exit(main())
