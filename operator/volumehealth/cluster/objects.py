"""Kubernetes objects as they come, naming only the fields in use, and the rows that are kept of them.

Everything here is pure. Structs live for one page and hold no cycles, so the garbage collector is kept out of it
(`gc=False`): at 100,000 objects its passes would stop the loop for longer than all the reading does. Strings that stand
in many rows are interned: namespaces, drivers, classes, and the names of claims, which Pods have, too. What a claim and
its volume have in common becomes one string when they are joined.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from volumehealth.cluster.conditions import ClaimStatus, PodStatus, claim_api_conditions, health_conditions
from volumehealth.cluster.migrated import translated
from volumehealth.kube.bodies import version_number, without_nulls
from volumehealth.model.clock import moment_of
from volumehealth.model.cluster import ApiConditions, Namespace, Pod, PodWait, SilenceAsked
from volumehealth.model.health import Condition
from volumehealth.model.ids import LOCAL_VOLUMES, ClaimRef, VolumeId, is_driver_name
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import SILENCE_REASON, SILENCE_UNTIL

Item = TypeVar("Item")

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_NOT_A_SOURCE = frozenset(
    (
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    )
)
"""Fields of a PersistentVolume's spec that do not say where the data is."""
_IN_USE = "kubernetes.io/pvc-protection"
"""The finalizer that keeps a claim which Pods use."""
_SILENCE = 200
"""Characters of a silence's annotations that are kept."""
_TEMPLATE_HASH = "pod-template-hash"


class OwnerReference(msgspec.Struct, gc=False):
    """An entry of `metadata.ownerReferences`."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(msgspec.Struct, rename="camel", gc=False):
    """`metadata` of every object, as far as it is used."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    owner_references: list[OwnerReference] | None = None


