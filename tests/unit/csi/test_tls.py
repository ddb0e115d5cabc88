"""Drivers on TCP: mutual TLS, and plain only on loopback."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from volumehealth.csi.client import CsiClient
from volumehealth.csi.endpoint import parse_endpoint
from volumehealth.errors import DriverUnreachable
from volumehealth.settings import TlsFiles
from volumehealth_sandbox.driver import SimulatedDriver

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificates with openssl"
)


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for localhost that is its own CA, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    kind = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", *kind, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    """The files that the driver trusts and that trust the driver."""
    server, _ = self_signed(tmp_path, "driver")
    client, key = self_signed(tmp_path, "client")
    return TlsFiles(ca=str(server), certificate=str(client), key=str(key))


@pytest.fixture
def server_credentials(tls: TlsFiles, tmp_path: Path) -> grpc.ServerCredentials:
    """What makes a server ask for the client's certificate."""
    own = (tmp_path / "driver.key").read_bytes(), (tmp_path / "driver.pem").read_bytes()
    trusted = Path(tls.certificate).read_bytes()
    return grpc.ssl_server_credentials([own], root_certificates=trusted, require_client_auth=True)


@pytest.fixture
async def driver(server_credentials: grpc.ServerCredentials) -> AsyncIterator[SimulatedDriver]:
    """A driver on TCP that wants to see a certificate."""
    async with SimulatedDriver(endpoint="127.0.0.1:0", credentials=server_credentials) as simulated:
        yield simulated


async def test_plain_tcp_works_on_loopback() -> None:
    async with (
        SimulatedDriver(endpoint="127.0.0.1:0") as driver,
        CsiClient(parse_endpoint(driver.endpoint)) as client,
    ):
        assert await client.probe(5.0)


@needs_openssl
async def test_mutual_tls_works(driver: SimulatedDriver, tls: TlsFiles) -> None:
    async with CsiClient(parse_endpoint(driver.endpoint, tls)) as client:
        assert await client.probe(5.0)


@needs_openssl
async def test_a_driver_that_wants_tls_does_not_answer_plain_text(driver: SimulatedDriver) -> None:
    async with CsiClient(parse_endpoint(driver.endpoint)) as client:
        with pytest.raises(DriverUnreachable):
            await client.probe(1.0)


@needs_openssl
async def test_a_driver_whose_certificate_nobody_vouches_for_is_not_believed(
    driver: SimulatedDriver, tls: TlsFiles, tmp_path: Path
) -> None:
    stranger, _ = self_signed(tmp_path, "stranger")
    wrong = TlsFiles(ca=str(stranger), certificate=tls.certificate, key=tls.key)
    async with CsiClient(parse_endpoint(driver.endpoint, wrong)) as client:
        with pytest.raises(DriverUnreachable):
            await client.probe(1.0)


async def test_a_file_that_cannot_be_read_is_named() -> None:
    missing = TlsFiles(ca="/nonexistent/ca.pem", certificate="/nonexistent/c.pem", key="/nonexistent/k.pem")
    with pytest.raises(DriverUnreachable, match=r"/nonexistent/ca\.pem: No such file"):
        await CsiClient(parse_endpoint("127.0.0.1:1", missing)).__aenter__()
