"""Which claims a policy holds, and why it does not hold the others; pure and incremental.

A claim belongs to one policy: of those that select it the one with the highest `spec.priority`, then the oldest, then
the first by name. Only Bound claims are selected, once the view knows their volume, and Lost ones, which were bound.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from volumehealth.model.cluster import Claim, Namespace
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import LabelExpression, LabelSelector, Policy
from volumehealth.model.steps import Steps

_Rank = tuple[int, datetime, str]
_ANY = LabelSelector()
_NAMED = 5
"""Policies of which it is told why they do not select a claim."""
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Members:
    """The claims of one policy. The same object comes back as long as nothing in it changed.

    Attributes:
        by_driver: claims the policy owns and a CSI driver can be asked about: driver -> volumeHandle -> claims.
        claims_of: how many claims each driver of `by_driver` has.
        topologies: of volumes that can be reached from some nodes only, from which: driver -> volumeHandle -> topology.
        overridden: claims it selects and another policy owns, counted by that policy's name.
        not_csi: claims it owns whose volume is not CSI: counted, never monitored, in no other number.
    """

    by_driver: Mapping[str, Mapping[str, tuple[ClaimRef, ...]]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    claims_of: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    topologies: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    overridden: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    not_csi: int = 0

    @property
    def selected(self) -> int:
        """How many claims it owns and can be judged."""
        return sum(self.claims_of.values())


_NOBODY = Members()


class Selection:
    """Who holds which claim."""

    def __init__(self) -> None:
        self._candidates: dict[str, _Candidate] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._held: dict[ClaimRef, _Held] = {}
        self._rolls: dict[str, _Roll] = {}
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._unfinished = False

    def update(
        self,
        policies: Mapping[str, Policy],
        claims: Mapping[ClaimRef, Claim],
        namespaces: Mapping[str, Namespace],
        changed: Collection[ClaimRef] | None,
    ) -> Steps[None]:
        """Follow what changed since the last update, one claim in each step.

        Between steps only `claims` may change: what does is in the next update's `changed`. An update that was given up
        before its last step is made good by the next one, which looks at every claim.

        Args:
            policies: every policy with a usable spec, suspended ones too, by uid.
            claims: the view's rows, by reference.
            namespaces: the view's namespaces, by name.
            changed: claims that came, changed or went since the last update; None if it may be any.
        """
        if self._unfinished:
            changed = None
        self._unfinished = True
        moved = self._follow_namespaces(namespaces)
        touched = self._follow_policies(policies)
        refs: Collection[ClaimRef]
        if changed is None:
            refs = [*claims, *(ref for ref in self._held if ref not in claims)]
            yield
        elif moved:
            refs = {*changed, *(ref for ref in claims if ref.namespace in moved)}
        else:
            refs = changed
        if touched and changed is not None:
            for ref in list(claims):
                claim = claims.get(ref)
                if claim is not None:
                    self._reconsider(ref, claim, touched)
                yield
        for ref in refs:
            self._consider(ref, claims.get(ref))
            yield
        self._unfinished = False

    def members(self, policy_uid: str) -> Members:
        """Return the claims of one policy; none if the policy is not known."""
        roll = self._rolls.get(policy_uid)
        return roll.members(self._candidates) if roll else _NOBODY

    def owner(self, ref: ClaimRef) -> str | None:
        """Return the uid of the policy that owns a claim; None if no policy selects it."""
        held = self._held.get(ref)
        return held.holders[0] if held else None

    def why(self, ref: ClaimRef) -> str:
        """Say why the policy that owns a claim owns it, for a person; empty if none does."""
        held = self._held.get(ref)
        # Amid an update a claim may still be held by a policy that is gone.
        holders = [uid for uid in (held.holders if held is not None else ()) if uid in self._candidates]
        if not holders:
            return ""
        first, *others = (self._candidates[uid] for uid in holders)
        if not others:
            return f"the only policy that selects it is {first.name}"
        order = ", ".join(f"{one.name} (priority {-one.rank[0]})" for one in (first, *others))
        return f"these select it, and the first owns it: {order}; the higher priority wins, then the older policy"

    def why_not(self, claim: Claim) -> str:
        """Say why no policy owns a claim, for a person."""
        if claim.phase not in ("Bound", "Lost"):
            return f"it is {claim.phase or 'not bound'}: only a claim that is bound to a volume is checked"
        if not (claim.driver or claim.unsupported):
            return f"its volume {claim.volume or ''} is not known".replace("  ", " ")
        if not self._candidates:
            return "the cluster has no VolumeHealthPolicy that can be used; see: kubectl get vhp"
        reasons = "; ".join(
            f"{one.name}: {one.why_not(claim, self._namespaces)}"
            for one in sorted(self._candidates.values(), key=lambda one: one.rank)[:_NAMED]
        )
        return f"no policy selects it ({reasons})"

    def _follow_namespaces(self, namespaces: Mapping[str, Namespace]) -> frozenset[str]:
        """Return the namespaces whose claims may have changed hands."""
        before, self._namespaces = self._namespaces, dict(namespaces)
        moved = frozenset(
            name
            for name in before.keys() | self._namespaces.keys()
            if before.get(name) != self._namespaces.get(name)
        )
        choosy = [policy for policy in self._candidates.values() if policy.minds_namespaces]
        for policy in choosy:
            policy.forget_namespaces(moved)
        return moved if choosy else frozenset()

    def _follow_policies(self, policies: Mapping[str, Policy]) -> frozenset[str]:
        """Return the policies that are new, gone, or select or rank otherwise than before."""
        before = self._candidates
        self._candidates = {
            uid: old if (old := before.get(uid)) and old.is_for(policy) else _Candidate(policy)
            for uid, policy in policies.items()
        }
        self._rolls = {uid: self._rolls.get(uid) or _Roll() for uid in policies}
        touched = frozenset(
            uid
            for uid in before.keys() | self._candidates.keys()
            if before.get(uid) is not self._candidates.get(uid)
        )
        if touched:
            self._orders.clear()
        return touched

    def _consider(self, ref: ClaimRef, claim: Claim | None) -> None:
        """Ask every policy about one claim; None if the claim is gone."""
        if claim is None:
            self._place(ref, None)
        else:
            self._place(ref, _Held(claim, self._ordered(self._selecting(claim, self._candidates))))

    def _reconsider(self, ref: ClaimRef, claim: Claim, touched: frozenset[str]) -> None:
        """Ask the touched policies only: the others still say what they said."""
        held = self._held.get(ref)
        # A claim that was not there when a policy went may be held by it still.
        keep = [uid for uid in held.holders if uid in self._candidates and uid not in touched] if held else []
        new = self._selecting(claim, touched & self._candidates.keys())
        if held or new:
            self._place(ref, _Held(claim, self._ordered([*keep, *new])))

    def _selecting(self, claim: Claim, uids: Iterable[str]) -> list[str]:
        if claim.phase not in ("Bound", "Lost") or not (claim.driver or claim.unsupported):
            return []
        return [uid for uid in uids if self._candidates[uid].selects(claim, self._namespaces)]

    def _ordered(self, holders: Iterable[str]) -> tuple[str, ...]:
        """Return holders with the winner first, one tuple for all claims that are held alike."""
        key = tuple(holders)
        order = self._orders.get(key)
        if order is None:
            order = tuple(sorted(key, key=lambda uid: self._candidates[uid].rank))
            self._orders[key] = order = self._orders.setdefault(order, order)
        return order

    def _place(self, ref: ClaimRef, new: "_Held | None") -> None:
        old = self._held.get(ref)
        if new is not None and new.holders:
            self._held[ref] = new
        else:
            self._held.pop(ref, None)
            new = None
        if old is None or new is None or not old.counts_like(new):
            self._count(ref, old, add=False)
            self._count(ref, new, add=True)

    def _count(self, ref: ClaimRef, held: "_Held | None", *, add: bool) -> None:
        if held is None:
            return
        winner, *losers = held.holders
        if winner in self._rolls:
            self._rolls[winner].own(ref, held.claim, add=add)
        for uid in losers:
            if uid in self._rolls:
                self._rolls[uid].lose_to(winner, add=add)


@dataclass(frozen=True, slots=True)
class _Held:
    """A claim and the policies that select it, the winner first."""

    claim: Claim
    holders: tuple[str, ...]

    def counts_like(self, other: "_Held") -> bool:
        """Tell whether no policy's members differ between the two."""
        mine, its = self.claim, other.claim
        return self.holders == other.holders and (
            mine is its
            or (mine.driver, mine.handle, mine.unsupported, mine.topology)
            == (its.driver, its.handle, its.unsupported, its.topology)
        )


