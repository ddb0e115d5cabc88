"""What is read of a node's Pods."""

import pytest

from volumehealth.agent.pods import NodePodObject, node_pod
from volumehealth.kube.bodies import read_body

LABELS = {
    '"kubevirt.io": "virt-launcher"': True,
    '"kubevirt.io": "hotplug-disk"': True,
    '"cdi.kubevirt.io": "importer"': True,
    '"kubevirt.io": "virt-handler"': False,
    '"app": "backup"': False,
}


@pytest.mark.parametrize(("label", "holds"), LABELS.items(), ids=LABELS.keys())
def test_pods_whose_volumes_hold_disk_images(label: str, holds: bool) -> None:
    body = (
        f'{{"metadata": {{"name": "hp-volume-x", "namespace": "vm", "labels": {{{label}}}}}, "spec": {{"volumes": '
        '[{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]}}'
    )
    pod = node_pod(read_body(body.encode(), NodePodObject, what="a Pod"))
    assert pod is not None
    assert pod.virtual_machine is holds
