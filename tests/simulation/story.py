"""A failing plan told to a person."""

from simulation.shrink import Shrunk


def story(shrunk: Shrunk) -> str:
    """Tell what has to happen for an invariant to break, and how to see it again."""
    plan = shrunk.plan
    lines = [
        f"seed {plan.seed}, made smaller in {shrunk.tries} tries: {shrunk.violation[1]}",
        *(f"  policy {policy['name']}: {policy['spec']}" for policy in plan.policies),
        *(f"  driver {driver}" for driver in plan.drivers),
        *(f"  claim {claim}" for claim in plan.claims),
        f"  {plan.replicas} operators; drag {plan.drag}",
        *(f"  {action}" for action in plan.actions),
        f"  no faults after {plan.until / 60:.1f} minutes",
    ]
    return "\n".join(lines)
