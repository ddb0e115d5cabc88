"""A policy's life under a running operator: changed, broken, suspended, overridden, deleted.

In: policies applied by kubectl. Out: what they say, what is left of them.
"""

import asyncio
import json
from typing import Any

import pytest

from support.installation import Installation, policy_path, policy_text, until
from volumehealth.errors import SandboxError
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/volumehealthpolicies.volumehealth.dev"


async def make_claims(installed: Installation, driver: SimulatedDriver, namespace: str) -> None:
    """Make a claim for each volume of the driver, labelled with its number."""
    await installed.objects.make_namespace(namespace)
    for number, handle in enumerate(driver.volumes):
        await installed.objects.make_claim(
            namespace, handle, driver=driver.name, handle=handle, labels={"number": str(number)}
        )


async def counts(installed: Installation, policy: str) -> dict[str, int]:
    """Return `status.claims`."""
    return dict((await installed.status(policy)).get("claims", {}))


async def says(installed: Installation, policy: str, kind: str, status: str, reason: str) -> bool:
    """Tell whether a condition has a status and a reason."""
    condition = await installed.condition(policy, kind)
    return (condition.get("status"), condition.get("reason")) == (status, reason)


def without_rules(schema: Any) -> Any:
    """Take every CEL rule and pattern out of a schema."""
    if isinstance(schema, list):
        return [without_rules(one) for one in schema]
    if isinstance(schema, dict):
        return {
            name: without_rules(value)
            for name, value in schema.items()
            if name not in ("x-kubernetes-validations", "pattern")
        }
    return schema


async def test_what_a_policy_told_is_taken_back_even_if_it_was_deleted_while_no_operator_ran(
    installed: Installation,
) -> None:
    """No finalizer holds it, and nobody is told that a volume recovered."""
    async with SimulatedDriver(name="deleted.example.com") as driver:
        await make_claims(installed, driver, "deleted")
        driver.fault("vol-1", Fault.IO_ERRORS)
        await installed.policy("deleted", selector={"drivers": [driver.name]}, **AT_ONCE)
        arguments = ["--no-leader-elect"]
        first = await installed.operator([driver.endpoint], arguments=arguments)
        claim = ClaimRef("deleted", "vol-1")

        async def recorded() -> bool:
            return await installed.record(claim) is not None

        await until(recorded, "the fault is recorded")
        assert any('policy="deleted"' in series for series in await first.metrics())
        for path in (policy_path("deleted"), f"{policy_path('deleted').rpartition('/')[0]}"):
            assert "finalizers" not in json.dumps(await installed.objects.get(path))
        record = await installed.record(claim)
        assert record is not None
        assert "finalizers" not in record["metadata"]
        policy = await installed.objects.get(policy_path("deleted"))
        assert set(policy["metadata"].get("annotations", {})) == {
            "kubectl.kubernetes.io/last-applied-configuration"
        }

        await first.kill()
        await installed.kubectl("delete", "vhp", "deleted", "--timeout=10s")
        second = await installed.operator([driver.endpoint], arguments=arguments)

        async def resolved() -> bool:
            return not await recorded()

        await until(resolved, "the record is gone")
        await second.ready()
        assert [series for series in await second.metrics() if "deleted" in series] == []
        assert await installed.told("deleted", "VolumeConditionAbnormal") == {"PersistentVolumeClaim/vol-1"}
        assert await installed.told("deleted", "VolumeConditionNormal") == set()


async def test_a_changed_spec_acts_at_once_and_a_suspended_one_lets_everything_be(
    installed: Installation,
) -> None:
    """The first interval is an hour: whatever happens within seconds happens because the spec changed."""
    async with SimulatedDriver(name="changed.example.com") as driver:
        await make_claims(installed, driver, "changed")
        selector = {"drivers": [driver.name]}
        slow = AT_ONCE | {"interval": "1h"}
        await installed.policy("changed", selector=selector, **slow)
        operator = await installed.operator([driver.endpoint], arguments=["--no-leader-elect"])
        await operator.ready()

        async def healthy(claims: int) -> bool:
            return (await counts(installed, "changed")).get("healthy") == claims

        await until(lambda: healthy(3), "three claims are healthy")
        narrow = selector | {"claimSelector": {"matchLabels": {"number": "0"}}}
        await installed.policy("changed", selector=narrow, **slow)
        assert await until(lambda: healthy(1), "one claim is selected") < 5
        assert (await installed.status("changed"))["observedGeneration"] == 2

        await installed.policy("changed", selector=selector, **AT_ONCE)
        await until(lambda: healthy(3), "three claims again")
        await installed.policy("changed", selector=selector, suspend=True, **AT_ONCE)
        await until(lambda: says(installed, "changed", "Ready", "True", "Suspended"), "it is suspended")
        assert await says(installed, "changed", "VolumesHealthy", "Unknown", "Suspended")
        calls = driver.calls["ListVolumes"]
        driver.fault("vol-1", Fault.IO_ERRORS)
        await asyncio.sleep(7)
        assert driver.calls["ListVolumes"] <= calls + 1  # one that was under way
        assert await installed.events("changed") == []

        await installed.policy("changed", selector=selector, **AT_ONCE)
        await until(
            lambda: says(installed, "changed", "VolumesHealthy", "False", "VolumesUnhealthy"),
            "the fault is told",
        )
        assert await says(installed, "changed", "Ready", "True", "Checking")


