"""Runs one plan with a fault in the product: what the simulator must find (`test_faulty.py`)."""

import sys
from collections.abc import Callable, Mapping

from simulation.__main__ import run_one
from simulation.plan import Plan
from volumehealth.app.engine import Engine
from volumehealth.cluster.view import ClusterView
from volumehealth.model.ids import ClaimRef


def alive_whatever_happens() -> None:
    """`/healthz` never fails."""
    Engine.advancing = lambda _: (True, "")  # type: ignore[assignment, method-assign]  # the fault


def ready_too_early() -> None:
    """`/readyz` does not wait for the view."""
    Engine.ready = lambda _: (True, "")  # type: ignore[assignment, method-assign]  # the fault


def claims_are_kept() -> None:
    """Something is kept of each claim that ever was."""
    changed = ClusterView._claim_changed

    def keep(self: ClusterView, ref: ClaimRef) -> None:
        self.__dict__.setdefault("kept", []).append(ref)
        changed(self, ref)

    ClusterView._claim_changed = keep  # type: ignore[method-assign]  # the fault


def none() -> None:
    """Nothing is wrong."""


FAULTS: Mapping[str, Callable[[], None]] = {
    one.__name__: one for one in (alive_whatever_happens, ready_too_early, claims_are_kept, none)
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    run_one(Plan.load(sys.stdin.read()), "", "")
