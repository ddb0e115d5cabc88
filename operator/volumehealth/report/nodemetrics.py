"""What a node agent exports at `/metrics`: of the volumes in use on its node only, made when somebody scrapes.

`docs/metrics.md` lists every name with its labels; a test compares the two.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from volumehealth.model.ids import ClaimRef

MOST = 1000
"""Volumes that are exported at most; a node has fewer."""
_LABELS = ("namespace", "persistentvolumeclaim")


@dataclass(frozen=True, slots=True)
class VolumeNumbers:
    """What is known of one volume; None where it is not.

    Attributes:
        ref: of the claim.
        values: by the metric's name without its prefix.
    """

    ref: ClaimRef
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class NodeNumbers:
    """What an agent exports: its volumes, and how often the kernel log was not whole."""

    volumes: tuple[VolumeNumbers, ...] = ()
    log_gaps: int = 0


GAUGES = {
    "capacity_bytes": "Size of the filesystem, as the driver counts it.",
    "available_bytes": "Bytes that are free.",
    "capacity_inodes": "Inodes of the filesystem.",
    "available_inodes": "Inodes that are free.",
    "seconds_until_full": "When no byte is free any more if it grows as in the last hours; absent if it does not grow.",
    "filesystem_errors": "Errors that the filesystem counted, of all its mounts (ext4, btrfs).",
    "filesystem_warnings": "Warnings that the filesystem counted (ext4).",
    "io_errors": "Lines of the kernel log that told of I/O errors of its disks since the agent started.",
    "io_stalled_seconds": "For how long I/O has waited without any of it being completed.",
    "io_latency_seconds": "Average time of the requests that ended since the last look; absent if there were few.",
    "device_working": "1 if its devices and paths are in a good state, 0 if not.",
}
"""By the name without `volumehealth_volume_`: what it means."""


class NodeMetrics:
    """An agent's metrics, in a registry of their own.

    Args:
        numbers: returns what is to be exported.
    """

    def __init__(self, numbers: Callable[[], NodeNumbers]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Volumes(numbers))

    def render(self) -> bytes:
        """Return the page."""
        return generate_latest(self.registry)


class _Volumes(Collector):
    """Makes the series of the volumes in use."""

    def __init__(self, numbers: Callable[[], NodeNumbers]) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        now = self._numbers()
        yield from (_gauge(name, text, now.volumes[:MOST]) for name, text in GAUGES.items())
        text = "How often lines of the kernel log were suppressed, or overwritten before they were seen."
        gaps = CounterMetricFamily("volumehealth_kernel_log_gaps", text)
        gaps.add_metric((), now.log_gaps)
        yield gaps


def _gauge(name: str, text: str, volumes: Iterable[VolumeNumbers]) -> Metric:
    family = GaugeMetricFamily(f"volumehealth_volume_{name}", text, labels=_LABELS)
    for volume in volumes:
        if name in volume.values:
            family.add_metric((volume.ref.namespace, volume.ref.name), volume.values[name])
    return family
