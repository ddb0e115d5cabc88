"""Floor of the start: list claims, volumes and Pods in pages, all three at once, and decode the fields in use.

`python -m benchmarks.floors.list_and_decode SERVER CA_FILE TOKEN` prints seconds and processor seconds, imports not
counted, and a count.
"""

import asyncio
import ssl
import sys
import time

import aiohttp
import msgspec


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None


class _ListMeta(msgspec.Struct, rename={"token": "continue"}):
    token: str = ""


class _Csi(msgspec.Struct, rename="camel"):
    driver: str = ""
    volume_handle: str = ""


class _Source(msgspec.Struct, rename="camel"):
    claim_name: str = ""


class _PodVolume(msgspec.Struct, rename="camel"):
    persistent_volume_claim: _Source | None = None


class _Spec(msgspec.Struct, rename="camel"):
    csi: _Csi | None = None
    claim_ref: _Meta | None = None
    storage_class_name: str = ""
    volume_name: str = ""
    node_name: str = ""
    volumes: list[_PodVolume] | None = None


class _Status(msgspec.Struct):
    phase: str = ""


class _Item(msgspec.Struct):
    metadata: _Meta
    spec: _Spec
    status: _Status


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[_Item]


async def _read(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> list[_Item]:
    decoder, found, token = msgspec.json.Decoder(_Page), [], ""
    while True:
        query = {"limit": "500", **({"continue": token} if token else {})}
        async with session.get(url, params=query, headers=headers) as response:
            response.raise_for_status()
            page = decoder.decode(await response.read())
        found += page.items
        token = page.metadata.token
        if not token:
            return found


async def _main(server: str, ca_file: str, bearer: str) -> None:
    headers = {"Authorization": f"Bearer {bearer}"}
    begun, worked = time.monotonic(), time.process_time()
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file))
    async with aiohttp.ClientSession(connector=connector) as session:
        kinds = ("persistentvolumes", "persistentvolumeclaims", "pods")
        lists = await asyncio.gather(*(_read(session, f"{server}/api/v1/{kind}", headers) for kind in kinds))
    print(time.monotonic() - begun, time.process_time() - worked, sum(map(len, lists)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
