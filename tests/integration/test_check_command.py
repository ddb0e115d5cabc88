"""`volumehealth check` as a person runs it: nothing installed, a user who may only read, and an exit status.

In: claims on simulated drivers in a cluster without our CRDs. Out: what is printed, and how it ends.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import yaml

from support.audit import AuditLog
from support.installation import policy_text
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClusterObjects

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

READER = "reader"
RESOURCES = (
    "persistentvolumes,persistentvolumeclaims,pods,namespaces,nodes,csinodes.storage.k8s.io,"
    "volumeattachments.storage.k8s.io,leases.coordination.k8s.io"
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How the command ended and what it printed."""

    status: int
    out: str
    error: str


@dataclass(frozen=True, slots=True)
class Laptop:
    """A person's machine: a kubeconfig, and drivers within reach."""

    plane: ControlPlane
    kubeconfig: Path
    good: SimulatedDriver
    hung: SimulatedDriver
    home: Path

    async def check(self, *arguments: str, drivers: str = "good", kubeconfig: Path | None = None) -> Ran:
        """Run the command."""
        endpoints = {"good": self.good.endpoint, "hung": f"{self.hung.name}={self.hung.endpoint}"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "volumehealth", "check"),
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            *(f"--csi-endpoint={endpoints[name]}" for name in drivers.split()),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
        return Ran(process.returncode or 0, out.decode(), error.decode())

    def policy(self, *drivers: SimulatedDriver) -> str:
        """Write a policy that selects the claims of some drivers; returns the argument that names the file."""
        file = self.home / f"{'-'.join(driver.name for driver in drivers)}.yaml"
        selector = {"drivers": [driver.name for driver in drivers]}
        file.write_text(policy_text("mine", {"selector": selector, "timeout": "1s"}))
        return f"--filename={file}"


@pytest.fixture
async def laptop(fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path) -> AsyncIterator[Laptop]:
    """Three claims on a driver that answers, two on one that hangs; a user who may list and watch them."""
    plane = await asyncio.to_thread(fresh_control_plane, users={READER: ()})
    kubectl = plane.kubectl
    await asyncio.to_thread(
        kubectl, "create", "clusterrole", READER, "--verb=list,watch", f"--resource={RESOURCES}"
    )
    await asyncio.to_thread(
        kubectl, "create", "clusterrolebinding", READER, f"--clusterrole={READER}", f"--user={READER}"
    )
    config = plane.write_kubeconfig(tmp_path / "kubeconfig", plane.token_of(READER), user=READER)
    good = SimulatedDriver(name="good.example.com", generation=Generation.V1_13)
    hung = SimulatedDriver(name="hung.example.com", volumes=["lost-1", "lost-2"])
    hung.misbehave(Quirk.HANGS)
    async with AsyncExitStack() as stack:
        for driver in (good, hung):
            await stack.enter_async_context(driver)
        objects = await stack.enter_async_context(ClusterObjects(plane.kubeconfig))
        await objects.make_namespace("shop")
        for driver in (good, hung):
            for handle in driver.volumes:
                await objects.make_claim("shop", handle, driver=driver.name, handle=handle)
        yield Laptop(plane, config, good, hung, tmp_path)


async def test_a_check_needs_nothing_but_the_right_to_read_and_ends_with_what_it_found(
    laptop: Laptop,
) -> None:
    """0 healthy, 3 nothing unhealthy but something unknown, 1 unhealthy, 2 no cluster or no sense."""
    audit = AuditLog(laptop.plane.audit_log, READER)
    good, hung = laptop.policy(laptop.good), laptop.policy(laptop.hung)
    typo = laptop.policy(SimulatedDriver(name="typo.example.com"))
    nowhere = laptop.home / "nowhere"
    nowhere.write_text(laptop.kubeconfig.read_text().replace(laptop.plane.url, "https://127.0.0.1:1"))

    junit = laptop.home / "result.xml"
    written = await laptop.check(good, f"--junit={junit}")
    suite = Xml.fromstring(junit.read_bytes())[0]  # noqa: S314 - the command wrote it
    assert (written.status, suite.get("errors"), suite.get("failures")) == (0, "0", "0")
    assert "3 claims healthy" in {case.get("name") for case in suite}

    healthy, unknown = await asyncio.gather(
        laptop.check(good), laptop.check(hung, "--wait=3", drivers="good hung")
    )
    assert (healthy.status, healthy.error) == (0, "")
    assert "3 monitored claims" in healthy.out
    assert (unknown.status, unknown.error) == (3, "")
    assert "UNKNOWN" in unknown.out
    assert "DEADLINE_EXCEEDED" in unknown.out

    nothing, both = await asyncio.gather(laptop.check(typo), laptop.check("--wait=3", drivers="good hung"))
    assert nothing.status == 3  # a typo must not look healthy
    assert both.status == 3

    laptop.good.fault("vol-2", Fault.IO_ERRORS)
    table, explained = await asyncio.gather(laptop.check(), laptop.check("--explain=shop/vol-2"))
    assert (table.status, table.error) == (1, "")
    row = next(line for line in table.out.splitlines() if "vol-2" in line)
    assert row.split()[:5] == ["shop", "vol-2", "Inaccessible", "IOError", "Controller"]
    assert "read and write I/O errors" in row
    assert "hung.example.com" in table.out  # nobody asked it, and that is told
    assert explained.status == 1
    assert explained.out.startswith("CLAIM      shop/vol-2 (Bound, volume pv-shop-vol-2)\n")
    for words in (
        "VERDICT    Unknown",
        "Inaccessible/IOError: read and write",
        "rule: ",
        "if it is still said in 2m",
    ):
        assert words in explained.out

    as_json, as_yaml = await asyncio.gather(
        laptop.check("-o", "json", good), laptop.check("-o", "yaml", "--explain=shop/vol-1", good)
    )
    assert (as_json.status, as_yaml.status) == (1, 1)
    told = json.loads(as_json.out)
    assert [(one["name"], one["reason"]) for one in told["unhealthy"]] == [("vol-2", "IOError")]
    assert told["status"]["claims"] == {
        "selected": 3,
        "healthy": 2,
        "unhealthy": 1,
        "unknown": 0,
        "unmonitored": 0,
    }
    explained_yaml = yaml.safe_load(as_yaml.out)["explained"]
    assert explained_yaml["claim"] == "shop/vol-1"
    assert [one["says"] for one in explained_yaml["statements"]] == ["Healthy"]

    unreachable, senseless = await asyncio.gather(
        laptop.check(kubeconfig=nowhere), laptop.check("--explain=vol-2", "--wait=soon")
    )
    assert (unreachable.status, unreachable.out) == (2, "")
    assert unreachable.error.startswith("Error: ")
    assert len(unreachable.error.splitlines()) == 1
    assert senseless.status == 2
    assert len(senseless.error.splitlines()) == 2  # all faults at once

    requests = audit.all()
    assert requests
    assert {one.verb for one in requests} <= {"get", "list", "watch"}
    # Agents' reports are no resource of a cluster that nothing is installed in; it does without.
    assert {one.resource for one in requests if one.code in (401, 403)} <= {
        "volumehealthreports",
        "volumehealthpolicies",
    }
