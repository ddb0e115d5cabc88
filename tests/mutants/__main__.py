"""The simulator, tested: faults are put into the product, and it has to find them; `make mutants`.

In: the product's source. Out: a table of faults and mutants, each with the number of runs until it was found.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import volumehealth
from mutants.choose import choose
from mutants.faults import Mutant, put_back
from simulation.plan import Plan, make_plan

_TESTS = Path(__file__).parent.parent
_SOURCE = Path(volumehealth.__file__).parent
_FIRST = 100
_TRACED = 3
"""Runs whose lines are recorded, which takes three times as long."""
_LONGEST = 600.0
"""Seconds after which a run counts as hung: one takes 5 to 20."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        name: of the mutant.
        old, new: the changed line.
        runs: until it was found; of all if it was not.
        invariant: the first that it broke; empty if it was not found.
    """

    name: str
    old: str
    new: str
    runs: int
    invariant: str


def main() -> int:
    """Read the command line; the exit status is 1 if a fault that was put back is not found."""
    parser = argparse.ArgumentParser(prog="mutants")
    parser.add_argument("--number", type=int, default=60, help="how many random mutants")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    parser.add_argument(
        "--runs", type=int, default=12, help="seeds of the simulator that each has to survive"
    )
    parser.add_argument("--minutes", type=float, default=40.0, help="of virtual time with faults in each")
    parser.add_argument(
        "--seconds", type=float, default=3 * 3600.0, help="start no mutant after so many seconds"
    )
    parser.add_argument("--kept", default="", help="a file of outcomes: what it holds is not run again")
    asked = parser.parse_args()
    until = time.monotonic() + asked.seconds
    with tempfile.TemporaryDirectory(prefix="vh-mutants-") as directory:
        tree = Path(directory) / "volumehealth"
        shutil.copytree(_SOURCE, tree, ignore=shutil.ignore_patterns("__pycache__"))
        plans, lines = _sound(tree, asked)
        print(f"{len(plans)} seeds are sound without a fault", flush=True)
        kept = _kept(asked.kept)
        faults = list(put_back(tree))
        mutants = islice(choose(tree, lines, Random(asked.seed)), asked.number)
        outcomes = [
            kept.get(mutant.name) or _try(mutant, tree, plans, asked.kept)
            for mutant in _before(until, [*faults, *mutants])
        ]
    _table(outcomes)
    missed = {fault.name for fault in faults} & {one.name for one in outcomes if not one.invariant}
    return 1 if missed else 0


def _before(until: float, mutants: list[Mutant]) -> Iterator[Mutant]:
    return (mutant for mutant in mutants if time.monotonic() < until)


def _sound(tree: Path, asked: argparse.Namespace) -> tuple[list[Plan], dict[str, set[int]]]:
    """Return plans that break nothing, and the lines that the first of them run."""
    plans: list[Plan] = []
    lines: dict[str, set[int]] = {}
    for seed in range(_FIRST, _FIRST + 3 * asked.runs):
        plan = make_plan(seed, asked.minutes)
        traced = len(plans) < _TRACED
        done = _child(
            plan, tree, ["-m", "mutants.covered", str(tree)] if traced else ["-m", "simulation", "--child"]
        )
        if not done["violations"]:
            plans.append(plan)
            for path, numbers in done.get("lines", {}).items():
                lines.setdefault(path, set()).update(numbers)
        if len(plans) == asked.runs:
            break
    return plans, lines


def _try(mutant: Mutant, tree: Path, plans: list[Plan], kept: str) -> Outcome:
    """Run the simulator on a mutant until it is found."""
    file = tree / mutant.path
    sound = file.read_text(encoding="utf-8")
    file.write_text(mutant.text, encoding="utf-8")
    runs, invariant = 0, ""
    try:
        for plan in plans:
            runs += 1
            violations = _child(plan, tree, ["-m", "simulation", "--child"])["violations"]
            if violations:
                invariant = f"{violations[0][0]}: {violations[0][1]}".replace("\n", " ")[-300:]
                break
    finally:
        file.write_text(sound, encoding="utf-8")
    outcome = Outcome(mutant.name, *mutant.change, runs, invariant)
    print(f"{'found' if invariant else 'MISSED'} after {runs} runs: {mutant.name}: {invariant}", flush=True)
    if kept:
        with Path(kept).open("a", encoding="utf-8") as to:
            to.write(json.dumps(asdict(outcome)) + "\n")
    return outcome


def _child(plan: Plan, tree: Path, arguments: list[str]) -> Any:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(plan.seed % 2**32),
        "PYTHONPATH": f"{tree.parent}{os.pathsep}{_TESTS}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=plan.dump(),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired:
        return {"violations": [["11 no livelock", f"no end within {_LONGEST:g} s"]]}
    if done.returncode or not done.stdout:
        return {"violations": [["6 nothing ends a process", done.stderr[-300:]]]}
    return json.loads(done.stdout)


def _kept(file: str) -> dict[str, Outcome]:
    if not file or not Path(file).exists():
        return {}
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return {one.name: one for one in (Outcome(**json.loads(line)) for line in lines)}


def _table(outcomes: list[Outcome]) -> None:
    found = sum(bool(one.invariant) for one in outcomes)
    print(f"\n{found} of {len(outcomes)} found\n")
    print("| fault | found | after runs | by |\n|---|---|---|---|")
    for one in outcomes:
        print(
            f"| {one.name} | {'yes' if one.invariant else 'NO'} | {one.runs} | {one.invariant.split(':')[0]} |"
        )
    for one in outcomes:
        if not one.invariant:
            print(f"\n{one.name}\n  - {one.old}\n  + {one.new}")


if __name__ == "__main__":
    sys.exit(main())
