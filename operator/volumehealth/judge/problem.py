"""Findings of many claims grouped: what outputs tell as one problem."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from volumehealth.model.health import Source
from volumehealth.model.ids import ClaimRef


class Group(NamedTuple):
    """What findings have in common that make one problem."""

    driver: str
    """Empty for nodes that failed: that is no driver's story."""
    source: Source
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One group of findings.

    Attributes:
        group: what they have in common.
        claims: how many claims have such a finding.
        stale: how many of those are stale.
        examples: three at most, the oldest first.
        users: what runs the Pods of each example, in their order; empty where nothing does.
        message: what the source says of the first example.
        since: when the oldest was first heard.
        nodes: the nodes that findings name.
        namespaces: how many namespaces these claims are in.
        wide_of: if it is driver-wide, how many claims of the driver there are; else 0.
        used_on: if it is driver-wide, on how many nodes Pods use these claims; else 0.
        storage: it is about the storage behind the driver; the claims are those that it touches.
    """

    group: Group
    claims: int
    stale: int
    examples: tuple[ClaimRef, ...]
    message: str
    since: datetime
    nodes: frozenset[str]
    namespaces: int
    wide_of: int = 0
    used_on: int = 0
    storage: bool = False
    users: tuple[str, ...] = ()
