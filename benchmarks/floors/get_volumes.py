"""Floor of a check by get: ControllerGetVolume for each volume with so many calls in flight.

`python -m benchmarks.floors.get_volumes ENDPOINT PREFIX VOLUMES IN_FLIGHT` prints calls per second.
"""

import asyncio
import sys
import time
from collections.abc import Iterator

import grpc.aio

from volumehealth.csi.pb import csi_pb2 as pb


async def _main(endpoint: str, prefix: str, volumes: int, in_flight: int) -> None:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        ask = channel.unary_unary(
            "/csi.v1.Controller/ControllerGetVolume",
            pb.ControllerGetVolumeRequest.SerializeToString,
            pb.ControllerGetVolumeResponse.FromString,
        )
        handles = (f"{prefix}{number}" for number in range(1, volumes + 1))

        async def work(left: Iterator[str]) -> None:
            for handle in left:
                reply = await ask(pb.ControllerGetVolumeRequest(volume_id=handle))
                assert not reply.status.volume_condition.abnormal

        begun = time.monotonic()
        await asyncio.gather(*(work(handles) for _ in range(in_flight)))
        print(volumes / (time.monotonic() - begun))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
