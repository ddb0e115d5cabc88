"""Where the kubelet has a CSI volume mounted, as paths of its node.

They are those of the kubelet's CSI plugin (`pkg/volume/csi`: csi_mounter, csi_attacher, csi_block, csi_util).
"""

from dataclasses import dataclass
from hashlib import sha256

from volumehealth.model.ids import LOCAL_VOLUMES

DEFAULT_KUBELET_DIR = "/var/lib/kubelet"


@dataclass(frozen=True, slots=True)
class VolumePaths:
    """Where one volume is for one Pod.

    Attributes:
        publish: what the Pod sees: a mounted directory, or a bind-mounted device.
        staging: where the driver made the volume ready on this node.
    """

    publish: str
    staging: str


def volume_paths(
    kubelet: str, *, volume: str, driver: str, handle: str, pod_uid: str, block: bool
) -> VolumePaths:
    """Return where a volume is.

    Args:
        kubelet: the kubelet's root directory, without a slash at its end.
        volume: name of the PersistentVolume.
        driver: of the volume.
        handle: its `volumeHandle`.
        pod_uid: of the Pod that uses it.
        block: whether its `volumeMode` is Block.
    """
    if driver == LOCAL_VOLUMES:
        return _local(kubelet, volume, pod_uid, block=block)
    plugins = f"{kubelet}/plugins/kubernetes.io/csi"
    if block:
        devices = f"{plugins}/volumeDevices"
        return VolumePaths(
            publish=f"{devices}/publish/{volume}/{pod_uid}", staging=f"{devices}/staging/{volume}"
        )
    name = sha256(handle.encode()).hexdigest()
    return VolumePaths(
        publish=f"{kubelet}/pods/{pod_uid}/volumes/kubernetes.io~csi/{volume}/mount",
        staging=f"{plugins}/{driver}/{name}/globalmount",
    )


def _local(kubelet: str, volume: str, pod_uid: str, *, block: bool) -> VolumePaths:
    """Return where a `local` volume is (`pkg/volume/local`, and `pkg/volume/util` for devices)."""
    plugin = LOCAL_VOLUMES.replace("/", "~")
    if block:
        devices = f"{kubelet}/plugins/{plugin}/volumeDevices/{volume}"
        return VolumePaths(publish=f"{devices}/{pod_uid}", staging=devices)
    return VolumePaths(
        publish=f"{kubelet}/pods/{pod_uid}/volumes/{plugin}/{volume}",
        staging=f"{kubelet}/plugins/{LOCAL_VOLUMES}/mounts/{volume}",
    )
