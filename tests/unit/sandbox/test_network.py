"""The sandbox cluster's network, as far as no root is needed for it."""

import asyncio
import sys
from pathlib import Path

import volumehealth_sandbox
from volumehealth_sandbox.network import ClusterNetwork
from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program

FORWARDER = Path(volumehealth_sandbox.__file__).with_name("forward.py")


def test_clusters_with_different_numbers_share_no_address() -> None:
    one, another = ClusterNetwork(1), ClusterNetwork(2)
    assert {one.services, one.pods, one.apiserver}.isdisjoint(
        {another.services, another.pods, another.apiserver}
    )


def test_the_apiservers_service_has_the_first_address() -> None:
    assert ClusterNetwork(3).apiserver == "198.18.3.1"
    assert ClusterNetwork(3).services == "198.18.3.0/24"


async def test_the_forwarder_carries_both_ways_and_ends_a_connection_that_nobody_takes(
    tmp_path: Path,
) -> None:
    """In: a server on one port. Out: its answer on another; after its end, an end and no answer."""
    front, back = free_ports(2)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"answer to " + await reader.readline())
        writer.close()

    async def ask() -> bytes:
        for _ in range(200):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", front)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
                continue
            writer.write(b"question\n")
            try:
                return await reader.read()
            except ConnectionResetError:  # the kernel's end of a connection whose question nobody has read
                return b""
            finally:
                writer.close()
        raise AssertionError(forwarder.tail())

    command = (sys.executable, "-I", "-S", FORWARDER, "127.0.0.1", str(front), str(back))
    forwarder = Program("forwarder", lambda: command, home=tmp_path)
    await asyncio.to_thread(forwarder.start)
    try:
        async with await asyncio.start_server(echo, "127.0.0.1", back):
            assert await ask() == b"answer to question\n"
        assert await ask() == b""
    finally:
        await asyncio.to_thread(forwarder.kill)
