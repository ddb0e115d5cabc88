"""What the sandbox's API server says now, and waiting until it says what it should."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from volumehealth.errors import SandboxError
from volumehealth_sandbox.demo_objects import NAMESPACE, POLICY
from volumehealth_sandbox.world import Sandbox

_LOOK_EVERY = 0.3

Check = Callable[[], str]
"""Says what is still missing; nothing if all is there."""


@dataclass(frozen=True, slots=True)
class Told:
    """What to wait for, and how long at most."""

    what: str
    check: Check
    within: float = 60.0


def await_told(sandbox: Sandbox, told: Told) -> float:
    """Wait until a check finds nothing missing; returns the seconds it took.

    Raises:
        SandboxError: if it takes too long or a program ends; it says what is missing and what the operator logged.
    """
    began = time.monotonic()
    while missing := told.check():
        sandbox.check_alive()
        if time.monotonic() - began > told.within:
            raise SandboxError(
                f"waited {told.within:.0f} s for {told.what}, but {missing}.\n"
                f"The end of {sandbox.operator.log}:\n{sandbox.operator.tail(25)}"
            )
        time.sleep(_LOOK_EVERY)
    return time.monotonic() - began


class Look:
    """Checks of what the operator has told."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def policy_says(self, healthy: str, *, unhealthy: int) -> str:
        """The policy's condition VolumesHealthy and its count of unhealthy claims."""
        status = self._read("get", "vhp", POLICY).get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        now = conditions.get("VolumesHealthy", "not there yet")
        count = status.get("claims", {}).get("unhealthy", 0)
        if now == healthy and count == unhealthy:
            return ""
        return f"VolumesHealthy is {now} with {count} unhealthy claims (wanted: {healthy} with {unhealthy})"

    def healthy_by_node(self, claims: int) -> str:
        """How many claims are healthy on their nodes' word."""
        now = self._read("get", "vhp", POLICY).get("status", {}).get("claims", {}).get("healthyByNode", 0)
        return "" if now == claims else f"{now} claims are healthy on their nodes' word (wanted: {claims})"

    def uid_of(self, pod: str) -> str:
        """The uid of a Pod of the shop."""
        return str(self._read("get", "pod", pod, "-n", NAMESPACE)["metadata"]["uid"])

    def record_says(self, claim: str, health: str) -> str:
        """The health of a claim's record."""
        records = self._read("get", "volumehealth", "-n", NAMESPACE)["items"]
        named = {one["metadata"]["name"]: one.get("status", {}).get("health", "") for one in records}
        now = named.get(claim, "missing")
        return "" if now == health else f"the record of {claim} is {now} (wanted: {health})"

    def events_tell(self, reason: str, objects: Iterable[str]) -> str:
        """Events of one reason on objects such as `Pod/web-0`."""
        events = self._read("get", "events", "-n", NAMESPACE)["items"]
        told = {
            f"{one['involvedObject']['kind']}/{one['involvedObject']['name']}"
            for one in events
            if one["reason"] == reason
        }
        silent = sorted(set(objects) - told)
        return f"there is no {reason} event on {', '.join(silent)}" if silent else ""

    def _read(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._sandbox.control_plane.kubectl(*arguments, "-o", "json"))
        return answer


def first_missing(*checks: Check) -> Check:
    """Make one check of several, asked in order."""

    def check() -> str:
        return next((missing for one in checks if (missing := one())), "")

    return check