class _Candidate:
    """A policy as the selection asks it."""

    def __init__(self, policy: Policy) -> None:
        self.name = policy.name
        self.rank: _Rank = (-policy.spec.priority, policy.created, policy.name)
        self._selector = selector = policy.spec.selector
        self._drivers = frozenset(selector.drivers)
        self._classes = frozenset(selector.storage_class_names)
        self._any_claim = selector.claim_selector == _ANY
        self.minds_namespaces = selector.namespace_selector != _ANY
        self._namespaces: dict[str, bool] = {}

    def is_for(self, policy: Policy) -> bool:
        """Tell whether the policy still selects and ranks like this."""
        spec = policy.spec
        return self.rank == (-spec.priority, policy.created, policy.name) and self._selector == spec.selector

    def forget_namespaces(self, names: Iterable[str]) -> None:
        """Look at these namespaces' labels again."""
        for name in names:
            self._namespaces.pop(name, None)

    def selects(self, claim: Claim, namespaces: Mapping[str, Namespace]) -> bool:
        """Tell whether all that is given matches."""
        return (
            (not self._drivers or claim.driver in self._drivers)
            and (not self._classes or claim.storage_class in self._classes)
            and (self._any_claim or matches(self._selector.claim_selector, claim.labels))
            and (not self.minds_namespaces or self._in_scope(claim.ref.namespace, namespaces))
        )

    def why_not(self, claim: Claim, namespaces: Mapping[str, Namespace]) -> str:
        """Name the first part of the selector that does not match, for a person."""
        if self._drivers and claim.driver not in self._drivers:
            return f"selector.drivers does not name {claim.driver or claim.unsupported}"
        if self._classes and claim.storage_class not in self._classes:
            return (
                f"selector.storageClassNames does not name {claim.storage_class or 'a claim without a class'}"
            )
        if not (self._any_claim or matches(self._selector.claim_selector, claim.labels)):
            return "selector.claimSelector does not match its labels"
        if self.minds_namespaces and not self._in_scope(claim.ref.namespace, namespaces):
            return f"selector.namespaceSelector does not match the labels of {claim.ref.namespace}"
        return "it was made only just now"

    def _in_scope(self, name: str, namespaces: Mapping[str, Namespace]) -> bool:
        known = self._namespaces.get(name)
        if known is None:
            # Labels that were not seen yet match nothing: `NotIn` would else take what it is there to keep out.
            space = namespaces.get(name)
            known = space is not None and matches(self._selector.namespace_selector, space.labels)
            self._namespaces[name] = known
        return known


