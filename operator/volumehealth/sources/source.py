"""The HealthSource contract: what observes volumes, says what it covered, and says what clears its findings.

A source is told what is wanted of it (which volumes, how often, which of them need confirming), and never sees a
verdict: how long a statement must last before it counts is decided in `judge/` alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar

from volumehealth.judge.result import Agents
from volumehealth.judge.storage import Backend
from volumehealth.model.health import Answer, DriverAnswers, HealthAPI, HealthyOnNodes, Origins, Source
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.policy import Policy
from volumehealth.model.steps import Steps
from volumehealth.policy.select import Members
from volumehealth.probing.spec import ProbeSpec

Statements = Iterable[tuple[ClaimRef, Answer]]
"""Answers about claims, in any order; a claim may come more than once."""

OF_STORAGE = tuple[tuple[Answer, ...], tuple[ClaimRef, ...]]
"""What is said of the storage behind a driver, and the claims that it touches."""


def _nothing() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source is asked for.

    Attributes:
        policy: with the checks that it wants.
        members: its claims.
        now: the moment, by the wall clock.
    """

    policy: Policy
    members: Members
    now: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all policies together want of sources.

    Attributes:
        volumes: by driver, those that its controller is to be asked about, how often, and which need confirming.
        drivers: every driver whose claims a policy selects.
    """

    volumes: Mapping[str, ProbeSpec]
    drivers: frozenset[str]


@dataclass(frozen=True, slots=True)
class ObservedDriver:
    """What nodes' agents report of a driver.

    Attributes:
        nodes: on how many nodes it answers; if it has no health call, on how many an agent sees it.
        health_api: the generation that it speaks there; None if it has no health call.
        methods: what is called there.
        since: since when the first of them answers.
        limits: what its nodes do not see of claims that they can judge.
        unseen: of how many claims its nodes cannot say that they are healthy, by why.
        identified: an agent has learnt what it can do; a driver that never answered may have a health call or not.
    """

    nodes: int
    health_api: HealthAPI
    methods: tuple[str, ...]
    since: datetime
    unseen: Mapping[str, int] = field(default_factory=dict)
    limits: frozenset[str] = frozenset()
    identified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one source says of a policy's claims. A source leaves out what it has nothing of.

    Attributes:
        statements: adverse and silent answers by claim; sparse. May be read from the view, so it is taken at once.
        drivers: answers about each volume of a driver's controller; they name what is healthy, and when it was asked.
        covered: claims that origins on nodes looked at since they were wanted and have nothing against; None if the
            source covers none.
        origins: what clears findings: says of each of its origins that gave no answer whether it speaks, should
            speak, or has ended.
        storage: what is said of the storage behind drivers, seen from nodes.
        storage_origins: what clears what was said of a driver's storage, by the driver's name; None if the source says
            nothing of storage.
        agents: those that should report, and those that do not.
        on_nodes: drivers that answer on nodes.
        unresolved: configured endpoints that never answered, so that their driver has no name.
    """

    origins: Origins
    statements: Statements = ()
    drivers: Mapping[str, DriverAnswers] = field(default_factory=_nothing)
    covered: HealthyOnNodes | None = None
    storage: Mapping[Backend, OF_STORAGE] = field(default_factory=_nothing)
    storage_origins: Callable[[str], Origins] | None = None
    agents: Agents | None = None
    on_nodes: Mapping[str, ObservedDriver] = field(default_factory=_nothing)
    unresolved: tuple[str, ...] = ()


class HealthSource(ABC):
    """One way of observing volumes. What is not needed for a source, it does not implement."""

    name: ClassVar[str]
    """For logs and tests, such as `NodeAgents`."""
    observers: ClassVar[frozenset[tuple[Source, Observer]]]
    """Whose word it brings. No two sources bring the same: a statement clears only what its own origin said."""

    annotations: ClassVar[frozenset[str]] = frozenset()
    """Keys of the annotations of claims and volumes that it reads; the view keeps no others."""

    @abstractmethod
    def observe(self, asked: Asked) -> Steps[Observed]:
        """Say what is known of a policy's claims, in steps; never waits for anything."""

    def want(self, wanted: Wanted) -> None:  # noqa: B027 - most find out by themselves
        """Take what all policies together want, whenever that may have changed."""

    def forget(self, policy_uid: str) -> None:  # noqa: B027 - most remember nothing of a policy
        """A policy is gone."""
