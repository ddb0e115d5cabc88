"""Where a driver may answer."""

import pytest

from volumehealth.csi.endpoint import Endpoint, parse_endpoint
from volumehealth.settings import TlsFiles

TLS = TlsFiles(ca="ca.pem", certificate="cert.pem", key="key.pem")

GOOD = {
    "a unix socket": ("unix:///run/csi/csi.sock", None, Endpoint("unix:///run/csi/csi.sock")),
    "a unix socket needs no TLS even if there is some": ("unix:///a.sock", TLS, Endpoint("unix:///a.sock")),
    "plain TCP on loopback": ("127.0.0.1:10000", None, Endpoint("127.0.0.1:10000")),
    "plain TCP on loopback, version 6": ("[::1]:10000", None, Endpoint("[::1]:10000")),
    "plain TCP on loopback by name, with a scheme": ("tcp://localhost:1", None, Endpoint("localhost:1")),
    "TCP to another machine with TLS": ("csi.example.com:443", TLS, Endpoint("csi.example.com:443", TLS)),
    "TLS is used on loopback, too": ("127.0.0.1:10000", TLS, Endpoint("127.0.0.1:10000", TLS)),
}


@pytest.mark.parametrize(("text", "tls", "endpoint"), GOOD.values(), ids=GOOD.keys())
def test_is_taken(text: str, tls: TlsFiles | None, endpoint: Endpoint) -> None:
    assert parse_endpoint(text, tls) == endpoint


BAD = {
    "plain TCP to another machine": ("csi.example.com:443", "mutual TLS"),
    "plain TCP to all interfaces": ("0.0.0.0:443", "mutual TLS"),
    "a path without a scheme": ("/run/csi.sock", "neither unix:///path nor HOST:PORT"),
    "a relative socket": ("unix://run/csi.sock", "absolute path"),
    "a host without a port": ("localhost", "neither"),
    "nothing": ("", "neither"),
    "a path too long for a socket": (f"unix:///{'x' * 107}", "107 bytes at most"),
}


@pytest.mark.parametrize(("text", "complaint"), BAD.values(), ids=BAD.keys())
def test_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_endpoint(text)
