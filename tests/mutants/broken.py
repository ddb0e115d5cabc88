"""Runs plans one after the other until one breaks an invariant: a child of `mutants`.

Each runs in a process that is forked: what a run leaves behind is never cleaned up, and the product is imported once.
"""

import json
import os
import resource
import sys

from simulation.plan import Plan
from simulation.run import run

_LONGEST = 60
"""Seconds of a processor after which a run counts as hung: one takes 2 to 8."""


def main() -> None:
    """Read plans as JSON, and print the number of the one that broke something, from 1, and what; 0 if none did."""
    plans = [Plan.load(one) for one in json.loads(sys.stdin.read())]
    found = next(
        ((number, broken) for number, plan in enumerate(plans, 1) if (broken := _broken(plan))), (0, "")
    )
    print(json.dumps(found))


def _broken(plan: Plan) -> str:
    """Run a plan in a process of its own; return what it breaks."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (_LONGEST, _LONGEST))
        violations = run(plan).history.violations
        os.write(writing, "".join(f"{one.invariant}: {one}"[:300] for one in violations[:1]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        broken = told.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"11 no livelock: no end within {_LONGEST} s"
    return broken or (f"6 nothing ends a process: exit status {os.WEXITSTATUS(status)}" if status else "")


if __name__ == "__main__":
    main()
