"""The pipeline on one screen: select claims, hear their drivers, nodes and Kubernetes, judge; `report` tells.

A check never waits for a driver. It judges what the drivers said last; drivers are asked by tasks of their own, and
what they say of importance wakes the policies that select them. So a driver that hangs delays nobody's check.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import is_not
from typing import Any, Protocol

from volumehealth.judge.claim import JudgeSettings, hand_over, not_after, resumed
from volumehealth.judge.driver import answers_about
from volumehealth.judge.explain import Explained, explain_claim
from volumehealth.judge.policy import PolicyJudgement, judge_in_steps
from volumehealth.judge.result import Agents, CheckResult
from volumehealth.judge.rules import CompiledRules, compile_rules
from volumehealth.judge.storage import Backend, StorageProblem, judge_storage
from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Claim, Namespace, ViewState
from volumehealth.model.health import (
    Answer,
    ClaimHealth,
    ControllerConnection,
    DriverAnswers,
    DriverState,
    Evidence,
    Outcome,
    Source,
    SourceState,
)
from volumehealth.model.ids import LOCAL_VOLUMES, ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import Steps, at_once
from volumehealth.model.vocabulary import SilenceReason
from volumehealth.policy.select import Members, Selection
from volumehealth.probing.spec import ProbeSpec, Topology
from volumehealth.sources.drivers import NOT_CONNECTED, SWITCHED_OFF, kubelets_own, through_agents
from volumehealth.sources.observations import Observations
from volumehealth.sources.origins import AllOrigins

_NOT_ASKED = frozenset((SilenceReason.NOT_YET_ASKED,))
_LONGEST_GAP = timedelta(days=1)
"""Drivers that are slow, or have many volumes, answer seldom; checks in between see when they fall silent."""
_LONGEST_PAUSE = timedelta(minutes=3)
"""A policy that was not checked for longer (it was suspended, the process stood still) missed what was said."""


class View(Protocol):
    """What a check needs of the cluster view."""

    @property
    def claims(self) -> Mapping[ClaimRef, Claim]:
        """The claims, by reference."""

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """The namespaces, by name."""

    def state(self) -> ViewState:
        """How far the view can be trusted."""


class Drivers(Protocol):
    """What a check needs of the probers."""

    def demand(self, wanted: Mapping[str, ProbeSpec], /) -> None:
        """Say which volumes of which driver are wanted, and how often."""

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Return the newest answers, by driver."""

    @property
    def unresolved(self) -> Sequence[str]:
        """Endpoints that never answered, so that nobody knows their driver's name."""


class Planes(Protocol):
    """What a check needs of the node plane and the Kubernetes plane (`sources.planes.Planes`)."""

    def hear(self, policy: Policy, members: Members, now: datetime) -> Steps[Observations]:
        """Return what nodes, agents and Kubernetes say of a policy's claims."""

    def forget(self, policy_uid: str) -> None:
        """A policy is gone."""


