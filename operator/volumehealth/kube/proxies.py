"""Which HTTP proxy the environment names for a server, by the rules of `golang.org/x/net/http/httpproxy`.

Whoever sets HTTPS_PROXY and NO_PROXY in a cluster has tried them with kubectl and other Go programs. It is looked up when
credentials are loaded: left to an HTTP client it would be looked up for each request, together with `.netrc`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": "80", "https": "443"}
_MAPPED_BITS = 96
"""Bits of an IPv6 address before the IPv4 address that it stands for."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a request goes: the host as it stands in the URL, the port, the address if the host is one."""

    host: str
    port: str
    address: Address | None


def proxy_for(server: str, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy for a server; empty if there is none, or if the server is to be reached without.

    A server on this machine is never reached through a proxy. NO_PROXY holds entries separated by commas: `*`; a network
    (`10.96.0.0/12`); an address (`10.96.0.1`, `fd00::1`, `[fd00::1]:443`); a domain, which stands for its subdomains
    too (`example.com`), or for these alone (`.example.com`, `*.example.com`). An address or a domain may have a port.

    Args:
        server: URL.
        environ: variables; of two spellings the one in capitals counts.
    """
    try:
        url = urlsplit(server)
    except ValueError:  # whoever connects says so
        return ""
    if url.scheme not in _PORTS:
        return ""
    if url.scheme == "http" and environ.get("REQUEST_METHOD"):
        return ""  # a CGI program: its HTTP_PROXY is what a client sent as the header Proxy
    proxy = _as_url(_value(f"{url.scheme}_proxy", environ))
    return proxy if proxy and _is_proxied(_target(url), _value("no_proxy", environ)) else ""


def _value(name: str, environ: Mapping[str, str]) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _as_url(proxy: str) -> str:
    if not proxy:
        return ""
    _, separator, host = proxy.partition("://")
    return proxy if separator and host.strip("/") else f"http://{proxy}"


def _target(url: SplitResult) -> _Target:
    host = _host_as_written(url).replace("%25", "%")
    try:
        port = str(url.port or _PORTS[url.scheme])
    except ValueError:
        port = ""
    return _Target(host, port, _address(host.partition("%")[0]))


def _host_as_written(url: SplitResult) -> str:
    host = url.netloc.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_proxied(target: _Target, exceptions: str) -> bool:
    if not target.host:
        return True
    if target.host == "localhost" or (target.address is not None and target.address.is_loopback):
        return False
    entries = [entry for one in exceptions.split(",") if (entry := one.strip().lower())]
    return "*" not in entries and not any(_excepts(entry, target) for entry in entries)


def _excepts(entry: str, target: _Target) -> bool:
    """Tell whether an entry of NO_PROXY is about a target."""
    network = _network(entry)
    if network is not None:
        return target.address is not None and target.address in network
    host, port = _split(entry)
    if port and port != target.port:
        return False
    address = _address(host)
    if address is not None:
        return address == target.address
    return bool(host) and target.address is None and _is_in_domain(target.host.strip().lower(), host)


def _is_in_domain(host: str, entry: str) -> bool:
    domain = entry.removeprefix("*") if entry.startswith("*.") else entry
    if domain.startswith("."):
        return host.endswith(domain)
    return host == domain or host.endswith(f".{domain}")


def _split(entry: str) -> tuple[str, str]:
    """Split `host:port` as Go's `net.SplitHostPort` does; what it refuses is a host as it stands."""
    host, colon, port = entry.rpartition(":")
    if not colon:
        return entry, ""
    if host.startswith("["):
        bare = host[1:-1]
        return (bare, port) if host.endswith("]") and not set(bare + port) & set("[]") else (entry, "")
    return (entry, "") if set(entry) & set("[]") or ":" in host else (host, port)


def _network(entry: str) -> Network | None:
    _, slash, bits = entry.partition("/")
    if not slash or not (bits.isascii() and bits.isdigit()):
        return None
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return None
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def _address(text: str) -> Address | None:
    """Read an address; one of IPv4 that is written as IPv6 is the same."""
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
