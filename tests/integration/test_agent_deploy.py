"""deploy/agent on the real API server: its rights suffice, and a node's token is good for that node only."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.agenttoken import AGENT, agent_token
from support.container import User, command, reason_not_to
from support.node import SimulatedNode
from volumehealth.errors import Forbidden, Invalid, NotFound, SandboxError
from volumehealth.kube.api import Api
from volumehealth.model.ids import VolumeId
from volumehealth.model.report import agent_lease_name
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_registration import Registration
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects
from volumehealth_sandbox.processes import Program

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
REPORTS = "/apis/volumehealth.dev/v1alpha1/volumehealthreports"
POLICIES = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/volumehealth-system/leases"
APPLY = "application/apply-patch+yaml"
QUERY = {"fieldManager": "volumehealth-agent", "force": "true"}
VOLUMES = 100
MOST_MEMORY = 60 * 1000 * 1000 // 1024
"""KiB: what the agent may take with that many volumes."""


@pytest.fixture
async def installed(
    cluster_objects: ClusterObjects, control_plane: ControlPlane, namespace: str
) -> ClusterObjects:
    """deploy/agent is applied; and a right to delete, so that it is admission that refuses."""
    await cluster_objects.make_namespace("volumehealth-system")
    control_plane.kubectl("apply", "-k", str(ROOT / "deploy" / "agent"))
    rules = [
        {"apiGroups": ["volumehealth.dev"], "resources": ["volumehealthreports"], "verbs": ["*"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    ]
    more: list[dict[str, Any]] = [
        {"kind": "ClusterRole", "metadata": {"name": f"{AGENT}-more"}, "rules": rules},
        {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{AGENT}-more"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": f"{AGENT}-more",
            },
            "subjects": [{"kind": "ServiceAccount", "name": f"{AGENT}-more", "namespace": AGENT}],
        },
    ]
    documents = [{"apiVersion": "rbac.authorization.k8s.io/v1", **one} for one in more]
    control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(documents))
    for _ in range(100):  # the API server takes a moment to take up an admission policy
        with suppress(SandboxError):
            control_plane.kubectl(
                "create",
                "--dry-run=server",
                f"--as=system:serviceaccount:{AGENT}:{AGENT}",
                "-f",
                "-",
                input=json.dumps(report("nobody")),
            )
            await asyncio.sleep(0.1)
            continue
        break
    return cluster_objects


@pytest.fixture
async def connect(
    installed: ClusterObjects, control_plane: ControlPlane, tmp_path: Path
) -> AsyncIterator[Callable[[str], Any]]:
    """Connect with the token of the agent on a node."""
    connections: list[Api] = []

    async def connected(node: str) -> Api:
        path = tmp_path / f"kubeconfig-{node}"
        control_plane.write_kubeconfig(path, await agent_token(installed, node), user=AGENT)
        api = await Api.connect(str(path))
        connections.append(api)
        return api

    yield connected
    for api in connections:
        await api.aclose()


def report(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "volumehealth.dev/v1alpha1",
        "kind": "VolumeHealthReport",
        "metadata": {"name": name, **metadata},
        "status": {"plane": "Node", "node": name},
    }


def lease(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "volumehealth-system"},
        "spec": {"holderIdentity": "somebody"},
    }


async def apply(api: Api, path: str, body: dict[str, Any]) -> None:
    name = body["metadata"]["name"]
    await api.request("PATCH", f"{path}/{name}", query=QUERY, body=body, content_type=APPLY)


async def refusal(work: Any) -> str:
    """Return what the server says against something; empty if nothing."""
    try:
        await work
    except (Forbidden, Invalid) as error:
        return str(error)
    return ""


async def test_an_agent_writes_its_own_report_and_lease_and_no_other(
    connect: Any, cluster_objects: ClusterObjects, namespace: str
) -> None:
    mine, other = f"mine-{namespace}", f"other-{namespace}"
    api, neighbour = await connect(mine), await connect(other)
    for _ in range(2):  # made, then changed
        for owner, node in ((api, mine), (neighbour, other)):
            await apply(owner, REPORTS, report(node))
            await apply(owner, LEASES, lease(agent_lease_name(node)))
    await cluster_objects.ensure(LEASES, lease("volumehealth-operator"))

    only_mine = f"an agent on node {mine} writes the report of that name and no other"
    assert only_mine in await refusal(apply(api, REPORTS, report(other)))
    assert only_mine in await refusal(apply(api, REPORTS, report(f"new-{namespace}")))
    generated = {**report(""), "metadata": {"generateName": mine}}
    assert only_mine in await refusal(api.request("POST", REPORTS, body=generated))
    only_lease = f"writes the Lease volumehealth-agent-{mine} and no other"
    for name in (agent_lease_name(other), "volumehealth-operator", f"new-{namespace}", mine):
        assert only_lease in await refusal(apply(api, LEASES, lease(name))), name
    owner = {"apiVersion": "v1", "kind": "Node", "name": other, "uid": "1"}
    assert "the only owner" in await refusal(apply(api, REPORTS, report(mine, ownerReferences=[owner])))


async def test_an_agent_deletes_no_report_but_its_own_even_with_the_right_to(
    connect: Any, control_plane: ControlPlane, namespace: str
) -> None:
    mine, other = f"mine-{namespace}", f"other-{namespace}"
    api, neighbour = await connect(mine), await connect(other)
    await apply(api, REPORTS, report(mine))
    await apply(neighbour, REPORTS, report(other))
    await apply(neighbour, LEASES, lease(agent_lease_name(other)))
    assert "cannot delete" in await refusal(api.request("DELETE", f"{REPORTS}/{mine}"))
    subject = f"--serviceaccount={AGENT}:{AGENT}"
    control_plane.kubectl("create", "clusterrolebinding", namespace, f"--clusterrole={AGENT}-more", subject)
    try:
        async with asyncio.timeout(5):
            while "cannot delete" in await refusal(api.request("DELETE", f"{REPORTS}/{mine}")):  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # rights take a moment, and nobody tells
        assert "no other" in await refusal(api.request("DELETE", f"{REPORTS}/{other}"))
        assert "no other" in await refusal(api.request("DELETE", REPORTS))
        assert "no other" in await refusal(api.request("DELETE", f"{LEASES}/{agent_lease_name(other)}"))
    finally:
        control_plane.kubectl("delete", "clusterrolebinding", namespace)
    await neighbour.request("GET", f"{REPORTS}/{other}")


async def test_a_token_that_is_bound_to_no_node_writes_nothing(connect: Any, namespace: str) -> None:
    api = await connect("")
    assert "not bound to a node" in await refusal(apply(api, REPORTS, report(f"any-{namespace}")))
    assert "not bound to a node" in await refusal(
        apply(api, LEASES, lease(f"volumehealth-agent-{namespace}"))
    )


async def test_an_agent_changes_nothing_else(
    connect: Any, cluster_objects: ClusterObjects, namespace: str
) -> None:
    await cluster_objects.make_claim(namespace, "data", driver="d.example.com", handle="vol-1")
    await cluster_objects.post(
        POLICIES,
        {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealthPolicy",
            "metadata": {"name": namespace},
            "spec": {"suspend": True},
        },
    )
    api = await connect(f"node-{namespace}")
    merge = {"content_type": "application/merge-patch+json"}
    labels = {"metadata": {"labels": {"a": "b"}}}
    try:
        for path in (
            f"{POLICIES}/{namespace}",
            f"{POLICIES}/{namespace}/status",
            f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/data",
            f"/api/v1/persistentvolumes/pv-{namespace}-data",
            f"/api/v1/nodes/node-{namespace}",
            f"/api/v1/namespaces/{namespace}",
        ):
            assert "cannot patch" in await refusal(api.request("PATCH", path, body=labels, **merge)), path
        for path in (
            f"/api/v1/namespaces/{namespace}/secrets",
            "/api/v1/persistentvolumeclaims",
            "/api/v1/nodes",
        ):
            assert "cannot list" in await refusal(api.request("GET", path)), path
    finally:
        await cluster_objects.delete(f"{POLICIES}/{namespace}")


async def test_its_pod_goes_beyond_the_baseline_in_four_things_only(
    installed: ClusterObjects, control_plane: ControlPlane, namespace: str
) -> None:
    """SYSLOG, hostPID, hostPath and the SELinux type, each explained in the manifest; no privilege, no port or network."""
    found = await installed.get(f"/apis/apps/v1/namespaces/{AGENT}/daemonsets/{AGENT}")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "volumehealth:0.1.0"
    enforce = {"pod-security.kubernetes.io/enforce": "baseline"}
    await installed.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": enforce}})
    spec = found["spec"]["template"]["spec"]
    spec["containers"][0]["resources"] = {}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "try", "namespace": namespace},
        "spec": spec,
    }
    with pytest.raises(SandboxError) as refused:
        control_plane.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))
    (reason,) = re.findall(r'violates PodSecurity "baseline:latest": (.*)', str(refused.value))
    assert reason.strip() == (
        'non-default capabilities (container "agent" must not include "SYSLOG" in securityContext.capabilities.add), '
        'host namespaces (hostPID=true), hostPath volumes (volumes "registry", "plugins", "csi-plugins"), '
        'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t")'
    )


@pytest.mark.skipif(bool(reason_not_to()), reason=reason_not_to() or "none")
async def test_a_hundred_volumes_fit_into_its_memory_with_the_rights_it_has(
    installed: ClusterObjects, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The command as the DaemonSet runs it, with a Pod's credentials: it reports all, in little memory."""
    with SimulatedNode(f"big-{namespace}") as node:
        token_file = tmp_path / "token"
        token_file.write_text(await agent_token(installed, node.name))
        driver_socket = f"unix://{node.kubelet}/plugins/big/csi.sock"
        async with (
            SimulatedDriver(
                name="big.example.com",
                generation=Generation.LEGACY,
                volumes=[f"vol-{number}" for number in range(VOLUMES)],
                endpoint=driver_socket,
            ) as driver,
            Registration(node.kubelet, name=driver.name, endpoint=driver_socket),
        ):
            await _use_all(installed, driver, node, namespace)
            line = command(
                "agent",
                "node",
                f"--node-name={node.name}",
                f"--kubelet-dir={node.kubelet}",
                f"--mount-table={node.mount_table}",
                "--health-address=127.0.0.1:0",
                user=User(0, 0),
                server=control_plane.url,
                ca_file=control_plane.ca_file,
                token_file=token_file,
                environment={"MALLOC_ARENA_MAX": "1"},
            )
            program = Program("agent", lambda: line, home=tmp_path)
            program.start()
            try:
                await driver.called("NodeGetVolumeStats", times=VOLUMES)
                found = await _report(installed, node.name)
                running = program.running
                assert running is not None, program.tail()
                memory = _resident(running.pid)
            finally:
                program.stop()
    assert [one["name"] for one in found["status"]["drivers"]] == ["big.example.com"]
    assert found["status"]["drivers"][0]["state"] == "Answering"
    assert len(found["status"]["volumes"]) == VOLUMES // 10
    assert memory <= MOST_MEMORY, f"{memory * 1024 / 1e6:.1f} MB"


