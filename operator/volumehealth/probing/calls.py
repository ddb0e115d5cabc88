"""The calls that a prober makes, whatever the driver's generation, each with a deadline and counted."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar

from volumehealth.csi.types import DriverInfo, VolumePage
from volumehealth.errors import CsiError
from volumehealth.model.clock import Clock
from volumehealth.model.health import Condition
from volumehealth.probing.plan import Plan

IDENTIFY = "Identify"
"""Name under which the up to four calls that identify a driver are counted as one."""
PROBE = "Probe"
OK = "OK"


class ProbeMetrics(Protocol):
    """Who counts calls."""

    def observe_call(self, driver: str, method: str, *, code: str, seconds: float) -> None:
        """Count one call: the CSI method's name, the gRPC status' name, and how long it took."""


class DriverCalls(Protocol):
    """What of `csi.client.CsiClient` a prober uses."""

    @property
    def connected(self) -> bool:
        """See CsiClient."""

    async def identify(self, timeout: float) -> DriverInfo:
        """See CsiClient."""

    async def probe(self, timeout: float) -> bool:
        """See CsiClient."""

    async def list_volumes(self, max_entries: int, token: str, *, timeout: float) -> VolumePage:
        """See CsiClient."""

    async def get_volume(self, handle: str, timeout: float) -> tuple[Condition, ...] | None:
        """See CsiClient."""

    async def list_volume_health(
        self, max_entries: int, token: str, *, secrets: Mapping[str, str], timeout: float
    ) -> VolumePage:
        """See CsiClient."""

    async def get_volume_health(
        self, handle: str, *, secrets: Mapping[str, str], timeout: float
    ) -> tuple[Condition, ...] | None:
        """See CsiClient."""


_T = TypeVar("_T")


class Calls:
    """One driver's calls. All raise CsiError only.

    Attributes:
        timeout: seconds that one call may take.
        secrets: what CSI 1.13's health calls take along.
    """

    def __init__(
        self, driver: DriverCalls, clock: Clock, *, observe: Callable[[str, str, float], None]
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._observe = observe
        self.timeout = 15.0
        self.secrets: Mapping[str, str] = MappingProxyType({})

    @property
    def connected(self) -> bool:
        """Whether the connection of the last call still stands."""
        return self._driver.connected

    async def identify(self) -> DriverInfo:
        """Ask who the driver is and what it can do."""
        return await self._counted(IDENTIFY, self._driver.identify(self.timeout))

    async def probe(self) -> bool:
        """Ask whether the driver is ready."""
        return await self._counted(PROBE, self._driver.probe(self.timeout))

    async def page(self, plan: Plan, max_entries: int, token: str) -> VolumePage:
        """Ask for a page of the list that the plan names."""
        if plan.legacy:
            pages: Awaitable[VolumePage] = self._driver.list_volumes(max_entries, token, timeout=self.timeout)
        else:
            pages = self._driver.list_volume_health(
                max_entries, token, secrets=self.secrets, timeout=self.timeout
            )
        return await self._counted(plan.list_call, pages)

    async def volume(self, plan: Plan, handle: str) -> tuple[Condition, ...] | None:
        """Ask about one volume: its adverse conditions, none if it is healthy, None if the driver does not say."""
        if plan.legacy:
            asked = self._driver.get_volume(handle, timeout=self.timeout)
        else:
            asked = self._driver.get_volume_health(handle, secrets=self.secrets, timeout=self.timeout)
        return await self._counted(plan.get_call, asked)

    async def _counted(self, method: str, call: Awaitable[_T]) -> _T:
        start = self._clock.monotonic()
        try:
            answer = await call
        except CsiError as error:
            self._observe(method, error.code, self._clock.monotonic() - start)
            raise
        self._observe(method, OK, self._clock.monotonic() - start)
        return answer
