"""Where the kubelet mounts volumes."""

from support.agent import KUBELET
from volumehealth.agent.paths import volume_paths
from volumehealth.model.ids import LOCAL_VOLUMES
from volumehealth.node.mountinfo import parse_mountinfo


def test_paths_are_the_kubelets() -> None:
    """As kubelet 1.37 makes them: the staging directory is named after the handle's hash."""
    file = volume_paths(KUBELET, volume="pv-1", driver="d", handle="vol-1", pod_uid="u", block=False)
    assert file.publish == "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv-1/mount"
    assert file.staging == (
        "/var/lib/kubelet/plugins/kubernetes.io/csi/d/"
        "d2e8363faaac7ae76def3b14091d8eb5755f6b92e9531627aeec833a8731cc49/globalmount"
    )
    block = volume_paths(KUBELET, volume="pv-1", driver="d", handle="vol-1", pod_uid="u", block=True)
    assert block.publish == "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pv-1/u"
    assert block.staging == "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/staging/pv-1"


def test_paths_of_local_volumes_are_those_of_the_kubelets_own_plugin() -> None:
    for block, publish in (
        (False, "/var/lib/kubelet/pods/u/volumes/kubernetes.io~local-volume/pv-1"),
        (True, "/var/lib/kubelet/plugins/kubernetes.io~local-volume/volumeDevices/pv-1/u"),
    ):
        paths = volume_paths(
            KUBELET, volume="pv-1", driver=LOCAL_VOLUMES, handle="pv-1", pod_uid="u", block=block
        )
        assert paths.publish == publish


def test_a_local_device_is_found_where_the_kubelet_mounts_it() -> None:
    line = (
        "5595 121 0:6 /sdc /var/lib/kubelet/plugins/kubernetes.io~local-volume/volumeDevices/local-pv-343bdd9/"
        "6d9d33ae-408e-4bac-81f7-c0bc347a9667 rw shared:23 - devtmpfs devtmpfs rw,seclabel,mode=755"
    )
    paths = volume_paths(
        KUBELET,
        volume="local-pv-343bdd9",
        driver=LOCAL_VOLUMES,
        handle="local-pv-343bdd9",
        pod_uid="6d9d33ae-408e-4bac-81f7-c0bc347a9667",
        block=True,
    )
    mount = parse_mountinfo(line, KUBELET).at(paths.publish)
    assert mount is not None
    assert mount.path == "/sdc"
