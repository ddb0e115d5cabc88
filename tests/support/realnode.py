"""The product on a real node: kubelet, containers and drivers that really mount, the operator and the agent.

Everything is a process of its own, and everything is asked and told through kubectl, as its users do.
"""

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.installation import policy_text
from support.process import OperatorProcess
from volumehealth.errors import SandboxError
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import COLLECTORS, NODE_WATCHER, ControlPlane
from volumehealth_sandbox.driver_control import DriverControl
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.locks import locked
from volumehealth_sandbox.node import NodeSandbox
from volumehealth_sandbox.node_files import IMAGE
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects, Object
from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program
from volumehealth_sandbox.tools import Say

SPACE = "e2e"
"""Namespace of every claim and Pod."""
AGENT_ACCOUNT = "volumehealth-agent"
"""The agent's ServiceAccount and its namespace."""
VOLUME_SIZE = 16 * 1024**2
"""Bytes of every volume."""
_OPERATOR_ACCOUNT = "volumehealth-operator"
_OPERATOR_SPACE = "volumehealth-system"
_POLL = 0.3


@dataclass(frozen=True, slots=True)
class NodeDriver:
    """A driver on the node, and the claims that it has a volume for.

    Attributes:
        name: of the driver.
        generation: which health calls it speaks.
        claims: their names; the handle of the first one's volume is `vol-1`, and so on.
    """

    name: str
    generation: Generation
    claims: tuple[str, ...]

    def handle(self, claim: str) -> str:
        """Return the handle of a claim's volume."""
        return f"vol-{self.claims.index(claim) + 1}"


@dataclass(slots=True)
class _Parts:
    drivers: dict[str, Program] = field(default_factory=dict)
    operator: OperatorProcess | None = None
    agent: Program | None = None


