"""What a leading operator is made of, wired: without Kopf, signals and servers, so that a simulation runs the same."""

from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

from volumehealth.app.engine import Engine
from volumehealth.app.secrets import SecretFiles
from volumehealth.cluster.view import ClusterView
from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.wire import Dial, GrpcWire
from volumehealth.kube.api import Api
from volumehealth.model.clock import Clock
from volumehealth.pipeline import Pipeline
from volumehealth.policy.silence import Silences
from volumehealth.probing.prober import Probers
from volumehealth.probing.spec import ProbeLimits
from volumehealth.report.metrics import Metrics
from volumehealth.report.reporter import Reporter
from volumehealth.settings import Settings
from volumehealth.sources.sourcelist import ANNOTATIONS, make_sources


class LeaderWork:
    """View, probers, pipeline, reporter and engine of one process.

    Args:
        api: a connection.
        settings: as they are.
        clock: time.
        random: jitter.
        metrics: what counts.
        dial: makes connections to drivers.
        leads: whether this process surely leads; without this it always does.

    Attributes:
        view: the cluster view.
        engine: what Kopf's timers drive.
        reporter: what tells.
    """

    def __init__(
        self,
        api: Api,
        settings: Settings,
        *,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        dial: Dial = GrpcWire,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.view = ClusterView(
            api,
            clock=clock,
            random=random,
            with_nodes=True,
            pod_events=True,
            annotations=ANNOTATIONS,
            agents_in=settings.namespace,
            on_skip=metrics.object_skipped,
        )
        self._probers = Probers(
            [(parse_endpoint(one.address, settings.csi_tls), one.driver) for one in settings.csi_endpoints],
            clock=clock,
            on_news=lambda driver: self.engine.driver_news(driver),
            on_same=lambda driver: self.engine.driver_answered(driver),
            metrics=metrics,
            secrets=SecretFiles(settings.csi_secrets_dir),
            random=random,
            limits=ProbeLimits(
                gets_in_flight=settings.csi_gets_in_flight, duty=settings.csi_busy_percent / 100
            ),
            connect=partial(CsiClient, dial=dial),
        )
        self.reporter = Reporter(
            api,
            clock=clock,
            random=random,
            metrics=metrics,
            pods_of=self.view.pods_of,
            changes=self.view.subscribe_told(),
            view=self.view,
            owner_of=lambda ref: self.engine.owner_of(ref),
            files=settings.outputs_dir,
            runbooks=settings.runbooks,
            leads=leads,
        )
        made = make_sources(self.view, self._probers, clock=clock)
        view = self.view
        silences = Silences(view.silences_asked, view.claims, view.namespaces, view.nodes)
        self.engine = Engine(
            view=self.view,
            pipeline=Pipeline(self.view, made.sources, clock, silences),
            controllers=made.controllers,
            reporter=self.reporter,
            metrics=metrics,
            clock=clock,
        )

    def coroutines(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what runs until it is cancelled, each in a task of its own."""
        return self.view.run(), self._probers.run(), self.reporter.run(), self.engine.run()
