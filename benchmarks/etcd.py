"""Puts thousands of objects behind an API server in seconds: straight into its etcd.

One object of each kind is made through the API, read back as the server stores it (managed fields, defaults and
all), and cloned under other names and uids. ListResults, watches and sizes are then those of objects made the slow way,
which takes six requests for each claim with a Pod.
"""

import asyncio
import base64
import copy
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp
import msgspec

from volumehealth.errors import ApiError
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects

Object = dict[str, Any]
_BATCH = 100  # etcd takes 128 operations in one transaction
_IN_FLIGHT = 4
NAMESPACES, NODES = 50, 100


@dataclass(frozen=True, slots=True)
class Placed:
    """Names of the objects of one number."""

    number: int

    @property
    def namespace(self) -> str:
        """Of the claim and its Pod."""
        return f"bench-{self.number % NAMESPACES:02}"

    @property
    def claim(self) -> str:
        """Name of the claim."""
        return f"data-{self.number:06}"

    @property
    def pod(self) -> str:
        """Name of the Pod."""
        return f"app-{self.number:06}"

    @property
    def volume(self) -> str:
        """Name of the PersistentVolume."""
        return f"pvc-{uuid.uuid5(uuid.NAMESPACE_OID, str(self.number))}"

    @property
    def claim_uid(self) -> str:
        """The claim's uid."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"claim-{self.number}"))


class Population:
    """Claims with their volumes and a Pod each, in 50 namespaces on 100 nodes.

    Args:
        objects: to make the pattern with, as admin.
        etcd_url: the client URL of the API server's etcd.
    """

    def __init__(self, objects: ClusterObjects, etcd_url: str) -> None:
        self._objects = objects
        self._url = etcd_url
        self._pattern: tuple[Object, Object, Object] | None = None

    async def prepare(self) -> None:
        """Make namespaces, nodes and the pattern."""
        for number in range(NAMESPACES):
            await self._objects.make_namespace(f"bench-{number:02}")
        for number in range(NODES):
            await self._objects.make_node(f"node-{number:03}")
        labels = {"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": "shop-1"}
        spec = ClaimSpec("bench-00", "pattern", VolumeId("pattern.example.com", "none"), labels=labels)
        await self._objects.make(spec)
        await self._objects.make_pod("bench-00", "pattern", ["pattern"], node="node-000", labels=labels)
        base = "/api/v1/namespaces/bench-00"
        self._pattern = (
            await self._objects.get(f"/api/v1/persistentvolumes/{spec.persistent_volume}"),
            await self._objects.get(f"{base}/persistentvolumeclaims/pattern"),
            await self._objects.get(f"{base}/pods/pattern"),
        )
        await self._objects.delete(f"{base}/pods/pattern")
        await self._objects.delete_claim("bench-00", "pattern")

    async def put(self, numbers: Iterable[int], *, driver: str, prefix: str, first: int = 1) -> None:
        """Let claims be there, of a driver's volumes `<prefix><first>` and on."""
        await self._write(
            (key, msgspec.json.encode(one))
            for handle, number in enumerate(numbers, first)
            for key, one in self._made(Placed(number), driver, f"{prefix}{handle}")
        )

    async def remove(self, numbers: Iterable[int]) -> None:
        """Let claims, their volumes and Pods be gone."""
        await self._write((key, None) for number in numbers for key in _keys(Placed(number)))

    async def served(self, *, within: float = 300.0) -> None:
        """Wait until the API server has caught up with its etcd: until then it answers consistent lists with 504."""
        async with asyncio.timeout(within):
            for kind in ("persistentvolumes", "persistentvolumeclaims", "pods"):
                while not await self._lists(kind):  # noqa: ASYNC110 - only the server can tell
                    await asyncio.sleep(1.0)

    async def _lists(self, kind: str) -> bool:
        try:
            await self._objects.get(f"/api/v1/{kind}?limit=1")
        except ApiError:
            return False
        return True

    def _made(self, placed: Placed, driver: str, handle: str) -> Iterator[tuple[str, Object]]:
        assert self._pattern is not None
        volume, claim, pod = (copy.deepcopy(one) for one in self._pattern)
        for one in (volume, claim, pod):
            one["metadata"].pop("resourceVersion")
            one["metadata"]["uid"] = str(uuid.uuid4())
        volume["metadata"]["name"] = placed.volume
        volume["spec"]["csi"] |= {"driver": driver, "volumeHandle": handle}
        volume["spec"]["claimRef"] |= {
            "namespace": placed.namespace,
            "name": placed.claim,
            "uid": placed.claim_uid,
        }
        volume["spec"]["claimRef"].pop("resourceVersion", None)
        claim["metadata"] |= {"name": placed.claim, "namespace": placed.namespace, "uid": placed.claim_uid}
        claim["spec"]["volumeName"] = placed.volume
        pod["metadata"] |= {"name": placed.pod, "namespace": placed.namespace}
        pod["spec"]["nodeName"] = f"node-{placed.number % NODES:03}"
        for source in pod["spec"]["volumes"]:
            source["persistentVolumeClaim"]["claimName"] = placed.claim
        yield from zip(_keys(placed), (volume, claim, pod), strict=True)

    async def _write(self, rows: Iterable[tuple[str, bytes | None]]) -> None:
        pending = iter(rows)
        async with aiohttp.ClientSession() as session:

            async def work() -> None:
                while batch := list(islice(pending, _BATCH)):
                    body = msgspec.json.encode({"success": [_operation(key, value) for key, value in batch]})
                    async with session.post(f"{self._url}/v3/kv/txn", data=body) as response:
                        response.raise_for_status()

            async with asyncio.TaskGroup() as group:
                for _ in range(_IN_FLIGHT):
                    group.create_task(work())


def _keys(placed: Placed) -> tuple[str, str, str]:
    space = placed.namespace
    return (
        f"/registry/persistentvolumes/{placed.volume}",
        f"/registry/persistentvolumeclaims/{space}/{placed.claim}",
        f"/registry/pods/{space}/{placed.pod}",
    )


def _operation(key: str, value: bytes | None) -> Object:
    name = base64.b64encode(key.encode()).decode()
    if value is None:
        return {"requestDeleteRange": {"key": name}}
    return {"requestPut": {"key": name, "value": base64.b64encode(value).decode()}}
