"""The product on a real node: kubelet, drivers that really mount, and the operator and the agents in their Pods.

Everything is asked and told through kubectl, as its users do.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.controllers import controller_on_host, rights_of_a_provisioner, settings, write_kustomization
from support.installation import policy_text
from support.product import AGENT_SPACE, OPERATOR_SPACE, Product
from support.releases import HEALTH_FIELDS, serves
from volumehealth.model.ids import VolumeId
from volumehealth_sandbox import image, node
from volumehealth_sandbox.assets import checkout
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver_control import DriverControl
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.faultydisk import Faults
from volumehealth_sandbox.locks import locked
from volumehealth_sandbox.network import ClusterNetwork
from volumehealth_sandbox.node import NodeSandbox
from volumehealth_sandbox.node_files import IMAGE
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects, Object
from volumehealth_sandbox.processes import Program
from volumehealth_sandbox.tools import Say

SPACE = "e2e"
"""Namespace of every claim and Pod."""
AGENT_ACCOUNT = "volumehealth-agent"
"""The agent's ServiceAccount."""
VOLUME_SIZE = 16 * 1024**2
"""Bytes of every volume."""
_POLL = 0.3


def obstacles() -> list[str]:
    """Say why the product cannot run on a real node here, one reason an entry; empty if it can."""
    return [*node.obstacles(), *image.obstacles()]


@dataclass(frozen=True, slots=True)
class NodeDriver:
    """A driver on the node, and the claims that it has a volume for.

    Attributes:
        name: of the driver.
        generation: which health calls it speaks.
        claims: their names; the handle of the first one's volume is `vol-1`, and so on.
        controller: the kind of its controller, `Deployment` or `StatefulSet`; empty for none that can be reached.
        disks: kinds of filesystems on real block devices that break on demand; empty for tmpfs.
        mute: it has no health call.
    """

    name: str
    generation: Generation
    claims: tuple[str, ...]
    controller: str = "Deployment"
    disks: tuple[str, ...] = ()
    mute: bool = False

    @property
    def namespace(self) -> str:
        """Namespace of its controller."""
        return f"csi-{self.name.partition('.')[0]}"

    def handle(self, claim: str) -> str:
        """Return the handle of a claim's volume."""
        return f"vol-{self.claims.index(claim) + 1}"


