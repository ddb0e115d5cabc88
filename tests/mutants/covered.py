"""Runs one simulated cluster and prints which lines of the product ran: a child of `mutants`."""

import json
import os
import sys
from pathlib import Path

import coverage

from simulation.plan import Plan
from simulation.run import run


def main() -> None:
    """Read a plan, run it, and print the lines by file as JSON, with what it broke."""
    root = Path(sys.argv[1])
    watched = coverage.Coverage(data_file=None, include=[f"{root}/judge/*", f"{root}/report/*"])
    plan = Plan.load(sys.stdin.read())
    watched.start()
    result = run(plan)
    watched.stop()
    data = watched.get_data()
    lines = {
        str(Path(file).relative_to(root)): sorted(data.lines(file) or ()) for file in data.measured_files()
    }
    broken = "".join(map(str, result.history.violations[:1]))
    print(json.dumps({"broken": broken, "lines": lines}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
