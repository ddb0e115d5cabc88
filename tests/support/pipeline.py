"""The real pipeline, for tests that drive it check by check: each call takes all of its steps."""

from collections.abc import Collection, Iterable, Mapping

from volumehealth.judge.result import CheckResult
from volumehealth.model.clock import Clock
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import at_once
from volumehealth.pipeline import Pipeline
from volumehealth.sources.controllers import DriverControllers, Drivers
from volumehealth.sources.gather import Sources
from volumehealth.sources.sourcelist import SourceList, make_sources
from volumehealth.sources.view import ClaimsView, SourceView


def controllers_only(view: ClaimsView, drivers: Drivers) -> SourceList:
    """Make the one source that needs no Pods, nodes and agents."""
    controllers = DriverControllers(drivers, view.claims)
    return SourceList(Sources((controllers,)), controllers)


class PlainPipeline:
    """A pipeline with its sources.

    Args:
        view: the cluster view.
        made: its sources.
        clock: time.

    Attributes:
        pipeline: what the engine takes.
        controllers: the drivers' controllers, which the engine takes too.
    """

    def __init__(self, view: ClaimsView, made: SourceList, clock: Clock) -> None:
        self.pipeline = Pipeline(view, made.sources, clock)
        self.controllers = made.controllers
        self._clock = clock
        self._policies: frozenset[str] = frozenset()

    @classmethod
    def of_controllers(cls, view: ClaimsView, drivers: Drivers, clock: Clock) -> "PlainPipeline":
        """Check by what controllers say alone."""
        return cls(view, controllers_only(view, drivers), clock)

    @classmethod
    def of_everything(cls, view: SourceView, drivers: Drivers, clock: Clock) -> "PlainPipeline":
        """Check by what all sources of the operator say."""
        return cls(view, make_sources(view, drivers, clock=clock), clock)  # type: ignore[arg-type]  # views in tests show namespaces too

    def follow(
        self,
        policies: Mapping[str, Policy],
        changed: Collection[ClaimRef] | None,
        *,
        relabelled: bool = False,
    ) -> None:
        """Follow policies and claims; a policy that is not among them any more is gone."""
        gone, self._policies = self._policies - policies.keys(), frozenset(policies)
        at_once(self.pipeline.follow(policies, changed, gone=gone, relabelled=relabelled))

    def check(self, policy: Policy) -> CheckResult:
        """Judge a policy's claims."""
        return at_once(self.pipeline.check(policy))

    def resume(
        self,
        healths: Mapping[str, Mapping[ClaimRef, ClaimHealth]],
        answered: Iterable[str] = (),
        unowned: Mapping[ClaimRef, ClaimHealth] | None = None,
    ) -> None:
        """Take up what an earlier process wrote."""
        at_once(self.pipeline.judge.resume(healths, unowned or {}, self._clock.now()))
        self.controllers.resume(answered)