class ClaimReference(msgspec.Struct, gc=False):
    """`spec.claimRef` of a volume."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class CsiSource(msgspec.Struct, rename="camel", gc=False):
    """`spec.csi` of a volume."""

    driver: str
    volume_handle: str


_NO_ANNOTATIONS = msgspec.Raw(b"null")


class _MigratedTo(msgspec.Struct, rename={"driver": "pv.kubernetes.io/migrated-to"}, gc=False):
    driver: str = ""


class VolumeMeta(ObjectMeta, rename="camel", gc=False):
    """`metadata` of a volume; an annotation names the CSI driver that serves an in-tree volume."""

    annotations: msgspec.Raw = _NO_ANNOTATIONS


class _Requirement(msgspec.Struct, gc=False):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class _Term(msgspec.Struct, rename="camel", gc=False):
    match_expressions: tuple[_Requirement, ...] = ()
    match_fields: tuple[_Requirement, ...] = ()


class _Terms(msgspec.Struct, rename="camel", gc=False):
    node_selector_terms: tuple[_Term, ...] = ()


class _Affinity(msgspec.Struct, gc=False):
    required: _Terms | None = None


class _There(msgspec.Struct, gc=False):
    """That it is there is all that matters."""


class _VolumeSpec(msgspec.Struct, rename="camel", gc=False):
    node_affinity: _Affinity | None = None
    persistent_volume_reclaim_policy: str = ""
    csi: CsiSource | None = None
    local: _There | None = None
    claim_ref: ClaimReference | None = None
    storage_class_name: str = ""


class _Phase(msgspec.Struct, gc=False):
    phase: str = ""


class PersistentVolume(msgspec.Struct, gc=False):
    """A PersistentVolume; the spec is read in a second step because any field of it may be the source."""

    metadata: VolumeMeta
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: _Phase = msgspec.field(default_factory=_Phase)


class _Requests(msgspec.Struct, gc=False):
    storage: str = ""


class _Resources(msgspec.Struct, gc=False):
    requests: _Requests | None = None


class _ClaimSpec(msgspec.Struct, rename="camel", gc=False):
    resources: _Resources | None = None
    storage_class_name: str | None = None
    volume_name: str = ""
    access_modes: tuple[str, ...] | None = None
    volume_mode: str | None = None


class SilenceAnnotations(msgspec.Struct, rename={"until": SILENCE_UNTIL, "why": SILENCE_REASON}, gc=False):
    """The annotations of a silence."""

    until: str | None = None
    why: str = ""


class _ClaimAnnotations(
    msgspec.Struct,
    rename={
        "driver": "volume.kubernetes.io/storage-provisioner",
        "before": "volume.beta.kubernetes.io/storage-provisioner",
    },
    gc=False,
):
    driver: str = ""
    before: str = ""
    """Claims that were made before 1.23 have this one only."""


class SilenceMeta(ObjectMeta, rename="camel", gc=False):
    """`metadata` of what may be silenced."""

    annotations: SilenceAnnotations | None = None


class ClaimMeta(ObjectMeta, rename="camel", gc=False):
    """`metadata` of a claim; the annotation names the driver that was to make its volume."""

    annotations: msgspec.Raw = _NO_ANNOTATIONS
    finalizers: tuple[str, ...] = ()


class PersistentVolumeClaim(msgspec.Struct, gc=False):
    """A PersistentVolumeClaim."""

    metadata: ClaimMeta
    spec: _ClaimSpec = msgspec.field(default_factory=_ClaimSpec)
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)


class _ClaimVolume(msgspec.Struct, rename="camel", gc=False):
    claim_name: str


class _PodVolume(msgspec.Struct, rename="camel", gc=False):
    name: str
    persistent_volume_claim: _ClaimVolume | None = None
    ephemeral: _There | None = None


class _PodSpec(msgspec.Struct, rename="camel", gc=False):
    node_name: str = ""
    volumes: list[_PodVolume] | None = None


class PodObject(msgspec.Struct, gc=False):
    """A Pod."""

    metadata: ObjectMeta
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class NamespaceObject(msgspec.Struct, gc=False):
    """A Namespace."""

    metadata: SilenceMeta


class RecordObject(msgspec.Struct, gc=False):
    """A VolumeHealth."""

    metadata: ObjectMeta
    status: msgspec.Raw = msgspec.Raw(b"")


class PolicyObject(msgspec.Struct, gc=False):
    """A VolumeHealthPolicy: few of them, read as they are."""

    metadata: dict[str, Any]
    spec: Any = None
    status: dict[str, Any] | None = None


class DriverObject(msgspec.Struct, gc=False):
    """A VolumeHealthDriver: few of them, read as they are."""

    metadata: ObjectMeta
    status: dict[str, Any] | None = None


class ClaimRow(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a PersistentVolumeClaim until it is joined with its volume."""

    ref: ClaimRef
    uid: str
    labels: Mapping[str, str]
    storage_class: str
    phase: str
    volume: str
    """`spec.volumeName`."""
    access_modes: tuple[str, ...]
    block: bool
    deleting: bool
    api_conditions: ApiConditions | None = None
    driver: str = ""
    """The driver that was to make its volume; only of a Lost claim, which has no volume to tell it."""
    annotations: Mapping[str, str] = _NO_LABELS
    """Those that a source reads; nearly always none."""
    silence: SilenceAsked | None = None


