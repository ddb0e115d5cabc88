"""Names that must not be mixed up."""

from typing import NamedTuple


class ClaimRef(NamedTuple):
    """A PersistentVolumeClaim by namespace and name; prints as `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class VolumeId(NamedTuple):
    """A CSI volume: the driver's name and its `volumeHandle` (CSI `volume_id`)."""

    driver: str
    handle: str
