"""The Pods of one node, as far as their volumes are concerned."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import msgspec

from volumehealth import errors
from volumehealth.cluster.objects import ObjectMeta
from volumehealth.kube.reading import ObjectReader
from volumehealth.kube.reflector import Requests, Resource
from volumehealth.model.clock import LONG_AGO, moment_of
from volumehealth.model.ids import ClaimRef

log = logging.getLogger(__name__)

_VIRTUAL_MACHINE = {
    "kubevirt.io": ("virt-launcher", "hotplug-disk"),
    "cdi.kubevirt.io": ("importer", "cdi-clone-source", "cdi-upload-server"),
}
"""Labels of Pods whose volumes hold disk images, which are full on purpose (facts D21): the virtual machine, the holder
of disks that are plugged while it runs, and what fills an image."""


class _There(msgspec.Struct):
    """An object of which only its presence counts."""


class _ClaimVolume(msgspec.Struct, rename="camel"):
    claim_name: str
    read_only: bool = False


class _Volume(msgspec.Struct, rename="camel"):
    name: str
    persistent_volume_claim: _ClaimVolume | None = None
    ephemeral: _There | None = None


class _VolumeMount(msgspec.Struct, rename="camel"):
    name: str = ""
    read_only: bool | None = None


class _VolumeDevice(msgspec.Struct):
    name: str = ""


class _ContainerSpec(msgspec.Struct, rename="camel"):
    name: str = ""
    volume_mounts: list[_VolumeMount] | None = None
    volume_devices: list[_VolumeDevice] | None = None

    def has(self, volume: str) -> bool:
        """Tell whether the container has a volume of its Pod, as a directory or as a device."""
        return any(one.name == volume for one in (*(self.volume_mounts or ()), *(self.volume_devices or ())))


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    volumes: list[_Volume] | None = None
    containers: list[_ContainerSpec] | None = None
    init_containers: list[_ContainerSpec] | None = None

    def only_read(self) -> frozenset[str]:
        """Return the volumes that no container mounts for writing, though some mount them."""
        every = (*(self.containers or ()), *(self.init_containers or ()))
        mounts = [mount for container in every for mount in container.volume_mounts or ()]
        written = {mount.name for mount in mounts if not mount.read_only}
        written |= {device.name for container in every for device in container.volume_devices or ()}
        return frozenset(mount.name for mount in mounts) - written

    def holders(self, volume: str) -> frozenset[str]:
        """Return the names of the containers that have a volume, those that prepare the others or run beside included."""
        every = (*(self.containers or ()), *(self.init_containers or ()))
        return frozenset(container.name for container in every if container.has(volume))


class _Running(msgspec.Struct, rename="camel"):
    started_at: str | None = None


class _State(msgspec.Struct):
    running: _Running | None = None
    terminated: _There | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)

    @property
    def started(self) -> bool:
        """Whether it ever ran: then the Pod's volumes were mounted."""
        states = (self.state.running, self.state.terminated, self.last_state.terminated)
        return any(state is not None for state in states)


class _Status(msgspec.Struct, rename="camel"):
    phase: str = ""
    start_time: str | None = None
    container_statuses: list[_Container] | None = None
    init_container_statuses: list[_Container] | None = None

    @property
    def started(self) -> bool:
        """Whether any container ever ran, one that prepares the others included: its volumes were mounted before."""
        return any(container.started for container in self.containers)

    @property
    def containers(self) -> Iterable[_Container]:
        return chain(self.container_statuses or (), self.init_container_statuses or ())


class NodePodObject(msgspec.Struct):
    """A Pod as it comes."""

    metadata: ObjectMeta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


