"""Carry TCP connections from one address to a port of 127.0.0.1: python forward.py ADDRESS PORT TARGET_PORT."""

import asyncio
import sys

_CHUNK = 1 << 16


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()


async def _serve(address: str, port: int, target_port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up, down = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            writer.close()  # as a Service without endpoints refuses
            return
        await asyncio.gather(_carry(reader, down), _carry(up, writer))

    server = await asyncio.start_server(connected, address, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
