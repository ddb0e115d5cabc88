"""The place where things are measured: control plane, drivers, operator, and what the API server's audit log says."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks.bulkdriver import Order, Told, order
from benchmarks.etcd import NAMESPACES, Population
from benchmarks.watched import Watch
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects
from volumehealth_sandbox.processes import Program

NAMESPACE, ACCOUNT = "volumehealth-system", "volumehealth-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
_POLICIES = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies"
_RECORDS = "/apis/volumehealth.dev/v1alpha1/volumehealths?limit=1"
_APPLY = "application/apply-patch+yaml"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Driver:
    """A bulk driver in a process of its own."""

    name: str
    prefix: str
    volumes: int
    lists: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the operator, from the audit log. Times are wall clock seconds."""

    verb: str
    resource: str
    name: str
    code: int
    begun: float
    ended: float

    @property
    def writes(self) -> bool:
        """Tell whether it changes anything."""
        return self.verb not in ("get", "list", "watch")


@dataclass(slots=True)
class Bench:
    """Everything that runs. Made by `bench()`."""

    home: Path
    plane: ControlPlane
    objects: ClusterObjects
    population: Population
    token: str = ""
    programs: list[Program] = field(default_factory=list)
    _runs: int = 0
    _audit_at: int = 0

    # ---- floors ----

    async def floor(self, program: str, *arguments: object) -> list[float]:
        """Run a floor in a process of its own; return the numbers that it prints."""
        command = [sys.executable, "-P", "-m", f"benchmarks.floors.{program}", *map(str, arguments)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=_environment()
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the floor {program} failed")
        return [float(number) for number in out.split()]

    @property
    def server(self) -> tuple[str, str, str]:
        """What a floor needs to talk to the API server as the operator does."""
        return self.plane.url, str(self.plane.ca_file), self.token

    # ---- drivers ----

    def endpoint(self, driver: Driver) -> str:
        """Return where a driver answers."""
        return f"unix://{self.home / driver.name}.sock"

    @contextlib.asynccontextmanager
    async def running(self, *drivers: Driver) -> AsyncIterator[None]:
        """Run drivers."""
        programs = []
        for driver in drivers:
            command = (
                sys.executable, "-P", "-m", "benchmarks.bulkdriver", self.endpoint(driver), driver.name,
                driver.prefix, str(driver.volumes), *([] if driver.lists else ["no-list"]),
            )  # fmt: skip
            program = self._program(driver.name, command)
            program.start()
            programs.append(program)
            await self.tell(driver, Order())
        try:
            yield
        finally:
            for program in programs:
                await asyncio.to_thread(program.stop)

    async def tell(self, driver: Driver, wanted: Order) -> Told:
        """Give a driver an order and hear how it fares."""
        return await order(self.endpoint(driver), wanted)

    # ---- policies ----

    async def policy(self, name: str, **spec: object) -> None:
        """Let a policy be there."""
        body = {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealthPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }
        await self.apply(_POLICIES, body)

    async def apply(self, path: str, body: Object) -> Object:
        """Let an object be as given, in a collection."""
        query = {"fieldManager": "bench", "force": "true"}
        name = body["metadata"]["name"]
        return await self.objects._send(
            "PATCH", f"{path}/{name}", body=body, content_type=_APPLY, query=query
        )

    async def ensure_node(self, name: str) -> Object:
        """Let a node be there, ready."""
        await self.objects.make_node(name)
        return {}

    async def removed(self, path: str) -> Object:
        """Let an object be gone."""
        await self.objects.delete(path)
        return {}

    async def no_policies(self) -> None:
        """Let no policy be there."""
        for one in (await self.objects.get(_POLICIES))["items"]:
            await self.objects.delete(f"{_POLICIES}/{one['metadata']['name']}")

    async def no_events(self) -> None:
        """Delete all Events of the population: the same trouble of the same claim is told by the same Event."""
        spaces = (f"/api/v1/namespaces/bench-{number:02}/events" for number in range(NAMESPACES))
        await self.objects.all_of(self.removed(path) for path in spaces)

    async def no_records(self, *, within: float = 120.0) -> None:
        """Wait until the operator has taken back all records: the next one would go on from what is left."""
        async with asyncio.timeout(within):
            while (await self.objects.get(_RECORDS))["items"]:  # noqa: ASYNC110 - only the server can tell
                await asyncio.sleep(0.5)

    async def status(self, name: str) -> Object:
        """Return the status of a policy."""
        status: Object = (await self.objects.get(f"{_POLICIES}/{name}")).get("status") or {}
        return status

    # ---- the operator ----

    @contextlib.asynccontextmanager
    async def operator(self, *drivers: Driver, flags: Sequence[str] = ()) -> AsyncIterator["Operator"]:
        """Run an operator under its deployed ServiceAccount."""
        self._runs += 1
        path = self.home / f"watch-{self._runs}.sock"
        config = self.home / "operator.kubeconfig"
        self.plane.write_kubeconfig(config, self.token, user=ACCOUNT)
        command = (
            sys.executable, "-P", "-m", "benchmarks.watched", str(path),
            f"--kubeconfig={config}", f"--namespace={NAMESPACE}",
            "--metrics-address=", "--health-address=",
            *(f"--csi-endpoint={one.name}={self.endpoint(one)}" for one in drivers),
            *flags,
        )  # fmt: skip
        program = self._program(f"operator-{self._runs}", command)
        begun = time.monotonic()
        program.start()
        try:
            yield Operator(program, path, begun)
        finally:
            await asyncio.to_thread(partial(program.stop, grace=25.0))  # else the next waits for the Lease

    def _program(self, name: str, command: Sequence[str]) -> Program:
        program = Program(name, lambda: command, home=self.home, environment=_environment())
        self.programs.append(program)
        return program

    # ---- the audit log ----

    def skip_audit(self) -> None:
        """Forget what the audit log holds so far."""
        self._audit_at = self.plane.audit_log.stat().st_size

    def audited(self, user: str = USER) -> list[Request]:
        """Return the requests of a user, the operator's, that ended since the last call."""
        with self.plane.audit_log.open("rb") as file:
            file.seek(self._audit_at)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._audit_at += whole
        return [one for line in data[:whole].splitlines() for one in _request(line, user)]

    async def writes_within(self, seconds: float) -> Counter[str]:
        """Count what the operator writes in so many seconds, by resource; the Lease apart."""
        self.skip_audit()
        await asyncio.sleep(seconds)
        await asyncio.sleep(0.2)
        return Counter(one.resource for one in self.audited() if one.writes)


@dataclass(slots=True)
class Operator:
    """A running operator.

    Attributes:
        begun: when its process was started, monotonic.
    """

    program: Program
    path: Path
    begun: float

    async def watch(self, what: str = "read") -> Watch:
        """Ask its watch: `read`, `reset` (reads, then forgets), `check` (checks every policy now) or `collect`."""
        for _ in range(600):
            self.program.check_alive()
            with contextlib.suppress(OSError):
                return await asyncio.to_thread(partial(_ask, self.path, what))
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the operator does not answer:\n{self.program.tail()}")

    async def until(self, done: Callable[[Watch], object], *, within: float, step: float = 0.1) -> Watch:
        """Wait until its watch satisfies a predicate."""
        deadline = time.monotonic() + within
        while True:
            watch = await self.watch()
            if done(watch):
                return watch
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {within:.0f} s: {watch}\n{self.program.tail()}")
            await asyncio.sleep(step)

    async def settled(self, *, within: float = 120.0) -> Watch:
        """Wait for the first complete verdict."""
        return await self.until(lambda watch: watch.verdict, within=within)


def _ask(path: Path, what: str) -> Watch:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(what.encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
    return msgspec.json.decode(answer, type=Watch)


def _request(line: bytes, user: str) -> Iterator[Request]:
    if user.encode() not in line:
        return
    row = json.loads(line)
    if row["user"]["username"] == user and row["stage"] == "ResponseComplete":
        about = row.get("objectRef", {})
        yield Request(
            row["verb"],
            "/".join(part for part in (about.get("resource", ""), about.get("subresource", "")) if part),
            about.get("name", ""),
            row.get("responseStatus", {}).get("code", 0),
            datetime.fromisoformat(row["requestReceivedTimestamp"]).timestamp(),
            datetime.fromisoformat(row["stageTimestamp"]).timestamp(),
        )


def _environment() -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
    }


@contextlib.asynccontextmanager
async def bench(home: Path) -> AsyncIterator[Bench]:
    """Start a control plane with the product installed as `deploy/` says, but for the Deployment."""
    async with ControlPlane(home / "plane", say=lambda line: print(line, file=sys.stderr)) as plane:
        built = await asyncio.to_thread(plane.kubectl, "kustomize", str(asset("deploy")))
        kept = [one for one in yaml.safe_load_all(built) if one and one["kind"] != "Deployment"]
        text = yaml.safe_dump_all(kept)
        await asyncio.to_thread(lambda: plane.kubectl("apply", "--server-side", "-f", "-", input=text))
        await asyncio.to_thread(
            plane.kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"
        )
        token = await asyncio.to_thread(partial(plane.create_token, NAMESPACE, ACCOUNT))
        async with ClusterObjects(plane.kubeconfig) as objects:
            etcd = f"http://127.0.0.1:{plane.layout.etcd_port}"
            place = Bench(home, plane, objects, Population(objects, etcd), token)
            await place.population.prepare()
            try:
                yield place
            finally:
                for program in reversed(place.programs):
                    await asyncio.to_thread(program.stop)
