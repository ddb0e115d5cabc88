"""The ServiceAccount's rights against what the operator asks for: none is missing, and none is there for nothing.

In: a short but whole working day of an operator. Out: the API server's audit log.
"""

from collections.abc import Iterator

import pytest
import yaml

from support.audit import Request
from support.installation import ACCOUNT, Installation, until
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import API_VERSION, DRIVER_KIND, DRIVERS
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""


async def rights_given(installed: Installation) -> set[Right]:
    """Read from deploy/, as kustomize renders it, every right that is bound to the operator's ServiceAccount."""
    rendered = await installed.kubectl("kustomize", str(asset("deploy")))
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    roles = {(one["kind"], one["metadata"]["name"]): one for one in objects if one["kind"].endswith("Role")}
    bound = {
        (one["roleRef"]["kind"], one["roleRef"]["name"])
        for one in objects
        if one["kind"].endswith("RoleBinding")
        and any(subject["name"] == ACCOUNT for subject in one["subjects"])
    }
    return {
        (group, resource, verb)
        for role in bound
        for rule in roles[role]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def rights_used(requests: list[Request]) -> Iterator[Right]:
    """Say which rights requests took; a server-side apply that made its object took the right to create, too."""
    for one in requests:
        yield one.group, one.resource, one.verb
        if (one.verb, one.code) == ("patch", 201):
            yield one.group, one.resource, "create"


async def test_every_right_is_used_and_nothing_is_refused(installed: Installation) -> None:
    claim = ClaimRef("rights", "data")
    async with SimulatedDriver(name="rights.example.com", volumes=["vol-1"]) as driver:
        await installed.objects.make_namespace("rights")
        await installed.objects.make_claim("rights", "data", driver=driver.name, handle="vol-1")
        await installed.objects.make_pod("rights", "app", ["data"])
        await installed.policy(
            "rights",
            selector={"drivers": [driver.name]},
            interval="5s",
            unhealthyAfter="0s",
            healthyAfter="0s",
        )
        unused = {"apiVersion": API_VERSION, "kind": DRIVER_KIND, "metadata": {"name": "gone.example.com"}}
        await installed.objects.post(f"/apis/{API_VERSION}/{DRIVERS}", unused)
        await installed.objects.make_pod("rights", "waits", ["data"], node="worker-1", phase="Pending")
        operator = await installed.operator([driver.endpoint])

        async def recorded(health: str) -> bool:
            record = await installed.record(claim)
            return record is not None and record["status"]["health"] == health

        async def raised() -> bool:
            events = await installed.events("default")
            return any(event["involvedObject"]["name"] == "rights" and event["count"] > 1 for event in events)

        async def asked_why() -> bool:
            return any(one.resource == "events" and one.verb == "list" for one in installed.audit.all())

        for health in ("Unhealthy", "Recovered", "Unhealthy"):
            if health == "Unhealthy":
                driver.fault("vol-1", Fault.IO_ERRORS)
            else:
                driver.clear("vol-1")
            await until(lambda health=health: recorded(health), health)  # type: ignore[misc]  # bound now
        await until(raised, "the policy's own Event is told again, not made again")
        await until(asked_why, "the Events of a Pod that waits for its volume are listed", within=60)
        await installed.kubectl("delete", "vhp", "rights")

        async def gone() -> bool:
            return await installed.record(claim) is None

        await until(gone, "the record of a deleted policy is removed")
        await operator.stop()

    requests = installed.audit.all()
    assert [str(one) for one in requests if one.code in (401, 403)] == []
    objects = [one for one in requests if one.resource]
    assert await rights_given(installed) == set(rights_used(objects))
