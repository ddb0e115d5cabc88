"""The credentials of the Pod we run in: three files and two variables, as `rest.InClusterConfig` of client-go reads them.

A Kubernetes client library can do this too, for 20 MB of memory on every node.
"""

from collections.abc import Mapping
from pathlib import Path

from volumehealth.kube.access import Access, NoCredentials
from volumehealth.kube.proxies import proxy_for

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts the ServiceAccount's token, which it replaces before it expires."""
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


def is_in_cluster(environ: Mapping[str, str]) -> bool:
    """Tell whether this process runs in a Pod: the kubelet says where the API server is."""
    return bool(environ.get(_HOST))


def read_in_cluster(environ: Mapping[str, str], directory: Path | None = None) -> Access:
    """Read the Pod's credentials as they are now.

    Args:
        environ: the process's variables.
        directory: where the ServiceAccount's files are; default: where the kubelet mounts them.

    Raises:
        NoCredentials: if there is no port, or no token.
        OSError: if the token cannot be read.
    """
    directory = directory or SERVICE_ACCOUNT
    host, port = environ.get(_HOST, ""), environ.get(_PORT, "")
    if not port:
        raise NoCredentials(f"{_HOST} is set and {_PORT} is not")
    ca = directory / "ca.crt"
    server = f"https://{_bracketed(host)}:{port}"
    return Access(
        server=server,
        authorization=f"Bearer {_token(directory / 'token')}",
        ca_file=str(ca) if ca.is_file() else "",  # as client-go does: then the system's own CAs count
        proxy=proxy_for(server, environ),
    )


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise NoCredentials(f"there is no {file}: this Pod has no ServiceAccount token mounted") from None
    if not token:
        raise NoCredentials(f"{file} is empty")
    return token


def _bracketed(host: str) -> str:
    """Write a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
