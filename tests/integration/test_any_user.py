"""The commands start as a container starts them, for every user that a platform gives them.

The image's own uid, root, and a random uid as OpenShift gives it: no passwd entry, no HOME, no capability, nothing that
can be written. Credentials are those of a Pod. The cluster has no driver, and at first no policy.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from support.container import User, command, reason_not_to
from support.installation import NAMESPACE, Installation, until
from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(reason_not_to()), reason=reason_not_to() or "none"),
]

USERS = {
    "the image's own uid": User(65532, 65532),
    "root": User(0, 0),
    "a random uid": User(1000660000, 0),
}
OPERATOR, AGENT = "volumehealth-operator", "volumehealth-agent"
DRIVER, NODE = "csi.example.com", "worker-1"

each_user = pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())


class Container:
    """A process of the product as it runs in its container."""

    def __init__(self, program: Program, health: int) -> None:
        self.program = program
        self._url = f"http://127.0.0.1:{health}"

    def write_credentials_anew(self) -> None:
        """Write the files of its ServiceAccount again, as they are."""
        running = self.program.running
        assert running is not None
        home = "/run/secrets/kubernetes.io/serviceaccount"
        script = (
            f"mount -o remount,bind,rw /run; cd {home}; for file in *; do cp $file new; mv new $file; done; "
            "mount -o remount,bind,ro /run"
        )
        subprocess.run(["nsenter", f"--mount=/proc/{running.pid}/ns/mnt", "sh", "-euc", script], check=True)

    async def says(self, path: str) -> tuple[int, str]:
        """Ask /healthz or /readyz; 0 if nobody answers."""
        self.program.check_alive()
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self._url}{path}") as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def ready(self) -> None:
        """Wait until it is ready."""

        async def is_ready() -> bool:
            return (await self.says("/readyz"))[0] == 200

        await until(is_ready, "it is ready", within=60.0)

    def log(self) -> list[dict[str, Any]]:
        """Return its log."""
        return [json.loads(line) for line in self.program.log.read_text().splitlines()]


Start = Callable[..., Awaitable[Container]]


@pytest.fixture
async def start(installed: Installation, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a command as a user, with the token of a ServiceAccount."""
    running: list[Container] = []

    async def started(*arguments: str, user: User, token: str, **environment: str) -> Container:
        plane, (health,) = installed.plane, free_ports(1)
        token_file = tmp_path / "token"
        token_file.write_text(token)
        line = command(
            *arguments,
            f"--health-address=127.0.0.1:{health}",
            "--log-format=json",
            user=user,
            server=plane.url,
            ca_file=plane.ca_file,
            token_file=token_file,
            environment=environment,
        )
        container = Container(Program("container", lambda: line, home=tmp_path), health)
        running.append(container)
        await asyncio.to_thread(container.program.start)
        return container

    yield started
    for one in running:
        await asyncio.to_thread(one.program.stop, grace=15.0)
        assert one.program.exit_status == 0, one.program.tail()


async def token_of(installed: Installation, namespace: str, account: str) -> str:
    """Return a token of a ServiceAccount."""
    return await asyncio.to_thread(installed.plane.create_token, namespace, account)


@each_user
async def test_the_operator_starts_and_checks_a_policy(
    user: User, start: Start, installed: Installation
) -> None:
    token = await token_of(installed, NAMESPACE, OPERATOR)
    operator = await start("operator", "--metrics-address=", user=user, token=token)
    await operator.ready()

    await installed.policy("all")

    async def checked() -> bool:
        return (await installed.condition("all", "Ready")).get("status") == "True"

    await until(checked, "the policy is Ready", within=60.0)
    assert (await operator.says("/healthz"))[0] == 200


@pytest.mark.timeout(300)
async def test_the_operator_follows_on_when_its_credentials_were_written_anew(
    start: Start, installed: Installation
) -> None:
    """The kubelet does that with each new token, though the CA is the same; a minute later it has been seen."""
    token = await token_of(installed, NAMESPACE, OPERATOR)
    operator = await start("operator", "--metrics-address=", user=User(65532, 65532), token=token)
    await operator.ready()
    await asyncio.to_thread(operator.write_credentials_anew)
    await asyncio.sleep(65)  # credentials are read once a minute, with the next request after that
    await installed.policy("before")
    await asyncio.sleep(5)
    await installed.policy("afterwards")

    async def checked() -> bool:
        return (await installed.condition("afterwards", "Ready")).get("status") == "True"

    await until(checked, "a policy that was made afterwards is Ready", within=60.0)


@pytest.fixture
async def agent_token(installed: Installation) -> str:
    """deploy/agent is applied; a token of its ServiceAccount."""
    await installed.kubectl("apply", "-k", str(Path(__file__).parents[2] / "deploy" / "agent"))
    return await token_of(installed, AGENT, AGENT)


@each_user
async def test_the_node_agent_starts_and_tells_what_it_cannot_reach(
    user: User, start: Start, agent_token: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kubelet = tmp_path_factory.mktemp("kubelet")
    (kubelet / "plugins_registry").mkdir(mode=0o700)

    agent = await start(
        "agent",
        "node",
        f"--kubelet-dir={kubelet}",
        user=user,
        token=agent_token,
        VOLUMEHEALTH_NODE_NAME=NODE,
    )

    await agent.ready()
    assert (await agent.says("/healthz"))[0] == 200
    told = [one["why"] for one in agent.log() if one["message"] == "drivers cannot be reached"]
    if user.uid == 0:
        assert told == []
    else:
        assert len(told) == 1
        assert told[0].startswith(f"this agent runs as uid {user.uid} and may not read {kubelet}")


@pytest.fixture
async def driver_token(installed: Installation) -> str:
    """A token of a driver's ServiceAccount that may do everything."""
    account = {"kind": "ServiceAccount", "metadata": {"name": DRIVER, "namespace": "default"}}
    rights = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": DRIVER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": DRIVER, "namespace": "default"}],
    }
    documents = [{"apiVersion": "v1", **account}, {"apiVersion": "rbac.authorization.k8s.io/v1", **rights}]
    await installed.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(documents))
    return await token_of(installed, "default", DRIVER)


@each_user
async def test_the_controller_agent_starts(user: User, start: Start, driver_token: str) -> None:
    agent = await start(
        "agent",
        "controller",
        f"--csi-endpoint={DRIVER}=unix:///csi/csi.sock",
        user=user,
        token=driver_token,
    )

    await agent.ready()
    assert (await agent.says("/healthz"))[0] == 200
