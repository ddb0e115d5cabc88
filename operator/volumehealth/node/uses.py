"""A volume as the looks need it: who uses it on this node, and where it should be mounted; frozen values."""

from dataclasses import dataclass
from datetime import datetime

from volumehealth.model.clock import LONG_AGO


@dataclass(frozen=True, slots=True)
class PodUse:
    """A running Pod that uses a volume.

    Attributes:
        pod, uid: of the Pod.
        path: where the kubelet should have mounted the volume for it.
        since: when the kubelet first saw the Pod.
        containers_since: when the first of its running containers that have the volume was started: it keeps what was
            mounted then; None if none of them runs.
        read_only: it is all right if the mount takes no writes.
        leaving: it is being deleted, so its mounts may go at any moment.
    """

    pod: str
    uid: str
    path: str
    since: datetime = LONG_AGO
    containers_since: datetime | None = None
    read_only: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """A volume that is in use on this node, for one claim.

    Attributes:
        key: names the claim.
        uid: of the claim.
        volume: name of the PersistentVolume.
        handle: of the volume, as its driver knows it.
        pods: that use it.
        block: it is a device, not a filesystem.
        io_stalled_after: seconds that I/O may stand.
        max_latency: average seconds a request may take; None for any.
        statfs: the driver told lately how full it is, which asks the server of a network filesystem; None if it is not asked.
    """

    key: str
    uid: str
    volume: str
    pods: tuple[PodUse, ...]
    block: bool = False
    handle: str = ""
    io_stalled_after: float = 60.0
    max_latency: float | None = None
    statfs: bool | None = False

    @property
    def since(self) -> datetime:
        """When the first of its Pods came."""
        return min((pod.since for pod in self.pods), default=LONG_AGO)
