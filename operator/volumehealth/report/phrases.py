"""Sentences that the summary and the conditions share."""

from collections import Counter
from collections.abc import Iterable, Sequence

from volumehealth.judge.problem import Problem
from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import date_and_time
from volumehealth.model.health import ControllerConnection, DriverState, SourceState
from volumehealth.model.text import count
from volumehealth.report.text import clean, fit

_NAMED = 2
_LOOK = (SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN, SourceState.NOT_CONNECTED)
"""States of a driver that a person should look at, worst first."""
_TELLS_MOST = (
    SourceState.UNREACHABLE,
    SourceState.CIRCUIT_OPEN,
    SourceState.ANSWERING,
    SourceState.UNSUPPORTED,
    SourceState.NOT_CONNECTED,
)
"""Of what several policies say of a driver, which is told: one may have switched a check off."""


def clearest(states: Iterable[tuple[DriverState, bool]]) -> DriverState:
    """Return the state to tell of a driver, of those that policies see it in; there must be one.

    Args:
        states: each with whether its policy is checked. What one that is suspended saw last counts only if no other one
            sees the driver.
    """
    state, _ = min(states, key=lambda one: (not one[1], _TELLS_MOST.index(one[0].state)))
    return state


def monitored(result: CheckResult) -> int:
    """Return how many claims something here can give a health answer for."""
    return result.counts.selected - result.counts.unmonitored


def unmonitored(result: CheckResult) -> str:
    """`3115 not monitored: ebs.csi.aws.com has no health API`; empty if all are monitored."""
    if not result.counts.unmonitored:
        return ""
    return f"{result.counts.unmonitored} not monitored: {why_unmonitored(result)}".removesuffix(": ")


def why_unmonitored(result: CheckResult) -> str:
    """`ebs.csi.aws.com has no health API, 2 more drivers`."""
    drivers = result.judgement.unmonitored.items() if result.judgement is not None else ()
    worst = sorted((-number, name) for name, number in drivers if number)
    reasons = [f"{name} {_why_not(result, name)}" for _, name in worst[:_NAMED]]
    more = len(worst) - len(reasons)
    return ", ".join([*reasons, count(more, "more driver")] if more else reasons)


def _why_not(result: CheckResult, driver: str) -> str:
    state = result.drivers.get(driver)
    if state is not None and state.state is SourceState.UNSUPPORTED:
        return f"has no health API, and {unseen(state.unseen)}" if state.unseen else "has no health API"
    if state is not None and state.state is SourceState.ANSWERING:
        by_nodes = state.controller is ControllerConnection.NOT_CONNECTED
        return "is heard on nodes, and they are not in use" if by_nodes else "cannot be asked about them"
    return "is not connected"


def unseen(reasons: Iterable[tuple[str, int]]) -> str:
    """Say of how many claims their nodes cannot say that they are healthy, and the commonest reason; empty if of none.

    `2 claims cannot be judged by their nodes: fuse: nothing on the node shows whether it works (1 more reason)`.
    """
    claims: Counter[str] = Counter()
    for why, number in reasons:
        claims[why] += number
    if not claims:
        return ""
    total, commonest = sum(claims.values()), max(sorted(claims), key=lambda why: claims[why])
    who = (
        "1 claim cannot be judged by its node"
        if total == 1
        else f"{total} claims cannot be judged by their nodes"
    )
    rest = len(claims) - 1
    return f"{who}: {commonest}" + (f" ({count(rest, 'more reason')})" if rest else "")


def on_nodes_word(result: CheckResult) -> str:
    """`3094 on their nodes' word`: how many claims only their nodes say are healthy."""
    counts = result.judgement.counts if result.judgement is not None else None
    return f"{counts.healthy_by_node if counts is not None else 0} on their nodes' word"


def drivers_to_look_at(result: CheckResult, *, most: int) -> list[str]:
    """Write a line for each driver that needs a look: `NAME: Unreachable since 23 Nov 03:02Z, 17 claims Unknown`."""
    found = [driver for driver in result.drivers.values() if driver.state in _LOOK]
    found.sort(key=lambda driver: (_LOOK.index(driver.state), driver.name))
    lines = [_look_at(result, driver) for driver in found[:most]]
    lines += [f"{endpoint}: no answer since the operator started" for endpoint in result.unresolved]
    rest = len(found) + len(result.unresolved) - most
    return [*lines[: most - 1], f"{rest + 1} more: kubectl get vhd"] if rest > 0 else lines


def _look_at(result: CheckResult, driver: DriverState) -> str:
    counts = result.driver_counts.get(driver.name)
    since = f"{driver.state} since {date_and_time(driver.since)}"
    if counts is None or not (counts.unknown or counts.unmonitored):
        return f"{driver.name}: {since}"
    if counts.unknown:
        return f"{driver.name}: {since}, {count(counts.unknown, 'claim')} Unknown"
    return f"{driver.name}: {since}, {count(counts.unmonitored, 'claim')} Unmonitored"


def headline(problem: Problem) -> str:
    """`Inaccessible/VolumeNotFound`, made safe for a line."""
    return fit(clean(f"{problem.group.status}/{problem.group.reason}"), 80)


def where(problem: Problem) -> str:
    """Say whose problem it is: `rook-ceph.rbd on worker-2`, or of nodes that failed, `worker-2 and 19 more nodes`."""
    nodes = named(sorted(problem.nodes), "node")
    if not problem.group.driver:
        return nodes
    return f"{problem.group.driver} on {nodes}" if nodes else problem.group.driver


def silent_agents(result: CheckResult) -> str:
    """Say which agents are silent."""
    silent = result.agents.silent
    return f"{len(silent)} of {count(result.agents.expected, 'agent')} silent: {named(silent, 'agent')}"


def silent_drivers(result: CheckResult) -> str:
    """Say which drivers do not answer and what they are known to say instead."""
    drivers = result.silent_drivers
    said = [
        f"{driver.name}: {fit(clean(driver.message), 200)}"
        if driver.message
        else f"{driver.name} does not answer"
        for driver in drivers[:_NAMED]
    ]
    more = len(drivers) - len(said)
    return "; ".join([*said, f"{count(more, 'more driver')} silent"] if more else said)


def named(names: Sequence[str], noun: str) -> str:
    """`a, b and 3 more nodes`; all of them if they are few."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {count(len(names) - _NAMED, f'more {noun}')}"
