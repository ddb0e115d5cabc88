"""What a node agent exports at `/metrics`: of the volumes in use on its node only, made when somebody scrapes; pure.

It is written here in Prometheus' text format 0.0.4, because the client library takes 14 MB of every node's memory.
`docs/metrics.md` lists every name with its labels; a test compares the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from volumehealth.model.ids import ClaimRef

MOST = 1000
"""Volumes that are exported at most; a node has fewer."""


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
    "warning_percent_free": "Percent that should be free by the policy; 0 if the space of this volume is not looked at.",
    "seconds_until_full": "When no byte is free any more if it grows as in the last hours; absent if it does not grow.",
    "filesystem_errors": "Errors that the filesystem counted, of all its mounts (ext4, btrfs).",
    "filesystem_warnings": "Warnings that the filesystem counted (ext4).",
    "io_errors": "Lines of the kernel log that told of I/O errors of its disks since the agent started.",
    "io_stalled_seconds": "For how long I/O has waited without any of it being completed.",
    "io_latency_seconds": "Average time of the requests that ended since the last look; absent if there were few.",
    "device_working": "1 if its devices and paths are in a good state, 0 if not.",
}
"""By the name without `volumehealth_volume_`: what it means."""


def exposition(numbers: NodeNumbers) -> bytes:
    """Write the page."""
    lines = [line for name, text in GAUGES.items() for line in _gauge(name, text, numbers.volumes[:MOST])]
    text = "How often lines of the kernel log were suppressed, or overwritten before they were seen."
    lines += _head("volumehealth_kernel_log_gaps_total", "counter", text)
    lines.append(f"volumehealth_kernel_log_gaps_total {numbers.log_gaps}")
    return "".join(f"{line}\n" for line in lines).encode()


def _gauge(name: str, text: str, volumes: tuple[VolumeNumbers, ...]) -> Iterator[str]:
    whole = f"volumehealth_volume_{name}"
    yield from _head(whole, "gauge", text)
    for volume in volumes:
        if name in volume.values:
            # Names of Kubernetes objects hold nothing that would have to be escaped.
            labels = f'namespace="{volume.ref.namespace}",persistentvolumeclaim="{volume.ref.name}"'
            yield f"{whole}{{{labels}}} {float(volume.values[name])!r}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