@dataclass(frozen=True, slots=True)
class PodVolume:
    """A claim that a Pod uses.

    Attributes:
        claim: its name.
        read_only: the Pod asks for it read-only, or mounts it so in all its containers.
        held_since: when the first of the running containers that have it was started: it keeps what was mounted then;
            None if none of them runs.
    """

    claim: str
    read_only: bool = False
    held_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodePod:
    """A Pod of this node that uses claims.

    Attributes:
        phase: `Pending`, `Running`, `Succeeded`, `Failed`.
        started: a container of it ever ran, so its volumes were mounted (facts D7).
        since: `status.startTime`, when the kubelet first saw it; LONG_AGO if it does not say.
        virtual_machine: its volumes hold disk images of a virtual machine.
        deleting: it is being deleted; its volumes may be unmounted at any moment.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    started: bool
    since: datetime
    volumes: tuple[PodVolume, ...]
    virtual_machine: bool = False
    deleting: bool = False

    @property
    def key(self) -> ClaimRef:
        """Namespace and name."""
        return ClaimRef(self.namespace, self.name)

    @property
    def runs(self) -> bool:
        """Whether it uses its volumes now, mounted by the kubelet.

        It is `Pending` for as long as init containers run, or another container's image cannot be pulled.
        """
        return self.phase in ("Running", "Pending") and self.started

    @property
    def waits(self) -> bool:
        """Whether its volumes are being mounted, or cannot be."""
        return self.phase == "Pending" and not self.started and not self.deleting


def node_pod(pod: NodePodObject) -> NodePod | None:
    """Reduce a Pod; None if it uses no claim."""
    metadata, status = pod.metadata, pod.status
    only_read = pod.spec.only_read()
    volumes = tuple(
        dict.fromkeys(
            one
            for volume in pod.spec.volumes or ()
            if (one := _volume(volume, pod, only_read=volume.name in only_read))
        )
    )
    if not volumes:
        return None
    return NodePod(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        phase=status.phase,
        started=status.started,
        since=moment_of(status.start_time) or LONG_AGO,
        volumes=volumes,
        virtual_machine=_holds_images(metadata.labels or {}),
        deleting=metadata.deletion_timestamp is not None,
    )


def _running_since(status: _Status, holders: frozenset[str]) -> datetime | None:
    """Return when the first of some containers that runs was started."""
    running = [
        one.state.running
        for one in status.containers
        if one.name in holders and one.state.running is not None
    ]
    begun = (moment_of(one.started_at) for one in running)
    return min((one for one in begun if one is not None), default=None)


def _holds_images(labels: Mapping[str, str]) -> bool:
    return any(labels.get(label) in values for label, values in _VIRTUAL_MACHINE.items())


def _volume(volume: _Volume, pod: NodePodObject, *, only_read: bool) -> PodVolume | None:
    source = volume.persistent_volume_claim
    if source is None and volume.ephemeral is None:
        return None
    held_since = _running_since(pod.status, pod.spec.holders(volume.name))
    if source is not None:
        return PodVolume(source.claim_name, source.read_only or only_read, held_since)
    return PodVolume(f"{pod.metadata.name}-{volume.name}", only_read, held_since)


def node_pods() -> Resource[NodePodObject, NodePod]:
    """Return Pods that use claims; to be followed through a connection that is narrowed to one node."""

    def key(pod: NodePod) -> ClaimRef:
        return pod.key

    return Resource("pods", "/api/v1/pods", NodePodObject, read=node_pod, key=key)


async def pods_that_run(api: Requests) -> frozenset[str] | None:
    """Ask the API server itself which Pods run here and stay; a watch that stands still shows some that are gone.

    Args:
        api: a connection that is narrowed to the node.

    Returns:
        Their uids; None if the API server cannot be asked.
    """
    pods = node_pods()
    reader = ObjectReader(pods.name, pods.item, pods.read)
    try:
        page = reader.page(await api.request("GET", pods.path))
    except errors.ApiError as error:
        log.info("pods not read", extra={"error": str(error)})
        return None
    rows = map(reader.row, page.items)
    return frozenset(row.uid for row in rows if isinstance(row, NodePod) and row.runs and not row.deleting)
