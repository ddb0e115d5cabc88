"""Running many seeds: each in a process of its own, whose hash seed is the seed; `make simulate`."""

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

from simulation.plan import Plan, make_plan
from simulation.run import run
from simulation.shrink import shrink
from simulation.story import story

_Made = TypeVar("_Made")
TOGETHER = 4
"""Seeds in a row that have one hash seed."""
_TESTS = str(Path(__file__).parent.parent)


class Brood:
    """A process that runs plans, each in a fork of its own: it imports everything once, which takes a second.

    Args:
        hash_seed: of Python.
        history: a file for all lines of a run; empty keeps none.
        requests: a file for all writes as they arrived at the API server, one a line; empty keeps none.
    """

    def __init__(self, hash_seed: int, history: str = "", requests: str = "") -> None:
        options = ["--history", history] if history else []
        options += ["--requests", requests] if requests else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulation", "--brood", *options],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": _TESTS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Brood":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, plan: Plan) -> dict[str, Any]:
        """Run a plan and return what became of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(plan.dump(indent=None) + "\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        result: dict[str, Any] = json.loads(told) if told else _broken(plan, "its process ended")
        return result


def hash_seed(plan: Plan) -> int:
    """Return the hash seed of a run: that of some seeds in a row is the same, so that one process can run them."""
    return plan.seed // TOGETHER % 2**32


def child(plan: Plan, history: str = "", requests: str = "") -> dict[str, Any]:
    """Run a plan in a process of its own and return what became of it; for the files see `Brood`."""
    with Brood(hash_seed(plan), history, requests) as brood:
        return brood.run(plan)


def run_brood(history: str, requests: str) -> None:
    """Read plans, one a line, and run each in a fork."""
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        plan = Plan.load(line)
        pid = os.fork()
        if pid == 0:
            run_one(plan, history, requests)
        _, status = os.waitpid(pid, 0)
        if status:
            print(json.dumps(_broken(plan, f"its process ended with the status {status}")), flush=True)


def run_one(plan: Plan, history: str, requests: str) -> None:
    """Run a plan, write the result, and end without any clean-up."""
    try:
        told = _told(plan, history, requests)
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        told = _broken(plan, traceback.format_exc())
    print(json.dumps(told), flush=True)
    os._exit(0)


def _broken(plan: Plan, why: str) -> dict[str, Any]:
    return {"seed": plan.seed, "violations": [["0 the simulator itself", why[-2000:]]], "checks": 0}


def _told(plan: Plan, history: str, requests: str) -> dict[str, Any]:
    result = run(plan)
    if history:
        Path(history).write_text("\n".join(map(str, result.history.lines)), encoding="utf-8")
    if requests:
        lines = (json.dumps(one._asdict()) for one in result.world.seen.requests)
        Path(requests).write_text("\n".join(lines), encoding="utf-8")
    return {
        "seed": plan.seed,
        "digest": result.digest,
        "steps": result.steps,
        "seconds": result.seconds,
        "checks": result.history.checks,
        "rounds": result.world.nodes.rounds,
        "reached": result.history.reached,
        "violations": [[one.invariant, str(one)] for one in result.history.violations],
    }


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
    parser.add_argument("--brood", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        run_one(Plan.load(sys.stdin.read()), asked.history, asked.requests)
    if asked.brood:
        run_brood(asked.history, asked.requests)
        return 0
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

    def some(plans: list[Plan]) -> list[tuple[Plan, dict[str, Any]]]:
        results = []
        with Brood(hash_seed(plans[0]), asked.history, asked.requests) as brood:
            for plan in plans:
                if asked.seconds and time.monotonic() - started > asked.seconds:
                    break
                results.append((plan, brood.run(plan)))
        return results

    with ThreadPoolExecutor(asked.jobs) as pool:
        groups = (list(group) for _, group in groupby(plans, hash_seed))
        for plan, result in chain.from_iterable(_in_order(pool, some, groups, asked)):
            totals.update(runs=1, checks=result["checks"], rounds=result.get("rounds", 0))
            totals.update(virtual_seconds=int(result.get("seconds", 0)))
            reached.update(result.get("reached", {}))
            if result["violations"]:
                failed.append(plan)
                print(f"seed {plan.seed}:")
                for _, text in result["violations"][:5]:
                    print(f"  {text[:600]}")
                sys.stdout.flush()
    seconds, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    faults = sum(count for name, count in reached.items() if name.startswith(("fault: ", "action: ")))
    print(
        f"{totals['runs']} runs, {totals['virtual_seconds'] / 3600:.1f} hours simulated, {totals['checks']} checks,"
        f" {totals['rounds']} rounds of agents and {faults} faults in {seconds:.0f} s"
        f" ({used.ru_utime + used.ru_stime:.0f} s of a processor): {60 * totals['checks'] / seconds:.0f} checks,"
        f" {60 * totals['rounds'] / seconds:.0f} rounds and {60 * faults / seconds:.0f} faults a minute;"
        f" {len(failed)} runs broke an invariant"
    )
    for name, count in sorted(reached.items()):
        print(f"  {count:8d}  {name}")
    if failed and not asked.no_shrink:
        print(story(shrink(failed[0], child)))
    return 1 if failed else 0


def _in_order(
    pool: ThreadPoolExecutor,
    some: Callable[[list[Plan]], _Made],
    groups: Iterable[list[Plan]],
    asked: argparse.Namespace,
) -> Iterator[_Made]:
    """Yield what became of each group. Few are made ahead: a million plans are more than there is memory."""
    waiting: deque[Future[_Made]] = deque()
    started = time.monotonic()
    for group in groups:
        if asked.seconds and time.monotonic() - started > asked.seconds:
            break
        waiting.append(pool.submit(some, group))
        if len(waiting) > 2 * asked.jobs:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


if __name__ == "__main__":
    sys.exit(main())
