"""In-tree volumes that a CSI driver serves: the driver, and the handle by which it knows the volume.

From 1.25 to 1.31 Kubernetes moved every in-tree plugin to its CSI driver and says so in an annotation. The handle
follows as in `k8s.io/csi-translation-lib`, where that is plain; else it is empty: the driver cannot be asked about
such a volume, and all that needs no handle (nodes, attachments, mounts, phases) is as for any other.
"""

from collections.abc import Mapping
from sys import intern

import msgspec

from volumehealth.model.ids import VolumeId


class _Disk(
    msgspec.Struct,
    rename={"volume_id": "volumeID", "pd_name": "pdName", "disk_uri": "diskURI", "path": "volumePath"},
):
    volume_id: str = ""
    pd_name: str = ""
    disk_uri: str = ""
    path: str = ""


class _Source(
    msgspec.Struct,
    rename={
        "ebs": "awsElasticBlockStore",
        "gce": "gcePersistentDisk",
        "azure": "azureDisk",
        "cinder": "cinder",
        "vsphere": "vsphereVolume",
        "portworx": "portworxVolume",
        "azure_file": "azureFile",
    },
):
    ebs: _Disk | None = None
    gce: _Disk | None = None
    azure: _Disk | None = None
    cinder: _Disk | None = None
    vsphere: _Disk | None = None
    portworx: _Disk | None = None
    azure_file: _Disk | None = None
    rbd: _Disk | None = None

    @property
    def known(self) -> bool:
        """Whether it is one of the plugins that were migrated; of the last two the handle does not follow plainly."""
        return any(getattr(self, name) is not None for name in self.__struct_fields__)


_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_REGIONS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_source = msgspec.json.Decoder(_Source)


def translated(driver: str, spec: msgspec.Raw, labels: Mapping[str, str]) -> VolumeId | None:
    """Return what a migrated volume is for its CSI driver; None if it is of a plugin that was never migrated.

    Args:
        driver: from the annotation `pv.kubernetes.io/migrated-to`.
        spec: of the PersistentVolume.
        labels: of the PersistentVolume, which name zone and region.
    """
    source = _source.decode(spec)
    return VolumeId(intern(driver), _handle(source, labels)) if source.known else None


def _handle(source: _Source, labels: Mapping[str, str]) -> str:
    if source.ebs is not None:
        return source.ebs.volume_id.rpartition("/")[2]  # aws://us-east-1a/vol-1, or vol-1
    if source.gce is not None:
        return _gce(source.gce.pd_name, labels)
    if source.azure is not None:
        return source.azure.disk_uri
    if source.vsphere is not None:
        return source.vsphere.path
    disk = source.cinder or source.portworx
    return disk.volume_id if disk is not None else ""


def _gce(name: str, labels: Mapping[str, str]) -> str:
    """Return the disk's path; of a regional disk the label names all zones, joined by `__`."""
    zone = next((labels[label] for label in _ZONES if label in labels), "")
    if "__" in zone:
        region = next(
            (labels[label] for label in _REGIONS if label in labels), zone.split("__")[0].rpartition("-")[0]
        )
        return f"projects/UNSPECIFIED/regions/{region}/disks/{name}"
    return f"projects/UNSPECIFIED/zones/{zone or 'UNSPECIFIED'}/disks/{name}"
