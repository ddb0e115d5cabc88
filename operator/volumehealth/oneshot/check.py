"""One check without an operator: read the cluster, ask the drivers once, judge what they say now."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from volumehealth.app.secrets import SecretFiles
from volumehealth.cluster.view import ClusterView
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import ApiError, NotFound, SettingsError, VolumeHealthError
from volumehealth.judge.result import CheckResult
from volumehealth.kube.api import Api
from volumehealth.model.clock import LONG_AGO, SystemClock
from volumehealth.model.explanation import Explanation, on_node
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.model.steps import at_once
from volumehealth.model.text import whole_number
from volumehealth.model.vocabulary import ConditionType, SilenceReason
from volumehealth.oneshot.policies import read_policies
from volumehealth.pipeline import Pipeline
from volumehealth.policy.files import policy_from_file
from volumehealth.probing.prober import Probers
from volumehealth.probing.spec import ProbeLimits
from volumehealth.report.metrics import Metrics
from volumehealth.report.problems import find_problems
from volumehealth.report.status import render_status
from volumehealth.settings import Settings
from volumehealth.sources.controllers import NOT_ASKED, DriverControllers
from volumehealth.sources.reports import missing_looks
from volumehealth.sources.sourcelist import ANNOTATIONS, make_sources

_NOT_CONFIRMED = frozenset((SilenceReason.NOT_LISTED, SilenceReason.LIST_INCOMPLETE))
_CONFIRM = 10.0
"""Seconds for what a list leaves open to be confirmed; some drivers' lists leave it open for ever."""
_LOOK = 0.1
_UID = "check"
_EVERY_CLAIM = Policy("check", _UID, 0, LONG_AGO, PolicySpec())
_EXIT = {"True": 0, "False": 1, "Unknown": 3}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be checked.

    Attributes:
        policy: selects the claims and judges them; None: with `explain` the cluster's own policies, else every claim.
        explain: a claim to tell all about; None for the overview.
        wait: seconds to wait for drivers at most.
    """

    policy: Policy | None
    explain: ClaimRef | None
    wait: float


@dataclass(frozen=True, slots=True)
class OneCheck:
    """The result.

    Attributes:
        result: of the pipeline.
        status: as a policy's status would tell it.
        explained: what is known of the claim to explain; None for the overview.
        not_read: resources that may not be read: what they say of claims is not in the result.
    """

    result: CheckResult
    status: Mapping[str, Any]
    explained: Explanation | None
    not_read: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 healthy, 1 unhealthy, 3 nothing unhealthy but something unknown, an endpoint silent, or nothing monitored."""
        counts = self.result.counts
        if counts.selected == counts.unmonitored:
            return 3
        for condition in self.status["conditions"]:
            if condition["type"] == ConditionType.VOLUMES_HEALTHY and condition["status"] != "True":
                return _EXIT[condition["status"]]
        # The condition waits for claims that were not asked about yet; who checks once waits no longer. Of claims whose
        # driver never told its name nobody knows that they should have been asked about.
        return _EXIT["Unknown" if counts.unknown or self.result.unresolved else "True"]


def parse_question(*, filename: str | None, explain: str | None, wait: str | None) -> Question:
    """Read the command's own arguments.

    Raises:
        SettingsError: for bad arguments.
        InvalidSpec: if the file holds no policy that can be used.
    """
    faults = []
    ref = None
    if explain is not None:
        ref = ClaimRef.parse(explain)
        if ref is None:
            faults.append(f"--explain: {explain!r} is not NAMESPACE/CLAIM")
    if wait is not None and not 0 < (whole_number(wait) or 0) <= 3600:
        faults.append(f"--wait: {wait!r} is not a whole number of seconds from 1 to 3600")
    if faults:
        raise SettingsError(faults)
    policy = replace(policy_from_file(Path(filename)), uid=_UID) if filename else None
    return Question(policy, ref, float(wait or 60))


async def run(settings: Settings, question: Question) -> OneCheck:
    """Check once.

    Raises:
        ApiError: if the API server cannot be reached, or refuses to be read.
    """
    try:
        return await _check(settings, question)
    except ExceptionGroup as group:  # a task group wraps even what its own body raised
        expected = group.subgroup(VolumeHealthError)
        if expected is None:
            raise
        raise _innermost(expected) from None


