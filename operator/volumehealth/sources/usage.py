"""Which claims are used on which nodes, kept up by what changed; for findings that are about a node.

A claim is used on a node while a Pod that is not finished is bound there and names it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Steps

_NOBODY: Mapping[str, Mapping[ClaimRef, None]] = MappingProxyType({})


_Nodes = tuple[tuple[str, bool], ...]


class Place(NamedTuple):
    """A claim on a node."""

    node: str
    claim: ClaimRef


class _Use(NamedTuple):
    """How one claim is used: which one it is, by which driver, on each node whether a Pod runs there, and which do.

    Nearly always one does, so their uids are one text: a tuple around each costs 6 MB at 100,000 claims.
    """

    uid: str
    driver: str
    nodes: _Nodes
    running: str


class Usage:
    """Who uses what where.

    Args:
        claims: the view's rows.
        pods_of: the Pods that use a claim.

    Attributes:
        version: grows with every change.
        nodes: claims by node and driver; the innermost keys are the claims.
        fresh: since when (monotonic seconds) a claim is used by a running Pod on a node, where that began before our
            eyes; infinite while none of its Pods runs there yet. What was there at the start is not in here.
    """

    def __init__(
        self, claims: Mapping[ClaimRef, Claim], pods_of: Callable[[ClaimRef], Sequence[Pod]]
    ) -> None:
        self._claims = claims
        self._pods_of = pods_of
        self._uses: dict[ClaimRef, _Use] = {}
        self._nodes: dict[str, dict[str, dict[ClaimRef, None]]] = {}
        self._alone: dict[_Nodes, _Nodes] = {}
        self._fresh: dict[Place, float] = {}
        self._begun = False
        self.version = 0
        self.nodes: Mapping[str, Mapping[str, Mapping[ClaimRef, None]]] = MappingProxyType(self._nodes)
        self.fresh: Mapping[Place, float] = MappingProxyType(self._fresh)

    def update(self, changed: Collection[ClaimRef] | None, now: float) -> Steps[None]:
        """Follow claims that changed, or whose Pods did, one in each step.

        Args:
            changed: their names; None if it may be any.
            now: monotonic seconds.
        """
        if changed is None:
            changed = [*self._claims, *(self._uses.keys() - self._claims.keys())]
            yield
        for ref in changed:
            self._follow(ref, now)
            yield
        self._begun = True

    def on(self, node: str) -> Mapping[str, Mapping[ClaimRef, None]]:
        """Return the claims that are used on a node, by driver."""
        return self._nodes.get(node, _NOBODY)

    def nodes_of(self, ref: ClaimRef) -> tuple[str, ...]:
        """Return the nodes where a claim is used."""
        use = self._uses.get(ref)
        return tuple(node for node, _ in use.nodes) if use else ()

    def runs(self, node: str, ref: ClaimRef) -> bool:
        """Tell whether a Pod runs on a node with a claim."""
        use = self._uses.get(ref)
        return use is not None and (node, True) in use.nodes

    def forget_fresh(self, before: float) -> None:
        """Forget uses that are fresh no more: those that began before a moment."""
        for place in [place for place, since in self._fresh.items() if since < before]:
            del self._fresh[place]

    def _follow(self, ref: ClaimRef, now: float) -> None:
        old, new = self._uses.get(ref), self._use(ref)
        if old == new:
            return
        if old is None or new is None or old[:3] != new[:3]:
            self._move(ref, old, new)
        elif new is not None:
            self._uses[ref] = new
        if old is not None and new is not None and old.uid != new.uid:
            self._date(ref, old, None, now)
            old = None
        self._date(ref, old, new, now)

    def _move(self, ref: ClaimRef, old: _Use | None, new: _Use | None) -> None:
        self.version += 1
        for node, _ in old.nodes if old else ():
            self._leave(node, old.driver if old else "", ref)
        if new is None:
            self._uses.pop(ref, None)
        else:
            self._uses[ref] = new
            for node, _ in new.nodes:
                self._nodes.setdefault(node, {}).setdefault(new.driver, {})[ref] = None

    def _use(self, ref: ClaimRef) -> _Use | None:
        claim = self._claims.get(ref)
        if claim is None or not claim.driver:
            return None
        nodes: dict[str, bool] = {}
        running = []
        for pod in self._pods_of(ref):
            if pod.node and not pod.finished:
                runs = pod.phase == "Running"
                nodes[pod.node] = nodes.get(pod.node, False) or runs
                if runs:
                    running.append(pod.uid)
        used_on = tuple(nodes.items())
        if len(used_on) == 1:  # one object for all claims that are used on this node alone
            used_on = self._alone.setdefault(used_on, used_on)
        return _Use(claim.uid, claim.driver, used_on, " ".join(sorted(running))) if used_on else None

    def _leave(self, node: str, driver: str, ref: ClaimRef) -> None:
        drivers = self._nodes[node]
        del drivers[driver][ref]
        if not drivers[driver]:
            del drivers[driver]
        if not drivers:
            del self._nodes[node]
            for running in (False, True):
                self._alone.pop(((node, running),), None)

    def _date(self, ref: ClaimRef, old: _Use | None, new: _Use | None, now: float) -> None:
        """Note since when Pods run; a Pod that runs when we begin has done so for long enough.

        Where one took the place of another between two looks, it has begun since.
        """
        before, after = dict(old.nodes if old else ()), dict(new.nodes if new else ())
        known = frozenset(old.running.split() if old else ())
        for node in before.keys() - after.keys():
            self._fresh.pop(Place(node, ref), None)
        for node, running in after.items():
            if not running:
                self._fresh[Place(node, ref)] = inf
            elif self._begun and not (before.get(node, False) and self._runs_on(ref, node, known)):
                self._fresh[Place(node, ref)] = now

    def _runs_on(self, ref: ClaimRef, node: str, known: Collection[str]) -> bool:
        """Tell whether a Pod that ran on a node with a claim still does."""
        return any(
            pod.node == node and pod.phase == "Running" and pod.uid in known for pod in self._pods_of(ref)
        )
