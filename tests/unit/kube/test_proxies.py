"""The proxy of the environment, as Go programs find it.

Every expectation of `EXCEPTIONS` is what `golang.org/x/net/http/httpproxy` of Go 1.26 answered.
"""

import pytest

from volumehealth.kube.proxies import proxy_for

SERVER = "https://api.example.com:6443"
PROXY = "http://proxy.example.com:3128"
CASES = [
    ("none is named", SERVER, {}, ""),
    ("one for the server's scheme", SERVER, {"HTTPS_PROXY": PROXY}, PROXY),
    ("one in lower case", SERVER, {"https_proxy": PROXY}, PROXY),
    ("one for another scheme", SERVER, {"HTTP_PROXY": PROXY}, ""),
    ("capitals come first", SERVER, {"HTTPS_PROXY": PROXY, "https_proxy": "http://other"}, PROXY),
    ("empty capitals do not count", SERVER, {"HTTPS_PROXY": "", "https_proxy": PROXY}, PROXY),
    ("the exceptions in capitals come first", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "x", "no_proxy": "*"}, PROXY),
    ("a proxy without a scheme", SERVER, {"HTTPS_PROXY": "proxy.example.com:3128"}, PROXY),
    ("a proxy of another kind", SERVER, {"HTTPS_PROXY": "socks5://proxy:1080"}, "socks5://proxy:1080"),
    ("a CGI program trusts no HTTP_PROXY", "http://api", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, ""),
    ("a server of another scheme", "unix:///run/api.sock", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}, ""),
]  # fmt: skip

EXCEPTIONS = [
    ("https://api.example.com", "example.com", False),
    ("https://example.com", "example.com", False),
    ("https://xexample.com", "example.com", True),
    ("https://API.Example.com", "example.com", False),
    ("https://api.example.com", "EXAMPLE.com", False),
    ("https://api.example.com", ".example.com", False),
    ("https://example.com", ".example.com", True),
    ("https://example.com", "*.example.com", True),
    ("https://api.example.com", "*.example.com", False),
    ("https://example.com", "*example.com", True),
    ("https://api.example.com", "api.example.com:443", False),
    ("https://api.example.com:6443", "api.example.com:443", True),
    ("http://api.example.com", "api.example.com:80", False),
    ("https://a.example.com", ".example.com:443", False),
    ("https://a.example.com:6443", "*.example.com:443", True),
    ("https://example.com", "example.com:", False),
    ("https://example.com", "example.com:443:80", True),
    ("https://example.com", ":443", True),
    ("https://example.com", ".", True),
    ("https://example.com", " , ,", True),
    ("https://example.com", "*", False),
    ("https://10.96.0.1", "other, *", False),
    ("https://example.com", "**", True),
    ("https://example.com", "*:443", True),
    ("https://example.com.", "example.com", True),
    ("https://kubernetes.default.svc", "svc", False),
    ("https://kubernetes.default.svc", ".svc", False),
    ("https://svc", ".svc", True),
    ("https://10.96.0.1", "10.96.0.1", False),
    ("https://10.96.0.1", "10.96.0.1:443", False),
    ("https://10.96.0.1:6443", "10.96.0.1:443", True),
    ("https://10.96.0.1", "10.96.0.0/12", False),
    ("https://10.96.0.1", "10.96.0.7/12", False),
    ("https://10.96.0.1", "10.96.0.0/255.240.0.0", True),
    ("https://10.112.0.1", "10.96.0.0/12", True),
    ("https://10.96.0.1", "0.1", True),
    ("https://10.96.0.1", ".0.1", True),
    ("https://10.96.0.10", "10.96.0.1", True),
    ("https://1.2.3.4.example.com", "1.2.3.4", True),
    ("https://10.96.0.1", "010.96.0.1", True),
    ("https://example.com", "0.0.0.0/0", True),
    ("https://[fd00::1]", "fd00::1", False),
    ("https://[fd00::1]", "FD00:0::1", False),
    ("https://[fd00::1]", "[fd00::1]", True),
    ("https://[fd00::1]", "[fd00::1]:443", False),
    ("https://[fd00::1]:6443", "[fd00::1]:443", True),
    ("https://[fd00::1]:6443", "[fd00::1]:6443", False),
    ("https://[fd00::1]", "fd00::/8", False),
    ("https://[fe80::1]", "fd00::/8", True),
    ("https://[fd00::1]", "fd00::1:443", True),
    ("https://[fe80::1%25eth0]", "fe80::1", False),
    ("https://[::ffff:10.96.0.1]", "10.96.0.1", False),
    ("https://10.96.0.1", "::ffff:10.96.0.1", False),
    ("https://10.96.0.1", "::ffff:10.96.0.0/108", False),
    ("https://10.96.0.1", "::/0", True),
    ("https://localhost", "", False),
    ("https://localhost:6443", "other", False),
    ("https://127.0.0.1", "", False),
    ("https://127.9.8.7", "", False),
    ("https://[::1]", "", False),
    ("https://[::ffff:127.0.0.1]", "", False),
    ("https://api.localhost", "", True),
    ("https://LOCALHOST", "", True),
]
"""A server, NO_PROXY, and whether the server is reached through the proxy."""


@pytest.mark.parametrize(
    ("server", "environ", "proxy"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_proxy_for_a_server_when(server: str, environ: dict[str, str], proxy: str) -> None:
    assert proxy_for(server, environ) == proxy


@pytest.mark.parametrize(
    ("server", "exceptions", "proxied"),
    EXCEPTIONS,
    ids=[
        f"{server.removeprefix('https://')} with NO_PROXY={exceptions}"
        for server, exceptions, _ in EXCEPTIONS
    ],
)
def test_no_proxy_excepts_as_go_does(server: str, exceptions: str, proxied: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": exceptions}

    assert proxy_for(server, environ) == (PROXY if proxied else "")
