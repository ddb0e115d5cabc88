"""Everything that tells, wired together: one for the process."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from volumehealth.model.clock import Clock
from volumehealth.model.cluster import Pod
from volumehealth.model.health import ClaimHealth
from volumehealth.model.ids import ClaimRef
from volumehealth.report.metrics import Metrics
from volumehealth.report.picture import Picture
from volumehealth.report.writes import Limits, Requests


class Reporter:
    """Tells what checks found: policy status, records, Events, metrics.

    Args:
        api: where to write (`cluster.api.Api`).
        clock: for times that people see.
        random: jitter.
        metrics: what to count in.
        pods_of: the Pods that use a claim (`ClusterView.pods_of`).
        limits: how hard the API server may be pressed.
    """

    def __init__(
        self,
        api: Requests,
        *,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        pods_of: Callable[[ClaimRef], Sequence[Pod]],
        limits: Limits | None = None,
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Write until cancelled."""
        raise NotImplementedError

    async def drain(self, timeout: float) -> int:
        """Before the end of the process: wait for what is queued, while `run` goes on; return what is left."""
        raise NotImplementedError

    def resume(self, records: Mapping[ClaimRef, object]) -> dict[str, dict[ClaimRef, ClaimHealth]]:
        """At start, once the view is complete: read `ClusterView.records` and return healths by policy name.

        Also learns from them what is on the server, so that nothing equal is written again.
        """
        raise NotImplementedError

    def report(self, picture: Picture, *, previous_status: Mapping[str, object] | None = None) -> None:
        """After each check (or instead of one, with `judgement=None`): tell what changed. Does not block.

        `previous_status` is the policy's raw status as the view has it; only the first one counts.
        """
        raise NotImplementedError

    def forget(self, policy_name: str) -> None:
        """A policy was deleted: take back its records and metrics; no Event says that anything recovered."""
        raise NotImplementedError

    def sweep(self, records: Mapping[ClaimRef, object], policy_names: frozenset[str]) -> None:
        """Delete records (`ClusterView.records`) of policies that are gone; call it when all policies are known."""
        raise NotImplementedError
