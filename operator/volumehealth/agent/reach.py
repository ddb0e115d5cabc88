"""What a node agent touches of its node: drivers' sockets, the plugin registry, files of the kernel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from volumehealth.agent.looks import NodeSights
from volumehealth.agent.registry import Stamp, sockets_below
from volumehealth.csi.wire import Dial, GrpcWire


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReach:
    """The ways to a node; a simulation has its own.

    Attributes:
        dial: makes connections to drivers.
        sockets: looks below the plugin registry's directory.
        sights: the node's /proc, /sys and kernel log.
    """

    dial: Dial = GrpcWire
    sockets: Callable[[Path], Mapping[str, Stamp]] = sockets_below
    sights: NodeSights = field(default_factory=NodeSights)