class _Roll:
    """The claims of one policy, kept in place; what was handed out is copied before it is changed."""

    def __init__(self) -> None:
        self._drivers: dict[str, dict[str, tuple[ClaimRef, ...]]] = {}
        self._claims_of: dict[str, int] = {}
        self._topologies: dict[str, dict[str, str]] = {}
        self._lost: dict[str, int] = {}
        self._not_csi = 0
        self._ours: set[str] = set()
        self._members: Members | None = None

    def own(self, ref: ClaimRef, claim: Claim, *, add: bool) -> None:
        """Add or remove a claim that the policy owns."""
        self._members = None
        if not claim.driver:
            self._not_csi += 1 if add else -1
            return
        if claim.driver not in self._ours:
            self._drivers[claim.driver] = dict(self._drivers.get(claim.driver, {}))
            self._topologies[claim.driver] = dict(self._topologies.get(claim.driver, {}))
            self._ours.add(claim.driver)
        handles, topologies = self._drivers[claim.driver], self._topologies[claim.driver]
        others = tuple(other for other in handles.get(claim.handle, ()) if other != ref)
        refs = tuple(sorted((*others, ref))) if add else others
        _put(handles, claim.handle, refs)
        if add or not refs:
            _put(topologies, claim.handle, claim.topology if add else "")
        _put(self._drivers, claim.driver, handles)
        _put(self._claims_of, claim.driver, self._claims_of.get(claim.driver, 0) + (1 if add else -1))
        if claim.driver not in self._drivers:
            del self._topologies[claim.driver]
            self._ours.discard(claim.driver)

    def lose_to(self, winner: str, *, add: bool) -> None:
        """Add or remove a claim that the policy selects and another one owns."""
        self._members = None
        _put(self._lost, winner, self._lost.get(winner, 0) + (1 if add else -1))

    def members(self, candidates: Mapping[str, _Candidate]) -> Members:
        """Return what it holds now."""
        if self._members is None:
            self._ours.clear()
            self._members = Members(
                MappingProxyType(dict(self._drivers)),
                MappingProxyType(dict(self._claims_of)),
                MappingProxyType({driver: places for driver, places in self._topologies.items() if places}),
                MappingProxyType(
                    {candidates[uid].name: n for uid, n in self._lost.items() if uid in candidates}
                ),
                self._not_csi,
            )
        return self._members


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether labels match a Kubernetes label selector; the empty one matches everything."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(expression, labels) for expression in selector.match_expressions
    )


def _holds(expression: LabelExpression, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value is not None and value in expression.values
        case "NotIn":  # a missing label is not in any set
            return value is None or value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            raise ValueError(f"no label selector operator: {operator}")


def _put(table: dict[str, _Value], key: str, value: _Value) -> None:
    """Keep a value, or the absence of an empty one."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)
