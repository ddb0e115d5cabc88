"""Everything that is exported at `/metrics`; no other module knows Prometheus.

`docs/metrics.md` lists every name; a test compares the two.
"""

from datetime import datetime

from volumehealth.model.cluster import ViewState
from volumehealth.report.picture import Picture


class Metrics:
    """The process's metrics, in a registry of their own."""

    def observe_call(self, driver: str, method: str, code: str, seconds: float) -> None:
        """Count a CSI call: the method (`ListVolumes`), the gRPC status name (`OK`), how long it took."""
        raise NotImplementedError

    def check_finished(self, policy: str, seconds: float, at: datetime) -> None:
        """Count a check and how long it took."""
        raise NotImplementedError

    def publish(self, picture: Picture) -> None:
        """Show a policy's newest judgement; what it no longer says vanishes."""
        raise NotImplementedError

    def forget(self, policy: str) -> None:
        """Let every series of a policy vanish."""
        raise NotImplementedError

    def event_written(self, reason: str, result: str) -> None:
        """Count a write of an Event."""
        raise NotImplementedError

    def write_done(self, kind: str, result: str) -> None:
        """Count a try to write: `status`, `record`, `event`."""
        raise NotImplementedError

    def view(self, state: ViewState) -> None:
        """Show how old the view is."""
        raise NotImplementedError

    def render(self) -> bytes:
        """Write all of them in Prometheus' text format."""
        raise NotImplementedError