class VolumeRow(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a PersistentVolume.

    Attributes:
        name: of the object.
        driver: CSI driver name, or `LOCAL_VOLUMES`; empty if the volume is of another kind.
        handle: by which the driver knows it.
        unsupported: the in-tree plugin's field name, if it is not.
        storage_class: `spec.storageClassName`.
        claim, claim_uid: of `spec.claimRef`; the uid is empty while nobody is bound.
        failed: the phase is Failed.
        annotations: those that a source reads; nearly always none.
    """

    name: str
    driver: str
    handle: str
    unsupported: str
    storage_class: str
    claim: ClaimRef | None
    claim_uid: str
    failed: bool = False
    topology: str = ""
    """The nodes from which it can be reached, as `spec.nodeAffinity` says; empty if from all. Equal for volumes that can
    be reached from the same ones."""
    deleting: str = ""
    """What becomes of the data once the claim is gone, if the volume is being deleted; empty if it is not."""
    annotations: Mapping[str, str] = _NO_LABELS


@dataclass(frozen=True, slots=True)
class RawPolicy:
    """A VolumeHealthPolicy as the API server holds it.

    Attributes:
        manifest: `metadata` and `spec`, as `policy.parse.parse_policy` reads them.
        status: as it was written last; empty if there is none.
    """

    name: str
    uid: str
    generation: int
    manifest: Mapping[str, Any]
    status: Mapping[str, Any]

    @property
    def version(self) -> int:
        """Its resourceVersion; 0 if that is no number."""
        return version_number(str(self.manifest["metadata"].get("resourceVersion", "")))


@dataclass(frozen=True, slots=True)
class RawDriver:
    """A VolumeHealthDriver as the API server holds it: its name and its status, empty if it has none."""

    name: str
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A VolumeHealth as the API server holds it.

    Attributes:
        ref: of the record, which is that of its claim.
        uid: of the record.
        owner_uid: uid of the claim that owns it; empty if none does.
        labels: of the record.
        status: JSON; empty if there is none.
        other_owners: whether others own it, too.
        version: its resourceVersion; 0 if that is no number.
    """

    ref: ClaimRef
    uid: str
    owner_uid: str
    labels: Mapping[str, str]
    status: bytes
    other_owners: bool = False
    version: int = 0


class LabelPool:
    """Lets equal label maps be one object; most claims of an application carry the same labels."""

    _MOST = 10_000
    """When there are so many different ones, start again: sharing ends for the old ones, nothing leaks."""

    def __init__(self) -> None:
        self._known: dict[frozenset[tuple[str, str]], Mapping[str, str]] = {}

    def share(self, labels: Mapping[str, str] | None) -> Mapping[str, str]:
        """Return the one read-only map that equals the given one."""
        if not labels:
            return _NO_LABELS
        key = frozenset(labels.items())
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            own = {intern(name): intern(value) for name, value in labels.items()}
            known = self._known[key] = MappingProxyType(own)
        return known


_volume_spec = msgspec.json.Decoder(_VolumeSpec)
_any_spec = msgspec.json.Decoder(dict[str, msgspec.Raw])
_modes: dict[tuple[str, ...], tuple[str, ...]] = {}


class Annotations:
    """Takes out of objects the annotations that sources read.

    Args:
        wanted: their keys.
        pool: shares equal ones.
    """

    def __init__(self, wanted: Collection[str], pool: LabelPool) -> None:
        self._wanted = frozenset(wanted)
        self._marks = tuple(key.encode() for key in self._wanted)
        self._pool = pool

    def of(self, raw: msgspec.Raw) -> Mapping[str, str]:
        """Return the annotations that are wanted; what is not text is none."""
        data = bytes(raw)
        if not any(mark in data for mark in self._marks):
            return _NO_LABELS
        found = _any_annotations.decode(data) or {}
        kept = {key: value for key, value in found.items() if key in self._wanted and isinstance(value, str)}
        return self._pool.share(kept)


NO_ANNOTATIONS = Annotations((), LabelPool())
_any_annotations = msgspec.json.Decoder(dict[str, object] | None)
_migrated_to = msgspec.json.Decoder(_MigratedTo | None)
_provisioner = msgspec.json.Decoder(_ClaimAnnotations | None)


def volume_row(volume: PersistentVolume, annotations: Annotations = NO_ANNOTATIONS) -> VolumeRow:
    """Reduce a PersistentVolume."""
    spec = _volume_spec.decode(volume.spec)
    claim = spec.claim_ref
    found = _id_of(volume, spec)
    driver, handle = found or ("", "")
    deleting = volume.metadata.deletion_timestamp is not None
    return VolumeRow(
        name=volume.metadata.name,
        driver=driver,
        handle=handle,
        unsupported="" if found else _source_of(volume.spec),
        storage_class=intern(spec.storage_class_name),
        claim=ClaimRef(intern(claim.namespace), intern(claim.name)) if claim else None,
        claim_uid=claim.uid if claim else "",
        failed=volume.status.phase == "Failed",
        topology=_topology(spec.node_affinity),
        deleting=intern(spec.persistent_volume_reclaim_policy or "Retain") if deleting else "",
        annotations=annotations.of(volume.metadata.annotations),
    )


def _id_of(volume: PersistentVolume, spec: _VolumeSpec) -> VolumeId | None:
    """Return by what a volume is known; None if nothing here can watch it."""
    if spec.csi is not None:
        return VolumeId(intern(spec.csi.driver), spec.csi.volume_handle)
    if spec.local is not None:
        return VolumeId(LOCAL_VOLUMES, intern(volume.metadata.name))
    return _migrated(volume)


def _topology(affinity: _Affinity | None) -> str:
    terms = affinity.required.node_selector_terms if affinity is not None and affinity.required else ()
    words = {
        f"{one.key} {one.operator} {','.join(sorted(one.values))}"
        for term in terms
        for one in (*term.match_expressions, *term.match_fields)
    }
    return intern("; ".join(sorted(words)))


def _migrated(volume: PersistentVolume) -> VolumeId | None:
    """Return driver and handle of an in-tree volume that a CSI driver serves; None if none does."""
    metadata = volume.metadata
    migrated = _migrated_to.decode(metadata.annotations)
    driver = migrated.driver if migrated is not None else ""
    return translated(driver, volume.spec, metadata.labels or {}) if driver else None


def _source_of(spec: msgspec.Raw) -> str:
    """Name the one field of a volume's spec that says where the data is, whatever it is called."""
    for name, value in _any_spec.decode(spec).items():
        if name not in _NOT_A_SOURCE and bytes(value).startswith(b"{"):
            return intern(name)
    return "unknown"


def claim_row(
    claim: PersistentVolumeClaim, labels: LabelPool, annotations: Annotations = NO_ANNOTATIONS
) -> ClaimRow:
    """Reduce a PersistentVolumeClaim."""
    metadata, spec = claim.metadata, claim.spec
    modes = spec.access_modes or ()
    return ClaimRow(
        ref=ref_of(metadata),
        uid=metadata.uid,
        labels=labels.share(metadata.labels),
        storage_class=intern(spec.storage_class_name or ""),
        phase=intern(claim.status.phase),
        volume=spec.volume_name,
        access_modes=_modes.setdefault(modes, modes),
        block=spec.volume_mode == "Block",
        deleting=metadata.deletion_timestamp is not None,
        api_conditions=_api_conditions(claim),
        driver=_provisioner_of(metadata) if claim.status.phase == "Lost" else "",
        annotations=annotations.of(metadata.annotations),
        silence=_silence_of_claim(metadata),
    )


def _provisioner_of(metadata: ClaimMeta) -> str:
    made = _provisioner.decode(metadata.annotations)
    name = made.driver or made.before if made is not None else ""
    return intern(name) if is_driver_name(name) else ""


def _silence_of_claim(metadata: ClaimMeta) -> SilenceAsked | None:
    """Read a claim's silence; nearly no claim has one, so its annotations are decoded only if the name is in them."""
    raw = bytes(metadata.annotations)
    return _silenced(_silence.decode(raw), metadata.uid) if _SILENCE_NAME in raw else None


def silence_asked(metadata: SilenceMeta) -> SilenceAsked | None:
    """Return the silence that an object's annotations ask for; None if they ask for none."""
    return _silenced(metadata.annotations, metadata.uid)


def _silenced(notes: SilenceAnnotations | None, uid: str) -> SilenceAsked | None:
    if notes is None or notes.until is None:
        return None
    return SilenceAsked(notes.until[:_SILENCE], clean_message(notes.why)[:_SILENCE], uid)


_silence = msgspec.json.Decoder(SilenceAnnotations | None)
_SILENCE_NAME = SILENCE_UNTIL.encode()


def _api_conditions(claim: PersistentVolumeClaim) -> ApiConditions | None:
    resources, metadata = claim.spec.resources, claim.metadata
    requested = resources.requests.storage if resources is not None and resources.requests else ""
    in_use = metadata.deletion_timestamp is not None and _IN_USE in metadata.finalizers
    return claim_api_conditions(claim.status, requested=requested, deleted_in_use=in_use)


def pod_row(pod: PodObject) -> Pod | None:
    """Reduce a Pod; None if it uses no claim."""
    metadata = pod.metadata
    claims = tuple(
        dict.fromkeys(
            name for volume in pod.spec.volumes or () if (name := _claim_name(volume, metadata.name))
        )
    )
    if not claims:
        return None
    return Pod(
        namespace=intern(metadata.namespace),
        name=metadata.name,
        uid=metadata.uid,
        node=intern(pod.spec.node_name),
        phase=intern(pod.status.phase),
        claims=claims,
        deleting=metadata.deletion_timestamp is not None,
        health=_pod_health(pod) if pod.status.volume_health else (),
        waits=_wait(pod) if pod.spec.node_name else None,
        owner=owner_of(metadata.owner_references or (), metadata.labels or {}),
    )


def _wait(pod: PodObject) -> PodWait | None:
    """Return how a Pod waits that is bound to a node; None if anything of it runs, or waits for something else.

    Volumes are mounted before the Pod's sandbox is made, and that is before images are pulled and containers made. A Pod
    whose node was started anew is `Running` all the while, and waits for its volumes as a new one does.
    """
    status, metadata = pod.status, pod.metadata
    if metadata.deletion_timestamp is not None:
        return None
    if status.phase == "Running" and status.stopped:
        since = moment_of(status.lost_sandbox)
    elif status.phase == "Pending" and not status.begun:
        since = (
            moment_of(status.scheduled)
            or moment_of(status.start_time)
            or moment_of(metadata.creation_timestamp)
        )
    else:
        return None
    named = ((volume.name, _claim_name(volume, metadata.name)) for volume in pod.spec.volumes or ())
    return PodWait(since, tuple((volume, claim) for volume, claim in named if claim))


def owner_of(owners: Iterable[OwnerReference], labels: Mapping[str, str]) -> str:
    """Name what runs a Pod as people do: the Deployment rather than its ReplicaSet.

    A Deployment names its ReplicaSets after itself and the hash of the Pod's template, which the Pod carries as label.
    """
    for owner in owners:
        if owner.controller and owner.name:
            ending = f"-{labels.get(_TEMPLATE_HASH, '')}"
            if owner.kind == "ReplicaSet" and len(ending) > 1 and owner.name.endswith(ending):
                return intern(f"Deployment/{owner.name.removesuffix(ending)}")
            return intern(f"{owner.kind}/{owner.name}")
    return ""


def _pod_health(pod: PodObject) -> tuple[tuple[str, tuple[Condition, ...]], ...]:
    """Return what the kubelet says against the claims of a Pod; other volumes than claims are nobody's here."""
    claims = {volume.name: _claim_name(volume, pod.metadata.name) for volume in pod.spec.volumes or ()}
    return tuple(
        (claim, conditions)
        for one in pod.status.volume_health or ()
        if (claim := claims.get(one.name, "")) and (conditions := health_conditions(one.conditions))
    )


def _claim_name(volume: _PodVolume, pod: str) -> str:
    if volume.persistent_volume_claim is not None:
        return intern(volume.persistent_volume_claim.claim_name)
    return intern(f"{pod}-{volume.name}") if volume.ephemeral is not None else ""


def namespace_row(namespace: NamespaceObject, labels: LabelPool) -> Namespace:
    """Reduce a Namespace."""
    metadata = namespace.metadata
    return Namespace(intern(metadata.name), labels.share(metadata.labels), silence_asked(metadata))


def record_row(record: RecordObject, labels: LabelPool) -> RawRecord:
    """Reduce a VolumeHealth."""
    metadata = record.metadata
    owners = metadata.owner_references or ()
    return RawRecord(
        ref=ref_of(metadata),
        uid=metadata.uid,
        owner_uid=next((owner.uid for owner in owners if owner.kind == "PersistentVolumeClaim"), ""),
        labels=labels.share(metadata.labels),
        status=_own_copy(record.status),
        other_owners=len(owners) > 1,
        version=version_number(metadata.resource_version),
    )


def _own_copy(raw: msgspec.Raw) -> bytes:
    """Return what is there, empty for null; a Raw would keep its whole page."""
    copied = bytes(raw)
    return b"" if copied == b"null" else copied


def policy_row(policy: PolicyObject) -> RawPolicy:
    """Reduce a VolumeHealthPolicy."""
    given = without_nulls(policy.metadata)
    metadata = {name: value for name, value in given.items() if name != "managedFields"}
    return RawPolicy(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        generation=int(metadata.get("generation", 0)),
        manifest={"metadata": metadata, "spec": policy.spec},
        status=without_nulls(policy.status or {}),
    )


def driver_row(driver: DriverObject) -> RawDriver:
    """Reduce a VolumeHealthDriver."""
    return RawDriver(driver.metadata.name, driver.status or {})


def ref_of(metadata: ObjectMeta) -> ClaimRef:
    """Return namespace and name."""
    return ClaimRef(intern(metadata.namespace), intern(metadata.name))
