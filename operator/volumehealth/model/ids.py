"""Names that must not be mixed up."""

import re
from typing import NamedTuple

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_DRIVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", re.ASCII)

LOCAL_VOLUMES = "kubernetes.io/local-volume"
"""The kubelet's own plugin for `local` PersistentVolumes, named as in the kubelet's directories. It is no CSI driver: nobody can
be asked about its volumes, and all that nodes and Kubernetes say of them counts."""
LOST_VOLUMES = "kubernetes.io/lost-volume"
"""Stands for the driver of a Lost claim where neither a record nor the claim itself tells which one it was."""
NO_CSI_DRIVERS = frozenset((LOCAL_VOLUMES, LOST_VOLUMES))
"""They stand where a driver's name does, and nobody can be asked."""


def is_driver_name(name: str) -> bool:
    """Tell whether a name can be that of a CSI driver (CSI, GetPluginInfo); `rancher.io/local-path` is another provisioner's."""
    return _DRIVER.fullmatch(name) is not None


def object_name(driver: str) -> str:
    """Return the name of a driver's object: CSI allows capital letters in a driver's name, Kubernetes does not.

    Volumes whose drivers' names differ in nothing else share it.
    """
    return driver.lower()


def is_name(text: str) -> bool:
    """Tell whether a claim, volume, Pod, node or namespace can have this name (a DNS subdomain): it then fits into a path as it is."""
    return _NAME.fullmatch(text) is not None


class ClaimRef(NamedTuple):
    """A PersistentVolumeClaim by namespace and name; prints as `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "ClaimRef | None":
        """Read `namespace/name`; None if it is not of this form."""
        namespace, _, name = text.partition("/")
        return cls(namespace, name) if is_name(namespace) and is_name(name) else None


class VolumeId(NamedTuple):
    """A CSI volume: the driver's name and its `volumeHandle` (CSI `volume_id`)."""

    driver: str
    handle: str