def _innermost(error: Exception) -> Exception:
    return _innermost(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _check(settings: Settings, question: Question) -> OneCheck:
    clock, random = SystemClock(), Random()
    async with await Api.connect(settings.kubeconfig or None) as api, asyncio.TaskGroup() as group:
        await api.request("GET", "/version")
        unusable: list[str] = []
        policies = await _policies(api, question, unusable)
        view = ClusterView(
            api,
            clock=clock,
            random=random,
            own=False,
            with_nodes=True,
            annotations=ANNOTATIONS,
            agents_in=settings.namespace,
        )
        news = _News()
        probers = Probers(
            [(parse_endpoint(one.address, settings.csi_tls), one.driver) for one in settings.csi_endpoints],
            clock=clock,
            on_news=news,
            metrics=Metrics(),
            secrets=SecretFiles(settings.csi_secrets_dir),
            random=random,
            # Nobody is asked again and again here, so one pass may go as fast as its calls allow.
            limits=ProbeLimits(
                gets_in_flight=settings.csi_gets_in_flight,
                duty=1.0,
                jitter=0.0,
                identify_timeout=max(one.spec.timeout for one in policies.values()).total_seconds(),
            ),
        )
        tasks = [group.create_task(view.run()), group.create_task(probers.run())]
        try:
            await _view_complete(view, question.wait)
            made = make_sources(view, probers, clock=clock)
            pipeline = Pipeline(view, made.sources, clock)
            uid = _owner(question, view, policies, pipeline)
            why_not = pipeline.explain(view.claims[question.explain]).why if question.explain else ""
            hurried = {
                one.uid: replace(one, spec=replace(one.spec, interval=timedelta(seconds=1)))
                for one in ([policies[uid]] if uid in policies else [_EVERY_CLAIM])
            }
            (policy,) = hurried.values()
            followed = hurried if question.explain is None else policies | hurried
            at_once(pipeline.follow(followed, None))
            await _settle(made.controllers, pipeline, followed, policy, news, question.wait)
            explained = _explain(question, view, pipeline, policy)
            if explained is not None:
                explained = replace(explained, not_known=(*unusable, *explained.not_known))
            if explained is not None and not uid:
                explained = replace(explained, policy="", why=f"{why_not}; judged here as spec: {{}} would")
            now_matters = replace(policy.spec, unhealthy_after=timedelta(), healthy_after=timedelta())
            policy = replace(policy, spec=now_matters)
            return _result(at_once(pipeline.check(policy)), view, explained)
        finally:
            for task in tasks:
                task.cancel()


async def _policies(api: Api, question: Question, unusable: list[str]) -> dict[str, Policy]:
    """Return the policies to judge by, by uid: to explain a claim the cluster's own, as far as there are any."""
    if question.policy is None and question.explain is not None:
        found = await read_policies(api, unusable)
        if found:
            return {one.uid: one for one in found}
    policy = question.policy or _EVERY_CLAIM
    return {policy.uid: policy}


def _owner(question: Question, view: ClusterView, policies: Mapping[str, Policy], pipeline: Pipeline) -> str:
    """Return the uid of the policy that judges: to explain a claim the one that owns it, empty if none does.

    Raises:
        NotFound: if the claim to explain does not exist.
    """
    if question.explain is None:
        return next(iter(policies))
    if question.explain not in view.claims:
        raise NotFound(f"the claim {question.explain} does not exist; see: kubectl get pvc -A")
    at_once(pipeline.follow(policies, None))
    return pipeline.selection.owner(question.explain) or ""


async def _view_complete(view: ClusterView, wait: float) -> None:
    try:
        async with asyncio.timeout(wait):
            await view.complete()
    except TimeoutError:
        reason = view.state().stale or "lists take too long"
        raise ApiError(f"the cluster cannot be read: {reason}") from None


class _News:
    """Lets a condition be looked at again whenever a driver said something."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self, _: str) -> None:
        self._event.set()

    async def until(self, done: Callable[[], bool], *, within: float) -> None:
        """Wait for a condition, or until the time is over. Names become known without news, so look anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not done():
                    self._event.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK):
                            await self._event.wait()


async def _settle(
    controllers: DriverControllers,
    pipeline: Pipeline,
    followed: Mapping[str, Policy],
    policy: Policy,
    news: _News,
    wait: float,
) -> None:
    """Wait until every driver told its name, or had time to, and every selected volume was asked about."""
    names_within = min(wait, policy.spec.timeout.total_seconds() + 1.0)
    await news.until(lambda: controllers.named, within=names_within)
    at_once(pipeline.follow(followed, ()))
    members = pipeline.selection.members(policy.uid)
    await news.until(lambda: controllers.settled(members, NOT_ASKED), within=wait)
    await news.until(lambda: controllers.settled(members, _NOT_CONFIRMED), within=min(wait, _CONFIRM))


def _explain(question: Question, view: ClusterView, pipeline: Pipeline, policy: Policy) -> Explanation | None:
    """Judge by the policy as it is, so that the time left before something is confirmed can be told."""
    if question.explain is None:
        return None
    claim = view.claims[question.explain]
    at_once(pipeline.check(policy))
    pods = [pod for pod in view.pods_of(claim.ref) if not pod.finished]
    return replace(
        pipeline.explain(claim),
        told_by="Check",
        pods=tuple(map(on_node, pods)),
        not_known=missing_looks(claim, pods, view.reports),
    )


def _result(result: CheckResult, view: ClusterView, explained: Explanation | None) -> OneCheck:
    problems = tuple(find_problems(result, view.pods_of))
    result = replace(result, problems=problems)
    return OneCheck(result, render_status(result, problems, {}), explained, view.refused)
