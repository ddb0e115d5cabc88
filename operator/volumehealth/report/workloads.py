"""Who is hurt: the Pods of a claim by what runs them, as people name it, where, and how many."""

from collections.abc import Iterable, Sequence

from volumehealth.model.cluster import Pod
from volumehealth.model.text import count
from volumehealth.report.text import clean, fit, listed

_NODES = 3
_NAMED = 2
_LONGEST = 200
"""Bytes of what is told of one workload."""


def workloads(pods: Iterable[Pod]) -> tuple[str, ...]:
    """Name the workloads that use a claim: `StatefulSet/orders-db: 2 Pods on worker-1, worker-2`, `Pod/debug: on worker-1`.

    Pods that are finished use nothing.
    """
    return tuple(
        fit(f"{name}: {_extent(name, users)}".rstrip(": "), _LONGEST) for name, users in _by_owner(pods)
    )


def names(pods: Iterable[Pod]) -> tuple[str, ...]:
    """Name the workloads that use a claim, those with the most Pods first: `StatefulSet/orders-db`, `Pod/debug`."""
    return tuple(fit(name, _LONGEST) for name, _ in _by_owner(pods))


def owners(pods: Iterable[Pod]) -> str:
    """Name what runs the Pods of a claim, in a few words: `StatefulSet/orders-db`; empty if nothing does."""
    names = sorted({clean(pod.owner) for pod in pods if pod.owner and not pod.finished})
    return fit(listed(names, len(names), _NAMED), _LONGEST)


def _by_owner(pods: Iterable[Pod]) -> list[tuple[str, list[Pod]]]:
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        if not pod.finished:
            found.setdefault(clean(pod.owner) or f"Pod/{pod.name}", []).append(pod)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def _extent(name: str, pods: Sequence[Pod]) -> str:
    nodes = sorted({pod.node for pod in pods if pod.node})
    where = f"on {listed(nodes, len(nodes), _NODES)}" if nodes else ""
    number = "" if name.startswith("Pod/") else count(len(pods), "Pod")
    return f"{number} {where}".strip()