class RealNode:
    """A control plane with one real node, the product installed, and Pods that use every claim. A context manager.

    Args:
        home: directory of the control plane and the logs.
        node_home: of the node; short. A fixed one lets the next session clean up after one that was killed; two
            sessions take turns.
        drivers: what is to run on it.
        pods: names of Pods; each mounts every claim.
        policy: spec of the one policy; None if the test applies its own.
        gate: the feature gate CSIVolumeHealth of API server and kubelet, where this Kubernetes has it.
        network: number of the cluster's network; nodes that run at the same time need different ones.
        product: how it is installed.
        say: is told what takes long.
    """

    def __init__(
        self,
        home: Path,
        node_home: Path,
        *,
        drivers: Iterable[NodeDriver],
        pods: Iterable[str],
        policy: Mapping[str, Any] | None,
        gate: bool,
        network: int = 1,
        product: type[Product] = Product,
        say: Say = print,
    ) -> None:
        self.home = home
        self.drivers = {driver.name: driver for driver in drivers}
        self.pods = tuple(pods)
        self._policy = policy
        self._say = say
        self._exit = ExitStack()
        gates = {"CSIVolumeHealth": gate} if serves(HEALTH_FIELDS) else {}
        self.plane = ControlPlane(
            home / "plane",
            feature_gates=[f"{name}={str(on).lower()}" for name, on in gates.items()],
            whole=True,
            network=ClusterNetwork(network),
            say=say,
        )
        self.node = NodeSandbox(node_home, self.plane, name="real-node", feature_gates=gates, say=say)
        self.product = product(self.plane, self.node, home)
        """The operator and the agents."""
        self._drivers: dict[str, Program] = {}

    # Life.

    def __enter__(self) -> Self:
        lock = self.node.layout.home.with_suffix(".lock")
        with ExitStack() as stack:
            stack.enter_context(locked(lock, lambda: self._say("Another session has the node; waiting.")))
            stack.enter_context(self.plane)
            stack.enter_context(self.node)
            stack.callback(self._stop)
            self.node.import_image(image.build_image(image.product(checkout()), self._say))
            self.product.install()
            self._start_drivers()
            self._start_controllers()
            self._make_claims()
            self.start_pods()
            self._watch()
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _stop(self) -> None:
        """Let the kubelet unmount what it can while it is there; the sandbox removes the rest."""
        if self.node.kubelet.alive and all(program.alive for program in self._drivers.values()):
            self.kubectl("delete", "pods", "--all", f"--namespace={SPACE}", "--timeout=30s", "--wait=false")
        for program in self._drivers.values():
            program.stop()

    # Steps.

    def _start_drivers(self) -> None:
        for driver in self.drivers.values():
            program = Program(driver.name, lambda driver=driver: self._driver_command(driver), home=self.home)  # type: ignore[misc]  # a default binds the loop's variable
            self._drivers[driver.name] = program
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
            *([f"--disks={','.join(driver.disks)}"] if driver.disks else []),
            *(["--no-health"] if driver.mute else []),
        )

    def install(self) -> None:
        """Install the product again after everything was removed: the agents' rights and the policy as well."""
        self.product.install()
        for driver in self._controlled():
            self.kubectl("apply", "-k", str(self.home / driver.namespace))
        self._watch()

    def _start_controllers(self) -> None:
        """Apply each driver's controller with the agent beside it, by the components of docs/controller-agent.md."""
        for driver in self._controlled():
            self.kubectl("create", "namespace", driver.namespace)
            socket_dir = Path(self.endpoint(driver.name).removeprefix("unix://")).parent
            resources = [
                settings(driver.name, driver.namespace),
                *rights_of_a_provisioner(driver.namespace),
                controller_on_host(driver.controller, driver.namespace, socket_dir),
            ]
            home = write_kustomization(self.home / driver.namespace, resources)
            self.kubectl("apply", "-k", str(home))
        self.await_controllers()

    def await_controllers(self) -> None:
        """Return when every driver's controller runs."""
        for driver in self._controlled():
            self.product.await_rollout(f"{driver.controller}/csi-controller", driver.namespace)

    def _controlled(self) -> list[NodeDriver]:
        """Return the drivers whose controllers run as Pods."""
        return [driver for driver in self.drivers.values() if driver.controller]

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

    def start_pods(self) -> None:
        """Start every Pod that does not run, and return when all run."""
        self.until(self._has_account, "the namespace has its ServiceAccount")
        claims = [claim for driver in self.drivers.values() for claim in driver.claims]
        pods = [_pod(name, claims, node=self.node.name) for name in self.pods]
        self.kubectl("apply", "-f", "-", text=json.dumps({"kind": "List", "apiVersion": "v1", "items": pods}))
        self.until(lambda: self._running() == set(self.pods), "the Pods run", within=90.0)

    def _has_account(self) -> bool:
        accounts = self.get("serviceaccounts", namespace=SPACE)["items"]
        return any(account["metadata"]["name"] == "default" for account in accounts)

    def _running(self) -> set[str]:
        pods = self.get("pods", namespace=SPACE)["items"]
        return {pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"}

    def _watch(self) -> None:
        if self._policy is None:
            return
        self.kubectl("apply", "-f", "-", text=policy_text("e2e", self._policy))
        self.until(lambda: self.count("healthy") or self._seen_whole(), "a claim is healthy", within=90.0)

    def _seen_whole(self) -> bool:
        """Tell whether the agent completed every required look at every claim, where no driver can say anything."""
        mute = all(driver.mute for driver in self.drivers.values())
        claims = {claim for driver in self.drivers.values() for claim in driver.claims}
        return mute and len(self.report().get("complete") or ()) == len(claims)

    def report(self) -> Object:
        """Return what the node's agent reports; empty while there is no report."""
        reports = self.get("vhr")["items"]
        found: Object = next(
            (one.get("status") or {} for one in reports if one["metadata"]["name"] == self.node.name), {}
        )
        return found

    # What tests do to it.

    def agent_kubeconfig(self) -> Path:
        """Write a kubeconfig with a token like the one that the agent's Pod has."""
        token = self.kubectl(
            "create",
            "token",
            AGENT_ACCOUNT,
            f"--namespace={AGENT_SPACE}",
            "--bound-object-kind=Pod",
            f"--bound-object-name={self.product.agent()['metadata']['name']}",
        )
        return self.plane.write_kubeconfig(self.home / "agent.kubeconfig", token.strip(), user=AGENT_ACCOUNT)

    def driver(self, name: str) -> Program:
        """Return a driver's process."""
        return self._drivers[name]

    def driver_of(self, claim: str) -> NodeDriver:
        """Return the driver of a claim's volume."""
        return next(driver for driver in self.drivers.values() if claim in driver.claims)

    def tell(self, driver: str, what: Callable[[DriverControl], Awaitable[None]]) -> None:
        """Tell a driver what to do."""

        async def tell() -> None:
            async with DriverControl(self.endpoint(driver)) as control:
                await what(control)

        asyncio.run(tell())

    def disk(self, claim: str) -> Faults:
        """Return what can be wrong with the disk of a claim's volume."""
        handle = self.driver_of(claim).handle(claim)
        return Faults(self.node.layout.kubelet_dir.parent / "disks" / handle)

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
        """Return how many checks the operator that leads has made; none yet if it has just begun to."""
        series = self.product.metrics()
        return int(series.get('volumehealth_check_duration_seconds_count{policy="e2e"}', 0))

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
        programs = [*self._drivers.values(), self.node.kubelet]
        ends = [f"{program.name}:\n{program.tail(8)}" for program in programs]
        spaces = [OPERATOR_SPACE, AGENT_SPACE, *(driver.namespace for driver in self._controlled())]
        return "\n".join([*ends, *(self.product.logs(space) for space in spaces)])


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
