"""What a server really gets from a call: the HTTP/2 headers, decoded by another implementation than gRPC's.

Servers in Rust (tonic) and C# take `:authority` for what RFC 3986 says it is and refuse a call whose authority is the
percent-encoded path of the socket, which Python's gRPC sends by default (grpc issues 34305, 38142).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.csi.registration import plugin_info
from volumehealth.errors import CsiError
from volumehealth_sandbox.driver_control import DriverControl

Headers = dict[str, str]


class Recorder:
    """Answers every call with UNIMPLEMENTED and keeps its headers."""

    def __init__(self) -> None:
        self.calls: list[Headers] = []
        self._clients: list[asyncio.Task[None]] = []

    def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a client."""
        self._clients.append(asyncio.create_task(self._serve(reader, writer)))

    async def ended(self) -> None:
        """Wait until every client has hung up."""
        await asyncio.gather(*self._clients)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak HTTP/2 with one client until it hangs up."""
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.calls.append({str(name): str(value) for name, value in event.headers})
                        answer = [
                            (":status", "200"),
                            ("content-type", "application/grpc"),
                            ("grpc-status", "12"),
                        ]
                        connection.send_headers(event.stream_id, answer, end_stream=True)
                writer.write(connection.data_to_send())
            writer.close()
            await writer.wait_closed()


async def _to_csi(socket: Path) -> None:
    async with CsiClient(parse_endpoint(f"unix://{socket}")) as client:
        await client.identify_node(5.0)


async def _to_registration(socket: Path) -> None:
    await plugin_info(str(socket), timeout=5.0)


async def _to_sandbox(socket: Path) -> None:
    async with DriverControl(f"unix://{socket}") as control:
        await control.stats()


SPEAKERS: dict[str, tuple[Callable[[Path], Awaitable[None]], str]] = {
    "a CSI socket": (_to_csi, "/csi.v1.Identity/GetPluginInfo"),
    "a registration socket": (_to_registration, "/pluginregistration.Registration/GetInfo"),
    "the sandbox's control": (_to_sandbox, "/volumehealth_sandbox.DriverControl/Do"),
}


@pytest.mark.parametrize(("speak", "method"), SPEAKERS.values(), ids=SPEAKERS.keys())
async def test_a_unix_socket_is_asked_as_localhost(
    speak: Callable[[Path], Awaitable[None]], method: str, tmp_path: Path
) -> None:
    socket, recorder = tmp_path / "csi.sock", Recorder()
    server = await asyncio.start_unix_server(recorder.meet, str(socket))
    async with server:
        with suppress(CsiError):
            await speak(socket)
        await recorder.ended()

    assert recorder.calls, "no call arrived"
    assert recorder.calls[0][":path"] == method
    assert {call[":authority"] for call in recorder.calls} == {"localhost"}


async def test_a_host_and_port_are_asked_by_their_own_name() -> None:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with suppress(CsiError):
            async with CsiClient(parse_endpoint(f"127.0.0.1:{port}")) as client:
                await client.identify_node(5.0)
        await recorder.ended()

    assert {call[":authority"] for call in recorder.calls} == {f"127.0.0.1:{port}"}
