"""The token of an agent's Pod, bound to its node as the kubelet has it made."""

from typing import Any

from volumehealth_sandbox.objects import ClusterObjects

AGENT = "volumehealth-agent"


async def agent_token(objects: ClusterObjects, node: str) -> str:
    """Return a token as the kubelet of a node would mount it into the agent's Pod there; "" is bound to nothing.

    The node and the Pod are made; `deploy/agent` is installed.
    """
    spec: dict[str, Any] = {"expirationSeconds": 3600}
    if node:
        await objects.make_node(node)
        name = f"agent-{node}"
        container = {"name": "agent", "image": "example.invalid/none"}
        pod = await objects.post(
            f"/api/v1/namespaces/{AGENT}/pods",
            {
                "metadata": {"name": name},
                "spec": {"serviceAccountName": AGENT, "nodeName": node, "containers": [container]},
            },
        )
        spec["boundObjectRef"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": name,
            "uid": pod["metadata"]["uid"],
        }
    made = await objects.post(
        f"/api/v1/namespaces/{AGENT}/serviceaccounts/{AGENT}/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
    )
    return str(made["status"]["token"])
