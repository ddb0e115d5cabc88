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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any

import volumehealth
from mutants.choose import choose
from mutants.faults import Mutant, put_back
from simulation.plan import Plan, make_plan

_TESTS = Path(__file__).parent.parent
_SOURCE = Path(volumehealth.__file__).parent
_STORIES = _TESTS / "simulation" / "stories"
_FIRST = 100
_TRACED = 2
"""Seeds whose lines are recorded, which takes three times as long."""


@dataclass(frozen=True, slots=True)
class Run:
    """A plan that breaks nothing as long as the product has no fault.

    Attributes:
        name: of the story, or the seed.
        plan: it.
    """

    name: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        name: of the mutant.
        old, new: the changed line.
        runs: until it was found; of all if it was not.
        by: the run that found it; empty if none did.
        invariant: the first that it broke; empty if it was not found.
    """

    name: str
    old: str
    new: str
    runs: int
    by: str
    invariant: str


def main() -> int:
    """Read the command line; the exit status is 1 if a fault that was put back is not found."""
    parser = argparse.ArgumentParser(prog="mutants")
    parser.add_argument("--faults", action=argparse.BooleanOptionalAction, default=True, help="put back")
    parser.add_argument("--number", type=int, default=60, help="how many random mutants")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    parser.add_argument(
        "--runs", type=int, default=12, help="seeds that each has to survive, after all stories"
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="of virtual time with faults in a seed")
    parser.add_argument("--jobs", type=int, default=2, help="how many side by side")
    parser.add_argument(
        "--seconds", type=float, default=3 * 3600.0, help="start no mutant after so many seconds"
    )
    parser.add_argument("--kept", default="", help="a file of outcomes: what it holds is not run again")
    asked = parser.parse_args()
    until = time.monotonic() + asked.seconds
    with tempfile.TemporaryDirectory(prefix="vh-mutants-") as directory:
        sound = Path(directory) / "sound" / "volumehealth"
        shutil.copytree(_SOURCE, sound, ignore=shutil.ignore_patterns("__pycache__"))
        with ThreadPoolExecutor(asked.jobs) as pool:
            runs, lines = _sound(sound, asked, pool)
            print(f"{len(runs)} runs are sound without a fault", flush=True)
            faults = list(put_back(sound)) if asked.faults else []
            mutants = islice(choose(sound, lines, Random(asked.seed)), asked.number)
            workshop = _Workshop(sound, asked.jobs, runs, until, asked.kept)
            outcomes = [one for one in pool.map(workshop.outcome, chain(faults, mutants)) if one is not None]
    _table(outcomes)
    missed = {fault.name for fault in faults} & {one.name for one in outcomes if not one.invariant}
    return 1 if missed else 0


def _sound(
    tree: Path, asked: argparse.Namespace, pool: ThreadPoolExecutor
) -> tuple[list[Run], dict[str, set[int]]]:
    """Return runs that break nothing, the quick ones first, and the lines that the first seeds run."""
    stories = [Run(path.stem, Plan.load(path.read_text("utf-8"))) for path in sorted(_STORIES.glob("*.json"))]
    seeds = [
        Run(f"seed {seed}{' with agents' if agents else ''}", make_plan(seed, asked.minutes, agents=agents))
        for agents in (False, True)
        for seed in range(_FIRST, _FIRST + asked.runs // 2)
    ]
    with_lines = {one.name for one in (*seeds[:_TRACED], *seeds[-_TRACED:])}

    def what(one: Run) -> tuple[str, dict[str, list[int]]]:
        if one.name in with_lines:
            traced = _child("covered", one.plan.dump(), tree, first=True, arguments=[str(tree)])
            return traced["broken"], traced["lines"]
        return _broken([one], tree, first=True)[1], {}

    lines: dict[str, set[int]] = {}
    sound: list[Run] = []
    for one, (broken, ran) in zip((*stories, *seeds), pool.map(what, (*stories, *seeds)), strict=True):
        if broken:
            print(f"left out, since it breaks something without a fault: {one.name}: {broken}", flush=True)
            continue
        sound.append(one)
        for path, numbers in ran.items():
            lines.setdefault(path, set()).update(numbers)
    return sound, lines


class _Workshop:
    """Tries mutants, each in a copy of the product that is its own as long as that takes.

    Args:
        sound: the product.
        jobs: how many copies there are.
        runs: what a mutant has to survive.
        until: when to begin no other, on the monotonic clock.
        kept: a file of outcomes; empty keeps none.
    """

    def __init__(self, sound: Path, jobs: int, runs: Sequence[Run], until: float, kept: str) -> None:
        self._sound, self._runs, self._until, self._file = sound, runs, until, kept
        self._kept = _kept(kept)
        self._trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            tree = sound.parent.parent / str(number) / sound.name
            shutil.copytree(sound, tree)
            self._trees.put(tree)

    def outcome(self, mutant: Mutant) -> Outcome | None:
        """Run the simulator on a mutant until it is found; None if there is no time for that."""
        if mutant.name in self._kept or time.monotonic() > self._until:
            return self._kept.get(mutant.name)
        tree = self._trees.get()
        file = tree / mutant.path
        file.write_text(mutant.text, encoding="utf-8")
        outcome = self._try(mutant, tree)
        shutil.copy2(self._sound / mutant.path, file)  # with its time, so that what was compiled of it holds
        self._trees.put(tree)
        said = f"found by {outcome.by}" if outcome.by else "MISSED"
        print(f"{said} after {outcome.runs} runs: {mutant.name}: {outcome.invariant}", flush=True)
        if self._file:
            with Path(self._file).open("a", encoding="utf-8") as to:
                to.write(json.dumps(asdict(outcome)) + "\n")
        return outcome

    def _try(self, mutant: Mutant, tree: Path) -> Outcome:
        number, broken = _broken(self._runs, tree)
        runs, by = (number, self._runs[number - 1].name) if number else (len(self._runs), "")
        return Outcome(mutant.name, *mutant.change, runs, by, broken.replace("\n", " "))


def _broken(runs: Sequence[Run], tree: Path, *, first: bool = False) -> tuple[int, str]:
    """Return which run breaks something, from 1, and what; 0 if none does."""
    found = _child("broken", json.dumps([one.plan.dump() for one in runs]), tree, first=first)
    return (1, found["ended"]) if isinstance(found, dict) else (found[0], found[1])


def _child(module: str, given: str, tree: Path, *, first: bool = False, arguments: Sequence[str] = ()) -> Any:
    """Run a module of this package with the product in a directory; the first ones keep what they compile for all."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": f"{tree.parent}{os.pathsep}{_TESTS}",
        "PYTHONDONTWRITEBYTECODE": "" if first else "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", f"mutants.{module}", *arguments],
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        return {
            "ended": f"6 nothing ends a process: {done.stderr[-300:]}",
            "broken": done.stderr[-300:],
            "lines": {},
        }
    return json.loads(done.stdout)


def _kept(file: str) -> dict[str, Outcome]:
    if not file or not Path(file).exists():
        return {}
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return {one.name: one for one in (Outcome(**json.loads(line)) for line in lines)}


def _table(outcomes: list[Outcome]) -> None:
    found = sum(bool(one.invariant) for one in outcomes)
    print(f"\n{found} of {len(outcomes)} found\n")
    print("| fault | after runs | by | invariant |\n|---|---|---|---|")
    for one in outcomes:
        print(f"| {one.name} | {one.runs} | {one.by or 'NOT FOUND'} | {one.invariant.split(':')[0]} |")
    for one in outcomes:
        if not one.invariant:
            print(f"\n{one.name}\n  - {one.old}\n  + {one.new}")


if __name__ == "__main__":
    sys.exit(main())
