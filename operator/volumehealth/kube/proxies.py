"""Which HTTP proxy the environment names for a server: much as kubectl does, from HTTPS_PROXY and NO_PROXY.

It is looked up when credentials are loaded. Left to aiohttp it would be looked up for each request, together with
`.netrc`: in a thread of its own, for longer than the request takes.
"""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def proxy_for(server: str, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy for a server; empty if there is none, or if the server is to be reached without.

    A server on this machine is never reached through a proxy. NO_PROXY holds names, which stand for their subdomains
    too, addresses, networks such as `10.96.0.0/12`, or `*`; separated by commas.
    """
    url = urlsplit(server)
    host = url.hostname or ""
    proxy = _value(f"{url.scheme}_proxy", environ)
    if not proxy or _is_local(host) or _is_excepted(host, url.netloc, _value("no_proxy", environ)):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _value(name: str, environ: Mapping[str, str]) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_excepted(host: str, netloc: str, exceptions: str) -> bool:
    names = (host, netloc.rpartition("@")[2])  # an exception may be for one port only
    return any(
        exception == "*" or _is_in(host, exception) or any(_is_named(name, exception) for name in names)
        for one in exceptions.split(",")
        if (exception := one.strip())
    )


def _is_named(name: str, exception: str) -> bool:
    domain = exception.removeprefix("*").removeprefix(".").lower()
    return name == domain or name.endswith(f".{domain}")


def _is_in(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
