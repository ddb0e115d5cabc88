"""The product installed on a control plane as its users install it, with operators that run as its ServiceAccount."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from support.audit import AuditLog
from support.process import OperatorProcess
from volumehealth.errors import NotFound, NotServed, TooManyRequests
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import API_VERSION, DRIVERS, POLICIES, POLICY_KIND, RECORDS
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects, Object

NAMESPACE = "volumehealth-system"
ACCOUNT = "volumehealth-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/volumehealth-operator"
_POLL = 0.05
_AT_THE_END = re.compile(
    "an error occurred during closing of asynchronous generator "
    "<async_generator object (infinite_watch|streaming_block|continuous_watch|watch_objs|stream|iter_jsonlines) at"
)
"""asyncio's word about generators of Kopf, at the end of a process that lost its Lease and has no time to wait. Of the
product's own it is a problem."""


class Installation:
    """`kubectl apply -k deploy/`, operators with the ServiceAccount's token, and a look at what they tell.

    An async context manager: at its end the operators it started are gone.

    Args:
        plane: a running control plane.
        home: directory for the operators' logs.
    """

    def __init__(self, plane: ControlPlane, home: Path) -> None:
        self.plane = plane
        self.objects = ClusterObjects(plane.kubeconfig)
        self.operators: list[OperatorProcess] = []
        self.audit = AuditLog(plane.audit_log, USER)
        self.may_be_refused = False
        """True in tests that take the operator's rights away."""
        self._home = home
        self.kubeconfig = plane.home / "operator.kubeconfig"
        """The file with which operators log in."""
        self._complete = plane.home / "installed"

    async def __aenter__(self) -> Self:
        await self.objects.__aenter__()
        if not self._complete.exists():
            await self.install()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end_operators()
        await self.objects.__aexit__(kind, error, trace)

    async def _end_operators(self) -> None:
        for operator in self.operators:
            await operator.kill()

    async def forget(self) -> None:
        """End the operators and remove policies, records and the Lease: a later operator would take them up."""
        await self._end_operators()
        if not self._complete.exists():
            return
        await self.objects.delete(f"/apis/{API_VERSION}/{POLICIES}")
        records = (await self.objects.get(f"/apis/{API_VERSION}/{RECORDS}"))["items"]
        for namespace in {record["metadata"]["namespace"] for record in records}:
            await self.objects.delete(f"/apis/{API_VERSION}/namespaces/{namespace}/{RECORDS}")
        await self.objects.delete(LEASE)

    def log_problems(self) -> list[str]:
        """Return what must not be: requests of the operators that were refused, and tracebacks in their logs."""
        refused = (
            [] if self.may_be_refused else [str(one) for one in self.audit.all() if one.code in (401, 403)]
        )
        lines = (
            f"{operator.program.name}: {line}"
            for operator in self.operators
            for line in operator.log()
            if line.get("raw") or "exception" in line or line.get("level") == "critical"
            if not _AT_THE_END.match(str(line.get("message")))
        )
        return [*refused, *lines]

    async def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as admin, with `text` as its standard input; SandboxError if it fails."""
        return await asyncio.to_thread(self.plane.kubectl, *arguments, input=text)

    async def install(self) -> None:
        """Apply deploy/ and get the ServiceAccount's token."""
        await self.kubectl("apply", "-k", str(asset("deploy")))
        await self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        await until(self._served, "our kinds are served")
        token = await asyncio.to_thread(self.plane.create_token, NAMESPACE, ACCOUNT)
        self.plane.write_kubeconfig(self.kubeconfig, token, user=ACCOUNT)
        self._complete.touch()

    async def _served(self) -> bool:
        try:
            for kind in (POLICIES, RECORDS):
                await self.objects.get(f"/apis/{API_VERSION}/{kind}")
        except (NotFound, NotServed, TooManyRequests):  # not yet, or "storage is (re)initializing"
            return False
        return True

    async def uninstall(self, what: Path) -> float:
        """Delete deploy/, or only crds/, and wait for all of it to be gone; return how many seconds that took."""
        self._complete.unlink(missing_ok=True)
        before = time.monotonic()
        await self.kubectl("delete", "-k", str(what), "--timeout=60s")
        return time.monotonic() - before

    # Operators.

    async def operator(
        self,
        endpoints: Sequence[str] = (),
        *,
        arguments: Sequence[str] = (),
        name: str = "",
        kubeconfig: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> OperatorProcess:
        """Start an operator; its endpoints are values of `--csi-endpoint`, its way to the API server the usual one."""
        operator = OperatorProcess(
            name or f"operator-{len(self.operators) + 1}",
            home=self._home,
            kubeconfig=kubeconfig or self.kubeconfig,
            endpoints=endpoints,
            arguments=arguments,
            environment=environment,
        )
        self.operators.append(operator)
        await operator.start()
        return operator

    # Policies and what is told.

    async def policy(self, name: str, **spec: Any) -> None:
        """Apply a policy with real kubectl."""
        await self.kubectl("apply", "-f", "-", text=policy_text(name, spec))

    async def status(self, name: str) -> Mapping[str, Any]:
        """Return a policy's status; empty while there is none."""
        status: Mapping[str, Any] = (await self.objects.get(policy_path(name))).get("status") or {}
        return status

    async def driver(self, name: str) -> Mapping[str, Any]:
        """Return the status of a VolumeHealthDriver; empty while there is none."""
        try:
            found = await self.objects.get(f"/apis/{API_VERSION}/{DRIVERS}/{name}")
        except NotFound:
            return {}
        status: Mapping[str, Any] = found.get("status") or {}
        return status

    async def driver_is(self, name: str, *states: str) -> Mapping[str, Any]:
        """Wait until a VolumeHealthDriver is in one of these states, and return its status."""

        async def is_so() -> bool:
            return (await self.driver(name)).get("state") in states

        await until(is_so, f"{name} is {' or '.join(states)}")
        return await self.driver(name)

    async def condition(self, policy: str, kind: str) -> Mapping[str, str]:
        """Return a policy's condition; empty while there is none."""
        for one in (await self.status(policy)).get("conditions") or ():
            if one["type"] == kind:
                condition: Mapping[str, str] = one
                return condition
        return {}

    async def record(self, claim: ClaimRef) -> Object | None:
        """Return a claim's VolumeHealth, or None if it has none."""
        path = f"/apis/{API_VERSION}/namespaces/{claim.namespace}/{RECORDS}/{claim.name}"
        try:
            return await self.objects.get(path)
        except (NotFound, NotServed):
            return None

    async def events(self, namespace: str) -> list[Object]:
        """Return the Events of a namespace."""
        items: list[Object] = (await self.objects.get(f"/api/v1/namespaces/{namespace}/events"))["items"]
        return items

    async def told(self, namespace: str, reason: str) -> set[str]:
        """Return the objects, as `Kind/name`, that have an Event with this reason."""
        return {
            f"{event['involvedObject']['kind']}/{event['involvedObject']['name']}"
            for event in await self.events(namespace)
            if event["reason"] == reason
        }


def policy_path(name: str) -> str:
    """Return the path of a policy at the API server."""
    return f"/apis/{API_VERSION}/{POLICIES}/{name}"


def policy_text(name: str, spec: Mapping[str, Any]) -> str:
    """Write a policy as a file of a user would hold it."""
    manifest = {
        "apiVersion": API_VERSION,
        "kind": POLICY_KIND,
        "metadata": {"name": name},
        "spec": dict(spec),
    }
    return yaml.safe_dump(manifest, sort_keys=False)


async def until(condition: Callable[[], Awaitable[object]], what: str, *, within: float = 30.0) -> float:
    """Wait until something is so, and return how many seconds that took.

    Raises:
        AssertionError: if it is not so in time.
    """
    before = time.monotonic()
    while not await condition():
        if time.monotonic() - before > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        await asyncio.sleep(_POLL)
    return time.monotonic() - before
