"""Builders of cluster objects on a real API server: bound claims and running Pods, with no controller's help."""

import asyncio
import json
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from volumehealth.errors import Conflict, NotFound
from volumehealth.kube.api import Api
from volumehealth.model.clock import Clock, SystemClock, rfc3339
from volumehealth.model.ids import ClaimRef, VolumeId

Object = dict[str, Any]
"""A Kubernetes object as it is in JSON."""

_MERGE_PATCH = "application/merge-patch+json"
_IN_FLIGHT = 32
_IMAGE = "example.invalid/none"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """A claim to make; `node` and `pods` are for `make_all`: that many Pods use it."""

    namespace: str
    name: str
    volume: VolumeId
    storage_class: str = "fast"
    labels: Mapping[str, str] = field(default_factory=dict)
    size: str = "1Gi"
    access_mode: str = "ReadWriteOnce"
    block: bool = False

    @property
    def ref(self) -> ClaimRef:
        """The claim's name."""
        return ClaimRef(self.namespace, self.name)

    @property
    def persistent_volume(self) -> str:
        """Name of its PersistentVolume."""
        return f"pv-{self.namespace}-{self.name}"


class ClusterObjects:
    """Makes objects through one connection, many at once; an async context manager.

    Args:
        kubeconfig: of a user who may write everything.
        clock: for the times in statuses.
    """

    def __init__(self, kubeconfig: Path, *, clock: Clock | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._clock = clock or SystemClock()
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._api: Api | None = None

    async def __aenter__(self) -> Self:
        self._api = await Api.connect(str(self._kubeconfig))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._api is not None:
            await self._api.aclose()

    # Claims and Pods.

    async def make_claim(
        self,
        namespace: str,
        name: str,
        *,
        driver: str,
        handle: str,
        storage_class: str = "fast",
        labels: Mapping[str, str] | None = None,
        access_mode: str = "ReadWriteOnce",
    ) -> Object:
        """Make a claim that is bound to a CSI volume; returns the claim as it was made, with its uid."""
        return await self.make(
            ClaimSpec(
                namespace,
                name,
                VolumeId(driver, handle),
                storage_class=storage_class,
                labels=labels or {},
                access_mode=access_mode,
            )
        )

    async def make(self, claim: ClaimSpec) -> Object:
        """Make a claim and its volume, bound to each other as the binder would."""
        base = f"/api/v1/namespaces/{claim.namespace}/persistentvolumeclaims"
        made = await self.post(base, claim_object(claim))
        source = {"driver": claim.volume.driver, "volumeHandle": claim.volume.handle, "fsType": "ext4"}
        volume = volume_object(claim, claim_uid=made["metadata"]["uid"], source={"csi": source})
        await self.post("/api/v1/persistentvolumes", volume)
        await self.patch(
            f"/api/v1/persistentvolumes/{claim.persistent_volume}/status", {"status": {"phase": "Bound"}}
        )
        bound = {
            "phase": "Bound",
            "accessModes": [claim.access_mode],
            "capacity": {"storage": claim.size},
        }
        await self.patch(f"{base}/{claim.name}/status", {"status": bound})
        return made

    async def make_pod(
        self,
        namespace: str,
        name: str,
        claims: Sequence[str],
        *,
        node: str = "",
        labels: Mapping[str, str] | None = None,
        phase: str = "Running",
    ) -> Object:
        """Make a Pod that uses claims and, if a node is given, runs there; returns it as it was made."""
        base = f"/api/v1/namespaces/{namespace}/pods"
        made = await self.post(base, pod_object(name, claims, node=node, labels=labels or {}))
        if phase:
            status = pod_status(phase, rfc3339(self._clock.now()))
            await self.patch(f"{base}/{name}/status", {"status": status})
        return made

    async def make_claims(self, claims: Iterable[ClaimSpec]) -> list[Object]:
        """Make many claims at once."""
        return await self.all_of(self.make(claim) for claim in claims)

    async def all_of(self, work: Iterable[Awaitable[Object]]) -> list[Object]:
        """Await many at once; requests are still sent 32 at a time at most."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_result_of(one)) for one in work]
        return [task.result() for task in tasks]

    # What they need.

    async def make_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Make a namespace, unless it exists."""
        await self.ensure("/api/v1/namespaces", {"metadata": {"name": name, "labels": dict(labels or {})}})

    async def make_storage_class(self, name: str, *, driver: str) -> None:
        """Make a storage class, unless it exists."""
        body = {"metadata": {"name": name}, "provisioner": driver}
        await self.ensure("/apis/storage.k8s.io/v1/storageclasses", body)

    async def make_node(self, name: str, *, ready: bool = True) -> None:
        """Make a Node, unless it exists, and set whether it is ready."""
        await self.ensure("/api/v1/nodes", {"metadata": {"name": name}})
        now = rfc3339(self._clock.now())
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "KubeletReady" if ready else "KubeletNotReady",
            "message": "set by hand",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        await self.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [condition]}})

    async def install_crds(self, crds: Iterable[Object], *, within: float = 30.0) -> None:
        """Install CustomResourceDefinitions, or bring them up to date, and wait until they are served."""
        names = []
        for crd in crds:
            name = crd["metadata"]["name"]
            names.append(name)
            path = f"{_CRDS}/{name}"
            query = {"fieldManager": "sandbox", "force": "true"}
            await self._send(
                "PATCH", path, body=crd, content_type="application/apply-patch+yaml", query=query
            )
        async with asyncio.timeout(within):
            for name in names:
                while not _established(await self.get(f"{_CRDS}/{name}")):  # noqa: ASYNC110 - only the object tells
                    await asyncio.sleep(0.05)

    # Requests.

    async def get(self, path: str) -> Object:
        """Read one object or a list."""
        return await self._send("GET", path)

    async def post(self, path: str, body: Object) -> Object:
        """Make one object."""
        return await self._send("POST", path, body=body)

    async def ensure(self, path: str, body: Object) -> None:
        """Make one object, unless one of that name exists."""
        try:
            await self.post(path, body)
        except Conflict:
            return

    async def patch(self, path: str, body: Object) -> Object:
        """Change an object by a merge patch."""
        return await self._send("PATCH", path, body=body, content_type=_MERGE_PATCH)

    async def delete(self, path: str) -> None:
        """Remove an object at once, if it exists."""
        try:
            await self._send("DELETE", path, query={"gracePeriodSeconds": "0"})
        except NotFound:
            return

    async def delete_claim(self, namespace: str, name: str) -> None:
        """Remove a claim that `make` made, with its volume."""
        await self.delete(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
        await self.delete(f"/api/v1/persistentvolumes/pv-{namespace}-{name}")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        if self._api is None:
            raise RuntimeError("use it as an async context manager")
        async with self._slots:
            answer = await self._api.request(method, path, body=body, content_type=content_type, query=query)
        decoded: Object = json.loads(answer)
        return decoded


async def _result_of(work: Awaitable[Object]) -> Object:
    return await work


def _established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []  # null while the CRD is new
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def claim_object(claim: ClaimSpec) -> Object:
    """Build a PersistentVolumeClaim that names its volume."""
    return {
        "metadata": {"name": claim.name, "namespace": claim.namespace, "labels": dict(claim.labels)},
        "spec": {
            "accessModes": [claim.access_mode],
            "resources": {"requests": {"storage": claim.size}},
            "storageClassName": claim.storage_class,
            "volumeName": claim.persistent_volume,
            "volumeMode": "Block" if claim.block else "Filesystem",
        },
    }


def volume_object(claim: ClaimSpec, *, claim_uid: str, source: Mapping[str, Any]) -> Object:
    """Build the PersistentVolume of a claim; `source` is such as `{"csi": {...}}` or `{"nfs": {...}}`."""
    ref = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.namespace,
        "name": claim.name,
        "uid": claim_uid,
    }
    return {
        "metadata": {"name": claim.persistent_volume},
        "spec": {
            "accessModes": [claim.access_mode],
            "capacity": {"storage": claim.size},
            "claimRef": ref,
            "storageClassName": claim.storage_class,
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Block" if claim.block else "Filesystem",
            **source,
        },
    }


def pod_object(name: str, claims: Sequence[str], *, node: str, labels: Mapping[str, str]) -> Object:
    """Build a Pod whose one container mounts every claim; no kubelet will ever run it."""
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    mounts = [{"name": claim, "mountPath": f"/mnt/{claim}"} for claim in claims]
    container = {"name": "main", "image": _IMAGE, "volumeMounts": mounts}
    spec: Object = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
    return {
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": spec | ({"nodeName": node} if node else {}),
    }


def pod_status(phase: str, now: str) -> Object:
    """Build a Pod's status as a kubelet would write it; `now` is RFC 3339."""
    runs = phase == "Running"
    ready = "True" if runs else "False"
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    main = {
        "name": "main",
        "image": _IMAGE,
        "imageID": "",
        "ready": runs,
        "started": runs,
        "restartCount": 0,
        "state": {"running": {"startedAt": now}} if runs else {"waiting": {"reason": "ContainerCreating"}},
    }
    return {
        "phase": phase,
        "startTime": now,
        "containerStatuses": [main],
        "conditions": [
            {"type": kind, "status": ready if "Ready" in kind else "True", "lastTransitionTime": now}
            for kind in kinds
        ],
    }
