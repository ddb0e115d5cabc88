"""Making a failing plan smaller: fewer actions, less time, a plainer world, as long as the same invariant breaks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from simulation.plan import Action, Plan

RunPlan = Callable[[Plan], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest plan that was found.

    Attributes:
        plan: it.
        violation: what it breaks: the invariant and the sentence.
        tries: how many plans were run for it.
    """

    plan: Plan
    violation: tuple[str, str]
    tries: int


def shrink(plan: Plan, run: RunPlan, *, most: int = 150) -> Shrunk:
    """Make a failing plan smaller.

    Args:
        plan: it breaks an invariant.
        run: runs a plan and returns its violations.
        most: plans to try.
    """
    shrinker = _Shrinker(run, most)
    broken = shrinker.breaks(plan, None)
    if broken is None:
        return Shrunk(plan, ("", "it does not fail again"), 1)
    shrinker.invariant = broken[0]
    while shrinker.tries < most:
        smaller = next(filter(shrinker.fails, _smaller(plan)), None)
        if smaller is None:
            break
        plan = smaller
    return Shrunk(plan, shrinker.breaks(plan, shrinker.invariant) or broken, shrinker.tries)


class _Shrinker:
    """Counts tries."""

    def __init__(self, run: RunPlan, most: int) -> None:
        self._run = run
        self._most = most
        self.invariant = ""
        self.tries = 0

    def fails(self, plan: Plan) -> bool:
        """Tell whether a plan breaks the same invariant."""
        return self.tries < self._most and self.breaks(plan, self.invariant) is not None

    def breaks(self, plan: Plan, invariant: str | None) -> tuple[str, str] | None:
        """Return the violation of a plan."""
        self.tries += 1
        for name, text in self._run(plan)["violations"]:
            if invariant in (None, name):
                return name, text
        return None


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans that are smaller by one step, the largest steps first."""
    actions = plan.actions
    size = max(1, len(actions) // 2)
    while actions:
        for start in range(len(actions) - 1, -1, -size):
            rest = actions[: max(0, start - size + 1)] + actions[start + 1 :]
            yield replace(plan, actions=rest)
        if size == 1:
            break
        size = max(1, size // 4)
    last = actions[-1].at if actions else 0.0
    if plan.until > last + 300.0:
        yield replace(plan, until=last + 300.0)
    if plan.replicas > 1 and not any(action.how.get("who") == "operator-1" for action in actions):
        yield replace(plan, replicas=1)
    if plan.drag:
        yield replace(plan, drag=0.0)
    used = {str(value) for action in actions for value in action.how.values()}
    for number, claim in enumerate(plan.claims):
        if len(plan.claims) > 1 and not used & {claim["name"], claim["handle"]}:
            yield replace(plan, claims=plan.claims[:number] + plan.claims[number + 1 :])
    for number, policy in enumerate(plan.policies):
        if len(plan.policies) > 1 and policy["name"] not in used:
            yield replace(plan, policies=plan.policies[:number] + plan.policies[number + 1 :])
    homes = {claim["driver"] for claim in plan.claims}
    for number, driver in enumerate(plan.drivers):
        if driver["name"] not in used | homes:
            yield replace(plan, drivers=plan.drivers[:number] + plan.drivers[number + 1 :])
    for number, action in enumerate(actions):
        for fewer in _gentler(action):
            yield replace(plan, actions=(*actions[:number], fewer, *actions[number + 1 :]))


def _gentler(action: Action) -> Iterator[Action]:
    """Yield the storm with one fault less."""
    rates = action.how.get("rates", {})
    if len(rates) > 1:
        for name in rates:
            rest = {one: rate for one, rate in rates.items() if one != name}
            yield replace(action, how={**action.how, "rates": rest})
