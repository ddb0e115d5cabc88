"""Floor of a check by list: ListVolumes, pages included, and a look at each entry.

`python -m benchmarks.floors.list_volumes ENDPOINT TIMES PAUSE` prints the seconds of each pass. A pause between passes
lets it pay for waking up, as whoever asks now and then does.
"""

import asyncio
import sys
import time

import grpc.aio

from volumehealth.csi.pb import csi_pb2 as pb


async def _main(endpoint: str, times: int, pause: float) -> None:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(endpoint, options=options) as channel:
        ask = channel.unary_unary(
            "/csi.v1.Controller/ListVolumes",
            pb.ListVolumesRequest.SerializeToString,
            pb.ListVolumesResponse.FromString,
        )
        passes = []
        for _ in range(times):
            await asyncio.sleep(pause)
            begun, token, abnormal = time.monotonic(), "", 0
            while True:
                page = await ask(pb.ListVolumesRequest(starting_token=token))
                for entry in page.entries:
                    if entry.volume.volume_id and entry.status.volume_condition.abnormal:
                        abnormal += 1
                token = page.next_token
                if not token:
                    break
            passes.append(time.monotonic() - begun)
    print(*passes)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
