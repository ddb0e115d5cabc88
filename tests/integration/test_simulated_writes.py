"""What the simulated operator wrote, sent to a real API server under the deployed rights: the same codes.

In: the writes of a simulated run, as they arrived, and those of administrators and users that they meet. Out: the HTTP
status of each. Leases are left out: a Lease's version is each server's own. So are rules that today's CRD refuses; the
simulation has them because an older one let them through.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulation.__main__ import child
from simulation.objects import KINDS
from simulation.plan import make_plan
from simulation.world import INVALID
from support.installation import Installation
from volumehealth.kube.access import Access
from volumehealth.kube.aiohttp_transport import AiohttpTransport
from volumehealth.kube.credentials import CredentialSource
from volumehealth.kube.transport import HttpRequest
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
    if "/leases" in write["path"] or INVALID in write["body"]:
        return False
    return write["user"] != "admin" or any(name in write["path"] for name in OWN)


@pytest.mark.parametrize("seed", [3, 21, 42])
async def test_what_was_written_in_a_simulation_gets_the_same_codes(
    seed: int, fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    recorded = tmp_path / "requests"
    result = await asyncio.to_thread(child, make_plan(seed, minutes=20.0, agents=False), "", str(recorded))
    assert result["violations"] == []
    writes = [json.loads(line) for line in recorded.read_text(encoding="utf-8").splitlines()]
    sent = [with_kind(write) for write in writes if is_sent(write)][:MOST]
    assert sum(write["user"] != "admin" for write in sent) > 20

    plane = fresh_control_plane()
    async with Installation(plane, tmp_path) as installed:
        await installed.objects.make_namespace("shop")
        access = await CredentialSource(str(plane.kubeconfig)).load()
        token = await asyncio.to_thread(plane.create_token, "volumehealth-system", "volumehealth-operator")
        operator, first = await sender(replace(access, authorization=""), f"Bearer {token}")
        admin, second = await sender(access, access.authorization)
        different = []
        for number, write in enumerate(sent):
            status = await (admin if write["user"] == "admin" else operator)(write)
            if status != write["status"]:
                different.append((number, status, write["status"], write["method"], write["path"]))
        for transport in (first, second):
            await transport.aclose()
    assert not different, "\n".join(map(str, different[:10]))
