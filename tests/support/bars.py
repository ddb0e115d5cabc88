"""What tests of faults on the real API server share: how long they are, the claims they watch, and who was told what.

In: `VOLUMEHEALTH_LONG=1` for the figures of `make nightly`. Out: counts of Events, restarts, faults on the way.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from support.installation import Installation
from support.process import LEASE_LOST, OperatorProcess
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth.model.vocabulary import API_VERSION, RECORDS
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.objects import ClaimSpec

LONG = os.environ.get("VOLUMEHEALTH_LONG") == "1"
"""Whether the figures are those of the night."""
AT_ONCE = {"interval": "5s", "unhealthyAfter": "0s", "healthyAfter": "0s"}
ABNORMAL, NORMAL = "VolumeConditionAbnormal", "VolumeConditionNormal"
_LOOK = 0.2
_RESTART = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """What people were told in one namespace.

    Attributes:
        times: by (reason, object as `Kind/name`): how often, counted with the Events' own counts.
    """

    times: Counter[tuple[str, str]]

    def repeated(self, most: int = 1) -> list[tuple[str, str]]:
        """Return what was told more often than that."""
        return sorted(what for what, count in self.times.items() if count > most)

    def of(self, reason: str) -> set[str]:
        """Return the objects that were told this."""
        return {about for one, about in self.times if one == reason}


async def told(installed: Installation, namespace: str) -> Told:
    """Read the Events of a namespace."""
    times: Counter[tuple[str, str]] = Counter()
    for event in await installed.events(namespace):
        about = event["involvedObject"]
        times[event["reason"], f"{about['kind']}/{about['name']}"] += event["count"]
    return Told(times)


async def await_told(
    installed: Installation,
    namespace: str,
    handles: Iterable[str],
    reason: str,
    *,
    times: int = 1,
    within: float = 180.0,
) -> float:
    """Wait until claims and Pods were told something so often; return how many seconds that took.

    Raises:
        AssertionError: if it does not come in time; with those who were not told.
    """
    everybody, began = objects_of(handles), time.monotonic()
    while True:
        now = await told(installed, namespace)
        lost = sorted(about for about in everybody if now.times[reason, about] < times)
        if not lost:
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise AssertionError(f"{len(lost)} were not told {reason} within {within:g} s: {lost[:5]}")
        await asyncio.sleep(_LOOK)


def objects_of(handles: Iterable[str]) -> set[str]:
    """Return the claim and the Pod of each volume, as Events name them."""
    return {
        name for handle in handles for name in (f"PersistentVolumeClaim/claim-{handle}", f"Pod/pod-{handle}")
    }


async def healths(installed: Installation, namespace: str) -> dict[str, str]:
    """Return what each record says, by the handle of its volume."""
    found = await installed.objects.get(f"/apis/{API_VERSION}/namespaces/{namespace}/{RECORDS}")
    return {
        record["metadata"]["name"].removeprefix("claim-"): record["status"]["health"]
        for record in found["items"]
    }


async def make_claims(
    installed: Installation, driver: SimulatedDriver, namespace: str, *, pods_of: Iterable[str]
) -> None:
    """Make a claim for each volume of the driver, and a Pod for each of those that are named."""
    await installed.objects.make_namespace(namespace)
    await installed.objects.make_claims(
        ClaimSpec(namespace, claim_of(namespace, handle).name, VolumeId(driver.name, handle))
        for handle in driver.volumes
    )
    await installed.objects.all_of(
        installed.objects.make_pod(namespace, f"pod-{handle}", [f"claim-{handle}"]) for handle in pods_of
    )


def claim_of(namespace: str, handle: str) -> ClaimRef:
    """Return the claim of a volume."""
    return ClaimRef(namespace, f"claim-{handle}")


async def unhealthy(installed: Installation, policy: str) -> int:
    """Return how many claims a policy calls unhealthy; -1 while it says nothing."""
    claims = (await installed.status(policy)).get("claims", {})
    return int(claims.get("unhealthy", -1))


class Restarter:
    """Starts an operator again whenever it has ended because its Lease was lost, as its Deployment would.

    An async context manager.

    Args:
        operator: which one.
    """

    def __init__(self, operator: OperatorProcess) -> None:
        self._operator = operator
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0

    async def __aenter__(self) -> "Restarter":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if not self._operator.program.alive:
                assert self._operator.program.exit_status in LEASE_LOST, self._operator.program.tail()
                self.restarts += 1
                await asyncio.sleep(_RESTART)
                await self._operator.start()
