"""The proxy of the environment."""

import pytest

from volumehealth.kube.proxies import proxy_for

SERVER = "https://api.example.com:6443"
PROXY = "http://proxy.example.com:3128"
CASES = [
    ("none is named", SERVER, {}, ""),
    ("one for the server's scheme", SERVER, {"HTTPS_PROXY": PROXY}, PROXY),
    ("one for another scheme", SERVER, {"HTTP_PROXY": PROXY}, ""),
    ("lower case comes first", SERVER, {"HTTPS_PROXY": "http://other", "https_proxy": PROXY}, PROXY),
    ("a proxy without a scheme", SERVER, {"HTTPS_PROXY": "proxy.example.com:3128"}, PROXY),
    ("the server is excepted by name", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example.com"}, ""),
    ("by its domain", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "other, example.com"}, ""),
    ("by its domain with a dot", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": ".example.com"}, ""),
    ("at its port", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example.com:6443"}, ""),
    ("at another port", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example.com:443"}, PROXY),
    ("another name is excepted", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "ample.com"}, PROXY),
    ("everything is excepted", SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, ""),
    ("by its address", "https://10.96.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.1"}, ""),
    ("by its network", "https://10.96.0.1:443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.0/12"}, ""),
    ("by its network in IPv6", "https://[fd00::1]:443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, ""),
    ("another network is excepted", "https://10.2.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.0/12"}, PROXY),
    ("a server on this machine", "https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, ""),
    ("a server on this machine in IPv6", "https://[::1]:6443", {"HTTPS_PROXY": PROXY}, ""),
    ("localhost", "https://localhost:6443", {"HTTPS_PROXY": PROXY}, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("server", "environ", "proxy"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_proxy_for_a_server_when(server: str, environ: dict[str, str], proxy: str) -> None:
    assert proxy_for(server, environ) == proxy
