"""Floor of telling: create core/v1 Events from one asyncio client with so many requests in flight.

`python -m benchmarks.floors.create_events SERVER CA_FILE TOKEN EVENTS IN_FLIGHT` prints seconds.
"""

import asyncio
import json
import secrets
import ssl
import sys
import time
from collections.abc import Iterator

import aiohttp


async def _main(server: str, ca_file: str, bearer: str, events: int, in_flight: int) -> None:
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    run = secrets.token_hex(4)

    def bodies() -> Iterator[tuple[str, bytes]]:
        for number in range(events):
            space = f"bench-{number % 50:02}"
            yield (
                f"{server}/api/v1/namespaces/{space}/events",
                json.dumps(
                    {
                        "metadata": {"name": f"floor-{run}-{number}", "namespace": space},
                        "involvedObject": {
                            "apiVersion": "v1",
                            "kind": "PersistentVolumeClaim",
                            "namespace": space,
                            "name": f"floor-{number}",
                            "uid": f"{run}-{number}",
                        },
                        "type": "Warning",
                        "reason": "Floor",
                        "message": "about as long as what the product says of a volume " * 3,
                        "action": "Found",
                        "count": 1,
                        "firstTimestamp": "2026-01-01T00:00:00Z",
                        "lastTimestamp": "2026-01-01T00:00:00Z",
                        "source": {"component": "floor"},
                    }
                ).encode(),
            )

    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file), limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work(left: Iterator[tuple[str, bytes]]) -> None:
            for url, body in left:
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()
                    response.raise_for_status()

        left = bodies()
        begun = time.monotonic()
        await asyncio.gather(*(work(left) for _ in range(in_flight)))
        print(time.monotonic() - begun)


if __name__ == "__main__":
    _server, _ca_file, _token, _events, _in_flight = sys.argv[1:]
    asyncio.run(_main(_server, _ca_file, _token, int(_events), int(_in_flight)))