class Checker:
    """Runs checks, and holds what is remembered between them.

    Args:
        view: the cluster view.
        drivers: the probers.
        clock: time.
        planes: who hears nodes, agents and Kubernetes; None if nobody does.
    """

    def __init__(self, *, view: View, drivers: Drivers, clock: Clock, planes: Planes | None = None) -> None:
        self._view = view
        self._drivers = drivers
        self._clock = clock
        self._planes = planes
        self._storage: dict[str, dict[Backend, ClaimHealth]] = {}
        self._touched: dict[str, dict[Backend, tuple[ClaimRef, ...]]] = {}
        self._selection = Selection()
        self._policies: Mapping[str, Policy] = {}
        self._last: dict[str, PolicyJudgement] = {}
        self._healths: dict[str, dict[ClaimRef, ClaimHealth]] = {}
        self._compiled: dict[str, tuple[Policy, CompiledRules]] = {}
        self._volumes: dict[str, tuple[Members, Mapping[str, frozenset[str]]]] = {}
        self._unowned: dict[ClaimRef, ClaimHealth] = {}
        self._once_heard: frozenset[str] = frozenset()
        self._accused: dict[str, tuple[Mapping[ClaimRef, ClaimHealth], dict[str, frozenset[str]]]] = {}
        self._topologies: dict[str, Topology] = {}
        self._unions: dict[str, tuple[tuple[frozenset[str], ...], frozenset[str]]] = {}
        self._stand_ins: dict[tuple[str, str], DriverAnswers] = {}

    def resume(
        self,
        healths: Mapping[str, Mapping[ClaimRef, ClaimHealth]],
        heard: Iterable[str],
        unowned: Mapping[ClaimRef, ClaimHealth] | None = None,
    ) -> None:
        """Take up what an earlier process wrote.

        Args:
            healths: by the uid of the policy that owns the claim now.
            unowned: of claims that no usable policy owns now; the next policy that does goes on from there.
            heard: drivers that answered then. While an endpoint has not told its driver's name, the claims of
                these are Unknown, not Unmonitored.
        """
        now = self._clock.now()
        self._healths = {
            uid: {ref: not_after(resumed(health), now) for ref, health in of_policy.items()}
            for uid, of_policy in healths.items()
        }
        self._unowned = {ref: not_after(resumed(health), now) for ref, health in (unowned or {}).items()}
        self._once_heard = frozenset(heard)

    def keep_unowned(self, records: Container[ClaimRef]) -> None:
        """Forget what was remembered of claims that no policy owns, and that have no record any more."""
        self._unowned = {ref: health for ref, health in self._unowned.items() if ref in records}

    def resume_storage(
        self, uid: str, storage: Mapping[Backend, tuple[ClaimHealth, tuple[ClaimRef, ...]]]
    ) -> None:
        """Take up what an earlier process confirmed of the storage behind drivers, for the policy with this uid."""
        self._storage[uid] = {backend: health for backend, (health, _) in storage.items()}
        self._touched[uid] = {backend: claims for backend, (_, claims) in storage.items()}

    def follow(
        self,
        policies: Mapping[str, Policy],
        changed: Collection[ClaimRef] | None,
        *,
        relabelled: bool = False,
    ) -> None:
        """Follow policies and claims at once; see `follow_in_steps`."""
        at_once(self.follow_in_steps(policies, changed, relabelled=relabelled))

    def follow_in_steps(
        self,
        policies: Mapping[str, Policy],
        changed: Collection[ClaimRef] | None,
        *,
        relabelled: bool = False,
    ) -> Steps[None]:
        """Follow policies and claims: who holds what now, and what is wanted of which driver.

        Nothing else may be asked of the checker between steps, but for `users_of`.

        Args:
            policies: all with a usable spec, by uid.
            changed: claims that came, changed or went; None if it may be any.
            relabelled: whether namespaces came, changed or went.
        """
        if policies != self._policies or changed is None or changed or relabelled:
            yield from self._selection.update_in_steps(
                policies, self._view.claims, self._view.namespaces, changed
            )
            self._move(policies)
            self._accused.clear()
        self._policies = policies
        self._drivers.demand(self._wanted())

    def owner(self, ref: ClaimRef) -> str | None:
        """Return the uid of the policy that owns a claim; None if none does."""
        return self._selection.owner(ref)

    def users_of(self, driver: str) -> list[str]:
        """Return the uids of the policies that own claims of a driver."""
        return [uid for uid in self._policies if driver in self._selection.members(uid).by_driver]

    def check(self, policy: Policy) -> CheckResult:
        """Judge a policy's claims at once; see `check_in_steps`."""
        return at_once(self.check_in_steps(policy))

    def check_in_steps(self, policy: Policy) -> Steps[CheckResult]:
        """Judge a policy's claims by what is known now, and remember what was found.

        Nothing else may be asked of the checker between steps, but for `users_of`.
        """
        now, monotonic = self._clock.now(), self._clock.monotonic()
        members = self._selection.members(policy.uid)
        view = self._view.state()
        answers = self._answers(policy, members, now)
        healths = self._healths.get(policy.uid, {})
        heard = Observations()
        if self._planes is not None:
            heard = yield from self._planes.hear(policy, members, now)
        judgement = yield from judge_in_steps(
            healths,
            members,
            self._view.claims,
            Evidence(
                drivers=answers,
                claims=heard.claims,
                stale_reason=view.stale,
                healthy_on_nodes=heard.healthy_on_nodes,
                origins=AllOrigins(
                    checks=policy.spec.checks,
                    driver_of=self._driver_of,
                    drivers={name: answer.driver for name, answer in answers.items()},
                    planes=heard.origins,
                    now=now,
                ),
            ),
            settings=self._settings(policy),
            now=now,
            monotonic=monotonic,
            last=self._last.get(policy.uid),
        )
        self._last[policy.uid] = judgement
        self._healths[policy.uid] = dict(judgement.healths)
        drivers = {
            name: through_agents(answers[name].driver, heard.drivers.get(name)) for name in members.by_driver
        }
        agents = Agents(
            heard.expected, heard.expected - len(heard.silent), tuple(sorted(heard.silent)), heard.silent
        )
        storage = self._judge_storage(policy, heard, view, now)
        unresolved = tuple(sorted(self._drivers.unresolved)) if policy.spec.checks.controller.enabled else ()
        return CheckResult(
            policy=policy,
            now=now,
            judgement=judgement,
            claims=self._view.claims,
            drivers=drivers,
            view=view,
            agents=agents,
            storage=storage,
            unresolved=unresolved,
        )

    def _driver_of(self, ref: ClaimRef) -> str:
        claim = self._view.claims.get(ref)
        return claim.driver if claim is not None else ""

    def explain(self, policy: Policy, claim: Claim) -> tuple[Explained, ...]:
        """Return every statement about one claim as of the last check, and what the policy makes of it."""
        last = self._last[policy.uid]
        return explain_claim(
            last.healths.get(claim.ref),
            answers_about(claim, last.evidence) if self.owner(claim.ref) == policy.uid else (),
            driver=claim.driver,
            settings=self._settings(policy),
            now=self._clock.now(),
        )

    def heard(self, uid: str) -> bool:
        """Tell whether every endpoint named its driver, and every driver answered about every volume of a policy."""
        return not self._drivers.unresolved and self.settled(uid, _NOT_ASKED)

    def settled(self, uid: str, unsettled: Collection[str]) -> bool:
        """Tell whether no volume of a policy is silent for one of these reasons."""
        heard = self._drivers.answers()
        return not any(
            answer.outcome is Outcome.SILENT and answer.reason in unsettled
            for driver, handles in self._volumes_of(uid).items()
            if driver in heard
            for answer in map(heard[driver].about, handles)
        )

    def _settings(self, policy: Policy) -> JudgeSettings:
        known = self._compiled.get(policy.uid)
        if known is None or known[0] is not policy:
            known = self._compiled[policy.uid] = (policy, compile_rules(policy.spec.rules))
        spec = policy.spec
        return JudgeSettings(
            unhealthy_after=spec.unhealthy_after,
            healthy_after=spec.healthy_after,
            rules=known[1],
            record_retention=spec.record_retention,
            longest_gap=_LONGEST_GAP,
            longest_pause=max(_LONGEST_PAUSE, 2 * spec.interval + spec.timeout),
            fresh=max(_LONGEST_PAUSE, 2 * spec.interval + spec.timeout),
        )

    def _move(self, policies: Mapping[str, Policy]) -> None:
        """Let what is remembered go with its claim to the policy that owns it now."""
        now = self._clock.now()
        for uid, healths in list(self._healths.items()):
            for ref in [ref for ref in healths if self._selection.owner(ref) != uid]:
                health = healths.pop(ref)
                new_owner = self._selection.owner(ref)
                if new_owner is not None:
                    moved = hand_over(health, policies[new_owner].name, now)
                    self._healths.setdefault(new_owner, {})[ref] = moved
            if uid not in policies:
                self._forget(uid)
        for ref in list(self._unowned):
            owner = self._selection.owner(ref)
            if owner is not None:
                self._healths.setdefault(owner, {}).setdefault(ref, self._unowned.pop(ref))

    def _forget(self, uid: str) -> None:
        memories: tuple[dict[str, Any], ...] = (
            self._healths,
            self._last,
            self._compiled,
            self._volumes,
            self._storage,
            self._touched,
        )
        for memory in memories:
            memory.pop(uid, None)
        if self._planes is not None:
            self._planes.forget(uid)

    def _wanted(self) -> dict[str, ProbeSpec]:
        """Add up what all policies want: each volume once, the shortest interval, the longest timeout."""
        users: dict[str, list[tuple[PolicySpec, frozenset[str], frozenset[str]]]] = {}
        for uid, policy in self._policies.items():
            spec = policy.spec
            if spec.suspend or not spec.checks.controller.enabled:
                continue
            for driver, volumes in self._volumes_of(uid).items():
                users.setdefault(driver, []).append((spec, volumes, self._adverse(uid, driver)))
        return {
            driver: ProbeSpec(
                self._union(driver, tuple(volumes for _, volumes, _ in wishes)),
                min(spec.interval for spec, _, _ in wishes),
                max(spec.timeout for spec, _, _ in wishes),
                frozenset().union(*(adverse for _, _, adverse in wishes)),
                self._topologies.setdefault(driver, partial(self._topology, driver)),
            )
            for driver, wishes in users.items()
        }

    def _topology(self, driver: str, handle: str) -> str:
        """Tell from which nodes a volume can be reached; empty if from all."""
        for uid in self._policies:
            for ref in self._selection.members(uid).by_driver.get(driver, {}).get(handle, ()):
                claim = self._view.claims.get(ref)
                if claim is not None:
                    return claim.topology
        return ""

    def _union(self, driver: str, parts: tuple[frozenset[str], ...]) -> frozenset[str]:
        """Unite sets; the same object comes back while they are the same objects."""
        known = self._unions.get(driver)
        if known is None or len(known[0]) != len(parts) or any(map(is_not, known[0], parts)):
            known = self._unions[driver] = (parts, parts[0] if len(parts) == 1 else frozenset().union(*parts))
        return known[1]

    def _volumes_of(self, uid: str) -> Mapping[str, frozenset[str]]:
        members = self._selection.members(uid)
        known = self._volumes.get(uid)
        if known is None or known[0] is not members:
            # A Lost claim of which nobody remembers the volume has no handle that could be asked about.
            volumes = {driver: frozenset(handles) - {""} for driver, handles in members.by_driver.items()}
            known = self._volumes[uid] = (members, volumes)
        return known[1]

    def _adverse(self, uid: str, driver: str) -> frozenset[str]:
        """Return a driver's volumes with live findings; looked for once after each check of the policy."""
        healths = self._healths.get(uid)
        if healths is None:
            return frozenset()
        known = self._accused.get(uid)
        if known is None or known[0] is not healths:
            accused: dict[str, set[str]] = {}
            for ref, health in healths.items():
                claim = self._view.claims.get(ref) if health.findings else None
                if claim is not None:
                    accused.setdefault(claim.driver, set()).add(claim.handle)
            found = {name: frozenset(handles) for name, handles in accused.items()}
            known = self._accused[uid] = (healths, found)
        return known[1].get(driver, frozenset())

    def _judge_storage(
        self, policy: Policy, heard: Observations, view: ViewState, now: datetime
    ) -> tuple[StorageProblem, ...]:
        """Judge the storage behind drivers as nodes see it: a story of its own, with the claims that it touches."""
        before = self._storage.get(policy.uid, {})
        if not (before or heard.storage):
            return ()
        healths, new = judge_storage(
            before,
            {backend: said for backend, (said, _) in heard.storage.items()},
            settings=self._settings(policy),
            now=now,
            monotonic=self._clock.monotonic(),
            stale_reason=view.stale,
            origins_of=lambda backend: heard.storage_origins and heard.storage_origins(backend.driver),
        )
        touched = self._touched.get(policy.uid, {})
        touched |= {backend: claims for backend, (_, claims) in heard.storage.items()}
        self._storage[policy.uid] = healths
        self._touched[policy.uid] = {backend: touched[backend] for backend in healths}
        return tuple(
            StorageProblem(backend, finding, touched[backend], (backend, finding) in new)
            for backend, health in healths.items()
            for finding in health.findings
        )

    def _answers(self, policy: Policy, members: Members, now: datetime) -> dict[str, DriverAnswers]:
        heard = self._drivers.answers() if policy.spec.checks.controller.enabled else {}
        hint = NOT_CONNECTED if policy.spec.checks.controller.enabled else SWITCHED_OFF
        return {name: heard.get(name) or self._unheard(name, hint, now) for name in members.by_driver}

    def _kubelets_own(self, now: datetime) -> DriverAnswers:
        known = self._stand_ins.get((LOCAL_VOLUMES, ""))
        if known is None:
            silence = Answer(Source.CONTROLLER, Outcome.SILENT, now, reason=SilenceReason.DRIVER_UNREACHABLE)
            known = DriverAnswers(kubelets_own(now), now, frozenset(), {}, silence)
            self._stand_ins[LOCAL_VOLUMES, ""] = known
        return known

    def _unheard(self, driver: str, hint: str, now: datetime) -> DriverAnswers:
        """Stand in for a driver that no endpoint is known to belong to."""
        if driver == LOCAL_VOLUMES:
            return self._kubelets_own(now)
        if driver in self._once_heard and self._drivers.unresolved and hint is NOT_CONNECTED:
            endpoints = ", ".join(sorted(self._drivers.unresolved))
            state, message = (
                SourceState.UNREACHABLE,
                f"{endpoints} has not answered since the operator started",
            )
        else:
            state, message = SourceState.NOT_CONNECTED, ""
        known = self._stand_ins.get((driver, hint))
        if known is None or known.driver.state is not state or known.driver.message != message:
            silence = Answer(
                Source.CONTROLLER,
                Outcome.SILENT,
                now,
                reason=SilenceReason.DRIVER_UNREACHABLE,
                message=message,
            )
            told = DriverState(
                driver,
                state,
                now,
                message=message,
                hint="" if message else hint,
                controller=ControllerConnection.NOT_CONNECTED,
            )
            known = self._stand_ins[driver, hint] = DriverAnswers(told, now, frozenset(), {}, silence)
        return known
