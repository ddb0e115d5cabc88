"""Invariant 7, second half: after churn a process holds no more than one that was started a moment ago on the same server.

What the product's objects hold is counted by the attribute that holds it. A process that has lived through deleted
claims, policies, Pods and nodes may hold a little more than a fresh one: as much as there is now, a few times over.
"""

from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from types import CoroutineType, MethodType
from typing import Any

from simulation.loop import Process
from simulation.world import World

LEAKS = "7 nothing is kept for ever"
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_FEW = 12
_TIMES = 4

Held = Counter[str]


def held(process: Process, *roots: object) -> Held:
    """Count what a process's tasks, and some other objects, lead to: entries by attribute."""
    found: Held = Counter()
    seen: dict[int, object] = {}  # the objects are kept, so that no number is given twice
    stack: list[tuple[object, str]] = [(one, "root") for one in (*roots, *map(_work_of, process.tasks))]
    while stack:
        one, where = stack.pop()
        if id(one) not in seen:
            seen[id(one)] = one
            if isinstance(one, _CONTAINERS):
                found[where] += len(one)
            stack.extend(_parts(one, where))
    return found


def _work_of(task: Any) -> object:
    return task.get_coro()


def _parts(one: Any, where: str) -> Iterator[tuple[object, str]]:
    """Yield what an object refers to, with the attribute that does; nothing for what is not the product's."""
    kind = type(one)
    if isinstance(one, dict):
        yield from ((inner, f"{where}[]") for pair in one.items() for inner in pair)
    elif isinstance(one, _CONTAINERS):
        yield from ((inner, f"{where}[]") for inner in one)
    elif kind.__module__.startswith("volumehealth."):
        slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
        named = {name: getattr(one, name) for name in slots if hasattr(one, name)}
        yield from ((inner, f"{kind.__qualname__}.{name}") for name, inner in {**_own(one), **named}.items())
    elif kind is partial:
        yield from ((inner, where) for inner in (one.func, *one.args, *one.keywords.values()))
    elif kind is MethodType:
        yield one.__self__, where
    elif kind is CoroutineType and one.cr_frame is not None:
        yield from ((inner, f"{one.__qualname__}: {name}") for name, inner in one.cr_frame.f_locals.items())
        yield one.cr_await, where


def _own(one: object) -> dict[str, object]:
    return getattr(one, "__dict__", {})


def held_by_all(world: World) -> dict[str, Held]:
    """Return what the operator that leads, and each agent, hold now."""
    found = {}
    for name, (process, _, work) in world.working.items():
        if process is world.operators[name].process:
            found["the operator"] = held(process, work)
    for name, agent in world.nodes.agents.items():
        if agent.process is not None:
            found[f"the agent of {name}"] = held(agent.process)
    return found


def check_leaks(world: World, before: dict[str, Held]) -> None:
    """Compare what processes held with what fresh ones in their place hold."""
    there = ("persistentvolumeclaims", "pods", "nodes", "volumehealthpolicies", "volumehealthdrivers")
    most = _FEW + _TIMES * sum(len(world.server.objects(plural)) for plural in there)
    for who, fresh in held_by_all(world).items():
        for where, count in before.get(who, Counter()).items():
            if count > fresh[where] + most:
                world.history.violate(LEAKS, f"{who} holds {count} at {where}, a fresh one {fresh[where]}")
    world.history.reach("what processes hold after churn was compared with fresh ones")