async def _use_all(
    objects: ClusterObjects, driver: SimulatedDriver, node: SimulatedNode, namespace: str
) -> None:
    """Make a claim and a Pod on the node for every volume, a tenth of them unmounted; and a policy for all."""
    claims = [ClaimSpec(namespace, handle, VolumeId(driver.name, handle)) for handle in driver.volumes]
    await objects.make_claims(claims)
    pods = await objects.all_of(
        objects.make_pod(namespace, f"pod-{claim.name}", [claim.name], node=node.name) for claim in claims
    )
    for number, (claim, pod) in enumerate(zip(claims, pods, strict=True)):
        paths = node.paths(
            volume=claim.persistent_volume,
            driver=driver.name,
            handle=claim.volume.handle,
            pod_uid=pod["metadata"]["uid"],
        )
        driver.volumes[claim.volume.handle].targets[paths.publish] = 1
        if number % 10:
            node.mount(paths.publish)
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    await objects.post(
        POLICIES,
        {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealthPolicy",
            "metadata": {"name": namespace},
            "spec": {"selector": selector, "interval": "5s"},
        },
    )


async def _report(objects: ClusterObjects, node: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            with suppress(NotFound):
                found = await objects.get(f"{REPORTS}/{node}")
                if len(found["status"].get("volumes", ())) == VOLUMES // 10:
                    return found
            await asyncio.sleep(0.1)


def _resident(pid: int) -> int:
    """Return the resident memory of a process now, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
