"""The operator's Service as the API server's proxy reaches it, where no controller fills in its endpoints."""

import socket
from typing import Any

from support.installation import NAMESPACE, Installation, until
from support.process import OperatorProcess

_SERVICE = "volumehealth-operator"
_ELSEWHERE = ("198.51.100.1", 9)
"""An address of documentation: nothing is sent there, the kernel only chooses the own address for it."""


def own_address() -> str:
    """Return an address of this machine that the API server's proxy may reach: it refuses loopback; empty if none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
    return "" if address.startswith(("127.", "169.254.")) else address


async def behind_service(installed: Installation, operator: OperatorProcess) -> None:
    """Let the Service of `deploy/` lead to an operator that serves its pages at `own_address()`."""
    ports: list[int] = []

    async def serving() -> bool:
        ports[:] = [
            entry["port"] for entry in operator.log() if "/metrics" in str(entry.get("paths", "")).split()
        ]
        return bool(ports)

    await until(serving, "the operator serves its pages")
    address, port = own_address(), ports[0]
    pod = "operator-behind-service"  # the proxy leads to Pods only
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    await installed.objects.delete(f"{pods}/{pod}")
    await installed.objects.post(pods, _pod(pod))
    await installed.objects.patch(
        f"{pods}/{pod}/status", {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    )
    target = {"kind": "Pod", "namespace": NAMESPACE, "name": pod}
    labels = {"kubernetes.io/service-name": _SERVICE}
    slices: dict[str, Any] = {
        "metadata": {"name": _SERVICE, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "targetRef": target}],
        "ports": [{"name": "metrics", "port": port}],
    }
    endpoints: dict[str, Any] = {
        "metadata": {"name": _SERVICE},
        "subsets": [
            {
                "addresses": [{"ip": address, "targetRef": target}],
                "ports": [{"name": "metrics", "port": port}],
            }
        ],
    }
    service = f"/api/v1/namespaces/{NAMESPACE}/services/{_SERVICE}"
    await installed.objects.patch(service, {"spec": {"selector": None}})  # else a controller empties them
    for path, body in (
        (f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices", slices),
        (f"/api/v1/namespaces/{NAMESPACE}/endpoints", endpoints),
    ):
        await installed.objects.delete(f"{path}/{_SERVICE}")
        await installed.objects.post(path, body)


def _pod(name: str) -> dict[str, Any]:
    """Write a Pod as the namespace's Pod Security level wants it."""
    container = {
        "name": "operator",
        "image": "example.invalid/none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], "securityContext": context}}
