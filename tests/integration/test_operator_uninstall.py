"""Everything is deleted at once, with policies and records there, an operator running or dead: nothing hangs.

In: `kubectl delete -k deploy/`. Out: how long it takes, what is left, and how the operator bears it.
"""

import asyncio
import logging
import time

import pytest

from support.installation import Installation, until
from support.process import LEASE_LOST, OperatorProcess
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
CRDS, DEPLOY = asset("crds"), asset("deploy")


def namespace_of(driver: SimulatedDriver) -> str:
    """Return the namespace of a driver's claim."""
    return driver.name.partition(".")[0]


async def bad_claim(installed: Installation, driver: SimulatedDriver) -> None:
    """Make a claim with a fault."""
    namespace = namespace_of(driver)
    await installed.objects.make_namespace(namespace)
    await installed.objects.make_claim(namespace, "vol-1", driver=driver.name, handle="vol-1")
    driver.fault("vol-1", Fault.IO_ERRORS)


async def everything_there(
    installed: Installation, driver: SimulatedDriver, *arguments: str
) -> OperatorProcess:
    """Have an operator, two policies and a record."""
    operator = await installed.operator([driver.endpoint], arguments=arguments)
    await policies(installed, driver)
    return operator


async def policies(installed: Installation, driver: SimulatedDriver) -> None:
    """Apply two policies and wait for the record of the bad claim."""
    await installed.policy("uninstall", selector={"drivers": [driver.name]}, **AT_ONCE)
    await installed.policy("nothing", selector={"drivers": ["other.example.com"]})

    async def recorded() -> bool:
        return await installed.record(ClaimRef(namespace_of(driver), "vol-1")) is not None

    await until(recorded, "the fault is recorded", within=60)


async def left_over(installed: Installation) -> list[str]:
    """Name everything that `deploy/` installs; agents are installed and removed apart, and other tests leave theirs."""
    kinds = "crd,clusterrole,clusterrolebinding,namespace"
    names = (await installed.kubectl("get", kinds, "-o", "name")).splitlines()
    return [name for name in names if "volumehealth" in name and "volumehealth-agent" not in name]


async def test_everything_is_deleted_within_a_minute_whether_an_operator_runs_or_is_dead(
    installed: Installation,
) -> None:
    """Acceptance 6, twice."""
    async with SimulatedDriver(name="uninstall.example.com") as driver:
        await bad_claim(installed, driver)

        running = await everything_there(installed, driver)
        installed.may_be_refused = True
        took = await installed.uninstall(DEPLOY)
        log.info("deleted in %.1f s with an operator running", took)
        assert took < 60
        assert await left_over(installed) == []
        # Its Lease went with the namespace: it ends, as a Pod of a deleted Deployment would anyway.
        assert await running.ended(within=20) in LEASE_LOST
        assert installed.log_problems() == []

        await installed.install()
        dead = await everything_there(installed, driver)
        await dead.kill()
        took = await installed.uninstall(DEPLOY)
        log.info("deleted in %.1f s with a dead operator", took)
        assert took < 60
        assert await left_over(installed) == []
        await installed.install()


async def test_an_operator_starts_over_once_when_its_apis_vanish_and_waits_until_they_are_back(
    installed: Installation,
) -> None:
    """Kopf looks for a CRD only at its start: so the process ends, and the next one waits. No crash loop."""
    async with SimulatedDriver(name="vanish.example.com") as driver:
        await bad_claim(installed, driver)
        operator = await everything_there(installed, driver, "--no-leader-elect")
        installed.may_be_refused = (
            True  # a record that is deleted is written again: refused while its CRD goes
        )
        took = await installed.uninstall(CRDS)
        log.info("the CRDs are deleted in %.1f s", took)
        assert took < 60
        assert await operator.ended(within=30) == 1

        lines = operator.log_length
        await operator.start()  # as a kubelet would

        async def alive() -> bool:
            return (await operator.page("/healthz"))[0] == 200

        await until(alive, "it is alive, and waits")
        await asyncio.sleep(8)
        operator.program.check_alive()
        assert await alive()
        said = [line["message"] for line in operator.log(after=lines)]
        assert said.count("waiting for the CustomResourceDefinition") == 1
        assert installed.log_problems() == []

        await installed.install()
        before = time.monotonic()
        await policies(installed, driver)
        log.info("it goes on %.1f s after the policies are back", time.monotonic() - before)
        operator.program.check_alive()
