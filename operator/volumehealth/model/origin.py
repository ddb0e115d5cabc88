"""Whose word a statement is: the key of everything that is remembered of a claim."""

from enum import StrEnum
from typing import NamedTuple


class Source(StrEnum):
    """Whose plane a statement is on; part of a finding's identity."""

    CONTROLLER = "Controller"
    """The driver's controller plugin."""
    NODE = "Node"
    """The driver's node plugin, or what the node itself sees."""
    KUBERNETES = "Kubernetes"
    """API objects: node readiness, attachments, phases."""


class Observer(StrEnum):
    """Which observer within a source makes a statement."""

    DRIVER = "Driver"
    """The driver: its health call, or a legacy condition."""
    MOUNT_TABLE = "MountTable"
    """The node's mount table, as the agent reads it."""
    CAPACITY = "Capacity"
    """The agent compared the usage that the driver counts with a policy's thresholds."""
    BLOCK_DEVICE = "BlockDevice"
    """The block devices, or the file server, below the volume."""
    FILESYSTEM = "Filesystem"
    """The filesystem's own error counters and options."""
    KERNEL_LOG = "KernelLog"
    """The node's kernel log."""
    API = "API"
    """An object of the Kubernetes API."""
    MONITOR = "Monitor"
    """Another health monitor, by what it wrote on an object that is not made for it."""


ON_NODES = tuple(one for one in Observer if one not in (Observer.API, Observer.MONITOR))
"""Observers that agents report of."""

ASKED = (Observer.DRIVER, Observer.CAPACITY)
"""Observers on nodes that hear something only when the driver is asked, once in an interval."""


class Origin(NamedTuple):
    """One observer at one place. A statement clears only what its own origin said.

    Attributes:
        source: whose plane it is on.
        observer: which observer.
        node: where it looks; empty for the controller plane and for objects that are about no node.
    """

    source: Source
    observer: Observer
    node: str = ""
