"""What the agent exports as numbers, put together of what drivers counted and what the node showed; pure."""

from collections.abc import Iterable, Mapping

from volumehealth.agent.exposition import NodeNumbers, VolumeNumbers
from volumehealth.agent.usage import UsageBook
from volumehealth.csi.types import Unit
from volumehealth.model.ids import ClaimRef
from volumehealth.node.eyes import Sight

_UNITS = {Unit.BYTES: "bytes", Unit.INODES: "inodes"}


def node_numbers(
    refs: Iterable[ClaimRef], usage: UsageBook, seen: Mapping[ClaimRef, Sight], *, log_gaps: int
) -> NodeNumbers:
    """Return what is exported.

    Args:
        refs: the claims in use.
        usage: what drivers counted.
        seen: what the last round of looks says.
        log_gaps: how often lines of the kernel log were missed.
    """
    volumes = tuple(VolumeNumbers(ref, _usage(ref, usage) | _sight(seen.get(ref))) for ref in sorted(refs))
    return NodeNumbers(volumes, log_gaps)


def _usage(ref: ClaimRef, usage: UsageBook) -> dict[str, float]:
    values: dict[str, float] = {}
    for one in usage.usage(ref):
        if one.unit in _UNITS:
            values[f"capacity_{_UNITS[one.unit]}"] = one.total
            values[f"available_{_UNITS[one.unit]}"] = one.available
    if values:
        values["warning_percent_free"] = usage.warning_percent_free(ref)
    until = usage.seconds_until_full(ref)
    return values if until is None else values | {"seconds_until_full": until}


def _sight(sight: Sight | None) -> dict[str, float]:
    if sight is None or not sight.numbers.device:
        return {}
    numbers = sight.numbers
    values: dict[str, float] = {
        "io_errors": numbers.io_errors,
        "io_stalled_seconds": numbers.stalled,
        "device_working": float(numbers.working),
    }
    counted = {
        "io_latency_seconds": numbers.latency,
        "filesystem_errors": numbers.filesystem_errors,
        "filesystem_warnings": numbers.warnings,
    }
    return values | {name: float(value) for name, value in counted.items() if value is not None}
