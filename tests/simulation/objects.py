"""The resources of the simulated API server, and what happens to their objects: patches, apply, defaults."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource.

    Attributes:
        prefix: `/api/v1` or `/apis/GROUP/VERSION`.
        plural, kind: its names.
        namespaced: whether its objects live in namespaces.
        has_status: whether status is a subresource.
        counts_generations: whether `metadata.generation` follows the spec.
        create_on_update: whether a PUT may create.
        default: merged into an object that is created.
    """

    prefix: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    counts_generations: bool = False
    create_on_update: bool = False
    default: Json = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        """As in objects."""
        return self.prefix.removeprefix("/apis/").removeprefix("/api/")

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.api_version.rpartition("/")[0]


_OWN = "/apis/volumehealth.dev/v1alpha1"
_STORAGE = "/apis/storage.k8s.io/v1"
KINDS = (
    Kind("/api/v1", "namespaces", "Namespace", namespaced=False, has_status=True),
    Kind("/api/v1", "nodes", "Node", namespaced=False, has_status=True),
    Kind("/api/v1", "persistentvolumes", "PersistentVolume", namespaced=False, has_status=True),
    Kind("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim", has_status=True),
    Kind("/api/v1", "pods", "Pod", has_status=True),
    Kind("/api/v1", "events", "Event"),
    Kind("/apis/coordination.k8s.io/v1", "leases", "Lease", create_on_update=True),
    Kind(_STORAGE, "csinodes", "CSINode", namespaced=False),
    Kind(_STORAGE, "volumeattachments", "VolumeAttachment", namespaced=False, has_status=True),
    Kind("/apis/apps/v1", "daemonsets", "DaemonSet", has_status=True),
    Kind(
        _OWN,
        "volumehealthpolicies",
        "VolumeHealthPolicy",
        namespaced=False,
        has_status=True,
        counts_generations=True,
        default={"status": {"observedGeneration": -1}},
    ),
    Kind(_OWN, "volumehealths", "VolumeHealth", counts_generations=True),
    Kind(_OWN, "volumehealthreports", "VolumeHealthReport", namespaced=False, counts_generations=True),
    Kind(_OWN, "volumehealthdrivers", "VolumeHealthDriver", namespaced=False, counts_generations=True),
)


def copied(value: Any) -> Any:
    """Return a copy of what JSON can hold that shares nothing with it."""
    if isinstance(value, dict):
        return {name: copied(inner) for name, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value


def merge_patched(old: Any, patch: Any) -> Any:
    """Apply an RFC 7386 patch."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the fields of an applied configuration; a list, and an empty map, is one field."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


def changed_leaves(new: Any, old: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the fields of a value (`leaves`) that are others in an older one, or not there."""
    if isinstance(new, dict) and new:
        before = old if isinstance(old, dict) else {}
        for name, inner in new.items():
            if inner is not before.get(name):
                yield from changed_leaves(inner, before.get(name), (*path, name))
    elif new != old:
        yield path


def gone_leaves(old: Any, new: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the fields of a value (`leaves`) that are not in a newer one."""
    if isinstance(old, dict) and old:
        after = new if isinstance(new, dict) else {}
        for name, inner in old.items():
            if inner is not after.get(name):
                yield from gone_leaves(inner, after.get(name), (*path, name))
    elif new is None:
        yield path


def put_at(target: Json, path: Path, value: Any) -> None:
    """Set a field."""
    for name in path[:-1]:
        inner = target.get(name)
        if not isinstance(inner, dict):
            inner = target[name] = {}
        target = inner
    target[path[-1]] = copied(value)


def remove_at(target: Json, path: Path) -> None:
    """Remove a field, and maps that it leaves empty."""
    inner = target.get(path[0])
    if len(path) == 1:
        target.pop(path[0], None)
    elif isinstance(inner, dict):
        remove_at(inner, path[1:])
        if not inner:
            del target[path[0]]


def value_at(target: Any, path: Path) -> Any:
    """Return a field; None if it is not there."""
    for name in path:
        if not isinstance(target, dict):
            return None
        target = target.get(name)
    return target
