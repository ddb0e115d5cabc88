"""What an external health monitor wrote into `pvc.status.healthStatus` (Kubernetes 1.37): the controller's own words."""

from volumehealth.model.health import Source, Via
from volumehealth.model.origin import Observer
from volumehealth.model.steps import Steps
from volumehealth.sources.context import ContextSource
from volumehealth.sources.kubernetes import accusation
from volumehealth.sources.origins import Clean
from volumehealth.sources.source import Asked, Observed


class ClaimHealthStatus(ContextSource):
    """What another monitor wrote of a claim's volume."""

    name = "ClaimHealthStatus"
    observers = frozenset(((Source.CONTROLLER, Observer.API),))

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return what is written now; a policy that wants nothing of controllers wants nothing of this."""
        yield
        now = self._context.moment.wall
        if not asked.policy.spec.checks.controller.enabled:
            return Observed(origins=Clean(now, "controller"))
        said = (
            (ref, accusation(Source.CONTROLLER, conditions.health, now, via=Via.MONITOR))
            for ref, conditions in self._context.view.api_conditions.items()
            if conditions.health
        )
        return Observed(statements=said, origins=Clean(now))
