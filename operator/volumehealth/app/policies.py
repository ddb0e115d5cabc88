"""The policies of the cluster as the operator uses them: parsed, with the last good spec kept."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from volumehealth.cluster.objects import RawPolicy
from volumehealth.errors import InvalidSpec
from volumehealth.model.clock import LATEST, LONG_AGO
from volumehealth.model.policy import FieldError, Policy, PolicySpec, in_force
from volumehealth.policy.parse import parse_policy

log = logging.getLogger(__name__)

GONE_AFTER = 3.0
"""Seconds for which a policy must be missing before what it told is taken back."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy object.

    Attributes:
        raw: what the API server holds.
        policy: its spec, or the last good one, as it is in force; None if it never had one that could be used.
        written: the same as it is written: a pause that ends by itself is in `policy` while it lasts.
        faults: why the present spec cannot be used; empty if it can.
    """

    raw: RawPolicy
    policy: Policy | None
    faults: tuple[FieldError, ...] = ()
    written: Policy | None = None

    @property
    def checks(self) -> bool:
        """Whether there is anything to check: a usable spec that is not suspended."""
        return self.policy is not None and not self.policy.spec.suspend

    @property
    def shown(self) -> Policy:
        """The policy as its status shows it: of the newest generation, with the spec in force."""
        if self.policy is None:
            return Policy(self.raw.name, self.raw.uid, self.raw.generation, LONG_AGO, PolicySpec())
        return self.policy


class PolicyBook:
    """Parses each spec of each policy once."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._missing: dict[str, float] = {}

    def __getitem__(self, uid: str) -> Entry:
        """Return a policy by uid. Raises KeyError if it is not there."""
        return self._entries[uid]

    def __contains__(self, uid: object) -> bool:
        return uid in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Collection[Entry]:
        """Return all policies."""
        return self._entries.values()

    def usable(self) -> Mapping[str, Policy]:
        """Return, by uid, the policies that hold claims: those with a good spec, suspended ones too."""
        return {uid: entry.policy for uid, entry in self._entries.items() if entry.policy is not None}

    @property
    def missing(self) -> Collection[str]:
        """The uids of policies that the view does not show now, and that are not gone for that yet."""
        return self._missing.keys()

    def refresh(
        self, raws: Iterable[RawPolicy], *, now: float, trusted: bool = True, wall: datetime = LATEST
    ) -> tuple[frozenset[str], tuple[Entry, ...]]:
        """Take the policies that exist now.

        A policy that is missing is gone once it has been missing for `GONE_AFTER` seconds of a view that is trusted,
        or once another policy has its name: what it told cannot be told again.

        Args:
            raws: what the view shows.
            now: monotonic seconds.
            trusted: whether the view is current.
            wall: the moment by the wall clock, for pauses that end by themselves.

        Returns:
            The uids whose spec is new or changed, and the policies that are gone.
        """
        shown = {raw.uid: raw for raw in raws}
        names = {raw.name for raw in shown.values()}
        changed = {uid for uid, raw in shown.items() if self._take(uid, raw)}
        changed |= {uid for uid in shown if self._turns(uid, wall)}
        missing = [uid for uid in self._entries if uid not in shown]
        if trusted:
            self._missing = {uid: min(self._missing.get(uid, now), now) for uid in missing}
        else:
            self._missing = dict.fromkeys(missing, float("inf"))
        gone = [
            uid
            for uid, since in self._missing.items()
            if now - since >= GONE_AFTER or self._entries[uid].raw.name in names
        ]
        for uid in gone:
            del self._missing[uid]
        return frozenset(changed), tuple(self._entries.pop(uid) for uid in gone)

    def _turns(self, uid: str, wall: datetime) -> bool:
        """Tell whether a pause of a policy has begun or ended by itself."""
        entry = self._entries[uid]
        if entry.written is None:
            return False
        policy = in_force(entry.written, wall)
        if policy == entry.policy:
            return False
        self._entries[uid] = replace(entry, policy=policy)
        return True

    def _take(self, uid: str, raw: RawPolicy) -> bool:
        """Take one policy; tell whether its spec is new or changed."""
        old = self._entries.get(uid)
        if old is not None and _says_the_same(old.raw, raw):
            self._entries[uid] = old if old.raw is raw else replace(old, raw=raw)
            return False
        self._entries[uid] = _parse(raw, last_good=old.written if old else None)
        return True


def _says_the_same(old: RawPolicy, new: RawPolicy) -> bool:
    """Tell whether a policy's spec is the one that was read; an etcd that was restored counts generations anew."""
    return old is new or (old.generation, old.manifest["spec"]) == (new.generation, new.manifest["spec"])


def _parse(raw: RawPolicy, *, last_good: Policy | None) -> Entry:
    try:
        policy = parse_policy(raw.manifest)
        return Entry(raw, policy, written=policy)
    except InvalidSpec as error:
        faults = error.errors
    except Exception as error:
        log.exception("policy cannot be read", extra={"policy": raw.name})
        faults = (FieldError("spec", f"cannot be read ({type(error).__name__})"),)
    kept = replace(last_good, generation=raw.generation) if last_good is not None else None
    return Entry(raw, kept, faults, kept)
