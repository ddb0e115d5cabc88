"""Floor of telling: apply a record, then create its core/v1 Event, from one asyncio client with so many claims in flight.

The record comes first, so that an operator that is killed between the two repeats nothing.

`python -m benchmarks.floors.record_and_tell SERVER CA_FILE TOKEN CLAIMS IN_FLIGHT` prints seconds, and deletes the records.
"""

import asyncio
import json
import secrets
import ssl
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import aiohttp

API = "volumehealth.dev/v1alpha1"
_SAYS = "about as long as what the product says of a volume " * 3
_WHEN = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim that is not there, of which a record and an Event say something."""

    namespace: str
    name: str
    uid: str

    @property
    def record(self) -> str:
        return f"/apis/{API}/namespaces/{self.namespace}/volumehealths/{self.name}"


def _claims(number: int) -> Iterator[_Claim]:
    run = secrets.token_hex(4)
    for one in range(number):
        yield _Claim(f"bench-{one % 50:02}", f"floor-{run}-{one}", f"{run}-{one}")


def _record(claim: _Claim) -> bytes:
    finding = {
        "source": "Controller",
        "status": "Inaccessible",
        "reason": "Floor",
        "message": _SAYS,
        "since": _WHEN,
        "confirmed": _WHEN,
    }
    owner = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name, "uid": claim.uid}
    return json.dumps(
        {
            "apiVersion": API,
            "kind": "VolumeHealth",
            "metadata": {"name": claim.name, "namespace": claim.namespace, "ownerReferences": [owner]},
            "status": {
                "health": "Unhealthy",
                "since": _WHEN,
                "policy": "floor",
                "driver": "floor",
                "volume": claim.name,
                "volumeHandle": claim.name,
                "findings": [finding],
                "pods": [claim.name],
            },
        }
    ).encode()


def _event(claim: _Claim) -> bytes:
    return json.dumps(
        {
            "metadata": {"name": claim.name, "namespace": claim.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace,
                "name": claim.name,
                "uid": claim.uid,
            },
            "type": "Warning",
            "reason": "Floor",
            "message": _SAYS,
            "action": "Found",
            "count": 1,
            "firstTimestamp": _WHEN,
            "lastTimestamp": _WHEN,
            "source": {"component": "floor"},
        }
    ).encode()


@dataclass(frozen=True, slots=True)
class _Server:
    """The API server, as one token sees it."""

    session: aiohttp.ClientSession
    url: str
    bearer: str

    async def send(self, method: str, path: str, body: bytes | None, kind: str) -> None:
        headers = {"Authorization": f"Bearer {self.bearer}", "Content-Type": kind}
        async with self.session.request(method, self.url + path, data=body, headers=headers) as response:
            await response.read()
            response.raise_for_status()

    async def tell(self, claim: _Claim) -> None:
        """Apply the record and create the Event."""
        apply = "?fieldManager=floor&force=true"
        await self.send("PATCH", claim.record + apply, _record(claim), "application/apply-patch+yaml")
        await self.send(
            "POST", f"/api/v1/namespaces/{claim.namespace}/events", _event(claim), "application/json"
        )

    async def forget(self, claim: _Claim) -> None:
        """Delete the record."""
        await self.send("DELETE", claim.record, None, "application/json")


async def _main(url: str, ca_file: str, bearer: str, number: int, in_flight: int) -> None:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file), limit=in_flight)
    claims = list(_claims(number))
    async with aiohttp.ClientSession(connector=connector) as session:
        server = _Server(session, url, bearer)

        async def work(left: Iterable[_Claim], *, forget: bool) -> None:
            for claim in left:
                await (server.forget(claim) if forget else server.tell(claim))

        begun = time.monotonic()
        left = iter(claims)
        await asyncio.gather(*(work(left, forget=False) for _ in range(in_flight)))
        print(time.monotonic() - begun)
        left = iter(claims)
        await asyncio.gather(*(work(left, forget=True) for _ in range(in_flight)))


if __name__ == "__main__":
    _server, _ca_file, _token, _claims_, _in_flight = sys.argv[1:]
    asyncio.run(_main(_server, _ca_file, _token, int(_claims_), int(_in_flight)))
