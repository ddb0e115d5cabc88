"""Invariants that nothing in the product breaks now: a fault that is put in breaks each."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulation.plan import Action, Plan, make_plan

TESTS = Path(__file__).parent.parent
QUIET = replace(make_plan(1, minutes=20.0, agents=False), actions=(), drag=0.0)
CLAIM, POLICY = QUIET.claims[0]["name"], QUIET.policies[0]["name"]
CHURN = [Action(at, "claim_delete", {"name": CLAIM, "seconds": 4.0}) for at in range(60, 1100, 8)]
STUCK = [Action(100.0, "timer_stuck", {"name": POLICY})]


def violations(fault: str, plan: Plan) -> list[str]:
    """Return the invariants that a plan breaks with a fault."""
    environment = {"PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "1"}
    arguments = [sys.executable, "-m", "simulation.faulty", fault]
    done = subprocess.run(
        arguments, input=plan.dump(), env=environment, capture_output=True, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return [name for name, _ in told["violations"]]


@pytest.mark.parametrize(
    ("fault", "actions", "invariant"),
    [
        ("alive_whatever_happens", STUCK, "8 probes"),
        ("ready_too_early", [], "8 probes"),
        ("claims_are_kept", CHURN, "7 nothing is kept for ever"),
    ],
)
def test_a_fault_that_is_put_in_is_found(fault: str, actions: list[Action], invariant: str) -> None:
    assert set(violations(fault, replace(QUIET, actions=tuple(actions)))) == {invariant}


@pytest.mark.parametrize("actions", [STUCK, CHURN], ids=["a timer stands still", "claims come and go"])
def test_without_the_fault_nothing_is_found(actions: list[Action]) -> None:
    assert violations("none", replace(QUIET, actions=tuple(actions))) == []
