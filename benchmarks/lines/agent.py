"""One real node agent with a hundred volumes, under its deployed rights: what it asks of the API server, what it takes."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.bench import Bench, Driver
from benchmarks.etcd import NODES, Placed
from benchmarks.table import Line
from support.container import User, command, reason_not_to
from support.node import SimulatedNode
from volumehealth.errors import NotFound
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_registration import Registration
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.processes import Program

_AGENT = "volumehealth-agent"
_USER = f"system:serviceaccount:{_AGENT}:{_AGENT}"
_REPORTS = "/apis/volumehealth.dev/v1alpha1/volumehealthreports"
_NODE = "node-000"
_MOST = 60
"""MB that it may take."""
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}


async def agent(bench: Bench, driver: Driver, *, claims: int, seconds: float) -> list[Line]:
    """Leave an agent alone for a while once it has asked about every volume of its node."""
    await asyncio.to_thread(bench.plane.kubectl, "apply", "-k", str(asset("deploy") / "agent"))
    await bench.policy("all", interval="1m")
    placed = [Placed(number) for number in range(claims) if number % NODES == 0]
    async with AsyncExitStack() as stack:
        node = stack.enter_context(SimulatedNode(_NODE))
        endpoint = f"unix://{node.kubelet}/plugins/bench/csi.sock"
        plugin = await stack.enter_async_context(
            SimulatedDriver(
                name=driver.name,
                generation=Generation.LEGACY,
                volumes=[f"{driver.prefix}{one.number + 1}" for one in placed],
                endpoint=endpoint,
            )
        )
        await stack.enter_async_context(Registration(node.kubelet, name=driver.name, endpoint=endpoint))
        await _mount_all(bench, plugin, node, driver, placed)
        program = await _program(bench, node)
        bench.skip_audit()
        program.start()
        try:
            await plugin.called("NodeGetVolumeStats", times=len(placed))
            await _reported(bench)
            await asyncio.sleep(5)
            first = Counter(one.verb for one in bench.audited(_USER))
            before = _cpu(program)
            await asyncio.sleep(seconds)
            each = [f"{one.verb} {one.resource}" for one in bench.audited(_USER)]
            share, memory = (_cpu(program) - before) / seconds, _memory(program)
        finally:
            await asyncio.to_thread(program.stop)
    await bench.no_policies()
    minute = len(each) * 60 / seconds
    writes = sum(1 for one in each if not one.startswith(("get ", "list ", "watch ")))
    return [
        Line(
            f"a node agent with {len(placed)} volumes",
            f"{_MOST} MB at most; its requests told",
            "",
            f"{memory:.0f} MB, {share:.1%} of a core, {minute:.0f} requests/min ({writes} of them writes in "
            f"{seconds:.0f} s), {sum(first.values())} at its start",
            memory / _MOST,
            memory <= _MOST,
            {"at_start": dict(first), "then": dict(Counter(each))},
        )
    ]


async def _mount_all(
    bench: Bench, plugin: SimulatedDriver, node: SimulatedNode, driver: Driver, placed: list[Placed]
) -> None:
    """Let each volume be where the Pod that uses it has it."""
    pods = await bench.objects.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{_NODE}")
    uids = {one["metadata"]["name"]: one["metadata"]["uid"] for one in pods["items"]}
    for one in placed:
        handle = f"{driver.prefix}{one.number + 1}"
        paths = node.paths(volume=one.volume, driver=driver.name, handle=handle, pod_uid=uids[one.pod])
        plugin.volumes[handle].targets[paths.publish] = 1
        node.mount(paths.publish)


async def _program(bench: Bench, node: SimulatedNode) -> Program:
    """Return the agent as the DaemonSet runs it, with a token that is bound to a Pod on the node."""
    spec = {
        "serviceAccountName": _AGENT,
        "nodeName": _NODE,
        "containers": [{"name": "agent", "image": "example.invalid/none"}],
    }
    pod = await bench.objects.post(
        f"/api/v1/namespaces/{_AGENT}/pods", {"metadata": {"name": "agent"}, "spec": spec}
    )
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "agent", "uid": pod["metadata"]["uid"]}
    made = await bench.objects.post(
        f"/api/v1/namespaces/{_AGENT}/serviceaccounts/{_AGENT}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600, "boundObjectRef": bound},
        },
    )
    token = str(made["status"]["token"])
    program = Program(
        "agent", lambda: _command(bench, node, token), home=bench.home, environment=_ENVIRONMENT
    )
    bench.programs.append(program)
    return program


def _command(bench: Bench, node: SimulatedNode, token: str) -> Sequence[str]:
    """Return the command line: with a Pod's credentials where that can be imitated, else with a kubeconfig.

    A kubeconfig costs the memory of the library that reads it.
    """
    arguments = (
        "agent", "node", f"--node-name={_NODE}", f"--kubelet-dir={node.kubelet}",
        f"--mount-table={node.mount_table}", "--health-address=127.0.0.1:0",
    )  # fmt: skip
    if reason_not_to():
        config = bench.home / "agent.kubeconfig"
        bench.plane.write_kubeconfig(config, token, user=_AGENT)
        return (sys.executable, "-P", "-m", "volumehealth", *arguments, f"--kubeconfig={config}")
    token_file = bench.home / "agent.token"
    token_file.write_text(token)
    return command(
        *arguments,
        user=User(0, 0),
        server=bench.plane.url,
        ca_file=bench.plane.ca_file,
        token_file=token_file,
        environment=_ENVIRONMENT,
    )


async def _reported(bench: Bench, *, within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while True:
            try:
                await bench.objects.get(f"{_REPORTS}/{_NODE}")
            except NotFound:
                await asyncio.sleep(0.2)
            else:
                return


def _pid(program: Program) -> int:
    running = program.running
    assert running is not None, program.tail()
    return running.pid


def _memory(program: Program) -> float:
    """Return resident memory in MB."""
    lines = Path(f"/proc/{_pid(program)}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def _cpu(program: Program) -> float:
    """Return processor seconds so far."""
    fields = Path(f"/proc/{_pid(program)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
