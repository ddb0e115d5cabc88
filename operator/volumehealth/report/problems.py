"""Findings of many claims as a few problems: grouped by driver, source, status and reason, worst first.

Failed nodes are one story, whatever drivers their Pods use; so is what a driver's nodes say of the storage behind it.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from volumehealth.judge.policy import PolicyJudgement
from volumehealth.judge.problem import Group, Problem
from volumehealth.judge.result import CheckResult
from volumehealth.judge.storage import StorageProblem
from volumehealth.model.cluster import Pod
from volumehealth.model.health import Finding, Source, urgency
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import Steps
from volumehealth.model.vocabulary import Reason
from volumehealth.report.agenda import Agenda
from volumehealth.report.workloads import owners

_EXAMPLES = 3

PodsOf = Callable[[ClaimRef], Sequence[Pod]]


@dataclass(slots=True)
class _Gathered:
    findings: dict[ClaimRef, Finding] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)


def group_of(driver: str, finding: Finding) -> Group:
    """Say to which problem a finding belongs."""
    if finding.source is Source.KUBERNETES and finding.reason == Reason.NODE_FAILED:
        driver = ""
    return Group(driver, finding.source, finding.status, finding.reason)


class ProblemFinder:
    """Groups the findings of a policy's claims.

    Args:
        result: the check.
        pods_of: the Pods that use a claim.
    """

    def __init__(self, result: CheckResult, pods_of: PodsOf) -> None:
        self._result = result
        self._pods_of = pods_of
        self._gathered: dict[Group, _Gathered] = {}

    def gather(self) -> Iterator[None]:
        """Go through the claims; yields where others may have a turn."""
        for ref, health in self._result.healths.items():
            claim = self._result.claims.get(ref) if health.findings else None
            if claim is not None:
                for finding in health.findings:
                    group = self._gathered.setdefault(group_of(claim.driver, finding), _Gathered())
                    _gather(group, ref, finding)
                yield

    def of_claims(self) -> Iterator[Problem]:
        """Yield those of claims."""
        judgement = self._result.judgement
        wide = wide_groups(judgement) if judgement is not None else {}
        for group, found in self._gathered.items():
            yield _problem(group, found, wide.get(group, 0), self._pods_of)

    def problems(self) -> tuple[Problem, ...]:
        """Return them, worst first: by severity, then what may cost data, then by claims, then by age."""
        return _ranked(self.of_claims(), self._result)


class Problems:
    """The problems of policies, which are grouped anew when something of their claims has changed.

    Args:
        pods_of: the Pods that use a claim.
    """

    def __init__(self, pods_of: PodsOf) -> None:
        self._pods_of = pods_of
        self._agenda = Agenda()
        self._known: dict[str, tuple[dict[Group, int], tuple[Problem, ...]]] = {}

    def of(self, result: CheckResult) -> Steps[tuple[Problem, ...]]:
        """Return the problems of a check, worst first."""
        name, judgement = result.policy.name, result.judgement
        if judgement is None:
            return ()
        wide, known = wide_groups(judgement), self._known.get(name)
        changed = self._agenda.of(name, judgement.healths)
        if changed or known is None or known[0] != wide:
            self._known.pop(name, None)  # an error, or what changes between steps, has them grouped once more
            for ref in changed:
                self._agenda.settle(name, ref)
            finder = ProblemFinder(result, self._pods_of)
            yield from finder.gather()
            known = self._known[name] = (wide, tuple(finder.of_claims()))
        return _ranked(known[1], result)

    def look_again(self, claims: Collection[ClaimRef] | None) -> None:
        """The rows or Pods of these claims have changed; None means of any."""
        self._agenda.look_again(claims)

    def forget(self, policy: str) -> None:
        """A policy is gone."""
        self._known.pop(policy, None)
        self._agenda.forget(policy)


def find_problems(result: CheckResult, pods_of: PodsOf) -> tuple[Problem, ...]:
    """Group the findings of a policy's claims at once."""
    finder = ProblemFinder(result, pods_of)
    for _ in finder.gather():
        pass
    return finder.problems()


def wide_groups(judgement: PolicyJudgement) -> dict[Group, int]:
    """Return the driver-wide groups, and how many claims of the driver there are."""
    return {
        Group(wide.driver, wide.source, wide.status, wide.reason): wide.of for wide in judgement.driver_wide
    }


def _gather(group: _Gathered, ref: ClaimRef, finding: Finding) -> None:
    """Add a finding; of several on one claim (several nodes) the oldest live one stands for it."""
    known = group.findings.get(ref)
    if known is None or (finding.stale, finding.since) < (known.stale, known.since):
        group.findings[ref] = finding
    if finding.node:
        group.nodes.add(finding.node)


def _problem(group: Group, found: _Gathered, wide_of: int, pods_of: PodsOf) -> Problem:
    first = heapq.nsmallest(_EXAMPLES, ((finding.since, ref) for ref, finding in found.findings.items()))
    return Problem(
        group=group,
        claims=len(found.findings),
        stale=sum(finding.stale for finding in found.findings.values()),
        examples=tuple(ref for _, ref in first),
        users=tuple(owners(pods_of(ref)) for _, ref in first),
        message=found.findings[first[0][1]].message,
        since=first[0][0],
        nodes=frozenset(found.nodes),
        namespaces=len({ref.namespace for ref in found.findings}),
        wide_of=wide_of,
        used_on=len({pod.node for ref in found.findings for pod in pods_of(ref)} - {""}) if wide_of else 0,
    )


def _ranked(of_claims: Iterable[Problem], result: CheckResult) -> tuple[Problem, ...]:
    return tuple(sorted((*of_claims, *_storage_problems(result)), key=_rank))


def _storage_problems(result: CheckResult) -> Iterator[Problem]:
    """Group what nodes say of the storage behind drivers."""
    groups: dict[Group, list[StorageProblem]] = {}
    for one in result.storage.problems:
        groups.setdefault(group_of(one.backend.driver, one.finding), []).append(one)
    for group, found in groups.items():
        first = min(found, key=lambda one: (one.finding.since, one.backend))
        claims = sorted({claim for one in found for claim in one.claims})
        yield Problem(
            group=group,
            claims=len(claims),
            stale=len(claims) if all(one.finding.stale for one in found) else 0,
            examples=tuple(claims[:_EXAMPLES]),
            message=first.finding.message,
            since=first.finding.since,
            nodes=frozenset(one.backend.node for one in found),
            namespaces=len({claim.namespace for claim in claims}),
            storage=True,
        )


def _rank(problem: Problem) -> tuple[int, int, datetime, Group]:
    group = problem.group
    return (-urgency(group.status, group.reason), -problem.claims, problem.since, group)