async def test_of_two_policies_the_higher_one_holds_the_claims_and_the_other_counts_them(
    installed: Installation,
) -> None:
    """When the higher one goes, the other takes over: `since` stays and nobody is told anything."""
    async with SimulatedDriver(name="priority.example.com") as driver:
        await make_claims(installed, driver, "priority")
        driver.fault("vol-1", Fault.IO_ERRORS)
        selector = {"drivers": [driver.name]}
        await installed.policy("low", selector=selector, **AT_ONCE)
        narrow = selector | {
            "claimSelector": {"matchExpressions": [{"key": "number", "operator": "In", "values": ["0", "1"]}]}
        }
        await installed.policy("high", priority=10, selector=narrow, **AT_ONCE)
        await installed.operator([driver.endpoint], arguments=["--no-leader-elect"])
        claim = ClaimRef("priority", "vol-1")

        async def held_by(policy: str) -> bool:
            record = await installed.record(claim)
            return record is not None and record["status"]["policy"] == policy

        async def counted(policy: str, **expected: int) -> bool:
            return expected.items() <= (await counts(installed, policy)).items()

        await until(lambda: counted("high", selected=2, unhealthy=1, healthy=1), "the higher holds two")
        await until(lambda: counted("low", selected=1, healthy=1, overridden=2), "the lower counts them")
        assert (await installed.status("low"))["overriddenBy"] == [{"policy": "high", "claims": 2}]
        await until(lambda: held_by("high"), "the record names the holder")
        before = await installed.record(claim)
        assert before is not None
        await asyncio.sleep(1)
        told = [event["metadata"]["name"] for event in await installed.events("priority")]

        await installed.kubectl("delete", "vhp", "high")
        await until(lambda: counted("low", selected=3, unhealthy=1, healthy=2), "the lower takes over")
        await until(lambda: held_by("low"), "the record is handed over")
        after = await installed.record(claim)
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["status"]["since"] == before["status"]["since"]
        assert [event["metadata"]["name"] for event in await installed.events("priority")] == told


async def test_a_spec_that_slips_past_the_api_server_is_named_and_the_last_good_one_goes_on(
    installed: Installation,
) -> None:
    """As with a CRD of another version: here it has no rules at all."""
    async with SimulatedDriver(name="invalid.example.com") as driver:
        await make_claims(installed, driver, "invalid")
        await installed.policy("invalid", selector={"drivers": [driver.name]}, **AT_ONCE)
        await installed.operator([driver.endpoint], arguments=["--no-leader-elect"])
        await until(
            lambda: says(installed, "invalid", "VolumesHealthy", "True", "AllHealthy"), "all is healthy"
        )

        crd = await installed.objects.get(CRD)
        await installed.objects.patch(CRD, {"spec": {"versions": without_rules(crd["spec"]["versions"])}})
        try:
            bad = {"selector": {"drivers": [driver.name]}, **AT_ONCE, "interval": "1s"}

            async def taken() -> bool:
                try:
                    await installed.kubectl("apply", "-f", "-", text=policy_text("invalid", bad))
                except SandboxError:  # the old schema is served for a moment
                    return False
                return True

            await until(taken, "the API server takes a bad spec")
            await until(lambda: says(installed, "invalid", "Ready", "False", "InvalidSpec"), "it is named")
            assert "spec.interval" in (await installed.condition("invalid", "Ready"))["message"]
            assert (await installed.status("invalid"))["observedGeneration"] == 2

            driver.fault("vol-1", Fault.IO_ERRORS)
            await until(
                lambda: says(installed, "invalid", "VolumesHealthy", "False", "VolumesUnhealthy"),
                "the last good spec goes on",
            )
            assert await says(installed, "invalid", "Ready", "False", "InvalidSpec")
        finally:
            await installed.install()
        await installed.policy("invalid", selector={"drivers": [driver.name]}, **AT_ONCE)
        await until(lambda: says(installed, "invalid", "Ready", "True", "Checking"), "it is good again")
