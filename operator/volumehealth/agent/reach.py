"""What a node agent touches of its node: drivers' sockets, the plugin registry, files of the kernel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from volumehealth.agent.registry import Stamp, sockets_below
from volumehealth.csi.wire import Dial, GrpcWire


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReach:
    """The ways to a node; a simulation has its own.

    Attributes:
        dial: makes connections to drivers.
        sockets: looks below the plugin registry's directory.
        read: reads a file; raises OSError if it cannot.
    """

    dial: Dial = GrpcWire
    sockets: Callable[[Path], Mapping[str, Stamp]] = sockets_below
    read: Callable[[Path], bytes] = Path.read_bytes