class RealNode:
    """A control plane with one real node, the product installed, and Pods that use every claim. A context manager.

    Args:
        home: directory of the control plane and the logs.
        node_home: of the node; short. A fixed one lets the next session clean up after one that was killed; two
            sessions take turns.
        drivers: what is to run on it.
        pods: names of Pods; each mounts every claim.
        policy: spec of the one policy.
        gate: the feature gate CSIVolumeHealth of API server and kubelet.
        say: is told what takes long.
    """

    def __init__(
        self,
        home: Path,
        node_home: Path,
        *,
        drivers: Iterable[NodeDriver],
        pods: Iterable[str],
        policy: Mapping[str, Any],
        gate: bool,
        say: Say = print,
    ) -> None:
        self.home = home
        self.drivers = {driver.name: driver for driver in drivers}
        self.pods = tuple(pods)
        self._policy = policy
        self._say = say
        self._exit = ExitStack()
        gates = (f"CSIVolumeHealth={str(gate).lower()}",)
        self.plane = ControlPlane(
            home / "plane", feature_gates=gates, controllers=(*COLLECTORS, *NODE_WATCHER), say=say
        )
        self.node = NodeSandbox(
            node_home, self.plane, name="real-node", feature_gates={"CSIVolumeHealth": gate}, say=say
        )
        self._parts = _Parts()
        self._agent_port = free_ports(1)[0]

    # Life.

    def __enter__(self) -> Self:
        lock = self.node.layout.home.with_suffix(".lock")
        with ExitStack() as stack:
            stack.enter_context(locked(lock, lambda: self._say("Another session has the node; waiting.")))
            stack.enter_context(self.plane)
            stack.enter_context(self.node)
            stack.callback(self._stop_product)
            self._start_drivers()
            self._install()
            self._make_claims()
            self._start_pods()
            self._start_product()
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _stop_product(self) -> None:
        if self._parts.operator is not None:
            self._parts.operator.program.stop()
        if self._parts.agent is not None:
            self._parts.agent.stop()
        self._delete_pods()
        for program in self._parts.drivers.values():
            program.stop()

    # Steps.

    def _start_drivers(self) -> None:
        for driver in self.drivers.values():
            program = Program(driver.name, lambda driver=driver: self._driver_command(driver), home=self.home)  # type: ignore[misc]  # a default binds the loop's variable
            self._parts.drivers[driver.name] = program
            program.start()
        self.until(lambda: self.drivers.keys() <= self.node.drivers(), "the kubelet takes the drivers")

    def endpoint(self, driver: str) -> str:
        """Return the socket of a driver, as `unix:///path`."""
        return f"unix://{self.node.layout.kubelet_dir}/plugins/{driver}/csi.sock"

    def _driver_command(self, driver: NodeDriver) -> tuple[str, ...]:
        return (
            *_VOLUMEHEALTH,
            "sandbox",
            "driver",
            f"--endpoint={self.endpoint(driver.name)}",
            f"--name={driver.name}",
            f"--generation={driver.generation}",
            f"--volumes={len(driver.claims)}",
            f"--volume-size={VOLUME_SIZE}",
            f"--node-id={self.node.name}",
            f"--kubelet-dir={self.node.layout.kubelet_dir}",
        )

    def _install(self) -> None:
        """Apply deploy/ and deploy/agent; nobody here makes Pods of Deployments and DaemonSets."""
        self.kubectl("apply", "-k", str(asset("deploy")))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self.kubectl("apply", "-k", str(asset("deploy") / "agent"))

    def _make_claims(self) -> None:
        async def make() -> None:
            async with ClusterObjects(self.plane.kubeconfig) as objects:
                await objects.make_namespace(SPACE)
                for driver in self.drivers.values():
                    await objects.post("/apis/storage.k8s.io/v1/csidrivers", _csi_driver(driver.name))
                await objects.make_claims(
                    ClaimSpec(SPACE, claim, VolumeId(driver.name, driver.handle(claim)))
                    for driver in self.drivers.values()
                    for claim in driver.claims
                )

        asyncio.run(make())

    def _start_pods(self) -> None:
        claims = [claim for driver in self.drivers.values() for claim in driver.claims]
        pods = [_pod(name, claims, node=self.node.name) for name in self.pods]
        self.kubectl("apply", "-f", "-", text=json.dumps({"kind": "List", "apiVersion": "v1", "items": pods}))
        self.until(lambda: self._running() == set(self.pods), "the Pods run", within=90.0)

    def _running(self) -> set[str]:
        pods = self.get("pods", namespace=SPACE)["items"]
        return {pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"}

    def _delete_pods(self) -> None:
        """Let the kubelet unmount what it can while it is there; the sandbox removes the rest."""
        if self.node.kubelet.alive and all(program.alive for program in self._parts.drivers.values()):
            self.kubectl("delete", "pods", "--all", f"--namespace={SPACE}", "--timeout=30s", "--wait=false")

    def _start_product(self) -> None:
        self.kubectl("apply", "-f", "-", text=policy_text("e2e", self._policy))
        token = self.plane.create_token(_OPERATOR_SPACE, _OPERATOR_ACCOUNT)
        kubeconfig = self.plane.write_kubeconfig(
            self.home / "operator.kubeconfig", token, user=_OPERATOR_ACCOUNT
        )
        operator = OperatorProcess(
            "operator",
            home=self.home,
            kubeconfig=kubeconfig,
            endpoints=[self.endpoint(name) for name in self.drivers],
        )
        self._parts.operator = operator
        self._parts.agent = Program("agent", self._agent_command, home=self.home)
        operator.program.start()
        self._parts.agent.start()
        asyncio.run(operator.ready())
        self.until(self.agent_ready, "the agent reports", within=60.0)

    def _agent_command(self) -> tuple[str, ...]:
        return (
            *_VOLUMEHEALTH,
            "agent",
            "node",
            f"--kubeconfig={self._write_agent_kubeconfig()}",
            f"--node-name={self.node.name}",
            f"--kubelet-dir={self.node.layout.kubelet_dir}",
            "--mount-table=/proc/self/mountinfo",
            f"--health-address=127.0.0.1:{self._agent_port}",
            "--log-format=json",
        )

    def _write_agent_kubeconfig(self) -> Path:
        """Write the token of a real Pod on the real node: with it the API server knows where the agent runs."""
        pod = _pod("agent", (), node=self.node.name)
        pod["metadata"]["namespace"] = AGENT_ACCOUNT
        pod["spec"]["serviceAccountName"] = AGENT_ACCOUNT
        self.kubectl("apply", "-f", "-", text=json.dumps(pod))
        token = self.kubectl(
            "create",
            "token",
            AGENT_ACCOUNT,
            f"--namespace={AGENT_ACCOUNT}",
            "--bound-object-kind=Pod",
            "--bound-object-name=agent",
        )
        return self.plane.write_kubeconfig(self.agent_kubeconfig, token.strip(), user=AGENT_ACCOUNT)

    # What tests do to it.

    @property
    def operator(self) -> OperatorProcess:
        """The operator; only while it is set up."""
        if self._parts.operator is None:
            raise SandboxError("there is no operator yet")
        return self._parts.operator

    @property
    def agent(self) -> Program:
        """The node agent; only while it is set up."""
        if self._parts.agent is None:
            raise SandboxError("there is no agent yet")
        return self._parts.agent

    @property
    def agent_kubeconfig(self) -> Path:
        """The kubeconfig that the agent runs with."""
        return self.home / "agent.kubeconfig"

    def agent_ready(self) -> bool:
        """Tell whether the agent says that its report is on the server (/readyz)."""
        url = f"http://127.0.0.1:{self._agent_port}/readyz"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(url, timeout=2).close()
        except OSError:
            return False
        return True

    def driver(self, name: str) -> Program:
        """Return a driver's process."""
        return self._parts.drivers[name]

    def driver_of(self, claim: str) -> NodeDriver:
        """Return the driver of a claim's volume."""
        return next(driver for driver in self.drivers.values() if claim in driver.claims)

    def tell(self, driver: str, what: Callable[[DriverControl], Awaitable[None]]) -> None:
        """Tell a driver what to do."""

        async def tell() -> None:
            async with DriverControl(self.endpoint(driver)) as control:
                await what(control)

        asyncio.run(tell())

    def path(self, claim: str, pod: str) -> Path:
        """Return where the kubelet published a claim's volume for a Pod."""
        uid: str = self.get("pod", pod, namespace=SPACE)["metadata"]["uid"]
        volume = f"pv-{SPACE}-{claim}"
        return self.node.layout.kubelet_dir / "pods" / uid / "volumes/kubernetes.io~csi" / volume / "mount"

    # What tests see of it.

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as admin; SandboxError if it fails."""
        return self.plane.kubectl(*arguments, input=text)

    def get(self, *what: str, namespace: str = "") -> Object:
        """Read an object, or all of a kind."""
        where = [f"--namespace={namespace}"] if namespace else []
        found: Object = json.loads(self.kubectl("get", *what, *where, "-o", "json"))
        return found

    def status(self) -> Object:
        """Return the policy's status; empty while there is none."""
        status: Object = self.get("vhp", "e2e").get("status") or {}
        return status

    def count(self, verdict: str) -> int:
        """Return how many claims the policy counts under a verdict, such as `healthy`."""
        return int(self.status().get("claims", {}).get(verdict, 0))

    def all_healthy(self) -> bool:
        """Tell whether every claim is healthy."""
        return self.count("healthy") == sum(len(driver.claims) for driver in self.drivers.values())

    def checks(self) -> int:
        """Return how many checks the operator has made."""
        series = asyncio.run(self.operator.metrics())
        return int(series['volumehealth_check_duration_seconds_count{policy="e2e"}'])

    def condition(self, kind: str) -> Mapping[str, str]:
        """Return a condition of the policy; empty while there is none."""
        found: Mapping[str, str]
        for found in self.status().get("conditions") or ():
            if found["type"] == kind:
                return found
        return {}

    def agents(self, state: str) -> int:
        """Return how many agents the policy counts in a state: `expected`, `reporting` or `silent`."""
        return int((self.status().get("agents") or {}).get(state, 0))

    def findings(self, claim: str) -> list[Object]:
        """Return what is wrong with a claim, as its record says; empty if it has none or has recovered."""
        records = self.get("vh", namespace=SPACE)["items"]
        found: list[Object] = [
            finding
            for record in records
            if record["metadata"]["name"] == claim
            for finding in record["status"].get("findings") or ()
        ]
        return found

    def health(self, claim: str) -> str:
        """Return a claim's health as its record says; empty if it has none."""
        records = self.get("vh", namespace=SPACE)["items"]
        return "".join(one["status"]["health"] for one in records if one["metadata"]["name"] == claim)

    def events(self, reason: str) -> list[Object]:
        """Return the Events with this reason."""
        items: list[Object] = self.get("events", namespace=SPACE)["items"]
        return [event for event in items if event["reason"] == reason]

    def told(self, reason: str, claim: str) -> set[str]:
        """Return the objects, as `Kind/name`, that were told of a claim."""
        return {
            f"{event['involvedObject']['kind']}/{event['involvedObject']['name']}"
            for event in self.events(reason)
            if event["involvedObject"]["name"] == claim
            or f"{SPACE}/{claim}" in event["message"]
            or f" {claim}" in event["message"]
        }

    def until(self, condition: Callable[[], object], what: str, *, within: float = 30.0) -> float:
        """Wait until something is so, and return how many seconds that took.

        Raises:
            AssertionError: if it is not so in time; with the end of the logs.
        """
        before = time.monotonic()
        while not condition():
            if time.monotonic() - before > within:
                raise AssertionError(f"not within {within:g} s: {what}\n{self._logs()}")
            time.sleep(_POLL)
        return time.monotonic() - before

    def _logs(self) -> str:
        programs = [*self._parts.drivers.values(), self.node.kubelet]
        if self._parts.operator is not None:
            programs.append(self._parts.operator.program)
        if self._parts.agent is not None:
            programs.append(self._parts.agent)
        return "\n".join(f"{program.name}:\n{program.tail(8)}" for program in programs)


_VOLUMEHEALTH = (sys.executable, "-P", "-m", "volumehealth")


def _csi_driver(name: str) -> Object:
    spec = {"attachRequired": False, "podInfoOnMount": False, "fsGroupPolicy": "None"}
    return {"metadata": {"name": name}, "spec": spec}


def _pod(name: str, claims: Iterable[str], *, node: str) -> Object:
    """Build a Pod of the one image, on the node's own network, whose program writes into every volume."""
    names = list(claims)
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": [f"/mnt/{claim}" for claim in names],
        "volumeMounts": [{"name": claim, "mountPath": f"/mnt/{claim}"} for claim in names],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
            "volumes": [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in names],
        },
    }
