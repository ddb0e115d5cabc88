"""One bundle for whoever helps: what this product wrote, what it runs on, its logs; cleaned of secrets.

Only what is named here is read. No Secret and no ConfigMap ever is. Each object is reduced before it is written: fields
that may hold credentials are left out by name, and every remaining text is masked as everywhere in the product.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from volumehealth import __version__
from volumehealth.errors import ApiError
from volumehealth.kube.api import Api
from volumehealth.model.masking import MASK, mask
from volumehealth.model.vocabulary import API_VERSION, COMPONENT, DRIVERS, POLICIES, RECORDS, REPORTS
from volumehealth.oneshot.explain import SERVICE
from volumehealth.oneshot.reading import Object, read_answer, read_items

_OURS = f"/apis/{API_VERSION}"
_LABEL = "app.kubernetes.io/name in (volumehealth-operator, volumehealth-agent)"
_COLLECTIONS = {
    "volumehealthpolicies": (f"{_OURS}/{POLICIES}", ""),
    "volumehealths": (f"{_OURS}/{RECORDS}", ""),
    "volumehealthdrivers": (f"{_OURS}/{DRIVERS}", ""),
    "volumehealthreports": (f"{_OURS}/{REPORTS}", ""),
    "deployments": ("/apis/apps/v1/deployments", _LABEL),
    "daemonsets": ("/apis/apps/v1/daemonsets", _LABEL),
    "pods": ("/api/v1/pods", _LABEL),
    "nodes": ("/api/v1/nodes", ""),
    "csidrivers": ("/apis/storage.k8s.io/v1/csidrivers", ""),
    "csinodes": ("/apis/storage.k8s.io/v1/csinodes", ""),
    "storageclasses": ("/apis/storage.k8s.io/v1/storageclasses", ""),
    "volumeattachments": ("/apis/storage.k8s.io/v1/volumeattachments", ""),
    "persistentvolumes": ("/api/v1/persistentvolumes", ""),
    "persistentvolumeclaims": ("/api/v1/persistentvolumeclaims", ""),
}
_LEFT_OUT = frozenset(
    (
        "managedFields",
        "annotations",  # kubectl's copy of the whole object is in there, and whatever else people write
        "volumeAttributes",
        "parameters",
        "mountOptions",
        "publishContext",
        "attachmentMetadata",
        "env",
        "envFrom",
        "args",
        "command",
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodeStageSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
        "imagePullSecrets",
        "secretRef",
        "user",
        "monitors",
        "options",
    )
)
_KEPT = {
    "persistentvolumes": {
        "accessModes": True,
        "capacity": True,
        "claimRef": True,
        "csi": {"driver": True, "fsType": True, "readOnly": True, "volumeHandle": True},
        "nodeAffinity": True,
        "persistentVolumeReclaimPolicy": True,
        "storageClassName": True,
        "volumeMode": True,
    },
}
"""Of the spec of these nothing else is kept: every kind of volume has fields of its own for credentials."""
_CONTAINERS = frozenset(("operator", "agent"))
_METRICS = "metrics"
_LOG_LINES = 2000
_LOG_BYTES = 2_000_000


@dataclass(slots=True)
class Bundle:
    """What was collected.

    Attributes:
        files: by their names in the archive.
        missing: sentences on what could not be read.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def archive(self, at: datetime) -> bytes:
        """Return it as a tar.gz; every file lies in one directory."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as tar:
            for name, data in sorted(self.files.items()):
                entry = tarfile.TarInfo(f"volumehealth-support/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(at.timestamp()), 0o600
                tar.addfile(entry, io.BytesIO(data))
        return made.getvalue()


def cleaned(value: Any) -> Any:
    """Return a value without the fields that may hold credentials, and with every text masked."""
    if isinstance(value, Mapping):
        pair = value.get("name")
        return {
            str(name): _cleaned_field(str(pair if name == "value" and isinstance(pair, str) else name), one)
            for name, one in value.items()
            if name not in _LEFT_OUT
        }
    if isinstance(value, list):
        return [cleaned(one) for one in value]
    return mask(value) if isinstance(value, str) else value


def _cleaned_field(name: str, value: Any) -> Any:
    """Clean a value by its name as well: a password by itself looks like any other word."""
    if isinstance(value, str) and value and mask(f"{name}={value}") == f"{name}={MASK}":
        return MASK
    return cleaned(value)


def kept(value: Any, wanted: Any) -> Any:
    """Return the fields of an object that are wanted, and no others."""
    if wanted is True or not isinstance(value, Mapping):
        return value
    return {name: kept(value[name], inner) for name, inner in wanted.items() if name in value}


async def collect(api: Api, *, operator_in: str) -> Bundle:
    """Read everything that the user may read.

    Args:
        api: a connection.
        operator_in: the operator's namespace.

    Raises:
        ApiError: if the API server cannot be reached.
    """
    bundle = Bundle()
    version = await read_answer(api, "/version")
    bundle.files["version.yaml"] = _yaml(
        {"command": __version__, "kubernetes": cleaned(version.get("gitVersion", ""))}
    )
    for name, (path, selector) in _COLLECTIONS.items():
        try:
            items = await read_items(api, path, {"labelSelector": selector} if selector else {})
        except ApiError as error:
            bundle.missing.append(f"{name}: {mask(str(error))}")
            continue
        if name in _KEPT:
            items = [{**one, "spec": kept(one.get("spec"), _KEPT[name])} for one in items]
        bundle.files[f"{name}.yaml"] = _yaml([cleaned(one) for one in items])
        if name == "pods":
            for pod in items:
                await _logs(api, pod, bundle)
                await _page_of_pod(api, pod, bundle)
    await _events(api, bundle)
    if not any(name.startswith("metrics/") for name in bundle.files):
        await _page(api, f"/api/v1/namespaces/{operator_in}/services/{SERVICE}", "metrics", bundle)
    bundle.files["not-read.txt"] = "\n".join([*bundle.missing, ""]).encode()
    return bundle


async def _logs(api: Api, pod: Object, bundle: Bundle) -> None:
    """Take the logs of our containers: where a mesh adds one of its own, the API server wants to be told which."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    containers = [str(one.get("name")) for one in (pod.get("spec") or {}).get("containers") or ()]
    query = {"tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES), "timestamps": "true"}
    for container in [one for one in containers if one in _CONTAINERS] or containers[:1]:
        which = query | {"container": container}
        for end, more in (("log", {}), ("previous.log", {"previous": "true"})):
            try:
                log = await api.request(
                    "GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log", query=which | more
                )
            except ApiError as error:
                if not more:
                    bundle.missing.append(f"log of {namespace}/{name}: {mask(str(error))}")
                continue
            bundle.files[f"logs/{namespace}.{name}.{end}"] = _masked(log)


async def _events(api: Api, bundle: Bundle) -> None:
    """Take the Events that this product wrote."""
    try:
        events = await read_items(api, "/api/v1/events", {"fieldSelector": f"source={COMPONENT}"})
    except ApiError as error:
        bundle.missing.append(f"events: {mask(str(error))}")
        return
    bundle.files["events.yaml"] = _yaml([cleaned(one) for one in events])


async def _page_of_pod(api: Api, pod: Object, bundle: Bundle) -> None:
    """Take the metrics of an operator's Pod: the Service may lead to the one that stands by, and has none."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == _METRICS:
                place = f"pods/{name}:{port.get('containerPort')}"
                await _page(
                    api, f"/api/v1/namespaces/{namespace}/{place}", f"metrics/{namespace}.{name}", bundle
                )


async def _page(api: Api, path: str, file: str, bundle: Bundle) -> None:
    try:
        page = await api.request("GET", f"{path}/proxy/metrics")
    except ApiError as error:
        bundle.missing.append(f"{file}: {mask(str(error))}")
        return
    bundle.files[f"{file}.txt"] = _masked(page)


def _masked(raw: bytes) -> bytes:
    """Mask a text line by line."""
    return "\n".join([*map(mask, raw.decode(errors="replace").splitlines()), ""]).encode()


def _yaml(value: object) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()
