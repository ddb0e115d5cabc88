"""What the simulated operator and agents wrote, sent to a real API server under the deployed rights: the same codes.

In: the writes of a simulated run, as they arrived, and those of administrators and users that they meet. Out: the HTTP
status of each. The operator's Lease is left out: its version is each server's own. So are rules that today's CRD
refuses; the simulation has them because an older one let them through.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulation.__main__ import child
from simulation.nodeplane import AGENT_USER
from simulation.objects import KINDS
from simulation.plan import NODES, Plan, make_plan
from simulation.world import INVALID
from support.agenttoken import agent_token
from support.installation import USER, Installation, until
from volumehealth.kube.access import Access
from volumehealth.kube.aiohttp_transport import AiohttpTransport
from volumehealth.kube.credentials import CredentialSource
from volumehealth.kube.transport import HttpRequest
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OWN = ("/volumehealthpolicies", "/volumehealths", "/volumehealthdrivers", "/events")
"""What administrators and users write of this, is sent as well; the operator's writes are all sent."""
MOST = 1500
Send = Callable[[dict[str, Any]], Awaitable[int]]


async def sender(access: Access, user: str) -> tuple[Send, AiohttpTransport]:
    """Return what sends a recorded request with the rights of a user."""
    transport = AiohttpTransport(access)

    async def once(write: dict[str, Any]) -> int:
        headers = {"Content-Type": write["form"] or "application/json", "Authorization": user}
        body = write["body"].encode() or None
        answer = await transport.send(
            HttpRequest(write["method"], write["path"], write["query"], headers, body), access
        )
        while await answer.chunk():
            pass
        answer.abort()
        return answer.status

    async def send(write: dict[str, Any]) -> int:
        status = await once(write)
        while status == 429:  # its storage of a new resource is not ready yet
            await asyncio.sleep(0.5)
            status = await once(write)
        return status

    return send, transport


def with_kind(write: dict[str, Any]) -> dict[str, Any]:
    """Say of what kind an object is that is created; the simulated administrator leaves that to the path."""
    if write["method"] != "POST":
        return write
    kind = next(kind for kind in KINDS if write["path"].endswith(f"/{kind.plural}"))
    body = {"apiVersion": kind.api_version, "kind": kind.kind, **json.loads(write["body"])}
    return {**write, "body": json.dumps(body)}


def is_sent(write: dict[str, Any]) -> bool:
    """Tell whether a recorded request is one to compare."""
    if "/leases/volumehealth-operator" in write["path"] or INVALID in write["body"]:
        return False
    return write["user"] != "admin" or any(name in write["path"] for name in OWN)


def is_of_agents(write: dict[str, Any]) -> bool:
    """Tell whether a recorded request is an agent's, or meets what agents write."""
    return write["user"].startswith(AGENT_USER) or (
        write["user"] == "admin" and "/volumehealthreports/" in write["path"]
    )


def written(plan: Plan, recorded: Path) -> list[dict[str, Any]]:
    """Run a plan and return what was written, in order."""
    result = child(plan, "", str(recorded))
    assert result["violations"] == []
    return [json.loads(line) for line in recorded.read_text(encoding="utf-8").splitlines()]


async def differing(sent: Sequence[dict[str, Any]], tokens: Mapping[str, str], access: Access) -> list[str]:
    """Send what was written with the tokens of those who wrote it, and return what got another answer."""
    senders = {
        user: await sender(replace(access, authorization=""), f"Bearer {token}")
        for user, token in tokens.items()
    }
    senders["admin"] = await sender(access, access.authorization)
    different = []
    for number, write in enumerate(sent):
        send, _ = senders[write["user"]]
        status = await send(write)
        if status != write["status"]:
            different.append(f"{number}: {status}, not {write['status']}: {write['method']} {write['path']}")
    for _, transport in senders.values():
        await transport.aclose()
    return different


@pytest.mark.parametrize("seed", [3, 21, 42])
async def test_what_was_written_in_a_simulation_gets_the_same_codes(
    seed: int, fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    writes = await asyncio.to_thread(
        written, make_plan(seed, minutes=20.0, agents=False), tmp_path / "requests"
    )
    sent = [with_kind(write) for write in writes if is_sent(write)][:MOST]
    assert sum(write["user"] != "admin" for write in sent) > 20

    plane = fresh_control_plane()
    async with Installation(plane, tmp_path) as installed:
        await installed.objects.make_namespace("shop")
        access = await CredentialSource(str(plane.kubeconfig)).load()
        token = await asyncio.to_thread(plane.create_token, "volumehealth-system", "volumehealth-operator")
        different = await differing(sent, {USER: token}, access)
    assert not different, "\n".join(different[:10])


@pytest.mark.parametrize("seed", [5, 12])
async def test_what_agents_wrote_in_a_simulation_gets_the_same_codes(
    seed: int, fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plan = make_plan(seed, minutes=20.0, agents=True)
    writes = await asyncio.to_thread(written, plan, tmp_path / "requests")
    sent = [write for write in writes if is_of_agents(write)]
    by_agents = Counter(write["path"].rpartition("/")[0] for write in sent if write["user"] != "admin")
    assert len(by_agents) == 2, by_agents
    assert min(by_agents.values()) > 5

    plane = fresh_control_plane()
    async with Installation(plane, tmp_path) as installed:
        await installed.kubectl("apply", "-k", str(asset("deploy") / "agent"))
        access = await CredentialSource(str(plane.kubeconfig)).load()
        tokens = {f"{AGENT_USER}/{node}": await agent_token(installed.objects, node) for node in NODES}
        theirs = next(one for one in sent if one["user"].endswith(f"/{NODES[1]}"))
        foreign = theirs | {"user": f"{AGENT_USER}/{NODES[0]}", "status": 403}
        foreign["query"] = {**theirs["query"], "dryRun": "All"}

        async def is_refused() -> bool:
            return not await differing([foreign], tokens, access)

        await until(is_refused, "an agent writes nothing of another node")
        different = await differing(sent, tokens, access)
    assert not different, "\n".join(different[:10])
