"""The simulated world: an API server, a driver with volumes, claims and Pods, operators, and what is done to them."""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from random import Random

import grpc

from simulation.apiserver import ApiServer, Reply, path_of
from simulation.driver import Illness, SimDriver, SimVolume
from simulation.history import History
from simulation.loop import SimLoop
from simulation.network import Network, Weather
from simulation.objects import Json
from simulation.observe import Observer
from simulation.plan import DRIVER, Action, Plan
from simulation.processes import EPOCH, NAMESPACE, Host, Replica, current_process, operator_main
from volumehealth.app.assembly import LeaderWork
from volumehealth.settings import EndpointSetting

SHOP = "shop"
POLICY = "everything"
ENDPOINT = "unix:///csi/block.sock"
EVENT_TTL = 3600.0


class World:
    """Everything that a run consists of.

    Args:
        plan: what to do.
        loop: where time passes.

    Attributes:
        history: what happened.
        server: the API server.
        network: the ways to it.
        driver: with its volumes.
        operators: the Pods of the Deployment.
        disturbed: when something kept the product from working, with how long it may take to be itself again.
        leading: the work of each operator that leads.
    """

    def __init__(self, plan: Plan, loop: SimLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.history = History(loop.time)
        random = Random(plan.seed ^ 0x5EED)
        self.random = random
        self.clock = Host("api", loop)
        self.server = ApiServer(Random(random.getrandbits(64)), self.clock.now)
        self.network = Network(loop, Random(random.getrandbits(64)), self.server, self.history)
        volumes = {f"vol-{number}": SimVolume(f"vol-{number}") for number in range(plan.claims)}
        self.driver = SimDriver(
            DRIVER, ENDPOINT, volumes, loop.time, Random(random.getrandbits(64)), **plan.driver
        )
        self.network.drivers[ENDPOINT] = self.driver
        self.hosts = {f"operator-{number}": Host(f"host-{number}", loop) for number in range(plan.replicas)}
        self.disturbed: list[tuple[float, float]] = [(0.0, 60.0)]
        self.leading: dict[str, LeaderWork] = {}
        self.operators = {
            name: Replica(
                name,
                "system:serviceaccount:volumehealth-system:volumehealth-operator",
                host,
                partial(operator_main, endpoints=(EndpointSetting(ENDPOINT),), leads=self._leads, elect=True),
                self.network,
                self.history,
            )
            for name, host in self.hosts.items()
        }
        self.seen = Observer(self.history, loop)
        self.server.on_write = self.seen.written

    def _leads(self, replica: Replica, work: LeaderWork) -> None:
        self.leading[replica.name] = work
        self.history.note(replica.name, "leads")

    # ---- building ----

    def populate(self) -> None:
        """Make what is there at the start."""
        for name in ("default", NAMESPACE, SHOP):
            self.create("namespaces", {"metadata": {"name": name}})
        for node in ("node-0", "node-1"):
            self.create(
                "nodes",
                {"metadata": {"name": node}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            )
            self.create(
                "csinodes",
                {"metadata": {"name": node}, "spec": {"drivers": [{"name": DRIVER, "nodeID": node}]}},
            )
        for number, handle in enumerate(self.driver.volumes):
            self.add_claim(f"data-{number}", handle, node=f"node-{number % 2}")
        self.create("volumehealthpolicies", {"metadata": {"name": POLICY}, "spec": self.plan.spec})

    def add_claim(self, name: str, handle: str, *, node: str) -> None:
        """Make a bound claim, its volume and a Pod that uses it."""
        claim = self.create(
            "persistentvolumeclaims",
            {
                "metadata": {"name": name, "namespace": SHOP, "labels": {"app": name}},
                "spec": {
                    "storageClassName": "fast",
                    "volumeName": f"pv-{handle}",
                    "accessModes": ["ReadWriteOnce"],
                    "volumeMode": "Filesystem",
                },
                "status": {"phase": "Bound"},
            },
        )
        self.create(
            "persistentvolumes",
            {
                "metadata": {"name": f"pv-{handle}"},
                "spec": {
                    "csi": {"driver": DRIVER, "volumeHandle": handle},
                    "claimRef": {"namespace": SHOP, "name": name, "uid": claim["metadata"]["uid"]},
                    "storageClassName": "fast",
                },
                "status": {"phase": "Bound"},
            },
        )
        self.create(
            "pods",
            {
                "metadata": {"name": f"{name}-0", "namespace": SHOP},
                "spec": {
                    "nodeName": node,
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
                },
                "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]},
            },
        )

    # ---- acting on the API server ----

    def create(self, plural: str, value: Json) -> Json:
        """Create an object as an administrator does."""
        metadata = value["metadata"]
        path = path_of(plural, metadata.get("namespace", ""))
        return self._call("POST", path, value)

    def patch(self, plural: str, name: str, patch: Json, namespace: str = "", sub: str = "") -> Json:
        """Merge-patch an object."""
        return self._call(
            "PATCH", path_of(plural, namespace, name, sub), patch, "application/merge-patch+json"
        )

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        self._call("DELETE", path_of(plural, namespace, name), {})

    def _call(self, method: str, path: str, value: Json, form: str = "application/json") -> Json:
        reply = self.server.answer(
            "admin", method, path, {}, json.dumps(value).encode(), {"Content-Type": form}
        )
        assert isinstance(reply, Reply)
        assert reply.status < 300, (method, path, reply.body)
        answer: Json = json.loads(reply.body)
        return answer

    # ---- what is done ----

    def act(self, action: Action) -> None:
        """Do something to the world."""
        self.history.note("world", str(action)[12:])
        self.history.reach(f"action: {action.do}")
        what: Callable[..., None] = getattr(self, f"do_{action.do}")
        what(**action.how)

    def disturb(self, seconds: float, recovery: float) -> None:
        """Note that the product cannot work as it should from now on."""
        now = self.loop.time()
        self.disturbed.append((now, now + seconds + recovery))

    def do_ill(self, handle: str, status: str, reason: str, message: str) -> None:
        """A volume falls ill."""
        volume = self.driver.volumes[handle]
        volume.illness = Illness(status, reason, message)
        volume.truth.append((self.loop.time(), volume.illness))

    def do_well(self, handle: str) -> None:
        """A volume is healed."""
        volume = self.driver.volumes[handle]
        volume.illness = None
        volume.truth.append((self.loop.time(), None))

    def do_storm(self, rates: Json, seconds: float) -> None:
        """Faults on the way to the API server."""
        forbidden = "error 403" in rates or "error 401" in rates
        self.disturb(seconds, 800.0 if forbidden else 180.0)
        weather = self.network.weather = Weather(rates)
        self.loop.in_world(seconds, self._calm, weather)

    def _calm(self, weather: Weather) -> None:
        if self.network.weather is weather:
            self.network.weather = Weather()
            self.history.note("world", "the storm is over")

    def do_kill(self, who: str) -> None:
        """SIGKILL."""
        self.disturb(0.0, 90.0)
        self.operators[who].kill()

    def do_freeze(self, who: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.disturb(seconds, 120.0)
        self.operators[who].freeze(seconds)

    def do_jump(self, who: str, seconds: float) -> None:
        """The wall clock of a machine is set."""
        self.hosts[who].offset += seconds

    def do_driver_down(self, seconds: float) -> None:
        """The driver's process is gone for a while."""
        self.disturb(seconds, 420.0)
        self.driver.up = False
        self.driver.restart()
        self.loop.in_world(seconds, self._driver_up)

    def do_driver_hangs(self, seconds: float) -> None:
        """The driver answers no call for a while."""
        self.disturb(seconds, 420.0)
        self.driver.hangs = frozenset("*")
        self.loop.in_world(seconds, self._driver_up)

    def do_driver_fails(self, seconds: float, code: str) -> None:
        """The driver fails every call for a while."""
        self.disturb(seconds, 420.0)
        self.driver.fails = {"*": grpc.StatusCode[code]}
        self.loop.in_world(seconds, self._driver_up)

    def _driver_up(self) -> None:
        self.driver.up = True
        self.driver.hangs = frozenset()
        self.driver.fails = {}

    def do_compact(self) -> None:
        """Etcd forgets what was."""
        self.server.compact()

    # ---- life ----

    async def run(self, *, settle: float) -> None:
        """Run the plan, then let everything settle."""
        self.populate()
        for operator in self.operators.values():
            operator.start()
        self.loop.in_world(30.0, self._expire_events)
        for action in self.plan.actions:
            await self._until(action.at)
            self.act(action)
        await self._until(self.plan.until)
        self._end_of_faults()
        await self._until(self.plan.until + settle)

    async def _until(self, moment: float) -> None:
        wait = moment - self.loop.time()
        if wait > 0:
            await asyncio.sleep(wait)

    def _end_of_faults(self) -> None:
        self.history.note("world", "no faults from now on")
        self.network.weather = Weather()
        self._driver_up()
        for operator in self.operators.values():
            operator.thaw()
        self.disturb(0.0, 800.0)

    def restart_all(self) -> None:
        """Put a fresh operator in the place of all others."""
        for operator in self.operators.values():
            operator.kill()

    def _expire_events(self) -> None:
        """Events live for an hour after they were written last."""
        now = self.loop.time()
        for key, written in list(self.seen.event_writes.items()):
            if now - written > EVENT_TTL and self.server.find("events", key[1], key[0]) is not None:
                self.history.reach("an Event expired")
                self.delete("events", key[1], key[0])
        self.loop.in_world(30.0, self._expire_events)


class LogLines(logging.Handler):
    """Writes what the product logs into the history."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        extra = {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        words = " ".join(f"{name}={value}" for name, value in extra.items())
        text = f"LOG {record.levelname.lower()} {record.getMessage()} {words}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            self._history.violate("6 nothing fails inside", text)
        self._history.note(current_process(), text)


_PLAIN = frozenset((*logging.LogRecord("", 0, "", 0, "", None, None).__dict__, "message", "taskName"))
__all__ = ["EPOCH", "LogLines", "World"]
